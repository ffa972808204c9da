"""Cases of the counter without a network: seen by both pharmacies, judged by the authority.

A case never touches the person: nothing is locked, nothing is counted against anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.kit.i18n import Speech
from dmed.modules.facilities import api as facilities
from dmed.modules.pharmacy.rules.offline import Judged
from dmed.modules.pharmacy.service import offline_store as store
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Finding
from dmed.pages import sentences
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_REPEATS = {"double", "closed", "licence", "token"}
JUDGES = frozenset({Role.INSPECTOR, Role.ADMINISTRATOR})
WORDS_MAX = 1000


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A case with the act that it is about, and the names of the pharmacies."""

    case: store.Case
    act: store.Kept
    names: dict[str, str]


def _reach(subject: Subject) -> str:
    """The pharmacy to which a subject's view is limited; "" for the authority."""
    if subject.role in JUDGES:
        return ""
    if subject.role is not Role.PHARMACIST or not subject.organisation:
        raise ForbiddenError("Cases are for the pharmacies they are about, and for the authority")
    return subject.organisation


async def listed(gateway: Gateway, subject: Subject, *, closed: bool) -> list[store.Case]:
    """Open or closed cases, newest first, at most 200: of the own pharmacy, or all."""
    async with gateway.unit(subject) as unit:
        found = await store.cases(unit, _reach(subject), closed=closed)
    await gateway.note(subject, "R", "offline cases")
    return found


async def case(gateway: Gateway, subject: Subject, number: int) -> Shown:
    """One case; NotFoundError where there is none, ForbiddenError for who is no party to it."""
    own = _reach(subject)
    async with gateway.unit(subject) as unit:
        found = await store.case(unit, number)
        act = await store.act(unit, found.act) if found else None
    if found is None or act is None:
        raise NotFoundError(f"There is no case {number}")
    if own and own not in {found.pharmacy, *found.others}:
        raise ForbiddenError("This case is about other pharmacies")
    await gateway.note(subject, "R", f"offline case {number}")
    return Shown(case=found, act=act, names=await names(gateway, subject, [found]))


async def names(gateway: Gateway, subject: Subject, found: list[store.Case]) -> dict[str, str]:
    """Names of the pharmacies of cases by id; an id that is no record any more names itself."""
    made = {}
    for id_ in sorted({each for one in found for each in (one.pharmacy, *one.others)}):
        try:
            made[id_] = (await facilities.organisation(gateway, subject, id_)).name
        except NotFoundError:
            made[id_] = id_
    return made


def said(t: Speech, finding: Finding) -> str:
    """A finding in the reader's language, with the rules' own words where it repeats them. Pure."""
    name = finding.reason.key.rsplit(".", 1)[-1]
    text = prescriptions.say(t, finding.reason)
    return f"{text} — {sentences.said(t, finding.sentence)}" if name in _REPEATS else text


async def judge(gateway: Gateway, subject: Subject, number: int, verdict: str, words: str) -> None:
    """End a case with a verdict and words. ForbiddenError for who is not of the authority,
    InvalidError without words, ConflictError for a case that was ended before.
    """
    if subject.role not in JUDGES:
        raise ForbiddenError("Only the authority judges a case")
    if verdict not in set(Judged):
        raise InvalidError(f"{verdict!r} is no verdict of the list")
    if not 3 <= len(words) <= WORDS_MAX:
        raise InvalidError(f"Say why, in 3 to {WORDS_MAX} characters")
    async with gateway.unit(subject) as unit:
        if await store.case(unit, number) is None:
            raise NotFoundError(f"There is no case {number}")
        is_done = await store.close_case(
            unit, number, Judged(verdict), words, subject.user, clock.now())
    if not is_done:
        raise ConflictError("This case was ended before")
    await gateway.note(subject, "U", f"offline case {number}: {verdict}")
