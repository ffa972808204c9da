"""Lists that follow the records, files and who sees them, orders and what they do at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError, UnprocessableError
from dmed.modules.workforce import api
from dmed.modules.workforce.model import Act, Direction, Held, Kind, Measure
from dmed.modules.workforce.service import acts, files, following, jobs, lists
from dmed.store import standing as store_standing
from dmed.store.model import Scope
from dmed.trust.model import Role, Subject
from dmed.trust.standing import Register

PAPER = acts.Paper(number="12-k", words="Sinov")


class Clinic(msgspec.Struct):
    """The village's polyclinic with a head, and the private clinic next door."""

    gateway: Any
    head: Subject
    admin: Subject
    doctor: Subject
    other: str
    """Another institution."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def clinic(village: Any) -> AsyncIterator[Clinic]:
    """The head of the demo polyclinic."""
    gateway = village.gateway
    await following.follow(gateway)
    head = Subject(user="head", role=Role.HEAD, name="Tursunov Alisher", session="test",
                   organisation=village.doctor.organisation,
                   organisation_name=village.doctor.organisation_name)
    found = await gateway.find(village.admin, "Organization", "type:text=dorixona&_count=1")
    yield Clinic(gateway, head, village.admin, village.doctor,
                 found[0]["id"] if found else village.pharmacist.organisation)


_count = iter(range(10_000))


def somebody(**changes: Any) -> acts.NewPerson:
    number = f"{40_000_000 + next(_count):010d}"
    return acts.NewPerson(**{
        "family": "Sobirov", "given": "Jamshid", "sex": "male", "born": date(1985, 3, 4),
        "argos": number, "holds": (Held(
            kind=Kind.CERTIFICATE, title="Terapevt", number=f"S-{number}",
            valid_from=date(2024, 1, 1), valid_until=clock.today() + timedelta(days=20)),),
        **changes})


async def hired(clinic: Clinic, *, rate: str = "1", **changes: Any) -> tuple[str, str]:
    """(Practitioner, PractitionerRole) of somebody new in the polyclinic."""
    person = await acts.hire(
        clinic.gateway, clinic.head, somebody(**changes),
        acts.Place(organisation=clinic.head.organisation, code="2212.113", title="terapevt",
                   rate=Decimal(rate)), clock.today() - timedelta(days=30), PAPER)
    file = await files.file(clinic.gateway, clinic.head, person)
    return person, file.posts[0].role


def as_doctor(clinic: Clinic, person: str, role: str) -> Subject:
    return Subject(user="newdoctor", role=Role.DOCTOR, practitioner=person, practitioner_role=role,
                   organisation=clinic.head.organisation, session="test")


async def may_sign(clinic: Clinic, person: str, role: str, day: date | None = None) -> Any:
    return await api.licence_valid(
        clinic.gateway, as_doctor(clinic, person, role), day or clock.today())


async def standing(clinic: Clinic, person: str, role: str) -> Any:
    register = Register(clinic.gateway._db.hot)
    return await register.standing("newdoctor", Role.DOCTOR, person, role)


async def test_lists_follow_the_records(clinic: Clinic) -> None:
    """Whatever writes a record, the list has it after the next look, and forgets what is gone."""
    place = await lists.house(clinic.gateway, clinic.head)
    record = await clinic.gateway.get(clinic.admin, "PractitionerRole",
                                      clinic.doctor.practitioner_role)
    made = await clinic.gateway.create(clinic.admin, "PractitionerRole", {
        **{key: value for key, value in record.items() if key not in ("id", "meta")},
        "code": [{"text": "maslahatchi"}]})
    await following.follow(clinic.gateway)
    found = await lists.staff(clinic.gateway, clinic.head, place)
    await clinic.gateway.delete(clinic.admin, "PractitionerRole", made.id)
    await following.follow(clinic.gateway)
    after = await lists.staff(clinic.gateway, clinic.head, place)

    assert {"terapevt", "maslahatchi", "bosh shifokor"} <= {one.title for one in found}
    assert "maslahatchi" not in {one.title for one in after}


@pytest.mark.parametrize("text", ["Yusupova", "Юсупова", "aziza yusup", "Юсупова Азиза"])
async def test_a_person_is_found_in_any_script(clinic: Clinic, text: str) -> None:
    """Words of a name in Latin and Cyrillic, in any order."""
    place = await lists.house(clinic.gateway, clinic.head)
    found = await lists.staff(clinic.gateway, clinic.head, place, text)

    assert clinic.doctor.practitioner in {one.practitioner for one in found}


async def test_a_head_sees_the_own_institution_alone(clinic: Clinic) -> None:
    """Other institutions, their people and the country's figures are refused."""
    other = msgspec.structs.replace(clinic.head, organisation=clinic.other)
    with pytest.raises(ForbiddenError):
        await lists.house(clinic.gateway, clinic.head, clinic.other)
    with pytest.raises(ForbiddenError):
        await files.file(clinic.gateway, other, clinic.doctor.practitioner)
    with pytest.raises(ForbiddenError):
        await lists.regions(clinic.gateway, clinic.head)
    with pytest.raises(ForbiddenError):
        await lists.house(clinic.gateway, clinic.doctor)
    with pytest.raises(ForbiddenError):
        await acts.leave(clinic.gateway, other, clinic.doctor.practitioner_role, clock.today(),
                         clock.today(), "annual", PAPER)
    own = await files.file(clinic.gateway, clinic.doctor, clinic.doctor.practitioner)

    assert own.is_own
    assert not own.is_keeper


async def test_an_expiring_certificate_is_told_and_stops_the_day_after(clinic: Clinic) -> None:
    """The head sees it 20 days ahead; on its last day it holds, the day after nothing is signed."""
    person, role = await hired(clinic)
    place = await lists.house(clinic.gateway, clinic.head)
    found = [one for one in await lists.expiring(clinic.gateway, clinic.head, place)
             if one.practitioner == person]
    last = clock.today() + timedelta(days=20)
    on_last = await may_sign(clinic, person, role, last)
    after = await may_sign(clinic, person, role, last + timedelta(days=1))

    assert [(one.kind, one.until, one.days, one.stage) for one in found] == [
        (Kind.CERTIFICATE, last, 20, 30)]
    assert on_last.allowed
    assert after.reasons[0].key == "workforce.reason.certificate-over"

    await acts.add_held(clinic.gateway, clinic.head, person, Held(
        kind=Kind.CERTIFICATE, title="Terapevt", number="S-new",
        valid_from=clock.today(), valid_until=clock.today() + timedelta(days=1800)))
    renewed = await may_sign(clinic, person, role, last + timedelta(days=1))
    still = [one for one in await lists.expiring(clinic.gateway, clinic.head, place)
             if one.practitioner == person]

    assert renewed.allowed
    assert still == []


async def test_a_category_is_no_right_to_practise(clinic: Clinic) -> None:
    """Category, licence and training stand in the file and never replace a certificate."""
    person, role = await hired(clinic, holds=())
    for kind in (Kind.CATEGORY, Kind.LICENCE, Kind.TRAINING, Kind.EDUCATION):
        await acts.add_held(clinic.gateway, clinic.head, person, Held(
            kind=kind, title="Oliy", valid_until=clock.today() + timedelta(days=900)))
    verdict = await may_sign(clinic, person, role)
    file = await files.file(clinic.gateway, clinic.head, person)

    assert verdict.reasons[0].key == "workforce.reason.no-certificate"
    assert {one.kind for one in file.person.held} == set(Kind) - {Kind.CERTIFICATE}


async def test_on_leave_nothing_is_signed_and_the_record_tells_not_why(clinic: Clinic) -> None:
    """From the first to the last day of a leave; its kind stands in the order alone."""
    person, role = await hired(clinic)
    today = clock.today()
    await acts.leave(clinic.gateway, clinic.head, role, today, today + timedelta(days=9), "sick",
                     PAPER)
    verdicts = [await may_sign(clinic, person, role, today + timedelta(days=days))
                for days in (0, 9, 10)]
    record = await clinic.gateway.get(clinic.doctor, "PractitionerRole", role)
    file = await files.file(clinic.gateway, clinic.head, person)
    place = await lists.house(clinic.gateway, clinic.head)
    line = next(one for one in await lists.staff(clinic.gateway, clinic.head, place)
                if one.practitioner == person)

    assert [one.allowed for one in verdicts] == [False, False, True]
    assert verdicts[0].reasons[0].key == "workforce.reason.away"
    assert "sick" not in str(record)
    assert file.orders[0].detail == {"kind": "sick"}
    assert line.away_until == today + timedelta(days=9)
    assert (await standing(clinic, person, role)).refusal == ""


async def test_discipline_is_seen_by_few_and_a_suspension_stops(clinic: Clinic) -> None:
    """The own head, the keepers and the person see it; after a transfer the new head does not."""
    person, role = await hired(clinic)
    today = clock.today()
    await acts.discipline(clinic.gateway, clinic.head, role, Measure.REPRIMAND, today, PAPER)
    with pytest.raises(InvalidError):
        await acts.discipline(
            clinic.gateway, clinic.head, role, Measure.SUSPENSION, today, PAPER)
    with pytest.raises(InvalidError):
        await acts.discipline(clinic.gateway, clinic.head, role, Measure.REMARK, today,
                              acts.Paper(number="1"))
    await acts.discipline(clinic.gateway, clinic.head, role, Measure.SUSPENSION, today, PAPER,
                          today + timedelta(days=3))
    stopped = await may_sign(clinic, person, role)
    await acts.transfer(
        clinic.gateway, clinic.head, role,
        acts.Place(organisation=clinic.other, code="2212.113", title="terapevt",
                   rate=Decimal(1)), today, PAPER)
    seen = {}
    readers = {"old": clinic.head, "keeper": clinic.admin,
               "new": msgspec.structs.replace(clinic.head, organisation=clinic.other),
               "own": as_doctor(clinic, person, role)}
    for name, reader in readers.items():
        try:
            file = await files.file(clinic.gateway, reader, person)
        except ForbiddenError:
            seen[name] = -1
        else:
            seen[name] = sum(one.act is Act.DISCIPLINE for one in file.orders)

    assert not stopped.allowed
    assert seen == {"old": -1, "keeper": 2, "new": 0, "own": 2}


async def test_a_transfer_moves_the_rights_at_once(clinic: Clinic) -> None:
    """The register names the new institution now; the post that was stays as an ended one."""
    person, role = await hired(clinic)
    before = await standing(clinic, person, role)
    await acts.transfer(
        clinic.gateway, clinic.head, role,
        acts.Place(organisation=clinic.other, code="2212.45", title="kardiolog",
                   rate=Decimal("0.5")), clock.today(), PAPER)
    after = await standing(clinic, person, role)
    file = await files.file(clinic.gateway, clinic.admin, person)
    body = await store_standing.staff_record(
        clinic.gateway._db.hot, Scope("test"), "PractitionerRole", role)

    assert before.organisation == clinic.head.organisation
    assert after.organisation == clinic.other
    assert [(one.role, one.title, one.rate) for one in file.posts] == [
        (role, "kardiolog", Decimal("0.5"))]
    assert [one.organisation for one in file.past] == [clinic.head.organisation]
    assert file.past[0].until == clock.today() - timedelta(days=1)
    assert body is not None
    with pytest.raises(ForbiddenError):
        await acts.end(clinic.gateway, clinic.head, role, clock.today(), PAPER)


async def test_a_transfer_of_tomorrow_waits_for_its_day(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order stands in the file; the job of its day carries it out once."""
    person, role = await hired(clinic)
    tomorrow = clock.today() + timedelta(days=1)
    await acts.transfer(
        clinic.gateway, clinic.head, role,
        acts.Place(organisation=clinic.other, code="2212.113", title="terapevt",
                   rate=Decimal(1)), tomorrow, PAPER)
    await jobs.carry_out(clinic.gateway)
    waiting = await standing(clinic, person, role)
    monkeypatch.setattr(clock, "today", lambda: tomorrow)
    await jobs.carry_out(clinic.gateway)
    await jobs.carry_out(clinic.gateway)
    file = await files.file(clinic.gateway, clinic.admin, person)
    record = await clinic.gateway.get(clinic.admin, "PractitionerRole", role)

    assert waiting.organisation == clinic.head.organisation
    assert record["organization"]["reference"] == f"Organization/{clinic.other}"
    assert len(file.past) == 1
    assert file.orders[0].applied is not None


async def test_an_ended_post_gives_no_rights(clinic: Clinic) -> None:
    """With a last day that is past the session ends with the next look at the register."""
    person, role = await hired(clinic)
    await acts.end(clinic.gateway, clinic.head, role, clock.today() - timedelta(days=1), PAPER)

    assert (await standing(clinic, person, role)).refusal == "post-over"
    assert not (await may_sign(clinic, person, role)).allowed
    with pytest.raises(UnprocessableError):
        await acts.end(clinic.gateway, clinic.head, role, clock.today(), PAPER)


async def test_nobody_holds_more_than_one_and_a_half_rates(clinic: Clinic) -> None:
    """By orders it is refused; what came by files or the interface is shown as overlap."""
    person, role = await hired(clinic, rate="1")
    known = await clinic.gateway.get(clinic.admin, "Practitioner", person)
    argos = known["identifier"][0]["value"]
    place = acts.Place(organisation=clinic.head.organisation, code="2212.45", title="kardiolog",
                       rate=Decimal("0.75"))
    with pytest.raises(UnprocessableError, match=r"1\.75 rates"):
        await acts.hire(clinic.gateway, clinic.head, somebody(argos=argos), place, clock.today(),
                        PAPER)
    half = msgspec.structs.replace(place, rate=Decimal("0.5"))
    again = await acts.hire(
        clinic.gateway, clinic.head, somebody(argos=argos), half, clock.today(), PAPER)
    with pytest.raises(UnprocessableError, match="another date of birth"):
        await acts.hire(clinic.gateway, clinic.head, somebody(argos=argos, born=date(1970, 1, 1)),
                        half, clock.today(), PAPER)
    record = await clinic.gateway.get(clinic.admin, "PractitionerRole", role)
    times = [{"availableTime": [{"daysOfWeek": ["mon"], "availableStartTime": "08:00:00",
                                 "availableEndTime": "14:00:00"}]}]
    await clinic.gateway.update(clinic.admin, "PractitionerRole", role,
                                {**record, "availability": times})
    await clinic.gateway.create(clinic.admin, "PractitionerRole", {
        **{key: value for key, value in record.items() if key not in ("id", "meta")},
        "organization": {"reference": f"Organization/{clinic.other}"},
        "availability": [{"availableTime": [{
            "daysOfWeek": ["mon", "tue"], "availableStartTime": "13:00:00",
            "availableEndTime": "18:00:00"}]}]})
    await following.follow(clinic.gateway)
    house = await lists.house(clinic.gateway, clinic.head)
    found = next(one for one in await lists.overlaps(clinic.gateway, clinic.head, house)
                 if one.practitioner == person)

    assert again == person
    assert found.rates == Decimal("2.50")
    assert found.is_over
    assert [(one.day, one.start_minute, one.end_minute) for one in found.clashes] == [
        (0, 13 * 60, 14 * 60)]


async def test_two_hirings_at_once_give_one_of_them(clinic: Clinic) -> None:
    """Half a rate is left: of two institutions that give it at the same moment one is refused."""
    person, _ = await hired(clinic)
    known = await clinic.gateway.get(clinic.admin, "Practitioner", person)
    again = somebody(argos=known["identifier"][0]["value"])
    places = [acts.Place(organisation=house, code="2212.45", title="kardiolog",
                         rate=Decimal("0.5")) for house in (clinic.head.organisation, clinic.other)]
    done = await asyncio.gather(*(
        acts.hire(clinic.gateway, clinic.admin, again, place, clock.today(), PAPER)
        for place in places), return_exceptions=True)
    file = await files.file(clinic.gateway, clinic.admin, person)

    assert sorted(isinstance(one, UnprocessableError) for one in done) == [False, True]
    assert sum(one.rate for one in file.posts) == Decimal("1.5")


async def test_nobody_makes_orders_about_himself(clinic: Clinic) -> None:
    """A head who is in the register cannot send himself on leave or add to his file."""
    person, role = await hired(clinic)
    self_ = msgspec.structs.replace(clinic.head, practitioner=person, practitioner_role=role)
    with pytest.raises(ForbiddenError):
        await acts.leave(clinic.gateway, self_, role, clock.today(), clock.today(), "annual",
                         PAPER)
    with pytest.raises(ForbiddenError):
        await acts.add_held(clinic.gateway, self_, person, Held(
            kind=Kind.CERTIFICATE, title="Terapevt"))
    with pytest.raises(NotFoundError):
        await acts.end(clinic.gateway, clinic.head, "nobody", clock.today(), PAPER)


async def test_vacancies_against_draft_and_own_norms(clinic: Clinic) -> None:
    """Without an own table the draft norm stands and says so; the keepers' table replaces it."""
    place = await lists.house(clinic.gateway, clinic.head)
    draft = {one.post_code: one for one in await lists.vacancies(
        clinic.gateway, clinic.head, place)}
    with pytest.raises(ForbiddenError):
        await lists.set_norm(clinic.gateway, clinic.head, place, "2212.67", "nevrolog",
                             Decimal(2), "Buyruq 1")
    with pytest.raises(InvalidError):
        await lists.set_norm(clinic.gateway, clinic.admin, place, "2212.67", "nevrolog",
                             Decimal("0.3"), "Buyruq 1")
    await lists.set_norm(clinic.gateway, clinic.admin, place, "2212.67", "nevrolog", Decimal(2),
                         "Buyruq 1")
    own = {one.post_code: one for one in await lists.vacancies(clinic.gateway, clinic.head, place)}
    await lists.set_norm(clinic.gateway, clinic.admin, place, "2212.67", "nevrolog", Decimal(0),
                         "Buyruq 1")

    assert draft["2212.67"].is_draft
    assert draft["2212.67"].open == 1
    assert draft["2212.113"].filled >= 1
    assert own["2212.67"].open == 2
    assert not own["2212.67"].is_draft
    assert own["2212.113"].norm == 0


async def test_activity_counts_records_in_their_final_state(clinic: Clinic) -> None:
    """What the doctors of the polyclinic did in the month of its last prescription is counted."""
    place = await lists.house(clinic.gateway, clinic.head)
    roles = ",".join(f"PractitionerRole/{one.role}"
                     for one in await lists.staff(clinic.gateway, clinic.head, place))
    last = (await clinic.gateway.find(
        following.PLATFORM, "MedicationRequest",
        f"requester={roles}&status=completed&authoredon=lt2026-11-21&_sort=-authoredon&_count=1"
    ))[0]
    month = last["authoredOn"][:7]
    found: dict[str, int] = {}
    for one in await lists.activity(clinic.gateway, clinic.head, place, month):
        for direction, count in one.counts.items():
            found[direction] = found.get(direction, 0) + count

    assert found[Direction.VISITS] > 0
    assert found[Direction.PRESCRIPTIONS] > 0
    assert found[Direction.RESULTS] >= 0


async def test_the_ministry_sees_regions_and_the_forecast(clinic: Clinic) -> None:
    """Totals add up to everybody in post; the forecast counts people once."""
    totals = await lists.regions(clinic.gateway, clinic.admin)
    ahead = await lists.forecast(clinic.gateway, clinic.admin)
    everybody = await lists.everywhere(clinic.gateway, clinic.admin, "Юсупова")

    assert {one.region for one in totals} >= {"1726"}
    assert sum(one.people for one in totals) > 10
    assert [one.year for one in ahead] == list(range(clock.today().year, clock.today().year + 10))
    assert clinic.doctor.practitioner in {one.practitioner for one in everybody}
