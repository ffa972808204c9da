"""Partial dates, moments and times: compared by precision, moved by calendar quantities.

https://hl7.org/fhirpath/#datetime-comparison. Seconds and their fraction are one precision.
"""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import NamedTuple

from dmed.fhir.path.errors import PathExecutionError

_DATE = r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?"
_CLOCK = r"([01]\d|2[0-3])(?::([0-5]\d)(?::([0-5]\d|60)(?:\.(\d+))?)?)?"
_DATE_ONLY = re.compile(_DATE, re.ASCII)
_ZONE = r"(Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"
_DATE_TIME = re.compile(rf"{_DATE}(?:T(?:{_CLOCK}{_ZONE}?)?)?", re.ASCII)
_TIME_ONLY = re.compile(_CLOCK, re.ASCII)
_DAY, _SECOND = 3, 6
_ZONE_MINUTES = 14 * 60
"""The farthest that a zone lies from UTC."""
_UNIT_FIELDS = {"year": 1, "month": 2, "day": 3, "hour": 4, "minute": 5, "second": 6}


class Temporal(NamedTuple):
    """A Date, DateTime or Time of some precision.

    `parts` are year, month, day, hour, minute, second as far as they are given (a Time begins at
    the hour); the second is a Decimal with its fraction. `offset` is minutes east of UTC or
    None. `digits` counts the fraction's digits.
    """

    kind: str
    parts: tuple[int | Decimal, ...]
    offset: int | None = None
    digits: int = 0

    def __str__(self) -> str:
        if self.kind == "Time":
            return _clock(self.parts, self.digits)
        day = "-".join(f"{part:0{2 if at else 4}d}" for at, part in enumerate(self.parts[:_DAY]))
        if self.kind == "Date":
            return day
        if len(self.parts) <= _DAY:
            return day
        return f"{day}T{_clock(self.parts[_DAY:], self.digits)}{_zone(self.offset)}"


def _clock(parts: tuple[int | Decimal, ...], digits: int) -> str:
    text = ":".join(f"{int(part):02d}" for part in parts)
    if digits and len(parts) == 3:
        text += f".{str(parts[2] % 1)[2:].ljust(digits, '0')[:digits]}"
    return text


def _zone(offset: int | None) -> str:
    if offset is None:
        return ""
    if offset == 0:
        return "Z"
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"


def parse_date(text: str) -> Temporal | None:
    """A Date such as 2024-05, or None if the text is none."""
    match = _DATE_ONLY.fullmatch(text)
    if match is None:
        return None
    return _checked("Date", [int(part) for part in match.groups() if part], None, 0)


def parse_datetime(text: str) -> Temporal | None:
    """A DateTime such as 2024-05-01T10:15Z (a plain date too), or None if the text is none."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    parts = _numbers((year, month, day, hour, minute), second, fraction)
    return _checked("DateTime", parts, _offset(zone), len(fraction or ""))


def parse_time(text: str) -> Temporal | None:
    """A Time such as 10:15, or None if the text is none."""
    match = _TIME_ONLY.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    return Temporal(
        "Time", tuple(_numbers((hour, minute), second, fraction)), None, len(fraction or "")
    )


def _numbers(
    whole: tuple[str | None, ...], second: str | None, fraction: str | None
) -> list[int | Decimal]:
    parts: list[int | Decimal] = [int(part) for part in whole if part is not None]
    if second is not None:
        parts.append(Decimal(f"{second}.{fraction or 0}"))
    return parts


def _offset(zone: str | None) -> int | None:
    if zone is None or zone == "Z":
        return None if zone is None else 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def _checked(
    kind: str, parts: list[int | Decimal], offset: int | None, digits: int
) -> Temporal | None:
    if not parts[0]:  # The calendar begins with the year 1.
        return None
    if len(parts) >= _DAY and parts[2] > calendar.monthrange(int(parts[0]), int(parts[1]))[1]:
        return None
    return Temporal(kind, tuple(parts), offset, digits)


def compare(left: Temporal, right: Temporal) -> int | None:
    """-1, 0 or 1, or None where the precisions do not decide it."""
    if (left.kind == "Time") != (right.kind == "Time"):
        return None
    one, other = left.parts, right.parts
    if left.offset is not None and right.offset is not None:
        one, other = _utc(left), _utc(right)
    elif left.offset != right.offset and len(one) > _DAY and len(other) > _DAY:
        return _compare_zoneless(left, right)
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return -1 if mine < theirs else 1
    return 0 if len(one) == len(other) else None


def _compare_zoneless(left: Temporal, right: Temporal) -> int | None:
    """One side has no zone: decided only if no zone on earth could turn it round."""
    if len(left.parts) < 5 or len(right.parts) < 5:
        return None
    gap = _minutes(left) - _minutes(right)
    return None if abs(gap) <= _ZONE_MINUTES else -1 if gap < 0 else 1


def _minutes(value: Temporal) -> Decimal:
    """Minutes since the calendar began, in UTC where the zone is told."""
    year, month, day, hour, minute = (int(part) for part in value.parts[:5])
    seconds = value.parts[5] if len(value.parts) > 5 else 0
    whole = (date(year, month, day).toordinal() * 24 + hour) * 60 + minute - (value.offset or 0)
    return whole + Decimal(seconds) / 60


def _utc(value: Temporal) -> tuple[int | Decimal, ...]:
    if not value.offset or len(value.parts) <= _DAY:
        return value.parts
    year, month, day, hour, minute = (int(part) for part in (*value.parts, 0)[:5])
    days, rest = divmod(hour * 60 + minute - value.offset, 1440)
    clock = (*divmod(rest, 60), *value.parts[5:])[: len(value.parts) - _DAY]
    if not days:
        return (year, month, day, *clock)
    try:
        moved = date.fromordinal(date(year, month, day).toordinal() + days)
    except (OverflowError, ValueError):  # The first or the last day of the calendar.
        return (0, 12, 31, *clock) if days < 0 else (10_000, 1, 1, *clock)
    return (moved.year, moved.month, moved.day, *clock)


def equal(left: Temporal, right: Temporal) -> bool | None:
    """Whether both are the same moment; None where the precisions do not decide it."""
    if (left.kind == "Time") != (right.kind == "Time"):
        return False
    order = compare(left, right)
    return None if order is None else order == 0


def equivalent(left: Temporal, right: Temporal) -> bool:
    """Like `equal`, but different precision is plainly false."""
    return equal(left, right) is True


def shift(value: Temporal, amount: Decimal, unit: str) -> Temporal:
    """Move by a calendar quantity; parts of a unit finer than the value's precision are dropped.

    Raises PathExecutionError where the unit does not suit or the calendar ends.
    """
    try:
        unit, amount = _known_unit(unit, amount)
        return (
            _shift_time(value, amount, unit)
            if value.kind == "Time"
            else _shift_date(value, amount, unit)
        )
    except (OverflowError, ValueError, DecimalException) as error:
        raise PathExecutionError(f"{value} moved by {amount} {unit} leaves the calendar") from error


_UCUM_WORDS = {
    "d": "day", "wk": "week", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond",
}  # fmt: skip  # A short table.


def _known_unit(unit: str, amount: Decimal) -> tuple[str, Decimal]:
    unit = _UCUM_WORDS.get(unit, unit)
    if unit == "week":
        return "day", Decimal(int(amount) * 7)
    if unit == "millisecond":
        return "second", amount / 1000
    if unit not in _UNIT_FIELDS:
        raise PathExecutionError(f"{unit!r} is no calendar unit")
    return unit, amount if unit == "second" else Decimal(int(amount))


_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def _shift_time(value: Temporal, amount: Decimal, unit: str) -> Temporal:
    if unit not in _SECONDS:
        raise PathExecutionError(f"{unit!r} does not move a time")
    have = len(value.parts)
    sizes = (3600, 60, 1)
    total = sum((part * size for part, size in zip(value.parts, sizes, strict=False)), Decimal(0))
    step = amount * _SECONDS[unit]
    if have < 3:
        step = Decimal(int(step / sizes[have - 1]) * sizes[have - 1])
    # Decimal's own remainder keeps the sign, a clock goes round.
    total = ((total + step) % 86400 + 86400) % 86400
    parts = (int(total // 3600), int(total // 60 % 60), total % 60)
    return value._replace(parts=parts[:have])


def _shift_date(value: Temporal, amount: Decimal, unit: str) -> Temporal:
    have = len(value.parts)
    if unit in ("year", "month") or have < _DAY:
        return _shift_months(value, amount, unit)
    fields = [*value.parts, *(0, 0, Decimal(0))[have - _DAY :]]
    seconds = fields[5] if isinstance(fields[5], Decimal) else Decimal(fields[5])
    start = datetime(*(int(part) for part in fields[:5]))  # type: ignore[arg-type]  # noqa: DTZ001  # Plain fields; the offset stays as it is.
    size = {3: 86400, 4: 3600, 5: 60, 6: 1}[have]
    step = amount * _SECONDS[unit]
    if have < _SECOND:
        step = Decimal(int(step / size) * size)
    total = seconds + step
    moved = start + timedelta(seconds=int(total // 1))
    second = moved.second + total % 1
    parts = (moved.year, moved.month, moved.day, moved.hour, moved.minute, second)
    return value._replace(parts=parts[:have])


def _shift_months(value: Temporal, amount: Decimal, unit: str) -> Temporal:
    have = len(value.parts)
    months = {"year": 12, "month": 1}.get(unit)
    if months is None:
        days = amount * _SECONDS[unit] / 86400
        months, amount = (12, days / 365) if have == 1 else (1, days / 30)
    if have == 1:
        year = int(value.parts[0]) + int(int(amount) * months / 12)
        return value._replace(parts=(_year(year),))
    index = int(value.parts[0]) * 12 + int(value.parts[1]) - 1 + int(amount) * months
    year, month = _year(index // 12), index % 12 + 1
    rest = value.parts[2:]
    if rest:
        rest = (min(int(rest[0]), calendar.monthrange(year, month)[1]), *rest[1:])
    return value._replace(parts=(year, month, *rest))


def _year(year: int) -> int:
    if not 1 <= year <= 9999:
        raise OverflowError(year)
    return year


def normal(value: Temporal) -> tuple[object, ...]:
    """A hashable that equal moments share."""
    return (value.offset is None, *(_utc(value) if value.offset is not None else value.parts))
