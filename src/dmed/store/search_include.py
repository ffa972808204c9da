"""`_include` and `_revinclude`: the records that the hits refer to, or that refer to the hits.

Every step is bounded by what is left of the query's include_max and carries the Scope.
Specification: https://hl7.org/fhir/R5/search.html#_include
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec

from dmed.fhir import params
from dmed.fhir.query_model import Include, Query
from dmed.store import care, links
from dmed.store.keys import type_name, type_names, type_number
from dmed.store.model import Scope
from dmed.store.plan_where import Arguments
from dmed.store.search_canonical import canonically_referred, canonically_referring

_SERVER_ID = "^[0-9a-fA-F]{3}-[0-9a-fA-F]{20}$"
ROUNDS_MAX = 4
"""Most steps of `:iterate`."""
Row = Any
Key = tuple[int, str]


async def included(
    connection: Any, scope: Scope, query: Query, hits: Sequence[Row]
) -> tuple[list[Row], bool]:
    """The records to add to a page, each once, and whether the limit cut them.

    Rows have type, id, vid, bucket, patient, others and body.
    """
    number = type_number(query.type)
    seen: set[Key] = {(number, row["id"]) for row in hits}
    found: list[Row] = []
    fresh: list[tuple[int, str, int, int]] = [
        (number, row["id"], row["vid"], row["bucket"]) for row in hits]
    for step in range(ROUNDS_MAX):
        rows: list[Row] = []
        for item, is_back in _steps(query, first=step == 0):
            for made in (_referring, _addressing) if is_back else (_referred, _addressed):
                left = query.include_max - len(found) - len(rows)
                args = Arguments()
                sql = made(item, scope, query, fresh, left + 1, args)
                if sql:
                    rows += _unseen(await connection.fetch(sql, *args.values), seen)
            if len(found) + len(rows) > query.include_max:
                return [*found, *rows][: query.include_max], True
        found += rows
        fresh = [(row["type"], row["id"], row["vid"], row["bucket"]) for row in rows]
        if not fresh:
            break
    return found, False


def _steps(query: Query, *, first: bool) -> Iterable[tuple[Include, bool]]:
    for items, is_back in ((query.includes, False), (query.revincludes, True)):
        for item in items:
            if first or item.iterate:
                yield item, is_back


def _unseen(rows: Iterable[Row], seen: set[Key]) -> list[Row]:
    found = []
    for row in rows:
        key = (row["type"], row["id"])
        if key not in seen:
            seen.add(key)
            found.append(row)
    return found


def limits(scope: Scope, args: Arguments) -> str:
    """The Scope on a record `r` of any type."""
    parts = []
    if scope.types is not None:
        numbers = sorted(type_number(name) for name in scope.types)
        parts.append(f" AND r.type = ANY({args.bind(numbers, 'smallint[]')})")
    if scope.patients is not None:
        people = args.bind(list(scope.patients), "text[]")
        parts.append(f" AND (r.patient = ANY({people}) OR r.others && {people})")
    parts.append(care.limit(scope, "r", args))
    return "".join(parts)


def _referred(
    item: Include, scope: Scope, query: Query, fresh: Sequence[tuple[int, str, int, int]],
    most: int, args: Arguments,
) -> str:
    """The records that the fresh ones refer to; "" when none of them can."""
    source = type_number(item.source or query.type)
    from_ = [one for one in fresh if (not item.source and item.iterate) or one[0] == source]
    if not from_:
        return ""
    vids = args.bind([one[2] for one in from_], "bigint[]")
    buckets = args.bind([one[3] for one in from_], "smallint[]")
    condition = "x.type > 0"
    if item.code != "*":
        condition = f"x.param = {args.bind(item.number, 'int')}"
    if item.target:
        condition += f" AND x.type = {args.bind(type_number(item.target), 'smallint')}"
    # Ids that servers make name their bucket; the claim knows that of the others.
    return (
        f"WITH w AS MATERIALIZED (SELECT DISTINCT x.type, x.id FROM unnest({vids}, {buckets}) "
        f"AS f(vid, bucket) JOIN reference x ON x.vid = f.vid AND x.bucket = f.bucket "
        f"WHERE {condition} AND x.type > 0), "
        f"b AS MATERIALIZED (SELECT w.type, w.id, CASE WHEN w.id ~ '{_SERVER_ID}' "
        f"THEN (('x' || left(w.id, 3))::bit(12)::int)::smallint "
        f"ELSE (SELECT c.bucket FROM id_claim c WHERE c.type = w.type AND c.id = w.id) END "
        f"AS bucket FROM w) "
        f"SELECT r.type, r.id, r.vid, r.bucket, r.patient, r.others, r.body FROM b "
        f"JOIN resource r ON r.bucket = b.bucket AND r.type = b.type AND r.id = b.id"
        f"{limits(scope, args)} ORDER BY r.vid DESC LIMIT {args.bind(most, 'int')}"
    )


def _addressed(
    item: Include, scope: Scope, query: Query, fresh: Sequence[tuple[int, str, int, int]],
    most: int, args: Arguments,
) -> str:
    """The records that the fresh ones name by a canonical address; "" when none of them can."""
    if not item.source and not item.iterate:
        item = msgspec.structs.replace(item, source=query.type)
    return canonically_referred(item, fresh, limits(scope, args), most, args)


def _addressing(
    item: Include, scope: Scope, _query: Query, fresh: Sequence[tuple[int, str, int, int]],
    most: int, args: Arguments,
) -> str:
    """The records that name the fresh ones by a canonical address; "" when none of them can be."""
    return canonically_referring(item, fresh, limits(scope, args), most, args)


def _referring(
    item: Include, scope: Scope, _query: Query, fresh: Sequence[tuple[int, str, int, int]],
    most: int, args: Arguments,
) -> str:
    """The records that refer to the fresh ones; "" when none of these is what is asked for.

    What refers to one card of a person refers to all of them (store.links).
    """
    target = type_number(item.target) if item.target else None
    to = [one for one in fresh if target is None or one[0] == target]
    if not to:
        return ""
    types = args.bind([one[0] for one in to], "smallint[]")
    ids = args.bind([one[1] for one in to], "text[]")
    if item.code == "*":
        pairs = _pairs(item.source, frozenset(type_name(one[0]) for one in to))
    else:
        pairs = [(item.number, type_number(item.source))]
    numbers = args.bind([number for number, _ in pairs], "int[]")
    sources = args.bind([source for _, source in pairs], "smallint[]")
    found = f"SELECT * FROM unnest({types}, {ids}) AS f(type, id)"
    if any(one[0] == type_number("Patient") for one in to):
        found = links.with_other_cards(found, args.bind(type_number("Patient"), "smallint"))
    return (
        f"SELECT DISTINCT ON (r.vid, r.bucket) r.type, r.id, r.vid, r.bucket, r.patient, "
        f"r.others, r.body FROM ({found}) AS f(type, id) "
        f"CROSS JOIN unnest({numbers}, {sources}) AS n(param, type) "
        f"JOIN reference x ON x.param = n.param AND x.id = f.id AND x.type = f.type "
        f"JOIN resource r ON r.type = n.type AND r.vid = x.vid AND r.bucket = x.bucket"
        f"{limits(scope, args)} ORDER BY r.vid DESC, r.bucket LIMIT {args.bind(most, 'int')}"
    )


@cache
def _pairs(source: str, targets: frozenset[str]) -> list[tuple[int, int]]:
    """Reference parameters (of a type, or of any) that may name these targets, with their type."""
    return [
        (each.number, type_number(name))
        for name in ((source,) if source else type_names())
        for each in params.parameters(name).values()
        if each.type == "reference" and (not each.targets or targets & set(each.targets))
    ]
