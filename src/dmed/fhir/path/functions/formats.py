"""Dates and moments read by a format, such as `dd-MM-yyyy`.

https://build.fhir.org/ig/HL7/FHIRPath/#format-codes. Names of months and of zones are not read.
"""

from __future__ import annotations

import re
from functools import lru_cache

from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.temporal import Temporal, parse_datetime

_CODE = re.compile(r"yyyy|yy|M{1,4}|dd?|HH?|hh?|mm?|ss?|S+|a|Z|z|.", re.DOTALL)
_GROUPS = {
    "yyyy": ("year", r"\d{4}"), "yy": ("short", r"\d\d"), "MM": ("month", r"\d\d"),
    "M": ("month", r"\d\d?"), "dd": ("day", r"\d\d"), "d": ("day", r"\d\d?"),
    "HH": ("hour", r"\d\d"), "H": ("hour", r"\d\d?"), "hh": ("half", r"\d\d"),
    "h": ("half", r"\d\d?"), "mm": ("minute", r"\d\d"), "m": ("minute", r"\d\d?"),
    "ss": ("second", r"\d\d"), "s": ("second", r"\d\d?"), "a": ("noon", "[AaPp][Mm]?"),
    "Z": ("zone", r"Z|[+-]\d\d:?\d\d"),
}  # fmt: skip  # A table.
_UNREAD = frozenset({"MMM", "MMMM", "z"})
_CENTURY_TURN = 50
"""Two digits below it are years of this century, the others of the last one."""
_NOON = 12


@lru_cache(maxsize=256)
def _template(form: str) -> re.Pattern[str]:
    """A format as a pattern with a group for each of its codes."""
    parts: list[str] = []
    for code in _CODE.findall(form):
        if code in _UNREAD:
            raise PathExecutionError(f"the code {code} of a format is not read here")
        if code.startswith("S"):
            name, pattern = "fraction", rf"\d{{{len(code)}}}"
        elif code in _GROUPS:
            name, pattern = _GROUPS[code]
        else:
            parts.append(re.escape(code))
            continue
        parts.append(f"(?P<{name}>{pattern})")
    try:
        return re.compile("".join(parts), re.ASCII)
    except re.error as error:
        raise PathExecutionError(f"{form!r:.60} asks the same part twice") from error


def moment(text: str, form: str) -> Temporal | None:
    """The DateTime that a text means by a format, as precise as the format; None if it does not
    fit, or is no moment of the calendar.

    Raises PathExecutionError for a format that cannot be read.
    """
    found = _template(form).fullmatch(text)
    if found is None:
        return None
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    year = parts.get("year") or _year(parts.get("short", ""))
    written = year
    for name, before in (("month", "-"), ("day", "-"), ("hour", "T"), ("minute", ":"),
                         ("second", ":")):  # fmt: skip  # A table.
        value = _hour(parts) if name == "hour" else parts.get(name, "")
        if not value:
            break
        written += f"{before}{int(value):02d}"
    else:
        written += f".{parts['fraction']}" if "fraction" in parts else ""
    if "T" in written and "zone" in parts:
        zone = parts["zone"]
        written += zone if zone == "Z" or ":" in zone else f"{zone[:3]}:{zone[3:]}"
    return parse_datetime(written)


def _year(short: str) -> str:
    if not short:
        return ""
    return f"{20 if int(short) < _CENTURY_TURN else 19}{short}"


def _hour(parts: dict[str, str]) -> str:
    half = parts.get("half", "")
    if not half:
        return parts.get("hour", "")
    hour = int(half) % _NOON if 1 <= int(half) <= _NOON else 99
    return str(hour + _NOON if parts.get("noon", "a")[0] in "pP" else hour)
