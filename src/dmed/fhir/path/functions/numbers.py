"""Functions of numbers. https://hl7.org/fhirpath/#math."""

from __future__ import annotations

from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Decimal,
    InvalidOperation,
    localcontext,
)
from typing import Any

from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.table import scalar
from dmed.fhir.path.quantity import Quantity

_NUMBERS = (int, Decimal)
_AMOUNTS = (int, Decimal, Quantity)
_PRECISION = 28
_DIGITS_MAX = 60


@scalar("abs", _AMOUNTS, "Any")
def _abs(value: Any) -> Any:
    return value._replace(value=abs(value.value)) if isinstance(value, Quantity) else abs(value)


@scalar("ceiling", _AMOUNTS, "Any")
def _ceiling(value: int | Decimal | Quantity) -> int | Quantity:
    return _whole(value, ROUND_CEILING)


@scalar("floor", _AMOUNTS, "Any")
def _floor(value: int | Decimal | Quantity) -> int | Quantity:
    return _whole(value, ROUND_FLOOR)


@scalar("truncate", _AMOUNTS, "Any")
def _truncate(value: int | Decimal | Quantity) -> int | Quantity:
    return _whole(value, ROUND_DOWN)


def _whole(value: int | Decimal | Quantity, rounding: str) -> int | Quantity:
    """A whole number; of a quantity one in the same unit."""
    if isinstance(value, Quantity):
        return value._replace(value=value.value.to_integral_value(rounding))
    return int(Decimal(value).to_integral_value(rounding))


@scalar("round", _AMOUNTS, "Any", 0, 1, given=(int,))
def _round(value: int | Decimal | Quantity, digits: int = 0) -> Decimal | Quantity | None:
    if digits < 0:
        raise PathExecutionError(f"round() takes no {digits} digits")
    if isinstance(value, Quantity):
        return value._replace(value=_rounded(value.value, digits))
    return _rounded(Decimal(value), digits)


def _rounded(value: Decimal, digits: int) -> Decimal:
    if digits >= _DIGITS_MAX:
        return value
    with localcontext(prec=4 * _DIGITS_MAX):
        return value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


@scalar("exp", _NUMBERS, "Decimal")
def _exp(value: int | Decimal) -> Decimal | None:
    return _worked(lambda: Decimal(value).exp())


@scalar("ln", _NUMBERS, "Decimal")
def _ln(value: int | Decimal) -> Decimal | None:
    return _worked(lambda: Decimal(value).ln()) if value > 0 else None


@scalar("log", _NUMBERS, "Decimal", 1)
def _log(value: int | Decimal, base: int | Decimal) -> Decimal | None:
    if value <= 0 or base <= 0 or base == 1:
        return None
    if base == 10:
        return _worked(lambda: Decimal(value).log10())
    return _worked(lambda: round(Decimal(value).ln() / Decimal(base).ln(), 20).normalize())


@scalar("power", _NUMBERS, "Any", 1)
def _power(value: int | Decimal, exponent: int | Decimal) -> int | Decimal | None:
    if isinstance(value, int) and isinstance(exponent, int) and 0 <= exponent <= 64:
        found = value**exponent
        return found if abs(found) < 2**63 else None
    return _worked(lambda: Decimal(value) ** Decimal(exponent))


@scalar("sqrt", _NUMBERS, "Decimal")
def _sqrt(value: int | Decimal) -> Decimal | None:
    return _worked(lambda: Decimal(value).sqrt()) if value >= 0 else None


def _worked(work: Any) -> Decimal | None:
    try:
        with localcontext() as context:
            context.prec = _PRECISION
            found: Decimal = work()
    except (InvalidOperation, ArithmeticError):
        return None
    return found if found.is_finite() and found.adjusted() < _DIGITS_MAX else None
