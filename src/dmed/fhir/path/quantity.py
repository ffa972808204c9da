"""Quantities of FHIRPath: a number with a UCUM unit or a calendar word."""

from __future__ import annotations

from decimal import Decimal, DivisionByZero, InvalidOperation, localcontext
from typing import NamedTuple

from dmed.fhir.path.units import canonical

CALENDAR_CODES = {
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min",
    "second": "s", "millisecond": "ms",
}  # fmt: skip  # A short table.
# A calendar year or month is of no fixed length, so it never equals the UCUM unit.
_VARIABLE = {"year", "month"}


class Quantity(NamedTuple):
    """`value` in `unit`: a UCUM code, or a word such as `day` when `is_calendar`."""

    value: Decimal
    unit: str
    is_calendar: bool = False

    def __str__(self) -> str:
        if self.is_calendar:
            return f"{self.value} {self.unit}" + ("" if self.value == 1 else "s")
        return f"{self.value} '{self.unit}'"

    @property
    def code(self) -> str:
        """The UCUM code, also of a calendar word."""
        return CALENDAR_CODES[self.unit] if self.is_calendar else self.unit


def common(
    left: Quantity, right: Quantity, *, loose: bool = False
) -> tuple[Decimal, Decimal] | None:
    """Both values in one unit, or None where they cannot be compared.

    A calendar year or month is compared with its own kind only, unless `loose`.
    """
    if left.unit == right.unit and left.is_calendar == right.is_calendar:
        return left.value, right.value
    if not loose and left.is_calendar != right.is_calendar:
        words = {each.unit for each in (left, right) if each.is_calendar}
        if words & _VARIABLE:
            return None
    one, other = canonical(left.code), canonical(right.code)
    if one is None or other is None or one.code != other.code:
        return None
    return one.convert(left.value), other.convert(right.value)


def in_unit_of(value: Quantity, other: Quantity) -> Decimal | None:
    """A value in the unit of another, None where they cannot be compared."""
    if common(value, other) is None:
        return None
    one, target = canonical(value.code), canonical(other.code)
    if one is None or target is None:
        return None
    with localcontext() as context:
        context.prec = 28
        return ((one.convert(value.value) - target.offset) / target.factor).normalize()


def multiply(left: Quantity, right: Quantity) -> Quantity:
    """The product, its unit joined with a dot."""
    if "1" in (left.code, right.code):
        unit = left.code if right.code == "1" else right.code
        return Quantity(left.value * right.value, unit)
    return Quantity(left.value * right.value, f"{left.code}.{right.code}")


def divide(left: Quantity, right: Quantity) -> Quantity | None:
    """The quotient, None by zero; units that cancel give unit 1."""
    try:
        with localcontext() as context:
            context.prec = 28
            if left.code == right.code:
                return Quantity(left.value / right.value, "1")
            if right.code == "1":
                return Quantity(left.value / right.value, left.code)
            turned = right.code.replace("/", "\0").replace(".", "/").replace("\0", ".")
            return Quantity(left.value / right.value, f"{left.code}/{turned}")
    except (DivisionByZero, InvalidOperation):
        return None
