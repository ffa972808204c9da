"""Finding what is unusual, disputes, reviews, and bulk reading that two people answer for."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.medid import api as medid
from dmed.modules.oversight import rules, tables
from dmed.modules.oversight.model import BulkRequest, Case, Finding, Kind, Seen, Verdict
from dmed.trust import audit_events
from dmed.trust.gateway import Gateway
from dmed.trust.gateway.audits import Alarm, Look
from dmed.trust.model import Role, Subject

PLATFORM = Subject(user="oversight", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who finds what is unusual: a job, no person."""
REVIEWERS = frozenset({Role.ADMINISTRATOR, Role.INSPECTOR})
"""The authority's inspectors; the administrator of an installation that has none yet."""
SEES_CASES = REVIEWERS | {Role.HEAD}
"""A head of an institution sees and closes the cases about the own staff, and no others."""
PURPOSES = ("PUBHLTH", "HRESCH", "HOPERAT", "HSYSADMIN")
WORDS_MAX = 1_000
LOOKED_MAX = 1_000
QUEUE_MAX = 200
_EVERY = timedelta(hours=1)
DAY = timedelta(days=1)
_CANARY_WEIGHT = 100
_DISPUTE_WEIGHT = 60
_OWN_WORD_WEIGHT = 15
_OWN_WORD_MAX = 500
_DAYS_MAX = 366


def words_of(text: str, least: int = 3) -> str:
    """A sentence that somebody typed; InvalidError where it is empty or too long."""
    text = " ".join(text.split())
    if not least <= len(text) <= WORDS_MAX:
        raise InvalidError(f"Say in {least} to {WORDS_MAX} characters what it is about")
    return text


# The person's page ------------------------------------------------------------------------------


async def looked(
    gateway: Gateway, subject: Subject, patient: str, *, before: datetime | None = None
) -> list[Seen]:
    """Who looked at a person's record, a line a user, day and act, newest first.

    The subject must be able to see the card; looking is audited like any look.
    """
    await gateway.read(subject, "Patient", patient)
    door = gateway.audits()
    rows = await door.looked(subject, patient, before=before, count=LOOKED_MAX)
    names = await door.people(row.subject for row in rows)
    return rules.seen(rows, names, audit_events.event_id)


async def persons(
    gateway: Gateway, subject: Subject, language: str
) -> list[tuple[str, str]]:
    """(Patient id, name) of those whose page a citizen may open; nothing where that is one."""
    ids = await gateway.persons(subject)
    if len(ids) < 2:
        return []
    return [(each, (await medid.banner(gateway, subject, each, language)).name) for each in ids]


async def dispute(
    gateway: Gateway, subject: Subject, patient: str, event: str, text: str
) -> int:
    """Opens a case about one look, for the person; its number. InvalidError, NotFoundError.

    A look is disputed once: again gives ConflictError.
    """
    said = words_of(text)
    await gateway.read(subject, "Patient", patient)
    place = audit_events.place_of(event)
    found = None if place is None else await gateway.audits().row_of(patient, place)
    if found is None:
        raise NotFoundError("There is no such look at this person's record")
    finding = Finding("oversight.reason.dispute", _DISPUTE_WEIGHT,
                      {"when": f"{found.at:%Y-%m-%d %H:%M}"})  # fmt: skip  # One finding.
    async with gateway.unit(subject) as unit:
        number = await tables.add_case(
            unit, mark=f"dispute {event}", kind=Kind.DISPUTE, subject=found.subject,
            patient=patient, findings=(finding,), weight=_DISPUTE_WEIGHT, said=said)
    if number is None:
        raise ConflictError("This look is disputed already; the case is under review")
    await gateway.note(subject, "E", f"dispute {number}", patient=patient)
    return number


async def disputes(gateway: Gateway, subject: Subject, patient: str) -> list[Case]:
    """The person's disputes and how they ended; whoever calls has seen the card."""
    async with gateway.unit(subject) as unit:
        return await tables.cases_of(unit, patient, Kind.DISPUTE)


# What is unusual --------------------------------------------------------------------------------


async def look_through(gateway: Gateway) -> None:
    """The job: canaries each time, figures when an hour has passed. New cases are made once."""
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        figures, canaries_since = await tables.last_runs(unit, now - DAY)
        canaries = [patient for patient, _ in await tables.canaries(unit)]
    await _alarm(gateway, canaries_since, canaries)
    await _own_word(gateway, canaries_since)
    is_due = now - figures >= _EVERY
    if is_due:
        await find_unusual(gateway, now - DAY, now)
    async with gateway.unit(PLATFORM) as unit:
        # Rows of transactions still open now are looked for again the next time.
        await tables.set_runs(unit, now if is_due else figures, now - timedelta(seconds=30))


async def _alarm(gateway: Gateway, since: datetime, canaries: list[str]) -> None:
    if not canaries:
        return
    for alarm in await gateway.audits().alarms(since, canaries):
        if alarm.subject != PLATFORM.user:
            await _alarm_case(gateway, alarm)


async def _own_word(gateway: Gateway, since: datetime) -> None:
    """A case, and a notice to the person, for each care that began by the own word alone."""
    door = gateway.audits()
    for begun, row in await door.begun_alone(since, _OWN_WORD_MAX):
        names = await door.people([row.subject])
        finding = Finding("oversight.reason.own_word", _OWN_WORD_WEIGHT,
                          {"when": f"{row.at:%Y-%m-%d %H:%M}"})  # fmt: skip  # One finding.
        async with gateway.unit(PLATFORM) as unit:
            number = await tables.add_case(
                unit, mark=f"own word {begun.patient} {begun.principal}", kind=Kind.OWN_WORD,
                subject=row.subject, patient=begun.patient, findings=(finding,),
                weight=_OWN_WORD_WEIGHT)
            card = await unit.get("Patient", begun.patient) if number is not None else None
            if card is not None:
                name = names.get(row.subject, ("", ""))[0] or row.subject
                await unit.create("Communication", rules.own_word_notice(
                    name, begun.patient, row.at, str(card.get("language", "uz"))))


async def _alarm_case(gateway: Gateway, alarm: Alarm) -> None:
    finding = Finding("oversight.reason.canary", _CANARY_WEIGHT,
                      {"when": f"{alarm.at:%Y-%m-%d %H:%M:%S}"})  # fmt: skip  # One finding.
    async with gateway.unit(PLATFORM) as unit:
        await tables.add_case(
            unit, mark=f"canary {alarm.request} {alarm.subject} {alarm.patient}", kind=Kind.CANARY,
            subject=alarm.subject, patient=alarm.patient, findings=(finding,),
            weight=_CANARY_WEIGHT)


async def find_unusual(gateway: Gateway, since: datetime, until: datetime) -> int:
    """Judges who looked at whom in a span of time; the number of new cases."""
    looks = await gateway.audits().figures(since, until, rules.ROLES)
    day = f"{until.astimezone(clock.TASHKENT):%Y-%m-%d}"
    found: list[tuple[str, str, str, tuple[Finding, ...]]] = [
        (f"pair {day} {look.subject} {look.patient}", look.subject, look.patient, findings)
        for look in looks if rules.weight(findings := rules.judge(look)) >= rules.CASE_WEIGHT]
    found += _days(looks, day)
    made = 0
    async with gateway.unit(PLATFORM) as unit:
        for mark, who, patient, findings in found:
            number = await tables.add_case(
                unit, mark=mark, kind=Kind.UNUSUAL, subject=who, patient=patient,
                findings=findings, weight=rules.weight(findings))
            made += number is not None
    return made


def _days(looks: list[Look], day: str) -> list[tuple[str, str, str, tuple[Finding, ...]]]:
    everybody = rules.peers(looks)
    return [(f"day {day} {peer.subject}", peer.subject, "", findings)
            for peer in everybody
            if rules.weight(findings := rules.judge_day(peer, everybody)) >= rules.CASE_WEIGHT]


async def queue(gateway: Gateway, subject: Subject, *, closed: bool = False) -> list[Case]:
    """The review queue: all of it for reviewers, that of the own staff for a head."""
    _check_reviewer(subject, SEES_CASES)
    await gateway.note(subject, "E", "review queue")
    staff = await _staff(gateway, subject)
    async with gateway.unit(subject) as unit:
        return await tables.cases(unit, closed=closed, limit=QUEUE_MAX, subjects=staff)


async def _staff(gateway: Gateway, subject: Subject) -> list[str] | None:
    """The sign-in names whose cases a head sees; None is no limit."""
    if subject.role is not Role.HEAD:
        return None
    return await gateway.audits().staff_of(subject.organisation)


async def case(gateway: Gateway, subject: Subject, number: int) -> Case:
    """One case; seeing it is audited about its person. NotFoundError."""
    _check_reviewer(subject, SEES_CASES)
    staff = await _staff(gateway, subject)
    async with gateway.unit(subject) as unit:
        found = await tables.case(unit, number)
    if found is None or (staff is not None and found.subject not in staff):
        await gateway.note(subject, "E", f"case {number}", outcome=404)
        raise NotFoundError(f"There is no case {number}")
    await gateway.note(subject, "E", f"case {number}", patient=found.patient)
    return found


async def close(
    gateway: Gateway, subject: Subject, number: int, verdict: str, text: str
) -> None:
    """Ends a case with a verdict and the reviewer's words.

    ForbiddenError where the case is about the reviewer; ConflictError where it is ended already.
    """
    found = await case(gateway, subject, number)
    if found.subject == subject.user:
        raise ForbiddenError("Nobody reviews the own access")
    with contextlib.suppress(ValueError):
        decided = Verdict(verdict)
        words = words_of(text)
        async with gateway.unit(subject) as unit:
            if not await tables.close(unit, number, decided, subject.user, words):
                raise ConflictError(f"The case {number} is closed already")
        await gateway.note(
            subject, "E", f"case {number} closed: {verdict}", patient=found.patient)
        return
    raise InvalidError(f"{verdict[:20]!r} is no verdict")


def _check_reviewer(subject: Subject, roles: frozenset[Role] = REVIEWERS) -> None:
    if subject.role not in roles:
        raise ForbiddenError("The review queue is for inspectors")


async def mark_canary(gateway: Gateway, subject: Subject, patient: str, said: str) -> None:
    """Marks an invented person: whoever reads the record from now on raises a case."""
    _check_reviewer(subject)
    async with gateway.unit(subject) as unit:
        await tables.mark_canary(unit, patient, words_of(said), subject.user)
    await gateway.note(subject, "E", f"canary {patient}")


async def canaries(gateway: Gateway, subject: Subject) -> list[tuple[str, str]]:
    """(Patient id, why) of the canary persons, for reviewers alone."""
    _check_reviewer(subject)
    async with gateway.unit(subject) as unit:
        return await tables.canaries(unit)


# Reading in bulk --------------------------------------------------------------------------------


async def ask_bulk(
    gateway: Gateway, subject: Subject, purpose: str, said: str, *, days: int, standing: bool
) -> int:
    """Asks to read in bulk within so many days; the request's number. Another must approve it."""
    _check_reviewer(subject)
    if purpose not in PURPOSES:
        raise InvalidError(f"The purpose is one of {', '.join(PURPOSES)}")
    if not 1 <= days <= _DAYS_MAX:
        raise InvalidError(f"A request holds for 1 to {_DAYS_MAX} days")
    until = clock.now() + timedelta(days=days)
    async with gateway.unit(subject) as unit:
        number = await tables.ask_bulk(
            unit, subject.user, purpose, words_of(said), until, standing=standing)
    await gateway.note(subject, "E", f"bulk request {number}: {purpose}")
    return number


async def approve_bulk(gateway: Gateway, subject: Subject, number: int) -> None:
    """A second person approves; ForbiddenError for the asker, ConflictError where it is done."""
    _check_reviewer(subject)
    async with gateway.unit(subject) as unit:
        found = await tables.bulk(unit, number, lock=True)
        if found is None:
            raise NotFoundError(f"There is no request {number}")
        if found.asker == subject.user:
            raise ForbiddenError("Another person approves: nobody approves the own request")
        if found.approver:
            raise ConflictError(f"The request {number} is approved already")
        await tables.approve_bulk(unit, number, subject.user)
    await gateway.note(subject, "E", f"bulk request {number} approved")


async def bulks(gateway: Gateway, subject: Subject) -> list[BulkRequest]:
    """All requests, for reviewers alone."""
    _check_reviewer(subject)
    async with gateway.unit(subject) as unit:
        return await tables.bulks(unit)


async def use_bulk(gateway: Gateway, number: int) -> BulkRequest:
    """Takes an approved request for one reading in bulk; it is audited under its asker.

    NotFoundError; ForbiddenError where it is not approved, has ended, or was used already and is
    no registered purpose.
    """
    async with gateway.unit(PLATFORM) as unit:
        found = await tables.bulk(unit, number, lock=True)
        if found is None:
            raise NotFoundError(f"There is no request {number} for bulk reading")
        if not found.approver:
            raise ForbiddenError(f"Request {number} waits for the approval of a second person")
        if found.until < clock.now():
            raise ForbiddenError(f"Request {number} has ended")
        if found.used and not found.standing:
            raise ForbiddenError(f"Request {number} was used already; ask for another")
        await tables.use_bulk(unit, number)
    asker = Subject(user=found.asker, role=Role.ADMINISTRATOR, purpose=found.purpose)
    await gateway.note(asker, "E", f"bulk reading by request {number}, approved by "
                       f"{found.approver}")  # fmt: skip  # One note.
    return found
