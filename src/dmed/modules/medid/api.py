"""What other modules may call of the person index and unified card."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from dmed.modules.medid import rules, service
from dmed.modules.medid.demo import names
from dmed.modules.medid.model import (
    CATEGORIES,
    AllergyFact,
    Banner,
    DiagnosisFact,
    Draft,
    FieldPair,
    Finding,
    MedicineFact,
    NearMatch,
    NearMatchesError,
    NewAllergy,
    NumberHeldError,
    PersonFacts,
    PersonHit,
    Pinfl,
    Span,
    Visit,
)
from dmed.modules.medid.rules import compose_pinfl, reading
from dmed.modules.medid.rules.documents import CHOSEN as DOCUMENT_KINDS
from dmed.modules.medid.rules.facts import KIDNEY_CODES, facts_of
from dmed.modules.medid.service import finding, merging
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

__all__ = [
    "CATEGORIES", "DOCUMENT_KINDS", "KIDNEY_CODES",
    "AllergyFact", "Banner", "DiagnosisFact", "Draft", "FieldPair", "Finding",
    "MedicineFact", "NearMatch", "NearMatchesError", "NewAllergy", "NumberHeldError",
    "PersonFacts", "PersonHit", "Pinfl", "Span", "Visit",
    "add_allergy", "add_diagnosis", "add_pregnancy", "add_weight", "banner", "cards_of",
    "check",
    "compose_pinfl", "facts", "facts_of", "find", "names", "near_matches", "read_pinfl",
    "reading", "register", "slip_pdf",
]  # fmt: skip  # A list of names reads better filled.


async def find(
    gateway: Gateway, subject: Subject, text: str, limit: int = 20, *, year: str = "",
    district: str = "", phone: str = "",
) -> list[PersonHit]:
    """Persons for what was typed into the one box, best first, at most `limit`.

    Reads a PINFL (14 digits), a MED-ID (13 digits, blanks allowed), a phone (9 or 12 digits), a
    document's number, or words of the name in any script and order, with or without a day or
    year of birth. `year` (1975 or 1970-1979), `district` (code of a district or region) and
    `phone` (whole or its last digits) narrow. Nothing found is an empty list.
    """
    return await finding.find(
        gateway, subject, text, limit, year=year, district=district, phone=phone)


def check(draft: Draft, today: date) -> list[Finding]:
    """Everything to say of a draft before it is registered; without an "error" it may be."""
    return rules.check(draft, today)


def read_pinfl(text: str) -> Pinfl | None:
    """The PINFL in `text` (blanks allowed) with what it tells, or None if it is not well formed."""
    return rules.read_pinfl(text)


async def near_matches(gateway: Gateway, subject: Subject, draft: Draft) -> list[NearMatch]:
    """Cards that may be the draft's person, strongest first, with differing letters to mark."""
    return await service.near_matches(gateway, subject, draft)


async def register(
    gateway: Gateway, subject: Subject, draft: Draft, *, despite: tuple[str, ...] = ()
) -> str:
    """Make a new card and return the id of its Patient.

    `despite` lists the ids of near matches that the registrar has seen and put aside.
    Raises UnprocessableError (an "error" of `check`), NumberHeldError (the PINFL stands on
    another active card), NearMatchesError (a near match is not in `despite`).
    """
    return await service.register(gateway, subject, draft, despite=despite)


async def banner(gateway: Gateway, subject: Subject, patient_id: str, language: str) -> Banner:
    """Who it is and what must not be missed; NotFoundError if there is no such card."""
    return await service.banner(gateway, subject, patient_id, language)


async def facts(gateway: Gateway, subject: Subject, patient_id: str) -> PersonFacts:
    """What prescribing must know of a person today; NotFoundError if there is no such card."""
    return await service.facts(gateway, subject, patient_id)


async def add_allergy(
    gateway: Gateway, subject: Subject, patient_id: str, allergy: NewAllergy
) -> str:
    """Write an AllergyIntolerance and return its id; UnprocessableError says what is missing."""
    return await service.add_allergy(gateway, subject, patient_id, allergy)


async def add_pregnancy(
    gateway: Gateway, subject: Subject, patient_id: str, weeks: int, on: date | None = None
) -> str:
    """Write a pregnancy of `weeks` completed weeks on a day (today) and return the Condition's id.

    UnprocessableError for men, for weeks outside 1..42 and for ages outside 10..60.
    """
    return await service.add_pregnancy(gateway, subject, patient_id, weeks, on)


async def add_weight(
    gateway: Gateway, subject: Subject, patient_id: str, weight_kg: Decimal, on: date | None = None
) -> str:
    """Write a body weight (0.3 to 400 kg) and return the Observation's id."""
    return await service.add_weight(gateway, subject, patient_id, weight_kg, on)


async def add_diagnosis(
    gateway: Gateway, subject: Subject, patient_id: str, code: str, text: str,
    *, kind: str = "gencl-0001-00003", on: date | None = None,
) -> str:
    """Write an active diagnosis (ICD-10 code, its short name) and return the Condition's id."""
    return await service.add_diagnosis(
        gateway, subject, patient_id, code, text, kind=kind, on=on)


async def slip_pdf(gateway: Gateway, subject: Subject, patient_id: str, language: str) -> bytes:
    """The registration slip with MED-ID and QR as PDF; the print is noted in the audit."""
    return await service.slip_pdf(gateway, subject, patient_id, language)


async def survivor(gateway: Gateway, subject: Subject, patient_id: str) -> str:
    """The id of the card that stands for this one: itself where it was not merged."""
    return await merging.survivor(gateway, subject, patient_id)


async def cards_of(gateway: Gateway, subject: Subject, patient_id: str) -> list[str]:
    """All cards of the person to whom this one belongs; the one that stands for them first.

    Records stay with the card they were written to: who shows a person asks for all of these.
    """
    return await merging.cards_of(gateway, subject, patient_id)
