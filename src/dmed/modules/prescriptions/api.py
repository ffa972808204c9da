"""What other modules and the screens may ask of prescriptions.

Every refusal is a DmedError with an English sentence; `ConflictError` names the state of the
item (and, for professionals, who holds it), `UnprocessableError` carries one issue a finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmed.modules.prescriptions.model import (
    CANCEL_REASONS,
    OVERRIDE_REASONS,
    TIMINGS,
    Alert,
    Diagnosis,
    Draft,
    DraftItem,
    Item,
    ItemState,
    Prescription,
    Reason,
    Tier,
)
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

__all__ = [
    "CANCEL_REASONS",
    "OVERRIDE_REASONS",
    "TIMINGS",
    "Alert",
    "Diagnosis",
    "Draft",
    "DraftItem",
    "Item",
    "ItemState",
    "Prescription",
    "Reason",
    "Tier",
    "cancel",
    "check",
    "correct",
    "derive",
    "diagnoses",
    "diagnosis",
    "draft",
    "drafts",
    "drop_draft",
    "for_person",
    "prescription",
    "qr_svg",
    "qr_text",
    "repeat_last",
    "save_draft",
    "show_number",
    "sign",
    "slip_pdf",
]


def diagnoses(text: str, language: str = "uz", limit: int = 12) -> list[Diagnosis]:
    """Diagnoses as you type, best first: by ICD-10 code or name in any language or script."""
    raise NotImplementedError


def diagnosis(code: str) -> Diagnosis | None:
    """The diagnosis of an ICD-10 code, or None where our short list does not have it."""
    raise NotImplementedError


def show_number(number: str) -> str:
    """A prescription number as people read it: "1726-0048-2215-9"."""
    raise NotImplementedError


def derive(draft: Draft) -> Draft:
    """The draft with everything filled in that can be derived: a chosen medicine's usual dose,
    the quantity in units of presentation (rounded up), the line's diagnosis. Pure.
    """
    raise NotImplementedError


async def save_draft(gateway: Gateway, subject: Subject, draft: Draft) -> Draft:
    """Keep a draft (autosave); gives it an id at first. Only its own doctor can read it again."""
    raise NotImplementedError


async def drafts(gateway: Gateway, subject: Subject, patient: str = "") -> list[Draft]:
    """The doctor's drafts, newest first; of one patient where given."""
    raise NotImplementedError


async def draft(gateway: Gateway, subject: Subject, draft_id: str) -> Draft:
    """One of the doctor's drafts, or NotFoundError."""
    raise NotImplementedError


async def drop_draft(gateway: Gateway, subject: Subject, draft_id: str) -> None:
    """Forget a draft; forgetting twice is no error."""
    raise NotImplementedError


async def check(gateway: Gateway, subject: Subject, draft: Draft) -> list[Alert]:
    """Everything to say about a draft now, worst first; an unfinished line is a STOP whose reason
    names what is missing. Reads the patient's facts (audited).
    """
    raise NotImplementedError


async def sign(gateway: Gateway, subject: Subject, draft: Draft, *, key: str = "") -> Prescription:
    """Check, sign and activate in one transaction. `key` makes a retry safe: the same key by the
    same doctor gives the same prescription again. The answer carries the access code.

    Raises ForbiddenError (no doctor, no licence, no organisation), UnprocessableError with one
    issue for each STOP and each INTERRUPT without a coded reason.
    """
    raise NotImplementedError


async def correct(
    gateway: Gateway, subject: Subject, number: str, draft: Draft, *, key: str = ""
) -> Prescription:
    """Replace a prescription that nobody claimed yet by a new one, in one transaction: the old
    becomes cancelled with the reason "corrected". ConflictError once a pharmacy has it.
    """
    raise NotImplementedError


async def cancel(
    gateway: Gateway, subject: Subject, number: str, *, reason: str, item: int = 0
) -> Prescription:
    """Cancel one item (1..5) or all (0) with a code of CANCEL_REASONS. An item at a pharmacy gets
    the flag "cancel-requested" instead, and the pharmacy must answer.
    """
    raise NotImplementedError


async def repeat_last(gateway: Gateway, subject: Subject, patient: str) -> Draft:
    """A saved draft with the items of the patient's newest prescription, or NotFoundError."""
    raise NotImplementedError


async def prescription(gateway: Gateway, subject: Subject, number: str) -> Prescription:
    """By number (with or without hyphens) or by the id of one of its MedicationRequests."""
    raise NotImplementedError


async def for_person(
    gateway: Gateway, subject: Subject, patient: str, *, limit: int = 20
) -> list[Prescription]:
    """A person's prescriptions, newest first."""
    raise NotImplementedError


async def slip_pdf(
    gateway: Gateway, subject: Subject, number: str, language: str = "uz", *, paper: str = "a5"
) -> bytes:
    """The slip for the patient as PDF, paper "a5" or "a4"; the print is noted in the audit."""
    raise NotImplementedError


async def qr_svg(gateway: Gateway, subject: Subject, number: str) -> str:
    """The QR code of the slip as an inline SVG element."""
    raise NotImplementedError


async def qr_text(gateway: Gateway, subject: Subject, number: str) -> str:
    """The text in the QR code: number, access code, signed token."""
    raise NotImplementedError
