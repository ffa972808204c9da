"""Doses by weight for children: plain arithmetic between mg/kg a day and the dose of a line.

It knows no usual doses: those are tables of the checks. It only turns what the doctor means into
what is written, and what is written back into what it means.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import DraftItem
from dmed.modules.prescriptions.rules import courses

CHILD_YEARS = 18
_STEPS = {"ml": Decimal("0.5"), "drop": Decimal(1), "tablet": Decimal("0.25")}
"""To what a dose can be measured; of other units a whole one."""
_HUNDREDTH = Decimal("0.01")


def milligrams(preparation: Preparation) -> Decimal:
    """Milligrams of the first INN in one dose unit; 0 where the strength is no mass."""
    found = courses.component_milligrams(preparation)
    return next(iter(found.values()), Decimal(0))


def per_kg_day(
    preparation: Preparation, item: DraftItem, weight_kg: Decimal | None
) -> Decimal | None:
    """What a line means in mg/kg a day; None where weight or strength is not known."""
    each = milligrams(preparation)
    if not weight_kg or weight_kg <= 0 or not each or not item.dose or not item.times_per_day:
        return None
    day = each * item.dose * item.times_per_day
    return (day / weight_kg).quantize(_HUNDREDTH, ROUND_HALF_UP)


def dose_for(
    preparation: Preparation, mg_per_kg_day: Decimal, times_per_day: int, weight_kg: Decimal | None
) -> Decimal | None:
    """One dose, in dose units that can be measured, for so many mg/kg a day; never above it unless
    the smallest measure already is. None where it cannot be told.
    """
    each = milligrams(preparation)
    if not weight_kg or weight_kg <= 0 or not each or times_per_day < 1 or mg_per_kg_day <= 0:
        return None
    step = _STEPS.get(preparation.form.dose_unit, Decimal(1))
    exact = mg_per_kg_day * weight_kg / times_per_day / each
    return courses.whole(max((exact // step) * step, step))
