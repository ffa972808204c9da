"""Patient/$merge: which cards are meant, what would be done, and doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from dmed.kit import i18n
from dmed.kit.errors import Issue, NotFoundError, UnprocessableError
from dmed.modules.medid.rules import merge_wire
from dmed.modules.medid.rules.merge_wire import Asked, Side
from dmed.modules.medid.service import crossing, merging
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

Record = dict[str, Any]
PLATFORM = Subject(user="platform", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")


async def run(gateway: Gateway, subject: Subject, asked: Asked) -> bytes:
    """Merge the two cards, or with `preview` say what a merge would do; the answer's Parameters.

    NotFoundError for a card that is not there, UnprocessableError with everything that forbids
    the merge; then nothing is changed.
    """
    source = await _meant(gateway, subject, asked.source)
    target = await _meant(gateway, subject, asked.target)
    looked = await merging.preview(gateway, subject, source, target)
    merging.refuse(looked.findings)
    result = _settle(asked, looked.result)
    english = i18n.translator()
    warnings = [english.text("en", one.key, **one.values) for one in looked.findings]
    moved = ", ".join(f"{count:,} {type_}" for type_, count in looked.counts.items())
    told = [f"Records of Patient/{source} that answer under Patient/{target} too: {moved}"
            if moved else f"Patient/{source} has no records that you may see"]
    if asked.is_preview:
        await gateway.note(subject, "R", f"$merge of Patient/{source} into Patient/{target} "
                           "looked at, nothing done", patient=target)
        return merge_wire.answer(asked, result, warnings, [
            f"Preview: Patient/{source} would be merged into Patient/{target}", *told])
    number = await merging.merge(
        gateway, subject, source, target, asked.reason, lambda composed: _settle(asked, composed))
    stands = await gateway.get(subject, "Patient", target)
    return merge_wire.answer(asked, stands, warnings, [
        f"Patient/{source} was merged into Patient/{target}: undone by its number {number}", *told])


def _settle(asked: Asked, composed: Record) -> Record:
    if asked.result is None:
        return composed
    made, against = merge_wire.settled(composed, asked.result)
    if against:
        raise UnprocessableError(issues=tuple(
            Issue("business-rule", one, "result-patient") for one in against))
    return made


async def _meant(gateway: Gateway, subject: Subject, side: Side) -> str:
    if not side.numbers:
        return side.id
    cards = [one["id"] for one in await crossing.named(gateway, subject, side.numbers)]
    if not cards:
        raise NotFoundError(
            f"nobody carries {side.name}-patient-identifier", f"{side.name}-patient-identifier")
    if side.id and side.id not in cards:
        raise UnprocessableError(
            f"{side.name}-patient does not carry {side.name}-patient-identifier",
            f"{side.name}-patient")
    if not side.id and len(cards) > 1:
        raise UnprocessableError(issues=(Issue(
            "multiple-matches", f"several cards carry {side.name}-patient-identifier",
            f"{side.name}-patient-identifier"),))
    return side.id or cards[0]


async def define(gateway: Gateway) -> None:
    """Each minute: the OperationDefinition is stored as it is here; looks once in a process."""
    if gateway in _defined:
        return
    wanted = merge_wire.DEFINITION
    async with gateway.unit(PLATFORM) as unit:
        stored = await unit.get("OperationDefinition", wanted["id"])
        bare = {name: value for name, value in (stored or {}).items() if name != "meta"}
        if bare != wanted:
            await unit.update("OperationDefinition", wanted["id"], wanted)
    _defined.add(gateway)


_defined: WeakSet[Gateway] = WeakSet()
