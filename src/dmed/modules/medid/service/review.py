"""Use cases: the queue of cards that may be one person's, and what a registrar decides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit.errors import ConflictError, NotFoundError, UnprocessableError
from dmed.modules.medid.rules import comparing, merging
from dmed.modules.medid.service.merging import merge_in
from dmed.modules.medid.tables import reviews
from dmed.modules.medid.tables.reviews import Pair
from dmed.trust.decide import Action
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

Record = dict[str, Any]
PAGE = 25
OPEN_COUNTED_MAX = 1_000


class Queue(msgspec.Struct, frozen=True):
    """One page of the queue."""

    rows: list[tuple[Pair, Record, Record]]
    count: int
    """Open pairs, counted up to OPEN_COUNTED_MAX."""


class Question(msgspec.Struct, frozen=True):
    """One pair, with the two cards as they stand now."""

    pair: Pair
    left: Record
    right: Record
    comparison: comparing.Comparison


async def propose(
    gateway: Gateway, subject: Subject, pairs: Iterable[tuple[str, str]], origin: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """Put pairs of cards up for review with the weight they have now."""
    async with gateway.unit(subject) as unit:
        for one, other in pairs:
            await propose_in(unit, one, other, origin, detail or {})


async def propose_in(
    unit: GatewayUnit, one: str, other: str, origin: str, detail: dict[str, Any]
) -> None:
    """As `propose` of one pair, in a transaction of the caller; a missing card is left out."""
    left, right = await unit.get("Patient", one), await unit.get("Patient", other)
    if left and right and one != other:
        said = comparing.compare(left, right)
        await reviews.add(unit, one, other, origin, round(said.weight, 2), detail)


async def queue(gateway: Gateway, subject: Subject, page: int = 0) -> Queue:
    """Open pairs, likeliest first; those of which a card is gone or merged are left out."""
    rows = []
    async with gateway.unit(subject) as unit:
        unit.check(Action.UPDATE, "Patient")
        for pair in await reviews.waiting(unit, PAGE, max(0, page) * PAGE):
            left, right = await unit.get("Patient", pair.first), await unit.get(
                "Patient", pair.second)
            if left and right:
                rows.append((pair, left, right))
        count = await reviews.count_open(unit, OPEN_COUNTED_MAX)
    await gateway.note(subject, "R", f"review queue of cards: {len(rows)} pairs")
    return Queue(rows, count)


async def question(gateway: Gateway, subject: Subject, number: int) -> Question:
    """One pair compared as the cards are now; NotFoundError."""
    async with gateway.unit(subject) as unit:
        unit.check(Action.UPDATE, "Patient")
        pair = await reviews.one(unit, number)
    if pair is None:
        await gateway.note(subject, "R", f"review of pair {number}", outcome=404)
        raise NotFoundError(f"there is no pair {number} to review")
    async with gateway.unit(subject) as unit:
        left, right = await unit.get("Patient", pair.first), await unit.get("Patient", pair.second)
        if left is None or right is None:
            raise NotFoundError("one of the two cards is no longer there")
    return Question(pair, left, right, comparing.compare(left, right))


async def say_distinct(gateway: Gateway, subject: Subject, number: int, reason: str) -> None:
    """They are two persons: the pair is not asked about again. Errors as `merge_pair`."""
    if len(reason.strip()) < merging.REASON_LETTERS_MIN:
        raise UnprocessableError("the decision needs a reason in words", "reason")
    async with gateway.unit(subject) as unit:
        unit.check(Action.UPDATE, "Patient")
        pair = await _open(unit, number)
        await reviews.decide(unit, number, "distinct", subject.user, reason.strip())
    await gateway.note(subject, "U", f"review {number}: Patient/{pair.first} and "
                       f"Patient/{pair.second} are two persons", patient=pair.first)


async def merge_pair(
    gateway: Gateway, subject: Subject, number: int, source: str, target: str, reason: str
) -> int:
    """They are one person: merge, and close the question in the same transaction.

    NotFoundError, ConflictError for a pair decided already, else as `merging.merge`.
    """
    async with gateway.unit(subject) as unit:
        pair = await _open(unit, number)
        if {source, target} != {pair.first, pair.second}:
            raise UnprocessableError(f"pair {number} is of other cards", "target")
        made = await merge_in(unit, subject, source, target, reason)
        await reviews.decide(unit, number, "merged", subject.user, reason.strip())
    await gateway.note(subject, "U", f"merge {made}: Patient/{source} into Patient/{target}",
                       patient=target)
    return made


async def _open(unit: GatewayUnit, number: int) -> Pair:
    pair = await reviews.one(unit, number, lock=True)
    if pair is None:
        raise NotFoundError(f"there is no pair {number} to review")
    if pair.verdict:
        raise ConflictError(f"pair {number} was decided already: {pair.verdict}")
    return pair


async def weigh(
    gateway: Gateway, subject: Subject, one: str, other: str
) -> tuple[Record, Record, comparing.Comparison]:
    """Two cards compared, in the queue or not; NotFoundError."""
    async with gateway.unit(subject) as unit:
        both = [await unit.get("Patient", each) for each in (one, other)]
    if both[0] is None or both[1] is None:
        raise NotFoundError("one of the two cards is not there")
    return both[0], both[1], comparing.compare(both[0], both[1])


