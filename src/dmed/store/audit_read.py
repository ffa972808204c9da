"""Reading the audit: newest first, by person, actor, time and what was done; and one row by name.

A person's rows are found by the index of people. Other questions walk back in windows of time, each
wider than the one before, until a page is full; how far back is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from dmed.store.audit import pack, unpack
from dmed.store.keys import type_name, type_number
from dmed.store.pool import Database

PAGE_MAX = 1_000
_HOUR = 3_600
_WINDOWS = tuple(timedelta(seconds=seconds) for seconds in (
    2, 30, 300, _HOUR, 8 * _HOUR, 72 * _HOUR, 744 * _HOUR, 8_784 * _HOUR))  # fmt: skip  # A table.
"""How far back each try looks. A try reads all of its window, and a country leaves some ten
thousand rows a second; one that finds too few costs a millisecond.
"""
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_SELECT = """
SELECT a.at, a.digest, a.vid, a.type, a.outcome, a.action::text AS action, a.request, a.id,
       a.patient, a.query, a.detail, c.subject, c.role, c.organisation, c.purpose
FROM audit a JOIN audit_actor c ON c.number = a.actor
"""
Place = tuple[datetime, bytes]
"""Where a row stands: its moment and digest, which together are its name."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a question of the audit is limited to; None is no limit. Lists are "one of these"."""

    since: datetime | None = None
    """At or after."""
    until: datetime | None = None
    """Before."""
    patients: tuple[str, ...] | None = None
    subjects: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    organisations: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    outcomes: tuple[tuple[int, int], ...] | None = None
    """Ranges of statuses, both ends inclusive."""
    request: str = ""
    after: Place | None = None
    """Rows before this one in time: the last of the page before."""
    count: int = 20


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the audit with its actor, ids as texts."""

    at: datetime
    digest: bytes
    vid: int
    type: str
    outcome: int
    action: str
    request: str
    id: str
    patient: str
    query: str
    detail: str
    subject: str
    role: str
    organisation: str
    purpose: str


async def rows(db: Database, asked: Asked) -> list[Noted]:
    """At most `count` rows that fit, newest first. To be audited by the caller."""
    conditions, values = _conditions(asked)
    limit = max(1, min(asked.count, PAGE_MAX))
    until = asked.until or _LAST
    if asked.after is not None:
        until = min(until, asked.after[0] + timedelta(microseconds=1))
    since = asked.since or _FIRST
    statement = (
        f"{_SELECT} WHERE a.at >= $1 AND a.at < $2{''.join(conditions)} "
        f"ORDER BY a.at DESC, a.digest DESC LIMIT {limit}")
    async with db.searching() as connection:
        for first in await _firsts(connection, asked, since, until):
            found = await connection.fetch(statement, first, until, *values)
            if len(found) == limit or first <= since:
                return [_noted(row) for row in found]
    return []


async def _firsts(
    connection: Any, asked: Asked, since: datetime, until: datetime
) -> list[datetime]:
    """Where each try begins: a person's rows are few, of others there may be very many."""
    if asked.patients is not None:
        return [since]
    newest = min(until, await connection.fetchval("SELECT now()"))
    # Asked this way round: before the year 1 there is no moment to compare with.
    return [*(newest - window for window in _WINDOWS if newest - since > window), since]


def _conditions(asked: Asked) -> tuple[list[str], list[Any]]:
    """Conditions as SQL that begins with AND, numbered from $3, and their values."""
    parts: list[str] = []
    values: list[Any] = []

    def add(condition: str, *given: Any) -> None:
        names = [f"${len(values) + 3 + at}" for at in range(len(given))]
        parts.append(" AND " + condition.format(*names))
        values.extend(given)

    if asked.patients is not None:
        packed = [pack(one) for one in asked.patients]
        add("substr(a.patient, octet_length(a.patient) - 3) = ANY ({}::bytea[]) "
            "AND a.patient = ANY ({}::bytea[])", [one[-4:] for one in packed], packed)
    for column, given in (("c.subject", asked.subjects), ("c.role", asked.roles),
                          ("c.purpose", asked.purposes), ("c.organisation", asked.organisations)):
        if given is not None:
            add(column + " = ANY ({}::text[])", list(given))
    if asked.actions is not None:
        add('a.action = ANY ({}::"char"[])', [one.encode() for one in asked.actions])
    if asked.types is not None:
        add("a.type = ANY ({}::smallint[])", [type_number(one) for one in asked.types])
    if asked.ids is not None:
        add("a.id = ANY ({}::bytea[])", [pack(one) for one in asked.ids])
    if asked.outcomes is not None:
        add("EXISTS (SELECT FROM unnest({}::int[], {}::int[]) AS o(low, high) "
            "WHERE a.outcome BETWEEN o.low AND o.high)",
            [low for low, _ in asked.outcomes], [high for _, high in asked.outcomes])
    if asked.request:
        add("a.request = {}", asked.request)
    if asked.after is not None:
        add("(a.at, a.digest) < ({}, {})", *asked.after)
    return parts, values


async def one(db: Database, place: Place) -> Noted | None:
    """The row at a place, or None. To be audited by the caller."""
    async with db.searching() as connection:
        row = await connection.fetchrow(
            f"{_SELECT} WHERE a.at = $1 AND a.digest = $2 LIMIT 1", *place)
    return None if row is None else _noted(row)


def _noted(row: Any) -> Noted:
    return Noted(
        at=row["at"], digest=row["digest"], vid=row["vid"] or 0,
        type=type_name(row["type"]) if row["type"] else "", outcome=row["outcome"],
        action=row["action"], request=row["request"], id=unpack(row["id"]),
        patient=unpack(row["patient"]), query=row["query"] or "", detail=row["detail"] or "",
        subject=row["subject"], role=row["role"], organisation=row["organisation"],
        purpose=row["purpose"])


def patients_of(found: Sequence[Noted]) -> list[str]:
    """The people whom rows tell of."""
    return sorted({row.patient for row in found if row.patient})
