"""What other modules may ask of the register of medicines. All functions are quick: they ask the
register in force in this process, the starting catalogue until a national feed has published.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from dmed.kit.errors import NotFoundError
from dmed.kit.text import fold
from dmed.modules.medicines import rules, service
from dmed.modules.medicines.model import Form, Inn, MedicineHit, Preparation, Product
from dmed.modules.medicines.rules import ATC_SYSTEM, INN_SYSTEM, UNREGISTERED_SYSTEM
from dmed.modules.medicines.rules.rows import FIELDS as FEED_FIELDS
from dmed.modules.medicines.rules.starting import many
from dmed.modules.medicines.service import force
from dmed.modules.medicines.service.starting import starting

__all__ = [
    "ATC_SYSTEM",
    "FEED_FIELDS",
    "INN_SYSTEM",
    "UNREGISTERED_SYSTEM",
    "Form",
    "Inn",
    "MedicineHit",
    "Preparation",
    "Product",
    "all_products",
    "atc_of_inn",
    "forms",
    "inn",
    "inn_named",
    "inn_of_atc",
    "inns",
    "is_on_market",
    "label",
    "medication",
    "preparation",
    "preparation_by_code",
    "preparation_of",
    "product",
    "product_or_none",
    "product_resource",
    "products_of",
    "registered",
    "sample_products",
    "search",
    "unit_name",
]


def search(text: str, language: str = "uz", limit: int = 12) -> list[MedicineHit]:
    """Preparations in force as you type, best first: by INN, trade name or ATC code, in Latin,
    Cyrillic Uzbek or Russian, with small typing errors; "amoks 500" narrows by strength. Empty
    text: none.
    """
    now = force.register()
    entries = now.catalogue
    hits = []
    for item in now.index.find(text, limit):
        products = entries.by_preparation[item.key]
        hits.append(MedicineHit(
            preparation=entries.preparations[item.key],
            label=rules.label(entries.preparations[item.key], language),
            matched=item.shown,
            trades=tuple(sorted({product.trade for product in products})),
            packs=tuple(sorted({product.pack_units for product in products})),
            score=Decimal(item.score).scaleb(-4)))  # fmt: skip  # One hit.
    return hits


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


def inn_named(text: str) -> str:
    """The key of the single INN that a text names exactly, in any language or script, or ""."""
    return force.names().inns.get(fold(text), "")


@cache
def _codes() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """INN key -> ATC code of its first preparation, and ATC code -> INN key. Of the starting
    catalogue: what a code means does not change with a feed.
    """
    of_inn: dict[str, str] = {}
    of_code: dict[str, str] = {}
    for one in starting().preparations.values():
        of_inn.setdefault(one.inn.key, one.atc)
        of_code.setdefault(one.atc, one.inn.key)
    return of_inn, of_code


def atc_of_inn(key: str) -> str:
    """The usual ATC code of an INN key, or ""."""
    return _codes()[0].get(key, "")


def inn_of_atc(code: str) -> str:
    """The INN key of an ATC code of level 5, or ""."""
    return _codes()[1].get(code, "")


def forms() -> Mapping[str, Form]:
    """Every pharmaceutical form of the national list by its key, in the order of the list."""
    return starting().forms


def preparation(key: str) -> Preparation:
    """The preparation of a key, or NotFoundError."""
    return service.find_preparation(key)


def registered(key: str) -> Preparation:
    """The preparation of a key that may be prescribed now, or NotFoundError: one that was
    withdrawn is no longer registered.
    """
    return force.find_registered(key)


def product(key: str, at: datetime | None = None) -> Product:
    """The product of a registration key or a GTIN-14, as it was at a moment where one is given;
    NotFoundError. Without a moment a withdrawn product is told as it last was.
    """
    return force.find_product(key, at)


def product_or_none(key: str) -> Product | None:
    """The product of a registration key or a GTIN-14 (a withdrawn one too), or None."""
    try:
        return force.find_product(key)
    except NotFoundError:
        return None


def is_on_market(key: str) -> bool:
    """Whether a product of this key or GTIN-14 is in force now."""
    entries = service.catalogue()
    return key in entries.products or key in entries.by_gtin


def products_of(preparation_key: str) -> tuple[Product, ...]:
    """Every product with this INN, form and strength, smallest pack first."""
    return service.catalogue().by_preparation.get(preparation_key, ())


def medication(preparation_key: str) -> dict[str, Any]:
    """The CodeableReference a MedicationRequest carries: national INN code, ATC and text."""
    return {"concept": rules.coded(service.find_preparation(preparation_key))}


def preparation_of(
    codeable_reference: dict[str, Any], at: datetime | None = None
) -> Preparation | None:
    """The preparation that a MedicationRequest.medication or a Medication means, or None.

    With a moment (the signing) it is read against the register of that time: a product that was
    not in force then means nothing, one that was withdrawn or renamed since means what it meant.
    """
    now = force.register()
    concept = codeable_reference.get("concept") or codeable_reference
    key = rules.key_in(concept, now.preparations, now.by_gtin)
    if not key and "code" in concept:
        key = rules.key_in(concept["code"], now.preparations, now.by_gtin)
    if not key:
        reference = str((codeable_reference.get("reference") or {}).get("reference", ""))
        try:
            return force.find_product(reference.removeprefix("Medication/"), at).preparation
        except NotFoundError:
            return None
    return now.preparations.get(key)


def preparation_by_code(concept: dict[str, Any]) -> Preparation | None:
    """Some preparation with the ATC or national INN code of a CodeableConcept, for whoever needs
    the substance alone; its form and strength are not those that were meant.
    """
    for coding in concept.get("coding", ()):
        code = str(coding.get("code", ""))
        for one in force.register().catalogue.preparations.values() if code else ():
            is_atc = coding.get("system") == rules.ATC_SYSTEM and one.atc == code
            if is_atc or (coding.get("system") == rules.INN_SYSTEM and one.inn.code == code):
                return one
    return None


def unit_name(unit: str, language: str) -> str:
    """A unit of presentation or of dose in words: ("tablet", "uz") -> "tabletka"."""
    return rules.unit_name(unit, language)


def label(preparation_key: str, language: str) -> str:
    """INN, strength and form in one line: "Amoksitsillin 500 mg kapsula"; an unknown key as is."""
    found = force.register().preparations.get(preparation_key)
    return rules.label(found, language) if found else preparation_key


def all_products() -> tuple[Product, ...]:
    """Every product of the register, in the order of the file."""
    return tuple(service.catalogue().products.values())


def product_resource(product_key: str) -> dict[str, Any]:
    """A product as a FHIR Medication, as the API serves it."""
    return rules.medication(force.find_product(product_key))


def sample_products(count: int) -> list[Product]:
    """As many invented packs, made of the preparations of the starting catalogue: for simulators
    and measurements.
    """
    return list(many(starting().preparations.values(), count))
