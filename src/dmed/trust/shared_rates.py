"""Rates that all workers of a machine count together, in memory shared since before the fork.

Each party has a slot with what is left of its rate and when that was written. The clock is the
system's monotonic one, which all processes read alike. There is no lock: where two workers write a
slot in the same microsecond one of the two requests goes uncounted, which lets a little more
through and never holds anybody up. Beyond the slots a party is counted by each worker alone.
"""

from __future__ import annotations

import hashlib
import mmap
import struct

SLOTS = 1 << 15
_PROBES = 4
_SLOT = struct.Struct("<qdd")


class SharedRates:
    """Token buckets by party; made before the workers are forked, and used by all of them."""

    def __init__(self, burst_seconds: float, slots: int = SLOTS) -> None:
        self._burst = burst_seconds
        self._slots = slots
        self._memory = mmap.mmap(-1, slots * _SLOT.size)

    def take(self, key: int, rate: float, at: float) -> bool | None:
        """Whether one request more fits a party's rate at a moment; None: it has no slot here."""
        memory, most = self._memory, rate * self._burst
        for step in range(_PROBES):
            place = (key + step) % self._slots * _SLOT.size
            holder, credit, since = _SLOT.unpack_from(memory, place)
            if holder != key:
                if holder and at - since <= self._burst:
                    continue  # Another's, and in use.
                credit, since = most, at
            credit = min(credit + max(0.0, at - since) * rate, most)
            if credit < 1.0:
                # When it was last asked is not moved: what comes back must add up.
                return False
            _SLOT.pack_into(memory, place, key, credit - 1.0, at)
            return True
        return None


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
