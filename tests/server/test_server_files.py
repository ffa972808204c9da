"""Files inside of records meet the scanner before anything is stored, by every way of writing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.server.conftest import Room

from dmed.apps.sim_scanner import EICAR, Simulator

CLEAN, BAD = (base64.b64encode(each).decode() for each in (b"a picture", b"PK" + EICAR))


@pytest_asyncio.fixture(loop_scope="session")
async def scanned(room: Room) -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    """The simulator of the scanner, and a system's client of a room that uses it."""
    simulator = Simulator()
    server = await asyncio.start_server(simulator.answer, "127.0.0.1", 0)
    address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield simulator, room.variant(scanner=address).client("service")
    server.close()


def document(data: str, **more: Any) -> dict[str, Any]:
    """A DocumentReference with a file."""
    return {"resourceType": "DocumentReference", "status": "current",
            "content": [{"attachment": {"contentType": "image/png", "data": data}}], **more}


def bundle(kind: str, data: str) -> dict[str, Any]:
    """A Bundle that would store a Basic and a file."""
    return {"resourceType": "Bundle", "type": kind, "entry": [
        {"resource": {"resourceType": "Basic", "id": "beside", "code": {"text": "x"}},
         "request": {"method": "PUT", "url": "Basic/beside-a-file"}} | {
            "resource": {"resourceType": "Basic", "id": "beside-a-file", "code": {"text": "x"}}},
        {"resource": document(data), "request": {"method": "POST", "url": "DocumentReference"}}]}


async def test_what_is_found_is_not_stored(
    room: Room, scanned: tuple[Simulator, httpx.AsyncClient]
) -> None:
    """Create, Binary, update, patch, inside of another record, transaction: 422 with the place; of
    a transaction nothing is stored; the audit tells what was found.
    """
    _, client = scanned
    good = await client.post("/DocumentReference", json=document(CLEAN))
    assert good.status_code == 201, good.text
    id_ = good.json()["id"]
    place = "content[0].attachment.data"
    version = good.json()["meta"]["versionId"]
    answers = [
        await client.post("/DocumentReference", json=document(BAD)),
        await client.post("/Binary", json={
            "resourceType": "Binary", "contentType": "application/zip", "data": BAD}),
        await client.put(f"/DocumentReference/{id_}", json=document(BAD, id=id_),
                         headers={"if-match": f'W/"{version}"'}),
        await client.patch(
            f"/DocumentReference/{id_}",
            json=[{"op": "replace", "path": f"/{place.replace('[0].', '/0/').replace('.', '/')}",
                   "value": BAD}],
            headers={"content-type": "application/json-patch+json",
                     "if-match": f'W/"{version}"'}),
        await client.post("/Basic", json={
            "resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "#inside"},
            "contained": [document(BAD, id="inside")]}),
        await client.post("/", json=bundle("transaction", BAD)),
    ]
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert "Eicar-Test-Signature" in answer.text
    assert answers[0].json()["issue"][0]["expression"] == [f"DocumentReference.{place}"]
    now = await client.get(f"/DocumentReference/{id_}")
    assert now.json()["meta"]["versionId"] == good.json()["meta"]["versionId"]
    assert (await client.get("/Basic/beside-a-file")).status_code == 404
    noted = await room.database.hot.fetchval(
        "select count(*) from audit where detail like '%Eicar-Test-Signature%'")
    assert noted >= len(answers)


async def test_of_a_batch_the_rest_is_stored(
    scanned: tuple[Simulator, httpx.AsyncClient]
) -> None:
    """The entries of a batch are apart."""
    answer = await scanned[1].post("/", json=bundle("batch", BAD))
    statuses = [each["response"]["status"][:3] for each in answer.json()["entry"]]

    assert statuses == ["201", "422"], answer.text


@pytest.mark.parametrize("mode", ["cut", "nonsense"])
async def test_unseen_files_are_not_stored(
    scanned: tuple[Simulator, httpx.AsyncClient], mode: str
) -> None:
    """A scanner that fails holds up files (503), and nothing that has none."""
    simulator, client = scanned
    simulator.mode = mode
    held = await client.post("/DocumentReference", json=document(CLEAN))
    other = await client.post("/Basic", json={"resourceType": "Basic", "code": {"text": "x"}})

    assert held.status_code == 503, held.text
    assert other.status_code == 201


async def test_a_series_is_no_file(scanned: tuple[Simulator, httpx.AsyncClient]) -> None:
    """The numbers of a SampledData are in an element of the same name."""
    answer = await scanned[1].post("/Observation", json={
        "resourceType": "Observation", "status": "final", "code": {"text": "ECG"},
        "valueSampledData": {"origin": {"value": 0}, "intervalUnit": "ms", "dimensions": 1,
                             "interval": 10, "data": "1 2 E 3.5"}})

    assert answer.status_code == 201, answer.text
