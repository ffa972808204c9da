"""From a sound draft to its records after the national profiles, and back to what a form shows.

https://dhp.uz/fhir/core: uz-core-organization, uz-core-location, uz-core-healthcareservice. What a
record holds beside the draft's fields stays as it is.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dmed.kit.seed import fixed_id
from dmed.kit.text import to_cyrillic
from dmed.modules.facilities.model import Draft, Shape
from dmed.modules.facilities.rules import codes, hours, licences
from dmed.modules.facilities.rules.facts import PHARMACY_TEXT, TAX_SYSTEM, names

_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
SHIF_SYSTEM = "https://dhp.uz/fhir/core/sid/org/uz/shif"
CODE_SYSTEM = "https://dhp.uz/fhir/core/sid/uz/department-code"
"""A place's own short code."""
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_PHYSICAL = "http://terminology.hl7.org/CodeSystem/location-physical-type"
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
_FORMS = {Shape.WARD: ("wa", "Ward"), Shape.ROOM: ("ro", "Room"), Shape.BED: ("bd", "Bed")}
_UNITS = {Shape.DEPARTMENT: "Branch", Shape.WARD: "Ward", Shape.BED: "Bed"}
_SITE = "si"
TYPES = {Shape.INSTITUTION: "Organization", Shape.BRANCH: "Organization",
         Shape.SERVICE: "HealthcareService"}
"""The type of record of a shape; every other place is a Location, equipment none."""


def type_of(shape: Shape) -> str:
    """The resource type in which a place is kept."""
    return TYPES.get(shape, "Location")


def id_of(code: str) -> str:
    """The id of the record of a place, by its code: the same in every run of an import."""
    return fixed_id(f"facility/{code}")


def site_id(organisation_id: str) -> str:
    """The id of the Location that says where an institution stands."""
    return fixed_id(f"facility/site/{organisation_id}")


def _named(record: dict[str, Any], draft: Draft) -> None:
    record["language"], record["name"] = "uz", draft.name
    told = [("uz-Cyrl", to_cyrillic(draft.name))]
    told += [("ru", draft.name_ru)] if draft.name_ru else []
    record["_name"] = {"extension": [
        {"extension": [{"url": "lang", "valueCode": code}, {"url": "content", "valueString": text}],
         "url": _TRANSLATION} for code, text in told]}


def _with_profile(record: dict[str, Any], name: str) -> dict[str, Any]:
    meta = record.setdefault("meta", {})
    profiles = meta.setdefault("profile", [])
    if _PROFILE + name not in profiles:
        profiles.append(_PROFILE + name)
    for stamp in ("versionId", "lastUpdated"):
        meta.pop(stamp, None)
    return record


def _identified(record: dict[str, Any], system: str, value: str, kind: str) -> None:
    kept = [one for one in record.get("identifier", []) if one.get("system") != system]
    if value:
        made: dict[str, Any] = {"use": "official", "system": system, "value": value}
        if kind:
            made["type"] = {"coding": [{"system": _V2_0203, "code": kind}]}
        kept.append(made)
    if kept:
        record["identifier"] = kept
    else:
        record.pop("identifier", None)


def _address(draft: Draft) -> dict[str, Any]:
    found: dict[str, Any] = {"use": "work", "country": "UZ"}
    if draft.address:
        found |= {"text": draft.address, "line": [draft.address]}
    if draft.district:
        found["district"] = draft.district
    if draft.region:
        found["state"] = draft.region
    return found


def organisation(draft: Draft, parent: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """The Organization of an institution or branch; `parent` is the id above or ""."""
    record = dict(before or {"resourceType": "Organization"})
    _with_profile(record, "organization")
    _identified(record, TAX_SYSTEM, draft.tax_id, "TAX")
    _identified(record, SHIF_SYSTEM, draft.shif_id, "PRN")
    _identified(record, CODE_SYSTEM, draft.code if draft.code != draft.tax_id else "", "")
    record["active"] = draft.is_active
    _named(record, draft)
    coded = [(name, code) for name, code in (
        ("subordination", draft.subordination), ("nomenclature", draft.nomenclature),
        ("structure", draft.structure)) if code]
    coded += [("service", code) for code in draft.services]
    kind: dict[str, Any] = {"coding": [codes.coding(name, code) for name, code in coded]}
    if draft.is_pharmacy:
        kind["text"] = PHARMACY_TEXT
    _put(record, "type", [{key: value for key, value in kind.items() if value}])
    contact: dict[str, Any] = {"address": _address(draft)}
    if draft.phone:
        contact["telecom"] = [{"system": "phone", "value": draft.phone}]
    record["contact"] = [contact, *record.get("contact", [])[1:]]
    _put(record, "qualification", [{
        "identifier": [{"use": "official", "value": one.number}],
        "code": {"text": one.what or "Litsenziya"},
        "period": {"start": one.start.isoformat(), "end": one.end.isoformat()},
    } for one in draft.licences])
    _put(record, "partOf", {"reference": f"Organization/{parent}"} if parent else {})
    return record


def _put(record: dict[str, Any], name: str, value: Any) -> None:
    if value and value != [{}]:
        record[name] = value
    else:
        record.pop(name, None)


def site(draft: Draft, owner: str, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """The Location that says where an institution stands and when it is open; None where the
    draft tells nothing of it and there is none.
    """
    opening, _ = hours.read(draft.hours)
    if before is None and draft.position is None and opening is None:
        return None
    record = dict(before or {"resourceType": "Location"})
    _with_profile(record, "location")
    record |= {"status": "active" if draft.is_active else "inactive", "mode": "instance"}
    _named(record, draft)
    record["form"] = {"coding": [{"system": _PHYSICAL, "code": _SITE, "display": "Site"}]}
    record["address"] = _address(draft)
    record["managingOrganization"] = {"reference": f"Organization/{owner}"}
    _positioned(record, draft)
    _put(record, "hoursOfOperation", [opening] if opening else [])
    return record


def _positioned(record: dict[str, Any], draft: Draft) -> None:
    if draft.position is None:
        record.pop("position", None)
        return
    latitude, longitude = (Decimal(str(value)) for value in draft.position)
    record["position"] = {"longitude": longitude, "latitude": latitude}


def location(draft: Draft, owner: str, above: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """The Location of a department, ward, room or bed; `above` is the id of the one around it."""
    record = dict(before or {"resourceType": "Location"})
    _with_profile(record, "location")
    _identified(record, CODE_SYSTEM, draft.code, "")
    unit = _UNITS.get(draft.shape)
    if unit:
        _identified(record, codes.UNIT_SYSTEM, draft.code, "")
        record["identifier"][-1]["type"] = {"coding": [codes.coding("unit", unit)]}
    record |= {"status": "active" if draft.is_active else "inactive", "mode": "instance"}
    _named(record, draft)
    _put(record, "type", [{"coding": [codes.coding("place", draft.place)]}] if draft.place else [])
    if draft.shape in _FORMS:
        code, display = _FORMS[draft.shape]
        record["form"] = {"coding": [{"system": _PHYSICAL, "code": code, "display": display}]}
    record["managingOrganization"] = {"reference": f"Organization/{owner}"}
    _put(record, "partOf", {"reference": f"Location/{above}"} if above else {})
    _positioned(record, draft)
    opening, _ = hours.read(draft.hours)
    _put(record, "hoursOfOperation", [opening] if opening else [])
    return record


def service(draft: Draft, owner: str, above: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """The HealthcareService of an institution, at the Location `above` where there is one."""
    record = dict(before or {"resourceType": "HealthcareService"})
    _with_profile(record, "healthcareservice")
    _identified(record, CODE_SYSTEM, draft.code, "")
    record["active"] = draft.is_active
    record["providedBy"] = {"reference": f"Organization/{owner}"}
    _put(record, "location", [{"reference": f"Location/{above}"}] if above else [])
    _named(record, draft)
    _put(record, "type", [{"coding": [codes.coding("place", draft.place)]}] if draft.place else [])
    _put(record, "characteristic",
         [{"coding": [codes.coding("payment", draft.payment)]}] if draft.payment else [])
    _put(record, "contact", [{"telecom": [{"system": "phone", "value": draft.phone}]}]
         if draft.phone else [])
    opening, _ = hours.read(draft.hours)
    _put(record, "availability", [opening] if opening else [])
    return record


def shape_of(record: dict[str, Any]) -> Shape:
    """What a record is in the tree."""
    if record["resourceType"] == "Organization":
        has_tax = any(one.get("system") == TAX_SYSTEM for one in record.get("identifier", []))
        return Shape.INSTITUTION if has_tax or "partOf" not in record else Shape.BRANCH
    if record["resourceType"] == "HealthcareService":
        return Shape.SERVICE
    form = {one.get("code", "") for one in record.get("form", {}).get("coding", [])}
    by_form = {code: shape for shape, (code, _) in _FORMS.items()}
    by_unit = {unit: shape for shape, unit in _UNITS.items()}
    unit_codes = [one.get("code", "") for each in record.get("identifier", [])
             for one in each.get("type", {}).get("coding", [])]
    unit_codes += [each.get("value", "") for each in record.get("identifier", [])]
    found = [by_form[code] for code in form if code in by_form]
    found += [by_unit[code] for code in unit_codes if code in by_unit]
    return found[0] if found else Shape.DEPARTMENT


def is_site(record: dict[str, Any]) -> bool:
    """Whether a Location is where an institution stands, and no part of it."""
    return any(one.get("code") == _SITE for one in record.get("form", {}).get("coding", []))


def form_of(record: dict[str, Any], at: dict[str, Any] | None) -> dict[str, str]:
    """A record (and the site of an institution) as the fields that `reading.read` takes."""
    by_system = {one.get("system", ""): one.get("value", "")
                 for one in record.get("identifier", [])}
    codings = [one for kind in record.get("type", []) for one in kind.get("coding", [])]
    contact: dict[str, Any] = next(iter(record.get("contact", [])), {})
    address = (at or {}).get("address") or contact.get("address") or record.get("address", {})
    place = at or record
    position = place.get("position", {})
    opening = next(iter(place.get("hoursOfOperation", []) or record.get("availability", [])), None)
    tax = by_system.get(TAX_SYSTEM, "")
    payment = [one for each in record.get("characteristic", []) for one in each.get("coding", [])]
    is_on = record.get("active", True) and record.get("status", "active") == "active"
    return {
        "shape": shape_of(record), "code": by_system.get(CODE_SYSTEM, "") or tax or record["id"],
        "name": record.get("name", ""), "name_ru": names(record).get("ru", ""), "tax_id": tax,
        "shif_id": by_system.get(SHIF_SYSTEM, ""),
        "subordination": codes.code_in(codings, "subordination"),
        "nomenclature": codes.code_in(codings, "nomenclature"),
        "structure": codes.code_in(codings, "structure"),
        "services": " ".join(one.get("code", "") for one in codings
                             if one.get("system") == codes.code_list("service").system),
        "place": codes.code_in(codings, "place"), "payment": codes.code_in(payment, "payment"),
        "pharmacy": "1" if any(kind.get("text") == PHARMACY_TEXT
                               for kind in record.get("type", [])) else "0",
        "active": "1" if is_on else "0",
        "region": address.get("state", ""), "district": address.get("district", ""),
        "address": address.get("text", "") or ", ".join(address.get("line", [])),
        "phone": next((one.get("value", "") for one in contact.get("telecom", [])
                       if one.get("system") == "phone"), ""),
        "latitude": str(position.get("latitude", "")),
        "longitude": str(position.get("longitude", "")),
        "hours": hours.written(opening), "licences": licences.written(licences.licences_of(record)),
    }  # fmt: skip  # One field a thought.
