"""A journal of a period: the ledger read once, then the rules."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import InvalidError, NotFoundError, UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules import stock
from dmed.modules.pharmacy.rules.journals import JOURNALS, Accepted, Cell, Facts, Journal, Ware
from dmed.modules.pharmacy.rules.stock import Invoiced
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.pharmacy.service.stock import noted
from dmed.modules.pharmacy.tables import receipts as table
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

DAYS_MAX = 366
MOVEMENTS_MAX = 50_000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A journal as it stands for a period."""

    journal: Journal
    since: date
    until: date
    rows: tuple[tuple[Cell, ...], ...]


async def journal(
    gateway: Gateway, subject: Subject, number: int, since: date, until: date, language: str
) -> Kept:
    """Journal 131..141 of this pharmacy from one day to another, both included.

    NotFoundError for another number, InvalidError for a period backwards or over a year,
    UnprocessableError for more than 50,000 movements.
    """
    asked = JOURNALS.get(number)
    if asked is None:
        raise NotFoundError(f"There is no journal {number}")
    if not 0 <= (until - since).days < DAYS_MAX:
        raise InvalidError("A journal has from one day to one year")
    pharmacy = pharmacy_of(subject)
    begins = datetime.combine(since, time(), clock.TASHKENT)
    ends = datetime.combine(until + timedelta(days=1), time(), clock.TASHKENT)
    async with gateway.unit(subject) as unit:
        moved = await ledger.movements(unit, pharmacy, begins, ends, MOVEMENTS_MAX + 1)
        if len(moved) > MOVEMENTS_MAX:
            raise UnprocessableError("The journal is too long: choose a shorter period")
        facts = Facts(
            days=(until - since).days + 1, movements=tuple(moved),
            opening=tuple(await ledger.balances_at(unit, pharmacy, begins)),
            closing=tuple(await ledger.balances_at(unit, pharmacy, ends)),
            accepted=tuple(await _accepted(unit, pharmacy, begins, ends))
            if number == 133 else (),
            ware=lambda gtin: ware(gtin, language),
        )  # fmt: skip  # Facts of one period.
        await noted(unit, subject, f"journal {number} of {since} to {until}")
    return Kept(journal=asked, since=since, until=until, rows=tuple(asked.rows(facts)))


def ware(gtin: str, language: str) -> Ware:
    """A product in the reader's words; one that the register does not know by its GTIN."""
    found = medicines.product_or_none(gtin)
    if found is None:
        return Ware(name=gtin, unit="", content=Decimal(1), preparation=gtin)
    key = found.preparation.key
    label = medicines.label(key, language)
    return Ware(
        name=f"{found.trade} ({label})", content=found.pack_units, preparation=label,
        unit=medicines.unit_name(found.preparation.form.unit, language),
    )  # fmt: skip  # Facts of one product.


async def _accepted(
    unit: GatewayUnit, pharmacy: str, since: datetime, until: datetime
) -> list[Accepted]:
    out = []
    for row in await table.receipts_between(unit, pharmacy, since, until):
        lines = await table.receipt_lines(unit, row["id"])
        asked = [Invoiced(gtin=one.gtin, lot=one.lot, expiry=one.expiry, packs=one.packs)
                 for one in lines]  # fmt: skip  # What comparing needs.
        told = stock.compare(asked, await table.checked(unit, row["id"]))
        out += [Accepted(
            receipt=row["id"], day=row["day"], invoice=row["invoice"],
            supplier=row["supplier_name"] or row["supplier"], gtin=line.gtin, lot=line.lot,
            invoiced=line.invoiced, accepted=line.scanned, made_by=row["made_by"],
            ended_by=row["ended_by"],
        ) for line in told.lines]  # fmt: skip  # One line.
    return out
