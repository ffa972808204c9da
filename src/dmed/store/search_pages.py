"""One page of a search as one statement: matches, order, place and bodies. Pure SQL text.

Every page orders by (sort keys, version). The version of a record that was written again after
the first page is the one that was current then, so the record keeps its place.
"""

from __future__ import annotations

from typing import NamedTuple

from dmed.fhir.query_model import Match, Query, SortKey
from dmed.store.keys import type_number
from dmed.store.plan import Plan, comes_once, matches, sort_kind, sort_value
from dmed.store.plan_where import Arguments
from dmed.store.search_cursor import Cursor, Key

MOVED_MAX = 10_000
"""Most records written again since the first page that a later page looks at."""
_BODY = "r.id, r.vid, r.bucket, r.patient, r.others, r.body"


class Order(NamedTuple):
    """How pages are ordered: the sort keys, then the version, newest first unless `is_oldest`.

    Records with equal sort keys stand in the direction of the first key, as its index does.
    """

    keys: tuple[SortKey, ...]
    is_oldest: bool

    def kinds(self, type_name: str) -> tuple[str, ...]:
        """PostgreSQL types of the sort keys' values."""
        return tuple(sort_kind(type_name, key.code) for key in self.keys)


def order_of(query: Query) -> Order:
    """The order that a query asks for; `_lastUpdated` alone is the order of versions."""
    if len(query.sort) == 1 and query.sort[0].code == "_lastUpdated":
        return Order((), is_oldest=not query.sort[0].descending)
    return Order(query.sort, is_oldest=bool(query.sort) and not query.sort[0].descending)


def first_page(plan: Plan, order: Order, size: int, counted: int, args: Arguments) -> str:
    """The first `size` records in order, with the number of matches up to `counted`."""
    if order.keys:
        found = matches(plan, args)
    else:
        way = "ASC" if order.is_oldest else "DESC"
        found = matches(plan, args, order=way, limit=max(size, counted))
    columns = keyed(order, plan.type, "m.vid", "m", args)
    return (
        f"WITH m AS MATERIALIZED ({found}), "
        f"p AS (SELECT {columns} FROM m ORDER BY {ordering(order, backward=False)} "
        f"LIMIT {args.bind(size, 'int')}) "
        + bodies(plan, order, args, backward=False, total=f"(SELECT count(*) FROM (SELECT FROM m "
                  f"LIMIT {args.bind(counted, 'int')}) AS n)")
    )


def next_page(plan: Plan, order: Order, size: int, place: Cursor, args: Arguments) -> str:
    """The `size` records after (or before) a place, in reading order or reversed."""
    backward = place.is_backward
    if order.keys:
        # Sorted pages read all matches; each gets the version that was current at the start.
        placed = held("m", plan, place, args)
        source = (f"WITH m AS MATERIALIZED ({matches(plan, args)}), h AS ({placed}), "
                  f"k AS (SELECT {keyed(order, plan.type, 'm.place', 'm', args)} FROM h AS m)")
    else:
        source = _walk_from(plan, order, size, place, args)
    return (
        f"{source}, p AS (SELECT * FROM k WHERE {beyond(order, plan.type, place, args)} "
        f"ORDER BY {ordering(order, backward=backward)} LIMIT {args.bind(size, 'int')}) "
        + bodies(plan, order, args, backward=backward, total="NULL::bigint")
    )


def total_of(plan: Plan, args: Arguments) -> str:
    """The exact number of matches."""
    # Doubles of one value's walk stand together in its order: no table of all that were seen.
    in_order = (plan.mode == "walk" and isinstance(plan.driver, Match)
                and len(plan.driver.values) == 1 and not comes_once(plan))
    return f"SELECT count(*) FROM ({matches(plan, args, order='ASC' if in_order else '')}) AS m"


# Parts ---------------------------------------------------------------------------------------


def keyed(order: Order, type_name: str, place: str, row: str, args: Arguments) -> str:
    """Columns of a keyed row: vid, bucket, place, k0, k1, ..."""
    columns = [f"{row}.vid", f"{row}.bucket", f"{place} AS place"]
    for number, key in enumerate(order.keys):
        value = sort_value(type_name, key, row, args)
        value = place if key.code == "_lastUpdated" else value
        columns.append(f"{value} AS k{number}")
    return ", ".join(columns)


def ordering(order: Order, *, backward: bool) -> str:
    """ORDER BY of keyed rows; missing values last when read forward."""
    parts = []
    for number, key in enumerate(order.keys):
        down = key.descending != backward
        parts.append(f"k{number} {'DESC' if down else 'ASC'} "
                     f"NULLS {'FIRST' if backward else 'LAST'}")
    down = order.is_oldest == backward
    way = "DESC" if down else "ASC"
    return ", ".join([*parts, f"place {way}", f"bucket {way}"])


def bodies(plan: Plan, order: Order, args: Arguments, *, backward: bool, total: str) -> str:
    """The rows of `p` with their bodies, in order: what every page statement ends with."""
    keys = "".join(f", p.k{number}" for number in range(len(order.keys)))
    number = args.bind(type_number(plan.type), "smallint")
    columns = ", ".join(
        f"p.{part}" for part in ordering(order, backward=backward).split(", "))
    return (
        f"SELECT {_BODY}, p.place{keys}, {total} AS total, "
        f"(SELECT pg_current_snapshot()::text) AS snapshot FROM p "
        f"JOIN resource r ON r.type = {number} AND r.vid = p.vid AND r.bucket = p.bucket "
        f"ORDER BY {columns}"
    )


def beyond(order: Order, type_name: str, place: Cursor, args: Arguments) -> str:
    """Whether a keyed row lies after the place (or before it, backward)."""
    either: list[str] = []
    same: list[str] = []
    kinds = order.kinds(type_name)
    for number, (key, kind) in enumerate(zip(order.keys, kinds, strict=True)):
        column, value = f"k{number}", place.keys[number]
        after = _after(column, value, kind, args, down=key.descending, backward=place.is_backward)
        if after:
            either.append(" AND ".join([*same, after]))
        same.append(f"{column} IS NULL" if value is None
                    else f"{column} = {args.bind(value, kind)}")
    sign = "<" if order.is_oldest == place.is_backward else ">"
    spot = f"({args.bind(place.vid, 'bigint')}, {args.bind(place.bucket, 'smallint')})"
    either.append(" AND ".join([*same, f"(place, bucket) {sign} {spot}"]))
    return "(" + " OR ".join(f"({part})" for part in either) + ")"


def _after(
    column: str, value: Key, kind: str, args: Arguments, *, down: bool, backward: bool
) -> str:
    if value is None:
        return f"{column} IS NOT NULL" if backward else ""
    sign = "<" if down != backward else ">"
    beyond = f"{column} {sign} {args.bind(value, kind)}"
    return beyond if backward else f"({beyond} OR {column} IS NULL)"


def _written_later(xmin: str, place: Cursor, args: Arguments) -> str:
    """Whether a row was written by a transaction that the first page did not see.

    `xmin` has the low 32 bits of a transaction's number; the epoch is that of the snapshot.
    """
    snapshot = args.bind(place.snapshot, "text")
    epoch = int(place.snapshot.split(":")[1]) >> 32 << 32
    number = f"({args.bind(epoch, 'bigint')} | {xmin}::text::bigint)::text::xid8"
    return f"NOT pg_visible_in_snapshot({number}, {snapshot}::pg_snapshot)"


def _version_then(row: str, place: Cursor, args: Arguments) -> str:
    """The version of a record that the first page saw: the oldest that was replaced since."""
    later = _written_later("v.xmin", place, args)
    return (f"(SELECT min(v.vid) FROM resource_version v WHERE v.bucket = {row}.bucket "
            f"AND v.type = {row}.type AND v.id = {row}.id AND {later})")


def held(source: str, plan: Plan, place: Cursor, args: Arguments) -> str:
    """All rows of the source with their place: the version then, or the present one."""
    number = args.bind(type_number(plan.type), "smallint")
    since = args.bind(place.since, "bigint")
    then = (f"(SELECT {_version_then('r', place, args)} FROM resource r WHERE r.type = {number} "
            f"AND r.vid = s.vid AND r.bucket = s.bucket "
            f"AND {_written_later('r.xmin', place, args)})")
    return (f"SELECT s.vid, s.bucket, CASE WHEN s.vid < {since} THEN s.vid "
            f"ELSE coalesce({then}, s.vid) END AS place FROM {source} s")


def _walk_from(plan: Plan, order: Order, size: int, place: Cursor, args: Arguments) -> str:
    """Rows of the newest-first (or oldest-first) order from the place on, and those that moved."""
    down = order.is_oldest == place.is_backward
    way, sign = ("DESC", "<=") if down else ("ASC", ">=")

    def onward(row: str) -> str:
        return f"{row}.vid {sign} {args.bind(place.vid, 'bigint')}"

    def recent(row: str) -> str:
        return f"{row}.vid >= {args.bind(place.since, 'bigint')}"

    # One more than the page: the row of the place itself may be among them.
    main = matches(plan, args, order=way, limit=size + 1, bound=onward)
    moved = matches(plan, args, order="DESC", limit=MOVED_MAX, bound=recent)
    placed = held("w", plan, place, args)
    return (f"WITH a AS MATERIALIZED ({main}), w AS MATERIALIZED ({moved}), h AS ({placed}), "
            f"k AS (SELECT a.vid, a.bucket, a.vid AS place FROM a WHERE NOT EXISTS "
            f"(SELECT FROM w WHERE w.vid = a.vid AND w.bucket = a.bucket) "
            f"UNION ALL SELECT h.vid, h.bucket, h.place FROM h)")
