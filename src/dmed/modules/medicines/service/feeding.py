"""Deliveries: stage, validate, compare, guard, publish as a version.

Every page is taken in by one transaction with the count of pages, so that a process that dies
goes on behind it. The same delivery is taken once (its mark), the same content changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from dmed.kit.text import fold
from dmed.modules.medicines import tables
from dmed.modules.medicines.model import Delivery, Entry, Feed, Head, Page, Rejected, State
from dmed.modules.medicines.rules import changes
from dmed.modules.medicines.rules.rows import Names, read
from dmed.modules.medicines.service import force
from dmed.modules.medicines.service.sources import FeedError, Source, source_of
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

PLATFORM = Subject(user="medicines", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who takes deliveries in: a job, no person."""
KEEPERS = frozenset({Role.ADMINISTRATOR})
"""Who decides about what is held, and links substances."""
READERS = KEEPERS | {Role.INSPECTOR}
"""Who sees feeds, deliveries and quarantine."""
_PUBLISH_SECONDS_MAX = 60
_ENTRIES_AT_ONCE = 5_000
_LINKS_MAX = 200
EVERY_SECONDS = 5.0
"""How often a worker looks for a new version."""
_log = logging.getLogger("dmed.medicines")


async def job(gateway: Gateway) -> None:
    """Each minute: asks the feed of the settings when it is due, and warns where it is stale."""
    settings = gateway.settings
    if not settings.medicine_feed:
        return
    source = source_of(settings.medicine_feed, settings.medicine_feed_key)
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        feed = await tables.feed(unit, source.name, is_national=source.is_national)
    every = timedelta(minutes=settings.medicine_feed_minutes)
    if feed.asked is None or now - feed.asked >= every or feed.fault:
        await take(gateway, source)
    if is_stale(feed, now, settings.medicine_stale_hours):
        _log.warning("the register of medicines is stale: %s answered last %s", feed.name,
                     feed.reached)


def is_stale(feed: Feed, now: datetime, hours: int) -> bool:
    """Whether the feed gave nothing that could be used for so many hours."""
    return feed.reached is None or now - feed.reached > timedelta(hours=hours)


async def take(gateway: Gateway, source: Source, *, percent_max: int | None = None
               ) -> Delivery | None:
    """Asks a feed, takes what it has in and publishes it where nothing stands against it.

    None where there is nothing new, or the feed could not be read (its fault is kept, and the next
    call goes on where this one stopped).
    """
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        feed = await tables.feed(unit, source.name, is_national=source.is_national)
    try:
        head = await source.head(feed.mark, feed.as_of)
        number = None
        if head is not None:
            number = await _receive(gateway, source, feed, head, now)
    except FeedError as fault:
        _log.warning("the feed %s could not be read: %s", source.name, fault)
        async with gateway.unit(PLATFORM) as unit:
            await tables.note_asked(unit, source.name, now, str(fault)[:300])
        return None
    async with gateway.unit(PLATFORM) as unit:
        await tables.note_asked(unit, source.name, now, "")
    if number is None:
        return None
    return await conclude(gateway, number, percent_max=percent_max)


async def _receive(
    gateway: Gateway, source: Source, feed: Feed, head: Head, now: datetime
) -> int | None:
    """Stages all pages of a delivery; its number, None where it was dealt with before."""
    async with gateway.unit(PLATFORM) as unit:
        delivery = await tables.begin(unit, feed.name, head, now)
        links = await tables.links(unit)
        if delivery.state is not State.STAGING:
            # What is dealt with comes again: a duplicated delivery.
            await tables.took(unit, delivery)
            return None
        if feed.as_of is not None and head.as_of < feed.as_of:
            await tables.settle(unit, delivery.number, State.REFUSED, now, {}, ("late",))
            return None
    names = force.names(links)
    for page in range(delivery.pages_done + 1, head.pages + 1):
        came = await source.page(head, page)
        staged, rejected, notes, unlinked = await asyncio.to_thread(validated, came, names)
        async with gateway.unit(PLATFORM) as unit:
            await tables.stage(unit, delivery.number, page, staged, rejected, notes)
            await tables.ask_links(unit, unlinked)
    return delivery.number


def validated(
    page: Page, names: Names
) -> tuple[list[tables.Staged], list[Rejected], Counter[str], dict[str, tuple[str, int]]]:
    """A page as entries to stage, rows put aside, notes counted, and substances without a link."""
    staged: list[tables.Staged] = []
    rejected = list(page.broken)
    notes: Counter[str] = Counter(page.notes)
    unlinked: dict[str, tuple[str, int]] = {}
    for place, row in page.rows:
        found = read(place, row, names)
        if isinstance(found, Rejected):
            rejected.append(found)
            continue
        notes.update(found.notes)
        for one in found.strengths:
            name = fold(one.substance)
            if not one.inn and name not in names.links and len(unlinked) < _LINKS_MAX:
                unlinked[name] = (one.substance[:200], unlinked.get(name, ("", 0))[1] + 1)
        staged.append(staged_of(place, found))
    return staged, rejected, notes, unlinked


def staged_of(place: int, entry: Entry) -> tables.Staged:
    """An entry with its bytes, their digest and the folded words it is looked up by."""
    body = msgspec.json.encode(entry)
    words = " ".join((entry.key, entry.trade, entry.gtin, entry.registration, entry.atc,
                      *(one.substance for one in entry.strengths),
                      *(one.inn for one in entry.strengths)))  # fmt: skip  # One text.
    digest = hashlib.blake2b(body, digest_size=16).digest()
    return tables.Staged(place, entry, fold(words), digest, body.decode())


async def conclude(
    gateway: Gateway, number: int, *, percent_max: int | None = None, approver: str = ""
) -> Delivery:
    """Compares a staged delivery with the register and publishes, holds or refuses it.

    With an approver what was held is published. One transaction: a process that dies in it leaves
    the delivery staged, and the next call does it whole.
    """
    now = clock.now()
    async with gateway.unit(PLATFORM, seconds_max=_PUBLISH_SECONDS_MAX) as unit:
        delivery = await tables.delivery(unit, number, lock=True)
        if delivery is None:
            raise NotFoundError(f"There is no delivery {number} of medicines")
        wanted = {State.HELD} if approver else {State.STAGING}
        if delivery.state not in wanted:
            if approver:
                raise ConflictError(f"Delivery {number} is {delivery.state}, not held")
            return delivery
        await tables.feed(unit, delivery.feed, is_national=True, lock=True)
        await _publish(unit, gateway, delivery, now, percent_max, approver)
        settled = await tables.delivery(unit, number)
    if settled is None:
        raise NotFoundError(f"There is no delivery {number} of medicines")
    return settled


async def _publish(
    unit: GatewayUnit, gateway: Gateway, delivery: Delivery, now: datetime,
    percent_max: int | None, approver: str,
) -> None:
    number = delivery.number
    await tables.put_aside_reused(unit, number, delivery.feed)
    figures = await tables.counts(unit, number, delivery.feed, delivery.mode)
    diff = changes.Diff(figures["added"], figures["changed"], figures["withdrawn"],
                        figures["unchanged"], figures["current"])  # fmt: skip  # One record.
    most = gateway.settings.medicine_withdraw_percent if percent_max is None else percent_max
    verdict = changes.judge(diff, delivery.rows, figures["rejected"],
                            is_full=delivery.mode == "full", percent_max=most)
    reasons = list(verdict.reasons)
    if delivery.rows != delivery.rows_told:
        reasons.append("rows-missing")
    if reasons and not approver:
        await tables.settle(unit, number, State.HELD, now, figures, reasons)
        return
    if not diff.added + diff.changed + diff.withdrawn:
        await tables.settle(unit, number, State.EMPTY, now, figures, ())
        await tables.drop_stage(unit, number)
        await tables.took(unit, delivery)
        return
    await tables.settle(unit, number, State.PUBLISHED, now, figures, reasons)
    await tables.publish(unit, delivery, figures, now, approver)


# What people do ---------------------------------------------------------------------------------


def check_keeper(subject: Subject) -> None:
    """ForbiddenError for a role that does not keep the register."""
    if subject.role not in KEEPERS:
        raise ForbiddenError(f"The role {subject.role.value} does not keep the register")


async def approve(gateway: Gateway, subject: Subject, number: int) -> Delivery:
    """A person publishes what was held; NotFoundError, ConflictError, ForbiddenError."""
    check_keeper(subject)
    await gateway.note(subject, "U", f"delivery {number} of medicines published by hand")
    done = await conclude(gateway, number, approver=subject.user)
    await refresh(gateway)
    return done


async def refuse(gateway: Gateway, subject: Subject, number: int) -> None:
    """A person refuses what was held: nothing of it is ever published."""
    check_keeper(subject)
    await gateway.note(subject, "U", f"delivery {number} of medicines refused")
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        delivery = await tables.delivery(unit, number, lock=True)
        if delivery is None:
            raise NotFoundError(f"There is no delivery {number} of medicines")
        if delivery.state is not State.HELD:
            raise ConflictError(f"Delivery {number} is {delivery.state}, not held")
        figures = {"rejected": delivery.rejected}
        await tables.settle(unit, number, State.REFUSED, now, figures, delivery.reasons)
        await tables.drop_stage(unit, number)


async def link(gateway: Gateway, subject: Subject, name: str, inn: str) -> None:
    """A person says which INN a feed's substance is ("": none of ours); used from the next
    delivery on. InvalidError for no INN, NotFoundError for a name that nobody asked about.
    """
    check_keeper(subject)
    if inn:
        try:
            inn = force.find_inn(inn).key
        except NotFoundError as error:
            raise InvalidError(f"There is no INN {inn!r}") from error
    async with gateway.unit(PLATFORM) as unit:
        if not await tables.set_link(unit, fold(name), inn, subject.user, clock.now()):
            raise NotFoundError(f"No feed asks about {name!r}")
    await gateway.note(subject, "U", f"substance {name[:100]} linked to {inn or 'none'}")


async def fetch_now(gateway: Gateway, subject: Subject) -> Delivery | None:
    """A person asks the feed at once; InvalidError where the settings name none."""
    check_keeper(subject)
    settings = gateway.settings
    if not settings.medicine_feed:
        raise InvalidError("DMED_MEDICINE_FEED names no feed")
    await gateway.note(subject, "E", "feed of medicines asked")
    done = await take(gateway, source_of(settings.medicine_feed, settings.medicine_feed_key))
    await refresh(gateway)
    return done


# What is in force, in this worker ---------------------------------------------------------------


async def refresh(gateway: Gateway) -> int:
    """Puts the newest effective version in force in this process, where it is not; its number."""
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        newest = await tables.latest(unit, now)
    known = force.register()
    if newest == known.version and now < known.fresh_until:
        return newest
    stays: list[force.Stay] = []
    after = ""
    while newest:
        async with gateway.unit(PLATFORM) as unit:
            rows = await tables.stays(unit, now, after, _ENTRIES_AT_ONCE)
        stays += await asyncio.to_thread(_stays, rows)
        if len(rows) < _ENTRIES_AT_ONCE:
            break
        after = rows[-1]["mark"]
    force.use(await asyncio.to_thread(force.made_of, newest, stays, now) if newest else None)
    return newest


def _stays(rows: list[Any]) -> list[force.Stay]:
    return [force.Stay(row["feed"], msgspec.json.decode(row["body"], type=Entry),
                       row["begun"], row["ended"]) for row in rows]  # fmt: skip  # One list.


async def follow(gateway: Gateway) -> None:
    """Until it is ended: keeps the register of this worker as the database has it."""
    try:
        while True:
            try:
                await refresh(gateway)
            except (DmedError, OSError) as error:
                _log.warning("the register could not be read, again in a moment: %s", error)
            await asyncio.sleep(EVERY_SECONDS)
    finally:
        force.use(None)
