"""Every call of the national description of the electronic prescription, by plain HTTP.

    BASE=http://127.0.0.1:8000 DOCTOR=$(dmed token --user doctor) \\
    PHARMACIST=$(dmed token --user pharmacist) PATIENT=... PACKS="010...,010..." \\
    python national_calls.py

The workflow as the national guide tells it: POST MedicationRequest (active, order) by the doctor;
GET MedicationRequest?patient=&status=active at the pharmacy; POST MedicationDispense (completed)
for each part, the request stays active until the sum is reached, then it is completed; GET
MedicationDispense?prescription=. Then what the guide says of every interaction: If-Match on PUT
(412 "Version is mismatch"), Consent and audit, `declined`, and refusals as OperationOutcome.
Each call is printed with its answer. Nothing beyond Python is needed.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

CORE = "https://dhp.uz/fhir/core"
ICD = "http://hl7.org/fhir/sid/icd-10"
MARKING = "https://mobile-api.aslbelgisi.uz/marking"
ATC = "http://www.whocc.no/atc"
UCUM = "http://unitsofmeasure.org"


class Door:
    """The FHIR door as one person knows it: base address and token."""

    def __init__(self, base: str, token: str, name: str) -> None:
        self.base, self.token, self.name = base.rstrip("/") + "/fhir", token, name

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, want: int,
        **headers: str,
    ) -> dict[str, Any]:
        """One call, printed with its answer; another status than the documented one ends it."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.base}{path}", data, method=method)  # The address that the caller chose.
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Accept", "application/fhir+json")
        if data is not None:
            request.add_header("Content-Type", "application/fhir+json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # The same.
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            status, text = refusal.code, refusal.read()
        found: dict[str, Any] = json.loads(text or b"{}")
        print(f"{self.name}: {method} {path}\n  {status} {told(found)}", flush=True)
        if status != want:
            print(f"  expected {want}: {text.decode()[:600]}", flush=True)
            sys.exit(1)
        return found


def told(found: dict[str, Any]) -> str:
    """An answer in one line."""
    kind = found.get("resourceType", "")
    if kind == "Bundle":
        rows = [f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
                for entry in found.get("entry", ())]
        return f"Bundle {found.get('type')} of {len(rows)}: {', '.join(rows)[:200]}"
    if kind == "OperationOutcome":
        return "; ".join(f"{each['code']}: {each.get('diagnostics', '')}"
                         for each in found["issue"])[:300]
    meta = (found.get("meta") or {}).get("versionId", "")
    return f"{kind}/{found.get('id', '')} version {meta} status {found.get('status', '')}"


def prescription(patient: str) -> dict[str, Any]:
    """An active order, by INN (ATC code), with dosage, reason and course, as the guide shows it."""
    return {
        "resourceType": "MedicationRequest",
        "meta": {"profile": [f"{CORE}/StructureDefinition/uz-core-medication-request"]},
        "status": "active", "intent": "order",
        "medication": {"concept": {"coding": [{"system": ATC, "code": "J01CA04"}],
                                   "text": "Amoxicillin 500 mg capsule"}},
        "subject": {"reference": f"Patient/{patient}"},
        "reason": [{"concept": {"coding": [{"system": ICD, "code": "J15.9"}]}}],
        "dosageInstruction": [{
            "timing": {"repeat": {
                "frequency": 3, "period": 1, "periodUnit": "d",
                "boundsDuration": {"value": 7, "unit": "d", "code": "d", "system": UCUM}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
    }


def dispense(patient: str, request: str, marking: str, units: int) -> dict[str, Any]:
    """A completed hand-over of one pack, or of a part of it, for its own quantity."""
    return {
        "resourceType": "MedicationDispense",
        "meta": {"profile": [f"{CORE}/StructureDefinition/uz-core-medication-dispense"]},
        "status": "completed",
        "contained": [{"resourceType": "Medication", "id": "pack",
                       "identifier": [{"system": MARKING, "value": marking}]}],
        "medication": {"reference": {"reference": "#pack"}},
        "subject": {"reference": f"Patient/{patient}"},
        "authorizingPrescription": [{"reference": f"MedicationRequest/{request}"}],
        "quantity": {"value": units},
        "whenHandedOver": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def run(doctor: Door, pharmacist: Door, patient: str, packs: list[str]) -> None:
    """The workflow from the doctor's post to the last pack, then what is refused and how."""
    doctor.call("GET", "/metadata", want=200)
    made = doctor.call("POST", "/MedicationRequest", prescription(patient), want=201)
    request = made["id"]
    doctor.call("GET", f"/MedicationRequest/{request}", want=200)

    # The patient stands at the counter without his paper: a reason opens his prescriptions, is
    # noted, and he sees it. With the paper this call is not needed.
    pharmacist.call("POST", f"/Patient/{patient}/$break-glass", {
        "resourceType": "Parameters", "parameter": [
            {"name": "reason", "valueCode": "patient-present"},
            {"name": "text", "valueString": "He stands here without his paper"}]}, want=200)
    search = f"/MedicationRequest?patient={patient}&status=active"
    found = pharmacist.call("GET", search, want=200)
    assert request in {entry["resource"]["id"] for entry in found["entry"]}  # An example.

    first = pharmacist.call(
        "POST", "/MedicationDispense", dispense(patient, request, packs[0], 16), want=201)
    part = doctor.call("GET", f"/MedicationRequest/{request}", want=200)
    assert part["status"] == "active"  # Same.
    too_much = dispense(patient, request, packs[1], 16)
    pharmacist.call("POST", "/MedicationDispense", too_much, want=409)
    pharmacist.call(
        "POST", "/MedicationDispense", dispense(patient, request, packs[1], 5), want=201)
    whole = doctor.call("GET", f"/MedicationRequest/{request}", want=200)
    assert whole["status"] == "completed"  # Same.
    parts = doctor.call(
        "GET", f"/MedicationDispense?prescription=MedicationRequest/{request}", want=200)
    assert {first["id"]} < {entry["resource"]["id"] for entry in parts["entry"]}  # Same.
    doctor.call("GET", f"/MedicationDispense?patient={patient}&status=completed", want=200)

    # A refusal of the pharmacy is a hand-over that was declined; it changes no state.
    declined = {**dispense(patient, request, packs[1], 5), "status": "declined"}
    declined.pop("whenHandedOver")
    pharmacist.call("POST", "/MedicationDispense", declined, want=201)

    # What is refused, each with an OperationOutcome.
    again = prescription(patient)
    again["reason"] = []
    doctor.call("POST", "/MedicationRequest", {**again, "reason": [
        {"concept": {"text": "without a code"}}]}, want=422)
    pharmacist.call("POST", "/MedicationRequest", prescription(patient), want=403)
    doctor.call("POST", "/MedicationDispense",
                dispense(patient, request, packs[1], 5), want=403)
    doctor.call("PUT", f"/MedicationRequest/{request}", whole, want=403)
    doctor.call("GET", "/MedicationRequest/nobodys-request", want=404)

    # Plain changes elsewhere want the version that was read.
    person = doctor.call("GET", f"/Patient/{patient}", want=200)
    doctor.call("PUT", f"/Patient/{patient}", person, want=412, If_Match='W/"1"')


def main() -> None:
    """Reads the environment and makes the calls."""
    given = os.environ
    base = given["BASE"]
    run(Door(base, given["DOCTOR"], "doctor"), Door(base, given["PHARMACIST"], "pharmacist"),
        given["PATIENT"], given["PACKS"].split(","))
    print("every call answered as documented")


if __name__ == "__main__":
    main()
