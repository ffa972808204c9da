"""Loads store what is sound, report the rest, and go on where they stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from dmed.fhir.index import Index
from dmed.kit.errors import ConflictError, InvalidError, UnavailableError
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import load as load_module
from dmed.store import read, schema
from dmed.store.lines import lines_of
from dmed.store.load import Progress, load
from dmed.store.load_chunk import Fault
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import Database
from dmed.store.rows import COLUMNS, index_rows
from dmed.store.schema import SEARCH_INDEXES

SCOPE = Scope("loader")
AUDIT = AuditRow(request="load", action="C", subject="loader", role="administrator")


def produce(item: bytes, prefix: str = "") -> Write:
    """A line `id` or `id identifier`; "bad" is refused, "stop" ends the load from outside."""
    words = item.decode().split()
    if words[0] == "bad":
        raise InvalidError("not a record", "Patient")
    if words[0] == "stop":
        raise UnavailableError("the machine was switched off")
    id_ = prefix + words[0]
    vid = new_vid()
    return Write(
        kind="create", type="Patient", id=id_, bucket=bucket_of(id_), vid=vid, client_id=True,
        updated=updated_of(vid), body=item, patients=(id_,),
        identities=tuple(("s", word) for word in words[1:]),
        index=Index(tokens=[(1, "s", word) for word in words], strings=[(2, id_, id_.upper())],
                    references=[(3, "Organization", "o", "")], dates=[(4, 0, 5)]))


def pair(item: bytes) -> list[Write]:
    """Two records of one item, stored both or not at all."""
    return [produce(item, "a-"), produce(item, "b-")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(any_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(any_database_url)
    database = await Database.open(any_database_url, Settings(pool_size=4))
    yield database
    await database.close()


class Faults:
    """Collects what a load reports."""

    def __init__(self) -> None:
        self.lines: dict[int, list[str]] = {}

    def __call__(self, _progress: Progress, faults: Sequence[Fault]) -> None:
        self.lines |= {fault.line: fault.reasons for fault in faults}


async def count(db: Database, table: str, prefix: str) -> int:
    number: int = await db.hot.fetchval(
        f"SELECT count(*) FROM {table} t JOIN resource r USING (vid, bucket) "
        "WHERE starts_with(r.id, $1)", prefix)
    return number


async def test_bad_lines_are_reported_and_the_rest_is_stored(
    db: Database, any_database_url: str
) -> None:
    """Of 1,000 lines seven are refused, each for its reason; two processes load all others."""
    lines = [b"m-%d" % at for at in range(1000)]
    lines[10], lines[500] = b"bad", b"bad"
    lines[20] = b"m-19"
    lines[30], lines[31] = b"m-30 x1", b"m-31 x1"
    faults = Faults()
    progress = await load(any_database_url, SCOPE, AUDIT, lines, produce, chunk_items=100,
                          report=faults)

    assert set(faults.lines) == {11, 501, 21, 32}
    assert faults.lines[11] == ["Patient: not a record"]
    assert "m-30" in faults.lines[32][0]
    assert (progress.items, progress.loaded, progress.faults) == (1000, 996, 4)
    for table in ("resource", "token", "string", "reference", "date", "compartment", "feed"):
        if table == "compartment":
            rows = await db.hot.fetchval(
                "SELECT count(*) FROM compartment WHERE starts_with(patient, 'm-')")
        else:
            rows = await count(db, table, "m-")
        assert rows == (997 if table == "token" else 996), table
    assert (await read.read(db, SCOPE, AUDIT, "Patient", "m-999")).body == b"m-999"
    people = await db.hot.fetchval(
        "SELECT count(*) FROM audit_told WHERE request = 'load' AND starts_with(patient, 'm-') "
        "AND action = 'C'")
    assert people == 996


async def test_an_interrupted_load_goes_on(db: Database, any_database_url: str) -> None:
    """A load that died at line 550 keeps its chunks; the next run skips them and loads the rest."""
    lines = [b"n-%d" % at for at in range(1000)]
    with pytest.raises(UnavailableError):
        await load(any_database_url, SCOPE, AUDIT, stopping(lines, 550), produce,
                   digest="file-1", chunk_items=100, processes=0)
    first = await count(db, "resource", "n-")
    faults = Faults()
    progress = await load(any_database_url, SCOPE, AUDIT, lines, produce,
                          digest="file-1", chunk_items=100, processes=2, report=faults)

    assert first == 500
    assert (progress.skipped, progress.loaded, faults.lines) == (500, 500, {})
    assert await count(db, "resource", "n-") == 1000
    again = await load(any_database_url, SCOPE, AUDIT, lines, produce, digest="file-1",
                       chunk_items=77, processes=0)
    assert (again.skipped, again.loaded) == (1000, 0)


KILLED = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[1])
import test_store_load as its

def lines():
    for at in range(20):
        yield b"killed-%d" % at
    print("under way", flush=True)
    time.sleep(120)

if __name__ == "__main__":
    asyncio.run(its.load(sys.argv[2], its.SCOPE, its.AUDIT, lines(), its.produce, digest="killed",
                         chunk_items=5, processes=2))
"""


def children(parent: int) -> set[int]:
    """Processes that this one started and that are alive."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(facts[1]) == parent and facts[0] != "Z":
                found.add(int(folder.name))
    return found


def lives(process: int) -> bool:
    """Whether it runs: one that ended and was not yet asked for does not."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_killed_load_leaves_no_process(
    db: Database, any_database_url: str, tmp_path: Path
) -> None:
    """Its helpers end with it, however it ends: they would wait for work for ever."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    with subprocess.Popen([sys.executable, script, Path(__file__).parent, any_database_url],
                          stdout=subprocess.PIPE) as loading:
        assert loading.stdout is not None
        assert loading.stdout.readline() == b"under way\n"
        helpers = children(loading.pid)
        loading.kill()
    until = time.monotonic() + 10
    while any(map(lives, helpers)) and time.monotonic() < until:
        time.sleep(0.05)

    assert len(helpers) >= 2
    assert not any(map(lives, helpers))


def stopping(lines: list[bytes], at: int) -> list[bytes]:
    """The lines, and the machine switched off at one of them."""
    return [*lines[:at], b"stop", *lines[at + 1:]]


async def test_existing_records_are_kept_unless_asked(
    db: Database, any_database_url: str
) -> None:
    """The same ids again are faults; with `overwrite` they become the next version."""
    lines = [b"o-%d o%d" % (at, at) for at in range(50)]
    await load(any_database_url, SCOPE, AUDIT, lines, produce, processes=0)
    faults = Faults()
    second = await load(any_database_url, SCOPE, AUDIT, [*lines, b"o-new"], produce, processes=0,
                        report=faults)
    assert (second.loaded, second.faults) == (1, 50)
    assert faults.lines[1] == ["Patient/o-0 exists already"]
    third = await load(any_database_url, SCOPE, AUDIT, lines, produce, processes=0, overwrite=True)
    kept = await db.hot.fetchval(
        "SELECT count(*) FROM resource_version WHERE starts_with(id, 'o-')")

    assert third.loaded == 50
    assert kept == 50
    assert await count(db, "token", "o-") == 101


async def test_identifiers_stay_unique_across_processes(
    db: Database, any_database_url: str
) -> None:
    """One identifier on 40 lines in 40 chunks of two processes: one record holds it."""
    lines = [b"q-%d same" % at for at in range(40)]
    progress = await load(any_database_url, SCOPE, AUDIT, lines, produce, chunk_items=1)

    assert (progress.loaded, progress.faults) == (1, 39)


async def test_an_item_of_two_records_is_all_or_nothing(
    db: Database, any_database_url: str
) -> None:
    """If one record of an item exists, the other is not stored either."""
    await load(any_database_url, SCOPE, AUDIT, [b"t1"], partial(produce, prefix="a-"), processes=0)
    progress = await load(any_database_url, SCOPE, AUDIT, [b"t1", b"t2"], pair, processes=0)

    assert (progress.loaded, progress.faults) == (2, 1)
    assert await count(db, "resource", "b-t") == 1


async def test_the_ledger_keeps_faults(db: Database, any_database_url: str) -> None:
    """What was refused can be read after the load, by line."""
    await load(any_database_url, SCOPE, AUDIT, [b"bad", b"u-1"], produce, processes=0,
               digest="file-2")
    kept = await db.hot.fetchval("SELECT faults FROM load_ledger WHERE digest = 'file-2'")

    assert msgspec.json.decode(kept, type=list[Fault]) == [Fault(1, ["Patient: not a record"])]


ODD = ("plain", "tab\tand\\back", "two\nlines\r", "\\N", "{1,2}", "Ўзбек", "'q\"", "x" * 500)


def odd(number: int, *, ready: bool) -> Write:
    """A record with texts that the format of COPY must carry, as an index or as ready lines."""
    record_id = f"{'ready' if ready else 'index'}-{number}"
    vid, text = new_vid(), ODD[number]
    one = Write(
        kind="create", type="Patient", id=record_id, bucket=number, vid=vid,
        updated=updated_of(vid), body=b"{}", patients=(record_id,), client_id=True,
        index=Index(
            tokens=[(1, "s", text)], strings=[(-1_959_714_487, text.lower(), text)],
            references=[(3, "Organization", "o", "")], dates=[(4, 0, 5), (5, 0, 2**55)],
            numbers=[(6, Decimal("0.5"), Decimal("1.5"))], composites=[(7, text, None, None)]))
    if ready:
        one.lines, one.index = lines_of(index_rows([one])), Index()
    return one


async def test_ready_lines_give_the_rows_of_an_index(db: Database, any_database_url: str) -> None:
    """Whatever a text holds, the rows of records with lines are those of records with an index;
    a load that overwrites takes no lines.
    """
    async def rows(table: str, names: tuple[str, ...], prefix: str) -> list[Any]:
        chosen = ", ".join(f"t.{name}" for name in names if name != "vid")
        found = await db.hot.fetch(
            f"SELECT {chosen} FROM {table} t JOIN resource r ON r.vid = t.vid "
            "AND starts_with(r.id, $1) ORDER BY t.bucket, t.param", prefix)
        return [tuple(row) for row in found]

    for ready in (False, True):
        done = await load(any_database_url, SCOPE, AUDIT, range(len(ODD)),
                               partial(odd, ready=ready), processes=0)
        assert (done.loaded, done.faults) == (len(ODD), 0)
    for table, names in COLUMNS.items():
        assert await rows(table, names, "ready-") == await rows(table, names, "index-")
    assert len(await rows("string", COLUMNS["string"], "ready-")) == len(ODD)
    with pytest.raises(ConflictError, match="new records"):
        await load(any_database_url, SCOPE, AUDIT, range(1), partial(odd, ready=True),
                        processes=0, overwrite=True)


async def test_a_first_load_keeps_no_search_index_until_its_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted twice and called again as the command does, it goes on without them and builds
    all at its end; a server that starts meanwhile builds them too; a load that overwrites has them
    before its first update, so that no row of an earlier version stays.
    """
    monkeypatch.setattr(load_module, "_FEW_RECORDS", 10)
    lines = [b"f-%d" % at for at in range(400)]

    async def load_to(end: int, **more: Any) -> None:
        again = partial(load, database_url, SCOPE, AUDIT, produce=produce, digest="first",
                        chunk_items=50, processes=0, **more)
        if end < len(lines):
            with pytest.raises(UnavailableError):
                await again(items=stopping(lines, end))
        else:
            await again(items=lines)

    async def there() -> int:
        connection = await asyncpg.connect(database_url)
        try:
            return int(await connection.fetchval(
                "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "WHERE c.relname = ANY($1::text[]) AND i.indisvalid", list(SEARCH_INDEXES)))
        finally:
            await connection.close()

    found = []
    await schema.migrate(database_url)
    for end in (100, 200):
        await load_to(end)
        await schema.migrate(database_url, search_indexes=False)
        found.append(await there())
    await load_to(400)
    found.append(await there())
    await _drop(database_url)
    await schema.migrate(database_url)
    found.append(await there())
    await _drop(database_url)
    await load(database_url, SCOPE, AUDIT, lines, produce, processes=0, overwrite=True)
    found.append(await there())
    rows, records = await _rows(database_url)

    assert found == [0, 0, *[len(SEARCH_INDEXES)] * 3]
    assert (rows, records) == (400, 400)


async def _drop(url: str) -> None:
    connection = await asyncpg.connect(url)
    for name in SEARCH_INDEXES:
        await connection.execute(f"DROP INDEX {name}")
    await connection.close()


async def _rows(url: str) -> tuple[int, int]:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM string), (SELECT count(*) FROM resource)")
        return row[0], row[1]
    finally:
        await connection.close()
