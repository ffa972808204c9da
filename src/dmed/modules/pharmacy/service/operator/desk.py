"""One worker's desk for the marking operator: it gathers what is asked, remembers what was told.

Many scans of one moment go out as one request; the allowance of requests lies in PostgreSQL, so
that all workers keep it together; what was told is kept there too, with the time it stays fresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.modules.pharmacy.rules import marking
from dmed.modules.pharmacy.rules.marking import Answer, Breaker, Bucket, Marked
from dmed.modules.pharmacy.rules.packs import Seen
from dmed.modules.pharmacy.service.operator.asl_belgisi import Line, LineError
from dmed.modules.pharmacy.tables import marking as marking_table
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PLATFORM = Subject(user="platform", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who keeps what the operator told."""
GATHER_S = 0.03
"""So long the first scan waits for others to go with it."""
WAITING_MAX = marking.REPORT_CODES_MAX
_SCANS_LEFT = 10
"""Requests that receipts and later checks leave in the bucket for scans."""
_PAUSE_MAX_S = 1.0
_log = logging.getLogger("dmed.pharmacy")


class Told(msgspec.Struct, frozen=True):
    """What is known of a code: just told or fresh, remembered from before, or nothing (None)."""

    marked: Marked | None
    is_now: bool


class Desk:
    """Asks one operator for one worker. It never raises for what the operator does."""

    def __init__(self, gateway: Gateway, line: Line) -> None:
        self._gateway = gateway
        self._line = line
        self._waiting: dict[str, asyncio.Future[Marked | None]] = {}
        self._sender: asyncio.Task[None] | None = None
        self._first: dict[str, None] = {}
        """Codes of scans: they go before those of receipts and later checks."""
        self.breaker = Breaker()

    async def ask(
        self, codes: Sequence[str], *, wait_s: float | None = None, is_urgent: bool = True
    ) -> dict[str, Told]:
        """What the operator says of identities, waiting for it at most `wait_s` (the setting
        marking_wait_ms); an answer that comes later is kept for the next time.
        """
        now = clock.now()
        known = await self._remembered(codes)
        due = [code for code in dict.fromkeys(codes)
               if code not in known or not marking.is_fresh(known[code], now)]
        answers: dict[str, Marked] = {}
        if due and not self.breaker.is_open(now):
            answers = await self._wait(due, wait_s, is_urgent)
        told = {}
        for code in codes:
            old = known.get(code)
            if code in answers:
                told[code] = Told(answers[code], True)
            elif old is not None and marking.is_fresh(old, now):
                told[code] = Told(old, True)
            elif old is not None and marking.is_remembered(old, now):
                told[code] = Told(old, False)
            else:
                told[code] = Told(None, False)
        return told

    async def owned(self, codes: Sequence[str], tax_id: str) -> Answer:
        """What of these boxes or packs belongs to an owner, with what lies in each. LineError where
        the operator does not say so.
        """
        made = Answer(known={})
        for at in range(0, len(codes), marking.BOXES_MAX):
            if self.breaker.is_open(clock.now()):
                raise LineError(f"The operator is away: {self.breaker.sentence}")
            if await self._turn(_SCANS_LEFT) > 0:
                raise LineError("The allowance of requests is used up: ask again in a minute")
            part = await self._asked(self._line.owned(list(codes[at:at + marking.BOXES_MAX]),
                                                      tax_id))
            made = Answer(known=made.known | part.known, missing=made.missing | part.missing,
                          forbidden=made.forbidden | part.forbidden)
        return made

    # Waiting

    async def _wait(
        self, due: list[str], wait_s: float | None, is_urgent: bool
    ) -> dict[str, Marked]:
        loop = asyncio.get_running_loop()
        futures = {}
        for code in due:
            if code not in self._waiting:
                if len(self._waiting) >= WAITING_MAX:
                    continue
                self._waiting[code] = loop.create_future()
            futures[code] = self._waiting[code]
        if is_urgent:
            self._first.update(dict.fromkeys(futures))
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send())
        if futures:
            if wait_s is None:
                wait_s = self._gateway.settings.marking_wait_ms / 1000
            await asyncio.wait(futures.values(), timeout=wait_s)
        return {code: each for code, future in futures.items()
                if future.done() and (each := future.result()) is not None}

    async def _send(self) -> None:
        """Sends what waits until nothing does."""
        await asyncio.sleep(GATHER_S)
        while self._waiting:
            batch: list[str] = []
            try:
                if not self.breaker.is_open(clock.now()):
                    pause = await self._turn(0 if self._first else _SCANS_LEFT)
                    if pause > 0:
                        await asyncio.sleep(min(pause, _PAUSE_MAX_S))
                        continue
                    batch = list(self._first | dict.fromkeys(self._waiting))[: marking.CODES_MAX]
                    answer = await self._asked(self._line.ask(batch))
                    self._give(batch, await self._keep(batch, answer))
                    continue
            except LineError as fault:
                _log.warning("the marking operator: %s", fault)
            except Exception:  # noqa: BLE001  # Said and logged; whoever waits is answered.
                # Whoever waits must not wait for ever, whatever broke here.
                _log.exception("what the marking operator told could not be kept")
            # No answer to these; where nobody is asked for a while, none to the rest either.
            self._give(list(self._waiting) if self.breaker.is_open(clock.now()) else batch
                       or list(self._waiting), {})

    def _give(self, batch: list[str], answers: dict[str, Marked]) -> None:
        for code in batch:
            self._first.pop(code, None)
            future = self._waiting.pop(code, None)
            if future is not None and not future.done():
                future.set_result(answers.get(code))

    async def _asked(self, asking: Any) -> Answer:
        """One request: the breaker learns how it went, and a 429 closes the line for everybody."""
        try:
            answer: Answer = await asking
        except LineError as fault:
            if fault.retry_after:
                await self._close(fault.retry_after)
            self.breaker = self.breaker.failed(clock.now(), str(fault))
            raise
        self.breaker = Breaker()
        return answer

    # In PostgreSQL

    async def _turn(self, leave: int) -> float:
        """0 where a request may go out now, else the seconds until one may."""
        now = clock.now()
        async with self._gateway.unit(PLATFORM) as unit:
            row = await marking_table.line_of(unit, self._line.name, now)
            bucket, pause = marking.take(
                Bucket(row["tokens"], row["at"], row["closed_until"]),
                self._gateway.settings.marking_per_minute, now, leave=leave)
            await marking_table.keep_line(unit, self._line.name, bucket.tokens, bucket.at,
                                   bucket.closed_until)
        return pause

    async def _close(self, seconds: float) -> None:
        now = clock.now()
        async with self._gateway.unit(PLATFORM) as unit:
            row = await marking_table.line_of(unit, self._line.name, now)
            until = max(row["closed_until"], now + timedelta(seconds=seconds))
            await marking_table.keep_line(unit, self._line.name, 0.0, now, until)

    async def _remembered(self, codes: Sequence[str]) -> dict[str, Marked]:
        async with self._gateway.unit(PLATFORM) as unit:
            rows = await marking_table.marked(unit, sorted(set(codes)))
        return {row["code"]: _marked_of(row) for row in rows}

    async def _keep(self, batch: list[str], answer: Answer) -> dict[str, Marked]:
        """Keep an answer; what it comes to for each code it speaks of."""
        now = clock.now()
        before = await self._remembered(sorted(answer.missing)) if answer.missing else {}
        found = dict(answer.known)
        for code in answer.missing:
            found[code] = marking.after(before.get(code), code, now)
        if found:
            async with self._gateway.unit(PLATFORM) as unit:
                await marking_table.keep_marked(unit, [_row_of(each) for each in found.values()])
        return {code: found[code] for code in batch if code in found}

    async def close(self) -> None:
        """Ends the sender; whoever waits is told nothing."""
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        self._give(list(self._waiting), {})


class _Kept(msgspec.Struct, frozen=True):
    """What lies in the column `told`."""

    seen: Seen | None = None
    parent: str = ""
    children: tuple[str, ...] = ()


def _row_of(marked: Marked) -> tuple[Any, ...]:
    kept = _Kept(marked.seen, marked.parent, marked.children)
    return (marked.code, marked.seen is not None, marked.asked, marked.missing_since,
            msgspec.json.encode(kept).decode())


def _marked_of(row: Any) -> Marked:
    kept = msgspec.json.decode(row["told"], type=_Kept)
    return Marked(code=row["code"], seen=kept.seen, asked=row["asked"],
                  missing_since=row["missing_since"], parent=kept.parent, children=kept.children)
