"""What the pharmacies of a synthetic country have in stock: the same for the same seed and day.

Each has an accepted invoice with its packs on shelves, retail prices, least quantities below which
three preparations stand, batches that expired or expire soon, and, in some, a recalled batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dmed.kit.seed import generator
from dmed.modules.medicines.api import Product, all_products
from dmed.modules.pharmacy.rules import invoices
from dmed.modules.pharmacy.rules.invoices import Invoice, InvoiceLine
from dmed.modules.pharmacy.rules.stock import Kind, Movement
from dmed.modules.pharmacy.service.operator.demo import invented
from dmed.modules.pharmacy.service.stock import noted
from dmed.modules.pharmacy.tables import prices, receipts
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

BY = Subject(user="demo", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
PRODUCTS = 24
SMALL = 500
"""So many products of the register have usual doses: pharmacies have some of these."""
RECALLED_LOT = "NAMUNA7"
RECALL_REASON = "Namuna: eritma cho‘kindi beradi (sinov uchun o‘ylab topilgan)"
_SUPPLIER = ("301900000", "Namuna Tarqatuvchi")
_SOON_DAYS = (-20, 5, 21, 70)
"""Days to the expiry of the first batches: expired, within 7, 30 and 90 days."""
_LOW = 3
_SIGNS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class Stocked(msgspec.Struct, frozen=True, kw_only=True):
    """What one pharmacy has."""

    invoice: Invoice
    packs: tuple[Movement, ...]
    """One whole pack each, as a receipt books it; `document` is empty until that has a number."""
    limits: tuple[tuple[str, Decimal, Decimal], ...]
    """Preparation, least, most: it stands below the least."""
    prices: tuple[tuple[str, Decimal], ...]
    """GTIN, retail price."""


def recalled() -> Product:
    """The product of which a batch is recalled in every country."""
    return all_products()[SMALL - 1]


def stock_of(pharmacy: str, day: date, seed: int) -> Stocked:
    """The stock of a pharmacy on the last day of its country. Pure."""
    numbers = generator(seed, "stock", pharmacy)
    offered = all_products()[: SMALL - 1]
    chosen = numbers.sample(offered, PRODUCTS)
    lines, kept = [], []
    for place, product in enumerate(chosen):
        price = Decimal(numbers.randrange(60, 1_800) * 100)
        seen = invented(product.gtin, "S")
        lot, expiry = (seen.lot, seen.expiry) if seen else (f"B{place}", day + timedelta(days=700))
        if place < len(_SOON_DAYS):
            lot, expiry = f"Q{place}{numbers.randrange(100, 1000)}", day + timedelta(
                days=_SOON_DAYS[place])
        lines.append(InvoiceLine(
            gtin=product.gtin, packs=numbers.randrange(2, 7), lot=lot, expiry=expiry, price=price,
            shelf=f"{'ABCD'[place % 4]}-{1 + place // 4}"))
        kept.append((product.gtin, price * 115 // 100))
    if numbers.random() < 0.3:
        lines.append(InvoiceLine(gtin=recalled().gtin, packs=2, lot=RECALLED_LOT,
                                 expiry=day + timedelta(days=400), price=Decimal(21_000),
                                 shelf="E-1"))  # fmt: skip  # One line.
    invoice = Invoice(
        supplier=_SUPPLIER[0], supplier_name=_SUPPLIER[1], day=day - timedelta(days=3),
        number=f"N-{numbers.randrange(10_000, 100_000)}", lines=tuple(lines))
    content = {one.gtin: one.pack_units for one in (*chosen, recalled())}
    low = [(chosen[-place - 1].preparation.key, content[lines[PRODUCTS - place - 1].gtin])
           for place in range(_LOW)]
    return Stocked(
        invoice=invoice, prices=tuple(kept),
        packs=tuple(_packs(pharmacy, invoice, content, numbers.getrandbits(40))),
        limits=tuple((key, units * 10, units * 20) for key, units in dict(low).items()))


def _packs(
    pharmacy: str, invoice: Invoice, content: dict[str, Decimal], first: int
) -> Iterator[Movement]:
    for line in invoice.lines:
        for _ in range(line.packs):
            first += 1
            yield Movement(
                pharmacy=pharmacy, kind=Kind.RECEIPT, gtin=line.gtin, by=BY.user,
                quantity=content[line.gtin], lot=line.lot, shelf=line.shelf,
                funding=invoice.funding, expiry=line.expiry, serial=_serial(first),
                note=invoice.number, price=line.price)


def _serial(number: int) -> str:
    """Thirteen signs; the first two keep it apart from the prefixes that mean a bad pack."""
    signs = ""
    for _ in range(11):
        number, rest = divmod(number, len(_SIGNS))
        signs = _SIGNS[rest] + signs
    return f"D0{signs}"


async def fill(gateway: Gateway, pharmacies: Sequence[str], *, day: date, seed: int) -> int:
    """Puts the stock of a country's pharmacies into the tables, a transaction each; how many packs.
    A pharmacy that has its invoice already is left as it is.
    """
    done = 0
    for pharmacy in pharmacies:
        stocked = stock_of(pharmacy, day, seed)
        async with gateway.unit(BY) as unit:
            row = await receipts.begin_receipt(
                unit, pharmacy, stocked.invoice, invoices.digest(stocked.invoice), BY.user)
            if row is None:
                continue
            made = [msgspec.structs.replace(one, document=str(row["id"]))
                    for one in stocked.packs]
            await ledger.keep_new_packs(unit, row["id"], made)
            await ledger.add(unit, made)
            await receipts.end_receipt(unit, row["id"], "accepted", BY.user)
            for key, least, most in stocked.limits:
                await ledger.keep_limit(unit, pharmacy, key, least, most)
            await prices.keep_many(unit, pharmacy, stocked.prices, BY.user)
            await noted(unit, BY, f"stock of {pharmacy} made: {len(made)} packs")
        done += len(made)
    async with gateway.unit(BY) as unit:
        await receipts.keep_recall(
            unit, recalled().gtin, RECALLED_LOT, 2, RECALL_REASON, "Namuna 1", BY.user)
        await noted(unit, BY, f"recall of {recalled().gtin} {RECALLED_LOT}")
    return done
