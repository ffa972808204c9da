"""Quantities of FHIRPath: a number with a UCUM unit or a calendar word."""

from __future__ import annotations

import re
from decimal import Decimal, DivisionByZero, InvalidOperation, localcontext
from typing import NamedTuple

from dmed.fhir.path.units import canonical

CALENDAR_CODES = {
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min",
    "second": "s", "millisecond": "ms",
}  # fmt: skip  # A short table.
"""The UCUM unit beside each word of the calendar, the coarsest first."""
_WORDS = {code: word for word, code in CALENDAR_CODES.items()}
_ORDER = tuple(CALENDAR_CODES)
# A calendar year or month is of no fixed length, so it never equals the UCUM unit.
_VARIABLE = frozenset({"year", "month"})
_MILLISECONDS = {
    "year": 31_536_000_000, "month": 2_592_000_000, "week": 604_800_000, "day": 86_400_000,
    "hour": 3_600_000, "minute": 60_000, "second": 1000, "millisecond": 1,
}  # fmt: skip  # The calendar's own factors: a year of 365 days, a month of 30.
_SPECIAL = frozenset({"Cel", "[degF]"})
"""Units that begin elsewhere than at nothing; UCUM knows no sums and products of them."""
_DIGITS = 28


class Quantity(NamedTuple):
    """`value` in `unit`: a UCUM code, or a word such as `day` when `is_calendar`."""

    value: Decimal
    unit: str
    is_calendar: bool = False

    def __str__(self) -> str:
        if self.is_calendar:
            return f"{self.value:f} {self.unit}" + ("" if self.value == 1 else "s")
        return f"{self.value:f} '{self.unit}'"

    @property
    def code(self) -> str:
        """The UCUM code, also of a calendar word."""
        return CALENDAR_CODES[self.unit] if self.is_calendar else self.unit


def calendar_word(unit: str) -> str:
    """The word of the calendar that a text is, in the singular; "" where it is none."""
    word = unit.removesuffix("s")
    return word if word in CALENDAR_CODES else ""


def calendar_of(value: Quantity) -> Quantity:
    """A time in a UCUM unit by the calendar's word, as FHIR reads its own quantities beside dates;
    others as they are. https://hl7.org/fhir/R5/fhirpath.html#quantity
    """
    word = "" if value.is_calendar else _WORDS.get(value.unit, "")
    return Quantity(value.value, word, is_calendar=True) if word else value


def common(
    left: Quantity, right: Quantity, *, loose: bool = False
) -> tuple[Decimal, Decimal] | None:
    """Both values in one unit, or None where they cannot be compared.

    The unit is the coarser of both where time is meant and where `loose`, so that the conversion
    feigns no digits. A calendar year or month is compared with its own kind only, unless `loose`.
    https://build.fhir.org/ig/HL7/FHIRPath/#unit-conversions
    """
    if left.unit == right.unit and left.is_calendar == right.is_calendar:
        return left.value, right.value
    if left.is_calendar or right.is_calendar:
        return _common_time(left, right, loose=loose)
    one, other = canonical(left.unit), canonical(right.unit)
    if one is None or other is None or one.code != other.code:
        return None
    factor = max(one.factor, other.factor) if loose and not (one.offset or other.offset) else 1
    with localcontext(prec=_DIGITS):
        return (one.convert(left.value) / factor).normalize(), (
            other.convert(right.value) / factor
        ).normalize()


def _common_time(
    left: Quantity, right: Quantity, *, loose: bool
) -> tuple[Decimal, Decimal] | None:
    """Both in the coarser unit, each by the factors of its own system."""
    words = _word_of(left), _word_of(right)
    if not all(words):
        return None
    coarse = min(words, key=_ORDER.index)
    if coarse in _VARIABLE and left.is_calendar != right.is_calendar and not loose:
        return None
    return _in_word(left, coarse), _in_word(right, coarse)


def _word_of(value: Quantity) -> str:
    return value.unit if value.is_calendar else _WORDS.get(value.unit, "")


def _in_word(value: Quantity, word: str) -> Decimal:
    """A quantity of time in another unit of its own system, told by the calendar's word."""
    with localcontext(prec=_DIGITS):
        if not value.is_calendar:
            one, target = canonical(value.unit), canonical(CALENDAR_CODES[word])
            if one is None or target is None:
                raise AssertionError(value)  # The table of units knows them all.
            return (one.convert(value.value) / target.factor).normalize()
        if {value.unit, word} == _VARIABLE:
            twelve = Decimal(12)
            return value.value / twelve if word == "year" else value.value * twelve
        return value.value * _MILLISECONDS[value.unit] / _MILLISECONDS[word]


def converted(value: Quantity, unit: str) -> Quantity | None:
    """A quantity in another unit, a UCUM code or a word of the calendar; None if it has none.

    Between calendar and UCUM the value is brought to the size of the wanted unit by its own
    system's factors, and then takes the unit's name.
    """
    word = calendar_word(unit)
    if word or value.is_calendar:
        target = word or _WORDS.get(unit, "")
        if not target or not _word_of(value):
            return None
        found = _in_word(value, target)
        return Quantity(found, word, is_calendar=True) if word else Quantity(found, unit)
    if value.unit == unit:
        return value
    one, goal = canonical(value.unit), canonical(unit)
    if one is None or goal is None or one.code != goal.code:
        return None
    with localcontext(prec=_DIGITS):
        moved = (one.convert(value.value) - goal.offset) / goal.factor
        return Quantity(moved.normalize(), unit)


def add(left: Quantity, right: Quantity) -> Quantity | None:
    """The sum in the finer unit of both; None where units do not fit, or only roughly do.

    Where a word of the calendar meets a unit of UCUM, the sum is told in the calendar's.
    """
    if left.unit == right.unit and left.is_calendar == right.is_calendar:
        return left._replace(value=left.value + right.value)
    if left.is_calendar or right.is_calendar:
        words = _word_of(left), _word_of(right)
        if not all(words) or _VARIABLE & {*words}:
            return None
        fine = max(words, key=_ORDER.index)
        return Quantity(_in_word(left, fine) + _in_word(right, fine), fine, is_calendar=True)
    one, other = canonical(left.unit), canonical(right.unit)
    if one is None or other is None or one.code != other.code or {left.unit, right.unit} & _SPECIAL:
        return None
    finer = left.unit if one.factor <= other.factor else right.unit
    first, second = converted(left, finer), converted(right, finer)
    return None if first is None or second is None else add(first, second)


def identity(value: Quantity) -> tuple[object, ...]:
    """A hashable that quantities share exactly when they are equal."""
    if value.is_calendar and value.unit in _VARIABLE:
        return ("month", _in_word(value, "month"))
    known = canonical(value.code)
    if known is None:
        return (value.unit, value.value)
    with localcontext(prec=_DIGITS):
        return (known.code, known.convert(value.value).normalize())


def multiply(left: Quantity, right: Quantity) -> Quantity | None:
    """The product, its unit joined with a dot; None for units that have no product."""
    if not _have_ratio(left, right):
        return None
    if "1" in (left.unit, right.unit):
        kept = left if right.unit == "1" else right
        return kept._replace(value=left.value * right.value)
    return Quantity(left.value * right.value, _joined(left.unit, right.unit, 1))


def divide(left: Quantity, right: Quantity) -> Quantity | None:
    """The quotient, None by zero and for units without one; units that cancel give unit 1."""
    if not _have_ratio(left, right):
        return None
    try:
        with localcontext(prec=_DIGITS):
            value = left.value / right.value
    except (DivisionByZero, InvalidOperation):
        return None
    if left.unit == right.unit:
        return Quantity(value, "1")
    if right.unit == "1":
        return left._replace(value=value)
    return Quantity(value, _joined(left.unit, right.unit, -1))


_PART = re.compile(r"([./]?)([A-Za-z%\[\]_']+)(-?[1-9])?")


def _joined(first: str, second: str, direction: int) -> str:
    """The unit of a product (direction 1) or quotient (-1), each atom once: cm times cm is cm2."""
    powers: dict[str, int] = {}
    for unit, sign in ((first, 1), (second, direction)):
        if "".join(found[0] for found in _PART.finditer(unit)) != unit and unit != "1":
            turned = second if direction > 0 else second.translate(_TURNED)
            return f"{'' if first == '1' else first}{'.' if direction > 0 else '/'}{turned}"
        for mark, atom, power in _PART.findall(unit) if unit != "1" else ():
            signed = int(power or 1) * sign * (-1 if mark == "/" else 1)
            powers[atom] = powers.get(atom, 0) + signed
    above = [_power(atom, power) for atom, power in powers.items() if power > 0]
    below = [_power(atom, -power) for atom, power in powers.items() if power < 0]
    return ".".join(above) + "".join(f"/{each}" for each in below) or "1"


_TURNED = str.maketrans("./", "/.")


def _power(atom: str, power: int) -> str:
    return atom if power == 1 else f"{atom}{power}"


def _have_ratio(left: Quantity, right: Quantity) -> bool:
    """Products and quotients of words of the calendar, and of units that begin elsewhere than at
    nothing, have no meaning, other than with a plain number.
    """
    if "1" in (left.unit, right.unit):
        plain = left if right.unit == "1" else right
        return plain.unit not in _SPECIAL
    return not (left.is_calendar or right.is_calendar or {left.unit, right.unit} & _SPECIAL)
