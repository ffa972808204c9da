"""Units of clinical quantities: a small part of UCUM, enough to compare common measurements.

A unit code is parsed to a factor and a vector of dimensions; each vector that medicine uses has
one canonical unit, chosen so that most values are canonical as they come (mm[Hg], Cel, kg, cm,
mmol/L). The complete UCUM is to replace the tables, not the interface. https://ucum.org/ucum
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import NamedTuple

UCUM = "http://unitsofmeasure.org"
CODE_LENGTH_MAX = 80
"""Longest unit code that is taken apart; a record from outside may hold any text."""

_PREFIXES = {
    "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3, "u": -6,
    "n": -9, "p": -12, "f": -15,
}  # fmt: skip  # A table of powers of ten.

# Each atom: factor, dimensions ("symbol power ..."), and whether it takes metric prefixes.
# Symbols of dimensions are our own: m metre, g gram, s second, mol, K, and one for each
# arbitrary unit and for per cent, which are kept apart from plain numbers on purpose.
_ATOMS: dict[str, tuple[str, str, bool]] = {
    "m": ("1", "m1", True), "g": ("1", "g1", True), "s": ("1", "s1", True),
    "mol": ("1", "mol1", True), "K": ("1", "K1", True), "A": ("1", "A1", True),
    "rad": ("1", "rad1", True), "cd": ("1", "cd1", True),
    "10*": ("10", "", False), "10^": ("10", "", False),
    "%": ("1", "%1", False), "[ppth]": ("0.1", "%1", False), "[ppm]": ("0.0001", "%1", False),
    "L": ("0.001", "m3", True), "l": ("0.001", "m3", True), "ar": ("100", "m2", True),
    "t": ("1000000", "g1", True), "u": ("1.66053886E-24", "g1", True),
    "min": ("60", "s1", False), "h": ("3600", "s1", False), "d": ("86400", "s1", False),
    "wk": ("604800", "s1", False), "mo": ("2629800", "s1", False), "a": ("31557600", "s1", False),
    "Hz": ("1", "s-1", True), "N": ("1000", "g1 m1 s-2", True),
    "Pa": ("1000", "g1 m-1 s-2", True), "bar": ("1E+8", "g1 m-1 s-2", True),
    "m[Hg]": ("133322000", "g1 m-1 s-2", True), "m[H2O]": ("9806650", "g1 m-1 s-2", True),
    "J": ("1000", "g1 m2 s-2", True), "cal": ("4184", "g1 m2 s-2", True),
    "[Cal]": ("4184000", "g1 m2 s-2", False), "W": ("1000", "g1 m2 s-3", True),
    "C": ("1", "A1 s1", True), "V": ("1000", "g1 m2 s-3 A-1", True),
    "Bq": ("1", "s-1", True), "Gy": ("1", "m2 s-2", True), "Sv": ("1", "m2 s-2", True),
    "kat": ("1", "mol1 s-1", True), "U": ("1", "U1", True),
    "eq": ("1", "mol1", True), "osm": ("1", "osm1", True),
    "[iU]": ("1", "[iU]1", True), "[IU]": ("1", "[iU]1", True),
    "[arb'U]": ("1", "[arb'U]1", True), "[USP'U]": ("1", "[USP'U]1", True),
    "[CFU]": ("1", "[CFU]1", False), "[drp]": ("0.00000005", "m3", False),
    "[pH]": ("1", "[pH]1", False), "[diop]": ("1", "m-1", False),
    "[lb_av]": ("453.59237", "g1", False), "[oz_av]": ("28.349523125", "g1", False),
    "[in_i]": ("0.0254", "m1", False), "[ft_i]": ("0.3048", "m1", False),
    "deg": ("0.0174532925199432957692369076848861", "rad1", False),
}  # fmt: skip  # A table of units.

# The canonical unit of each vector of dimensions.
_CANONICAL = (
    "kg", "cm", "cm2", "mL", "mm[Hg]", "K", "mmol", "mmol/L", "mmol/kg", "g/L", "/min", "/L",
    "min", "kg/m2", "U", "U/L", "mL/min", "L/kg", "[iU]", "[iU]/L", "mosm/kg", "kcal", "m/s",
    "%", "1", "osm", "g/d", "mL/kg/h", "[pH]", "[CFU]/mL", "N", "W", "V", "Gy",
)  # fmt: skip  # One list.

_TERM = re.compile(
    r"(\[[^\]\s]+\]|10[*^]|%|[A-Za-z]+(?:\[[^\]\s]+\])?)([+-]?\d{1,2})?|([1-9]\d{0,8})"
)
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_WIDE = Context(prec=40)
_KELVIN = Decimal("273.15")


class Unit(NamedTuple):
    """How to bring a value to its canonical unit: value * factor + offset, in unit `code`."""

    code: str
    factor: Decimal
    offset: Decimal = Decimal(0)

    def convert(self, value: Decimal) -> Decimal:
        """The value in the canonical unit, to 40 digits, without trailing zeros."""
        with localcontext(_WIDE):
            return (value * self.factor + self.offset).normalize()


Vector = tuple[tuple[str, int], ...]


@lru_cache(maxsize=4096)
def canonical(code: str) -> Unit | None:
    """How to bring a UCUM code to its canonical unit; None for a unit that is not known here."""
    if code == "Cel":
        return Unit("Cel", Decimal(1))
    if code == "[degF]":
        with localcontext(_WIDE):
            return Unit("Cel", Decimal(5) / 9, Decimal(-160) / 9)
    if code == "K":
        return Unit("Cel", Decimal(1), -_KELVIN)
    parsed = _parse(code)
    if parsed is None:
        return None
    factor, vector = parsed
    target = _targets().get(vector)
    if target is None:
        return Unit("".join(f"{name}{power}." for name, power in vector).rstrip(".") or "1", factor)
    name, target_factor = target
    with localcontext(_WIDE):
        return Unit(name, factor / target_factor)


def same_kind(first: str, second: str) -> bool:
    """Whether values in both units can be compared."""
    one, two = canonical(first), canonical(second)
    return one is not None and two is not None and one.code == two.code


@lru_cache(maxsize=1)
def _targets() -> dict[Vector, tuple[str, Decimal]]:
    targets: dict[Vector, tuple[str, Decimal]] = {}
    for code in _CANONICAL:
        parsed = _parse(code)
        assert parsed is not None, code
        targets.setdefault(parsed[1], (code, parsed[0]))
    return targets


def _parse(code: str) -> tuple[Decimal, Vector] | None:
    """Factor and dimensions of a code such as `mg/dL`, `10*9/L`, `/min`; None if not known."""
    plain = _ANNOTATION.sub(lambda found: "1" if _stands_alone(code, found) else "", code)
    factor = Decimal(1)
    powers: dict[str, int] = {}
    if not plain or len(code) > CODE_LENGTH_MAX:
        return None
    with localcontext(_WIDE):
        for sign, text in _factors(plain):
            match = _TERM.fullmatch(text)
            if match is None:
                return None
            if match[3]:  # A plain number, as in /100{WBC}.
                factor *= Decimal(match[3]) ** sign
                continue
            atom = _atom(match[1])
            if atom is None:
                return None
            power = sign * int(match[2] or 1)
            factor *= atom[0] ** power
            for name, unit_power in atom[1]:
                powers[name] = powers.get(name, 0) + unit_power * power
    return factor, tuple(sorted((name, power) for name, power in powers.items() if power))


def _stands_alone(code: str, found: re.Match[str]) -> bool:
    before = code[found.start() - 1] if found.start() else "/"
    return before in "/."


def _factors(code: str) -> list[tuple[int, str]]:
    parts = re.split(r"([/.])", code)
    if parts[0] == "" and len(parts) > 1:
        parts[0] = "1"
    signs = {".": 1, "/": -1}
    return [(1, parts[0]), *((signs[parts[i]], parts[i + 1]) for i in range(1, len(parts), 2))]


@lru_cache(maxsize=512)
def _atom(symbol: str) -> tuple[Decimal, Vector] | None:
    row = _ATOMS.get(symbol)
    if row is not None:
        return _row(row, 0)
    for prefix, power in _PREFIXES.items():
        row = _ATOMS.get(symbol[len(prefix) :]) if symbol.startswith(prefix) else None
        if row is not None and row[2]:
            return _row(row, power)
    return None


def _row(row: tuple[str, str, bool], power: int) -> tuple[Decimal, Vector]:
    factor, dimensions, _ = row
    vector = []
    for part in dimensions.split():
        name, exponent = re.fullmatch(r"(.*?)(-?\d)", part).groups()  # type: ignore[union-attr]  # The table is ours.
        vector.append((name, int(exponent)))
    return Decimal(factor).scaleb(power), tuple(vector)
