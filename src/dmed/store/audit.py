"""Audit rows of reads: gathered over a moment, written by one statement, awaited before answering.

A worker has at most one flush under way. What arrives meanwhile waits for the next one, so the
groups grow with the load and nobody waits on a clock. If a flush fails, every read in it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from dmed.kit.errors import ThrottledError, UnavailableError
from dmed.kit.ids import bucket_in, bucket_of
from dmed.store import budget
from dmed.store.keys import type_number
from dmed.store.model import AuditRow
from dmed.store.pool import CONNECT_SECONDS_MAX, Database, is_lost, told

FLUSHES_MAX = 1
GROUP_MAX = 256
"""Most items of one flush."""
WAITING_MAX = 20_000
"""Most items that may wait in one worker; above it the answer is 503."""
CHARACTERS_MAX = 2_000
"""A longer query or detail is cut in its audit row."""
_ACTORS_KEPT = 50_000
SYSTEM_ROLE = "service"
"""The role of systems, which answer for many users and have a budget of their own."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

DIGEST_SQL = """substr(sha256(convert_to(ROW(
    (extract(epoch FROM {at}) * 1000000)::bigint, {vid}, {actor}, {bucket}, {type}, {outcome},
    {action}, {request}, {id}, {patient}, {query}, {detail})::text, 'UTF8')), 1, 16)"""
"""A row's own digest: the first 128 bits of SHA-256 over PostgreSQL's text of the whole row."""


def digest_sql(**columns: str) -> str:
    """The digest expression with the SQL of each column put in, ids as the texts they are."""
    return DIGEST_SQL.format(**columns)


_PACK = """CASE WHEN octet_length({text}) = 24 AND substr({text}, 4, 1) = '-'
    AND translate({text}, '0123456789abcdef', '') = '-'
    THEN decode('0' || substr({text}, 1, 3) || substr({text}, 5), 'hex')
    WHEN {text} < ' ' COLLATE "C" THEN '\\x1f'::bytea || convert_to({text}, 'UTF8')
    ELSE convert_to({text}, 'UTF8') END"""
_UNPACK = """CASE WHEN get_byte({packed}, 0) < 16
    THEN substr(encode({packed}, 'hex'), 2, 3) || '-' || substr(encode({packed}, 'hex'), 5)
    WHEN get_byte({packed}, 0) = 31 THEN convert_from(substr({packed}, 2), 'UTF8')
    ELSE convert_from({packed}, 'UTF8') END"""
_SERVER_ID_HEX = 24
_MARK = b"\x1f"


def pack_sql(text: str) -> str:
    """SQL of an id as an audit row holds it: the 24 signs of a server-made id in 12 bytes.

    Such bytes begin below 16; any other id is its own text, after a 31 where it begins with a
    control character, so that each of them is read back exactly.
    """
    return _PACK.format(text=text)


def unpack_sql(packed: str) -> str:
    """SQL of the text of a packed id: what the row's digest was made of."""
    return _UNPACK.format(packed=packed)


def pack(text: str) -> bytes:
    """As `pack_sql`, for the value of a condition."""
    digits = text[:3] + text[4:]
    if len(text) == _SERVER_ID_HEX and text[3] == "-" and not digits.strip("0123456789abcdef"):
        return bytes.fromhex("0" + digits)
    return _MARK + text.encode() if text < " " else text.encode()


def unpack(packed: bytes | None) -> str:
    """The text of a packed id, "" for none."""
    if not packed:
        return ""
    if packed[0] < 16:
        digits = packed.hex()[1:]
        return f"{digits[:3]}-{digits[3:]}"
    return (packed[1:] if packed[:1] == _MARK else packed).decode()


PERSON_KEY = "substr({patient}, octet_length({patient}) - 3)"
"""What the index of people holds: the last four bytes tell them apart well enough."""


_ROWS = """
SELECT now() AS at, actor, bucket, type, outcome, action, request, vid, id, patient, query, detail
FROM unnest($1::int[], $2::smallint[], $3::smallint[], $4::smallint[], $5::text[], $6::text[],
            $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[])
     AS t(actor, bucket, type, outcome, action, request, vid, id, patient, query, detail)
"""
_INSERT = f"""
INSERT INTO audit (at, vid, actor, bucket, type, outcome, action, digest, request, id, patient,
                   query, detail)
SELECT at, vid, actor, bucket, type, outcome, action::"char", {digest_sql(
    at="at", vid="vid", actor="actor", bucket="bucket", type="type", outcome="outcome",
    action="action", request="request", id="id", patient="patient", query="query",
    detail="detail")}, request, {pack_sql("id")}, {pack_sql("patient")}, query, detail
FROM """
INSERT_SQL = f"{_INSERT} ({_ROWS}) AS noted"
"""Inserts the rows of `columns(...)`, given as $1 to $11."""


def insert_plain_sql(actor: str, request: str, detail: str) -> str:
    """SQL that inserts rows of acts about no record and no person, each executed with success;
    of three arrays of one length, each given as SQL. Eight arrays less to send and to read.
    """
    rows = f"""SELECT now() AS at, actor, {person_bucket("")}::smallint AS bucket,
        {type_number("")}::smallint AS type, 200::smallint AS outcome, 'E'::text AS action,
        request, NULL::bigint AS vid, NULL::text AS id, NULL::text AS patient,
        NULL::text AS query, detail
        FROM unnest({actor}, {request}, {detail}) AS t(actor, request, detail)"""
    return f"{_INSERT} ({rows}) AS noted"


def insert_about_sql(source: str, number: int) -> str:
    """SQL that inserts the rows of searches of a type (its number) by a person's id, each executed
    with success; `source` is a table of (id, actor, bucket, request, query).
    """
    rows = f"""SELECT now() AS at, actor, bucket, {number}::smallint AS type,
        200::smallint AS outcome, 'E'::text AS action, request, NULL::bigint AS vid,
        NULL::text AS id, id AS patient, nullif(query, '') AS query, NULL::text AS detail
        FROM {source}"""
    return f"{_INSERT} ({rows}) AS noted"


def columns(rows: Sequence[AuditRow], actors: Sequence[int]) -> tuple[list[Any], ...]:
    """Rows as the eleven arrays that INSERT_SQL takes; `actors` are their actor numbers."""
    return (
        list(actors),
        [person_bucket(row.patient or row.id) for row in rows],
        [type_number(row.type) for row in rows],
        [row.outcome for row in rows],
        [row.action for row in rows],
        [storable(row.request) for row in rows],
        [row.vid or None for row in rows],
        [storable(row.id) or None for row in rows],
        [storable(row.patient) or None for row in rows],
        [storable(row.query[:CHARACTERS_MAX]) or None for row in rows],
        [storable(row.detail[:CHARACTERS_MAX]) or None for row in rows],
    )


def storable(text: str) -> str:
    """A text that PostgreSQL takes: one request's NUL must not fail the others of its group."""
    if text.isprintable():
        return text
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")


def person_bucket(record_id: str) -> int:
    """The bucket of a Patient: named by its id, else that of "Patient/<id>".

    For an audit row about no person it takes the record's id: any bucket that spreads well serves.
    """
    named = bucket_in(record_id)
    return bucket_of(f"Patient/{record_id}") if named is None else named


def disclosed(audit: AuditRow, patients: Iterable[str]) -> list[AuditRow]:
    """The rows of a request that disclosed these people: one row, and one each beyond one person.

    A request about one person is a single row that carries it; for several people the request's
    own row comes first and each person's row repeats all but the query.
    """
    people = sorted(set(patients) - {""})
    if not people:
        return [audit]
    if len(people) == 1:
        return [msgspec.structs.replace(audit, patient=people[0])]
    return [audit, *(msgspec.structs.replace(audit, patient=one, query="") for one in people)]


class Group(Generic[_Item, _Result]):
    """Gathers items of one event loop into groups; `flush` answers a group in its order."""

    def __init__(
        self, flush: Callable[[list[_Item]], Awaitable[Sequence[_Result]]], most: int = GROUP_MAX,
        pause_seconds: float = 0.0,
    ) -> None:  # fmt: skip  # One line a thought.
        self._flush = flush
        self._most = most
        # A flush begins no sooner after the one before: who was just answered asks again by then.
        self._pause = pause_seconds
        self._ended = 0.0
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def submit(self, item: _Item) -> asyncio.Future[_Result]:
        """Adds an item; the future holds its answer when its group is committed."""
        if len(self._waiting) >= WAITING_MAX:
            raise UnavailableError("too many requests wait for the database")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.append((item, future))
        if not self._scheduled and self._under_way < FLUSHES_MAX:
            # Requests that the loop reads in the same turn join the group before it leaves.
            self._scheduled = True
            loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        self._scheduled = False
        if not self._waiting or self._under_way >= FLUSHES_MAX:
            return
        if self._pause and not self._is_due():
            return
        group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._under_way += 1
        task = asyncio.get_running_loop().create_task(self._run(group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_due(self) -> bool:
        loop = asyncio.get_running_loop()
        rest = self._ended + self._pause - loop.time()
        if rest <= 0:
            return True
        self._scheduled = True
        later: Callable[..., Any] = loop.call_later
        later(rest, self._start_paused)
        return False

    def _start_paused(self) -> None:
        # The clock of the loop may ring a fraction too soon.
        self._ended = 0.0
        self._start()

    async def _run(self, group: list[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        try:
            answers = await self._flush([item for item, _ in group])
        except BaseException as error:  # noqa: BLE001  # Every waiter must hear of it, whatever it is.
            failure = error if isinstance(error, Exception) else UnavailableError("shutting down")
            for _, future in group:
                if not future.done():
                    future.set_exception(failure)
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        finally:
            self._under_way -= 1
            self._ended = asyncio.get_running_loop().time()
            self._start()


async def again_if_lost(
    db: Database, act: Callable[[Any], Awaitable[_Result]]
) -> _Result:
    """Runs a flush on a connection, and once more where the connection had died before it.

    For reads only: should the first have been committed after all, an audit row is there twice,
    which is on the safe side.
    """
    try:
        async with db.hot.acquire(timeout=CONNECT_SECONDS_MAX) as connection:
            return await act(connection)
    except Exception as error:
        if not is_lost(error):
            raise
        db.hot.drop_idle()
    async with db.hot.acquire(timeout=CONNECT_SECONDS_MAX) as connection:
        return await act(connection)


async def actor_number(db: Database, audit: AuditRow) -> int:
    """The number that stands for (subject, role, organisation, purpose) in audit rows."""
    key = (audit.subject, audit.role, audit.organisation, audit.purpose)
    known: dict[tuple[str, str, str, str], int] = db.kept.setdefault("actors", {})
    number = known.get(key)
    return await _new_actor(db, known, key) if number is None else number


async def _new_actor(
    db: Database, known: dict[tuple[str, str, str, str], int], key: tuple[str, str, str, str]
) -> int:
    # Over the other pool: units ask, and one that asked its own pool for a second connection could
    # wait for itself. In their own transaction a number would be lost when it is undone.
    async with db.searching() as connection:
        number = await connection.fetchval(
            "WITH made AS (INSERT INTO audit_actor (subject, role, organisation, purpose) "
            "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING number) "
            "SELECT number FROM made UNION ALL SELECT number FROM audit_actor "
            "WHERE subject = $1 AND role = $2 AND organisation = $3 AND purpose = $4",
            *key,
        )
        if number is None:
            # Another worker made it between our snapshot and our insert; now it is visible.
            number = await connection.fetchval(
                "SELECT number FROM audit_actor WHERE subject = $1 AND role = $2 "
                "AND organisation = $3 AND purpose = $4", *key)
    if len(known) >= _ACTORS_KEPT:
        known.clear()
    known[key] = number
    return int(number)


async def note(db: Database, rows: Sequence[AuditRow]) -> None:
    """Writes audit rows of acts that change no record; returns when they are committed."""
    group: Group[tuple[list[AuditRow], int], None] | None = db.kept.get("notes")
    if group is None:
        group = db.kept["notes"] = Group(lambda items: _write_notes(db, items))
    db.hot.check_second()
    actor = await actor_number(db, rows[0])
    with told():
        await group.submit((list(rows), actor))


async def disclose(db: Database, audit: AuditRow, patients: Iterable[str]) -> None:
    """Notes a search or history that disclosed these people; to be awaited before answering.

    ThrottledError, itself noted, where the subject was given enough in this hour.
    """
    rows = disclosed(audit, patients)
    await spend(db, audit, len(rows))
    await note(db, rows)


async def disclose_more(db: Database, audit: AuditRow, patients: Iterable[str]) -> None:
    """Notes further people of a request whose own row is noted already; errors as `disclose`."""
    rows = [msgspec.structs.replace(audit, patient=one, query="") for one in sorted(patients)]
    await spend(db, audit, len(rows))
    await note(db, rows)


async def spend(db: Database, audit: AuditRow, rows: int) -> None:
    """Counts what is about to be disclosed; ThrottledError beyond the subject's hourly budget."""
    settings = db.settings
    is_system = audit.role == SYSTEM_ROLE
    most = settings.rows_per_hour_system if is_system else settings.rows_per_hour
    try:
        budget.of(db).spend(audit.subject, rows, most)
    except ThrottledError:
        refused = msgspec.structs.replace(audit, outcome=429, detail="over the hourly budget")
        await note(db, [refused])
        raise


async def _write_notes(
    db: Database, items: list[tuple[list[AuditRow], int]]
) -> Sequence[None]:
    rows = [row for some, _ in items for row in some]
    actors = [actor for some, actor in items for _ in some]
    arrays = columns(rows, actors)
    await again_if_lost(db, lambda connection: connection.execute(INSERT_SQL, *arrays))
    return [None] * len(items)
