"""A trend as the geometry of a picture: axes, reference band, lines, points. Pure.

The template writes it as SVG with classes of the stylesheet, so that the page needs no script and
no inline style; a table beside it says the same in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

import msgspec

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
TICKS = 5


class Tick(msgspec.Struct, frozen=True):
    """A mark of an axis at a place of the view box."""

    at: float
    text: str


class Dot(msgspec.Struct, frozen=True):
    """A measurement; `is_outside` its band."""

    x: float
    y: float
    text: str
    is_outside: bool = False


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `points` for `<polyline>`, its dots, and its name at its end."""

    points: str
    dots: tuple[Dot, ...] = ()
    name: str = ""
    is_reference: bool = False
    end: tuple[float, float] = (0.0, 0.0)


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, in user units of the view box."""

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM
    across: tuple[Tick, ...] = ()
    up: tuple[Tick, ...] = ()
    band: tuple[float, float] | None = None
    """Top and height of the reference band."""
    curves: tuple[Curve, ...] = ()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be drawn: (place on the x axis, value, text) in order of the axis."""

    points: Sequence[tuple[float, float, str]]
    name: str = ""
    is_reference: bool = False


def day_number(when: str) -> int | None:
    """The day of a FHIR date on an axis of time; None where it does not name a day."""
    try:
        return date.fromisoformat(when[:10]).toordinal()
    except ValueError:
        return None


def nice(low: float, high: float, ticks: int = TICKS) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `ticks` of them."""
    span = (high - low) or max(abs(high), 1.0) * 0.2
    raw = span / max(ticks - 1, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(step * number, 10) for number in range(first, last + 1)]


def years(first: float, last: float) -> list[tuple[float, str]]:
    """Marks of an axis of days: first of January of every so many years, or months."""
    begin, end = date.fromordinal(int(first)), date.fromordinal(int(last))
    if (end - begin).days > 700:
        step = max(1, math.ceil((end.year - begin.year) / 8))
        return [(float(date(year, 1, 1).toordinal()), str(year))
                for year in range(begin.year, end.year + 1, step)
                if begin <= date(year, 1, 1) <= end]
    months = [(year, month) for year in range(begin.year, end.year + 1) for month in range(1, 13)]
    inside = [(year, month) for year, month in months if begin <= date(year, month, 1) <= end]
    step = max(1, math.ceil(len(inside) / 8))
    return [(float(date(year, month, 1).toordinal()), f"{month:02d}.{year}")
            for year, month in inside[::step]]


def picture(
    lines: Sequence[Line],
    *,
    low: Decimal | None = None,
    high: Decimal | None = None,
    across: Sequence[tuple[float, str]] | None = None,
) -> Picture | None:
    """The picture of some lines; None where nothing has two points.

    `low` and `high` are the reference band. `across` are the marks of the x axis; without them it
    is an axis of days.
    """
    drawn = [line for line in lines if line.points]
    if not any(len(line.points) > 1 for line in drawn):
        return None
    xs = [x for line in drawn for x, _, _ in line.points]
    bounds = [float(bound) for bound in (low, high) if bound is not None]
    values = [value for line in drawn for _, value, _ in line.points] + bounds
    steps = nice(min(values), max(values))
    first, last = min(xs), max(xs)
    marks = years(first, last) if across is None else across
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place_x(x: float) -> float:
        return round(LEFT + (x - first) / ((last - first) or 1.0) * width, 1)

    def place_y(value: float) -> float:
        return round(TOP + (steps[-1] - value) / (steps[-1] - steps[0]) * height, 1)

    band = None
    if bounds:
        upper = place_y(float(high)) if high is not None else float(TOP)
        lower = place_y(float(low)) if low is not None else float(TOP + height)
        band = (upper, round(max(lower - upper, 1.0), 1))
    return Picture(
        across=tuple(Tick(place_x(x), text) for x, text in marks if first <= x <= last),
        up=tuple(Tick(place_y(value), f"{Decimal(str(value)).normalize():f}") for value in steps),
        band=band,
        curves=tuple(_curve(line, place_x, place_y, low, high) for line in drawn),
    )


def _curve(
    line: Line, place_x: Callable[[float], float], place_y: Callable[[float], float],
    low: Decimal | None, high: Decimal | None,
) -> Curve:
    placed = [(place_x(x), place_y(value)) for x, value, _ in line.points]
    dots = () if line.is_reference else tuple(
        Dot(left, down, text, _is_outside(value, low, high))
        for (left, down), (_, value, text) in zip(placed, line.points, strict=True))
    return Curve(
        points=" ".join(f"{left},{down}" for left, down in placed), dots=dots, name=line.name,
        is_reference=line.is_reference, end=placed[-1])


def _is_outside(value: float, low: Decimal | None, high: Decimal | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)
