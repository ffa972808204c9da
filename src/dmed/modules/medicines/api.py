"""What other modules may ask of the register of medicines. All functions are quick and pure:
the catalogue is a file of the package, loaded once.
"""

from __future__ import annotations

from typing import Any

from dmed.modules.medicines.model import Form, Inn, MedicineHit, Preparation, Product

__all__ = [
    "Form",
    "Inn",
    "MedicineHit",
    "Preparation",
    "Product",
    "inn",
    "inns",
    "medication",
    "preparation",
    "preparation_of",
    "product",
    "products_of",
    "search",
    "unit_name",
]


def search(text: str, language: str = "uz", limit: int = 12) -> list[MedicineHit]:
    """Preparations as you type, best first: by INN, trade name or ATC code, in Latin, Cyrillic
    Uzbek or Russian, with small typing errors; "amoks 500" narrows by strength. Empty text: none.
    """
    raise NotImplementedError


def inns(text: str, language: str = "uz", limit: int = 12) -> list[Inn]:
    """INNs as you type, best first: for entering an allergy."""
    raise NotImplementedError


def inn(key: str) -> Inn:
    """The INN of a key, or NotFoundError."""
    raise NotImplementedError


def preparation(key: str) -> Preparation:
    """The preparation of a key, or NotFoundError."""
    raise NotImplementedError


def product(key: str) -> Product:
    """The product of a registration key or a GTIN-14, or NotFoundError."""
    raise NotImplementedError


def products_of(preparation_key: str) -> tuple[Product, ...]:
    """Every product with this INN, form and strength, smallest pack first."""
    raise NotImplementedError


def medication(preparation_key: str) -> dict[str, Any]:
    """The CodeableReference a MedicationRequest carries: national INN code, ATC and text."""
    raise NotImplementedError


def preparation_of(codeable_reference: dict[str, Any]) -> Preparation | None:
    """The preparation that a MedicationRequest.medication or a Medication means, or None."""
    raise NotImplementedError


def unit_name(unit: str, language: str) -> str:
    """A unit of presentation or of dose in words: ("tablet", "uz") -> "tabletka"."""
    raise NotImplementedError
