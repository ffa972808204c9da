"""Equipment, and how far each file of institutions was imported: tables of this module."""

from __future__ import annotations

from typing import Any

from dmed.modules.facilities.model import Equipment
from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists facility_equipment (
        code text collate "C" primary key,
        organisation text collate "C" not null,
        place text collate "C" not null default '',
        name text not null,
        maker text not null default '',
        serial text not null default '',
        checked_until date,
        is_active boolean not null default true,
        changed timestamptz not null default now()
    )""",
    "create index if not exists facility_equipment_of on facility_equipment (organisation, code)",
    """create table if not exists facility_import (
        digest text collate "C" primary key,
        name text not null,
        lines integer not null default 0,
        made integer not null default 0,
        changed integer not null default 0,
        same integer not null default 0,
        is_done boolean not null default false,
        began timestamptz not null default now(),
        ended timestamptz
    )""",
    """create table if not exists facility_import_fault (
        digest text collate "C" not null references facility_import on delete cascade,
        line integer not null,
        field text collate "C" not null,
        key text collate "C" not null,
        sentence text not null,
        code text collate "C" not null default '',
        primary key (digest, line, field, key)
    )""",
    """create table if not exists facility_import_wait (
        digest text collate "C" not null references facility_import on delete cascade,
        line integer not null,
        parent text collate "C" not null,
        row jsonb not null,
        primary key (digest, line)
    )""",
)
_EQUIPMENT = "code, organisation, place, name, maker, serial, checked_until, is_active"


async def equipment_of(unit: GatewayUnit, organisation: str) -> list[Equipment]:
    """The devices of an institution by name."""
    rows = await unit.fetch(
        f"select {_EQUIPMENT} from facility_equipment where organisation = $1"
        " order by name, code limit 1000", organisation)
    return [Equipment(**dict(row)) for row in rows]


async def save_equipment(unit: GatewayUnit, one: Equipment) -> str:
    """Keeps a device under its code: "made", "changed" or "same"."""
    values = (one.code, one.organisation, one.place, one.name, one.maker, one.serial,
              one.checked_until, one.is_active)
    known = await unit.fetchrow(
        f"select {_EQUIPMENT} from facility_equipment where code = $1 for update", one.code)
    if known is not None and Equipment(**dict(known)) == one:
        return "same"
    await unit.execute(
        f"insert into facility_equipment ({_EQUIPMENT}) values ($1, $2, $3, $4, $5, $6, $7, $8)"
        " on conflict (code) do update set organisation = $2, place = $3, name = $4, maker = $5,"
        " serial = $6, checked_until = $7, is_active = $8, changed = now()", *values)
    return "made" if known is None else "changed"


# Imports


async def begin_import(unit: GatewayUnit, digest: str, name: str) -> Any:
    """The run of a file, new or as it stands; held until the unit ends."""
    await unit.execute(
        "insert into facility_import (digest, name) values ($1, $2) on conflict do nothing",
        digest, name)
    return await unit.fetchrow(
        "select lines, made, changed, same, is_done from facility_import where digest = $1"
        " for update", digest)


async def go_on(
    unit: GatewayUnit, digest: str, lines: int, counts: dict[str, int], *, is_done: bool = False
) -> None:
    """Notes how far a file is; commits with the rows themselves."""
    await unit.execute(
        "update facility_import set lines = $2, made = made + $3, changed = changed + $4,"
        " same = same + $5, is_done = $6, ended = case when $6 then now() end where digest = $1",
        digest, lines, counts.get("made", 0), counts.get("changed", 0), counts.get("same", 0),
        is_done)


async def add_fault(
    unit: GatewayUnit, digest: str, line: int, field: str, key: str, sentence: str, code: str
) -> None:
    """One line of the ledger."""
    await unit.execute(
        "insert into facility_import_fault (digest, line, field, key, sentence, code)"
        " values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        digest, line, field, key, sentence, code[:64])


async def faults(unit: GatewayUnit, digest: str, limit: int = 10_000) -> list[Any]:
    """The ledger of a file in the order of its lines."""
    return await unit.fetch(
        "select line, code, field, sentence from facility_import_fault where digest = $1"
        " order by line, field limit $2", digest, limit)


async def put_aside(unit: GatewayUnit, digest: str, line: int, parent: str, row: str) -> None:
    """Keeps a row whose parent has not come yet."""
    await unit.execute(
        "insert into facility_import_wait (digest, line, parent, row)"
        " values ($1, $2, $3, $4::jsonb) on conflict do nothing", digest, line, parent, row)


async def waiting(unit: GatewayUnit, digest: str, after: int, limit: int) -> list[Any]:
    """Rows put aside, in the order of the file."""
    return await unit.fetch(
        "select line, parent, row::text as row from facility_import_wait"
        " where digest = $1 and line > $2 order by line limit $3", digest, after, limit)


async def taken(unit: GatewayUnit, digest: str, line: int) -> None:
    """A row that waits no more."""
    await unit.execute(
        "delete from facility_import_wait where digest = $1 and line = $2", digest, line)
