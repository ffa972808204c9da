"""Every way to a record, tried by every role of another institution: nothing of it comes out.

The ways are made from the types, the search parameters and the registry of operations, so that a
later type, parameter or operation is attacked too.
"""

from __future__ import annotations

import httpx
import pytest
from attack_world import CLOSED, GUARDED, SECRET, STRANGERS, World

from dmed.apps.rooms import MODULES
from dmed.fhir import params
from dmed.trust.policy.roles import own

NAMED = ("AllergyIntolerance", "Bundle", "Composition", "Condition", "DocumentReference",
         "Encounter", "MedicationDispense", "MedicationRequest", "Observation", "Provenance",
         "Task")  # fmt: skip  # A list.


def types_for(user: str) -> list[str]:
    """All types for the role that is stopped record by record; some for those stopped by type."""
    mine = GUARDED if user in {"doctor", "citizen"} else NAMED
    return [type_ for type_ in mine if type_ in CLOSED[user]]


def ways_of(ways: tuple[str, ...], at: int) -> tuple[str, ...]:
    """The first way for every type, and one of the others in turn: each meets many types."""
    return ways[0], ways[1 + at % (len(ways) - 1)]


def leaks(answer: httpx.Response, world: World, type_: str = "") -> bool:
    """Whether an answer tells of the victim's records: their content or (unasked) their id."""
    if SECRET in answer.text:
        return True
    asked = str(answer.request.url) + (answer.request.content or b"").decode(errors="replace")
    return any(id_ in answer.text and id_ not in asked for id_ in world.records.values())


READS = ("{0}/{1}", "{0}/{1}/_history", "{0}/{1}/_history/1", "{0}?_id={1}",
         "{0}/{1}?_summary=text")  # fmt: skip  # A list.


async def test_the_victims_own_doctor_sees_all_of_it(world: World) -> None:
    """The attacks below fail for a reason: who has a care relationship reads every type."""
    unseen = []
    for type_, id_ in world.records.items():
        answer = await world.insider.get(f"/fhir/{type_}/{id_}")
        if answer.status_code != 200 or SECRET not in answer.text:
            unseen.append(type_)

    assert unseen == []


async def test_the_victim_as_a_citizen_sees_all_that_lies_in_the_own_record(world: World) -> None:
    """The person reads every type of the own compartment, and finds it by searching."""
    unseen = []
    for type_ in sorted(own() & set(GUARDED)):
        answer = await world.victim.get(f"/fhir/{type_}/{world.records[type_]}")
        found = await world.victim.get(f"/fhir/{type_}?_id={world.records[type_]}")
        if {answer.status_code, found.status_code} != {200} or SECRET not in found.text:
            unseen.append(type_)

    assert unseen == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_read_tells_of_it(world: World, user: str) -> None:
    """Read, version, history and search by id answer as for a record that never was."""
    told, different = [], []
    for at, type_ in enumerate(types_for(user)):
        id_ = world.records[type_]
        never = id_[:-4] + "0000"
        for way in ways_of(READS, at):
            answer, other = [
                await world.api[user].get("/fhir/" + way.format(type_, each))
                for each in (id_, never)]
            if leaks(answer, world):
                told.append(f"{user} {way.format(type_, '...')}")
            same = answer.text.replace(id_, "") == other.text.replace(never, "")
            if answer.status_code != other.status_code or (answer.status_code > 400 and not same):
                different.append(f"{user} {way.format(type_, '...')} {answer.status_code}")

    assert told == []
    assert different == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_search_tells_of_it(world: World, user: str) -> None:
    """By type, by person, by total, by count, sorted, in a compartment, over all types."""
    told = []
    searches = ("", f"?patient={world.there}", "?_summary=count", "?_total=accurate",
                "?_sort=_lastUpdated", "/_history")  # fmt: skip  # A list.
    for at, type_ in enumerate(types_for(user)):
        for query in ways_of(searches, at):
            answer = await world.api[user].get(f"/fhir/{type_}{query}")
            told += [f"{type_}{query}"] if leaks(answer, world) else []
            counted = answer.json().get("total") if answer.status_code == 200 else 0
            if counted:
                # What other tests made about the stranger's own patient may be counted.
                own = await world.service.get(
                    f"/fhir/{type_}?patient={world.here}&_summary=count")
                told += [f"{type_}{query}"] if counted > own.json().get("total", 0) else []
    for path in (f"Patient/{world.there}/*", f"Patient/{world.there}/Observation",
                 f"?_id={world.records['Observation']}", "_history",
                 f"Patient/{world.there}/$everything"):
        answer = await world.api[user].get(f"/fhir/{path}")
        told += [path] if leaks(answer, world) else []

    assert told == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_chain_and_no_include_tells_of_it(world: World, user: str) -> None:
    """A person's card may be found; what hangs on it is neither added nor asked about."""
    told = []
    for at, type_ in enumerate(types_for(user)):
        for code, parameter in params.parameters(type_).items():
            if parameter.type != "reference" or "Patient" not in parameter.targets:
                continue
            both = (f"_id={world.there}&_revinclude={type_}:{code}",
                    f"_has:{type_}:{code}:_id={world.records[type_]}")  # fmt: skip  # A pair.
            for query in (both[at % 2],):
                answer = await world.api[user].get(f"/fhir/Patient?{query}")
                found = answer.status_code == 200 and query.startswith("_has") and any(
                    entry["search"]["mode"] == "match" for entry in answer.json().get("entry", []))
                told += [query] if leaks(answer, world) or found else []
    for query in ("Observation?subject:Patient.family=Of-there",
                  "Provenance?_include=Provenance:target&_include=Provenance:patient",
                  f"Patient?_id={world.there}&_revinclude=*",
                  "Organization?_revinclude:iterate=*&_id=clinic-there&_revinclude=*"):
        answer = await world.api[user].get(f"/fhir/{query}")
        told += [query] if leaks(answer, world) else []

    assert told == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_write_reaches_it(world: World, user: str) -> None:
    """Update, patch, delete, by id and by criteria, alone and in a Bundle: it stays as it is."""
    changed, told = [], []
    client = world.api[user]
    for at, type_ in enumerate(types_for(user)):
        id_ = world.records[type_]
        before = await world.service.get(f"/fhir/{type_}/{id_}")
        body = {"resourceType": type_, "id": id_, "language": "uz"}
        writes = (
            ("PUT", f"{type_}/{id_}", body, {}),
            ("PUT", f"{type_}?_id={id_}", {"resourceType": type_}, {}),
            ("PATCH", f"{type_}/{id_}", [{"op": "add", "path": "/language", "value": "uz"}],
             {"content-type": "application/json-patch+json"}),
            ("DELETE", f"{type_}/{id_}", None, {}),
            ("DELETE", f"{type_}?_id={id_}", None, {}),
        )  # fmt: skip  # A table.
        answers = [
            await client.request(method, f"/fhir/{path}", json=sent, headers=headers)
            for method, path, sent, headers in (writes[0], writes[1 + at % 4])
        ]
        after = await world.service.get(f"/fhir/{type_}/{id_}")
        changed += [type_] if (after.status_code, after.text) != (200, before.text) else []
        told += [f"{type_} {answer.request.method}" for answer in answers if leaks(answer, world)]

    assert changed == []
    assert told == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_bundle_tells_of_it(world: World, user: str) -> None:
    """The entries of a batch pass the same decision."""
    told = []
    types = types_for(user)
    for start in range(0, len(types), 50):
        entries = [{"request": {"method": "GET", "url": f"{type_}/{world.records[type_]}"}}
                   for type_ in types[start : start + 50]]
        answer = await world.api[user].post(
            "/fhir", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        told += [f"{start}"] if leaks(answer, world) else []

    assert told == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_no_operation_tells_of_it(world: World, user: str) -> None:
    """Every operation of every module, on the victim's records and on the victim."""
    told = []
    for module in MODULES:
        for operation in module.operations:
            if operation.name == "break-glass":
                continue
            types = [operation.type] if operation.type else NAMED
            for type_ in types if operation.instance else [""]:
                id_ = world.there if type_ == "Patient" else world.records.get(type_, "x")
                place = f"{type_}/{id_}/" if type_ else (operation.type + "/").lstrip("/")
                for method in ("GET", "POST"):
                    answer = await world.api[user].request(
                        method, f"/fhir/{place}${operation.name}")
                    told += [f"{method} {place}{operation.name}"] if leaks(answer, world) else []

    assert told == []


async def test_nobody_helps_himself_to_care(world: World) -> None:
    """A stranger can neither write about the victim nor attach the victim to his own clinic."""
    doctor = world.api["doctor"]
    answers = [
        await doctor.post("/fhir/Observation", json={
            "resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "subject": {"reference": f"Patient/{world.there}"}}),
        await doctor.put(f"/fhir/Patient/{world.there}", json={
            "resourceType": "Patient", "id": world.there,
            "managingOrganization": {"reference": "Organization/clinic-here"}}),
        await doctor.post("/fhir/Provenance", json={
            "resourceType": "Provenance", "recorded": "2026-11-23T10:00:00Z",
            "target": [{"reference": f"Patient/{world.there}"}],
            "agent": [{"who": {"display": "x"}}]}),
    ]

    assert {answer.status_code for answer in answers} == {403}
    seen = await doctor.get(f"/fhir/Observation/{world.records['Observation']}")
    assert seen.status_code == 404
