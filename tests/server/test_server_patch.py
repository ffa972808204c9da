"""PATCH over HTTP: plain, conditional, in batches and transactions, with conditions and retries."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

JSON_PATCH = {"content-type": "application/json-patch+json"}
MERGE = {"content-type": "application/merge-patch+json"}
GENDER = [{"op": "add", "path": "/gender", "value": "female"}]
URN = "urn:uuid:0b1f2d3c-0000-4000-8000-0000000000d1"


def person(id_: str, **more: Any) -> dict[str, Any]:
    """A Patient."""
    return {"resourceType": "Patient", "id": id_,
            "identifier": [{"system": "urn:p", "value": id_}], **more}  # fmt: skip


def fhirpath(path: str, name: str, **value: Any) -> dict[str, Any]:
    """Parameters that add one element."""
    parts = [
        {"name": "type", "valueCode": "add"}, {"name": "path", "valueString": path},
        {"name": "name", "valueString": name}, {"name": "value", **value},
    ]  # fmt: skip
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


def binary(patch: Any, kind: str = "application/json-patch+json") -> dict[str, Any]:
    """A patch as a Bundle entry carries it."""
    data = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"resourceType": "Binary", "contentType": kind, "data": data}


def bundle(kind: str, *entries: tuple[str, str, Any]) -> dict[str, Any]:
    """A Bundle of (method, url, resource)."""
    made = [{"request": {"method": method, "url": url}, **({"resource": body} if body else {})}
            for method, url, body in entries]  # fmt: skip
    return {"resourceType": "Bundle", "type": kind, "entry": made}


async def test_three_kinds_of_patch_make_versions(doctor: httpx.AsyncClient) -> None:
    """JSON Patch, merge patch and FHIRPath Patch each make a version; digits stay."""
    made = person("k1", extension=[{"url": "http://x/d", "valueDecimal": 1.50}])
    raw = json.dumps(made).replace("1.5}", "1.50}")
    assert (await doctor.put("/Patient/k1", content=raw)).status_code == 201
    one = await doctor.patch("/Patient/k1", json=GENDER, headers=JSON_PATCH)
    assert (one.status_code, one.json()["gender"]) == (200, "female"), one.text
    two = await doctor.patch("/Patient/k1", json={"active": True}, headers=MERGE)
    three = await doctor.patch(
        "/Patient/k1", json=fhirpath("Patient", "birthDate", valueDate="1990-01-01")
    )
    assert (two.json()["active"], three.json()["birthDate"]) == (True, "1990-01-01")
    assert '"valueDecimal":1.50' in three.text
    assert three.headers["etag"] == f'W/"{three.json()["meta"]["versionId"]}"'
    assert (await doctor.get("/Patient/k1/_history")).json()["total"] == 4
    assert (await doctor.get("/Patient?_id=k1&gender=female")).json()["total"] == 1


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (JSON_PATCH, b"{", 400),
        (JSON_PATCH, b"", 400),
        (JSON_PATCH, b'[{"op":"test","path":"/active","value":false}]', 422),
        (JSON_PATCH, b'[{"op":"replace","path":"/id","value":"x"}]', 400),
        (JSON_PATCH, b'[{"op":"add","path":"/shoes","value":1}]', 400),
        (JSON_PATCH, b'[{"op":"add","path":"/gender","value":"tall"}]', 400),
        (MERGE, b'{"resourceType":"Person"}', 400),
        ({}, b'{"resourceType":"Patient"}', 400),
        ({"content-type": "text/plain"}, b"x", 415),
        ({**JSON_PATCH, "If-Match": 'W/"1"'}, b"[]", 412),
    ],
)
async def test_refused_patches_store_nothing(
    doctor: httpx.AsyncClient, counted: Any, headers: dict[str, str], body: bytes, status: int
) -> None:
    """Broken, unfitting and stale patches are refused, and the record stays as it was."""
    await doctor.put("/Patient/k2", json=person("k2"))
    before = await counted("resource_version")
    answer = await doctor.patch("/Patient/k2", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["diagnostics"]
    assert await counted("resource_version") == before


async def test_patches_need_a_record_and_a_right(
    doctor: httpx.AsyncClient, pharmacist: httpx.AsyncClient, service: httpx.AsyncClient, room: Any
) -> None:
    """404, 410 and 403; with If-Match obligatory a patch without it is 412."""
    await service.put("/Patient/k3", json=person("k3"))
    for client, path, status in (
        (doctor, "/Patient/none", 404), (pharmacist, "/Patient/k3", 403),
        (room.variant(if_match_required=True).client("service"), "/Patient/k3", 412),
    ):  # fmt: skip
        answer = await client.patch(path, json=GENDER, headers=JSON_PATCH)
        assert answer.status_code == status, answer.text
    await service.delete("/Patient/k3")
    gone = await service.patch("/Patient/k3", json=GENDER, headers=JSON_PATCH)
    assert gone.status_code == 410


async def test_conditional_patches_want_one_match(service: httpx.AsyncClient) -> None:
    """One match is patched; none is 404, several 412, no criteria 400."""
    for name in ("k4", "k5"):
        await service.put(f"/Patient/{name}", json=person(name, name=[{"family": "Twin"}]))
    for query, status in (
        ("identifier=urn:p|k4", 200), ("identifier=urn:p|none", 404), ("family=twin", 412),
        ("", 400),
    ):  # fmt: skip
        answer = await service.patch(f"/Patient?{query}", json=GENDER, headers=JSON_PATCH)
        assert answer.status_code == status, answer.text
    assert (await service.get("/Patient/k4")).json()["gender"] == "female"


async def test_a_retry_answers_again_and_return_is_kept(service: httpx.AsyncClient) -> None:
    """PUT, PATCH and DELETE under a key act once; Prefer says what is answered."""
    body = person("k6")
    for method, path, content, kind in (
        ("PUT", "/Patient/k6", body, "application/fhir+json"),
        ("PATCH", "/Patient/k6", GENDER, "application/json-patch+json"),
        ("DELETE", "/Patient/k6", None, "application/fhir+json"),
    ):
        headers = {"Idempotency-Key": f"k6-{method}", "content-type": kind}
        sent = json.dumps(content).encode() if content else b""
        first, again = [await service.request(method, path, content=sent, headers=headers)
                        for _ in range(2)]  # fmt: skip
        assert first.status_code == again.status_code
        assert first.content == again.content
        assert again.headers["idempotent-replayed"] == "true", method
    await service.put("/Patient/k7", json=body | {"id": "k7"})
    for wish, kind in (("minimal", ""), ("representation", "Patient"),
                       ("OperationOutcome", "OperationOutcome")):  # fmt: skip
        headers = {**JSON_PATCH, "Prefer": f"return={wish}"}
        answer = await service.patch("/Patient/k7", json=GENDER, headers=headers)
        assert (answer.json()["resourceType"] if answer.content else "") == kind
    gone = await service.delete("/Patient/k7", headers={"Prefer": "return=OperationOutcome"})
    assert (gone.status_code, gone.json()["resourceType"]) == (200, "OperationOutcome")


async def test_parallel_patches_lose_nothing(service: httpx.AsyncClient) -> None:
    """32 patches at once that each add a name: all are there, each in a version of its own."""
    await service.put("/Patient/k8", json=person("k8", name=[{"family": "Start"}]))

    async def add(number: int) -> int:
        change = [{"op": "add", "path": "/name/-", "value": {"family": f"N{number}"}}]
        answer = await service.patch("/Patient/k8", json=change, headers=JSON_PATCH)
        return answer.status_code

    assert set(await asyncio.gather(*map(add, range(32)))) == {200}
    assert len((await service.get("/Patient/k8")).json()["name"]) == 33
    assert (await service.get("/Patient/k8/_history")).json()["total"] == 33


async def test_batch_entries_patch_each_for_itself(service: httpx.AsyncClient) -> None:
    """Binary and Parameters are taken; a faulty one fails alone."""
    await service.put("/Patient/k9", json=person("k9"))
    body = bundle(
        "batch",
        ("PATCH", "Patient/k9", binary(GENDER)),
        ("PATCH", "Patient?identifier=urn:p|k9", fhirpath("Patient", "active", valueBoolean=True)),
        ("PATCH", "Patient/k9", binary({"language": "uz"}, "application/merge-patch+json")),
        ("PATCH", "Patient/k9", {"resourceType": "Binary", "contentType": "text/plain",
                                 "data": "eA=="}),
        ("PATCH", "Patient/k9", None),
    )  # fmt: skip
    answer = (await service.post("/", json=body)).json()["entry"]
    statuses = [entry["response"]["status"][:3] for entry in answer]
    assert statuses == ["200", "200", "200", "400", "400"]
    made = (await service.get("/Patient/k9")).json()
    assert (made["gender"], made["active"], made["language"]) == ("female", True, "uz")


async def test_transactions_patch_with_the_rest_or_not_at_all(service: httpx.AsyncClient) -> None:
    """A patch may refer to what the same Bundle makes; a failing one undoes all."""
    await service.put("/Patient/k10", json=person("k10"))
    clinic = {"resourceType": "Organization", "name": "Clinic"}
    link = fhirpath("Patient", "managingOrganization", valueReference={"reference": URN})
    body = bundle("transaction", ("PATCH", "Patient?identifier=urn:p|k10", link),
                  ("POST", "Organization", clinic), ("GET", "Patient/k10", None))  # fmt: skip
    body["entry"][1]["fullUrl"] = URN
    done = await service.post("/", json=body)
    assert done.status_code == 200, done.text
    made = done.json()["entry"][1]["response"]["location"].partition("/_history")[0]
    seen = done.json()["entry"][2]["resource"]
    assert seen["managingOrganization"]["reference"] == made
    failing = [{"op": "test", "path": "/active", "value": True}]
    for url, patch, status in (
        ("Patient/k10", failing, 422),
        ("Patient/none", GENDER, 404),
        ("Patient?identifier=urn:p|0", GENDER, 404),
    ):
        wrong = ("PATCH", url, binary(patch))
        undone = bundle("transaction", ("PUT", "Patient/k11", person("k11")), wrong)
        answer = await service.post("/", json=undone)
        assert answer.status_code == status, answer.text
        assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert (await service.get("/Patient/k11")).status_code == 404
