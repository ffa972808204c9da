"""Plain MedicationDispense posts over a real database."""

from __future__ import annotations

from typing import Any

import pytest

from dmed.kit.errors import (
    ConflictError,
    UnprocessableError,
)
from dmed.modules.pharmacy import operations
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.model import ItemState

AMOXICILLIN = "amoxicillin-capsule-500mg"
PARACETAMOL = "paracetamol-tablet-500mg"


def _posted(made: Any, raw: str, units: int, **more: Any) -> dict[str, Any]:
    """A plain national MedicationDispense."""
    return {
        "resourceType": "MedicationDispense", "status": "completed",
        "contained": [{"resourceType": "Medication", "id": "p", "identifier": [
            {"system": "https://mobile-api.aslbelgisi.uz/marking", "value": raw}]}],
        "medication": {"reference": {"reference": "#p"}},
        "subject": {"reference": f"Patient/{made.patient}"},
        "authorizingPrescription": [
            {"reference": f"MedicationRequest/{made.items[0].request}"}],
        "quantity": {"value": units}, "note": [{"text": "kept"}], **more,
    }  # fmt: skip  # One record.


async def test_a_plain_post_claims_checks_and_dispenses(ward: Any) -> None:
    """In one transaction; a part leaves the request active, the sum completes it."""
    made = await ward.signed()
    first = await operations.create_dispense(
        ward.gateway, ward.pharmacist, _posted(made, ward.pack()[:31], 16))
    record = await ward.gateway.get(ward.doctor, "MedicationDispense", first)
    assert record["note"] == [{"text": "kept"}]
    assert record["contained"][0]["batch"]["lotNumber"]
    read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert (read.items[0].state, read.items[0].dispensed) == (ItemState.PART_DISPENSED, 16)
    await operations.create_dispense(
        ward.gateway, ward.pharmacist, _posted(made, ward.pack(), 5))
    read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert read.items[0].state is ItemState.DISPENSED


async def test_a_refused_plain_post_leaves_nothing(ward: Any) -> None:
    """A bad pack, too much, no pack, a foreign prescription: refused, and no claim remains."""
    made = await ward.signed()
    wrong = ward.pack(PARACETAMOL)
    reference = [{"reference": "MedicationRequest/none"}]
    for resource, error, said in (
        (_posted(made, wrong, 5), UnprocessableError, "not on the prescription"),
        (_posted(made, ward.pack(), 50), ConflictError, "would exceed the 21"),
        (_posted(made, ward.pack(), 5, contained=[]), UnprocessableError, "The pack is missing"),
        (_posted(made, ward.pack(), 5, quantity={}), UnprocessableError, "quantity is missing"),
        (_posted(made, ward.pack(), 5, authorizingPrescription=reference), UnprocessableError,
         "no electronic prescription"),
    ):  # fmt: skip  # A table.
        with pytest.raises(error, match=said):
            await operations.create_dispense(ward.gateway, ward.pharmacist, resource)
    read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert (read.items[0].state, read.items[0].holder) == (ItemState.TO_BE_DISPENSED, "")


async def test_a_plain_sale_without_prescription_is_kept(ward: Any) -> None:
    """A MedicationDispense without an authorizingPrescription is stored as it is."""
    made = await ward.signed()
    resource = _posted(made, "x", 1)
    del resource["authorizingPrescription"]
    record = await operations.create_dispense(ward.gateway, ward.pharmacist, resource)

    found = await ward.gateway.get(ward.doctor, "MedicationDispense", record)
    assert found["quantity"]["value"] == 1
