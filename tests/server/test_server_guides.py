"""A guide is installed and upgraded beside a running server: bindings and searches follow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from dmed.apps.guides import install_guide
from dmed.modules.terminology import MODULE
from dmed.modules.terminology.service import follow
from dmed.trust import guides

BASE = "https://y.uz/fhir"
PAINTED = f"{BASE}/StructureDefinition/painted"
DROPPED = f"{BASE}/StructureDefinition/dropped"
PAINTS = f"{BASE}/CodeSystem/paints"
LIKED = f"{BASE}/ValueSet/liked"


def profile(name: str, *elements: dict[str, Any]) -> dict[str, Any]:
    """A profile of Observation."""
    return {
        "resourceType": "StructureDefinition", "id": name, "name": name.capitalize(),
        "url": f"{BASE}/StructureDefinition/{name}", "status": "active", "kind": "resource",
        "abstract": False, "type": "Observation", "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
        "differential": {"element": list(elements)},
    }  # fmt: skip  # A record reads better filled.


def package(folder: Path, version: str, *codes: str) -> Path:
    """The guide at a version: its set likes these codes; the first version has a profile more."""
    code = {"id": "Observation.code", "path": "Observation.code",
            "binding": {"strength": "required", "valueSet": LIKED}}  # fmt: skip  # One look.
    resources = [
        profile("painted", code),
        {"resourceType": "CodeSystem", "id": "paints", "url": PAINTS, "status": "active",
         "content": "complete", "version": version,
         "concept": [{"code": each} for each in ("red", "blue", "green")]},
        {"resourceType": "ValueSet", "id": "liked", "url": LIKED, "status": "active",
         "version": version,
         "compose": {"include": [
             {"system": PAINTS, "concept": [{"code": each} for each in codes]}]}},
    ]  # fmt: skip  # A definition each.
    if version == "1":
        note = {"id": "Observation.note", "path": "Observation.note", "min": 1}
        resources.append(profile("dropped", note))
    folder.mkdir()
    manifest = {"name": "uz.y", "version": version, "dependencies": {}}
    (folder / "package.json").write_text(json.dumps(manifest))
    for each in resources:
        (folder / f"{each['id']}.json").write_text(json.dumps(each))
    return folder


def painted(code: str, profile_: str = PAINTED) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "meta": {"profile": [profile_]},
            "code": {"coding": [{"system": PAINTS, "code": code}]}}  # fmt: skip  # One look.


@pytest_asyncio.fixture(loop_scope="session")
async def client(room: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a worker that does what it does beside its requests."""
    other = room.variant((MODULE,))
    await guides.start(room.database, room.settings)
    works = [asyncio.ensure_future(guides.follow(room.database)),
             asyncio.ensure_future(follow(other.gateway))]  # fmt: skip  # Two.
    yield other.client("service")
    for work in works:
        work.cancel()
    await asyncio.gather(*works, return_exceptions=True)
    guides.forget()


async def until(
    ask: Callable[[], Awaitable[httpx.Response]], status: int
) -> httpx.Response:
    """The first answer with this status; the last one where it does not come in 15 seconds."""
    answer = await ask()
    for _ in range(150):
        if answer.status_code == status:
            break
        await asyncio.sleep(0.1)
        answer = await ask()
    assert answer.status_code == status, answer.text
    return answer


async def found(client: httpx.AsyncClient) -> set[str]:
    """The codes of the records that `code:in` finds."""
    answer = await until(lambda: client.get("/Observation", params={"code:in": LIKED}), 200)
    return {each["resource"]["code"]["coding"][0]["code"]
            for each in answer.json().get("entry", ())}  # fmt: skip  # One set.


async def test_a_running_worker_follows_a_guide_and_its_upgrade(
    room: Any, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    """A code outside a required set is refused at its place, `:in` finds by the set, before and
    after a version of the guide that changes the set; no restart, and old records stay readable.
    """
    await asyncio.to_thread(
        install_guide, room.settings, package(tmp_path / "1", "1", "red", "blue"))
    refused = await until(lambda: client.post("/Observation", json=painted("green")), 422)
    issue, = refused.json()["issue"]
    assert (issue["code"], issue["expression"]) == ("code-invalid", ["Observation.code"])
    assert LIKED in issue["diagnostics"]
    red = await client.post("/Observation", json=painted("red"))
    assert red.status_code == 201, red.text
    await until(lambda: client.post("/Observation", json=painted("red", DROPPED)), 422)
    assert await found(client) == {"red"}

    await asyncio.to_thread(
        install_guide, room.settings, package(tmp_path / "2", "2", "green", "blue"))
    await until(lambda: client.post("/Observation", json=painted("red")), 422)
    green = await client.post("/Observation", json=painted("green"))
    assert green.status_code == 201, green.text
    assert await found(client) == {"green"}
    await until(lambda: client.post("/Observation", json=painted("red", DROPPED)), 201)
    gone = await client.get("/StructureDefinition/dropped")
    history = await client.get("/StructureDefinition/dropped/_history")
    old = await client.get(f"/Observation/{red.json()['id']}")
    assert (gone.status_code, history.json()["total"], old.status_code) == (410, 2, 200)
