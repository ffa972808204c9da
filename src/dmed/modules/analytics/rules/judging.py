"""Which figures stand out from those of the peers: funnel limits, their own spread, many tests.

Exact limits at the share of the peers; the peers' own spread beyond chance widens them
(Spiegelhalter 2005); of all flags at most one in a hundred shall be chance (Benjamini and
Hochberg); and a flag needs a difference that matters, not only one that is sure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from dmed.modules.analytics.model import Definition, Direction, Figure, Place, Verdict
from dmed.modules.analytics.rules import chance
from dmed.modules.analytics.rules.parts import Parts
from dmed.modules.analytics.rules.peers import (
    CELL_MIN,
    CONCENTRATED,
    LEVELS,
    MOST_OF,
    NOWHERE,
    PART_PEERS_MIN,
    PEERS_MIN,
    TIMES_MIN,
    Base,
    GroupKey,
    Places,
    Weighed,
    share,
    thinkable,
)

FALSE_RATE, FALSE_RATE_PARTS = 0.01, 0.05
"""How many of the flags may be chance; parts are asked three things more (half of everything, who
goes elsewhere, what is usual in the country), and each of their indicators is a family by itself.
"""
SPREAD_MANY = 30
"""The spread of all weighs as much as that over so many peers."""
LEVEL_95, LEVEL_998 = 0.95, 0.998
ROUNDS_MAX = 4
_OUTER = chance.score((1 - LEVEL_998) / 2)


def _score(figure: Figure, expected: float, definition: Definition) -> float:
    """How many standard deviations to the worse side."""
    found = chance.deviation(figure.numerator, figure.denominator, expected,
                             is_count=definition.kind == "mean")
    return -found if definition.direction is Direction.LOW else found


def _offset(definition: Definition) -> int:
    """Of a prescription one line is given: only what is beyond it varies."""
    return int(definition.sum == "items")


def _bare(figure: Figure, definition: Definition) -> Figure:
    beyond = figure.numerator - _offset(definition) * figure.denominator
    return msgspec.structs.replace(figure, numerator=beyond)


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
            place = places.get(one.prescriber, NOWHERE)
            for level, key in LEVELS:
                self._groups[level, key(place)].append(one)
        self.known: dict[GroupKey, Base] = {}
        """Those that were needed: by these a figure can be judged later, alone."""
        self._scores: dict[tuple[GroupKey, str], float] = {}

    def weighed(self) -> Iterator[Weighed]:
        """Every figure among the nearest peers of whom there are ten.

        Whoever lies outside of the outer limits is left out of what is expected and the limits are
        drawn anew, as with every chart of control: else those sought hide each other.
        """
        near = {one.prescriber: self._near(one) for one in self.figures}
        out: set[str] = set()
        for _ in range(ROUNDS_MAX):
            self._work_out(set(near.values()), out, near)
            outside = self._outside(near)
            if outside <= out:
                break
            out |= outside
        for one in self.figures:
            base = self.known[near[one.prescriber]]
            mark = self._scores[near[one.prescriber], one.prescriber]
            yield Weighed(one, base, chance.tail(mark / base.spread**0.5))

    def _near(self, one: Figure) -> GroupKey:
        place = self._places.get(one.prescriber, NOWHERE)
        keys = [(level, key(place)) for level, key in LEVELS]
        return next(key for key in keys
                    if len(self._groups[key]) >= PEERS_MIN or key[0] == "all")

    def _work_out(
        self, groups: set[GroupKey], out: set[str], near: Mapping[str, GroupKey]
    ) -> None:
        """What is expected of groups, by those who are not out; everybody's score and spread."""
        definition = self._definition
        for key in groups:
            bare = [_bare(one, definition) for one in self._groups[key]]
            kept = [one for one in bare if one.prescriber not in out]
            expected = thinkable(share(kept), sum(one.denominator for one in kept),
                                 is_mean=definition.kind == "mean")
            self._scores |= {(key, one.prescriber): _score(one, expected, definition)
                             for one in bare}
            # The spread is that of all: those who differ honestly belong to it.
            spread = chance.spread([self._scores[key, one.prescriber] for one in bare])
            self.known[key] = Base(key[0], len(bare), expected, spread)
        common = chance.spread([self._scores[key, who] for who, key in near.items()])
        for key in groups:
            self.known[key] = _drawn(self.known[key], common)

    def _outside(self, near: Mapping[str, GroupKey]) -> set[str]:
        """Those outside of the outer limits, of a group at most a quarter, the furthest."""
        found: dict[GroupKey, list[tuple[float, str]]] = defaultdict(list)
        for who, key in near.items():
            far = abs(self._scores[key, who]) / self.known[key].spread**0.5
            if far > _OUTER:
                found[key].append((far, who))
        return {who for key, many in found.items()
                for _, who in sorted(many, reverse=True)[: -(-self.known[key].size // 4)]}


def _drawn(base: Base, common: float) -> Base:
    """A group whose spread is drawn towards that of all, as ratios are averaged (by their logs):
    what a few peers vary is not known well.
    """
    own = base.size / (base.size + SPREAD_MANY)
    spread = math.exp(own * math.log(base.spread) + (1 - own) * math.log(common))
    return base._replace(spread=spread)


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
    """Every figure of one indicator among its peers: all of them must be given at once."""
    if definition.kind == "part":
        parts = Parts(definition, places)
        return chain(parts.weighed(figures), parts.held())
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
