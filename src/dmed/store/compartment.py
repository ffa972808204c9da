"""Which types of records a person has: what `Patient/[id]/*` walks through."""

from __future__ import annotations

from dmed.store.keys import type_name
from dmed.store.model import Scope
from dmed.store.pool import Database
from dmed.store.read import check_people

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


async def types_of(db: Database, scope: Scope, patient: str) -> list[str]:
    """The types within the scope of which a patient's compartment holds records, by the alphabet.

    ForbiddenError for a patient outside a scope that is limited to certain patients. That there
    are records of a type is told even where care is needed to see them: each is then asked for.
    """
    check_people(scope, [patient])
    async with db.connection() as connection:
        rows = await connection.fetch(_TYPES, patient)
    names = (type_name(row["type"]) for row in rows)
    return sorted(name for name in names if scope.types is None or name in scope.types)
