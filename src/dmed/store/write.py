"""Writes: one statement, one commit, for a record with all that belongs to it.

The statement compares and sets the current version, moves the old one to `resource_version`,
replaces index rows, compartments and identity claims, and adds audit and feed rows. Nothing of
it can be seen without the rest. Many writes share one statement inside a caller's transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import asyncpg
import msgspec

from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, PreconditionError
from dmed.kit.ids import bucket_in
from dmed.store import audit as audits
from dmed.store import care
from dmed.store.audit import Group, digest_sql, disclosed, pack_sql, person_bucket
from dmed.store.columns import Parameters, columns, one_column, selected
from dmed.store.keys import system_number, text_key, type_number
from dmed.store.model import AuditRow, Scope, Write, Written
from dmed.store.pool import CONNECT_SECONDS_MAX, FAILURES, RETRIED, Database, is_lost, told
from dmed.store.read import check_people, check_type, missing_in, people
from dmed.store.rows import COLUMNS, index_rows

TRIES_MAX = 8
"""A single write that lost a race in a way that says nothing of its own is tried so often."""
GROUP_WRITES_MAX = 32
"""Most creates of different requests that share one statement and its commit."""
STATEMENT_WRITES_MAX = 250
"""Most records of one statement of `write_many`."""
_BUCKETS_KEPT = 100_000
_PAUSE_SECONDS = 0.005

_RECORD = ("bucket", "type", "id", "vid", "patient", "others", "body", "expected", "labels")
_COMPARTMENT = ("bucket", "type", "home", "vid", "patient")
_CLAIM = ("type", "system", "value", "bucket", "id")
_AUDIT = ("actor", "bucket", "type", "outcome", "action", "request", "vid", "id", "patient",
          "query", "detail")

@lru_cache(maxsize=512)
def _statement(
    tables: tuple[str, ...], replaces: bool, claims: bool, cares: bool, single: bool,
    strict: bool,
) -> str:
    """The statement for records with rows in these index tables.

    Without `replaces` no current version is looked for: each record must be new. `claims` adds
    the keeping of identity claims, `cares` that of care relationships. `single` is for one record,
    whose vid and bucket are not said again with each index row. `strict` makes the statement fail,
    and so undo itself, unless every record was written.
    """
    take = Parameters()
    parts = [f"w AS MATERIALIZED (SELECT * FROM {take.rows(_RECORD, numbered=True)})"]
    parts += _replacing() if replaces else _creating()
    # Side rows are added only when every record was: all or nothing within the statement.
    parts.append("whole AS MATERIALIZED (SELECT (SELECT count(*) FROM done) = "
                 "(SELECT count(*) FROM w) AS holds)")
    every = "(SELECT holds FROM whole)"
    compartment = ", ".join(_COMPARTMENT)
    parts.append(f"c_new AS (INSERT INTO compartment ({compartment}) SELECT {compartment} FROM "
                 f"{take.rows(_COMPARTMENT)} WHERE {every})")
    audit = ", ".join(name for name in _AUDIT if name != "action")
    packed = audit.replace(" id,", f" {pack_sql('id')},").replace(
        " patient,", f" {pack_sql('patient')},")
    digest = digest_sql(at="now()", **{name: name for name in _AUDIT})
    parts.append(f"""noted AS (INSERT INTO audit (at, action, digest, {audit})
        SELECT now(), action::"char", {digest}, {packed} FROM (SELECT {selected(_AUDIT)}
        FROM {take.rows(_AUDIT)}) AS t({", ".join(_AUDIT)}) WHERE {every})""")
    parts.append("""fed AS (INSERT INTO feed (vid, bucket, type, kind, id)
        SELECT w.vid, w.bucket, w.type, done.kind::"char", w.id FROM done JOIN w USING (n))""")
    if claims:
        parts += _claiming(take.rows(_CLAIM), every, replaces)
    if cares:
        parts += care.statements(take.rows(care.COLUMNS), replaces=replaces)
    for table in tables:
        names = COLUMNS[table][2:] if single else COLUMNS[table]
        bounds = "bigint" if table == "date" else "double precision"
        head, source = ("w.vid, w.bucket, ", "w, ") if single else ("", "")
        parts.append(f"{table}_new AS (INSERT INTO {table} ({', '.join(COLUMNS[table])}) "
                     f"SELECT {head}{selected(names)} "
                     f"FROM {source}{take.rows(names, bounds)} WHERE {every})")
    demand = f", 1 / {every}::int AS demanded" if strict else ""
    return ("WITH " + ",\n".join(parts) +
            f"\nSELECT w.n, done.kind{demand} FROM w LEFT JOIN done USING (n) ORDER BY w.n")


def _creating() -> list[str]:
    return ["""ins AS (INSERT INTO resource (bucket, type, vid, id, patient, others, body, labels)
        SELECT bucket, type, vid, id, patient, string_to_array(others, ' '), body, labels FROM w
        ON CONFLICT (bucket, type, id) DO NOTHING RETURNING bucket, type, id)""",
            """done AS MATERIALIZED (SELECT w.n, 'C' AS kind FROM ins
        JOIN w USING (bucket, type, id))"""]


def _replacing() -> list[str]:
    same = "r.bucket = {o}.bucket AND r.type = {o}.type AND r.id = {o}.id"
    columns = ("bucket", "type", "vid", "id", "patient", "others", "body", "labels")
    was = ", ".join(f"was.{name}" for name in columns)
    parts = [
        # LATERAL keeps one probe a record; the lock orders writers of one record in a queue. What
        # came out of the queue newer than this statement's snapshot is left alone: its index rows
        # could not be seen, so they would stay behind. The caller then locks first.
        f"""was AS MATERIALIZED (SELECT r.*, w.n FROM w JOIN LATERAL (
            SELECT bucket, type, vid, id, patient, others, body, labels FROM resource r
            WHERE {same.format(o="w")} FOR UPDATE) AS r
            ON (w.expected IS NULL OR r.vid = w.expected) AND r.vid = (
                SELECT r.vid FROM resource r WHERE {same.format(o="w")}))""",
        f"""upd AS (UPDATE resource r SET vid = w.vid, patient = w.patient,
            others = string_to_array(w.others, ' '), body = w.body, labels = w.labels
            FROM was JOIN w USING (n)
            WHERE {same.format(o="was")} AND w.body IS NOT NULL RETURNING was.n)""",
        f"""del AS (DELETE FROM resource r USING was JOIN w USING (n)
            WHERE {same.format(o="was")} AND w.body IS NULL RETURNING was.n)""",
        """ins AS (INSERT INTO resource (bucket, type, vid, id, patient, others, body, labels)
            SELECT bucket, type, vid, id, patient, string_to_array(others, ' '), body, labels
            FROM w WHERE body IS NOT NULL AND (expected IS NULL OR expected = 0)
              AND n NOT IN (SELECT n FROM was)
            ON CONFLICT (bucket, type, id) DO NOTHING RETURNING bucket, type, id)""",
        """done AS MATERIALIZED (SELECT n, 'U' AS kind FROM upd UNION ALL SELECT n, 'D' FROM del
            UNION ALL SELECT w.n, 'C' FROM ins JOIN w USING (bucket, type, id))""",
        f"""kept AS (INSERT INTO resource_version ({", ".join(columns)})
            SELECT {was} FROM was JOIN done USING (n) UNION ALL
            SELECT w.bucket, w.type, w.vid, w.id, was.patient, was.others, NULL, was.labels
            FROM was JOIN done USING (n) JOIN w USING (n) WHERE w.body IS NULL)""",
        """c_old AS (DELETE FROM compartment c USING was JOIN done USING (n)
            WHERE c.patient = ANY (array_append(was.others, was.patient))
              AND c.type = was.type AND c.vid = was.vid AND c.home = was.bucket)""",
    ]
    parts += [
        f"{table}_old AS (DELETE FROM {table} x USING was JOIN done USING (n) "
        "WHERE x.vid = was.vid AND x.bucket = was.bucket)"
        for table in COLUMNS
    ]
    return parts


def _claiming(rows: str, every: str, replaces: bool) -> list[str]:
    """Claims as a set: those no longer held go first, then those not yet held come.

    A duplicate is the unique key's own error: it undoes the whole statement.
    """
    columns = ", ".join(_CLAIM)
    parts = [f"want AS MATERIALIZED (SELECT * FROM {rows} WHERE {every})"]
    if not replaces:
        parts.append(f"claimed AS (INSERT INTO identity_claim ({columns}) "
                     f"SELECT {columns} FROM want)")
        return parts
    key = "want.type = c.type AND want.system = c.system AND want.value = c.value"
    parts.append(f"""released AS (DELETE FROM identity_claim c USING was JOIN done USING (n)
        WHERE c.id = was.id AND c.type = was.type AND NOT EXISTS (
            SELECT FROM want WHERE {key} AND want.id = c.id) RETURNING c.id)""")
    parts.append(f"""claimed AS (INSERT INTO identity_claim ({columns}) SELECT {columns} FROM want
        WHERE (SELECT count(*) FROM released) >= 0 AND NOT EXISTS (
            SELECT FROM identity_claim c WHERE {key} AND c.id = want.id))""")
    return parts


def arguments(
    writes: list[Write], rows: list[AuditRow], actors: list[int], *, strict: bool = False
) -> tuple[str, list[Any]]:
    """The statement for these writes and its arrays; `rows` are their audit rows."""
    index = index_rows(writes)
    tables = tuple(table for table in COLUMNS if index[table])
    replaces = any(write.kind != "create" for write in writes)
    claims = replaces or any(write.identities for write in writes)
    cares = replaces or any(write.care for write in writes)
    values: list[Any] = columns(_RECORD, [_record(write) for write in writes])
    values += columns(_COMPARTMENT, [
        (person_bucket(patient), type_number(write.type), write.bucket, write.vid, patient)
        for write in writes if write.kind != "delete" for patient in dict.fromkeys(write.patients)])
    values += [one_column(name, column) for name, column in
               zip(_AUDIT, audits.columns(rows, actors), strict=True)]
    if claims:
        values += columns(_CLAIM, [
            (type_number(write.type), system_number(system), text_key(value), write.bucket,
             write.id)
            for write in writes if write.kind != "delete"
            for system, value in dict.fromkeys(write.identities) if value])
    if cares:
        values += columns(care.COLUMNS, care.rows_of(writes))
    single = len(writes) == 1
    for table in tables:
        names, lines = COLUMNS[table], index[table]
        if table == "string":
            lines = [(*line[:-1], line[-1] and "{" + ",".join(map(str, line[-1])) + "}")
                     for line in lines]
        values += columns(names, lines, 2 if single else 0)
    return _statement(tables, replaces, claims, cares, single, strict), values


def _record(write: Write) -> tuple[Any, ...]:
    first, *others = dict.fromkeys(write.patients) or [None]
    deleted = write.kind == "delete"
    expected = 0 if write.kind == "create" else write.expected_vid
    return (write.bucket, type_number(write.type), write.id, write.vid, first,
            " ".join(filter(None, others)) or None, None if deleted else write.body, expected,
            write.labels)


def audit_rows(audit: AuditRow, write: Write) -> list[AuditRow]:
    """The rows that a write leaves: its own, and one each where it concerns several people."""
    about = msgspec.structs.replace(audit, type=write.type, id=write.id, vid=write.vid)
    return disclosed(about, write.patients)


def check(scope: Scope, writes: Sequence[Write]) -> None:
    """Refuses, before anything is sent, what may not or cannot be written."""
    seen = set()
    for write in writes:
        check_type(scope, write.type)
        if not type_number(write.type):
            raise InvalidError(f"{write.type} is no resource type of R5")
        check_people(scope, write.patients)
        named = bucket_in(write.id)
        if named is not None and named != write.bucket:
            raise InvalidError(f"{write.type}/{write.id}: the id names bucket {named}")
        if (write.type, write.id) in seen:
            raise InvalidError(f"{write.type}/{write.id} is written twice in one transaction")
        seen.add((write.type, write.id))


async def write(db: Database, scope: Scope, audit: AuditRow, one: Write) -> Written:
    """Writes one record with all that belongs to it, or nothing.

    PreconditionError when `expected_vid` is not the current version; ConflictError when another
    active record holds one of its identities (the issue names it) or the races did not end;
    NotFoundError or GoneError for the delete of a record that is not there.
    """
    check(scope, [one])
    db.hot.check_second()
    actor = await audits.actor_number(db, audit)
    asked = _Asked(one, audit_rows(audit, one), actor)
    if (one.kind != "create" or one.identities or scope.patients or bucket_in(one.id) is None
            or one.type in scope.guarded_writes):
        return await _alone(db, scope, asked)
    group: Group[_Asked, Written | None] | None = db.kept.get("creates")
    if group is None:
        group = db.kept["creates"] = Group(lambda some: _together(db, some), GROUP_WRITES_MAX)
    with told():
        written = await group.submit(asked)
    return written or await _alone(db, scope, asked)


class _Asked(msgspec.Struct, frozen=True):
    """One write with its audit rows and the number of its actor."""

    write: Write
    rows: list[AuditRow]
    actor: int


async def _together(db: Database, some: list[_Asked]) -> Sequence[Written | None]:
    """Creates that arrived in the same moment, in one statement; None for all where it failed.

    Then nothing of it was stored, and each is tried alone, so that one cannot fail the others.
    """
    rows = [row for one in some for row in one.rows]
    actors = [one.actor for one in some for _ in one.rows]
    statement, values = arguments([one.write for one in some], rows, actors, strict=len(some) > 1)
    try:
        async with db.hot.acquire(timeout=CONNECT_SECONDS_MAX) as connection:
            done = await connection.fetch(statement, *values)
    except FAILURES as error:
        if is_lost(error):
            raise
        return [None] * len(some)
    return [None if row["kind"] is None else written(one.write, is_new=True)
            for one, row in zip(some, done, strict=True)]


async def _alone(db: Database, scope: Scope, asked: _Asked) -> Written:
    one, rows, actor = asked.write, [asked.rows], asked.actor
    for attempt in range(TRIES_MAX):
        try:
            async with db.hot.acquire(timeout=CONNECT_SECONDS_MAX) as connection:
                if attempt == 0 and scope.patients is None and one.type not in scope.guarded_writes:
                    written = await send(db, connection, [one], rows, actor)
                else:
                    async with connection.transaction():
                        await lock(db, scope, connection, [one])
                        await care.check_new(connection, scope, [one])
                        written = await send(db, connection, [one], rows, actor)
        except (*RETRIED, asyncpg.UniqueViolationError) as error:
            with told():
                await explain_duplicate(db, [one], error)
            await asyncio.sleep(_PAUSE_SECONDS)
        except FAILURES:
            with told():
                raise
        else:
            if written[0] is not None:
                return written[0]
            await explain(db, scope, one)
    raise ConflictError(f"{one.type}/{one.id} is being changed by too many others: try again")


async def send(
    db: Database, connection: Any, writes: list[Write], rows: list[list[AuditRow]], actor: int
) -> list[Written | None]:
    """Sends one statement for these writes on a connection; None for each that did not hold.

    When any is None, the statement has left a part undone: a caller in a transaction rolls back
    (a single write has then left nothing). Database errors pass as they are.
    """
    await settle_buckets(connection, writes, claims(db))
    noted = [row for some in rows for row in some]
    statement, values = arguments(writes, noted, [actor] * len(noted))
    done = await connection.fetch(statement, *values)
    return [
        None if row["kind"] is None else written(write, is_new=row["kind"] == "C")
        for write, row in zip(writes, done, strict=True)
    ]


def written(write: Write, *, is_new: bool) -> Written:
    """What a caller is told of a write that was done."""
    return Written(write.type, write.id, write.vid, write.updated, is_new, write.body)


async def lock(db: Database, scope: Scope, connection: Any, writes: Sequence[Write]) -> None:
    """Holds the current versions until the transaction's end, so that its next statement sees them.

    Takes them in the order given. ForbiddenError for one that lies outside the scope: a new
    version may not carry a record away from people whom the subject may not see.
    """
    await settle_buckets(connection, writes, claims(db))
    rows = await connection.fetch(
        "SELECT r.patient, r.others, r.type, NOT (r.type = ANY($4::smallint[])) "
        f"OR {care.seen('r', '$5::text[]')} AS seen "
        "FROM unnest($1::smallint[], $2::smallint[], $3::text[]) "
        "WITH ORDINALITY AS w(bucket, type, id, n) JOIN LATERAL (SELECT type, patient, others, "
        "labels FROM resource r WHERE r.bucket = w.bucket AND r.type = w.type AND r.id = w.id "
        "FOR UPDATE) AS r ON true ORDER BY n",
        [write.bucket for write in writes], [type_number(write.type) for write in writes],
        [write.id for write in writes], care.guarded_write_numbers(scope), list(scope.principals))
    for row in rows:
        check_people(scope, people(row))
        if not row["seen"]:
            raise ForbiddenError("this record belongs to nobody whom this sign-in may see")


def claims(db: Database) -> dict[tuple[str, str], int]:
    """The worker's memory for `settle_buckets`."""
    known: dict[tuple[str, str], int] = db.kept.setdefault("claims", {})
    return known


async def settle_buckets(
    connection: Any, writes: Sequence[Write], known: dict[tuple[str, str], int]
) -> None:
    """Gives records with client-chosen ids the bucket that is theirs for ever (`id_claim`).

    `known` is the worker's memory of committed claims by (type, id); it grows here.
    """
    chosen = [write for write in writes if bucket_in(write.id) is None]
    if not chosen:
        return
    unknown = [write for write in chosen if (write.type, write.id) not in known]
    if unknown:
        rows = await connection.fetch(
            "INSERT INTO id_claim AS c (type, id, bucket) "
            "SELECT * FROM unnest($1::smallint[], $2::text[], $3::smallint[]) ORDER BY 1, 2 "
            "ON CONFLICT (type, id) DO UPDATE SET bucket = c.bucket RETURNING type, id, bucket",
            [type_number(write.type) for write in unknown], [write.id for write in unknown],
            [write.bucket for write in unknown])
        found = {(row["type"], row["id"]): row["bucket"] for row in rows}
        for one in unknown:
            one.bucket = found[type_number(one.type), one.id]
        if not connection.is_in_transaction():
            # Only what is committed may be remembered.
            if len(known) > _BUCKETS_KEPT:
                known.clear()
            known.update({(one.type, one.id): one.bucket for one in unknown})
    for one in chosen:
        one.bucket = known.get((one.type, one.id), one.bucket)


async def explain(db: Database, scope: Scope, write: Write) -> None:
    """Says why a write did not hold, or returns when the reason has passed and it may try again."""
    # Over the other pool: a unit that asked its own for a second connection could wait for itself.
    async with db.searching() as connection:
        current = await connection.fetchval(
            "SELECT vid FROM resource WHERE bucket = $1 AND type = $2 AND id = $3",
            write.bucket, type_number(write.type), write.id)
        if write.kind == "delete" and write.expected_vid is None and current is None:
            raise await missing_in(connection, scope, write.type, write.id)
    name = f"{write.type}/{write.id}"
    if write.kind == "create" or write.expected_vid == 0:
        if current is not None:
            raise PreconditionError(f"{name} exists already, at version {current}")
        return
    if write.expected_vid is not None and current != write.expected_vid:
        state = "is not there" if current is None else f"is at version {current}"
        raise PreconditionError(f"{name} {state}, not at version {write.expected_vid}")


async def explain_duplicate(
    db: Database, writes: Sequence[Write], error: asyncpg.PostgresError
) -> None:
    """ConflictError naming the record that holds an identity; returns for a race to be retried."""
    if not isinstance(error, asyncpg.UniqueViolationError):
        return
    if error.constraint_name != "identity_claim_pkey":
        return
    async with db.searching() as connection:
        for write in writes:
            for system, value in write.identities:
                holder = await connection.fetchval(
                    "SELECT id FROM identity_claim WHERE type = $1 AND system = $2 AND value = $3",
                    type_number(write.type), system_number(system), text_key(value))
                if holder is not None and holder != write.id:
                    raise ConflictError(
                        f"{write.type}/{holder} already carries the identifier {system}|{value}",
                        f"{write.type}.identifier") from error
