"""Words of one text, canonical links backwards, distance, areas and estimates, on a PostgreSQL."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from searching import SETTINGS, ask, ids, person, put, walk

from dmed.fhir.query import parse, self_link
from dmed.kit.errors import InvalidError
from dmed.store import schema, search, search_area, search_stage
from dmed.store.pool import Database


def square(south: float, west: float, size: float) -> list[list[float]]:
    north, east = south + size, west + size
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def place(id_: str, latitude: float | None, longitude: float, **more: Any) -> dict[str, Any]:
    at = {} if latitude is None else {"position": {"latitude": latitude, "longitude": longitude}}
    return {"resourceType": "Location", "id": id_, "status": "active", **at, **more}


def bounded(id_: str, shape: dict[str, Any]) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(shape).encode()).decode()
    return place(id_, None, 0, extension=[{
        "url": "http://hl7.org/fhir/StructureDefinition/location-boundary-geojson",
        "valueAttachment": {"contentType": "application/geo+json", "data": data}}])


def definition(kind: str, id_: str, url: str, version: str = "", **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": id_, "status": "active", "url": f"http://x.org/{url}",
            **({"version": version} if version else {}), **more}


WORLD: list[dict[str, Any]] = [
    person(1, "Karimova", generalPractitioner=[
        {"reference": "Practitioner/1", "display": "Saidov, Aziz (family doctor)"}]),
    person(2, "Karimova-Saidova"), person(3, "O'g'il Karimova Юлдашева"),
    {"resourceType": "Observation", "id": "o1", "status": "final",
     "code": {"coding": [{"system": "urn:c", "code": "x", "display": "Systolic blood pressure"}],
              "text": "pressure of the blood"}},
    {"resourceType": "Observation", "id": "o2", "status": "final",
     "code": {"text": "blood glucose"}},
    definition("Library", "l1", "lib", "1", type={"text": "x"}),
    definition("Library", "l2", "lib", "2", type={"text": "x"}, name="Second"),
    definition("Library", "l3", "other", type={"text": "x"}),
    definition("PlanDefinition", "d1", "plan1", library=["http://x.org/lib|1"], name="One"),
    definition("PlanDefinition", "d2", "plan2", library=["http://x.org/lib"], name="Any"),
    definition("PlanDefinition", "d3", "plan3", library=["http://x.org/lib|2"], name="Two"),
    definition("PlanDefinition", "d4", "plan4", library=["http://x.org/other"], name="Other"),
    place("near", 41.30, 69.24), place("far", 41.38, 69.24), place("middle", 41.33, 69.24),
    place("nowhere", None, 0),
    bounded("city", {"type": "Polygon", "coordinates": [
        square(41, 69, 1), square(41.4, 69.4, .2)]}),
    bounded("islands", {"type": "FeatureCollection", "features": [
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [
            [square(10, 10, 1)], [square(41.2, 69.2, .1)]]}}]}),
    bounded("slope", {"type": "Polygon", "coordinates": [
        [[69, 41], [70, 41], [69, 42], [69, 41]]]}),
    bounded("broken", {"type": "Polygon", "coordinates": "?"}),
]  # fmt: skip  # A world in few lines.


DEPENDS = "PlanDefinition:depends-on"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in WORLD:
        await put(database, content)
    yield database
    await database.close()


async def found(db: Database, request: str, mode: str = "match") -> list[str]:
    return sorted(ids(await ask(db, request), mode))


@pytest.mark.parametrize(("request_", "expected"), [
    ("Patient?name:text=karimova", "p001 p002 p003"),
    ("Patient?name:text=saidova karimova", "p002"),
    ("Patient?name:text=saidova,yoldasheva", "p002"),
    ("Patient?name:text=Yuldasheva", "p003"), ("Patient?name:text=ogil", "p003"),
    ("Patient?name:text=karim", ""), ("Patient?name:text=karim*", "p001 p002 p003"),
    ("Patient?name:text=karimova NOT saidova", "p001 p003"),
    ("Patient?name:text=saidova OR ogil", "p002 p003"),
    ('Patient?name:text="karimova saidova"', "p002"), ('Patient?name:text="saidova karimova"', ""),
    ("Observation?code:text-advanced=blood", "o1 o2"),
    ("Observation?code:text-advanced=blood pressure", "o1"),
    ("Observation?code:text-advanced=gluc*", "o2"),
    ("Observation?code:text-advanced=systolic&code:text-advanced=blood", "o1"),
    ("Patient?general-practitioner:text-advanced=doctor aziz", "p001"),
    ("Patient?general-practitioner:text-advanced=azi", ""),
    ("Patient?general-practitioner:code-text=saidov", "p001"),
    ("Patient?general-practitioner:code-text=aziz", ""),
    ("Patient?name:text=karimova&name:text=saidova", "p002"),
    ("Observation?code:code-text=blood", "o2"), ("Observation?code:code-text=X", "o1"),
])  # fmt: skip  # A table.
@pytest.mark.parametrize("dense", [0, 20_000])
async def test_words_of_one_text_are_found(
    db: Database, request_: str, expected: str, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`:text` of strings and `:text-advanced` find words in any order; `:code-text` beginnings."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)

    assert await found(db, request_) == expected.split()


@pytest.mark.parametrize(("request_", "matches", "added"), [
    ("Library?_id=l1&_revinclude=PlanDefinition:depends-on", "l1", "d1 d2"),
    ("Library?_id=l2&_revinclude=PlanDefinition:depends-on:Library", "l2", "d2 d3"),
    ("Library?_id=l3&_revinclude=PlanDefinition:*", "l3", "d4"),
    ("Library?_id=l3&_revinclude=*", "l3", "d4"),
    ("Library?_id=l1&_revinclude=PlanDefinition:derived-from", "l1", ""),
    (f"PlanDefinition?_id=d1&_include={DEPENDS}&_revinclude:iterate={DEPENDS}", "d1", "d2 l1"),
    ("PlanDefinition?depends-on:Library.version=2", "d2 d3", ""),
    ("PlanDefinition?depends-on:Library.version=1", "d1 d2", ""),
    ("PlanDefinition?depends-on:Library.name=second&name=two", "d3", ""),
    ("PlanDefinition?depends-on:Library.url=http://x.org/other", "d4", ""),
    ("PlanDefinition?depends-on:Library.version=9", "", ""),
    ("Library?_has:PlanDefinition:depends-on:name=one", "l1", ""),
    ("Library?_has:PlanDefinition:depends-on:name=any", "l1 l2", ""),
    ("Library?_has:PlanDefinition:depends-on:name=two,other", "l2 l3", ""),
    ("Library?_has:PlanDefinition:derived-from:name=two", "", ""),
])  # fmt: skip  # A table.
@pytest.mark.parametrize("dense", [0, 20_000])
async def test_canonical_links_go_both_ways(
    db: Database, request_: str, matches: str, added: str, dense: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chains, `_has` and `_revinclude` follow addresses: of the version named, or of all."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)
    page = await ask(db, request_)

    assert sorted(ids(page)) == matches.split()
    assert sorted(ids(page, "include")) == added.split()


@pytest.mark.parametrize(("order", "expected"), [
    ("near", "near middle far"), ("-near", "far middle near"),
    ("status,near", "near middle far"), ("near,-_id", "near middle far"),
])  # fmt: skip  # A table.
async def test_places_are_sorted_by_distance(db: Database, order: str, expected: str) -> None:
    """The nearest first, page by page and back; the search itself names from where."""
    request = f"Location?near=41.29|69.24|50|km&_sort={order}&_count=1"
    pages = await walk(db, request)

    assert [one for page in pages for one in page] == expected.split()
    first = await ask(db, request)
    second = await ask(db, request, cursor=first.next_cursor)
    assert ids(await ask(db, request, cursor=second.previous_cursor)) == ids(first)


def test_a_sort_by_distance_needs_a_place() -> None:
    """Without one `near` there is no distance; the self link says the rest."""
    for pairs in ([("_sort", "near")],
                  [("near", "1|2,3|4"), ("_sort", "near")], [("_sort", "contains")]):
        with pytest.raises(InvalidError, match="_sort"):
            parse("Location", pairs, settings=SETTINGS)
    query = parse("Location", [("_sort", "-near"), ("near", "41|69")], settings=SETTINGS)
    assert self_link(query) == "near=41%7C69&_sort=-near&_count=20"


@pytest.mark.parametrize(("point", "expected"), [
    ("41.25|69.25", "city islands slope"), ("41.5|69.5", "slope"), ("41.9|69.9", "city"),
    ("41.39|69.39", "city slope"), ("10.5|10.5", "islands"), ("20|20", ""), ("41|69", "city slope"),
    ("20|20,10.5|10.5", "islands"), ("-41.25|69.25", ""),
])  # fmt: skip  # A table.
async def test_areas_that_hold_a_point(db: Database, point: str, expected: str) -> None:
    """`contains` reads polygons, several and with holes; what cannot be read holds nothing."""
    assert await found(db, f"Location?contains={point}") == expected.split()


async def test_areas_join_other_criteria(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other criteria, in chains, missing, and beyond the boundaries that one search reads."""
    await put(db, {"resourceType": "Encounter", "id": "e1", "status": "completed",
                   "location": [{"location": {"reference": "Location/islands"}}]})

    assert await found(db, "Encounter?location.contains=10.5|10.5") == ["e1"]
    assert await found(db, "Location?contains=41.25|69.25&status=inactive") == []
    assert await found(db, "Location?contains:missing=false") == ["city", "islands", "slope"]
    assert "broken" in await found(db, "Location?contains:missing=true")
    monkeypatch.setattr(search_area, "BOXES_MAX", 1)
    with pytest.raises(InvalidError, match="boundaries"):
        await ask(db, "Location?contains=41.25|69.25")


async def test_estimates_are_said_and_near(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_total=estimate` is exact for few; for many it is what statistics say, and says so."""
    monkeypatch.setattr(search, "TOTAL_MAX", 20)
    monkeypatch.setattr(search_stage, "TOTAL_MAX", 20)
    for number in range(100, 300):
        gender = "male" if number % 4 == 0 else "female"
        await put(db, person(number, "Many", birthDate="1990") | {"gender": gender})
    await db.hot.execute("ANALYZE resource, token, string, date")
    few = await ask(db, "Patient?name=karimova&_total=estimate")

    assert (few.total, few.is_estimate) == (2, False)
    for dense in (0, 20_000):
        monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)
        for request, exact in (("Patient?", 203), ("Patient?gender=male&", 50),
                               ("Patient?name=many&gender=male&", 50),
                               ("Patient?birthdate=1990&gender=female&", 150),
                               ("Patient?birthdate=1990&gender=male&_sort=family&", 50)):
            page = await ask(db, f"{request}_total=estimate&_count=3")
            assert page.is_estimate, request
            assert page.total is not None
            assert exact / 2 <= page.total <= exact * 2, (request, page.total)
            after = await ask(db, f"{request}_total=estimate&_count=3", cursor=page.next_cursor)
            assert (after.total, after.is_estimate) == (page.total, True)
            counted = await ask(db, f"{request}_total=estimate&_summary=count")
            assert (counted.total, counted.is_estimate) == (page.total, True)
