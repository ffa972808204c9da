"""Bad input has a clear answer, and nothing of it is stored."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest

PINFL = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
TABLES = ("resource", "resource_version", "token", "string", "id_claim", "identity_claim", "feed")

BAD_BODIES: list[tuple[str, bytes]] = [
    ("cut short", b'{"resourceType":"Patient"'),
    ("no JSON", b"hello"),
    ("empty", b""),
    ("blank", b"  \n"),
    ("an array", b"[]"),
    ("null", b"null"),
    ("no type", b'{"id":"1"}'),
    ("unknown type", b'{"resourceType":"Nonsense"}'),
    ("another type", b'{"resourceType":"Observation","status":"final","code":{"text":"x"}}'),
    ("unknown field", b'{"resourceType":"Patient","shoesize":44}'),
    ("wrong type", b'{"resourceType":"Patient","active":"yes"}'),
    ("text for an array", b'{"resourceType":"Patient","name":"Ali"}'),
    ("duplicate key", b'{"resourceType":"Patient","gender":"male","gender":"female"}'),
    ("null value", b'{"resourceType":"Patient","gender":null}'),
    ("empty array", b'{"resourceType":"Patient","name":[]}'),
    ("empty object", b'{"resourceType":"Patient","name":[{}]}'),
    ("NUL in a text", b'{"resourceType":"Patient","language":"u\\u0000z"}'),
    ("bad code", b'{"resourceType":"Patient","gender":"perhaps"}'),
    ("bad date", b'{"resourceType":"Patient","birthDate":"2020-02-31"}'),
    ("not UTF-8", b'{"resourceType":"Patient","language":"\xff"}'),
    ("huge exponent",
     b'{"resourceType":"Observation","status":"final","valueQuantity":{"value":1e200000}}'),
    ("too deep", b'{"resourceType":"Patient","extension":' + b'[{"extension":' * 500),
    ("lone surrogate", b'{"resourceType":"Patient","language":"\\ud800"}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), BAD_BODIES)
async def test_a_bad_body_is_400_and_leaves_nothing(
    service: httpx.AsyncClient, counted: Any, name: str, body: bytes
) -> None:
    """The OperationOutcome names the fault; create, update, transaction and batch alike."""
    before = [await counted(table) for table in TABLES]
    for method, path in (("POST", "/Patient"), ("PUT", "/Patient/bad")):
        answer = await service.request(method, path, content=body)
        assert answer.status_code == 400, (name, answer.text)
        outcome = answer.json()
        assert outcome["resourceType"] == "OperationOutcome"
        assert outcome["issue"][0]["diagnostics"]
    wrapped = (
        b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":'
        + (body.strip() or b"0")
        + b',"request":{"method":"POST","url":"Patient"}}]}'
    )
    assert (await service.post("/", content=wrapped)).status_code == 400
    assert [await counted(table) for table in TABLES] == before


async def test_all_faults_are_named_with_their_places(service: httpx.AsyncClient) -> None:
    """One answer lists every fault, each with its FHIRPath."""
    body = {
        "resourceType": "Patient", "shoesize": 44, "active": "yes", "name": [{"famly": "x"}],
    }  # fmt: skip
    issues = (await service.post("/Patient", json=body)).json()["issue"]
    places = {issue["expression"][0] for issue in issues}
    assert len(issues) >= 3
    assert any("name[0]" in place for place in places), places


async def test_unknown_types_are_404(service: httpx.AsyncClient) -> None:
    """An address of no resource type is 404, whatever is sent there."""
    answer = await service.post("/Nonsense", json={"resourceType": "Nonsense"})
    assert answer.status_code == 404
    assert (await service.post("/Resource", json={})).status_code == 404


async def test_body_and_address_must_name_one_id(service: httpx.AsyncClient) -> None:
    """PUT with no id, another id or an impossible id is 400."""
    for path, body in (
        ("/Patient/a", {"resourceType": "Patient"}),
        ("/Patient/a", {"resourceType": "Patient", "id": "b"}),
        ("/Patient/a%20b", {"resourceType": "Patient", "id": "a b"}),
        ("/Patient/" + "a" * 65, {"resourceType": "Patient", "id": "a" * 65}),
        ("/Patient/a%2Fb", {"resourceType": "Patient", "id": "a/b"}),
    ):
        assert (await service.put(path, json=body)).status_code == 400, path


async def test_an_official_number_belongs_to_one_active_person(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """A second card with the PINFL of an active one is 409 and names it; unverified it passes."""
    number = {"system": PINFL, "value": "30211975910033", "use": "official"}
    person = {"resourceType": "Patient", "identifier": [number]}
    first = await service.post("/Patient", json=person)
    assert first.status_code == 201, first.text
    before = await counted("resource")
    plain = {"system": PINFL, "value": number["value"]}
    for other in (person, {"resourceType": "Patient", "identifier": [plain]}):
        second = await service.post("/Patient", json=other)
        assert second.status_code == 409, second.text
        assert first.json()["id"] in second.json()["issue"][0]["diagnostics"]
    assert await counted("resource") == before
    unverified = {"resourceType": "Patient", "identifier": [{**number, "use": "temp"}]}
    assert (await service.post("/Patient", json=unverified)).status_code == 201
    inactive = {**first.json(), "active": False}
    closed = await service.put(f"/Patient/{inactive['id']}", json=inactive)
    assert closed.status_code == 200, closed.text
    assert (await service.post("/Patient", json=person)).status_code == 201


async def test_two_cards_of_one_transaction_cannot_share_a_number(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """The claim holds inside a transaction too: 409, nothing stored."""
    number = {"system": PINFL, "value": "40503855900021", "use": "official"}
    entry = {
        "resource": {"resourceType": "Patient", "identifier": [number]},
        "request": {"method": "POST", "url": "Patient"},
    }
    before = await counted("resource")
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry, entry]}
    assert (await service.post("/", json=bundle)).status_code == 409
    assert await counted("resource") == before


async def test_a_body_over_the_limit_is_413(room: Any, counted: Any) -> None:
    """Declared, undeclared or unpacked from gzip: the limit holds and nothing is stored."""
    client = room.variant(body_limit_bytes=1000).client("service")
    before = await counted("resource")
    body = b'{"resourceType":"Patient","language":"' + b"u" * 2000 + b'"}'
    assert (await client.post("/Patient", content=body)).status_code == 413

    async def chunks() -> Any:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    assert (await client.post("/Patient", content=chunks())).status_code == 413
    bomb = gzip.compress(b" " * 10_000_000)
    packed = {"Content-Encoding": "gzip"}
    assert (await client.post("/Patient", content=bomb[:900], headers=packed)).status_code in {
        400, 413}  # fmt: skip
    assert (await client.post("/Patient", content=gzip.compress(b"x" * 3000), headers=packed)
            ).status_code == 413  # fmt: skip
    assert (await client.post("/Patient", content=b"no gzip", headers=packed)).status_code == 400
    cut = gzip.compress(b'{"resourceType":"Patient"}')[:-9]
    assert (await client.post("/Patient", content=cut, headers=packed)).status_code == 400
    other = await client.post("/Patient", content=b"x", headers={"Content-Encoding": "br"})
    assert other.status_code == 415
    assert await counted("resource") == before


async def test_a_stale_or_odd_if_match_changes_nothing(service: httpx.AsyncClient) -> None:
    """A version that never was is 412, no version at all is 400; the record stays."""
    body = {"resourceType": "Patient", "id": "im-1"}
    made = await service.put("/Patient/im-1", json=body)
    changed = {**body, "gender": "male"}
    for given, status in (
        ('W/"1"', 412),
        ('"1"', 412),
        ("W/abc", 400),
        ('W/"' + "9" * 30 + '"', 400),
    ):
        answer = await service.put("/Patient/im-1", json=changed, headers={"If-Match": given})
        assert answer.status_code == status, answer.text
    missing = await service.put(
        "/Patient/im-none", json={**body, "id": "im-none"}, headers={"If-Match": 'W/"1"'}
    )
    assert missing.status_code == 412
    assert (await service.get("/Patient/im-1")).json() == made.json()


async def test_references_can_be_held_to_existing_records(room: Any, counted: Any) -> None:
    """With reference_integrity on, a reference to nothing is 422 with its place; off, it passes."""
    body = {
        "resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/nobody-here"},
    }  # fmt: skip
    assert (await room.client("service").post("/Observation", json=body)).status_code == 201
    before = await counted("resource")
    strict = room.variant(reference_integrity=True).client("service")
    answer = await strict.post("/Observation", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["issue"][0]["expression"] == ["Observation.subject.reference"]
    assert await counted("resource") == before


async def test_deletes_can_be_switched_off(room: Any) -> None:
    """With logical_delete on, DELETE is 405 and says how records are withdrawn."""
    client = room.variant(logical_delete=True).client("service")
    assert (await client.delete("/Patient/x")).status_code == 405
    assert (await client.delete("/Patient?name=x")).status_code == 405


async def test_an_unexpected_fault_tells_nothing(
    room: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours is a 500 OperationOutcome with the request id, and no inner word."""
    other = room.variant()

    async def broken(*_: Any) -> None:
        raise RuntimeError("secret inner words")

    other.app._door.plain.history = broken
    answer = await other.client("service").get("/_history", headers={"X-Request-Id": "r-500"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "r-500" in answer.json()["issue"][0]["diagnostics"]
    assert any("r-500" in record.getMessage() for record in caplog.records)


async def test_an_absent_database_is_503(room: Any) -> None:
    """Without the database the answer is 503 with Retry-After, also where the sign-in fails."""
    from dmed.store.pool import Database

    gone = room.variant()
    database = await Database.open(room.settings.database_url, room.settings)
    other = type(room)(database, room.settings)
    other.tokens = room.tokens
    client = other.client("service")
    assert (await client.get("/Patient?_count=0")).status_code == 200
    await database.close()
    for path in ("/Patient?_count=0", "/Patient/x"):
        answer = await client.get(path)
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
    assert gone is not other


async def test_an_answer_too_large_is_refused_with_what_to_do(room: Any) -> None:
    """A page above the limit of answers is 422 with `too-costly`; a smaller one is sent."""
    small = room.variant(response_limit_bytes=4_000).client("service")
    for number in range(12):
        body = {"resourceType": "Basic", "code": {"text": f"{number} " + "x" * 500}}
        assert (await small.post("/Basic", json=body)).status_code == 201
    refused = await small.get("/Basic?_count=12")

    assert refused.status_code == 422
    assert refused.json()["issue"][0]["code"] == "too-costly"
    assert "_count" in refused.json()["issue"][0]["diagnostics"]
    assert (await small.get("/Basic?_count=2")).status_code == 200
