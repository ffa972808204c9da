"""The plain national calls over HTTP: what a system of a clinic and of a pharmacy sends."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import ECKey

from dmed.apps import demo
from dmed.kit import clock
from dmed.modules.glass import MODULE as GLASS
from dmed.modules.pharmacy import MODULE as PHARMACY
from dmed.modules.prescriptions import MODULE as PRESCRIPTIONS
from dmed.server.app import fhir_app
from dmed.trust import signatures
from dmed.trust.guard import Guard
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys

KEY = ECKey.generate_key("P-256")
"""By which the clinic's system signs."""
MARKING = "https://mobile-api.aslbelgisi.uz/marking"


class Line(msgspec.Struct):
    """Clients of the two professions, and the room they work in."""

    doctor: httpx.AsyncClient
    pharmacist: httpx.AsyncClient
    service: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def line(ward: Any) -> AsyncIterator[Line]:
    """The FHIR door with both modules, and bearer tokens of the demo accounts."""
    database, settings = ward.gateway._db, ward.gateway.settings
    keys = load_keys(settings.data)
    identity = Identity(database.hot, settings, keys)
    await identity.save_demo(demo.accounts())
    guard = Guard(database.hot, settings, keys)
    app = fhir_app(ward.gateway, guard, (PRESCRIPTIONS, PHARMACY, GLASS))
    await identity.register_key("service", json.dumps(KEY.as_dict(private=False)))
    clients = []
    for user in ("doctor", "pharmacist", "service"):
        token = await identity.issue_token(user)
        clients.append(httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test/fhir",
            headers={"authorization": f"Bearer {token}",
                     "content-type": "application/fhir+json"},
        ))  # fmt: skip  # One client.
    yield Line(*clients)
    for client in clients:
        await client.aclose()


def _request(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest", "status": "active", "intent": "order",
        "medication": {"concept": {
            "coding": [{"system": "http://www.whocc.no/atc", "code": "J01CA04"}],
            "text": "Amoxicillin 500 mg capsule"}},
        "subject": {"reference": f"Patient/{patient}"},
        "reason": [{"concept": {"coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10", "code": "J15.9"}]}}],
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 3, "period": 1, "periodUnit": "d",
                                  "boundsDuration": {"value": 7, "unit": "d", "code": "d",
                                                     "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
        **more,
    }  # fmt: skip  # One record.


async def test_from_the_doctors_post_to_the_last_pack(line: Line, ward: Any) -> None:
    """POST MedicationRequest, a reason and search by patient, POST MedicationDispense twice."""
    patient = await ward.person()
    made = await line.doctor.post("/MedicationRequest", json=_request(patient))
    assert made.status_code == 201, made.text
    request = made.json()
    assert request["groupIdentifier"]["value"].startswith("1726")

    search = f"/MedicationRequest?patient={patient}&status=active"
    assert "entry" not in (await line.pharmacist.get(search)).json()
    opened = await line.pharmacist.post(f"/Patient/{patient}/$break-glass", json={
        "resourceType": "Parameters", "parameter": [
            {"name": "reason", "valueCode": "patient-present"},
            {"name": "text", "valueString": "He stands here without his paper"}]})
    assert opened.status_code == 200, opened.text
    found = await line.pharmacist.get(search)
    assert [entry["resource"]["id"] for entry in found.json()["entry"]] == [request["id"]]
    later = clock.now().astimezone(clock.TASHKENT) + timedelta(minutes=1)
    handed = later.isoformat(timespec="seconds")
    for units in (16, 5):
        dispense = {
            "resourceType": "MedicationDispense", "status": "completed",
            "contained": [{"resourceType": "Medication", "id": "p", "identifier": [
                {"system": MARKING, "value": ward.pack()[:31]}]}],
            "medication": {"reference": {"reference": "#p"}},
            "subject": {"reference": f"Patient/{patient}"},
            "authorizingPrescription": [{"reference": f"MedicationRequest/{request['id']}"}],
            "quantity": {"value": units},
            "whenHandedOver": handed,
        }  # fmt: skip  # One record.
        answer = await line.pharmacist.post("/MedicationDispense", json=dispense)
        assert answer.status_code == 201, answer.text
        assert answer.json()["whenHandedOver"] == handed

    read = await line.doctor.get(f"/MedicationRequest/{request['id']}")
    assert read.json()["status"] == "completed"
    found = await line.doctor.get(
        f"/MedicationDispense?prescription=MedicationRequest/{request['id']}"
    )
    assert sum(each["resource"]["quantity"]["value"] for each in found.json()["entry"]) == 21
    again = await line.pharmacist.post("/MedicationDispense", json=dispense)
    assert again.status_code == 409
    assert "[state dispensed]" in again.json()["issue"][0]["diagnostics"]


def _bundle(patient: str, role: str, *, is_signed: bool) -> dict[str, Any]:
    """A clinic's system sends the request with the doctor's signature over it."""
    provenance: dict[str, Any] = {
        "resourceType": "Provenance", "target": [{"reference": "urn:uuid:" + "1" * 8 + "-1111"
                                                  "-4111-8111-111111111111"}],
        "recorded": "2026-11-23T10:00:00+05:00", "agent": [{"who": {"display": "Yusupova A."}}],
    }  # fmt: skip  # One record.
    address = provenance["target"][0]["reference"]
    request = _request(patient, requester={"reference": f"PractitionerRole/{role}"})
    if is_signed:
        jose = jws.serialize_compact({"alg": "ES256", "kid": KEY.thumbprint()},
                                     signatures.signed_bytes([request]), KEY)  # fmt: skip
        provenance["signature"] = [{"sigFormat": "application/jose",
                                    "data": base64.b64encode(jose.encode()).decode()}]
    return {
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            {"fullUrl": address, "resource": request,
             "request": {"method": "POST", "url": "MedicationRequest"}},
            {"resource": provenance, "request": {"method": "POST", "url": "Provenance"}},
        ],
    }  # fmt: skip  # Two entries.


async def test_a_systems_signed_prescription_is_dispensed(line: Line, ward: Any) -> None:
    """A transaction with a signed Provenance; at the first dispense it gets number and Task. The
    same without a signature is refused.
    """
    patient = await ward.person()
    refused = await line.service.post(
        "", json=_bundle(patient, ward.doctor.practitioner_role, is_signed=False)
    )
    assert refused.status_code == 422, refused.text
    made = await line.service.post(
        "", json=_bundle(patient, ward.doctor.practitioner_role, is_signed=True)
    )
    assert made.status_code == 200, made.text
    request = made.json()["entry"][0]["response"]["location"].split("/_history")[0]
    request = request.rpartition("/")[2]
    dispense = {
        "resourceType": "MedicationDispense", "status": "completed",
        "contained": [{"resourceType": "Medication", "id": "p", "identifier": [
            {"system": MARKING, "value": ward.pack()[:31]}]}],
        "medication": {"reference": {"reference": "#p"}},
        "subject": {"reference": f"Patient/{patient}"},
        "authorizingPrescription": [{"reference": f"MedicationRequest/{request}"}],
        "quantity": {"value": 16},
    }  # fmt: skip  # One record.
    answer = await line.pharmacist.post("/MedicationDispense", json=dispense)
    assert answer.status_code == 201, answer.text
    read = (await line.doctor.get(f"/MedicationRequest/{request}")).json()
    assert read["groupIdentifier"]["value"].startswith("1726")
    tasks = await line.doctor.get(f"/Task?focus=MedicationRequest/{request}")
    assert tasks.json()["entry"][0]["resource"]["status"] == "in-progress"
    again = {**dispense, "quantity": {"value": 5}}
    wrong = await line.pharmacist.post("/MedicationDispense", json=again)
    assert wrong.status_code == 422
    assert "already" in wrong.json()["issue"][0]["diagnostics"]


async def test_refusals_are_operation_outcomes(line: Line, ward: Any) -> None:
    """Each fault is an issue with its sentence and status; nothing is stored."""
    patient = await ward.person()
    answer = await line.doctor.post("/MedicationRequest", json=_request(patient, reason=[
        {"concept": {"text": "no code"}}]))  # fmt: skip  # One call.
    assert answer.status_code == 422
    assert "an indication" in answer.json()["issue"][0]["diagnostics"]
    assert answer.json()["issue"][0]["code"] == "business-rule"
    answer = await line.pharmacist.post("/MedicationRequest", json=_request(patient))
    assert answer.status_code == 403
    found = await line.doctor.get(f"/MedicationRequest?patient={patient}")
    assert not found.json().get("entry")


async def test_posted_repeats_are_checked(line: Line, ward: Any) -> None:
    """Repeats that a system asks for go through the same rule: none of an antibiotic."""
    patient = await ward.person()
    more = {"dispenseRequest": {"numberOfRepeatsAllowed": 2}}
    answer = await line.doctor.post("/MedicationRequest", json=_request(patient, **more))
    assert answer.status_code == 422
    assert "an antibiotic is not repeated" in answer.json()["issue"][0]["diagnostics"]


async def test_a_retried_post_makes_one_prescription(line: Line, ward: Any) -> None:
    """The same Idempotency-Key gives the same answer."""
    patient = await ward.person()
    headers = {"idempotency-key": f"http-{patient}"}
    first = await line.doctor.post("/MedicationRequest", json=_request(patient), headers=headers)
    second = await line.doctor.post("/MedicationRequest", json=_request(patient), headers=headers)

    assert first.status_code == second.status_code == 201
    assert first.json()["id"] == second.json()["id"]


def _asked(**given: Any) -> dict[str, Any]:
    """A Parameters body of texts, codes (kind, reason), booleans and numbers."""
    rows = []
    for name, value in given.items():
        kind = {bool: "valueBoolean", int: "valueDecimal"}.get(type(value), "valueString")
        rows.append({"name": name, "valueCode" if name in {"kind", "reason"} else kind: value})
    return {"resourceType": "Parameters", "parameter": rows}


def _named(answer: httpx.Response, name: str) -> Any:
    """The first parameter of a name in an answer that is 200."""
    assert answer.status_code == 200, answer.text
    return next(row for row in answer.json()["parameter"] if row["name"] == name)


async def test_a_change_is_proposed_and_signed_by_operations(line: Line, ward: Any) -> None:
    """Claim by what the scanner read, propose, sign; each hand is refused what is the other's."""
    made = await ward.signed()
    claimed = await line.pharmacist.post(
        "/Task/$claim-scanned", json=_asked(text=made.number, code=made.code))
    task = next(part["resource"] for part in _named(claimed, "item")["part"]
                if part["name"] == "task")["id"]
    wish = _asked(kind="quantity", quantity=7, text="Yetti dona qoldi")
    refused = await line.doctor.post(f"/Task/{task}/$propose-change", json=wish)
    assert refused.status_code == 403
    asked = await line.pharmacist.post(f"/Task/{task}/$propose-change", json=wish)
    assert _named(asked, "proposal")["resource"]["status"] == "requested"
    refused = await line.pharmacist.post(f"/Task/{task}/$answer-change", json=_asked(approve=True))
    assert refused.status_code == 403
    signed = await line.doctor.post(f"/Task/{task}/$answer-change", json=_asked(approve=True))

    assert _named(signed, "number")["valueString"] != made.number
    assert _named(signed, "proposal")["resource"]["status"] == "accepted"
    old = _named(signed, "task")["resource"]
    assert old["businessStatus"]["coding"][0]["code"] == "cancelled"


async def test_a_person_is_found_by_operations(line: Line, ward: Any) -> None:
    """A reason opens what the number alone does not; what was found is claimed."""
    system = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
    person = await ward.gateway.create(ward.doctor, "Patient", {
        "resourceType": "Patient", "gender": "male", "birthDate": "1980-01-01",
        "identifier": [{"use": "official", "system": system, "value": "31501800010033"}],
        "name": [{"family": "Izlanov", "given": ["Namuna"]}]})
    made = await ward.signed(patient=person.id)
    begun = await line.pharmacist.post("/Task/$find-person", json=_asked(pinfl="31501800010033"))
    lookup = _named(begun, "lookup")["valueString"]
    closed = await line.pharmacist.post("/Task/$open-person", json=_asked(lookup=lookup))
    assert closed.status_code == 400
    found = await line.pharmacist.post("/Task/$open-person", json=_asked(
        lookup=lookup, reason="no-phone", text="Telefoni yo‘q"))
    told = {part["name"]: part for part in _named(found, "prescription")["part"]}
    assert told["number"]["valueString"] == made.number
    taken = await line.pharmacist.post(
        "/Task/$claim-found", json=_asked(lookup=lookup, number=made.number))
    assert _named(taken, "item")["part"][0]["resource"]["status"] == "in-progress"
    refused = await line.doctor.post("/Task/$find-person", json=_asked(pinfl="31501800010033"))
    assert refused.status_code == 403
