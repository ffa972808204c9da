"""What other modules may ask of the register of medicines. All functions are quick and pure:
the catalogue is a file of the package, loaded once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from dmed.kit.text import fold
from dmed.modules.medicines import rules, service
from dmed.modules.medicines.model import Form, Inn, MedicineHit, Preparation, Product

__all__ = [
    "Form",
    "Inn",
    "MedicineHit",
    "Preparation",
    "Product",
    "all_products",
    "inn",
    "inns",
    "label",
    "medication",
    "preparation",
    "preparation_of",
    "product",
    "product_or_none",
    "product_resource",
    "products_of",
    "search",
    "unit_name",
]


def search(text: str, language: str = "uz", limit: int = 12) -> list[MedicineHit]:
    """Preparations as you type, best first: by INN, trade name or ATC code, in Latin, Cyrillic
    Uzbek or Russian, with small typing errors; "amoks 500" narrows by strength. Empty text: none.
    """
    entries = service.catalogue()
    found = rules.find(text, _words(), entries.preparations)
    return [
        MedicineHit(
            preparation=entries.preparations[item.key],
            label=rules.label(entries.preparations[item.key], language),
            matched=item.shown,
            trades=tuple(sorted({product.trade for product in entries.by_preparation[item.key]})),
            packs=tuple(
                sorted({product.pack_units for product in entries.by_preparation[item.key]})
            ),
            score=item.score,
        )
        for item in found[:limit]
    ]


@cache
def _words() -> list[rules.Word]:
    entries = service.catalogue()
    return rules.words_of(
        entries.preparations.values(), entries.products.values(), entries.synonyms
    )


def inns(text: str, language: str = "uz", limit: int = 12) -> list[Inn]:
    """INNs as you type, best first: for entering an allergy."""
    typed = fold(text)
    scored = []
    for entry in service.catalogue().inns.values():
        names = {fold(name) for name in (entry.uz, entry.ru, entry.en)}
        score = max(rules.nearness(typed, name) for name in names) if typed else 0
        if score:
            scored.append((-score, fold(entry.name(language)), entry))
    return [entry for _, _, entry in sorted(scored, key=lambda item: item[:2])[:limit]]


def inn(key: str) -> Inn:
    """The INN of a key, or NotFoundError."""
    return service.find_inn(key)


def preparation(key: str) -> Preparation:
    """The preparation of a key, or NotFoundError."""
    return service.find_preparation(key)


def product(key: str) -> Product:
    """The product of a registration key or a GTIN-14, or NotFoundError."""
    return service.find_product(key)


def product_or_none(key: str) -> Product | None:
    """The product of a registration key or a GTIN-14, or None."""
    entries = service.catalogue()
    return entries.products.get(key) or entries.by_gtin.get(key)


def products_of(preparation_key: str) -> tuple[Product, ...]:
    """Every product with this INN, form and strength, smallest pack first."""
    return service.catalogue().by_preparation.get(preparation_key, ())


def medication(preparation_key: str) -> dict[str, Any]:
    """The CodeableReference a MedicationRequest carries: national INN code, ATC and text."""
    return {"concept": rules.coded(service.find_preparation(preparation_key))}


def preparation_of(codeable_reference: dict[str, Any]) -> Preparation | None:
    """The preparation that a MedicationRequest.medication or a Medication means, or None."""
    entries = service.catalogue()
    concept = codeable_reference.get("concept") or codeable_reference
    key = rules.key_in(concept, entries.preparations, entries.by_gtin)
    if not key and "code" in concept:
        key = rules.key_in(concept["code"], entries.preparations, entries.by_gtin)
    if not key:
        reference = str((codeable_reference.get("reference") or {}).get("reference", ""))
        product = entries.products.get(reference.removeprefix("Medication/"))
        key = product.preparation.key if product else ""
    return entries.preparations.get(key)


def unit_name(unit: str, language: str) -> str:
    """A unit of presentation or of dose in words: ("tablet", "uz") -> "tabletka"."""
    return rules.unit_name(unit, language)


def label(preparation_key: str, language: str) -> str:
    """INN, strength and form in one line: "Amoksitsillin 500 mg kapsula"; an unknown key as is."""
    found = service.catalogue().preparations.get(preparation_key)
    return rules.label(found, language) if found else preparation_key


def all_products() -> tuple[Product, ...]:
    """Every product of the register, in the order of the file."""
    return tuple(service.catalogue().products.values())


def product_resource(product_key: str) -> dict[str, Any]:
    """A product as a FHIR Medication, as the API serves it."""
    return rules.medication(service.find_product(product_key))
