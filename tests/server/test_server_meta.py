"""$meta, $meta-add, $meta-delete: what labels a record, and what is in use among all."""

from __future__ import annotations

from typing import Any

import httpx

TAG = {"system": "urn:tags", "code": "red"}
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def meta(**parts: Any) -> dict[str, Any]:
    """Parameters with one meta."""
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": parts}]}


def told(answer: httpx.Response) -> dict[str, Any]:
    """The meta of an answer."""
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["parameter"][0]["valueMeta"]
    return found


async def test_tags_come_and_go_each_in_a_version(service: httpx.AsyncClient) -> None:
    """Adding twice adds once; deleting takes away what is named; nothing to do makes no version."""
    await service.put("/Patient/m1", json={"resourceType": "Patient", "id": "m1"})
    body = meta(tag=[TAG], security=[LABEL], profile=["http://x/p"])
    first = await service.post("/Patient/m1/$meta-add", json=body)
    assert (told(first)["tag"], told(first)["security"]) == ([TAG], [LABEL])
    again = await service.post("/Patient/m1/$meta-add", json=body)
    assert again.headers["etag"] == first.headers["etag"]
    assert told(await service.get("/Patient/m1/$meta")) == told(again)
    gone = await service.post("/Patient/m1/$meta-delete", json=meta(tag=[TAG]))
    assert "tag" not in told(gone)
    assert told(gone)["profile"] == ["http://x/p"]
    assert (await service.get("/Patient/m1/_history")).json()["total"] == 3
    old = first.headers["etag"].removeprefix('W/"').rstrip('"')
    assert told(await service.get(f"/Patient/m1/_history/{old}/$meta"))["tag"] == [TAG]
    assert (await service.get("/Patient?_tag=urn:tags|red&_id=m1")).json()["total"] == 0


async def test_what_is_in_use_is_told_of_a_type_and_of_all(service: httpx.AsyncClient) -> None:
    """Each tag, label and profile stands once, two systems of one code as two."""
    for number, tag in enumerate([TAG, {"system": "urn:b", "code": "red"}, TAG]):
        record = {"resourceType": "Flag", "id": f"f{number}", "status": "active",
                  "code": {"text": "x"}, "subject": {"reference": "Patient/m2"},
                  "meta": {"tag": [tag], "profile": [f"http://x/flag|{number % 2}"]}}  # fmt: skip
        assert (await service.put(f"/Flag/f{number}", json=record)).status_code == 201
    used = told(await service.get("/Flag/$meta"))
    assert sorted(one["system"] for one in used["tag"]) == ["urn:b", "urn:tags"]
    assert sorted(used["profile"]) == ["http://x/flag|0", "http://x/flag|1"]
    everywhere = told(await service.get("/$meta"))
    assert {"http://x/flag|0", "http://x/flag|1"} <= set(everywhere["profile"])
    assert "parameter" not in (await service.get("/Slot/$meta")).json()


async def test_wrong_calls_are_refused(
    service: httpx.AsyncClient, pharmacist: httpx.AsyncClient
) -> None:
    """Wrong Parameters 400, GET 405, no record 404, a stale If-Match 412, no right 403."""
    await service.put("/Patient/m3", json={"resourceType": "Patient", "id": "m3"})
    add = "/Patient/m3/$meta-add"
    assert (await service.post(add, json={"resourceType": "Parameters"})).status_code == 400
    assert (await service.get(add)).status_code == 405
    body = meta(tag=[TAG])
    assert (await service.post("/Patient/m0/$meta-add", json=body)).status_code == 404
    assert (await service.post("/Patient/$meta-add", json=body)).status_code == 404
    stale = await service.post(add, json=body, headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    assert (await pharmacist.post(add, json=body)).status_code == 403
    assert (await service.get("/Patient/m3/x/$meta")).status_code == 404


async def test_a_retry_and_a_batch_answer_as_asked(service: httpx.AsyncClient) -> None:
    """An idempotency key gives the first answer again; return= is kept; a batch may ask too."""
    await service.put("/Patient/m4", json={"resourceType": "Patient", "id": "m4"})
    add, key = "/Patient/m4/$meta-add", {"Idempotency-Key": "meta-1"}
    first = await service.post(add, json=meta(tag=[TAG]), headers=key)
    again = await service.post(add, json=meta(tag=[TAG]), headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    for wish, kind in (("minimal", ""), ("OperationOutcome", "OperationOutcome")):
        answer = await service.post(
            add, json=meta(tag=[LABEL]), headers={"Prefer": f"return={wish}"}
        )
        assert (answer.json()["resourceType"] if answer.content else "") == kind
    entry = {"request": {"method": "GET", "url": "Patient/m4/$meta"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    made = (await service.post("/", json=bundle)).json()["entry"][0]
    assert made["response"]["status"] == "200 OK", made
