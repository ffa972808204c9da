"""What other modules and the counter's screen may ask of the pharmacy.

Every act takes an idempotency `key`: the same key by the same pharmacy gives the same answer
again and does nothing twice. Wrong codes are 403 and counted, five lock the prescription for 15
minutes; a move that the state forbids is 409 and names the state and the holder.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from dmed.modules.pharmacy.model import (
    NOT_DISPENSED_REASONS,
    RETURN_REASONS,
    Claim,
    Handover,
    Pack,
    PackState,
    PackVerdict,
    QueueRow,
    ScannedPack,
    Today,
)
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

__all__ = [
    "NOT_DISPENSED_REASONS",
    "RETURN_REASONS",
    "Claim",
    "Handover",
    "Pack",
    "PackState",
    "PackVerdict",
    "QueueRow",
    "ScannedPack",
    "Today",
    "answer_cancel",
    "claim",
    "claimed",
    "close",
    "dispense",
    "for_person",
    "is_prescription_code",
    "not_dispensed",
    "queue",
    "return_",
    "scan_pack",
    "today",
    "undo",
    "unscan_pack",
]


def is_prescription_code(raw: str) -> bool:
    """Whether a scanned or typed text is a prescription (QR text or number) rather than a pack:
    one scan box serves both. Pure.
    """
    raise NotImplementedError


async def claim(
    gateway: Gateway,
    subject: Subject,
    number_or_qr: str,
    code: str = "",
    *,
    items: tuple[int, ...] = (),
    key: str = "",
) -> Claim:
    """Take a prescription's open items (or the chosen ones) to this counter for 24 hours.

    `number_or_qr`: the whole text of the QR, or the number with `code` beside it: the access code,
    or its first eight characters as printed under the QR (shown in groups, case is ignored).
    The same pharmacy may claim again and gets the same secrets.

    Raises NotFoundError, ForbiddenError (wrong code; no pharmacist; no licence; locked),
    ConflictError (with another pharmacy, cancelled, expired, dispensed).
    """
    raise NotImplementedError


async def claimed(gateway: Gateway, subject: Subject, number: str) -> Claim:
    """A claim of this pharmacy as it stands: for showing the counter again after a reload."""
    raise NotImplementedError


async def scan_pack(
    gateway: Gateway,
    subject: Subject,
    number: str,
    raw: str,
    *,
    quantity: Decimal | None = None,
    lot: str = "",
    expiry: date | None = None,
) -> PackVerdict:
    """Read a pack's code, check it against the held items of the prescription and reserve it for
    ten minutes. `quantity` hands over a part of the pack (blisters); left out: as much as the item
    still needs, at most the pack's balance. Never raises for a bad pack: the verdict says why.
    """
    raise NotImplementedError


async def unscan_pack(
    gateway: Gateway, subject: Subject, number: str, gtin: str, serial: str
) -> Claim:
    """Take a scanned pack out again; its reservation ends."""
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


async def close(
    gateway: Gateway, subject: Subject, number: str, item: int, *, reason: str, key: str = ""
) -> Claim:
    """End a part-dispensed item without its rest, with a code of NOT_DISPENSED_REASONS."""
    raise NotImplementedError


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
    raise NotImplementedError


async def answer_cancel(
    gateway: Gateway, subject: Subject, number: str, item: int, *, accept: bool
) -> Claim:
    """Answer the prescriber's wish to cancel an item held here: accepted, or too late."""
    raise NotImplementedError


async def undo(gateway: Gateway, subject: Subject, dispense_id: str, *, key: str = "") -> Claim:
    """Take a hand-over back at the same pharmacy within 10 days: the MedicationDispense becomes
    entered-in-error, the packs get their content back, the item is in progress here again.
    """
    raise NotImplementedError


async def queue(gateway: Gateway, subject: Subject) -> list[QueueRow]:
    """Prescriptions that this pharmacy holds open, oldest lease first."""
    raise NotImplementedError


async def today(gateway: Gateway, subject: Subject) -> Today:
    """What this pharmacy did today (Tashkent)."""
    raise NotImplementedError


async def for_person(
    gateway: Gateway, subject: Subject, patient: str, *, limit: int = 20
) -> list[Handover]:
    """What was handed over to a person, newest first, for the card."""
    raise NotImplementedError
