"""Parts of dates, moments and times, from FHIRPath 3.0.

https://build.fhir.org/ig/HL7/FHIRPath/#extract-datedatetimetime-components. A part that the value
does not have is empty; so is every part of what is no date.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

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
