"""Each parameter type finds what it must and leaves its twin, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dmed.fhir import codec, params
from dmed.fhir.query import parse
from dmed.kit.ids import bucket_in, bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import schema, search, write
from dmed.store.model import AuditRow, Scope, SearchPage, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4, public_url="https://dmed.example")
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def audit(request: str = "r1") -> AuditRow:
    return AuditRow(request=request, action="E", subject="doctor", role="doctor")


def written(content: dict[str, Any]) -> Write:
    """The Write of a record with the id that it names."""
    vid = new_vid()
    resource = codec.decode(json.dumps(content).encode())
    patients = params.patients(resource)
    named = bucket_in(content["id"])
    return Write(
        kind="update", type=content["resourceType"], id=content["id"], vid=vid,
        bucket=bucket_of(patients[0] if patients else content["id"]) if named is None else named,
        updated=updated_of(vid), body=codec.encode(resource), index=params.extract(resource),
        patients=patients, client_id=named is None,
    )  # fmt: skip  # Fields in few lines.


def person(
    id_: str, family: str, given: str, born: str, gender: str, **more: Any
) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": family, "given": [given]}],
            "birthDate": born, "gender": gender, **more}


def coding(code: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def amount(value: float, unit_: str) -> dict[str, Any]:
    return {"value": value, "unit": unit_, "system": UCUM, "code": unit_}


def observation(id_: str, patient: str, code: str, when: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": coding(code),
            "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": when, **more}


def pressure(id_: str, patient: str, when: str, high: float, low: float) -> dict[str, Any]:
    return observation(id_, patient, "85354-9", when, component=[
        {"code": coding("8480-6"), "valueQuantity": amount(high, "mm[Hg]")},
        {"code": coding("8462-4"), "valueQuantity": amount(low, "mm[Hg]")}])


WORLD: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "org1", "name": "Yunusobod poliklinikasi",
     "identifier": [{"system": "urn:argos", "value": "77"}]},
    {"resourceType": "Organization", "id": "org2", "name": "Chilonzor",
     "partOf": {"reference": "Organization/org1"}},
    {"resourceType": "Practitioner", "id": "dr1", "name": [{"family": "Saidov"}]},
    person("p1", "Karimova", "Dilnoza", "1992-03-12", "female",
           identifier=[{"system": "urn:pinfl", "value": "41203920000001"}],
           managingOrganization={"reference": "Organization/org1"},
           generalPractitioner=[{"reference": "Practitioner/dr1"}],
           telecom=[{"system": "phone", "value": "+998901234567"}]),
    person("p2", "Karimov", "Aziz", "1970-12-01", "male", active=True,
           identifier=[{"system": "urn:passport", "value": "41203920000001"}],
           managingOrganization={"reference": "Organization/org2"}),
    person("p3", "Каримова", "Олма", "1992-03", "female",
           meta={"tag": [{"system": "urn:t", "code": "demo"}], "profile": ["http://a.uz/sd/x"]}),
    person("p4", "O'Brien, Jr", "A$b|c", "2001-01-31", "unknown"),
    observation("o1", "p1", "8867-4", "2024-05-01T10:00:00+05:00",
                valueQuantity=amount(72, "/min"), performer=[{"reference": "Practitioner/dr1"}]),
    observation("o2", "p1", "29463-7", "2024-05-02", valueQuantity=amount(70.5, "kg")),
    observation("o3", "p2", "29463-7", "2024-06-01", valueQuantity=amount(80500, "g")),
    pressure("o4", "p1", "2023-01-01", 150, 80),
    pressure("o5", "p2", "2023-02-01", 120, 145),
    observation("o6", "p2", "11111-1", "2020-01-01", valueString="Yaxshi holat"),
    {"resourceType": "Encounter", "id": "e1", "status": "completed",
     "subject": {"reference": "Patient/p1"},
     "actualPeriod": {"start": "2024-01-10", "end": "2024-04-20"}},
    {"resourceType": "Encounter", "id": "e2", "status": "in-progress",
     "subject": {"reference": "Patient/p2"}, "actualPeriod": {"start": "2024-03-01"}},
    {"resourceType": "RiskAssessment", "id": "r1", "status": "final",
     "subject": {"reference": "Patient/p1"}, "prediction": [{"probabilityDecimal": 0.9}]},
    {"resourceType": "RiskAssessment", "id": "r2", "status": "final",
     "subject": {"reference": "Patient/p2"}, "prediction": [{"probabilityDecimal": 0.25}]},
    {"resourceType": "ValueSet", "id": "v1", "status": "active", "url": "http://a.uz/vs/one"},
    {"resourceType": "ValueSet", "id": "v2", "status": "active", "url": "http://a.uz/vs/one/two"},
    {"resourceType": "ValueSet", "id": "v3", "status": "draft", "url": "http://a.uz/vs/only"},
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(any_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(any_database_url)
    database = await Database.open(any_database_url, SETTINGS)
    for content in WORLD:
        await write.write(database, SCOPE, audit(), written(content))
    yield database
    await database.close()


async def ask(db: Database, request: str, scope: Scope = SCOPE) -> SearchPage:
    """The page of a request such as `Patient?name=x`, its pairs written without url escapes."""
    type_name, _, rest = request.partition("?")
    pairs = [(name, value) for name, _, value in
             (pair.partition("=") for pair in rest.split("&") if pair)]
    query = parse(type_name, pairs, settings=SETTINGS, strict=True)
    return await search.search(db, scope, audit(), query)


def ids(page: SearchPage, mode: str = "match") -> list[str]:
    return [hit.record.id for hit in page.hits if hit.mode == mode]


CASES = {
    # Strings: start of any part, in any script; exact; contained.
    "Patient?name=karimov": "p1 p2 p3",
    "Patient?name=КАРИМОВА": "p1 p3",
    "Patient?family=karimova&birthdate=1992-03-12": "p1",
    "Patient?family:exact=Karimova": "p1",
    "Patient?family:exact=karimova": "",
    "Patient?family:contains=rimo": "p1 p2 p3",
    "Patient?name:contains=lm": "p3",
    "Patient?family=obrien\\, jr": "p4",
    "Patient?given=a\\$b\\|c": "p4",
    "Patient?given=a\\$c": "",
    "Patient?name=aziz,olma": "p2 p3",
    "Patient?name=karim&name=aziz": "p2",
    "Patient?phonetic=Каримов": "p1 p2 p3",
    "Observation?patient.phonetic=Каримова&code=8867-4": "o1",
    # Tokens.
    "Patient?gender=female": "p1 p3",
    "Patient?gender=female,unknown": "p1 p3 p4",
    "Patient?gender:not=female": "p2 p4",
    "Patient?gender:not=female,unknown": "p2",
    "Patient?identifier=41203920000001": "p1 p2",
    "Patient?identifier=urn:pinfl|41203920000001": "p1",
    "Patient?identifier=urn:pinfl|": "p1",
    "Patient?identifier=|41203920000001": "",
    "Patient?identifier=urn:pinfl|41203920000001,urn:passport|41203920000001": "p1 p2",
    "Patient?identifier=urn:pinfl|x,urn:passport|41203920000001": "p2",
    "Patient?active=true": "p2",
    "Patient?gender=http://hl7.org/fhir/administrative-gender|female": "p1 p3",
    "Patient?gender=urn:x|female": "",
    "Observation?status=http://hl7.org/fhir/observation-status|final&patient=p1": "o1 o2 o4",
    "Patient?active:missing=true": "p1 p3 p4",
    "Patient?identifier:missing=false": "p1 p2",
    "Patient?_tag=urn:t|demo": "p3",
    "Patient?_profile=http://a.uz/sd/x": "p3",
    "Patient?phone=+998901234567": "p1",
    "Patient?_id=p1,p3,none": "p1 p3",
    "Patient?_id=p1&gender=male": "",
    "Patient?_id:not=p1": "p2 p3 p4",
    "Patient?gender=female&_id=p3": "p3",
    # Dates.
    "Patient?birthdate=1992": "p1 p3",
    "Patient?birthdate=1992-03": "p1 p3",
    "Patient?birthdate=1992-03-12": "p1",
    "Patient?birthdate=ne1992-03-12": "p2 p3 p4",
    "Patient?birthdate=gt1992-03-12": "p3 p4",
    "Patient?birthdate=ge1992-03-12": "p1 p3 p4",
    "Patient?birthdate=lt1992-03-12": "p2 p3",
    "Patient?birthdate=le1992-03-12": "p1 p2 p3",
    "Patient?birthdate=sa1992-03-12": "p4",
    "Patient?birthdate=eb1992-03-12": "p2",
    "Patient?birthdate=ap1992-04-01": "p1 p3",
    "Patient?birthdate=1970-12-01,2001-01-31": "p2 p4",
    "Observation?date=2024-05-01": "o1",
    "Observation?date=2024-05-01T05:00:00Z": "o1",
    "Encounter?date=2024": "e1",
    "Encounter?date=gt2024-05": "e2",
    "Encounter?date=2024-02": "",
    "Encounter?date=ap2024-02": "e1 e2",
    "Encounter?date=sa2024-02": "e2",
    "Encounter?date=lt2024-01-15": "e1",
    "Encounter?date=eb2024-05": "e1",
    # Numbers and quantities.
    "RiskAssessment?probability=0.9": "r1",
    "RiskAssessment?probability=gt0.25": "r1",
    "RiskAssessment?probability=ge0.25": "r1 r2",
    "RiskAssessment?probability=lt0.9": "r2",
    "RiskAssessment?probability=le0.25,ge0.9": "r1 r2",
    "RiskAssessment?probability=ne0.9": "r2",
    "RiskAssessment?probability=sa0.25": "r1",
    "RiskAssessment?probability=eb0.9": "r2",
    "RiskAssessment?probability=ap0.26": "r2",
    "RiskAssessment?probability=0.3": "r2",  # 0.25 lies in [0.25, 0.35).
    "Observation?value-quantity=70.5|http://unitsofmeasure.org|kg": "o2",
    "Observation?value-quantity=80.5|http://unitsofmeasure.org|kg": "o3",
    "Observation?value-quantity=gt70500|http://unitsofmeasure.org|g": "o3",
    "Observation?value-quantity=80500||g": "o3",
    "Observation?value-quantity=72": "o1",
    "Observation?value-quantity=le72": "o1 o2",
    # References.
    "Observation?subject=Patient/p1": "o1 o2 o4",
    "Observation?patient=p1": "o1 o2 o4",
    "Observation?patient=Patient/p1&code=8867-4": "o1",
    "Observation?subject:Patient=p2": "o3 o5 o6",
    "Observation?subject=https://dmed.example/fhir/Patient/p2": "o3 o5 o6",
    "Observation?subject=Group/p1": "",
    "Observation?subject=p1,p2&code=29463-7": "o2 o3",
    "Patient?organization=Organization/org1": "p1",
    "Observation?performer:missing=false": "o1",
    # Addresses.
    "ValueSet?url=http://a.uz/vs/one": "v1",
    "ValueSet?url:below=http://a.uz/vs/one": "v1 v2",
    "ValueSet?url:below=http://a.uz/vs": "v1 v2 v3",
    "ValueSet?url:above=http://a.uz/vs/one/two/three": "v1 v2",
    "ValueSet?url:contains=onl": "v3",
    "ValueSet?url:missing=true": "",
    "ValueSet?url:missing=false": "v1 v2 v3",
    # Composites: of the record, and inside a component.
    "Observation?code-value-quantity=http://loinc.org|29463-7$gt75||kg": "o3",
    "Observation?code-value-quantity=29463-7$lt75": "o2",
    "Observation?code-value-quantity=8867-4$72,29463-7$70.5": "o1 o2",
    "Observation?component-code-value-quantity=8480-6$gt140": "o4",
    "Observation?component-code-value-quantity=http://loinc.org|8462-4$gt140": "o5",
    "Observation?component-code-value-quantity=8480-6$gt140|http://unitsofmeasure.org|mm[Hg]": "o4",
    "Observation?component-code-value-quantity=urn:x|8480-6$gt140": "",
    "Observation?component-code-value-quantity=8480-6$gt140,8462-4$gt140": "o4 o5",
    "Observation?combo-code-value-quantity=8867-4$72": "o1",
    "Observation?code-value-string=11111-1$yaxshi holat": "o6",
    "Observation?code-value-string=11111-1$other": "",
    "Observation?code-value-string=http://loinc.org|11111-1$Yaxshi HOLAT": "o6",
    # Chains, both ways.
    "Observation?patient.name=aziz": "o3 o5 o6",
    "Observation?subject:Patient.identifier=urn:pinfl|41203920000001": "o1 o2 o4",
    "Observation?subject:Patient.organization.name=yunus": "o1 o2 o4",
    "Patient?organization.partof.name=yunus": "p2",
    "Observation?subject.birthdate=1970-12-01": "o3 o5 o6",
    "Observation?performer:Practitioner.name=nobody": "",
    "Patient?_has:Observation:patient:code=8867-4": "p1",
    "Patient?_has:Observation:patient:code=29463-7&gender=male": "p2",
    "Patient?_has:Observation:patient:code=99999-9": "",
    "Organization?_has:Patient:organization:_has:Observation:patient:code=8867-4": "org1",
    "Organization?_has:Patient:organization:name=aziz": "org2",
}


@pytest.mark.parametrize("request_", CASES, ids=str)
async def test_a_search_finds_these_and_no_others(db: Database, request_: str) -> None:
    """Each request finds exactly the records that the specification says, and counts them."""
    page = await ask(db, request_)

    assert " ".join(sorted(ids(page))) == CASES[request_]
    assert page.total == len(CASES[request_].split())


@pytest.mark.parametrize("request_", list(CASES)[::3], ids=str)
async def test_a_total_without_records_is_the_same(db: Database, request_: str) -> None:
    """`_summary=count` counts what the search finds, and `_total=accurate` too."""
    expected = len(CASES[request_].split())

    assert (await ask(db, f"{request_}&_summary=count")).total == expected
    assert (await ask(db, f"{request_}&_total=accurate&_count=1")).total == expected
    assert (await ask(db, f"{request_}&_total=none")).total is None
