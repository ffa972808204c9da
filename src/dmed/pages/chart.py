"""A trend of a few values as the geometry of a small SVG: line, reference band, last point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

WIDTH, HEIGHT, MARGIN = 150, 26, 3


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What the template draws; all numbers are user units of the SVG's view box."""

    width: int
    height: int
    points: str
    """For `<polyline points>`: "0,7 30,9"."""
    last: tuple[float, float]
    band: tuple[float, float] | None
    """Top and height of the reference band."""
    is_outside: bool
    """The last value lies outside the reference band."""


def trend(
    values: Sequence[tuple[str, float]],
    low: float | None = None,
    high: float | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Trend | None:
    """The trend of (day, value) pairs in order of time; None with fewer than two values.

    Days are ISO dates; the x axis is time, so that a long gap looks long.
    """
    if len(values) < 2:
        return None
    days = [date.fromisoformat(day[:10]).toordinal() for day, _ in values]
    amounts = [amount for _, amount in values]
    bounds = [bound for bound in (low, high) if bound is not None]
    bottom, top = min([*amounts, *bounds]), max([*amounts, *bounds])
    span = (top - bottom) or 1.0
    length = (days[-1] - days[0]) or 1
    inner = height - 2 * MARGIN

    def x(day: int) -> float:
        return round(MARGIN + (day - days[0]) / length * (width - 2 * MARGIN), 1)

    def y(amount: float) -> float:
        return round(MARGIN + (top - amount) / span * inner, 1)

    places = [(x(day), y(amount)) for day, amount in zip(days, amounts, strict=True)]
    band = None
    if bounds:
        upper, lower = y(top if high is None else high), y(bottom if low is None else low)
        band = (upper, round(max(lower - upper, 1.0), 1))
    last = amounts[-1]
    outside = (low is not None and last < low) or (high is not None and last > high)
    return Trend(
        width=width,
        height=height,
        points=" ".join(f"{left},{down}" for left, down in places),
        last=places[-1],
        band=band,
        is_outside=outside,
    )
