"""A pharmacy, a product or a rule of one prescriber, weighed against those near by and, where many
near by may do the same, against the country.

The middle of the others is a fair measure while less than half of them are guilty. Where more are,
two other things still tell: that some near by go elsewhere, so that there is an elsewhere, and that
nobody in the country is so concentrated who has as much to choose from. Together they are one test:
both must speak (a place with one pharmacy has nobody who goes elsewhere). And what is usual in the
country is no concentration, however the others near by are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from dmed.modules.analytics.model import Definition, Figure
from dmed.modules.analytics.rules import chance
from dmed.modules.analytics.rules.definitions import whole_of
from dmed.modules.analytics.rules.peers import (
    CELL_MIN,
    CONCENTRATED,
    MOST_OF,
    NOWHERE,
    PART_LEVELS,
    PART_PEERS_MIN,
    PEERS_MIN,
    TIMES_MIN,
    Base,
    Places,
    Weighed,
    share,
    thinkable,
)

NEARLY_ALL = 0.95
"""The fewest pharmacies that together serve so much of a district are those to choose from; so are
the products of a preparation."""
LOWER = 4
"""One of so many others at least must go elsewhere."""
LOWER_MIN = 2
"""One alone is no measure: it may be he who is odd."""
SPLIT = 0.05
"""So unlikely must it be that fewer of the others go elsewhere by more than chance."""
UNUSUAL = 0.01
"""So unlikely must it be among those of the country that somebody is so concentrated."""
COMPARED_MAX = 40
"""Of more others so many are compared, evenly through their order."""
_LIGHT = 20
"""A group that is less than one part of so many of what the country is measured by stays in it."""
Group = tuple[str, tuple[str, ...], str]
"""(level, key, whole): those who are near together and have the same whole."""
Shares = Counter[tuple[int, int]]
"""(numerator, denominator) of each prescriber's largest part > how many have the same."""


class Held(NamedTuple):
    """What can be judged only when the country is known."""

    figure: Figure
    middle: Weighed | None
    """Against the middle of the others; None where they are too few."""
    lower: Base | None
    """The lower others, who go elsewhere; None where these are too few."""
    choices: int
    widest: Group


class Near:
    """The figures of one batch by who is near together."""

    def __init__(
        self, definition: Definition, figures: Sequence[Figure], places: Places
    ) -> None:
        self._definition, self._places = definition, places
        self._levels = PART_LEVELS[definition.part]
        sizes = {(one.prescriber, one.part): one.denominator for one in figures
                 if one.denominator}
        self.counts = {(one.prescriber, one.part): one.numerator for one in figures
                       if one.numerator}
        self.large: dict[Group, dict[str, int]] = defaultdict(dict)
        self._small: dict[Group, dict[str, int]] = defaultdict(dict)
        for (prescriber, whole), size in sorted(sizes.items()):
            for group in self._groups(prescriber, whole):
                (self.large if size >= CELL_MIN else self._small)[group][prescriber] = size
        self._shares: dict[tuple[Group, str], list[float]] = {}
        self._together: dict[Group, list[tuple[list[str], int]]] = {}

    def _groups(self, prescriber: str, whole: str) -> list[Group]:
        place = self._places.get(prescriber, NOWHERE)
        return [(level, key(place), whole) for level, key in self._levels
                if level == "all" or any(key(place))]

    def judged(self) -> Iterator[tuple[Figure, Group, bool]]:
        """Each part of everybody over enough, with whom it is weighed: the nearest of whom there
        are ten others, or the widest, and whether these are enough for their middle to say much.
        """
        for (prescriber, part), count in sorted(self.counts.items()):
            groups = self._groups(prescriber, whole_of(self._definition, part))
            if not groups or prescriber not in self.large[groups[-1]]:
                continue
            # Few may be guilty together: as with shares ten are asked, or else those further off.
            group = next((one for one in groups if len(self.large[one]) > PEERS_MIN), groups[-1])
            yield (Figure(prescriber=prescriber, indicator=self._definition.id, part=part,
                          numerator=count, denominator=self.large[group][prescriber]),
                   group, len(self.large[group]) > PART_PEERS_MIN)

    def widest(self, figure: Figure) -> Group:
        """The widest group that a figure is of."""
        return self._groups(figure.prescriber, whole_of(self._definition, figure.part))[-1]

    def whole(self, group: Group) -> int:
        """How much there is of a group, small figures too."""
        return sum(self.large[group].values()) + sum(self._small[group].values())

    def shares(self, group: Group, part: str) -> list[float]:
        """The rising shares that a part has of those over enough."""
        if (group, part) not in self._shares:
            self._shares[group, part] = sorted(
                self.counts.get((one, part), 0) / size for one, size in self.large[group].items())
        return self._shares[group, part]

    def others(self, group: Group, figure: Figure) -> list[tuple[int, int]]:
        """Numerator and denominator of each of the others, those with small figures put together
        until they are enough; the lowest share first.
        """
        if group not in self._together:
            self._together[group] = _put_together(self._small[group])
        part = figure.part
        found = [(self.counts.get((one, part), 0), size)
                 for one, size in self.large[group].items() if one != figure.prescriber]
        found += [(sum(self.counts.get((one, part), 0) for one in many), size)
                  for many, size in self._together[group]]
        return sorted(found, key=lambda one: (one[0] / one[1], one[1]))

    def people(self, group: Group) -> int:
        """How many are in a group, with small figures too."""
        return len(self.large[group]) + len(self._small[group])

    def largest(self) -> Iterator[tuple[Group, int, int]]:
        """Of everybody over enough the largest part: (widest group, numerator, denominator)."""
        most: dict[tuple[Group, str], int] = defaultdict(int)
        for (prescriber, part), count in self.counts.items():
            groups = self._groups(prescriber, whole_of(self._definition, part))
            if groups and prescriber in self.large[groups[-1]]:
                key = groups[-1], prescriber
                most[key] = max(most[key], count)
        for (group, prescriber), count in most.items():
            yield group, count, self.large[group][prescriber]

    def choices(self) -> dict[Group, int]:
        """Widest group > how many pharmacies or products there are to choose from, by doubling."""
        sums: dict[Group, Counter[str]] = defaultdict(Counter)
        for (prescriber, part), count in self.counts.items():
            for group in self._groups(prescriber, whole_of(self._definition, part))[-1:]:
                sums[group][part] += count
        found = {}
        for group, parts in sums.items():
            so_far = accumulate(count for _, count in parts.most_common())
            fewer = sum(one < NEARLY_ALL * parts.total() for one in so_far)
            found[group] = fewer.bit_length()
        return found


def _put_together(small: dict[str, int]) -> list[tuple[list[str], int]]:
    found: list[tuple[list[str], int]] = []
    many: list[str] = []
    total = 0
    for one, size in sorted(small.items()):
        many, total = [*many, one], total + size
        if total >= CELL_MIN:
            found.append((many, total))
            many, total = [], 0
    return found


class Parts:
    """Weighs the parts of one indicator, batch by batch: of pairs a batch holds whole districts, of
    products whole preparations, of rules everything.
    """

    def __init__(self, definition: Definition, places: Places) -> None:
        self._definition, self._places = definition, places
        self._is_concentrated = definition.part in CONCENTRATED
        self._country: dict[int, Shares] = defaultdict(Counter)
        self._own: dict[Group, Shares] = defaultdict(Counter)
        self._held: list[Held] = []
        self._known: dict[tuple[int, Group | None], Base | None] = {}

    def weighed(self, figures: Sequence[Figure]) -> Iterator[Weighed]:
        """What can be said at once of a batch; the rest comes from `held` after the last."""
        near = Near(self._definition, figures, self._places)
        choices = near.choices() if self._is_concentrated else {}
        before = len(self._held)
        for figure, group, is_enough in near.judged():
            middle = self._middle(near, group, figure) if is_enough else None
            lower = self._lower(near, group, figure) if self._is_concentrated else None
            if lower is not None or (self._is_concentrated and middle is not None
                                     and middle.chance <= UNUSUAL):
                widest = near.widest(figure)
                self._held.append(Held(figure, middle, lower, choices[widest], widest))
            elif middle is not None:
                yield middle
        if self._is_concentrated:
            self._note(near, choices, {one.widest for one in self._held[before:]})

    def _note(self, near: Near, choices: dict[Group, int], kept: set[Group]) -> None:
        for group, count, size in near.largest():
            self._country[choices[group]][count, size] += 1
            if group in kept:
                self._own[group][count, size] += 1

    def _middle(self, near: Near, group: Group, figure: Figure) -> Weighed:
        """The middle share of the others is expected: a few who do the same do not move it. They
        are a sample too: what they share is not known better than they are many.
        """
        size = figure.denominator
        middle = _middle_without(near.shares(group, figure.part), figure.numerator / size)
        whole = near.whole(group) - size
        base = Base(group[0], len(near.large[group]) - 1, thinkable(middle, whole), 1.0)
        if self._is_concentrated and figure.numerator < MOST_OF * size:
            return Weighed(figure, base, 1.0)  # Never a flag: counted, not worked out.
        found = chance.two_samples(figure.numerator, size, round(middle * whole), whole)
        return Weighed(figure, base, self._of_two(found))

    def _of_two(self, found: float) -> float:
        """A concentration is looked for in two ways, so each is worth half."""
        return min(1.0, 2 * found) if self._is_concentrated else found

    def _lower(self, near: Near, group: Group, figure: Figure) -> Base | None:
        """The lower others, where at least a quarter of all go elsewhere by more than chance."""
        k, n = figure.numerator, figure.denominator
        if k < MOST_OF * n:
            return None
        others = near.others(group, figure)
        least = max(LOWER_MIN, -(-len(others) // LOWER))
        hits, whole = (sum(column) for column in zip((0, 0), *others[:least], strict=True))
        if (len(others) < least or k * whole < TIMES_MIN * n * hits
                or chance.two_samples(k, n, hits, whole) > SPLIT):
            return None
        if len(others) > COMPARED_MAX:
            others = [others[at * len(others) // COMPARED_MAX] for at in range(COMPARED_MAX)]
            least = COMPARED_MAX // LOWER
        if chance.several([chance.two_samples(k, n, *one) for one in others], least) > SPLIT:
            return None
        return Base(group[0], near.people(group) - 1, thinkable(hits / whole, whole), 1.0)

    def held(self) -> Iterator[Weighed]:
        """The rest, when all batches were given: by the middle of the others or by the country."""
        for one in self._held:
            found, middle, (k, n) = None, one.middle, (one.figure.numerator, one.figure.denominator)
            base = self._reference(one.choices, one.widest)
            if base is not None:
                usual = chance.tail(chance.deviation(k, n, base.expected) / base.spread**0.5)
                if usual > UNUSUAL:
                    middle = middle and middle._replace(chance=1.0)
                elif one.lower is not None:
                    found = Weighed(one.figure, one.lower, self._of_two(usual))
            if middle is not None and (found is None or (
                    middle.chance <= found.chance and k >= TIMES_MIN * middle.base.expected * n)):
                found = middle
            if found is not None:
                yield found

    def _reference(self, choices: int, own: Group) -> Base | None:
        """How concentrated those of the country are who have as much to choose from, elsewhere;
        None where they are not ten.
        """
        country, here = self._country[choices], self._own[own]
        is_light = here.total() * _LIGHT < country.total()
        key = (choices, None if is_light else own)
        if key not in self._known:
            elsewhere = country if is_light else country - here
            self._known[key] = _base(elsewhere) if elsewhere.total() >= PEERS_MIN else None
        return self._known[key]


def _base(shares: Shares) -> Base:
    """The usual largest share, and how much it differs beyond chance."""
    figures = [figure for (k, n), many in shares.items() for figure in [Figure(
        prescriber="", indicator="", numerator=k, denominator=n)] * many]
    expected = thinkable(share(figures), sum(one.denominator for one in figures))
    scores = [score for (k, n), many in shares.items()
              for score in [chance.deviation(k, n, expected)] * many]
    return Base("all", len(figures), expected, chance.spread(scores))


def _middle_without(ordered: Sequence[float], own: float) -> float:
    """The median of rising shares without one of them."""
    at, last = bisect_left(ordered, own), len(ordered) - 1

    def rest(place: int) -> float:
        return ordered[place + (place >= at)]

    return (rest((last - 1) // 2) + rest(last // 2)) / 2
