"""Communications of a dispute: what a person says against an entry, and the answer. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dmed.modules.card.rules.reading import DISPUTE_CODE, DISPUTE_SYSTEM
from dmed.trust.model import Subject

Record = dict[str, Any]


def _category() -> list[Record]:
    return [{"coding": [{"system": DISPUTE_SYSTEM, "code": DISPUTE_CODE}]}]


def objection(person: str, about: str, said: str, subject: Subject, now: datetime) -> Record:
    """The Communication of an objection; a guardian sends it in the name of the ward."""
    return {
        "resourceType": "Communication",
        "status": "completed",
        "category": _category(),
        "subject": {"reference": f"Patient/{person}"},
        "about": [{"reference": about}],
        "sent": now.isoformat(timespec="seconds"),
        "sender": {"reference": f"Patient/{subject.patient or person}", "display": subject.name},
        "payload": [{"contentCodeableConcept": {"text": said}}],
    }


def answer(person: str, dispute: Record, said: str, subject: Subject, now: datetime) -> Record:
    """The Communication that answers an objection."""
    sender: Record = {"display": subject.name}
    if subject.practitioner:
        sender = {"reference": f"Practitioner/{subject.practitioner}", **sender}
    return {
        "resourceType": "Communication",
        "inResponseTo": [{"reference": f"Communication/{dispute['id']}"}],
        "status": "completed",
        "category": _category(),
        "subject": {"reference": f"Patient/{person}"},
        "about": dispute.get("about", []),
        "sent": now.isoformat(timespec="seconds"),
        "recipient": [dispute.get("sender", {"reference": f"Patient/{person}"})],
        "sender": sender,
        "payload": [{"contentCodeableConcept": {"text": said}}],
    }
