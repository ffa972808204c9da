"""`$match` over HTTP, and the shapes of IHE PDQm and PIXm on R5, with data of our own.

The examples follow the recorded ones of the specifications step by step: a person known in
several domains (red, blue), asked from one, revised, resolved as a duplicate, removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
import pytest_asyncio
from persons_door import MIS, PINFL, Door, opened, person

from dmed.fhir import codec, validate
from dmed.modules.medid import api

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
RED = "https://red.example.uz/patients"
BLUE = "urn:oid:1.3.6.1.4.1.99999.3"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Door]:
    """The door, with a few people who are like each other."""
    async for made in opened(module_database_url, tmp_path_factory.mktemp("match")):
        for one in PEOPLE:
            answer = await made.service.post("/Patient", json=one)
            assert answer.status_code == 201, answer.text
        yield made


def pinfl(born: str, sex: str, serial: int) -> str:
    return api.compose_pinfl(date.fromisoformat(born), sex, 204, serial)


KARIM = pinfl("1975-04-09", "male", 17)
PEOPLE = [
    person("Karimov", "Alisher", "Valiyevich", "1975-04-09", "male", pinfl=KARIM,
           phone="+998901112233", district="1726266"),
    person("Karimov", "Valisher", "Valiyevich", "1975-04-09", "male"),
    person("Xo‘jayeva", "Nigora", "Sobir qizi", "1988-11-30", "female", phone="+998935550101"),
    person("Утегенов", "Бердах", "Ажиниязович", "1961-02-03", "male", district="1735401"),
    person("Tohirov", "Egizak", "Olim o‘g‘li", "1999-09-09", "male"),
    person("Tohirov", "Egizak", "Olim o‘g‘li", "1999-09-09", "male"),
]


def parameters(patient: dict[str, Any], **more: Any) -> dict[str, Any]:
    kinds = {bool: "valueBoolean", int: "valueInteger"}
    return {"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": patient},
        *({"name": name, kinds[type(value)]: value} for name, value in more.items())]}


async def matched(door: Door, patient: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = await door.service.post("/Patient/$match", json=parameters(patient, **more))
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert [one for one in validate.validate(codec.decode(answer.content, "Bundle"))
            if one.severity in {"error", "fatal"}] == []
    return [one for one in bundle.get("entry", []) if one["search"]["mode"] == "match"]


def grade(entry: dict[str, Any]) -> str:
    return str(next(one["valueCode"] for one in entry["search"]["extension"]
                    if one["url"] == GRADE))


async def test_a_person_is_certain_by_number_and_name(door: Door) -> None:
    """PINFL, names and phone agree: first, certain, with a score and a word for each field."""
    found = await matched(door, person(
        "Каримов", "Алишер", "Валиевич", "1975-04-09", "male", pinfl=KARIM, phone="901112233"))

    assert found[0]["resource"]["name"][0]["given"] == ["Alisher"]
    assert grade(found[0]) == "certain"
    assert 0.99 < found[0]["search"]["score"] <= 1
    assert len(found[0]["search"]["extension"]) > 4
    assert found[0]["fullUrl"].endswith(f"/Patient/{found[0]['resource']['id']}")


@pytest.mark.parametrize(("typed", "given"), [
    (person("Каримов", "Алишер", "", "1975-04-09"), "Alisher"),
    (person("Karimov", "Alisher", "", "1975-09-04"), "Alisher"),
    (person("Alisher", "Karimov", "", "1975-04-09"), "Alisher"),
    (person("Karmov", "Alisher", "Valiyevich", "1975-04-09", "male"), "Alisher"),
    (person("Karimov", "Alisher", "", "1975-05-09"), "Alisher"),
    (person("Karimov", "Alisher", district="1726266"), "Alisher"),
    (person("Ходжаева", "Нигора", "Собировна", "1988-11-30", "female"), "Nigora"),
    (person("Rashidova", "Nigora", "Sobir qizi", "1988-11-30", "female"), "Nigora"),
    (person("", "", phone="+998 93 555-01-01"), "Nigora"),
    (person("Ótegenov", "Berdaq", "", "1961-02-03", "male"), "Бердах"),
    (person("Өтегенов", "Бердақ", "", "1961-02-03", "male"), "Бердах"),
    (person("Ötegenov", "Berdax", "", "1961-02-03", "male"), "Бердах"),
])  # fmt: skip  # What other systems send of the same people.
async def test_a_person_is_found_by_what_another_system_says(
    door: Door, typed: dict[str, Any], given: str
) -> None:
    """Scripts, swapped names, a slip in name or date, another surname, a phone: the right one
    comes first.
    """
    found = await matched(door, typed)

    assert found, "nobody"
    assert found[0]["resource"]["name"][0]["given"] == [given]


async def test_the_patient_alone_may_be_posted(door: Door) -> None:
    """Without Parameters, as PDQm allows, the answer is the same."""
    asked = person("Xo'jayeva", "Nigora", "", "1988-11-30")
    answer = await door.service.post("/Patient/$match", json=asked)

    assert answer.status_code == 200
    assert answer.json()["entry"][0]["resource"] == (await matched(door, asked))[0]["resource"]


async def test_of_two_alike_none_is_the_single_match(door: Door) -> None:
    """Twins of one name: both are told, neither is the single match, and the answer says why."""
    asked = person("Tohirov", "Egizak", "Olim o‘g‘li", "1999-09-09", "male")
    both = await matched(door, asked)
    answer = await door.service.post(
        "/Patient/$match", json=parameters(asked, onlySingleMatch=True))
    bundle = answer.json()

    assert len([one for one in both if one["resource"]["birthDate"] == "1999-09-09"]) == 2
    assert bundle["total"] == 0
    assert bundle["entry"][0]["search"]["mode"] == "outcome"
    assert "equally well" in bundle["entry"][0]["resource"]["issue"][0]["diagnostics"]


async def test_only_certain_matches_are_certain(door: Door) -> None:
    """A name and a year are not enough for certainty; count bounds the answer."""
    asked = person("Karimov", "Alisher", "", "1975")

    assert await matched(door, asked, onlyCertainMatches=True) == []
    assert len(await matched(door, asked, count=1)) == 1


async def test_nobody_is_an_empty_answer(door: Door) -> None:
    """Who is not there is not invented: a searchset without entries."""
    answer = await door.service.post("/Patient/$match", json=person("Qzwxq", "Vbnmq"))

    assert answer.json()["total"] == 0
    assert "entry" not in answer.json()


@pytest.mark.parametrize(("body", "status"), [
    ({"resourceType": "Parameters"}, 400),
    ({"resourceType": "Observation"}, 400),
    (parameters({"resourceType": "Organization", "name": "x"}), 400),
    (parameters(person("A", "B"), count=0), 400),
    (parameters(person("A", "B"), onlySingleMatch=1), 400),
    (person("Karimov", "Alisher", born="1975-13-40"), 400),
    ({"resourceType": "Patient", "gender": "male"}, 422),
    ([1, 2], 400),
])  # fmt: skip  # A body and its status.
async def test_a_faulty_question_is_refused_with_a_sentence(
    door: Door, body: Any, status: int
) -> None:
    """Each fault has its status and an OperationOutcome; nothing is searched."""
    answer = await door.service.post("/Patient/$match", json=body)

    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["diagnostics"]


async def test_roles_without_search_are_refused(door: Door) -> None:
    """A pharmacist finds nobody by `$match`."""
    answer = await door.pharmacist.post("/Patient/$match", json=PEOPLE[0])

    assert answer.status_code == 403


async def test_who_is_told_is_audited_and_nobody_else(door: Door) -> None:
    """One row for each person told, with what was asked; candidates weighed and left leave none."""
    found = await matched(door, PEOPLE[2])
    rows = await door.database.hot.fetch(
        "SELECT patient, query FROM audit_told WHERE query LIKE '$match hajai%' "
        "OR query LIKE '$match haja%'")

    assert {row["patient"] for row in rows} - {None, ""} >= {
        one["resource"]["id"] for one in found}
    assert len({row["patient"] for row in rows} - {None, ""}) <= 3


async def test_a_match_leaves_rows_of_whom_it_told_alone(door: Door) -> None:
    """Nobody told: one row with what was asked; one or more told: a row for each, no second note
    of the call. A body that cannot be read leaves its refusal.
    """
    count = "SELECT count(*) FROM audit"
    nobody = person("Shamsutdinovbek", "Yashnarjon", "", "1931-03-04", "male")
    for asked in (nobody, PEOPLE[2]):
        before = await door.database.hot.fetchval(count)
        found = await matched(door, asked)
        rows = await door.database.hot.fetchval(count) - before
        assert rows == (1 if len(found) < 2 else 1 + len(found))
    before = await door.database.hot.fetchval(count)
    answer = await door.service.post("/Patient/$match", content=b"{")
    assert answer.status_code == 400
    assert await door.database.hot.fetchval(f"{count} WHERE outcome = 400") >= 1
    assert await door.database.hot.fetchval(count) - before == 1


# PDQm, PIXm ----------------------------------------------------------------------------------


async def test_demographics_are_queried_as_iti_78_does(door: Door) -> None:
    """Family, given, birth date and gender; an identifier; by GET and by POST to _search."""
    by_name = await door.service.get("/Patient", params={
        "family": "Karimov", "given": "Alisher", "birthdate": "1975-04-09", "gender": "male"})
    by_number = await door.service.get("/Patient", params={"identifier": f"{PINFL}|{KARIM}"})
    posted = await door.service.post(
        "/Patient/_search", content=b"telecom=%2B998901112233",
        headers={"content-type": "application/x-www-form-urlencoded"})

    for answer in (by_name, by_number, posted):
        assert answer.status_code == 200
        assert answer.json()["type"] == "searchset"
        assert [one["resource"]["name"][0]["given"] for one in answer.json()["entry"]] == [
            ["Alisher"]]


def red(number: str, **more: Any) -> dict[str, Any]:
    one = person("Mirzayeva", "Gulnora", "Anvarovna", "1990-06-15", "female")
    return one | {"identifier": [{"use": "official", "system": RED, "value": number}]} | more


async def fed(door: Door, number: str, body: dict[str, Any]) -> Any:
    """ITI-104: a conditional update by the identifier of the source's domain."""
    return await door.service.put(f"/Patient?identifier={RED}|{number}", json=body)


async def test_a_feed_adds_revises_and_is_asked_across_domains(door: Door) -> None:
    """ITI-104 adds (201) and revises (200); ITI-83 tells the numbers of the other domains."""
    both = [{"use": "official", "system": RED, "value": "RED-994"},
            {"use": "official", "system": BLUE, "value": "BLUE-994"}]
    added = await fed(door, "RED-994", red("RED-994"))
    revised = await fed(door, "RED-994", red("RED-994", identifier=both))
    asked = await door.service.get("/Patient/$ihe-pix", params={
        "sourceIdentifier": f"{RED}|RED-994", "targetSystem": BLUE})
    posted = await door.service.post("/Patient/$ihe-pix", json={
        "resourceType": "Parameters", "parameter": [
            {"name": "sourceIdentifier", "valueString": f"{BLUE}|BLUE-994"}]})

    assert (added.status_code, revised.status_code) == (201, 200)
    assert asked.json()["parameter"] == [
        {"name": "targetIdentifier", "valueIdentifier": both[1]},
        {"name": "targetId", "valueReference": {
            "reference": f"Patient/{revised.json()['id']}"}}]
    assert [one["valueIdentifier"]["value"] for one in posted.json()["parameter"]
            if one["name"] == "targetIdentifier"] == ["RED-994"]


async def test_a_resolved_duplicate_answers_with_the_survivor(door: Door) -> None:
    """ITI-104 resolves: the closed card's number tells the identifiers of the surviving one."""
    survivor = (await fed(door, "RED-1", red("RED-1", identifier=[
        {"system": RED, "value": "RED-1"}, {"system": MIS, "value": "77"}]))).json()
    await fed(door, "RED-2", red("RED-2"))
    closed = red("RED-2", active=False, link=[
        {"other": {"reference": f"Patient/{survivor['id']}"}, "type": "replaced-by"}])
    resolved = await fed(door, "RED-2", closed)
    asked = await door.service.get(
        "/Patient/$ihe-pix", params={"sourceIdentifier": f"{RED}|RED-2"})
    told = asked.json()["parameter"]

    assert resolved.status_code == 200, resolved.text
    assert {one["valueIdentifier"]["value"] for one in told
            if one["name"] == "targetIdentifier"} == {"RED-1", "77"}
    assert told[2]["valueReference"]["reference"] == f"Patient/{survivor['id']}"


async def test_a_removed_identity_is_found_no_more(door: Door) -> None:
    """ITI-104 removes: the index forgets the card with the record's own deletion."""
    one = person("Olibketilgan", "Sinovbek", "", "1955-05-05")
    one["identifier"] = [{"system": RED, "value": "RED-gone"}]
    await fed(door, "RED-gone", one)
    before = await matched(door, one)
    removed = await door.service.delete(f"/Patient?identifier={RED}|RED-gone")
    asked = await door.service.get(
        "/Patient/$ihe-pix", params={"sourceIdentifier": f"{RED}|RED-gone"})

    assert len(before) == 1
    assert removed.status_code in {200, 204}
    assert await matched(door, one) == []
    assert asked.status_code == 404


@pytest.mark.parametrize(("params", "status", "code"), [
    ({"sourceIdentifier": f"{RED}|nobody"}, 404, "not-found"),
    ({"sourceIdentifier": "nowhere|1"}, 400, "code-invalid"),
    ({"sourceIdentifier": f"{RED}|1", "targetSystem": "blue"}, 403, "code-invalid"),
    ({"sourceIdentifier": "1"}, 400, "invalid"),
    ({}, 400, "invalid"),
])  # fmt: skip  # The five refusals of ITI-83.
async def test_a_faulty_cross_reference_is_refused_as_iti_83_says(
    door: Door, params: dict[str, str], status: int, code: str
) -> None:
    """Unknown number, unknown domains, no source: each its status and issue code."""
    answer = await door.service.get("/Patient/$ihe-pix", params=params)

    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["code"] == code
    assert answer.json()["issue"][0]["diagnostics"]
