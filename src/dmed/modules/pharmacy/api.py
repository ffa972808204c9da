"""What other modules and the counter's screen may ask of the pharmacy.

Every act takes an idempotency `key`: the same key by the same pharmacy gives the same answer
again and does nothing twice. Wrong codes are 403 and counted, five lock the prescription for 15
minutes; a move that the state forbids is 409 and names the state and the holder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from dmed.modules.pharmacy.model import (
    CHANGES,
    LOOKUP_REASONS,
    NOT_DISPENSED_REASONS,
    RETURN_REASONS,
    Alert,
    Claim,
    Found,
    Handover,
    Lookup,
    Message,
    Pack,
    PackState,
    PackVerdict,
    Proposal,
    QueueRow,
    ScannedPack,
    Today,
)
from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.rules.marking import Answer
from dmed.modules.pharmacy.rules.packs import Seen, Word
from dmed.modules.pharmacy.rules.prices import Charge
from dmed.modules.pharmacy.rules.prices import in_record as charge_in
from dmed.modules.pharmacy.rules.stock import Balance, Recall
from dmed.modules.pharmacy.service import (
    changing,
    checks,
    counter,
    courier,
    finding,
    handing,
    recalls,
    stock,
    views,
)
from dmed.modules.pharmacy.service.changing import Wish
from dmed.modules.pharmacy.service.handing import GivenPack
from dmed.modules.pharmacy.service.operator import demo
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Event
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

__all__ = [
    "CHANGES",
    "LOOKUP_REASONS",
    "NOT_DISPENSED_REASONS",
    "RETURN_REASONS",
    "Alert",
    "Answer",
    "Balance",
    "Charge",
    "Claim",
    "Found",
    "GivenPack",
    "Handover",
    "Lookup",
    "Message",
    "Pack",
    "PackState",
    "PackVerdict",
    "Proposal",
    "QueueRow",
    "Recall",
    "ScannedPack",
    "Today",
    "Wish",
    "Word",
    "alerts",
    "answer_cancel",
    "answer_change",
    "ask_ahead",
    "ask_boxes",
    "changes_about",
    "changes_for_me",
    "charge_in",
    "claim",
    "claim_found",
    "claim_payment",
    "claimed",
    "close",
    "dispense",
    "find_person",
    "first_out",
    "for_person",
    "invented",
    "is_prescription_code",
    "messages",
    "not_dispensed",
    "open_person",
    "propose_change",
    "queue",
    "recalls_in_force",
    "return_",
    "scan_pack",
    "settle_alert",
    "today",
    "undo",
    "unscan_pack",
]


def is_prescription_code(raw: str) -> bool:
    """Whether a scanned or typed text is a prescription (QR text or number) rather than a pack:
    one scan box serves both. Pure.
    """
    return prescriptions.is_prescription_text(gs1.as_meant(raw))


async def claim(
    gateway: Gateway,
    subject: Subject,
    number_or_qr: str,
    code: str = "",
    *,
    items: tuple[int, ...] = (),
    key: str = "",  # noqa: ARG001  # Claiming again is the same claim; the name keeps acts alike.
) -> Claim:
    """Take a prescription's open items (or the chosen ones) to this counter for 24 hours.

    `number_or_qr`: the whole text of the QR, or the number with `code` beside it: the access code,
    or its first eight characters as printed under the QR (shown in groups, case is ignored).
    The same pharmacy may claim again and gets the same secrets.

    Raises NotFoundError, ForbiddenError (wrong code; no pharmacist; no licence; locked),
    ConflictError (with another pharmacy, cancelled, expired, dispensed).
    """
    return await counter.claim(gateway, subject, number_or_qr, code, items)


async def claimed(gateway: Gateway, subject: Subject, number: str) -> Claim:
    """A claim of this pharmacy as it stands: for showing the counter again after a reload.

    ForbiddenError where this pharmacy holds nothing of it and never handed anything over: a number
    alone, which can be guessed, shows nobody's prescription.
    """
    counter.pharmacy_of(subject)
    return await views.own_claim(gateway, subject, number)


async def scan_pack(
    gateway: Gateway,
    subject: Subject,
    number: str,
    raw: str,
    *,
    quantity: Decimal | None = None,
    lot: str = "",
    expiry: date | None = None,
    price: Decimal | None = None,
) -> PackVerdict:
    """Read a pack's code, check it against the held items of the prescription and reserve it for
    ten minutes. `quantity` hands over a part of the pack (blisters); left out: as much as the item
    still needs, at most the pack's balance. `price`: of the whole pack, in so'm; left out: as the
    pharmacy keeps it. Never raises for a bad pack: the verdict says why; InvalidError for a price
    that is none.
    """
    return await handing.scan(gateway, subject, number, raw, quantity, lot, expiry, price)


async def unscan_pack(
    gateway: Gateway, subject: Subject, number: str, gtin: str, serial: str
) -> Claim:
    """Take a scanned pack out again; its reservation ends."""
    return await handing.unscan(gateway, subject, number, gtin, serial)


async def dispense(
    gateway: Gateway,
    subject: Subject,
    number: str,
    *,
    items: tuple[int, ...] = (),
    receiver: str = "",
    release_rest: bool = False,
    key: str = "",
) -> Claim:
    """Hand over every scanned pack (of the given items) in one transaction: MedicationDispense,
    pack balances, Task and MedicationRequest. An item whose sum is reached is completed; a part
    stays with this pharmacy, or with `release_rest` its remainder may be taken anywhere.
    `receiver`: who collected, if not the patient.
    """
    return await handing.dispense(gateway, subject, number, items, receiver, release_rest, key)


async def supply_unregistered(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    pack: GivenPack,
    *,
    receiver: str = "",
    key: str = "",
) -> Claim:
    """Hand over a pack of a medicine outside the register, by its typed batch and expiry. The
    commission's decision is asked again; UnprocessableError says what is missing.
    """
    await handing.dispense_item(
        gateway, subject, prescriptions.read_number(number), item, [pack], receiver=receiver,
        key=key,
    )  # fmt: skip  # Who gets what.
    return await views.claim(gateway, subject, prescriptions.read_number(number))


async def return_(
    gateway: Gateway,
    subject: Subject,
    number: str,
    *,
    items: tuple[int, ...] = (),
    reason: str = "other",
    key: str = "",
) -> Claim:
    """Give held items back (a code of RETURN_REASONS): ready again for any pharmacy, the secret
    destroyed, reserved packs free. The remainder of a part-dispensed item is released likewise.
    """
    return await counter.give_back(gateway, subject, number, items, reason, key)


async def close(
    gateway: Gateway, subject: Subject, number: str, item: int, *, reason: str, key: str = ""
) -> Claim:
    """End a part-dispensed item without its rest, with a code of NOT_DISPENSED_REASONS."""
    return await counter.end_item(gateway, subject, number, item, Event.CLOSE, reason, key)


async def not_dispensed(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    *,
    reason: str,
    final: bool = False,
    key: str = "",
) -> Claim:
    """Say that an item is not handed over: back to ready, or, when final, rejected and stopped."""
    event = Event.REJECT if final else Event.NOT_DISPENSED
    return await counter.end_item(gateway, subject, number, item, event, reason, key)


async def answer_cancel(
    gateway: Gateway, subject: Subject, number: str, item: int, *, accept: bool
) -> Claim:
    """Answer the prescriber's wish to cancel an item held here: accepted, or too late."""
    event = Event.CANCEL_ACCEPT if accept else Event.CANCEL_TOO_LATE
    return await counter.end_item(gateway, subject, number, item, event, "", "")


async def undo(gateway: Gateway, subject: Subject, dispense_id: str, *, key: str = "") -> Claim:
    """Take a hand-over back at the same pharmacy within 10 days: the MedicationDispense becomes
    entered-in-error, the packs get their content back, the item is in progress here again.
    """
    return await handing.undo(gateway, subject, dispense_id, key)


async def claim_payment(
    gateway: Gateway, subject: Subject, number: str, item: int, *, key: str = ""
) -> Claim:
    """Claim the payment of an insured item that this pharmacy handed over; from now on there is no
    undo. ConflictError names the state of one that cannot be claimed.
    """
    return await counter.claim_payment(gateway, subject, number, item, key)


async def ask_ahead(
    gateway: Gateway, subject: Subject, raws: Sequence[str], *, wait_s: float = 20.0
) -> dict[str, Word]:
    """The marking operator's word on packs before they are sold, e.g. on receipt of stock, by
    identity: at most 30,000, a thousand a request; scans at counters go first. What is not answered
    within `wait_s` comes later and is kept for the scan. Not to be called inside a unit.
    """
    return await checks.ask_ahead(gateway, subject, raws, wait_s=wait_s)


async def ask_boxes(
    gateway: Gateway, subject: Subject, raws: Sequence[str], tax_id: str
) -> Answer:
    """What of these transport boxes (SSCC as scanned) belongs to the owner with a tax number, with
    the codes that lie in each. InvalidError for a text that is no box, UnavailableError where the
    operator does not answer. Not to be called inside a unit.
    """
    return await checks.ask_boxes(gateway, subject, raws, tax_id)


async def alerts(gateway: Gateway, subject: Subject) -> list[Alert]:
    """Packs that were put aside at this pharmacy, open ones first, at most 200."""
    return await checks.alerts(gateway, subject)


async def settle_alert(gateway: Gateway, subject: Subject, number: int, *, settled_as: str) -> None:
    """An alert was looked into: it was the "scanner", the "data" or the "pack". NotFoundError where
    this pharmacy has no such open alert.
    """
    await checks.settle(gateway, subject, number, settled_as)


def invented(gtin: str, serial: str) -> Seen | None:
    """What a simulated operator says of a pack of the demonstration prefix (GTINs 0952...)."""
    return demo.invented(gtin, serial)


async def queue(gateway: Gateway, subject: Subject) -> list[QueueRow]:
    """Prescriptions that this pharmacy holds open, oldest lease first."""
    return await views.queue(gateway, subject, counter.pharmacy_of(subject))


async def today(gateway: Gateway, subject: Subject) -> Today:
    """What this pharmacy did today (Tashkent)."""
    return await views.today(gateway, subject, counter.pharmacy_of(subject))


async def for_person(
    gateway: Gateway, subject: Subject, patient: str, *, limit: int = 20
) -> list[Handover]:
    """What was handed over to a person, newest first, for the card."""
    return await views.for_person(gateway, subject, patient, limit)


async def first_out(
    gateway: Gateway, subject: Subject, preparations: Iterable[str]
) -> dict[str, Balance]:
    """Preparation -> where this pharmacy takes it from first: the shelf and batch that expire first
    of what has not expired and is not recalled. Preparations that are not in stock are left out.
    """
    return await stock.first_out(gateway, subject, preparations)


async def recalls_in_force(gateway: Gateway, subject: Subject) -> list[Recall]:
    """Every recall in force, for whoever judges packs without this database (a counter offline):
    GTIN and batch, "" for every batch of the product.
    """
    return await recalls.in_force(gateway, subject)


async def propose_change(
    gateway: Gateway, subject: Subject, number: str, item: int, wish: Wish, *, key: str = ""
) -> Proposal:
    """Ask the doctor for another strength, form, quantity or trade name of an item held here.

    UnprocessableError for what is no change of this item, ConflictError where the item is not held
    here, is repeated, or the doctor was asked already.
    """
    return await changing.propose(gateway, subject, number, item, wish, key)


async def changes_for_me(gateway: Gateway, subject: Subject) -> list[Proposal]:
    """Open proposals of pharmacies to this doctor, oldest first."""
    return await changing.mine(gateway, subject)


async def changes_about(gateway: Gateway, subject: Subject, number: str) -> list[Proposal]:
    """What this pharmacy proposed about a prescription, with the answers, newest first."""
    return await changing.about(gateway, subject, number)


async def answer_change(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    *,
    approve: bool,
    text: str = "",
    overrides: dict[str, str] | None = None,
) -> tuple[Proposal, str]:
    """The doctor's answer. Approved, a new prescription of the one item is checked and signed; the
    old item ends and the pharmacy that asked holds the new one, all in one transaction; its number
    is the second part. Refusals of signing are as `prescriptions.api.sign` has them.
    """
    return await changing.answer(
        gateway, subject, number, item, approve=approve, text=text, overrides=overrides
    )


async def find_person(gateway: Gateway, subject: Subject, pinfl: str) -> Lookup:
    """Begin to look for the prescriptions of a PINFL: the patient is sent a code of six digits.

    The answer is the same where nobody has the number. ThrottledError after thirty an hour.
    """
    return await finding.find(gateway, subject, pinfl)


async def open_person(
    gateway: Gateway,
    subject: Subject,
    lookup: str,
    *,
    code: str = "",
    reason: str = "",
    text: str = "",
) -> list[Found]:
    """What may be handed over to this person, by the code that the patient reads out, or with a
    code of LOOKUP_REASONS and words, of which the patient is told. Audited either way.

    ForbiddenError for a wrong code (three end the search), NotFoundError once it is over.
    """
    return await finding.open_(gateway, subject, lookup, code=code, reason=reason, text=text)


async def claim_found(gateway: Gateway, subject: Subject, lookup: str, number: str) -> Claim:
    """Take a prescription that `open_person` showed, without its own code."""
    return await finding.claim(gateway, subject, lookup, number)


async def messages(gateway: Gateway, subject: Subject, patients: list[str]) -> list[Message]:
    """What was sent to these persons, newest first. The caller vouches that they are his own."""
    return await courier.messages(gateway, subject, patients)
