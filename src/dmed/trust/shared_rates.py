"""Rates that all workers of a machine count together, in memory shared since before the fork.

Each party has a slot with one moment: when all that it asked so far has been worked off at its rate
(the generic cell rate algorithm, ITU-T I.371 annex A, which is a token bucket kept in one number).
The clock is the system's monotonic one, which all processes read alike. There is no lock: a moment
is eight bytes in their place, which are read and written whole, so no worker sees half of
another's write. Where two workers write a slot in the same microsecond one of the two requests goes
uncounted, which lets a little more through and never holds anybody up. Beyond the slots a party is
counted by each worker alone.
"""

from __future__ import annotations

import hashlib
import mmap

SLOTS = 1 << 15
_PROBES = 4
_BYTES = 8
_ROUNDING_SECONDS = 1e-6
"""Sums of many small steps are that far off."""


class SharedRates:
    """How far parties are ahead of their rates; made before the workers are forked, and used by
    all of them.
    """

    def __init__(self, burst_seconds: float, slots: int = SLOTS) -> None:
        self._burst = burst_seconds + _ROUNDING_SECONDS
        self._slots = slots
        memory = memoryview(mmap.mmap(-1, 2 * slots * _BYTES))
        self._keys = memory[: slots * _BYTES].cast("q")
        self._done = memory[slots * _BYTES :].cast("d")

    def take(self, key: int, rate: float, at: float) -> bool | None:
        """Whether one request more fits a party's rate at a moment; None: it has no slot here."""
        keys, done, step = self._keys, self._done, 1.0 / rate
        own = None
        for number in range(_PROBES):
            place = (key + number) % self._slots
            if keys[place] == key:
                own = place
                break
            if own is None and done[place] <= at:
                # Nobody's, or of one whose burst is whole again: forgetting him loses nothing.
                own = place
        if own is None:
            return None
        until = max(done[own], at) + step
        if until - at > self._burst:
            return False
        done[own], keys[own] = until, key
        return True


def key_of(name: str) -> int:
    """The number of a party: 63 bits of its digest, never 0."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1 | 1


_shared: SharedRates | None = None


def share(burst_seconds: float) -> None:
    """From here on, and in every process forked from this one, rates are counted together."""
    global _shared  # noqa: PLW0603  # One memory for a process and its children.
    _shared = SharedRates(burst_seconds)


def shared() -> SharedRates | None:
    """The memory of this process and its siblings, or None where it serves alone."""
    return _shared
