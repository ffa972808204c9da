"""Types that a module answers for: plain POST goes through its rules, Bundles cannot slip past."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import ECKey

from dmed.kit.errors import UnprocessableError
from dmed.trust import signatures
from dmed.trust.manifest import Interceptor, Manifest

REQUEST = {
    "resourceType": "MedicationRequest",
    "status": "active",
    "intent": "order",
    "medication": {"concept": {"text": "amoxicillin"}},
    "subject": {"reference": "Patient/i1"},
}
URN = "urn:uuid:0b1f2d3c-0000-4000-8000-00000000000a"


async def _on_create(gateway: Any, subject: Any, resource: dict[str, Any]) -> str:
    if resource.get("priority") == "stat":
        raise UnprocessableError("not like this", "MedicationRequest.priority")
    async with gateway.unit(subject) as unit:
        made = await unit.create("MedicationRequest", {**resource, "note": [{"text": "checked"}]})
        await unit.create("Task", {
            "resourceType": "Task", "status": "requested", "intent": "order",
            "focus": {"reference": f"MedicationRequest/{made.id}"}})  # fmt: skip
    return str(made.id)


MANIFEST = Manifest(
    name="x",
    titles={},
    interceptors=(Interceptor(type="MedicationRequest", on_create=_on_create),),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(room: Any) -> Any:
    """The room with a module that answers for MedicationRequest."""
    await room.in_care("i1")
    return room.variant((MANIFEST,))


async def test_a_plain_post_is_the_modules_act(other: Any, counted: Any) -> None:
    """The answer is the record that the module made; its own records came with it."""
    tasks = await counted("resource")
    answer = await other.client("doctor").post("/MedicationRequest", json=REQUEST)
    assert answer.status_code == 201, answer.text
    assert answer.json()["note"][0]["text"] == "checked"
    assert answer.headers["location"].endswith(answer.json()["meta"]["versionId"])
    assert await counted("resource") == tasks + 2


async def test_a_refusal_of_the_module_is_the_answer(other: Any, counted: Any) -> None:
    """The rule's 422 comes through with its place; bad R5 never reaches the module."""
    before = await counted("resource")
    doctor: httpx.AsyncClient = other.client("doctor")
    refused = await doctor.post("/MedicationRequest", json={**REQUEST, "priority": "stat"})
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["MedicationRequest.priority"]
    assert (await doctor.post("/MedicationRequest", json={**REQUEST, "x": 1})).status_code == 400
    assert (await other.client("pharmacist").post("/MedicationRequest", json=REQUEST)
            ).status_code == 403  # fmt: skip
    assert await counted("resource") == before


async def test_a_retry_of_an_act_answers_again(other: Any, counted: Any) -> None:
    """The key holds for acts of modules too; after a refusal it is free again."""
    doctor: httpx.AsyncClient = other.client("doctor")
    key = {"Idempotency-Key": "act-1"}
    bad = {**REQUEST, "priority": "stat"}
    assert (await doctor.post("/MedicationRequest", json=bad, headers=key)).status_code == 422
    first = await doctor.post("/MedicationRequest", json=REQUEST, headers=key)
    before = await counted("resource")
    again = await doctor.post("/MedicationRequest", json=REQUEST, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert await counted("resource") == before


async def test_a_batch_entry_is_an_act_too(other: Any) -> None:
    """A batch takes the same way as a plain POST."""
    entry = {"resource": REQUEST, "request": {"method": "POST", "url": "MedicationRequest"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = await other.client("doctor").post(
        "/", json=bundle, headers={"Prefer": "return=representation"}
    )
    made = answer.json()["entry"][0]
    assert made["response"]["status"] == "201 Created", answer.text
    assert made["resource"]["note"][0]["text"] == "checked"


async def test_a_transaction_needs_the_signature(other: Any, counted: Any) -> None:
    """A person is refused; a system needs a Provenance in the same Bundle whose signature over it
    holds, by a key registered for this system.
    """
    entry = {
        "fullUrl": URN,
        "resource": REQUEST,
        "request": {"method": "POST", "url": "MedicationRequest"},
    }
    provenance = {
        "resource": {
            "resourceType": "Provenance",
            "target": [{"reference": URN}],
            "agent": [{"who": {"display": "x"}}],
            "signature": [{"when": "2026-01-01T00:00:00Z", "who": {"display": "x"},
                           "sigFormat": "application/jose", "data": "YQ=="}],
        },
        "request": {"method": "POST", "url": "Provenance"},
    }  # fmt: skip
    bare = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    signed = {**bare, "entry": [entry, provenance]}
    before = await counted("resource")
    for user, body in (("doctor", bare), ("doctor", signed), ("service", bare)):
        answer = await other.client(user).post("/", json=body)
        assert answer.status_code == 422, (user, answer.text)
        assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[0].resource"]
    assert await counted("resource") == before
    clinic = other.client("service")
    signature = provenance["resource"]["signature"][0]
    key = ECKey.generate_key("P-256")

    def sealed(over: dict[str, Any], by: ECKey = key) -> dict[str, Any]:
        head = {"alg": "ES256", "kid": key.thumbprint()}
        jose = jws.serialize_compact(head, signatures.signed_bytes([over]), by)
        signature["data"] = base64.b64encode(jose.encode()).decode()
        return signed

    async def refused(body: dict[str, Any], said: str) -> None:
        answer = await clinic.post("/", json=body)
        assert answer.status_code == 422, answer.text
        issue = answer.json()["issue"][0]
        assert said in issue["diagnostics"]
        assert issue["expression"] == ["Bundle.entry[1].resource.signature"]

    await refused(sealed(REQUEST), "not registered for this system")
    await other.guard.identity.register_key("service", json.dumps(key.as_dict(private=False)))
    await refused(sealed(REQUEST, ECKey.generate_key("P-256")), "does not hold")
    await refused(sealed({**REQUEST, "intent": "plan"}), "something else than was sent")
    assert await counted("resource") == before
    done = await clinic.post("/", json=sealed(REQUEST))
    assert done.status_code == 200, done.text
    assert await counted("resource") == before + 2
    trial = other.variant((MANIFEST,), accept_unverified_signatures=True).client("service")
    signature["data"] = "YQ=="
    assert (await trial.post("/", json=signed)).status_code == 200


STEP = {
    "resourceType": "Task", "id": "step", "status": "requested", "intent": "order",
    "focus": {"reference": "MedicationRequest/kept/_history/1"},
}  # fmt: skip
PATCH = {"content-type": "application/merge-patch+json"}


def _changes(type_: str, id_: str, body: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Every plain way to change or remove a record."""
    tag = {"resourceType": "Parameters",
           "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}  # fmt: skip
    return [
        ("PUT", f"{type_}/{id_}", body),
        ("PUT", f"{type_}?_id={id_}", body),
        ("PATCH", f"{type_}/{id_}", {"status": "cancelled"}),
        ("PATCH", f"{type_}?_id={id_}", {"status": "cancelled"}),
        ("DELETE", f"{type_}/{id_}", None),
        ("DELETE", f"{type_}?_id={id_}", None),
        ("POST", f"{type_}/{id_}/$meta-add", tag),
    ]


async def _kept(other: Any) -> dict[str, Any]:
    """A prescription and its step, as an act of the module leaves them."""
    record = {**REQUEST, "id": "kept"}
    subject = await other.guard.identity.bearer(other.tokens["service"].encode())
    async with other.gateway.unit(subject) as unit:
        await unit.update("MedicationRequest", "kept", record)
        await unit.update("Task", "step", STEP)
    return record


async def test_no_plain_change_passes_by_the_module(other: Any, counted: Any) -> None:
    """PUT, PATCH, DELETE and $meta, by id or criteria, are 422 for a system and name the act."""
    record = await _kept(other)
    service: httpx.AsyncClient = other.client("service")
    before = await counted("resource_version")
    fresh = ("PUT", "MedicationRequest/fresh", {**record, "id": "fresh"})
    made = ("POST", "Task", {**STEP, "id": "step-2"})
    for method, path, body in [
        *_changes("MedicationRequest", "kept", record), *_changes("Task", "step", STEP), fresh,
        made,
    ]:  # fmt: skip
        headers = PATCH if method == "PATCH" else {}
        answer = await service.request(method, f"/{path}", json=body, headers=headers)
        assert answer.status_code == 422, (method, path, answer.text)
        assert "Call POST MedicationRequest" in answer.text
    assert await counted("resource_version") == before
    assert (await service.get("/MedicationRequest/kept")).json()["status"] == "active"


async def test_bundles_are_no_way_round(other: Any, counted: Any) -> None:
    """The same changes in a batch fail one by one, in a transaction all together, each named."""
    record = await _kept(other)
    service: httpx.AsyncClient = other.client("service")
    before = await counted("resource_version")
    for type_, id_, body in (("MedicationRequest", "kept", record), ("Task", "step", STEP)):
        for method, url, content in _changes(type_, id_, body)[:6]:
            entry: dict[str, Any] = {"request": {"method": method, "url": url}}
            if method == "PATCH":
                entry["resource"] = {
                    "resourceType": "Binary", "contentType": "application/merge-patch+json",
                    "data": "eyJzdGF0dXMiOiJjYW5jZWxsZWQifQ==",
                }  # fmt: skip
            elif content:
                entry["resource"] = content
            bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
            batch = await service.post("/", json=bundle)
            assert batch.json()["entry"][0]["response"]["status"][:3] == "422", (method, url)
            whole = await service.post("/", json={**bundle, "type": "transaction"})
            assert whole.status_code == 422, (method, url, whole.text)
    assert await counted("resource_version") == before


async def test_the_right_comes_before_the_rule(other: Any) -> None:
    """Who may not change the type at all is told that (403), and other Tasks stay open."""
    record = await _kept(other)
    for user in ("pharmacist", "doctor", "registrar"):
        answer = await other.client(user).put("/MedicationRequest/kept", json=record)
        assert answer.status_code == 403, answer.text
    free = {"resourceType": "Task", "id": "free", "status": "requested", "intent": "order",
            "focus": {"reference": "ServiceRequest/1"}}  # fmt: skip
    service: httpx.AsyncClient = other.client("service")
    assert (await service.put("/Task/free", json=free)).status_code == 201
    assert (await service.put("/Task/free", json={**free, "status": "accepted"})
            ).status_code == 200  # fmt: skip
    turned = await service.put("/Task/free", json={**STEP, "id": "free"})
    assert turned.status_code == 422
    assert (await service.delete("/Task/free")).status_code == 204


async def test_a_module_may_open_a_change(room: Any) -> None:
    """on_update sees both versions and lets pass what it does not refuse."""
    seen: list[tuple[str, Any, Any]] = []

    def on_update(_: Any, verb: str, before: Any, after: Any) -> None:
        seen.append((verb, before and before["status"], after and after["status"]))
        if after is None:
            raise UnprocessableError("kept for ever")

    interceptor = Interceptor(
        type="MedicationRequest", on_create=_on_create, on_update=on_update)
    manifest = Manifest(name="y", titles={}, interceptors=(interceptor,))
    service: httpx.AsyncClient = room.variant((manifest,)).client("service")
    record = {**REQUEST, "id": "open"}
    assert (await service.put("/MedicationRequest/open", json=record)).status_code == 201
    patched = await service.patch(
        "/MedicationRequest/open", json={"status": "on-hold"}, headers=PATCH)
    assert patched.status_code == 200, patched.text
    entry = {"resource": {**record, "status": "active"},
             "request": {"method": "PUT", "url": "MedicationRequest/open"}}  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await service.post("/", json=bundle)).status_code == 200
    assert (await service.delete("/MedicationRequest/open")).status_code == 422
    assert seen == [("PUT", None, "active"), ("PATCH", "active", "on-hold"),
                    ("PUT", "on-hold", "active"), ("DELETE", "active", None)]  # fmt: skip
