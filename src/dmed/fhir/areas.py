"""Areas on the earth, as GeoJSON in the extension of a Location: which of them hold a point. Pure.

https://hl7.org/fhir/extensions/StructureDefinition-location-boundary-geojson.html and RFC 7946.
Sides are straight in degrees; a hole is no part of its area; what cannot be read holds nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET

BOUNDARY = "http://hl7.org/fhir/StructureDefinition/location-boundary-geojson"
BYTES_MAX = 2_000_000
"""A longer boundary is not read: no border of a country needs more."""
_DEPTH_MAX = 8
Ring: TypeAlias = list[tuple[float, float]]
"""Corners as (longitude, latitude), the order of GeoJSON."""


class Bounds(NamedTuple):
    """The box around an area, in degrees."""

    south: float
    north: float
    west: float
    east: float


def areas(data: str) -> list[list[Ring]]:
    """The polygons of base64 GeoJSON, each as its rings: the border, then the holes."""
    if len(data) > BYTES_MAX * 4 // 3:
        return []
    try:
        found = msgspec.json.decode(base64.b64decode(data))
        return list(_polygons(found, 0))
    except (binascii.Error, msgspec.DecodeError, ValueError, TypeError, KeyError):
        return []


def _polygons(found: Any, depth: int) -> Iterator[list[Ring]]:
    if depth > _DEPTH_MAX or not isinstance(found, dict):
        return
    match found.get("type"):
        case "Polygon":
            yield _rings(found["coordinates"])
        case "MultiPolygon":
            for rings in found["coordinates"]:
                yield _rings(rings)
        case "Feature":
            yield from _polygons(found.get("geometry"), depth + 1)
        case "FeatureCollection":
            for each in found["features"]:
                yield from _polygons(each, depth + 1)
        case "GeometryCollection":
            for each in found["geometries"]:
                yield from _polygons(each, depth + 1)


def _rings(rings: list[Any]) -> list[Ring]:
    return [[(float(point[0]), float(point[1])) for point in ring] for ring in rings]


def bounds(polygons: list[list[Ring]]) -> Bounds | None:
    """The box around all of them; None where there is no corner."""
    points = [point for rings in polygons for ring in rings for point in ring]
    if not points:
        return None
    latitudes, longitudes = [point[1] for point in points], [point[0] for point in points]
    return Bounds(min(latitudes), max(latitudes), min(longitudes), max(longitudes))


def hold(polygons: list[list[Ring]], latitude: float, longitude: float) -> bool:
    """Whether one of the areas holds a point; its border belongs to it."""
    return any(_holds(rings, latitude, longitude) for rings in polygons)


def _holds(rings: list[Ring], latitude: float, longitude: float) -> bool:
    """A ray to the east crosses the rings an odd number of times."""
    inside = False
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1], strict=True):
            if _is_between(x1, y1, x2, y2, longitude, latitude):
                return True
            if (y1 > latitude) != (y2 > latitude):
                crossing = x1 + (latitude - y1) * (x2 - x1) / (y2 - y1)
                inside ^= longitude < crossing
    return inside


def _is_between(x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> bool:
    if not (min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2)):
        return False
    return (x2 - x1) * (y - y1) == (y2 - y1) * (x - x1)


def boundary_of(location: dict[str, Any]) -> list[list[Ring]]:
    """The areas of a Location, given as the dict of its JSON."""
    return [
        polygon
        for each in location.get("extension", ())
        if each.get("url") == BOUNDARY
        for polygon in areas(each.get("valueAttachment", {}).get("data", ""))
    ]


def data_of(attachment: Any) -> str:
    """The bytes of an Attachment (a struct of `fhir.types`) as base64, "" without any."""
    return "" if attachment.data is UNSET else str(attachment.data)
