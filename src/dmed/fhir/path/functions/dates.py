"""Parts of dates, moments and times, from FHIRPath 3.0.

https://build.fhir.org/ig/HL7/FHIRPath/#extract-datedatetimetime-components. A part that the value
does not have is empty; so is every part of what is no date.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.table import scalar
from dmed.fhir.path.temporal import Temporal

_ANY = (object,)
_DAY, _CLOCK = 3, 3


def _part(name: str, place: int) -> None:
    """A function that gives the part at a place, counted from the year."""

    @scalar(name, _ANY, "Integer")
    def give(value: Any) -> int | None:
        if not isinstance(value, Temporal):
            return None
        at = place - _DAY if value.kind == "Time" else place
        return int(value.parts[at]) if 0 <= at < len(value.parts) else None


for _place, _name in enumerate(("year", "month", "day", "hour", "minute", "second")):
    _part(f"{_name}Of", _place)


@scalar("millisecondOf", _ANY, "Integer")
def _millisecond(value: Any) -> int | None:
    if not isinstance(value, Temporal) or not value.digits:
        return None
    return int(value.parts[-1] % 1 * 1000)


@scalar("timezoneOffsetOf", _ANY, "Decimal")
def _offset(value: Any) -> Decimal | None:
    if not isinstance(value, Temporal) or value.offset is None:
        return None
    return Decimal(value.offset) / 60


def _piece(name: str, kind: str, take: Callable[[Temporal], Temporal | None]) -> None:
    @scalar(name, _ANY, kind)
    def give(value: Any) -> Temporal | None:
        is_dated = isinstance(value, Temporal) and value.kind in {"Date", "DateTime"}
        return take(value) if is_dated else None


def _time(value: Temporal) -> Temporal | None:
    parts = value.parts[_CLOCK:]
    return Temporal("Time", parts, None, value.digits) if parts else None


_piece("dateOf", "Date", lambda value: Temporal("Date", value.parts[:_DAY]))
_piece("timeOf", "Time", _time)


# How far apart ---------------------------------------------------------------------------------

_LEVELS = {"year": 1, "month": 2, "week": 3, "day": 3, "hour": 4, "minute": 5, "second": 6,
           "millisecond": 6}  # fmt: skip  # A table.
"""How many parts a value needs for each precision."""
_LOWEST = (1, 1, 1, 0, 0, 0)
_MICROSECONDS = {
    "week": 604_800_000_000, "day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000,
    "second": 1_000_000, "millisecond": 1_000,
}  # fmt: skip  # A table.
_ANY_SUNDAY = datetime(1899, 12, 31)  # noqa: DTZ001  # Days alone are counted from it.


@scalar("duration", _ANY, "Integer", 2)
def _duration(value: Any, other: Any, precision: Any) -> int | None:
    """Whole periods from one value to another; empty where their precision leaves it open."""
    return _apart(value, other, precision, _whole)


@scalar("difference", _ANY, "Integer", 2)
def _difference(value: Any, other: Any, precision: Any) -> int | None:
    """Boundaries of periods between one value and another: years for New Years and so on."""
    return _apart(value, other, precision, _crossed)


def _apart(
    value: Any, other: Any, precision: Any, count: Callable[[datetime, datetime, str], int]
) -> int | None:
    unit = precision.removesuffix("s") if isinstance(precision, str) else ""
    if unit not in _LEVELS:
        raise PathExecutionError(f"{precision!s:.30} is no precision")
    if not isinstance(value, Temporal) or not isinstance(other, Temporal):
        raise PathExecutionError("the distance is that of two dates, moments or times")
    is_time = value.kind == "Time"
    if is_time != (other.kind == "Time") or (is_time and _LEVELS[unit] <= _DAY):
        return None
    least = min(len(value.parts), len(other.parts)) + (_DAY if is_time else 0)
    if least < _LEVELS[unit]:
        return None
    if least > _DAY and (value.offset is None) != (other.offset is None):
        return None
    try:
        first, second = (_filled(each, is_time=is_time) for each in (value, other))
        if value.offset is not None and other.offset is not None:
            second += timedelta(minutes=value.offset - other.offset)
        answers = {count(one, two, unit) for one in _reach(value, other, first)
                   for two in _reach(other, value, second)}  # fmt: skip  # One set.
    except OverflowError:  # The first or the last hours of the calendar.
        return None
    return answers.pop() if len(answers) == 1 else None


def _filled(value: Temporal, *, is_time: bool) -> datetime:
    parts = (*((1900, 1, 1) if is_time else ()), *value.parts)
    parts = (*parts, *_LOWEST[len(parts):])
    seconds = Decimal(parts[5])
    start = datetime(*(int(part) for part in parts[:5]))  # type: ignore[arg-type]  # noqa: DTZ001  # Five numbers; zones are settled apart.
    return start + timedelta(microseconds=int(seconds * 1_000_000))


def _reach(value: Temporal, other: Temporal, start: datetime) -> tuple[datetime, ...]:
    """The moment that a value means; where it says less than the other one, the earliest and the
    latest that it may mean.
    """
    known = len(value.parts)
    if known >= len(other.parts):
        return (start,)
    return start, _latest(start, known + (_DAY if value.kind == "Time" else 0))


def _latest(start: datetime, known: int) -> datetime:
    if known == 1:
        following = start.replace(year=min(start.year + 1, 9999))
    elif known == 2:
        following = (start.replace(day=28) + timedelta(days=4)).replace(day=1)
    else:
        following = start + {3: timedelta(days=1), 4: timedelta(hours=1)}.get(
            known, timedelta(minutes=1))
    return following - timedelta(microseconds=1)


def _whole(first: datetime, second: datetime, unit: str) -> int:
    if unit in {"year", "month"}:
        months = (second.year - first.year) * 12 + second.month - first.month
        rest_first, rest_second = (each.replace(year=2000, month=1) for each in (first, second))
        if months > 0 and rest_second < rest_first:
            months -= 1
        elif months < 0 and rest_second > rest_first:
            months += 1
        return int(months / 12) if unit == "year" else months
    return _toward_zero(_microseconds(first, second), _MICROSECONDS[unit])


def _crossed(first: datetime, second: datetime, unit: str) -> int:
    if unit == "year":
        return second.year - first.year
    if unit == "month":
        return (second.year - first.year) * 12 + second.month - first.month
    size = _MICROSECONDS[unit]
    return (_microseconds(_ANY_SUNDAY, second) // size
            - _microseconds(_ANY_SUNDAY, first) // size)  # fmt: skip  # One difference.


def _microseconds(first: datetime, second: datetime) -> int:
    return (second - first) // timedelta(microseconds=1)


def _toward_zero(amount: int, size: int) -> int:
    return amount // size if amount >= 0 else -(-amount // size)
