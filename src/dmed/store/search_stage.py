"""Chains and `_has` in stages, and the choice of a plan by counting.

A chain first finds the ids that its inner search gives, at most STAGE_MAX, and then asks for
references to them. Each stage carries the Scope, so nothing outside it decides what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dmed.fhir import params
from dmed.fhir.params_contained import presence
from dmed.fhir.query_contained import is_askable
from dmed.fhir.query_model import (
    Canonical,
    Chain,
    Criterion,
    Has,
    Link,
    Logic,
    Match,
    Staged,
    Token,
)
from dmed.fhir.query_modifiers import parent_code
from dmed.kit.errors import InvalidError, Issue
from dmed.store import links as persons_cards
from dmed.store.keys import type_number
from dmed.store.model import Scope
from dmed.store.plan import (
    PROBES_MAX,
    Mode,
    Plan,
    count_rows,
    driver_rows,
    flat,
    is_driver,
    is_local,
    is_walk,
    matches,
    plan_of,
)
from dmed.store.plan_contained import around
from dmed.store.plan_where import Arguments
from dmed.store.search_area import holding
from dmed.store.search_canonical import addresses, may_name, named_back

STAGE_MAX = 5_000
"""Most records that the inner search of a chain or `_has` may find."""
LEVELS_MAX = 32
"""Most levels of records above or below one that `:above` and `:below` follow."""
TOTAL_MAX = 1_000
"""Up to here a total is exact without being asked for; above it is left out (decisions 4)."""
DENSE_ROWS = 10_000
"""From so many index rows on, a criterion is dense: records are walked newest first."""


async def staged(
    connection: Any, scope: Scope, criteria: Sequence[Criterion]
) -> list[Staged] | None:
    """The criteria with chains and `_has` resolved to ids; None when nothing can match.

    InvalidError (too-costly) where an inner search finds more than STAGE_MAX records.
    """
    found: list[Staged] = []
    for criterion in criteria:
        resolved = await _resolved(connection, scope, criterion)
        if resolved is None:
            return None
        found.append(resolved)
    return flat(found)


async def _resolved(connection: Any, scope: Scope, criterion: Criterion) -> Staged | None:
    if isinstance(criterion, Logic):
        return await _resolved_parts(connection, scope, criterion)
    if isinstance(criterion, Match) and criterion.kind == "reference" and criterion.modifier:
        return await _leveled(connection, scope, criterion)
    if isinstance(criterion, Match) and criterion.kind == "special" and _asks_areas(criterion):
        ids = await holding(connection, criterion)
        return _by_id(criterion.type, ids) if ids else None
    if isinstance(criterion, Chain):
        return await _chained(connection, scope, criterion)
    if isinstance(criterion, Has):
        ids = await _inner(connection, scope, criterion.type, criterion.inner, criterion)
        _check(len(ids), f"_has:{criterion.type}:{criterion.code}")
        return _by_id(criterion.base, ids) if ids else None
    return criterion


def _asks_areas(criterion: Match) -> bool:
    return params.parameters(criterion.type)[criterion.code].is_area


async def _chained(connection: Any, scope: Scope, criterion: Chain) -> Staged | None:
    """A chain as references to what its inner searches find: by id, and by canonical address."""
    links: list[Link | Canonical] = []
    for branch in criterion.branches:
        type_name = _type_of(branch)
        ids = await _inner(connection, scope, type_name, branch, None)
        links += [Link(type_name, each) for each in ids]
        if ids and may_name(criterion.type, criterion.code):
            links += await _addresses(connection, type_name, ids)
        _check(len(links), criterion.code)
    found = Match(criterion.type, criterion.code, "reference", criterion.number, "", tuple(links))
    holders = await _around_contained(connection, scope, criterion)
    if not holders:
        return found if links else None
    whole = _by_id(criterion.type, holders)
    return Logic(criterion.type, "or", (found, whole)) if links else whole


async def _around_contained(connection: Any, scope: Scope, criterion: Chain) -> list[str]:
    """Ids of the records in which the chain ends at a contained resource that matches.

    Chains of one link: what a contained resource itself refers to is not followed.
    """
    types = [_type_of(each) for each in criterion.branches if is_askable(each)]
    if not types:
        return []
    args = Arguments()
    looks = (f"EXISTS (SELECT FROM token x WHERE x.param = ANY("
             f"{args.bind(presence(name), 'int[]')}))" for name in types)
    there = await connection.fetchrow(f"SELECT {', '.join(looks)}", *args.values)
    present = {name for name, is_there in zip(types, there, strict=True) if is_there}
    ids: dict[str, None] = {}
    for branch in criterion.branches:
        name = _type_of(branch)
        if name not in present or (scope.types is not None and name not in scope.types):
            continue
        criteria = await staged(connection, scope, [branch])
        if criteria is not None and all(map(is_askable, criteria)):
            args = Arguments()
            sql = around(criterion, name, criteria, STAGE_MAX + 1, args)
            ids |= {row["id"]: None for row in await connection.fetch(sql, *args.values)}
            _check(len(ids), criterion.code)
    return list(ids)


async def _addresses(connection: Any, type_name: str, ids: Sequence[str]) -> list[Canonical]:
    """The canonical addresses that records with these ids carry."""
    args = Arguments()
    found = driver_rows(_by_id(type_name, ids), args)
    sql = addresses(found, type_name, STAGE_MAX + 1, args)
    rows = await connection.fetch(sql, *args.values) if sql else []
    return [Canonical(row["url"], row["version"]) for row in rows]


def _by_id(type_name: str, ids: Sequence[str]) -> Match:
    return Match(type_name, "_id", "token", 0, "", tuple(Token(None, each) for each in ids))


async def _resolved_parts(connection: Any, scope: Scope, criterion: Logic) -> Logic | None:
    """The same with its parts resolved; None when it cannot hold. Parts that cannot are `or` of
    nothing.
    """
    parts: list[Criterion] = []
    for part in criterion.parts:
        found = await _resolved(connection, scope, part)
        if found is not None:
            parts.append(found)
        elif criterion.sign == "and":
            return None
        elif criterion.sign == "not":
            parts.append(Logic(criterion.type, "or", ()))
    if criterion.sign == "or" and not parts:
        return None
    return Logic(criterion.type, criterion.sign, tuple(parts))


async def _leveled(connection: Any, scope: Scope, criterion: Match) -> Match:
    """`:below` and `:above` of references with the records of all levels; the rest as it is."""
    links: dict[Link, None] = {}
    for link in criterion.values:
        assert isinstance(link, Link), link
        links[link] = None
        fresh = [link] if link.type else []
        for _ in range(LEVELS_MAX):
            if not fresh:
                break
            found = await _next_level(connection, scope, fresh, criterion.modifier)
            fresh = [each for each in found if each not in links]
            links.update(dict.fromkeys(fresh))
            _check(len(links), criterion.code)
    # Without a canonical address among them it is a plain search for these references.
    modifier = criterion.modifier if any(not link.type for link in links) else ""
    return msgspec.structs.replace(criterion, modifier=modifier, values=tuple(links))


async def _next_level(
    connection: Any, scope: Scope, links: Sequence[Link], modifier: str
) -> list[Link]:
    """The records that name these as the one above, or those that these name."""
    type_name = links[0].type or ""
    parent = params.parameters(type_name)[parent_code(type_name)]
    if modifier == "below":
        inner = Match(type_name, parent.code, "reference", parent.number, "", tuple(links))
        ids = await _inner(connection, scope, type_name, inner, None)
    else:
        tokens = tuple(Token(None, link.id) for link in links)
        inner = Match(type_name, "_id", "token", 0, "", tokens)
        back = Has(type_name, type_name, parent.code, parent.number, inner)
        ids = await _inner(connection, scope, type_name, inner, back)
    return [Link(type_name, each) for each in ids]


def _type_of(criterion: Criterion) -> str:
    """The resource type that a criterion is asked of."""
    return criterion.base if isinstance(criterion, Has) else criterion.type


def _check(count: int, name: str) -> None:
    if count > STAGE_MAX:
        why = (f"Search parameter {name}: the chained search finds over {STAGE_MAX} records; "
               "narrow it")
        raise InvalidError(issues=(Issue("too-costly", why, name),))


async def _inner(
    connection: Any, scope: Scope, type_name: str, inner: Criterion, back: Has | None
) -> list[str]:
    """Ids of the records that match, or (with `back`) of those that they refer to.

    A person's one card stands for all of them (store.links): records stay with the card they were
    written to, so whoever is found by one is referred to by any.
    """
    if scope.types is not None and type_name not in scope.types:
        return []
    criteria = await staged(connection, scope, [inner])
    if criteria is None:
        return []
    plan, _ = await chosen(connection, scope, type_name, criteria)
    args = Arguments()
    found = matches(plan, args)
    most = args.bind(STAGE_MAX + 1, "int")
    if back is None:
        number = args.bind(type_number(type_name), "smallint")
        sql = (f"SELECT r.id FROM ({found} LIMIT {most}) m JOIN resource r ON r.type = {number} "
               f"AND r.vid = m.vid AND r.bucket = m.bucket")
    else:
        parameter = args.bind(back.number, "int")
        number = args.bind(type_number(back.base), "smallint")
        sql = (f"SELECT DISTINCT x.id FROM ({found}) m JOIN reference x ON x.vid = m.vid "
               f"AND x.bucket = m.bucket WHERE x.param = {parameter} AND x.type = {number} "
               f"LIMIT {most}")
    if (type_name if back is None else back.base) == "Patient":
        sql = persons_cards.with_others(sql, most)
    ids = [row["id"] for row in await connection.fetch(sql, *args.values)]
    if back is not None:
        args = Arguments()
        sql = named_back(matches(plan, args), back, STAGE_MAX + 1, args)
        rows = await connection.fetch(sql, *args.values) if sql else []
        ids = list(dict.fromkeys([*ids, *(row["id"] for row in rows)]))
    return ids


async def chosen(
    connection: Any, scope: Scope, type_name: str, criteria: Sequence[Staged], *,
    is_sorted: bool = False,
) -> tuple[Plan, bool]:
    """The plan for these criteria, and whether over TOTAL_MAX records are known to match.

    Known facts come first (a scope, ids, one patient, one equality); else the rows of each
    possible driver are counted up to DENSE_ROWS and the fewest lead. A sorted search (`is_sorted`)
    gets a walk only over many rows, since it must sort those of a few.
    """
    def made(mode: Mode, driver: Match | Logic | None = None) -> Plan:
        return plan_of(type_name, scope, criteria, mode, driver)

    if scope.patients is not None:
        return made("people"), False
    drivers = [each for each in criteria if isinstance(each, Match | Logic) and is_driver(each)]
    ids = [each for each in drivers if isinstance(each, Match) and each.code == "_id"]
    if ids:
        return made("values", ids[0]), False
    local = [each for each in drivers if is_local(each)]
    if local:
        return made("walk", local[0]), False
    if not drivers:
        return made("type"), False
    if len(drivers) == 1 and is_walk(drivers[0]) and not is_sorted:
        return made("walk", drivers[0]), False
    counts, records = await _counts(connection, drivers[:PROBES_MAX])
    fewest, driver = min(zip(counts, drivers, strict=False), key=lambda pair: pair[0])
    if fewest < DENSE_ROWS:
        return made("values", driver), False
    walks = [each for each in drivers if is_walk(each)]
    if walks:
        return made("walk", walks[0]), False
    return made("type"), len(criteria) == 1 and records > TOTAL_MAX


async def _counts(connection: Any, drivers: Sequence[Match | Logic]) -> tuple[list[int], int]:
    """Rows of each driver, and records among those of the only one: rows may be of few records."""
    args = Arguments()
    if len(drivers) == 1:
        sql = count_rows(drivers[0], DENSE_ROWS, args, records=True)
    else:
        sql = "SELECT " + ", ".join(f"({count_rows(each, DENSE_ROWS, args)})" for each in drivers)
    row = await connection.fetchrow(sql, *args.values)
    return list(row)[: len(drivers)], row[-1]
