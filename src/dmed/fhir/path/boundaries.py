"""The least and the greatest value that one of limited precision can mean.

https://build.fhir.org/ig/HL7/FHIRPath/#boundaries. Precision is counted in digits: of the
fraction for numbers; 4, 6, 8 and so on to 17 for dates, to 9 for times.
"""

from __future__ import annotations

import calendar
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal, localcontext

from dmed.fhir.path.quantity import Quantity
from dmed.fhir.path.temporal import Temporal

_DIGITS_MAX = 31
_DATE_DIGITS = (4, 6, 8, 10, 12, 14)
_TIME_DIGITS = (2, 4, 6)
_WEST_MINUTES, _EAST_MINUTES = -12 * 60, 14 * 60


def precision(value: int | Decimal | Temporal) -> int:
    """The digits that a value has."""
    if isinstance(value, int):
        return 0
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0
    steps = _TIME_DIGITS if value.kind == "Time" else _DATE_DIGITS
    return steps[len(value.parts) - 1] + value.digits


def boundary(value: object, digits: int | None, *, high: bool) -> object | None:
    """The low or high boundary at a precision (by default the greatest); None if it cannot be."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        return _of_number(Decimal(value), 8 if digits is None else digits, high=high)
    if isinstance(value, Quantity):
        found = _of_number(value.value, 8 if digits is None else digits, high=high)
        return None if found is None else value._replace(value=found)
    if isinstance(value, Temporal):
        return _of_temporal(value, digits, high=high)
    return None


def _of_number(value: Decimal, digits: int, *, high: bool) -> Decimal | None:
    if not 0 <= digits <= _DIGITS_MAX:
        return None
    with localcontext() as context:
        context.prec = 60
        half = Decimal(5).scaleb(-precision(value) - 1)
        edge = value + half if high else value - half
        unit = Decimal(1).scaleb(-digits)
        if abs(edge) < unit and abs(value) < unit and digits < precision(value):
            # Less than one step of the wanted precision is nothing at that precision.
            return edge.quantize(unit, ROUND_DOWN)
        return edge.quantize(unit, ROUND_CEILING if high else ROUND_FLOOR)


def _of_temporal(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    is_time = value.kind == "Time"
    most = {"Time": 9, "Date": 8}.get(value.kind, 17)
    wanted = most if digits is None else digits
    steps = _TIME_DIGITS if is_time else _DATE_DIGITS
    length = 3 if is_time and wanted == 9 else 6 if wanted == 17 else 0
    if not length:
        if wanted not in steps:
            return None
        length = steps.index(wanted) + 1
    parts = list(value.parts)
    if len(parts) == 4 and not is_time and length > 4:
        # FHIR has no hour without minutes: an hour alone is the full hour.
        parts.append(0)
    while len(parts) < length:
        parts.append(_edge(parts, is_time=is_time, high=high))
    if wanted in (9, 17) and high and value.digits == 0:
        parts[-1] = Decimal(int(parts[-1])) + Decimal("0.999")
    offset = value.offset
    if not is_time and length > 3 and offset is None:
        offset = _WEST_MINUTES if high else _EAST_MINUTES
    kind = value.kind
    if kind == "Date" and length > 3:
        kind = "DateTime"
    fraction = 3 if wanted in (9, 17) else 0
    return Temporal(kind, tuple(parts[:length]), offset if length > 3 else None, fraction)


def _edge(parts: list[int | Decimal], *, is_time: bool, high: bool) -> int | Decimal:
    """The first or last value that the next part can have."""
    place = len(parts) + (3 if is_time else 0)
    if place == 1:
        return 12 if high else 1
    if place == 2:
        return calendar.monthrange(int(parts[0]), int(parts[1]))[1] if high else 1
    if place == 3:
        return 23 if high else 0
    if place == 4:
        return 59 if high else 0
    return Decimal(59 if high else 0)
