"""Checks beside the counter: packs asked about ahead of a sale, or after one that went unasked; and
the alerts that packs were put aside with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmed.kit.errors import InvalidError, NotFoundError, UnavailableError
from dmed.modules.pharmacy.model import Alert, PackState
from dmed.modules.pharmacy.rules import gs1, marking
from dmed.modules.pharmacy.rules.marking import Answer
from dmed.modules.pharmacy.rules.packs import Word
from dmed.modules.pharmacy.service import operator
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.pharmacy.tables import marking as marking_table
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

SETTLED = ("scanner", "data", "pack")
"""Whose an alert was found to be."""
_OWED_AT_ONCE = 1_000
_OWED_WAIT_S = 10.0
_ALERTS_MAX = 200
_GONE = frozenset({PackState.STOLEN, PackState.RECALLED, PackState.EXPIRED})
"""What must be told of a pack that went out unasked; its sale alone makes it "withdrawn"."""


async def ask_ahead(
    gateway: Gateway, subject: Subject, raws: Sequence[str], *, wait_s: float
) -> dict[str, Word]:
    """See `api.ask_ahead`."""
    pharmacy_of(subject)
    codes = list(dict.fromkeys(
        code.identity for raw in raws if isinstance(code := gs1.read(raw), gs1.Code)))
    if len(codes) > marking.REPORT_CODES_MAX:
        raise InvalidError(f"At most {marking.REPORT_CODES_MAX} codes are asked about at once")
    desk = operator.desk_of(gateway)
    if desk is not None:
        await desk.ask(codes, wait_s=wait_s, is_urgent=False)
    return await operator.words(gateway, codes, wait_s=0)


async def ask_boxes(
    gateway: Gateway, subject: Subject, raws: Sequence[str], tax_id: str
) -> Answer:
    """See `api.ask_boxes`."""
    pharmacy_of(subject)
    codes = []
    for raw in raws:
        box = gs1.read_box(raw)
        if isinstance(box, gs1.Fault):
            raise InvalidError(box.sentence)
        codes.append(f"00{box}")
    desk = operator.desk_of(gateway)
    if desk is None:
        raise UnavailableError("No marking operator is connected: count the packs one by one")
    try:
        return await desk.owned(codes, tax_id)
    except operator.LineError as away:
        raise UnavailableError(f"The marking operator says nothing of boxes now: {away}") from away


async def ask_owed(gateway: Gateway) -> None:
    """Each minute: asks about packs that went on without the operator's word; one that it does not
    know, or knows as stolen, recalled or expired, is an alert of the pharmacy that had it.
    """
    desk = operator.desk_of(gateway)
    if desk is None:
        return
    async with gateway.unit(operator.PLATFORM) as unit:
        await marking_table.forget_owed(unit, marking.REMEMBERED_DAYS)
        due = await marking_table.owed(unit, _OWED_AT_ONCE)
    if not due:
        return
    codes = {f"01{row['gtin']}21{row['serial']}": row for row in due}
    told = await desk.ask(list(codes), wait_s=_OWED_WAIT_S, is_urgent=False)
    missing = [code for code, word in told.items()
               if word.is_now and word.marked is not None and word.marked.seen is None]
    words = await operator.words(gateway, missing, wait_s=_OWED_WAIT_S) if missing else {}
    async with gateway.unit(operator.PLATFORM) as unit:
        for row in due:
            code = f"01{row['gtin']}21{row['serial']}"
            word = told[code]
            if word.marked is None or not word.is_now or word.marked.missing_since is not None:
                continue
            seen = word.marked.seen
            reason = "unknown_serial" if seen is None else (
                seen.state.value if seen.state in _GONE else "")
            is_caps = code in words and words[code].swapped_is_known
            if reason:
                await marking_table.raise_alert(
                    unit, row["pharmacy"], row["number"], row["gtin"], row["serial"],
                    "caps_lock" if is_caps else reason, "scanner" if is_caps else "pack")
            await marking_table.paid(unit, row["gtin"], row["serial"], row["pharmacy"])


async def alerts(gateway: Gateway, subject: Subject) -> list[Alert]:
    """See `api.alerts`."""
    async with gateway.unit(subject) as unit:
        rows = await marking_table.alerts(unit, pharmacy_of(subject), _ALERTS_MAX)
    return [Alert(**dict(row)) for row in rows]


async def settle(gateway: Gateway, subject: Subject, number: int, settled_as: str) -> None:
    """See `api.settle_alert`."""
    if settled_as not in SETTLED:
        raise InvalidError(f"{settled_as!r} is none of {', '.join(SETTLED)}")
    pharmacy = pharmacy_of(subject)
    async with gateway.unit(subject) as unit:
        if not await marking_table.settle_alert(unit, number, pharmacy, settled_as, subject.user):
            raise NotFoundError(f"This pharmacy has no open alert {number}")
