"""Rows of the review queue: pairs of cards that may be one person's. SQL."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.modules.medid.tables.merges import told

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

_COLUMNS = "number, first, second, origin, weight, detail, at, verdict, reviewer, reason, reviewed"
ORIGINS = ("registration", "feed", "batch", "person")
"""Where a pair came from: a new card made despite a likeness, the national feed, the matching of
everybody with everybody, or somebody who saw it."""
VERDICTS = ("merged", "distinct")


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two cards and what became of the question."""

    number: int
    first: str
    second: str
    origin: str
    weight: float
    detail: dict[str, Any]
    at: datetime
    verdict: str = ""
    reviewer: str = ""
    reason: str = ""
    reviewed: datetime | None = None


def _pair(row: Any) -> Pair:
    return Pair(
        number=row["number"], first=row["first"], second=row["second"], origin=row["origin"],
        weight=float(row["weight"]), detail=msgspec.json.decode(row["detail"]), at=row["at"],
        verdict=row["verdict"], reviewer=row["reviewer"], reason=row["reason"],
        reviewed=row["reviewed"])


async def add(
    unit: GatewayUnit, one: str, other: str, origin: str, weight: float, detail: dict[str, Any]
) -> None:
    """Put a pair up for review; one that was decided stays decided."""
    first, second = sorted((one, other))
    await unit.execute(
        "insert into person_review (first, second, origin, weight, detail)"
        " values ($1, $2, $3, $4::float8, $5::jsonb) on conflict (first, second) do nothing",
        first, second, origin, weight, told(detail))


async def waiting(unit: GatewayUnit, count: int, after: int = 0) -> list[Pair]:
    """Open pairs, the likeliest first; `after` leaves out so many."""
    rows = await unit.fetch(
        f"select {_COLUMNS} from person_review where verdict = ''"
        " order by weight desc, number limit $1 offset $2", count, after)
    return [_pair(row) for row in rows]


async def count_open(unit: GatewayUnit, most: int) -> int:
    """How many are open, counted up to `most`."""
    return int(await unit.fetchval(
        "select count(*) from (select from person_review where verdict = '' limit $1) as t", most))


async def one(unit: GatewayUnit, number: int, *, lock: bool = False) -> Pair | None:
    """A pair by its number; `lock` holds others off it until the unit ends."""
    row = await unit.fetchrow(
        f"select {_COLUMNS} from person_review where number = $1"
        + (" for update" if lock else ""), number)
    return None if row is None else _pair(row)


async def decide(
    unit: GatewayUnit, number: int, verdict: str, reviewer: str, reason: str
) -> None:
    """Write the decision down."""
    await unit.execute(
        "update person_review set verdict = $2, reviewer = $3, reason = $4, reviewed = now()"
        " where number = $1", number, verdict, reviewer, reason)


async def reopen(unit: GatewayUnit, one: str, other: str) -> None:
    """The merge of a pair was undone: they are two persons, until somebody asks again."""
    first, second = sorted((one, other))
    await unit.execute(
        "update person_review set verdict = 'distinct' where first = $1 and second = $2"
        " and verdict = 'merged'", first, second)
