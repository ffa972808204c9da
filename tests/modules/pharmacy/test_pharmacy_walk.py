"""Random acts by every hand on one prescription, over the real records and tables."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from dmed.kit.errors import ConflictError, ForbiddenError, NotFoundError, UnprocessableError
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.service import counter, handing
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.rules.states import TABLE
from dmed.trust.model import Role, Subject

LOSARTAN = "losartan-film-tablet-50mg"
ADMIN = Subject(user="admin", role=Role.ADMINISTRATOR)
ROWS = {(row.task, row.state.value, row.request) for row in TABLE}
STEPS = 45


class Walk(msgspec.Struct):
    """One prescription and what was tried on it."""

    ward: Any
    number: str
    code: str
    luck: Any
    handed: list[str] = []
    tried: list[str] = []
    done: int = 0


async def _step(walk: Walk) -> None:
    """One random act by a random hand; a refusal changes nothing and is no fault."""
    ward, luck, number = walk.ward, walk.luck, walk.number
    who = luck.choice([ward.pharmacist, ward.pharmacist, ward.other])
    item = luck.choice([1, 2])
    act = luck.choice(["claim", "claim", "dispense", "dispense", "dispense", "return", "close",
                       "not", "cancel", "answer", "hold", "release", "release", "undo"])
    walk.tried.append(f"{act} {item} {who.user}")
    gateway = ward.gateway
    if act == "claim":
        await api.claim(gateway, who, number, walk.code, items=(item,))
    elif act == "dispense":
        pack = handing.GivenPack(
            marking=ward.pack(LOSARTAN if item == 1 else "paracetamol-tablet-500mg"),
            quantity=Decimal(luck.randint(1, 12)),
        )
        walk.handed += await handing.dispense_item(
            gateway, who, number, item, [pack], release_rest=luck.random() < 0.3
        )
    elif act == "return":
        await api.return_(gateway, who, number, items=(item,))
    elif act == "close":
        await api.close(gateway, who, number, item, reason="not-required")
    elif act == "not":
        await api.not_dispensed(gateway, who, number, item, reason="out-of-stock")
    elif act == "cancel":
        await prescriptions.cancel(gateway, ward.doctor, number, reason="other", item=item)
    elif act == "answer":
        await api.answer_cancel(gateway, who, number, item, accept=luck.random() < 0.2)
    elif act == "hold":
        await prescriptions.hold(gateway, ADMIN, number, item, reason="shortage")
    elif act == "release":
        await prescriptions.release(gateway, ADMIN, number, item)
    elif walk.handed:
        await api.undo(gateway, who, luck.choice(walk.handed))


async def _check(walk: Walk) -> None:
    """What must hold after every act, read from the records themselves."""
    gateway, doctor = walk.ward.gateway, walk.ward.doctor
    found = await prescriptions.prescription(gateway, doctor, walk.number)
    async with gateway.unit(doctor) as unit:
        leases = await unit.fetch(
            "select item, pharmacy from pharmacy_claim where number = $1", walk.number
        )
    held = {row["item"]: row["pharmacy"] for row in leases}
    for item in found.items:
        task = await gateway.get(doctor, "Task", item.task)
        assert (task["status"], item.state.value, item.status) in ROWS, walk.tried
        records = await gateway.find(
            doctor, "MedicationDispense", f"prescription=MedicationRequest/{item.request}&_count=99"
        )
        handed = sum(
            (Decimal(each["quantity"]["value"]) for each in records
             if each["status"] == "completed"), Decimal(0))  # fmt: skip  # One sum.
        assert handed <= item.quantity * item.instances, walk.tried
        if item.instance == 1 and item.instances == 1:
            assert handed == item.dispensed, walk.tried
        assert held.get(item.number, "") == item.holder, walk.tried
        is_stopped = item.state.value in {"cancelled", "dispensed", "closed-part", "expired"}
        assert not (is_stopped and item.holder), walk.tried


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_walk_stays_in_the_table(ward: Any, seed: int) -> None:
    """Two pharmacies, the doctor and the authority act at random: states stay rows of the table,
    what the records say was handed over is what the Task says and never too much, and a lease
    stands exactly where an item has a holder.
    """
    made = await ward.signed(LOSARTAN, "paracetamol-tablet-500mg", diagnosis="I10")
    walk = Walk(ward=ward, number=made.number, code=made.code, luck=random.Random(seed))  # noqa: S311  # A repeatable walk, no secret.
    for _ in range(STEPS):
        try:
            await _step(walk)
            walk.done += 1
        except (ForbiddenError, NotFoundError, ConflictError, UnprocessableError):
            pass
        await _check(walk)
    assert walk.done >= 1
    await counter.end_leases(ward.gateway, ward.service)
    await _check(walk)
