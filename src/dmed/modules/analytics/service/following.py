"""Counts follow the change feed: restartable, idempotent, exact after corrections and deletes.

Of each change the record as it is now is read; what its person's facts added before is taken away
and what they add now is added, in one transaction with the position. So nothing depends on how
often or in which stretches the feed is read. New definitions are counted from the beginning as a
new generation, which is shown when it has come to the end of the feed; until then the last one is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import UnavailableError
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Kept
from dmed.modules.analytics.rules import facts
from dmed.modules.analytics.rules.counting import Counts, counts, difference
from dmed.modules.analytics.rules.definitions import version
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PLATFORM = Subject(user="analytics", role=Role.SERVICE, name="DMED", purpose="PUBHLTH")
"""Who counts: a job, no person."""
STRETCH, STRETCH_MIN = 500, 15
"""Changes of one transaction: well under its five seconds."""
STRETCH_MAX = 10_000
"""The feed tells no more at once."""
TURN = 8
"""So many records or persons are counted before others have their turn."""
MINUTE_SECONDS = 20.0
"""The minute's job counts no longer: other jobs wait behind it."""
MINUTE_STRETCH, MINUTE_RESTS = 100, 2.0
"""It takes small steps and rests after each for so many times as long as the step took: the first
count of a large feed goes on beside people at work (`dmed analytics count` hurries)."""


class Step(msgspec.Struct, frozen=True):
    """What one transaction of counting did."""

    looked: int
    """Records that were looked at."""
    read: int
    """Changes of the feed that were passed, those of other types with them."""
    is_end: bool


async def follow(
    gateway: Gateway, *, stretch: int = STRETCH, most: int = 1_000_000, seconds: float = math.inf,
    rests: float = 0,
) -> int:  # fmt: skip  # One line a thought.
    """Counts what was written since the last time, at most about `most` changes and `seconds`, with
    rests of so many times a step's time; how many records were looked at. Two at once do no harm:
    one of them finds the position moved and begins again.
    """
    looked, began = 0, time.monotonic()
    step_began = began
    async for step in steps(gateway, stretch):
        looked += step.looked
        now = time.monotonic()
        if step.is_end or looked >= most or now - began >= seconds:
            break
        await asyncio.sleep(rests * (now - step_began))
        step_began = time.monotonic()
    return looked


async def steps(
    gateway: Gateway, stretch: int = STRETCH, *, lease: timedelta | None = None
) -> AsyncIterator[Step]:
    """Counts step by step up to the end of the feed. With a `lease` the job of each minute stands
    aside for so long after each step.
    """
    while True:
        try:
            step = await _stretch(gateway, stretch, lease)
        except UnavailableError:
            # A machine that is busy with other things: smaller steps get through it.
            if stretch <= STRETCH_MIN:
                raise
            stretch //= 2
            continue
        yield step
        if step.is_end:
            return


async def position(gateway: Gateway) -> tuple[int, int]:
    """How far the feed was counted by the definitions as they are now."""
    return (await _begin(gateway)).at


async def _stretch(gateway: Gateway, stretch: int, lease: timedelta | None) -> Step:
    """Counts the next changes."""
    begun = await _begin(gateway)
    now = begun.generation
    told = await gateway.follow(PLATFORM, facts.TYPES, begun.at, stretch)
    is_end = told.read < min(stretch, STRETCH_MAX)
    found: Found = {}
    for number, (key, record) in enumerate(told.records.items()):
        await _let_others(number)
        found[key] = None if record is None else facts.kept(record)
    before = await _before(gateway, now, found)
    # Worked out before the transaction: facts change only when the position moves, so what was
    # read holds where it has not moved.
    change = await _change(before, found)
    async with gateway.unit(PLATFORM) as unit:
        if await tables.position(unit, lock=True) != begun:
            return Step(0, 0, is_end=False)
        if told.position != begun.at or (is_end and begun.shown != now):
            await tables.put(unit, now, found)
            await tables.add(unit, now, change)
            await tables.move(unit, told.position, is_end=is_end)
        if lease is not None:
            await tables.lease(unit, clock.now() + lease)
    return Step(len(found), told.read, is_end=is_end)


async def _begin(gateway: Gateway) -> tables.Position:
    """The position; of a new generation where the definitions have changed."""
    async with gateway.unit(PLATFORM) as unit:
        found = await tables.position(unit)
        if found.version == version():
            return found
        if (await tables.position(unit, lock=True)).version != version():
            await tables.begin_anew(unit, version())
        return await tables.position(unit)


Found = dict[tuple[str, str], Kept | None]


async def _before(gateway: Gateway, generation: int, found: Found) -> dict[str, list[Kept]]:
    """The facts so far of everybody whom changed records belonged to or belong to now."""
    if not found:
        return {}
    async with gateway.unit(PLATFORM) as unit:
        patients = await tables.patients_of(unit, generation, found)
        patients |= {one.patient for one in found.values() if one is not None and one.patient}
        rows = await tables.facts_of(unit, generation, patients)
    return {patient: [] for patient in patients} | tables.by_person(rows)


async def _let_others(number: int) -> None:
    """The worker that counts answers requests, too: none waits for a whole stretch."""
    if number % TURN == 0:
        await asyncio.sleep(0)


async def _change(before: dict[str, list[Kept]], found: Found) -> Counts:
    after = {patient: [one for one in kept if (one.type, one.id) not in found]
             for patient, kept in before.items()}
    for one in found.values():
        if one is not None and one.patient:
            after[one.patient].append(one)
    total: Counts = {}
    for number, patient in enumerate(sorted(before)):
        await _let_others(number)
        change = difference(counts(before[patient]), counts(after[patient]))
        for cell, (numerator, denominator) in change.items():
            so_far = total.get(cell, (0, 0))
            total[cell] = (so_far[0] + numerator, so_far[1] + denominator)
    return total
