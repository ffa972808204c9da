"""Reading the register for a person: each look is audited as one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dmed.kit.errors import NotFoundError
from dmed.kit.text import fold
from dmed.modules.medicines import rules, tables
from dmed.modules.medicines.model import (
    ChangeLine,
    Delivery,
    Entry,
    Feed,
    Link,
    Preparation,
    Product,
    Rejected,
    Version,
)
from dmed.modules.medicines.service import force

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway
    from dmed.trust.model import Subject

HITS_MAX = 20
OTHERS_MAX = 30
SHOWN_MAX = 20


class Hit(msgspec.Struct, frozen=True):
    """A preparation with its packs, as the register's search shows it."""

    label: str
    preparation: Preparation
    products: tuple[Product, ...]


class Found(msgspec.Struct, frozen=True):
    """What a search found: what may be prescribed, and entries of feeds by their words."""

    hits: tuple[Hit, ...] = ()
    others: tuple[tuple[str, Entry], ...] = ()


class RegisterState(msgspec.Struct, frozen=True):
    """Feeds, the latest versions and deliveries, and how many substances wait."""

    feeds: list[Feed]
    versions: list[Version]
    deliveries: list[Delivery]
    waiting: int


class Past(msgspec.Struct, frozen=True):
    """All that an entry was, newest first, and the version that withdrew it."""

    lines: list[tuple[Version, Entry]]
    ended: int | None


class Told(msgspec.Struct, frozen=True):
    """A version with its changes."""

    version: Version
    lines: list[ChangeLine]


class Received(msgspec.Struct, frozen=True):
    """A delivery with what it put aside."""

    delivery: Delivery
    rows: list[Rejected]
    by_reason: dict[str, int]


async def find(gateway: Gateway, subject: Subject, text: str, language: str) -> Found:
    """Preparations in force and entries of all feeds for typed text; none for no text."""
    if not text:
        return Found()
    register = force.register()
    entries = register.catalogue
    hits = []
    for item in register.index.find(text, HITS_MAX):
        preparation = entries.preparations[item.key]
        hits.append(Hit(rules.label(preparation, language), preparation,
                        entries.by_preparation[item.key]))  # fmt: skip  # One hit.
    async with gateway.unit(subject) as unit:
        others = await tables.looked_up(unit, fold(text), OTHERS_MAX)
    await gateway.note(subject, "R", f"register of medicines: {text}")
    shown = {product.key for hit in hits for product in hit.products}
    return Found(tuple(hits), tuple(one for one in others if one[1].key not in shown))


async def state(gateway: Gateway, subject: Subject) -> RegisterState:
    """Feeds, versions, deliveries."""
    async with gateway.unit(subject) as unit:
        found = RegisterState(
            await tables.feeds(unit), await tables.versions(unit, SHOWN_MAX),
            await tables.deliveries(unit, SHOWN_MAX), len(await tables.open_links(unit, 1_000)))
    await gateway.note(subject, "R", "register of medicines: feeds and versions")
    return found


async def past(gateway: Gateway, subject: Subject, key: str) -> Past:
    """All that an entry was."""
    async with gateway.unit(subject) as unit:
        found = Past(await tables.history(unit, key), await tables.ended_by(unit, key))
    await gateway.note(subject, "R", f"register of medicines: product {key}")
    return found


async def version(gateway: Gateway, subject: Subject, number: int) -> Told:
    """A version with its diff; NotFoundError."""
    async with gateway.unit(subject) as unit:
        one = await tables.version(unit, number)
        lines = await tables.diff(unit, number)
    await gateway.note(subject, "R", f"register of medicines: version {number}")
    if one is None:
        raise NotFoundError(f"There is no version {number} of the register of medicines")
    return Told(one, lines)


async def delivery(gateway: Gateway, subject: Subject, number: int, reason: str) -> Received:
    """A delivery with its quarantine, of one reason where it is given; NotFoundError."""
    async with gateway.unit(subject) as unit:
        one = await tables.delivery(unit, number)
        rows = await tables.rejected(unit, number, reason)
        by_reason = await tables.rejected_by_reason(unit, number)
    await gateway.note(subject, "R", f"register of medicines: delivery {number}")
    if one is None:
        raise NotFoundError(f"There is no delivery {number} of medicines")
    return Received(one, rows, by_reason)


async def links(gateway: Gateway, subject: Subject) -> list[Link]:
    """Substances that wait for a person."""
    async with gateway.unit(subject) as unit:
        found = await tables.open_links(unit)
    await gateway.note(subject, "R", "register of medicines: substances without a link")
    return found
