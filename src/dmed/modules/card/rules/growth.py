"""Growth of a child by age in months. Pure.

Reference lines are drawn only from `data/who_growth.tsv`: the L, M, S of the WHO Child Growth
Standards for weight and length from birth to 24 months, which a test holds against the standard's
own printed z-score columns. What the table does not hold is not drawn, and the page says so: a
child's curve against lines that somebody remembered would harm.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path

KINDS = {"29463-7": "weight", "8302-2": "height", "8306-3": "height", "9843-4": "head"}
"""LOINC > what grows."""
YEARS_MAX = 19
DAYS_IN_MONTH = 30.4375
"""As WHO counts a month of age: a twelfth of 365.25 days."""
MONTHS_MAX = 24
Z_SCORES = (-3, -2, 0, 2, 3)
_TABLE = Path(__file__).resolve().parent.parent / "data" / "who_growth.tsv"
Lms = tuple[float, float, float]


@lru_cache(maxsize=1)
def table() -> dict[tuple[str, str], dict[int, Lms]]:
    """(what, sex) > completed month > L, M, S of the WHO Child Growth Standards."""
    made: dict[tuple[str, str], dict[int, Lms]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            what, sex, month, power, median, spread = line.split("\t")
            made.setdefault((what, sex), {})[int(month)] = (
                float(power), float(median), float(spread))
    return made


def months(born: str, when: str) -> float | None:
    """Age in months of 30.4375 days on a day; None where a date names no day or lies before."""
    try:
        days = (date.fromisoformat(when[:10]) - date.fromisoformat(born)).days
    except ValueError:
        return None
    return round(days / DAYS_IN_MONTH, 2) if days >= 0 else None


def at(z: float, lms: Lms) -> float:
    """The measurement at a z-score by the LMS method (Cole 1990): M (1 + L S z)^(1/L)."""
    power, median, spread = lms
    return float(median * (1 + power * spread * z) ** (1 / power))


def score(value: float, lms: Lms) -> float:
    """The z-score of a measurement: ((value / M)^L - 1) / (L S), the inverse of `at`."""
    power, median, spread = lms
    return float(((value / median) ** power - 1) / (power * spread))


def lines(
    kind: str, sex: str, first: float, last: float
) -> list[tuple[str, list[tuple[float, float]]]]:
    """(z-score as text, points) of the reference lines in a span of months; none where unknown."""
    known = table().get((kind, sex), {})
    inside = [month for month in sorted(known) if first - 1 <= month <= last + 1]
    if len(inside) < 2:
        return []
    return [(f"{z:+d}".replace("-", "−") if z else "0",
             [(float(month), round(at(z, known[month]), 2)) for month in inside])
            for z in Z_SCORES]
