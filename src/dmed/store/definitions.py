"""The definitions that are stored: profiles, value sets, code systems. They tell of no person, so
reading them as a whole for the platform's own use leaves no audit row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmed.kit.ids import bucket_in
from dmed.store.keys import type_number
from dmed.store.pool import Database, told

_STAMP = "SELECT count(*), coalesce(bit_xor(vid), 0) FROM resource WHERE type = any($1::smallint[])"
_VERSIONS = """
SELECT w.n, r.vid, r.bucket
FROM unnest($1::smallint[], $2::text[], $3::smallint[]) WITH ORDINALITY AS w(type, id, bucket, n)
LEFT JOIN id_claim c ON c.type = w.type AND c.id = w.id
JOIN resource r ON r.bucket = coalesce(w.bucket, c.bucket) AND r.type = w.type AND r.id = w.id
"""
_BODIES = """
SELECT body FROM resource WHERE type = any($1::smallint[]) AND length(body) <= $2 ORDER BY vid
"""


async def stamp(db: Database, types: Sequence[str]) -> tuple[int, int]:
    """(how many, sum of their versions) of all current definitions: changes whenever one does.

    The newest version alone would not tell of one that was numbered earlier and committed later.
    """
    with told():
        row = await db.hot.fetchrow(_STAMP, [type_number(each) for each in types])
    return int(row[0]), int(row[1])


async def versions(
    connection: Any, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int]]:
    """(version, bucket) of those of these (type, id) that are stored."""
    rows = await connection.fetch(
        _VERSIONS, [type_number(kind) for kind, _ in keys], [id_ for _, id_ in keys],
        [bucket_in(id_) for _, id_ in keys])
    return {keys[row["n"] - 1]: (row["vid"], row["bucket"]) for row in rows}


async def bodies(db: Database, types: Sequence[str], bytes_max: int) -> list[bytes]:
    """The current definitions of these types, oldest version first; larger ones are left out."""
    with told():
        rows = await db.hot.fetch(_BODIES, [type_number(each) for each in types], bytes_max)
    return [bytes(row[0]) for row in rows]
