"""Counts follow the change feed: restartable, idempotent, exact after corrections and deletes.

Of each change the record as it is now is read; what its person's facts added before is taken away
and what they add now is added, in one transaction with the position. So nothing depends on how
often or in which stretches the feed is read.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

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
TURN = 8
"""So many records or persons are counted before others have their turn."""
MINUTE_SECONDS = 20.0
"""The minute's job counts no longer: other jobs wait behind it."""


async def follow(
    gateway: Gateway, *, stretch: int = STRETCH, most: int = 1_000_000, seconds: float = math.inf
) -> int:
    """Counts what was written since the last time, at most about `most` changes and `seconds`; how
    many records were looked at. Two at once do no harm: one of them finds the position moved and
    begins again.
    """
    looked, began = 0, time.monotonic()
    while looked < most and time.monotonic() - began < seconds:
        try:
            taken = await _stretch(gateway, stretch)
        except UnavailableError:
            # A machine that is busy with other things: smaller steps get through it.
            if stretch <= STRETCH_MIN:
                raise
            stretch //= 2
            continue
        if taken is None:
            return looked
        looked += taken
    return looked


async def _stretch(gateway: Gateway, stretch: int) -> int | None:
    """Counts the next changes; how many records were looked at, None at the end of the feed."""
    at, known = await _begin(gateway)
    told = await gateway.follow(PLATFORM, facts.TYPES, at, stretch)
    if told.position == at:
        return None
    found: Found = {}
    for number, (key, record) in enumerate(told.records.items()):
        await _let_others(number)
        found[key] = None if record is None else facts.kept(record)
    before = await _before(gateway, found)
    # Worked out before the transaction: facts change only when the position moves, so what was
    # read holds where it has not moved.
    change = await _change(before, found)
    async with gateway.unit(PLATFORM) as unit:
        if await tables.position(unit, lock=True) != (at, known):
            return 0
        await tables.put(unit, found)
        await tables.add(unit, change)
        await tables.move(unit, told.position, known)
    return len(found)


async def _begin(gateway: Gateway) -> tuple[tuple[int, int], str]:
    """The position, after everything was forgotten where the definitions have changed."""
    async with gateway.unit(PLATFORM) as unit:
        at, known = await tables.position(unit, lock=True)
        if known == version():
            return at, known
        await tables.forget(unit)
        await tables.move(unit, (0, 0), version())
        return (0, 0), version()


Found = dict[tuple[str, str], Kept | None]


async def _before(gateway: Gateway, found: Found) -> dict[str, list[Kept]]:
    """The facts so far of everybody whom changed records belonged to or belong to now."""
    if not found:
        return {}
    async with gateway.unit(PLATFORM) as unit:
        patients = await tables.patients_of(unit, found)
        patients |= {one.patient for one in found.values() if one is not None and one.patient}
        rows = await tables.facts_of(unit, patients)
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
