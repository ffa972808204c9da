"""Cases: a flag is told to its prescriber, who may answer; then others look into it and end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Case, CaseState, Outcome
from dmed.modules.analytics.service.figures import open_since, staff
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

INSPECTORS = frozenset({Role.INSPECTOR, Role.ADMINISTRATOR})
"""The authority's inspectors; the administrator of an installation that has none yet."""
SEES_OTHERS = INSPECTORS | {Role.HEAD}
SEES_FIGURES = SEES_OTHERS | {Role.DOCTOR}
SEES_LINES = INSPECTORS | {Role.DOCTOR}
"""Who sees the prescriptions behind a case. A head answers for staff and sees nothing of anybody's
health."""
WORDS_MAX = 1_000
_LIMIT = 500


def words_of(text: str) -> str:
    """A sentence that somebody typed; InvalidError where it is empty or too long."""
    text = " ".join(text.split())
    if not 3 <= len(text) <= WORDS_MAX:
        raise InvalidError(f"Say in 3 to {WORDS_MAX} characters what it is about")
    return text


async def own(gateway: Gateway, subject: Subject) -> list[Case]:
    """The cases about the subject's own prescribing, told from the first day."""
    async with gateway.unit(subject) as unit:
        return await tables.cases(unit, open_since(clock.now()), limit=_LIMIT,
                                  prescribers=[subject.practitioner_role])


async def opened(gateway: Gateway, subject: Subject) -> list[Case]:
    """Cases that may be looked into, open and closed: all for an inspector, those of the own staff
    for a head; what was only told to its prescriber is left out. ForbiddenError for others.
    """
    check(subject, SEES_OTHERS)
    within = await staff_of(gateway, subject)
    async with gateway.unit(subject) as unit:
        found = await tables.cases(
            unit, open_since(clock.now()), prescribers=within, limit=_LIMIT)
    return [one for one in found if one.state is not CaseState.TOLD]


async def staff_of(gateway: Gateway, subject: Subject) -> Sequence[str] | None:
    """The posts whose figures a head sees: those of the institution and all below; None: all."""
    if subject.role is not Role.HEAD:
        return None
    return (await staff(gateway)).at(subject.organisation)


async def case(gateway: Gateway, subject: Subject, number: int) -> Case:
    """One case: of the own prescribing, or one that is open to the subject; NotFoundError."""
    async with gateway.unit(subject) as unit:
        found = await tables.case(unit, number, open_since(clock.now()))
    if found is not None and not await _sees(gateway, subject, found):
        found = None
    await gateway.note(subject, "E", f"prescribing case {number}",
                       outcome=200 if found else 404)
    if found is None:
        raise NotFoundError(f"There is no case {number}")
    return found


async def _sees(gateway: Gateway, subject: Subject, found: Case) -> bool:
    if subject.role is Role.DOCTOR:
        return bool(subject.practitioner_role) and found.prescriber == subject.practitioner_role
    if subject.role not in SEES_OTHERS or found.state is CaseState.TOLD:
        return False
    within = await staff_of(gateway, subject)
    return within is None or found.prescriber in within


async def answer(gateway: Gateway, subject: Subject, number: int, text: str) -> None:
    """The prescriber's own words; with them the case is open. ConflictError once it is closed."""
    found = await case(gateway, subject, number)
    if subject.role is not Role.DOCTOR:
        raise ForbiddenError("Only the prescriber answers")
    words = words_of(text)
    if found.state is CaseState.CLOSED:
        raise ConflictError(f"The case {number} is closed already")
    async with gateway.unit(subject) as unit:
        await tables.answer(unit, number, words)
    await gateway.note(subject, "E", f"prescribing case {number} answered")


async def take(gateway: Gateway, subject: Subject, number: int) -> None:
    """The inspector looks into it himself."""
    await _work(gateway, subject, number)
    async with gateway.unit(subject) as unit:
        await tables.assign(unit, number, subject.user)
    await gateway.note(subject, "E", f"prescribing case {number} taken")


async def note(gateway: Gateway, subject: Subject, number: int, text: str) -> None:
    """What was found so far, signed with name and day."""
    await _work(gateway, subject, number)
    line = f"{clock.today():%Y-%m-%d} {subject.name or subject.user}: {words_of(text)}"
    async with gateway.unit(subject) as unit:
        await tables.note(unit, number, line)
    await gateway.note(subject, "E", f"prescribing case {number} noted")


async def close(
    gateway: Gateway, subject: Subject, number: int, outcome: str, text: str
) -> None:
    """Ends a case with an outcome and words; InvalidError for an unknown outcome."""
    if outcome not in set(Outcome):
        raise InvalidError(f"{outcome[:20]!r} is no outcome")
    await note(gateway, subject, number, text)
    async with gateway.unit(subject) as unit:
        await tables.close(unit, number, Outcome(outcome))
    await gateway.note(subject, "E", f"prescribing case {number} closed: {outcome}")


async def _work(gateway: Gateway, subject: Subject, number: int) -> None:
    check(subject, INSPECTORS)
    if (await case(gateway, subject, number)).state is CaseState.CLOSED:
        raise ConflictError(f"The case {number} is closed already")


def check(subject: Subject, roles: frozenset[Role]) -> None:
    """ForbiddenError for a role that may not see this."""
    if subject.role not in roles:
        raise ForbiddenError(f"The role {subject.role.value} sees no figures of others")
