"""Retail prices that a pharmacy keeps for its products."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from dmed.modules.pharmacy.tables import Connection

DDL: tuple[str, ...] = (
    """create table if not exists pharmacy_price (
        pharmacy text collate "C" not null,
        gtin text collate "C" not null,
        price numeric not null check (price > 0),
        set_by text collate "C" not null,
        at timestamptz not null default now(),
        primary key (pharmacy, gtin)
    )""",
    "alter table pharmacy_hold add column if not exists price numeric",
    "alter table pharmacy_handover add column if not exists price numeric",
    "alter table pharmacy_handover add column if not exists total numeric",
    "alter table pharmacy_handover add column if not exists fund numeric",
)


async def known(
    connection: Connection, pharmacy: str, gtin: str, serial: str
) -> tuple[Decimal | None, Decimal | None]:
    """What the pharmacy asks for a product, and what this pack of it cost on receipt."""
    row = await connection.fetchrow(
        "select (select price from pharmacy_price where pharmacy = $1 and gtin = $2) as kept,"
        " (select price from pharmacy_stock_pack where gtin = $2 and serial = $3"
        " and pharmacy = $1) as bought", pharmacy, gtin, serial)
    return row["kept"], row["bought"]


async def price(connection: Connection, pharmacy: str, gtin: str) -> Decimal | None:
    """What a pharmacy asks for a whole pack of a product; None: nobody set that."""
    found = await connection.fetchval(
        "select price from pharmacy_price where pharmacy = $1 and gtin = $2", pharmacy, gtin)
    return None if found is None else Decimal(found)


async def kept(connection: Connection, pharmacy: str) -> list[tuple[str, Decimal]]:
    """The whole price list of a pharmacy: (GTIN, price of the pack), by GTIN."""
    rows = await connection.fetch(
        "select gtin, price from pharmacy_price where pharmacy = $1 order by gtin", pharmacy)
    return [(row["gtin"], row["price"]) for row in rows]


async def keep_many(
    connection: Connection, pharmacy: str, rows: Sequence[tuple[str, Decimal]], by: str
) -> None:
    """Set the retail prices of many products, (GTIN, price) each, in one statement."""
    await connection.execute(
        "insert into pharmacy_price (pharmacy, gtin, price, set_by)"
        " select $1, gtin, price, $4 from unnest($2::text[], $3::numeric[]) as new (gtin, price)"
        " on conflict do nothing", pharmacy, [row[0] for row in rows], [row[1] for row in rows],
        by)


async def keep(
    connection: Connection, pharmacy: str, gtin: str, price_: Decimal | None, by: str
) -> None:
    """Set the retail price of a product; None takes it away."""
    if price_ is None:
        await connection.execute(
            "delete from pharmacy_price where pharmacy = $1 and gtin = $2", pharmacy, gtin)
        return
    await connection.execute(
        "insert into pharmacy_price (pharmacy, gtin, price, set_by) values ($1, $2, $3, $4)"
        " on conflict (pharmacy, gtin) do update set price = excluded.price,"
        " set_by = excluded.set_by, at = now()", pharmacy, gtin, price_, by)
