"""Which figures stand out from those of the peers: funnel limits, their own spread, many tests.

Exact limits at the share of the peers; the peers' own spread beyond chance widens them
(Spiegelhalter 2005); of all figures judged at once at most one flag in a hundred shall be chance
(Benjamini and Hochberg); and a flag needs a difference that matters, not only one that is sure.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from dmed.modules.analytics.model import Definition, Direction, Figure, Post, Verdict
from dmed.modules.analytics.rules import chance

CELL_MIN = 10
"""A figure over fewer is neither shown to others nor judged."""
PEERS_MIN = 10
PAIR_PEERS_MIN = 3
FALSE_RATE = 0.01
TIMES_MIN = 1.5
"""A flag is at least so many times the expected (or a part of it, where low is worse)."""
LEVEL_95, LEVEL_998 = 0.95, 0.998
_TRIM, _PART_CUT = 0.1, 0.25
_COUNT_KINDS = frozenset({"mean"})


class Peers(NamedTuple):
    """Those to compare with."""

    name: str
    figures: Sequence[Figure]


def share(figures: Iterable[Figure]) -> float:
    """The pooled share of figures without the tenth with the lowest and that with the highest, so
    that those sought do not move what they are measured by.
    """
    ordered = sorted((one for one in figures if one.denominator),
                     key=lambda one: one.numerator / one.denominator)
    off = int(len(ordered) * _TRIM)
    kept = ordered[off : len(ordered) - off] if len(ordered) > 2 * off else ordered
    whole = sum(one.denominator for one in kept)
    return sum(one.numerator for one in kept) / whole if whole else 0.0


def peers_of(
    post: Post | None, region: str, figures: Mapping[str, Figure], posts: Mapping[str, Post],
    regions: Mapping[str, str],
) -> Peers:
    """Those of the same specialty in the region; where they are fewer than ten, of the country;
    where these are fewer too, everybody. A figure under the least cell is nobody's peer.
    """
    wide = [one for one in figures.values() if one.denominator >= CELL_MIN]
    if post is None:
        return Peers("all", wide)
    same = [one for one in wide if (other := posts.get(one.prescriber)) is not None
            and other.specialty == post.specialty]
    near = [one for one in same if region and regions.get(one.prescriber) == region]
    for name, found in (("specialty-region", near), ("specialty", same)):
        if len(found) >= PEERS_MIN:
            return Peers(name, found)
    return Peers("all", wide)


def _score(figure: Figure, expected: float, *, is_count: bool, direction: Direction) -> float:
    """How many standard deviations to the worse side, by the exact tail (half of the point counted,
    so that small numbers are not all thought odd).
    """
    n, k = figure.denominator, figure.numerator
    if is_count:
        # Of a prescription one line is given: only what is beyond it varies.
        up = [chance.poisson_at_least(each, n * expected) for each in (k, k + 1)]
        down = [chance.poisson_at_most(each, n * expected) for each in (k, k - 1)]
    else:
        up = [chance.binomial_at_least(each, n, expected) for each in (k, k + 1)]
        down = [chance.binomial_at_most(each, n, expected) for each in (k, k - 1)]
    high, low = sum(up) / 2, sum(down) / 2
    # The smaller tail is told with its sign: the other one is a difference from one.
    found = chance.score(high) if high <= low else -chance.score(low)
    return -found if direction is Direction.LOW else found


def _floor(peers: Sequence[Figure], expected: float) -> float:
    """No share is known to be nought or one: half a case among all peers is always thinkable."""
    whole = sum(one.denominator for one in peers)
    least = 0.5 / whole if whole else 0.5
    return min(max(expected, least), max(1 - least, 0.5) if expected <= 1 else expected)


def judge(definition: Definition, figure: Figure, peers: Peers) -> Verdict:
    """A figure among peers, without the last word: that needs all figures (`flag`).

    Of parts there are few peers: the middle of their shares is expected, which one cannot move.
    """
    is_part = definition.kind == "part"
    is_count = definition.kind in _COUNT_KINDS
    offset = 1 if is_count and definition.sum == "items" else 0
    bare = [_less(one, offset) for one in (figure, *peers.figures)]
    expected = _floor(bare[1:], _middle(bare[1:]) if is_part else share(bare[1:]))
    scores = [_score(one, expected, is_count=is_count, direction=definition.direction)
              for one in bare[1:]]
    wide = chance.spread(scores, _PART_CUT if is_part else _TRIM)
    n = figure.denominator
    mark = _score(bare[0], expected, is_count=is_count, direction=definition.direction)
    shown = []
    for level in (LEVEL_95, LEVEL_998):
        low, high = chance.limits(n, expected, level, is_count=is_count)
        middle = n * expected
        most = float("inf") if is_count else n
        shown += [max(0.0, middle - (middle - low) * wide**0.5) / n + offset if n else 0.0,
                  min(most, middle + (high - middle) * wide**0.5) / n + offset if n else 0.0]
    return Verdict(
        figure=figure, peers=peers.name, peer_count=len(peers.figures), expected=expected + offset,
        low95=shown[0], high95=shown[1], low998=shown[2], high998=shown[3], spread=wide,
        chance=chance.tail(mark / wide**0.5))


def _middle(figures: Sequence[Figure]) -> float:
    shares = [one.numerator / one.denominator for one in figures if one.denominator]
    return statistics.median(shares) if shares else 0.0


def _less(figure: Figure, offset: int) -> Figure:
    if not offset:
        return figure
    return msgspec.structs.replace(
        figure, numerator=figure.numerator - offset * figure.denominator)


def _matters(definition: Definition, verdict: Verdict) -> bool:
    """Whether the difference is large enough to speak of, and lies outside of the outer limits."""
    figure = verdict.figure
    value = figure.numerator / figure.denominator
    if definition.direction is Direction.LOW:
        missing, expected = 1 - value, 1 - verdict.expected
        return (value < verdict.low998 and missing >= TIMES_MIN * expected
                and figure.denominator - figure.numerator >= CELL_MIN)
    offset = 1 if definition.sum == "items" else 0
    return (value > verdict.high998 and figure.numerator - offset * figure.denominator >= CELL_MIN
            and value - offset >= TIMES_MIN * (verdict.expected - offset))


def flag(
    verdicts: Sequence[Verdict], definitions: Mapping[str, Definition], rate: float = FALSE_RATE
) -> list[Verdict]:
    """All verdicts, with flags where a figure is judged, large enough, far enough and surely so."""
    judged = [one for one in verdicts
              if definitions[one.figure.indicator].direction is not Direction.NONE
              and one.figure.denominator >= CELL_MIN and one.peer_count >= PAIR_PEERS_MIN]
    limit = chance.false_discovery([one.chance for one in judged], rate)
    flagged = {id(one) for one in judged if one.chance <= limit
               and _matters(definitions[one.figure.indicator], one)}
    return [msgspec.structs.replace(one, is_flagged=True) if id(one) in flagged else one
            for one in verdicts]


def judge_all(
    figures: Iterable[Figure], definitions: Mapping[str, Definition], posts: Mapping[str, Post],
    regions: Mapping[str, str],
) -> list[Verdict]:
    """Every figure of a share or mean among its peers, and every part among those beside it."""
    by_indicator: dict[str, list[Figure]] = defaultdict(list)
    for one in figures:
        by_indicator[one.indicator].append(one)
    found: list[Verdict] = []
    for id_, group in by_indicator.items():
        definition = definitions[id_]
        found += (_judge_parts(definition, group, posts, regions) if definition.kind == "part"
                  else _judge_whole(definition, group, posts, regions))
    return flag(found, definitions)


def _judge_whole(
    definition: Definition, figures: Sequence[Figure], posts: Mapping[str, Post],
    regions: Mapping[str, str],
) -> list[Verdict]:
    by_prescriber = {one.prescriber: one for one in figures}
    return [judge(definition, one, peers_of(posts.get(one.prescriber),
                                            regions.get(one.prescriber, ""), by_prescriber, posts,
                                            regions))
            for one in figures if one.denominator >= CELL_MIN]


def _judge_parts(
    definition: Definition, figures: Sequence[Figure], posts: Mapping[str, Post],
    regions: Mapping[str, str],
) -> list[Verdict]:
    """A pair of doctor and pharmacy against the colleagues of the same institution, a product and
    a rule against those of the region (else of the country): what is near is what patients of
    others take too.
    """
    wholes = {(one.prescriber, one.part): one.denominator for one in figures if one.denominator}
    parts = {(one.prescriber, one.part): one.numerator for one in figures if one.numerator}
    near = _places(definition, posts, regions)
    by_whole: dict[str, list[str]] = defaultdict(list)
    for prescriber, whole in wholes:
        by_whole[whole].append(prescriber)
    found = []
    for (prescriber, part), count in sorted(parts.items()):
        whole = part.split("|", maxsplit=1)[0] if definition.part == "brand" else ""
        size = wholes.get((prescriber, whole), 0)
        if size < CELL_MIN:
            continue
        beside = [other for other in by_whole[whole]
                  if other != prescriber and wholes[other, whole] >= CELL_MIN]
        close = [other for other in beside if near(other) == near(prescriber)]
        name = "near" if len(close) >= PAIR_PEERS_MIN else "all"
        if name == "all" and definition.part == "pharmacy":
            continue
        chosen = [Figure(prescriber=other, indicator=definition.id, part=part,
                         numerator=parts.get((other, part), 0), denominator=wholes[other, whole])
                  for other in (close if name == "near" else beside)]
        figure = Figure(prescriber=prescriber, indicator=definition.id, part=part, numerator=count,
                        denominator=size)
        found.append(judge(definition, figure, Peers(name, chosen)))
    return found


def _places(
    definition: Definition, posts: Mapping[str, Post], regions: Mapping[str, str]
) -> Callable[[str], str]:
    if definition.part == "pharmacy":
        return lambda id_: posts[id_].organisation if id_ in posts else ""
    return lambda id_: regions.get(id_, "")
