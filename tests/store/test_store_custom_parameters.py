"""Search parameters of one's own that join values or find by distance, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from searching import SETTINGS, ask, ids, person, put

from dmed.fhir import codec, params, params_custom
from dmed.store import schema
from dmed.store.pool import Database

_R5 = "http://hl7.org/fhir/SearchParameter/"
_GEO = "http://hl7.org/fhir/StructureDefinition/geolocation"


def definition(code: str, type_: str, base: str, expression: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "SearchParameter", "url": f"http://x.org/{code}", "name": "X",
            "status": "active", "description": "x", "code": code, "base": [base], "type": type_,
            "processingMode": "normal", "expression": expression, **more}


def part(definition_: str, expression: str) -> dict[str, str]:
    return {"definition": definition_, "expression": expression}


CONTACT = definition("contact-kin", "token", "Patient", "Patient.contact.relationship")
NAMED = definition("contact-name", "string", "Patient", "Patient.contact.name")
JOINED = definition("kin-name", "composite", "Patient", "Patient.contact", component=[
    part("http://x.org/contact-kin", "relationship"), part("http://x.org/contact-name", "name")])
WHOLE = definition("status-date", "composite", "Observation", "Observation", component=[
    part(f"{_R5}Observation-status", "status"), part(f"{_R5}clinical-date", "effective")])
HOME = definition("home-near", "special", "Patient",
                  f"Patient.address.extension('{_GEO}')")
SERVED = [CONTACT, NAMED, JOINED, WHOLE, HOME]


def facts_of(*contents: dict[str, Any]) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for content in contents:
        found |= params_custom.definitions(codec.decode(json.dumps(content).encode()))
        params.install(found)
    return found


@pytest.fixture(autouse=True, scope="module")
def installed() -> Iterator[None]:
    """The parameters, served in this process while the tests of this file run."""
    params.install({})
    assert len(facts_of(*SERVED)) == len(SERVED)
    yield
    params.install({})


def home(latitude: float, longitude: float) -> list[dict[str, Any]]:
    return [{"city": "Toshkent", "extension": [{"url": _GEO, "extension": [
        {"url": "latitude", "valueDecimal": latitude},
        {"url": "longitude", "valueDecimal": longitude}]}]}]


def kin(code: str, family: str) -> dict[str, Any]:
    return {"relationship": [{"coding": [{"system": "urn:k", "code": code}]}],
            "name": {"family": family}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str, installed: None) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    for content in (
        person(1, contact=[kin("M", "Alieva"), kin("F", "Bekov")], address=home(41.30, 69.24)),
        person(2, contact=[kin("M", "Bekova"), kin("F", "Aliev")], address=home(41.33, 69.24)),
        {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"},
         "effectiveDateTime": "2024-05-01"},
        {"resourceType": "Observation", "id": "o2", "status": "amended", "code": {"text": "x"},
         "effectiveDateTime": "2024-05-01"},
    ):
        await put(database, content)
    yield database
    await database.close()


@pytest.mark.parametrize(("request_", "expected"), [
    ("Patient?contact-kin=M", "p001 p002"),
    ("Patient?kin-name=M$alieva", "p001"), ("Patient?kin-name=urn:k|F$aliev", "p002"),
    ("Patient?kin-name=F$ali", ""),
    ("Patient?kin-name=urn:x|M$alieva", ""), ("Patient?kin-name=M$bekov", ""),
    ("Patient?kin-name=M$alieva,F$aliev", "p001 p002"),
    ("Patient?kin-name:missing=false", "p001 p002"),
    ("Observation?status-date=final$2024-05", "o1"), ("Observation?status-date=final$2023", ""),
    ("Patient?home-near=41.29|69.24|2|km", "p001"), ("Patient?home-near=0|0", ""),
    ("Patient?home-near=41.29|69.24|20|km&_sort=home-near", "p001 p002"),
    ("Patient?home-near=41.29|69.24|20|km&_sort=-home-near", "p002 p001"),
])  # fmt: skip  # A table.
async def test_joined_values_and_places_are_found(
    db: Database, request_: str, expected: str
) -> None:
    """A composite joins what stands in one element; a place of one's own has a distance."""
    found = ids(await ask(db, request_))

    assert (found if "_sort" in request_ else sorted(found)) == expected.split()


@pytest.mark.parametrize(("change", "place"), [
    ({"component": [part("http://x.org/contact-kin", "relationship")]}, "component"),
    ({"component": [part("http://x.org/none", "relationship"),
                    part("http://x.org/contact-name", "name")]}, "component[0].definition"),
    ({"component": [part(f"{_R5}Observation-status", "relationship"),
                    part("http://x.org/contact-name", "name")]}, "component[0].definition"),
    ({"component": [part("http://x.org/contact-kin", "relationship.first()"),
                    part("http://x.org/contact-name", "name")]}, "component[0].expression"),
    ({"component": [part("http://x.org/contact-kin", "relation"),
                    part("http://x.org/contact-name", "name")]}, "type"),
    ({"component": [part("http://x.org/kin-name", "relationship"),
                    part("http://x.org/contact-name", "name")]}, "component[0].definition"),
    ({"expression": "Patient.contact.first()"}, "expression"),
    ({"type": "special", "expression": "Patient.contact"}, "expression"),
    ({"type": "special", "expression": "Patient.name"}, "expression"),
])  # fmt: skip  # A table.
def test_what_cannot_be_joined_is_told(change: dict[str, Any], place: str) -> None:
    """A composite or special parameter that could find nothing is refused with the place."""
    content = {**JOINED, "code": "other", "url": "http://x.org/other", **change}
    if content["type"] == "special":
        del content["component"]
    found = params_custom.faults(codec.decode(json.dumps(content).encode()))

    assert f"SearchParameter.{place}" in [issue.expression for issue in found], found
