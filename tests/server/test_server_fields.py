"""What a role does not see of a record leaves by no door, and nobody can ask for it."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.server.conftest import Room

from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.trust.decide import Action, policy
from dmed.trust.model import Role
from dmed.trust.policy.fields import HIDDEN

HOME = "Hidden street 17"
PHONE = "+998907770017"
PINFL = "51503800170017"
PID = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
SECRETS = (HOME, PHONE, "Hidden contact", "divorced", "1977-07-17", PINFL, "hidden-photo",
           "urn:hidden-extension")


def person(type_: str, family: str) -> dict[str, Any]:
    """A Patient or Practitioner with everything that some role does not see."""
    record: dict[str, Any] = {
        "resourceType": type_,
        "text": {"status": "additional", "div":
                 f'<div xmlns="http://www.w3.org/1999/xhtml">{HOME} {PHONE}</div>'},
        "extension": [{"url": "urn:hidden-extension", "valueString": "yes"}],
        "identifier": [{"system": "urn:staff-number", "value": "S-17"}],
        "name": [{"family": family}],
        "telecom": [{"system": "phone", "value": PHONE}],
        "address": [{"text": HOME, "city": "Hiddentown"}],
        "photo": [{"title": "hidden-photo"}],
    }
    if type_ == "Patient":
        record |= {
            "birthDate": "1990-01-02", "multipleBirthInteger": 2,
            "maritalStatus": {"text": "divorced"},
            "contact": [{"name": {"text": "Hidden contact"}}]}
    else:
        record["birthDate"] = "1977-07-17"
        record["identifier"].append({"system": PID, "value": PINFL})
    return record


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(room: Room) -> dict[str, str]:
    """Type > id of a Patient, of a Practitioner, and of a slot of work that names the second."""
    service = room.client("service")
    family = f"Yashirin{uuid.uuid4().hex[:8]}"
    made = {"family": family}
    for type_ in ("Patient", "Practitioner"):
        answer = await service.post(f"/{type_}", json=person(type_, family))
        assert answer.status_code == 201, answer.text
        made[type_] = answer.json()["id"]
    answer = await service.post("/PractitionerRole", json={
        "resourceType": "PractitionerRole",
        "practitioner": {"reference": f"Practitioner/{made['Practitioner']}"}})
    made["PractitionerRole"] = answer.json()["id"]
    return made


def told(answer: httpx.Response, family: str) -> str:
    """The text of an answer that has the person's record in it."""
    assert answer.status_code == 200, answer.text
    assert family in answer.text, answer.text[:500]
    return answer.text


@pytest.mark.parametrize(("role", "type_"), [
    ("pharmacist", "Patient"), ("pharmacist", "Practitioner"), ("doctor", "Practitioner"),
    ("registrar", "Practitioner")])
async def test_hidden_fields_leave_by_no_door(
    room: Room, both: dict[str, str], role: str, type_: str
) -> None:
    """Read, version, history, searches, parts, includes, Bundles, FHIRPath: none tells them."""
    client, id_, family = room.client(role), both[type_], both["family"]
    one = f"/{type_}/{id_}"
    version = (await client.get(one)).json()["meta"]["versionId"]
    bundle = {"resourceType": "Bundle", "entry": [
        {"request": {"method": "GET", "url": one[1:]}},
        {"request": {"method": "GET", "url": f"{type_}?_id={id_}"}}]}
    answers = [
        await client.get(one),
        await client.get(one, headers={"if-none-match": 'W/"1"'}),
        await client.get(f"{one}/_history/{version}"),
        await client.get(f"{one}/_history"),
        await client.get(f"/{type_}?name={family}"),
        await client.post(f"/{type_}/_search", data={"name": family}, headers={
            "content-type": "application/x-www-form-urlencoded"}),
        await client.get(f"/{type_}?_id={id_}&_elements=name,address,telecom,identifier,birthDate"),
        await client.get(f"/?_type={type_}&_id={id_}"),
        *[await client.post("/", json={**bundle, "type": kind})
          for kind in ("batch", "transaction")],
    ]
    if type_ == "Practitioner":
        answers.append(await client.get(
            f"/PractitionerRole?_id={both['PractitionerRole']}"
            "&_include=PractitionerRole:practitioner"))
    for answer in answers:
        text = told(answer, family)
        secrets = [each for each in SECRETS if each in text]
        assert not secrets, (str(answer.request.url), secrets)
        assert "SUBSETTED" in text
    seen = answers[0].json()
    assert [each["value"] for each in seen["identifier"]] == ["S-17"]
    assert not any(key.startswith("multipleBirth") for key in seen)
    assert ("birthDate" in seen) == (type_ == "Patient")


async def test_others_see_the_whole(room: Room, both: dict[str, str]) -> None:
    """A doctor sees a person's address, an administrator a colleague's number, unmarked."""
    patient = (await room.client("doctor").get(f"/Patient/{both['Patient']}")).json()
    colleague = (await room.client("admin").get(f"/Practitioner/{both['Practitioner']}")).json()

    assert patient["address"][0]["text"] == HOME
    assert colleague["identifier"][1]["value"] == PINFL
    assert "SUBSETTED" not in f"{patient}{colleague}"


@pytest.mark.parametrize(("role", "asked"), [
    ("pharmacist", "Patient?phone=" + PHONE), ("pharmacist", "Patient?telecom:missing=false"),
    ("pharmacist", "Patient?address-city=Hiddentown"), ("pharmacist", "Patient?_sort=address"),
    ("pharmacist", "Patient?_content=Hidden"), ("pharmacist", "Patient?_text=street"),
    ("pharmacist", 'Patient?_filter=address co "Hidden"'),
    ("pharmacist", "MedicationRequest?patient.address=Hidden"),
    ("pharmacist", "MedicationRequest?subject:Patient.phone=1"),
    ("pharmacist", "MedicationRequest?patient.general-practitioner:Practitioner.phone=1"),
    ("pharmacist", "Practitioner?_has:MedicationRequest:requester:patient.address=Hidden"),
    ("pharmacist", "?_type=Patient,Practitioner&address=Hidden"),
    ("doctor", f"Practitioner?identifier={PID}|{PINFL}"),
    ("doctor", f"Practitioner?identifier={PINFL}"), ("doctor", "Practitioner?_sort=identifier"),
    ("doctor", f"Practitioner?identifier:not={PID}|{PINFL}"),
    ("doctor", f"PractitionerRole?practitioner.identifier={PINFL}"),
    ("doctor", f"PractitionerRole?practitioner:identifier={PID}|{PINFL}"),
    ("registrar", "Practitioner?email=a@b.uz")])
async def test_nobody_asks_for_what_he_does_not_see(
    room: Room, both: dict[str, str], role: str, asked: str
) -> None:
    """By parameter, order, whole text, filter, chain, reverse chain or number: 403 that says why;
    so it is in a Bundle. An identifier inside of a reference is that record's own content.
    """
    client = room.client(role)
    answer = await client.get("/" + asked)
    if "practitioner:identifier" in asked:
        assert answer.status_code == 200
        assert not answer.json().get("entry")
        return
    assert answer.status_code == 403, answer.text
    assert "does not see" in answer.text
    if "?_type" not in asked:
        inside = await client.post("/", json={
            "resourceType": "Bundle", "type": "batch", "entry": [
                {"request": {"method": "GET", "url": asked}}]})
        assert inside.json()["entry"][0]["response"]["status"].startswith("403"), inside.text


@pytest.mark.parametrize(("role", "asked"), [
    ("pharmacist", "Patient?birthdate=1990-01-02&gender=female"),
    ("pharmacist", "Practitioner?identifier=urn:staff-number|S-17"),
    ("doctor", "Patient?phone=" + PHONE), ("doctor", "Practitioner?name=Yashirin"),
    ("admin", f"Practitioner?identifier={PID}|{PINFL}")])
async def test_what_is_seen_can_be_asked_for(
    room: Room, both: dict[str, str], role: str, asked: str
) -> None:
    """The refusal stands before hidden fields alone."""
    assert (await room.client(role).get("/" + asked)).status_code == 200


async def test_a_conditional_reference_asks_nothing_hidden(
    room: Room, both: dict[str, str]
) -> None:
    """A Bundle that names a colleague by his telephone is refused, and stores nothing."""
    await room.in_care(both["Patient"])
    answer = await room.client("doctor").post("/", json={
        "resourceType": "Bundle", "type": "transaction", "entry": [{
            "request": {"method": "POST", "url": "Observation"},
            "resource": {
                "resourceType": "Observation", "status": "final", "code": {"text": "x"},
                "subject": {"reference": f"Patient/{both['Patient']}"},
                "performer": [{"reference": f"Practitioner?phone={PHONE[1:]}"}]}}]})

    assert answer.status_code == 403, answer.text


def test_who_writes_a_type_sees_all_of_it() -> None:
    """Nobody could send back without loss what he was shown in part; names are those of R5."""
    writes = {Action.CREATE, Action.UPDATE, Action.DELETE}
    for role, types in HIDDEN.items():
        for rule in policy()[Role(role)]:
            assert not (rule.plain & writes and rule.types & types.keys()), (role, rule)
        for type_, closed in types.items():
            known = {element.name for element in facts().types[type_].elements}
            assert closed.elements <= known | {"text", "contained", "extension"}
            references = {each.code for each in params.parameters(type_).values()
                          if each.type == "reference"}
            # What is included is asked for by a reference: none of those hidden is one.
            for code in references:
                expression = params.parameters(type_)[code].expression
                assert not any(f".{name}" in expression for name in closed.elements), code
