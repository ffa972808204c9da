"""Own tables: packs with their balance, reservations, leases, and the day at the counter.

No clinical fact lies here alone: what was handed over is a MedicationDispense. The row of a pack
is locked before it is judged, so that no pack goes out twice.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

DDL: tuple[str, ...] = (
    """create table if not exists pharmacy_pack (
        gtin text collate "C" not null,
        serial text collate "C" not null,
        state text collate "C" not null,
        content numeric not null check (content > 0),
        balance numeric not null check (balance >= 0 and balance <= content),
        pharmacy text collate "C" not null default '',
        lot text collate "C" not null default '',
        expiry date,
        changed timestamptz not null default now(),
        primary key (gtin, serial)
    )""",
    """create table if not exists pharmacy_hold (
        gtin text collate "C" not null,
        serial text collate "C" not null,
        number text collate "C" not null,
        item integer not null,
        pharmacy text collate "C" not null,
        quantity numeric not null check (quantity > 0),
        lot text collate "C" not null default '',
        expiry date,
        until timestamptz not null,
        primary key (gtin, serial)
    )""",
    "create index if not exists pharmacy_hold_number on pharmacy_hold (number, item)",
    """create table if not exists pharmacy_claim (
        number text collate "C" not null,
        item integer not null,
        pharmacy text collate "C" not null,
        secret text not null,
        since timestamptz not null,
        lease_until timestamptz not null,
        primary key (number, item)
    )""",
    "create index if not exists pharmacy_claim_lease on pharmacy_claim (lease_until)",
    "create index if not exists pharmacy_claim_pharmacy on pharmacy_claim (pharmacy, lease_until)",
    """create table if not exists pharmacy_handover (
        dispense text collate "C" primary key,
        number text collate "C" not null,
        item integer not null,
        pharmacy text collate "C" not null,
        patient text collate "C" not null,
        preparation text collate "C" not null,
        unit text collate "C" not null,
        gtin text collate "C" not null,
        serial text collate "C" not null,
        lot text collate "C" not null,
        expiry date,
        quantity numeric not null,
        at timestamptz not null,
        seconds integer not null default 0,
        undone boolean not null default false
    )""",
    "alter table pharmacy_handover add column if not exists instance integer not null default 1",
    "create index if not exists pharmacy_handover_day on pharmacy_handover (pharmacy, at)",
    "create index if not exists pharmacy_handover_number on pharmacy_handover (number)",
    """create table if not exists pharmacy_refusal (
        pharmacy text collate "C" not null,
        at timestamptz not null default now(),
        number text collate "C" not null,
        gtin text collate "C" not null,
        serial text collate "C" not null,
        reason text collate "C" not null
    )""",
    "create index if not exists pharmacy_refusal_day on pharmacy_refusal (pharmacy, at)",
    """create table if not exists pharmacy_act (
        pharmacy text collate "C" not null,
        key text collate "C" not null,
        act text collate "C" not null,
        at timestamptz not null default now(),
        primary key (pharmacy, key)
    )""",
    "alter table pharmacy_act add column if not exists made text[] not null default '{}'",
    """create table if not exists pharmacy_proposal (
        task text collate "C" primary key,
        number text collate "C" not null,
        item integer not null,
        kind text collate "C" not null,
        pharmacy text collate "C" not null,
        pharmacy_name text not null,
        prescriber text collate "C" not null,
        organisation text collate "C" not null,
        preparation text collate "C" not null,
        product text collate "C" not null default '',
        quantity numeric not null default 0,
        text text not null,
        at timestamptz not null,
        state text collate "C" not null default 'requested',
        answer text not null default '',
        made text collate "C" not null default ''
    )""",
    "create index if not exists pharmacy_proposal_number on pharmacy_proposal (number)",
    "create index if not exists pharmacy_proposal_made on pharmacy_proposal (made)",
    """create unique index if not exists pharmacy_proposal_one
        on pharmacy_proposal (number, item) where state = 'requested'""",
    """create index if not exists pharmacy_proposal_doctor
        on pharmacy_proposal (organisation, prescriber) where state = 'requested'""",
    """create table if not exists pharmacy_lookup (
        id text collate "C" primary key,
        pharmacy text collate "C" not null,
        author text collate "C" not null,
        patient text collate "C" not null,
        code_digest bytea not null,
        tries integer not null default 0,
        at timestamptz not null,
        until timestamptz not null,
        opened text collate "C" not null default ''
    )""",
    "create index if not exists pharmacy_lookup_pharmacy on pharmacy_lookup (pharmacy, at)",
    """create table if not exists pharmacy_message (
        id bigint generated always as identity primary key,
        patient text collate "C" not null,
        channel text collate "C" not null,
        address text not null default '',
        text text not null,
        at timestamptz not null
    )""",
    "create index if not exists pharmacy_message_patient on pharmacy_message (patient, at)",
)


class Connection(Protocol):
    """What these statements run on: a unit of the gateway."""

    async def execute(self, sql: str, *args: Any) -> str: ...

    async def fetch(self, sql: str, *args: Any) -> list[Any]: ...

    async def fetchrow(self, sql: str, *args: Any) -> Any: ...

    async def fetchval(self, sql: str, *args: Any) -> Any: ...


async def begin_act(connection: Connection, pharmacy: str, key: str, act: str) -> str:
    """Claim an idempotency key; "" when it is new, else the act that used it before. A second act
    under the same key waits here until the first has ended.
    """
    claimed = await connection.fetchval(
        "insert into pharmacy_act (pharmacy, key, act) values ($1, $2, $3)"
        " on conflict do nothing returning true",
        pharmacy,
        key,
        act,
    )
    if claimed:
        return ""
    return str(
        await connection.fetchval(
            "select act from pharmacy_act where pharmacy = $1 and key = $2", pharmacy, key
        )
    )


async def end_act(connection: Connection, pharmacy: str, key: str, made: list[str]) -> None:
    """Keep the ids of what an act made, so that its retry is told the same."""
    await connection.execute(
        "update pharmacy_act set made = $3 where pharmacy = $1 and key = $2", pharmacy, key, made
    )


async def made_by(connection: Connection, pharmacy: str, key: str) -> list[str]:
    """The ids of what an act under this key made."""
    found = await connection.fetchval(
        "select made from pharmacy_act where pharmacy = $1 and key = $2", pharmacy, key
    )
    return [str(each) for each in found or ()]


# Leases


async def keep_claim(
    connection: Connection,
    number: str,
    item: int,
    pharmacy: str,
    secret: str,
    since: datetime,
    lease_until: datetime,
) -> None:
    """A lease begins."""
    await connection.execute(
        "insert into pharmacy_claim (number, item, pharmacy, secret, since, lease_until)"
        " values ($1, $2, $3, $4, $5, $6) on conflict (number, item) do update set"
        " pharmacy = excluded.pharmacy, secret = excluded.secret, since = excluded.since,"
        " lease_until = excluded.lease_until",
        number, item, pharmacy, secret, since, lease_until,
    )  # fmt: skip  # The order of the statement.


async def drop_claim(connection: Connection, number: str, item: int) -> None:
    """A lease ends: its secret is destroyed and its reserved packs are free."""
    await connection.execute(
        "with ended as (delete from pharmacy_claim where number = $1 and item = $2)"
        " delete from pharmacy_hold where number = $1 and item = $2",
        number,
        item,
    )


async def claims(connection: Connection, number: str, pharmacy: str) -> list[Any]:
    """The leases of a pharmacy on a prescription, by item."""
    return await connection.fetch(
        "select item, secret, since, lease_until from pharmacy_claim"
        " where number = $1 and pharmacy = $2 order by item",
        number,
        pharmacy,
    )


async def defer_claim(connection: Connection, number: str, item: int, until: datetime) -> None:
    """Look at a lease again later: its item is on hold."""
    await connection.execute(
        "update pharmacy_claim set lease_until = $3 where number = $1 and item = $2",
        number,
        item,
        until,
    )


async def ended_leases(connection: Connection, now: datetime, limit: int) -> list[Any]:
    """(number, item) whose lease has ended."""
    return await connection.fetch(
        "select number, item from pharmacy_claim where lease_until < $1"
        " order by lease_until limit $2",
        now,
        limit,
    )


async def open_claims(connection: Connection, pharmacy: str, limit: int) -> list[Any]:
    """What a pharmacy holds, a row a prescription: number, items, lease, how many have packs."""
    return await connection.fetch(
        "select c.number, count(*) as items, min(c.lease_until) as lease_until,"
        " count(*) filter (where exists (select from pharmacy_hold h where h.number = c.number"
        " and h.item = c.item and h.until > now())) as with_packs"
        " from pharmacy_claim c where c.pharmacy = $1 group by c.number"
        " order by min(c.lease_until) limit $2",
        pharmacy,
        limit,
    )


# Packs


async def pack(connection: Connection, gtin: str, serial: str, *, lock: bool = False) -> Any | None:
    """The row of a pack, or None when nobody here has seen it."""
    statement = "select * from pharmacy_pack where gtin = $1 and serial = $2"
    return await connection.fetchrow(statement + (" for update" if lock else ""), gtin, serial)


async def meet_pack(
    connection: Connection,
    gtin: str,
    serial: str,
    state: str,
    content: Decimal,
    lot: str,
    expiry: date | None,
) -> None:
    """Keep a pack that is seen for the first time; of a known one only a batch and an expiry that
    were not known are filled in.
    """
    await connection.execute(
        "insert into pharmacy_pack (gtin, serial, state, content, balance, lot, expiry)"
        " values ($1, $2, $3, $4, $4, $5, $6) on conflict (gtin, serial) do update"
        " set lot = excluded.lot, expiry = excluded.expiry"
        " where pharmacy_pack.lot = '' and excluded.lot <> ''",
        gtin, serial, state, content, lot, expiry,
    )  # fmt: skip  # Same reason.


async def change_pack(
    connection: Connection, gtin: str, serial: str, state: str, balance: Decimal, pharmacy: str
) -> None:
    """A pack was opened, emptied or put together again."""
    await connection.execute(
        "update pharmacy_pack set state = $3, balance = $4, pharmacy = $5, changed = now()"
        " where gtin = $1 and serial = $2",
        gtin, serial, state, balance, pharmacy,
    )  # fmt: skip  # Same reason.


async def hold_of_pack(connection: Connection, gtin: str, serial: str) -> Any | None:
    """The reservation of a pack, ended or not, or None."""
    return await connection.fetchrow(
        "select * from pharmacy_hold where gtin = $1 and serial = $2", gtin, serial
    )


async def keep_hold(
    connection: Connection,
    gtin: str,
    serial: str,
    number: str,
    item: int,
    pharmacy: str,
    quantity: Decimal,
    lot: str,
    expiry: date | None,
    until: datetime,
    price: Decimal | None = None,
) -> None:
    """Reserve a pack for an item; an ended reservation gives way."""
    await connection.execute(
        "insert into pharmacy_hold (gtin, serial, number, item, pharmacy, quantity, lot, expiry,"
        " until, price) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " on conflict (gtin, serial) do update"
        " set number = excluded.number, item = excluded.item, pharmacy = excluded.pharmacy,"
        " quantity = excluded.quantity, lot = excluded.lot, expiry = excluded.expiry,"
        " until = excluded.until, price = excluded.price",
        gtin, serial, number, item, pharmacy, quantity, lot, expiry, until, price,
    )  # fmt: skip  # Same reason.


async def holds(connection: Connection, number: str, pharmacy: str, now: datetime) -> list[Any]:
    """Packs that wait to be handed over with a prescription."""
    return await connection.fetch(
        "select * from pharmacy_hold where number = $1 and pharmacy = $2 and until > $3"
        " order by item, gtin, serial",
        number,
        pharmacy,
        now,
    )


async def drop_hold(
    connection: Connection, number: str, pharmacy: str, gtin: str, serial: str
) -> None:
    """A reserved pack is taken out again, or was handed over."""
    await connection.execute(
        "delete from pharmacy_hold where number = $1 and pharmacy = $2 and gtin = $3"
        " and serial = $4",
        number, pharmacy, gtin, serial,
    )  # fmt: skip  # Same reason.


# The day


async def keep_handover(connection: Connection, **row: Any) -> None:
    """One MedicationDispense, for undo and for the day's list."""
    names = ("dispense", "number", "item", "pharmacy", "patient", "preparation", "unit", "gtin",
             "serial", "lot", "expiry", "quantity", "at", "seconds",
             "instance", "price", "total", "fund")  # fmt: skip  # Columns.
    places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    await connection.execute(
        f"insert into pharmacy_handover ({', '.join(names)}) values ({places})",
        *(row[name] for name in names),
    )


async def handover(connection: Connection, dispense: str) -> Any | None:
    """The row of a MedicationDispense under lock, or None."""
    return await connection.fetchrow(
        "select * from pharmacy_handover where dispense = $1 for update", dispense
    )


async def handed(connection: Connection, number: str, item: int, instance: int) -> Decimal:
    """What was handed over of one repeat of an item, by any pharmacy, undone acts left out."""
    return Decimal(
        await connection.fetchval(
            "select coalesce(sum(quantity), 0) from pharmacy_handover"
            " where number = $1 and item = $2 and instance = $3 and not undone",
            number,
            item,
            instance,
        )
    )


async def mark_undone(connection: Connection, dispense: str) -> None:
    """A hand-over was undone."""
    await connection.execute(
        "update pharmacy_handover set undone = true where dispense = $1", dispense
    )


async def handovers_of(connection: Connection, number: str, pharmacy: str) -> list[Any]:
    """What a pharmacy handed over of a prescription, oldest first."""
    return await connection.fetch(
        "select * from pharmacy_handover where number = $1 and pharmacy = $2 order by at, dispense",
        number,
        pharmacy,
    )


async def handovers_since(
    connection: Connection, pharmacy: str, since: datetime, limit: int
) -> list[Any]:
    """What a pharmacy handed over since a moment, newest first."""
    return await connection.fetch(
        "select * from pharmacy_handover where pharmacy = $1 and at >= $2"
        " order by at desc, dispense limit $3",
        pharmacy,
        since,
        limit,
    )


async def day(connection: Connection, pharmacy: str, since: datetime) -> Any:
    """Counts of a pharmacy since a moment."""
    return await connection.fetchrow(
        "select count(distinct number) as prescriptions, count(distinct (number, item)) as items,"
        " count(*) as packs, coalesce(percentile_disc(0.5) within group (order by seconds), 0)"
        " as median_seconds, coalesce(sum(total), 0) as total, coalesce(sum(fund), 0) as fund,"
        " (select count(*) from pharmacy_refusal where pharmacy = $1"
        " and at >= $2) as refused"
        " from pharmacy_handover where pharmacy = $1 and at >= $2 and not undone",
        pharmacy,
        since,
    )


async def keep_refusal(
    connection: Connection, pharmacy: str, number: str, gtin: str, serial: str, reason: str
) -> None:
    """A pack that turned red."""
    await connection.execute(
        "insert into pharmacy_refusal (pharmacy, number, gtin, serial, reason)"
        " values ($1, $2, $3, $4, $5)",
        pharmacy, number, gtin, serial, reason,
    )  # fmt: skip  # Same reason.
