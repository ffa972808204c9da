"""Medicines as FHIR resources.

https://hl7.org/fhir/R5/medication.html, profile uz-core-medication of the national guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmed.kit.text import fold
from dmed.modules.medicines.model import Preparation, Product
from dmed.modules.medicines.rules.names import (
    ATC_SYSTEM,
    BOX_SYSTEM,
    FORM_SYSTEM,
    GTIN_SYSTEM,
    IKPU_SYSTEM,
    INN_SYSTEM,
    PREPARATION_SYSTEM,
    PROFILE,
    REGISTRATION_SYSTEM,
    UCUM,
    UNREGISTERED_SYSTEM,
    UZPHARM_SYSTEM,
    label,
    strength_label,
    unit_name,
)

_LANGUAGES = ("uz", "ru", "en")


def coded(preparation: Preparation) -> dict[str, Any]:
    """The CodeableConcept of a preparation: our key, national INN code where there is one, ATC."""
    coding = [{"system": PREPARATION_SYSTEM, "code": preparation.key}]
    if preparation.inn.code:
        coding.append(
            {"system": INN_SYSTEM, "code": preparation.inn.code, "display": preparation.inn.uz}
        )
    coding.append({"system": ATC_SYSTEM, "code": preparation.atc})
    return {"coding": coding, "text": label(preparation, "uz")}


def medication(product: Product) -> dict[str, Any]:
    """A product as the FHIR Medication that the API serves, with the national identifiers."""
    preparation = product.preparation
    form = preparation.form
    concept = coded(preparation)
    ratio = {
        "numerator": {
            "value": preparation.strength,
            "unit": preparation.strength_unit,
            "system": UCUM,
            "code": preparation.strength_unit,
        },
        "denominator": {
            "value": preparation.per,
            "unit": preparation.per_unit,
            "system": UCUM,
            "code": preparation.per_unit,
        },
    }
    first = preparation.inn.key.split("+")[0]
    return {
        "resourceType": "Medication",
        "id": product.key,
        "meta": {"profile": [PROFILE]},
        "identifier": identifiers(product),
        "code": {"coding": concept["coding"], "text": f"{product.trade}: {concept['text']}"},
        "status": "active",
        "marketingAuthorizationHolder": {"display": product.maker},
        "doseForm": {
            "coding": [{"system": FORM_SYSTEM, "code": form.code, "display": form.uz}],
            "text": form.uz,
        },
        "totalVolume": {"value": product.pack_units, "unit": unit_name(form.unit, "uz")},
        "ingredient": [
            {
                "item": {"concept": {"text": name}},
                "isActive": True,
                **({"strengthRatio": ratio} if name == first else {}),
            }
            for name in preparation.inn.key.split("+")
        ],
    }


def identifiers(product: Product) -> list[dict[str, Any]]:
    """The official identifiers of the national guide that the product has."""
    known = (
        (GTIN_SYSTEM, product.gtin), (REGISTRATION_SYSTEM, product.registration),
        (IKPU_SYSTEM, product.ikpu), (UZPHARM_SYSTEM, product.uzpharm),
        (BOX_SYSTEM, product.box_group),
    )  # fmt: skip  # A table.
    return [{"use": "official", "system": system, "value": value}
            for system, value in known if value]  # fmt: skip  # One list.


def key_in(
    concept: Mapping[str, Any],
    preparations: Mapping[str, Preparation],
    by_gtin: Mapping[str, Product],
) -> str:
    """Our preparation key that a CodeableConcept or a Medication names, or "". An INN or ATC code
    names one where only one preparation has it, or where the text tells strength and form.
    What is marked as unregistered names none.
    """
    if any(each.get("system") == UNREGISTERED_SYSTEM for each in concept.get("coding", ())):
        return ""
    for coding in concept.get("coding", ()):
        if coding.get("system") == PREPARATION_SYSTEM and coding.get("code") in preparations:
            return str(coding["code"])
    for identifier in concept.get("identifier", ()):
        if identifier.get("system") == GTIN_SYSTEM:
            product = by_gtin.get(str(identifier.get("value", "")))
            if product:
                return product.preparation.key
    codes = {
        str(coding.get("code", ""))
        for coding in concept.get("coding", ())
        if coding.get("system") in {INN_SYSTEM, ATC_SYSTEM}
    } - {""}
    fitting = [each for each in preparations.values()
               if codes and {each.inn.code, each.atc} >= codes]  # fmt: skip  # One filter.
    if len(fitting) > 1:
        text = fold(str(concept.get("text", "")))
        fitting = [each for each in fitting if text and _is_told(each, text)]
    return fitting[0].key if len(fitting) == 1 else ""


def _is_told(preparation: Preparation, text: str) -> bool:
    """Whether a folded text holds the strength and the form of a preparation, in one language."""
    bare = text.replace(" ", "").replace(",", ".")
    form = preparation.form
    for language in _LANGUAGES:
        strength = strength_label(preparation.strength_text, language)
        form_name = fold(form.name(language)).split()[0]
        is_strength = fold(strength).replace(" ", "").replace(",", ".") in bare
        if is_strength and form_name.rstrip("ieay")[:6] in text:
            return True
    return False
