"""Own tables of prescribing without a network: keys of doctors' computers, and what they sent.

What was sent is kept for ever with the text that the doctor's key signed; it is the evidence.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dmed.modules.prescriptions.model import Finding
from dmed.modules.prescriptions.rules.offline import Outcome
from dmed.modules.prescriptions.tables import Connection

DDL: tuple[str, ...] = (
    """create table if not exists prescription_offline_key (
        id text collate "C" primary key,
        author text collate "C" not null,
        organisation text collate "C" not null,
        region text collate "C" not null,
        x text collate "C" not null,
        y text collate "C" not null,
        since timestamptz not null default now(),
        seen timestamptz not null default now(),
        withdrawn timestamptz
    )""",
    """create index if not exists prescription_offline_key_region
        on prescription_offline_key (region, seen) where withdrawn is null""",
    """create index if not exists prescription_offline_key_author
        on prescription_offline_key (author, since)""",
    """create table if not exists prescription_offline_act (
        id text collate "C" primary key,
        digest bytea not null,
        key text collate "C" not null,
        seq integer not null,
        author text collate "C" not null,
        number text collate "C" not null,
        at timestamptz not null,
        received timestamptz not null default now(),
        outcome text collate "C" not null,
        findings jsonb not null,
        person text not null default '',
        signed text not null
    )""",
    """create index if not exists prescription_offline_act_author
        on prescription_offline_act (author, received)""",
    """create index if not exists prescription_offline_act_key
        on prescription_offline_act (key, seq)""",
    """create unique index if not exists prescription_offline_act_number
        on prescription_offline_act (number) where outcome <> 'refused'""",
)


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The key of one doctor on one computer."""

    id: str
    """RFC 7638 thumbprint."""
    author: str
    organisation: str
    region: str
    x: str
    y: str
    since: datetime
    withdrawn: datetime | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent, and what became of it."""

    id: str
    digest: bytes
    key: str
    seq: int
    """The key's own count of its acts."""
    author: str
    number: str
    at: datetime
    received: datetime
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    person: str = ""
    """PINFL or MED-ID that the doctor stated afterwards; "" is the one of the act."""
    signed: str = ""


_KEY = "id, author, organisation, region, x, y, since, withdrawn"
_ACT = ("id, digest, key, seq, author, number, at, received, outcome, findings::text as findings,"
        " person, signed")


async def keep_key(connection: Connection, key: Key) -> None:
    """A doctor's key; the same key again changes nothing."""
    await connection.execute(
        "insert into prescription_offline_key (id, author, organisation, region, x, y, since)"
        " values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing",
        key.id, key.author, key.organisation, key.region, key.x, key.y, key.since,
    )  # fmt: skip  # The order of the statement.


async def key(connection: Connection, id_: str, *, lock: bool = False) -> Key | None:
    """The key of a number; `lock` lets one act of it after the other be judged."""
    row = await connection.fetchrow(
        f"select {_KEY} from prescription_offline_key where id = $1"  # noqa: S608  # A constant.
        + (" for update" if lock else ""),
        id_,
    )
    return Key(**dict(row)) if row else None


async def keys_named(connection: Connection, start: str) -> list[Key]:
    """Keys whose number begins so, at most two: a token names eight signs."""
    rows = await connection.fetch(
        f"select {_KEY} from prescription_offline_key"  # noqa: S608  # A constant.
        " where id >= $1 and id < $1 || '~' order by id limit 2",
        start,
    )
    return [Key(**dict(row)) for row in rows]


async def keys_of(connection: Connection, author: str) -> list[Key]:
    """A doctor's keys, newest first."""
    rows = await connection.fetch(
        f"select {_KEY} from prescription_offline_key where author = $1"  # noqa: S608  # Same.
        " order by since desc limit 50",
        author,
    )
    return [Key(**dict(row)) for row in rows]


async def count_keys(connection: Connection, author: str, but: str) -> int:
    """How many keys of a doctor are not withdrawn, without one."""
    return int(await connection.fetchval(
        "select count(*) from prescription_offline_key"
        " where author = $1 and withdrawn is null and id <> $2", author, but))


async def keys_of_region(connection: Connection, region: str, most: int) -> list[Key]:
    """Keys of a region that were not withdrawn, those seen last first."""
    rows = await connection.fetch(
        f"select {_KEY} from prescription_offline_key"  # noqa: S608  # A constant.
        " where region = $1 and withdrawn is null order by seen desc limit $2",
        region,
        most,
    )
    return [Key(**dict(row)) for row in rows]


async def see(connection: Connection, id_: str) -> None:
    """A key was there now."""
    await connection.execute(
        "update prescription_offline_key set seen = now() where id = $1", id_
    )


async def withdraw(connection: Connection, author: str, id_: str, at: datetime) -> bool:
    """A computer was stolen or given away: what it signs counts no more from a moment on. Whether
    the doctor has such a key.
    """
    return bool(await connection.fetchval(
        "update prescription_offline_key set withdrawn = least(coalesce(withdrawn, $3), $3)"
        " where id = $2 and author = $1 returning true", author, id_, at,
    ))  # fmt: skip  # One statement.


def _kept(row: Any) -> Kept:
    findings = msgspec.json.decode(row["findings"], type=tuple[Finding, ...])
    return Kept(**{**dict(row), "outcome": Outcome(row["outcome"]), "findings": findings})


async def act(connection: Connection, id_: str) -> Kept | None:
    """The act of an id, or None."""
    row = await connection.fetchrow(
        f"select {_ACT} from prescription_offline_act where id = $1",  # noqa: S608  # Same.
        id_,
    )
    return _kept(row) if row else None


async def act_of_number(connection: Connection, number: str) -> str:
    """Id of the act that holds a number, or ""."""
    return str(await connection.fetchval(
        "select id from prescription_offline_act where number = $1 and outcome <> 'refused'",
        number) or "")  # fmt: skip  # One statement.


async def is_seq_taken(connection: Connection, key: str, seq: int) -> bool:
    """Whether an act of a key came with a running number."""
    return bool(await connection.fetchval(
        "select exists (select from prescription_offline_act where key = $1 and seq = $2)",
        key, seq))  # fmt: skip  # One statement.


async def last_seq(connection: Connection, key: str) -> int:
    """The highest running number that came from a key, 0 before the first."""
    return int(await connection.fetchval(
        "select coalesce(max(seq), 0) from prescription_offline_act where key = $1", key))


async def used_numbers(connection: Connection, key: str) -> set[str]:
    """Numbers of what a key sent, whatever became of it: they stand on slips."""
    rows = await connection.fetch(
        "select number from prescription_offline_act where key = $1", key)
    return {row["number"] for row in rows}


async def acts(connection: Connection, author: str, most: int) -> list[Kept]:
    """What a doctor sent, newest first; what asks him something before all else."""
    rows = await connection.fetch(
        f"select {_ACT} from prescription_offline_act where author = $1"  # noqa: S608  # Same.
        " order by outcome = 'asked' desc, received desc limit $2",
        author,
        most,
    )
    return [_kept(row) for row in rows]


async def keep_act(connection: Connection, kept: Kept) -> None:
    """An act as it came."""
    await connection.execute(
        "insert into prescription_offline_act (id, digest, key, seq, author, number, at,"
        " received, outcome, findings, signed)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11)",
        kept.id, kept.digest, kept.key, kept.seq, kept.author, kept.number, kept.at, kept.received,
        kept.outcome.value, msgspec.json.encode(kept.findings).decode(), kept.signed,
    )  # fmt: skip  # The order of the statement.


async def settle_act(
    connection: Connection, id_: str, outcome: Outcome, findings: tuple[Finding, ...], person: str
) -> None:
    """What became of an act that is not a prescription yet."""
    await connection.execute(
        "update prescription_offline_act set outcome = $2, findings = $3::jsonb, person = $4"
        " where id = $1 and outcome = 'asked'",
        id_, outcome.value, msgspec.json.encode(findings).decode(), person,
    )  # fmt: skip  # The order of the statement.
