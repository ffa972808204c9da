"""Facts of an institution out of its record, and whether it may work."""

from __future__ import annotations

from datetime import date
from typing import Any

from dmed.modules.facilities.model import (
    District,
    Kind,
    OrganisationFacts,
    Reason,
    Region,
    Verdict,
)

TAX_SYSTEM = "https://dhp.uz/fhir/core/sid/org/uz/soliq"
PHARMACY_TEXT = "Dorixona"
"""What marks a pharmacy among the institutions: the national lists have no code for one."""
_NOMENCLATURE = "nomenclature-group-cs"
_SUBORDINATION = "organizational-subordination-group-cs"
_NOT_STATE = frozenset({"I_5", "I_6"})
"""Private, and with foreign capital: these need a licence."""
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"


def name_in(place: Region | District, language: str) -> str:
    """The name of a place in a language; Uzbek Latin where it has none."""
    return place.ru if language == "ru" else getattr(place, language, "") or place.uz


def _codes(record: dict[str, Any], system: str) -> set[str]:
    return {
        coding.get("code", "")
        for kind in record.get("type", [])
        for coding in kind.get("coding", [])
        if str(coding.get("system", "")).endswith(f"/{system}")
    }


def _kind(record: dict[str, Any]) -> Kind:
    if any(kind.get("text") == PHARMACY_TEXT for kind in record.get("type", [])):
        return Kind.PHARMACY
    is_private = bool(_codes(record, _SUBORDINATION) & _NOT_STATE)
    groups = _codes(record, _NOMENCLATURE)
    if "II_300" in groups:
        return Kind.PRIVATE_CLINIC if is_private else Kind.POLYCLINIC
    if "II_100" in groups:
        return Kind.HOSPITAL
    return Kind.AUTHORITY if "II_900" in groups and not is_private else Kind.OTHER


def names(record: dict[str, Any]) -> dict[str, str]:
    """The name by language: the record's own, and its translations."""
    found = {record.get("language", "uz"): record.get("name", "")}
    for extension in record.get("_name", {}).get("extension", []):
        if extension.get("url") != _TRANSLATION:
            continue
        parts = {part["url"]: part for part in extension.get("extension", [])}
        if "lang" in parts and "content" in parts:
            found[parts["lang"].get("valueCode", "")] = parts["content"].get("valueString", "")
    return found


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def facts(record: dict[str, Any]) -> OrganisationFacts:
    """The facts of an Organization record; the licence is the one that runs longest."""
    contact: dict[str, Any] = next(iter(record.get("contact", [])), {})
    address = contact.get("address", {})
    phone = next((one.get("value", "") for one in contact.get("telecom", [])
                  if one.get("system") == "phone"), "")
    licences = sorted(record.get("qualification", []),
                      key=lambda one: one.get("period", {}).get("end", ""))
    licence = licences[-1] if licences else {}
    term = licence.get("period", {})
    tax = next((one.get("value", "") for one in record.get("identifier", [])
                if one.get("system") == TAX_SYSTEM), "")
    return OrganisationFacts(
        id=record["id"],
        name=record.get("name", ""),
        names=names(record),
        tax_id=tax,
        licence_number=next((one.get("value", "") for one in licence.get("identifier", [])), ""),
        licence_from=_day(term.get("start", "")),
        licence_until=_day(term.get("end", "")),
        is_state=not _codes(record, _SUBORDINATION) & _NOT_STATE,
        region=address.get("state", ""),
        district=address.get("district", ""),
        kind=_kind(record),
        address=address.get("text", "") or ", ".join(address.get("line", [])),
        phone=phone,
        is_active=record.get("active", True) is not False,
    )


def licence_valid(found: OrganisationFacts, day: date) -> Verdict:
    """Whether an institution may work on a day: active, and licensed unless it is the state's."""
    values = {"name": found.name}
    if not found.is_active:
        return Verdict(False, (Reason("facilities.reason.inactive", values),))
    if found.is_state:
        return Verdict(True, (Reason("facilities.reason.state", values),))
    if not found.licence_number:
        return Verdict(False, (Reason("facilities.reason.no-licence", values),))
    values["number"] = found.licence_number
    if found.licence_from and day < found.licence_from:
        return Verdict(False, (Reason("facilities.reason.licence-not-yet", values),))
    if found.licence_until and day > found.licence_until:
        values["until"] = found.licence_until.strftime("%d.%m.%Y")
        return Verdict(False, (Reason("facilities.reason.licence-over", values),))
    return Verdict(True, (Reason("facilities.reason.licensed", values),))
