"""The marking operator as a port: its word on packs before they are judged.

Asked always before a unit begins, never inside one: a transaction that waits for somebody else's
service would hold its locks and its connection. Two adapters: Asl Belgisi over HTTP
(`DMED_MARKING_OPERATOR`), and the invented packs of the GS1 demonstration prefix.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec

from dmed.kit import clock
from dmed.kit.settings import Settings
from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.rules.marking import Marked
from dmed.modules.pharmacy.rules.packs import Source, Word
from dmed.modules.pharmacy.service.operator.asl_belgisi import AslBelgisi, LineError
from dmed.modules.pharmacy.service.operator.demo import DEMO_PREFIX, invented
from dmed.modules.pharmacy.service.operator.desk import PLATFORM, Desk, Told

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

__all__ = ["PLATFORM", "Desk", "LineError", "Told", "desk_of", "invented", "words"]

_DESKS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, Desk]] = WeakKeyDictionary()


def desk_of(gateway: Gateway) -> Desk | None:
    """The desk of this worker for the operator of the settings; None where none is connected."""
    settings = gateway.settings
    if not settings.marking_operator:
        return None
    desks = _DESKS.setdefault(asyncio.get_running_loop(), {})
    desk = desks.get(settings)
    if desk is None:
        line = AslBelgisi(settings.marking_operator, settings.marking_key)
        desk = desks[settings] = Desk(gateway, line)
    return desk


async def words(
    gateway: Gateway, raws: Sequence[str], *, wait_s: float | None = None
) -> dict[str, Word]:
    """The operator's word on each pack code among scanned texts, by identity. Never raises for an
    operator that fails: the word then says what it rests on. Not to be called inside a unit.
    `wait_s`: the longest wait, None as the settings say.
    """
    codes = [code for raw in raws if isinstance(code := gs1.read(raw), gs1.Code)]
    desk = desk_of(gateway)
    is_needed = gateway.settings.marking_needed
    if desk is None:
        return {code.identity: _without(code, is_needed) for code in codes}
    told = await desk.ask([code.identity for code in codes], wait_s=wait_s)
    turned = {_turned(code) for code in codes
              if _is_missing(told[code.identity]) and _turned(code) != code.identity}
    swapped = await desk.ask(sorted(turned), wait_s=wait_s) if turned else {}
    made = {}
    for code in codes:
        other = swapped.get(_turned(code))
        is_swapped = other is not None and other.marked is not None and (
            other.marked.seen is not None)
        word = _word(told[code.identity])
        made[code.identity] = msgspec.structs.replace(
            word, swapped_is_known=is_swapped, is_needed=is_needed,
            is_owed=word.source is not Source.OPERATOR)
    return made


def _turned(code: gs1.Code) -> str:
    """The identity as Caps Lock would make it."""
    return f"01{code.gtin}21{code.serial.swapcase()}"


def _is_missing(told: Told) -> bool:
    return told.marked is not None and told.marked.seen is None


def _word(told: Told) -> Word:
    """What an answer, of now or of before, comes to."""
    marked = told.marked
    if marked is None or marked.missing_since is not None:
        # It contradicts itself: as good as away, and what it told before is all there is.
        return _remembered(marked) if marked else Word(seen=None, source=Source.OWN)
    if told.is_now:
        return Word(seen=marked.seen)
    return _remembered(marked)


def _remembered(marked: Marked) -> Word:
    day = marked.asked.astimezone(clock.TASHKENT).date()
    return Word(seen=marked.seen, source=Source.REMEMBERED, as_of=day)


def _without(code: gs1.Code, is_needed: bool) -> Word:
    """No operator is connected: invented packs are known, of others nothing is."""
    if not code.gtin.startswith(DEMO_PREFIX):
        return Word(seen=None, source=Source.OWN, is_needed=is_needed)
    seen = invented(code.gtin, code.serial)
    swapped = invented(code.gtin, code.serial.swapcase()) if seen is None else None
    return Word(seen=seen, swapped_is_known=swapped is not None)


