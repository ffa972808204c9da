"""Loading by COPY: many records, prepared in processes of their own, committed in chunks.

The store knows no files: the caller gives items (lines, persons by number...) and a picklable
function that makes records of one item. Each process prepares a chunk and copies it in one
transaction together with its line of the ledger, so a load that was interrupted goes on exactly
where it stopped, whatever order the chunks came in.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import asyncpg
import msgspec

from dmed.kit.errors import ConflictError, UnavailableError
from dmed.kit.parent import end_with_parent
from dmed.kit.settings import Settings
from dmed.store import audit as audits
from dmed.store.load_chunk import Chunk, Done, Fault, Job, Produce, load_chunk, work
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database, told
from dmed.store.reindex import learn_on
from dmed.store.schema import INDEX_TABLES, MIGRATION_LOCK, SEARCH_INDEXES

CHUNK_ITEMS = 400
_FEW_RECORDS, _SOME_RECORDS = 10_000, 250_000
"""A store with at most so many records counts as empty: its indexes are soon built again. So does
one with at most so many where four times as many items come, since each row that comes while they
are there costs more than to sort it in at the end."""
_MANY_TIMES = 4
PROCESSES_MAX = 8
_AHEAD = 2
"""Chunks given to each process in advance, so that none waits for the next."""
_ANALYZED = ("resource", "compartment", "identity_claim", "id_claim", "words", "person",
             *INDEX_TABLES)


class Progress(msgspec.Struct):
    """How far a load has come, given to the callback after every chunk."""

    items: int = 0
    """Items dealt with in this run."""
    skipped: int = 0
    """Items that an earlier run had dealt with."""
    loaded: int = 0
    """Records stored in this run."""
    faults: int = 0
    """Items refused in this run."""
    seconds: float = 0.0


Report = Callable[[Progress, Sequence[Fault]], None]


async def load(
    url: str, scope: Scope, audit: AuditRow, items: Iterable[Any], produce: Produce, *,
    digest: str = "", processes: int = 2, chunk_items: int = CHUNK_ITEMS, overwrite: bool = False,
    report: Report | None = None, analyze: bool = True, expected_items: int = 0,
) -> Progress:
    """Loads what `produce` makes of each item; refused items are reported, the rest is stored.

    `produce(item)` returns a Write or a list of them (kind "create"), or raises a DmedError: then
    nothing of that item is stored. It runs in `processes` processes (0: in this one) and must be
    picklable. Faults carry the item's number from 1; an id that exists is a fault unless
    `overwrite` (then it becomes the next version); an identifier held by another is one always.
    `expected_items` says about how many will come: a store that is small beside them counts as
    empty.
    `digest` names the source: items of chunks already in the ledger are skipped ("" never skips).
    `url` should be the owner's address: the application's role may not ANALYZE, and only the owner
    lets a load into an empty store build the search indexes after its rows (until then searches
    are slow and right; a load that goes on where such a one was interrupted goes on without them,
    and the next `load` or `schema.migrate` builds them).
    UnavailableError when the database goes away: call again to go on.
    """
    if not 0 <= processes <= PROCESSES_MAX:
        raise ConflictError(f"a load takes 0 to {PROCESSES_MAX} processes")
    began = time.monotonic()
    progress = Progress()
    job = await _prepare(url, scope, audit, produce, digest, overwrite)
    done = await _ledger(url, digest)
    few = max(_FEW_RECORDS, min(expected_items // _MANY_TIMES, _SOME_RECORDS))
    is_first = await _is_first(url, few) and not overwrite
    chunks = _chunks(items, chunk_items, done, progress)

    def landed(part: Done) -> None:
        progress.items += part.items
        progress.loaded += part.loaded
        progress.faults += len(part.faults)
        progress.seconds = time.monotonic() - began
        if report is not None:
            report(progress, part.faults)

    if is_first:
        await _each(url, iter([f"DROP INDEX IF EXISTS {name}" for name in SEARCH_INDEXES]))
    elif overwrite:
        await _build(url)  # An update looks for the rows of the version before.
    if processes == 0:
        await _run_here(job, chunks, landed)
    else:
        await _run_apart(job, chunks, landed, processes)
    await _build(url)
    await _finish(url, analyze=analyze and progress.loaded > 0)
    progress.seconds = time.monotonic() - began
    return progress


async def _prepare(
    url: str, scope: Scope, audit: AuditRow, produce: Produce, digest: str, overwrite: bool
) -> Job:
    db = await Database.open(url, Settings(pool_size=1))
    try:
        actor = await audits.actor_number(db, audit)
    finally:
        await db.close()
    return Job(url=url, scope=scope, audit=audit, actor=actor, produce=produce, digest=digest,
               overwrite=overwrite)


async def _ledger(url: str, digest: str) -> list[tuple[int, int]]:
    """(first, after) item numbers of the chunks that are in, in rising order."""
    if not digest:
        return []
    with told():
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                "SELECT line, items FROM load_ledger WHERE digest = $1 ORDER BY line", digest)
        finally:
            await connection.close()
    return [(row["line"], row["line"] + row["items"]) for row in rows]


def _chunks(
    items: Iterable[Any], size: int, done: list[tuple[int, int]], progress: Progress
) -> Iterator[Chunk]:
    """Runs of at most `size` neighbouring items, without those that are in already."""
    ranges = iter(done)
    first, after = next(ranges, (0, 0))
    start = 1
    part: list[Any] = []
    for number, item in enumerate(items, 1):
        while after and number >= after:
            first, after = next(ranges, (0, 0))
        inside = after and first <= number < after
        if part and (inside or len(part) == size):
            yield Chunk(start, part)
            part = []
        if inside:
            progress.skipped += 1
            continue
        if not part:
            start = number
        part.append(item)
    if part:
        yield Chunk(start, part)


async def _run_here(job: Job, chunks: Iterator[Chunk], landed: Callable[[Done], None]) -> None:
    with told():
        connection = await asyncpg.connect(job.url)
        try:
            await learn_on(connection, {})
            for chunk in chunks:
                landed(await load_chunk(connection, job, chunk))
        finally:
            await connection.close()


async def _run_apart(
    job: Job, chunks: Iterator[Chunk], landed: Callable[[Done], None], processes: int
) -> None:
    # Spawned, not forked: the caller may have threads (the database's supervisor is one).
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=end_with_parent,
        initargs=(signal.SIGKILL, os.getpid()))  # fmt: skip  # One pool.
    under_way: set[asyncio.Future[Done]] = set()
    try:
        more = True
        while more or under_way:
            while more and len(under_way) < processes * _AHEAD:
                chunk = next(chunks, None)
                more = chunk is not None
                if chunk is not None:
                    under_way.add(_give(pool, job, chunk))
            if under_way:
                ready, under_way = await asyncio.wait(
                    under_way, return_when=asyncio.FIRST_COMPLETED)
                for future in ready:
                    landed(future.result())
    except BrokenProcessPool:
        raise UnavailableError("a loading process was ended from outside; call again") from None
    finally:
        for future in under_way:
            future.cancel()
        await asyncio.get_running_loop().run_in_executor(
            None, lambda: pool.shutdown(wait=True, cancel_futures=True))


def _give(pool: Executor, job: Job, chunk: Chunk) -> asyncio.Future[Done]:
    return asyncio.get_running_loop().run_in_executor(pool, work, job, chunk)


async def _is_first(url: str, few: int) -> bool:
    """Whether the store holds at most so few records and its tables are ours to change."""
    with told():
        connection = await asyncpg.connect(url)
        try:
            return bool(await connection.fetchval(
                "SELECT NOT EXISTS (SELECT FROM resource OFFSET $1) AND pg_has_role("
                "(SELECT relowner FROM pg_class WHERE oid = 'token'::regclass), 'USAGE')",
                few))
        finally:
            await connection.close()


async def _build(url: str) -> None:
    """Makes the search indexes that are not there, on two connections at once."""
    with told():
        connection = await asyncpg.connect(url)
        try:
            # Whoever starts meanwhile makes the same indexes under this lock, and finds them.
            await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
            there = {row["indexname"] for row in await connection.fetch(
                "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}
            left = iter([ddl for name, ddl in SEARCH_INDEXES.items() if name not in there])
            await asyncio.gather(_each(url, left), _each(url, left))
        finally:
            await connection.close()


async def _each(url: str, statements: Iterator[str]) -> None:
    """Runs statements of which another connection may take some too; each is taken once."""
    first = next(statements, None)
    if first is None:
        return
    with told():
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET maintenance_work_mem = '512MB'")
            await connection.execute(first)
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


async def _finish(url: str, *, analyze: bool) -> None:
    """Makes the last chunks durable and lets the planner see what came."""
    with told():
        connection = await asyncpg.connect(url)
        try:
            if analyze:
                for table in _ANALYZED:
                    await connection.execute(f"ANALYZE {table}")
            # A commit that waits for the disk takes all earlier ones of the load with it.
            await connection.execute("SET synchronous_commit = on")
            await connection.execute("DELETE FROM load_ledger WHERE digest = ''")
            await connection.execute("SELECT pg_current_xact_id()")
        finally:
            await connection.close()


async def faults_of(url: str, digest: str) -> list[Fault]:
    """The items of a source that were refused, in their order, as the ledger keeps them."""
    with told():
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                "SELECT faults FROM load_ledger WHERE digest = $1 ORDER BY line", digest)
        finally:
            await connection.close()
    return [one for row in rows for one in msgspec.json.decode(row["faults"], type=list[Fault])]
