"""Admission to a worker: what cannot be answered soon is refused, with a time to come again.

A worker that takes more than it can do answers everything late, and at last nothing in time. By
Little's law (requests inside = requests a second x seconds inside) the number of requests that it
can hold without keeping anybody waiting follows from how many it ends a second; so the measure is
taken from its own answers, and needs no figure of the machine. While requests take no longer than
`TARGET_SECONDS` on average, nobody is refused. Else as many stay inside as the rate allows, in the
order of `weight_of` (shared design, eprescription F).

One slow moment is no overload: a pause of the collector or of the disk makes everything late that
was inside, and is over before the next measure. So only what `SLOW_MEASURES` in a row find counts.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from dmed.kit.errors import ThrottledError, UnavailableError

TARGET_SECONDS = 0.25
"""Average time inside up to which a worker is not taken for busy. A worker that ends fewer than
`INSIDE_MIN` requests in that time is bound by that number; for quick ones it is this time that
counts, and thirty clients of a worker that takes 4 ms for each are no overload."""
INSIDE_MIN = 24
"""So many are let in however slow the answers are: a few long ones are no overload."""
INTERVAL_SECONDS = 0.25
NEWCOMERS = 1.25
"""A party of which nothing runs is let in beyond the measure: a greedy one keeps nobody out."""
SLOW_MEASURES = 2
_GROWTH, _STEP = 1.25, 4
_RETRY_SECONDS_MAX = 3
_FIGURES = ("/oversight", "/audit")

AsgiScope = MutableMapping[str, Any]


class Admission:
    """One worker's measure of what it can hold. All times are those of one monotonic clock."""

    def __init__(self, most: int) -> None:
        self._ceiling = float(most)
        self.most = float(most)
        """How many requests may be inside now."""
        self.running = 0
        self.refused = 0
        """Requests refused since the start, for the figures."""
        self._since = 0.0
        self._ended = 0
        self._seconds = 0.0
        self._slow = 0
        """Measures in a row that found the answers late."""

    def begin(self, scope: AsgiScope, of_party: int, at: float) -> None:
        """Lets a request in, which must `end`; UnavailableError (503, Retry-After) where it cannot
        be answered soon, ThrottledError (429) where that is of the asking party's own making.
        `of_party` is how many of the same party run.
        """
        if self.running >= INSIDE_MIN:
            if at - self._since >= INTERVAL_SECONDS:
                self._measure(at)
            share = weight_of(scope) * (NEWCOMERS if not of_party else 1.0)
            if self.running >= max(INSIDE_MIN, self.most * share):
                self.refused += 1
                # Not all at the same moment again.
                later = {"Retry-After": str(1 + self.refused % _RETRY_SECONDS_MAX)}
                if 2 * of_party >= self.running:
                    raise ThrottledError(
                        f"{of_party} of your requests fill the server: wait for their answers",
                        headers=later)
                raise UnavailableError("The server has as much to do as it can, ask again soon",
                                       headers=later)
        self.running += 1

    def end(self, began: float, at: float) -> None:
        """A request that was let in at `began` has its answer."""
        self.running -= 1
        self._ended += 1
        self._seconds += at - began
        if at - self._since >= INTERVAL_SECONDS:
            self._measure(at)

    def _measure(self, at: float) -> None:
        """Takes the measure anew from what ended since the last time."""
        elapsed = at - self._since
        rate = self._ended / elapsed if elapsed > 0 else 0.0
        average = self._seconds / self._ended if self._ended else INTERVAL_SECONDS
        # A pause says nothing of the rate; the first answers after it do.
        is_fresh = elapsed < 4 * INTERVAL_SECONDS
        is_slow = self.running >= INSIDE_MIN and is_fresh and average > TARGET_SECONDS
        self._slow = self._slow + 1 if is_slow else 0
        if self._slow >= SLOW_MEASURES:
            self.most = max(float(INSIDE_MIN), rate * TARGET_SECONDS)
        elif not is_slow:
            self.most = min(self._ceiling, self.most * _GROWTH + _STEP)
        self._since, self._ended, self._seconds = at, 0, 0.0


def weight_of(scope: AsgiScope) -> float:
    """How long a request is still let in as the worker fills: first figures for managers are left
    out, then advice and searches for persons; the counter, and all else that is not dear, stay.
    """
    path: str = scope["path"]
    if path.startswith(_FIGURES):
        return 0.5
    if path.startswith("/cds-services") or path.endswith(("/$find-person", "/$match")):
        return 0.8
    return 1.0
