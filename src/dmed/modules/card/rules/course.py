"""The course of things: records of many types as one line of time, page by page. Pure.

Pages are exact without a place in every search: a page holds what lies above the lowest moment to
which every search that was cut short has come, and the next page begins at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from dmed.fhir.values import date_bounds
from dmed.kit import i18n
from dmed.modules.card.model import Course, Entry
from dmed.modules.card.rules import reading
from dmed.modules.card.rules.sources import Names, source
from dmed.modules.medicines import api as medicines
from dmed.modules.medid import api as medid

Record = dict[str, Any]
KINDS = {
    "Encounter": "visit", "Condition": "diagnosis", "DiagnosticReport": "report",
    "MedicationRequest": "prescription", "MedicationDispense": "dispense",
    "Immunization": "vaccination", "AllergyIntolerance": "allergy", "Procedure": "procedure",
    "DocumentReference": "document",
}  # fmt: skip  # Two columns.
DATES = {
    "Encounter": "date", "Condition": "recorded-date", "DiagnosticReport": "date",
    "MedicationRequest": "authoredon", "MedicationDispense": "whenhandedover",
    "Immunization": "date", "AllergyIntolerance": "date", "Procedure": "date",
    "DocumentReference": "date",
}  # fmt: skip  # Same.
"""Search parameter by which a type has its place in time; `when_of` reads the same element."""
NEVER = -(2**62)
_medid = medid.reading


def when_of(record: Record) -> str:
    """The element that the type's search parameter of DATES reads; "" without it."""
    type_ = record["resourceType"]
    if type_ == "Encounter":
        period = record.get("actualPeriod", {})
        return str(period.get("start", "") or period.get("end", ""))
    if type_ == "Procedure":
        period = record.get("occurrencePeriod", {})
        return str(record.get("occurrenceDateTime", "") or period.get("start", ""))
    if type_ == "DiagnosticReport":
        period = record.get("effectivePeriod", {})
        return str(record.get("effectiveDateTime", "") or period.get("start", ""))
    name = {"Condition": "recordedDate", "MedicationRequest": "authoredOn",
            "MedicationDispense": "whenHandedOver", "Immunization": "occurrenceDateTime",
            "AllergyIntolerance": "recordedDate", "DocumentReference": "date"}[type_]
    return str(record.get(name, ""))


def second_of(when: str) -> int:
    """The first second that a FHIR date may mean, as the store orders them; NEVER without one."""
    try:
        return date_bounds(when)[0] // 1_000_000
    except ValueError:
        return NEVER


def instant(second: int) -> str:
    """A second as a FHIR instant."""
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")


def cut(found: dict[str, list[Record]], size: int) -> tuple[list[Record], str]:
    """The records of a page, newest first, and the instant before which the next one begins.

    `found` holds the newest records of each type, in order, at most `size` of each. The instant
    is "" where nothing is left. A page is empty only where one second has `size` records of a
    type: the caller then asks for more of them.
    """
    floor = NEVER
    for records in found.values():
        if len(records) >= size:
            floor = max(floor, second_of(when_of(records[-1])))
    placed = [(second_of(when_of(one)), f"{one['resourceType']}/{one['id']}", one)
              for records in found.values() for one in records]
    placed.sort(key=lambda one: one[:2], reverse=True)
    shown = [record for second, _, record in placed if floor == NEVER or second > floor]
    return shown, "" if floor == NEVER else instant(floor + 1)


def course(shown: Iterable[Record], names: Names, language: str, until: str = "") -> Course:
    """Records already in order as a page of the course."""
    return Course(tuple(entry(one, names, language) for one in shown), until)


def entry(record: Record, names: Names, language: str) -> Entry:
    """One record as an entry."""
    type_ = record["resourceType"]
    text, detail = _TEXTS.get(type_, _plain)(record, language)
    return Entry(
        when=when_of(record) or str(record.get("onsetDateTime", "")),
        kind=KINDS[type_], text=text, detail=detail, reference=f"{type_}/{record['id']}",
        source=source(record, names))


def _visit(record: Record, language: str) -> tuple[str, str]:
    value = _medid.first(_medid.first(record.get("reason")).get("value"))
    reason = _medid.diagnosis_text(value.get("concept", {}), language)
    kind = _medid.first(_medid.first(record.get("class")).get("coding")).get("code", "")
    return reason or i18n.translator().text(language, "medid.timeline.visit"), str(kind)


def _medicine(record: Record, language: str) -> tuple[str, str]:
    medication = record.get("medication", {})
    found = medicines.preparation_of(medication)
    if found is not None:
        return medicines.label(found.key, language), ""
    return reading.words(medication.get("concept", {})), ""


def _vaccination(record: Record, language: str) -> tuple[str, str]:
    found = reading.vaccination(record, Names(), language)
    return found.text, found.detail


def _diagnosis(record: Record, language: str) -> tuple[str, str]:
    code = record.get("code", {})
    return _medid.diagnosis_text(code, language), _medid.coding(code, _medid.ICD10)


def _report(record: Record, language: str) -> tuple[str, str]:
    return reading.title(record, language), ""


def _document(record: Record, _language: str) -> tuple[str, str]:
    return reading.words(record.get("type", {})) or str(record.get("description", "")), ""


def _plain(record: Record, _language: str) -> tuple[str, str]:
    return reading.words(record.get("code", {})), ""


_TEXTS = {
    "Encounter": _visit, "MedicationRequest": _medicine, "MedicationDispense": _medicine,
    "Immunization": _vaccination, "Condition": _diagnosis, "DiagnosticReport": _report,
    "DocumentReference": _document,
}  # fmt: skip  # Two columns.
