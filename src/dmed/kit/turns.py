"""Turns among parties: whoever waits with a hundred things does not keep one with a single thing.

Start-time fairness in its plainest form: the parties that wait stand in a ring, each turn takes
the oldest thing of the next party (round robin, as in RFC 970).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")

PARTY: ContextVar[str] = ContextVar("dmed_party", default="")
"""Whose request is under way: what it waits for is handed out in turns of these names."""


class Turns(Generic[T]):
    """A queue of things by party; things of one party keep their order."""

    __slots__ = ("_count", "_lines")

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, party: str, thing: T) -> None:
        """Puts a thing at the end of its party's line."""
        line = self._lines.get(party)
        if line is None:
            self._lines[party] = line = deque()
        line.append(thing)
        self._count += 1

    def pop(self) -> T | None:
        """The oldest thing of the party whose turn it is, or None where nobody waits."""
        if not self._lines:
            return None
        party, line = self._lines.popitem(last=False)
        thing = line.popleft()
        if line:
            self._lines[party] = line  # To the end of the ring.
        self._count -= 1
        return thing

    def all(self) -> list[T]:
        """Every thing that waits, in no promised order; nothing is taken."""
        return [thing for line in self._lines.values() for thing in line]
