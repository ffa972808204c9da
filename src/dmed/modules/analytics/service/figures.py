"""Figures of doctors, specialties, institutions and regions, with their peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Figure, House, Place, Post, Verdict
from dmed.modules.analytics.rules import judging
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service.following import MINUTE_SECONDS, PLATFORM, follow

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

YEAR = timedelta(days=365)
FEEDBACK = timedelta(days=14)
"""So long a flag is the prescriber's alone, unless an answer comes before."""
MINUTE_MAX = 20_000
"""Changes counted in one run of the job, so that after an import other jobs have their turn."""
_JUDGE_EVERY = timedelta(hours=20)
_LEVELS_MAX = 6


class Staff(msgspec.Struct, frozen=True):
    """Posts and institutions as the counts need them."""

    posts: Mapping[str, Post]
    houses: Mapping[str, House]
    places: Mapping[str, Place]
    """Post > where it stands."""

    def at(self, organisation: str) -> list[str]:
        """The posts of an institution and of all below it."""
        inside = {organisation} if organisation else set()
        for _ in range(_LEVELS_MAX):
            inside |= {id_ for id_, house in self.houses.items() if house.parent in inside}
        return sorted(id_ for id_, post in self.posts.items() if post.organisation in inside)

    def group_of(self, level: str, post: str) -> str:
        """The specialty, institution or region of a post."""
        found = self.places.get(post)
        if found is None:
            return ""
        return {"specialty": found.specialty, "institution": found.organisation,
                "region": found.region}[level]


async def staff(gateway: Gateway) -> Staff:
    """All posts and institutions."""
    async with gateway.unit(PLATFORM) as unit:
        posts = {one.id: one.fact for one in await tables.shared(unit, "PractitionerRole")
                 if isinstance(one.fact, Post)}
        houses = {one.id: one.fact for one in await tables.shared(unit, "Organization")
                  if isinstance(one.fact, House)}
    return Staff(posts, houses, {id_: place_of(post, houses) for id_, post in posts.items()})


def place_of(post: Post, houses: Mapping[str, House]) -> Place:
    """Where a post stands; region and district are those of the nearest institution above that
    tells them.
    """
    house, at = houses.get(post.organisation), post.organisation
    told = house
    for _ in range(_LEVELS_MAX):
        told = houses.get(at)
        if told is None or told.region:
            break
        at = told.parent
    return Place(
        specialty=post.specialty, kind=house.kind if house else "",
        organisation=post.organisation, district=told.district if told else "",
        region=told.region if told else "")


async def verdicts(gateway: Gateway, since: date, until: date, known: Staff) -> list[Verdict]:
    """All figures over days among their peers, flags set."""
    async with gateway.unit(PLATFORM) as unit:
        figures = await tables.totals(unit, since, until)
    return judging.judge_all(figures, definitions(), known.places)


def pooled(figures: Iterable[Figure], known: Staff, level: str) -> list[Figure]:
    """Figures of a specialty, institution or region: sums, `prescriber` is the group's key. Groups
    under the least cell are left out, as are parts.
    """
    sums: dict[tuple[str, str], list[int]] = {}
    for one in figures:
        key = known.group_of(level, one.prescriber)
        if key and not one.part and definitions()[one.indicator].kind != "part":
            cell = sums.setdefault((key, one.indicator), [0, 0])
            cell[0] += one.numerator
            cell[1] += one.denominator
    return [Figure(prescriber=key, indicator=indicator, numerator=both[0], denominator=both[1])
            for (key, indicator), both in sorted(sums.items()) if both[1] >= judging.CELL_MIN]


async def tell(gateway: Gateway, since: date, until: date) -> Sequence[Verdict]:
    """Judges and makes a case of each new flag, told to its prescriber; all flags. A flag is made
    once a quarter for the same prescriber, indicator and part.
    """
    known = await staff(gateway)
    found = [one for one in await verdicts(gateway, since, until, known) if one.is_flagged]
    quarter = f"{until.year}Q{(until.month + 2) // 3}"
    async with gateway.unit(PLATFORM) as unit:
        for one in found:
            mark = f"{quarter} {one.figure.prescriber} {one.figure.indicator} {one.figure.part}"
            await tables.tell(unit, one, mark)
    return found


async def keep(gateway: Gateway) -> None:
    """The job of each minute: counts what came, and once a day judges the last year."""
    await follow(gateway, most=MINUTE_MAX, seconds=MINUTE_SECONDS)
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        last = await tables.judged(unit)
        if last is not None and now - last < _JUDGE_EVERY:
            return
        await tables.note_judged(unit, now)
    until = now.astimezone(clock.TASHKENT).date()
    await tell(gateway, until - YEAR, until)


def open_since(now: datetime) -> datetime:
    """Flags told before this moment are open to those who look into them."""
    return now - FEEDBACK
