"""Batch and transaction. https://hl7.org/fhir/R5/http.html#transaction"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

PERSON = "urn:uuid:0b1f2d3c-0000-4000-8000-000000000001"
VISIT = "urn:uuid:0b1f2d3c-0000-4000-8000-000000000002"


def bundle(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    """A Bundle of a kind."""
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def post(resource: dict[str, Any], full_url: str = "", **request: str) -> dict[str, Any]:
    """An entry that creates."""
    entry = {
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"], **request},
    }
    return {"fullUrl": full_url, **entry} if full_url else entry


def person(family: str = "Tranzaksiyev", **more: Any) -> dict[str, Any]:
    """A Patient."""
    return {"resourceType": "Patient", "name": [{"family": family}], **more}


def observation(subject: str, **more: Any) -> dict[str, Any]:
    """An Observation of a subject."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }


async def test_a_transaction_resolves_its_own_references(service: httpx.AsyncClient) -> None:
    """urn:uuid becomes the new id, wherever it stands, whatever the order of entries."""
    answer = await service.post(
        "/",
        json=bundle(
            post(
                observation(PERSON, note=[{"text": "n", "authorReference": {"reference": PERSON}}])
            ),
            post(person(), PERSON),
        ),
        headers={"Prefer": "return=representation"},
    )

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["type"] == "transaction-response"
    assert [entry["response"]["status"] for entry in body["entry"]] == ["201 Created"] * 2
    made = body["entry"][1]["resource"]["id"]
    weight = body["entry"][0]["resource"]
    assert weight["subject"]["reference"] == f"Patient/{made}"
    assert weight["note"][0]["authorReference"]["reference"] == f"Patient/{made}"
    assert weight["id"][:3] == made[:3], "a record lies in its patient's bucket"
    location = body["entry"][1]["response"]["location"]
    assert (await service.get("/" + location)).status_code == 200


async def test_an_unresolved_reference_refuses_the_whole(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """A dangling urn:uuid is 400 with its place, and nothing is stored."""
    before = await counted("resource")
    answer = await service.post("/", json=bundle(post(person(), PERSON), post(observation(VISIT))))
    assert answer.status_code == 400
    issue = answer.json()["issue"][0]
    assert issue["expression"] == ["Bundle.entry[1].resource.subject.reference"]
    assert await counted("resource") == before


async def test_one_bad_entry_undoes_all(service: httpx.AsyncClient, counted: Any) -> None:
    """Every fault of every entry is named with its path; no table keeps a trace."""
    tables = ("resource", "token", "feed", "id_claim", "identity_claim")
    before = [await counted(table) for table in tables]
    answer = await service.post(
        "/",
        json=bundle(
            post(person(), PERSON),
            post({"resourceType": "Observation", "status": "final"}),
            post({"resourceType": "Observation", "status": "nonsense", "code": {"text": "x"}}),
        ),
    )
    assert answer.status_code == 400
    places = {issue["expression"][0] for issue in answer.json()["issue"]}
    assert any(place.startswith("Bundle.entry[1].resource") for place in places), places
    assert any(place.startswith("Bundle.entry[2].resource") for place in places), places
    assert [await counted(table) for table in tables] == before


async def test_a_stale_version_inside_undoes_all(service: httpx.AsyncClient, counted: Any) -> None:
    """If-Match inside a transaction is 412 for the whole, after other entries had been written."""
    await service.put("/Patient/t-stale", json=person(id="t-stale"))
    before = await counted("resource")
    stale = {
        "resource": person(id="t-stale"),
        "request": {"method": "PUT", "url": "Patient/t-stale", "ifMatch": 'W/"1"'},
    }
    answer = await service.post("/", json=bundle(post(person()), stale))
    assert answer.status_code == 412, answer.text
    assert await counted("resource") == before


async def test_the_order_is_delete_post_put_get(service: httpx.AsyncClient) -> None:
    """A GET sees what the same transaction wrote, a DELETE makes room first."""
    await service.put("/Patient/t-del", json=person(id="t-del"))
    answer = await service.post(
        "/",
        json=bundle(
            {"request": {"method": "GET", "url": "Patient/t-put"}},
            {"request": {"method": "GET", "url": "Patient?_id=t-put"}},
            {"resource": person(id="t-put"), "request": {"method": "PUT", "url": "Patient/t-put"}},
            {"request": {"method": "DELETE", "url": "Patient/t-del"}},
        ),
    )
    assert answer.status_code == 200, answer.text
    read, found, put, deleted = answer.json()["entry"]
    assert read["resource"]["id"] == "t-put"
    assert found["resource"]["total"] == 1
    assert put["response"]["status"] == "201 Created"
    assert deleted["response"]["status"] == "204 No Content"
    assert (await service.get("/Patient/t-del")).status_code == 410


async def test_conditionals_are_decided_inside(service: httpx.AsyncClient) -> None:
    """IfNoneExist finds or makes, and references to the entry point to what was found."""
    known = person(identifier=[{"system": "urn:t", "value": "c1"}])
    condition = "identifier=urn:t|c1"
    entries = bundle(
        post(known, PERSON, ifNoneExist=condition),
        post(observation(PERSON)),
        post(observation(f"Patient?{condition}")),
    )
    first = (await service.post("/", json=entries)).json()
    second = (
        await service.post("/", json=entries, headers={"Prefer": "return=representation"})
    ).json()
    assert first["entry"][0]["response"]["status"] == "201 Created"
    assert second["entry"][0]["response"]["status"] == "200 OK"
    made = first["entry"][0]["response"]["location"].split("/")[1]
    for number in (1, 2):
        subject = second["entry"][number]["resource"]["subject"]["reference"]
        assert subject == f"Patient/{made}"
    missing = await service.post("/", json=bundle(post(observation("Patient?identifier=urn:t|no"))))
    assert missing.status_code == 412


async def test_parallel_transactions_make_one_person(service: httpx.AsyncClient) -> None:
    """Sixteen transactions with the same ifNoneExist end with one person and sixteen visits."""
    known = person(identifier=[{"system": "urn:t", "value": "p1"}])
    entries = bundle(
        post(known, PERSON, ifNoneExist="identifier=urn:t|p1"), post(observation(PERSON))
    )
    answers = await asyncio.gather(*(service.post("/", json=entries) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers][:1]
    found = (
        await service.get("/Patient?identifier=urn:t|p1&_revinclude=Observation:subject")
    ).json()
    assert found["total"] == 1
    assert len(found["entry"]) == 17


async def test_faulty_bundles_are_refused_with_their_places(service: httpx.AsyncClient) -> None:
    """Wrong kinds, doubled addresses, missing requests and foreign addresses are 400."""
    twice = {"resource": person(id="d"), "request": {"method": "PUT", "url": "Patient/d"}}
    cases = [
        ({"resourceType": "Patient"}, "Bundle.type"),
        (bundle(post(person()), kind="collection"), "Bundle.type"),
        (bundle(post(person(), PERSON), post(person(), PERSON)), "Bundle.entry[1].fullUrl"),
        (bundle(twice, twice), "Bundle.entry[1].request.url"),
        (bundle({"resource": person()}), "Bundle.entry[0].request"),
        (bundle({"request": {"method": "PATCH", "url": "Patient/1"}}),
         "Bundle.entry[0].resource"),
        (bundle({"request": {"method": "POST", "url": "Patient"}}), "Bundle.entry[0].resource"),
        (bundle(post(person(), url="Observation")), "Bundle.entry[0].request.url"),
    ]  # fmt: skip
    for body, place in cases:
        answer = await service.post("/", json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["issue"][0]["expression"] == [place]
    foreign = bundle({"request": {"method": "GET", "url": "http://evil.example/Patient/1"}})
    assert (await service.post("/", json=foreign)).status_code == 400


async def test_entries_are_limited(room: Any) -> None:
    """A Bundle over the limit is 413 before anything is done."""
    client = room.variant(bundle_limit_entries=2).client("service")
    answer = await client.post("/", json=bundle(*(post(person()) for _ in range(3))))
    assert answer.status_code == 413


async def test_batch_entries_are_independent(service: httpx.AsyncClient) -> None:
    """A bad entry of a batch gets its own OperationOutcome, the others are done."""
    answer = await service.post(
        "/",
        json=bundle(
            post(person()),
            post({"resourceType": "Observation", "status": "final"}),
            {"request": {"method": "GET", "url": "Patient/not-here"}},
            {"request": {"method": "GET", "url": "Patient?_summary=count"}},
            kind="batch",
        ),
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["type"] == "batch-response"
    statuses = [entry["response"]["status"].split()[0] for entry in body["entry"]]
    assert statuses[:4] == ["201", "400", "404", "200"]
    assert body["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert body["entry"][3]["resource"]["type"] == "searchset"


async def test_a_retried_transaction_answers_the_same_and_writes_once(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """Under one Idempotency-Key a transaction is done once, also when retried in parallel."""
    body = bundle(post(person(), PERSON), post(observation(PERSON)))
    before = await counted("resource")
    key = {"Idempotency-Key": "t-1"}
    answers = await asyncio.gather(*(service.post("/", json=body, headers=key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await counted("resource") == before + 2


async def test_a_transaction_is_decided_entry_by_entry(
    registrar: httpx.AsyncClient, counted: Any
) -> None:
    """One entry that the role may not write refuses the whole."""
    before = await counted("resource")
    answer = await registrar.post(
        "/", json=bundle(post(person(), PERSON), post(observation(PERSON)))
    )
    assert answer.status_code == 403
    assert await counted("resource") == before


async def test_large_transactions_pass(service: httpx.AsyncClient) -> None:
    """A thousand entries commit as one."""
    entries = [post(person(), PERSON)] + [post(observation(PERSON)) for _ in range(999)]
    answer = await service.post("/", json=bundle(*entries))
    assert answer.status_code == 200, answer.text[:500]
    assert len(answer.json()["entry"]) == 1000
