"""What the text of a primitive may be. https://hl7.org/fhir/R5/datatypes.html#primitive

`format_of(type)` is a test that is true for a sound value. JSON types and ranges of numbers are
the codec's business; here come patterns, impossible dates and sizes.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

TEXT_MAX = 1_048_576
"""Most characters of a string or markdown (the specification's own limit)."""
DIGITS_MAX = 100
"""Most digits of a decimal."""

_YEAR = "([0-9]{4})"
_DAY = "(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
_ZONE = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DATE = re.compile(f"{_YEAR}(?:-{_DAY})?)?").fullmatch
_DATE_TIME = re.compile(f"{_YEAR}(?:-{_DAY}(?:T{_CLOCK}{_ZONE})?)?)?").fullmatch
_INSTANT = re.compile(f"{_YEAR}-{_DAY})T{_CLOCK}{_ZONE}").fullmatch
_TIME = re.compile(_CLOCK).fullmatch
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_CODE = re.compile(r"[^\s]+(?: [^\s]+)*").fullmatch
_BLANK = re.compile(r"\s").search
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+").fullmatch
_UUID = re.compile(
    "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
).fullmatch
_BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch
_INTEGER64 = re.compile("0|-?[1-9][0-9]{0,18}").fullmatch
_NINES = 2**63
_TAILS = frozenset({"Z", "+05:00"})


def _is_day(match: re.Match[str] | None) -> bool:
    """Whether the day exists in the calendar; the year 0000 does not."""
    if match is None:
        return False
    year, month, day = match.group(1, 2, 3)
    if year == "0000":
        return False
    return day is None or day < "29" or int(day) <= monthrange(int(year), int(month))[1]


def _is_plain_moment(value: str) -> bool:
    """Whether a text is a sound moment in one of the two commonest forms: to the second with the
    country's zone or Z, or to the millisecond with Z. False says nothing.
    """
    if value[4:17:3] != "--T::":
        return False
    tail = value[19:]
    is_form = tail in _TAILS or (
        len(tail) == 5 and tail[0] == "." and tail[4] == "Z"
        and tail[1:4].isdecimal() and tail.isascii()
    )
    if not is_form:
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True


def _is_date(value: str) -> bool:
    return _is_day(_DATE(value))


def _is_date_time(value: str) -> bool:
    return _is_plain_moment(value) or _is_day(_DATE_TIME(value))


def _is_instant(value: str) -> bool:
    return _is_plain_moment(value) or _is_day(_INSTANT(value))


def _is_uri(value: str) -> bool:
    return _BLANK(value) is None


def _is_text(value: str) -> bool:
    return not value.isspace() and len(value) <= TEXT_MAX


def _is_base64(value: str) -> bool:
    return _BASE64("".join(value.split())) is not None


def _is_integer64(value: str) -> bool:
    return _INTEGER64(value) is not None and -_NINES <= int(value) < _NINES


def _is_decimal(value: Decimal) -> bool:
    return len(value.as_tuple().digits) <= DIGITS_MAX


_FORMATS: dict[str, tuple[Callable[[Any], object], str]] = {
    "date": (_is_date, "a date that exists, as YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": (
        _is_date_time,
        "a date that exists, and a time only with seconds and zone (2026-03-01T09:30:00+05:00)",
    ),
    "instant": (_is_instant, "a moment with seconds and zone (2026-03-01T09:30:00.000+05:00)"),
    "time": (_TIME, "a time as hh:mm:ss"),
    "id": (_ID, "1 to 64 letters, digits, hyphens and dots"),
    "code": (_CODE, "a code without spaces at its ends and without double spaces"),
    "uri": (_is_uri, "an address without spaces"),
    "url": (_is_uri, "an address without spaces"),
    "canonical": (_is_uri, "an address without spaces"),
    "oid": (_OID, "an OID such as urn:oid:1.2.860"),
    "uuid": (_UUID, "a UUID such as urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    "base64Binary": (_is_base64, "base64"),
    "integer64": (_is_integer64, "a whole number of at most 64 bits, as text"),
    "string": (_is_text, f"a text that is not blank, at most {TEXT_MAX} characters"),
    "markdown": (_is_text, f"a text that is not blank, at most {TEXT_MAX} characters"),
    "decimal": (_is_decimal, f"a number of at most {DIGITS_MAX} digits"),
}


def format_of(type_code: str) -> Callable[[Any], object] | None:
    """The test of a primitive type; None where the codec has checked all there is."""
    found = _FORMATS.get(type_code)
    return found[0] if found else None


def condition_of(type_code: str) -> tuple[str, object]:
    """(text, object): a Python condition that is true of an unsound value.

    In the text {0} is the value and {1} the object. Where few texts need the whole test, the
    condition asks a quicker question first.
    """
    test = _FORMATS[type_code][0]
    return _CONDITIONS.get(type_code, "not {1}({0})"), test


# A text that `split` gives back as it is has no blanks at all, and is not empty.
_CONDITIONS = {
    "string": f"{{0}}.isspace() or len({{0}}) > {TEXT_MAX}",
    "markdown": f"{{0}}.isspace() or len({{0}}) > {TEXT_MAX}",
    "decimal": f"len(str({{0}})) > {DIGITS_MAX} and not {{1}}({{0}})",
    **dict.fromkeys(
        ("code", "uri", "url", "canonical"), "{0}.split(None, 1) != [{0}] and not {1}({0})"
    ),
}


def format_said(type_code: str) -> str:
    """What a value of the type must be, for a sentence."""
    return _FORMATS[type_code][1]
