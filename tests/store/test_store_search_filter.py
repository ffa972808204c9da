"""Random filters over random records: SQL finds what a slow, plain reading of the JSON finds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import put

from dmed.fhir import query_filter
from dmed.fhir.query import parse, self_link
from dmed.fhir.query_filter import Comparison, Node
from dmed.kit.settings import Settings
from dmed.kit.text import fold
from dmed.store import schema, search, search_stage
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4, count_max=1000)
AUDIT = AuditRow(request="r", action="E", subject="doctor", role="doctor")
WORDS = ["Ali", "Aliya", "Олим", "Karim", "Bek Ali", "ali-bek"]
DATES = ["1979-12-31", "1980-01-01", "1980-05-05", "1981-02-03"]
SEARCHED = ["1979", "1980", "1980-01", "1980-05-05", "1981-02-03"]


def patient(dice: random.Random, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Patient", "id": f"p{number}"}
    names = [{"family": dice.choice(WORDS), "given": dice.sample(WORDS, dice.randint(1, 2))}
             for _ in range(dice.randint(0, 2))]
    if names:
        found["name"] = names
    if dice.random() < 0.8:
        found["gender"] = dice.choice(["male", "female", "other"])
    if dice.random() < 0.8:
        found["birthDate"] = dice.choice(DATES)
    if dice.random() < 0.5:
        found["link"] = [{"other": {"reference": f"Patient/p{dice.randint(0, 79)}"},
                          "type": "seealso"}]
    return found


DICE = random.Random(11)  # noqa: S311  # The same records in every run.
RECORDS = [patient(DICE, number) for number in range(80)]
BY_ID = {content["id"]: content for content in RECORDS}


# The slow reading ----------------------------------------------------------------------------


def texts(content: dict[str, Any], name: str) -> list[str]:
    match name:
        case "family":
            return [fold(each["family"]) for each in content.get("name", [])]
        case "given":
            return [fold(word) for each in content.get("name", []) for word in each["given"]]
        case "gender":
            return [content["gender"]] if "gender" in content else []
    return [content["birthDate"]] if "birthDate" in content else []


def date_holds(operation: str, value: str, wanted: str) -> bool:
    """Whole days as texts: the searched date covers those that begin with it."""
    start, end = wanted, wanted + "~"
    inside = value.startswith(wanted)
    return {"eq": inside, "po": inside, "ne": not inside, "gt": value > end, "sa": value > end,
            "lt": value < start, "eb": value < start, "ge": value >= start,
            "le": value <= end}[operation]


def text_holds(operation: str, value: str, wanted: str) -> bool:
    return {"eq": value == wanted, "ne": value != wanted, "co": wanted in value,
            "sw": value.startswith(wanted), "ew": value.endswith(wanted), "gt": value > wanted,
            "ge": value >= wanted, "lt": value < wanted, "le": value <= wanted}[operation]


def comparison_holds(test: Comparison, content: dict[str, Any]) -> bool:
    step, rest = test.steps[0], test.steps[1:]
    if rest:
        others = [BY_ID[each["other"]["reference"].partition("/")[2]]
                  for each in content.get("link", [])]
        inner = Comparison(rest, test.operation, test.value, test.at)
        return any(holds(inner, other) and (step.condition is None or holds(step.condition, other))
                   for other in others)
    values = texts(content, step.name)
    if test.operation == "pr":
        return bool(values) == (test.value == "true")
    if step.name == "birthdate":
        return any(date_holds(test.operation, value, test.value) for value in values)
    wanted = test.value if step.name == "gender" else fold(test.value)
    return any(text_holds(test.operation, value, wanted) for value in values)


def holds(node: Node, content: dict[str, Any]) -> bool:
    if isinstance(node, Comparison):
        return comparison_holds(node, content)
    found = [holds(part, content) for part in node.parts]
    if node.sign == "not":
        return not found[0]
    return all(found) if node.sign == "and" else any(found)


# The filters ---------------------------------------------------------------------------------

one = st.sampled_from
texts_of = st.tuples(one(["family", "given"]),
                     one(["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]),
                     one(["ali", "Алия", "li", "bek", '"Bek Ali"', "k", "zz"]))
codes = st.tuples(one(["gender"]), one(["eq", "ne", "co", "sw", "ew"]),
                  one(["male", "female", "other", "ale", "fe"]))
dates = st.tuples(one(["birthdate"]),
                  one(["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "po"]), one(SEARCHED))
presence = st.tuples(one(["family", "gender", "birthdate"]), one(["pr"]), one(["true", "false"]))
tests = (texts_of | codes | dates | presence).map(" ".join)
# `link` in brackets and by a dot: Patient.link goes to another Patient.
chained = st.tuples(one(["link:Patient.", "link:Patient[gender eq male]."]), tests).map("".join)
filters = st.recursive(tests | chained, lambda inner: st.one_of(
    st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' and '.join(parts)})"),
    st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' or '.join(parts)})"),
    inner.map(lambda part: f"not ({part})"),
    st.tuples(inner, one([" and ", " or "]), inner).map("".join)), max_leaves=5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in RECORDS:
        await put(database, content)
    yield database
    await database.close()


@given(text=filters, dense=one([0, 20, 20_000]))
@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_a_filter_finds_what_a_slow_reading_finds(
    db: Database, text: str, dense: int
) -> None:
    """Operations, chains with conditions, and, or, not: under each plan the same, newest first."""
    query = parse("Patient", [("_filter", text), ("_count", "500")], settings=SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_stage, "DENSE_ROWS", dense)
        page = await search.search(db, SCOPE, AUDIT, query)
    node = query_filter.parse(text)
    expected = [content["id"] for content in reversed(RECORDS) if holds(node, content)]

    assert [hit.record.id for hit in page.hits] == expected
    assert page.total == len(expected)
    assert "_filter=" in self_link(query)
