"""The register's own resources of an entry: definition of the product and of its pack,
substances, registration, the medication and what is known of it.

https://hl7.org/fhir/R5/medicinalproductdefinition.html and the pages beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dmed.modules.medicines.model import Entry, Form, Inn, Preparation, Strength
from dmed.modules.medicines.rules.names import (
    ATC_SYSTEM,
    BOX_SYSTEM,
    FORM_SYSTEM,
    GTIN_SYSTEM,
    IKPU_SYSTEM,
    INN_SYSTEM,
    PROFILE,
    REGISTRATION_SYSTEM,
    UCUM,
    UZPHARM_SYSTEM,
    label,
    unit_name,
)
from dmed.modules.medicines.rules.resources import coded

SUPPLY_SYSTEM = "https://dhp.uz/fhir/core/sid/reg/uz/legal-status-of-supply"
STAGE_SYSTEM = "https://dhp.uz/fhir/core/sid/reg/uz/e-prescription-stage"
LIST_SYSTEM = "https://dhp.uz/fhir/core/sid/reg/uz/medicine-list"
_NAME_TYPE = "http://hl7.org/fhir/medicinal-product-name-type"


class Names(msgspec.Struct, frozen=True):
    """Ids of an entry's records: of its product, and of its pack."""

    product: str
    pack: str


def of_entry(
    entry: Entry, names: Names, preparation: Preparation | None, inns: Sequence[Inn | None],
    form: Form | None, *, is_now: bool,
) -> list[dict[str, Any]]:
    """All records, what others refer to first; what was withdrawn is told as retired."""
    made = [_product(entry, names, form, is_now=is_now)]
    made += [_ingredient(entry, names, place, inn, is_now=is_now)
             for place, inn in enumerate(inns)]
    made.append(_registration(entry, names, is_now=is_now))
    made.append(_pack(entry, names, form, is_now=is_now))
    made.append(_medication(entry, names, preparation, form, is_now=is_now))
    if preparation is not None:
        made.append(_knowledge(entry, names, preparation, is_now=is_now))
    return made


def _status(*, is_now: bool) -> dict[str, Any]:
    code = "active" if is_now else "retired"
    return {"coding": [{"system": "http://hl7.org/fhir/publication-status", "code": code}]}


def _identifiers(*known: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"use": "official", "system": system, "value": value}
            for system, value in known if value]


def _formed(entry: Entry, form: Form | None) -> dict[str, Any]:
    if form is None:
        return {"text": entry.form_text or "?"}
    return {"coding": [{"system": FORM_SYSTEM, "code": form.code, "display": form.uz}],
            "text": form.uz}


def _product(entry: Entry, names: Names, form: Form | None, *, is_now: bool) -> dict[str, Any]:
    classes = []
    if entry.atc:
        classes.append({"coding": [{"system": ATC_SYSTEM, "code": entry.atc}]})
    if entry.stage:
        classes.append({"coding": [{"system": STAGE_SYSTEM, "code": str(entry.stage)}]})
    if entry.is_essential:
        classes.append({"coding": [{"system": LIST_SYSTEM, "code": "essential"}]})
    found: dict[str, Any] = {
        "resourceType": "MedicinalProductDefinition", "id": f"mpd-{names.product}",
        "identifier": _identifiers((UZPHARM_SYSTEM, entry.uzpharm),
                                   (REGISTRATION_SYSTEM, entry.registration)),
        "status": _status(is_now=is_now),
        "combinedPharmaceuticalDoseForm": _formed(entry, form),
        "route": [{"text": route} for route in entry.routes],
        "legalStatusOfSupply": {"coding": [{
            "system": SUPPLY_SYSTEM,
            "code": "prescription" if entry.prescription_only else "over-the-counter"}]},
        "classification": classes,
        "name": [{"productName": entry.trade, "type": {"coding": [
            {"system": _NAME_TYPE, "code": "BAN"}]}}],
        "contact": [{"contact": {"display": entry.maker}}] if entry.maker else [],
    }  # fmt: skip  # One record.
    return _full(found)


def _ingredient(
    entry: Entry, names: Names, place: int, inn: Inn | None, *, is_now: bool
) -> dict[str, Any]:
    one = entry.strengths[place]
    concept: dict[str, Any] = {"text": one.substance}
    if inn is not None and inn.code:
        concept["coding"] = [{"system": INN_SYSTEM, "code": inn.code, "display": inn.uz}]
    strength: dict[str, Any] = {}
    if one.value is not None and one.per is not None:
        strength = {"presentationRatio": {
            "numerator": {"value": one.value, "system": UCUM, "code": one.unit},
            "denominator": {"value": one.per, "system": UCUM, "code": one.per_unit or "1"}}}
    elif one.text:
        strength = {"textPresentation": one.text}
    substance: dict[str, Any] = {"code": {"concept": concept}}
    if strength:
        substance["strength"] = [strength]
    return {
        "resourceType": "Ingredient", "id": f"ing-{names.product}-{place + 1}",
        "status": "active" if is_now else "retired",
        "for": [{"reference": f"MedicinalProductDefinition/mpd-{names.product}"}],
        "role": {"coding": [{"system": "http://hl7.org/fhir/ingredient-role", "code": "100000072072"
                             }], "text": "active"},
        "substance": substance,
    }  # fmt: skip  # One record.


def _registration(entry: Entry, names: Names, *, is_now: bool) -> dict[str, Any]:
    validity = {"start": entry.registered_from, "end": entry.registered_until}
    found: dict[str, Any] = {
        "resourceType": "RegulatedAuthorization", "id": f"ra-{names.product}",
        "identifier": _identifiers((REGISTRATION_SYSTEM, entry.registration)),
        "subject": [{"reference": f"MedicinalProductDefinition/mpd-{names.product}"}],
        "type": {"text": "marketing authorisation"}, "status": _status(is_now=is_now),
        "validityPeriod": {name: value for name, value in validity.items() if value},
        "holder": {"display": entry.maker} if entry.maker else {},
    }  # fmt: skip  # One record.
    return _full(found)


def _pack(entry: Entry, names: Names, form: Form | None, *, is_now: bool) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if entry.pack_units is not None:
        unit = unit_name(form.unit, "en") if form else ""
        content = {"containedItemQuantity": [
            {"value": entry.pack_units, **({"unit": unit} if unit else {})}]}
    packaging: dict[str, Any] = {}
    if entry.shelf_months:
        packaging["shelfLifeStorage"] = [{
            "type": {"text": "shelf life"},
            "periodDuration": {"value": entry.shelf_months, "unit": "months", "system": UCUM,
                               "code": "mo"}}]
    found: dict[str, Any] = {
        "resourceType": "PackagedProductDefinition", "id": f"ppd-{names.pack}",
        "identifier": _identifiers((GTIN_SYSTEM, entry.gtin), (IKPU_SYSTEM, entry.ikpu),
                                   (BOX_SYSTEM, entry.box_group)),
        "packageFor": [{"reference": f"MedicinalProductDefinition/mpd-{names.product}"}],
        "status": _status(is_now=is_now), **content,
        "description": entry.pack_text, "packaging": packaging,
    }  # fmt: skip  # One record.
    return _full(found)


def _medication(
    entry: Entry, names: Names, preparation: Preparation | None, form: Form | None, *, is_now: bool
) -> dict[str, Any]:
    if preparation is not None:
        concept = coded(preparation)
        code = {"coding": concept["coding"], "text": f"{entry.trade}: {concept['text']}"}
    else:
        code = {"text": entry.trade}
        if entry.atc:
            code["coding"] = [{"system": ATC_SYSTEM, "code": entry.atc}]
    identifiers = _identifiers(
        (GTIN_SYSTEM, entry.gtin), (REGISTRATION_SYSTEM, entry.registration),
        (IKPU_SYSTEM, entry.ikpu), (UZPHARM_SYSTEM, entry.uzpharm), (BOX_SYSTEM, entry.box_group))
    is_whole = bool(identifiers) and preparation is not None
    found: dict[str, Any] = {
        "resourceType": "Medication", "id": names.pack,
        "meta": {"profile": [PROFILE]} if is_whole else {},
        "identifier": identifiers, "code": code, "status": "active" if is_now else "inactive",
        "marketingAuthorizationHolder": {"display": entry.maker} if entry.maker else {},
        "doseForm": _formed(entry, form),
    }  # fmt: skip  # One record.
    found["ingredient"] = [_part(one) for one in entry.strengths]
    return _full(found)


def _part(one: Strength) -> dict[str, Any]:
    part: dict[str, Any] = {"item": {"concept": {"text": one.inn or one.substance}},
                            "isActive": True}
    if one.value is not None and one.per is not None:
        part["strengthRatio"] = {
            "numerator": {"value": one.value, "unit": one.unit, "system": UCUM, "code": one.unit},
            "denominator": {"value": one.per, "unit": one.per_unit, "system": UCUM,
                            "code": one.per_unit or "1"}}
    return part


def _knowledge(
    entry: Entry, names: Names, preparation: Preparation, *, is_now: bool
) -> dict[str, Any]:
    cost = []
    if entry.price_ceiling is not None:
        cost = [{"type": {"text": "price ceiling"},
                 "costMoney": {"value": entry.price_ceiling, "currency": entry.currency or "UZS"}}]
    found: dict[str, Any] = {
        "resourceType": "MedicationKnowledge", "id": f"mk-{names.pack}",
        "code": coded(preparation), "status": "active" if is_now else "inactive",
        "name": [entry.trade, label(preparation, "uz")],
        "associatedMedication": [{"reference": f"Medication/{names.pack}"}], "cost": cost,
        "packaging": [{"packagedProduct": {
            "reference": f"PackagedProductDefinition/ppd-{names.pack}"}}],
        "medicineClassification": [
            {"type": {"text": "ATC"},
             "classification": [{"coding": [{"system": ATC_SYSTEM, "code": entry.atc}]}]}
        ] if entry.atc else [],
        "definitional": {
            "definition": [{"reference": f"MedicinalProductDefinition/mpd-{names.product}"}],
            "intendedRoute": [{"text": route} for route in entry.routes]},
    }  # fmt: skip  # One record.
    return _full(found)


def _full(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: FHIR has no empty values."""
    kept = {}
    for name, value in found.items():
        if isinstance(value, dict):
            value = _full(value)  # noqa: PLW2901  # The same value without its empty parts.
        if value not in ("", [], {}):
            kept[name] = value
    return kept
