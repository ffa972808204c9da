"""Search: a Query and a Scope become a page of records. https://hl7.org/fhir/R5/search.html

One patient's records take one statement on the pool of prepared plans. A type-wide search takes
one or two on the pool that plans anew: a count of density where it decides the plan, and the
page with its bodies. Chains and includes add a statement a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dmed.fhir.query_model import Criterion, Link, Match, Missing, Query, Token
from dmed.fhir.subset import subset
from dmed.kit.clock import now
from dmed.kit.ids import vid_at
from dmed.store import audit as audits
from dmed.store import search_cursor
from dmed.store.keys import type_name
from dmed.store.model import AuditRow, Hit, Scope, SearchPage
from dmed.store.plan import Plan, is_local, matches
from dmed.store.plan_where import Arguments
from dmed.store.pool import Database
from dmed.store.read import check_type, people, stored
from dmed.store.search_cursor import Cursor
from dmed.store.search_estimate import about
from dmed.store.search_include import included
from dmed.store.search_pages import Order, first_page, next_page, order_of, total_of
from dmed.store.search_sorted import is_walked, unvalued_page, valued_page
from dmed.store.search_stage import TOTAL_MAX, chosen, staged

_UNDER_WAY_MS = 60_000
"""A write that the first page did not see has a version id from at most so long before it."""


class Found(msgspec.Struct, frozen=True):
    """A page and the people whose records are on it: what an audit of the search needs."""

    page: SearchPage
    people: tuple[str, ...]


async def search(db: Database, scope: Scope, audit: AuditRow, query: Query) -> SearchPage:
    """One page of the records that match, audited before it is returned.

    Order is newest first unless the query sorts. Errors: ForbiddenError for a type outside the
    scope, InvalidError for a token of another search or a chain that finds too much,
    UnavailableError where the database needs longer than SEARCH_SECONDS_MAX.
    """
    check_type(scope, query.type)
    pool = db.connection() if _is_prepared(scope, query) else db.searching()
    async with pool as connection:
        found = await find(connection, scope, query)
    await audits.disclose(db, audit, {*found.people, *_named(query)})
    return found.page


async def find(connection: Any, scope: Scope, query: Query) -> Found:
    """The same on a given connection or in its transaction, not audited: the caller does that."""
    check_type(scope, query.type)
    if query.contained in {"true", "both"}:
        from dmed.store import search_contained  # It is built on this module.

        return await search_contained.find(connection, scope, query)
    order = order_of(query)
    place = search_cursor.read(query, order.kinds(query.type)) if query.cursor else None
    criteria = await staged(connection, scope, query.criteria)
    if criteria is None:
        return Found(SearchPage([], None if query.total == "none" else 0, None), ())
    plan, is_dense = await chosen(
        connection, scope, query.type, criteria, is_sorted=bool(order.keys))
    if query.summary == "count" or query.count == 0:
        if query.total == "estimate":
            total, is_estimate = await about(connection, plan, TOTAL_MAX)
            return Found(SearchPage([], total, None, is_estimate=is_estimate), ())
        total = await exact_total(connection, plan)
        return Found(SearchPage([], total, None), ())
    rows, page = await _page(connection, query, plan, order, place, is_dense=is_dense)
    added: Sequence[Any] = ()
    if rows and (query.includes or query.revincludes):
        added, was_cut = await included(connection, scope, query, rows)
        if was_cut:
            note = f"More than {query.include_max} records would be included: the rest is left out"
            page = msgspec.structs.replace(page, notes=(note,))
    hits = [Hit(stored(query.type, row["id"], row)) for row in rows]
    hits += [Hit(stored(type_name(row["type"]), row["id"], row), "include") for row in added]
    disclosed = dict.fromkeys(one for row in (*rows, *added) for one in people(row))
    return Found(msgspec.structs.replace(page, hits=subsetted(hits, query)), tuple(disclosed))


def _is_prepared(scope: Scope, query: Query) -> bool:
    """Whether a prepared plan serves: few records in the order of versions, whatever the values.

    That is: of certain patients, by id, or by an identifier.
    """
    is_plain = not (query.sort or query.contained)
    if not is_plain or not all(isinstance(each, Match | Missing) for each in query.criteria):
        return False
    return scope.patients is not None or any(_is_selective(each) for each in query.criteria)


def _named(query: Query) -> list[str]:
    """The patient whose records are sought by his id: he is told of the search, found or not."""
    local = [each for each in query.criteria if isinstance(each, Match) and is_local(each)]
    return [link.id for each in local for link in each.values if isinstance(link, Link)]


def _is_selective(criterion: Criterion) -> bool:
    if not isinstance(criterion, Match) or criterion.modifier:
        return False
    if criterion.code in {"_id", "identifier"}:
        return all(isinstance(one, Token) and one.code for one in criterion.values)
    return is_local(criterion)


async def exact_total(connection: Any, plan: Plan) -> int:
    """How many records match."""
    args = Arguments()
    return int(await connection.fetchval(total_of(plan, args), *args.values))


async def _page(
    connection: Any, query: Query, plan: Plan, order: Order, place: Cursor | None, *,
    is_dense: bool,
) -> tuple[list[Any], SearchPage]:
    """The rows of the page in order, and the page with its total and links but no hits yet."""
    counted = TOTAL_MAX + 1 if query.total not in {"none", "accurate"} and not is_dense else 0
    rows, count = await rows_of(connection, plan, order, query.count + 1, place, counted)
    has_more = len(rows) > query.count
    rows = rows[: query.count]
    if place is None:
        total = count if counted and count <= TOTAL_MAX else None
        if query.total == "accurate":
            total = await exact_total(connection, plan)
        elif query.total == "estimate" and total is None:
            total, _ = await about(connection, plan, TOTAL_MAX)
    else:
        total = place.total if place.total >= 0 and query.total != "none" else None
        rows = rows[::-1] if place.is_backward else rows
    if not rows:
        return [], SearchPage([], total, None)
    is_backward = place is not None and place.is_backward
    start = place or start_of(rows[0], total)
    has_next = has_more or is_backward
    has_previous = has_more if is_backward else place is not None
    return rows, SearchPage(
        [], total,
        token_of(query, order, start, rows[-1], is_backward=False) if has_next else None,
        token_of(query, order, start, rows[0], is_backward=True) if has_previous else None,
        is_estimate=query.total == "estimate" and total is not None and total > TOTAL_MAX,
    )


async def rows_of(
    connection: Any, plan: Plan, order: Order, size: int, place: Cursor | None, counted: int
) -> tuple[list[Any], int]:
    """The rows of a page in the direction of reading, and the matches counted up to `counted`."""
    if is_walked(plan, order):
        rows = await _walked(connection, plan, order, size, place)
        return rows, await _counted(connection, plan, counted) if place is None else 0
    args = Arguments()
    if place is None:
        sql = first_page(plan, order, size, counted, args)
    else:
        sql = next_page(plan, order, size, place, args)
    rows = await connection.fetch(sql, *args.values)
    return list(rows), rows[0]["total"] if rows and place is None else 0


async def _counted(connection: Any, plan: Plan, counted: int) -> int:
    if not counted:
        return 0
    args = Arguments()
    sql = f"SELECT count(*) FROM ({matches(plan, args, limit=counted)}) AS m"
    return int(await connection.fetchval(sql, *args.values))


async def _walked(
    connection: Any, plan: Plan, order: Order, size: int, place: Cursor | None
) -> list[Any]:
    """A page in the order of one sort key: records with a value, then (forward) those without."""
    is_backward = place is not None and place.is_backward
    is_past_values = place is not None and place.keys[0] is None
    if is_backward:
        parts = [unvalued_page, valued_page] if is_past_values else [valued_page]
    else:
        parts = [unvalued_page] if is_past_values else [valued_page, unvalued_page]
    rows: list[Any] = []
    for part in parts:
        if len(rows) < size:
            args = Arguments()
            sql = part(plan, order, size - len(rows), place, args)
            rows += await connection.fetch(sql, *args.values)
    return rows


def start_of(row: Any, total: int | None) -> Cursor:
    """What every place of a search shares, from a row of its first page."""
    since = vid_at(int(now().timestamp() * 1000) - _UNDER_WAY_MS)
    return Cursor(0, is_backward=False, keys=(), vid=0, bucket=0,
                  total=-1 if total is None else total, since=since, snapshot=row["snapshot"])


def token_of(query: Query, order: Order, start: Cursor, row: Any, *, is_backward: bool) -> str:
    """The token of the page after (or before) a row; paging keeps the first page's snapshot."""
    keys = tuple(row.get(f"k{number}") for number in range(len(order.keys)))
    return search_cursor.written(msgspec.structs.replace(
        start, search=search_cursor.fingerprint(query), is_backward=is_backward, keys=keys,
        vid=row["place"], bucket=row["bucket"]))


def subsetted(hits: list[Hit], query: Query) -> list[Hit]:
    """The hits with only the parts that `_summary` or `_elements` ask for."""
    if query.summary in {"", "false"} and not query.elements:
        return hits
    return [
        msgspec.structs.replace(hit, record=msgspec.structs.replace(
            hit.record, body=subset(hit.record.body, query.summary, query.elements)))
        for hit in hits
    ]
