"""Oversight over HTTP on a real PostgreSQL: looks, disputes, cases, canaries, bulk requests."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, NotFoundError
from dmed.modules.oversight import api, service, tables
from dmed.modules.oversight.model import Case, Kind
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS, Account
from dmed.trust.model import Role, Subject

PINFL = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
SERVICE = Subject(user="service", role=Role.SERVICE)
ADMIN = Subject(user="admin", role=Role.ADMINISTRATOR)
SECOND = Subject(user="admin2", role=Role.ADMINISTRATOR)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """One worker with the demo accounts; the doctor and a colleague have Practitioner records."""
    made = await open_platform()
    clinic = (await made.gateway.create(SERVICE, "Organization", {
        "resourceType": "Organization", "name": "Klinika"})).id
    ids = {}
    for name, number in (("Karimova", "1"), ("Yusupov", "2")):
        ids[name] = (await made.gateway.create(SERVICE, "Practitioner", {
            "resourceType": "Practitioner", "name": [{"family": name}],
            "identifier": [{"system": PINFL, "value": number * 14}]})).id
    for account in DEMO_ACCOUNTS:
        changes: dict[str, Any] = {"organisation": clinic}
        if account.user == "doctor":
            changes["practitioner"] = ids["Karimova"]
        if account.user == "pharmacist":
            changes["practitioner"] = ids["Yusupov"]
        await made.guard.identity.save(
            msgspec.structs.replace(account, **changes), DEMO_PASSWORDS[account.user])
    return made


async def person(platform: Platform, family: str, pinfl: str = "") -> str:
    content: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": family}],
                               "gender": "female", "birthDate": "1980-05-05", "active": True}
    if pinfl:
        content["identifier"] = [{"system": PINFL, "value": pinfl}]
    return (await platform.gateway.create(SERVICE, "Patient", content)).id


class Reader(httpx.AsyncClient):
    """A browser that is signed in."""

    def __init__(self, platform: Platform, language: str = "en") -> None:
        super().__init__(
            transport=httpx.ASGITransport(app=platform),  # type: ignore[arg-type]  # A mapping.
            base_url="http://test", cookies={"dmed_language": language})

    async def enter(self, user: str) -> None:
        answer = await self.post(
            "/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        assert answer.status_code == 303, answer.text

    async def submit(self, path: str, shown: str, **fields: str) -> httpx.Response:
        page = (await self.get(shown)).text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        return await self.post(path, data={"csrf_token": found.group(1), **fields})


async def open_cases(platform: Platform) -> list[Case]:
    async with platform.gateway.unit(ADMIN) as unit:
        return await tables.cases(unit, closed=False, limit=200)


@pytest.mark.parametrize(("language", "said"), [
    ("en", "read your card"), ("ru", "прочитал вашу карту"), ("uz", "kartangizni o‘qidi"),
    ("uz-Cyrl", "картангизни ўқиди")])
async def test_a_person_sees_who_looked_in_plain_words(
    platform: Platform, language: str, said: str
) -> None:
    """The doctor's look stands on the page that the registrar opens beside the person."""
    patient = await person(platform, "Tosheva")
    doctor = await platform.guard.identity.subject_of("doctor")
    await platform.gateway.plain().read(doctor, "Patient", patient)
    async with Reader(platform, language) as registrar:
        await registrar.enter("registrar")
        page = await registrar.get(f"/card/{patient}/looked")

    assert page.status_code == 200
    assert said in page.text


async def test_a_dispute_opens_a_case_once(platform: Platform) -> None:
    """The person's words lead to a case for review; the answer comes back to the page."""
    patient = await person(platform, "Nazarova")
    doctor = await platform.guard.identity.subject_of("doctor")
    await platform.gateway.plain().read(doctor, "Patient", patient)
    async with Reader(platform) as registrar, Reader(platform) as admin:
        await registrar.enter("registrar")
        await admin.enter("admin")
        place = f"/card/{patient}/looked"
        page = (await registrar.get(place)).text
        lines = re.findall(r"Karimova.*?dispute=([0-9a-f-]+)", page, re.DOTALL)
        empty = await registrar.submit(
            place, f"{place}?dispute={lines[0]}", event=lines[0], said="")
        sent = await registrar.submit(
            place, f"{place}?dispute={lines[0]}", event=lines[0], said="I never met this doctor")
        again = await registrar.submit(
            place, f"{place}?dispute={lines[0]}", event=lines[0], said="I never met this doctor")
        foreign = await registrar.submit(
            place, f"{place}?dispute=x", event=f"{'0' * 13}-{'0' * 32}", said="not mine")
        case = next(one for one in await open_cases(platform) if one.patient == patient)
        queue = (await admin.get("/oversight")).text
        shown = f"/oversight/case/{case.number}"
        closed = await admin.submit(shown, shown, verdict="wrong", words="The doctor was told off")
        twice = await service_close(platform, case.number)
        answer = (await registrar.get(place)).text

    assert (empty.status_code, sent.status_code, again.status_code) == (422, 303, 409)
    assert foreign.status_code == 404
    assert (case.kind, case.subject, case.said) == (
        Kind.DISPUTE, "doctor", "I never met this doctor")
    assert "The person disputes the look" in queue
    assert (closed.status_code, twice) == (303, 409)
    assert "The doctor was told off" in answer


async def service_close(platform: Platform, number: int) -> int:
    from dmed.kit.errors import DmedError

    try:
        await service.close(platform.gateway, ADMIN, number, "right", "again")
    except DmedError as refusal:
        return refusal.status
    return 200


async def test_unusual_access_becomes_cases_with_reasons(platform: Platform) -> None:
    """The own card, a colleague's, a namesake's and a stranger's: each by its reason, once."""
    people = {"self": await person(platform, "Karimova", "1" * 14),
              "colleague": await person(platform, "Yusupov", "2" * 14),
              "namesake": await person(platform, "Karimova"),
              "stranger": await person(platform, "Sobirova")}
    doctor = await platform.guard.identity.subject_of("doctor")
    for patient in people.values():
        await platform.gateway.plain().read(doctor, "Patient", patient)
    now = clock.now()
    await api.find_unusual(platform.gateway, now - timedelta(hours=1), now + timedelta(seconds=5))
    again = await api.find_unusual(
        platform.gateway, now - timedelta(hours=1), now + timedelta(seconds=5))
    found = {one.patient: {finding.key.rpartition(".")[2] for finding in one.findings}
             for one in await open_cases(platform) if one.kind == Kind.UNUSUAL}

    assert found[people["self"]] >= {"self"}
    assert found[people["colleague"]] >= {"colleague"}
    assert found[people["namesake"]] >= {"namesake"}
    assert people["stranger"] not in found
    assert again == 0


async def test_care_makes_a_namesake_usual(platform: Platform) -> None:
    """The same family name in the care of the doctor's own clinic is no reason."""
    doctor = await platform.guard.identity.subject_of("doctor")
    patient = (await platform.gateway.create(SERVICE, "Patient", {
        "resourceType": "Patient", "name": [{"family": "Karimova"}],
        "managingOrganization": {"reference": f"Organization/{doctor.organisation}"}})).id
    await platform.gateway.plain().read(doctor, "Patient", patient)
    now = clock.now()
    await api.find_unusual(platform.gateway, now - timedelta(hours=1), now + timedelta(seconds=5))

    assert patient not in {one.patient for one in await open_cases(platform)}


async def test_a_canary_read_raises_a_case(platform: Platform) -> None:
    """Whoever reads the invented person is named within one turn of the job."""
    patient = await person(platform, "Hechkimova")
    await api.mark_canary(platform.gateway, ADMIN, patient, "nobody has a reason to read it")
    doctor = await platform.guard.identity.subject_of("doctor")
    await platform.gateway.plain().read(doctor, "Patient", patient)
    await api.look_through(platform.gateway)
    await api.look_through(platform.gateway)
    alarms = [one for one in await open_cases(platform) if one.kind == Kind.CANARY]

    assert {(one.patient, one.subject) for one in alarms} == {(patient, "doctor")}
    assert len(alarms) == 1


async def test_nobody_reviews_the_own_access(platform: Platform) -> None:
    """A case about an administrator waits for another one."""
    async with platform.gateway.unit(ADMIN) as unit:
        number = await tables.add_case(
            unit, mark="own", kind=Kind.UNUSUAL, subject="admin", patient="", findings=(),
            weight=50)
    assert number is not None

    assert await service_close(platform, number) == 403


async def test_bulk_reading_needs_two(platform: Platform) -> None:
    """Asked by one, approved by another, used once; a registered purpose may be used again."""
    gateway = platform.gateway
    number = await api.ask_bulk(
        gateway, ADMIN, "PUBHLTH", "Flu statistics", days=3, standing=False)
    with pytest.raises(ForbiddenError, match="waits for the approval"):
        await api.use_bulk(gateway, number)
    with pytest.raises(ForbiddenError, match="nobody approves"):
        await api.approve_bulk(gateway, ADMIN, number)
    await api.approve_bulk(gateway, SECOND, number)
    used = await api.use_bulk(gateway, number)
    with pytest.raises(ForbiddenError, match="used already"):
        await api.use_bulk(gateway, number)
    standing = await api.ask_bulk(
        gateway, ADMIN, "PUBHLTH", "Nightly figures", days=30, standing=True)
    await api.approve_bulk(gateway, SECOND, standing)
    for _ in range(2):
        await api.use_bulk(gateway, standing)
    noted = await platform.database.hot.fetchval(
        "SELECT count(*) FROM audit WHERE detail LIKE 'bulk reading by request%'")

    assert (used.asker, used.approver) == ("admin", "admin2")
    assert noted == 3


async def test_the_pages_of_bulk_requests(platform: Platform) -> None:
    """An administrator asks on the page; the own request waits for somebody else."""
    async with Reader(platform) as admin:
        await admin.enter("admin")
        sent = await admin.submit("/oversight/bulk", "/oversight/bulk", purpose="HRESCH",
                                  said="A study of asthma", days="5")
        page = (await admin.get("/oversight/bulk")).text
        wrong = await admin.submit("/oversight/bulk", "/oversight/bulk", purpose="FUN",
                                   said="For fun", days="5")
        canary = await admin.submit("/oversight/canary", "/oversight", patient="canary-1",
                                    said="An invented person")
        run = await admin.submit("/oversight/run", "/oversight")

    assert sent.status_code == canary.status_code == run.status_code == 303
    assert wrong.status_code == 400
    assert "A study of asthma" in page
    assert "waits for a second person" in page


@pytest.mark.parametrize("user", ["doctor", "pharmacist", "registrar"])
async def test_only_reviewers_see_the_queue(platform: Platform, user: str) -> None:
    """Others are refused at every address of the review."""
    async with Reader(platform) as here:
        await here.enter(user)
        statuses = [(await here.get(path)).status_code
                    for path in ("/oversight", "/oversight/bulk", "/oversight/case/1")]

    assert statuses == [403] * 3


async def test_a_citizen_disputes_a_look_at_the_own_record(platform: Platform) -> None:
    """From sign-in to the case: the person needs nobody beside him, and sees nobody else's page."""
    patient, other = await person(platform, "Odilova"), await person(platform, "Boshqa")
    await platform.guard.identity.save(
        Account(user="odilova", role=Role.CITIZEN, patient=patient, demo=True), "odilova-word")
    doctor = await platform.guard.identity.subject_of("doctor")
    await platform.gateway.plain().read(doctor, "Patient", patient)
    async with Reader(platform) as citizen:
        answer = await citizen.post(
            "/signin", data={"user": "odilova", "password": "odilova-word"})
        home = await citizen.get("/")
        mine = await citizen.get("/my/looked")
        place = mine.headers["location"]
        event = re.findall(r"Karimova.*?dispute=([0-9a-f-]+)", (await citizen.get(place)).text,
                           re.DOTALL)[0]
        sent = await citizen.submit(
            place, f"{place}?dispute={event}", event=event, said="I was abroad on that day")
        foreign = await citizen.get(f"/card/{other}/looked")
        staff = await citizen.get("/oversight")

    assert (answer.status_code, home.status_code, sent.status_code) == (303, 303, 303)
    assert (foreign.status_code, staff.status_code) == (404, 403)
    case = next(one for one in await open_cases(platform) if one.patient == patient)
    assert case.said == "I was abroad on that day"


async def test_a_head_sees_the_cases_of_the_own_staff_alone(platform: Platform) -> None:
    """The inspector sees every case; the head of another institution none of them."""
    identity = platform.guard.identity
    doctor = await identity.subject_of("doctor")
    async with platform.gateway.unit(ADMIN) as unit:
        number = await tables.add_case(
            unit, mark="head-test", kind=Kind.UNUSUAL, subject="doctor", patient="p",
            findings=(), weight=50)
    own = Subject(user="head", role=Role.HEAD, organisation=doctor.organisation)
    foreign = Subject(user="other", role=Role.HEAD, organisation="elsewhere")
    nowhere = Subject(user="third", role=Role.HEAD)
    inspector = Subject(user="inspector", role=Role.INSPECTOR)
    seen = {who.user: {one.number for one in await service.queue(platform.gateway, who)}
            for who in (own, foreign, nowhere, inspector)}

    assert number in seen["head"]
    assert number in seen["inspector"]
    assert seen["other"] == seen["third"] == set()
    assert number is not None
    with pytest.raises(NotFoundError):
        await service.case(platform.gateway, foreign, number)
    with pytest.raises(ForbiddenError):
        await service.canaries(platform.gateway, own)


async def test_care_begun_by_the_own_word_is_told_and_reviewed(platform: Platform) -> None:
    """A visit that nothing led to makes one case and one notice; one of an attached person none."""
    doctor = await platform.guard.identity.subject_of("doctor")
    stranger, attached = await person(platform, "Begona"), await person(platform, "Bizniki")
    await platform.gateway.update(SERVICE, "Patient", attached, {
        "resourceType": "Patient", "id": attached, "name": [{"family": "Bizniki"}],
        "managingOrganization": {"reference": f"Organization/{doctor.organisation}"}})
    for patient in (stranger, attached):
        await platform.gateway.create(doctor, "Encounter", {
            "resourceType": "Encounter", "status": "in-progress",
            "subject": {"reference": f"Patient/{patient}"}})
    for _ in range(2):
        await service.look_through(platform.gateway)

    made = [one for one in await open_cases(platform) if one.kind is Kind.OWN_WORD]
    notices = [await platform.gateway.find(SERVICE, "Communication", f"subject=Patient/{each}")
               for each in (stranger, attached)]
    assert [(one.patient, one.subject) for one in made
            if one.patient in {stranger, attached}] == [(stranger, "doctor")]
    assert [len(each) for each in notices] == [1, 0]
