"""Which types of records a person has: what `Patient/[id]/*` walks through."""

from __future__ import annotations

from dmed.store.keys import type_name
from dmed.store.pool import Database

# A loose walk of the index (patient, type, vid): one probe a type that is there.
_TYPES = """
WITH RECURSIVE t AS (
    (SELECT type FROM compartment WHERE patient = $1 ORDER BY type LIMIT 1)
    UNION ALL
    SELECT (SELECT c.type FROM compartment c WHERE c.patient = $1 AND c.type > t.type
            ORDER BY c.type LIMIT 1)
    FROM t WHERE t.type IS NOT NULL
) SELECT type FROM t WHERE type IS NOT NULL
"""


async def types_of(db: Database, patient: str) -> list[str]:
    """The types of which a patient's compartment holds records, in alphabetical order."""
    async with db.connection() as connection:
        rows = await connection.fetch(_TYPES, patient)
    return sorted(type_name(row["type"]) for row in rows)
