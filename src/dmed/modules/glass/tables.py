"""The review queue of broken glass."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from dmed.modules.glass.model import Broken

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists broken_glass (
        number bigint generated always as identity primary key,
        patient text collate "C" not null,
        account text collate "C" not null,
        name text not null,
        organisation text collate "C" not null,
        code text collate "C" not null,
        reason text not null,
        at timestamptz not null default now(),
        until timestamptz not null,
        verdict text not null default '',
        reviewer text not null default '',
        reviewed timestamptz
    )""",
    "create index if not exists broken_glass_open on broken_glass (at) where verdict = ''",
)
ROWS_MAX = 200
_COLUMNS = (
    "number, patient, account, name, organisation, code, reason, at, until, verdict, reviewer"
)


async def add(unit: GatewayUnit, broken: Broken) -> int:
    """Put a broken glass up for review; its number."""
    number = await unit.fetchval(
        "insert into broken_glass (patient, account, name, organisation, code, reason, until)"
        " values ($1, $2, $3, $4, $5, $6, $7) returning number",
        broken.patient, broken.user, broken.name, broken.organisation, broken.code, broken.reason,
        broken.until,
    )  # fmt: skip  # The columns in their order.
    return int(number)


async def waiting(unit: GatewayUnit, since: datetime) -> list[Broken]:
    """What nobody has reviewed yet, oldest first, and after it what was reviewed lately."""
    rows = await unit.fetch(
        f"select {_COLUMNS} from broken_glass where verdict = '' or at > $1"
        " order by verdict <> '', at limit $2", since, ROWS_MAX,
    )  # fmt: skip  # One statement.
    return [_broken(row) for row in rows]


async def one(unit: GatewayUnit, number: int) -> Broken | None:
    """One row, held until the end of the unit."""
    row = await unit.fetchrow(
        f"select {_COLUMNS} from broken_glass where number = $1 for update", number
    )
    return None if row is None else _broken(row)


async def review(unit: GatewayUnit, number: int, verdict: str, reviewer: str) -> None:
    """Write the verdict down."""
    await unit.execute(
        "update broken_glass set verdict = $2, reviewer = $3, reviewed = now() where number = $1",
        number, verdict, reviewer,
    )  # fmt: skip  # One statement.


def _broken(row: Any) -> Broken:
    return Broken(
        number=row["number"], patient=row["patient"], user=row["account"], name=row["name"],
        organisation=row["organisation"], code=row["code"], reason=row["reason"], at=row["at"],
        until=row["until"], verdict=row["verdict"], reviewer=row["reviewer"],
    )  # fmt: skip  # One row.
