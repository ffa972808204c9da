"""Exact limits and tails of the binomial and the Poisson distribution, without a library.

Incomplete beta and gamma functions by continued fraction and series (Numerical Recipes, ch. 6),
as needed for funnel plots: Spiegelhalter, Statistics in Medicine 2005;24:1185-1202.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_STEPS_MAX = 2_000
_ENOUGH = 1e-14
_NORMAL = NormalDist()
_HALF = 0.5
_FAR = 37.0
"""Beyond so many standard deviations a tail is smaller than a float can tell."""


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1 / (d or _TINY)
    value = d
    for step in range(1, _STEPS_MAX):
        for top in (step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step)),
                    -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))):
            d = 1 / ((1 + top * d) or _TINY)
            c = (1 + top / c) or _TINY
            value *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return value


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
                     + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _gamma(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(a, x)."""
    if x <= 0:
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for step in range(1, _STEPS_MAX):
            term *= x / (a + step)
            total += term
            if term < total * _ENOUGH:
                break
        return front * total
    return 1 - _gamma_upper(a, x, front)


def _gamma_upper(a: float, x: float, front: float) -> float:
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    value = d
    for step in range(1, _STEPS_MAX):
        top = -step * (step - a)
        b += 2
        d = 1 / ((top * d + b) or _TINY)
        c = (b + top / c) or _TINY
        value *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return front * value


def binomial_at_least(k: int, n: int, p: float) -> float:
    """The probability of k or more of n at the chance p each."""
    if k <= 0:
        return 1.0
    return 0.0 if k > n else _beta(k, n - k + 1, p)


def binomial_at_most(k: int, n: int, p: float) -> float:
    """The probability of k or fewer of n at the chance p each."""
    if k < 0:
        return 0.0
    # The mirrored tail, so that a very small one is not lost as a difference from one.
    return 1.0 if k >= n else _beta(n - k, k + 1, 1 - p)


def poisson_at_least(k: int, mean: float) -> float:
    """The probability of k or more where `mean` are expected."""
    if k <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    if mean < k + 1:
        return _gamma(k, mean)
    return 1 - _gamma_upper(k, mean, math.exp(k * math.log(mean) - mean - math.lgamma(k)))


def poisson_at_most(k: int, mean: float) -> float:
    """The probability of k or fewer where `mean` are expected."""
    if k < 0 or mean <= 0:
        return float(k >= 0)
    a = k + 1
    if mean < a + 1:
        return 1 - _gamma(a, mean)
    return _gamma_upper(a, mean, math.exp(a * math.log(mean) - mean - math.lgamma(a)))


def limits(n: int, expected: float, level: float, *, is_count: bool = False) -> tuple[int, int]:
    """The lowest and the highest count that lie within a two-sided `level` (0.95, 0.998), exact:
    each tail outside holds at most half of what is left. `is_count`: a Poisson count of n times
    `expected`; else a binomial of n.
    """
    tail = (1 - level) / 2
    if is_count:
        mean = n * expected
        most = int(mean + 40 * math.sqrt(mean + 1) + 40)
        return (_first(most, lambda k: poisson_at_most(k, mean) > tail),
                _first(most, lambda k: poisson_at_least(k + 1, mean) <= tail))
    return (_first(n, lambda k: binomial_at_most(k, n, expected) > tail),
            _first(n, lambda k: binomial_at_least(k + 1, n, expected) <= tail))


def _first(most: int, holds: Callable[[int], bool]) -> int:
    """The smallest k from 0 to `most` for which a rising condition holds."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def score(tail: float) -> float:
    """How many standard deviations out a one-sided tail is."""
    if tail <= 0:
        return _FAR
    return -_NORMAL.inv_cdf(min(tail, 1 - 1e-16))


def tail(score_: float) -> float:
    """The one-sided tail beyond so many standard deviations."""
    return 0.5 * math.erfc(score_ / math.sqrt(2))


def deviation(k: int, n: int, expected: float, *, is_count: bool = False) -> float:
    """How many standard deviations k of n lies above what is expected (below: less than nought), by
    the exact tail with half of the point counted, so that small numbers are not all thought odd.
    `is_count`: a Poisson count of n times `expected`; else a binomial of n.
    """
    def above(least: int) -> float:
        return (poisson_at_least(least, n * expected) if is_count
                else binomial_at_least(least, n, expected))

    def below(most: int) -> float:
        return (poisson_at_most(most, n * expected) if is_count
                else binomial_at_most(most, n, expected))

    high = (above(k) + above(k + 1)) / 2
    # The smaller tail is told with its sign: the other one is a difference from one.
    return score(high) if high <= _HALF else -score((below(k) + below(k - 1)) / 2)


def spread(scores: Sequence[float], cut: float = 0.25) -> float:
    """How many times more than chance the peers vary: the mean square of their scores, with the
    `cut` lowest and highest pulled in and put right for what chance loses by that; at least 1.

    A quarter, so that up to so many of those sought do not hide each other.
    """
    if len(scores) < 3:
        return 1.0
    ordered = sorted(scores)
    off = int(len(ordered) * cut)
    low, high = ordered[off], ordered[-1 - off]
    squares = [min(max(one, low), high) ** 2 for one in ordered]
    return max(1.0, math.fsum(squares) / len(squares) / _pulled_in(off / len(ordered)))


@lru_cache(maxsize=1024)
def _pulled_in(cut: float) -> float:
    """The variance of a standard normal whose `cut` lowest and highest are pulled in."""
    if cut <= 0:
        return 1.0
    at = -_NORMAL.inv_cdf(cut)
    return 1 - 2 * cut - 2 * at * _NORMAL.pdf(at) + 2 * cut * at * at


def false_discovery(chances: Sequence[float], rate: float, whole: int | None = None) -> float:
    """The largest chance that still counts where of all found at most `rate` shall be false
    (Benjamini and Hochberg 1995); -1 where none does. Of `whole` tests only the chances up to
    `rate` need be given: no larger one can count.
    """
    ordered = sorted(chances)
    tests = len(ordered) if whole is None else whole
    found = -1.0
    for place, chance in enumerate(ordered, 1):
        if chance <= rate * place / tests:
            found = chance
    return found


def two_samples(k: int, n: int, others: int, whole: int) -> float:
    """How likely k or more of n are where `others` of `whole` are what the rest has, both being
    samples of the same (Fisher's exact test, one-sided, half of the point itself counted).
    """
    hits, total = k + others, n + whole
    point = math.exp(
        _log_choose(hits, k) + _log_choose(total - hits, n - k) - _log_choose(total, n))
    # Summed away from the middle, where terms only fall: the first may be too small for a float.
    is_high = k * total > hits * n
    found, term, x = point / 2, point, k
    while term > found * _ENOUGH:
        up = (hits - x) * (n - x) / ((x + 1) * (total - hits - n + x + 1)) if is_high else 0.0
        down = 0.0 if is_high else (
            x * (total - hits - n + x) / ((hits - x + 1) * (n - x + 1)))
        term *= up or down
        found += term
        x += 1 if is_high else -1
    return min(1.0, found) if is_high else max(0.0, 1 - found)


def several(chances: Sequence[float], least: int) -> float:
    """How likely all these are where nothing is behind all but fewer than `least` of them: the
    partial conjunction of Simes' tests (Benjamini and Heller, Biometrics 2008;64:1215-22). 1 where
    there are not so many.
    """
    ordered = sorted(chances)[max(0, least - 1):]
    if len(chances) < least or not ordered:
        return 1.0
    return min(1.0, *(len(ordered) / place * one for place, one in enumerate(ordered, 1)))


def _log_choose(n: int, k: int) -> float:
    if k < 0 or k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
