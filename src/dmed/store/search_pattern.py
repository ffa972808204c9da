"""A search of one person's records by a statement that is kept: only the id is put in.

Planning a search takes as long as sending it. A pattern is planned twice, for two ids that nobody
has; what differs between the two statements is where the id stands, and everything else holds for
all. Whatever is not so plain takes the general way of `search`, which answers the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import msgspec

from dmed.fhir.query_model import Match
from dmed.fhir.query_pattern import HOLE, OTHER, Pattern
from dmed.store import audit as audits
from dmed.store.model import AuditRow, Hit, Scope, SearchPage
from dmed.store.plan import flat, is_local
from dmed.store.plan_where import Arguments
from dmed.store.pool import Database
from dmed.store.read import check_type, people, stored
from dmed.store.search import search, start_of, token_of
from dmed.store.search_pages import first_page, order_of
from dmed.store.search_stage import TOTAL_MAX, chosen

_KEPT_MAX = 4_000


_SOME, _OTHERS = ("User/anybody",), ("User/another",)
"""Principals to plan with."""


class Statement(NamedTuple):
    """The first page of a pattern within a scope: SQL, its arguments, and where in them the id and
    the principals of who asks stand.
    """

    sql: str
    arguments: tuple[Any, ...]
    ids: tuple[int, ...]
    principals: tuple[int, ...]

    def filled(self, id_: str, principals: tuple[str, ...]) -> list[Any]:
        """The arguments for one person and one who asks."""
        arguments = list(self.arguments)
        for place in self.ids:
            arguments[place] = id_
        for place in self.principals:
            arguments[place] = list(principals)
        return arguments


async def search_pattern(
    db: Database, scope: Scope, audit: AuditRow, pattern: Pattern, id_: str
) -> SearchPage:
    """As `search` of `pattern.filled(id_)`: the same page, audit and errors."""
    asked = pattern.query
    check_type(scope, asked.type)
    known: dict[tuple[Pattern, Scope], Statement | None] = db.kept.setdefault("patterns", {})
    key = pattern, msgspec.structs.replace(scope, subject="", principals=())
    if key not in known:
        if len(known) >= _KEPT_MAX:
            known.clear()
        known[key] = await statement_of(scope, pattern)
    statement = known[key]
    if statement is None:
        return await search(db, scope, audit, pattern.filled(id_))
    # Whom the search is about is known before its answer: both ways to the database at once.
    noted = asyncio.ensure_future(audits.disclose(db, audit, [id_]))
    try:
        async with db.connection() as connection:
            rows = await connection.fetch(statement.sql, *statement.filled(id_, scope.principals))
    finally:
        await noted
    others = {one for row in rows[: asked.count] for one in people(row)} - {id_}
    if others:
        await audits.disclose_more(db, audit, others)
    return _page(pattern, id_, rows)


async def statement_of(scope: Scope, pattern: Pattern) -> Statement | None:
    """The statement that serves every id, or None where the plan is not that of one person."""
    if scope.patients is not None:
        return None
    made = await _planned(scope, _SOME, pattern, HOLE)
    again = await _planned(scope, _OTHERS, pattern, OTHER)
    if made is None or again is None or made[0] != again[0]:
        return None
    sql, arguments = made
    ids: list[int] = []
    principals: list[int] = []
    for number, pair in enumerate(zip(arguments, again[1], strict=True)):
        if pair == (HOLE, OTHER):
            ids.append(number)
        elif pair == (list(_SOME), list(_OTHERS)):
            principals.append(number)
        elif pair[0] != pair[1]:
            return None
    return Statement(sql, tuple(arguments), tuple(ids), tuple(principals)) if ids else None


async def _planned(
    scope: Scope, principals: tuple[str, ...], pattern: Pattern, id_: str
) -> tuple[str, list[Any]] | None:
    scope = msgspec.structs.replace(scope, principals=principals)
    query = pattern.filled(id_)
    person = query.criteria[pattern.place]
    criteria = flat(query.criteria)
    if not isinstance(person, Match) or not is_local(person):
        return None
    # One patient leads whatever the tables hold: the choice asks the database nothing.
    plan, _ = await chosen(None, scope, query.type, criteria)
    if plan.mode != "walk" or plan.driver != person:
        return None
    arguments = Arguments()
    sql = first_page(plan, order_of(query), query.count + 1, TOTAL_MAX + 1, arguments)
    return sql, arguments.values


def _page(pattern: Pattern, id_: str, rows: list[Any]) -> SearchPage:
    asked = pattern.query
    if not rows:
        return SearchPage([], 0, None)
    counted = rows[0]["total"]
    total = counted if counted <= TOTAL_MAX else None
    has_more = len(rows) > asked.count
    rows = rows[: asked.count]
    following = None
    if has_more:
        query = pattern.filled(id_)
        following = token_of(query, order_of(query), start_of(rows[0], total), rows[-1],
                             is_backward=False)
    return SearchPage([Hit(stored(asked.type, row["id"], row)) for row in rows], total, following)
