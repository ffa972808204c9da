"""Searches over several types, compartments, words, lists and filters, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dmed.fhir import params
from dmed.store import reindex

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>{}</p></div>'


def ids(answer: httpx.Response, mode: str = "match") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [
        entry["resource"]["id"]
        for entry in answer.json().get("entry", [])
        if entry["search"]["mode"] == mode
    ]


def link(answer: httpx.Response, relation: str) -> str:
    found = [each["url"] for each in answer.json()["link"] if each["relation"] == relation]
    return found[0].partition("/fhir")[2] if found else ""


def observation(number: int, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"coding": [{"system": "urn:a", "code": "x"}], "text": f"Qon bosimi {number}"},
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "performer": [{"reference": "Practitioner/d1"}],
        **more,
    }


RECORDS: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "p1",
        "name": [{"family": "Йўлдошева", "given": ["Ali"]}],
        "gender": "female",
        "birthDate": "1980-02-01",
        "text": {"status": "generated", "div": DIV.format("Allergy to <b>penicillin</b> is known")},
    },
    {
        "resourceType": "Patient",
        "id": "p2",
        "name": [{"family": "Karimov"}],
        "gender": "male",
        "text": {"status": "generated", "div": DIV.format("No known allergy")},
    },
    {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "completed",
        "subject": {"reference": "Patient/p1"},
        "meta": {"tag": [{"system": "urn:t", "code": "a"}]},
    },
    *(observation(number) for number in range(4)),
    observation(4, status="amended", note=[{"text": "Острая боль в сердце"}]),
    {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p1"},
        "clinicalStatus": {
            "coding": [
                {
                    "code": "active",
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                }
            ]
        },
        "meta": {"tag": [{"system": "urn:t", "code": "a"}]},
        "encounter": {"reference": "Encounter/e1"},
    },
    {
        "resourceType": "List",
        "id": "l1",
        "status": "current",
        "mode": "working",
        "entry": [
            {"item": {"reference": "Observation/o1"}},
            {"item": {"reference": "Observation/o3"}},
        ],
    },
]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _records(room: Any) -> AsyncIterator[None]:
    service = room.client("service")
    for content in RECORDS:
        answer = await service.put(f"/{content['resourceType']}/{content['id']}", json=content)
        assert answer.status_code == 201, answer.text
    yield
    params.install({})


async def test_several_types_are_searched_at_once(service: httpx.AsyncClient) -> None:
    """`_type` names types, newest first across them; POST and GET find the same."""
    found = await service.get("/?_type=Observation,Condition&_count=50")
    assert ids(found) == ["c1", "o4", "o3", "o2", "o1", "o0"]
    assert found.json()["total"] == 6
    posted = await service.post(
        "/_search",
        content="_type=Observation,Condition&_count=50",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert ids(posted) == ids(found)
    assert ids(await service.get("/?_type=Observation,Condition&patient=p1&_count=2")) == [
        "c1",
        "o4",
    ]
    assert ids(await service.get("/?_tag=urn:t|a")) == ["c1", "e1"]
    assert ids(await service.get("/?_id=p1,c1")) == ["c1", "p1"]


async def test_pages_of_several_types_go_both_ways(service: httpx.AsyncClient) -> None:
    """Paging forward and back shows every record once, also sorted by id."""
    for sort in ("", "&_sort=_id", "&_sort=-_id", "&_sort=_lastUpdated"):
        whole = ids(await service.get(f"/?_type=Observation,Condition,Encounter&_count=50{sort}"))
        assert len(whole) == 7
        address, pages = f"/?_type=Observation,Condition,Encounter&_count=3{sort}", []
        while address:
            answer = await service.get(address)
            pages.append(ids(answer))
            address, last = link(answer, "next"), answer
        assert [one for page in pages for one in page] == whole
        back = await service.get(link(last, "previous"))
        assert ids(back) == pages[-2]


async def test_a_criterion_that_not_all_have_is_refused(service: httpx.AsyncClient) -> None:
    """What only some types know is 400; what none knows is told, or 400 when strict."""
    assert (await service.get("/?_type=Patient,Observation&family=x")).status_code == 400
    assert (await service.get("/?_type=Patient,Nonsense")).status_code == 400
    told = await service.get("/?_type=Patient&nonsense=x")
    assert sorted(ids(told)) == ["p1", "p2"]
    assert told.json()["entry"][-1]["search"]["mode"] == "outcome"
    strict = await service.get("/?_type=Patient&nonsense=x", headers={"Prefer": "handling=strict"})
    assert strict.status_code == 400


async def test_a_role_finds_only_what_it_may_see(pharmacist: httpx.AsyncClient) -> None:
    """Over all types a pharmacist sees no observations; asked for by name they are refused."""
    found = ids(await pharmacist.get("/?_count=100"))
    assert "p1" in found
    assert "o1" not in found
    assert (await pharmacist.get("/?_type=Observation")).status_code == 403


async def test_includes_and_counts_over_types(service: httpx.AsyncClient) -> None:
    """Includes work for each type, and `_summary=count` counts them together."""
    found = await service.get("/?_type=Condition,Encounter&_include=Condition:subject")
    assert sorted(ids(found)) == ["c1", "e1"]
    assert ids(found, "include") == ["p1"]
    counted = await service.get("/?_type=Condition,Observation&_summary=count")
    assert counted.json()["total"] == 6


async def test_compartments_take_parameters(service: httpx.AsyncClient) -> None:
    """`Patient/x/*` with criteria, and the compartments of an encounter and a practitioner."""
    assert ids(await service.get("/Patient/p1/*?_tag=urn:t|a")) == ["c1", "e1"]
    assert ids(await service.get("/Patient/p1/*?_filter=_id eq o2")) == ["o2"]
    assert sorted(ids(await service.get("/Encounter/e1/*"))) == [
        "c1",
        "e1",
        "o0",
        "o1",
        "o2",
        "o3",
        "o4",
    ]
    assert ids(await service.get("/Encounter/e1/Observation?status=amended")) == ["o4"]
    page = await service.get("/Encounter/e1/Observation?_count=2")
    assert ids(await service.get(link(page, "next"))) == ["o2", "o1"]
    assert len(ids(await service.get("/Practitioner/d1/Observation"))) == 5
    assert (await service.get("/Encounter/e1/Organization")).status_code == 404


async def test_words_are_found_in_every_script(service: httpx.AsyncClient) -> None:
    """`_text` seeks in the narrative, `_content` in all; phrases, OR, NOT, beginnings."""
    assert ids(await service.get("/Patient?_text=penicillin")) == ["p1"]
    assert ids(await service.get("/Patient?_text=allergy&_sort=_id")) == ["p1", "p2"]
    assert ids(await service.get("/Patient?_text=allergy NOT no")) == ["p1"]
    assert ids(await service.get('/Patient?_text="known allergy"')) == ["p2"]
    assert ids(await service.get("/Patient?_text=peni* OR nothing")) == ["p1"]
    assert ids(await service.get("/Patient?_text=yuldosheva")) == []
    assert ids(await service.get("/Patient?_content=Yoldosheva")) == ["p1"]
    assert ids(await service.get("/Observation?_content=ostraya boli")) == []
    assert ids(await service.get("/Observation?_content=острая (сердце OR голова)")) == ["o4"]
    assert ids(await service.get("/Observation?subject:Patient._text=penicillin&_count=1")) == [
        "o4"
    ]
    assert ids(await service.get("/?_content=karimov")) == ["p2"]
    for wrong in ("(a", "a)", "OR", '""', "NOT"):
        assert (await service.get("/Patient", params={"_text": wrong})).status_code == 400


async def test_an_update_changes_the_words(service: httpx.AsyncClient) -> None:
    """Words of the version before are gone with it, and those of a deleted record too."""
    content = {"resourceType": "Basic", "id": "b1", "code": {"text": "birinchi"}}
    await service.put("/Basic/b1", json=content)
    await service.put("/Basic/b1", json={**content, "code": {"text": "ikkinchi"}})
    assert ids(await service.get("/Basic?_content=birinchi")) == []
    assert ids(await service.get("/Basic?_content=ikkinchi")) == ["b1"]
    await service.delete("/Basic/b1")
    assert ids(await service.get("/Basic?_content=ikkinchi")) == []


async def test_lists_and_members(service: httpx.AsyncClient) -> None:
    """`_list` and `_in` find what a list names; named lists of the standard are refused."""
    assert ids(await service.get("/Observation?_list=l1")) == ["o3", "o1"]
    assert ids(await service.get("/Observation?_in=List/l1,Group/none&status=final")) == [
        "o3",
        "o1",
    ]
    assert ids(await service.get("/Observation?_list=none")) == []
    assert (await service.get("/Observation?_list=$current-problems")).status_code == 400


async def test_contained_resources_have_addresses_of_their_own(
    service: httpx.AsyncClient,
) -> None:
    """`_contained=true` answers the record around, or the part under the record's address."""
    content = {
        "resourceType": "MedicationRequest", "id": "mr1", "status": "active", "intent": "order",
        "contained": [{"resourceType": "Medication", "id": "m1", "code": {"text": "Inside"}}],
        "medication": {"reference": {"reference": "#m1"}},
        "subject": {"reference": "Patient/p1"},
    }  # fmt: skip  # A record in few lines.
    assert (await service.put("/MedicationRequest/mr1", json=content)).status_code == 201
    asked = "/Medication?code:text=inside&_contained=true"
    around = (await service.get(asked)).json()
    inside = (await service.get(f"{asked}&_containedType=contained")).json()

    assert ids(await service.get("/Medication?code:text=inside")) == []
    assert len(ids(await service.get("/Patient?_contained=false"))) == 2
    assert around["entry"][0]["resource"]["resourceType"] == "MedicationRequest"
    assert inside["entry"][0]["resource"] == content["contained"][0]
    assert inside["entry"][0]["fullUrl"].endswith("/MedicationRequest/mr1#m1")
    assert inside["entry"][0]["search"] == {"mode": "match"}
    assert "_containedType=contained" in inside["link"][0]["url"]
    for query in ("_contained=true&_sort=status", "_contained=both&_text=x"):
        refused = await service.get(f"/Medication?{query}")
        assert refused.status_code == 400
        assert refused.json()["issue"][0]["code"] == "not-supported"
    several = await service.get("/?_type=Medication,Substance&_contained=true&_tag=x")
    assert several.status_code == 400


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("Patient", 'family co "oldosh"', ["p1"]),
        ("Patient", "family ew ov or birthdate lt 1990", ["p2", "p1"]),
        ("Patient", "not (gender eq male)", ["p1"]),
        ("Patient", "birthdate pr false", ["p2"]),
        ("Patient", "birthdate po 1980-02 and gender ne male", ["p1"]),
        ("Patient", "family gt k and family lt l", ["p2"]),
        ("Observation", "patient.family sw yol and status eq amended", ["o4"]),
        (
            "Observation",
            "patient[gender eq female].birthdate lt 1990 and not (status eq final)",
            ["o4"],
        ),
        ("Observation", "(status eq amended or _id eq o1) and subject re Patient/p1", ["o4", "o1"]),
        ("Observation", "code sw x and status co mend", ["o4"]),
        ("Patient", "_has:Observation:patient:status eq amended", ["p1"]),
        ("Observation", "not (patient.family eq nobody) and _id eq o0", ["o0"]),
        ("Observation", 'patient._text co "penicillin" and _id eq o0', ["o0"]),
    ],
)
async def test_filters_find(
    service: httpx.AsyncClient, type_: str, text: str, expected: list[str]
) -> None:
    """Each operation of `_filter` finds what it says, and the self link repeats it."""
    answer = await service.get(f"/{type_}", params={"_filter": text})
    assert ids(answer) == expected
    assert ids(await service.get(link(answer, "self"))) == expected


async def test_a_parameter_is_stored_and_served(
    room: Any,
    administrator: httpx.AsyncClient,
    doctor: httpx.AsyncClient,
    service: httpx.AsyncClient,
) -> None:
    """An administrator stores a search parameter: faults are told, others may not, old records
    are found when they are indexed, and the capability statement lists it.
    """
    content = {
        "resourceType": "SearchParameter",
        "url": "http://example.org/sp/note",
        "name": "Note",
        "status": "active",
        "processingMode": "normal",
        "description": "Words of notes",
        "code": "note-text",
        "base": ["Observation"],
        "type": "string",
        "expression": "Observation.note.txt",
    }
    wrong = await administrator.post("/SearchParameter", json=content)
    assert wrong.status_code == 400
    assert wrong.json()["issue"][0]["expression"] == ["SearchParameter.expression"]
    assert "txt" in wrong.json()["issue"][0]["diagnostics"]
    content["expression"] = "Observation.note.text"
    assert (await doctor.post("/SearchParameter", json=content)).status_code == 403
    stored = await administrator.post("/SearchParameter", json=content)
    assert stored.status_code == 201

    await reindex.learn(room.database)
    strict = {"Prefer": "handling=strict"}
    early = await service.get("/Observation?note-text=острая", headers=strict)
    assert early.status_code == 400
    assert "not ready" in early.text
    await reindex.work(room.database, grace_seconds=0)
    await reindex.learn(room.database)
    assert ids(await service.get("/Observation?note-text=ostraya", headers=strict)) == ["o4"]
    statement = (await service.get("/metadata")).json()
    kind = next(each for each in statement["rest"][0]["resource"] if each["type"] == "Observation")
    assert {"name": "note-text", "type": "string", "definition": content["url"]} in [
        {key: each.get(key) for key in ("name", "type", "definition")}
        for each in kind["searchParam"]
    ]
    twice = await administrator.post(
        "/SearchParameter", json={**content, "url": "http://example.org/sp/other"}
    )
    assert twice.status_code == 400
