"""The records of one person, asked through the gateway: all searches of a screen under way at once.

What the reader's role may not see at all is not asked for; what the decision hides of the rest
does not come, and nothing of the answer tells that it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from dmed.kit import clock
from dmed.modules.card.rules import course, sources
from dmed.trust.decide import Action, Context, decide
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

Record = dict[str, Any]
NAMES_MAX = 200
"""Most visits, people and institutions that are read for their names on one screen."""
LATELY = timedelta(days=730)
SECOND_MAX = 1_000
"""Most records of a type within one second: the largest page of a search."""


class Asked(msgspec.Struct, frozen=True):
    """One search in the compartment of the person: type, criteria, most records."""

    type: str
    count: int
    criteria: tuple[tuple[str, str], ...] = ()
    lately: str = ""
    """Search parameter of a date by which the newest are wanted: those of the last years are asked
    for first, since sorting the thousands of a long life costs most of a first screen."""


class Person(msgspec.Struct, frozen=True):
    """Whose records are asked for: a reader, the door, and all cards of the one person."""

    gateway: Gateway
    subject: Subject
    cards: tuple[str, ...]

    def may_see(self, type_: str) -> bool:
        """Whether the reader's role has anything to do with a type."""
        return decide(self.subject, Action.SEARCH, type_, Context()).allowed

    async def ask(self, asked: Asked) -> list[Record]:
        """What one search finds, in the order it asked for; nothing where the role sees none."""
        if not self.may_see(asked.type):
            return []
        if not asked.lately:
            return await self._ask(asked, asked.criteria)
        newest = (*asked.criteria, ("_sort", f"-{asked.lately}"))
        since = (clock.today() - LATELY).isoformat()
        found = await self._ask(asked, (*newest, (asked.lately, f"ge{since}")))
        return found if len(found) >= asked.count else await self._ask(asked, newest)

    async def ask_in(self, unit: GatewayUnit, asked: Asked) -> list[Record]:
        """The same inside a unit, which sees what others committed before its locks were given."""
        return await unit.find(asked.type, self._query(asked, asked.criteria))

    async def _ask(self, asked: Asked, criteria: Iterable[tuple[str, str]]) -> list[Record]:
        return await self.gateway.find(self.subject, asked.type, self._query(asked, criteria))

    def _query(self, asked: Asked, criteria: Iterable[tuple[str, str]]) -> str:
        cards = ",".join(f"Patient/{card}" for card in self.cards)
        return urlencode([("patient", cards), *criteria, ("_count", str(asked.count)),
                          ("_total", "none")])

    async def ask_all(self, wanted: Mapping[str, Asked]) -> dict[str, tuple[Record, ...]]:
        """Several searches at once, by their names."""
        found = await asyncio.gather(*(self.ask(one) for one in wanted.values()))
        return {name: tuple(records) for name, records in zip(wanted, found, strict=True)}

    async def names(self, records: Iterable[Record]) -> sources.Names:
        """The names that the sources of these records need, read in as many searches as types."""
        known = list(records)
        visits = {str(one["id"]): one for one in known if one["resourceType"] == "Encounter"}
        wanted = sources.unnamed(known)
        wanted["Encounter"] = wanted.get("Encounter", set()) - visits.keys()
        found = await asyncio.gather(*(self._by_id(type_, ids) for type_, ids in wanted.items()))
        return sources.names([*visits.values(), *(one for part in found for one in part)])

    async def _by_id(self, type_: str, ids: set[str]) -> list[Record]:
        if not ids or not self.may_see(type_):
            return []
        some = sorted(ids)[:NAMES_MAX]
        query = urlencode([("_id", ",".join(some)), ("_count", str(len(some))),
                           ("_total", "none")])
        return await self.gateway.find(self.subject, type_, query)

    async def page(
        self, types: Sequence[str], until: str, size: int
    ) -> tuple[list[Record], str]:
        """A page of the course of some types, newest first, and where the next one begins."""
        while True:
            found = await self.ask_all({type_: _dated(type_, until, size) for type_ in types})
            if "Condition" in types and not until:
                found["Condition"] = (*found["Condition"], *await self._undated_diagnoses())
            by_type = {type_: list(records) for type_, records in found.items()}
            shown, following = course.cut(by_type, size)
            if shown or not following or size >= SECOND_MAX:
                return shown, following
            size = min(size * 5, SECOND_MAX)

    async def _undated_diagnoses(self) -> list[Record]:
        """Diagnoses without a day of writing have no place in time: they end the first page."""
        return await self.ask(Asked("Condition", 50, (("recorded-date:missing", "true"),)))


def _dated(type_: str, until: str, size: int) -> Asked:
    date = course.DATES[type_]
    criteria = [("_sort", f"-{date}")]
    if until:
        criteria.append((date, f"lt{until}"))
    return Asked(type_, size, tuple(criteria))
