"""What a delivery would change, and whether that may be published without a person's word."""

from __future__ import annotations

import msgspec

WITHDRAWN_PERCENT_MAX = 2
"""Most of the register that one delivery may withdraw by itself."""
WITHDRAWN_ALWAYS = 5
"""So few are never bulk, however small the register."""
BAD_PERCENT_MAX = 20
"""Where more rows than this are put aside the delivery itself is taken to be broken."""


class Diff(msgspec.Struct, frozen=True):
    """How many rows a delivery adds, changes, withdraws and leaves."""

    added: int
    changed: int
    withdrawn: int
    unchanged: int
    current: int
    """Rows of the feed that are in force before it."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a delivery may be published; the codes of what stands against it."""

    reasons: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """A person must look at it first."""
        return bool(self.reasons)


def judge(
    diff: Diff, rows: int, rejected: int, *, is_full: bool = True,
    percent_max: int = WITHDRAWN_PERCENT_MAX,
) -> Verdict:
    """Held where too much would be withdrawn, too many rows are bad, or nothing good came."""
    reasons = []
    most = max(WITHDRAWN_ALWAYS, diff.current * percent_max // 100)
    if diff.withdrawn > most:
        reasons.append("bulk-withdrawal")
    if rows and rejected * 100 > rows * BAD_PERCENT_MAX:
        reasons.append("too-many-bad")
    told = diff.added + diff.changed + diff.unchanged + diff.withdrawn
    if is_full and diff.current and not told:
        reasons.append("empty")
    return Verdict(tuple(reasons))
