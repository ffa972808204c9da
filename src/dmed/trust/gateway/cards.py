"""A person with several cards: what asks for one of them asks for all (after a merge).

Records stay with the card they were written to, so whatever is asked of one card by a reference is
asked of all cards of its person: by whatever parameter, in a chain, under `_has`, in `_filter`, in
searches of many types and in conditional criteria. The question which these are is asked of the
database only once cards were merged in this installation; that is known to each worker for a
second.
"""

from __future__ import annotations

import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from dmed.fhir.query_model import Chain, Criterion, Has, Link, Logic, Match, Query
from dmed.fhir.query_pattern import Pattern
from dmed.store import links
from dmed.store.model import Scope
from dmed.store.pool import Database

MERGED_MAX = 200
"""Most Patients that criteria are read for where cards were merged: several may be one person's."""
_KNOWN_SECONDS = 1.0
Others = Mapping[str, Sequence[str]]
"""The further cards of a person by one of them."""


async def are_there(db: Database, fetch: links.Fetch | None = None) -> bool:
    """Whether any cards were merged here; with `fetch` asked within an open unit, which must not
    wait for a second connection.
    """
    known, until = db.kept.get("merges", (False, 0.0))
    if not known and time.monotonic() >= until:
        async with _asking(db, fetch) as ask:
            known = await links.are_there(ask)
        db.kept["merges"] = (known, time.monotonic() + _KNOWN_SECONDS)
    return bool(known)


@asynccontextmanager
async def _asking(db: Database, fetch: links.Fetch | None) -> AsyncIterator[links.Fetch]:
    if fetch is not None:
        yield fetch
        return
    async with db.connection() as connection:
        yield connection.fetch


async def others(db: Database, patient: str) -> list[str]:
    """The further cards of the person to whom this card belongs; mostly none."""
    if not await are_there(db):
        return []
    async with _asking(db, None) as ask:
        found = await links.others_of(ask, [patient])
    return list(found.get(patient, ()))


async def followed(
    db: Database, queries: Sequence[Query], fetch: links.Fetch | None = None
) -> list[Query]:
    """Queries in which a person's one card stands for all of them, wherever it is referred to.

    `fetch` reads within an open unit, which sees what it wrote itself.
    """
    asked = list(dict.fromkeys(
        link.id for one in queries for match in _references(one.criteria)
        for link in _cards(match)))
    if not asked or not await are_there(db, fetch):
        return list(queries)
    async with _asking(db, fetch) as ask:
        found = await links.others_of(ask, asked)
    return [_widened(one, found) for one in queries] if found else list(queries)


def _references(criteria: Iterable[Criterion]) -> Iterator[Match]:
    """The criteria that name records, at whatever depth; a card's own links to others are its
    content and name these alone.
    """
    for one in criteria:
        if isinstance(one, Match) and one.kind == "reference" and one.type != "Patient":
            yield one
        elif isinstance(one, Chain):
            yield from _references(one.branches)
        elif isinstance(one, Has):
            yield from _references((one.inner,))
        elif isinstance(one, Logic):
            yield from _references(one.parts)


def _cards(match: Match) -> list[Link]:
    """What may be a Patient of that which a criterion names; a certain version is not followed."""
    return [value for value in match.values
            if isinstance(value, Link) and value.type in ("Patient", None) and not value.version]


def _widened(query: Query, found: Others) -> Query:
    return msgspec.structs.replace(query, criteria=tuple(
        _with(one, lambda match: _values(match, found)) for one in query.criteria))


def _with(one: Criterion, values: Callable[[Match], Iterable[Any]]) -> Criterion:
    """The criterion with other values in those of its parts that name records."""
    if isinstance(one, Match) and one.kind == "reference" and one.type != "Patient":
        return msgspec.structs.replace(one, values=tuple(values(one)))
    if isinstance(one, Chain):
        return msgspec.structs.replace(
            one, branches=tuple(_with(each, values) for each in one.branches))
    if isinstance(one, Has):
        return msgspec.structs.replace(one, inner=_with(one.inner, values))
    if isinstance(one, Logic):
        return msgspec.structs.replace(
            one, parts=tuple(_with(each, values) for each in one.parts))
    return one


def _values(match: Match, found: Others) -> list[Any]:
    made: list[Any] = list(match.values)
    there = {value.id for value in match.values if isinstance(value, Link)}
    for link in _cards(match):
        # Each card once: the links of a page name all of them, and are asked again.
        further = [each for each in found.get(link.id, ()) if each not in there]
        there.update(further)
        made += [msgspec.structs.replace(link, id=each) for each in further]
    return made


def in_order(one: Criterion) -> Criterion:
    """The criterion with what it names in one order, whichever card it was asked by."""
    return _with(one, lambda match: sorted(match.values, key=repr))


async def widened(db: Database, scope: Scope, patient: str) -> Scope:
    """The Scope of one person's compartment with his other cards in it; nothing more for an app
    that was let to this one card.
    """
    if not patient or scope.patients != (patient,):
        return scope
    return msgspec.structs.replace(scope, patients=(patient, *await others(db, patient)))


def filled(pattern: Pattern, id_: str, further: Sequence[str]) -> Query:
    """A pattern's search for several cards."""
    asked = pattern.filled(id_)
    criterion = asked.criteria[pattern.place]
    assert isinstance(criterion, Match), criterion
    first = criterion.values[0]
    values = (first, *(msgspec.structs.replace(first, id=one) for one in further))
    criteria = list(asked.criteria)
    criteria[pattern.place] = msgspec.structs.replace(criterion, values=values)
    return msgspec.structs.replace(asked, criteria=tuple(criteria))
