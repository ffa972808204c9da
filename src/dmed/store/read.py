"""Read and vread: https://hl7.org/fhir/R5/http.html#read

Reads that arrive in the same moment share one statement, which fetches the records and writes
their audit rows; each is answered when that statement has been committed. A read of a record
of several patients writes the further patients' rows before it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dmed.kit.errors import ForbiddenError, GoneError, NotFoundError
from dmed.kit.ids import bucket_in
from dmed.store import audit as audits
from dmed.store import care
from dmed.store.audit import Group, digest_sql, pack_sql
from dmed.store.keys import type_name, type_number
from dmed.store.model import AuditRow, Scope, Stored
from dmed.store.pool import Database, told

_Asked = tuple[int | None, int, str, int, str, str | None]

_BUCKET = (
    "coalesce(q.bucket, (SELECT c.bucket FROM id_claim c WHERE c.type = q.type AND c.id = q.id))"
)
# LATERAL with LIMIT keeps one index probe a record whatever the planner believes of the table.
GROUP_SQL = f"""
WITH found AS MATERIALIZED (
    SELECT q.bucket AS asked_bucket, q.type, q.id, q.actor, q.request, q.n, now() AS at,
           r.bucket, r.vid, r.patient, r.others, r.body,
           CASE WHEN r.vid IS NULL OR q.principals IS NULL THEN true
                ELSE {care.seen("r", "string_to_array(q.principals, ' ')")} END AS seen
    FROM unnest($1::smallint[], $2::smallint[], $3::text[], $4::int[], $5::text[], $6::text[])
         WITH ORDINALITY AS q(bucket, type, id, actor, request, principals, n)
    LEFT JOIN LATERAL (
        SELECT bucket, vid, patient, others, body, labels FROM resource
        WHERE bucket = {_BUCKET} AND type = q.type AND id = q.id LIMIT 1
    ) AS r ON true
), rows AS (
    SELECT at, vid, actor, coalesce(bucket, asked_bucket, 0::smallint) AS bucket, type,
           (CASE WHEN vid IS NULL THEN 404 WHEN seen THEN 200 ELSE 403 END)::smallint AS outcome,
           'R' AS action,
           request, id, patient FROM found
), noted AS (
    INSERT INTO audit (at, vid, actor, bucket, type, outcome, action, digest, request, id, patient)
    SELECT at, vid, actor, bucket, type, outcome, action::"char", {digest_sql(
        at="at", vid="vid", actor="actor", bucket="bucket", type="type", outcome="outcome",
        action="action", request="request", id="id", patient="patient", query="NULL",
        detail="NULL")}, request, {pack_sql("id")}, {pack_sql("patient")} FROM rows
)
SELECT bucket, vid, patient, others, CASE WHEN seen THEN body END AS body, seen
FROM found ORDER BY n
"""

ONE_SQL = f"""
SELECT r.bucket, r.vid, r.patient, r.others, r.body,
    ($4::text[] IS NULL OR {care.seen("r", "$4")}) AS seen FROM resource r
WHERE r.type = $2 AND r.id = $3 AND r.bucket = coalesce(
    $1::smallint, (SELECT bucket FROM id_claim WHERE type = $2 AND id = $3))
"""
"""The current version by (bucket or NULL, type, id), and whether these principals may see it
(NULL: they may)."""


def _many(lock: str) -> str:
    return f"""
SELECT q.n, r.bucket, r.vid, r.patient, r.others, r.body,
    (NOT q.is_guarded OR {care.seen("r", "$4::text[]")}) AS seen
FROM unnest($1::smallint[], $2::smallint[], $3::text[], $5::boolean[])
    WITH ORDINALITY AS q(bucket, type, id, is_guarded, n), LATERAL (
    SELECT bucket, vid, patient, others, body, labels FROM resource
    WHERE bucket = {_BUCKET} AND type = q.type AND id = q.id LIMIT 1 {lock}) AS r
"""


MANY_SQL, MANY_LOCKED_SQL = _many(""), _many("FOR UPDATE")
"""The same of several: arrays of buckets, types, ids, the principals, and whether each is
narrowed to them; `n` counts the asked from 1."""

_VERSION = f"""
WITH home AS (SELECT coalesce(
    $1::smallint, (SELECT bucket FROM id_claim WHERE type = $2 AND id = $3)) AS bucket)
SELECT r.bucket, r.vid, r.patient, r.others, r.body,
    ($5::text[] IS NULL OR {care.seen("r", "$5")}) AS seen FROM (
    SELECT bucket, vid, patient, others, body, labels FROM resource
    WHERE type = $2 AND id = $3 AND bucket = (SELECT bucket FROM home) AND vid = $4
    UNION ALL
    SELECT bucket, vid, patient, others, body, labels FROM resource_version
    WHERE type = $2 AND id = $3 AND bucket = (SELECT bucket FROM home) AND vid = $4
    LIMIT 1) AS r
"""

_LAST_DELETED = f"""
SELECT r.vid FROM resource_version r
WHERE r.type = $2 AND r.id = $3 AND r.body IS NULL AND r.bucket = coalesce(
    $1::smallint, (SELECT bucket FROM id_claim WHERE type = $2 AND id = $3))
    AND ($4::text[] IS NULL OR {care.seen("r", "$4")})
    AND ($5::text[] IS NULL OR r.patient = ANY($5) OR r.others && $5)
ORDER BY r.vid DESC LIMIT 1
"""


def stored(type_: str, id_: str, row: Any) -> Stored:
    """A row with bucket, vid and body as a Stored; a NULL body is a deleted version."""
    body = row["body"]
    gone = body is None
    return Stored(type_, id_, row["vid"], row["bucket"], b"" if gone else body, gone)


def people(row: Any) -> list[str]:
    """The patients in whose compartments the record of a row lies."""
    first, others = row["patient"], row["others"]
    return [] if first is None else [first, *(others or ())]


def check_type(scope: Scope, type_: str) -> None:
    """ForbiddenError when the scope does not reach this type at all."""
    if scope.types is not None and type_ not in scope.types:
        raise ForbiddenError(f"{type_} is outside what this sign-in may see")


def limited(scope: Scope) -> list[str] | None:
    """The patients to whom a scope is limited, for a statement; None is no limit."""
    return None if scope.patients is None else list(scope.patients)


def is_outside(scope: Scope, patients: Sequence[str]) -> bool:
    """Whether a scope is limited to patients of whom none is among these."""
    return scope.patients is not None and not set(scope.patients).intersection(patients)


def check_people(scope: Scope, patients: Sequence[str]) -> None:
    """ForbiddenError when the scope is limited to patients and none of these is among them."""
    if is_outside(scope, patients):
        raise ForbiddenError("this record belongs to nobody whom this sign-in may see")


async def read(db: Database, scope: Scope, audit: AuditRow, type_: str, id_: str) -> Stored:
    """The current version, audited.

    NotFoundError if there never was one or it is hidden from the scope, GoneError if it was
    deleted, ForbiddenError for a type outside the scope, UnavailableError (and no body) when the
    audit rows could not be written.
    """
    check_type(scope, type_)
    if not (id_.isascii() and id_.isprintable()):
        id_ = audits.storable(id_)  # No record has such an id: found missing, and audited.
    if scope.patients is not None or audit.query or audit.detail:
        return await _read_limited(db, scope, audit, type_, id_)
    group: Group[_Asked, Any] | None = db.kept.get("reads")
    if group is None:
        group = db.kept["reads"] = Group(lambda items: _flush(db, items))
    db.hot.check_second()
    await audits.spend(db, audit, 1)
    actor = await audits.actor_number(db, audit)
    number = type_number(type_)
    principals = " ".join(scope.principals) if type_ in scope.guarded else None
    with told():
        row = await group.submit(
            (bucket_in(id_), number, id_, actor, audits.storable(audit.request), principals))
    if row["vid"] is None or not row["seen"]:
        raise await missing(db, scope, type_, id_, is_hidden=row["vid"] is not None)
    if row["others"]:
        await audits.note(db, [
            msgspec.structs.replace(audit, type=type_, id=id_, vid=row["vid"], patient=other)
            for other in row["others"]])
    return stored(type_, id_, row)


async def _flush(db: Database, items: list[_Asked]) -> Sequence[Any]:
    columns = [*map(list, zip(*items, strict=True))]
    rows: Sequence[Any] = await audits.again_if_lost(
        db, lambda connection: connection.fetch(GROUP_SQL, *columns))
    return rows


async def missing(
    db: Database, scope: Scope, type_: str, id_: str, *, is_hidden: bool = False
) -> Exception:
    """The error for a record that is not there: GoneError if it once was, else NotFoundError.

    One that is hidden from the subject (`is_hidden`) answers as one that never was: same words,
    same work.
    """
    async with db.connection() as connection:
        return await missing_in(connection, scope, type_, id_, is_hidden=is_hidden)


async def missing_in(
    connection: Any, scope: Scope, type_: str, id_: str, *, is_hidden: bool = False
) -> Exception:
    """The same over a connection that the caller has."""
    deleted = await connection.fetchval(
        _LAST_DELETED, bucket_in(id_), type_number(type_), id_,
        care.principals_for(scope, type_), limited(scope))
    if deleted is not None and not is_hidden:
        return GoneError(f"{type_}/{id_} was deleted", headers={"ETag": f'W/"{deleted}"'})
    return NotFoundError(f"there is no {type_}/{id_}")


async def _read_limited(
    db: Database, scope: Scope, audit: AuditRow, type_: str, id_: str
) -> Stored:
    """A read decided by its patients or audited with more words than the group's rows carry."""
    async with db.connection() as connection:
        row = await connection.fetchrow(
            ONE_SQL, bucket_in(id_), type_number(type_), id_, care.principals_for(scope, type_))
    return await _answer(db, scope, audit, type_, id_, row)


async def vread(
    db: Database, scope: Scope, audit: AuditRow, type_: str, id_: str, vid: int
) -> Stored:
    """One version, current or superseded; errors as `read`, GoneError for a deleting version."""
    check_type(scope, type_)
    id_ = audits.storable(id_)
    async with db.connection() as connection:
        row = await connection.fetchrow(
            _VERSION, bucket_in(id_), type_number(type_), id_, vid,
            care.principals_for(scope, type_))
    version = await _answer(db, scope, audit, type_, id_, row)
    if version.deleted:
        raise GoneError(f"version {vid} of {type_}/{id_} deleted the record")
    return version


async def _answer(
    db: Database, scope: Scope, audit: AuditRow, type_: str, id_: str, row: Any
) -> Stored:
    about = msgspec.structs.replace(audit, type=type_, id=id_)
    if row is None:
        await audits.note(db, [msgspec.structs.replace(about, outcome=404)])
        raise await missing(db, scope, type_, id_)
    patients = people(row)
    about = msgspec.structs.replace(about, vid=row["vid"])
    if not row["seen"] or is_outside(scope, patients):
        await audits.note(db, audits.disclosed(
            msgspec.structs.replace(about, outcome=403), patients))
        raise await missing(db, scope, type_, id_, is_hidden=True)
    first, *others = patients or [""]
    await audits.note(db, [msgspec.structs.replace(about, patient=one) for one in (first, *others)])
    return stored(type_name(type_number(type_)), id_, row)
