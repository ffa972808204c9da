"""What other modules and the screens may ask of prescriptions.

The pharmacy works on a `Case`: `open_case` locks a prescription inside a unit of the gateway and
`move` makes one transition of the state table.

Every refusal is a DmedError with an English sentence; `ConflictError` names the state of the
item (and, for professionals, who holds it), `UnprocessableError` carries one issue a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from dmed.kit import qr
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import (
    CANCEL_REASONS,
    HOLD_REASONS,
    INN_EXCEPTIONS,
    OVERRIDE_REASONS,
    PAPER_REASONS,
    TIMINGS,
    Alert,
    Decision,
    Diagnosis,
    Draft,
    DraftItem,
    Finding,
    Item,
    ItemState,
    Paper,
    Prescription,
    Reason,
    Tier,
    Unregistered,
)
from dmed.modules.prescriptions.rules import numbers
from dmed.modules.prescriptions.rules import precision as precisions
from dmed.modules.prescriptions.rules.documents import ACT as SIGNED_ACT
from dmed.modules.prescriptions.rules.documents import is_as_signed
from dmed.modules.prescriptions.rules.foreign import Order, order_of
from dmed.modules.prescriptions.rules.law import fund_percent
from dmed.modules.prescriptions.rules.numbers import (
    NUMBER_SYSTEM,
    QrText,
    is_prescription_text,
    read_number,
    read_qr,
)
from dmed.modules.prescriptions.rules.offline import is_controlled, is_late, token_key
from dmed.modules.prescriptions.rules.precision import ACCEPTED, OVERRIDDEN, Precision
from dmed.modules.prescriptions.rules.resources import (
    ALERT_SYSTEM,
    OVERRIDE_SYSTEM,
    moment_of,
    product_of,
)
from dmed.modules.prescriptions.rules.resources import quantity as quantity_of_units
from dmed.modules.prescriptions.rules.states import (
    LEASE,
    Actor,
    Event,
    Who,
    check_undo,
    check_undo_instance,
    dispense_event,
    said,
)
from dmed.modules.prescriptions.rules.tokens import Token, TokenItem, day_number
from dmed.modules.prescriptions.rules.unregistered import stated
from dmed.modules.prescriptions.service import (
    adopting,
    decisions,
    favourites,
    lifetime,
    paper_forms,
    parameters,
    printing,
    signing,
    views,
)
from dmed.modules.prescriptions.service import diagnoses as diagnosis_list
from dmed.modules.prescriptions.service import drafts as drafts_service
from dmed.modules.prescriptions.service.access import check_code
from dmed.modules.prescriptions.service.case import (
    Case,
    CaseItem,
    expect,
    is_held,
    move,
    open_case,
    start_if_due,
)
from dmed.modules.prescriptions.service.decisions import may_hand_over
from dmed.modules.prescriptions.service.drafts import (
    judge,
    judge_card,
    note_shown,
    shown_card,
    unregistered_line,
)
from dmed.modules.prescriptions.service.offline import (
    closed_numbers,
    doctors_keys,
    is_on_its_way,
    public_keys,
    read_token,
    seal,
    token_holds,
)
from dmed.modules.prescriptions.service.parameters import Input
from dmed.modules.prescriptions.service.signing import Within
from dmed.modules.prescriptions.service.speaking import say, standing
from dmed.modules.prescriptions.service.views import preparation_of
from dmed.modules.signing import api as signatures
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

__all__ = [
    "ACCEPTED",
    "ALERT_SYSTEM",
    "CANCEL_REASONS",
    "HOLD_REASONS",
    "INN_EXCEPTIONS",
    "LEASE",
    "NUMBER_SYSTEM",
    "OVERRIDDEN",
    "OVERRIDE_REASONS",
    "OVERRIDE_SYSTEM",
    "PAPER_REASONS",
    "SIGNED_ACT",
    "TIMINGS",
    "Actor",
    "Alert",
    "Case",
    "CaseItem",
    "Decision",
    "Diagnosis",
    "Draft",
    "DraftItem",
    "Event",
    "Finding",
    "Input",
    "Item",
    "ItemState",
    "Order",
    "Paper",
    "Precision",
    "Prescription",
    "QrText",
    "Reason",
    "Tier",
    "Token",
    "TokenItem",
    "Unregistered",
    "Who",
    "adopt",
    "alert_precision",
    "answer_alerts",
    "cancel",
    "check",
    "check_code",
    "check_undo",
    "check_undo_instance",
    "closed_numbers",
    "correct",
    "day_number",
    "decisions",
    "derive",
    "diagnoses",
    "diagnosis",
    "dispense_event",
    "doctors_keys",
    "draft",
    "drafts",
    "drop_draft",
    "expect",
    "favourites",
    "for_person",
    "forms_pdf",
    "fund_percent",
    "hold",
    "is_as_signed",
    "is_controlled",
    "is_held",
    "is_late",
    "is_on_its_way",
    "is_prescription_text",
    "judge",
    "judge_card",
    "may_hand_over",
    "moment_of",
    "move",
    "new_forms",
    "note_shown",
    "number_of_request",
    "open_case",
    "order_of",
    "paper_forms",
    "parameters",
    "preparation_of",
    "prescription",
    "product_of",
    "public_keys",
    "qr_svg",
    "qr_text",
    "quantity_of_units",
    "read_number",
    "read_qr",
    "read_token",
    "release",
    "repeat_last",
    "said",
    "save_draft",
    "say",
    "seal",
    "settle",
    "show_number",
    "shown_card",
    "sign",
    "slip_pdf",
    "standing",
    "start_if_due",
    "stated",
    "token_holds",
    "token_key",
    "unregistered_line",
    "view_of_case",
]


def diagnoses(text: str, language: str = "uz", limit: int = 12) -> list[Diagnosis]:
    """Diagnoses as you type, best first: by ICD-10 code or name in any language or script."""
    return diagnosis_list.search(text, language, limit)


def diagnosis(code: str) -> Diagnosis | None:
    """The diagnosis of an ICD-10 code, or None where our short list does not have it."""
    return diagnosis_list.entries().get(code)


async def new_forms(gateway: Gateway, subject: Subject, count: int) -> list[str]:
    """So many blank forms of paper with numbers of their own, for a doctor who may prescribe."""
    return await printing.new_forms(gateway, subject, count)


async def forms_pdf(gateway: Gateway, subject: Subject, language: str = "uz") -> bytes:
    """Every blank form of the doctor as one PDF, a page of A5 each; noted in the audit."""
    return await printing.forms_pdf(gateway, subject, language)


def show_number(number: str) -> str:
    """A prescription number as people read it: "1726-0048-2215-9"."""
    return numbers.show_number(number) if len(number) == 13 and number.isdigit() else number


def derive(draft: Draft) -> Draft:
    """The draft with everything filled in that can be derived: a chosen medicine's usual dose,
    the quantity in units of presentation (rounded up), the line's diagnosis. Pure.
    """
    return drafts_service.derive(draft)


async def save_draft(gateway: Gateway, subject: Subject, draft: Draft) -> Draft:
    """Keep a draft (autosave); gives it an id at first. Only its own doctor can read it again."""
    return await drafts_service.save(gateway, subject, draft)


async def drafts(gateway: Gateway, subject: Subject, patient: str = "") -> list[Draft]:
    """The doctor's drafts, newest first; of one patient where given."""
    return await drafts_service.listed(gateway, subject, patient)


async def draft(gateway: Gateway, subject: Subject, draft_id: str) -> Draft:
    """One of the doctor's drafts, or NotFoundError."""
    return await drafts_service.one(gateway, subject, draft_id)


async def drop_draft(gateway: Gateway, subject: Subject, draft_id: str) -> None:
    """Forget a draft; forgetting twice is no error."""
    await drafts_service.drop(gateway, subject, draft_id)


async def check(gateway: Gateway, subject: Subject, draft: Draft) -> list[Alert]:
    """Everything to say about a draft now, worst first; an unfinished line is a STOP whose reason
    names what is missing. Reads the patient's facts (audited).
    """
    return await drafts_service.check(gateway, subject, draft)


async def alert_precision(
    gateway: Gateway, subject: Subject, since: date, until: date
) -> list[Precision]:
    """How often each rule was shown on some days (both included), how often it was passed and with
    which reason; those that clinicians should look at first.
    """
    async with gateway.unit(subject) as unit:
        return precisions.precision(await tables.alert_counts(unit, since, until))


async def answer_alerts(
    unit: GatewayUnit, channel: str, answers: Mapping[UUID, tuple[str, str]]
) -> set[UUID]:
    """Keep what became of alerts (OVERRIDDEN or ACCEPTED, and a coded reason); the cards that this
    channel was shown. Told again, the last word holds.
    """
    outcomes = [outcome for outcome, _ in answers.values()]
    reasons = [reason for _, reason in answers.values()]
    return await tables.answer_alerts(unit, channel, list(answers), outcomes, reasons)


async def prepare(gateway: Gateway, subject: Subject, draft: Draft) -> signatures.Request:
    """The document of a draft, for the doctor's own program to sign; errors as `sign`."""
    return await signing.prepare(gateway, subject, draft)


async def sign(
    gateway: Gateway,
    subject: Subject,
    draft: Draft,
    *,
    key: str = "",
    given: signatures.Given | None = None,
    within: Within | None = None,
) -> Prescription:
    """Check, sign and activate in one transaction. `within` is what else belongs to the act, done
    in the same transaction with the unit and the new number. `key` makes a retry safe: the same
    key by the same doctor gives the same prescription again. The answer carries the access code.
    `given` is what the doctor's own program signed, where signatures are made outside.

    Raises ForbiddenError (no doctor, no licence, no organisation), UnprocessableError with one
    issue for each STOP and each INTERRUPT without a coded reason.
    """
    return await signing.sign(gateway, subject, draft, key=key, given=given, within=within)


async def correct(
    gateway: Gateway, subject: Subject, number: str, draft: Draft, *, key: str = ""
) -> Prescription:
    """Replace a prescription that nobody claimed yet by a new one, in one transaction: the old
    becomes cancelled with the reason "corrected". ConflictError once a pharmacy has it.
    """
    replacing = msgspec.structs.replace(draft, replaces=numbers.read_number(number))
    return await signing.sign(gateway, subject, replacing, key=key)


async def cancel(
    gateway: Gateway,
    subject: Subject,
    number: str,
    *,
    reason: str,
    item: int = 0,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> Prescription:
    """Cancel one item (1..5) or all (0) with a code of CANCEL_REASONS. An item at a pharmacy gets
    the flag "cancel-requested" instead, and the pharmacy must answer. `expected`: item -> version
    of its Task that the caller knows (PreconditionError for another).
    """
    return await signing.cancel(
        gateway, subject, number, reason=reason, item=item, key=key, expected=expected
    )


async def hold(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    *,
    reason: str,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> None:
    """Stop an open item where it stands, at a counter too, with a code of HOLD_REASONS. Only an
    administrator may (ForbiddenError); ConflictError names the state of one that is not open.
    """
    await lifetime.hold(gateway, subject, number, item, reason=reason, key=key, expected=expected)


async def release(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    *,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> None:
    """Let an item on hold go on exactly where it stood, with its holder; by an administrator."""
    await lifetime.release(gateway, subject, number, item, key=key, expected=expected)


async def settle(
    gateway: Gateway, subject: Subject, number: str, item: int, *, is_paid: bool, reason: str = ""
) -> None:
    """The insurer's answer to a claim for payment, by a system: paid, or refused with a reason."""
    await lifetime.settle(gateway, subject, number, item, is_paid=is_paid, reason=reason)


async def repeat_last(gateway: Gateway, subject: Subject, patient: str) -> Draft:
    """A saved draft with the items of the patient's newest prescription, or NotFoundError."""
    return await signing.repeat_last(gateway, subject, patient)


async def prescription(gateway: Gateway, subject: Subject, number: str) -> Prescription:
    """By number (with or without hyphens) or by the id of one of its MedicationRequests."""
    return await views.prescription(gateway, subject, number)


async def for_person(
    gateway: Gateway, subject: Subject, patient: str, *, limit: int = 20
) -> list[Prescription]:
    """A person's prescriptions, newest first."""
    return await views.for_person(gateway, subject, patient, limit)


async def slip_pdf(
    gateway: Gateway, subject: Subject, number: str, language: str = "uz", *, paper: str = "a5"
) -> bytes:
    """The slip for the patient as PDF, paper "a5" or "a4"; the print is noted in the audit."""
    return await printing.slip_pdf(gateway, subject, number, language, paper)


async def qr_svg(gateway: Gateway, subject: Subject, number: str) -> str:
    """The QR code of the slip as an inline SVG element."""
    return qr.svg(await printing.qr_text(gateway, subject, number))


async def qr_text(gateway: Gateway, subject: Subject, number: str) -> str:
    """The text in the QR code: number, access code, signed token."""
    return await printing.qr_text(gateway, subject, number)


async def number_of_request(unit: GatewayUnit, request_id: str) -> str:
    """The number of the prescription that a MedicationRequest belongs to, or ""."""
    return await tables.number_of_request(unit, request_id)


async def adopt(gateway: Gateway, request_id: str) -> str:
    """Give a system's signed prescription a number and a Task; "" where it is none."""
    return await adopting.adopt(gateway, request_id)


def view_of_case(case: Case, patient: dict[str, Any]) -> Prescription:
    """The prescription as a case shows it, with the Patient's name and birth date."""
    return views.of_case(case, patient)
