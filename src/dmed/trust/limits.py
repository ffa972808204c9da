"""How much one party may ask at once: a rate over all workers, places and lines in each.

A party is a signed-in person or system, or the network address of whoever is not known yet. Each
has a rate (a token bucket, counted by all workers of a machine together: `shared_rates`), and in
each worker a number of requests under way and a bounded line of those that wait for one of its own
places; of these the settings name the measure of one worker. So a party that asks too much waits
for itself: others neither wait in its line nor lose a place to it. What several parties need
together (connections to the database) is handed out in turns of `kit.turns.PARTY`. Beyond the line
the answer is 429, and beyond the worker's whole measure 503, both with Retry-After:
https://www.rfc-editor.org/rfc/rfc6585#section-4
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

from dmed.kit.errors import ThrottledError, UnavailableError
from dmed.kit.settings import Settings
from dmed.trust.shared_rates import key_of, shared

BURST_SECONDS = 4.0
"""So many seconds' worth of a rate may come at once."""
_KNOWN_MAX = 10_000
_LINES_MAX = 20_000
_TOLD_MAX = 200
"""Parties that are told of by name in a minute: a flood must not fill the audit."""
OTHERS = "others"
_RETRY = {"Retry-After": "1"}

AsgiScope = MutableMapping[str, Any]


class Line:
    """One party's present use: how many run, who waits, and what is left of its rate."""

    __slots__ = ("at", "credit", "key", "name", "rate", "running", "waiting")

    def __init__(self, name: str, rate: float, at: float) -> None:
        self.name = name
        self.key = key_of(name)
        self.rate = rate
        self.credit = rate * BURST_SECONDS
        self.at = at
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    def is_idle(self, at: float) -> bool:
        """Whether forgetting it changes nothing: nothing runs, and its whole rate is back."""
        return not self.running and at - self.at > BURST_SECONDS


class Limits:
    """The parties of one worker. `address` tells the network address of a request."""

    def __init__(self, settings: Settings, address: Callable[[AsgiScope], str]) -> None:
        self._address = address
        self._running_max = settings.party_running_max
        self._waiting_max = settings.party_waiting_max
        self._all_max = settings.requests_max
        self._party_rate = float(settings.party_rate_per_second)
        self._page_rate = float(settings.page_rate_per_second)
        self._stranger_rate = float(settings.stranger_rate_per_second)
        self._shared = shared()
        self._lines: dict[str, Line] = {}
        self._known: dict[bytes, Line] = {}
        self.count = 0
        """Requests inside now, waiting ones too."""
        self.refused = 0
        """Requests refused since the start, for the figures."""
        self._told: dict[str, int] = {}

    def enter(self, scope: AsgiScope, at: float) -> Line:
        """The line of who asks, with one request more; ThrottledError (429), UnavailableError
        (503). `at` is the monotonic time of now. Whoever entered must `leave`; one whose line
        `is_full` must `wait` first.
        """
        line = self._line(scope, at)
        fits = None
        if self._shared is not None and line.rate:
            fits = self._shared.take(line.key, line.rate, at)
        credit = line.credit + (at - line.at) * line.rate
        most = line.rate * BURST_SECONDS
        line.credit = credit = min(credit, most)
        line.at = at
        if fits is False or (fits is None and credit < 1.0 and line.rate):
            self._note_refusal(line)
            raise ThrottledError(
                f"More than {line.rate:.0f} requests a second: ask more slowly", headers=_RETRY)
        if self.count >= self._all_max:
            self.refused += 1
            raise UnavailableError("The server is full, ask again in a moment", headers=_RETRY)
        if len(line.waiting) >= self._waiting_max:
            self._note_refusal(line)
            raise ThrottledError(
                f"{line.running + len(line.waiting)} of your requests are under way: "
                "wait for their answers", headers=_RETRY)
        line.credit = max(0.0, credit - 1.0)
        self.count += 1
        return line

    def _note_refusal(self, line: Line) -> None:
        self.refused += 1
        name = line.name
        if name not in self._told and len(self._told) >= _TOLD_MAX:
            name = OTHERS
        self._told[name] = self._told.get(name, 0) + 1

    def told(self) -> dict[str, int]:
        """Refusals by party since it was last asked: for the audit, one row a party and minute."""
        told, self._told = self._told, {}
        return told

    def is_full(self, line: Line) -> bool:
        """Takes a place where one is free: False. True where the request has to wait for one."""
        if line.running >= self._running_max:
            return True
        line.running += 1
        return False

    async def wait(self, line: Line) -> None:
        """Waits for a place of its own line, which is then taken."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            await turn
        except BaseException:
            self.count -= 1
            if turn.done() and not turn.cancelled():
                self._hand_on(line)  # The place came in the moment of giving up.
            else:
                line.waiting.remove(turn)
            raise

    def leave(self, line: Line) -> None:
        """A request that entered (and waited, where it had to) has its answer."""
        self.count -= 1
        self._hand_on(line)

    def learn(self, scope: AsgiScope, user: str, at: float) -> None:
        """These credentials were verified just now: from here on they count for this user."""
        credential = _credential(scope)
        if not credential or credential in self._known:
            return
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        is_page = credential[:7].lower() != b"bearer "
        self._known[credential] = (
            self._named("page " + user, self._page_rate, at) if is_page
            else self._named("user " + user, self._party_rate, at))

    def forget(self, scope: AsgiScope) -> None:
        """These credentials were refused: they count for their address again."""
        self._known.pop(_credential(scope), None)

    def knows(self, line: Line) -> bool:
        """Whether a line is that of somebody known."""
        return line.name[:8] != "address "

    def _line(self, scope: AsgiScope, at: float) -> Line:
        line = self._known.get(_credential(scope))
        if line is not None:
            return line
        return self._named("address " + self._address(scope), self._stranger_rate, at)

    def _named(self, name: str, rate: float, at: float) -> Line:
        line = self._lines.get(name)
        if line is None:
            if len(self._lines) >= _LINES_MAX:
                self._sweep(at)
            line = self._lines[name] = Line(name, rate, at)
        return line

    def _sweep(self, at: float) -> None:
        """Forgets who is idle; where nobody is, strangers share what one had (a flood of them)."""
        kept = {id(line) for line in self._known.values()}
        self._lines = {name: line for name, line in self._lines.items()
                       if id(line) in kept or not line.is_idle(at)}

    def _hand_on(self, line: Line) -> None:
        while line.waiting:
            turn = line.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        line.running -= 1


def _credential(scope: AsgiScope) -> bytes:
    found = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
        if name == b"cookie":
            found = value
    return found
