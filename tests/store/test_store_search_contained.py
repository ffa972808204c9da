"""`_contained`: resources inside of others are found, shown and paged, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from searching import SETTINGS, ask, ids, person, put, walk

from dmed.fhir.params_contained import PARTS_MAX
from dmed.fhir.query import parse, self_link
from dmed.kit.errors import InvalidError
from dmed.store import schema, search_contained, search_stage
from dmed.store.model import Scope
from dmed.store.pool import Database


def medication(id_: str, code: str, **more: Any) -> dict[str, Any]:
    coding = {"system": "urn:m", "code": code, "display": f"Medicine {code}"}
    return {"resourceType": "Medication", "id": id_, "code": {"coding": [coding]}, **more}


def request(id_: str, patient: str, *contained: dict[str, Any], to: str = "#m1") -> dict[str, Any]:
    return {"resourceType": "MedicationRequest", "id": id_, "status": "active", "intent": "order",
            **({"contained": list(contained)} if contained else {}),
            "medication": {"reference": {"reference": to}},
            "subject": {"reference": f"Patient/{patient}"}}


WORLD: list[dict[str, Any]] = [
    person(1, "Aliyeva"), person(2, "Bekova"),
    medication("alone", "x", status="active"),
    request("r1", "p001", medication("m1", "x", status="active")),
    request("r2", "p001", medication("m1", "y", status="active"),
            medication("m2", "x", status="inactive")),
    request("r3", "p002", medication("m1", "y", status="active"), person(9, "Inner")),
    request("r4", "p002", to="Medication/alone"),
    {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"},
     "contained": [person(8, "Insider", birthDate="1990-05-05", identifier=[
         {"system": "urn:i", "value": "77", "type": {"coding": [{"system": "urn:t", "code": "MR"}]}}
     ]), {"resourceType": "Observation", "id": "inner", "status": "final", "code": {"text": "y"},
          "valueQuantity": {"value": 5, "unit": "mg", "code": "mg",
                            "system": "http://unitsofmeasure.org"}}],
     "subject": {"reference": "#p008"}},
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in WORLD:
        await put(database, content)
    yield database
    await database.close()


INSIDE = "_contained=true&_containedType=contained"
FOUND = {
    "Medication?code=x": "alone",
    "Medication?_contained=false&code=x": "alone",
    "Medication?_contained=true&code=x": "r2 r1",
    f"Medication?{INSIDE}&code=x": "r2#m2 r1#m1",
    f"Medication?{INSIDE}&code=x,y": "r3#m1 r2#m2 r2#m1 r1#m1",
    f"Medication?{INSIDE}": "r3#m1 r2#m2 r2#m1 r1#m1",
    "Medication?_contained=true": "r3 r2 r1",
    # Both criteria hold for one and the same part.
    f"Medication?{INSIDE}&code=x&status=inactive": "r2#m2",
    f"Medication?{INSIDE}&code=y&status=inactive": "",
    "Medication?_contained=true&code=y&status=inactive": "",
    f"Medication?{INSIDE}&code:not=x": "r3#m1 r2#m1",
    f"Medication?{INSIDE}&code:text=medicine x": "r2#m2 r1#m1",
    f"Medication?{INSIDE}&code:code-text=med&status=active": "r3#m1 r2#m1 r1#m1",
    f"Medication?{INSIDE}&_id=m2": "r2#m2", f"Medication?{INSIDE}&_id=m1&code=x": "r1#m1",
    f"Medication?{INSIDE}&serial-number:missing=true&code=urn:m|y": "r3#m1 r2#m1",
    f"Medication?{INSIDE}&code:missing=true": "",
    f"Medication?{INSIDE}&_filter=code eq x or status eq inactive": "r2#m2 r1#m1",
    "Medication?_contained=both&code=x": "r2 r1 alone",
    "Medication?_contained=both&_containedType=contained&code=x": "r2#m2 r1#m1 alone",
    "Medication?_contained=both&_containedType=container&code=z": "",
    f"Patient?{INSIDE}&family=ins": "o1#p008", f"Patient?{INSIDE}&name:contains=nsid": "o1#p008",
    f"Patient?{INSIDE}&name:exact=Insider": "o1#p008",
    f"Patient?{INSIDE}&name:text=insider": "o1#p008",
    f"Patient?{INSIDE}&birthdate=ge1990-05": "o1#p008",
    f"Patient?{INSIDE}&birthdate=lt1990&family=ins": "",
    f"Patient?{INSIDE}&identifier=urn:i|77": "o1#p008",
    f"Patient?{INSIDE}&identifier:of-type=urn:t|MR|77": "o1#p008",
    f"Observation?{INSIDE}&value-quantity=5|http://unitsofmeasure.org|mg": "o1#inner",
    f"Observation?{INSIDE}&value-quantity=0.005|http://unitsofmeasure.org|g,9": "o1#inner",
    "Observation?_contained=both&status=final": "o1",
    "Observation?_contained=both&_containedType=contained&status=final": "o1#inner o1",
    # Chains are followed into what a record contains; plain searches never meet it.
    "MedicationRequest?medication.code=x": "r4 r1",
    "MedicationRequest?medication.code=y": "r3 r2",
    "MedicationRequest?medication.code=x&status=active&subject=p001": "r1",
    "MedicationRequest?medication:Medication.status=inactive": "",
    "MedicationRequest?medication.code=z": "",
    "Observation?subject:Patient.family=insider": "o1", "Observation?patient.family=insider": "o1",
    "Observation?subject:missing=true": "", "Patient?family=inner": "", "Patient?_id=p009": "",
}  # fmt: skip  # A table.


@pytest.mark.parametrize("request_", FOUND)
@pytest.mark.parametrize("dense", [0, 20_000])
async def test_contained_resources_are_found(
    db: Database, request_: str, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is contained is found where it is asked for, by every kind of parameter."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)
    page = await ask(db, request_)

    assert ids(page) == FOUND[request_].split()
    assert page.total == len(FOUND[request_].split())
    counted = await ask(db, f"{request_}&_summary=count")
    assert counted.total == page.total


@pytest.mark.parametrize("kind", ["true", "both"])
@pytest.mark.parametrize("form", ["container", "contained"])
@pytest.mark.parametrize("type_", ["Medication", "Observation", "Patient"])
async def test_pages_go_through_all_and_back(
    db: Database, kind: str, form: str, type_: str
) -> None:
    """One by one, forward and back, each answer comes once and in the same order."""
    request_ = f"{type_}?_contained={kind}&_containedType={form}&_count=1"
    whole = ids(await ask(db, request_.replace("_count=1", "_count=50")))
    pages = await walk(db, request_)

    assert [one for page in pages for one in page] == whole
    assert len(whole) == len(set(whole))
    if len(whole) > 2:
        first = await ask(db, request_)
        second = await ask(db, request_, cursor=first.next_cursor)
        third = await ask(db, request_, cursor=second.next_cursor)
        back = await ask(db, request_, cursor=third.previous_cursor)
        front = await ask(db, request_, cursor=back.previous_cursor)
        assert (ids(back), ids(front)) == (ids(second), ids(first))
        assert front.previous_cursor is None


async def test_a_contained_answer_is_the_resource_itself(db: Database) -> None:
    """The body is the contained resource as it stands, cut by `_elements` like any other."""
    hit = (await ask(db, f"Medication?{INSIDE}&_id=m2")).hits[0].record

    assert (hit.type, hit.id) == ("MedicationRequest", "r2#m2")
    assert json.loads(hit.body) == WORLD[4]["contained"][1]
    cut = (await ask(db, f"Medication?{INSIDE}&_id=m2&_elements=status")).hits[0].record
    assert "code" not in json.loads(cut.body)


async def test_a_scope_holds_for_what_is_contained(db: Database) -> None:
    """What belongs to another person, or lies in a type that may not be seen, is not found."""
    mine = Scope("x", patients=("p001",))
    medicines = Scope("x", types=frozenset({"Medication", "Observation"}))

    assert ids(await ask(db, f"Medication?{INSIDE}&code=y", mine)) == ["r2#m1"]
    assert ids(await ask(db, f"Medication?{INSIDE}", medicines)) == []
    assert ids(await ask(db, "Observation?subject:Patient.family=insider", medicines)) == []


async def test_an_update_and_a_limit(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update replaces what is found; parts beyond the limit are not; too much is refused."""
    many = [medication(f"n{number}", "many") for number in range(PARTS_MAX + 2)]
    await put(db, request("r9", "p002", *many, to="#n0"))

    found = ids(await ask(db, f"Medication?{INSIDE}&code=many&_count=50"))
    assert len(found) == PARTS_MAX
    assert ids(await ask(db, "MedicationRequest?medication.code=many")) == ["r9"]
    monkeypatch.setattr(search_contained, "LEAD_MAX", 3)
    with pytest.raises(InvalidError, match="narrow"):
        await ask(db, f"Medication?{INSIDE}&code=many")
    await put(db, request("r9", "p002", to="Medication/alone"))
    assert ids(await ask(db, f"Medication?{INSIDE}&code=many&_count=50")) == []
    await put(db, request("r9", "p002"), "delete")


@pytest.mark.parametrize("more", [
    "_sort=status", "_include=Medication:ingredient", "_total=estimate", "_lastUpdated=gt2020",
    "_text=x", "_has:MedicationRequest:medication:status=active", "_sort=_lastUpdated",
    "ingredient:Medication.code=x",
])  # fmt: skip  # A list.
def test_what_contained_resources_cannot_be_asked_is_refused(more: str) -> None:
    """What has no rows for contained resources is a 400 that says so, never left out."""
    pairs = [tuple(pair.split("=")) for pair in ("_contained=true", more)]
    with pytest.raises(InvalidError, match="contained") as caught:
        parse("Medication", pairs, settings=SETTINGS)  # type: ignore[arg-type]  # Pairs they are.
    assert caught.value.issues[0].code == "not-supported"


def test_the_self_link_says_what_was_searched() -> None:
    """Both parameters stand in the link, and a wrong value is a 400 that names it."""
    query = parse("Medication", [("_containedType", "contained"), ("_contained", "both")],
                  settings=SETTINGS)

    assert self_link(query) == "_contained=both&_containedType=contained&_count=20"
    for name, value in (("_contained", "yes"), ("_containedType", "x")):
        with pytest.raises(InvalidError, match=name):
            parse("Medication", [(name, value)], settings=SETTINGS)
