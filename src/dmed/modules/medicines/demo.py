"""The register of medicines as records: one Medication a product, the same in every country."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dmed.modules.medicines import rules, service


def resources() -> Iterator[dict[str, Any]]:
    """Every product as a FHIR Medication with its own id, in the order of the register."""
    for product in service.catalogue().products.values():
        yield rules.medication(product)
