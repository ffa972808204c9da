"""The document that a doctor signs: what stands on the screen, and what the records must say.

Its lines are made alike from a draft and from stored records, so that both can be compared.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.modules.prescriptions.rules import unregistered
from dmed.modules.prescriptions.rules.resources import item_of

ACT = "prescription"


def content(
    draft: Draft, known: dict[str, Preparation], patient: dict[str, Any], name: str
) -> dict[str, Any]:
    """Person, medicines and terms of a prescription."""
    return {
        "patient": {"reference": f"Patient/{draft.patient}", "name": name,
                    "birthDate": str(patient.get("birthDate", ""))},
        "items": [line(item, draft.diagnosis, known[item.preparation]) for item in draft.items],
        "repeats": draft.repeats,
        "start": draft.start.isoformat() if draft.start else "",
        "trustee": draft.trustee,
        "replaces": draft.replaces + (f"/{draft.replaces_item}" if draft.replaces_item else ""),
        **_more(draft),
    }  # fmt: skip  # Nested once.


def _more(draft: Draft) -> dict[str, Any]:
    """What only some prescriptions say."""
    found: dict[str, Any] = {}
    if draft.commission:
        found["commission"] = draft.commission
    if draft.paper:
        found["paper"] = {"number": draft.paper.number, "reason": draft.paper.reason,
                          "written": draft.paper.written.isoformat()}  # fmt: skip  # One form.
    return found


def line(item: DraftItem, diagnosis: str, preparation: Preparation) -> dict[str, Any]:
    """One medicine, in numbers and in words."""
    named = {"product": item.product, "exception": item.exception} if item.product else {}
    if item.unregistered is not None:
        named["decision"] = item.unregistered.decision
    return {
        **named,
        "medicine": preparation.label("uz"), "preparation": item.preparation,
        "dose": _plain(item.dose), "timesPerDay": item.times_per_day,
        "days": item.duration_days, "quantity": _plain(item.quantity), "timing": item.timing,
        "asNeeded": item.as_needed, "diagnosis": item.diagnosis or diagnosis, "note": item.note,
    }  # fmt: skip  # Facts of one line.


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def is_as_signed(record: dict[str, Any], document: dict[str, Any], place: int) -> bool:
    """Whether a stored MedicationRequest is the line at a place of a signed document, for the same
    person; its state may be another by now.
    """
    found = unregistered.preparation_of(record)
    content_: dict[str, Any] = document["content"]
    if found is None or place >= len(content_["items"]):
        return False
    same_person = (record.get("subject") or {}).get("reference") == content_["patient"]["reference"]
    said = line(item_of(record, found.key), "", found)
    return bool(same_person) and said == dict(content_["items"][place])
