"""Judge one pack for one prescription: a pure verdict with its reason (decisions 20).

Never more than its content, never at two pharmacies; substitution inside one INN, form and
strength is free. "Potential suspect", never "fake"; a scanner's fault is thought of first.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import msgspec

from dmed.modules.medicines.api import Preparation, Product
from dmed.modules.pharmacy.model import Pack, PackState, PackVerdict
from dmed.modules.pharmacy.rules.gs1 import Code, Fault, repairs_said
from dmed.modules.prescriptions.api import Reason

_BAD_STATES = {
    PackState.WITHDRAWN: "was withdrawn from circulation",
    PackState.RECALLED: "was recalled",
    PackState.STOLEN: "was reported stolen",
    PackState.EXPIRED: "has expired",
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One held item: what it asks for and what it still needs, scanned packs counted off."""

    item: int
    preparation: Preparation | None
    needed: Decimal


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the marking operator says of a serial."""

    state: PackState
    lot: str = ""
    expiry: date | None = None


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a verdict rests on."""

    code: Code
    product: Product | None
    seen: Seen | None
    """None: the operator does not know this serial."""
    pack: Pack | None
    """Our own row, if the pack was met before."""
    wanted: tuple[Wanted, ...]
    number: str
    pharmacy: str
    now: datetime
    today: date
    quantity: Decimal | None = None
    """Asked for; None: as much as is needed and there."""
    lot: str = ""
    """Typed from the pack; "" not typed."""
    expiry: date | None = None
    swapped_is_known: bool = False
    """The operator knows the serial with its letters' case turned: Caps Lock is on."""


def _day(value: date) -> str:
    """A day as every language here writes it in figures: 31.08.2028."""
    return f"{value:%d.%m.%Y}"


def refuse(
    name: str,
    sentence: str,
    *,
    fault: str,
    advice: str = "",
    quarantine: bool = False,
    pack: Pack | None = None,
    trade: str = "",
    code_sentence: str = "",
    **values: str,
) -> PackVerdict:
    """A red verdict: locale keys pharmacy.verdict.<name> and pharmacy.advice.<advice>."""
    return PackVerdict(
        ok=False,
        reason=Reason(f"pharmacy.verdict.{name}", values),
        sentence=sentence,
        advice=Reason(f"pharmacy.advice.{advice}") if advice else None,
        fault=fault,
        is_quarantine=quarantine,
        pack=pack,
        trade=trade,
        code_sentence=code_sentence,
    )  # fmt: skip  # Fields in their order.


def of_fault(fault: Fault) -> PackVerdict:
    """The verdict on a text that is no usable pack code."""
    kind = "prescription" if fault.reason.key.endswith(".prescription") else "scanner"
    return PackVerdict(
        ok=False, reason=fault.reason, sentence=fault.sentence,
        advice=Reason("pharmacy.advice.scan_again"), fault=kind,
    )  # fmt: skip  # Same.


def judge(scan: Scan) -> PackVerdict:
    """Green with item and quantity, or red with the reason, what to do and whose fault it looks."""
    product = scan.product
    if product is None:
        return refuse(
            "unknown_product",
            f"No registered medicine has GTIN {scan.code.gtin}",
            fault="data",
            advice="put_aside",
            quarantine=True,
            gtin=scan.code.gtin,
        )
    verdict = _wrong_pack(scan, product) or _wrong_item(scan, product)
    if verdict is not None:
        return msgspec.structs.replace(
            verdict, trade=product.trade, pack=scan.pack,
            code_sentence=repairs_said(scan.code.repairs),
        )  # fmt: skip  # One thought.
    return _green(scan, product)


def _wrong_pack(scan: Scan, product: Product) -> PackVerdict | None:
    seen, pack = scan.seen, scan.pack
    if seen is None:
        if scan.swapped_is_known:
            return refuse(
                "caps_lock",
                "Caps Lock is on: the letters of the serial came swapped",
                fault="scanner",
                advice="caps_lock",
            )
        return refuse(
            "unknown_serial",
            "The marking operator does not know this serial",
            fault="pack",
            advice="put_aside",
            quarantine=True,
        )
    state = pack.state if pack is not None and pack.state in _BAD_STATES else seen.state
    expiry = seen.expiry or (pack.expiry if pack else None)
    if expiry and expiry < scan.today:
        state = PackState.EXPIRED
    if state in _BAD_STATES:
        return refuse(
            state.value,
            f"This pack {_BAD_STATES[state]}",
            fault="pack",
            advice="put_aside",
            quarantine=True,
            expiry=_day(expiry) if expiry else "—",
        )
    if scan.lot and seen.lot and scan.lot.upper() != seen.lot.upper():
        return refuse(
            "lot_mismatch",
            f"The batch on the pack ({scan.lot}) is not the one that was registered ({seen.lot})",
            fault="pack",
            advice="put_aside",
            quarantine=True,
            lot=scan.lot,
            registered=seen.lot,
        )
    if scan.expiry and seen.expiry and scan.expiry != seen.expiry:
        return refuse(
            "expiry_mismatch",
            "The expiry date on the pack is not the one that was registered",
            fault="pack",
            advice="put_aside",
            quarantine=True,
            expiry=_day(scan.expiry),
            registered=_day(seen.expiry),
        )
    return _taken(scan, pack, product) if pack is not None else None


def _taken(scan: Scan, pack: Pack, product: Product) -> PackVerdict | None:
    here = pack.pharmacy == scan.pharmacy
    if pack.state is PackState.DISPENSED or pack.balance <= 0:
        where = "here" if here else "elsewhere"
        return refuse(
            f"dispensed_{where}",
            f"A pack with this serial was already handed over {where}",
            fault="pack",
            advice="already_out",
            quarantine=True,
        )
    if pack.state is PackState.PART_DISPENSED and not here:
        return refuse(
            "opened_elsewhere",
            "A pack with this serial was opened at another pharmacy",
            fault="pack",
            advice="already_out",
            quarantine=True,
        )
    is_reserved = pack.reserved_until is not None and pack.reserved_until > scan.now
    if is_reserved and pack.reserved_for == scan.number and here:
        return refuse(
            "scanned_already",
            "This pack was scanned already",
            fault="prescription",
            advice="next_pack",
        )
    if is_reserved:
        return refuse(
            "reserved",
            "This pack is being handed over with another prescription",
            fault="pack",
            advice="next_pack",
        )
    if scan.quantity is not None and scan.quantity > pack.balance:
        return refuse(
            "not_enough_in_pack",
            f"The pack holds {pack.balance}, not {scan.quantity}",
            fault="prescription",
            advice="less",
            balance=str(pack.balance),
            trade_name=product.trade,
        )
    return None


def _wrong_item(scan: Scan, product: Product) -> PackVerdict | None:
    asked = product.preparation
    fitting = [each for each in scan.wanted if each.preparation == asked]
    if not fitting:
        for each in scan.wanted:
            if each.preparation and each.preparation.inn.key == asked.inn.key:
                return refuse(
                    "other_strength",
                    "The same INN, but another strength or form",
                    fault="prescription",
                    advice="right_strength",
                    inn=asked.inn.key,
                    item=str(each.item),
                )
        return refuse(
            "not_prescribed",
            "This medicine is not on the prescription",
            fault="prescription",
            advice="right_medicine",
            inn=asked.inn.key,
        )
    if all(each.needed <= 0 for each in fitting):
        return refuse(
            "enough",
            "Enough packs are scanned for this item",
            fault="prescription",
            advice="hand_over",
            item=str(fitting[0].item),
        )
    most = max(each.needed for each in fitting)
    if scan.quantity is not None and not 0 < scan.quantity <= most:
        return refuse(
            "too_much",
            f"At most {most} may still be handed over",
            fault="prescription",
            advice="less",
            most=str(most),
        )
    if scan.quantity is not None and scan.quantity > product.pack_units:
        return refuse(
            "not_enough_in_pack",
            f"The pack holds {product.pack_units}",
            fault="prescription",
            advice="less",
            balance=str(product.pack_units),
            trade_name=product.trade,
        )
    return None


def _green(scan: Scan, product: Product) -> PackVerdict:
    fitting = [
        each for each in scan.wanted if each.preparation == product.preparation and each.needed > 0
    ]
    item = next(
        (each for each in fitting if scan.quantity is None or scan.quantity <= each.needed),
        fitting[0],
    )
    seen = scan.seen or Seen(state=PackState.IN_CIRCULATION)
    balance = scan.pack.balance if scan.pack else product.pack_units
    quantity = scan.quantity if scan.quantity is not None else min(item.needed, balance)
    pack = Pack(
        gtin=scan.code.gtin, serial=scan.code.serial,
        state=scan.pack.state if scan.pack else PackState.IN_CIRCULATION,
        content=scan.pack.content if scan.pack else product.pack_units, balance=balance,
        pharmacy=scan.pharmacy, lot=seen.lot or scan.lot, expiry=seen.expiry or scan.expiry,
        reserved_for=scan.number,
    )  # fmt: skip  # Facts of one pack.
    is_part = quantity < balance
    return PackVerdict(
        ok=True,
        reason=Reason(
            "pharmacy.verdict.good_part" if is_part else "pharmacy.verdict.good",
            {"quantity": f"{quantity:f}", "left": f"{balance - quantity:f}"},
        ),
        sentence=f"In circulation; {quantity:f} of {balance:f} go to item {item.item}",
        item=item.item,
        quantity=quantity,
        pack=pack,
        trade=product.trade,
        code_sentence=repairs_said(scan.code.repairs),
    )
