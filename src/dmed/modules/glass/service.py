"""Use cases: break the glass, list what was broken, review it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError
from dmed.modules.glass import rules, tables
from dmed.modules.glass.model import OPEN_FOR, Broken
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_SHOWN_FOR = timedelta(days=30)


async def break_glass(
    gateway: Gateway, subject: Subject, patient: str, code: str, text: str
) -> Broken:
    """Open a person's records to the subject himself for some hours, and tell everybody.

    The right, the notice to the person, the row for review and their audit commit together.
    ForbiddenError for another role, InvalidError for a bad reason, NotFoundError for nobody.
    """
    if subject.role not in rules.MAY_BREAK:
        raise ForbiddenError(f"The role {subject.role.value} breaks no glass")
    wrong = rules.faults(code, text)
    if wrong:
        raise InvalidError(issues=wrong)
    acting = msgspec.structs.replace(subject, purpose="TREAT")
    now = clock.now()
    broken = Broken(
        number=0, patient=patient, user=subject.user, name=subject.name,
        organisation=subject.organisation, code=code, reason=text.strip(), at=now,
        until=now + OPEN_FOR,
    )  # fmt: skip  # One row.
    async with gateway.unit(acting) as unit:
        person = await unit.get("Patient", patient)
        if person is None:
            raise NotFoundError(f"There is no Patient/{patient}")
        await unit.break_glass(patient, broken.until)
        number = await tables.add(unit, broken)
        language = str(person.get("language", "uz"))
        await unit.create(
            "Communication", rules.notice(subject, patient, text, now, language))
    await gateway.note(
        msgspec.structs.replace(subject, purpose="ETREAT"), "E",
        f"break-glass {number} ({code}) until {broken.until.isoformat(timespec='minutes')}",
        patient=patient,
    )  # fmt: skip  # One row.
    return msgspec.structs.replace(broken, number=number)


async def queue(gateway: Gateway, subject: Subject) -> list[Broken]:
    """What waits for review, and what was reviewed in the last month. ForbiddenError."""
    _check_reviewer(subject)
    async with gateway.unit(subject) as unit:
        found = await tables.waiting(unit, clock.now() - _SHOWN_FOR)
    await gateway.note(subject, "R", f"review queue of broken glass: {len(found)} rows")
    return found


async def review(gateway: Gateway, subject: Subject, number: int, verdict: str) -> None:
    """Judge a broken glass. NotFoundError, InvalidError for no verdict or one about himself."""
    _check_reviewer(subject)
    async with gateway.unit(subject) as unit:
        broken = await tables.one(unit, number)
        if broken is None:
            raise NotFoundError(f"There is no broken glass {number}")
        wrong = rules.review_faults(verdict, subject.user, broken.user)
        if wrong:
            raise InvalidError(issues=wrong)
        await tables.review(unit, number, verdict, subject.user)
    await gateway.note(
        subject, "U", f"broken glass {number}: {verdict}", patient=broken.patient)


def _check_reviewer(subject: Subject) -> None:
    if subject.role not in rules.MAY_REVIEW:
        raise ForbiddenError(f"The role {subject.role.value} reviews no emergency access")
