"""Which profiles, tags and security labels are in use: what $meta of a type or of all answers.

https://hl7.org/fhir/R5/resource-operation-meta.html. The index is asked for its distinct values
by loose walks, one probe a value; a record of each tells the words that the index does not hold.
"""

from __future__ import annotations

import msgspec

from dmed.fhir.index import parameter_number
from dmed.kit.errors import ForbiddenError
from dmed.store import audit as audits
from dmed.store.keys import type_names, type_number
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database
from dmed.store.read import check_type

VALUES_MAX = 1_000
"""Most distinct values of one kind and type."""


def _walk(table: str, value: str, second: str) -> str:
    """A loose walk by (param, value), then the seconds of each value, one probe each."""
    of_param = f"FROM {table} WHERE param ="
    return f"""
WITH RECURSIVE first AS (
    SELECT p.param, f.value FROM unnest($1::int[]) AS p(param) CROSS JOIN LATERAL (
        SELECT {value} AS value {of_param} p.param ORDER BY {value} LIMIT 1) AS f
    UNION ALL
    SELECT c.param, n.value FROM first c CROSS JOIN LATERAL (
        SELECT {value} AS value {of_param} c.param AND {value} > c.value ORDER BY {value} LIMIT 1
    ) AS n
), every AS (
    SELECT c.param, c.value, f.bucket, f.vid, ARRAY[f.second] AS seen
    FROM (SELECT * FROM first LIMIT $2) AS c CROSS JOIN LATERAL (
        SELECT {second} AS second, bucket, vid {of_param} c.param AND {value} = c.value LIMIT 1
    ) AS f
    UNION ALL
    SELECT s.param, s.value, n.bucket, n.vid, s.seen || n.second
    FROM every s CROSS JOIN LATERAL (
        SELECT {second} AS second, bucket, vid {of_param} s.param AND {value} = s.value
        AND {second} <> ALL (s.seen) LIMIT 1) AS n
)
SELECT DISTINCT ON (r.vid, r.bucket) r.body FROM (SELECT * FROM every LIMIT $2) AS s
CROSS JOIN LATERAL (
    SELECT vid, bucket, body FROM resource r
    WHERE r.type = ANY ($3) AND r.vid = s.vid AND r.bucket = s.bucket LIMIT 1) AS r
"""


_KINDS = (
    (("_tag", "_security"), _walk("token", "code", "system")),
    (("_profile",), _walk("reference", "id", "coalesce(version, '')")),
)


async def bodies(db: Database, scope: Scope, audit: AuditRow, type_: str = "") -> list[bytes]:
    """Current records that together carry every value in use, of one type or of all in scope.

    Only their `meta` may be told to anybody: the audit has one row and names no person.
    ForbiddenError where the scope is limited to certain patients.
    """
    if scope.patients is not None:
        raise ForbiddenError("what is in use among all records is not told to this sign-in")
    if type_:
        check_type(scope, type_)
    every = type_names() if scope.types is None else sorted(scope.types)
    types = [type_] if type_ else every
    numbers = [type_number(name) for name in types]
    found: list[bytes] = []
    async with db.searching() as connection:
        for codes, statement in _KINDS:
            params = [parameter_number(name, code) for name in types for code in codes]
            rows = await connection.fetch(statement, params, VALUES_MAX, numbers)
            found += [row["body"] for row in rows]
    await audits.note(db, [msgspec.structs.replace(audit, type=type_)])
    return found
