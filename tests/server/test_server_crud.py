"""Create, read, update and delete over HTTP. https://hl7.org/fhir/R5/http.html"""

from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from typing import Any

import httpx
import msgspec


def person(family: str = "Karimov", **more: Any) -> dict[str, Any]:
    """A small Patient."""
    return {"resourceType": "Patient", "name": [{"family": family, "given": ["Anvar"]}], **more}


async def test_a_created_record_is_read_back_with_its_version(doctor: httpx.AsyncClient) -> None:
    """POST answers 201 with Location, ETag and Last-Modified; the address in it reads the same."""
    made = await doctor.post("/Patient", json=person())

    assert made.status_code == 201, made.text
    body = made.json()
    vid = body["meta"]["versionId"]
    assert made.headers["etag"] == f'W/"{vid}"'
    assert made.headers["location"] == f"http://test/fhir/Patient/{body['id']}/_history/{vid}"
    assert made.headers["last-modified"].endswith(" GMT")
    read = await doctor.get(f"/Patient/{body['id']}")
    assert read.status_code == 200
    assert read.json() == body
    assert read.headers["content-type"].startswith("application/fhir+json")
    assert read.headers["etag"] == made.headers["etag"]
    version = await doctor.get(made.headers["location"])
    assert version.json() == body


async def test_decimals_and_source_are_kept(service: httpx.AsyncClient) -> None:
    """The digits of a decimal and the client's own meta survive; versionId is the server's."""
    sent = (
        b'{"resourceType":"Observation","meta":{"source":"urn:mis","versionId":"7"},'
        b'"status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    )
    made = await service.post("/Observation", content=sent)

    assert made.status_code == 201, made.text
    kept = msgspec.json.decode(made.content, strict=False)
    assert b'"value":1.50' in made.content
    assert kept["meta"]["source"] == "urn:mis"
    assert kept["meta"]["versionId"] != "7"
    assert Decimal("1.50") == Decimal("1.5")


async def test_update_makes_versions_and_honours_if_match(doctor: httpx.AsyncClient) -> None:
    """PUT with the current version succeeds, with a stale one it is 412 in the country's words."""
    made = (await doctor.post("/Patient", json=person())).json()
    path = f"/Patient/{made['id']}"
    first = f'W/"{made["meta"]["versionId"]}"'
    changed = {**made, "gender": "male"}

    updated = await doctor.put(path, json=changed, headers={"If-Match": first})
    assert updated.status_code == 200, updated.text
    assert updated.json()["meta"]["versionId"] != made["meta"]["versionId"]
    stale = await doctor.put(path, json=changed, headers={"If-Match": first})
    assert stale.status_code == 412
    issue = stale.json()["issue"][0]
    assert (issue["code"], issue["diagnostics"]) == ("invalid", "Version is mismatch")
    history = (await doctor.get(f"{path}/_history")).json()
    assert history["type"] == "history"
    assert history["total"] == 2
    assert [entry["resource"].get("gender") for entry in history["entry"]] == ["male", None]


async def test_put_to_a_new_id_creates_and_revives(service: httpx.AsyncClient) -> None:
    """PUT creates under the client's id (201); after a delete it brings the record back."""
    record = person(id="ali-1")
    assert (await service.put("/Patient/ali-1", json=record)).status_code == 201
    assert (await service.put("/Patient/ali-1", json=record)).status_code == 200
    assert (await service.delete("/Patient/ali-1")).status_code == 204
    gone = await service.get("/Patient/ali-1")
    assert gone.status_code == 410
    assert gone.json()["issue"][0]["code"] == "deleted"
    assert (await service.delete("/Patient/ali-1")).status_code == 204
    assert (await service.put("/Patient/ali-1", json=record)).status_code == 201
    assert (await service.get("/Patient/ali-1")).status_code == 200
    entries = (await service.get("/Patient/ali-1/_history")).json()["entry"]
    methods = [entry["request"]["method"] for entry in entries]
    assert methods == ["PUT", "DELETE", "PUT", "PUT"]


async def test_if_match_can_be_required(room: Any) -> None:
    """With the country's rule on, an update without If-Match is 412; a new record needs none."""
    client = room.variant(if_match_required=True).client("service")
    assert (await client.put("/Patient/strict-1", json=person(id="strict-1"))).status_code == 201
    refused = await client.put("/Patient/strict-1", json=person(id="strict-1"))
    assert refused.status_code == 412
    assert refused.json()["issue"][0]["diagnostics"] == "Version is mismatch"


async def test_conditional_reads_answer_304(doctor: httpx.AsyncClient) -> None:
    """If-None-Match and If-Modified-Since save the body."""
    made = await doctor.post("/Patient", json=person())
    path = f"/Patient/{made.json()['id']}"
    same = await doctor.get(path, headers={"If-None-Match": made.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    since = await doctor.get(path, headers={"If-Modified-Since": made.headers["last-modified"]})
    assert since.status_code == 304
    other = await doctor.get(path, headers={"If-None-Match": 'W/"1"'})
    assert other.status_code == 200


async def test_prefer_chooses_the_answer(doctor: httpx.AsyncClient) -> None:
    """return=minimal has no body, return=OperationOutcome tells, representation shows."""
    minimal = await doctor.post("/Patient", json=person(), headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")
    told = await doctor.post(
        "/Patient", json=person(), headers={"Prefer": "return=OperationOutcome"}
    )
    assert told.json()["resourceType"] == "OperationOutcome"
    shown = await doctor.post(
        "/Patient", json=person(), headers={"Prefer": "return=representation"}
    )
    assert shown.json()["resourceType"] == "Patient"


async def test_only_json_is_spoken(doctor: httpx.AsyncClient) -> None:
    """XML is 406 as an answer and 415 as a body; _format wins over Accept."""
    made = (await doctor.post("/Patient", json=person())).json()
    path = f"/Patient/{made['id']}"
    assert (await doctor.get(path, headers={"Accept": "application/fhir+xml"})).status_code == 406
    assert (await doctor.get(f"{path}?_format=xml")).status_code == 406
    wins = await doctor.get(f"{path}?_format=json", headers={"Accept": "application/fhir+xml"})
    assert wins.status_code == 200
    sent = await doctor.post(
        "/Patient", content=b"<Patient/>", headers={"Content-Type": "application/fhir+xml"}
    )
    assert sent.status_code == 415


async def test_pretty_head_gzip_and_request_id(doctor: httpx.AsyncClient) -> None:
    """_pretty indents, HEAD has headers only, gzip packs both ways, X-Request-Id comes back."""
    big = person(
        text={
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "a " * 2000 + "</div>",
        }
    )
    made = await doctor.post(
        "/Patient",
        content=gzip.compress(msgspec.json.encode(big)),
        headers={"Content-Encoding": "gzip"},
    )
    assert made.status_code == 201, made.text
    assert made.headers["content-encoding"] == "gzip"
    path = f"/Patient/{made.json()['id']}"
    assert "\n  " in (await doctor.get(f"{path}?_pretty=true")).text
    head = await doctor.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    named = await doctor.get(path, headers={"X-Request-Id": "abc-1", "Accept-Encoding": "identity"})
    assert named.headers["x-request-id"] == "abc-1"
    assert "content-encoding" not in named.headers
    assert (await doctor.get(path, headers={"X-Request-Id": "a b\x01"})).headers[
        "x-request-id"
    ] != "a b\x01"


async def test_conditional_create_finds_the_record(service: httpx.AsyncClient) -> None:
    """If-None-Exist answers 200 with the existing record, 412 where several match."""
    record = person(identifier=[{"system": "urn:x", "value": "cc-1"}])
    condition = {"If-None-Exist": "identifier=urn:x|cc-1"}
    first = await service.post("/Patient", json=record, headers=condition)
    again = await service.post("/Patient", json=record, headers=condition)
    assert (first.status_code, again.status_code) == (201, 200), again.text
    assert again.json()["id"] == first.json()["id"]
    await service.post("/Patient", json=record)
    several = await service.post("/Patient", json=record, headers=condition)
    assert several.status_code == 412


async def test_64_parallel_conditional_creates_make_one_record(service: httpx.AsyncClient) -> None:
    """However many ask at once, one record is made and all are told its id."""
    record = person(identifier=[{"system": "urn:x", "value": "race"}])
    condition = {"If-None-Exist": "identifier=urn:x|race"}
    answers = await asyncio.gather(
        *(service.post("/Patient", json=record, headers=condition) for _ in range(64))
    )

    assert sorted({answer.status_code for answer in answers}) == [200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(answer.status_code == 201 for answer in answers) == 1
    found = (await service.get("/Patient?identifier=urn:x|race")).json()
    assert found["total"] == 1


async def test_conditional_update_and_delete(service: httpx.AsyncClient) -> None:
    """PUT with criteria creates, then updates the one; DELETE with criteria removes it."""
    record = person(identifier=[{"system": "urn:x", "value": "cu-1"}])
    path = "/Patient?identifier=urn:x|cu-1"
    first = await service.put(path, json=record)
    assert first.status_code == 201, first.text
    second = await service.put(path, json={**record, "gender": "male"})
    assert second.status_code == 200, second.text
    assert second.json()["id"] == first.json()["id"]
    assert (await service.put("/Patient", json=record)).status_code == 400
    assert (await service.delete(path)).status_code == 204
    assert (await service.get(f"/Patient/{first.json()['id']}")).status_code == 410


async def test_an_idempotency_key_gives_the_first_answer_again(
    doctor: httpx.AsyncClient, counted: Any
) -> None:
    """Same key and body: the first answer, nothing written; another body: 422."""
    key = {"Idempotency-Key": "k-1"}
    first = await doctor.post("/Patient", json=person("Once"), headers=key)
    before = await counted("resource")
    again = await doctor.post("/Patient", json=person("Once"), headers=key)
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert await counted("resource") == before
    other = await doctor.post("/Patient", json=person("Twice"), headers=key)
    assert other.status_code == 422


async def test_parallel_retries_write_once(doctor: httpx.AsyncClient, counted: Any) -> None:
    """Sixteen retries at once under one key leave one record."""
    before = await counted("resource")
    key = {"Idempotency-Key": "k-parallel"}
    answers = await asyncio.gather(
        *(doctor.post("/Patient", json=person("Same"), headers=key) for _ in range(16))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await counted("resource") == before + 1


async def test_if_none_match_star_creates_only(service: httpx.AsyncClient) -> None:
    """PUT with If-None-Match: * makes a record, and never replaces one (RFC 9110)."""
    only_new = {"If-None-Match": "*"}
    record = person(id="once")
    assert (await service.put("/Patient/once", json=record, headers=only_new)).status_code == 201
    assert (await service.put("/Patient/once", json=record, headers=only_new)).status_code == 412


async def test_a_binary_is_a_file_under_our_name(service: httpx.AsyncClient) -> None:
    """A browser saves it and never shows it as a page, whatever its content says it is."""
    made = await service.post("/Binary", json={
        "resourceType": "Binary", "contentType": "text/html", "data": "PHNjcmlwdD4="})
    assert made.status_code == 201, made.text
    id_ = made.json()["id"]
    read = await service.get(f"/Binary/{id_}")
    other = await service.get(made.headers["location"])

    named = f'attachment; filename="Binary-{id_}"'
    assert read.headers["content-disposition"] == other.headers["content-disposition"] == named
    assert read.headers["x-content-type-options"] == "nosniff"
