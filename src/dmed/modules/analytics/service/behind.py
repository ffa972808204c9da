"""The prescriptions behind a case, listed once, as they were when it was told; without persons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from dmed.kit import clock
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Behind, Case, Definition, Direction
from dmed.modules.analytics.rules import behind as rules
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service.following import PLATFORM

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PERSONS_MAX = 20_000
"""Nobody writes to more people in a year."""
LINES_MAX = 5_000
"""So many lines of a case are kept, those that make the numerator first."""
_AT_ONCE = 100
"""Persons whose facts are read in one transaction."""


async def listed(gateway: Gateway, case: Case) -> None:
    """Lists the lines behind a case once, over the months by which it was judged. What was told is
    listed at once by the night's job; a case of before, when somebody looks.
    """
    definition = definitions().get(case.indicator)
    found: list[Behind] = []
    if definition is not None:
        months = tables.year_before(case.made.astimezone(clock.TASHKENT).date())
        within = months[0], tables.month_of(months[1])
        async with gateway.unit(PLATFORM) as unit:
            persons = await tables.persons_of(unit, case.prescriber, *months, PERSONS_MAX)
        for at in range(0, len(persons), _AT_ONCE):
            async with gateway.unit(PLATFORM) as unit:
                rows = await tables.facts_of(unit, None, persons[at : at + _AT_ONCE])
            for facts in tables.by_person(rows).values():
                found += (line for _, _, lines in rules.behind(
                    definition, case.prescriber, case.part, within, facts) for line in lines)
                await asyncio.sleep(0)
        found.sort(key=_order(definition))
    async with gateway.unit(PLATFORM) as unit:
        await tables.keep_behind(unit, case.number, found[:LINES_MAX], len(found),
                                 sum(one.is_counted for one in found))


def _order(definition: Definition) -> Callable[[Behind], tuple[bool, int, float, str]]:
    """Those that stand out first: where low is worse, those that do not count; then the latest."""
    is_low = definition.direction is Direction.LOW

    def key(one: Behind) -> tuple[bool, int, float, str]:
        return (one.is_counted is is_low, -one.amount if definition.kind == "mean" else 0,
                -one.moment.timestamp(), one.id)

    return key
