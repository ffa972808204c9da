"""Random chains, `_has`, sorts and includes agree with a slow reading of the records."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import put

from dmed.fhir.query import DEPTH_MAX, parse
from dmed.kit.settings import Settings
from dmed.store import links, schema, search, search_stage
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4, count_max=1000)
AUDIT = AuditRow(request="r", action="E", subject="doctor", role="doctor")
UCUM = "http://unitsofmeasure.org"
NAMES = ["ali", "bek", "zulfiya"]
GRAMS = {"mg": Decimal("0.001"), "g": Decimal(1), "kg": Decimal(1000)}
Record = dict[str, Any]


# Records -------------------------------------------------------------------------------------


def filled(content: Record) -> Record:
    return {key: value for key, value in content.items() if value not in (None, [], {})}


def link(dice: random.Random, kind: str, most: int) -> Record | None:
    number = dice.randint(-1, most)
    return None if number < 0 else {"reference": f"{kind}/{kind[0].lower()}{number}"}


def made(dice: random.Random) -> list[Record]:
    records: list[Record] = []
    for number in range(12):
        records.append(filled({
            "resourceType": "Organization", "id": f"o{number}", "name": dice.choice(NAMES),
            "partOf": link(dice, "Organization", number - 1) if number else None}))
    for number in range(16):
        records.append(filled({
            "resourceType": "Patient", "id": f"p{number}",
            "gender": dice.choice([None, "male", "female"]),
            "name": [{"family": each} for each in dice.sample(NAMES, dice.randint(0, 2))],
            "birthDate": dice.choice([None, "1980", "1980-05", "1990-01-01", "2001-12-31"]),
            "managingOrganization": link(dice, "Organization", 11)}))
    for number in range(40):
        unit = dice.choice(list(GRAMS))
        amount = {"value": dice.choice([1, 2, 70, 900]), "system": UCUM, "code": unit}
        records.append(filled({
            "resourceType": "Observation", "id": f"v{number}", "status": "final",
            "code": {"coding": [{"code": dice.choice("xyz")}]},
            "subject": link(dice, "Patient", 15), "performer": [
                each for each in [link(dice, "Organization", 11)] if each],
            "valueQuantity": dice.choice([None, amount, amount])}))
    for version in ("1", "1.1", "2"):
        records.append({
            "resourceType": "Library", "id": f"l{version}", "status": "active", "version": version,
            "url": "http://x.org/lib", "type": {"text": "x"}})
    for number, address in enumerate(["http://x.org/lib|1.1", "http://x.org/lib", "http://x.org/no"]):
        records.append({
            "resourceType": "PlanDefinition", "id": f"d{number}", "status": "active",
            "library": [address]})
    return records


MERGED = [{f"Patient/p{number}" for number in numbers} for numbers in ((0, 3, 7), (4, 5))]
"""Cards of two persons: what refers to one of them refers to the person."""
RECORDS = made(random.Random(5))  # noqa: S311  # The same records in every run.
BY_ID = {f"{each['resourceType']}/{each['id']}": each for each in RECORDS}
POINTERS: dict[tuple[str, str], tuple[str, Callable[[Record], list[str]]]] = {
    ("Organization", "partof"): ("Organization", lambda c: pointed(c.get("partOf"))),
    ("Patient", "organization"): ("Organization", lambda c: pointed(c.get("managingOrganization"))),
    ("Observation", "patient"): ("Patient", lambda c: pointed(c.get("subject"))),
    ("Observation", "performer"): ("Organization", lambda c: [
        each["reference"] for each in c.get("performer", [])]),
}


def pointed(found: Record | None) -> list[str]:
    return [found["reference"]] if found else []


def cards(reference: str) -> set[str]:
    """A reference with those to the further cards of its person."""
    return next((each for each in MERGED if reference in each), {reference})


def of_type(name: str) -> list[Record]:
    return [each for each in RECORDS if each["resourceType"] == name]


# Chains --------------------------------------------------------------------------------------


one = st.sampled_from


@st.composite
def leaves(draw: st.DrawFn, type_name: str) -> tuple[str, str, Callable[[Record], bool]]:
    if type_name == "Organization":
        text = draw(one(["ali", "be", "zz"]))
        return "name", text, lambda c: c["name"].startswith(text)
    if type_name == "Patient":
        text = draw(one(["male", "female"]))
        return "gender", text, lambda c: c.get("gender") == text
    text = draw(one("xyz"))
    return "code", text, lambda c: c["code"]["coding"][0]["code"] == text


@st.composite
def chains(
    draw: st.DrawFn, type_name: str, depth: int
) -> tuple[str, str, Callable[[Record], bool]]:
    """Name, value and meaning of a chain of at most so many links, forward and backward."""
    forward = [key for key in POINTERS if key[0] == type_name]
    back = [key for key, (target, _) in POINTERS.items() if target == type_name]
    ways = [*((key, True) for key in forward), *((key, False) for key in back)]
    if not depth or not draw(st.integers(0, 4)):
        return draw(leaves(type_name))
    key, is_forward = draw(one(ways))
    target, read = POINTERS[key]
    if is_forward:
        name, text, holds = draw(chains(target, depth - 1))
        form = draw(one([f"{key[1]}:{target}.", f"{key[1]}:{target}."]))
        return form + name, text, lambda c: any(
            holds(BY_ID[card]) for each in read(c) for card in cards(each))
    name, text, holds = draw(chains(key[0], depth - 1))
    return f"_has:{key[0]}:{key[1]}:{name}", text, lambda c: any(
        not cards(f"{type_name}/{c['id']}").isdisjoint(read(each)) and holds(each)
        for each in of_type(key[0]))


# Sorts ---------------------------------------------------------------------------------------


def weight(content: Record) -> list[Decimal]:
    found = content.get("valueQuantity")
    return [Decimal(found["value"]) * GRAMS[found["code"]]] if found else []


SORTS: dict[str, dict[str, Callable[[Record], list[Any]]]] = {
    "Patient": {
        "family": lambda c: [name["family"] for name in c.get("name", [])],
        "gender": lambda c: [c["gender"]] if "gender" in c else [],
        "birthdate": lambda c: [c["birthDate"]] if "birthDate" in c else [],
        "organization": lambda c: [
            each.split("/")[1] for each in pointed(c.get("managingOrganization"))],
        "_id": lambda c: [c["id"]],
    },
    "Observation": {
        "code": lambda c: [c["code"]["coding"][0]["code"]],
        "value-quantity": weight,
        "patient": lambda c: [each.split("/")[1] for each in pointed(c.get("subject"))],
        "_id": lambda c: [c["id"]],
    },
}
SORTS["Observation"]["code-value-quantity"] = weight  # After its code: see `ordered`.


def ordered(records: list[Record], keys: list[tuple[str, bool]]) -> list[str]:
    """Ids in order: each key by its least value, or its greatest descending, missing ones last;
    then in the direction of the first key by age.
    """
    flat: list[tuple[str, bool]] = []
    for code, down in keys:
        flat += [("code", down), (code, down)] if code == "code-value-quantity" else [(code, down)]
    found = records if not flat[0][1] else records[::-1]
    for code, down in reversed(flat):
        read = SORTS[records[0]["resourceType"]][code]
        have = [each for each in found if read(each)]
        # A sort that is reversed must keep the order of equal ones.
        rising = sorted(have[::-1] if down else have,
                        key=lambda c, r=read, d=down: max(r(c)) if d else min(r(c)))  # type: ignore[misc]  # Defaults bind the loop's values.
        found = (rising[::-1] if down else rising) + [each for each in found if not read(each)]
    return [each["id"] for each in found]


# The tests -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in RECORDS:
        await put(database, content)
    async with database.connection() as connection:
        await links.regroup(connection, [[each.split("/")[1] for each in one] for one in MERGED])
    yield database
    await database.close()


async def found(db: Database, type_name: str, pairs: list[tuple[str, str]]) -> list[Any]:
    query = parse(type_name, [*pairs, ("_count", "500")], settings=SETTINGS, strict=True)
    return (await search.search(db, SCOPE, AUDIT, query)).hits


QUICK = settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@given(data=st.data())
@QUICK
async def test_chains_agree_with_a_slow_reading(db: Database, data: st.DataObject) -> None:
    """Chains and `_has` in any mixture, up to the most links that are served; a merged card stands
    for its person wherever it is found or referred to.
    """
    type_name = data.draw(one(["Organization", "Patient", "Observation"]))
    name, text, holds = data.draw(chains(type_name, DEPTH_MAX))
    expected = [each["id"] for each in reversed(of_type(type_name)) if holds(each)]

    hits = await found(db, type_name, [(name, text)])

    assert [hit.record.id for hit in hits] == expected


@given(data=st.data())
@QUICK
async def test_sorts_agree_with_a_slow_reading(db: Database, data: st.DataObject) -> None:
    """One to three keys of any kind, up and down, over all records and over those of a search."""
    type_name = data.draw(one(list(SORTS)))
    codes = data.draw(st.lists(one(list(SORTS[type_name])), min_size=1, max_size=2, unique=True))
    keys = [(code, data.draw(st.booleans())) for code in codes]
    text = ",".join(("-" if down else "") + code for code, down in keys)
    only: list[tuple[str, str]] = []
    records = of_type(type_name)
    if type_name == "Observation" and data.draw(st.booleans()):
        only = [("code", "x")]
        records = [each for each in records if each["code"]["coding"][0]["code"] == "x"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_stage, "DENSE_ROWS", data.draw(one([0, 20_000])))
        hits = await found(db, type_name, [*only, ("_sort", text)])

    assert [hit.record.id for hit in hits] == ordered(records, keys)


@given(data=st.data())
@QUICK
async def test_includes_agree_with_a_slow_reading(db: Database, data: st.DataObject) -> None:
    """`_include` and `_revinclude`, named, `*` and `:iterate`, follow what the records say; what
    refers to one card of a person refers to all.
    """
    start = data.draw(one(["Observation/v1", "Observation/v2", "Patient/p3", "Organization/o2"]))
    type_name = start.split("/")[0]
    forward = data.draw(st.lists(one([key for key in POINTERS if key[0] == type_name]),
                                 unique=True, max_size=2))
    onward = data.draw(st.lists(one(list(POINTERS)), unique=True, max_size=2))
    back = data.draw(st.lists(one([key for key, (target, _) in POINTERS.items()
                                   if target == type_name] or [("Observation", "patient")]),
                              unique=True, max_size=1))
    pairs = [("_id", start.split("/")[1]),
             *(("_include", ":".join(key)) for key in forward),
             *(("_include:iterate", ":".join(key)) for key in onward),
             *(("_revinclude", ":".join(key)) for key in back)]
    expected, fresh = {start}, {start}
    for step in range(4):
        added = {target for each in fresh for key in ({*forward, *onward} if not step else onward)
                 if each.startswith(f"{key[0]}/") for target in POINTERS[key][1](BY_ID[each])}
        if not step:
            added |= {f"{key[0]}/{each['id']}" for key in back for each in of_type(key[0])
                      if not cards(start).isdisjoint(POINTERS[key][1](each))}
        fresh = added - expected
        expected |= added

    hits = await found(db, type_name, pairs)

    assert sorted(f"{hit.record.type}/{hit.record.id}" for hit in hits) == sorted(expected)


@pytest.mark.parametrize(("pairs", "expected"), [
    ([("_include", "PlanDefinition:depends-on"), ("_id", "d0")], "d0 l1.1"),
    ([("_include", "PlanDefinition:depends-on:Library"), ("_id", "d1")], "d1 l1 l1.1 l2"),
    ([("_include", "PlanDefinition:depends-on:ValueSet"), ("_id", "d1")], "d1"),
    ([("_include", "*"), ("_id", "d0")], "d0 l1.1"),
    ([("_include", "PlanDefinition:depends-on"), ("_id", "d2")], "d2"),
    ([("_include", "PlanDefinition:derived-from"), ("_id", "d0")], "d0"),
])  # fmt: skip  # A table.
async def test_includes_follow_canonical_addresses(
    db: Database, pairs: list[tuple[str, str]], expected: str
) -> None:
    """An address brings the records with that url: of its version, or of all versions."""
    hits = await found(db, "PlanDefinition", pairs)

    assert sorted(hit.record.id for hit in hits) == expected.split()
