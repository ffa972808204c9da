"""From a licence number to live, and everything that must stop on the way."""

from __future__ import annotations

import asyncio
import re

import pytest

from dmed.fhir.facts import facts
from dmed.modules.developers.model import Kind
from dmed.modules.developers.rules import live_scopes
from dmed.modules.developers.service import joining
from dmed.modules.developers.service.register import Invented
from dmed.modules.facilities.rules import TAX_SYSTEM
from dmed.trust.model import Role, Subject

PATIENT = {
    "resourceType": "Patient",
    "meta": {"profile": ["https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient"]},
    "identifier": [{"system": "https://dhp.uz/fhir/core/sid/pid/uz/ni", "value": "30203910000029"}],
    "name": [{"family": "Namunayev"}], "gender": "male", "birthDate": "1991-03-02"}
PINFL = "identifier=https://dhp.uz/fhir/core/sid/pid/uz/ni|30203910000029"
VISIT = {
    "resourceType": "Encounter", "status": "completed",
    "meta": {"profile": ["https://dhp.uz/fhir/core/StructureDefinition/uz-core-encounter"]},
    "class": [{"coding": [{"code": "AMB"}]}],
    "type": [{"coding": [{"code": "mserv-0001-00003"}]}],
    "serviceProvider": {"reference": "Organization/own-organisation"},
    "actualPeriod": {"start": "2026-11-20"}}
BUNDLE = {"resourceType": "Bundle", "type": "transaction", "entry": [
    {"fullUrl": "urn:uuid:6f1c1f6e-0b1e-4b59-9d0a-2f6b7a9c0001",
     "request": {"method": "POST", "url": "Encounter"},
     "resource": {"resourceType": "Encounter", "status": "completed"}},
    {"fullUrl": "urn:uuid:6f1c1f6e-0b1e-4b59-9d0a-2f6b7a9c0002",
     "request": {"method": "POST", "url": "Observation"},
     "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "t"},
                  "encounter": {"reference": "urn:uuid:6f1c1f6e-0b1e-4b59-9d0a-2f6b7a9c0001"},
                  "valueQuantity": {"value": 36.7, "unit": "°C", "code": "Cel",
                                    "system": "http://unitsofmeasure.org"}}}]}
PERSONS = {"Patient", "Person", "RelatedPerson", "Encounter", "MedicationRequest", "AuditEvent"}


@pytest.mark.parametrize(("licence", "tax", "kind", "said"), [
    ("T-2020-2001", "309902001", "clinic", "ended on 28.02.2025"),
    ("T-2026-2002", "309902002", "clinic", "is suspended"),
    ("T-2026-2003", "309902003", "clinic", "was revoked"),
    ("T-2090-2004", "309902004", "clinic", "is in force from"),
    ("T-2026-1001", "309901002", "clinic", "no such licence"),
    ("T-2026-1001", "309901001", "pharmacy", "no licence for a pharmacy"),
    ("Т-2026-1001", "309901001", "clinic", "write it in Latin: T-2026-1001"),
    ("T-0", "309901001", "clinic", "no such licence"), ("", "309901001", "clinic", "Write the"),
    ("T-2026-1001", "12", "clinic", "nine digits"), ("T-2026-1001", "309901001", "x", "Choose"),
])  # fmt: skip  # A case a line.
async def test_a_licence_that_does_not_hold_stops_at_the_door(newcomer, licence, tax, kind, said):
    """Over, suspended, revoked, early, another's, in another script: each its own sentence."""
    answer = await newcomer.apply(licence, tax, kind)

    assert answer.status_code == 422
    assert said in answer.text


async def test_two_at_once_with_one_licence_leave_one(platform):
    """Eight applications for one licence at the same moment: one is taken, seven hear why."""
    given = {"licence": "T-2026-1003", "tax_id": "309901003", "kind": "clinic",
             "email": "a@b.example.uz"}
    done = await asyncio.gather(*(joining.apply(platform.gateway, Invented(), dict(given))
                                  for _ in range(8)), return_exceptions=True)
    refused = [one for one in done if isinstance(one, joining.RefusedError)]

    assert len(refused) == 7
    assert {one.wrong["licence"].key for one in refused} == {"developers.fault.under-way"}


async def test_five_wrong_codes_close_an_application(newcomer):
    """A licence number alone opens nothing: the holder's code does, and cannot be guessed."""
    assert (await newcomer.apply("F-2026-1005", "309901005", "pharmacy")).status_code == 303
    for _ in range(5):
        answer = await newcomer.act("code", code="000000")
        assert answer.status_code == 422
    page = await newcomer.http.get(newcomer.way)
    keys = await newcomer.act("keys", keys="{}")

    assert "The application is closed" in page.text
    assert keys.status_code == 409


async def test_a_clinic_goes_live_by_calling_right(platform, newcomer):
    """Each call lets a step pass; a token of the page proves nothing; then one press is live, and
    the live client sees its own records alone.
    """
    client = await newcomer.enter("T-2026-1001", "309901001")
    by_hand = (await newcomer.act("token")).text
    hand = re.search(r"readonly[^>]*>([^<]+)</textarea>", by_hand)[1]
    assert (await newcomer.call(hand, "GET", "/sandbox/fhir/metadata")).status_code == 200
    assert "0 / 9" in (await newcomer.http.get(newcomer.way)).text
    assert (await newcomer.act("live")).status_code == 409

    token = (await newcomer.token(client)).json()["access_token"]

    async def call(method, path, body=None, **headers):
        return await newcomer.call(token, method, f"/sandbox/fhir{path}", body, **headers)

    await call("GET", "/metadata")
    assert (await call("GET", f"/Patient?{PINFL}")).json()["total"] == 0
    refused = await call("POST", "/Patient", {**PATIENT, "gender": "unknwon"})
    assert refused.status_code == 400
    made = await call("POST", "/Patient", PATIENT, **{"if-none-exist": PINFL})
    assert made.status_code == 201
    again = await call("POST", "/Patient", PATIENT, **{"if-none-exist": PINFL})
    assert again.json()["id"] == made.json()["id"]
    assert (await call("POST", "/Patient", {**PATIENT, "active": True})).status_code == 409
    id_ = made.json()["id"]
    changed = {**PATIENT, "id": id_, "active": True}
    assert (await call("PUT", f"/Patient/{id_}", changed)).status_code == 412
    assert "lacks If-Match" in (await newcomer.http.get(newcomer.way)).text
    done = await call("PUT", f"/Patient/{id_}", changed, **{"if-match": made.headers["etag"]})
    assert done.status_code == 200
    visit = {**VISIT, "subject": {"reference": f"Patient/{id_}"}}
    assert (await call("POST", "/Encounter", visit)).status_code == 201
    away = await call("POST", "", BUNDLE)
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    await asyncio.sleep(1.1)
    assert (await call("POST", "", BUNDLE)).status_code == 200

    page = (await newcomer.http.get(newcomer.way)).text
    assert "9 / 9" in page
    assert (await newcomer.act("live")).status_code == 303
    page = (await newcomer.http.get(newcomer.way)).text
    live = re.findall(r"<code>(live-\d+)</code>", page)[0]
    admin = Subject(user="admin", role=Role.ADMINISTRATOR)
    found = await platform.gateway.find(admin, "Organization", f"identifier={TAX_SYSTEM}|309901001")
    answer = await newcomer.token(live, live_scopes(Kind.CLINIC, found[0]["id"]))
    token = answer.json()["access_token"]
    assert [one["qualification"][0]["identifier"][0]["value"] for one in found] == ["T-2026-1001"]
    own = {**PATIENT, "managingOrganization": {"reference": f"Organization/{found[0]['id']}"}}
    made = await newcomer.call(token, "POST", "/fhir/Patient", own)
    assert made.status_code == 201
    other = await newcomer.call(token, "POST", "/fhir/Patient", {
        "resourceType": "Patient", "name": [{"family": "Begona"}]})
    seen = await newcomer.call(token, "GET", "/fhir/Patient?_count=50")
    assert [one["resource"]["id"] for one in seen.json()["entry"]] == [made.json()["id"]]
    assert (await newcomer.call(
        token, "GET", f"/fhir/Patient/{other.json()['id']}")).status_code == 404


async def test_a_sandbox_sees_no_real_person(platform, newcomer):
    """The token of a sandbox opens no type of person or health at the real address, by search,
    read, history, write, bundle or operation; and no other sandbox.
    """
    person = await platform.gateway.create(
        Subject(user="s", role=Role.SERVICE), "Patient",
        {"resourceType": "Patient", "name": [{"family": "Haqiqiyev"}]})
    client = await newcomer.enter("T-2026-1002", "309901002")
    answer = await newcomer.token(client)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    told = []
    for type_ in sorted(facts().resources):
        more = (f"/fhir/{type_}/{person.id}", f"/fhir/{type_}/_history")
        for path in (f"/fhir/{type_}?_count=5", *(more if type_ in PERSONS else ())):
            found = await newcomer.call(token, "GET", path)
            if "Haqiqiyev" in found.text or (
                    found.status_code == 200 and type_ not in {
                        "Organization", "Location", "HealthcareService"}):
                told.append(path)
    for method, path, body in (
        ("POST", "/fhir/Patient/$match", {"resourceType": "Parameters"}),
        ("GET", f"/fhir/Patient/{person.id}/$everything", None),
        ("PUT", f"/fhir/Patient/{person.id}", {"resourceType": "Patient", "id": person.id}),
        ("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "GET", "url": f"Patient/{person.id}"}}]}),
        ("GET", "/fhir/?_type=Patient", None), ("GET", "/fhir/_history", None),
        ("GET", f"/card/{person.id}", None), ("GET", f"/sandbox/fhir/Patient/{person.id}", None),
    ):
        found = await newcomer.call(token, method, path, body)
        if "Haqiqiyev" in found.text:
            told.append(path)

    assert "Patient" not in answer.json()["scope"]
    assert told == []
    stored = await platform.gateway.read(Subject(user="s", role=Role.SERVICE), "Patient", person.id)
    assert stored.vid == person.vid


async def test_the_sandbox_is_for_sandbox_tokens(platform, newcomer):
    """No token, a wrong one, one of a person and one of another system: 401 or 403 as outcome."""
    plain = await newcomer.http.get("/sandbox/fhir/metadata")
    wrong = await newcomer.call("nonsense", "GET", "/sandbox/fhir/metadata")
    service = await platform.guard.identity.issue_demo_token("service")
    other = await newcomer.call(service, "GET", "/sandbox/fhir/metadata")

    assert [plain.status_code, wrong.status_code, other.status_code] == [401, 401, 401]
    assert {one.json()["resourceType"] for one in (plain, wrong, other)} == {"OperationOutcome"}


async def test_the_pages_for_developers_tell_what_the_code_says(newcomer):
    """Every error class stands in the catalogue, every example can be fetched."""
    page = (await newcomer.http.get("/developers")).text
    example = await newcomer.http.get("/developers/examples/03-patient.sh")

    assert all(f'<td class="num">{status}</td>' in page
               for status in (400, 401, 403, 404, 409, 410, 412, 422, 429, 503))
    assert example.text.startswith("#!/usr/bin/env bash")
    assert (await newcomer.http.get("/developers/examples/..%2Fx")).status_code == 404
    assert (await newcomer.http.get("/join/unknown")).status_code == 404
