"""Two institutions, a person of each, and a record of every clinical type about the second one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.fhir import codec, params
from dmed.fhir.facts import facts
from dmed.kit.ids import bucket_in, new_id
from dmed.kit.settings import Settings
from dmed.store import write as store_write
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.schema import migrate
from dmed.trust.gateway import prepare
from dmed.trust.identity import Account, values_of
from dmed.trust.model import Role
from dmed.trust.passwords import hashed
from dmed.trust.policy.roles import needs_care
from dmed.trust.tables import DDL, save_account

BASE = "http://test"
SECRET = "urn:hidden-from-strangers"
"""Stands in every record about the second person; no stranger's answer may hold it."""
PASSWORD = "attack-attack-attack"
GUARDED = sorted(needs_care()[Role.DOCTOR, True])
CLOSED: dict[str, frozenset[str]] = {
    "doctor": needs_care()[Role.DOCTOR, True],
    "pharmacist": frozenset(facts().resources) - {"Communication"},
    "registrar": frozenset(facts().resources),
    "admin": frozenset(facts().resources),
    "head": frozenset(facts().resources),
    "inspector": frozenset(facts().resources),
    "citizen": frozenset(facts().resources),
}
STRANGERS = ("doctor", "pharmacist", "registrar", "admin", "head", "inspector", "citizen")
"""Who attacks: every role of the first institution, and the person of the first card."""


class World(msgspec.Struct):
    """The installation under attack."""

    platform: Platform
    api: dict[str, httpx.AsyncClient]
    """A FHIR client each stranger: role of the first institution."""
    pages: dict[str, httpx.AsyncClient]
    """A signed-in browser each."""
    insider: httpx.AsyncClient
    """The doctor of the second institution."""
    victim: httpx.AsyncClient
    """The second person as a citizen."""
    service: httpx.AsyncClient
    here: str
    """The patient of the first institution."""
    there: str
    """The patient of the second one: the victim."""
    records: dict[str, str]
    """Type > id of the victim's record."""


def _about(type_: str, person: str) -> dict[str, object]:
    """A record of a type with a reference to a person where his compartment looks for it."""
    record: dict[str, object] = {"resourceType": type_, "implicitRules": SECRET}
    target = {"reference": f"Patient/{person}"}
    for name, many in (("subject", False), ("patient", False), ("for", False),
                       ("beneficiary", False), ("individual", False)):
        for value in (target, [target]) if not many else ([target],):
            try:
                made = codec.decode(
                    msgspec.json.encode({**record, "id": "x", name: value}), type_)
            except Exception:  # noqa: BLE001, S112  # The type has no such element: try the next.
                continue
            if person in params.patients(made):
                return {**record, name: value}
    return record


async def _planted(platform: Platform, type_: str, person: str) -> str:
    """The id of a record that nobody's rules have looked at: it lies as if it had always been."""
    body = _about(type_, person)
    record_id = new_id(bucket_in(person) or 0)
    resource = codec.decode(msgspec.json.encode({**body, "id": record_id}), type_)
    vid, updated = prepare.stamped(resource, record_id)
    write = Write(
        kind="create", type=type_, id=record_id, bucket=bucket_in(record_id) or 0, vid=vid,
        updated=updated, body=codec.encode(resource), index=params.extract(resource),
        patients=(person,))
    audit = AuditRow(request="plant", action="C", subject="plant", role="service")
    await store_write.write(platform.database, Scope("plant"), audit, write)
    return record_id


async def _accounts(platform: Platform, here: str, there: str) -> None:
    secret = await hashed(PASSWORD)
    people = [(role, Role(role), here)
              for role in ("doctor", "pharmacist", "registrar", "head", "inspector")]
    people += [("admin", Role.ADMINISTRATOR, here), ("insider", Role.DOCTOR, there),
               ("service", Role.SERVICE, "")]
    for user, role, place in people:
        account = Account(user=user, role=role, name=user, organisation=place,
                          organisation_name=place, demo=True)
        await save_account(platform.database.hot, values_of(account, secret))


async def _citizens(platform: Platform, cards: dict[str, str]) -> None:
    """The two persons themselves: one is a stranger to the other."""
    secret = await hashed(PASSWORD)
    for user, card in (("citizen", cards["here"]), ("victim", cards["there"])):
        account = Account(user=user, role=Role.CITIZEN, name=user, patient=card, demo=True)
        await save_account(platform.database.hot, values_of(account, secret))


def client_of(platform: Platform, **headers: str) -> httpx.AsyncClient:
    """A client of the whole application."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping as scope.
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers, timeout=30)


async def _api(platform: Platform, user: str) -> httpx.AsyncClient:
    token = await platform.guard.identity.issue_token(user)
    return client_of(platform, authorization=f"Bearer {token}",
                     **{"content-type": "application/fhir+json"})


async def _browser(platform: Platform, user: str) -> httpx.AsyncClient:
    made = client_of(platform)
    answer = await made.post("/signin", data={"user": user, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return made


async def csrf_of(browser: httpx.AsyncClient) -> str:
    """The protection token that a page of this session carries."""
    page = await browser.get("/me")
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    return found.group(1) if found else ""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    cluster: object, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """The installation under attack, shared: an attack that succeeds fails its test."""
    import secrets

    name = f"attack_{secrets.token_hex(4)}"
    cluster.make_database(name)  # type: ignore[attr-defined]  # The fixture of tests/conftest.
    url = cluster.url("dmed_owner", name)  # type: ignore[attr-defined]  # Same.
    settings = Settings(data=tmp_path_factory.mktemp("attack"), database_url=url, pool_size=4)
    await migrate(url, [*DDL, *(line for module in MODULES for line in module.ddl)])
    platform = Platform(settings)
    await platform.open()
    await _accounts(platform, "clinic-here", "clinic-there")
    service = await _api(platform, "service")
    for place in ("clinic-here", "clinic-there"):
        made = await service.put(f"/fhir/Organization/{place}", json={
            "resourceType": "Organization", "id": place, "name": place})
        assert made.status_code == 201, made.text
    people = {}
    for place in ("here", "there"):
        made = await service.post("/fhir/Patient", json={
            "resourceType": "Patient", "name": [{"family": f"Of-{place}"}],
            "managingOrganization": {"reference": f"Organization/clinic-{place}"}})
        people[place] = made.json()["id"]
    await _citizens(platform, people)
    records = {type_: await _planted(platform, type_, people["there"]) for type_ in GUARDED}
    yield World(
        platform=platform, api={user: await _api(platform, user) for user in STRANGERS},
        pages={user: await _browser(platform, user) for user in STRANGERS},
        insider=await _api(platform, "insider"), victim=await _api(platform, "victim"),
        service=service, here=people["here"],
        there=people["there"], records=records)
    await platform.close()
    cluster.sql(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[attr-defined]  # Same.
