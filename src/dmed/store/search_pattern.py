"""A search of one person's records by a statement that is kept: only the id is put in.

Planning a search takes as long as sending it. A pattern is planned twice, for two ids that nobody
has; what differs between the two statements is where the id stands, and everything else holds for
all. Whatever is not so plain takes the general way of `search`, which answers the same.
"""

from __future__ import annotations

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


class Statement(NamedTuple):
    """The first page of a pattern within a scope: SQL, its arguments, and where the id stands."""

    sql: str
    arguments: tuple[Any, ...]
    places: tuple[int, ...]


async def search_pattern(
    db: Database, scope: Scope, audit: AuditRow, pattern: Pattern, id_: str
) -> SearchPage:
    """As `search` of `pattern.filled(id_)`: the same page, audit and errors."""
    asked = pattern.query
    check_type(scope, asked.type)
    known: dict[tuple[Pattern, Scope], Statement | None] = db.kept.setdefault("patterns", {})
    key = pattern, msgspec.structs.replace(scope, subject="")
    if key not in known:
        if len(known) >= _KEPT_MAX:
            known.clear()
        known[key] = await statement_of(scope, pattern)
    statement = known[key]
    if statement is None:
        return await search(db, scope, audit, pattern.filled(id_))
    arguments = list(statement.arguments)
    for place in statement.places:
        arguments[place] = id_
    async with db.connection() as connection:
        rows = await connection.fetch(statement.sql, *arguments)
    disclosed = dict.fromkeys(one for row in rows[: asked.count] for one in people(row))
    await audits.disclose(db, audit, disclosed)
    return _page(pattern, id_, rows)


async def statement_of(scope: Scope, pattern: Pattern) -> Statement | None:
    """The statement that serves every id, or None where the plan is not that of one person."""
    if scope.patients is not None:
        return None
    made, again = await _planned(scope, pattern, HOLE), await _planned(scope, pattern, OTHER)
    if made is None or again is None:
        return None
    (sql, first), (other_sql, other) = made, again
    places = tuple(number for number, pair in enumerate(zip(first, other, strict=True))
                   if pair[0] != pair[1])
    is_sure = sql == other_sql and places and all(
        (first[number], other[number]) == (HOLE, OTHER) for number in places)
    return Statement(sql, tuple(first), places) if is_sure else None


async def _planned(scope: Scope, pattern: Pattern, id_: str) -> tuple[str, list[Any]] | None:
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
