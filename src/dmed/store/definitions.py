"""The definitions that are stored: profiles, value sets, code systems. They tell of no person, so
reading them as a whole for the platform's own use leaves no audit row.
"""

from __future__ import annotations

from collections.abc import Sequence

from dmed.store.keys import type_number
from dmed.store.pool import Database, told

_STAMP = "SELECT count(*), coalesce(max(vid), 0) FROM resource WHERE type = any($1::smallint[])"
_BODIES = """
SELECT body FROM resource WHERE type = any($1::smallint[]) AND length(body) <= $2 ORDER BY vid
"""


async def stamp(db: Database, types: Sequence[str]) -> tuple[int, int]:
    """(how many, newest version) of all current definitions: changes whenever one of them does."""
    with told():
        row = await db.hot.fetchrow(_STAMP, [type_number(each) for each in types])
    return int(row[0]), int(row[1])


async def bodies(db: Database, types: Sequence[str], bytes_max: int) -> list[bytes]:
    """The current definitions of these types, oldest version first; larger ones are left out."""
    with told():
        rows = await db.hot.fetch(_BODIES, [type_number(each) for each in types], bytes_max)
    return [bytes(row[0]) for row in rows]
