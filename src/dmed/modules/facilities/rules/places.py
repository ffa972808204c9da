"""Points on the earth to points on a page: a map without tiles and without other hosts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

_MIDDLE = math.cos(math.radians(41.3))
"""Degrees of longitude are shorter by this in the middle of the country."""
WIDTH = 1000
_TURNS = 60
_LABEL = 24
"""Room for a name between bubbles."""
CENTRES: dict[str, tuple[float, float]] = {
    "1703": (40.78, 72.34), "1706": (39.77, 64.43), "1708": (40.12, 67.84),
    "1710": (38.86, 65.79), "1712": (40.10, 65.38), "1714": (41.00, 71.67),
    "1718": (39.65, 66.96), "1722": (37.23, 67.28), "1724": (40.49, 68.78),
    "1726": (41.31, 69.28), "1727": (41.04, 69.36), "1730": (40.38, 71.79),
    "1733": (41.55, 60.63), "1735": (42.46, 59.61),
}  # fmt: skip  # A table reads better filled.
"""Where the centre of each region lies: latitude and longitude."""
COUNTRY = ((37.0, 45.7), (55.9, 73.3))


class Frame(msgspec.Struct, frozen=True):
    """A part of the earth on a page WIDTH wide."""

    south: float
    north: float
    west: float
    east: float

    @property
    def scale(self) -> float:
        """Page units a degree of latitude."""
        return WIDTH / ((self.east - self.west) * _MIDDLE)

    @property
    def height(self) -> int:
        """Height of the page."""
        return round((self.north - self.south) * self.scale)

    def point(self, latitude: float, longitude: float) -> tuple[int, int]:
        """Where a point of the earth stands on the page."""
        return (round((longitude - self.west) * _MIDDLE * self.scale),
                round((self.north - latitude) * self.scale))


def frame(points: Sequence[tuple[float, float]]) -> Frame:
    """The smallest frame around points, with room at the edges; never below some kilometres."""
    if not points:
        (south, north), (west, east) = COUNTRY
        return Frame(south, north, west, east)
    south, north = min(p[0] for p in points), max(p[0] for p in points)
    west, east = min(p[1] for p in points), max(p[1] for p in points)
    tall, wide = max(north - south, 0.06) * 0.7, max(east - west, 0.08) * 0.7
    tall, wide = max(tall, wide * 0.4), max(wide, tall * 0.9)
    lat, lon = (south + north) / 2, (west + east) / 2
    return Frame(lat - tall, lat + tall, lon - wide, lon + wide)


def radius(count: int, most: int) -> int:
    """The radius of a bubble whose area says a count."""
    return round(11 + 21 * math.sqrt(count / most)) if most else 11


def apart(spots: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Where bubbles (x, y, radius) stand when none covers another: moved as little as may be."""
    places = [[float(x), float(y)] for x, y, _ in spots]
    for _ in range(_TURNS):
        has_moved = False
        for one in range(len(spots)):
            for two in range(one):
                dx = places[one][0] - places[two][0]
                dy = places[one][1] - places[two][1]
                far, near = math.hypot(dx, dy) or 1.0, spots[one][2] + spots[two][2] + _LABEL
                if far >= near:
                    continue
                has_moved = True
                push = (near - far) / 2
                step = (dx / far * push or push, dy / far * push)
                for place, sign in ((one, 1), (two, -1)):
                    places[place][0] += sign * step[0]
                    places[place][1] += sign * step[1]
        if not has_moved:
            break
    return [(round(x), round(y)) for x, y in places]
