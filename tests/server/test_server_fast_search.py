"""The short way of a search answers what the long way answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import pytest_asyncio


def weight(number: int, of: str) -> dict[str, Any]:
    """A body weight of a patient."""
    return {
        "resourceType": "Observation", "id": f"w{number}", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{of}"},
        "valueQuantity": {
            "value": 60 + number, "system": "http://unitsofmeasure.org", "code": "kg"},
    }  # fmt: skip  # A record reads better by its parts.


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def seeded(room: Any) -> None:
    """Three patients with five, one and no weights."""
    service = room.client("service")
    for number in range(3):
        person = {"resourceType": "Patient", "id": f"s{number}"}
        answer = await service.put(f"/Patient/s{number}", json=person)
        assert answer.status_code == 201, answer.text
    for number in range(6):
        owner = "s0" if number < 5 else "s1"
        answer = await service.put(f"/Observation/w{number}", json=weight(number, owner))
        assert answer.status_code == 201, answer.text


def plain(answer: httpx.Response) -> tuple[int, Any]:
    """Status and Bundle without what differs between two equal requests, tokens included."""
    body = answer.json()
    for name in ("id", "meta"):
        body.pop(name, None)
    for each in body.get("link", []):
        each["url"] = each["url"].partition("_cursor=")[0]
    return answer.status_code, body


@pytest.mark.parametrize("id_", ["s0", "s1", "s2", "nobody"])
@pytest.mark.parametrize("query", [
    "patient={}", "patient=Patient/{}&_count=2", "_count=3&subject=Patient/{}",
    "code=29463-7&patient={}&status=final", "patient={}&value-quantity=gt62&_count=1",
    "patient={}&nonsense=1", "patient={}&_count=x", "subject=Group/{}", "patient={}&_pretty=true",
])  # fmt: skip  # A list of texts.
async def test_both_ways_answer_the_same(room: Any, query: str, id_: str) -> None:
    """Entries, total, links, status and refusals are equal, whoever asks and whoever asked before;
    a Prefer header takes the long way.
    """
    address = f"/Observation?{query.format(id_)}"
    for user in ("service", "doctor", "pharmacist", "service", "registrar"):
        client = room.client(user)
        short = [await client.get(address) for _ in range(2)]
        long = await client.get(address, headers={"Prefer": "handling=lenient"})
        assert plain(short[0]) == plain(short[1]) == plain(long), user


async def test_its_next_links_lead_on(service: httpx.AsyncClient) -> None:
    """The token made on the short way is read by the long one, to the last record."""
    found: list[str] = []
    url: str | None = "/Observation?patient=s0&_count=2"
    while url:
        page = (await service.get(url)).json()
        found += [entry["resource"]["id"] for entry in page["entry"]]
        links = {each["relation"]: each["url"] for each in page["link"]}
        url = links["next"].removeprefix("http://test/fhir") if "next" in links else None
    assert sorted(found) == [f"w{number}" for number in range(5)]


async def test_it_is_refused_and_audited_like_any_search(
    pharmacist: httpx.AsyncClient, service: httpx.AsyncClient, counted: Any
) -> None:
    """Who may not search gets 403; who may leaves an audit row of the person disclosed."""
    refused = await pharmacist.get("/Observation?patient=s0")
    assert refused.status_code == 403
    noted = "audit WHERE action = 'E' AND outcome = 200 AND patient IS NOT NULL"
    before = await counted(noted)
    assert (await service.get("/Observation?patient=s0")).status_code == 200
    after = await counted(noted)
    assert after == before + 1


async def test_whose_records_were_sought_is_noted_found_or_not(
    service: httpx.AsyncClient, counted: Any
) -> None:
    """A search by a person's id names that person in its one audit row, on the short way and on the
    long, also where nothing is found.
    """
    for person in ("s0", "s-nobody"):
        noted = f"audit_told WHERE action = 'E' AND patient = '{person}'"
        for headers in ({}, {"Prefer": "handling=lenient"}):
            before = await counted(noted)
            page = await service.get(f"/Observation?patient={person}", headers=headers)
            assert bool(page.json().get("entry")) is (person == "s0")
            assert await counted(noted) == before + 1


async def test_a_wrong_sign_in_is_401_here_too(room: Any) -> None:
    """A bearer token that is none is refused before anything is asked."""
    client = room.client("service")
    answer = await client.get(
        "/Observation?patient=s0", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
