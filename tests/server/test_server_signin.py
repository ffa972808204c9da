"""No request without sign-in, and no record beyond the role."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dmed.trust.manifest import SIGNED_IN, Manifest, Operation
from dmed.trust.model import Role

ROUTES = [
    ("GET", "/Patient"), ("POST", "/Patient"), ("PUT", "/Patient?name=x"),
    ("DELETE", "/Patient?name=x"), ("POST", "/Patient/_search"), ("GET", "/Patient/_history"),
    ("GET", "/Patient/1"), ("HEAD", "/Patient/1"), ("PUT", "/Patient/1"), ("DELETE", "/Patient/1"),
    ("PATCH", "/Patient/1"), ("GET", "/Patient/1/_history"), ("GET", "/Patient/1/_history/1"),
    ("GET", "/Patient/1/Observation"), ("GET", "/Patient/1/*"), ("GET", "/Patient/1/$everything"),
    ("POST", "/Patient/$match"), ("POST", "/"), ("GET", "/"), ("GET", "/_history"),
    ("POST", "/$convert"), ("GET", "/Nonsense"), ("GET", "/Nonsense/1/2/3/4"),
    ("OPTIONS", "/Patient"), ("POST", "/metadata"), ("GET", "/metadata/1"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_needs_sign_in(room: Any, method: str, path: str) -> None:
    """Without proof the answer is 401, wherever the address leads and whether it exists."""
    answer = await room.anonymous().request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if method != "HEAD":
        assert answer.json()["issue"][0]["code"] == "login"


async def test_only_the_capability_statement_is_open(room: Any) -> None:
    """GET metadata needs nobody, is valid R5, and names types, parameters and interactions."""
    from dmed.fhir import codec, validate

    answer = await room.anonymous().get("/metadata")
    assert answer.status_code == 200
    statement = codec.decode(answer.content, "CapabilityStatement")
    faults = [issue for issue in validate.validate(statement) if issue.severity == "error"]
    assert not faults, faults[:5]
    body = answer.json()
    assert body["fhirVersion"] == "5.0.0"
    types = {one["type"]: one for one in body["rest"][0]["resource"]}
    assert len(types) > 150
    codes = {one["code"] for one in types["Patient"]["interaction"]}
    assert {"read", "vread", "update", "create", "search-type", "history-instance"} <= codes
    assert "identifier" in {one["name"] for one in types["Patient"]["searchParam"]}
    assert "Observation:subject" in types["Patient"]["searchRevInclude"]
    logical = await room.variant(logical_delete=True).anonymous().get("/metadata")
    first = logical.json()["rest"][0]["resource"][0]
    assert "delete" not in {one["code"] for one in first["interaction"]}


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.", "x" * 9000])
async def test_a_false_token_is_refused(room: Any, token: str) -> None:
    """Whatever is wrong with a token, the answer is 401 and tells nothing."""
    for path in ("/Patient/1", "/Patient"):
        answer = await room.anonymous(authorization=f"Bearer {token}").get(path)
        assert answer.status_code == 401
    basic = await room.anonymous(authorization="Basic eDp5").get("/Patient/1")
    assert basic.status_code == 401


async def test_a_revoked_token_and_a_closed_account_end(room: Any) -> None:
    """Both are refused as soon as the epoch is read again."""
    identity = room.guard.identity
    token = await identity.issue_token("registrar")
    client = room.anonymous(authorization=f"Bearer {token}")
    assert (await client.get("/Patient")).status_code == 200
    await identity.revoke(token.encode())
    assert (await client.get("/Patient")).status_code == 401


async def test_a_cookie_reads_and_writes_with_the_page_token(room: Any) -> None:
    """A page session reads by its cookie; a write needs the token of the page too."""
    signed = await room.guard.identity.sign_in("doctor", "doctor-demo", "10.0.0.1")
    client = room.anonymous(cookie=f"dmed_session={signed.cookie}; other=1")
    made = {"resourceType": "Patient", "name": [{"family": "Cookiyev"}]}
    assert (await client.get("/Patient?_count=1")).status_code == 200
    json = {"Content-Type": "application/fhir+json"}
    refused = await client.post("/Patient", json=made, headers=json)
    assert refused.status_code == 403
    foreign = {**json, "X-CSRF-Token": signed.csrf, "Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/Patient", json=made, headers=foreign)).status_code == 403
    own = {**json, "X-CSRF-Token": signed.csrf, "Sec-Fetch-Site": "same-origin"}
    created = await client.post("/Patient", json=made, headers=own)
    assert created.status_code == 201, created.text
    assert (await client.get(f"/Patient/{created.json()['id']}")).status_code == 200
    await room.guard.identity.sign_out(signed.cookie)
    assert (await client.get("/Patient?_count=1")).status_code == 401


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clinical(room: Any) -> dict[str, str]:
    """A person with a diagnosis, a note and a prescription; ids by type."""
    service = room.client("service")
    person = {"resourceType": "Patient", "id": "r1", "name": [{"family": "Rolov"}]}
    subject = {"subject": {"reference": "Patient/r1"}}
    records: list[dict[str, Any]] = [
        person,
        {"resourceType": "Encounter", "id": "r1e", "status": "completed", **subject},
        {
            "resourceType": "Condition",
            "id": "r1c",
            "clinicalStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                "code": "active"}]},
            "code": {"text": "secretitis"},
            **subject,
        },
        {
            "resourceType": "MedicationRequest",
            "id": "r1m",
            "status": "active",
            "intent": "order",
            "medication": {"concept": {"text": "amoxicillin"}},
            "encounter": {"reference": "Encounter/r1e"},
            **subject,
        },
    ]  # fmt: skip
    for record in records:
        path = f"/{record['resourceType']}/{record['id']}"
        answer = await service.put(path, json=record)
        assert answer.status_code == 201, answer.text
    await room.in_care("r1", users=("doctor", "pharmacist"))
    return {record["resourceType"]: record["id"] for record in records}


async def test_roles_read_what_they_may(
    clinical: dict[str, str],
    doctor: httpx.AsyncClient,
    pharmacist: httpx.AsyncClient,
    registrar: httpx.AsyncClient,
    administrator: httpx.AsyncClient,
) -> None:
    """The table of roles holds for reads by both ways through the server."""
    allowed = {
        "Patient": (doctor, pharmacist, registrar),
        "Condition": (doctor,),
        "Encounter": (doctor,),
        "MedicationRequest": (doctor, pharmacist),
    }
    for type_, id_ in clinical.items():
        for client in (doctor, pharmacist, registrar, administrator):
            expected = 200 if client in allowed[type_] else 403
            for path in (f"/{type_}/{id_}", f"/{type_}/{id_}?_pretty=true",
                         f"/{type_}/{id_}/_history", f"/{type_}?_id={id_}",
                         f"/{type_}/_history"):  # fmt: skip
                assert (await client.get(path)).status_code == expected, (path, expected)


@pytest.mark.parametrize("user", ["registrar", "pharmacist"])
async def test_no_detour_leads_to_clinical_records(
    clinical: dict[str, str], room: Any, user: str
) -> None:
    """Includes, chains, _has, compartments and histories show a role nothing it may not read."""
    client = room.client(user)
    hidden = {"Condition", "Encounter"}
    if user == "registrar":
        hidden.add("MedicationRequest")
    detours = [
        "/Patient?_id=r1&_revinclude=Condition:subject",
        "/Patient?_id=r1&_revinclude=*",
        "/Patient?_id=r1&_revinclude=Encounter:subject&_revinclude:iterate=Condition:encounter",
        "/Patient/r1/*",
        "/_history?_count=100",
    ]
    if user == "pharmacist":
        detours += ["/MedicationRequest?_id=r1m&_include=*",
                    "/MedicationRequest?_id=r1m&_include=MedicationRequest:encounter"]  # fmt: skip
    for path in detours:
        answer = await client.get(path)
        assert answer.status_code in {200, 403}, answer.text
        found = {e["resource"]["resourceType"] for e in answer.json().get("entry", [])}
        assert not found & hidden, (path, found)
    # What cannot be read cannot be asked about either: no yes-or-no by criteria.
    for path in ("/Patient?_has:Condition:subject:code:text=secretitis",
                 "/Patient?_has:Condition:subject:_id=r1c",
                 "/Patient?_has:Encounter:subject:status=completed"):  # fmt: skip
        answer = await client.get(path)
        assert answer.status_code in {400, 403} or answer.json().get("total") == 0, answer.text
    if user == "pharmacist":
        chained = await client.get("/MedicationRequest?encounter.status=completed")
        assert chained.status_code == 403 or chained.json()["total"] == 0
    direct = await client.get("/Patient/r1/Condition")
    assert direct.status_code == 403


async def test_roles_write_what_they_may(
    clinical: dict[str, str],
    doctor: httpx.AsyncClient,
    pharmacist: httpx.AsyncClient,
    registrar: httpx.AsyncClient,
    administrator: httpx.AsyncClient,
    counted: Any,
) -> None:
    """Refused writes are 403 with a reason, leave no record, and leave an audit row."""
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient/r1"}}
    medication = {"resourceType": "Medication", "id": "m1"}
    dispense_path = f"/MedicationRequest/{clinical['MedicationRequest']}"
    request = (await doctor.get(dispense_path)).json()
    before = await counted("resource")
    audits = await counted("audit")
    refused = [
        await registrar.post("/Condition", json=condition),
        await administrator.post("/Patient", json={"resourceType": "Patient"}),
        await pharmacist.put(dispense_path, json=request),
        await doctor.put(dispense_path, json=request),
        await doctor.put("/Medication/m1", json=medication),
        await doctor.delete("/Patient/r1"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 6
    assert refused[0].json()["issue"][0]["code"] == "forbidden"
    assert await counted("resource") == before
    assert await counted("audit") >= audits + 6
    made = await administrator.put("/Medication/m1", json=medication)
    assert made.status_code == 201, made.text


async def test_operations_are_behind_their_roles(room: Any) -> None:
    """An operation of a module gets a bounded request, its id and the application's state."""

    async def echo(request: Request) -> Response:
        assert request.app.state.gateway is not None
        body = await request.body()
        return JSONResponse({"id": request.path_params.get("id", ""), "size": len(body),
                             "user": request.state.subject.user})  # fmt: skip

    manifest = Manifest(
        name="x",
        titles={},
        operations=(
            Operation(name="$echo", type="Patient", endpoint=echo, instance=True,
                      roles=frozenset({Role.DOCTOR})),
            Operation(name="ping", type="", endpoint=echo, roles=SIGNED_IN, affects_state=False),
        ),
    )  # fmt: skip
    other = room.variant((manifest,), body_limit_bytes=100)
    doctor = other.client("doctor")
    answer = await doctor.post("/Patient/7/$echo", content=b"12345")
    assert answer.json() == {"id": "7", "size": 5, "user": "doctor"}
    assert answer.headers["x-request-id"]
    assert (await doctor.get("/$ping")).status_code == 200
    assert (await doctor.get("/Patient/7/$echo")).status_code == 405
    assert (await doctor.post("/Patient/7/$echo", content=b"x" * 101)).status_code == 413
    assert (await other.client("registrar").post("/Patient/7/$echo")).status_code == 403
    assert (await other.anonymous().get("/$ping")).status_code == 401
    statement = (await other.anonymous().get("/metadata")).json()
    assert "ping" in [one["name"] for one in statement["rest"][0]["operation"]]


def test_openapi_says_the_same_as_the_capability_statement() -> None:
    """Every type has its paths, each behind a bearer token or a session, but metadata."""
    from dmed.fhir.facts import facts
    from dmed.kit.settings import Settings
    from dmed.server.openapi import openapi

    document = openapi((), Settings())
    assert document["security"] == [{"bearer": []}, {"session": []}]
    opened = [
        path
        for path, item in document["paths"].items()
        for one in item.values()
        if isinstance(one, dict) and one.get("security") == []
    ]
    assert opened == ["/fhir/metadata"]
    for name in facts().resources:
        assert {"get", "post"} <= document["paths"][f"/fhir/{name}"].keys()
    logical = openapi((), Settings(logical_delete=True))
    assert "delete" not in logical["paths"]["/fhir/Patient/{id}"]
