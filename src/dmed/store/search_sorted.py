"""Pages of a sort over many records: the index of the sort key is walked in its order.

Sorting all matches would take as long as there are matches. The walk reads one page's worth of
index rows instead and probes the criteria on each; records without a value come after, in the
order of versions.
"""

from __future__ import annotations

import msgspec

from dmed.fhir.query_model import Missing, SortKey
from dmed.store.plan import SORT_COLUMNS, Plan, holds, in_scope, is_local, matches, sort_kind
from dmed.store.plan_where import Arguments
from dmed.store.search_cursor import Cursor
from dmed.store.search_pages import (
    MOVED_MAX,
    Order,
    beyond,
    bodies,
    first_page,
    held,
    keyed,
    next_page,
    ordering,
)

_WALKED = frozenset({"string", "token", "date", "reference", "uri"})
"""Kinds whose index is ordered by the sort key's column, with a row for each value."""


def is_walked(plan: Plan, order: Order) -> bool:
    """Whether a plan over many records can be read in the order of its one sort key."""
    if plan.mode not in {"walk", "type"} or (plan.driver is not None and is_local(plan.driver)):
        return False
    first = order.keys[0] if len(order.keys) == 1 else None
    return first is not None and first.kind in _WALKED and first.number != 0


def valued_page(
    plan: Plan, order: Order, size: int, place: Cursor | None, args: Arguments
) -> str:
    """Records that have a value under the sort key: the first, or those beyond a place."""
    backward = place is not None and place.is_backward
    walks = " UNION ALL ".join(
        f"({_walk(plan, order, size, place, half, args)})" for half in _halves(order.keys[0]))
    if place is None:
        source, where = f"WITH k AS ({walks})", "true"
    else:
        recent = matches(plan, args, order="DESC", limit=MOVED_MAX,
                         bound=lambda row: f"{row}.vid >= {args.bind(place.since, 'bigint')}")
        columns = keyed(order, plan.type, "m.place", "m", args)
        source = (f"WITH w AS MATERIALIZED ({recent}), h AS ({held('w', plan, place, args)}), "
                  f"k AS ({walks} UNION ALL SELECT * FROM (SELECT {columns} FROM h AS m) AS e "
                  f"WHERE e.k0 IS NOT NULL)")
        where = beyond(order, plan.type, place, args)
    return (
        f"{source}, p AS (SELECT * FROM k WHERE {where} ORDER BY "
        f"{ordering(order, backward=backward)} LIMIT {args.bind(size, 'int')}) "
        + bodies(plan, order, args, backward=backward, total="NULL::bigint")
    )


def unvalued_page(
    plan: Plan, order: Order, size: int, place: Cursor | None, args: Arguments
) -> str:
    """Records without a value under the sort key: the first, or those beyond a place."""
    key = order.keys[0]
    absent = Missing(plan.type, key.code, key.kind, key.number, missing=True)
    bare = msgspec.structs.replace(plan, others=(*plan.others, absent))
    versions = Order((), order.is_oldest)
    if place is None:
        return first_page(bare, versions, size, 0, args)
    if place.keys[0] is not None:
        # The page crosses from records with a value to those without: from their beginning on.
        start = -1 if order.is_oldest else 2**63 - 1
        place = msgspec.structs.replace(place, vid=start, bucket=0)
    return next_page(bare, versions, size, msgspec.structs.replace(place, keys=()), args)


def _halves(key: SortKey) -> tuple[str, ...]:
    """The parts of the index: dates have one for short and one for wide periods."""
    return ("NOT s.wide", "s.wide") if key.kind == "date" else ("true",)


def _walk(
    plan: Plan, order: Order, size: int, place: Cursor | None, half: str, args: Arguments
) -> str:
    """Index rows in order, each record at the first (or last) of its values."""
    key = order.keys[0]
    column = SORT_COLUMNS[key.kind][0]
    backward = place is not None and place.is_backward
    way, sign = ("DESC", "<=") if key.descending != backward else ("ASC", ">=")
    smaller = ">" if key.descending else "<"
    number = args.bind(key.number, "int")
    same = f"y.vid = s.vid AND y.bucket = s.bucket AND y.param = {number}"
    earlier = f"{same} AND y.{column} {smaller} s.{column}"
    first = f"NOT EXISTS (SELECT FROM {key.kind} y WHERE {earlier} OFFSET 0)"
    conditions = [f"s.param = {number}", half, first]
    whole = plan.others if plan.driver is None else (plan.driver, *plan.others)
    conditions += [holds(each, "s", plan.type, args) for each in whole]
    conditions += in_scope(plan.scope, "s", plan.type, args)
    if place is not None:
        conditions.append("s.vid NOT IN (SELECT w.vid FROM w)")
        if place.keys[0] is not None:
            value = args.bind(place.keys[0], sort_kind(plan.type, key.code))
            spot = f"({value}, {args.bind(place.vid, 'bigint')})"
            conditions.append(f"(s.{column}, s.vid) {sign} {spot}")
    return (
        f"SELECT DISTINCT ON (s.{column}, s.vid, s.bucket) s.vid, s.bucket, s.vid AS place, "
        f"s.{column} AS k0 FROM {key.kind} s WHERE {' AND '.join(conditions)} "
        f"ORDER BY s.{column} {way}, s.vid {way}, s.bucket {way} "
        f"LIMIT {args.bind(size + 1, 'int')}"
    )
