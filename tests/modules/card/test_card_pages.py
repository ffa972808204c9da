"""The card over HTTP: who sees which part, marks, export by operation, the citizen's own pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.fhir import codec, validate
from dmed.modules.card.pages.entries import ENTRIES
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS
from dmed.trust.model import Role, Subject

WRITER = Subject(user="card-test", role=Role.SERVICE)
MED_ID = "https://dhp.uz/fhir/core/sid/pid/uz/medid"
ICD = "http://hl7.org/fhir/sid/icd-10"
THO = "http://terminology.hl7.org/CodeSystem/"


def _person(id_: str, family: str, value: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "active": True, "gender": "male",
            "birthDate": "1970-05-05", "name": [{"text": f"{family} Sinov", "family": family}],
            "identifier": [{"use": "official", "system": "urn:card-test", "value": value}]}


def _condition(id_: str, person: str, code: str, text: str) -> dict[str, Any]:
    return {"resourceType": "Condition", "id": id_, "subject": {"reference": f"Patient/{person}"},
            "clinicalStatus": {"coding": [{"system": f"{THO}condition-clinical",
                                           "code": "active"}]},
            "code": {"coding": [{"system": ICD, "code": code}], "text": text},
            "recordedDate": "2024-01-01"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """One worker, two persons, and the citizen who is the first of them."""
    made = await open_platform()
    await made.guard.identity.save_demo(tuple(
        msgspec.structs.replace(one, patient="card-one") if one.role is Role.CITIZEN else one
        for one in DEMO_ACCOUNTS))
    async with made.gateway.unit(WRITER) as unit:
        for record in (
            _person("card-one", "Birinchiyev", "1"), _person("card-two", "Ikkinchiyev", "2"),
            _condition("c1", "card-one", "I12.9", "Gipertoniya <b>"),
            _condition("c2", "card-one", "I12.9", "Gipertoniya"),
            _condition("c3", "card-two", "E11.9", "Qandli diabet"),
            _condition("c4", "card-one", "O99.0", "Homiladorlikda kamqonlik"),
            {"resourceType": "Encounter", "id": "e1", "status": "in-progress",
             "class": [{"coding": [{"system": f"{THO}v3-ActCode", "code": "AMB"}]}],
             "subject": {"reference": "Patient/card-one"},
             "participant": [{"actor": {"reference": "Practitioner/card-doctor"}}],
             "actualPeriod": {"start": "2026-11-01T09:00:00+05:00"}},
        ):
            await unit.update(record["resourceType"], record["id"], record)
    doctor = next(one for one in DEMO_ACCOUNTS if one.user == "doctor")
    await made.guard.identity.save(
        msgspec.structs.replace(doctor, practitioner="card-doctor"), DEMO_PASSWORDS["doctor"])
    return made


@asynccontextmanager
async def _browser(platform: Platform, user: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test",
                                 cookies={"dmed_language": "en"}) as here:
        answer = await here.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        assert answer.status_code == 303
        yield here


async def _token(here: httpx.AsyncClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', (await here.get(path)).text)
    assert found is not None
    return found[1]


async def test_doubles_and_contradictions_are_shown_and_text_is_escaped(platform: Platform) -> None:
    """The first screen names both sides; what somebody wrote is never markup."""
    async with _browser(platform, "doctor") as here:
        page = (await here.get("/card/card-one")).text

    assert "One diagnosis is written twice" in page
    assert "A diagnosis of pregnancy on the card of a man" in page
    assert "Gipertoniya &lt;b&gt;" in page
    assert "Gipertoniya <b>" not in page
    assert "proves nothing" in page


@pytest.mark.parametrize("what", ENTRIES)
async def test_a_fact_is_entered_from_the_card(platform: Platform, what: str) -> None:
    """Each form opens beside the card and as a part of it; what is missing is told on the form."""
    path = f"/card/card-two/add/{what}"
    async with _browser(platform, "doctor") as here:
        whole = await here.get(path)
        part = await here.get(path, headers={"HX-Request": "true"})
        token = await _token(here, path)
        answer = await here.post(path, data={"csrf_token": token})

    assert whole.status_code == part.status_code == 200
    assert "Ikkinchiyev" in whole.text
    assert "<html" in whole.text
    assert "<html" not in part.text
    assert answer.status_code in {400, 422}, answer.text


async def test_the_sentence_about_hidden_records_is_always_the_same(platform: Platform) -> None:
    """It stands on a card that hides something and on one that does not, letter by letter."""
    await platform.gateway.update(WRITER, "Condition", "c9", _condition(
        "c9", "card-one", "F20.0", "Shizofreniya"))
    async with _browser(platform, "doctor") as here:
        with_hidden = (await here.get("/card/card-one")).text
        await platform.gateway.delete(WRITER, "Condition", "c9")
        without = (await here.get("/card/card-one")).text

    def plain(page: str) -> str:
        return re.sub(r'csrf_token" value="[^"]*"|X-CSRF-Token": "[^"]*"', "", page)

    assert "Shizofreniya" not in with_hidden
    assert plain(with_hidden) == plain(without)


async def test_a_citizen_sees_the_own_card_and_no_other(platform: Platform) -> None:
    """The own card opens in plain words; another's is not found on every address."""
    async with _browser(platform, "citizen") as here:
        own = await here.get("/my")
        others = [(await here.get(path)).status_code for path in (
            "/my/card/card-two", "/my/card/card-two?tab=problems", "/my/card/card-two/card.pdf",
            "/my/card/card-two/summary.json", "/my/card/card-two/dispute?about=Condition/c3",
            "/my/card/card-one/dispute?about=Condition/c3", "/my/card/card-two/results/718-7")]
        staff = (await here.get("/card/card-one")).status_code

    assert own.status_code == 200
    assert "This is your one card" in own.text
    assert "This is wrong" in own.text
    assert others == [404] * 7
    assert staff == 403


async def test_an_objection_is_marked_for_the_doctor_and_answered(platform: Platform) -> None:
    """Posted by the citizen with two letters it is asked again; then the doctor's card shows it."""
    place = "/my/card/card-one/dispute?about=Condition/c2"
    async with _browser(platform, "citizen") as here:
        token = await _token(here, place)
        short = await here.post(place, data={"csrf_token": token, "said": "a"})
        sent = await here.post(place, data={"csrf_token": token, "said": "<i>I never had it</i>"})
        again = await here.post(place, data={"csrf_token": token, "said": "I never had it"})
    async with _browser(platform, "doctor") as here:
        page = (await here.get("/card/card-one?tab=problems")).text
        number = re.search(r"/card/card-one/disputes/([\w.-]+)", page)
        assert number is not None
        answered = await here.post(number[0], data={
            "csrf_token": await _token(here, "/card/card-one"), "said": "It will be looked into"})
        after = (await here.get("/card/card-one?tab=problems")).text

    assert (short.status_code, sent.status_code, again.status_code) == (422, 303, 409)
    assert "&lt;i&gt;I never had it" in page
    assert "disputed" in page
    assert answered.status_code == 303
    assert "It will be looked into" in after


@pytest.mark.parametrize("address", [
    "/fhir/Patient/card-one/$summary", "/fhir/Patient/$summary?identifier=urn:card-test|1"])
async def test_the_operation_gives_the_document(platform: Platform, address: str) -> None:
    """On the record and by identifier: a Bundle that our validator finds sound."""
    token = await platform.guard.identity.issue_token("service")
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test",
                                 headers={"Authorization": f"Bearer {token}"}) as here:
        answer = await here.get(address)
        bundle = codec.decode(answer.content, "Bundle")

    assert answer.status_code == 200
    assert [one for one in validate.validate(bundle) if one.severity in ("error", "fatal")] == []
    assert bundle.entry[1].resource.id == "card-one"


@pytest.mark.parametrize(("address", "status"), [
    ("/fhir/Patient/$summary", 400), ("/fhir/Patient/$summary?identifier=urn:card-test|9", 404),
    ("/fhir/Patient/card-one/$summary?what=x", 400),
    ("/fhir/Patient/card-one/$summary?profile=http://else", 422),
    ("/fhir/Patient/none/$summary", 404)])
async def test_what_the_operation_refuses(platform: Platform, address: str, status: int) -> None:
    """Nobody, an unknown number, an unknown parameter, another profile: each has its answer."""
    token = await platform.guard.identity.issue_token("service")
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test",
                                 headers={"Authorization": f"Bearer {token}"}) as here:
        answer = await here.get(address)

    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
