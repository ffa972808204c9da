"""Judge one pack for one prescription: a pure verdict with its reason (decisions 20).

Never more than its content, never at two pharmacies; substitution inside one INN, form and
strength is free. "Potential suspect", never "fake"; a scanner's fault is thought of first.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from dmed.modules.medicines.api import Preparation, Product
from dmed.modules.pharmacy.model import Pack, PackState, PackVerdict
from dmed.modules.pharmacy.rules.gs1 import Code, Fault, day_of, repairs_said, same_expiry
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
    is_unregistered: bool = False
    """Prescribed by a commission's decision: its packs are in no register."""


UNREGISTERED = "unregistered"
"""Name of the verdict on a pack that no register knows, where such a medicine is prescribed: it is
neither counted as refused nor an alert.
"""
HINT_FIRST = frozenset({"unknown_serial", "lot_mismatch", "expiry_mismatch"})
"""Reasons for which a misread code or a slip of the fingers is thought of before the pack: the
first time is a hint to look again, only the second is an alert (false alerts: design B5)."""
_OUT = frozenset({PackState.DISPENSED, PackState.PART_DISPENSED})
_LOOKALIKES = str.maketrans("АВЕКМНОРСТУХ", "ABEKMHOPCTYX")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the marking operator says of a serial."""

    state: PackState
    lot: str = ""
    expiry: date | None = None
    produced: date | None = None
    price_max: Decimal | None = None
    """Maximum retail price in soums, where one is set."""
    owner: str = ""
    """Tax number of the owner, where the operator tells it."""


class Source(StrEnum):
    """Whose word a verdict rests on, beside our own records; texts `pharmacy.checked.<value>`."""

    OPERATOR = "operator"
    REMEMBERED = "remembered"
    """The operator is not reached now; it told us before."""
    OWN = "own"
    """The operator is not reached and never told us of this pack."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one serial from the operator when its pack is judged."""

    seen: Seen | None
    """None: the operator does not know this serial, or with OWN: was not reached."""
    source: Source = Source.OPERATOR
    as_of: date | None = None
    """With REMEMBERED: when it told."""
    swapped_is_known: bool = False
    """The operator knows the serial with its letters' case turned: Caps Lock is on."""
    is_owed: bool = False
    """There is an operator, and it did not give this word now: it is asked later."""
    is_needed: bool = False
    """The installation hands nothing over that the operator was not asked about."""


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a verdict rests on."""

    code: Code
    product: Product | None
    word: Word
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
    swapped_is_ours: bool = False
    """We met the serial with its letters' case turned, and never this one."""
    before: frozenset[str] = frozenset()
    """Short names of the refusals of this pack here within the last minutes."""
    aside: str = ""
    """The reason for which this pack was put aside here and is not settled yet."""

    @property
    def seen(self) -> Seen | None:
        """The operator's facts."""
        return self.word.seen


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
    outside = next((each.item for each in scan.wanted
                    if each.is_unregistered and each.needed > 0), 0)  # fmt: skip  # A search.
    if product is None and outside:
        return msgspec.structs.replace(refuse(
            UNREGISTERED,
            f"GTIN {scan.code.gtin} is not in the register: for item {outside} type the batch and "
            "the expiry",
            fault="prescription",
            advice="type_batch",
            gtin=scan.code.gtin,
        ), item=outside)  # fmt: skip  # One verdict.
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
            _gently(scan, verdict), trade=product.trade, pack=scan.pack,
            code_sentence=repairs_said(scan.code.repairs), checked=scan.word.source.value,
        )  # fmt: skip  # One thought.
    return _green(scan, product)


def _gently(scan: Scan, verdict: PackVerdict) -> PackVerdict:
    """The scanner's or the hand's slip is thought of first: the first time is no alert yet."""
    name = verdict.reason.key.rpartition(".")[2]
    if name not in HINT_FIRST or name in scan.before:
        return verdict
    return msgspec.structs.replace(
        verdict,
        fault="scanner",
        is_quarantine=False,
        advice=Reason("pharmacy.advice.look_again"),
    )


def _wrong_pack(scan: Scan, product: Product) -> PackVerdict | None:
    """Our own records speak first: a pack that is out is out, whatever the operator says of it."""
    pack = scan.pack
    if pack is not None and (pack.state in _OUT or pack.balance <= 0):
        taken = _taken(scan, pack, product)
        if taken is not None:
            return taken
    if scan.aside:
        return refuse(
            "aside",
            "This pack was put aside here and nobody has settled that yet",
            fault="pack",
            advice="put_aside",
        )
    refusal = _of_operator(scan) or _of_state(scan) or _of_print(scan)
    if refusal is not None:
        return refusal
    return _taken(scan, pack, product) if pack is not None else None


def _of_operator(scan: Scan) -> PackVerdict | None:
    if scan.seen is not None:
        return None
    if scan.word.swapped_is_known or scan.swapped_is_ours:
        return refuse(
            "caps_lock",
            "Caps Lock is on: the letters of the serial came swapped",
            fault="scanner",
            advice="caps_lock",
        )
    if scan.word.source is not Source.OWN:
        return refuse(
            "unknown_serial",
            "The marking operator does not know this serial",
            fault="pack",
            advice="put_aside",
            quarantine=True,
        )
    if scan.word.is_needed:
        return refuse(
            "operator_away",
            "The marking operator is not reached, and nothing is handed over here unasked",
            fault="data",
            advice="later",
        )
    return None


def _of_state(scan: Scan) -> PackVerdict | None:
    seen, pack = scan.seen, scan.pack
    state = pack.state if pack is not None and pack.state in _BAD_STATES else None
    if state is None and seen is not None:
        state = seen.state
    if state is PackState.WITHDRAWN and pack is not None and pack.state in _OUT:
        # The sale of its first blister took it out of circulation.
        state = None
    expiry = (seen.expiry if seen else None) or (pack.expiry if pack else None)
    if expiry and expiry < scan.today:
        state = PackState.EXPIRED
    if state is PackState.NOT_INTRODUCED:
        return refuse(
            state.value,
            "The operator has not put this pack into circulation yet",
            fault="data",
            advice="later",
        )
    if state not in _BAD_STATES:
        return None
    return refuse(
        state.value,
        f"This pack {_BAD_STATES[state]}",
        fault="pack",
        advice="put_aside",
        quarantine=True,
        expiry=_day(expiry) if expiry else "—",
    )


def plain_lot(text: str) -> str:
    """A batch as it is compared: capitals, without blanks, hyphens and dots, and with Latin letters
    where a Cyrillic keyboard wrote letters that look the same.
    """
    return "".join(sign for sign in text.upper().translate(_LOOKALIKES) if sign not in " -./\xa0")


def _of_print(scan: Scan) -> PackVerdict | None:
    """Whether batch and expiry on the pack, or in a foreign code, are the registered ones."""
    registered = (scan.seen.lot if scan.seen else "") or (scan.pack.lot if scan.pack else "")
    lot = scan.lot or scan.code.lot
    if lot and registered and plain_lot(lot) != plain_lot(registered):
        return refuse(
            "lot_mismatch",
            f"The batch on the pack ({lot}) is not the one that was registered ({registered})",
            fault="pack",
            advice="put_aside",
            quarantine=True,
            lot=lot,
            registered=registered,
        )
    expiry = (scan.seen.expiry if scan.seen else None) or (scan.pack.expiry if scan.pack else None)
    if expiry is None:
        return None
    told = scan.expiry
    is_other = told is not None and told != expiry
    if told is None and scan.code.expiry:
        told = day_of(scan.code.expiry, scan.today)
        is_other = not same_expiry(scan.code.expiry, expiry, scan.today)
    if not is_other:
        return None
    return refuse(
        "expiry_mismatch",
        "The expiry date on the pack is not the one that was registered",
        fault="pack",
        advice="put_aside",
        quarantine=True,
        expiry=_day(told) if told else "—",
        registered=_day(expiry),
    )


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
        if not here:
            return refuse(
                "reserved_elsewhere",
                "A pack with this serial is being handed over at another pharmacy",
                fault="pack",
                advice="already_out",
                quarantine=True,
            )
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
    note = _note(scan.word)
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
        checked=scan.word.source.value,
        note=note[0],
        note_sentence=note[1],
    )


def _note(word: Word) -> tuple[Reason | None, str]:
    """What a pharmacist must know of a green pack: that the operator was not reached."""
    if word.source is Source.OWN:
        return (Reason("pharmacy.note.own_records"),
                "The marking operator was not reached; checked against our own records")
    if word.source is Source.REMEMBERED and word.as_of is not None:
        day = _day(word.as_of)
        return (Reason("pharmacy.note.remembered", {"day": day}),
                f"The marking operator was not reached; it knew this pack on {day}")
    return None, ""
