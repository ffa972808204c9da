"""The counter: claims, packs, handing over."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from dmed.modules.prescriptions.api import Item, Prescription, Reason


class PackState(StrEnum):
    """What we know of one serialised pack (eprescription B5); texts `pharmacy.pack.<value>`."""

    IN_CIRCULATION = "in-circulation"
    RESERVED = "reserved"
    PART_DISPENSED = "part-dispensed"
    DISPENSED = "dispensed"
    WITHDRAWN = "withdrawn"
    RECALLED = "recalled"
    STOLEN = "stolen"
    EXPIRED = "expired"
    NOT_INTRODUCED = "not-introduced"
    """Its code was made, and it is not in circulation yet."""
    UNKNOWN = "unknown"


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """One pack with its serial; `balance` is what is left in it, in units of presentation."""

    gtin: str
    serial: str
    state: PackState
    content: Decimal
    balance: Decimal
    pharmacy: str = ""
    """Id of the pharmacy that reserved or opened it."""
    lot: str = ""
    expiry: date | None = None
    reserved_for: str = ""
    """Number of the prescription it is reserved for."""
    reserved_until: datetime | None = None


class PackVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one scan: green with the item it serves, or red with why not."""

    ok: bool
    reason: Reason
    """Locale key and values of the sentence to show, for green and for red."""
    sentence: str
    """The same in English."""
    advice: Reason | None = None
    """What to do next, where there is something to do."""
    item: int = 0
    """Number of the prescription's item that the pack serves; 0 if none."""
    quantity: Decimal = Decimal(0)
    """Units of presentation that would be handed over from it."""
    pack: Pack | None = None
    trade: str = ""
    fault: str = ""
    """Of whom a refusal speaks: "scanner", "data", "pack", "prescription"; "" when ok."""
    is_quarantine: bool = False
    """Put this pack aside."""
    code_sentence: str = ""
    """How the scanned text was repaired (keyboard layout, lost separator); "" if it was clean."""
    checked: str = ""
    """Whose word it rests on beside our own records: "operator", "remembered" (it told us before),
    "own" (it was not reached); "" where no pack code was read."""
    note: Reason | None = None
    """What must be known of a green pack: the operator was not reached."""
    note_sentence: str = ""
    """The same in English."""
    price: Decimal | None = None
    """Of the whole pack, in so'm; None: nobody told one."""
    price_source: str = ""
    """Whose price: a value of `rules.prices.Source`."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that was put aside at a pharmacy as a potential suspect, and what became of that."""

    id: int
    at: datetime
    pharmacy: str
    number: str
    gtin: str
    serial: str
    reason: str
    """Short name of the verdict: dispensed_elsewhere, unknown_serial..."""
    fault: str
    """Whose it looked: "scanner", "data" or "pack"."""
    settled_as: str = ""
    """Whose it was found to be: "scanner", "data" or "pack"; "" while it is open."""
    outcome: str = ""
    """How it ended: a value of `rules.alerts.Outcome`; "" where a system settled it by class."""
    words: str = ""
    """What was found, in the words of whoever ended it."""
    settled: datetime | None = None


class ScannedPack(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that turned green and waits to be handed over with its item."""

    item: int
    gtin: str
    serial: str
    trade: str
    quantity: Decimal
    lot: str
    expiry: date | None
    marking: str
    """The identification code: first 31 characters (01 GTIN 21 serial)."""
    price: Decimal | None = None
    """Of the whole pack, in so'm; None: nobody told one."""


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """One MedicationDispense that was written."""

    id: str
    number: str
    item: int
    label: dict[str, str]
    quantity: Decimal
    unit: str
    at: datetime
    packs: tuple[ScannedPack, ...]
    status: str
    """completed, or entered-in-error after an undo."""
    total: Decimal | None = None
    """What it cost, in so'm; None where the price was not known."""
    fund: Decimal | None = None
    """What the fund reimburses of it; the patient paid the rest."""
    patient: str = ""
    patient_name: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A prescription at this counter: what is held, what is scanned, what was handed over."""

    prescription: Prescription
    held: tuple[int, ...]
    """Numbers of the items that this pharmacy holds now."""
    scanned: tuple[ScannedPack, ...] = ()
    handed: tuple[Handover, ...] = ()
    secrets: dict[int, str] = {}
    """Item number -> secret of the lease; needed by systems, screens need not keep it."""
    is_token_valid: bool | None = None
    """Whether the signed token in the QR was verified; None when there was none."""

    def item(self, number: int) -> Item:
        """The item of a number (1..5)."""
        return next(item for item in self.prescription.items if item.number == number)


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One prescription that this pharmacy holds open."""

    number: str
    patient_name: str
    state: str
    """ "open" while something is held, "ready" when every held item has enough packs."""
    items: int
    lease_until: datetime | None


class Today(msgspec.Struct, frozen=True, kw_only=True):
    """The counter's day."""

    prescriptions: int
    items: int
    packs: int
    refused_packs: int
    median_seconds: int
    """From claim to hand-over; 0 when nothing was handed over yet."""
    handed: tuple[Handover, ...]
    """Newest first, at most 50."""
    total: Decimal = Decimal(0)
    """What was handed over and not undone cost, as far as prices were known."""
    fund: Decimal = Decimal(0)
    """What the fund reimburses of that."""


NOT_DISPENSED_REASONS = (
    "not-required",
    "unsuitable",
    "out-of-stock",
    "prescriber-cancelled",
    "patient-died",
    "not-legal",
    "out-of-scope",
    "expired",
    "not-allowed",
    "not-collected",
    "bought-without",
)
"""The eleven reasons; texts under `pharmacy.not_dispensed.<code>`."""

RETURN_REASONS = ("patient-left", "out-of-stock", "wrong-prescription", "lease-ended", "other")
"""Texts under `pharmacy.return.<code>`."""

CHANGES = ("strength", "form", "quantity", "brand")
"""What a pharmacist may propose to the doctor; texts under `pharmacy.change.<code>`."""

LOOKUP_REASONS = ("no-phone", "phone-lost", "no-network", "emergency")
"""Why a prescription is looked for without the patient's code; `pharmacy.lookup.<code>`."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A pharmacist's proposal to the doctor: what would be handed over instead."""

    id: str
    """Id of its Task."""
    number: str
    item: int
    kind: str
    """A code of CHANGES."""
    pharmacy: str
    pharmacy_name: str
    prescriber: str
    """Id of the PractitionerRole."""
    organisation: str
    """Of the prescriber."""
    preparation: str
    """Key of what is proposed; as prescribed where only the quantity changes."""
    product: str
    """Key of the product, for a trade name."""
    quantity: Decimal
    """0: as it was prescribed."""
    text: str
    at: datetime
    state: str = "requested"
    """requested, accepted, rejected, cancelled."""
    answer: str = ""
    made: str = ""
    """Number of the prescription that followed."""
    patient: str = ""
    patient_name: str = ""
    before: dict[str, str] = {}
    """What was prescribed, in uz, ru, en."""
    after: dict[str, str] = {}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One open prescription of a person as the counter sees it before the claim: no diagnosis."""

    number: str
    signed: date
    valid_until: date
    organisation_name: str
    items: tuple[dict[str, str], ...]
    """Medicine and quantity in uz, ru, en."""


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """A search for a person's prescriptions at a counter."""

    id: str
    is_sent: bool
    """Whether a code went to the patient's phone or portal."""
    until: datetime


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent to a person by a courier."""

    channel: str
    """sms or portal."""
    address: str
    """Telephone number; "" on the portal."""
    text: str
    at: datetime
