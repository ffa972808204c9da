"""Receipts by invoice, counts and recalls: tables of the stock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dmed.modules.pharmacy.rules.invoices import Invoice, InvoiceLine
from dmed.modules.pharmacy.rules.stock import Checked, Counted, Recall
from dmed.modules.pharmacy.tables import Connection

DDL: tuple[str, ...] = (
    """create table if not exists pharmacy_receipt (
        id bigint generated always as identity primary key,
        pharmacy text collate "C" not null,
        supplier text collate "C" not null,
        supplier_name text not null default '',
        invoice text collate "C" not null,
        day date not null,
        funding text collate "C" not null default '',
        digest text collate "C" not null,
        state text collate "C" not null default 'open',
        made_by text collate "C" not null,
        made_at timestamptz not null default now(),
        ended_by text collate "C" not null default '',
        ended_at timestamptz,
        unique (pharmacy, supplier, invoice)
    )""",
    """create table if not exists pharmacy_receipt_line (
        receipt bigint not null references pharmacy_receipt on delete cascade,
        line integer not null,
        gtin text collate "C" not null,
        lot text collate "C" not null default '',
        expiry date,
        packs integer not null check (packs > 0),
        price numeric check (price >= 0),
        shelf text collate "C" not null default '',
        primary key (receipt, line)
    )""",
    """create table if not exists pharmacy_receipt_pack (
        receipt bigint not null references pharmacy_receipt on delete cascade,
        gtin text collate "C" not null,
        serial text collate "C" not null,
        box text collate "C" not null default '',
        lot text collate "C" not null default '',
        expiry date,
        fault text collate "C" not null default '',
        primary key (receipt, gtin, serial)
    )""",
    """create table if not exists pharmacy_count (
        id bigint generated always as identity primary key,
        pharmacy text collate "C" not null,
        shelf text collate "C" not null default '',
        state text collate "C" not null default 'open',
        opened_by text collate "C" not null,
        opened_at timestamptz not null default now(),
        done_by text collate "C" not null default '',
        done_at timestamptz,
        ended_by text collate "C" not null default '',
        ended_at timestamptz
    )""",
    """create unique index if not exists pharmacy_count_open on pharmacy_count (pharmacy, shelf)
        where state in ('open', 'done')""",
    """create table if not exists pharmacy_count_line (
        count bigint not null references pharmacy_count on delete cascade,
        line bigint generated always as identity,
        gtin text collate "C" not null,
        lot text collate "C" not null default '',
        shelf text collate "C" not null default '',
        serial text collate "C" not null default '',
        quantity numeric not null check (quantity >= 0),
        made_by text collate "C" not null,
        at timestamptz not null default now(),
        primary key (count, line)
    )""",
    """create unique index if not exists pharmacy_count_serial on pharmacy_count_line
        (count, gtin, serial) where serial <> ''""",
    """create table if not exists pharmacy_count_expected (
        count bigint not null references pharmacy_count on delete cascade,
        gtin text collate "C" not null,
        lot text collate "C" not null,
        shelf text collate "C" not null,
        quantity numeric not null,
        primary key (count, gtin, lot, shelf)
    )""",
    """create table if not exists pharmacy_recall (
        id bigint generated always as identity primary key,
        gtin text collate "C" not null,
        lot text collate "C" not null default '',
        class smallint not null check (class between 1 and 3),
        reason text not null,
        document text not null default '',
        made_by text collate "C" not null,
        since timestamptz not null default now(),
        ended_by text collate "C" not null default '',
        ended_at timestamptz
    )""",
    """create unique index if not exists pharmacy_recall_in_force on pharmacy_recall
        (gtin, upper(lot)) where ended_at is null""",
)


async def begin_receipt(
    connection: Connection, pharmacy: str, invoice: Invoice, digest: str, by: str
) -> Any:
    """A new receipt with its lines: its row; None when this invoice of this supplier is here."""
    row = await connection.fetchrow(
        "insert into pharmacy_receipt (pharmacy, supplier, supplier_name, invoice, day, funding,"
        " digest, made_by) values ($1, $2, $3, $4, $5, $6, $7, $8)"
        " on conflict do nothing returning *",
        pharmacy, invoice.supplier, invoice.supplier_name, invoice.number, invoice.day,
        invoice.funding, digest, by,
    )  # fmt: skip  # The order of the statement.
    if row is None:
        return None
    rows = [(place, line.gtin, line.lot, line.expiry, line.packs, line.price, line.shelf)
            for place, line in enumerate(invoice.lines, 1)]
    await connection.execute(
        "insert into pharmacy_receipt_line (receipt, line, gtin, lot, expiry, packs, price, shelf)"
        " select $1, * from unnest($2::integer[], $3::text[], $4::text[], $5::date[],"
        " $6::integer[], $7::numeric[], $8::text[])",
        row["id"], *(list(column) for column in zip(*rows, strict=True)),
    )
    return row


async def receipt_of(connection: Connection, pharmacy: str, supplier: str, invoice: str) -> Any:
    """The receipt of an invoice, or None."""
    return await connection.fetchrow(
        "select * from pharmacy_receipt where pharmacy = $1 and supplier = $2 and invoice = $3",
        pharmacy,
        supplier,
        invoice,
    )


async def receipt(
    connection: Connection, pharmacy: str, number: int, *, lock: bool = False
) -> Any:
    """A receipt of this pharmacy, or None."""
    statement = "select * from pharmacy_receipt where id = $1 and pharmacy = $2"
    return await connection.fetchrow(statement + (" for update" if lock else ""), number, pharmacy)


async def receipts(connection: Connection, pharmacy: str, limit: int) -> list[Any]:
    """The receipts of a pharmacy, open ones first, then the newest."""
    return await connection.fetch(
        "select r.*, (select coalesce(sum(packs), 0) from pharmacy_receipt_line l"
        " where l.receipt = r.id) as packs, (select count(*) from pharmacy_receipt_pack p"
        " where p.receipt = r.id and p.fault = '') as scanned from pharmacy_receipt r"
        " where pharmacy = $1 order by (state <> 'open'), id desc limit $2",
        pharmacy,
        limit,
    )


async def receipts_between(
    connection: Connection, pharmacy: str, since: datetime, until: datetime
) -> list[Any]:
    """The receipts that were accepted in a span of time."""
    return await connection.fetch(
        "select * from pharmacy_receipt where pharmacy = $1 and state = 'accepted'"
        " and ended_at >= $2 and ended_at < $3 order by id limit 5000",
        pharmacy,
        since,
        until,
    )


async def end_receipt(connection: Connection, number: int, state: str, by: str) -> None:
    """A receipt is accepted or dropped."""
    await connection.execute(
        "update pharmacy_receipt set state = $2, ended_by = $3, ended_at = now() where id = $1",
        number, state, by,
    )  # fmt: skip  # Same reason.


async def receipt_lines(connection: Connection, number: int) -> list[InvoiceLine]:
    """What the invoice says, in its order."""
    rows = await connection.fetch(
        "select gtin, lot, expiry, packs, price, shelf from pharmacy_receipt_line"
        " where receipt = $1 order by line",
        number,
    )
    return [InvoiceLine(**dict(row)) for row in rows]


async def keep_checked(connection: Connection, number: int, packs: Sequence[Checked]) -> int:
    """Scanned packs with what was found; how many are new here."""
    rows = await connection.fetch(
        "insert into pharmacy_receipt_pack (receipt, gtin, serial, box, lot, expiry, fault)"
        " select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::date[],"
        " $7::text[]) on conflict do nothing returning gtin",
        number, [one.gtin for one in packs], [one.serial for one in packs],
        [one.box for one in packs], [one.lot for one in packs], [one.expiry for one in packs],
        [one.fault for one in packs],
    )  # fmt: skip  # Columns.
    return len(rows)


async def drop_checked(connection: Connection, number: int, gtin: str, serial: str) -> None:
    """A scanned pack is taken out of the receipt again."""
    await connection.execute(
        "delete from pharmacy_receipt_pack where receipt = $1 and gtin = $2 and serial = $3",
        number, gtin, serial,
    )  # fmt: skip  # Same reason.


async def checked(connection: Connection, number: int) -> list[Checked]:
    """The packs that were scanned for a receipt."""
    rows = await connection.fetch(
        "select gtin, serial, box, lot, expiry, fault from pharmacy_receipt_pack"
        " where receipt = $1 order by gtin, serial",
        number,
    )
    return [Checked(**dict(row)) for row in rows]


# Counts


async def open_count(connection: Connection, pharmacy: str, shelf: str, by: str) -> int | None:
    """A new count of a shelf ("": all); None where one is under way."""
    number = await connection.fetchval(
        "insert into pharmacy_count (pharmacy, shelf, opened_by) values ($1, $2, $3)"
        " on conflict do nothing returning id",
        pharmacy, shelf, by,
    )  # fmt: skip  # Same reason.
    return int(number) if number is not None else None


async def count(connection: Connection, pharmacy: str, number: int, *, lock: bool = False) -> Any:
    """A count of this pharmacy, or None."""
    statement = "select * from pharmacy_count where id = $1 and pharmacy = $2"
    return await connection.fetchrow(statement + (" for update" if lock else ""), number, pharmacy)


async def counts(connection: Connection, pharmacy: str, limit: int) -> list[Any]:
    """The counts of a pharmacy, newest first."""
    return await connection.fetch(
        "select c.*, (select count(*) from pharmacy_count_line l where l.count = c.id) as lines"
        " from pharmacy_count c where pharmacy = $1 order by id desc limit $2",
        pharmacy,
        limit,
    )


async def add_counted(connection: Connection, number: int, one: Counted, by: str) -> bool:
    """One entry of a count; False for a serial that was counted before."""
    return bool(await connection.fetchval(
        "insert into pharmacy_count_line (count, gtin, lot, shelf, serial, quantity, made_by)"
        " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning true",
        number, one.gtin, one.lot, one.shelf, one.serial, one.quantity, by,
    ))  # fmt: skip  # Same reason.


async def counted(connection: Connection, number: int) -> list[Counted]:
    """What was entered, newest first."""
    rows = await connection.fetch(
        "select gtin, lot, shelf, serial, quantity, line from pharmacy_count_line"
        " where count = $1 order by line desc",
        number,
    )
    return [Counted(**dict(row)) for row in rows]


async def counters(connection: Connection, number: int) -> list[str]:
    """Sign-in names of whoever entered something."""
    rows = await connection.fetch(
        "select distinct made_by from pharmacy_count_line where count = $1", number
    )
    return [row["made_by"] for row in rows]


async def drop_counted(connection: Connection, number: int, line: int) -> None:
    """Take an entry back."""
    await connection.execute(
        "delete from pharmacy_count_line where count = $1 and line = $2", number, line
    )


async def end_counting(
    connection: Connection, number: int, by: str, expected: Sequence[tuple[str, str, str, Any]]
) -> None:
    """Counting is over: what the ledger says at this moment is kept beside it."""
    await connection.execute(
        "insert into pharmacy_count_expected (count, gtin, lot, shelf, quantity)"
        " select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::numeric[])",
        number, *(list(column) for column in (zip(*expected, strict=True) if expected
                                              else ([], [], [], []))),
    )  # fmt: skip  # Columns.
    await connection.execute(
        "update pharmacy_count set state = 'done', done_by = $2, done_at = now() where id = $1",
        number,
        by,
    )


async def expected(connection: Connection, number: int) -> dict[tuple[str, str, str], Any]:
    """(GTIN, lot, shelf) -> what the ledger said when counting was over."""
    rows = await connection.fetch(
        "select gtin, lot, shelf, quantity from pharmacy_count_expected where count = $1", number
    )
    return {(row["gtin"], row["lot"], row["shelf"]): row["quantity"] for row in rows}


async def end_count(connection: Connection, number: int, state: str, by: str) -> None:
    """A count is closed or dropped."""
    await connection.execute(
        "update pharmacy_count set state = $2, ended_by = $3, ended_at = now() where id = $1",
        number, state, by,
    )  # fmt: skip  # Same reason.


# Recalls


def _recall(row: Any) -> Recall:
    return Recall(
        id=row["id"], gtin=row["gtin"], lot=row["lot"], grade=row["class"], reason=row["reason"],
        document=row["document"], by=row["made_by"], since=row["since"], ended_at=row["ended_at"],
    )  # fmt: skip  # One row.


async def recall_of(connection: Connection, gtin: str, lot: str) -> Recall | None:
    """The recall in force that a pack falls under, or None. A pack whose batch nobody knows falls
    under the recall of any batch of its product.
    """
    row = await connection.fetchrow(
        "select * from pharmacy_recall where gtin = $1 and ended_at is null"
        " and (lot = '' or $2 = '' or upper(lot) = upper($2)) order by class, id limit 1",
        gtin,
        lot,
    )
    return _recall(row) if row else None


async def keep_recall(
    connection: Connection, gtin: str, lot: str, grade: int, reason: str, document: str, by: str
) -> int | None:
    """A new recall; None where the same product and batch is recalled already."""
    number = await connection.fetchval(
        "insert into pharmacy_recall (gtin, lot, class, reason, document, made_by)"
        " values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning id",
        gtin, lot, grade, reason, document, by,
    )  # fmt: skip  # Same reason.
    return int(number) if number is not None else None


async def recall(connection: Connection, number: int) -> Recall | None:
    """A recall, or None."""
    row = await connection.fetchrow("select * from pharmacy_recall where id = $1", number)
    return _recall(row) if row else None


async def recalls(connection: Connection, limit: int) -> list[Recall]:
    """Recalls in force first, then the newest."""
    rows = await connection.fetch(
        "select * from pharmacy_recall order by (ended_at is not null), id desc limit $1", limit
    )
    return [_recall(row) for row in rows]


async def end_recall(connection: Connection, number: int, by: str) -> bool:
    """A recall ends; False for one that had ended."""
    return bool(await connection.fetchval(
        "update pharmacy_recall set ended_at = now(), ended_by = $2"
        " where id = $1 and ended_at is null returning true",
        number,
        by,
    ))  # fmt: skip  # One statement.
