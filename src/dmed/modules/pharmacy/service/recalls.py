"""Recalls: the authority stops a batch or a product, and every counter refuses it at once."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules.stock import Recall
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.pharmacy.service.stock import noted
from dmed.modules.pharmacy.tables import receipts as table
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

AUTHORITY = frozenset({Role.ADMINISTRATOR, Role.INSPECTOR})
LISTED_MAX = 200
IN_FORCE_MAX = 10_000


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One pharmacy and what it has, and gave out, of recalled stock."""

    pharmacy: str
    name: str
    lots: tuple[str, ...]
    quantity: Decimal
    """In stock, in units of presentation."""
    handed: Decimal
    """Handed over and not undone."""
    patients: int


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One hand-over of recalled stock, as the pharmacy that made it sees it."""

    patient: str
    name: str
    phone: str
    number: str
    lot: str
    quantity: Decimal
    at: Any


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Where recalled stock is."""

    recall: Recall
    product: medicines.Product | None
    holders: tuple[Holder, ...]
    received: tuple[Received, ...]
    """Only for the pharmacy that handed it over: the authority needs numbers, no persons."""


async def announce(
    gateway: Gateway, subject: Subject, gtin: str, lot: str, grade: int, reason: str,
    document: str = "",
) -> int:  # fmt: skip  # What is recalled and why.
    """Recall a batch, or every batch (""), of a product; its number. From the next scan on every
    counter refuses it. ForbiddenError for anybody but the authority, ConflictError for a second
    recall of the same.
    """
    _authority(subject)
    reason = " ".join(reason.split())
    if medicines.product_or_none(gtin) is None:
        raise NotFoundError(f"No registered medicine has GTIN {gtin}")
    if not 3 <= len(reason) <= 500:
        raise InvalidError("Say in 3 to 500 characters why it is recalled")
    if grade not in {1, 2, 3}:
        raise InvalidError("A recall has class 1, 2 or 3")
    async with gateway.unit(subject) as unit:
        number = await table.keep_recall(
            unit, gtin, lot.strip()[:20], grade, reason, document.strip()[:100], subject.user
        )
        if number is None:
            raise ConflictError("This product and batch is recalled already")
        await noted(unit, subject, f"recall {number} of {gtin} {lot}")
    return number


def _authority(subject: Subject) -> None:
    if subject.role not in AUTHORITY:
        raise ForbiddenError("Only the authority recalls a medicine")


async def end(gateway: Gateway, subject: Subject, number: int) -> None:
    """End a recall: what was stopped may be handed over again."""
    _authority(subject)
    async with gateway.unit(subject) as unit:
        if await table.recall(unit, number) is None:
            raise NotFoundError(f"There is no recall {number}")
        if not await table.end_recall(unit, number, subject.user):
            raise ConflictError("This recall has ended already")
        await noted(unit, subject, f"recall {number} ended")


async def listed(gateway: Gateway, subject: Subject) -> list[tuple[Recall, Decimal]]:
    """Every recall, those in force first, with what stands of it: in this pharmacy for its staff,
    in the country for the authority.
    """
    is_authority = subject.role in AUTHORITY
    pharmacy = "" if is_authority else pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        found = await table.recalls(unit, LISTED_MAX)
        out = []
        for one in found:
            rows = await ledger.holders(unit, one.gtin, one.lot)
            out.append((one, sum(
                (max(row["quantity"], Decimal(0)) for row in rows
                 if is_authority or row["pharmacy"] == pharmacy), Decimal(0))))  # fmt: skip  # Sum.
        await noted(unit, subject, "recalls looked at")
    return out


async def in_force(gateway: Gateway, subject: Subject) -> list[Recall]:
    """Recalls that have not ended, at most 10,000."""
    async with gateway.unit(subject) as unit:
        return [one for one in await table.recalls(unit, IN_FORCE_MAX) if one.ended_at is None]


async def reach(gateway: Gateway, subject: Subject, number: int) -> Reach:
    """Where a recalled batch is. The authority sees every pharmacy with figures; a pharmacy sees
    itself, and the persons to whom it handed it over, so that it can call them.
    """
    is_authority = subject.role in AUTHORITY
    pharmacy = "" if is_authority else pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        recall = await table.recall(unit, number)
        if recall is None:
            raise NotFoundError(f"There is no recall {number}")
        stands = await ledger.holders(unit, recall.gtin, recall.lot)
        handed = await ledger.received(unit, recall.gtin, recall.lot, pharmacy)
        await noted(unit, subject, f"recall {number} looked at")
    if pharmacy:
        stands = [row for row in stands if row["pharmacy"] == pharmacy]
    return Reach(
        recall=recall,
        product=medicines.product_or_none(recall.gtin),
        holders=tuple(await _holders(gateway, subject, stands, handed)),
        received=() if is_authority else tuple(await _received(gateway, subject, handed)),
    )


async def _holders(
    gateway: Gateway, subject: Subject, stands: list[Any], handed: list[Any]
) -> list[Holder]:
    """One row a pharmacy, the fullest first."""
    lots: dict[str, set[str]] = defaultdict(set)
    quantity: dict[str, Decimal] = defaultdict(Decimal)
    out: dict[str, Decimal] = defaultdict(Decimal)
    persons: dict[str, set[str]] = defaultdict(set)
    for row in stands:
        if row["quantity"] > 0:
            lots[row["pharmacy"]].add(row["lot"])
            quantity[row["pharmacy"]] += row["quantity"]
    for row in handed:
        out[row["pharmacy"]] += row["quantity"]
        persons[row["pharmacy"]].add(row["patient"])
    made = []
    for key in {*quantity, *out}:
        try:
            name = (await facilities.organisation(gateway, subject, key)).name
        except NotFoundError:
            name = key
        made.append(Holder(
            pharmacy=key, name=name, lots=tuple(sorted(lots[key])), quantity=quantity[key],
            handed=out[key], patients=len(persons[key]),
        ))  # fmt: skip  # Facts of one pharmacy.
    return sorted(made, key=lambda one: (-one.quantity, one.name, one.pharmacy))


async def _received(gateway: Gateway, subject: Subject, handed: list[Any]) -> list[Received]:
    """Each hand-over with the person's name and telephone, read and audited as any card."""
    cards: dict[str, tuple[str, str]] = {}
    out = []
    for row in handed:
        key = row["patient"]
        if key not in cards:
            cards[key] = await _card(gateway, subject, key)
        out.append(Received(
            patient=key, name=cards[key][0], phone=cards[key][1], number=row["number"],
            lot=row["lot"], quantity=row["quantity"], at=row["at"],
        ))  # fmt: skip  # Facts of one hand-over.
    return out


async def _card(gateway: Gateway, subject: Subject, patient: str) -> tuple[str, str]:
    try:
        card = await gateway.get(subject, "Patient", patient)
    except (NotFoundError, ForbiddenError):
        return "", ""
    name = (card.get("name") or [{}])[0]
    said = name.get("text") or " ".join([name.get("family", ""), *name.get("given", [])])
    phone = next((one.get("value", "") for one in card.get("telecom", [])
                  if one.get("system") == "phone"), "")  # fmt: skip  # A search.
    return said.strip(), phone
