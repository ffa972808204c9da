"""Records read as facts of the card, each with its source, in the reader's language."""

from __future__ import annotations

from datetime import date
from typing import Any

from dmed.kit import i18n
from dmed.modules.card.model import Dispute, Fact, Relative, Social
from dmed.modules.card.rules.sources import Names, source
from dmed.modules.medid import api as medid

reading = medid.reading
Record = dict[str, Any]
DISPUTE_SYSTEM = "https://dmed.uz/fhir/CodeSystem/communication-category"
DISPUTE_CODE = "entry-dispute"
_SEVERE = frozenset({"high", "severe"})


def codes(concept: Record) -> set[str]:
    """All codes of a CodeableConcept, whatever their system."""
    return {str(one["code"]) for one in concept.get("coding", []) if one.get("code")}


def words(concept: Record) -> str:
    """What a CodeableConcept says of itself: text, display, or the bare code."""
    first = reading.first(concept.get("coding"))
    return str(concept.get("text") or first.get("display", "") or first.get("code", ""))


def is_mistake(record: Record) -> bool:
    """Whether a record was entered in error: no list of the card shows it."""
    sure = codes(record.get("verificationStatus", {}))
    return "entered-in-error" in sure or record.get("status") == "entered-in-error"


def is_refuted(record: Record) -> bool:
    """Whether a diagnosis or allergy was looked into and found not to be."""
    return "refuted" in codes(record.get("verificationStatus", {}))


def problem(record: Record, names: Names, language: str) -> Fact:
    """A Condition."""
    found = medid.reading.diagnosis(record, language)
    return Fact(
        reference=f"Condition/{record['id']}",
        text=found.text,
        code=found.code,
        when=found.since,
        until=str(record.get("abatementDateTime", ""))[:10],
        status="refuted" if is_refuted(record) else found.status,
        kind=found.kind,
        source=source(record, names),
    )


def allergy(record: Record, names: Names) -> Fact:
    """An AllergyIntolerance; `kind` is the reaction, `detail` the criticality."""
    found = reading.allergy(record)
    status = "refuted" if is_refuted(record) else next(
        iter(codes(record.get("clinicalStatus", {}))), "active")
    tone = ""
    if status == "active":
        tone = "bad" if {found.criticality, found.severity} & _SEVERE else "warn"
    return Fact(
        reference=f"AllergyIntolerance/{record['id']}",
        text=found.text,
        code=found.atc,
        detail=found.criticality,
        when=found.since,
        status=status,
        tone=tone,
        kind=found.reaction,
        source=source(record, names),
    )


def medicine(record: Record, names: Names, language: str) -> Fact:
    """A MedicationRequest, or a MedicationStatement, as a medicine taken."""
    if record["resourceType"] == "MedicationStatement":
        period = record.get("effectivePeriod", {})
        return Fact(
            reference=f"MedicationStatement/{record['id']}",
            text=words(record.get("medication", {}).get("concept", {})),
            detail=str(reading.first(record.get("dosage")).get("text", "")),
            when=str(record.get("effectiveDateTime", "") or period.get("start", "")),
            until=str(period.get("end", ""))[:10],
            status=str(record.get("status", "")),
            kind="said",
            source=source(record, names),
        )
    found = reading.medicine(record, language)
    return Fact(
        reference=f"MedicationRequest/{record['id']}",
        text=found.text,
        code=found.atc,
        detail=found.dose,
        when=found.since,
        until=found.until,
        status=found.status,
        source=source(record, names),
    )


def is_taken(record: Record, today: date) -> bool:
    """Whether a MedicationRequest or MedicationStatement means a medicine taken on a day.

    Reads the dates alone: of hundreds of prescriptions of a long life few are looked up by name.
    """
    if record["resourceType"] == "MedicationRequest":
        until = _until(record)
        return record.get("status") in ("active", "on-hold", "completed") and (
            not until or until >= today.isoformat())
    end = str(record.get("effectivePeriod", {}).get("end", ""))[:10]
    return record.get("status") in ("recorded", "draft", "active") and (
        not end or end >= today.isoformat())


def _until(request: Record) -> str:
    dosage = reading.first(request.get("dosageInstruction"))
    period = request.get("effectiveDosePeriod") or dosage.get("timing", {}).get(
        "repeat", {}).get("boundsPeriod", {})
    validity = request.get("dispenseRequest", {}).get("validityPeriod", {})
    return str(period.get("end", "") or validity.get("end", ""))[:10]


def vaccination(record: Record, names: Names, language: str) -> Fact:
    """An Immunization; `detail` is the number of the dose, `kind` the lot."""
    concept = record.get("vaccineCode", {})
    code = reading.coding(concept, reading.CVX)
    key = f"medid.cvx.{code}"
    texts = i18n.translator()
    return Fact(
        reference=f"Immunization/{record['id']}",
        text=texts.text(language, key) if code and texts.has(key) else words(concept),
        code=code or next(iter(codes(concept)), ""),
        detail=str(reading.first(record.get("protocolApplied")).get("doseNumber", "")),
        when=str(record.get("occurrenceDateTime", "") or record.get("occurrenceString", "")),
        status=str(record.get("status", "")),
        kind=str(record.get("lotNumber", "")),
        source=source(record, names),
    )


def dispute(record: Record, answers: dict[str, Record]) -> Dispute | None:
    """A Communication of this kind with its answer; None for any other Communication."""
    if not is_dispute(record):
        return None
    about = reading.first(record.get("about")).get("reference", "")
    reply = answers.get(f"Communication/{record['id']}", {})
    return Dispute(
        id=str(record["id"]),
        about=str(about),
        said=_payload(record),
        when=str(record.get("sent", "")),
        answer=_payload(reply),
        answered_by=str(reply.get("sender", {}).get("display", "")),
        is_open=not reply,
    )


def is_dispute(record: Record) -> bool:
    """Whether a Communication disputes an entry, or answers to that."""
    return any(reading.coding(one, DISPUTE_SYSTEM) == DISPUTE_CODE
               for one in record.get("category", []))


def disputes(records: list[Record]) -> tuple[Dispute, ...]:
    """The disputes among a person's Communications, the open ones first, newest first."""
    answers = {str(to.get("reference", "")): one
               for one in records if is_dispute(one) for to in one.get("inResponseTo", [])}
    made = [found for one in records if not one.get("inResponseTo")
            and (found := dispute(one, answers)) is not None]
    made.sort(key=lambda one: one.when, reverse=True)
    return tuple(sorted(made, key=lambda one: not one.is_open))


def _payload(record: Record) -> str:
    concept = reading.first(record.get("payload")).get("contentCodeableConcept", {})
    return str(concept.get("text", ""))


def social(
    patient: Record, relatives: list[Record], observations: list[Record], names: Names,
    language: str,
) -> Social:
    """Household, language, address, and what was written of the way of living."""
    contacts = [
        Relative(name=reading.full_name(one.get("name", {})),
                 relation=_relation(one.get("relationship", [])),
                 phone=_phone(one)) for one in patient.get("contact", [])]
    kin = [Relative(name=reading.name_for(one, language),
                    relation=_relation(one.get("relationship", [])), phone=_phone(one))
           for one in relatives if one.get("active", True)]
    spoken = next((one for one in patient.get("communication", []) if one.get("preferred")),
                  reading.first(patient.get("communication")))
    return Social(
        address=reading.address(patient),
        phone=_phone(patient),
        marital=next(iter(codes(patient.get("maritalStatus", {}))), ""),
        language=next(iter(codes(spoken.get("language", {}))), "") or str(
            patient.get("language", "")),
        relatives=(*kin, *contacts),
        facts=tuple(_social_fact(one, names, language) for one in observations),
    )


def _social_fact(record: Record, names: Names, language: str) -> Fact:
    return Fact(
        reference=f"Observation/{record['id']}", text=title(record, language),
        detail=value_words(record), when=str(record.get("effectiveDateTime", "")),
        source=source(record, names))


def title(observation: Record, language: str) -> str:
    """What was measured: by its LOINC code in the reader's language, else as it was written."""
    concept = observation.get("code", {})
    key = f"medid.loinc.{reading.coding(concept, reading.LOINC)}"
    texts = i18n.translator()
    return texts.text(language, key) if texts.has(key) else words(concept)


def value_words(observation: Record) -> str:
    """A value that is no measurement, in words: a code, a text, yes or no, a number with unit."""
    concept = observation.get("valueCodeableConcept")
    if isinstance(concept, dict):
        return words(concept)
    quantity = observation.get("valueQuantity", {})
    if quantity.get("value") is not None:
        return f"{quantity['value']} {quantity.get('unit', '') or quantity.get('code', '')}".strip()
    for name in ("valueString", "valueDateTime", "valueInteger", "valueBoolean"):
        if name in observation:
            return str(observation[name])
    return ""


def _relation(concepts: Any) -> str:
    listed = concepts if isinstance(concepts, list) else [concepts]
    found = {code for one in listed for code in codes(one)} - {"NOK", "C", "N"}
    return next(iter(sorted(found)), "")


def _phone(record: Record) -> str:
    return str(reading.phone(record))
