"""A person's file: who may open it, and what of it whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError
from dmed.modules.workforce.model import Act, Order, Person, Post
from dmed.modules.workforce.rules import records
from dmed.modules.workforce.service import lists
from dmed.modules.workforce.tables import orders
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

POSTS_MAX = 100


class File(msgspec.Struct, frozen=True, kw_only=True):
    """All that the register knows of a person, as far as the reader may see it."""

    person: Person
    version: str
    posts: tuple[Post, ...]
    past: tuple[Post, ...]
    orders: tuple[Order, ...]
    """Discipline among them only for the person, a head of his institution and the keepers."""
    is_keeper: bool
    """Whether the reader may make orders about this person."""
    is_own: bool


async def posts(gateway: Gateway, subject: Subject, practitioner: str) -> list[Post]:
    """All posts of a person, running and past, newest first."""
    found = await gateway.find(
        subject, "PractitionerRole",
        f"practitioner=Practitioner/{practitioner}&_count={POSTS_MAX}")
    today = clock.today()
    made = [records.post(one, today) for one in found]
    return sorted(made, key=lambda one: (one.since or today, one.role), reverse=True)


def is_running(post: Post) -> bool:
    """Whether a post is held today or will be."""
    return post.is_active and (post.until is None or post.until >= clock.today())


async def may_keep(gateway: Gateway, subject: Subject, held: list[Post]) -> bool:
    """Whether the subject answers for one of these posts: its institution is among the own."""
    if subject.role in lists.KEEPERS:
        return True
    if subject.role not in lists.HEADS or not subject.organisation:
        return False
    own = await lists.house(gateway, subject)
    return any(is_running(one) and one.organisation in own.below for one in held)


async def file(gateway: Gateway, subject: Subject, practitioner: str) -> File:
    """A person's file. ForbiddenError for anybody but the person himself, a head of one of his
    institutions, and the keepers of the register. NotFoundError.
    """
    is_own = bool(subject.practitioner) and subject.practitioner == practitioner
    if not is_own and subject.role not in lists.HEADS:
        raise ForbiddenError("A file of staff is for the person and the heads of the institutions")
    record = await gateway.get(subject, "Practitioner", practitioner)
    held = await posts(gateway, subject, practitioner)
    is_keeper = await may_keep(gateway, subject, held)
    if not is_own and not is_keeper:
        raise ForbiddenError("This person holds no post at an institution of yours")
    async with gateway.unit(subject) as unit:
        ledger = await orders.of_person(unit, practitioner)
    if subject.role not in lists.KEEPERS and not is_own:
        own = (await lists.house(gateway, subject)).below
        ledger = [one for one in ledger
                  if one.act is not Act.DISCIPLINE or one.organisation in own]
    return File(
        person=records.person(record), version=record["meta"]["versionId"],
        posts=tuple(one for one in held if is_running(one)),
        past=tuple(one for one in held if not is_running(one)), orders=tuple(ledger),
        is_keeper=is_keeper and not is_own, is_own=is_own)
