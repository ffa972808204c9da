"""$validate, and writes that claim an installed profile, over a real installation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from dmed.trust import guides

PROFILE = "https://example.uz/StructureDefinition/named-patient"


def profile(*, needs: str = "Patient.birthDate", version: str = "1") -> dict[str, Any]:
    """A profile of Patient that needs one element more."""
    return {
        "resourceType": "StructureDefinition", "id": "named-patient", "url": PROFILE,
        "version": version, "name": "NamedPatient", "status": "active", "kind": "resource",
        "abstract": False, "type": "Patient", "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {"element": [{"id": needs, "path": needs, "min": 1}]},
    }  # fmt: skip  # A record reads better filled.


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "meta": {"profile": [PROFILE]}, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def installed(room: Any) -> AsyncIterator[None]:
    """The profile, stored and learnt."""
    service = room.client("service")
    answer = await service.put("/StructureDefinition/named-patient", json=profile())
    assert answer.status_code == 201, answer.text
    await guides.start(room.database, room.settings)
    yield
    guides.forget()


def said(answer: httpx.Response) -> list[tuple[str, str, str]]:
    return [(each["severity"], each["code"], (each.get("expression") or [""])[0])
            for each in answer.json()["issue"]]


async def test_a_write_that_breaks_its_profile_is_refused(service: httpx.AsyncClient) -> None:
    """A record that claims an installed profile and breaks it is 422 with the place; else 201."""
    refused = await service.post("/Patient", json=patient())

    assert refused.status_code == 422
    assert said(refused) == [("error", "required", "Patient")]
    assert "birthDate is required by the profile" in refused.text
    assert (await service.post("/Patient", json=patient(birthDate="1990"))).status_code == 201
    assert (await service.post("/Patient", json={"resourceType": "Patient"})).status_code == 201


async def test_a_transaction_is_held_to_profiles_too(service: httpx.AsyncClient) -> None:
    """The entry that breaks its profile is named, and nothing of the Bundle is stored."""
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": patient(), "request": {"method": "POST", "url": "Patient"}}]}
    answer = await service.post("/", json=bundle)

    assert answer.status_code in {400, 422}
    assert said(answer) == [("error", "required", "Bundle.entry[0].resource")]


async def test_validate_answers_200_with_what_it_found(service: httpx.AsyncClient) -> None:
    """$validate on the type tells faults of form, of R5 and of profiles; a sound record passes."""
    broken = await service.post("/Patient/$validate", json=patient(gender="m"))
    form = await service.post("/Patient/$validate", json={"resourceType": "Patient", "nam": 1})
    sound = await service.post("/Patient/$validate", json=patient(birthDate="1990"))

    assert (broken.status_code, form.status_code, sound.status_code) == (200, 200, 200)
    assert ("error", "code-invalid", "Patient.gender") in said(broken)
    assert ("error", "required", "Patient") in said(broken)
    assert said(form)[0][0] == "error"
    assert said(sound) == [("information", "informational", "")]


async def test_validate_takes_parameters(service: httpx.AsyncClient) -> None:
    """The resource, the profile and the mode come in Parameters as well as in the address."""
    body = {"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": {"resourceType": "Patient"}},
        {"name": "profile", "valueCanonical": PROFILE},
        {"name": "mode", "valueCode": "create"}]}
    inside = await service.post("/Patient/$validate", json=body)
    address = await service.post(
        "/Patient/$validate", params={"profile": PROFILE}, json={"resourceType": "Patient"})
    unknown = await service.post("/Patient/$validate", params={"profile": "https://x.uz/none"},
                                 json={"resourceType": "Patient"})
    wrong = await service.post("/Patient/$validate", params={"mode": "perhaps"}, json=patient())

    assert said(inside) == said(address) == [("error", "required", "Patient")]
    assert ("error", "not-found", "Patient") in said(unknown)
    assert wrong.status_code == 400


async def test_validate_reads_the_stored_record(service: httpx.AsyncClient) -> None:
    """On a record $validate looks at what is stored; on a type it needs a body."""
    made = await service.post("/Patient", json={"resourceType": "Patient"})
    place = f"/Patient/{made.json()['id']}/$validate"
    plain = await service.get(place)
    held = await service.get(place, params={"profile": PROFILE})
    nothing = await service.post("/Patient/$validate")

    assert said(plain) == [("information", "informational", "")]
    assert said(held) == [("error", "required", "Patient")]
    assert nothing.status_code == 400


async def test_mode_asks_for_rights(pharmacist: httpx.AsyncClient) -> None:
    """`mode=create` tells who may not create what the record is."""
    answer = await pharmacist.post("/Patient/$validate", params={"mode": "create"},
                                   json=patient(birthDate="1990"))

    assert answer.status_code == 200
    assert said(answer)[0][:2] == ("error", "forbidden")


async def test_a_new_version_of_a_guide_counts_without_restart(
    room: Any, service: httpx.AsyncClient
) -> None:
    """The worker learns of a changed, a removed and a new profile by looking at the store."""
    assert await guides.refresh(room.database) is False
    changed = profile(needs="Patient.gender", version="2")
    assert (await service.put("/StructureDefinition/named-patient", json=changed)).is_success
    assert await guides.refresh(room.database) is True
    assert (await service.post("/Patient", json=patient(birthDate="1990"))).status_code == 422
    assert (await service.post("/Patient", json=patient(gender="male"))).status_code == 201

    assert (await service.delete("/StructureDefinition/named-patient")).is_success
    assert await guides.refresh(room.database) is True
    assert (await service.post("/Patient", json=patient())).status_code == 201

    assert (await service.put("/StructureDefinition/named-patient", json=profile())).is_success
    assert await guides.refresh(room.database) is True


async def test_the_setting_switches_it_off(room: Any) -> None:
    """With DMED_VALIDATE_PROFILES=false records are stored as R5 allows; $validate still tells."""
    other = room.variant(validate_profiles=False)
    await guides.start(room.database, other.settings)
    try:
        client = other.client("service")
        assert (await client.post("/Patient", json=patient())).status_code == 201
        told = await client.post("/Patient/$validate", json=patient())
        assert ("error", "required", "Patient") in said(told)
    finally:
        await guides.start(room.database, room.settings)
