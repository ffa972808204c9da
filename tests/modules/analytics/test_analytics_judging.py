"""Limits are exact, planted figures are found in countries of chance, and hardly any other."""

from __future__ import annotations

import math
from datetime import date, datetime
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit.clock import TASHKENT
from dmed.modules.analytics.model import Fact, Figure, Illness, Item, Kept, Person, Place
from dmed.modules.analytics.rules import chance, judging, peers
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.rules.deriving import lines


def binomial(k: int, n: int, p: Fraction) -> Fraction:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@given(n=st.integers(1, 60), percent=st.integers(1, 99), data=st.data())
def test_binomial_tails_are_exact(n: int, percent: int, data: st.DataObject) -> None:
    """Both tails are those of adding up every case with whole numbers."""
    k, p = data.draw(st.integers(0, n)), Fraction(percent, 100)
    above = float(sum(binomial(one, n, p) for one in range(k, n + 1)))
    below = float(sum(binomial(one, n, p) for one in range(k + 1)))

    assert chance.binomial_at_least(k, n, float(p)) == pytest.approx(above, rel=1e-9)
    assert chance.binomial_at_most(k, n, float(p)) == pytest.approx(below, rel=1e-9)


@given(k=st.integers(0, 40), tenths=st.integers(1, 400))
def test_poisson_tails_are_exact(k: int, tenths: int) -> None:
    """Both tails are those of adding up every case."""
    mean = tenths / 10
    points = [math.exp(one * math.log(mean) - mean - math.lgamma(one + 1)) for one in range(400)]

    assert chance.poisson_at_most(k, mean) == pytest.approx(
        math.fsum(points[: k + 1]), rel=1e-8, abs=1e-14)
    assert chance.poisson_at_least(k, mean) == pytest.approx(
        math.fsum(points[k:]), rel=1e-8, abs=1e-14)


@given(n=st.integers(10, 200), percent=st.integers(1, 99), level=st.sampled_from([0.95, 0.998]))
def test_limits_leave_no_more_than_their_share_outside(n: int, percent: int, level: float) -> None:
    """Beyond each limit lies at most half of the rest, and one step nearer lies more."""
    low, high = chance.limits(n, percent / 100, level)
    tail = (1 - level) / 2

    assert chance.binomial_at_most(low - 1, n, percent / 100) <= tail
    assert chance.binomial_at_least(high + 1, n, percent / 100) <= tail
    assert chance.binomial_at_most(low, n, percent / 100) > tail
    assert high == 0 or chance.binomial_at_least(high, n, percent / 100) > tail


@given(n=st.integers(1, 25), whole=st.integers(1, 25), data=st.data())
def test_two_samples_are_weighed_exactly(n: int, whole: int, data: st.DataObject) -> None:
    """Fisher's test is that of counting the ways, half of the point itself counted."""
    k, others = data.draw(st.integers(0, n)), data.draw(st.integers(0, whole))
    hits, total = k + others, n + whole

    def ways(x: int) -> int:
        return math.comb(hits, x) * math.comb(total - hits, n - x)

    expected = (Fraction(ways(k), 2) + sum(ways(x) for x in range(k + 1, min(n, hits) + 1))) / (
        math.comb(total, n))
    assert chance.two_samples(k, n, others, whole) == pytest.approx(float(expected), rel=1e-8)


def test_two_large_samples_are_weighed_on_both_sides() -> None:
    """Where a single case is too unlikely for a float the sum is right all the same."""
    assert chance.two_samples(3_000, 5_000, 45_000, 50_000) == pytest.approx(1)
    assert chance.two_samples(4_900, 5_000, 5_000, 50_000) == pytest.approx(0, abs=1e-300)
    assert chance.two_samples(500, 1_000, 5_000, 10_000) == pytest.approx(0.5)


def test_few_false_discoveries() -> None:
    """The limit is the last chance under the rising line; nothing where none is."""
    assert chance.false_discovery([0.001, 0.02, 0.5, 0.9], 0.05) == 0.02
    assert chance.false_discovery([0.2, 0.9], 0.05) == -1
    assert chance.false_discovery([0.001, 0.02], 0.05, 4) == 0.02


def test_spread_is_not_moved_by_a_quarter() -> None:
    """Chance alone has no spread, a wide country has its own, and those sought do not add to it."""
    numbers = Random(1)  # noqa: S311  # Repeatable.
    usual = [numbers.gauss(0, 1) for _ in range(4_000)]

    assert chance.spread(usual) == pytest.approx(1, abs=0.1)
    assert chance.spread([2 * one for one in usual]) == pytest.approx(4, rel=0.1)
    assert chance.spread([*usual[:3_300], *[20.0] * 700]) < 2.5


def country(seed: int, planted: int) -> tuple[list[Figure], dict[str, Place], set[str]]:
    """Three hundred doctors of three specialties whose shares differ by themselves a little."""
    numbers = Random(seed)  # noqa: S311  # A country by seed.
    figures, places = [], {}
    bad = {f"d{one}" for one in numbers.sample(range(300), planted)}
    for number in range(300):
        id_, specialty = f"d{number}", number % 3
        places[id_] = Place(specialty=str(specialty), kind="k", region=str(number % 14))
        for indicator, usual in (("antibiotic", 0.2 + 0.1 * specialty), ("injection", 0.08),
                                 ("early-repeat", 0.04)):
            share = usual * math.exp(numbers.gauss(0, 0.15))
            size = numbers.randrange(30, 300)
            if id_ in bad and indicator == "injection":
                share, size = 0.6, max(size, 60)
            count = sum(numbers.random() < share for _ in range(size))
            figures.append(Figure(prescriber=id_, indicator=indicator, numerator=count,
                                  denominator=size))
    return figures, places, bad


@pytest.mark.parametrize("seed", range(4))
def test_planted_figures_are_found_and_hardly_others(seed: int) -> None:
    """By any seed all planted prescribers are flagged and at most one in a hundred others."""
    figures, places, bad = country(seed, 6)
    verdicts = judging.judge_all(figures, definitions(), places)
    flagged = {one.figure.prescriber for one in verdicts if one.is_flagged}

    assert flagged >= bad
    assert len(flagged - bad) <= 0.01 * (300 - len(bad))


def test_three_guilty_of_ten_peers_do_not_hide_each_other() -> None:
    """What a few peers vary is drawn towards what all vary by, and who lies outside is left out."""
    figures, places, _ = country(7, 0)
    bad = {"d0", "d42", "d84"}
    group = [f"d{one}" for one in range(0, 300, 42)] + ["e0", "e1"]
    for who in group:
        places[who] = Place(specialty="rare", kind="k", region="0")
        figures = [one for one in figures
                   if (one.prescriber, one.indicator) != (who, "injection")]
        figures.append(Figure(prescriber=who, indicator="injection", denominator=100,
                              numerator=60 if who in bad else 7 + int(who[1:]) % 4))
    found = {one.figure.prescriber: one for one in judging.judge_all(
        figures, definitions(), places) if one.figure.prescriber in group and one.is_flagged}

    assert len(group) == peers.PEERS_MIN
    assert set(found) == bad
    assert {one.peers for one in found.values()} == {"specialty-region"}


def test_a_country_without_guilt_has_no_flags() -> None:
    """Where nobody is planted hardly anybody is flagged."""
    figures, places, _ = country(99, 0)
    verdicts = judging.judge_all(figures, definitions(), places)

    assert sum(one.is_flagged for one in verdicts) <= 1


def test_small_cells_are_not_judged() -> None:
    """Nine of nine are nothing to speak of."""
    figures, places, _ = country(5, 0)
    figures.append(Figure(prescriber="small", indicator="antibiotic", numerator=9, denominator=9))
    verdicts = judging.judge_all(figures, definitions(), places)

    assert "small" not in {one.figure.prescriber for one in verdicts}


def test_a_pharmacy_is_weighed_against_the_district() -> None:
    """Ninety of a hundred at a pharmacy where half go stands out; half does not."""
    places = {f"d{one}": Place(district="1", specialty="x") for one in range(8)}
    figures = []
    for number, at_first in enumerate((90, 50, 55, 45, 52, 48, 51, 49)):
        who: dict[str, Any] = {"prescriber": f"d{number}", "indicator": "pharmacy-pair"}
        figures += [Figure(**who, part="", numerator=0, denominator=100),
                    Figure(**who, part="p1", numerator=at_first, denominator=0),
                    Figure(**who, part="p2", numerator=100 - at_first, denominator=0)]
    verdicts = judging.judge_all(figures, definitions(), places)

    assert [(one.figure.prescriber, one.figure.part) for one in verdicts if one.is_flagged] == [
        ("d0", "p1")]


def served(
    districts: dict[str, list[tuple[float, ...]]], size: int = 60, seed: int = 1
) -> tuple[list[Figure], dict[str, Place]]:
    """District > of each of its doctors the shares of the pharmacies there, drawn by chance."""
    numbers = Random(seed)  # noqa: S311  # Repeatable.
    figures, places = [], {}
    for district, doctors in districts.items():
        for number, shares in enumerate(doctors):
            who = f"{district}/{number}"
            places[who] = Place(district=district)
            chosen = numbers.choices(range(len(shares)), shares, k=size)
            figures.append(Figure(prescriber=who, indicator="pharmacy-pair", numerator=0,
                                  denominator=size))
            figures += [Figure(prescriber=who, indicator="pharmacy-pair", part=f"{district}/p{one}",
                               numerator=chosen.count(one), denominator=0)
                        for one in range(len(shares)) if one in chosen]
    return figures, places


def flagged(figures: list[Figure], places: dict[str, Place]) -> set[str]:
    """Who is flagged."""
    return {one.figure.prescriber for one in judging.judge_all(figures, definitions(), places)
            if one.is_flagged}


EVEN = [(0.5, 0.5)] * 7
FREE = {f"free{one}": EVEN for one in range(8)}
STEERED = (0.95, 0.05)


@pytest.mark.parametrize("guilty", [1, 2, 4, 5])
def test_a_guilty_majority_is_found(guilty: int) -> None:
    """Five of seven doctors of a district who steer to one pharmacy do not hide each other: two who
    do not show that one can go elsewhere, and nowhere in the country do so many go to one.
    """
    district = [STEERED] * guilty + EVEN[guilty:]

    assert flagged(*served({**FREE, "x": district})) == {f"x/{one}" for one in range(guilty)}


@pytest.mark.parametrize("village", [
    [(1.0,)] * 5, [(0.96, 0.04)] * 7, [*[(0.96, 0.04)] * 4, (0.3, 0.7)]],
    ids=["one pharmacy", "one far away", "one doctor with patients of elsewhere"])
def test_a_village_with_one_pharmacy_is_not_flagged(village: list[tuple[float, ...]]) -> None:
    """Where all go to the same place nobody is steered, and one who differs is no measure."""
    assert not {one for one in flagged(*served({**FREE, "x": village})) if one != "x/4"}


def test_a_pharmacy_next_door_is_usual_where_it_is_usual() -> None:
    """Where in the whole country patients go next door, those of one house are not odd because
    those of the other go elsewhere.
    """
    country = {f"d{one}": [*[(0.9, 0.1)] * 5, *[(0.1, 0.9)] * 2] for one in range(8)}

    assert flagged(*served(country)) == set()


def test_a_product_that_few_prescribe_is_weighed_all_the_same() -> None:
    """Two of four who prescribe a preparation often give one product of two: the other two, those
    who prescribe it seldom, and other preparations show that it need not be so.
    """
    figures, places = [], {}

    def add(who: str, preparation: str, size: int, at_first: int) -> None:
        places[who] = Place(district=who, region=who)
        figures.append(Figure(prescriber=who, indicator="brand-in-inn", part=preparation,
                              numerator=0, denominator=size))
        figures.extend(Figure(prescriber=who, indicator="brand-in-inn", numerator=count,
                              part=f"{preparation}|{name}", denominator=0)
                       for name, count in (("A", at_first), ("B", size - at_first)) if count)

    for number in range(30):
        add(f"usual{number}", f"x{number % 5}", 40, 17 + number % 7)
    for number, at_first in enumerate((39, 38, 20, 19)):
        add(f"often{number}", "rare", 40, at_first)
    for number in range(6):
        add(f"seldom{number}", "rare", 5, 2 + number % 2)

    assert flagged(figures, places) == {"often0", "often1"}


def test_several_chances_speak_for_several() -> None:
    """One small chance does not say that two are behind; two small ones do, at what they cost."""
    assert chance.several([0.001, 0.5, 0.9, 0.8], 2) > 0.5
    assert chance.several([0.001, 0.002, 0.9, 0.8], 2) == pytest.approx(0.006)
    assert chance.several([0.001], 2) == 1
    assert chance.several([], 1) == 1


DAY = date(2026, 5, 5)


def item(id_: str, atc: str, icd: str = "", *, hour: int = 10, until: int = 15) -> Kept:
    fact = Item(prescriber="d", group=id_, atc=atc, icd=icd, starts=DAY, ends=DAY.replace(
        day=until), moment=datetime(2026, 5, 5, hour, 0, tzinfo=TASHKENT))
    return kept(id_, fact)


def kept(id_: str, fact: Fact) -> Kept:
    return Kept(type="X", id=id_, patient="p", fact=fact)


OLD = kept("old", Person(born=date(1950, 1, 1)))
YOUNG = kept("young", Person(born=date(1990, 1, 1)))


@pytest.mark.parametrize(("facts", "flag", "is_there"), [
    ([OLD, item("a", "M01AE01")], "nsaid-old", True),
    ([YOUNG, item("a", "M01AE01")], "nsaid-old", False),
    ([OLD, item("b", "A02BC01", hour=9), item("a", "M01AE01")], "nsaid-old", False),
    ([OLD, item("b", "B01AA03", hour=9), item("a", "M01AE01")], "nsaid-anticoagulant", True),
    ([YOUNG, item("b", "B01AA03", hour=9), item("a", "M01AE01")], "nsaid-anticoagulant", True),
    ([YOUNG, item("a", "M01AE01", "I50.9")], "nsaid-heart-kidney", True),
    ([YOUNG, item("a", "C07AB02"), kept("i", Illness(
        icd="J45.9", starts=date(2020, 1, 1), ends=date.max))], "betablocker-asthma", True),
    ([YOUNG, item("a", "C07AB02"), kept("i", Illness(
        icd="J45.9", starts=date(2020, 1, 1), ends=date(2021, 1, 1)))], "betablocker-asthma",
     False),
    ([OLD, item("a", "N05AD01", "F03")], "antipsychotic-dementia", True),
    ([OLD, item("a", "N05AN01", "F03")], "antipsychotic-dementia", False),
    ([YOUNG, item("a", "M01AE01", hour=21)], "out-of-hours", True),
    ([YOUNG, item("a", "M01AE01")], "out-of-hours", False),
    ([YOUNG, item("b", "M01AE01", hour=9, until=30), item("a", "M01AE01")], "early", True),
    ([YOUNG, item("b", "M01AE01", hour=9, until=8), item("a", "M01AE01")], "early", False),
])
def test_hazards_are_seen(facts: list[Kept], flag: str, is_there: bool) -> None:
    """Each flag stands where its rule says, whatever the order of the facts."""
    for order in (facts, facts[::-1]):
        found = next(one for one in lines(order) if one.id == "a")

        assert (flag in found.flags) == is_there
    assert msgspec.json.encode(facts[0])
