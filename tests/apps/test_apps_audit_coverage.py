"""Over the registry of routes and interactions: whoever is answered leaves an audit row.

New routes and operations enter by themselves. One that shows no record of a person stands in
SILENT with its reason, or this test fails.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest_asyncio

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.pages.routes import ROUTES as SHARED
from dmed.trust.identity import DEMO_PASSWORDS
from dmed.trust.manifest import Route
from dmed.trust.model import Role

USERS = {Role.DOCTOR: "doctor", Role.PHARMACIST: "pharmacist", Role.REGISTRAR: "registrar",
         Role.ADMINISTRATOR: "admin", Role.SERVICE: "service"}
SILENT = {
    "/me": "the own name and post",
    "/me/factor": "the own second factor",
    "/me/password": "an empty form",
    "/persons": "an empty box asks nothing; with words it is a search",
    "/persons/new": "an empty form",
    "/persons/pinfl": "reads the typed number alone",
    "/persons/districts": "a list of districts",
    "/card/{id}/add/{what}": "an empty form before the person is chosen",
    "/search": "an empty box asks nothing; with words it is a search",
    "/diagnoses": "a code list",
    "/inns": "a code list",
    "/medicines/options": "a catalogue",
    "/medicines/{key}": "a catalogue",
    "/reader/search": "a form of search parameters",
    "/reader/line": "a row of that form",
    "/reader/fhirpath": "an empty box",
    "/reader/edit": "an empty box",
    "/reader/compare": "an empty choice",
    "/fhir": "the first page of the reader: which types there are",
    "/apps": "the apps that are registered",
    "/oauth/consent": "asks the person about the own rights",
    "/glass/why": "an empty form",
    "/counter": "an empty counter",
    "/counter/offline": "an empty counter for the time without a network; the kit leaves a row",
    "/": "the own work of today; what it shows of people is searched, and so audited",
    "/accounts/{user}": "an account, no record of a person",
    "/accounts/new": "an empty form; with words it is a search of staff",
    "/prescriptions/forms": "the own empty forms",
    "/prescribing/offline": "an empty form for the time without a network; the kit leaves a row",
    "/counter/find": "an empty form; a search leaves a row",
    "/staff/mine": "leads to the own file of staff, which is a read",
}
"""GET routes behind sign-in that show no record where nothing was asked."""
PATIENT = {"resourceType": "Patient", "name": [{"family": "Karimov"}], "active": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """One worker with the demo accounts."""
    made = await open_platform()
    await made.guard.identity.save_demo()
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signed_in(platform: Platform) -> AsyncIterator[dict[Role, httpx.AsyncClient]]:
    """A browser of each role, signed in."""
    clients = {}
    for role, user in USERS.items():
        transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
        here = httpx.AsyncClient(transport=transport, base_url="http://test",
                                 cookies={"dmed_language": "en"})
        answer = await here.post(
            "/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        if answer.status_code == 303:
            clients[role] = here
    assert len(clients) >= 4
    yield clients
    for here in clients.values():
        await here.aclose()


async def rows(platform: Platform) -> int:
    return int(await platform.database.hot.fetchval("SELECT count(*) FROM audit"))


def registry() -> list[Route]:
    return [*SHARED, *(route for one in MODULES for route in one.routes)]


def filled(path: str) -> str:
    """An address of a route, its places filled with what is nowhere."""
    return re.sub(r"\{[^}]*\}", "1", path.replace("{rest:path}", "Patient"))


async def test_every_page_leaves_a_row_or_says_why_not(
    platform: Platform, signed_in: dict[Role, httpx.AsyncClient]
) -> None:
    """Each GET of the registry as each role that may: a row, or its reason in SILENT."""
    silent = []
    for route in registry():
        if "GET" not in route.methods or route.path in SILENT:
            continue
        for role in sorted(route.roles & signed_in.keys()):
            before = await rows(platform)
            answer = await signed_in[role].get(filled(route.path))
            if await rows(platform) == before and answer.status_code != 303:
                silent.append(f"{route.path} as {role.value}: {answer.status_code}")

    assert silent == []


async def test_every_refusal_of_a_page_leaves_a_row(
    platform: Platform, signed_in: dict[Role, httpx.AsyncClient]
) -> None:
    """Another role at each route, and each unsafe route without the page's token: 403 and a row."""
    silent = []
    for route in registry():
        if not route.roles:
            continue
        for role, here in signed_in.items():
            if role in route.roles and route.methods == ("GET",):
                continue
            before = await rows(platform)
            answer = await here.request(route.methods[-1], filled(route.path))
            if answer.status_code == 403 and await rows(platform) == before:
                silent.append(f"{route.methods[-1]} {route.path} as {role.value}")
            if role not in route.roles and answer.status_code not in {403, 405}:
                silent.append(f"{route.path} as {role.value}: {answer.status_code}, not refused")

    assert silent == []


def _interactions(patient: str, version: str) -> list[tuple[str, str, Any]]:
    """Every interaction of FHIR REST: (method, address, body)."""
    one = f"/Patient/{patient}"
    patch = [{"op": "replace", "path": "/active", "value": False}]
    entry = {"request": {"method": "GET", "url": one}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    return [
        ("GET", one, None), ("GET", f"{one}/_history/{version}", None),
        ("GET", f"{one}/_history", None), ("GET", "/Patient/_history", None),
        ("GET", "/_history", None), ("GET", "/Patient?family=karimov", None),
        ("POST", "/Patient/_search", "family=karimov"), ("GET", "/?_type=Patient", None),
        ("GET", f"{one}/Observation", None), ("GET", f"{one}/*", None),
        ("GET", f"{one}/$meta", None), ("GET", "/AuditEvent?_count=1", None),
        ("GET", "/Patient/none", None), ("POST", "/Patient", PATIENT),
        ("PUT", one, PATIENT | {"id": patient}), ("PATCH", one, patch),
        ("POST", "/", bundle), ("POST", "/", bundle | {"type": "transaction"}),
        ("PUT", "/Patient?identifier=x|y", PATIENT),
        ("PATCH", f"/Patient?_id={patient}", patch), ("DELETE", "/Patient?family=nobody", None),
        ("POST", "/Patient/$validate", PATIENT), ("GET", f"{one}/$validate", None),
        ("DELETE", one, None), ("GET", one, None),
    ]


async def test_every_interaction_leaves_a_row(platform: Platform) -> None:
    """Each of REST as the system, and as a role that is refused; what comes back is 2xx or 4xx."""
    identity = platform.guard.identity
    silent = []
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test/fhir") as here:
        for user in ("service", "admin"):
            token = {"authorization": f"Bearer {await identity.issue_token(user)}"}
            system = {"authorization": f"Bearer {await identity.issue_token('service')}"}
            made = (await here.post("/Patient", json=PATIENT, headers=system)).json()
            for method, address, body in _interactions(made["id"], made["meta"]["versionId"]):
                kind = "application/fhir+json"
                if method == "PATCH":
                    kind = "application/json-patch+json"
                if isinstance(body, str):
                    kind = "application/x-www-form-urlencoded"
                content = body.encode() if isinstance(body, str) else (
                    b"" if body is None else msgspec.json.encode(body))
                before = await rows(platform)
                answer = await here.request(
                    method, address, content=content, headers={**token, "content-type": kind})
                assert answer.status_code < 500, (method, address, answer.text)
                if await rows(platform) == before:
                    silent.append(f"{user} {method} {address}: {answer.status_code}")

    assert silent == []


async def test_every_operation_leaves_a_row(platform: Platform) -> None:
    """Each operation of the registry as each role: called or refused, there is a row.

    Those that only read definitions (`quick`) name no person: their refusals alone are held here.
    """
    identity = platform.guard.identity
    tokens = {role: await identity.issue_token(user) for role, user in USERS.items()}
    silent = []
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test/fhir") as here:
        for operation in (one for module in MODULES for one in module.operations):
            place = "/".join(filter(None, (
                operation.type, "none" if operation.instance else "",
                f"${operation.name.removeprefix('$')}")))
            for role, token in tokens.items():
                if role in operation.roles and operation.quick is not None:
                    continue
                before = await rows(platform)
                answer = await here.post(f"/{place}", json={"resourceType": "Parameters"}, headers={
                    "authorization": f"Bearer {token}", "content-type": "application/fhir+json"})
                refused = answer.status_code in {400, 422} and role in operation.roles
                if await rows(platform) == before and not refused:
                    silent.append(f"{place} as {role.value}: {answer.status_code}")

    assert silent == []


async def test_ways_in_and_out_leave_rows(platform: Platform) -> None:
    """Sign-in, a refused one, and sign-out."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as here:
        counts = [await rows(platform)]
        await here.post("/signin", data={"user": "registrar", "password": "wrong word"})
        counts.append(await rows(platform))
        await here.post("/signin", data={
            "user": "registrar", "password": DEMO_PASSWORDS["registrar"]})
        counts.append(await rows(platform))
        page = (await here.get("/me")).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None
        await here.post("/signout", data={"csrf_token": token.group(1)})
        counts.append(await rows(platform))

    assert counts == sorted(set(counts))
