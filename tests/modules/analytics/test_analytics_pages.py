"""Indicators over HTTP: the doctor first, then the head of the house and the inspector; cases."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import CaseState, Figure, Outcome, Verdict
from dmed.modules.analytics.service import cases, figures, showing
from dmed.modules.analytics.service.following import PLATFORM, follow
from dmed.modules.medicines import api as medicines
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS
from dmed.trust.model import Role, Subject

SERVICE = Subject(user="service", role=Role.SERVICE)
INSPECTOR = Subject(user="inspector", role=Role.INSPECTOR, name="Nazorov N.")
WHY = "Most of my patients come from the oncology ward"


class World(msgspec.Struct):
    """A platform with a clinic, its doctor's post, and another clinic."""

    platform: Platform
    clinic: str
    other: str
    post: str

    async def case(self, indicator: str = "antibiotic") -> int:
        """A new flag about the doctor."""
        verdict = Verdict(
            figure=Figure(prescriber=self.post, indicator=indicator, numerator=30, denominator=40),
            peers="specialty", peer_count=20, expected=0.2, low95=0.1, high95=0.3, low998=0.05,
            high998=0.4, spread=1.0, chance=1e-9)
        async with self.platform.gateway.unit(PLATFORM) as unit:
            number = await tables.tell(unit, verdict, f"{indicator} {clock.now().timestamp()}")
        assert number is not None
        return number


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(open_platform: Callable[..., Awaitable[Platform]]) -> World:
    """Twelve prescriptions of the demo doctor."""
    made = await open_platform()
    gateway = made.gateway

    async def create(type_: str, **content: Any) -> str:
        return (await gateway.create(SERVICE, type_, {"resourceType": type_, **content})).id

    clinic, other = [await create("Organization", name=name) for name in ("Klinika", "Boshqa")]
    doctor = await create("Practitioner", name=[{"family": "Yusupova"}])
    post = await create(
        "PractitionerRole", practitioner={"reference": f"Practitioner/{doctor}",
                                          "display": "Yusupova Aziza"},
        organization={"reference": f"Organization/{clinic}"}, code=[{"text": "terapevt"}])
    patient = await create("Patient", name=[{"family": "Secret"}], birthDate="1950-01-01")
    for number in range(12):
        await create(
            "MedicationRequest", status="active", intent="order",
            subject={"reference": f"Patient/{patient}"}, groupIdentifier={
                "system": "urn:x", "value": f"n{number}"},
            medication=medicines.medication("amoxicillin-capsule-500mg"),
            requester={"reference": f"PractitionerRole/{post}"},
            authoredOn=f"{clock.today():%Y-%m-%d}T10:00:00+05:00",
            effectiveDosePeriod={"start": f"{clock.today():%Y-%m-%d}",
                                 "end": f"{clock.today():%Y-%m-%d}"})
    for account in DEMO_ACCOUNTS:
        more = {"doctor": {"organisation": clinic, "practitioner": doctor,
                           "practitioner_role": post},
                "head": {"organisation": clinic}, "inspector": {}}.get(account.user)
        if more is not None:
            await made.guard.identity.save(
                msgspec.structs.replace(account, **more), DEMO_PASSWORDS[account.user])
    await follow(gateway)
    return World(platform=made, clinic=clinic, other=other, post=post)


class Reader(httpx.AsyncClient):
    """A browser that is signed in."""

    def __init__(self, world: World, language: str = "en") -> None:
        super().__init__(
            transport=httpx.ASGITransport(app=world.platform),  # type: ignore[arg-type]  # A map.
            base_url="http://test", cookies={"dmed_language": language})

    async def enter(self, user: str) -> None:
        answer = await self.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        assert answer.status_code == 303, answer.text

    async def submit(self, path: str, **fields: str) -> httpx.Response:
        found = re.search(r'name="csrf_token" value="([^"]+)"', (await self.get(path)).text)
        assert found is not None
        return await self.post(path, data={"csrf_token": found.group(1), **fields})


@pytest.mark.parametrize(("language", "said"), [
    ("en", "My prescribing"), ("ru", "Мои назначения"), ("uz", "Mening retseptlarim"),
    ("uz-Cyrl", "Менинг рецептларим")])
async def test_a_doctor_sees_the_own_figures(world: World, language: str, said: str) -> None:
    """The first who sees figures is the prescriber, in the own language."""
    async with Reader(world, language) as doctor:
        await doctor.enter("doctor")
        page = await doctor.get("/indicators")

    assert page.status_code == 200, page.text
    assert said in page.text
    assert "12 / 12" in page.text
    assert "Secret" not in page.text


async def test_a_flag_is_the_doctors_until_an_answer(world: World) -> None:
    """An inspector and a head are shown a case only when the doctor has answered."""
    number = await world.case()
    place = f"/indicators/case/{number}"
    async with Reader(world) as doctor, Reader(world) as inspector, Reader(world) as head:
        await doctor.enter("doctor")
        await inspector.enter("inspector")
        await head.enter("head")
        early = [(await one.get(place)).status_code for one in (doctor, inspector, head)]
        sent = await doctor.submit(place, act="answer", words=WHY)
        late = [await one.get(place) for one in (doctor, inspector, head)]
        lists = [await one.get("/indicators") for one in (inspector, head)]
        sheet = await head.get("/indicators/prescriber/" + world.post)

    assert early == [200, 404, 404]
    assert sent.status_code == 303
    assert [one.status_code for one in late] == [200, 200, 200]
    assert all(WHY in one.text for one in late)
    assert all(f'href="{place}"' in one.text for one in lists), lists[0].text
    assert sheet.status_code == 200
    assert "12 / 12" in sheet.text


async def test_a_flag_opens_after_fourteen_days(world: World) -> None:
    """Silence does not keep a case closed for ever."""
    number = await world.case("injection")
    async with world.platform.gateway.unit(PLATFORM) as unit:
        now = clock.now()
        fresh = await tables.case(unit, number, figures.open_since(now))
        later = await tables.case(unit, number, figures.open_since(now + figures.FEEDBACK * 2))

    assert fresh is not None
    assert later is not None
    assert (fresh.state, later.state) == (CaseState.TOLD, CaseState.OPEN)


async def test_a_head_sees_the_own_staff_alone(world: World) -> None:
    """The head of another house finds neither figures nor case."""
    number = await world.case("drugs-per-prescription")
    gateway = world.platform.gateway
    doctor = await world.platform.guard.identity.subject_of("doctor")
    await cases.answer(gateway, doctor, number, WHY)
    stranger = Subject(user="h2", role=Role.HEAD, organisation=world.other)
    nobody = Subject(user="h3", role=Role.HEAD)
    for head in (stranger, nobody):
        with pytest.raises(NotFoundError):
            await cases.case(gateway, head, number)

        assert await cases.opened(gateway, head) == []


async def test_a_case_is_taken_noted_and_closed(world: World) -> None:
    """What an inspector does stands in the case; a closed one takes no more."""
    number = await world.case("by-inn")
    gateway = world.platform.gateway
    doctor = await world.platform.guard.identity.subject_of("doctor")
    with pytest.raises(InvalidError):
        await cases.answer(gateway, doctor, number, " ")
    await cases.answer(gateway, doctor, number, WHY)
    await cases.take(gateway, INSPECTOR, number)
    await cases.note(gateway, INSPECTOR, number, "Spoke with the head")
    with pytest.raises(InvalidError):
        await cases.close(gateway, INSPECTOR, number, "guilty", "It is so")
    await cases.close(gateway, INSPECTOR, number, Outcome.EXPLAINED, "The ward explains it")
    found = await cases.case(gateway, doctor, number)

    assert found.state is CaseState.CLOSED
    assert found.assignee == "inspector"
    assert found.words.count("\n") == 1
    with pytest.raises(ConflictError):
        await cases.note(gateway, INSPECTOR, number, "One thing more")
    with pytest.raises(ConflictError):
        await cases.answer(gateway, doctor, number, "But I say")


async def test_doctors_see_no_figures_of_others(world: World) -> None:
    """A colleague finds no case; nobody but an inspector works on one."""
    number = await world.case("early-repeat")
    gateway = world.platform.gateway
    colleague = Subject(user="d2", role=Role.DOCTOR, practitioner_role="x")
    with pytest.raises(NotFoundError):
        await cases.case(gateway, colleague, number)
    doctor = await world.platform.guard.identity.subject_of("doctor")
    head = Subject(user="h", role=Role.HEAD, organisation=world.clinic)
    for who in (doctor, head):
        with pytest.raises(ForbiddenError):
            await cases.take(gateway, who, number)
    async with Reader(world) as page:
        await page.enter("doctor")
        answer = await page.get("/indicators/prescriber/" + world.post)

    assert answer.status_code == 403


async def test_the_country_is_shown_by_groups(world: World) -> None:
    """An inspector sees regions, specialties, institutions and prescribers."""
    async with Reader(world) as inspector:
        await inspector.enter("inspector")
        pages = {by: await inspector.get(f"/indicators?by={by}")
                 for by in ("region", "specialty", "institution", "prescriber", "nonsense")}
        here, there = [await inspector.get(f"/indicators?by=prescriber&at={at}")
                       for at in (world.clinic, world.other)]

    assert {page.status_code for page in pages.values()} == {200}
    assert "Klinika" in pages["institution"].text
    assert "terapevt" in pages["specialty"].text
    assert "Yusupova" in pages["prescriber"].text
    assert f"at={world.clinic}" in pages["institution"].text
    link = f"/indicators/prescriber/{world.post}"
    assert link in here.text
    assert link not in there.text


async def test_the_prescriptions_behind_a_case(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prescriber from the first day and the inspector once it is open read number, day,
    medicine and reason, page by page, without a person; a head and a colleague do not; each look
    is noted.
    """
    monkeypatch.setattr(showing, "LINES_PAGE", 5)
    number = await world.case("antibiotic")
    place, gateway = f"/indicators/case/{number}/lines", world.platform.gateway
    async with Reader(world) as doctor, Reader(world, "ru") as inspector, Reader(world) as head:
        for reader, user in ((doctor, "doctor"), (inspector, "inspector"), (head, "head")):
            await reader.enter(user)
        own = await doctor.get(place)
        early = await inspector.get(place)
        await doctor.submit(f"/indicators/case/{number}", act="answer", words=WHY)
        pages = [await inspector.get(f"{place}?page={page}") for page in ("1", "3", "999", "x")]
        closed = await head.get(place)
        case = await inspector.get(f"/indicators/case/{number}")
        refused = await head.get(f"/indicators/case/{number}")
    colleague = Subject(user="d2", role=Role.DOCTOR, practitioner_role="x")
    with pytest.raises(NotFoundError):
        await showing.behind(gateway, colleague, number, 0)

    assert (own.status_code, early.status_code, closed.status_code) == (200, 404, 403), own.text
    assert 'href="/prescriptions/n' in own.text
    assert "12 of 12 lines count" in own.text
    assert [page.status_code for page in pages] == [200] * 4
    assert [page.text.count('<td class="num nowrap">n') for page in pages] == [5, 2, 2, 5]
    # Nothing leads where the inspector would be refused.
    assert not any('href="/fhir/' in page.text for page in pages)
    assert "АТХ J01CA04" in pages[0].text
    assert "амоксициллин" in pages[0].text
    assert not any(word in page.text for word in ("Secret", "Patient/") for page in (own, *pages))
    assert place in case.text
    assert place not in refused.text
    rows = await world.platform.database.hot.fetch(
        "select outcome from audit where detail like $1", f"%behind case {number}%")
    assert sorted(row["outcome"] for row in rows) == [200] * 5 + [403]


async def test_the_record_itself_stays_behind_the_usual_decision(world: World) -> None:
    """The list opens no record: an inspector who follows a number is refused, the doctor is not."""
    number = await world.case("injection")
    doctor = await world.platform.guard.identity.subject_of("doctor")
    found = await showing.behind(world.platform.gateway, doctor, number, 0)
    place = f"/fhir/MedicationRequest/{found.lines[0].id}"

    assert {line.is_counted for line in found.lines} == {False}
    with pytest.raises(ForbiddenError):
        await world.platform.gateway.read(INSPECTOR, "MedicationRequest", found.lines[0].id)
    async with Reader(world) as inspector:
        await inspector.enter("inspector")
        answer = await inspector.get(place, headers={"Accept": "text/html"})

    assert answer.status_code == 403
