"""Counting the stock: blind, then the differences, then a second person's correction."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.rules import stock
from dmed.modules.pharmacy.rules.invoices import shelf_of
from dmed.modules.pharmacy.rules.stock import Balance, Counted, Difference, Kind, Movement
from dmed.modules.pharmacy.service import boxes
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.pharmacy.service.stock import noted, read_pack, second_person
from dmed.modules.pharmacy.tables import receipts as table
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

LISTED_MAX = 50


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A count as it stands; while it is open nobody is told what the ledger expects."""

    id: int
    head: dict[str, Any]
    entries: tuple[Counted, ...]
    differences: tuple[Difference, ...]
    """Where counted and expected differ; empty while the count is open."""
    agreeing: int = 0


async def begin(gateway: Gateway, subject: Subject, shelf: str) -> int:
    """Begin a count of one shelf, or of everything (""); its number. ConflictError while one of the
    same shelf is under way.
    """
    async with gateway.unit(subject) as unit:
        number = await table.open_count(unit, pharmacy_of(subject), shelf_of(shelf), subject.user)
        if number is None:
            raise ConflictError("A count of this shelf is under way: end it first")
        await noted(unit, subject, f"count {number} begun")
    return number


async def listed(gateway: Gateway, subject: Subject) -> list[dict[str, Any]]:
    """The counts of this pharmacy, newest first."""
    async with gateway.unit(subject) as unit:
        rows = await table.counts(unit, pharmacy_of(subject), LISTED_MAX)
        await noted(unit, subject, "counts looked at")
    return [dict(row) for row in rows]


async def count(gateway: Gateway, subject: Subject, number: int) -> Count:
    """A count of this pharmacy; NotFoundError."""
    async with gateway.unit(subject) as unit:
        found = await _count(unit, pharmacy_of(subject), number)
        await noted(unit, subject, f"count {number} looked at")
    return found


async def _count(unit: GatewayUnit, pharmacy: str, number: int, *, lock: bool = False) -> Count:
    row = await table.count(unit, pharmacy, number, lock=lock)
    if row is None:
        raise NotFoundError(f"There is no count {number}")
    entries = await table.counted(unit, number)
    every: list[Difference] = []
    if row["state"] not in {"open", "dropped"}:
        every = stock.count_of(entries, await table.expected(unit, number))
    wrong = tuple(one for one in every if one.quantity)
    return Count(id=number, head=dict(row), entries=tuple(entries), differences=wrong,
                 agreeing=len(every) - len(wrong))  # fmt: skip  # Facts of one count.


def _open(found: Count) -> Count:
    if found.head["state"] != "open":
        raise ConflictError(f"Count {found.id} is not open for entries any more")
    return found


async def scan(
    gateway: Gateway, subject: Subject, number: int, raw: str, shelf: str, units: Decimal | None
) -> bool:
    """Count one pack by its code: whole, or with `units` an opened one; False when this serial was
    counted before. InvalidError for what is no pack.
    """
    code = read_pack(raw)
    product = medicines.product_or_none(code.gtin)
    if product is None:
        raise NotFoundError(f"No registered medicine has GTIN {code.gtin}")
    if units is not None and not 0 < units <= product.pack_units:
        raise InvalidError(f"The pack holds {product.pack_units:f}")
    [seen] = await boxes.look_up(gateway, [(code.gtin, code.serial)])
    async with gateway.unit(subject) as unit:
        found = _open(await _count(unit, pharmacy_of(subject), number, lock=True))
        stands = await ledger.stock_pack(unit, code.gtin, code.serial)
        pack = await tables.pack(unit, code.gtin, code.serial)
        lot = (stands or pack or {"lot": seen.lot if seen else ""})["lot"]
        one = Counted(
            gtin=code.gtin, lot=lot, serial=code.serial, quantity=units or product.pack_units,
            shelf=found.head["shelf"] or shelf_of(shelf),
        )  # fmt: skip  # One entry.
        is_new = await table.add_counted(unit, number, one, subject.user)
        await noted(unit, subject, f"count {number}: a pack of {code.gtin}")
    return is_new


async def enter(
    gateway: Gateway, subject: Subject, number: int, one: Counted
) -> None:
    """Count a quantity by hand: product, batch, shelf and units of presentation."""
    if medicines.product_or_none(one.gtin) is None:
        raise NotFoundError(f"No registered medicine has GTIN {one.gtin}")
    if not 0 <= one.quantity < Decimal(10) ** 9:
        raise InvalidError("The quantity must be 0 or more")
    async with gateway.unit(subject) as unit:
        found = _open(await _count(unit, pharmacy_of(subject), number, lock=True))
        shelf = found.head["shelf"] or shelf_of(one.shelf)
        entry = msgspec.structs.replace(one, shelf=shelf, lot=one.lot.strip()[:20], serial="")
        await table.add_counted(unit, number, entry, subject.user)
        await noted(unit, subject, f"count {number}: {one.quantity:f} of {one.gtin}")


async def take_back(gateway: Gateway, subject: Subject, number: int, line: int) -> None:
    """Take an entry of an open count back."""
    async with gateway.unit(subject) as unit:
        _open(await _count(unit, pharmacy_of(subject), number, lock=True))
        await table.drop_counted(unit, number, line)
        await noted(unit, subject, f"count {number}: an entry taken back")


async def end_counting(gateway: Gateway, subject: Subject, number: int) -> Count:
    """Counting is over: the ledger of this moment is kept beside it, and the differences show. What
    moves from now on is no difference.
    """
    pharmacy = pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        found = _open(await _count(unit, pharmacy, number, lock=True))
        sums: dict[tuple[str, str, str], Decimal] = {}
        for one in await ledger.balances(unit, pharmacy):
            if found.head["shelf"] in {"", one.shelf}:
                key = (one.gtin, one.lot, one.shelf)
                sums[key] = sums.get(key, Decimal(0)) + one.quantity
        rows = [(*key, amount) for key, amount in sorted(sums.items())]
        await table.end_counting(unit, number, subject.user, rows)
        await noted(unit, subject, f"count {number}: counting ended")
        return await _count(unit, pharmacy, number)


async def close(gateway: Gateway, subject: Subject, number: int) -> Count:
    """A second person books the differences. ForbiddenError for whoever opened, counted or ended
    it; closing again changes nothing.
    """
    pharmacy = pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        found = await _count(unit, pharmacy, number, lock=True)
        if found.head["state"] == "closed":
            return found
        if found.head["state"] != "done":
            raise ConflictError("Counting is not over yet, or this count was given up")
        first = await table.counters(unit, number)
        second_person(subject, [found.head["opened_by"], found.head["done_by"], *first])
        for one in found.differences:
            await unit.lock(f"stock {pharmacy} {one.gtin}")
            await _correct(unit, subject, pharmacy, number, one)
        await ledger.keep_counted_packs(unit, number, pharmacy)
        await ledger.miss_packs(unit, number, pharmacy)
        await table.end_count(unit, number, "closed", subject.user)
        await noted(unit, subject, f"count {number} closed: {len(found.differences)} corrections")
        return await _count(unit, pharmacy, number)


async def _correct(
    unit: GatewayUnit, subject: Subject, pharmacy: str, number: int, one: Difference
) -> None:
    standing = [each for each in await ledger.balances(unit, pharmacy, [one.gtin])
                if (each.lot, each.shelf) == (one.lot, one.shelf)]  # fmt: skip  # A filter.
    made = []
    for place, amount in stock.correction(one, standing):
        known = place or Balance(gtin=one.gtin, quantity=Decimal(0))
        made.append(Movement(
            pharmacy=pharmacy, kind=Kind.COUNT, gtin=one.gtin, quantity=amount, by=subject.user,
            lot=one.lot, shelf=one.shelf, funding=known.funding, expiry=known.expiry,
            document=str(number), price=known.price,
        ))  # fmt: skip  # One line of the ledger.
    await ledger.add(unit, made)


async def drop(gateway: Gateway, subject: Subject, number: int) -> None:
    """Give a count up: nothing is corrected."""
    async with gateway.unit(subject) as unit:
        found = await _count(unit, pharmacy_of(subject), number, lock=True)
        if found.head["state"] not in {"open", "done"}:
            raise ConflictError(f"Count {number} is closed already")
        await table.end_count(unit, number, "dropped", subject.user)
        await noted(unit, subject, f"count {number} dropped")
