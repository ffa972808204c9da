"""One chunk of a load: prepare, look what is there already, COPY the rest, one commit."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from dmed.kit.clock import now
from dmed.kit.errors import ConflictError, DmedError, UnavailableError
from dmed.store import audit as audits
from dmed.store import care
from dmed.store.audit import person_bucket
from dmed.store.keys import system_number, text_key, type_number
from dmed.store.lines import together
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.pool import RETRIED, told
from dmed.store.reindex import learn_on
from dmed.store.rows import COLUMNS, index_rows
from dmed.store.write import arguments, check, settle_buckets

TRIES_MAX = 6
FAULTS_KEPT = 2_000
"""Most faults of one chunk that the ledger keeps."""

Produce = Callable[[Any], Write | list[Write]]
_RECORD = ("bucket", "type", "vid", "id", "patient", "others", "body", "labels")
_COMPARTMENT = ("bucket", "type", "home", "vid", "patient")
_CLAIM = ("type", "system", "value", "bucket", "id")
_FEED = ("vid", "bucket", "type", "kind", "id")


class Fault(msgspec.Struct, frozen=True):
    """An item that was refused: its number from 1, and what was wrong with it."""

    line: int
    reasons: list[str]


class Chunk(msgspec.Struct, frozen=True):
    """Neighbouring items; `line` is the number of the first."""

    line: int
    items: list[Any]


class Done(msgspec.Struct, frozen=True):
    """What became of a chunk."""

    items: int
    loaded: int
    faults: list[Fault]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What every chunk of one load shares; picklable."""

    url: str
    scope: Scope
    audit: AuditRow
    actor: int
    produce: Produce
    digest: str
    overwrite: bool


class _Item(msgspec.Struct):
    line: int
    writes: list[Write]


_runner: asyncio.Runner | None = None
_connection: Any = None
_learnt: dict[object, Any] = {}


def work(job: Job, chunk: Chunk) -> Done:
    """A chunk in a process of its own, which keeps its connection for the next chunk."""
    global _runner  # noqa: PLW0603  # The one event loop of this process.
    if _runner is None:
        _runner = asyncio.Runner()
        # A chunk's rows live until its end and hold no cycles: looking for them costs a third.
        gc.freeze()
        gc.set_threshold(200_000, 20, 50)
    return _runner.run(_work(job, chunk))


async def _work(job: Job, chunk: Chunk) -> Done:
    global _connection  # noqa: PLW0603  # The one connection of this process.
    with told():
        if _connection is None or _connection.is_closed():
            _connection = await asyncpg.connect(job.url)
        # What is loaded is indexed for the search parameters that are stored, as a write is.
        await learn_on(_connection, _learnt)
        return await load_chunk(_connection, job, chunk)


async def load_chunk(connection: Any, job: Job, chunk: Chunk) -> Done:
    """Stores a chunk in one transaction; races with other chunks are tried again."""
    # A crash may lose the last chunks together with their ledger lines: a new run loads them.
    await connection.execute("SET synchronous_commit = off")
    items, faults = _produce(job, chunk)
    for attempt in range(TRIES_MAX):
        try:
            async with connection.transaction():
                return await _store(connection, job, chunk, items, list(faults))
        except (asyncpg.UniqueViolationError, *RETRIED):
            await asyncio.sleep(0.02 * (attempt + 1))
    raise UnavailableError(f"items from {chunk.line} could not be stored: others write the same")


def _produce(job: Job, chunk: Chunk) -> tuple[list[_Item], list[Fault]]:
    items: list[_Item] = []
    faults: list[Fault] = []
    seen: set[tuple[str, str]] = set()
    for line, item in enumerate(chunk.items, chunk.line):
        try:
            made = job.produce(item)
            writes = made if isinstance(made, list) else [made]
            check(job.scope, writes)
        except DmedError as error:
            if error.status >= 500:
                raise  # Not the item's fault: the load stops and can be called again.
            faults.append(Fault(line, [
                f"{issue.expression}: {issue.diagnostics}" if issue.expression
                else issue.diagnostics for issue in error.issues]))
            continue
        twice = [f"{one.type}/{one.id} came before" for one in writes
                 if (one.type, one.id) in seen]
        if twice:
            faults.append(Fault(line, twice))
            continue
        seen.update((one.type, one.id) for one in writes)
        items.append(_Item(line, writes))
    return items, faults


async def _store(
    connection: Any, job: Job, chunk: Chunk, items: list[_Item], faults: list[Fault]
) -> Done:
    every = [one for item in items for one in item.writes]
    if job.overwrite and any(one.lines is not None for one in every):
        raise ConflictError("ready lines are for new records: a load that overwrites takes none")
    await settle_buckets(connection, every, {})
    # Ready lines are of new records under new ids: should one exist, its key refuses the chunk.
    there = await _existing(connection, [one for one in every if one.lines is None])
    claimed = await _holders(connection, every)
    fresh: list[Write] = []
    again: list[Write] = []
    for item in items:
        reasons = _refusals(item, there, claimed, overwrite=job.overwrite)
        if reasons:
            faults.append(Fault(item.line, reasons))
            continue
        for one in item.writes:
            for system, value in one.identities:
                claimed[one.type, system, value] = one.id
            (again if (one.type, one.id) in there else fresh).append(one)
    if again:
        await _overwrite(connection, job, again)
    if fresh:
        await _copy(connection, fresh)
    loaded = len(fresh) + len(again)
    await _note(connection, job, chunk, loaded, fresh)
    faults.sort(key=lambda fault: fault.line)
    await connection.execute(
        "INSERT INTO load_ledger (digest, line, items, loaded, faults) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (digest, line) DO UPDATE SET items = excluded.items",
        job.digest, chunk.line, len(chunk.items), loaded,
        msgspec.json.encode(faults[:FAULTS_KEPT]).decode())
    return Done(len(chunk.items), loaded, faults)


async def _existing(connection: Any, writes: Sequence[Write]) -> dict[tuple[str, str], int]:
    """The current versions of those records that are there already."""
    if not writes:
        return {}
    rows = await connection.fetch(
        "SELECT w.n, r.vid FROM unnest($1::smallint[], $2::smallint[], $3::text[]) "
        "WITH ORDINALITY AS w(bucket, type, id, n) JOIN LATERAL (SELECT vid FROM resource r "
        "WHERE r.bucket = w.bucket AND r.type = w.type AND r.id = w.id LIMIT 1) AS r ON true",
        [one.bucket for one in writes], [type_number(one.type) for one in writes],
        [one.id for one in writes])
    found = ((writes[row["n"] - 1], row["vid"]) for row in rows)
    return {(one.type, one.id): vid for one, vid in found}


async def _holders(
    connection: Any, writes: Sequence[Write]
) -> dict[tuple[str, str, str], str]:
    """Who holds those identities of these records that are claimed already."""
    wanted = [(one.type, system, value) for one in writes for system, value in one.identities]
    if not wanted:
        return {}
    rows = await connection.fetch(
        "SELECT w.n, c.id FROM unnest($1::smallint[], $2::bigint[], $3::text[]) "
        "WITH ORDINALITY AS w(type, system, value, n) JOIN LATERAL (SELECT id "
        "FROM identity_claim c WHERE c.type = w.type AND c.system = w.system "
        "AND c.value = w.value LIMIT 1) AS c ON true",
        [type_number(type_) for type_, _, _ in wanted],
        [system_number(system) for _, system, _ in wanted],
        [text_key(value) for _, _, value in wanted])
    return {wanted[row["n"] - 1]: row["id"] for row in rows}


def _refusals(
    item: _Item, there: dict[tuple[str, str], int], claimed: dict[tuple[str, str, str], str], *,
    overwrite: bool,
) -> list[str]:
    reasons = []
    own: dict[tuple[str, str, str], str] = {}
    for one in item.writes:
        if (one.type, one.id) in there and not overwrite:
            reasons.append(f"{one.type}/{one.id} exists already")
        for system, value in one.identities:
            key = (one.type, system, value)
            holder = claimed.get(key) or own.setdefault(key, one.id)
            if holder != one.id:
                reasons.append(f"{one.type}/{holder} already carries {system}|{value}")
    return reasons


async def _overwrite(connection: Any, job: Job, writes: list[Write]) -> None:
    for one in writes:
        one.kind, one.expected_vid = "update", None
    rows = [msgspec.structs.replace(job.audit, type=one.type, id=one.id, vid=one.vid,
                                    patient=next(iter(one.patients), "")) for one in writes]
    statement, values = arguments(writes, rows, [job.actor] * len(rows))
    done = await connection.fetch(statement, *values)
    if any(row["kind"] is None for row in done):
        raise asyncpg.SerializationError("a record was changed while it was loaded")


async def _copy(connection: Any, writes: list[Write]) -> None:
    """COPY in an order that lets each b-tree grow at neighbouring places."""
    async def copy(table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        if rows:
            await connection.copy_records_to_table(table, records=rows, columns=columns)

    await copy("resource", _RECORD, [_record(one) for one in writes])
    await copy("compartment", _COMPARTMENT, [
        (person_bucket(patient), type_number(one.type), one.bucket, one.vid, patient)
        for one in writes for patient in dict.fromkeys(one.patients)])
    await copy("identity_claim", _CLAIM, [
        (type_number(one.type), system_number(system), text_key(value), one.bucket, one.id)
        for one in writes for system, value in dict.fromkeys(one.identities)])
    await _keep_care(connection, writes)
    await copy("feed", _FEED, [
        (one.vid, one.bucket, type_number(one.type), b"C", one.id) for one in writes])
    for table, rows in index_rows([one for one in writes if one.lines is None]).items():
        await copy(table, COLUMNS[table], rows)
    await _copy_lines(connection, [one.lines for one in writes if one.lines is not None])


async def _copy_lines(connection: Any, written: list[Mapping[str, str]]) -> None:
    """The index rows of records whose maker gave them as they are sent."""
    for table in COLUMNS if written else ():
        if ready := together(written, table):
            await connection.copy_to_table(
                table, source=_at_once(ready), columns=COLUMNS[table], format="text")


async def _at_once(ready: bytes) -> AsyncIterator[bytes]:
    yield ready


async def _keep_care(connection: Any, writes: Sequence[Write]) -> None:
    """The care relationships of loaded records; of several loads of one person the longer."""
    rows = care.rows_of([
        msgspec.structs.replace(one, care=tuple(each for each in one.care if each.until > now()))
        for one in writes if one.care])
    if rows:
        await connection.execute(
            care.LOAD.format(again=care.KEEP), *map(list, zip(*rows, strict=True)))


def _record(one: Write) -> tuple[Any, ...]:
    first, *others = dict.fromkeys(one.patients) or [None]
    return (one.bucket, type_number(one.type), one.vid, one.id, first, others or None, one.body,
            one.labels)


async def _note(
    connection: Any, job: Job, chunk: Chunk, loaded: int, writes: Sequence[Write]
) -> None:
    """The chunk is the request: one row for it, and one for each person it concerned."""
    last = chunk.line + len(chunk.items) - 1
    own = msgspec.structs.replace(
        job.audit, detail=f"loaded {loaded} of items {chunk.line}-{last}")
    people = dict.fromkeys(patient for one in writes for patient in one.patients)
    rows = [own, *(msgspec.structs.replace(job.audit, patient=one) for one in people)]
    await connection.execute(
        audits.INSERT_SQL, *audits.columns(rows, [job.actor] * len(rows)))
