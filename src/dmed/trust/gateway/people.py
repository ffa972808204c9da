"""The door to the index of persons: who may be meant, for searches as typed and for matching.

Candidates are weighed inside; only the records of those who are told leave, and each of them is
audited, with what was asked. Who may search is what the decision says of a search of Patient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dmed.fhir.persons import Probes
from dmed.kit.errors import ForbiddenError
from dmed.store import persons as store_persons
from dmed.store.audit import disclosed
from dmed.store.model import Scope, Stored
from dmed.store.persons import Candidate
from dmed.store.pool import Database
from dmed.trust.gateway.common import QUERY_MAX, audit_of
from dmed.trust.gateway.unit import GatewayUnit
from dmed.trust.model import Subject
from dmed.trust.oauth import scopes as smart

if TYPE_CHECKING:
    from dmed.trust.gateway.door import Gateway

__all__ = ["Candidate", "Further", "PeopleDoor"]
T = TypeVar("T")
Pick = Callable[[list[Candidate]], Sequence[Candidate]]
"""Of what the keys found, in order, what is worth reading."""
Tell = Callable[[list[Stored]], Mapping[str, T]]
"""Of the records read, by Patient id, what is told."""


class Further(NamedTuple):
    """A second look, where `suffices` says of the first that it does not."""

    suffices: Callable[[list[Candidate]], bool]
    begun: Sequence[tuple[int, int]]
    """Ranges of surnames of which it must be known which there are, `most` of each at most."""
    most: int
    probes: Callable[[list[list[int]]], Probes]
    """What to look up, of the surnames found for each range."""


class PeopleDoor:
    """Made by `Gateway.people()`; all methods take the Subject first."""

    def __init__(self, gateway: Gateway, db: Database) -> None:
        self._gateway = gateway
        self._db = db

    async def look_up(
        self, subject: Subject, probes: Probes, asked: str, *, pick: Pick, tell: Tell[T],
        further: Further | None = None,
    ) -> dict[str, T]:
        """What `tell` says of the persons whom `pick` chose among those that the keys find.

        `asked` is what was asked, for the audit; `further` is a second look where the first does
        not suffice. RefusedError where the subject may not search, ForbiddenError for an app that
        sees certain Patients only.
        """
        scope = await self._scope(subject)
        async with self._db.connection() as connection:
            found = await store_persons.candidates(connection.fetch, probes)
            if further is not None and not further.suffices(found):
                begun = [await store_persons.families(connection.fetch, *each, further.most)
                         for each in further.begun]
                more = further.probes(begun)
                found += await store_persons.candidates(connection.fetch, more)
            chosen = pick(found)
            read = await store_persons.records(connection.fetch, scope, chosen)
        told = dict(tell(read))
        audit = audit_of(subject, "E", "Patient", query=asked[:QUERY_MAX])
        await store_persons.disclose(self._db, audit, list(told))
        return told

    async def look_up_in(
        self, unit: GatewayUnit, subject: Subject, probes: Probes, asked: str, *, pick: Pick,
        tell: Tell[T],
    ) -> dict[str, T]:
        """The same as an open unit sees it."""
        scope = await self._scope(subject)
        found = await store_persons.candidates(unit.fetch, probes)
        told = dict(tell(await store_persons.records(unit.fetch, scope, pick(found))))
        audit = audit_of(subject, "E", "Patient", query=asked[:QUERY_MAX])
        await unit.note(disclosed(audit, list(told)))
        return told

    async def is_whole(self) -> bool:
        """Whether every Patient of before has its rows; until then other searches must help."""
        return await store_persons.is_whole(self._db)

    async def _scope(self, subject: Subject) -> Scope:
        if smart.restriction(subject.scopes, "search", "Patient"):
            raise ForbiddenError(
                "The app sees certain Patient only, and these by its own search")
        return await self._gateway.search_scope(subject, "Patient")
