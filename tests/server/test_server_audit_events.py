"""AuditEvent over HTTP: made of the audit, valid R5, narrowed by role."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from dmed.fhir import codec, validate

if TYPE_CHECKING:
    import httpx

    from conftest import Room


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(room: Room) -> list[str]:
    """Two persons: the first read three times, the second never."""
    service = room.client("service")
    made = []
    for family in ("Karimov", "Aliyeva"):
        answer = await service.post("/Patient", json={
            "resourceType": "Patient", "name": [{"family": family}], "gender": "male",
            "birthDate": "1980-01-01"})
        made.append(answer.json()["id"])
    doctor = room.client("doctor")
    for _ in range(3):
        assert (await doctor.get(f"/Patient/{made[0]}")).status_code == 200
    await doctor.get("/Patient", params={"family": "karimov"})
    await room.client("admin").get(f"/Patient/{made[0]}")
    return made


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])
            if entry["search"]["mode"] == "match"]


async def found(room: Room, **asked: str) -> list[dict[str, Any]]:
    return events(await room.client("admin").get("/AuditEvent", params={"_count": "100", **asked}))


async def test_a_person_s_events_tell_who_did_what(room: Room, people: list[str]) -> None:
    """One creation by the system, three reads and a search by the doctor."""
    mine = await found(room, patient=f"Patient/{people[0]}")
    told = [(event["agent"][0]["who"]["identifier"]["value"], event["action"],
             event["code"].get("coding", [{}])[0].get("code")) for event in mine]

    assert sorted(told) == sorted([
        ("service", "C", "create"), *[("doctor", "R", "read")] * 3,
        ("doctor", "E", "search-type")])
    assert mine == sorted(mine, key=lambda event: event["recorded"], reverse=True)


async def test_every_event_is_valid_r5(room: Room, people: list[str]) -> None:
    """What is made of rows passes our own validation as AuditEvent."""
    assert people
    all_ = await found(room)
    for event in all_:
        decoded = codec.decode(codec.encode(codec.decode(_json(event), "AuditEvent")), "AuditEvent")
        issues = [one for one in validate.validate(decoded) if one.severity == "error"]
        assert issues == []
    assert len(all_) > 5


def _json(event: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode(event)


@pytest.mark.parametrize(("asked", "count"), [
    ({"agent": "doctor", "action": "R"}, 3),
    ({"agent": "doctor", "action": "R,E"}, 4),
    ({"agent": "nobody"}, 0),
    ({"agent-role": "service"}, 1),
    ({"action": "C"}, 1),
    ({"outcome": "4"}, 0),
    ({"date": "lt2020"}, 0),
    ({"date": "lt0001"}, 0), ({"date": "0001"}, 0), ({"date": "eb0001-01-01T00:00:00Z"}, 0),
    ({"date": "9999-12-31"}, 0), ({"date": "0001-01-01T00:00:00+14:00"}, 0),
    ({"date": "gt9999-12-31T23:59:59-12:00"}, 0),
    ({"date": "ge2020", "agent": "doctor,service"}, 5),
    ({"purpose": "TREAT", "agent": "doctor,service"}, 5),
    ({"entity-type": "Patient"}, 5),
])  # fmt: skip
async def test_parameters_narrow(
    room: Room, people: list[str], asked: dict[str, str], count: int
) -> None:
    """Agent, role, action, outcome, date, purpose and type each take away what does not fit."""
    assert len(await found(room, patient=people[0], **asked)) == count


async def test_entity_and_refusals(room: Room, people: list[str]) -> None:
    """A record's events by entity; the administrator's refused read stands among them."""
    about = await found(room, entity=f"Patient/{people[0]}")
    refused = [event for event in about if event["outcome"]["code"]["code"] == "4"]

    assert [event["agent"][0]["who"]["identifier"]["value"] for event in refused] == ["admin"]
    assert {event["entity"][0]["what"]["reference"].split("/_history")[0] for event in about} == {
        f"Patient/{people[0]}"}


async def test_a_search_says_what_was_asked(room: Room, people: list[str]) -> None:
    """The query of a search stands in its event."""
    searches = await found(room, patient=people[0], action="E", agent="doctor")

    assert base64.b64decode(searches[0]["entity"][0]["query"]) == b"family=karimov"


async def test_pages_follow_each_other_without_gap(room: Room, people: list[str]) -> None:
    """Pages of two show each event once, in order, and the last has no next link."""
    admin = room.client("admin")
    whole = [event["id"] for event in await found(room, patient=people[0])]
    seen: list[str] = []
    url = f"/AuditEvent?patient={people[0]}&_count=2"
    while url:
        answer = await admin.get(url)
        seen += [event["id"] for event in events(answer)]
        links = {link["relation"]: link["url"] for link in answer.json()["link"]}
        url = links.get("next", "")

    # The look at the whole of them is an event since, and stands before.
    assert seen[1:] == whole


async def test_an_event_is_read_by_its_id(room: Room, people: list[str]) -> None:
    """The id of a search finds the same event; an id of no row is 404."""
    one = (await found(room, patient=people[0]))[0]
    admin = room.client("admin")
    read = await admin.get(f"/AuditEvent/{one['id']}")
    missing = await admin.get(f"/AuditEvent/{'0' * 13}-{'0' * 32}")

    assert read.json() == one
    assert missing.status_code == 404


async def test_looking_into_the_audit_is_audited(room: Room, people: list[str]) -> None:
    """The inspector's search of a person is itself an event about that person."""
    await found(room, patient=people[1])
    mine = await found(room, patient=people[1], agent="admin")

    assert mine[0]["entity"][0]["what"]["type"] == "AuditEvent"


@pytest.mark.parametrize("user", ["doctor", "pharmacist", "registrar"])
async def test_only_inspectors_see_it(room: Room, people: list[str], user: str) -> None:
    """Other roles are refused, and the refusal is an event."""
    client = room.client(user)
    one = (await found(room, patient=people[0]))[0]

    assert (await client.get("/AuditEvent")).status_code == 403
    assert (await client.get(f"/AuditEvent/{one['id']}")).status_code == 403
    assert (await client.get(f"/Patient/{people[0]}/AuditEvent")).status_code == 403
    refused = await found(room, agent=user, outcome="403", **{"entity-type": "AuditEvent"})
    assert len(refused) >= 3


async def test_odd_questions(room: Room, people: list[str]) -> None:
    """Unknown parameters are ignored and told, refused when strict; bad values are 400."""
    admin = room.client("admin")
    lenient = await admin.get("/AuditEvent?policy=x&_count=1")
    strict = await admin.get("/AuditEvent?policy=x", headers={"prefer": "handling=strict"})
    statuses = [(await admin.get(f"/AuditEvent?{text}")).status_code for text in (
        "date=yesterday", "action=X", "outcome=abc", "_sort=action", "_cursor=zzz", "_count=many",
        "entity=123", "patient=Group/1")]

    assert any("policy" in str(entry) for entry in lenient.json()["entry"])
    assert strict.status_code == 400
    assert statuses == [400] * 8
    assert people


async def test_a_stored_event_of_a_system_is_still_read(room: Room) -> None:
    """A system's own AuditEvent is a record like any other."""
    service = room.client("service")
    made = await service.post("/AuditEvent", json={
        "resourceType": "AuditEvent", "code": {"text": "till opened"},
        "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"display": "till"}}],
        "source": {"observer": {"display": "till 7"}}})

    assert made.status_code == 201
    read = await service.get(f"/AuditEvent/{made.json()['id']}")
    assert read.json()["source"]["observer"]["display"] == "till 7"
