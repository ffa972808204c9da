"""Search over HTTP. https://hl7.org/fhir/R5/search.html"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest_asyncio

from dmed.fhir.query import parse
from dmed.kit.settings import Settings
from dmed.server.search import remarks
from dmed.trust.gateway import SearchPage

IDS = "urn:test:search"


def patient(number: int) -> dict[str, Any]:
    """A Patient with an id of its own."""
    return {
        "resourceType": "Patient",
        "id": f"s{number}",
        "identifier": [{"system": IDS, "value": str(number)}],
        "name": [{"family": f"Searchov{number}"}],
        "gender": "female" if number % 2 else "male",
    }


def weight(number: int, of: str) -> dict[str, Any]:
    """A body weight of a patient."""
    return {
        "resourceType": "Observation",
        "id": f"w{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{of}"},
        "valueQuantity": {
            "value": 60 + number, "system": "http://unitsofmeasure.org", "code": "kg"
        },
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def seeded(room: Any) -> None:
    """Seven patients; the first has five weights."""
    service = room.client("service")
    for number in range(7):
        answer = await service.put(f"/Patient/s{number}", json=patient(number))
        assert answer.status_code == 201, answer.text
    for number in range(5):
        answer = await service.put(f"/Observation/w{number}", json=weight(number, "s0"))
        assert answer.status_code == 201, answer.text
    await room.in_care("s0")


def ids(answer: httpx.Response, mode: str = "match") -> list[str]:
    """Ids of the entries of a mode."""
    assert answer.status_code == 200, answer.text
    return [
        entry["resource"]["id"]
        for entry in answer.json().get("entry", [])
        if entry["search"]["mode"] == mode
    ]


def link(answer: httpx.Response, relation: str) -> str | None:
    """The address of a link, or None."""
    found = [one["url"] for one in answer.json()["link"] if one["relation"] == relation]
    return found[0] if found else None


async def test_a_search_is_a_bundle_of_matches(doctor: httpx.AsyncClient) -> None:
    """The searchset has total, self link, full addresses and the mode of each entry."""
    answer = await doctor.get(f"/Patient?identifier={IDS}|3")
    body = answer.json()
    assert (body["resourceType"], body["type"], body["total"]) == ("Bundle", "searchset", 1)
    assert ids(answer) == ["s3"]
    assert body["entry"][0]["fullUrl"] == "http://test/fhir/Patient/s3"
    assert link(answer, "self").startswith("http://test/fhir/Patient?identifier=")
    assert link(answer, "next") is None


async def test_pages_follow_their_links_and_back(doctor: httpx.AsyncClient) -> None:
    """Every record stands on exactly one page, and previous leads back to the same page."""
    answer = await doctor.get("/Patient?name=searchov&_count=3")
    pages = [answer]
    while link(pages[-1], "next"):
        pages.append(await doctor.get(link(pages[-1], "next")))
    seen = [one for page in pages for one in ids(page)]
    assert len(seen) == 7
    assert len(set(seen)) == 7
    back = await doctor.get(link(pages[1], "previous"))
    assert ids(back) == ids(pages[0])


async def test_post_search_is_the_same_as_get(doctor: httpx.AsyncClient) -> None:
    """POST _search reads a form; values in a body keep out of logs."""
    answer = await doctor.post(
        "/Patient/_search",
        content=f"identifier={IDS}%7C3",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert ids(answer) == ["s3"]
    wrong = await doctor.post("/Patient/_search", content=b"{}")
    assert wrong.status_code == 415


async def test_include_and_revinclude_bring_others(doctor: httpx.AsyncClient) -> None:
    """Included records carry the mode include."""
    answer = await doctor.get("/Observation?_id=w1&_include=Observation:subject")
    assert ids(answer) == ["w1"]
    assert ids(answer, "include") == ["s0"]
    reverse = await doctor.get("/Patient?_id=s0&_revinclude=Observation:subject")
    assert sorted(ids(reverse, "include")) == [f"w{n}" for n in range(5)]


async def test_a_compartment_shows_one_persons_records(doctor: httpx.AsyncClient) -> None:
    """Patient/x/Observation and Patient/x/* hold what belongs to the person, in pages."""
    assert len(ids(await doctor.get("/Patient/s0/Observation"))) == 5
    assert ids(await doctor.get("/Patient/s1/Observation")) == []
    first = await doctor.get("/Patient/s0/*?_count=4")
    second = await doctor.get(link(first, "next"))
    seen = ids(first) + ids(second)
    assert sorted(seen) == ["s0", "w0", "w1", "w2", "w3", "w4"]
    typed = await doctor.get("/Patient/s0/*?_type=Patient")
    assert ids(typed) == ["s0"]
    assert (await doctor.get("/Organization/s0/*")).status_code == 404
    assert (await doctor.get("/Patient/s0/*?code=x")).status_code == 400


async def test_an_unknown_parameter_is_told_or_refused(doctor: httpx.AsyncClient) -> None:
    """Lenient: an entry of mode outcome names it; strict: 400. It never narrows or widens."""
    lenient = await doctor.get("/Patient?shoesize=44&name=searchov")
    assert len(ids(lenient)) == 7
    told = [e["resource"] for e in lenient.json()["entry"] if e["search"]["mode"] == "outcome"]
    assert "shoesize" in told[0]["issue"][0]["diagnostics"]
    assert "shoesize" not in link(lenient, "self")
    strict = await doctor.get("/Patient?shoesize=44", headers={"Prefer": "handling=strict"})
    assert strict.status_code == 400
    assert strict.json()["issue"][0]["code"] == "not-supported"


async def test_summary_and_elements_are_marked(doctor: httpx.AsyncClient) -> None:
    """A part of a record carries the tag SUBSETTED; count gives the total alone."""
    part = (await doctor.get("/Patient?_id=s1&_elements=gender")).json()["entry"][0]["resource"]
    assert part["gender"] == "female"
    assert "name" not in part
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
    read = (await doctor.get("/Patient/s1?_elements=gender")).json()
    assert "name" not in read
    count = (await doctor.get("/Patient?name=searchov&_summary=count")).json()
    assert (count["total"], "entry" in count) == (7, False)
    assert (await doctor.get("/Patient/s1?_summary=everything")).status_code == 400


async def test_histories_of_type_and_system_run_newest_first(doctor: httpx.AsyncClient) -> None:
    """Both page by link, and _since cuts off what is older."""
    first = await doctor.get("/Patient/_history?_count=5")
    body = first.json()
    assert (body["type"], len(body["entry"])) == ("history", 5)
    vids = [int(entry["resource"]["meta"]["versionId"]) for entry in body["entry"]]
    assert vids == sorted(vids, reverse=True)
    rest = (await doctor.get(link(first, "next"))).json()
    assert int(rest["entry"][0]["resource"]["meta"]["versionId"]) < vids[-1]
    whole = (await doctor.get("/_history?_count=100")).json()
    assert {entry["resource"]["resourceType"] for entry in whole["entry"]} == {
        "Patient", "Observation"}  # fmt: skip
    later = (await doctor.get("/_history?_since=2099-01-01T00:00:00Z")).json()
    assert "entry" not in later
    assert (await doctor.get("/_history?_since=yesterday")).status_code == 400


async def test_hostile_parameters_get_a_clear_answer(doctor: httpx.AsyncClient) -> None:
    """Too many, too deep, injected or malformed parameters are 400, never 500."""
    hostile = [
        "/Patient?_include=*:*:*:*",
        "/Patient?_include=Observation:subject",
        "/Patient?_include=Patient:name",
        "/Patient?"
        + "&".join(["_include=Patient:organization"] * 30)
        + "&"
        + "&".join(f"_include:iterate=Patient:organization:{t}" for t in ("Organization",) * 30),
        "/Patient?" + "_has:Observation:subject:" * 5 + "code=x",
        "/Observation?subject.organization.partOf.partOf.partOf.partOf.name=x",
        "/Patient?name:of-type=x",
        "/Patient?birthdate=2020-13-45",
        "/Patient?_count=-1",
        "/Patient?_cursor=%00",
        "/Patient?_cursor=abcd",
        "/Observation?value-quantity=abc",
        "/Patient?" + "&".join(f"name=a{n}" for n in range(150)),
        "/Patient?_sort=" + ",".join(["name"] * 50),
    ]
    for address in hostile:
        answer = await doctor.get(address)
        assert answer.status_code in {200, 400}, (address, answer.text)
        if answer.status_code == 400:
            assert answer.json()["resourceType"] == "OperationOutcome"
    injected = await doctor.get("/Patient?name=x' OR 1=1;--&_summary=count")
    assert injected.json()["total"] == 0
    long = await doctor.get("/Patient?name=" + "a" * 40_000)
    assert long.status_code == 413


async def test_what_is_not_served_says_so(doctor: httpx.AsyncClient) -> None:
    """Unknown types are 404, a criterion that not all types have 400, other methods 405."""
    assert (await doctor.get("/Nonsense")).status_code == 404
    assert (await doctor.get("/Nonsense/1")).status_code == 404
    assert (await doctor.get("/?name=x")).status_code == 400
    refused = await doctor.request("MOVE", "/Patient/s1")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE"
    assert (await doctor.get("/Patient/s1/_nothing")).status_code == 404
    assert (await doctor.get("/Patient/$nothing")).status_code == 404
    for odd in ("%00", "a%20b", "a%2Fb", "%F0%9F%98%80", "a" * 65, "%E0"):
        for path in (f"/Patient/{odd}", f"/Patient/{odd}?_pretty=true", f"/Patient/{odd}/_history",
                     f"/Patient/{odd}/*", f"/Patient/{odd}/Observation"):  # fmt: skip
            assert (await doctor.get(path)).status_code == 404, path
    assert (await doctor.get("/Patient/s1/_history/abc")).status_code == 404


def test_an_estimated_total_is_said_to_be_one() -> None:
    """The outcome entry tells an estimate from a count; a count needs no such entry."""
    asked = parse("Patient", [("_total", "estimate")], settings=Settings())
    told = json.loads(remarks(asked, SearchPage([], 5_000, None, is_estimate=True)))

    assert remarks(asked, SearchPage([], 5, None)) == b""
    assert told["issue"][0]["severity"] == "information"
    assert "about 5000" in told["issue"][0]["diagnostics"]
