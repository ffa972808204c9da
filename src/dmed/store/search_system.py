"""Search over several types: each is searched by itself at one place of one order, then merged.

The place of a page (sort values, version, bucket) is the same for every type, so paging is as
stable as within one type. https://hl7.org/fhir/R5/http.html#search
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

import msgspec

from dmed.fhir.query_model import Query
from dmed.fhir.query_system import SystemQuery
from dmed.store import audit as audits
from dmed.store import search as one_type
from dmed.store import search_cursor
from dmed.store.keys import type_name
from dmed.store.model import AuditRow, Hit, Scope, SearchPage
from dmed.store.pool import Database
from dmed.store.read import check_type, people, stored
from dmed.store.search_cursor import Cursor
from dmed.store.search_estimate import about
from dmed.store.search_include import included
from dmed.store.search_pages import Order, order_of
from dmed.store.search_stage import TOTAL_MAX, chosen, staged

# A loose walk of the index (type, vid, bucket): one probe a type that is there.
_TYPES = """
WITH RECURSIVE t AS (
    (SELECT type FROM resource ORDER BY type LIMIT 1)
    UNION ALL
    SELECT (SELECT r.type FROM resource r WHERE r.type > t.type ORDER BY r.type LIMIT 1)
    FROM t WHERE t.type IS NOT NULL
) SELECT type FROM t WHERE type IS NOT NULL
"""


class _Row(NamedTuple):
    query: Query
    row: Any


async def types_present(db: Database, scope: Scope) -> list[str]:
    """The types of which there are records that the scope may reach, in alphabetical order."""
    async with db.connection() as connection:
        rows = await connection.fetch(_TYPES)
    names = (type_name(row["type"]) for row in rows)
    return sorted(name for name in names if scope.types is None or name in scope.types)


async def search_all(
    db: Database, scope: Scope, audit: AuditRow, asked: SystemQuery
) -> SearchPage:
    """One page of the records of several types that match, audited before it is returned.

    Errors as `search`. All its statements see one moment of the database.
    """
    for query in asked.queries:
        check_type(scope, query.type)
    if not asked.queries:
        return SearchPage([], 0, None)
    moment = {"isolation": "repeatable_read", "readonly": True}
    async with db.searching() as connection, connection.transaction(**moment):
        page, disclosed = await _find(connection, scope, asked)
    await audits.disclose(db, audit, disclosed)
    return page


async def _find(
    connection: Any, scope: Scope, asked: SystemQuery
) -> tuple[SearchPage, tuple[str, ...]]:
    first = asked.queries[0]
    order = order_of(first)
    place = _place(asked, order)
    is_counting = first.summary == "count" or first.count == 0
    rows: list[_Row] = []
    total: int | None = 0
    for query in asked.queries:
        found, count = await _of_type(connection, scope, query, place, is_counting=is_counting)
        rows += found
        total = None if total is None or count is None else total + count
    is_estimate = first.total == "estimate" and total is not None and total > TOTAL_MAX
    if is_counting:
        return SearchPage([], total, None, is_estimate=is_estimate), ()
    if total is not None and total > TOTAL_MAX and first.total not in {"accurate", "estimate"}:
        total = None
    if place is not None:
        total = place.total if place.total >= 0 else None
        is_estimate = first.total == "estimate" and total is not None and total > TOTAL_MAX
    if first.total == "none":
        total = None
    page, rows = _page(asked, order, place, rows, total)
    added, was_cut = await _included(connection, scope, rows)
    if was_cut:
        note = f"More than {first.include_max} records would be included: the rest is left out"
        page = msgspec.structs.replace(page, notes=(note,))
    hits = [one_type.subsetted([Hit(stored(one.query.type, one.row["id"], one.row))], one.query)[0]
            for one in rows]
    hits += one_type.subsetted(
        [Hit(stored(type_name(row["type"]), row["id"], row), "include") for row in added], first)
    seen = dict.fromkeys(
        each for row in (*(one.row for one in rows), *added) for each in people(row))
    return msgspec.structs.replace(page, hits=hits, is_estimate=is_estimate), tuple(seen)


async def _of_type(
    connection: Any, scope: Scope, query: Query, place: Cursor | None, *, is_counting: bool
) -> tuple[list[_Row], int | None]:
    """The rows of one type at a place, and how many match (None: not known)."""
    order = order_of(query)
    criteria = await staged(connection, scope, query.criteria)
    if criteria is None:
        return [], 0
    plan, is_dense = await chosen(
        connection, scope, query.type, criteria, is_sorted=bool(order.keys))
    if is_counting and query.total == "estimate":
        return [], (await about(connection, plan, TOTAL_MAX))[0]
    if is_counting:
        return [], await one_type.exact_total(connection, plan)
    counted = TOTAL_MAX + 1 if query.total not in {"none", "accurate"} and not is_dense else 0
    rows, count = await one_type.rows_of(connection, plan, order, query.count + 1, place, counted)
    known = count if counted and count <= TOTAL_MAX else None
    if query.total == "accurate" and place is None:
        known = await one_type.exact_total(connection, plan)
    elif query.total == "estimate" and place is None and known is None:
        known, _ = await about(connection, plan, TOTAL_MAX)
    return [_Row(query, row) for row in rows], known


def _pseudo(asked: SystemQuery) -> Query:
    """What a token of this search is bound to: not the types, since these may come and go."""
    return Query(type=asked.mark, cursor=asked.cursor)


def _place(asked: SystemQuery, order: Order) -> Cursor | None:
    if not asked.cursor:
        return None
    return search_cursor.read(_pseudo(asked), order.kinds(asked.queries[0].type))


def _page(
    asked: SystemQuery, order: Order, place: Cursor | None, rows: list[_Row], total: int | None
) -> tuple[SearchPage, list[_Row]]:
    """The rows of the page in order, and the page with its total and links but no hits yet."""
    size = asked.queries[0].count
    is_backward = place is not None and place.is_backward

    def compared(one: _Row, two: _Row) -> int:
        return _compared(order, one.row, two.row)

    rows = sorted(rows, key=cmp_to_key(compared), reverse=is_backward)
    has_more = len(rows) > size
    rows = rows[:size]
    if is_backward:
        rows.reverse()
    if not rows:
        return SearchPage([], total, None), []
    start = place or one_type.start_of(rows[0].row, total)
    has_previous = has_more if is_backward else place is not None

    def token(row: Any, *, backward: bool) -> str:
        return one_type.token_of(_pseudo(asked), order, start, row, is_backward=backward)

    return SearchPage(
        [], total,
        token(rows[-1].row, backward=False) if has_more or is_backward else None,
        token(rows[0].row, backward=True) if has_previous else None,
    ), rows


def _compared(order: Order, one: Any, two: Any) -> int:
    """Below 0 where a row comes before another: sort keys (absent last), then the version."""
    for number, key in enumerate(order.keys):
        a, b = one[f"k{number}"], two[f"k{number}"]
        if a == b:
            continue
        if a is None or b is None:
            return 1 if a is None else -1
        return (-1 if a < b else 1) * (-1 if key.descending else 1)
    a, b = (one["place"], one["bucket"]), (two["place"], two["bucket"])
    if a == b:
        return 0
    return (-1 if a < b else 1) * (1 if order.is_oldest else -1)


async def _included(
    connection: Any, scope: Scope, rows: Sequence[_Row]
) -> tuple[list[Any], bool]:
    """The records to add, each once, for all types together; and whether the limit cut them."""
    by_type: dict[str, list[_Row]] = {}
    for one in rows:
        if one.query.includes or one.query.revincludes:
            by_type.setdefault(one.query.type, []).append(one)
    seen = {(one.query.type, one.row["id"]) for one in rows}
    added: list[Any] = []
    was_cut = False
    for some in by_type.values():
        query = some[0].query
        found, cut = await included(connection, scope, query, [one.row for one in some])
        fresh = [row for row in found if (type_name(row["type"]), row["id"]) not in seen]
        seen |= {(type_name(row["type"]), row["id"]) for row in fresh}
        added += fresh
        was_cut = was_cut or cut or len(added) > query.include_max
        added = added[: query.include_max]
    return added, was_cut
