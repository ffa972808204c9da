"""Deletes of several, histories at a moment, parallel creates, retried and large transactions."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx


def patient(value: str, **more: Any) -> dict[str, Any]:
    """A Patient with an identifier."""
    return {"resourceType": "Patient", "identifier": [{"system": "urn:w", "value": value}], **more}


def entry(method: str, url: str, resource: Any = None, full_url: str = "") -> dict[str, Any]:
    """An entry of a Bundle."""
    made: dict[str, Any] = {"request": {"method": method, "url": url}}
    if resource is not None:
        made["resource"] = resource
    return {"fullUrl": full_url, **made} if full_url else made


def transaction(*entries: Any) -> dict[str, Any]:
    """A transaction Bundle."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


async def test_a_delete_of_several_is_asked_for_by_count(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """Without _count several matches are 412; with it all go, or none where there are more."""
    for _ in range(3):
        await service.post("/Patient", json=patient("several"))
    where = "/Patient?identifier=urn:w|several"
    before = await counted("resource")
    for query in ("", "&_count=2"):
        refused = await service.delete(where + query)
        assert refused.status_code == 412, refused.text
        assert "none was deleted" in refused.text
    for count in ("0", "501", "x"):
        assert (await service.delete(f"{where}&_count={count}")).status_code == 400
    assert await counted("resource") == before
    told = await service.delete(f"{where}&_count=3", headers={"Prefer": "return=OperationOutcome"})
    assert "3 deleted" in told.json()["issue"][0]["diagnostics"]
    assert await counted("resource") == before - 3
    assert (await service.delete(f"{where}&_count=3")).status_code == 204


async def test_a_transaction_deletes_several_too(service: httpx.AsyncClient) -> None:
    """In a transaction the same rule holds, and the rest happens after the deletion."""
    for _ in range(2):
        await service.post("/Patient", json=patient("inside"))
    where = "Patient?identifier=urn:w|inside"
    refused = await service.post("/", json=transaction(entry("DELETE", where)))
    assert refused.status_code == 412
    done = await service.post("/", json=transaction(
        entry("GET", where), entry("POST", "Patient", patient("inside")),
        entry("HEAD", where), entry("DELETE", f"{where}&_count=5")))  # fmt: skip
    read, made, head, gone = done.json()["entry"]
    assert read["resource"]["total"] == 1
    assert made["response"]["status"] == "201 Created"
    assert ("resource" in head, head["response"]["status"]) == (False, "200 OK")
    assert gone["response"]["status"] == "204 No Content"


async def test_64_parallel_conditional_creates_make_one_record(service: httpx.AsyncClient) -> None:
    """Plain, in a batch and in a transaction at once: one record, and everyone gets it."""
    criteria = "identifier=urn:w|crowd"
    inner = entry("POST", "Patient", patient("crowd"))
    inner["request"]["ifNoneExist"] = criteria

    async def create(number: int) -> str:
        if number % 2:
            answer = await service.post("/", json=transaction(inner))
            assert answer.status_code == 200, answer.text
            location: str = answer.json()["entry"][0]["response"]["location"]
            return location.split("/_history", maxsplit=1)[0]
        answer = await service.post(
            "/Patient", json=patient("crowd"), headers={"If-None-Exist": criteria}
        )
        assert answer.status_code in {200, 201}, answer.text
        return f"Patient/{answer.json()['id']}"

    assert len(set(await asyncio.gather(*map(create, range(64))))) == 1
    assert (await service.get(f"/Patient?{criteria}")).json()["total"] == 1


async def test_a_retried_transaction_answers_with_its_data(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """Sixteen retries at once act once and tell the same; a failed one keeps no success."""
    nothing = entry("PATCH", "Patient/nobody", {"resourceType": "Parameters"})
    body = transaction(entry("POST", "Patient", patient("retry")), nothing)
    key = {"Idempotency-Key": "w-retry"}
    before = await counted("resource")
    for _ in range(2):
        assert (await service.post("/", json=body, headers=key)).status_code == 404
    assert await counted("resource") == before
    good = transaction(entry("POST", "Patient", patient("retry")))
    answers = await asyncio.gather(*(service.post("/", json=good, headers=key) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await counted("resource") == before + 1
    place = answers[0].json()["entry"][0]["response"]["location"]
    assert (await service.get(f"/{place}")).status_code == 200
    other = transaction(entry("POST", "Patient", patient("other")))
    assert (await service.post("/", json=other, headers=key)).status_code == 422


async def test_circles_of_references_are_made_whole(service: httpx.AsyncClient) -> None:
    """Three records that point to one another, in any order, point to what was made."""
    urns = [f"urn:uuid:{uuid.uuid4()}" for _ in range(3)]
    records = [
        patient(f"circle-{number}", link=[
            {"other": {"reference": urns[(number + 1) % 3]}, "type": "seealso"}])
        for number in range(3)
    ]  # fmt: skip
    done = await service.post("/", json=transaction(
        *(entry("POST", "Patient", record, urn) for record, urn in zip(records, urns, strict=True))
    ))  # fmt: skip
    places = [one["response"]["location"].split("/_history")[0] for one in done.json()["entry"]]
    for number, place in enumerate(places):
        made = (await service.get(f"/{place}")).json()
        assert made["link"][0]["other"]["reference"] == places[(number + 1) % 3]


async def test_a_thousand_entries_are_one_transaction(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """Above the entries of one statement all are stored or, where the last one fails, none."""
    urn = f"urn:uuid:{uuid.uuid4()}"
    weight = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"},
              "subject": {"reference": urn}, "valueQuantity": {"value": 70.50}}  # fmt: skip
    entries = [entry("POST", "Patient", patient("large"), urn)]
    entries += [entry("POST", "Observation", weight) for _ in range(1000)]
    before = await counted("resource")
    holder = patient("x", id="large")
    await service.put("/Patient/large", json=holder)
    stale = entry("PUT", "Patient/large", holder)
    stale["request"]["ifMatch"] = 'W/"1"'
    refused = await service.post("/", json=transaction(*entries, stale))
    assert refused.status_code == 412, refused.text
    assert await counted("resource") == before + 1
    done = await service.post("/", json=transaction(*entries))
    assert done.status_code == 200, done.text
    assert len(done.json()["entry"]) == 1001
    assert await counted("resource") == before + 1002


async def test_history_at_a_moment_and_oldest_first(service: httpx.AsyncClient) -> None:
    """_at shows what was current then, of one record, a type and all; _sort turns the order."""
    stamps = []
    for number in range(3):
        record = {"resourceType": "Slot", "id": "h1", "status": "free",
                  "schedule": {"reference": "Schedule/1"}, "comment": str(number),
                  "start": "2026-01-01T10:00:00Z", "end": "2026-01-01T11:00:00Z"}  # fmt: skip
        made = await service.put("/Slot/h1", json=record)
        stamps.append(made.json()["meta"]["lastUpdated"])
        await asyncio.sleep(0.02)
    await service.delete("/Slot/h1")

    async def comments(path: str, **query: str) -> list[str]:
        answer = await service.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return [one.get("resource", {}).get("comment", "gone")
                for one in answer.json().get("entry", [])]  # fmt: skip

    for path in ("/Slot/h1/_history", "/Slot/_history"):
        assert await comments(path, _at=stamps[1]) == ["1"]
        assert await comments(path, _at="2019") == []
        assert await comments(path, _at=stamps[0][:4]) == ["gone", "2", "1", "0"]
        assert await comments(path, _sort="_lastUpdated") == ["0", "1", "2", "gone"]
        assert await comments(path, _since=stamps[2]) == ["gone", "2"]
        assert await comments(path, _at="2099") == []
    everything = await comments("/_history", _at=stamps[1], _count="1000")
    assert everything.count("1") == 1
    seen: list[str] = []
    address = "/Slot/_history?_sort=_lastUpdated&_count=2"
    while address:
        page = (await service.get(address)).json()
        seen += [one.get("resource", {}).get("comment", "gone") for one in page["entry"]]
        links = {link["relation"]: link["url"] for link in page["link"]}
        address = links.get("next", "")
    assert seen == ["0", "1", "2", "gone"]
    for wrong in ("_at=noon", "_sort=name", "_list=1", "_at=2020&_at=2021", "_since=2020"):
        assert (await service.get(f"/Slot/_history?{wrong}")).status_code == 400
