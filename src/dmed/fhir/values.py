"""Search values: partial dates, numbers, tokens, references and quantities as comparable keys.

One reading for both sides of a search: `params.extract` makes index rows with these helpers and
`query.parse` makes criteria with them, so they cannot differ. Specification:
https://hl7.org/fhir/R5/search.html#ptypes

Moments are whole microseconds since 1970-01-01T00:00:00Z. A date or dateTime without a zone means
the country's clock (`kit.clock.TASHKENT`), whatever the zone of the machine.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple

from dmed.fhir.index import MAX_INSTANT, MIN_INSTANT
from dmed.fhir.path.units import UCUM, canonical
from dmed.kit.clock import TASHKENT
from dmed.kit.errors import InvalidError

MIN_NUMBER = Decimal("-1E+30")
"""Stands for the open low end of a number or quantity (comparator `<`, a Range without low)."""
MAX_NUMBER = Decimal("1E+30")
"""Stands for the open high end of a number or quantity."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(
    r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01])"
    r"(?:T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:\.(\d{1,12}))?)?"
    r"(Z|[+-](?:0\d|1[0-4]):[0-5]\d)?)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_REFERENCE = re.compile(
    r"([A-Z][A-Za-z]{2,63})/([A-Za-z0-9.\-]{1,64})(?:/_history/([A-Za-z0-9.\-]{1,64}))?"
)
_NAMING = re.compile(
    r"(?:.*/)?([A-Z][A-Za-z]{2,63})/[A-Za-z0-9.\-]{1,64}(?:/_history/[A-Za-z0-9.\-]{1,64})?(?:\|.*)?"
)
_HALF = {exponent: Decimal(5).scaleb(exponent - 1) for exponent in range(-12, 7)}


class Reference(NamedTuple):
    """Where a reference points: see `reference`."""

    type: str
    id: str
    version: str


class Quantity(NamedTuple):
    """A quantity's interval: low, high, system or "", code or unit or ""."""

    low: Decimal
    high: Decimal
    system: str
    unit: str


# Dates -------------------------------------------------------------------------------------


@lru_cache(maxsize=16384)
def date_bounds(text: str) -> tuple[int, int]:
    """The first and the last microsecond (inclusive) that a date, dateTime or instant covers.

    "2024" covers a year, "2024-02-03T10:15" a minute, "...:30.5" a tenth of a second; seconds
    are optional as search values allow. Without zone: Tashkent. Raises InvalidError.
    """
    if _is_full(text):
        try:
            low = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        except ValueError:
            pass  # Not digits, or second 60: the pattern below tells.
        else:
            return low, low + 999_999
    match = _DATE.fullmatch(text)
    if match is None:
        raise InvalidError(f"{text!r} is no date or dateTime")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        if hour is None:
            return _day_bounds(int(year), month, day)
        return _time_bounds(
            f"{year}-{month}-{day}T{hour}:{minute}", second, fraction or "", zone or ""
        )
    except (ValueError, OverflowError) as error:
        raise InvalidError(f"{text!r} is no date of the calendar") from error


def _is_full(text: str) -> bool:
    """Whether a text has the shape of a second with zone, the commonest in records."""
    length = len(text)
    is_shaped = (length == 20 and text[19] == "Z") or (
        length == 25 and text[22] == ":" and text[19] in "+-"
    )
    return is_shaped and text[4:17:3] == "--T::"


def _day_bounds(year: int, month: str | None, day: str | None) -> tuple[int, int]:
    first = datetime(year, int(month or 1), int(day or 1), tzinfo=TASHKENT)
    last_month = int(month or 12)
    last_day = int(day or calendar.monthrange(year, last_month)[1])
    last = datetime(year, last_month, last_day, 23, 59, 59, 999_999, tzinfo=TASHKENT)
    return _micros(first), MAX_INSTANT if year == 9999 and month is None else _micros(last)


def _time_bounds(minute: str, second: str | None, fraction: str, zone: str) -> tuple[int, int]:
    start = datetime.fromisoformat(minute + zone)
    if start.tzinfo is None:
        start = start.replace(tzinfo=TASHKENT)
    low = _micros(start)
    if second is None:
        return low, low + 59_999_999
    low += int(second) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    width: int = 10 ** max(0, 6 - len(fraction))
    return low, low + width - 1


def _micros(moment: datetime) -> int:
    return max(MIN_INSTANT, min(MAX_INSTANT, (moment - _EPOCH) // _MICROSECOND))


def period_bounds(start: str | None, end: str | None) -> tuple[int, int]:
    """The bounds of a Period: first microsecond of its start, last of its end; open ends are
    MIN_INSTANT and MAX_INSTANT. Raises InvalidError.
    """
    return (
        date_bounds(start)[0] if start else MIN_INSTANT,
        date_bounds(end)[1] if end else MAX_INSTANT,
    )


def hull(bounds: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """The smallest interval around all given ones (a Timing's events), None of none."""
    spans = list(bounds)
    if not spans:
        return None
    return min(low for low, _ in spans), max(high for _, high in spans)


# Numbers -----------------------------------------------------------------------------------


def number(text: str) -> Decimal:
    """A search number, digits kept: "100", "1.00", "-5e-3". Raises InvalidError."""
    if _NUMBER.fullmatch(text) is None:
        raise InvalidError(f"{text!r} is no number")
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise InvalidError(f"{text!r} is no number") from error


def number_bounds(value: Decimal) -> tuple[Decimal, Decimal]:
    """The interval that a decimal stands for by its digits: 5.40 is 5.395 to 5.405, 1E+2 is 50
    to 150, half a unit of its last digit to either side.
    """
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # No NaN or infinity passes `number` or the codec.
    half = _HALF.get(exponent)
    if half is None:
        half = Decimal(5).scaleb(exponent - 1)
    return value - half, value + half


# Quantities --------------------------------------------------------------------------------


def canonical_quantity(low: Decimal, high: Decimal, system: str, unit: str) -> Quantity | None:
    """The same interval in the canonical unit of its kind, None where nothing changes.

    Only UCUM units (system http://unitsofmeasure.org) are converted. Canonical units are the
    common clinical ones: see `fhir.path.units`. 5 mg is 0.000005 kg, 1 m is 100 cm.
    """
    if system != UCUM:
        return None
    found = canonical(unit)
    if found is None or found.code == unit:
        return None
    if low != MIN_NUMBER:
        low = found.convert(low)
    if high != MAX_NUMBER:
        high = found.convert(high)
    return Quantity(low, high, UCUM, found.code)


def quantity(text: str) -> tuple[Decimal, str | None, str]:
    r"""A search quantity `number|system|code`, `number||unit` or `number`, prefix already gone.

    Answers (number, system or None when any will do, code or unit, "" when any will do).
    `|` and `\` inside a part are escaped by a backslash. Raises InvalidError.
    """
    parts = split_escaped(text, "|")
    value = number(unescape(parts[0]))
    if len(parts) == 1:
        return value, None, ""
    if len(parts) != 3:
        raise InvalidError(f"{text!r} is no quantity: write number|system|code")
    return value, unescape(parts[1]) or None, unescape(parts[2])


# Tokens ------------------------------------------------------------------------------------


def token(text: str) -> tuple[str | None, str | None]:
    r"""A search token as (system, code).

    `code` gives (None, code): any system; `system|code` both; `|code` ("", code): no system;
    `system|` (system, None): any code. Escaped `\|` stays in the part. Raises InvalidError.
    """
    parts = split_escaped(text, "|")
    if len(parts) == 1:
        code = unescape(parts[0])
        if not code:
            raise InvalidError("a token is empty")
        return None, code
    if len(parts) > 2:
        raise InvalidError(f"{text!r} is no token: write system|code")
    system, code = unescape(parts[0]), unescape(parts[1])
    if not system and not code:
        raise InvalidError("a token is empty")
    return system, code or None


def composite_token(system: str, code: str) -> str:
    """The part of a composite's key that stands for a token: `code|system`.

    The code comes first so that a search without system is a prefix of the key (`code|`).
    A quantity's unit has the same form, `unit|system`, and is always the last part.
    """
    return f"{code}|{system}"


def split_escaped(text: str, separator: str) -> list[str]:
    """Parts between unescaped separators (one character), still escaped. Never empty."""
    if separator not in text or "\\" not in text:
        return text.split(separator)
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return parts


def unescape(text: str) -> str:
    r"""The text behind `\,` `\|` `\$` and `\\`."""
    return re.sub(r"\\([,|$\\])", r"\1", text) if "\\" in text else text


# References --------------------------------------------------------------------------------


def reference(text: str) -> Reference:
    """Where a reference, canonical or uri points.

    "Patient/1" and "Patient/1/_history/2" give type, id and version. Everything else has type
    "" and the whole address as id: absolute addresses, urn:uuid:..., canonicals, whose
    `|version` is taken off.
    """
    match = _REFERENCE.fullmatch(text)
    if match is not None:
        return Reference(match[1], match[2], match[3] or "")
    address, _, version = text.partition("|")
    return Reference("", address, version)


def named_type(address: str) -> str:
    """The resource type that an address of a record names, relative or absolute; "" for others."""
    match = _NAMING.fullmatch(address)
    return match[1] if match else ""


def relative(text: str, base: str) -> str:
    """An absolute address below our own base as the relative one; any other as it is."""
    base = base.rstrip("/") + "/"
    return text[len(base) :] if base != "/" and text.startswith(base) else text
