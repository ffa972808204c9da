"""The FHIR operations on the Task of an item: what systems of clinics and pharmacies call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps import demo
from dmed.fhir import codec, validate
from dmed.kit import clock
from dmed.modules.pharmacy import MODULE as PHARMACY
from dmed.modules.pharmacy import api, operations
from dmed.modules.pharmacy.rules import acts
from dmed.modules.prescriptions import MODULE as PRESCRIPTIONS
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions import operations as prescribing
from dmed.server.app import fhir_app
from dmed.trust.guard import Guard
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys

LOSARTAN = "losartan-film-tablet-50mg"


class Line(msgspec.Struct):
    """A client for each hand."""

    doctor: httpx.AsyncClient
    pharmacist: httpx.AsyncClient
    admin: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def line(ward: Any) -> AsyncIterator[Line]:
    """The FHIR door with both modules, and bearer tokens of the demo accounts."""
    database, settings = ward.gateway._db, ward.gateway.settings
    keys = load_keys(settings.data)
    identity = Identity(database.hot, settings, keys)
    await identity.save_demo(demo.accounts())
    app = fhir_app(ward.gateway, Guard(database.hot, settings, keys), (PRESCRIPTIONS, PHARMACY))
    clients = []
    for user in ("doctor", "pharmacist", "admin"):
        token = await identity.issue_token(user)
        clients.append(httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test/fhir",
            headers={"authorization": f"Bearer {token}",
                     "content-type": "application/fhir+json"},
        ))  # fmt: skip  # One client.
    yield Line(*clients)
    for client in clients:
        await client.aclose()


def parameters(**values: Any) -> dict[str, Any]:
    """A Parameters resource of plain values."""
    rows = []
    for name, value in values.items():
        kind = "valueBoolean" if isinstance(value, bool) else "valueString"
        if name == "reason":
            kind = "valueCode"
        if isinstance(value, dict):
            kind = "valueReference"
        rows.append({"name": name, kind: value})
    return {"resourceType": "Parameters", "parameter": rows}


def packed(marking: str, quantity: Decimal | int | None = None, **more: Any) -> dict[str, Any]:
    """Parameters of one pack."""
    part: list[dict[str, Any]] = [{"name": "marking", "valueString": marking}]
    if quantity is not None:
        part.append({"name": "quantity", "valueDecimal": float(quantity)})
    body = parameters(**more)
    body["parameter"].append({"name": "pack", "part": part})
    return body


async def called(
    client: httpx.AsyncClient, task: str, name: str, body: dict[str, Any], **headers: str
) -> dict[str, Any]:
    """The answer's parameters by name; the call must succeed."""
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = await client.post(f"/Task/{task}/${name}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = {}
    for row in answer.json()["parameter"]:
        found[row["name"]] = next(value for key, value in row.items() if key != "name")
    return found


async def refused(
    client: httpx.AsyncClient, task: str, name: str, body: dict[str, Any], status: int, said: str,
    **headers: str,
) -> None:  # fmt: skip  # A call and its answer.
    """The call is refused with this status and sentence."""
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = await client.post(f"/Task/{task}/${name}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["issue"][0]["diagnostics"]


def state(task: dict[str, Any]) -> str:
    """Task.businessStatus."""
    return str(task["businessStatus"]["coding"][0]["code"])


async def test_a_life_through_operations(line: Line, ward: Any) -> None:
    """Claim with the code, a part, the rest, undo, close: each names the Task as it then is."""
    made = await ward.signed()
    task = made.items[0].task
    await refused(line.pharmacist, task, "claim", parameters(code="0" * 8), 403, "code is wrong")
    claimed = await called(line.pharmacist, task, "claim", parameters(code=made.code))
    again = await called(line.pharmacist, task, "claim", parameters(code=made.code))
    assert state(claimed["task"]) == "with-pharmacy"
    assert claimed["secret"] == again["secret"]
    assert claimed["request"]["id"] == made.items[0].request

    key = f"op-{task}"
    pack = packed(ward.pack(), 16)
    first = await called(line.pharmacist, task, "dispense", pack, idempotency_key=key)
    retry = await called(line.pharmacist, task, "dispense", pack, idempotency_key=key)
    assert state(first["task"]) == state(retry["task"]) == "part-dispensed"
    assert first["task"]["meta"] == retry["task"]["meta"]
    assert retry["dispense"] == first["dispense"]
    await refused(line.pharmacist, task, "dispense", packed(ward.pack(), 16), 422, "At most 5")
    rest = await called(line.pharmacist, task, "dispense", packed(ward.pack(), 5))
    assert state(rest["task"]) == "dispensed"
    undone = await called(line.pharmacist, task, "undo", parameters(dispense=rest["dispense"]))
    assert state(undone["task"]) == "undone"
    await refused(line.pharmacist, task, "undo", parameters(dispense={"reference": "x"}), 404,
                  "no hand-over")  # fmt: skip  # One refusal.
    closed = await called(line.pharmacist, task, "close", parameters(reason="not-required"))
    assert state(closed["task"]) == "closed-part"
    await refused(line.pharmacist, task, "return", parameters(), 409, "[state closed-part]")


async def test_a_version_is_compared_and_set(line: Line, ward: Any) -> None:
    """If-Match of an old Task is 412 and names the state; a retry under its key is not."""
    made = await ward.signed()
    task = made.items[0].task
    claimed = await called(line.pharmacist, task, "claim", parameters(code=made.code))
    vid = claimed["task"]["meta"]["versionId"]
    await refused(line.pharmacist, task, "return", parameters(), 412, "[state with-pharmacy]",
                  if_match='W/"1"')  # fmt: skip  # One refusal.
    await refused(line.pharmacist, task, "return", parameters(), 400, "If-Match", if_match="x")
    headers = {"if_match": f'W/"{vid}"', "idempotency_key": f"back-{task}"}
    back = await called(line.pharmacist, task, "return", parameters(), **headers)
    assert state(back["task"]) == "to-be-dispensed"
    assert state((await called(line.pharmacist, task, "return", parameters(), **headers))["task"])


async def test_hold_and_release_keep_everything(line: Line, ward: Any) -> None:
    """The authority stops an item at a counter; nothing goes on, then all goes on as it was."""
    made = await ward.signed()
    task = made.items[0].task
    await called(line.pharmacist, task, "claim", parameters(code=made.code))
    await refused(line.doctor, task, "hold", parameters(reason="recall"), 403, "may not call")
    await refused(line.admin, task, "hold", parameters(reason="mood"), 400, "no reason")
    held = await called(line.admin, task, "hold", parameters(reason="recall"))
    assert (state(held["task"]), held["task"]["status"]) == ("on-hold", "on-hold")
    assert held["task"]["owner"]["reference"].endswith(ward.pharmacist.organisation)
    request = (await line.doctor.get(f"/MedicationRequest/{made.items[0].request}")).json()
    assert request["status"] == "on-hold"
    assert request["statusReason"]["coding"][0]["code"] == "recall"
    await refused(line.pharmacist, task, "claim", parameters(code=made.code), 409, "on hold")
    await refused(line.pharmacist, task, "dispense", packed(ward.pack(), 16), 409, "on hold")
    await refused(line.doctor, task, "cancel", parameters(reason="other"), 409, "on hold")
    await api.queue(ward.gateway, ward.pharmacist)
    back = await called(line.admin, task, "release", parameters())
    assert state(back["task"]) == "with-pharmacy"
    await refused(line.admin, task, "release", parameters(), 409, "[state with-pharmacy]")
    done = await called(line.pharmacist, task, "dispense", packed(ward.pack(), 16))
    assert state(done["task"]) == "part-dispensed"


async def test_a_cancellation_is_answered(line: Line, ward: Any) -> None:
    """Cancelled at once while nobody has it; at a pharmacy it is a wish, answered either way."""
    made = await ward.signed()
    task = made.items[0].task
    wish = parameters(reason="contraindicated")
    await called(line.pharmacist, task, "claim", parameters(code=made.code))
    asked = await called(line.doctor, task, "cancel", wish, idempotency_key=f"c-{task}")
    assert state(asked["task"]) == "cancel-requested"
    await called(line.doctor, task, "cancel", wish, idempotency_key=f"c-{task}")
    late = await called(line.pharmacist, task, "answer-cancel", parameters(accept=False))
    assert state(late["task"]) == "with-pharmacy"
    await called(line.doctor, task, "cancel", wish)
    yes = await called(line.pharmacist, task, "answer-cancel", parameters(accept=True))
    assert (state(yes["task"]), yes["task"]["status"]) == ("cancelled", "cancelled")
    free = await ward.signed()
    gone = await called(line.doctor, free.items[0].task, "cancel", wish)
    assert state(gone["task"]) == "cancelled"


async def test_parameters_are_checked(line: Line, ward: Any) -> None:
    """Unknown, missing, doubled and ill-typed parameters are 400 with the place."""
    made = await ward.signed()
    task = made.items[0].task
    code = {"name": "code", "valueString": made.code}
    wrong: list[tuple[Any, str]] = [
        ({"resourceType": "Parameters", "parameter": [{"name": "pin"}]}, "no parameter here"),
        ({"resourceType": "Parameters"}, "missing: code"),
        ({"resourceType": "Parameters", "parameter": [code, code]}, "stands once"),
        ({"resourceType": "Parameters", "parameter": [{"name": "code", "valueInteger": 1}]},
         "has a valueString"),
        ({"resourceType": "Parameters", "parameter": {"name": "code"}}, "are a list"),
        ({"resourceType": "Patient"}, "is a Parameters resource"),
    ]  # fmt: skip  # Bodies and what is said.
    for body, said in wrong:
        await refused(line.pharmacist, task, "claim", body, 400, said)
    await refused(line.pharmacist, "no-such", "claim", parameters(code="x"), 404, "no Task")


async def test_every_operation_is_defined(line: Line, ward: Any) -> None:
    """The capability statement names definitions that are stored, valid and of these parameters."""
    await operations.define(ward.gateway)
    await prescribing.define(ward.gateway)
    statement = (await line.doctor.get("/metadata")).json()
    types = {one["type"]: one for one in statement["rest"][0]["resource"]}
    task = {"operation": types["Task"]["operation"] + types["MedicationRequest"]["operation"]}
    names = set()
    ours = {each["code"] for each in (*operations.DEFINITIONS, *prescribing.DEFINITIONS)}
    for one in task["operation"]:
        if one["name"] not in ours:
            continue
        names.add(one["name"])
        read = await line.doctor.get(f"/OperationDefinition/{one['definition'].rpartition('/')[2]}")
        assert read.status_code == 200, one
        assert read.json()["url"] == one["definition"]
        assert read.json()["code"] == one["name"]
    assert names == ours
    for each in (*operations.DEFINITIONS, *prescribing.DEFINITIONS):
        resource = codec.decode(msgspec.json.encode(each), "OperationDefinition")
        assert [fault for fault in validate.validate(resource) if fault.severity == "error"] == []
    assert len(operations.OPERATIONS) == len(operations.DEFINITIONS) > len(acts.OPERATIONS)


async def test_repeats_come_one_after_the_other(line: Line, ward: Any) -> None:
    """Three courses: each waits for its day, an undo goes back one, all together never more."""
    made = await ward.signed(LOSARTAN, diagnosis="I10", repeats=3)
    item = made.items[0]
    assert (item.instances, item.instance, made.valid_until - made.signed.date()) == (
        3, 1, timedelta(days=90))  # fmt: skip  # Three facts.
    task = item.task
    units = item.quantity
    request = (await line.doctor.get(f"/MedicationRequest/{item.request}")).json()
    assert request["dispenseRequest"]["numberOfRepeatsAllowed"] == 2
    await called(line.pharmacist, task, "claim", parameters(code=made.code))
    first = await _whole(line, ward, task, made.number)
    assert (state(first["task"]), first["task"]["status"]) == ("future", "accepted")
    starts = first["task"]["requestedPeriod"]["start"]
    assert starts == (clock.today() + timedelta(days=item.duration_days)).isoformat()
    request = (await line.doctor.get(f"/MedicationRequest/{item.request}")).json()
    assert request["status"] == "active"
    await refused(line.pharmacist, task, "claim", parameters(code=made.code), 409, "[state future]")
    undone = await called(line.pharmacist, task, "undo", parameters(dispense=first["dispense"]))
    assert state(undone["task"]) == "undone"
    again = await _whole(line, ward, task, made.number)
    assert state(again["task"]) == "future"
    for instance in (2, 3):
        await _due(ward, item.request, task)
        await prescribing.start(ward.gateway)
        await called(line.pharmacist, task, "claim", parameters(code=made.code))
        found = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
        assert found.items[0].instance == instance
        last = await _whole(line, ward, task, made.number)
    assert (state(last["task"]), last["task"]["status"]) == ("dispensed", "completed")
    handed = await api.for_person(ward.gateway, ward.doctor, made.patient)
    assert sum(each.quantity for each in handed if each.status == "completed") == units * 3


async def _whole(line: Line, ward: Any, task: str, number: str) -> dict[str, Any]:
    """Hand over what is left of the open repeat out of new packs of losartan."""
    answer: dict[str, Any] = {}
    found = await prescriptions.prescription(ward.gateway, ward.doctor, number)
    left = found.items[0].remaining
    while left > 0:
        taken = min(left, ward.units(LOSARTAN))
        answer = await called(line.pharmacist, task, "dispense", packed(ward.pack(LOSARTAN), taken))
        left -= taken
    return answer


async def _due(ward: Any, request: str, task: str) -> None:
    """Let the first day of the open repeat be today."""
    async with ward.gateway.unit(ward.service) as unit:
        record = await unit.get("Task", task)
        record["requestedPeriod"]["start"] = clock.today().isoformat()
        await unit.update("Task", task, record)
        await unit.execute(
            "update prescription_item set starts = $2 where request = $1", request, clock.today()
        )


async def test_a_later_first_day_waits(line: Line, ward: Any) -> None:
    """Signed today for a later day: nobody can claim it before, the doctor can cancel it."""
    start = clock.today() + timedelta(days=5)
    made = await ward.signed(LOSARTAN, diagnosis="I10", start=start)
    task = made.items[0].task
    assert made.items[0].state is prescriptions.ItemState.FUTURE
    assert made.valid_until == start + timedelta(days=30)
    await refused(line.pharmacist, task, "claim", parameters(code=made.code), 409, "first day")
    gone = await called(line.doctor, task, "cancel", parameters(reason="other"))
    assert state(gone["task"]) == "cancelled"


async def test_payment_ends_the_undo(line: Line, ward: Any) -> None:
    """An insured item is claimed by its pharmacy and answered by the insurer; no undo after."""
    made = await ward.signed(LOSARTAN, diagnosis="I10", validity_class="reimbursed")
    task, number = made.items[0].task, made.number
    await called(line.pharmacist, task, "claim", parameters(code=made.code))
    done = await _whole(line, ward, task, number)
    with pytest.raises(Exception, match="handed it over"):
        await api.claim_payment(ward.gateway, ward.other, number, 1)
    await api.claim_payment(ward.gateway, ward.pharmacist, number, 1)
    await refused(line.pharmacist, task, "undo", parameters(dispense=done["dispense"]), 409,
                  "[state claimed]")  # fmt: skip  # One refusal.
    with pytest.raises(Exception, match="insurer"):
        await prescriptions.settle(ward.gateway, ward.doctor, number, 1, is_paid=True)
    await prescriptions.settle(ward.gateway, ward.service, number, 1, is_paid=True)
    found = await prescriptions.prescription(ward.gateway, ward.doctor, number)
    assert found.items[0].state is prescriptions.ItemState.PAID
    assert found.items[0].status == "completed"


def _drafts(patient: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Parameters with a Bundle of drafts of losartan for a patient."""
    base = {
        "resourceType": "MedicationRequest", "status": "draft", "intent": "order",
        "medication": {"concept": {
            "coding": [{"system": "http://www.whocc.no/atc", "code": "C09CA01"}],
            "text": "Losartan 50 mg film-coated tablet"}},
        "subject": {"reference": f"Patient/{patient}"},
        "reason": [{"concept": {"coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}]}}],
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d",
                                  "boundsDuration": {"value": 28, "unit": "d", "code": "d",
                                                     "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
    }  # fmt: skip  # One record.
    bundle = {"resourceType": "Bundle", "type": "collection",
              "entry": [{"resource": {**base, **each}} for each in more or ({},)]}
    return {"resourceType": "Parameters", "parameter": [{"name": "bundle", "resource": bundle}]}


async def test_drafts_get_a_number_and_are_signed_later(line: Line, ward: Any) -> None:
    """$prescribe twice under one key is one draft; nobody can claim it before $activate, whose
    signature stands over the records; a second $activate is 409.
    """
    patient = await ward.person()
    body, headers = _drafts(patient), {"idempotency-key": f"p-{patient}"}
    made = await line.doctor.post("/MedicationRequest/$prescribe", json=body, headers=headers)
    again = await line.doctor.post("/MedicationRequest/$prescribe", json=body, headers=headers)
    assert made.status_code == 200, made.text
    assert again.json() == made.json()
    number, code, task = made.json()["parameter"]
    task = task["resource"]
    assert (task["status"], state(task)) == ("draft", "draft")
    where = {"code": code["valueString"]}
    await refused(line.pharmacist, task["id"], "claim", parameters(**where), 409, "[state draft]")
    assert not await prescriptions.for_person(ward.gateway, ward.doctor, patient)
    signed = await called(line.doctor, task["id"], "activate", parameters(),
                          idempotency_key=f"a-{patient}")  # fmt: skip  # One call.
    await called(line.doctor, task["id"], "activate", parameters(),
                 idempotency_key=f"a-{patient}")  # fmt: skip  # The same again.
    assert state(signed["task"]) == "to-be-dispensed"
    request = task["focus"]["reference"]
    assert (await line.doctor.get(f"/{request}")).json()["status"] == "active"
    found = await ward.gateway.find(ward.doctor, "Provenance", f"target={request}")
    assert len(found) == 1
    await refused(line.doctor, task["id"], "activate", parameters(), 409, "nothing is left")
    claimed = await called(line.pharmacist, task["id"], "claim", parameters(**where))
    assert state(claimed["task"]) == "with-pharmacy"
    assert len(number["valueString"]) == 13


async def test_a_draft_is_checked_when_it_is_signed(line: Line, ward: Any) -> None:
    """Stops are 422; an alert asks for its coded reason, which then stands on record."""
    patient = await ward.person()
    await ward.allergic(patient, "Sartanlar", atc="C09C")
    made = await line.doctor.post("/MedicationRequest/$prescribe", json=_drafts(patient))
    assert made.status_code == 200, made.text
    task = made.json()["parameter"][2]["resource"]
    await refused(line.doctor, task["id"], "activate", parameters(), 422, "a coded reason")
    body = parameters()
    body["parameter"].append({"name": "override", "part": [
        {"name": "rule", "valueString": "allergy-group"},
        {"name": "reason", "valueCode": "benefit-outweighs"}]})  # fmt: skip  # One parameter.
    await called(line.doctor, task["id"], "activate", body)
    issues = await ward.gateway.find(
        ward.doctor, "DetectedIssue", f"implicated={task['focus']['reference']}"
    )
    assert [each["status"] for each in issues] == ["mitigated"]


async def test_what_cannot_be_one_prescription_is_refused(line: Line, ward: Any) -> None:
    """Two patients, six items, an empty Bundle, another resource, no register entry."""
    patient, other = await ward.person(), await ward.person()
    cases = [
        _drafts(patient, {}, {"subject": {"reference": f"Patient/{other}"}}),
        _drafts(patient, *({} for _ in range(6))),
        _drafts(patient, {"medication": {"concept": {"text": "no such thing"}}}),
        _drafts(patient, {"resourceType": "ServiceRequest"}),
    ]
    empty = _drafts(patient)
    empty["parameter"][0]["resource"]["entry"] = []
    for body in (*cases, empty):
        answer = await line.doctor.post("/MedicationRequest/$prescribe", json=body)
        assert answer.status_code == 422, answer.text


async def test_a_draft_that_nobody_signs_ends(line: Line, ward: Any) -> None:
    """After a day it is entered in error and can no longer be signed."""
    patient = await ward.person()
    made = await line.doctor.post("/MedicationRequest/$prescribe", json=_drafts(patient))
    number, _, task = made.json()["parameter"]
    async with ward.gateway.unit(ward.service) as unit:
        await unit.execute(
            "update prescription set signed = signed - interval '25 hours' where number = $1",
            number["valueString"],
        )
    await prescribing.forget_drafts(ward.gateway)
    read = (await line.doctor.get(f"/Task/{task['resource']['id']}")).json()
    assert (read["status"], state(read)) == ("cancelled", "draft-expired")
    request = (await line.doctor.get(f"/{task['resource']['focus']['reference']}")).json()
    assert request["status"] == "entered-in-error"
    await refused(line.doctor, task["resource"]["id"], "activate", parameters(), 409, "more than")


async def test_a_document_is_handed_out_for_signing(line: Line, ward: Any) -> None:
    """$prepare-signature of drafts and of a request that will be posted, and its use over HTTP."""
    patient = await ward.person()
    made = await line.doctor.post("/MedicationRequest/$prescribe", json=_drafts(patient))
    task = made.json()["parameter"][2]["resource"]
    prepared = await line.doctor.post(f"/Task/{task['id']}/$prepare-signature", json=parameters())
    assert prepared.status_code == 200, prepared.text
    request, document = prepared.json()["parameter"]
    body = parameters()
    body["parameter"].append({"name": "signature", "part": [
        {"name": "request", "valueString": request["valueString"]},
        {"name": "pkcs7", "valueBase64Binary": "no base64!"}]})  # fmt: skip  # One parameter.
    await refused(line.doctor, task["id"], "activate", body, 400, "no Base64")
    body["parameter"][-1]["part"][1]["valueBase64Binary"] = document["valueBase64Binary"]
    await refused(line.doctor, task["id"], "activate", body, 422, "makes the signature itself")
    posted = _drafts(patient)["parameter"][0]["resource"]["entry"][0]["resource"]
    other = await line.doctor.post("/MedicationRequest/$prepare-signature", json={
        "resourceType": "Parameters", "parameter": [{"name": "resource", "resource": posted}]})

    assert other.status_code in {200, 409, 422}, other.text
