"""Measurements by kind: the latest value, the reference band, the trend. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from dmed.modules.card.model import Point, Series, Source
from dmed.modules.card.rules import reading
from dmed.modules.card.rules.sources import Names, source
from dmed.modules.medid import api as medid

Record = dict[str, Any]
PRESSURE = "85354-9"
SYSTOLIC, DIASTOLIC = "8480-6", "8462-4"
BLOOD_GROUPS = ("882-1", "883-9", "10331-7")
"""LOINC: ABO and Rh together, ABO, Rh."""
NO_RESULTS = frozenset({"cancelled", "entered-in-error"})
_LOINC = medid.reading.LOINC


def code_of(observation: Record) -> str:
    """What tells one kind of measurement from another: LOINC, another code, or its words."""
    concept = observation.get("code", {})
    return medid.reading.coding(concept, _LOINC) or next(
        iter(sorted(reading.codes(concept))), "") or reading.words(concept)


def is_social(observation: Record) -> bool:
    """Whether an Observation tells of the way of living and not of the body."""
    return any("social-history" in reading.codes(one) for one in observation.get("category", []))


def when_of(observation: Record) -> str:
    """The day or moment that a measurement is of."""
    period = observation.get("effectivePeriod", {})
    return str(observation.get("effectiveDateTime", "") or period.get("start", "")
               or observation.get("effectiveInstant", "") or observation.get("issued", ""))


def series(
    observations: Iterable[Record], names: Names, language: str, points_max: int = 24,
    *, is_sourced: bool = False,
) -> tuple[Series, ...]:
    """One series for each kind, those outside their band first, then the newest first.

    Only with `is_sourced` every point tells its source; the newest always does.
    """
    by_code: dict[str, list[Record]] = defaultdict(list)
    for one in observations:
        code = code_of(one)
        if code and one.get("status") not in NO_RESULTS and not is_social(one):
            by_code[code].append(one)
    made = [found for code, records in by_code.items()
            if (found := _series(
                 code, records, names, language, points_max, is_sourced)) is not None]
    made.sort(key=lambda one: one.when, reverse=True)
    return tuple(sorted(made, key=lambda one: not one.flag))


def _series(
    code: str, records: list[Record], names: Names, language: str, points_max: int,
    is_sourced: bool,
) -> Series | None:
    records = sorted(records, key=lambda one: (when_of(one), str(one.get("id", ""))))
    newest = records[-1]
    unit = _unit(newest)
    told = names if is_sourced else None
    measured = [(one, point) for one in records if (point := point_of(one, told)) is not None]
    same = tuple(point for one, point in measured if _unit(one) == unit)
    last = point_of(newest)
    words = reading.value_words(newest)
    if last is None and not words:
        return None
    bounds = medid.reading.first(newest.get("referenceRange"))
    return Series(
        code=code,
        text=reading.title(newest, language),
        unit=unit if last is not None else "",
        latest=_shown(last) if last is not None else words,
        when=when_of(newest),
        low=_bound(bounds, "low"),
        high=_bound(bounds, "high"),
        flag=_flag(newest),
        points=same[-points_max:] if last is not None else (),
        other_units=len(measured) - len(same),
        reference=f"Observation/{newest['id']}",
        source=source(newest, names),
    )


def point_of(observation: Record, names: Names | None = None) -> Point | None:
    """A measurement as a point, with its source by `names`; None for a value in words."""
    value = observation.get("valueQuantity", {}).get("value")
    reference = f"Observation/{observation['id']}"
    told = Source() if names is None else source(observation, names)
    if value is not None:
        return Point(when_of(observation), Decimal(value), None, reference, told)
    parts = {medid.reading.coding(one.get("code", {}), _LOINC):
             one.get("valueQuantity", {}).get("value") for one in observation.get("component", [])}
    high, low = parts.get(SYSTOLIC), parts.get(DIASTOLIC)
    if high is None or low is None:
        return None
    return Point(when_of(observation), Decimal(high), Decimal(low), reference, told)


def _shown(point: Point) -> str:
    return f"{point.value}" if point.second is None else f"{point.value}/{point.second}"


def _unit(observation: Record) -> str:
    value = observation.get("valueQuantity", {})
    if not value and observation.get("component"):
        return "mm Hg"
    return str(value.get("unit", "") or value.get("code", ""))


def _bound(bounds: Record, side: str) -> Decimal | None:
    value = bounds.get(side, {}).get("value")
    return None if value is None else Decimal(value)


def _flag(observation: Record) -> str:
    found = {code for one in observation.get("interpretation", []) for code in reading.codes(one)}
    if found & {"H", "HH", "HU"}:
        return "H"
    if found & {"L", "LL", "LU"}:
        return "L"
    return "A" if found & {"A", "AA", "POS"} else ""
