"""Figures of doctors, specialties, institutions and regions, with their peers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Definition, Figure, House, Place, Post, Verdict
from dmed.modules.analytics.rules import judging
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.rules.parts import Parts
from dmed.modules.analytics.rules.peers import Weighed
from dmed.modules.analytics.service import behind
from dmed.modules.analytics.service.following import (
    MINUTE_RESTS,
    MINUTE_SECONDS,
    MINUTE_STRETCH,
    PLATFORM,
    follow,
)

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

FEEDBACK = timedelta(days=14)
"""So long a flag is the prescriber's alone, unless an answer comes before."""
READ_SECONDS_MAX = 60
"""Reading an indicator of the whole country takes longer than an act of a person may."""
WHOLES = 5
"""Preparations whose products are weighed at once."""
DROPPED_ROWS = 20_000
"""Of an old count so many rows go each minute."""
STAFF_KEPT_S = 60.0
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
    """All posts and institutions, read once a minute by a worker: a country has many."""
    held: dict[str, tuple[float, Staff]] = gateway.held("analytics staff", dict)
    until, found = held.get("all", (0.0, _NOBODY))
    if time.monotonic() > until:
        async with gateway.unit(PLATFORM, seconds_max=READ_SECONDS_MAX) as unit:
            rows = [await tables.shared(unit, type_)
                    for type_ in ("PractitionerRole", "Organization")]
        posts = {one.id: one.fact for one in rows[0] if isinstance(one.fact, Post)}
        houses = {one.id: one.fact for one in rows[1] if isinstance(one.fact, House)}
        found = Staff(posts, houses, {id_: place_of(post, houses) for id_, post in posts.items()})
        held["all"] = (time.monotonic() + (STAFF_KEPT_S if posts else 0.0), found)
    return found


_NOBODY = Staff({}, {}, {})


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
    """All figures over months among their peers, flags set: for a country that fits into memory."""
    async with gateway.unit(PLATFORM) as unit:
        figures = await tables.totals(unit, since, until, list(definitions()))
    return judging.judge_all(figures, definitions(), known.places)


async def judged(gateway: Gateway, since: date, until: date, known: Staff) -> list[Verdict]:
    """The flags among all figures over months, read and weighed part by part: what is in memory at
    once is one indicator, of pairs one district, of products a few preparations. What the peers
    make of each indicator is kept, for the figures of single prescribers.
    """
    sieve = judging.Sieve(definitions())
    for definition in definitions().values():
        if definition.kind != "part":
            figures = await _read(gateway, since, until, definition)
            peers = judging.Peers(definition, figures, known.places)
            await asyncio.to_thread(_sift, sieve, peers.weighed())
            async with gateway.unit(PLATFORM) as unit:
                await tables.keep_bases(unit, definition.id, peers.known)
            continue
        parts = Parts(definition, known.places)
        async for figures in _together(gateway, since, until, definition, known):
            await asyncio.to_thread(_sift, sieve, parts.weighed(figures))
        await asyncio.to_thread(_sift, sieve, parts.held())
    return sieve.flags()


def _sift(sieve: judging.Sieve, weighed: Iterable[Weighed]) -> None:
    for one in weighed:
        sieve.add(one)


async def _read(
    gateway: Gateway, since: date, until: date, definition: Definition,
    prescribers: Sequence[str] | None = None, wholes: Sequence[str] | None = None,
) -> list[Figure]:
    async with gateway.unit(PLATFORM, seconds_max=READ_SECONDS_MAX) as unit:
        return await tables.totals(unit, since, until, [definition.id], prescribers, wholes)


async def _together(
    gateway: Gateway, since: date, until: date, definition: Definition, known: Staff
) -> AsyncIterator[list[Figure]]:
    """Figures of parts, so many at once as must be weighed together."""
    if definition.part == "pharmacy":
        by_district: dict[str, list[str]] = {}
        for post, place in known.places.items():
            by_district.setdefault(place.district, []).append(post)
        for district, posts in sorted(by_district.items()):
            if district:
                yield await _read(gateway, since, until, definition, posts, [""])
    elif definition.part == "brand":
        async with gateway.unit(PLATFORM, seconds_max=READ_SECONDS_MAX) as unit:
            every = await tables.wholes(unit, definition.id)
        for at in range(0, len(every), WHOLES):
            yield await _read(gateway, since, until, definition, None, every[at : at + WHOLES])
    else:
        yield await _read(gateway, since, until, definition)


async def tell(gateway: Gateway, since: date, until: date) -> Sequence[Verdict]:
    """Judges and makes a case of each new flag, told to its prescriber, with the lines behind it;
    all flags. A flag is made once a quarter for the same prescriber, indicator and part.
    """
    found = await judged(gateway, since, until, await staff(gateway))
    quarter = f"{until.year}Q{(until.month + 2) // 3}"
    async with gateway.unit(PLATFORM) as unit:
        numbers = [await tables.tell(unit, one, (
            f"{quarter} {one.figure.prescriber} {one.figure.indicator} {one.figure.part}"))
            for one in found]
    for number in filter(None, numbers):
        async with gateway.unit(PLATFORM) as unit:
            case = await tables.case(unit, number, open_since(clock.now()))
        if case is not None:
            await behind.listed(gateway, case)
    return found


async def keep(gateway: Gateway) -> None:
    """The job of each minute: counts what came, and once a day judges the last year. While another
    process counts, and until all was counted once, it does neither.
    """
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        leased = await tables.leased(unit)
    if leased is not None and now < leased:
        return
    await follow(gateway, stretch=MINUTE_STRETCH, most=MINUTE_MAX, seconds=MINUTE_SECONDS,
                 rests=MINUTE_RESTS)
    async with gateway.unit(PLATFORM) as unit:
        position = await tables.position(unit)
        await tables.drop_old(unit, DROPPED_ROWS)
        last = await tables.judged(unit)
        # Half of a year's feed would make doctors differ who do not.
        if position.shown != position.generation or (
                last is not None and now - last < _JUDGE_EVERY):
            return
    await judge_year(gateway)


async def judge_year(gateway: Gateway) -> Sequence[Verdict]:
    """Judges twelve months and this one so far, and tells prescribers of new flags; all flags. It
    is noted first: whoever fails every minute would leave no time for anything else.
    """
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        await tables.note_judged(unit, now)
    until = now.astimezone(clock.TASHKENT).date()
    return await tell(gateway, *tables.year_before(until))


def open_since(now: datetime) -> datetime:
    """Flags told before this moment are open to those who look into them."""
    return now - FEEDBACK
