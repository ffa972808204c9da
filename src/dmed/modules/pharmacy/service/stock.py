"""The stock of a pharmacy: what the counter books, write-offs, moves, orders, what is there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import PackState, ScannedPack
from dmed.modules.pharmacy.rules import gs1, prices, stock
from dmed.modules.pharmacy.rules.invoices import shelf_of
from dmed.modules.pharmacy.rules.stock import Balance, Kind, Movement, Order
from dmed.modules.pharmacy.service.counter import once, pharmacy_of
from dmed.modules.pharmacy.tables import prices as prices_table
from dmed.modules.pharmacy.tables import receipts as receipts_table
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.gateway.common import audit_of
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

LATEST_MAX = 200
PACKS_SHOWN_MAX = 200
_GONE_STATES = {
    "expired": PackState.EXPIRED, "recalled": PackState.RECALLED, "stolen": PackState.STOLEN,
}  # fmt: skip  # Reason -> what the pack is from then on.


async def noted(unit: GatewayUnit, subject: Subject, act: str) -> None:
    """An audit row of an act on the stock, in its transaction."""
    await unit.note([audit_of(subject, "E", detail=act[:500])])


def _product(gtin: str) -> medicines.Product:
    found = medicines.product_or_none(gtin)
    if found is None:
        raise NotFoundError(f"No registered medicine has GTIN {gtin}")
    return found


# What the counter books, in the transaction of the hand-over


async def check_not_recalled(unit: GatewayUnit, gtin: str, serial: str, lot: str) -> str:
    """The reason of the recall that a pack falls under, or "". Asked at each scan and again at the
    hand-over, from the table itself: no cache stands between a recall and the counters.
    """
    if not lot:
        row = await ledger.stock_pack(unit, gtin, serial)
        lot = row["lot"] if row else ""
    found = await receipts_table.recall_of(unit, gtin, lot)
    return found.reason if found else ""


async def went_out(
    unit: GatewayUnit, subject: Subject, pack: ScannedPack, dispense: str, number: str
) -> None:
    """A pack, or a part of it, was handed over: its shelf is less by so much. What was never
    received is booked all the same and shows below zero; a patient does not wait for paper.
    """
    pharmacy = pharmacy_of(subject)
    if await check_not_recalled(unit, pack.gtin, pack.serial, pack.lot):
        raise ConflictError(f"The pack with serial {pack.serial} was recalled: put it aside")
    place = await _stands(unit, pharmacy, pack)
    await ledger.add(unit, [Movement(
        pharmacy=pharmacy, kind=Kind.DISPENSE, gtin=pack.gtin, quantity=-pack.quantity,
        by=subject.user, lot=place.lot, shelf=place.shelf, funding=place.funding,
        expiry=place.expiry, serial=pack.serial, document=dispense, note=number,
        price=place.price,
    )])  # fmt: skip  # One line of the ledger.


async def _stands(unit: GatewayUnit, pharmacy: str, pack: ScannedPack) -> Balance:
    """Where a pack that is handed over stood: as its receipt or count says; else where its batch
    stands, as after a count by hand; else nowhere that is known.
    """
    row = await ledger.stock_pack(unit, pack.gtin, pack.serial)
    if row is not None and row["pharmacy"] == pharmacy:
        return Balance(
            gtin=pack.gtin, quantity=pack.quantity, lot=row["lot"], shelf=row["shelf"],
            funding=row["funding"], expiry=row["expiry"], price=row["price"],
        )  # fmt: skip  # One place.
    found = [one for one in await ledger.balances(unit, pharmacy, [pack.gtin])
             if one.lot.upper() == pack.lot.upper()
             and one.quantity >= pack.quantity]  # fmt: skip  # A filter.
    if found:
        return max(found, key=lambda one: (one.quantity, one.shelf))
    return Balance(gtin=pack.gtin, quantity=pack.quantity, lot=pack.lot, expiry=pack.expiry)


async def came_back(unit: GatewayUnit, subject: Subject, dispense: str) -> None:
    """A hand-over was undone: what it took goes back to where it stood."""
    out = await ledger.of_dispense(unit, dispense)
    if out is not None:
        await ledger.add(unit, [msgspec.structs.replace(
            out, kind=Kind.UNDO, quantity=-out.quantity, by=subject.user)])  # fmt: skip  # Same.


# What is there


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One place of stock, ready to show."""

    product: medicines.Product | None
    balance: Balance
    band: str
    """ "expired", "7", "30", "90" or ""."""
    is_recalled: bool = False


async def batches(
    gateway: Gateway, subject: Subject, *, text: str = "", only: str = ""
) -> list[Batch]:
    """What this pharmacy has, the first to expire first. `text`: a part of the trade name, INN,
    batch, shelf or GTIN; `only`: "expiry" (90 days or less), "minus" (below zero), "recalled".
    """
    pharmacy = pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        found = await ledger.balances(unit, pharmacy)
        stopped = [one for one in await receipts_table.recalls(unit, 1_000) if not one.ended_at]
        await noted(unit, subject, "stock looked at")
    out = [_batch(one, stopped) for one in found]
    wanted = " ".join(text.split()).casefold()
    return sorted(
        (one for one in out if _is_wanted(one, wanted, only)),
        key=lambda one: (str(one.balance.expiry or "9999"), one.balance.gtin, one.balance.lot,
                         one.balance.shelf),
    )  # fmt: skip  # A key.


def _batch(one: Balance, stopped: Iterable[stock.Recall]) -> Batch:
    is_recalled = any(
        each.gtin == one.gtin and (not each.lot or each.lot.upper() == one.lot.upper())
        for each in stopped
    )
    return Batch(
        product=medicines.product_or_none(one.gtin), balance=one, is_recalled=is_recalled,
        band=stock.band(one.expiry, clock.today()),
    )  # fmt: skip  # Facts of one line.


def _is_wanted(one: Batch, wanted: str, only: str) -> bool:
    if only == "expiry" and not (one.band and one.balance.quantity > 0):
        return False
    if only == "minus" and one.balance.quantity >= 0:
        return False
    if only == "recalled" and not one.is_recalled:
        return False
    names = [one.balance.gtin, one.balance.lot, one.balance.shelf]
    if one.product is not None:
        inn = one.product.preparation.inn
        names += [one.product.trade, inn.uz, inn.ru, inn.en]
    return not wanted or any(wanted in name.casefold() for name in names)


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """One product in this pharmacy."""

    product: medicines.Product
    batches: tuple[Batch, ...]
    packs: tuple[dict[str, Any], ...]
    """Received packs that are still here: serial, lot, shelf, expiry, left."""
    movements: tuple[Movement, ...]
    """The last ones, newest first."""
    limits: tuple[Decimal, Decimal] | None
    """Least and most of the preparation."""
    retail: Decimal | None = None
    """What this pharmacy asks for a whole pack, in so'm."""


async def sheet(gateway: Gateway, subject: Subject, gtin: str) -> Sheet:
    """Everything about one product here; NotFoundError for a GTIN of no medicine."""
    product, pharmacy = _product(gtin), pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        found = await ledger.balances(unit, pharmacy, [gtin])
        packs = await ledger.packs_here(unit, pharmacy, gtin, PACKS_SHOWN_MAX)
        last = await ledger.latest(unit, pharmacy, gtin, LATEST_MAX)
        wishes = await ledger.limits(unit, pharmacy)
        retail = await prices_table.price(unit, pharmacy, gtin)
        stopped = [one for one in await receipts_table.recalls(unit, 1_000) if not one.ended_at]
        await noted(unit, subject, f"stock of {gtin} looked at")
    return Sheet(
        product=product,
        batches=tuple(_batch(one, stopped) for one in found),
        packs=tuple({
            "serial": row["serial"], "lot": row["lot"], "shelf": row["shelf"],
            "expiry": row["expiry"],
            "left": row["balance"] if row["balance"] is not None else product.pack_units,
        } for row in packs),
        movements=tuple(last),
        limits=wishes.get(product.preparation.key), retail=retail,
    )  # fmt: skip  # Facts of one page.


async def first_out(
    gateway: Gateway, subject: Subject, preparations: Iterable[str]
) -> dict[str, Balance]:
    """Preparation -> what to take from first: shelf, batch and expiry; for the counter."""
    pharmacy = pharmacy_of(subject)
    of = {one.gtin: key for key in preparations for one in medicines.products_of(key)}
    if not of:
        return {}
    async with gateway.unit(subject) as unit:
        found = await ledger.balances(unit, pharmacy, list(of))
        stopped = [one for one in await receipts_table.recalls(unit, 1_000) if not one.ended_at]
    by: dict[str, list[Balance]] = {}
    for one in found:
        if not _batch(one, stopped).is_recalled:
            by.setdefault(of[one.gtin], []).append(one)
    hints = {key: stock.first_out(rows, clock.today()) for key, rows in by.items()}
    return {key: hint for key, hint in hints.items() if hint is not None}


# Acts on the stock


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One place of stock as a form names it."""

    gtin: str
    lot: str = ""
    shelf: str = ""
    funding: str = ""
    serial: str = ""
    """A single pack, whose rest is then meant; "" for a quantity."""
    quantity: Decimal = Decimal(0)


async def write_off(
    gateway: Gateway, subject: Subject, place: Place, reason: str, *, note: str = "", key: str = ""
) -> None:
    """Take stock out for good, with a reason of WRITE_OFF_REASONS: a quantity, or one pack, which
    no counter accepts any more. The same key again does nothing. ConflictError where there is less.
    """
    if reason not in stock.WRITE_OFF_REASONS:
        raise InvalidError(f"{reason!r} is no reason to write off")
    async with gateway.unit(subject) as unit:
        if await once(unit, subject, key, f"write-off {place.gtin} {place.lot} {place.serial}"):
            out = await _taken(unit, subject, place, Kind.WRITE_OFF)
            said = " ".join(f"{reason} {note}".split())[:200]
            await ledger.add(unit, [msgspec.structs.replace(out, note=said)])
            if place.serial:
                await _end_pack(unit, place, reason)
            await noted(unit, subject, f"written off {-out.quantity:f} of {place.gtin}: {said}")


async def issue(
    gateway: Gateway, subject: Subject, place: Place, department: str, *, key: str = ""
) -> None:
    """Give stock to a department of the institution that the pharmacy serves (forms 134, 136)."""
    department = " ".join(department.split())
    if not 1 <= len(department) <= stock.DEPARTMENTS_CHARACTERS_MAX:
        raise InvalidError("Say in 1 to 100 characters which department gets it")
    async with gateway.unit(subject) as unit:
        if await once(unit, subject, key, f"issue {place.gtin} {place.lot} {place.serial}"):
            out = await _taken(unit, subject, place, Kind.ISSUE)
            await ledger.add(unit, [msgspec.structs.replace(out, document=department)])
            if place.serial:
                await _end_pack(unit, place, "issued")
            await noted(unit, subject, f"issued {-out.quantity:f} of {place.gtin}: {department}")


async def move(
    gateway: Gateway, subject: Subject, place: Place, to: str, *, key: str = ""
) -> None:
    """Put stock on another shelf: two lines of the ledger, or ConflictError where there is less."""
    to = shelf_of(to)
    if to == place.shelf:
        raise InvalidError("It stands on this shelf already")
    async with gateway.unit(subject) as unit:
        if await once(unit, subject, key, f"move {place.gtin} {place.lot} {place.serial}"):
            out = await _taken(unit, subject, place, Kind.MOVE)
            there = msgspec.structs.replace(out, shelf=to, quantity=-out.quantity)
            await ledger.add(unit, [out, there])
            if place.serial:
                await ledger.change_stock_pack(unit, place.gtin, place.serial, to, "")
            await noted(unit, subject, f"moved {there.quantity:f} of {place.gtin} to {to or '-'}")


async def _taken(unit: GatewayUnit, subject: Subject, place: Place, kind: Kind) -> Movement:
    """What would leave a place of stock, once it is certain that it stands there. Whoever else
    takes from the stock of this product waits until the unit ends.
    """
    pharmacy = pharmacy_of(subject)
    product = _product(place.gtin)
    await unit.lock(f"stock {pharmacy} {place.gtin}")
    if place.serial:
        place = await _whole_pack(unit, pharmacy, place, product)
    found = await ledger.balance_of(
        unit, pharmacy, place.gtin, place.lot, place.shelf, place.funding
    )
    there = found.quantity if found is not None else Decimal(0)
    if place.quantity <= 0:
        raise InvalidError("The quantity must be above 0")
    if there < place.quantity:
        left = max(there, Decimal(0)).normalize()
        raise ConflictError(f"Only {left:f} of this batch stands here")
    assert found is not None  # It holds more than 0.
    return Movement(
        pharmacy=pharmacy, kind=kind, gtin=place.gtin, quantity=-place.quantity, by=subject.user,
        lot=place.lot, shelf=place.shelf, funding=place.funding, expiry=found.expiry,
        serial=place.serial, price=found.price,
    )  # fmt: skip  # One line of the ledger.


async def _whole_pack(
    unit: GatewayUnit, pharmacy: str, place: Place, product: medicines.Product
) -> Place:
    """The place of a received pack with all that is left in it."""
    row = await ledger.stock_pack(unit, place.gtin, place.serial, lock=True)
    if row is None or row["pharmacy"] != pharmacy or row["gone"]:
        raise NotFoundError(f"The pack with serial {place.serial} is not in stock here")
    pack = await tables.pack(unit, place.gtin, place.serial, lock=True)
    hold = await tables.hold_of_pack(unit, place.gtin, place.serial)
    if hold is not None and hold["until"] > clock.now():
        raise ConflictError("This pack is being handed over with a prescription")
    left = pack["balance"] if pack is not None else product.pack_units
    if left <= 0:
        raise ConflictError("This pack was handed over already")
    return msgspec.structs.replace(
        place, lot=row["lot"], shelf=row["shelf"], funding=row["funding"], quantity=left
    )


async def _end_pack(unit: GatewayUnit, place: Place, reason: str) -> None:
    """A pack left the stock: gone for a reason, and no counter accepts it unless it went back to
    its supplier.
    """
    row = await ledger.stock_pack(unit, place.gtin, place.serial)
    await ledger.change_stock_pack(unit, place.gtin, place.serial, row["shelf"], reason)
    if reason == "returned-to-supplier":
        return
    state = _GONE_STATES.get(reason, PackState.WITHDRAWN)
    content = _product(place.gtin).pack_units
    await tables.meet_pack(unit, place.gtin, place.serial, state.value, content, row["lot"],
                           row["expiry"])  # fmt: skip  # The order of the table.
    pack = await tables.pack(unit, place.gtin, place.serial, lock=True)
    assert pack is not None  # It is kept one line above.
    await tables.change_pack(unit, place.gtin, place.serial, state.value, pack["balance"],
                             row["pharmacy"])  # fmt: skip  # Same.


async def set_limits(
    gateway: Gateway, subject: Subject, preparation: str, least: Decimal, most: Decimal
) -> None:
    """The least and the most that this pharmacy wants of a preparation; most 0: no wish."""
    medicines.preparation(preparation)
    if not 0 <= least <= most < Decimal(10) ** 9:
        raise InvalidError("The least must be 0 or more, and the most not below it")
    async with gateway.unit(subject) as unit:
        await ledger.keep_limit(unit, pharmacy_of(subject), preparation, least, most)
        await noted(unit, subject, f"stock limits of {preparation}: {least:f} to {most:f}")


async def set_price(
    gateway: Gateway, subject: Subject, gtin: str, price: Decimal | None
) -> None:
    """What this pharmacy asks for a whole pack from now on, in so'm; None: nobody says.
    UnprocessableError for a price above the register's ceiling.
    """
    product, price = _product(gtin), prices.read(price)
    if price is not None and product.price_ceiling is not None and price > product.price_ceiling:
        raise UnprocessableError(f"{price:f} so'm is above the register's ceiling, "
                                 f"{product.price_ceiling:f} so'm")  # fmt: skip  # One sentence.
    async with gateway.unit(subject) as unit:
        await prices_table.keep(unit, pharmacy_of(subject), gtin, price, subject.user)
        await noted(unit, subject, f"retail price of {gtin}: {price}")


async def orders(gateway: Gateway, subject: Subject) -> list[Order]:
    """What to order now, the shortest first: see `rules.stock.order_of`."""
    pharmacy, since = pharmacy_of(subject), clock.now() - timedelta(days=stock.ORDER_DAYS)
    async with gateway.unit(subject) as unit:
        found = await ledger.balances(unit, pharmacy)
        gone = await ledger.outflow(unit, pharmacy, since)
        wishes = await ledger.limits(unit, pharmacy)
        await noted(unit, subject, "order proposal")
    made = [stock.order_of(need) for need in _needs(found, gone, wishes)]
    return sorted(
        (one for one in made if one is not None),
        key=lambda one: (one.balance / one.most if one.most else Decimal(0), one.preparation),
    )


def _needs(
    found: list[Balance], gone: dict[str, Decimal], wishes: dict[str, tuple[Decimal, Decimal]]
) -> list[stock.Need]:
    """Balances and use by preparation; what has expired counts for nothing."""
    today = clock.today()
    there: dict[str, Decimal] = dict.fromkeys(wishes, Decimal(0))
    out: dict[str, Decimal] = {}
    pack: dict[str, Decimal] = {}
    for gtin, amount, is_out in (
        *((one.gtin, one.quantity, False) for one in found
          if stock.band(one.expiry, today) != "expired" or one.quantity < 0),
        *((gtin, amount, True) for gtin, amount in gone.items()),
    ):  # fmt: skip  # Both kinds of figures.
        product = medicines.product_or_none(gtin)
        if product is None:
            continue
        key = product.preparation.key
        pack[key] = max(pack.get(key, Decimal(0)), product.pack_units)
        there[key] = there.get(key, Decimal(0)) + (Decimal(0) if is_out else amount)
        out[key] = out.get(key, Decimal(0)) + (amount if is_out else Decimal(0))
    for key in there:
        products = medicines.products_of(key)
        if key not in pack and products:
            pack[key] = products[0].pack_units
    return [
        stock.Need(preparation=key, balance=amount, out=out.get(key, Decimal(0)),
                   least=wishes[key][0] if key in wishes else None,
                   most=wishes[key][1] if key in wishes else None, pack=pack[key])
        for key, amount in there.items() if key in pack
    ]  # fmt: skip  # One need a preparation.


def read_pack(raw: str) -> gs1.Code:
    """The code of a pack scanned for the stock, or InvalidError with what it is instead."""
    code = gs1.read(raw)
    if isinstance(code, gs1.Fault):
        raise InvalidError(code.sentence)
    return code


def second_person(subject: Subject, first: Iterable[str]) -> None:
    """Refuse whoever did the first half himself (ForbiddenError)."""
    if subject.user in set(first):
        raise ForbiddenError("A second person must confirm the count, not the one who counted")


def midnight(moment: datetime) -> datetime:
    """The beginning of a moment's day in Tashkent."""
    return moment.astimezone(clock.TASHKENT).replace(hour=0, minute=0, second=0, microsecond=0)
