"""The shapes of IHE mCSD on R5: find (ITI-90), updates (ITI-91) and feed (ITI-130).

https://profiles.ihe.net/ITI/mCSD/: the profile is written on R4; here its transactions are asked of
R5 with data of our own in the shape of its examples. No conformance is claimed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.store.schema import migrate
from dmed.trust.tables import DDL

FACILITY = "https://profiles.ihe.net/ITI/mCSD/StructureDefinition/IHE.mCSD.FacilityOrganization"
KIND = "https://profiles.ihe.net/ITI/mCSD/CodeSystem/IHEFacilityDirectory"


def organisation(id_: str, name: str, above: str = "", **more) -> dict:
    """An Organization in the shape of the specification's examples."""
    part = {"partOf": {"reference": f"Organization/{above}"}} if above else {}
    return {
        "resourceType": "Organization", "id": id_, "meta": {"profile": [FACILITY]},
        "identifier": [{"system": "urn:ietf:rfc:3986",
                        "value": f"urn:oid:2.999.{len(name)}.{id_}"}],
        "active": True, "type": [{"coding": [{"system": KIND, "code": "facility"}]}],
        "name": name, **part, **more}


def location(id_: str, name: str, owner: str, latitude: float, longitude: float) -> dict:
    """A Location of a facility with its position."""
    return {
        "resourceType": "Location", "id": id_, "status": "active", "name": name, "mode": "instance",
        "type": [{"coding": [{"system": KIND, "code": "facility"}]}],
        "position": {"latitude": latitude, "longitude": longitude},
        "managingOrganization": {"reference": f"Organization/{owner}"}}


def service(id_: str, name: str, owner: str, place: str) -> dict:
    """A HealthcareService offered at a Location."""
    return {
        "resourceType": "HealthcareService", "id": id_, "active": True, "name": name,
        "providedBy": {"reference": f"Organization/{owner}"},
        "location": [{"reference": f"Location/{place}"}],
        "type": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/service-type",
                              "code": "57", "display": "Immunization"}]}]}


def feed(*entries: dict) -> dict:
    """Request Care Services Updates feed: a transaction of PUTs (ITI-130)."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": f"http://feed.example.org/{one['resourceType']}/{one['id']}", "resource": one,
         "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in entries]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def consumer(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A directory that was fed, and a system that asks it."""
    settings = Settings(data=tmp_path_factory.mktemp("directory"),
                        database_url=module_database_url, pool_size=4)
    await migrate(module_database_url, [*DDL, *(line for one in MODULES for line in one.ddl)])
    platform = Platform(settings)
    await platform.open()
    await platform.guard.identity.save_demo()
    token = await platform.guard.identity.issue_demo_token("service")
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
    here = httpx.AsyncClient(transport=transport, base_url="http://localhost/fhir", headers={
        "authorization": f"Bearer {token}", "content-type": "application/fhir+json"})
    answer = await here.post("", json=feed(
        organisation("mc-ministry", "Ministry of the example"),
        organisation("mc-hospital", "Hospital of the example", "mc-ministry"),
        location("mc-site", "Hospital site", "mc-hospital", 41.31, 69.28),
        location("mc-far", "Far clinic", "mc-hospital", 39.65, 66.96),
        service("mc-vaccination", "Vaccination", "mc-hospital", "mc-site")))
    assert answer.status_code == 200, answer.text
    assert [one["response"]["status"] for one in answer.json()["entry"]] == ["201 Created"] * 5
    yield here
    await here.aclose()
    await platform.close()


async def ids(consumer: httpx.AsyncClient, query: str) -> list[str]:
    """The ids that a search finds, in order of name."""
    answer = await consumer.get(query, headers={"prefer": "handling=strict"})
    assert answer.status_code == 200, answer.text
    return sorted(one["resource"]["id"] for one in answer.json().get("entry", []))


@pytest.mark.parametrize(("query", "found"), [
    ("/Organization?active=true&name:contains=hospital", ["mc-hospital"]),
    ("/Organization?partof=Organization/mc-ministry", ["mc-hospital"]),
    ("/Organization?name:exact=Hospital of the example", ["mc-hospital"]),
    (f"/Organization?type={KIND}|facility&partof:missing=true", ["mc-ministry"]),
    (f"/Organization?identifier={quote('urn:ietf:rfc:3986')}|urn:oid:2.999.23.mc-hospital",
     ["mc-hospital"]),
    ("/Organization?_id=mc-hospital&_include=Organization:partof", ["mc-hospital", "mc-ministry"]),
    ("/Organization?_id=mc-hospital&_revinclude=Location:organization",
     ["mc-far", "mc-hospital", "mc-site"]),
    ("/Location?near=41.30|69.27|10|km", ["mc-site"]),
    ("/Location?organization=Organization/mc-hospital&status=active", ["mc-far", "mc-site"]),
    ("/Location?organization.name=Hospital", ["mc-far", "mc-site"]),
    ("/HealthcareService?location=Location/mc-site", ["mc-vaccination"]),
    ("/HealthcareService?service-type=57&active=true", ["mc-vaccination"]),
    ("/HealthcareService?organization=Organization/mc-hospital&name=vacc", ["mc-vaccination"]),
])  # fmt: skip  # A case a line.
async def test_find_matching_care_services(consumer, query, found):
    """ITI-90: the searches that the profile lists for each type."""
    assert await ids(consumer, query) == found


async def test_a_care_service_is_retrieved(consumer):
    """ITI-90, retrieve: by id, and 404 as outcome where there is none."""
    found = await consumer.get("/HealthcareService/mc-vaccination")
    gone = await consumer.get("/HealthcareService/mc-nothing")

    assert found.json()["name"] == "Vaccination"
    assert (gone.status_code, gone.json()["resourceType"]) == (404, "OperationOutcome")


async def test_updates_since_a_moment(consumer):
    """ITI-91: the history of a type since a moment holds each change once, newest first, with its
    method; a deleted place has no content.
    """
    await consumer.put("/Location/mc-moved", json=location(
        "mc-moved", "Before", "mc-hospital", 41.0, 69.0))
    await asyncio.sleep(1.1)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    await consumer.put("/Location/mc-moved", json=location(
        "mc-moved", "After", "mc-hospital", 41.0, 69.0))
    await consumer.put("/Location/mc-new", json=location("mc-new", "New", "mc-hospital", 41, 69))
    await consumer.delete("/Location/mc-new")
    answer = await consumer.get(f"/Location/_history?_since={quote(since)}")
    bundle = answer.json()

    assert bundle["type"] == "history"
    assert [(one["request"]["method"], one["request"]["url"].partition("/_history")[0])
            for one in bundle["entry"]] == [
        ("DELETE", "Location/mc-new"), ("PUT", "Location/mc-new"), ("PUT", "Location/mc-moved")]
    assert "resource" not in bundle["entry"][0]
    assert bundle["entry"][2]["resource"]["name"] == "After"


async def test_a_feed_is_taken_whole_or_not_at_all(consumer):
    """ITI-130: updates and a delete in one transaction; one that breaks the tree or holds a wrong
    record changes nothing.
    """
    extra = location("mc-closed", "Closed", "mc-hospital", 41.1, 69.1)
    await consumer.put("/Location/mc-closed", json=extra)
    good = feed(organisation("mc-hospital", "Hospital of the example", "mc-ministry",
                             description="Renamed by the feed"))
    good["entry"].append({"request": {"method": "DELETE", "url": "Location/mc-closed"}})
    done = await consumer.post("", json=good)
    circle = await consumer.post("", json=feed(
        organisation("mc-ministry", "Ministry moved", "mc-hospital"),
        location("mc-site", "Site moved", "mc-hospital", 41.31, 69.28)))
    wrong = feed(location("mc-site", "Site moved", "mc-hospital", 41.31, 69.28))
    wrong["entry"][0]["resource"]["status"] = "operational"
    refused = await consumer.post("", json=wrong)
    site = await consumer.get("/Location/mc-site")

    assert done.status_code == 200
    assert (await consumer.get("/Location/mc-closed")).status_code == 410
    assert (circle.status_code, refused.status_code) == (409, 400)
    assert "Location.status" in refused.text
    assert site.json()["name"] == "Hospital site"
