"""The ledger of a pharmacy's stock: movements that are only added, and the packs it received.

A balance is the sum of its movements and is kept nowhere else, so the two cannot differ, and a
hand-over adds one row without waiting for another counter (decision 0071).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from dmed.modules.pharmacy.rules.stock import Balance, Kind, Movement, mean_price
from dmed.modules.pharmacy.tables import Connection

DDL: tuple[str, ...] = (
    """create table if not exists pharmacy_movement (
        id bigint generated always as identity primary key,
        pharmacy text collate "C" not null,
        at timestamptz not null default now(),
        kind text collate "C" not null,
        gtin text collate "C" not null,
        lot text collate "C" not null default '',
        shelf text collate "C" not null default '',
        funding text collate "C" not null default '',
        expiry date,
        quantity numeric not null check (quantity <> 0),
        serial text collate "C" not null default '',
        document text collate "C" not null default '',
        note text not null default '',
        price numeric check (price >= 0),
        made_by text collate "C" not null
    )""",
    """create index if not exists pharmacy_movement_of on pharmacy_movement (pharmacy, gtin)
        include (lot, shelf, funding, expiry, quantity, price)""",
    "create index if not exists pharmacy_movement_at on pharmacy_movement (pharmacy, at)",
    "create index if not exists pharmacy_movement_lot on pharmacy_movement (gtin, lot)",
    """create unique index if not exists pharmacy_movement_once
        on pharmacy_movement (document, kind) where kind in ('dispense', 'undo')""",
    """create or replace function pharmacy_movement_stays() returns trigger language plpgsql as
        $$ begin raise exception 'movements of stock are only added'; end $$""",
    """create or replace trigger pharmacy_movement_stays before update or delete
        on pharmacy_movement for each row execute function pharmacy_movement_stays()""",
    """create table if not exists pharmacy_stock_pack (
        gtin text collate "C" not null,
        serial text collate "C" not null,
        pharmacy text collate "C" not null,
        lot text collate "C" not null default '',
        shelf text collate "C" not null default '',
        funding text collate "C" not null default '',
        expiry date,
        price numeric,
        receipt bigint not null,
        box text collate "C" not null default '',
        gone text collate "C" not null default '',
        primary key (gtin, serial)
    )""",
    """create index if not exists pharmacy_stock_pack_of on pharmacy_stock_pack (pharmacy, gtin)
        where gone = ''""",
    "create index if not exists pharmacy_handover_gtin on pharmacy_handover (gtin, at)",
    """create table if not exists pharmacy_stock_limit (
        pharmacy text collate "C" not null,
        preparation text collate "C" not null,
        least numeric not null check (least >= 0),
        most numeric not null check (most >= least),
        primary key (pharmacy, preparation)
    )""",
)
_COLUMNS = ("pharmacy", "kind", "gtin", "lot", "shelf", "funding", "expiry", "quantity", "serial",
            "document", "note", "price", "made_by")  # fmt: skip  # Columns.
_BALANCE = (
    "select gtin, lot, shelf, funding, min(expiry) as expiry, sum(quantity) as quantity,"
    " coalesce(sum(quantity * price), 0) as amount"
    " from pharmacy_movement where pharmacy = $1"
)
_GROUPED = " group by gtin, lot, shelf, funding having sum(quantity) <> 0"


async def add(connection: Connection, movements: Sequence[Movement]) -> None:
    """Put movements into the ledger, in one statement."""
    if not movements:
        return
    columns = list(zip(*(
        (one.pharmacy, one.kind.value, one.gtin, one.lot, one.shelf, one.funding, one.expiry,
         one.quantity, one.serial, one.document, one.note, one.price, one.by)
        for one in movements), strict=True))  # fmt: skip  # Rows to columns.
    types = ("text", "text", "text", "text", "text", "text", "date", "numeric", "text", "text",
             "text", "numeric", "text")  # fmt: skip  # In the order of the columns.
    places = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(types, 1))
    await connection.execute(
        f"insert into pharmacy_movement ({', '.join(_COLUMNS)}) select * from unnest({places})",
        *(list(column) for column in columns),
    )


def _balance(row: Any) -> Balance:
    return Balance(
        gtin=row["gtin"], lot=row["lot"], shelf=row["shelf"], funding=row["funding"],
        expiry=row["expiry"], quantity=row["quantity"], amount=row["amount"],
        price=mean_price(row["quantity"], row["amount"]),
    )  # fmt: skip  # One row.


async def balances(
    connection: Connection, pharmacy: str, gtins: Sequence[str] = ()
) -> list[Balance]:
    """What a pharmacy has of these products (none named: of all), by batch, shelf and funding;
    the first to expire first. Below zero: more was handed over than ever received.
    """
    if gtins:
        rows = await connection.fetch(
            f"{_BALANCE} and gtin = any($2){_GROUPED} order by 5 nulls last, lot, shelf, funding",
            pharmacy,
            list(gtins),
        )
    else:
        rows = await connection.fetch(
            f"{_BALANCE}{_GROUPED} order by gtin, 5 nulls last, lot, shelf, funding", pharmacy
        )
    return [_balance(row) for row in rows]


async def balances_at(connection: Connection, pharmacy: str, until: datetime) -> list[Balance]:
    """The same as it was before a moment; what stands at 0 too, where worth is left of it."""
    rows = await connection.fetch(
        f"{_BALANCE} and at < $2{_GROUPED} or coalesce(sum(quantity * price), 0) <> 0"
        " order by gtin, 5 nulls last, lot, shelf, funding",
        pharmacy,
        until,
    )
    return [_balance(row) for row in rows]


async def balance_of(
    connection: Connection, pharmacy: str, gtin: str, lot: str, shelf: str, funding: str
) -> Balance | None:
    """One place of stock; None where it holds nothing."""
    row = await connection.fetchrow(
        f"{_BALANCE} and gtin = $2 and lot = $3 and shelf = $4 and funding = $5{_GROUPED}",
        pharmacy, gtin, lot, shelf, funding,
    )  # fmt: skip  # The order of the statement.
    return _balance(row) if row else None


def _movement(row: Any) -> Movement:
    return Movement(
        pharmacy=row["pharmacy"], kind=Kind(row["kind"]), gtin=row["gtin"], lot=row["lot"],
        shelf=row["shelf"], funding=row["funding"], expiry=row["expiry"],
        quantity=row["quantity"], serial=row["serial"], document=row["document"],
        note=row["note"], price=row["price"], by=row["made_by"], at=row["at"], id=row["id"],
    )  # fmt: skip  # One row.


async def movements(
    connection: Connection, pharmacy: str, since: datetime, until: datetime, limit: int,
    gtin: str = "",
) -> list[Movement]:  # fmt: skip  # A question and its answer.
    """Movements of a span of time (of one product where it is named), oldest first."""
    rows = await connection.fetch(
        "select * from pharmacy_movement where pharmacy = $1 and at >= $2 and at < $3"
        " and ($4 = '' or gtin = $4) order by id limit $5",
        pharmacy, since, until, gtin, limit,
    )  # fmt: skip  # Same reason.
    return [_movement(row) for row in rows]


async def latest(
    connection: Connection, pharmacy: str, gtin: str, limit: int
) -> list[Movement]:
    """The last movements of a product, newest first."""
    rows = await connection.fetch(
        "select * from pharmacy_movement where pharmacy = $1 and gtin = $2"
        " order by id desc limit $3",
        pharmacy, gtin, limit,
    )  # fmt: skip  # Same reason.
    return [_movement(row) for row in rows]


async def of_dispense(connection: Connection, dispense: str) -> Movement | None:
    """The movement by which a hand-over left the stock; None for one older than the ledger."""
    row = await connection.fetchrow(
        "select * from pharmacy_movement where document = $1 and kind = 'dispense'", dispense
    )
    return _movement(row) if row else None


async def outflow(connection: Connection, pharmacy: str, since: datetime) -> dict[str, Decimal]:
    """What went out to patients and departments since a moment, by GTIN, undone acts taken off."""
    rows = await connection.fetch(
        "select gtin, -sum(quantity) as quantity from pharmacy_movement where pharmacy = $1"
        " and at >= $2 and kind in ('dispense', 'undo', 'issue') group by gtin",
        pharmacy,
        since,
    )
    return {row["gtin"]: row["quantity"] for row in rows}


# Packs with their serials


async def stock_pack(connection: Connection, gtin: str, serial: str, *, lock: bool = False) -> Any:
    """The row of a received pack, or None."""
    statement = "select * from pharmacy_stock_pack where gtin = $1 and serial = $2"
    return await connection.fetchrow(statement + (" for update" if lock else ""), gtin, serial)


async def stock_packs(connection: Connection, keys: Sequence[tuple[str, str]]) -> list[Any]:
    """The rows of received packs by (gtin, serial), under lock in one order."""
    if not keys:
        return []
    return await connection.fetch(
        "select * from pharmacy_stock_pack where (gtin, serial) in"
        " (select * from unnest($1::text[], $2::text[])) order by gtin, serial for update",
        [gtin for gtin, _ in keys],
        [serial for _, serial in keys],
    )


async def keep_stock_pack(connection: Connection, receipt: int, one: Movement, box: str) -> bool:
    """A pack came in by a receipt; False when it is in stock already, here or elsewhere. One that
    went back to its supplier may come in again.
    """
    done = await connection.fetchval(
        "insert into pharmacy_stock_pack (gtin, serial, pharmacy, lot, shelf, funding, expiry,"
        " price, receipt, box) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " on conflict (gtin, serial) do update set pharmacy = $3, lot = $4, shelf = $5,"
        " funding = $6, expiry = $7, price = $8, receipt = $9, box = $10, gone = ''"
        " where pharmacy_stock_pack.gone = 'returned-to-supplier' returning true",
        one.gtin, one.serial, one.pharmacy, one.lot, one.shelf, one.funding, one.expiry, one.price,
        receipt, box,
    )  # fmt: skip  # Same reason.
    return bool(done)


async def keep_new_packs(
    connection: Connection, receipt: int, packs: Sequence[Movement]
) -> None:
    """Packs that nobody has met came in by a receipt, all in one statement."""
    rows = [(one.gtin, one.serial, one.pharmacy, one.lot, one.shelf, one.funding, one.expiry,
             one.price) for one in packs]
    if not rows:
        return
    await connection.execute(
        "insert into pharmacy_stock_pack (gtin, serial, pharmacy, lot, shelf, funding, expiry,"
        " price, receipt) select *, $9 from unnest($1::text[], $2::text[], $3::text[], $4::text[],"
        " $5::text[], $6::text[], $7::date[], $8::numeric[])",
        *(list(column) for column in zip(*rows, strict=True)), receipt,
    )
    await connection.execute(
        "insert into pharmacy_receipt_pack (receipt, gtin, serial, lot, expiry)"
        " select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::date[])",
        receipt, *(list(column) for column in zip(*(
            (row[0], row[1], row[3], row[6]) for row in rows), strict=True)),
    )


async def keep_counted_packs(connection: Connection, count: int, pharmacy: str) -> None:
    """Packs that a count met stand on the shelf where it met them, those too that no receipt
    brought; a pack of another pharmacy stays that one's.
    """
    await connection.execute(
        "insert into pharmacy_stock_pack (gtin, serial, pharmacy, lot, shelf, expiry, receipt)"
        " select l.gtin, l.serial, $2, l.lot, l.shelf, p.expiry, 0 from pharmacy_count_line l"
        " left join pharmacy_pack p using (gtin, serial) where l.count = $1 and l.serial <> ''"
        " on conflict (gtin, serial) do update set shelf = excluded.shelf, gone = ''"
        " where pharmacy_stock_pack.pharmacy = $2 and pharmacy_stock_pack.gone in ('', 'missing')",
        count,
        pharmacy,
    )


async def miss_packs(connection: Connection, count: int, pharmacy: str) -> None:
    """Received packs of what was counted pack by pack, that the count did not meet and that did not
    move since it ended, are missing.
    """
    await connection.execute(
        "update pharmacy_stock_pack s set gone = 'missing' from pharmacy_count c"
        " where c.id = $1 and s.pharmacy = $2 and s.gone = ''"
        " and exists (select from pharmacy_count_line l where l.count = c.id and l.gtin = s.gtin"
        "  and l.lot = s.lot and l.shelf = s.shelf)"
        " and not exists (select from pharmacy_count_line l where l.count = c.id"
        "  and l.gtin = s.gtin and (l.serial = s.serial"
        "   or (l.serial = '' and l.lot = s.lot and l.shelf = s.shelf)))"
        " and not exists (select from pharmacy_movement m where m.pharmacy = $2"
        "  and m.gtin = s.gtin and m.serial = s.serial and m.at > c.done_at)"
        " and coalesce((select balance from pharmacy_pack p where p.gtin = s.gtin"
        "  and p.serial = s.serial), 1) > 0",
        count,
        pharmacy,
    )


async def change_stock_pack(
    connection: Connection, gtin: str, serial: str, shelf: str, gone: str
) -> None:
    """A received pack stands on another shelf, or is gone for a reason."""
    await connection.execute(
        "update pharmacy_stock_pack set shelf = $3, gone = $4 where gtin = $1 and serial = $2",
        gtin, serial, shelf, gone,
    )  # fmt: skip  # Same reason.


async def packs_here(connection: Connection, pharmacy: str, gtin: str, limit: int) -> list[Any]:
    """Received packs of a product that are still here, with what is left in each."""
    return await connection.fetch(
        "select s.*, p.balance, p.state from pharmacy_stock_pack s left join pharmacy_pack p"
        " using (gtin, serial) where s.pharmacy = $1 and s.gtin = $2 and s.gone = ''"
        " and coalesce(p.balance, 1) > 0 order by s.expiry nulls last, s.serial limit $3",
        pharmacy,
        gtin,
        limit,
    )


# Least and most


async def limits(connection: Connection, pharmacy: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Preparation -> (least, most) in units of presentation."""
    rows = await connection.fetch(
        "select preparation, least, most from pharmacy_stock_limit where pharmacy = $1", pharmacy
    )
    return {row["preparation"]: (row["least"], row["most"]) for row in rows}


async def keep_limit(
    connection: Connection, pharmacy: str, preparation: str, least: Decimal, most: Decimal
) -> None:
    """What a pharmacy wants to have of a preparation; most 0 takes the wish away."""
    if most == 0:
        await connection.execute(
            "delete from pharmacy_stock_limit where pharmacy = $1 and preparation = $2",
            pharmacy,
            preparation,
        )
        return
    await connection.execute(
        "insert into pharmacy_stock_limit (pharmacy, preparation, least, most)"
        " values ($1, $2, $3, $4) on conflict (pharmacy, preparation)"
        " do update set least = $3, most = $4",
        pharmacy, preparation, least, most,
    )  # fmt: skip  # Same reason.


# Who holds and who received


async def holders(connection: Connection, gtin: str, lot: str) -> list[Any]:
    """(pharmacy, lot, quantity) that is in stock of a product, or of one batch, in the country."""
    return await connection.fetch(
        "select pharmacy, lot, sum(quantity) as quantity from pharmacy_movement"
        " where gtin = $1 and ($2 = '' or upper(lot) = upper($2)) group by pharmacy, lot"
        " having sum(quantity) <> 0 order by pharmacy, lot limit 20000",
        gtin,
        lot,
    )


async def received(connection: Connection, gtin: str, lot: str, pharmacy: str = "") -> list[Any]:
    """Hand-overs of a product, or of one batch, that were not undone: pharmacy, patient, number,
    quantity, day. With a pharmacy: its own alone.
    """
    return await connection.fetch(
        "select pharmacy, patient, number, lot, serial, quantity, at from pharmacy_handover"
        " where gtin = $1 and ($2 = '' or upper(lot) = upper($2)) and not undone"
        " and ($3 = '' or pharmacy = $3) order by at desc limit 20000",
        gtin,
        lot,
        pharmacy,
    )
