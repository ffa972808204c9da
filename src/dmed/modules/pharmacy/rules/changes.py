"""What a pharmacist may propose, and its Task: pure functions.

https://hl7.org/fhir/R5/task.html. The question is a Task of intent "proposal" based on the
MedicationRequest; the one of the item, whose focus that is, stays beside it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from dmed.kit.errors import InvalidError, NotFoundError, UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.model import Proposal
from dmed.modules.pharmacy.rules.dispenses import moment
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Item

CODE_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-task"
INPUT_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-change"
_QUARTER = Decimal("0.25")


class Wanted(msgspec.Struct, frozen=True):
    """What would be prescribed instead."""

    preparation: str
    product: str
    quantity: Decimal
    """Units of presentation; 0: as the course takes."""


def wanted(
    line: Item, kind: str, preparation: str, product: str, quantity: Decimal
) -> Wanted:
    """The change as one thing; UnprocessableError where it is none, or is another medicine."""
    before = _registered(line.preparation)
    if kind == "quantity":
        if quantity <= 0 or quantity == line.quantity:
            raise UnprocessableError("Propose a quantity other than the prescribed one")
        return Wanted(line.preparation, line.product, quantity)
    if kind == "brand":
        found = medicines.product_or_none(product)
        if found is None or found.preparation.key != line.preparation:
            raise UnprocessableError("Propose a product of the prescribed INN, form and strength")
        return Wanted(line.preparation, found.key, quantity or line.quantity)
    after = _registered(preparation)
    if after.inn.key != before.inn.key or after.key == before.key:
        raise UnprocessableError("Propose another strength or form of the same INN")
    if kind == "strength" and after.form.key != before.form.key:
        raise UnprocessableError("Another form is proposed as a change of the form")
    if kind == "form" and after.form.key == before.form.key:
        raise UnprocessableError("The form is the same: propose a change of the strength")
    return Wanted(after.key, "", quantity)


def _registered(key: str) -> medicines.Preparation:
    try:
        return medicines.registered(key)
    except NotFoundError as none:
        raise InvalidError(f"No registered preparation {key!r}") from none


def dose_of(line: Item, proposal: Proposal) -> tuple[Decimal, int]:
    """One dose and how often a day, so that the amount of the medicine a day stays the same where
    strengths can be compared; else as it was written.
    """
    before, after = _registered(line.preparation), _registered(proposal.preparation)
    if before.key == after.key or before.strength_unit != after.strength_unit or (
            before.per_unit != after.per_unit):
        return line.dose, line.times_per_day
    ratio = (before.strength / before.per) / (after.strength / after.per)
    steps = (line.dose * ratio / _QUARTER).to_integral_value(ROUND_HALF_UP)
    return max(steps, Decimal(1)) * _QUARTER, line.times_per_day


def words(labels: dict[str, str], quantity: Decimal, unit: str) -> dict[str, str]:
    """Medicine and quantity in one line a language; no quantity: the medicine alone."""
    return {
        language: f"{text}, {quantity.normalize():f} {medicines.unit_name(unit, language)}"
        if quantity else text
        for language, text in labels.items()
    }  # fmt: skip  # One line a language.


def task_of(proposal: Proposal, request: str) -> dict[str, Any]:
    """The Task of a question to the doctor."""
    given = [("kind", "valueCode", proposal.kind), ("preparation", "valueCode",
             proposal.preparation)]  # fmt: skip  # Two rows.
    if proposal.product:
        given.append(("product", "valueCode", proposal.product))
    known = medicines.preparation(proposal.preparation)
    amount = prescriptions.quantity_of_units(proposal.quantity, known.form.unit)
    rows: list[dict[str, Any]] = [{"type": _coded(name), field: value}
                                  for name, field, value in given]
    if proposal.quantity:
        rows.append({"type": _coded("quantity"), "valueQuantity": amount})
    return {
        "resourceType": "Task",
        "groupIdentifier": {"system": prescriptions.NUMBER_SYSTEM, "value": proposal.number},
        "basedOn": [{"reference": f"MedicationRequest/{request}"}],
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": CODE_SYSTEM, "code": "change-proposal"}]},
        "description": proposal.text,
        "for": {"reference": f"Patient/{proposal.patient}"},
        "authoredOn": moment(proposal.at),
        "lastModified": moment(proposal.at),
        "requester": {"reference": f"Organization/{proposal.pharmacy}",
                      "display": proposal.pharmacy_name},
        "owner": {"reference": f"PractitionerRole/{proposal.prescriber}"},
        "input": rows,
    }  # fmt: skip  # One record.


def answered(
    task: dict[str, Any], state: str, text: str, made: str, at: datetime
) -> dict[str, Any]:
    """The Task with the doctor's answer: accepted with the new number, or rejected with why."""
    task = {**task, "status": state, "lastModified": moment(at)}
    if text:
        task["statusReason"] = {"concept": {"text": text}}
    if made:
        task["output"] = [{"type": _coded("number"), "valueString": made}]
    return task


def _coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": INPUT_SYSTEM, "code": code}]}
