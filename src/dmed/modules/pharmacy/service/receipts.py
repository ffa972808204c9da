"""Receipt from a supplier: the invoice, every pack and box checked before it stands on a shelf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import PackState
from dmed.modules.pharmacy.rules import gs1, invoices, stock
from dmed.modules.pharmacy.rules.packs import Seen
from dmed.modules.pharmacy.rules.stock import Checked, Comparison, Invoiced, Kind, Movement
from dmed.modules.pharmacy.service import boxes
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.pharmacy.service.stock import noted
from dmed.modules.pharmacy.tables import receipts as table
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

LISTED_MAX = 100


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt as it stands."""

    id: int
    head: dict[str, Any]
    lines: tuple[invoices.InvoiceLine, ...]
    packs: tuple[Checked, ...]
    comparison: Comparison


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """What one scan brought."""

    packs: tuple[Checked, ...]
    """The pack, or every pack of the box."""
    fresh: int
    """How many of them were not scanned before."""
    box: str = ""


async def begin(
    gateway: Gateway, subject: Subject, text: str, head: Mapping[str, str]
) -> int:
    """A receipt of an invoice (see `rules.invoices.read`); its number.

    The same invoice of the same supplier again is the same receipt. InvalidError lists every fault;
    ConflictError where that invoice stands here with another content.
    """
    invoice = invoices.read(text, head, clock.today())
    for place, line in enumerate(invoice.lines, 1):
        if medicines.product_or_none(line.gtin) is None:
            raise InvalidError(f"Line {place}: no registered medicine has GTIN {line.gtin}")
    pharmacy, digest = pharmacy_of(subject), invoices.digest(invoice)
    async with gateway.unit(subject) as unit:
        made = await table.begin_receipt(unit, pharmacy, invoice, digest, subject.user)
        if made is not None:
            await noted(unit, subject, f"receipt {made['id']} of invoice {invoice.number}")
            return int(made["id"])
        known = await table.receipt_of(unit, pharmacy, invoice.supplier, invoice.number)
    if known["digest"] != digest:
        raise ConflictError(
            f"Invoice {invoice.number} of this supplier stands here with another content"
        )
    return int(known["id"])


async def listed(gateway: Gateway, subject: Subject) -> list[dict[str, Any]]:
    """The receipts of this pharmacy, open ones first."""
    async with gateway.unit(subject) as unit:
        rows = await table.receipts(unit, pharmacy_of(subject), LISTED_MAX)
        await noted(unit, subject, "receipts looked at")
    return [dict(row) for row in rows]


async def receipt(gateway: Gateway, subject: Subject, number: int) -> Receipt:
    """A receipt of this pharmacy with its differences; NotFoundError."""
    async with gateway.unit(subject) as unit:
        found = await _receipt(unit, pharmacy_of(subject), number)
        await noted(unit, subject, f"receipt {number} looked at")
    return found


async def _receipt(
    unit: GatewayUnit, pharmacy: str, number: int, *, lock: bool = False
) -> Receipt:
    row = await table.receipt(unit, pharmacy, number, lock=lock)
    if row is None:
        raise NotFoundError(f"There is no receipt {number}")
    lines = await table.receipt_lines(unit, number)
    packs = await table.checked(unit, number)
    asked = [Invoiced(gtin=one.gtin, lot=one.lot, expiry=one.expiry, packs=one.packs)
             for one in lines]  # fmt: skip  # What comparing needs.
    return Receipt(id=number, head=dict(row), lines=tuple(lines), packs=tuple(packs),
                   comparison=stock.compare(asked, packs))  # fmt: skip  # Facts of one receipt.


def _open(found: Receipt) -> Receipt:
    if found.head["state"] != "open":
        raise ConflictError(f"Receipt {found.id} is closed already")
    return found


async def scan(gateway: Gateway, subject: Subject, number: int, raw: str) -> Scanned:
    """Check a pack, or every pack of a box, for a receipt: with the operator, with our own records,
    by expiry and recall. Nothing stands in stock before the receipt is accepted.

    InvalidError says what an unreadable code is; NotFoundError for a box that nobody knows.
    """
    box = stock.read_sscc(raw)
    if isinstance(box, gs1.Fault):
        raise InvalidError(box.sentence)
    keys = await _inside(gateway, box) if box else (_code(raw),)
    # Asked before the transaction: the operator may take its time, a transaction may not.
    seen = await boxes.look_up(gateway, keys)
    async with gateway.unit(subject) as unit:
        _open(await _receipt(unit, pharmacy_of(subject), number, lock=True))
        checked = [await _check(unit, pharmacy_of(subject), key, answer, box or "")
                   for key, answer in zip(keys, seen, strict=True)]  # fmt: skip  # Each pack.
        fresh = await table.keep_checked(unit, number, checked)
        await noted(unit, subject, f"receipt {number}: {len(checked)} packs checked")
    return Scanned(packs=tuple(checked), fresh=fresh, box=box or "")


def _code(raw: str) -> tuple[str, str]:
    code = gs1.read(raw)
    if isinstance(code, gs1.Fault):
        raise InvalidError(code.sentence)
    return code.gtin, code.serial


async def _inside(gateway: Gateway, sscc: str) -> tuple[tuple[str, str], ...]:
    found = await boxes.packs_in(gateway, sscc)
    if not found:
        raise NotFoundError("The marking operator does not know this box: scan the packs in it")
    if len(found) > boxes.BOX_PACKS_MAX:
        raise InvalidError(f"A box of more than {boxes.BOX_PACKS_MAX} packs is scanned by parts")
    return tuple(sorted(set(found)))


async def _check(
    unit: GatewayUnit, pharmacy: str, key: tuple[str, str], seen: Seen | None, box: str
) -> Checked:
    gtin, serial = key
    lot = seen.lot if seen is not None else ""
    expiry = seen.expiry if seen is not None else None
    fault = ""
    ours = await tables.pack(unit, gtin, serial)
    stands = await ledger.stock_pack(unit, gtin, serial)
    if medicines.product_or_none(gtin) is None:
        fault = "unknown-product"
    elif seen is None:
        fault = "unknown-serial"
    elif await table.recall_of(unit, gtin, lot) or seen.state is PackState.RECALLED:
        fault = "recalled"
    elif expiry is not None and expiry < clock.today():
        fault = "expired"
    elif seen.state is not PackState.IN_CIRCULATION:
        fault = seen.state.value
    elif stands is not None and stands["gone"] != "returned-to-supplier":
        fault = "here-already" if stands["pharmacy"] == pharmacy else "at-another-pharmacy"
    elif ours is not None and ours["state"] != PackState.IN_CIRCULATION.value:
        fault = "used-already"
    return Checked(gtin=gtin, serial=serial, box=box, lot=lot, expiry=expiry, fault=fault)


async def unscan(
    gateway: Gateway, subject: Subject, number: int, gtin: str, serial: str
) -> None:
    """Take a scanned pack out of an open receipt again."""
    async with gateway.unit(subject) as unit:
        _open(await _receipt(unit, pharmacy_of(subject), number, lock=True))
        await table.drop_checked(unit, number, gtin, serial)
        await noted(unit, subject, f"receipt {number}: pack taken out")


async def accept(gateway: Gateway, subject: Subject, number: int) -> Receipt:
    """Put the good packs that the invoice asks for into stock, on the shelf of their line; what
    differs stays in the receipt. Accepting again changes nothing. ConflictError where no pack is
    good, or one has come into stock elsewhere meanwhile.
    """
    pharmacy = pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        found = await _receipt(unit, pharmacy, number, lock=True)
        if found.head["state"] == "accepted":
            return found
        taken = _open(found).comparison.taken
        if not taken:
            raise ConflictError("No good pack of this invoice is scanned yet")
        made = [_movement(found, subject, pack, found.lines[place]) for pack, place in taken]
        for one, (pack, _) in zip(made, taken, strict=True):
            if not await ledger.keep_stock_pack(unit, number, one, pack.box):
                raise ConflictError(f"The pack with serial {pack.serial} came into stock meanwhile")
        await ledger.add(unit, made)
        await table.end_receipt(unit, number, "accepted", subject.user)
        await noted(unit, subject, f"receipt {number} accepted: {len(made)} packs")
        return await _receipt(unit, pharmacy, number)


def _movement(
    found: Receipt, subject: Subject, pack: Checked, line: invoices.InvoiceLine
) -> Movement:
    return Movement(
        pharmacy=found.head["pharmacy"], kind=Kind.RECEIPT, gtin=pack.gtin,
        quantity=medicines.product(pack.gtin).pack_units, by=subject.user, lot=pack.lot,
        shelf=line.shelf, funding=found.head["funding"], expiry=pack.expiry or line.expiry,
        serial=pack.serial, document=str(found.id), note=found.head["invoice"], price=line.price,
    )  # fmt: skip  # One line of the ledger.


async def drop(gateway: Gateway, subject: Subject, number: int) -> None:
    """Give an open receipt up: nothing comes into stock."""
    async with gateway.unit(subject) as unit:
        _open(await _receipt(unit, pharmacy_of(subject), number, lock=True))
        await table.end_receipt(unit, number, "dropped", subject.user)
        await noted(unit, subject, f"receipt {number} dropped")
