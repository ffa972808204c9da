"""History of a record, a type or the whole store: https://hl7.org/fhir/R5/http.html#history

Newest first, or oldest first. A page ends with a cursor that names the last version shown, so
paging is stable while new versions arrive: they come before the first page, or after the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from dmed.kit.errors import InvalidError
from dmed.kit.ids import bucket_in, vid_at
from dmed.store import audit as audits
from dmed.store import care
from dmed.store.keys import type_name, type_number
from dmed.store.model import AuditRow, HistoryPage, Scope, Stored
from dmed.store.pool import Database
from dmed.store.read import check_type, missing, people

PAGE_MAX = 1_000
_VID_MAX = 2**63 - 1
_NEWEST = (_VID_MAX, 32_767)
_OLDEST = (-1, -1)
_COLUMNS = "bucket, type, vid, id, patient, others, body, labels"
_INSIDE = ("($5::text[] IS NULL OR patient = ANY ($5) OR others && $5) "
           f"AND (NOT (v.type = ANY($10::smallint[])) OR {care.seen('v', '$9::text[]')})")
_NEWER = "n.bucket = v.bucket AND n.type = v.type AND n.id = v.id AND n.vid > v.vid AND n.vid < $8"
# What was made before the moment counts where nothing had taken its place by then.
_CURRENT = f"""(v.vid >= $8 OR (v.body IS NOT NULL
    AND NOT EXISTS (SELECT FROM resource_version n WHERE {_NEWER})
    AND NOT EXISTS (SELECT FROM resource n WHERE {_NEWER})))"""
_BETWEEN = f"vid >= $6 AND vid < $7 AND {_CURRENT} AND {_INSIDE}"


@lru_cache(maxsize=2)
def _instance(rising: bool) -> str:
    after, order = (">", "ASC") if rising else ("<", "DESC")
    one = (f"SELECT {_COLUMNS} FROM {{table}} "
           "WHERE bucket = (SELECT bucket FROM home) AND type = $1 AND id = $11")
    return f"""
WITH home AS MATERIALIZED (SELECT coalesce(
    $12::smallint, (SELECT bucket FROM id_claim WHERE type = $1 AND id = $11)) AS bucket)
SELECT {_COLUMNS} FROM (
    {one.format(table="resource")} UNION ALL {one.format(table="resource_version")}
) AS v WHERE (vid, bucket) {after} ($2::bigint, $3::smallint) AND {_BETWEEN}
ORDER BY vid {order} LIMIT $4
"""


@lru_cache(maxsize=2)
def _types_walk(rising: bool) -> str:
    """A walk a type and table, each no longer than the page; what is merged is small."""
    after, order = (">", "ASC") if rising else ("<", "DESC")
    # vid alone bounds the walk of an index that ends with vid; bucket only breaks ties.
    walks = " UNION ALL ".join(
        f"(SELECT {_COLUMNS} FROM {table} v WHERE type = k.type AND vid {after}= $2 "
        f"AND (vid, bucket) {after} ($2::bigint, $3::smallint) AND {_BETWEEN} "
        f"ORDER BY vid {order} LIMIT $4)" for table in ("resource", "resource_version"))
    return f"""
SELECT v.* FROM unnest($1::smallint[]) AS k(type) CROSS JOIN LATERAL ({walks}) AS v
ORDER BY v.vid {order}, v.bucket {order} LIMIT $4
"""


_COUNT = """
SELECT (SELECT count(*) FROM resource WHERE bucket = $1 AND type = $2 AND id = $3)
     + (SELECT count(*) FROM resource_version WHERE bucket = $1 AND type = $2 AND id = $3)
"""
# A loose walk of the index: one probe a type that is there.
_PRESENT = """
WITH RECURSIVE t AS (
    (SELECT type FROM {table} ORDER BY type LIMIT 1)
    UNION ALL
    SELECT (SELECT r.type FROM {table} r WHERE r.type > t.type ORDER BY r.type LIMIT 1)
    FROM t WHERE t.type IS NOT NULL
) SELECT type FROM t WHERE type IS NOT NULL
"""


async def history(
    db: Database, scope: Scope, audit: AuditRow, type_: str | None, id_: str | None, *,
    since: datetime | None = None, at: tuple[int, int] | None = None, rising: bool = False,
    count: int = 20, cursor: str | None = None,
) -> HistoryPage:
    """A page of versions, newest first, of a record (`id_`), a type, or all (both None).

    `since` keeps versions made at or after it; `at` (first and last microsecond since 1970, both
    inclusive) those that were current at some point between; `rising` begins with the oldest;
    `count` is 1 to PAGE_MAX. NotFoundError for a record that never was, InvalidError for a cursor
    that is not ours. Audited with one row and one for each person disclosed; no page is returned
    before they are committed. Versions outside the scope are left out; a record wholly outside it
    is not there.
    """
    if type_ is not None:
        check_type(scope, type_)
    id_ = None if id_ is None else audits.storable(id_)
    count = max(1, min(count, PAGE_MAX))
    vid, bucket = _decode(cursor, rising)
    floor = 0 if since is None else _vid(int(since.timestamp() * 1000))
    ceiling, moment = (_VID_MAX, 0) if at is None else (
        _vid(at[1] // 1000 + 1), _vid(at[0] // 1000 + 1))
    within = None if scope.patients is None else list(scope.patients)
    limits = (vid, bucket, count + 1, within, floor, ceiling, moment, list(scope.principals),
              care.guarded_numbers(scope))
    async with db.connection() as connection:
        if id_ is not None:
            assert type_ is not None
            rows = await connection.fetch(
                _instance(rising), type_number(type_), *limits, id_, bucket_in(id_))
        else:
            types = await _types(connection, scope, type_)
            rows = await connection.fetch(_types_walk(rising), types, *limits)
    about = msgspec.structs.replace(audit, type=type_ or "", id=id_ or "")
    total = None
    if id_ is not None and type_ is not None and cursor is None and since is None and at is None:
        total = await _total(db, scope, about, type_, id_, rows)
    page = rows[:count]
    await audits.disclose(db, about, [one for row in page for one in people(row)])
    return HistoryPage([_version(row) for row in page], total,
                       _encode(page[-1]) if len(rows) > count else None)


def _vid(milliseconds: int) -> int:
    return min(_VID_MAX, vid_at(milliseconds))


async def _types(connection: Any, scope: Scope, type_: str | None) -> list[int]:
    if type_ is not None:
        return [type_number(type_)]
    present: set[int] = set()
    for table in ("resource", "resource_version"):
        present |= {row["type"] for row in await connection.fetch(_PRESENT.format(table=table))}
    return sorted(number for number in present
                  if scope.types is None or type_name(number) in scope.types)


async def _total(
    db: Database, scope: Scope, about: AuditRow, type_: str, id_: str, rows: Sequence[Any]
) -> int:
    """How many versions the record has; the error for one that has none to show."""
    number = type_number(type_)
    async with db.connection() as connection:
        home = bucket_in(id_)
        if home is None:
            home = await connection.fetchval(
                "SELECT bucket FROM id_claim WHERE type = $1 AND id = $2", number, id_)
        total: int = await connection.fetchval(_COUNT, home, number, id_)
    if rows:
        # Of versions that are hidden nobody learns by counting.
        return len(rows) if type_ in scope.guarded or scope.patients is not None else total
    outcome = 403 if total else 404
    await audits.note(db, [msgspec.structs.replace(about, outcome=outcome)])
    raise await missing(db, scope, type_, id_, is_hidden=bool(total))


def _version(row: Any) -> Stored:
    body = row["body"]
    return Stored(type_name(row["type"]), row["id"], row["vid"], row["bucket"],
                  b"" if body is None else body, body is None)


def _encode(row: Any) -> str:
    return f"{row['vid']:x}.{row['bucket']:x}"


def _decode(cursor: str | None, rising: bool) -> tuple[int, int]:
    if cursor is None:
        return _OLDEST if rising else _NEWEST
    try:
        vid, bucket = (int(part, 16) for part in cursor.split("."))
    except ValueError:
        raise InvalidError("the page address is not one that this server gave") from None
    if not (0 <= vid < 2**63 and 0 <= bucket < 4096):
        raise InvalidError("the page address is not one that this server gave")
    return vid, bucket
