"""What a head must see: terms that run out, too much of one person, pension, norms of work."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec

from dmed.modules.workforce.model import Clash, ForecastYear, Overlap, Post

STAGES = (7, 30, 90)
"""Days before an end at which it is told."""
RATES_MAX = Decimal("1.5")
"""Most rates that one person may hold in all posts."""
RATES_MIN = Decimal("0.25")
_STEP = Decimal("0.25")


class Norm(msgspec.Struct, frozen=True):
    """Visits that a post of one rate is expected to see in a working day."""

    code: str
    title: str
    visits_day: int


class Staffing(msgspec.Struct, frozen=True):
    """One line of a draft staffing table: rates of a post at an institution of a kind."""

    code: str
    title: str
    rates: Decimal


class Pension(msgspec.Struct, frozen=True):
    """Ages in years at which a pension of age begins."""

    male: int
    female: int
    source: str


class Norms(msgspec.Struct, frozen=True):
    """The data file of norms; drafts are marked and name their source."""

    is_draft: bool
    source: str
    pension: Pension
    work: tuple[Norm, ...]
    staffing: dict[str, tuple[Staffing, ...]]
    """By kind of institution (facilities.Kind)."""


@cache
def norms() -> Norms:
    """The norms of data/norms.json."""
    raw = files("dmed.modules.workforce").joinpath("data/norms.json").read_bytes()
    return msgspec.json.decode(raw, type=Norms)


def stage(until: date, day: date) -> int | None:
    """0 for what has run out, else the smallest stage that has come; None where it is far off."""
    days = (until - day).days
    if days < 0:
        return 0
    return next((one for one in STAGES if days <= one), None)


def is_rate(value: Decimal) -> bool:
    """Whether a post may have this rate: quarters from 0.25 to 1.5."""
    return RATES_MIN <= value <= RATES_MAX and value % _STEP == 0


def is_doctor(code: str) -> bool:
    """Whether a position is a doctor's or dentist's (ISCO-08 groups 221 and 2261)."""
    return code.partition(".")[0] in {"2211", "2212", "2261"}


def is_nurse(code: str) -> bool:
    """Whether a position is a nurse's or midwife's (ISCO-08 groups 222 and 322)."""
    return code.partition(".")[0][:3] in {"222", "322"}


# Overlaps ---------------------------------------------------------------------------------------


def _clashes(first: Post, second: Post) -> list[Clash]:
    found = []
    for mine, other in itertools.product(first.hours, second.hours):
        start = max(mine.start_minute, other.start_minute)
        end = min(mine.end_minute, other.end_minute)
        if mine.day == other.day and start < end:
            found.append(Clash(first.role, second.role, mine.day, start, end))
    return found


def overlap(practitioner: str, name: str, posts: Sequence[Post]) -> Overlap | None:
    """What is wrong with the running posts of one person together, or None."""
    rates = sum((one.rate for one in posts), Decimal(0))
    clashes = [clash for first, second in itertools.combinations(posts, 2)
               if first.organisation != second.organisation for clash in _clashes(first, second)]
    if rates <= RATES_MAX and not clashes:
        return None
    return Overlap(practitioner=practitioner, name=name, rates=rates, posts=tuple(posts),
                   clashes=tuple(clashes), is_over=rates > RATES_MAX)


# Pension ----------------------------------------------------------------------------------------


def pension_year(born: date, sex: str) -> int:
    """The year in which somebody reaches the age of pension; without sex as a man."""
    ages = norms().pension
    return born.year + (ages.female if sex == "female" else ages.male)


def forecast(
    rows: Sequence[tuple[int, str, bool, bool, int]], first: int, years: int
) -> list[ForecastYear]:
    """Who reaches the age of pension in each year from `first`; earlier ones count in `first`.

    `rows` are (year of birth, sex, is a doctor, is a nurse, how many).
    """
    found = {year: [0, 0, 0] for year in range(first, first + years)}
    for born, sex, doctor, nurse, count in rows:
        year = max(pension_year(date(born, 1, 1), sex), first)
        if year in found:
            found[year][0] += count
            found[year][1] += count * doctor
            found[year][2] += count * nurse
    return [ForecastYear(year=year, people=people, doctors=doctors, nurses=nurses)
            for year, (people, doctors, nurses) in sorted(found.items())]


# The norm of work -------------------------------------------------------------------------------


def working_days(first: date, after: date) -> int:
    """Days from Monday to Saturday in [first, after): the working week of polyclinics."""
    count = max((after - first).days, 0)
    return sum((first + timedelta(days=one)).weekday() < 6 for one in range(count))


def month(text: str, today: date) -> tuple[date, date]:
    """(first day, first day after) of a month like "2026-11"; anything else is that of today."""
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        first = today.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def visits_norm(code: str, rate: Decimal, days: int) -> int | None:
    """Visits that the norm expects of a post in so many working days; None without norm."""
    norm = next((one for one in norms().work if one.code == code), None)
    return None if norm is None else int(norm.visits_day * rate * days)
