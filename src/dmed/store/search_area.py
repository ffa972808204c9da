"""`contains` of Location: the places whose boundary holds a point.

The index has the box around each boundary; the boundaries of the few boxes that hold the point
are read from their records. https://hl7.org/fhir/R5/location-search.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from dmed.fhir.areas import boundary_of, hold
from dmed.fhir.index import modified_number
from dmed.fhir.params_rows import LONGITUDE
from dmed.fhir.query_model import Match, Near
from dmed.kit.errors import InvalidError, Issue
from dmed.store.keys import composite_number, type_number
from dmed.store.plan_where import Arguments

BOXES_MAX = 500
"""Most boundaries that one search reads."""


async def holding(connection: Any, criterion: Match) -> list[str]:
    """Ids of the locations that hold one of the points; InvalidError (too-costly) for too many."""
    found: dict[str, None] = {}
    for point in criterion.values:
        assert isinstance(point, Near), point
        args = Arguments()
        rows = await connection.fetch(_boxes(criterion, point, args), *args.values)
        if len(rows) > BOXES_MAX:
            why = f"Search parameter {criterion.code}: over {BOXES_MAX} boundaries lie around there"
            raise InvalidError(issues=(Issue("too-costly", why, criterion.code),))
        for row in rows:
            areas = boundary_of(msgspec.json.decode(row["body"]))
            if hold(areas, point.latitude, point.longitude):
                found[row["id"]] = None
    return list(found)


def _boxes(criterion: Match, point: Near, args: Arguments) -> str:
    """The locations around whose boundary there is a box that holds the point."""
    latitude, longitude = args.bind(point.latitude, "float8"), args.bind(point.longitude, "float8")
    key = args.bind(composite_number(""), "bigint")
    across = args.bind(modified_number(criterion.number, LONGITUDE), "int")
    number = args.bind(type_number(criterion.type), "smallint")
    return (
        f"SELECT DISTINCT ON (r.vid, r.bucket) r.id, r.body FROM composite a JOIN composite b "
        f"ON b.vid = a.vid AND b.bucket = a.bucket AND b.param = {across} AND b.key = {key} "
        f"AND b.low <= {longitude} AND b.high >= {longitude} "
        f"JOIN resource r ON r.type = {number} AND r.vid = a.vid AND r.bucket = a.bucket "
        f"WHERE a.param = {args.bind(criterion.number, 'int')} AND a.key = {key} "
        f"AND a.low <= {latitude} AND a.high >= {latitude} "
        f"ORDER BY r.vid DESC, r.bucket LIMIT {args.bind(BOXES_MAX + 1, 'int')}"
    )
