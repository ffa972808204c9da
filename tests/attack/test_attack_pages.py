"""Every page of every module, tried by every role on the victim: made from the manifests."""

from __future__ import annotations

import pytest
from attack_world import SECRET, STRANGERS, World, csrf_of

from dmed.apps.rooms import MODULES
from dmed.trust.manifest import Route

WITH_ID = [route for module in MODULES for route in module.routes if "{" in route.path]
UNSAFE = [route for route in WITH_ID if "POST" in route.methods]


def _paths(route: Route, world: World) -> list[str]:
    """The addresses of a route with the victim, and with the victim's records, in its places."""
    ids = [world.there, world.records["MedicationRequest"], world.records["Encounter"]]
    made = []
    for id_ in ids:
        path = route.path
        while "{" in path:
            start, end = path.index("{"), path.index("}")
            name = path[start + 1 : end]
            value = f"Observation/{id_}" if name.endswith(":path") else id_
            value = "1" if name.endswith(":int") else value
            path = path[:start] + value + path[end + 1 :]
        made.append(path)
    return made


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_page_tells_of_a_stranger(world: World, user: str) -> None:
    """A card may be found by name and number; nothing clinical stands on any page."""
    told, failed = [], []
    ids = world.records.values()
    for route in WITH_ID:
        if "GET" not in route.methods:
            continue
        for path in _paths(route, world):
            answer = await world.pages[user].get(path)
            if SECRET in answer.text or any(id_ in answer.text and id_ not in path for id_ in ids):
                told.append(path)
            if answer.status_code >= 500:
                failed.append(path)

    assert told == []
    assert failed == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_form_writes_about_a_stranger(world: World, user: str) -> None:
    """A posted form neither shows nor changes a record about the victim."""
    if not UNSAFE:
        pytest.fail("no form takes an id: the registry is not read")
    token = await csrf_of(world.pages[user])
    count = "SELECT count(*) FROM compartment WHERE patient = $1"
    before = await world.platform.database.hot.fetchval(count, world.there)
    told = []
    for route in UNSAFE:
        if route.path.startswith("/glass"):
            continue  # Its own tests: it opens on purpose, and tells.
        for path in _paths(route, world):
            answer = await world.pages[user].post(path, data={"csrf_token": token})
            told += [path] if SECRET in answer.text else []

    assert told == []
    assert await world.platform.database.hot.fetchval(count, world.there) == before
