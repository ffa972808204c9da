"""Use cases: what a merge would move, merging, undoing; who stands for a card that was merged.

All cards of a person are held by one lock, that of the card which stands for them, so concurrent
merges queue. Cards are written from the one that gives up national numbers to the one that takes
them, since two active cards never carry the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.fhir.persons import replaced_by
from dmed.kit import i18n
from dmed.kit.errors import (
    ConflictError,
    InvalidError,
    Issue,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.medid.model import Finding
from dmed.modules.medid.rules import merging
from dmed.modules.medid.tables import merges, reviews
from dmed.modules.medid.tables.merges import Merge
from dmed.trust.decide import Action, Context, decide
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

Record = dict[str, Any]
Settle = Callable[[Record], Record]
"""Of the survivor as a merge composes it, the survivor as it shall be."""
_COUNTED_MAX = 60
"""Most types whose records a preview counts."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge would do, before it is done."""

    source: Record
    """The card that would be merged away."""
    target: Record
    """The card that would survive."""
    findings: list[Finding]
    brought: list[tuple[str, Any]]
    """(element, value): what the survivor would take over."""
    result: Record
    """The survivor as it would be."""
    counts: dict[str, int]
    """Records of the other card by type, of the types that the subject may see: they stay where
    they are and are shown on the survivor's card."""


async def preview(gateway: Gateway, subject: Subject, source_id: str, target_id: str) -> Preview:
    """What merging one card into another would do; NotFoundError for a card that is not there."""
    async with gateway.unit(subject) as unit:
        source, target = await _card(unit, source_id), await _card(unit, target_id)
        base, standing = await _own(unit, target)
        result, brought = merging.compose(base, [*[one for _, one in standing], source])
    enough = "x" * merging.REASON_LETTERS_MIN
    return Preview(
        source=source, target=target, findings=merging.check(source, target, enough),
        brought=[one for one in brought[-1] if one[0] != "link"], result=result,
        counts=await _counts(gateway, subject, source_id))


async def _counts(gateway: Gateway, subject: Subject, patient: str) -> dict[str, int]:
    found = {}
    for type_ in (await gateway.types_of(subject, patient))[:_COUNTED_MAX]:
        if type_ == "Patient" or not decide(subject, Action.SEARCH, type_, Context()).allowed:
            continue
        _, page = await gateway.search(
            subject, type_, [("_total", "accurate"), ("_count", "1")], patient=patient)
        if page.total:
            found[type_] = page.total
    return found


async def merge(
    gateway: Gateway, subject: Subject, source_id: str, target_id: str, reason: str,
    settle: Settle | None = None,
) -> int:
    """Merge one card into another; the number of the merge, by which it is undone.

    NotFoundError for a card that is not there, UnprocessableError with every reason against it,
    ConflictError where the cards were merged or undone at the same moment.
    """
    async with gateway.unit(subject) as unit:
        number = await merge_in(unit, subject, source_id, target_id, reason, settle)
    await gateway.note(subject, "U", f"merge {number}: Patient/{source_id} into "
                       f"Patient/{target_id}", patient=target_id)
    return number


async def merge_in(
    unit: GatewayUnit, subject: Subject, source_id: str, target_id: str, reason: str,
    settle: Settle | None = None,
) -> int:
    """As `merge`, in a transaction of the caller; `settle` may choose what the survivor says."""
    await _hold(unit, source_id, target_id)
    source, target = await _card(unit, source_id, lock=True), await _card(
        unit, target_id, lock=True)
    refuse(merging.check(source, target, reason))
    cards = [*await merges.members(unit, target_id), *await merges.members(unit, source_id)]
    if len(cards) > merging.CARDS_MAX:
        raise UnprocessableError(f"a person has at most {merging.CARDS_MAX} cards", "Patient.link")
    base, standing = await _own(unit, target)
    composed, brought = merging.compose(base, [*[one for _, one in standing], source])
    retired, taken = merging.retire(source, target_id)
    await unit.update("Patient", source_id, retired)
    await unit.update("Patient", target_id, settle(composed) if settle else composed)
    for (row, _), items in zip(standing, brought, strict=False):
        await merges.rewrite(unit, row.number, items)
    number = await merges.add(
        unit, source_id, target_id, brought=brought[-1], taken=taken, reason=reason.strip(),
        account=subject.user, name=subject.name)
    await unit.regroup([cards])
    return number


async def undo(gateway: Gateway, subject: Subject, number: int, reason: str) -> Merge:
    """Undo a standing merge, whatever was merged before or after it; both cards stand again.

    NotFoundError for no such merge, ConflictError for one undone already or where a number that
    goes back to the restored card now stands on another, UnprocessableError without a reason.
    """
    if len(reason.strip()) < merging.REASON_LETTERS_MIN:
        raise UnprocessableError("undoing a merge needs a reason in words", "reason")
    async with gateway.unit(subject) as unit:
        done = await merges.one(unit, number)
        if done is None:
            raise NotFoundError(f"there is no merge {number}")
        await _hold(unit, done.target)
        done = await merges.one(unit, number)
        if done is None or done.undone is not None:
            raise ConflictError(f"merge {number} was undone already")
        await _undo(unit, subject, done, reason.strip())
    await gateway.note(subject, "U", f"merge {number} undone: Patient/{done.source} stands again",
                       patient=done.target)
    return done


async def _undo(unit: GatewayUnit, subject: Subject, done: Merge, reason: str) -> None:
    root = await merges.root_of(unit, done.target)
    # From the card that loses what was brought upwards; each next is composed of the one before.
    changed: list[Record] = []
    below = await _card(unit, done.target, lock=True)
    base, standing = await _own(unit, below)
    left = [(row, one) for row, one in standing if row.number != done.number]
    await merges.close(unit, done.number, subject.user, reason)
    await reviews.reopen(unit, done.source, done.target)
    below = await _recomposed(unit, base, left)
    changed.append(below)
    while below["id"] != root:
        above = await _card(unit, replaced_by(below), lock=True)
        base, standing = await _own(unit, above)
        fresh = [(row, below if one["id"] == below["id"] else one) for row, one in standing]
        below = await _recomposed(unit, base, fresh)
        changed.append(below)
    for card in reversed(changed):
        await unit.update("Patient", card["id"], card)
    source = await _card(unit, done.source, lock=True)
    restored = merging.restore(source, done.target, done.taken)
    await unit.update("Patient", done.source, restored)
    await unit.regroup([await merges.members(unit, root),
                        await merges.members(unit, done.source)])


async def _recomposed(
    unit: GatewayUnit, base: Record, standing: list[tuple[Merge, Record]]
) -> Record:
    made, brought = merging.compose(base, [one for _, one in standing])
    for (row, _), items in zip(standing, brought, strict=True):
        await merges.rewrite(unit, row.number, items)
    return made


async def _own(
    unit: GatewayUnit, card: Record
) -> tuple[Record, list[tuple[Merge, Record]]]:
    """The card without what standing merges brought to it, and these with their other cards."""
    rows = await merges.into(unit, card["id"])
    base = card
    for row in reversed(rows):
        base = merging.strip(base, row.brought)
    return base, [(row, await _card(unit, row.source, lock=True)) for row in rows]


async def _card(unit: GatewayUnit, patient_id: str, *, lock: bool = False) -> Record:
    found = await unit.get("Patient", patient_id, lock=lock)
    if found is None:
        raise NotFoundError(f"there is no Patient/{patient_id}")
    return found


async def _hold(unit: GatewayUnit, *patients: str) -> None:
    """Nobody else merges or undoes among the cards of these persons until the unit ends."""
    roots = sorted({await merges.root_of(unit, one) for one in patients})
    for root in roots:
        await unit.lock(f"person:{root}")
    if roots != sorted({await merges.root_of(unit, one) for one in patients}):
        raise ConflictError("these cards were merged or undone meanwhile: look at them again")


def refuse(findings: list[Finding]) -> None:
    """UnprocessableError with every error among what was found."""
    english = i18n.translator()
    issues = tuple(Issue("business-rule", english.text("en", one.key, **one.values), one.field)
                   for one in findings if one.severity == "error")
    if issues:
        raise UnprocessableError(issues=issues)


# Who stands for whom ---------------------------------------------------------------------------


async def survivor(gateway: Gateway, subject: Subject, patient_id: str) -> str:
    """The id of the card that stands for this one: itself where it was not merged."""
    async with gateway.unit(subject) as unit:
        return await merges.root_of(unit, patient_id)


async def cards_of(gateway: Gateway, subject: Subject, patient_id: str) -> list[str]:
    """All cards of the person to whom this one belongs; the one that stands for them first."""
    async with gateway.unit(subject) as unit:
        return await merges.members(unit, await merges.root_of(unit, patient_id))


async def listed(
    gateway: Gateway, subject: Subject, patient_id: str = ""
) -> list[tuple[Merge, Record, Record]]:
    """Merges newest first with both cards: of one person, or the latest of all."""
    async with gateway.unit(subject) as unit:
        cards = None
        if patient_id:
            cards = await merges.members(unit, await merges.root_of(unit, patient_id))
            cards.append(patient_id)
        rows = await merges.lately(unit, cards)
        unit.check(Action.READ, "Patient")
        found: list[tuple[Merge, Record, Record]] = []
        for row in rows:
            both = [await unit.get("Patient", one) or {"id": one} for one in
                    (row.source, row.target)]
            found.append((row, both[0], both[1]))
    await gateway.note(subject, "R", f"list of merges: {len(found)}", patient=patient_id)
    return found


async def shown(gateway: Gateway, subject: Subject, number: int) -> tuple[Merge, Record, Record]:
    """One merge with both cards; NotFoundError."""
    if number < 1:
        raise InvalidError("a merge has a number from 1")
    async with gateway.unit(subject) as unit:
        row = await merges.one(unit, number)
    if row is None:
        await gateway.note(subject, "R", f"merge {number}", outcome=404)
        raise NotFoundError(f"there is no merge {number}")
    async with gateway.unit(subject) as unit:
        return row, await _card(unit, row.source), await _card(unit, row.target)
