"""What the marking operator told, what it owes, and the alerts that packs were put aside with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dmed.modules.pharmacy.tables import Connection

DDL: tuple[str, ...] = (
    """create table if not exists pharmacy_marking (
        code text collate "C" primary key,
        is_known boolean not null,
        asked timestamptz not null,
        missing_since timestamptz,
        told jsonb not null default '{}'
    )""",
    """create table if not exists pharmacy_marking_line (
        line text collate "C" primary key,
        tokens double precision not null,
        at timestamptz not null,
        closed_until timestamptz not null
    )""",
    """create table if not exists pharmacy_marking_owed (
        gtin text collate "C" not null,
        serial text collate "C" not null,
        pharmacy text collate "C" not null,
        number text collate "C" not null,
        since timestamptz not null default now(),
        asked timestamptz not null default now(),
        primary key (gtin, serial, pharmacy)
    )""",
    "create index if not exists pharmacy_marking_owed_asked on pharmacy_marking_owed (asked)",
    """create table if not exists pharmacy_alert (
        id bigint generated always as identity primary key,
        at timestamptz not null default now(),
        pharmacy text collate "C" not null,
        number text collate "C" not null,
        gtin text collate "C" not null,
        serial text collate "C" not null,
        reason text collate "C" not null,
        fault text collate "C" not null,
        settled_as text collate "C" not null default '',
        settled_by text collate "C" not null default '',
        settled timestamptz
    )""",
    """create unique index if not exists pharmacy_alert_open
        on pharmacy_alert (pharmacy, gtin, serial, reason) where settled is null""",
    "create index if not exists pharmacy_alert_place on pharmacy_alert (pharmacy, at)",
    "alter table pharmacy_alert add column if not exists outcome text not null default ''",
    "alter table pharmacy_alert add column if not exists words text not null default ''",
    "create index if not exists pharmacy_alert_at on pharmacy_alert (at) where settled is null",
    "create index if not exists pharmacy_alert_pack on pharmacy_alert (gtin, serial)",
)
_ALERT = ("id, at, pharmacy, number, gtin, serial, reason, fault, settled_as, outcome, words,"
          " settled")  # fmt: skip  # Columns.


async def marked(connection: Connection, codes: list[str]) -> list[Any]:
    """What the operator told of these codes."""
    return await connection.fetch(
        "select code, is_known, asked, missing_since, told::text as told from pharmacy_marking"
        " where code = any($1::text[])", codes)


async def keep_marked(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Keep answers: (code, is_known, asked, missing_since, told as JSON); a later one wins."""
    columns = [list(column) for column in zip(*sorted(rows), strict=True)]
    await connection.execute(
        "insert into pharmacy_marking (code, is_known, asked, missing_since, told)"
        " select code, is_known, asked, missing_since, told::jsonb from"
        " unnest($1::text[], $2::boolean[], $3::timestamptz[], $4::timestamptz[], $5::text[])"
        " as new (code, is_known, asked, missing_since, told)"
        " on conflict (code) do update set is_known = excluded.is_known, asked = excluded.asked,"
        " missing_since = excluded.missing_since, told = excluded.told"
        " where pharmacy_marking.asked <= excluded.asked", *columns)


async def line_of(connection: Connection, line: str, now: datetime) -> Any:
    """The bucket of a line to the operator, locked; a new one is full."""
    await connection.execute(
        "insert into pharmacy_marking_line (line, tokens, at, closed_until)"
        " values ($1, 1000000, $2, $2) on conflict do nothing", line, now)
    return await connection.fetchrow(
        "select tokens, at, closed_until from pharmacy_marking_line where line = $1 for update",
        line)


async def keep_line(
    connection: Connection, line: str, tokens: float, at: datetime, closed_until: datetime
) -> None:
    """What is left in the bucket."""
    await connection.execute(
        "update pharmacy_marking_line set tokens = $2, at = $3, closed_until = $4"
        " where line = $1", line, tokens, at, closed_until)


async def owe(connection: Connection, gtin: str, serial: str, pharmacy: str, number: str) -> None:
    """A pack went on without the operator's word: it is asked later."""
    await connection.execute(
        "insert into pharmacy_marking_owed (gtin, serial, pharmacy, number)"
        " values ($1, $2, $3, $4) on conflict do nothing", gtin, serial, pharmacy, number)


async def owed(connection: Connection, limit: int) -> list[Any]:
    """Packs whose word is owed, those not asked for longest first; they count as asked now."""
    return await connection.fetch(
        "update pharmacy_marking_owed o set asked = now() from (select gtin, serial, pharmacy"
        " from pharmacy_marking_owed order by asked limit $1 for update skip locked) due"
        " where (o.gtin, o.serial, o.pharmacy) = (due.gtin, due.serial, due.pharmacy)"
        " returning o.gtin, o.serial, o.pharmacy, o.number", limit)


async def forget_owed(connection: Connection, days: int) -> None:
    """The operator never told of these packs, or may not tell us: nobody asks any longer."""
    await connection.execute(
        "delete from pharmacy_marking_owed where since < now() - make_interval(days => $1)", days)


async def paid(connection: Connection, gtin: str, serial: str, pharmacy: str) -> None:
    """The operator gave its word."""
    await connection.execute(
        "delete from pharmacy_marking_owed where gtin = $1 and serial = $2 and pharmacy = $3",
        gtin, serial, pharmacy)


async def raise_alert(
    connection: Connection, pharmacy: str, number: str, gtin: str, serial: str, reason: str,
    fault: str,
) -> None:
    """A pack is put aside; the same alert that is open still is not raised twice."""
    await connection.execute(
        "insert into pharmacy_alert (pharmacy, number, gtin, serial, reason, fault)"
        " values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        pharmacy, number, gtin, serial, reason, fault)


async def alerts(connection: Connection, pharmacy: str, limit: int) -> list[Any]:
    """Alerts of a pharmacy, open ones first, the newest of each first."""
    return await connection.fetch(
        f"select {_ALERT} from pharmacy_alert where pharmacy = $1"
        " order by settled is not null, at desc, id desc limit $2", pharmacy, limit)


async def listed_alerts(
    connection: Connection, pharmacy: str, fault: str, limit: int, *, closed: bool
) -> list[Any]:
    """Open or closed alerts of a pharmacy ("": of all), newest first; open ones by whose fault they
    look, closed ones by whose it was ("": all).
    """
    return await connection.fetch(
        f"select {_ALERT} from pharmacy_alert where ($1 = '' or pharmacy = $1)"
        " and (settled is not null) = $2"
        " and ($3 = '' or $3 = case when $2 then settled_as else fault end)"
        " order by at desc, id desc limit $4", pharmacy, closed, fault, limit)


async def alert_counts(connection: Connection, pharmacy: str, since: datetime) -> list[Any]:
    """How many alerts of a pharmacy ("": of all) are open, whenever they came, and how many of
    those since a moment are closed, by class: rows (is_closed, class, n).
    """
    return await connection.fetch(
        "select settled is not null as is_closed,"
        " case when settled is null then fault else settled_as end as class, count(*) as n"
        " from pharmacy_alert where ($1 = '' or pharmacy = $1)"
        " and (settled is null or at >= $2) group by 1, 2", pharmacy, since)


async def alert(connection: Connection, number: int) -> Any | None:
    """One alert, or None."""
    return await connection.fetchrow(
        f"select {_ALERT} from pharmacy_alert where id = $1", number)


async def alerts_of_pack(connection: Connection, gtin: str, serial: str, limit: int) -> list[Any]:
    """Every alert about one pack in the country, newest first; none without a serial."""
    return await connection.fetch(
        f"select {_ALERT} from pharmacy_alert where gtin = $1 and serial = $2 and serial <> ''"
        " order by at desc, id desc limit $3", gtin, serial, limit)


async def settle_alert(
    connection: Connection, number: int, pharmacy: str, settled_as: str, by: str,
    outcome: str = "", words: str = "",
) -> bool:
    """An open alert of a pharmacy ("": of any) was looked into; whether there was one."""
    return bool(await connection.fetchval(
        "update pharmacy_alert set settled_as = $3, settled_by = $4, outcome = $5, words = $6,"
        " settled = now() where id = $1 and ($2 = '' or pharmacy = $2) and settled is null"
        " returning true", number, pharmacy, settled_as, by, outcome, words))


async def before(
    connection: Connection, pharmacy: str, gtin: str, serial: str, since: datetime
) -> tuple[frozenset[str], str]:
    """The reasons (locale keys) for which this pack was refused here since a moment, and the reason
    for which it lies aside here ("": it does not): what the pack itself bears, not who had it.
    """
    rows = await connection.fetch(
        "select distinct reason from pharmacy_refusal where pharmacy = $1 and at >= $2"
        " and gtin = $3 and serial = $4", pharmacy, since, gtin, serial)
    aside = await connection.fetchval(
        "select reason from pharmacy_alert where pharmacy = $1 and gtin = $2 and serial = $3"
        " and reason in ('lot_mismatch', 'expiry_mismatch')"
        " and (settled is null or settled_as = 'pack') limit 1", pharmacy, gtin, serial)
    return frozenset(row["reason"] for row in rows), str(aside or "")
