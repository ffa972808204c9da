"""Own tables of the counter without a network: computers, acts as they were sent, cases.

An act is kept for ever with the text that its pharmacist's key signed; it is the evidence. It
holds the token, which names nobody (decisions 22).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dmed.modules.pharmacy.rules.offline import Judged, Kind, Outcome
from dmed.modules.pharmacy.tables import Connection
from dmed.modules.prescriptions.api import Finding

DDL: tuple[str, ...] = (
    """create table if not exists pharmacy_offline_place (
        pharmacy text collate "C" primary key,
        district text collate "C" not null,
        seen timestamptz not null default now()
    )""",
    """create table if not exists pharmacy_offline_device (
        id text collate "C" primary key,
        pharmacy text collate "C" not null,
        username text collate "C" not null,
        name text not null,
        practitioner text collate "C" not null,
        practitioner_role text collate "C" not null,
        x text collate "C" not null,
        y text collate "C" not null,
        since timestamptz not null default now(),
        withdrawn timestamptz,
        last_seq integer not null default 0
    )""",
    "create index if not exists pharmacy_offline_device_of on pharmacy_offline_device (pharmacy)",
    """create table if not exists pharmacy_offline_act (
        id text collate "C" primary key,
        digest bytea not null,
        pharmacy text collate "C" not null,
        device text collate "C" not null,
        number text collate "C" not null,
        item integer not null,
        at timestamptz not null,
        received timestamptz not null,
        outcome text collate "C" not null,
        findings jsonb not null,
        dispenses text[] not null,
        opened bigint,
        signed text not null
    )""",
    "alter table pharmacy_offline_act add column if not exists seq integer",
    # Acts of before have it inside the text that their key signed (base64url, RFC 7515).
    """update pharmacy_offline_act set seq = (convert_from(decode(rpad(body,
        (length(body) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::jsonb->>'seq')::integer
        from (select id as of, translate(split_part(signed, '.', 2), '-_', '+/') as body
            from pharmacy_offline_act where seq is null) as old
        where id = old.of""",
    "create index if not exists pharmacy_offline_act_seq on pharmacy_offline_act (device, seq)",
    "create index if not exists pharmacy_offline_act_day on pharmacy_offline_act (pharmacy, at)",
    "create index if not exists pharmacy_offline_act_of on pharmacy_offline_act (number, item)",
    """create table if not exists pharmacy_offline_case (
        number bigint generated always as identity primary key,
        kind text collate "C" not null,
        act text collate "C" not null unique,
        pharmacy text collate "C" not null,
        others text[] not null,
        prescription text collate "C" not null,
        item integer not null,
        findings jsonb not null,
        made timestamptz not null default now(),
        judged text collate "C" not null default '',
        words text not null default '',
        reviewer text collate "C" not null default '',
        closed timestamptz
    )""",
    """create index if not exists pharmacy_offline_case_open on pharmacy_offline_case (number)
        where closed is null""",
    "create index if not exists pharmacy_handover_pack on pharmacy_handover (gtin, serial)",
    "create index if not exists pharmacy_handover_at on pharmacy_handover (at)",
    "create index if not exists pharmacy_pack_changed on pharmacy_pack (changed)",
)


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One pharmacist's key on one computer."""

    id: str
    pharmacy: str
    username: str
    name: str
    practitioner: str
    practitioner_role: str
    x: str
    y: str
    since: datetime
    withdrawn: datetime | None
    last_seq: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An act as it was judged."""

    id: str
    digest: bytes
    pharmacy: str
    number: str
    item: int
    at: datetime
    received: datetime
    outcome: Outcome
    findings: tuple[Finding, ...]
    dispenses: tuple[str, ...]
    opened: int | None
    """Number of the case that it opened."""
    device: str = ""
    signed: str = ""
    seq: int | None = None
    """The key's own count of its acts; None for one of before it was kept."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict between an offline act and what others did, for the authority to judge."""

    number: int
    kind: Kind
    act: str
    pharmacy: str
    others: tuple[str, ...]
    prescription: str
    item: int
    findings: tuple[Finding, ...]
    made: datetime
    judged: str
    words: str
    reviewer: str
    closed: datetime | None


def _findings(text: str) -> tuple[Finding, ...]:
    return msgspec.json.decode(text, type=tuple[Finding, ...])


def _json(findings: tuple[Finding, ...]) -> str:
    return msgspec.json.encode(findings).decode()


# Places and used numbers


async def keep_place(connection: Connection, pharmacy: str, district: str) -> None:
    """Which district a pharmacy lies in, as it was when it last fetched a kit."""
    await connection.execute(
        "insert into pharmacy_offline_place (pharmacy, district) values ($1, $2)"
        " on conflict (pharmacy) do update set district = excluded.district, seen = now()",
        pharmacy,
        district,
    )


async def used(connection: Connection, district: str, since: datetime, most: int) -> list[str]:
    """As "number:item", what pharmacies of a district handed over, newest first."""
    rows = await connection.fetch(
        "select h.number, h.item from pharmacy_handover h join pharmacy_offline_place p"
        " on p.pharmacy = h.pharmacy where p.district = $1 and h.at >= $2 and not h.undone"
        " order by h.at desc limit $3",
        district,
        since,
        most,
    )
    return [f"{row['number']}:{row['item']}" for row in rows]


async def used_packs(
    connection: Connection, district: str, since: datetime, most: int
) -> list[str]:
    """Identification codes (01 GTIN 21 serial) of packs that must not go out: emptied by pharmacies
    of a district since a moment, or known as recalled, withdrawn or stolen; newest first.
    """
    rows = await connection.fetch(
        "select k.gtin, k.serial from pharmacy_pack k left join pharmacy_offline_place p"
        " on p.pharmacy = k.pharmacy where k.changed >= $2 and ((k.state = 'dispensed'"
        " and p.district = $1) or k.state in ('recalled', 'withdrawn', 'stolen'))"
        " order by k.changed desc limit $3",
        district,
        since,
        most,
    )
    return [f"01{row['gtin']}21{row['serial']}" for row in rows]


async def handed_numbers(connection: Connection, numbers: list[str]) -> set[str]:
    """Of these numbers those of which something was handed over."""
    rows = await connection.fetch(
        "select distinct number from pharmacy_handover where number = any($1) and not undone",
        numbers,
    )
    return {row["number"] for row in rows}


# Computers


async def keep_device(connection: Connection, device: Device) -> None:
    """A pharmacist's key on a computer; the same key again changes nothing."""
    await connection.execute(
        "insert into pharmacy_offline_device (id, pharmacy, username, name, practitioner,"
        " practitioner_role, x, y, since) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        " on conflict (id) do nothing",
        device.id, device.pharmacy, device.username, device.name, device.practitioner,
        device.practitioner_role, device.x, device.y, device.since,
    )  # fmt: skip  # The order of the statement.


_DEVICE = ("id, pharmacy, username, name, practitioner, practitioner_role, x, y, since,"
           " withdrawn, last_seq")


async def device(connection: Connection, id_: str, *, lock: bool = False) -> Device | None:
    """The key of a number; `lock` lets one act of it after the other be judged."""
    row = await connection.fetchrow(
        f"select {_DEVICE} from pharmacy_offline_device where id = $1"  # noqa: S608  # A constant.
        + (" for update" if lock else ""),
        id_,
    )
    return Device(**dict(row)) if row else None


async def devices(connection: Connection, pharmacy: str) -> list[Device]:
    """The keys of a pharmacy, newest first."""
    rows = await connection.fetch(
        f"select {_DEVICE} from pharmacy_offline_device where pharmacy = $1"  # noqa: S608  # Same.
        " order by since desc limit 100",
        pharmacy,
    )
    return [Device(**dict(row)) for row in rows]


async def withdraw(connection: Connection, pharmacy: str, id_: str, at: datetime) -> None:
    """A computer was stolen or given away: its acts count no more from a moment on."""
    await connection.execute(
        "update pharmacy_offline_device set withdrawn = least(coalesce(withdrawn, $3), $3)"
        " where id = $2 and pharmacy = $1",
        pharmacy,
        id_,
        at,
    )


async def advance(connection: Connection, id_: str, seq: int) -> None:
    """The last running number that came from a key."""
    await connection.execute(
        "update pharmacy_offline_device set last_seq = greatest(last_seq, $2) where id = $1",
        id_,
        seq,
    )


# Acts

_ACT = ("id, digest, pharmacy, device, number, item, at, received, outcome,"
        " findings::text as findings, dispenses, opened, signed, seq")


def _kept(row: Any) -> Kept:
    return Kept(**{
        **dict(row), "outcome": Outcome(row["outcome"]), "findings": _findings(row["findings"]),
        "dispenses": tuple(row["dispenses"]),
    })  # fmt: skip  # One act.


async def act(connection: Connection, id_: str) -> Kept | None:
    """The act of an id, or None for one that is new."""
    row = await connection.fetchrow(
        f"select {_ACT} from pharmacy_offline_act where id = $1",  # noqa: S608  # A constant.
        id_,
    )
    return _kept(row) if row else None


async def keep_act(connection: Connection, kept: Kept) -> None:
    """An act with what became of it; one that waited is judged now."""
    await connection.execute(
        "insert into pharmacy_offline_act (id, digest, pharmacy, device, number, item, at,"
        " received, outcome, findings, dispenses, opened, signed, seq)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14)"
        " on conflict (id) do update set received = excluded.received, outcome = excluded.outcome,"
        " findings = excluded.findings, dispenses = excluded.dispenses, opened = excluded.opened"
        " where pharmacy_offline_act.outcome = 'waiting'",
        kept.id, kept.digest, kept.pharmacy, kept.device, kept.number, kept.item, kept.at,
        kept.received, kept.outcome.value, _json(kept.findings), list(kept.dispenses),
        kept.opened, kept.signed, kept.seq,
    )  # fmt: skip  # The order of the statement.


async def is_seq_taken(connection: Connection, device: str, seq: int, id_: str) -> bool:
    """Whether another act of a key came with a running number: a copy, or a forgery."""
    return bool(await connection.fetchval(
        "select exists (select from pharmacy_offline_act where device = $1 and seq = $2"
        " and id <> $3)", device, seq, id_))  # fmt: skip  # One statement.


async def count_acts(
    connection: Connection, pharmacy: str, since: datetime, until: datetime
) -> int:
    """How many believed acts of a pharmacy lie between two moments."""
    return int(await connection.fetchval(
        "select count(*) from pharmacy_offline_act where pharmacy = $1 and at >= $2 and at < $3"
        " and outcome <> 'refused'", pharmacy, since, until))  # fmt: skip  # One statement.


async def date_handovers(connection: Connection, dispenses: list[str], at: datetime) -> None:
    """Hand-overs stand in the day's list at the moment of the act, not of its sending."""
    await connection.execute(
        "update pharmacy_handover set at = $2, seconds = 0 where dispense = any($1)", dispenses, at
    )


async def handed_by(
    connection: Connection, number: str, item: int, packs: list[tuple[str, str]]
) -> list[str]:
    """Pharmacies that handed over this item, or one of these packs (GTIN, serial)."""
    rows = await connection.fetch(
        "select distinct pharmacy from pharmacy_handover where not undone and"
        " ((number = $1 and item = $2) or (gtin, serial) in"
        " (select * from unnest($3::text[], $4::text[]))) order by pharmacy",
        number,
        item,
        [gtin for gtin, _ in packs],
        [serial for _, serial in packs],
    )
    return [row["pharmacy"] for row in rows]


# Cases

_CASE = ("number, kind, act, pharmacy, others, prescription, item, findings::text as findings,"
         " made, judged, words, reviewer, closed")


def _case(row: Any) -> Case:
    return Case(**{
        **dict(row), "kind": Kind(row["kind"]), "others": tuple(row["others"]),
        "findings": _findings(row["findings"]),
    })  # fmt: skip  # One case.


async def open_case(
    connection: Connection, kind: Kind, kept: Kept, others: list[str], at: datetime
) -> int:
    """A new case about an act; its number."""
    return int(await connection.fetchval(
        "insert into pharmacy_offline_case (kind, act, pharmacy, others, prescription, item,"
        " findings, made) values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8) returning number",
        kind.value, kept.id, kept.pharmacy, others, kept.number, kept.item,
        _json(kept.findings), at))  # fmt: skip  # The order of the statement.


async def cases(
    connection: Connection, pharmacy: str, *, closed: bool, most: int = 200
) -> list[Case]:
    """Cases, newest first: of one pharmacy on either side, or with "" of all."""
    rows = await connection.fetch(
        f"select {_CASE} from pharmacy_offline_case"  # noqa: S608  # A constant.
        " where (closed is not null) = $2 and ($1 = '' or pharmacy = $1 or $1 = any(others))"
        " order by number desc limit $3",
        pharmacy,
        closed,
        most,
    )
    return [_case(row) for row in rows]


async def case(connection: Connection, number: int) -> Case | None:
    """The case of a number, or None."""
    row = await connection.fetchrow(
        f"select {_CASE} from pharmacy_offline_case where number = $1",  # noqa: S608  # Same.
        number,
    )
    return _case(row) if row else None


async def close_case(
    connection: Connection, number: int, judged: Judged, words: str, reviewer: str, at: datetime
) -> bool:
    """End a case with a verdict; whether it was open."""
    return bool(await connection.fetchval(
        "update pharmacy_offline_case set judged = $2, words = $3, reviewer = $4, closed = $5"
        " where number = $1 and closed is null returning true",
        number, judged.value, words, reviewer, at))  # fmt: skip  # The order of the statement.
