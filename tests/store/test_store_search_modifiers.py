"""Random searches with modifiers, places, levels and :missing agree with a slow reading."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import put

from dmed.fhir import query_codes
from dmed.fhir.query import parse, self_link
from dmed.kit.settings import Settings
from dmed.store import schema, search, search_stage
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4, count_max=1000)
AUDIT = AuditRow(request="r", action="E", subject="doctor", role="doctor")
SYSTEMS = ["urn:tree", "urn:b", ""]
TREE = {"a": "", "ab": "a", "abc": "ab", "ac": "a", "B1": ""}
"""A code system: each code with the one above it."""
SETS = {"urn:set:1": [("urn:tree", "ab"), ("urn:b", "B1")], "urn:set:2": [("urn:b", "a")],
        "urn:set:none": []}
SAID = ["Blood pressure", "blood sugar", "SUGAR", "Qon bosimi", "Кон"]
HEARD = {"Кон": "kon"}
PLANS = ["http://x.org/plan", "http://x.org/plan/a", "http://x.org/other"]
VERSIONS = ["", "1", "1.2", "1.2.3", "1.20", "2"]
PLACES = [(41.3, 69.2), (41.31, 69.25), (41.5, 69.9), (0.0, 179.95), (0.0, -179.95), (89.9, 10.0)]
PARENTS: dict[str, str] = {"l0": "", "l1": "l0", "l2": "l1", "l3": "l1", "l4": "", "l5": "l2"}


class Tree:
    """A small terminology of its own behind the port of the search."""

    def codes_in(self, value_set: str) -> Sequence[tuple[str, str]] | None:
        return SETS.get(value_set)

    def below(self, system: str, code: str) -> Sequence[str] | None:
        if system != "urn:tree":
            return None
        return [each for each in TREE if code in line(each)]

    def above(self, system: str, code: str) -> Sequence[str] | None:
        return line(code) if system == "urn:tree" else None


def line(code: str) -> list[str]:
    found = []
    while code:
        found.append(code)
        code = TREE.get(code, "")
    return found


# Records -------------------------------------------------------------------------------------


def without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value not in (None, [], {})}


def concept(dice: random.Random) -> dict[str, Any]:
    coding = [without_none({
        "system": dice.choice(SYSTEMS) or None, "code": dice.choice(list(TREE)),
        "display": dice.choice([None, *SAID])}) for _ in range(dice.randint(0, 2))]
    return without_none({"coding": coding, "text": dice.choice([None, *SAID])})


def subject(dice: random.Random) -> dict[str, Any]:
    kind = dice.choice(["Patient", "Patient", "Group"])
    version = dice.choice(["", "", "/_history/1", "/_history/2"])
    return without_none({
        "reference": dice.choice([None, f"{kind}/p{dice.randint(1, 2)}{version}"]),
        "identifier": dice.choice([None, {"system": "urn:id", "value": dice.choice("12")},
                                   {"value": "1"}]),
        "display": dice.choice([None, *SAID]), "type": dice.choice([None, kind])})


def amount(dice: random.Random) -> dict[str, Any] | None:
    return {"value": 5} if dice.random() < 0.6 else None


def record(dice: random.Random, number: int) -> dict[str, Any]:
    kind = dice.choice(["Observation"] * 4 + ["Patient", "Location", "Encounter", "PlanDefinition"])
    content: dict[str, Any] = {"resourceType": kind, "id": f"r{number}"}
    if kind == "Observation":
        component = [without_none({"code": concept(dice) or {"text": "x"},
                                   "valueQuantity": amount(dice)})
                     for _ in range(dice.randint(0, 2))]
        content |= {"status": dice.choice(["final", "amended"]), "code": concept(dice),
                    "subject": subject(dice), "valueQuantity": amount(dice),
                    "component": component}
    elif kind == "Patient":
        content["identifier"] = [without_none({
            "type": concept(dice), "system": dice.choice([None, "urn:id"]),
            "value": dice.choice([None, "1", "1|2"])}) for _ in range(dice.randint(0, 2))]
        content["identifier"] = [each for each in content["identifier"] if each]
    elif kind == "Location":
        place = dice.choice([None, *PLACES])
        content["position"] = place and {"latitude": place[0], "longitude": place[1]}
    elif kind == "Encounter":
        content |= {"status": "planned", "location": [
            {"location": {"reference": f"Location/{dice.choice(list(PARENTS))}"}}
            for _ in range(dice.randint(0, 2))]}
    else:
        versions = [dice.choice(VERSIONS) for _ in range(dice.randint(0, 2))]
        content |= {"status": "draft", "library": [
            dice.choice(PLANS) + (f"|{each}" if each else "") for each in versions]}
    return without_none(content)


DICE = random.Random(11)  # noqa: S311  # The same records in every run.
LEVELS = [without_none({"resourceType": "Location", "id": name,
                        "partOf": {"reference": f"Location/{above}"} if above else None})
          for name, above in PARENTS.items()]
RECORDS = [*LEVELS, *(record(DICE, number) for number in range(220))]


# The slow reading ----------------------------------------------------------------------------


Test = Callable[[dict[str, Any]], bool]


class Asked:
    """One criterion: its pair as sent, and what it means for a record's JSON."""

    def __init__(self, name: str, value: str, holds: Test) -> None:
        self.pair, self.holds = (name, value), holds

    def __repr__(self) -> str:
        return "=".join(self.pair)


def plain(text: str) -> str:
    return HEARD.get(text, text).lower()


def pairs(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.get("system", ""), each["code"]) for each in found.get("coding", [])]


def said(found: dict[str, Any]) -> list[str]:
    texts = [each.get("display") for each in found.get("coding", [])] + [found.get("text")]
    return [plain(text) for text in texts if text]


def code_of(content: dict[str, Any]) -> dict[str, Any]:
    return dict(content.get("code", {}))


def missing(name: str, wanted: bool, is_there: Test) -> Asked:
    return Asked(f"{name}:missing", str(wanted).lower(), lambda c: is_there(c) != wanted)


def distance_km(one: tuple[float, float], two: tuple[float, float]) -> float:
    """By the chord between two points of the sphere: another formula than the database's."""
    points = []
    for latitude, longitude in (one, two):
        lat, lon = math.radians(latitude), math.radians(longitude)
        points.append((math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon),
                       math.sin(lat)))
    return 2 * 6371.0088 * math.asin(min(1.0, math.dist(*points) / 2))


def is_near(content: dict[str, Any], place: tuple[float, float], reach_km: float) -> bool:
    position = content.get("position")
    return position is not None and distance_km(
        (position["latitude"], position["longitude"]), place) <= reach_km


def locations_of(content: dict[str, Any]) -> set[str]:
    return {each["location"]["reference"].split("/")[1] for each in content.get("location", [])}


def levels(name: str) -> list[str]:
    return [name, *levels(PARENTS[name])] if PARENTS[name] else [name]


def canonical_holds(modifier: str, wanted: tuple[str, str], held: tuple[str, str]) -> bool:
    (url, version), (own, number) = wanted, held
    if not version:
        if modifier == "below":
            return own == url or own.startswith(f"{url}/")
        return own == url or (modifier == "above" and url.startswith(f"{own}/"))
    same = number == version
    if modifier == "below":
        same = f"{number}.".startswith(f"{version}.")
    if modifier == "above":
        same = bool(number) and f"{version}.".startswith(f"{number}.")
    return own == url and same


one = st.sampled_from


def texts_asked(draw: st.DrawFn, name: str, read: Callable[[dict[str, Any]], list[str]]) -> Asked:
    texts = draw(st.lists(one(["blood", "Sugar", "kon", "qon bos", "zz"]), min_size=1, max_size=2))
    return Asked(name, ",".join(texts), lambda c: any(
        word.startswith(text.lower()) for word in read(c) for text in texts))


def asked_of_code(draw: st.DrawFn) -> Asked:
    form = draw(one(["text", "combo", "code-text", "in", "not-in", "below", "above", "missing"]))
    wanted = draw(st.booleans())
    if form == "missing":
        return missing("code", wanted, lambda c: bool(pairs(code_of(c)) or said(code_of(c))))
    if form == "text":
        return texts_asked(draw, "code:text", lambda c: said(code_of(c)))
    if form == "combo":  # Two places of the record, each with displays of its own.
        return texts_asked(draw, "combo-code:text", lambda c: [
            word for found in (c, *c.get("component", [])) for word in said(code_of(found))])
    if form == "code-text":
        text = draw(one(["A", "ab", "aBc", "b1", "b", "blo", "c"]))
        return Asked("code:code-text", text, lambda c: any(
            word.startswith(text.lower()) for word in
            [*said(code_of(c)), *(code.lower() for _, code in pairs(code_of(c)))]))
    if form in {"in", "not-in"}:
        names = draw(st.lists(one(sorted(SETS)), min_size=1, max_size=2))
        inside = {pair for name in names for pair in SETS[name]}
        return Asked(f"code:{form}", ",".join(names), lambda c: bool(
            inside & set(pairs(code_of(c)))) == (form == "in"))
    code = draw(one(sorted(TREE)))
    meant = {each for each in TREE if code in line(each)} if form == "below" else set(line(code))
    return Asked(f"code:{form}", f"urn:tree|{code}", lambda c: any(
        system == "urn:tree" and each in meant for system, each in pairs(code_of(c))))


def asked_of_subject(draw: st.DrawFn) -> Asked:
    def held(content: dict[str, Any]) -> dict[str, Any]:
        return dict(content.get("subject", {}))

    form = draw(one(["identifier", "text", "missing", "version", "type"]))
    if form == "text":
        return texts_asked(draw, "subject:text", lambda c: [
            plain(held(c)["display"])] if "display" in held(c) else [])
    if form == "identifier":
        text, system, value = draw(one([("urn:id|1", "urn:id", "1"), ("1", None, "1"),
                                        ("|1", "", "1"), ("2", None, "2"),
                                        ("urn:id|", "urn:id", None)]))
        return Asked("subject:identifier", text, lambda c: "identifier" in held(c) and (
            system in (None, held(c)["identifier"].get("system", ""))
            and value in (None, held(c)["identifier"]["value"])))
    if form == "version":
        text = f"Patient/p1/_history/{draw(one('12'))}"
        return Asked("subject", text, lambda c: held(c).get("reference") == text)
    if form == "type":
        return Asked("subject:Group", "p1", lambda c: held(c).get("reference", "").startswith(
            "Group/p1"))
    return missing("subject", draw(st.booleans()), lambda c: any(
        name in held(c) for name in ("reference", "identifier", "display")))


def has_pair(content: dict[str, Any]) -> bool:
    return bool(pairs(code_of(content))) and "valueQuantity" in content


def asked_of_composite(draw: st.DrawFn) -> Asked:
    wanted = draw(st.booleans())
    if draw(st.booleans()):
        return missing("component-code-value-quantity", wanted, lambda c: any(
            map(has_pair, c.get("component", []))))
    return missing("code-value-quantity", wanted, lambda c: "valueQuantity" in c and bool(
        pairs(code_of(c)) or said(code_of(c))))


def asked_of_patient(draw: st.DrawFn) -> Asked:
    def held(content: dict[str, Any]) -> list[dict[str, Any]]:
        return list(content.get("identifier", []))

    if draw(st.booleans()):
        return texts_asked(draw, "identifier:text", lambda c: [
            plain(each["type"]["text"]) for each in held(c) if "text" in each.get("type", {})])
    system, code = draw(one(["urn:tree", "urn:b"])), draw(one(sorted(TREE)))
    value = draw(one(["1", "1|2"]))
    return Asked(
        "identifier:of-type", f"{system}|{code}|{value}".replace("1|2", "1\\|2"),
        lambda c: any(each.get("value") == value and (system, code) in pairs(each.get("type", {}))
                      for each in held(c)))


def asked_of_location(draw: st.DrawFn) -> Asked:
    if draw(st.integers(0, 3)) == 0:
        return missing("near", draw(st.booleans()), lambda c: "position" in c)
    place, reach = draw(one([*PLACES, (90.0, 0.0)])), draw(one(["0.5", "5", "30", "70", "1500"]))
    unit, factor = draw(one([("km", 1.0), ("[mi_us]", 1.609347), ("m", 0.001)]))
    return Asked("near", f"{place[0]}|{place[1]}|{reach}|{unit}",
                 lambda c: is_near(c, place, float(reach) * factor))


def asked_of_encounter(draw: st.DrawFn) -> Asked:
    name, form = draw(one(sorted(PARENTS))), draw(one(["below", "above"]))
    meant = {each for each in PARENTS if name in levels(each)} if form == "below" else set(
        levels(name))
    return Asked(f"location:{form}", f"Location/{name}", lambda c: bool(meant & locations_of(c)))


def asked_of_plan(draw: st.DrawFn) -> Asked:
    url, version = draw(one(PLANS)), draw(one(VERSIONS))
    form = draw(one(["", "below", "above"]))
    return Asked(
        "depends-on" + (f":{form}" if form else ""), f"{url}|{version}".rstrip("|"),
        lambda c: any(canonical_holds(form, (url, version), (held.partition("|")[0],
                                                             held.partition("|")[2]))
                      for held in c.get("library", [])))


OF_TYPE: dict[str, list[Callable[[st.DrawFn], Asked]]] = {
    "Observation": [asked_of_code, asked_of_code, asked_of_subject, asked_of_composite],
    "Patient": [asked_of_patient], "Location": [asked_of_location],
    "Encounter": [asked_of_encounter], "PlanDefinition": [asked_of_plan],
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, list[Asked], int]:
    type_name = draw(one(["Observation", "Observation", *OF_TYPE]))
    asked = [draw(one(OF_TYPE[type_name]))(draw) for _ in range(draw(st.integers(1, 2)))]
    return type_name, asked, draw(one([0, 5, 20_000]))


# The tests -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in RECORDS:
        await put(database, content)
    yield database
    await database.close()


@pytest.fixture(autouse=True)
def terminology() -> Any:
    """The port answers from the tree above while a test of this file runs."""
    query_codes.use(tree := Tree())
    yield
    query_codes.forget(tree)


async def compare(db: Database, type_name: str, asked: list[Asked]) -> None:
    """The search finds what the slow reading finds, and so does its self link."""
    sent = [each.pair for each in asked]
    query = parse(type_name, [*sent, ("_count", "500")], settings=SETTINGS, strict=True)
    page = await search.search(db, SCOPE, AUDIT, query)
    expected = [content["id"] for content in reversed(RECORDS)
                if content["resourceType"] == type_name and all(a.holds(content) for a in asked)]

    assert [hit.record.id for hit in page.hits] == expected
    assert page.total == len(expected)
    again = parse(type_name, parse_qsl(self_link(query)), settings=SETTINGS, strict=True)
    assert again == query


@given(request=requests())
@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_modifiers_agree_with_a_slow_reading(
    db: Database, request: tuple[str, list[Asked], int]
) -> None:
    """Every modifier of tokens and references, near and :missing, under each plan."""
    type_name, asked, dense = request
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_stage, "DENSE_ROWS", dense)
        await compare(db, type_name, asked)
