"""The gateway as modules use it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dmed.kit.errors import (
    ConflictError,
    GoneError,
    InvalidError,
    NotFoundError,
    PreconditionError,
)
from dmed.kit.ids import bucket_in, bucket_of
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.gateway import Gateway, RefusedError
from dmed.trust.model import Role, Subject

DOCTOR = Subject(user="doctor", role=Role.DOCTOR, organisation="o1")
PHARMACIST = Subject(user="pharmacist", role=Role.PHARMACIST)
SERVICE = Subject(user="service", role=Role.SERVICE)


@pytest.fixture
def gateway(database: Database, settings: Settings) -> Gateway:
    """The door as modules get it."""
    return Gateway(database, settings)


def weight(patient: str, value: str = "61.50") -> dict[str, Any]:
    """A weight as modules make it."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "valueQuantity": {"value": Decimal(value), "unit": "kg"},
    }


async def test_dicts_go_in_and_come_out_with_decimals(gateway: Gateway) -> None:
    """A module's dict is stored canonically and comes back with the digits of its decimals."""
    person = await gateway.create(DOCTOR, "Patient", {"resourceType": "Patient"})
    made = await gateway.create(DOCTOR, "Observation", weight(person.id))
    assert made.created
    record = await gateway.get(DOCTOR, "Observation", made.id)
    assert str(record["valueQuantity"]["value"]) == "61.50"
    found = await gateway.find(DOCTOR, "Observation", f"patient={person.id}&code=29463-7")
    assert [one["id"] for one in found] == [made.id]
    assert bucket_in(made.id) == bucket_in(person.id)
    with pytest.raises(InvalidError):
        await gateway.find(DOCTOR, "Observation", "nonsense=1")


async def test_a_record_of_a_client_named_person_lies_with_him(
    gateway: Gateway, database: Database
) -> None:
    """Records of a person whose id a client chose get the bucket of that id."""
    await gateway.update(SERVICE, "Patient", "vali", {"resourceType": "Patient", "id": "vali"})
    made = await gateway.create(SERVICE, "Observation", weight("vali"))
    home = await database.hot.fetchval("SELECT bucket FROM id_claim WHERE id = 'vali'")
    assert bucket_in(made.id) == bucket_of("Patient/vali") == home


async def test_a_unit_is_all_or_nothing(gateway: Gateway, database: Database) -> None:
    """Records and a module's own rows commit together, or none of them."""
    await database.hot.execute("CREATE TABLE IF NOT EXISTS mine (n int)")
    lost = []

    async def fail() -> None:
        async with gateway.unit(DOCTOR) as unit:
            lost.append(await unit.create("Patient", {"resourceType": "Patient"}))
            await unit.execute("INSERT INTO mine VALUES ($1)", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await database.hot.fetchval("SELECT count(*) FROM mine") == 0
    with pytest.raises(NotFoundError):
        await gateway.read(DOCTOR, "Patient", lost[0].id)
    async with gateway.unit(DOCTOR) as unit:
        kept = await unit.create("Patient", {"resourceType": "Patient"})
        await unit.execute("INSERT INTO mine VALUES ($1)", 1)
        assert await unit.get("Patient", kept.id, lock=True) is not None
        assert await unit.get("Patient", "nobody") is None
        assert await unit.find("Patient", f"_id={kept.id}")
    assert await database.hot.fetchval("SELECT count(*) FROM mine") == 1
    assert (await gateway.read(DOCTOR, "Patient", kept.id)).id == kept.id


async def test_versions_are_compared_in_a_unit(gateway: Gateway) -> None:
    """A stale if_match inside a unit is refused; an id that exists cannot be created again."""
    made = await gateway.create(DOCTOR, "Patient", {"resourceType": "Patient"})
    body = {"resourceType": "Patient", "id": made.id, "gender": "male"}
    async with gateway.unit(DOCTOR) as unit:
        second = await unit.update("Patient", made.id, body, if_match=made.vid)
    assert not second.created
    with pytest.raises(PreconditionError):
        async with gateway.unit(DOCTOR) as unit:
            await unit.update("Patient", made.id, body, if_match=made.vid)
    with pytest.raises(ConflictError):
        async with gateway.unit(DOCTOR) as unit:
            await unit.create("Patient", {"resourceType": "Patient"}, id_=made.id)


async def test_acts_of_modules_may_more_than_plain_rest(gateway: Gateway) -> None:
    """A pharmacist's act updates a prescription; his plain REST is refused with a reason."""
    request: dict[str, Any] = {
        "resourceType": "MedicationRequest", "status": "active", "intent": "order",
        "medication": {"concept": {"text": "x"}},
    }  # fmt: skip
    person = await gateway.create(DOCTOR, "Patient", {"resourceType": "Patient"})
    request["subject"] = {"reference": f"Patient/{person.id}"}
    made = await gateway.create(DOCTOR, "MedicationRequest", request)
    done = {**request, "id": made.id, "status": "completed"}
    with pytest.raises(RefusedError) as refused:
        await gateway.plain().update(PHARMACIST, "MedicationRequest", made.id, done)
    assert refused.value.reasons[0].key == "trust.reason.act"
    await gateway.update(PHARMACIST, "MedicationRequest", made.id, done)
    with pytest.raises(RefusedError):
        await gateway.update(PHARMACIST, "Patient", "p", {"resourceType": "Patient", "id": "p"})


async def test_every_act_leaves_its_audit_row(gateway: Gateway, database: Database) -> None:
    """Create, read, search, update, delete, a refusal and a note: each is in the audit."""
    hot = database.hot
    before = await hot.fetchval("SELECT count(*) FROM audit")
    made = await gateway.create(SERVICE, "Patient", {"resourceType": "Patient"})
    await gateway.read(SERVICE, "Patient", made.id)
    await gateway.find(SERVICE, "Patient", f"_id={made.id}")
    body = {"resourceType": "Patient", "id": made.id}
    await gateway.update(SERVICE, "Patient", made.id, body)
    await gateway.delete(SERVICE, "Patient", made.id)
    with pytest.raises(GoneError):
        await gateway.read(SERVICE, "Patient", made.id)
    with pytest.raises(RefusedError):
        await gateway.read(PHARMACIST, "Condition", "x")
    await gateway.note(SERVICE, "E", "printed", patient=made.id)
    rows = await hot.fetch(
        "SELECT action, outcome, patient, detail FROM audit_told ORDER BY at, xid OFFSET $1", before
    )
    acts = [(row["action"].decode(), row["outcome"]) for row in rows]
    for act in (("C", 201), ("R", 200), ("E", 200), ("U", 200), ("D", 200), ("R", 404), ("R", 403)):
        assert act in acts, (act, acts)
    assert any(row["detail"] == "printed" and row["patient"] == made.id for row in rows)
    assert sum(row["patient"] == made.id for row in rows) >= 6
