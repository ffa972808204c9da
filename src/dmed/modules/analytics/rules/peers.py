"""Who are peers, and what a share of theirs says of a figure: what all rules of judging share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from dmed.modules.analytics.model import Figure, Place

CELL_MIN = 10
"""A figure over fewer is neither shown to others nor judged."""
PEERS_MIN = 10
PART_PEERS_MIN = 3
TIMES_MIN = 1.5
"""A flag is at least so many times the expected (or a part of it, where low is worse)."""
MOST_OF = 0.5
"""A pharmacy or a product is concentration from half of everything on."""
CONCENTRATED = frozenset({"pharmacy", "brand"})
NOWHERE = Place()
Key = Callable[[Place], tuple[str, ...]]
GroupKey = tuple[str, tuple[str, ...]]
"""(level, key): which group of peers."""
LEVELS: tuple[tuple[str, Key], ...] = (
    ("specialty-region", lambda place: (place.specialty, place.kind, place.region)),
    ("specialty", lambda place: (place.specialty, place.kind)),
    ("specialty-any", lambda place: (place.specialty,)),
    ("all", lambda _: ()),
)
"""Peers from the nearest to the widest: specialty, kind of institution, region."""
PART_LEVELS: dict[str, tuple[tuple[str, Key], ...]] = {
    "pharmacy": (("district", lambda place: (place.district,)),),
    "brand": (("district", lambda place: (place.district,)), ("region", lambda place: (
        place.region,)), ("all", lambda _: ())),
    "rule": LEVELS,
}
"""A pharmacy is near those of one district alone; what others' patients take is near, too."""
Places = Mapping[str, Place]


class Base(NamedTuple):
    """What a group of peers makes of a figure."""

    level: str
    size: int
    expected: float
    spread: float


class Weighed(NamedTuple):
    """A figure beside its peers, before anything is said of it: light, as there are millions."""

    figure: Figure
    base: Base
    chance: float


def share(figures: Iterable[Figure], cut: float = 0.1) -> float:
    """The pooled share of figures without the tenth with the lowest and that with the highest, so
    that those sought do not move what they are measured by.
    """
    ordered = sorted((one for one in figures if one.denominator),
                     key=lambda one: one.numerator / one.denominator)
    off = int(len(ordered) * cut)
    kept = ordered[off : len(ordered) - off]
    whole = sum(one.denominator for one in kept)
    return sum(one.numerator for one in kept) / whole if whole else 0.0


def thinkable(expected: float, whole: int, *, is_mean: bool = False) -> float:
    """No share is known to be nought or one: half a case among the `whole` of all peers is always
    thinkable.
    """
    least = 0.5 / whole if whole else 0.5
    most = float("inf") if is_mean else 1 - least
    return min(max(expected, least), most)
