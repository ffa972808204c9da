"""Conditional entries, retries of batches and the rarer shapes of requests."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

URN = "urn:uuid:0b1f2d3c-0000-4000-8000-0000000000c1"


def person(value: str, **more: Any) -> dict[str, Any]:
    """A Patient with an identifier."""
    return {
        "resourceType": "Patient", "identifier": [{"system": "urn:c", "value": value}], **more
    }  # fmt: skip


def entry(method: str, url: str, resource: Any = None, full_url: str = "", **more: Any) -> Any:
    """An entry of a Bundle."""
    made: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        made["resource"] = resource
    return {"fullUrl": full_url, **made} if full_url else made


def bundle(*entries: Any, kind: str = "transaction") -> dict[str, Any]:
    """A Bundle of a kind."""
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


async def test_conditional_put_and_delete_inside_a_transaction(service: httpx.AsyncClient) -> None:
    """PUT by criteria makes, then updates; DELETE by criteria removes what is there, or nothing."""
    put = entry("PUT", "Patient?identifier=urn:c|t1", person("t1"), URN)
    visit = {"resourceType": "Encounter", "status": "planned", "subject": {"reference": URN}}
    body = bundle(put, entry("POST", "Encounter", visit))
    first = await service.post("/", json=body)
    second = await service.post("/", json=body, headers={"Prefer": "return=representation"})
    assert first.json()["entry"][0]["response"]["status"] == "201 Created", first.text
    assert second.json()["entry"][0]["response"]["status"] == "200 OK", second.text
    made = second.json()["entry"][0]["resource"]["id"]
    assert second.json()["entry"][1]["resource"]["subject"]["reference"] == f"Patient/{made}"
    given = entry("PUT", "Patient?identifier=urn:c|t2", person("t2", id="cond-t2"))
    named = await service.post("/", json=bundle(given))
    assert named.json()["entry"][0]["response"]["location"].startswith("Patient/cond-t2/")
    other = entry("PUT", "Patient?identifier=urn:c|t2", person("t2", id="another"))
    assert (await service.post("/", json=bundle(other))).status_code == 400
    delete = bundle(entry("DELETE", "Patient?identifier=urn:c|t2"))
    for _ in range(2):
        answer = await service.post("/", json=delete)
        assert answer.json()["entry"][0]["response"]["status"] == "204 No Content"
    assert (await service.get("/Patient/cond-t2")).status_code == 410


async def test_the_same_condition_twice_is_one_record(service: httpx.AsyncClient) -> None:
    """Two creates of one transaction under one ifNoneExist make one record, both get its id."""
    condition = {"ifNoneExist": "identifier=urn:c|twice"}
    body = bundle(
        entry("POST", "Patient", person("twice"), **condition),
        entry("POST", "Patient", person("twice"), **condition),
    )
    answer = (await service.post("/", json=body)).json()
    first, second = (one["response"] for one in answer["entry"])
    assert (first["status"], second["status"]) == ("201 Created", "200 OK")
    assert first["location"] == second["location"]
    found = (await service.get("/Patient?identifier=urn:c|twice")).json()
    assert found["total"] == 1


async def test_criteria_that_match_several_undo_all(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """Several matches are 412 for the transaction, the update, the delete and the reference."""
    for _ in range(2):
        await service.post("/Patient", json=person("many"))
    before = await counted("resource")
    where = "Patient?identifier=urn:c|many"
    visit = {"resourceType": "Encounter", "status": "planned", "subject": {"reference": where}}
    for one in (
        entry("POST", "Patient", person("many"), ifNoneExist="identifier=urn:c|many"),
        entry("PUT", where, person("many")),
        entry("DELETE", where),
        entry("POST", "Encounter", visit),
    ):
        answer = await service.post("/", json=bundle(entry("POST", "Patient", person("x")), one))
        assert answer.status_code == 412, answer.text
    assert (await service.put(f"/{where}", json=person("many"))).status_code == 412
    assert (await service.delete(f"/{where}")).status_code == 412
    assert (await service.post("/Encounter", json=visit)).status_code == 412
    assert await counted("resource") == before


async def test_a_conditional_reference_works_alone_too(service: httpx.AsyncClient) -> None:
    """A plain create and a plain update resolve `Patient?identifier=` to the one match."""
    made = (await service.post("/Patient", json=person("ref"))).json()
    visit = {"resourceType": "Encounter", "id": "cr-1", "status": "planned",
             "subject": {"reference": "Patient?identifier=urn:c|ref"}}  # fmt: skip
    for answer in (
        await service.post("/Encounter", json=visit),
        await service.put("/Encounter/cr-1", json=visit),
    ):
        assert answer.json()["subject"]["reference"] == f"Patient/{made['id']}", answer.text


async def test_a_conditional_update_keeps_its_record(service: httpx.AsyncClient) -> None:
    """Another id in the body is 400; If-Match on nothing is 412; criteria are never empty."""
    made = (await service.post("/Patient", json=person("keep"))).json()
    where = "/Patient?identifier=urn:c|keep"
    assert (await service.put(where, json=person("keep", id="other"))).status_code == 400
    matched = {"If-Match": f'W/"{made["meta"]["versionId"]}"'}
    updated = await service.put(where, json=person("keep"), headers=matched)
    assert updated.status_code == 200, updated.text
    assert (await service.put(where, json=person("keep"), headers=matched)).status_code == 412
    nothing = await service.put(
        "/Patient?identifier=urn:c|no", json=person("no"), headers={"If-Match": 'W/"1"'}
    )
    assert nothing.status_code == 412
    assert (await service.delete("/Patient")).status_code == 400
    unknown = await service.put("/Patient?shoesize=4", json=person("x"))
    assert unknown.status_code == 400, "an ignored criterion would match everybody"
    paging = await service.delete("/Patient?_count=1")
    assert paging.status_code == 412


async def test_a_retried_batch_repeats_nothing(service: httpx.AsyncClient, counted: Any) -> None:
    """Each POST of a batch has a key of its own below the batch's key."""
    body = bundle(
        entry("POST", "Patient", person("b1")),
        entry("POST", "Patient", person("b2")),
        kind="batch",
    )
    key = {"Idempotency-Key": "batch-1"}
    first = (await service.post("/", json=body, headers=key)).json()
    before = await counted("resource")
    second = (await service.post("/", json=body, headers=key)).json()
    assert await counted("resource") == before
    places = [
        [one["response"]["location"] for one in answer["entry"]] for answer in (first, second)
    ]
    assert places[0] == places[1]
    told = await service.post("/", json=body, headers={"Prefer": "return=OperationOutcome"})
    assert told.json()["entry"][0]["response"]["outcome"]["resourceType"] == "OperationOutcome"


async def test_a_compartment_pages_through_types_and_takes_a_form(
    service: httpx.AsyncClient,
) -> None:
    """Pages of one entry show each record once; a form asks the same; odd cursors are 400."""
    await service.put("/Patient/cp", json=person("cp", id="cp"))
    for number in range(3):
        visit = {"resourceType": "Encounter", "id": f"cp{number}", "status": "planned",
                 "subject": {"reference": "Patient/cp"}}  # fmt: skip
        assert (await service.put(f"/Encounter/cp{number}", json=visit)).status_code == 201
    seen, address = [], "/Patient/cp/*?_count=1"
    while address:
        page = (await service.get(address)).json()
        seen += [one["resource"]["id"] for one in page["entry"]]
        address = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
    assert sorted(seen) == ["cp", "cp0", "cp1", "cp2"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = await service.post("/Patient/cp/Encounter/_search", content="_count=2", headers=form)
    assert len(asked.json()["entry"]) == 2
    for odd in ("_cursor=abc", "_cursor=Tm9uc2Vuc2U", "_type=Nonsense", "_count=x"):
        assert (await service.get(f"/Patient/cp/*?{odd}")).status_code == 400, odd
    assert "entry" not in (await service.get("/Patient/nobody-at-all/*")).json()


async def test_many_faults_are_counted_beyond_the_first(service: httpx.AsyncClient) -> None:
    """An answer lists at most 200 faults and says how many are left."""
    body = {"resourceType": "Patient", "name": [{"famly": "x"}] * 300}
    issues = (await service.post("/Patient", json=body)).json()["issue"]
    assert len(issues) <= 201


async def test_parallel_writers_of_the_same_records_queue(service: httpx.AsyncClient) -> None:
    """Transactions that write two records in opposite orders all succeed, and versions add up."""
    forward = bundle(
        entry("PUT", "Patient/q1", person("q1", id="q1")),
        entry("PUT", "Patient/q2", person("q2", id="q2")),
    )
    backward = bundle(*reversed(forward["entry"]))
    answers = await asyncio.gather(
        *(service.post("/", json=body) for body in (forward, backward) * 10)
    )
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers][-1]
    for name in ("q1", "q2"):
        assert (await service.get(f"/Patient/{name}/_history")).json()["total"] == 20
    single = await asyncio.gather(
        *(service.put("/Patient/q3", json=person("q3", id="q3")) for _ in range(16))
    )
    assert sorted(answer.status_code for answer in single) == [200] * 15 + [201]


async def test_parallel_updates_under_if_match_lose_none(service: httpx.AsyncClient) -> None:
    """Of sixteen updates that all saw one version, exactly one wins; the rest hear 412."""
    made = await service.put("/Patient/im", json=person("im", id="im"))
    headers = {"If-Match": made.headers["etag"]}
    answers = await asyncio.gather(
        *(service.put("/Patient/im", json=person("im", id="im"), headers=headers)
          for _ in range(16))
    )  # fmt: skip
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 15
