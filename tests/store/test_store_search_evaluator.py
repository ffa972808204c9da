"""Random searches over random records: SQL finds what a slow, plain reading of the JSON finds."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, params
from dmed.fhir.query import parse
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import schema, search, search_stage, write
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4, count_max=1000)
AUDIT = AuditRow(request="r", action="E", subject="doctor", role="doctor")
UCUM = "http://unitsofmeasure.org"
SYSTEMS, CODES = ["urn:a", "urn:b", ""], ["x", "y", "z"]
PATIENTS = ["p1", "p2", "p3"]
DATES = ["2023", "2024", "2024-02", "2024-03", "2024-02-10", "2024-02-29", "2024-02-10T10:00:00Z",
         "2024-02-10T10:00:00.500Z", "2024-02-10T15:00:00+05:00", "2024-12-31", "2025-01-01"]
NUMBERS = ["0", "1", "1.0", "1.5", "2", "9.95", "10", "10.0", "100", "-3", "0.25"]
GRAMS = {"mg": Decimal("0.001"), "g": Decimal(1), "kg": Decimal(1000)}
WORDS = ["Ali", "Aliya", "Алия", "Olim", "O'lim", "Bek Ali", "al-Ali"]
ZONE = ZoneInfo("Asia/Tashkent")


# Records -------------------------------------------------------------------------------------


def maybe(dice: random.Random, make: Callable[[], Any], share: float = 0.75) -> Any:
    return make() if dice.random() < share else None


def coding(dice: random.Random) -> dict[str, Any]:
    system = dice.choice(SYSTEMS)
    return {**({"system": system} if system else {}), "code": dice.choice(CODES)}


def record(dice: random.Random, number: int) -> dict[str, Any]:
    kind = dice.choice(["Observation"] * 3 + ["RiskAssessment", "Patient"])
    content: dict[str, Any] = {"resourceType": kind, "id": f"r{number}"}
    if kind == "Patient":
        names = [{"family": dice.choice(WORDS), "given": dice.sample(WORDS, dice.randint(0, 2))}
                 for _ in range(dice.randint(0, 2))]
        found = {"name": [{k: v for k, v in name.items() if v} for name in names],
                 "active": maybe(dice, lambda: dice.random() < 0.5)}
        return content | {k: v for k, v in found.items() if v not in (None, [])}
    content["status"] = dice.choice(["final", "amended"])
    content["subject"] = {"reference": f"{dice.choice(['Patient', 'Patient', 'Group'])}/"
                                       f"{dice.choice(PATIENTS)}"}
    if kind == "RiskAssessment":
        content["prediction"] = [{"probabilityDecimal": dice.choice(NUMBERS)}
                                 for _ in range(dice.randint(0, 2))]
        return {k: v for k, v in content.items() if v != []}
    content["code"] = {"coding": [coding(dice) for _ in range(dice.randint(1, 2))]}
    form = dice.random()
    if form < 0.5:
        content["effectiveDateTime"] = dice.choice(DATES)
    elif form < 0.8:
        ends = sorted(dice.sample(DATES[4:], 2), key=lambda text: span(text)[0])
        period = {"start": maybe(dice, lambda: ends[0]), "end": maybe(dice, lambda: ends[1])}
        content["effectivePeriod"] = {k: v for k, v in period.items() if v} or {"start": "2024"}
    if dice.random() < 0.7:
        unit = maybe(dice, lambda: dice.choice(list(GRAMS)))
        content["valueQuantity"] = {"value": dice.choice(NUMBERS), **(
            {"system": UCUM, "code": unit} if unit else {})}
    return content


def encoded(content: dict[str, Any]) -> bytes:
    """JSON in which the texts under `value` and `probabilityDecimal` are numbers, digits kept."""
    text = json.dumps(content)
    for name in ("value", "probabilityDecimal"):
        for number in NUMBERS:
            text = text.replace(f'"{name}": "{number}"', f'"{name}": {number}')
    return text.encode()


# The slow reading ----------------------------------------------------------------------------


def span(text: str) -> tuple[datetime, datetime]:
    """First and one-past-last moment of a partial date."""
    if "T" in text:
        start = datetime.fromisoformat(text).astimezone(UTC)
        return start, start + timedelta(milliseconds=1 if "." in text else 1000)
    parts = [int(part) for part in text.split("-")]
    start = datetime(*[*parts, 1, 1][:3], tzinfo=ZONE)
    if len(parts) == 1:
        return start, start.replace(year=start.year + 1)
    if len(parts) == 2:
        return start, start.replace(year=start.year + start.month // 12,
                                    month=start.month % 12 + 1)
    return start, start + timedelta(days=1)


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def spans(content: dict[str, Any]) -> list[tuple[datetime, datetime]]:
    if "effectiveDateTime" in content:
        return [span(content["effectiveDateTime"])]
    if "effectivePeriod" in content:
        period = content["effectivePeriod"]
        return [(span(period["start"])[0] if "start" in period else FIRST,
                 span(period["end"])[1] if "end" in period else LAST)]
    return []


def date_holds(prefix: str, text: str, value: tuple[datetime, datetime]) -> bool:
    (start, end), (low, high) = span(text), value
    inside = low >= start and high <= end
    return {"eq": inside, "ne": not inside, "gt": high > end, "ge": high > end or inside,
            "lt": low < start, "le": low < start or inside, "sa": low >= end,
            "eb": high <= start}[prefix]


def number_holds(prefix: str, text: str, value: Decimal, factor: Decimal = Decimal(1)) -> bool:
    wanted = Decimal(text) * factor
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - 1) * factor
    inside = wanted - half <= value < wanted + half
    margin = max(abs(wanted) / 10, half)
    return {"eq": inside, "ne": not inside, "gt": value > wanted, "sa": value > wanted,
            "ge": value >= wanted, "lt": value < wanted, "eb": value < wanted,
            "le": value <= wanted, "ap": wanted - margin <= value <= wanted + margin}[prefix]


def fold(text: str) -> str:
    return text.lower().replace("'", "").replace("алия", "aliya")


class Asked:
    """One criterion: its pair as sent, and what it means for a record's JSON."""

    def __init__(self, name: str, value: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        self.pair, self.holds = (name, value), holds

    def __repr__(self) -> str:
        return "=".join(self.pair)


def any_of(name: str, choices: list[tuple[str, Callable[[Any], bool]]],
           read: Callable[[dict[str, Any]], list[Any]], *, negated: bool = False) -> Asked:
    """Alternatives over a record's values; negated, none of them may hold."""
    def holds(content: dict[str, Any]) -> bool:
        found = any(test(value) for value in read(content) for _, test in choices)
        return found != negated
    return Asked(f"{name}:not" if negated else name, ",".join(text for text, _ in choices), holds)


def missing(name: str, wanted: bool, read: Callable[[dict[str, Any]], list[Any]]) -> Asked:
    return Asked(f"{name}:missing", str(wanted).lower(),
                 lambda content: (not read(content)) == wanted)


def codings(content: dict[str, Any]) -> list[Any]:
    return [(each.get("system", ""), each["code"]) for each in content["code"]["coding"]]


def words(content: dict[str, Any]) -> list[str]:
    return [fold(word) for name in content.get("name", [])
            for word in [name.get("family"), *name.get("given", [])] if word]


def amounts(content: dict[str, Any]) -> list[tuple[Decimal, str | None]]:
    found = content.get("valueQuantity")
    return [(Decimal(found["value"]), found.get("code"))] if found else []


def chances(content: dict[str, Any]) -> list[Decimal]:
    return [Decimal(each["probabilityDecimal"]) for each in content.get("prediction", [])]


def subjects(content: dict[str, Any]) -> list[str]:
    return [content["subject"]["reference"]]


def actives(content: dict[str, Any]) -> list[str]:
    return [str(content["active"]).lower()] if "active" in content else []


def token_choice(system: str | None, code: str | None) -> tuple[str, Callable[[Any], bool]]:
    text = code or "" if system is None else f"{system}|{code or ''}"
    return text, lambda pair: system in (None, pair[0]) and code in (None, pair[1])


def amount_choice(prefix: str, text: str, unit: str | None) -> tuple[str, Callable[[Any], bool]]:
    sign = "" if prefix == "eq" else prefix
    if unit is None:  # Any unit: the number as it was written.
        return f"{sign}{text}", lambda pair: number_holds(prefix, text, pair[0])
    return f"{sign}{text}|{UCUM}|{unit}", lambda pair: pair[1] is not None and number_holds(
        prefix, text, pair[0] * GRAMS[pair[1]], GRAMS[unit])


def word_test(form: str, key: str) -> Callable[[Any], bool]:
    return lambda word: key in word if form else word.startswith(key)


PREFIXES = ["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"]
few = st.integers(1, 3)


@st.composite
def criterion(draw: st.DrawFn, type_name: str) -> Asked:
    def several(choice: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(choice, min_size=1, max_size=3))

    one = st.sampled_from
    negated, absent = draw(st.booleans()), draw(st.integers(0, 5)) == 0
    number = st.tuples(one([*PREFIXES, "ap"]), one(NUMBERS))
    if type_name == "Patient":
        if draw(st.booleans()):
            if absent:
                return missing("active", negated, actives)
            return any_of("active", [(text, lambda value, text=text: value == text)
                                     for text in several(one(["true", "false"]))], actives,
                          negated=negated)
        if absent:
            return missing("name", negated, words)
        form = draw(one(["", ":contains"]))
        texts = several(one(["al", "Ali", "алия", "o'l", "lim", "bek ali", "zz", "i"]))
        return any_of(f"name{form}", [(text, word_test(form, fold(text))) for text in texts], words)
    if type_name == "RiskAssessment":
        if absent:
            return missing("probability", negated, chances)
        return any_of("probability", [
            (("" if p == "eq" else p) + n, lambda value, p=p, n=n: number_holds(p, n, value))
            for p, n in several(number)], chances)
    kind = draw(one(["code", "date", "value-quantity", "subject", "status"]))
    if kind == "status":
        return any_of("status", [(text, lambda value, text=text: value == text)
                                 for text in several(one(["final", "amended", "other"]))],
                      lambda content: [content["status"]], negated=negated)
    if kind == "code":
        pair = st.tuples(one([None, *SYSTEMS, "urn:none"]), one([None, *CODES])).filter(
            lambda each: bool(each[1]) or bool(each[0]))
        return any_of("code", [token_choice(*each) for each in several(pair)], codings,
                      negated=negated)
    if kind == "subject":
        return any_of("subject", [
            (text, lambda value, text=text: value == text if "/" in text else
             value.endswith(f"/{text}"))
            for text in several(one([*PATIENTS, *(f"Patient/{p}" for p in PATIENTS), "Group/p1",
                                     "Patient/none"]))], subjects)
    if kind == "date":
        if absent:
            return missing("date", negated, spans)
        return any_of("date", [
            (("" if p == "eq" else p) + text, lambda value, p=p, text=text:
             date_holds(p, text, value))
            for p, text in several(st.tuples(one(PREFIXES), one(DATES)))], spans)
    if absent:
        return missing("value-quantity", negated, amounts)
    return any_of("value-quantity", [
        amount_choice(p, n, unit) for (p, n), unit in several(
            st.tuples(number, one([None, *GRAMS])))], amounts)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, list[Asked], int]:
    type_name = draw(st.sampled_from(["Observation", "Observation", "RiskAssessment", "Patient"]))
    asked = draw(st.lists(criterion(type_name), min_size=1, max_size=3))
    return type_name, asked, draw(st.sampled_from([0, 20, 20_000]))


DICE = random.Random(7)  # noqa: S311  # The same records in every run.
RECORDS = [record(DICE, number) for number in range(160)]


# The test ------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in RECORDS:
        resource = codec.decode(encoded(content))
        patients, vid = params.patients(resource), new_vid()
        await write.write(database, SCOPE, AUDIT, Write(
            kind="update", type=content["resourceType"], id=content["id"], vid=vid,
            bucket=bucket_of(patients[0] if patients else content["id"]), client_id=True,
            updated=updated_of(vid), body=codec.encode(resource), index=params.extract(resource),
            patients=patients))
    yield database
    await database.close()


async def compare(db: Database, type_name: str, asked: list[Asked]) -> None:
    """The search finds what the slow reading finds, newest first, and counts it."""
    pairs = [each.pair for each in asked] + [("_count", "500")]
    query = parse(type_name, pairs, settings=SETTINGS, strict=True)
    page = await search.search(db, SCOPE, AUDIT, query)
    expected = [content["id"] for content in reversed(RECORDS)
                if content["resourceType"] == type_name and all(a.holds(content) for a in asked)]

    assert [hit.record.id for hit in page.hits] == expected
    assert page.total == len(expected)


@given(request=requests())
@settings(max_examples=250, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_sql_agrees_with_a_slow_reading(
    db: Database, request: tuple[str, list[Asked], int]
) -> None:
    """Tokens, strings, dates, references, numbers and quantities, with every prefix, OR, AND,
    :not and :missing, under each plan: the bound of density is drawn as well.
    """
    type_name, asked, dense = request
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_stage, "DENSE_ROWS", dense)
        await compare(db, type_name, asked)


async def test_every_prefix_agrees_for_every_value(db: Database) -> None:
    """Each prefix with each date, number and quantity of the records, one by one."""
    for prefix in PREFIXES:
        sign = "" if prefix == "eq" else prefix
        for date in DATES:
            await compare(db, "Observation", [any_of("date", [
                (sign + date, lambda value, p=prefix, d=date: date_holds(p, d, value))], spans)])
        for text in NUMBERS:
            await compare(db, "RiskAssessment", [any_of("probability", [
                (sign + text, lambda value, p=prefix, n=text: number_holds(p, n, value))],
                chances)])
            await compare(db, "Observation", [any_of("value-quantity", [
                amount_choice(prefix, text, "g")], amounts)])
