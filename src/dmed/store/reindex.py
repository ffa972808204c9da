"""Search parameters that are stored: learnt by every worker within seconds, and the work on old
records that makes them searchable. https://hl7.org/fhir/R5/searchparameter.html

`learn` compares the stored SearchParameters with the table `reindex` and tells this process what
to write and what to search. A parameter is written from then on; it is searched when `work` has
gone through the records of before. That goes by version number in small batches, each committed
with its place: a killed worker loses one batch, and doing it again changes nothing.

The work holds no record, so neither readers nor writers wait for it. A writer that began before
a batch was committed does not see its rows and leaves them behind; so when all such writers have
ended, the batch is looked at again and rows of versions that are no longer current are removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec

from dmed.fhir import codec, params, params_custom
from dmed.fhir.facts import SearchFacts
from dmed.fhir.index import Index, modified_number, parameter_number
from dmed.fhir.words import Texts, texts_of
from dmed.kit.errors import DmedError
from dmed.store.keys import type_name, type_number
from dmed.store.model import Write, updated_of
from dmed.store.pool import Database, told
from dmed.store.rows import COLUMNS, index_rows

BATCH_RECORDS = 200
_AT_ONCE = 40
"""Records that are read before other work of this process has its turn."""
GRACE_SECONDS = 6
"""From so long after a change on every worker knows of it: three times its pause of learning."""
EVERYTHING = "*"
"""The code of work that makes all index rows of a type anew."""
LEARN_SECONDS = 2
_LOCK = 7_305_516_208_331_003
_DROPPED_ROWS = 2_000
_MODIFIERS = ("text", "of-type", "identifier", "ucum", "longitude")
_PAUSE_SECONDS = 0.01
_RETRY_SECONDS = 0.05

_STAMP = "SELECT count(*), coalesce(max(vid), 0) FROM resource WHERE type = $1"
_BODIES = "SELECT body FROM resource WHERE type = $1 ORDER BY vid"
_KNOWN = "SELECT type, code, state, definition FROM reindex"
_WANT = """
INSERT INTO reindex (type, code, url, definition) VALUES ($1, $2, $3, $4)
ON CONFLICT (type, code) DO UPDATE SET state = 'waiting', url = excluded.url,
    definition = excluded.definition, fault = '', at = 0, until = 0, done = 0, since = now()
WHERE reindex.definition <> excluded.definition OR reindex.state = 'dropping'
"""
_UNWANT = """
UPDATE reindex SET state = 'dropping', since = now()
WHERE type = $1 AND code = $2 AND state <> 'dropping'
"""
_NEXT = """
SELECT type, code, state, definition, at, until, vids FROM reindex
WHERE state <> 'ready' AND since <= now() - make_interval(secs => $1)
ORDER BY state = 'building' DESC, since, type, code LIMIT 1
"""
_START = """
UPDATE reindex SET state = 'building', at = 0, until = coalesce(
    (SELECT max(vid) FROM resource r WHERE r.type = reindex.type), 0)
WHERE type = $1 AND code = $2 AND definition = $3 AND state = 'waiting'
"""
_BATCH = """
SELECT vid, bucket, id, body FROM resource WHERE type = $1 AND vid > $2 AND vid <= $3
ORDER BY vid LIMIT $4
"""
_GOES_ON = """
UPDATE reindex SET at = $4, done = done + $5, vids = '{}'
WHERE type = $1 AND code = $2 AND definition = $3 AND state = 'building'
"""
_READY = """
UPDATE reindex SET state = 'ready'
WHERE type = $1 AND code = $2 AND definition = $3 AND state = 'building'
"""


_log = logging.getLogger("dmed.reindex")


class Progress(msgspec.Struct, frozen=True):
    """How far the work on one parameter has come: records done, and its state."""

    type: str
    code: str
    state: str
    done: int


Report = Callable[[Progress], Awaitable[None]]


class _Task(msgspec.Struct, frozen=True):
    type: int
    code: str
    state: str
    definition: bytes
    at: int
    until: int
    vids: tuple[int, ...]
    """Versions of the last batch, if it has not been looked at again."""


# Learning ----------------------------------------------------------------------------------


async def follow(db: Database) -> None:
    """Learns every LEARN_SECONDS, for ever, and does what is due where no other worker does."""
    while True:
        await asyncio.sleep(LEARN_SECONDS)
        try:
            await learn(db)
            if any(state != "ready" for _, _, state, _ in db.kept["parameters rows"]):
                await work(db, grace_seconds=GRACE_SECONDS)
        except (DmedError, OSError, asyncpg.PostgresError) as error:
            # The database may be restarting; the next round tries again.
            _log.warning("search parameters could not be followed: %s", error)


async def learn(db: Database) -> bool:
    """Tells this process which parameters are stored and which may be searched; True if news.

    One look at two small tables where nothing has changed.
    """
    async with db.connection() as connection:
        return await learn_on(connection, db.kept)


async def learn_on(connection: Any, kept: dict[object, Any]) -> bool:
    """The same on a connection that is in no transaction; `kept` is the caller's memory."""
    row = await connection.fetchrow(_STAMP, type_number("SearchParameter"))
    stamp = (row[0], row[1])
    if kept.get("parameters stamp") != stamp:
        await _compare(connection)
        kept["parameters stamp"] = stamp
    rows = sorted(tuple(row) for row in await connection.fetch(_KNOWN))
    if kept.get("parameters rows") == rows:
        return False
    kept["parameters rows"] = rows
    served = {}
    waiting = []
    for number, code, state, definition in rows:
        if definition and state != "dropping":
            served[type_name(number), code] = msgspec.msgpack.decode(definition, type=SearchFacts)
        if state not in {"ready", "dropping"} and code != EVERYTHING:
            waiting.append((type_name(number), code))
    params.install(served, waiting)
    return True


async def _compare(connection: Any) -> None:
    """Puts down what is to be made for new definitions and removed for those that went."""
    wanted: dict[tuple[int, str], tuple[str, bytes]] = {}
    for row in await connection.fetch(_BODIES, type_number("SearchParameter")):
        for (name, code), found in _definitions(row["body"]).items():
            # Of two with one code the older stays.
            wanted.setdefault((type_number(name), code),
                              (found.url, msgspec.msgpack.encode(found)))
    async with connection.transaction():
        for (number, code), (url, definition) in sorted(wanted.items()):
            await connection.execute(_WANT, number, code, url, definition)
        for row in await connection.fetch(_KNOWN):
            if row["definition"] and (row["type"], row["code"]) not in wanted:
                await connection.execute(_UNWANT, row["type"], row["code"])


def _definitions(body: bytes) -> dict[tuple[str, str], SearchFacts]:
    try:
        found = params_custom.definitions(codec.decode(body, "SearchParameter"))
    except DmedError:
        return {}  # Loaded from elsewhere, not through our doors.
    # The same words under another id or name are the same work.
    return {key: msgspec.structs.replace(each, id="", base=()) for key, each in found.items()}


async def request(db: Database, types: Sequence[str], code: str = EVERYTHING) -> None:
    """Asks for the rows of all records of these types to be made anew: all of them, or those of
    `_text` or `_content` (which are then not searched until it is done).
    """
    async with db.connection() as connection:
        await connection.executemany(
            "INSERT INTO reindex (type, code) VALUES ($1, $2) ON CONFLICT (type, code) DO UPDATE "
            "SET state = 'waiting', at = 0, until = 0, done = 0, since = now()",
            [(type_number(name), code) for name in types])


async def progress(db: Database) -> list[Progress]:
    """Every piece of work with its state: waiting, building, dropping or ready."""
    async with db.connection() as connection:
        rows = await connection.fetch(
            "SELECT type, code, state, done FROM reindex ORDER BY type, code")
    return [Progress(type_name(row[0]), row[1], row[2], row[3]) for row in rows]


# Work --------------------------------------------------------------------------------------


async def work(
    db: Database, *, grace_seconds: float = GRACE_SECONDS, report: Report | None = None
) -> bool:
    """Does all work that is due, in one worker of the installation; False where another has it.

    What was changed less than `grace_seconds` ago waits: other workers may not know of it yet.
    """
    with told():
        async with db.hot.apart() as keeper:
            # A lock of the session: it goes with a worker that dies.
            if not await keeper.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                return False
            try:
                while True:
                    row = await keeper.fetchrow(_NEXT, grace_seconds)
                    if row is None:
                        return True
                    await learn_on(keeper, db.kept)
                    await _do(keeper, _task(row), report)
            finally:
                await keeper.execute("SELECT pg_advisory_unlock($1)", _LOCK)


def _task(row: Any) -> _Task:
    return _Task(row["type"], row["code"], row["state"], row["definition"], row["at"],
                 row["until"], tuple(row["vids"]))


async def _do(connection: Any, task: _Task, report: Report | None) -> None:
    if task.state == "dropping":
        await _drop(connection, task)
        return
    key = (task.type, task.code, task.definition)
    if task.state == "waiting":
        await _settled(connection)
        await connection.execute(_START, *key)
        return
    if task.vids:
        await _settled(connection)
        await _remove_left(connection, task, task.vids)
    at, done = task.at, 0
    while True:
        rows = await connection.fetch(_BATCH, task.type, at, task.until, BATCH_RECORDS)
        if not rows:
            await connection.execute(_READY, *key)
            break
        vids = [row["vid"] for row in rows]
        await _replace(connection, task, rows, vids)
        await _settled(connection)
        await _remove_left(connection, task, vids)
        at = vids[-1]
        if await connection.execute(_GOES_ON, *key, at, len(rows)) != "UPDATE 1":
            return  # The definition has changed meanwhile: it begins anew.
        done += len(rows)
        if report is not None:
            await report(Progress(type_name(task.type), task.code, "building", done))


async def _settled(connection: Any) -> None:
    """Waits until every statement that is under way now has ended with its transaction."""
    # A statement has no number in its first moments, before it takes or writes anything.
    await asyncio.sleep(_PAUSE_SECONDS)
    number = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
    while await connection.fetchval(  # noqa: ASYNC110  # The event is in the database.
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint <= $1", number):
        await asyncio.sleep(_RETRY_SECONDS)


async def _replace(
    connection: Any, task: _Task, rows: Sequence[Any], vids: Sequence[int]
) -> None:
    """The index rows of a batch, in place of those that are there."""
    made: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
    for start in range(0, len(rows), _AT_ONCE):
        for table, some in _made(task, rows[start : start + _AT_ONCE]).items():
            made[table] += some
        await asyncio.sleep(0)
    async with connection.transaction():
        await connection.execute(
            "UPDATE reindex SET vids = $3 WHERE type = $1 AND code = $2",
            task.type, task.code, vids)
        for table in _tables(task):
            await connection.execute(
                f"DELETE FROM {table} x WHERE {_OF_TASK}", vids, _numbers(task))
            if made[table]:
                await connection.copy_records_to_table(
                    table, records=made[table], columns=COLUMNS[table])


_OF_TASK = "x.vid = ANY($1::bigint[]) AND ($2::int[] IS NULL OR x.param = ANY($2::int[]))"


async def _remove_left(connection: Any, task: _Task, vids: Sequence[int]) -> None:
    """Removes the rows of versions of a batch that are not current."""
    there = await connection.fetch(
        "SELECT vid FROM resource WHERE type = $1 AND vid = ANY($2::bigint[])", task.type, vids)
    gone = sorted(set(vids) - {row["vid"] for row in there})
    if gone:
        for table in _tables(task):
            await connection.execute(
                f"DELETE FROM {table} x WHERE {_OF_TASK}", gone, _numbers(task))


def _numbers(task: _Task) -> list[int] | None:
    """Under which numbers the rows of a task lie; None for all."""
    if task.code == EVERYTHING:
        return None
    number = parameter_number(type_name(task.type), task.code)
    return [number, *(modified_number(number, each) for each in _MODIFIERS)]


def _tables(task: _Task) -> tuple[str, ...]:
    """The tables in which rows of a task may lie, also those of an earlier definition."""
    is_words = not task.definition and task.code != EVERYTHING
    return ("words",) if is_words else tuple(COLUMNS)


def _made(task: _Task, rows: Sequence[Any]) -> dict[str, list[tuple[Any, ...]]]:
    """The index rows that a task makes of these records, by table."""
    name = type_name(task.type)
    writes = []
    for row in rows:
        resource = codec.decode(row["body"], name)
        index = Index()
        if task.code == EVERYTHING:
            index = params.extract(resource)
        elif task.definition:
            index = params.extract_installed(resource, task.code)
        writes.append(Write(
            kind="update", type=name, id=row["id"], bucket=row["bucket"], vid=row["vid"],
            updated=updated_of(row["vid"]), index=index, body=row["body"],
            texts=Texts() if task.definition else texts_of(resource)))
    made = index_rows(writes)
    numbers = _numbers(task)
    if numbers is not None:
        made["words"] = [row for row in made["words"] if row[2] in numbers]
    return made


async def _drop(connection: Any, task: _Task) -> None:
    """Removes the rows of a parameter that is served no more."""
    for table in COLUMNS:
        gone = _DROPPED_ROWS
        while gone == _DROPPED_ROWS:
            tag: str = await connection.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} "
                "WHERE param = ANY($1::int[]) LIMIT $2))", _numbers(task), _DROPPED_ROWS)
            gone = int(tag.split()[1])
            await asyncio.sleep(_PAUSE_SECONDS)
    await connection.execute(
        "DELETE FROM reindex WHERE type = $1 AND code = $2 AND state = 'dropping'",
        task.type, task.code)
