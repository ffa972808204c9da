"""The register of medicines as records: one Medication a product, the same in every country."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dmed.modules.medicines import rules
from dmed.modules.medicines.service.starting import starting

SMALL = 500
"""So many products have usual doses and are what a small country needs."""


def resources(*, whole: bool = True) -> Iterator[dict[str, Any]]:
    """The products of the starting catalogue as FHIR Medications with their own ids, in the order
    of the register; all of them, or the first SMALL.
    """
    for place, product in enumerate(starting().products.values()):
        if not whole and place >= SMALL:
            return
        yield rules.medication(product)
