"""What other rooms may call of the card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dmed.modules.card import service
from dmed.modules.card.model import Card, Conflict, Course, Dispute, Entry, Fact, Series, Source
from dmed.modules.card.service import TABS, disputes
from dmed.modules.card.service import summary as summaries
from dmed.modules.card.service.disputes import SAID_MIN
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_ENCODER = msgspec.json.Encoder(decimal_format="number")

__all__ = [
    "SAID_MIN", "TABS", "Card", "Conflict", "Course", "Dispute", "Entry", "Fact", "Series",
    "Source", "answer_dispute", "card_pdf", "dispute", "entry_of", "history", "open_card",
    "person_by_identifier", "summary",
]  # fmt: skip  # A list of names reads better filled.


async def open_card(
    gateway: Gateway, subject: Subject, patient_id: str, language: str, tab: str = "summary",
    until: str = "",
) -> Card:
    """One screen of the card; of a merged card that of the whole person. `until` asks for a
    further page of a course (Course.until). NotFoundError, InvalidError.
    """
    return await service.open_card(gateway, subject, patient_id, language, tab, until)


async def history(
    gateway: Gateway, subject: Subject, patient_id: str, code: str, language: str
) -> tuple[Card, Series]:
    """The newest measurements of one kind, at most 150. NotFoundError where there are none."""
    return await service.history(gateway, subject, patient_id, code, language)


async def summary(
    gateway: Gateway, subject: Subject, patient_id: str, language: str, base: str = ""
) -> bytes:
    """The International Patient Summary as FHIR JSON; `base` is this server's FHIR address."""
    made = await summaries.summary(gateway, subject, patient_id, language, base)
    return _ENCODER.encode(made)


async def person_by_identifier(gateway: Gateway, subject: Subject, identifier: str) -> str:
    """The id of the one card with "system|value"; NotFoundError, UnprocessableError."""
    return await summaries.by_identifier(gateway, subject, identifier)


async def card_pdf(gateway: Gateway, subject: Subject, patient_id: str, language: str) -> bytes:
    """The summary on paper as PDF; the print is noted in the audit."""
    return await summaries.card_pdf(gateway, subject, patient_id, language)


async def entry_of(
    gateway: Gateway, subject: Subject, patient_id: str, about: str, language: str
) -> Entry:
    """The entry "Type/id" of a card; NotFoundError where it is none of this person's."""
    return await disputes.entry_of(gateway, subject, patient_id, about, language)


async def dispute(
    gateway: Gateway, subject: Subject, patient_id: str, about: str, said: str
) -> str:
    """Write down what a person says against an entry; the id of the Communication.

    InvalidError for too few or many words, ConflictError where one is open, NotFoundError.
    """
    return await disputes.dispute(gateway, subject, patient_id, about, said)


async def answer_dispute(
    gateway: Gateway, subject: Subject, patient_id: str, dispute_id: str, said: str
) -> bool:
    """Answer an objection; False where the card has none of that id. ConflictError."""
    return await disputes.answer(gateway, subject, patient_id, dispute_id, said)
