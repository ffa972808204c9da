"""Which figures stand out from those of the peers: funnel limits, their own spread, many tests.

Exact limits at the share of the peers; the peers' own spread beyond chance widens them
(Spiegelhalter 2005); of all flags at most one in a thousand shall be chance (Benjamini and
Hochberg); and a flag needs a difference that matters, not only one that is sure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from dmed.modules.analytics.model import Definition, Direction, Figure, Place, Verdict
from dmed.modules.analytics.rules import chance
from dmed.modules.analytics.rules.definitions import whole_of

CELL_MIN = 10
"""A figure over fewer is neither shown to others nor judged."""
PEERS_MIN = 10
PART_PEERS_MIN = 3
FALSE_RATE, FALSE_RATE_PARTS = 0.001, 0.01
"""How many of the flags may be chance; parts are weighed by a stricter test against few others, and
each of their indicators is a family by itself."""
TIMES_MIN = 1.5
"""A flag is at least so many times the expected (or a part of it, where low is worse)."""
MOST_OF = 0.5
"""A pharmacy or a product is concentration from half of everything on."""
CONCENTRATED = frozenset({"pharmacy", "brand"})
LEVEL_95, LEVEL_998 = 0.95, 0.998
_HALF = 0.5
_NOWHERE = Place()
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


def _score(figure: Figure, expected: float, definition: Definition) -> float:
    """How many standard deviations to the worse side, by the exact tail (half of the point counted,
    so that small numbers are not all thought odd).
    """
    n, k = figure.denominator, figure.numerator
    if definition.kind == "mean":
        high = sum(chance.poisson_at_least(each, n * expected) for each in (k, k + 1)) / 2
    else:
        high = sum(chance.binomial_at_least(each, n, expected) for each in (k, k + 1)) / 2
    # The smaller tail is told with its sign: the other one is a difference from one.
    found = (chance.score(high) if high <= _HALF
             else -chance.score(_low(n, k, expected, definition)))
    return -found if definition.direction is Direction.LOW else found


def _low(n: int, k: int, expected: float, definition: Definition) -> float:
    if definition.kind == "mean":
        return sum(chance.poisson_at_most(each, n * expected) for each in (k, k - 1)) / 2
    return sum(chance.binomial_at_most(each, n, expected) for each in (k, k - 1)) / 2


def _thinkable(figures: Sequence[Figure], expected: float, definition: Definition) -> float:
    """No share is known to be nought or one: half a case among all peers is always thinkable."""
    whole = sum(one.denominator for one in figures)
    least = 0.5 / whole if whole else 0.5
    most = float("inf") if definition.kind == "mean" else 1 - least
    return min(max(expected, least), most)


def _offset(definition: Definition) -> int:
    """Of a prescription one line is given: only what is beyond it varies."""
    return int(definition.sum == "items")


def _bare(figure: Figure, definition: Definition) -> Figure:
    beyond = figure.numerator - _offset(definition) * figure.denominator
    return msgspec.structs.replace(figure, numerator=beyond)


class Weighed(NamedTuple):
    """A figure beside its peers, before anything is said of it: light, as there are millions."""

    figure: Figure
    base: Base
    chance: float


class Peers:
    """What each group of peers of one indicator makes of a figure, worked out when it is asked."""

    def __init__(
        self, definition: Definition, figures: Sequence[Figure], places: Places
    ) -> None:
        self._definition = definition
        self._places = places
        self.figures = [one for one in figures if one.denominator >= CELL_MIN]
        self._groups: dict[GroupKey, list[Figure]] = defaultdict(list)
        for one in self.figures:
            place = places.get(one.prescriber, _NOWHERE)
            for level, key in LEVELS:
                self._groups[level, key(place)].append(one)
        self.known: dict[GroupKey, Base] = {}
        """Those that were needed: by these a figure can be judged later, alone."""
        self._scores: dict[tuple[GroupKey, str], float] = {}

    def weighed(self) -> Iterator[Weighed]:
        """Every figure among the nearest peers of whom there are ten."""
        for one in self.figures:
            place = self._places.get(one.prescriber, _NOWHERE)
            keys = [(level, key(place)) for level, key in LEVELS]
            near = next(key for key in keys
                        if len(self._groups[key]) >= PEERS_MIN or key[0] == "all")
            base = self._base(near)
            score = self._scores[near, one.prescriber]
            yield Weighed(one, base, chance.tail(score / base.spread**0.5))

    def _base(self, near: GroupKey) -> Base:
        if near not in self.known:
            group, definition = self._groups[near], self._definition
            bare = [_bare(one, definition) for one in group]
            expected = _thinkable(bare, share(bare), definition)
            scores = [_score(one, expected, definition) for one in bare]
            self._scores |= {(near, one.prescriber): score
                             for one, score in zip(group, scores, strict=True)}
            self.known[near] = Base(near[0], len(group), expected, chance.spread(scores))
        return self.known[near]


def nearest(place: Place, known: Mapping[GroupKey, Base]) -> Base | None:
    """The nearest peers of a place among those that were worked out."""
    keys = ((level, key(place)) for level, key in LEVELS)
    return next((known[key] for key in keys if key in known), None)


def judge(definition: Definition, figure: Figure, base: Base) -> Verdict:
    """A figure by a group of peers, without the last word: that needs all figures (`Sieve`)."""
    mark = _score(_bare(figure, definition), base.expected, definition)
    return told(definition, Weighed(figure, base, chance.tail(mark / base.spread**0.5)))


def told(definition: Definition, weighed: Weighed, *, is_flagged: bool = False) -> Verdict:
    """The verdict of what was weighed, with the limits of the funnel at its denominator."""
    figure, base = weighed.figure, weighed.base
    n, is_count, off = figure.denominator, definition.kind == "mean", _offset(definition)
    wide, middle, shown = base.spread**0.5, n * base.expected, []
    for level in (LEVEL_95, LEVEL_998):
        low, high = chance.limits(n, base.expected, level, is_count=is_count)
        most = float("inf") if is_count else n
        shown += [max(0.0, middle - (middle - low) * wide) / n + off,
                  min(most, middle + (high - middle) * wide) / n + off]
    return Verdict(
        figure=figure, peers=base.level, peer_count=base.size, expected=base.expected + off,
        low95=shown[0], high95=shown[1], low998=shown[2], high998=shown[3], spread=base.spread,
        chance=weighed.chance, is_flagged=is_flagged)


def _matters(definition: Definition, verdict: Verdict) -> bool:
    """Whether the difference is large enough to speak of, and lies outside of the outer limits."""
    figure = verdict.figure
    value = figure.numerator / figure.denominator
    if definition.direction is Direction.LOW:
        missing, expected = 1 - value, 1 - verdict.expected
        return (value < verdict.low998 and missing >= TIMES_MIN * expected
                and figure.denominator - figure.numerator >= CELL_MIN)
    if definition.part in CONCENTRATED and value < MOST_OF:
        return False
    off = _offset(definition)
    return (value > verdict.high998 and figure.numerator - off * figure.denominator >= CELL_MIN
            and value - off >= TIMES_MIN * (verdict.expected - off))


class Sieve:
    """Of all figures, given one by one, holds those few that may be flags, and how many there were.

    Which are flags is known only when all were given; of a country they need not be in memory.
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._definitions = definitions
        self._judged: dict[str, int] = defaultdict(int)
        self._held: dict[str, list[Weighed]] = defaultdict(list)

    def add(self, one: Weighed) -> None:
        """One more figure; what nobody judges, or stands over too few, counts for nothing."""
        definition = self._definitions[one.figure.indicator]
        if (definition.direction is Direction.NONE or one.figure.denominator < CELL_MIN
                or one.base.size < PART_PEERS_MIN):
            return
        # Of parts each indicator is a family of tests by itself.
        family = definition.id if definition.kind == "part" else ""
        self._judged[family] += 1
        if one.chance <= _rate(family):
            self._held[family].append(one)

    def flags(self) -> list[Verdict]:
        """Figures that are surely out, far enough and by enough, in the order they were given."""
        found = []
        for family, held in self._held.items():
            limit = chance.false_discovery(
                [one.chance for one in held], _rate(family), self._judged[family])
            for one in held:
                if one.chance <= limit:
                    definition = self._definitions[one.figure.indicator]
                    verdict = told(definition, one, is_flagged=True)
                    found += [verdict] if _matters(definition, verdict) else []
        return found


def _rate(family: str) -> float:
    return FALSE_RATE_PARTS if family else FALSE_RATE


def weigh(
    definition: Definition, figures: Sequence[Figure], places: Places
) -> Iterator[Weighed]:
    """Every figure of one indicator among its peers: all of those that belong together must be
    given at once (of a share or mean all; of parts all of a district, or of a preparation).
    """
    if definition.kind == "part":
        return _weigh_parts(definition, figures, places)
    return Peers(definition, figures, places).weighed()


def judge_all(
    figures: Iterable[Figure], definitions: Mapping[str, Definition], places: Places
) -> list[Verdict]:
    """Every figure of a share or mean among its peers, and every part among those beside it, all
    in memory: for a small country and for whoever wants to see them all.
    """
    by_indicator: dict[str, list[Figure]] = defaultdict(list)
    for one in figures:
        by_indicator[one.indicator].append(one)
    sieve, found = Sieve(definitions), []
    for id_, group in by_indicator.items():
        for weighed in weigh(definitions[id_], group, places):
            sieve.add(weighed)
            found.append(weighed)
    flagged = {(one.figure.prescriber, one.figure.indicator, one.figure.part)
               for one in sieve.flags()}
    return [told(definitions[one.figure.indicator], one, is_flagged=(
        one.figure.prescriber, one.figure.indicator, one.figure.part) in flagged)
        for one in found]


Group = tuple[str, tuple[str, ...], str]
"""(level, key, whole): those who are near together and have the same whole."""


def _weigh_parts(
    definition: Definition, figures: Sequence[Figure], places: Places
) -> Iterator[Weighed]:
    """A pharmacy, product or rule of one prescriber against that of the others near together."""
    wholes = {(one.prescriber, one.part): one.denominator for one in figures
              if one.denominator >= CELL_MIN}
    near: dict[Group, int] = defaultdict(int)
    for one in figures:
        for level, key in PART_LEVELS[definition.part]:
            near[level, key(places.get(one.prescriber, _NOWHERE)), one.part] += one.denominator
    counts = {(one.prescriber, one.part): one.numerator for one in figures if one.numerator}
    levels = PART_LEVELS[definition.part]
    groups: dict[Group, dict[str, int]] = defaultdict(dict)
    for (prescriber, whole), size in wholes.items():
        for level, key in levels:
            groups[level, key(places.get(prescriber, _NOWHERE)), whole][prescriber] = size
    shares: dict[tuple[Group, str], list[float]] = {}
    for (prescriber, part), count in sorted(counts.items()):
        whole = whole_of(definition, part)
        place = places.get(prescriber, _NOWHERE)
        for level, key in levels:
            group = (level, key(place), whole)
            members = groups.get(group, {})
            # Few may be guilty together: as with shares ten are asked, or else those further off.
            least = PART_PEERS_MIN if level == levels[-1][0] else PEERS_MIN
            if prescriber not in members or len(members) <= least or not (
                    level == "all" or any(key(place))):
                continue
            if (group, part) not in shares:
                shares[group, part] = sorted(
                    counts.get((other, part), 0) / size for other, size in members.items())
            size = members[prescriber]
            middle = _middle_without(shares[group, part], count / size)
            figure = Figure(prescriber=prescriber, indicator=definition.id, part=part,
                            numerator=count, denominator=size)
            yield _part(definition, figure, (level, len(members) - 1), middle, near[group] - size)
            break


def _middle_without(ordered: Sequence[float], own: float) -> float:
    """The median of rising shares without one of them."""
    at, last = bisect_left(ordered, own), len(ordered) - 1

    def rest(place: int) -> float:
        return ordered[place + (place >= at)]

    return (rest((last - 1) // 2) + rest(last // 2)) / 2


def _part(
    definition: Definition, figure: Figure, peers: tuple[str, int], middle: float, whole: int
) -> Weighed:
    """The middle share of the others is expected: one of a few who does the same does not move it.
    They are a sample too: what they share is not known better than they are many.
    """
    others = round(middle * whole)
    group = [Figure(prescriber="", indicator="", numerator=others, denominator=whole)]
    base = Base(peers[0], peers[1], _thinkable(group, middle, definition), 1.0)
    if definition.part in CONCENTRATED and figure.numerator < MOST_OF * figure.denominator:
        return Weighed(figure, base, 1.0)  # Never a flag: counted among the tests, not worked out.
    return Weighed(figure, base, chance.two_samples(
        figure.numerator, figure.denominator, others, whole))
