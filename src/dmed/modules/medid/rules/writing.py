"""Records written from what was typed, after the profiles of the national core guide."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dmed.kit.text import is_cyrillic
from dmed.modules.medid.model import Draft, NewAllergy
from dmed.modules.medid.rules import documents, drafts, merging, numbers
from dmed.modules.medid.rules.reading import ATC_SYSTEM, ICD10, LOINC, WEIGHT_LOINC
from dmed.trust.model import Subject

_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_EXTENSION = "https://dhp.uz/fhir/core/StructureDefinition/"
_CS = "https://terminology.dhp.uz/fhir/core/CodeSystem/"
_THO = "http://terminology.hl7.org/CodeSystem/"
UNVERIFIED_USE = "temp"
"""Identifier.use of a PINFL that is not proven: it claims nothing and matches nobody."""


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _author(subject: Subject) -> list[dict[str, Any]]:
    if not subject.practitioner:
        return []
    return [{"function": _coded(f"{_THO}provenance-participant-type", "author"),
             "actor": {"reference": f"Practitioner/{subject.practitioner}",
                       "display": subject.name}}]


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def patient(
    draft: Draft, med_id: str, subject: Subject, today: date, region: str, district: str
) -> dict[str, Any]:
    """The Patient of a completed draft; `region` and `district` are names for the address line."""
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "meta": {"profile": [f"{_PROFILE}patient"]},
        "language": "ru" if draft.language == "ru" else "uz",
        "extension": [*_citizenship(draft), {
            "url": merging.ATTACHED, "valueDate": today.isoformat()}],
        "identifier": _identifiers(draft, med_id),
        "active": True,
        "name": [name_of(draft, med_id)],
        "gender": draft.sex or "unknown",
    }
    if draft.birth_date:
        made["birthDate"] = draft.birth_date
    if draft.birth_order:
        made["multipleBirthInteger"] = int(draft.birth_order)
    if draft.phone:
        made["telecom"] = [{"system": "phone", "value": draft.phone, "use": "mobile"}]
    place = address(draft, region, district)
    if place:
        made["address"] = [place]
    if subject.organisation:
        made["managingOrganization"] = {"reference": f"Organization/{subject.organisation}",
                                        "display": subject.organisation_name}
    else:
        made["extension"].pop()
        if not made["extension"]:
            del made["extension"]
    return made


def _citizenship(draft: Draft) -> list[dict[str, Any]]:
    """https://hl7.org/fhir/extensions/StructureDefinition-patient-citizenship.html"""
    if not draft.country or draft.country == "UZ":
        return []
    return [{"url": "http://hl7.org/fhir/StructureDefinition/patient-citizenship", "extension": [
        {"url": "code", "valueCodeableConcept": _coded("urn:iso:std:iso:3166", draft.country)}]}]


def _identifiers(draft: Draft, med_id: str) -> list[dict[str, Any]]:
    kinds = {code: _coded(f"{_THO}v2-0203", code) for code in ("NI", "HC")}
    is_official = drafts.is_pinfl_sound(draft) and not draft.is_pinfl_unverified
    found = []
    if draft.pinfl:
        found.append({
            "use": "official" if is_official else UNVERIFIED_USE, "type": kinds["NI"],
            "system": numbers.PINFL_SYSTEM, "value": draft.pinfl})
    found.append({"use": "official", "type": kinds["HC"],
                  "system": numbers.MED_ID_SYSTEM, "value": med_id})
    if draft.document:
        found.append(documents.identifier(
            draft.document_kind, draft.document, country=draft.country))
    if draft.category == "unknown":
        found.append(documents.identifier("unknown", med_id))
    return found


UNKNOWN_NAME = {"male": "Noma’lum erkak", "female": "Noma’lum ayol"}
_NEWBORN = "chaqaloq"


def name_of(draft: Draft, med_id: str) -> dict[str, Any]:
    """The HumanName of a completed draft; who has none is called by what is known of him."""
    if not draft.family and not draft.given:
        said = UNKNOWN_NAME.get(draft.sex, "Noma’lum shaxs")
        return {"use": "anonymous", "text": f"{said} {med_id[-4:]}"}
    parts = [draft.family, draft.given, draft.patronymic]
    use = "official"
    if draft.category == "newborn" and not draft.given:
        use, parts = "temp", [draft.family, _NEWBORN, draft.birth_order]
    name: dict[str, Any] = {"use": use, "text": " ".join(part for part in parts if part)}
    if draft.family:
        name["family"] = draft.family
    if draft.given:
        name["given"] = [draft.given]
    if is_cyrillic(draft.family or draft.given):
        code = "ru" if draft.language == "ru" else "uz-Cyrl"
        name = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/language",
                               "valueCode": code}], **name}
    if draft.patronymic:
        name["suffix"] = [draft.patronymic]
    return name


def relative(
    patient_id: str, role: str, kin: dict[str, Any], today: date, paper: str = ""
) -> dict[str, Any]:
    """The RelatedPerson that the holder of the card `kin` is to a patient; `role` is a code of
    v3-RoleCode, `paper` the document that makes a guardian one.
    """
    named = [one for one in kin.get("identifier", [])
             if one.get("system") in (numbers.MED_ID_SYSTEM, numbers.PINFL_SYSTEM)
             and one.get("use", "official") == "official"]
    if paper:
        named.append({"use": "secondary", "type": {"text": "Guardianship document"},
                      "value": paper})
    made: dict[str, Any] = {
        "resourceType": "RelatedPerson",
        "meta": {"profile": [f"{_PROFILE}relatedperson"]},
        "identifier": named,
        "active": True,
        "patient": {"reference": f"Patient/{patient_id}"},
        "relationship": [{"coding": [
            {"system": f"{_THO}v3-RoleClass", "code": "NOK"},
            {"system": f"{_THO}v3-RoleCode", "code": role}]}],
        "name": [one for one in kin.get("name", []) if one.get("use") == "official"][:1],
        "period": {"start": today.isoformat()},
    }
    for element in ("telecom", "gender", "birthDate"):
        if kin.get(element):
            made[element] = kin[element]
    if not made["name"]:
        del made["name"]
    return made


def address(draft: Draft, region: str, district: str) -> dict[str, Any]:
    """The home address of a draft, or {} where none was typed."""
    text = ", ".join(part for part in (region, district, draft.address_line) if part)
    if not text:
        return {}
    made: dict[str, Any] = {"use": "home", "text": text}
    if draft.address_line:
        made["line"] = [draft.address_line]
    if draft.district:
        made["district"] = draft.district
    if draft.region:
        made["state"] = draft.region
    return made | {"country": "UZ"}


def allergy(
    patient_id: str, new: NewAllergy, subject: Subject, moment: datetime
) -> dict[str, Any]:
    """The AllergyIntolerance, coded by ATC code or group where that is known."""
    code: dict[str, Any] = {"text": new.text}
    if new.atc:
        entry = {"system": ATC_SYSTEM, "code": new.atc}
        code["coding"] = [entry | ({"display": new.inn} if new.inn else {})]
    made: dict[str, Any] = {
        "resourceType": "AllergyIntolerance",
        "meta": {"profile": [f"{_PROFILE}allergy-intolerance"]},
        "clinicalStatus": _coded(f"{_THO}allergyintolerance-clinical", "active"),
        "verificationStatus": _coded(f"{_THO}allergyintolerance-verification", "confirmed"),
        "type": _coded("http://hl7.org/fhir/allergy-intolerance-type", "allergy"),
        "category": [new.category],
        "criticality": new.criticality,
        "code": code,
        "patient": {"reference": f"Patient/{patient_id}"},
        "recordedDate": _stamp(moment),
    }
    if new.onset:
        made["onsetDateTime"] = new.onset
    if author := _author(subject):
        made["participant"] = author
    if new.reaction:
        reaction: dict[str, Any] = {"manifestation": [{"concept": {"text": new.reaction}}]}
        if new.severity:
            reaction["severity"] = new.severity
        made["reaction"] = [reaction]
    return made


def condition(
    patient_id: str, code: str, text: str, kind: str, onset: date, subject: Subject,
    moment: datetime,
) -> dict[str, Any]:
    """An active Condition; `kind` is a code of diagnosis-type-cs."""
    made: dict[str, Any] = {
        "resourceType": "Condition",
        "meta": {"profile": [f"{_PROFILE}condition"]},
        "extension": [{"url": f"{_EXTENSION}diagnosis-type",
                       "valueCodeableConcept": _coded(f"{_CS}diagnosis-type-cs", kind)}],
        "clinicalStatus": _coded(f"{_THO}condition-clinical", "active"),
        "verificationStatus": _coded(f"{_THO}condition-ver-status", "confirmed"),
        "category": [_coded(f"{_THO}condition-category", "problem-list-item")],
        "code": _coded(ICD10, code) | {"text": text},
        "subject": {"reference": f"Patient/{patient_id}"},
        "onsetDateTime": onset.isoformat(),
        "recordedDate": _stamp(moment),
    }
    if author := _author(subject):
        made["participant"] = author
    return made


def last_period(weeks: int, on: date) -> date:
    """The first day of the last period of a pregnancy of so many completed weeks on a day."""
    return on - timedelta(days=7 * weeks)


def weight(
    patient_id: str, weight_kg: Decimal, on: str, subject: Subject, title: str
) -> dict[str, Any]:
    """The Observation of a body weight."""
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "meta": {"profile": [f"{_PROFILE}observation"]},
        "status": "final",
        "category": [_coded(f"{_THO}observation-category", "vital-signs")],
        "code": _coded(LOINC, WEIGHT_LOINC) | {"text": title},
        "subject": {"reference": f"Patient/{patient_id}"},
        "effectiveDateTime": on,
        "valueQuantity": {"value": weight_kg, "unit": "kg",
                          "system": "http://unitsofmeasure.org", "code": "kg"},
    }
    if subject.practitioner:
        made["performer"] = [{"reference": f"Practitioner/{subject.practitioner}"}]
    return made
