"""Pages in every order, includes, and nothing seen outside a Scope, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from searching import SCOPE, SETTINGS, ask, audit, ids, person, put, walk

from dmed.fhir import codec, params
from dmed.fhir.query import parse
from dmed.kit.errors import ForbiddenError, InvalidError
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import schema, search, search_stage, unit
from dmed.store.model import Scope, Write, updated_of
from dmed.store.pool import Database


def result(id_: str, patient: str, value: int, performer: str = "") -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final",
            "code": {"coding": [{"system": "urn:c", "code": "x"}]},
            "subject": {"reference": f"Patient/{patient}"}, "valueQuantity": {"value": value},
            **({"performer": [{"reference": performer}]} if performer else {})}


FAMILIES = ["Bek", "Ali", "", "Dono", "Ali", "Chori", "", "Ergash", "Ali", "Gani"]
ORDERS = {
    "": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    "_lastUpdated": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "-_lastUpdated": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    "_id": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "-_id": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    "family": [1, 4, 8, 0, 5, 3, 7, 9, 2, 6],
    "-family": [9, 7, 3, 5, 0, 8, 4, 1, 6, 2],
    "gender": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "-birthdate": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    "family,-_id": [8, 4, 1, 0, 5, 3, 7, 9, 6, 2],
    "-family,_id": [9, 7, 3, 5, 0, 1, 4, 8, 2, 6],
    "family,-birthdate": [8, 4, 1, 0, 5, 3, 7, 9, 6, 2],
    "gender,family,-_id": [8, 4, 1, 0, 5, 3, 7, 9, 6, 2],
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sorted_db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for number, family in enumerate(FAMILIES):
        await put(database, person(number, family, birthDate=f"19{70 + number}-01-01"))
    yield database
    await database.close()


@pytest.mark.parametrize("criteria", ["", "gender=female&", "birthdate=ge1900&",
                                      "gender=female&birthdate=ge1900&"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dense", [0, 20_000])
async def test_every_order_pages_through_all(
    sorted_db: Database, order: str, criteria: str, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order gives each record once, page by page, under every plan; missing values last."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)
    sort = f"_sort={order}&" if order else ""
    pages = await walk(sorted_db, f"Patient?{criteria}{sort}_count=3")

    assert [one for page in pages for one in page] == [f"p{n:03}" for n in ORDERS[order]]
    assert [len(page) for page in pages] == [3, 3, 3, 1]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("criteria", ["", "gender=female&"])
@pytest.mark.parametrize("dense", [0, 20_000])
async def test_every_order_can_be_read_back(
    sorted_db: Database, order: str, criteria: str, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Previous pages hold what they held on the way forward."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)
    request = f"Patient?{criteria}{f'_sort={order}&' if order else ''}_count=4"
    first = await ask(sorted_db, request)
    second = await ask(sorted_db, request, cursor=first.next_cursor)
    third = await ask(sorted_db, request, cursor=second.next_cursor)
    back = await ask(sorted_db, request, cursor=third.previous_cursor)
    front = await ask(sorted_db, request, cursor=back.previous_cursor)

    assert (ids(back), ids(front)) == (ids(second), ids(first))
    assert first.previous_cursor is None
    assert front.previous_cursor is None
    assert third.next_cursor is None
    assert [page.total for page in (first, second, third, back)] == [10] * 4
    assert ids(await ask(sorted_db, request, cursor=front.next_cursor)) == ids(second)


async def test_a_cursor_of_another_search_is_refused(sorted_db: Database) -> None:
    """A token is bound to its search; a made-up one is a 400 that names the parameter."""
    page = await ask(sorted_db, "Patient?_count=3")
    for request, cursor in (("Patient?gender=female&_count=3", page.next_cursor),
                            ("Patient?_count=3", "AAAA"), ("Patient?_count=3", "x"),
                            ("Patient?_sort=family&_count=3", page.next_cursor)):
        with pytest.raises(InvalidError, match="_cursor"):
            await ask(sorted_db, request, cursor=cursor)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def linked(module_database_url: str, sorted_db: Database) -> Database:
    """Two patients with results, a doctor, her organisation and its parent."""
    for content in (
        {"resourceType": "Organization", "id": "main", "name": "Main"},
        {"resourceType": "Organization", "id": "sub", "name": "Sub",
         "partOf": {"reference": "Organization/main"}},
        person(100, "Linked", managingOrganization={"reference": "Organization/sub"}),
        person(101, "Other", managingOrganization={"reference": "Organization/sub"}),
        {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Doctor"}]},
        result("a", "p100", 1, "Practitioner/dr"), result("b", "p100", 2),
        result("c", "p101", 3, "Practitioner/dr"), result("d", "p101", 4, "Patient/p100"),
        {"resourceType": "Encounter", "id": "both", "status": "completed",
         "subject": {"reference": "Patient/p101"}},
    ):
        await put(sorted_db, content)
    return sorted_db


INCLUDES = {
    "Observation?_id=a&_include=Observation:subject": "Patient/p100",
    "Observation?_id=a,b,c&_include=Observation:patient": "Patient/p100 Patient/p101",
    "Observation?_id=a&_include=Observation:performer": "Practitioner/dr",
    "Observation?_id=d&_include=Observation:performer:Patient": "Patient/p100",
    "Observation?_id=a,d&_include=Observation:performer:Practitioner": "Practitioner/dr",
    "Observation?_id=a&_include=*": "Patient/p100 Practitioner/dr",
    "Observation?_id=a&_include=Observation:*": "Patient/p100 Practitioner/dr",
    "Observation?_id=a&_include=Observation:subject&_include:iterate=Patient:organization":
        "Organization/sub Patient/p100",
    "Observation?_id=a&_include=Observation:subject&_include:iterate=Patient:organization"
    "&_include:iterate=Organization:partof": "Organization/main Organization/sub Patient/p100",
    "Patient?_id=p100&_revinclude=Observation:subject": "Observation/a Observation/b",
    "Patient?_id=p100&_revinclude=Observation:performer": "Observation/d",
    "Patient?_id=p101&_revinclude=*": "Encounter/both Observation/c Observation/d",
    "Patient?_id=p101&_revinclude=Encounter:*": "Encounter/both",
    "Organization?_id=main&_revinclude=Organization:partof"
    "&_revinclude:iterate=Patient:organization": "Organization/sub Patient/p100 Patient/p101",
    "Patient?_id=p100&_include=Patient:general-practitioner": "",
    "Observation?_id=a,b&_include=Observation:patient&_revinclude=Observation:patient":
        "Patient/p100",
}


@pytest.mark.parametrize("request_", INCLUDES)
async def test_includes_add_what_is_linked(linked: Database, request_: str) -> None:
    """Includes follow references both ways, step by step, and add each record once."""
    page = await ask(linked, request_)
    added = sorted(f"{hit.record.type}/{hit.record.id}" for hit in page.hits
                   if hit.mode == "include")

    assert " ".join(added) == INCLUDES[request_]
    assert page.notes == ()


async def test_includes_are_bounded_and_say_so(linked: Database) -> None:
    """Beyond include_max the rest is left out and the page carries a note."""
    page = await ask(linked, "Observation?_id=a,c&_include=*", settings=Settings(include_max=2))

    assert len(ids(page, "include")) == 2
    assert "2 records" in page.notes[0]


async def test_a_chain_that_finds_too_much_is_refused(
    linked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond STAGE_MAX a chain and a reverse chain end with too-costly, naming the parameter."""
    monkeypatch.setattr(search_stage, "STAGE_MAX", 1)
    for request in ("Observation?patient.gender=female", "Patient?_has:Observation:patient:code=x"):
        with pytest.raises(InvalidError, match="over 1 records") as caught:
            await ask(linked, request)
        assert caught.value.issues[0].code == "too-costly"


ONLY = Scope("relative", patients=("p100",))
LEAKS = {
    "Observation?": "a b d",
    "Observation?code=x": "a b d",
    "Observation?patient=p101": "d",
    "Observation?_id=a,c": "a",
    "Patient?": "p100",
    "Patient?name=other": "",
    "Patient?_has:Observation:patient:code=x": "p100",
    "Observation?patient.name=other": "",
    "Observation?patient.name=linked": "a b",
    "Observation?performer:Practitioner.name=doctor": "",
    "Patient?_has:Observation:patient:_id=c": "",
    "Organization?": "",
    "Observation?_sort=_id": "a b d",
    "Observation?value-quantity=gt0": "a b d",
}


@pytest.mark.parametrize("request_", LEAKS)
async def test_a_scope_holds_in_every_alias(linked: Database, request_: str) -> None:
    """Limited to one patient, no hit, chain, count or total tells of another's record."""
    expected = LEAKS[request_].split()
    page = await ask(linked, request_, ONLY)

    assert sorted(ids(page)) == expected
    assert page.total == len(expected)
    for asked in ("_summary=count", "_total=accurate"):
        assert (await ask(linked, f"{request_}&{asked}", ONLY)).total == len(expected)


async def test_a_scope_holds_in_includes(linked: Database) -> None:
    """Included records lie in the scope's patients and types, too."""
    both = await ask(linked, "Observation?_id=d&_include=*", ONLY)
    back = await ask(linked, "Patient?_id=p100&_revinclude=*", ONLY)
    typed = Scope("clerk", types=frozenset({"Observation", "Patient"}))
    no_doctor = await ask(linked, "Observation?_id=a&_include=*", typed)

    assert ids(both, "include") == ["p100"]
    assert sorted(ids(back, "include")) == ["a", "b", "d"]
    assert ids(no_doctor, "include") == ["p100"]
    assert ids(await ask(linked, "Observation?performer:Practitioner.name=doctor", typed)) == []
    with pytest.raises(ForbiddenError):
        await ask(linked, "Practitioner?", typed)


async def test_a_search_leaves_a_row_a_person(linked: Database) -> None:
    """The request has its audit row and so has each distinct patient disclosed by it."""
    query = parse("Observation", [("_id", "a,b,c,d")], settings=SETTINGS)
    row = msgspec.structs.replace(audit("many"), query="_id=a,b,c,d", type="Observation")
    await search.search(linked, SCOPE, row, query)
    rows = await linked.hot.fetch(
        "SELECT patient, query FROM audit_told WHERE request = 'many' ORDER BY patient NULLS FIRST")

    assert [(row["patient"], row["query"]) for row in rows] == [
        (None, "_id=a,b,c,d"), ("p100", None), ("p101", None)]


async def test_a_search_inside_a_unit_sees_its_writes(linked: Database) -> None:
    """What the open transaction wrote is found in it, and by nobody after a roll back."""
    content = person(300, "Unseen")
    resource = codec.decode(json.dumps(content).encode())
    vid = new_vid()
    query = parse("Patient", [("name", "unseen")], settings=SETTINGS)
    one = Write(kind="create", type="Patient", id="p300", vid=vid, bucket=bucket_of("p300"),
                updated=updated_of(vid), body=codec.encode(resource), client_id=True,
                index=params.extract(resource), patients=("p300",))

    async def abandoned() -> None:
        async with unit.unit(linked, SCOPE) as open_:
            await open_.write(audit(), one)
            assert ids(await open_.search(audit(), query)) == ["p300"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await abandoned()

    assert ids(await search.search(linked, SCOPE, audit(), query)) == []


async def test_parts_of_records_are_marked(linked: Database) -> None:
    """`_elements` and `_summary` reach the bodies of the page."""
    page = await ask(linked, "Patient?_id=p100&_elements=gender")
    body = json.loads(page.hits[0].record.body)

    assert body["gender"] == "female"
    assert "name" not in body
    assert body["meta"]["tag"][0]["code"] == "SUBSETTED"
