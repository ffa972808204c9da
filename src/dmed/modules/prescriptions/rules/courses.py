"""What a line of a prescription means in numbers: derived quantities, doses a day, dosage texts."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal

import msgspec

from dmed.kit.errors import InvalidError
from dmed.kit.i18n import translator
from dmed.modules.medicines.api import Preparation, unit_name
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.modules.prescriptions.rules.tables import table

LANGUAGES = ("uz", "ru", "en")
_PART = re.compile(r"([\d.]+)\s*(mg|g|mcg)\b")
_MILLIGRAMS = {"mg": Decimal(1), "g": Decimal(1000), "mcg": Decimal("0.001")}
_DROPS_PER_ML = Decimal(20)


def whole(value: Decimal) -> Decimal:
    """A decimal without needless digits: 2.00 -> 2, 0.50 -> 0.5."""
    return Decimal(f"{value.normalize():f}")


def quantity_of(preparation: Preparation, item: DraftItem) -> Decimal:
    """Units of presentation that the course takes, rounded up to whole ones; 0 if unknown."""
    if not preparation.dose_per_unit:
        return Decimal(0)  # What a bottle outside the register holds, nobody told.
    doses = item.dose * item.times_per_day * item.duration_days
    units = (doses / preparation.dose_per_unit).to_integral_value(ROUND_CEILING)
    return Decimal(units)


def filled(preparation: Preparation, item: DraftItem) -> DraftItem:
    """The line with what can be derived: usual dose, times and days where empty, the quantity."""
    item = msgspec.structs.replace(
        item,
        dose=item.dose or preparation.default_dose,
        times_per_day=item.times_per_day or preparation.default_times,
        duration_days=item.duration_days or preparation.default_days,
    )
    if item.quantity:
        return item
    return msgspec.structs.replace(item, quantity=quantity_of(preparation, item))


def component_milligrams(preparation: Preparation) -> dict[str, Decimal]:
    """Milligrams of each INN in one dose unit; empty where the strength is no mass (IU, %)."""
    found = _PART.findall(preparation.strength_text.split(",")[0].split("/")[0])
    names = preparation.inn.components
    if len(found) != len(names):
        return {}
    unit = preparation.form.dose_unit
    share = Decimal(1)
    if preparation.per_unit == "mL":
        per_ml = Decimal(1) / preparation.per
        share = per_ml if unit == "ml" else per_ml / _DROPS_PER_ML if unit == "drop" else Decimal(0)
        if unit in {"ampoule", "syringe"}:
            share = Decimal(1)  # A dose is the whole ampoule, whose strength is written first.
    return {
        name: Decimal(number) * _MILLIGRAMS[mass] * share
        for name, (number, mass) in zip(names, found, strict=True)
        if share
    }


def dosage_texts(preparation: Preparation, item: DraftItem) -> dict[str, str]:
    """The dose line in uz, ru and en: "1 kapsuladan kuniga 3 mahal, 7 kun"."""
    texts = translator()
    out = {}
    for language in LANGUAGES:
        line = texts.text(
            language,
            "prescriptions.dosage.line",
            dose=_shown(item.dose, language),
            unit=unit_name(preparation.form.dose_unit, language),
            times=str(item.times_per_day),
            days=str(item.duration_days),
        )
        if item.timing:
            line += ", " + texts.text(language, f"prescriptions.timing.{item.timing}")
        if item.as_needed:
            line += ", " + texts.text(language, "prescriptions.dosage.as_needed")
        out[language] = line
    return out


def _shown(value: Decimal, language: str) -> str:
    text = f"{whole(value):f}"
    return text if language == "en" else text.replace(".", ",")


def validity_class(draft: Draft, preparations: tuple[Preparation, ...]) -> str:
    """The class that the validity table is asked for: an antibiotic is always one; else as the
    doctor chose, else chronic where it is repeated (60 days for two courses, 90 for three), else
    ordinary.
    """
    if any(preparation.antibiotic for preparation in preparations):
        return "antibiotic"
    usual = {1: "ordinary", 2: "chronic-60"}.get(draft.repeats, "chronic")
    return draft.validity_class or usual


def validity_days(draft: Draft, preparations: tuple[Preparation, ...], day: date) -> int:
    """How many days a draft signed on `day` would be valid."""
    return (valid_until(validity_class(draft, preparations), day) - day).days


def valid_until(name: str, day: date) -> date:
    """The last day of validity of a prescription signed on `day`; InvalidError for an unknown
    class.
    """
    rows = [
        row
        for row in table("validity").rows
        if row["class"] == name and date.fromisoformat(row["from"]) <= day
    ]
    if not rows:
        raise InvalidError(f"No validity class {name!r} on {day}")
    newest = max(rows, key=lambda row: row["from"])
    return day + timedelta(days=int(newest["days"]))
