"""Which figures stand out from those of the peers: funnel limits, their own spread, many tests.

Exact limits at the share of the peers; the peers' own spread beyond chance widens them
(Spiegelhalter 2005); of all flags at most one in a thousand shall be chance (Benjamini and
Hochberg); and a flag needs a difference that matters, not only one that is sure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from dmed.modules.analytics.model import Definition, Direction, Figure, Place, Verdict
from dmed.modules.analytics.rules import chance

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
LEVEL_95, LEVEL_998 = 0.95, 0.998
_NOWHERE = Place()
Key = Callable[[Place], tuple[str, ...]]
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
        low = sum(chance.poisson_at_most(each, n * expected) for each in (k, k - 1)) / 2
    else:
        high = sum(chance.binomial_at_least(each, n, expected) for each in (k, k + 1)) / 2
        low = sum(chance.binomial_at_most(each, n, expected) for each in (k, k - 1)) / 2
    # The smaller tail is told with its sign: the other one is a difference from one.
    found = chance.score(high) if high <= low else -chance.score(low)
    return -found if definition.direction is Direction.LOW else found


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


def bases(definition: Definition, figures: Sequence[Figure], places: Places) -> (
        dict[tuple[str, tuple[str, ...]], Base]):
    """(level, key) > what the group of peers has, for each group of ten or more."""
    groups: dict[tuple[str, tuple[str, ...]], list[Figure]] = defaultdict(list)
    for one in figures:
        place = places.get(one.prescriber, _NOWHERE)
        for level, key in LEVELS:
            groups[level, key(place)].append(_bare(one, definition))
    found = {}
    for (level, key_), group in groups.items():
        if len(group) >= PEERS_MIN or level == "all":
            expected = _thinkable(group, share(group), definition)
            spread = chance.spread([_score(one, expected, definition) for one in group])
            found[level, key_] = Base(level, len(group), expected, spread)
    return found


def judge(definition: Definition, figure: Figure, base: Base) -> Verdict:
    """A figure by a group of peers, without the last word: that needs all figures (`flag`)."""
    n, is_count, off = figure.denominator, definition.kind == "mean", _offset(definition)
    bare = _bare(figure, definition)
    mark = _score(bare, base.expected, definition)
    wide, middle, shown = base.spread**0.5, n * base.expected, []
    for level in (LEVEL_95, LEVEL_998):
        low, high = chance.limits(n, base.expected, level, is_count=is_count)
        most = float("inf") if is_count else n
        shown += [max(0.0, middle - (middle - low) * wide) / n + off,
                  min(most, middle + (high - middle) * wide) / n + off]
    return Verdict(
        figure=figure, peers=base.level, peer_count=base.size, expected=base.expected + off,
        low95=shown[0], high95=shown[1], low998=shown[2], high998=shown[3], spread=base.spread,
        chance=chance.tail(mark / wide))


def _matters(definition: Definition, verdict: Verdict) -> bool:
    """Whether the difference is large enough to speak of, and lies outside of the outer limits."""
    figure = verdict.figure
    value = figure.numerator / figure.denominator
    if definition.direction is Direction.LOW:
        missing, expected = 1 - value, 1 - verdict.expected
        return (value < verdict.low998 and missing >= TIMES_MIN * expected
                and figure.denominator - figure.numerator >= CELL_MIN)
    if definition.part in {"pharmacy", "brand"} and value < MOST_OF:
        return False
    off = _offset(definition)
    return (value > verdict.high998 and figure.numerator - off * figure.denominator >= CELL_MIN
            and value - off >= TIMES_MIN * (verdict.expected - off))


def flag(
    verdicts: Sequence[Verdict], definitions: Mapping[str, Definition]
) -> list[Verdict]:
    """All verdicts, with flags where a figure is judged, large enough, far enough and surely so."""
    judged = [one for one in verdicts
              if definitions[one.figure.indicator].direction is not Direction.NONE
              and one.figure.denominator >= CELL_MIN and one.peer_count >= PART_PEERS_MIN]
    families: dict[str, list[Verdict]] = defaultdict(list)
    for one in judged:
        is_part = definitions[one.figure.indicator].kind == "part"
        families[one.figure.indicator if is_part else ""].append(one)
    flagged = set()
    for name, family in families.items():
        rate = FALSE_RATE_PARTS if name else FALSE_RATE
        limit = chance.false_discovery([one.chance for one in family], rate)
        flagged |= {id(one) for one in family if one.chance <= limit
                    and _matters(definitions[one.figure.indicator], one)}
    return [msgspec.structs.replace(one, is_flagged=True) if id(one) in flagged else one
            for one in verdicts]


def judge_all(
    figures: Iterable[Figure], definitions: Mapping[str, Definition], places: Places
) -> list[Verdict]:
    """Every figure of a share or mean among its peers, and every part among those beside it."""
    by_indicator: dict[str, list[Figure]] = defaultdict(list)
    for one in figures:
        by_indicator[one.indicator].append(one)
    found: list[Verdict] = []
    for id_, group in by_indicator.items():
        definition = definitions[id_]
        each = _judge_parts if definition.kind == "part" else _judge_whole
        found += each(definition, group, places)
    return flag(found, definitions)


def _judge_whole(
    definition: Definition, figures: Sequence[Figure], places: Places
) -> list[Verdict]:
    wide = [one for one in figures if one.denominator >= CELL_MIN]
    known = bases(definition, wide, places)
    made = []
    for one in wide:
        place = places.get(one.prescriber, _NOWHERE)
        keys = [(level, key(place)) for level, key in LEVELS]
        made.append(judge(definition, one, next(known[key] for key in keys if key in known)))
    return made


Group = tuple[str, tuple[str, ...], str]
"""(level, key, whole): those who are near together and have the same whole."""


def _judge_parts(
    definition: Definition, figures: Sequence[Figure], places: Places
) -> list[Verdict]:
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
    made = []
    for (prescriber, part), count in sorted(counts.items()):
        whole = _whole_of(definition, part)
        place = places.get(prescriber, _NOWHERE)
        for level, key in levels:
            group = (level, key(place), whole)
            members = groups.get(group, {})
            if prescriber not in members or len(members) <= PART_PEERS_MIN or not (
                    level == "all" or any(key(place))):
                continue
            if (group, part) not in shares:
                shares[group, part] = sorted(
                    counts.get((other, part), 0) / size for other, size in members.items())
            size = members[prescriber]
            middle = _middle_without(shares[group, part], count / size)
            figure = Figure(prescriber=prescriber, indicator=definition.id, part=part,
                            numerator=count, denominator=size)
            made.append(_part(definition, figure, (level, len(members) - 1), middle,
                              near[group] - size))
            break
    return made


def _middle_without(ordered: Sequence[float], own: float) -> float:
    """The median of rising shares without one of them."""
    at, last = bisect_left(ordered, own), len(ordered) - 1

    def rest(place: int) -> float:
        return ordered[place + (place >= at)]

    return (rest((last - 1) // 2) + rest(last // 2)) / 2


def _whole_of(definition: Definition, part: str) -> str:
    return part.partition("|")[0] if definition.part == "brand" else ""


def _part(
    definition: Definition, figure: Figure, peers: tuple[str, int], middle: float, whole: int
) -> Verdict:
    """The middle share of the others is expected: one of a few who does the same does not move it.
    They are a sample too: what they share is not known better than they are many.
    """
    others = round(middle * whole)
    group = [Figure(prescriber="", indicator="", numerator=others, denominator=whole)]
    base = Base(peers[0], peers[1], _thinkable(group, middle, definition), 1.0)
    return msgspec.structs.replace(
        judge(definition, figure, base),
        chance=chance.two_samples(figure.numerator, figure.denominator, others, whole))
