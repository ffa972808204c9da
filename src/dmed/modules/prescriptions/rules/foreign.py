"""Orders as other systems write them: a MedicationRequest that is no prescription of ours yet."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from dmed.modules.medicines import api as medicines
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import DraftItem
from dmed.modules.prescriptions.rules import courses, resources

_MILLIGRAMS = {"mg": Decimal(1), "g": Decimal(1000), "ug": Decimal("0.001"),
               "mcg": Decimal("0.001")}  # fmt: skip  # One table.
_TIMES_MAX = 96
_DAYS_MAX = 3650


class Order(msgspec.Struct, frozen=True):
    """What an order means in our register."""

    preparation: Preparation
    item: DraftItem
    is_exact: bool
    """False: the substance alone is known, by its code; a dose is judged where it is a mass."""


def order_of(request: dict[str, Any], others: Mapping[str, dict[str, Any]]) -> Order | None:
    """The order that a MedicationRequest means, or None where no code of it is in the register.
    `others` holds the Medications beside it by "Medication/id"; contained ones are found, too.
    """
    named = _named(request, others)
    found = medicines.preparation_of(named)
    is_exact = found is not None
    if found is None:
        concept = named.get("concept") or named.get("code") or {}
        substance = medicines.preparation_by_code(concept)
        if substance is None:
            return None
        found = msgspec.structs.replace(
            substance, strength=Decimal(1), strength_unit="mg", strength_text="1 mg",
            per=Decimal(1), per_unit="1",
        )  # fmt: skip  # A strength by which a dose unit is a milligram.
    line = resources.item_of(request, found.key)
    return Order(
        found,
        msgspec.structs.replace(
            line,
            dose=_dose(request, found, line.dose, is_exact=is_exact),
            times_per_day=min(max(line.times_per_day, 0), _TIMES_MAX),
            duration_days=min(max(line.duration_days, 0), _DAYS_MAX),
        ),
        is_exact,
    )


def _named(request: dict[str, Any], others: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    medication: dict[str, Any] = request.get("medication") or {}
    reference = str((medication.get("reference") or {}).get("reference", ""))
    inside = {f"#{one.get('id')}": one for one in request.get("contained", ())}
    return inside.get(reference) or others.get(reference) or medication


def _dose(
    request: dict[str, Any], preparation: Preparation, written: Decimal, *, is_exact: bool
) -> Decimal:
    """The dose in our dose units; 0 where a mass cannot be shared out over them."""
    line = (request.get("dosageInstruction") or [{}])[0]
    quantity = (line.get("doseAndRate") or [{}])[0].get("doseQuantity") or {}
    factor = _MILLIGRAMS.get(str(quantity.get("code") or quantity.get("unit") or ""))
    if factor is None:
        return written if is_exact else Decimal(0)
    parts = courses.component_milligrams(preparation)
    if len(parts) != 1:
        return Decimal(0)
    return written * factor / next(iter(parts.values()))
