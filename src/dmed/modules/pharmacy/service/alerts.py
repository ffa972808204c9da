"""Alerts of packs that were put aside: seen by their pharmacy and by the authority, and ended."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import Alert, PackState
from dmed.modules.pharmacy.rules import alerts as rules
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.pharmacy.service.stock import noted
from dmed.modules.pharmacy.tables import marking as table
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

AUTHORITY = frozenset({Role.ADMINISTRATOR, Role.INSPECTOR})
FAULTS = ("scanner", "data", "pack")
COUNTED_DAYS = 90
_LISTED_MAX = 200
_SAME_MAX = 20


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many alerts there are; a false one was the scanner's or the data's."""

    open: dict[str, int]
    """Class -> how many wait."""
    closed: dict[str, int]
    """Class -> how many of the last 90 days ended so."""

    @property
    def false_percent(self) -> int | None:
        """Of a hundred that ended, how many were no fault of the pack; None where none ended."""
        total = sum(self.closed.values())
        return round(100 * (total - self.closed.get("pack", 0)) / total) if total else None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts with what a list shows of them."""

    alerts: tuple[Alert, ...]
    counts: Counts
    names: dict[str, str]
    """Pharmacy -> its name."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One alert with what is known of its pack."""

    alert: Alert
    name: str
    """Of the pharmacy."""
    product: medicines.Product | None
    state: PackState | None
    """As our own records have the pack; None: nobody here met it."""
    balance: Decimal | None
    lot: str
    expiry: date | None
    asked: datetime | None
    """When the marking operator spoke of it last; None: never."""
    is_known: bool
    """Whether the operator knew it then."""
    shelf: str | None
    """Where it stands in this pharmacy's stock; None: it was not received here, or left."""
    others: tuple[tuple[str, Alert], ...]
    """Further alerts about the pack with the names of their pharmacies; for the authority."""
    others_count: int
    """How many pharmacies beside this one put it aside."""
    outcomes: tuple[rules.Outcome, ...]
    """How whoever looks may end it; empty once it ended."""


def _reach(subject: Subject) -> str:
    """The pharmacy to which a view is limited; "" for the authority."""
    return "" if subject.role in AUTHORITY else pharmacy_of(subject)


async def listed(
    gateway: Gateway, subject: Subject, *, fault: str = "", closed: bool = False
) -> Listed:
    """Open or closed alerts, newest first, at most 200: of the own pharmacy, or of the country for
    the authority. `fault`: only one class.
    """
    pharmacy, since = _reach(subject), clock.now() - timedelta(days=COUNTED_DAYS)
    fault = fault if fault in FAULTS else ""
    async with gateway.unit(subject) as unit:
        rows = await table.listed_alerts(unit, pharmacy, fault, _LISTED_MAX, closed=closed)
        counted = await table.alert_counts(unit, pharmacy, since)
        await noted(unit, subject, "packs put aside: looked at")
    found = tuple(Alert(**dict(row)) for row in rows)
    return Listed(
        alerts=found, names=await _names(gateway, subject, {one.pharmacy for one in found}),
        counts=Counts(
            open={row["class"]: row["n"] for row in counted if not row["is_closed"]},
            closed={row["class"]: row["n"] for row in counted if row["is_closed"]}),
    )  # fmt: skip  # Facts of one list.


async def shown(gateway: Gateway, subject: Subject, number: int) -> Shown:
    """One alert. NotFoundError where there is none, or where it is another pharmacy's: who guesses
    numbers learns nothing.
    """
    pharmacy = _reach(subject)
    async with gateway.unit(subject) as unit:
        row = await table.alert(unit, number)
        if row is None or pharmacy not in {"", row["pharmacy"]}:
            raise NotFoundError(f"There is no alert {number}")
        one = Alert(**dict(row))
        same = [Alert(**dict(each)) for each in await table.alerts_of_pack(
            unit, one.gtin, one.serial, _SAME_MAX)]
        pack = await tables.pack(unit, one.gtin, one.serial)
        told = await table.marked(unit, [f"01{one.gtin}21{one.serial}"])
        place = await ledger.stock_pack(unit, one.gtin, one.serial)
        await noted(unit, subject, f"pack alert {number} looked at")
    others = [each for each in same if each.id != one.id]
    named = {one.pharmacy, *({each.pharmacy for each in others} if not pharmacy else ())}
    names = await _names(gateway, subject, named)
    is_here = place is not None and place["pharmacy"] == one.pharmacy and not place["gone"]
    return Shown(
        alert=one, name=names[one.pharmacy], product=medicines.product_or_none(one.gtin),
        state=PackState(pack["state"]) if pack else None,
        balance=pack["balance"] if pack else None,
        lot=pack["lot"] if pack else "", expiry=pack["expiry"] if pack else None,
        asked=told[0]["asked"] if told else None, is_known=bool(told and told[0]["is_known"]),
        shelf=place["shelf"] if place is not None and is_here else None,
        others=() if pharmacy else tuple((names[each.pharmacy], each) for each in others),
        others_count=len({each.pharmacy for each in others} - {one.pharmacy}),
        outcomes=() if one.settled else rules.outcomes(one.reason, is_authority=not pharmacy),
    )  # fmt: skip  # Facts of one page.


async def close(
    gateway: Gateway, subject: Subject, number: int, outcome: str, words: str
) -> None:
    """End an alert with an outcome and words. InvalidError for what is no outcome, or says nothing,
    ForbiddenError for a pack that the authority alone clears, NotFoundError for another pharmacy's,
    ConflictError for one that was ended before.
    """
    pharmacy, words = _reach(subject), " ".join(words.split())
    async with gateway.unit(subject) as unit:
        row = await table.alert(unit, number)
        if row is None or pharmacy not in {"", row["pharmacy"]}:
            raise NotFoundError(f"There is no alert {number}")
        if wrong := rules.faulty(outcome, words):
            raise InvalidError(wrong)
        ending = rules.Outcome(outcome)
        if wrong := rules.refusal(row["reason"], ending, is_authority=not pharmacy):
            raise ForbiddenError(wrong)
        if not await table.settle_alert(
            unit, number, pharmacy, rules.FAULT_OF[ending], subject.user, outcome, words,
        ):  # fmt: skip  # One statement.
            raise ConflictError("This alert was ended before")
        await noted(unit, subject, f"pack alert {number} ended: {outcome}")


async def _names(gateway: Gateway, subject: Subject, wanted: set[str]) -> dict[str, str]:
    """Names of pharmacies by id; one that is no record any more names itself."""
    made = {}
    for id_ in sorted(wanted):
        try:
            made[id_] = (await facilities.organisation(gateway, subject, id_)).name
        except NotFoundError:
            made[id_] = id_
    return made
