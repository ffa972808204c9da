"""Stored search parameters take effect for new records at once and for old ones by a job that
survives being killed, on a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from dmed.fhir import codec, params
from dmed.fhir.index import parameter_number
from dmed.fhir.query import parse
from dmed.kit.errors import InvalidError
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import reindex, schema, search, write
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("admin")
SETTINGS = Settings(pool_size=4, count_max=1000)
AUDIT = AuditRow(request="r", action="U", subject="admin", role="administrator")
SHOE = "http://example.org/shoe"
OLD = 200


@pytest.fixture(autouse=True)
def _nothing_installed() -> Iterator[None]:
    """The registry belongs to the process: what a test installs goes with it."""
    yield
    params.install({})


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(database_url)
    database = await Database.open(database_url, SETTINGS)
    yield database
    await database.close()


def parameter(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "id": "shoe", "url": "http://example.org/sp/shoe",
        "name": "Shoe", "status": "active", "description": "Size of shoes", "code": "shoe-size",
        "base": ["Patient"], "type": "number",
        "expression": f"Patient.extension.where(url='{SHOE}').value.ofType(integer)", **changes}


def patient(number: int) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": f"p{number}", "gender": "female",
            "extension": [{"url": SHOE, "valueInteger": 30 + number % 20}]}


async def put(db: Database, *contents: dict[str, Any]) -> None:
    writes = []
    for content in contents:
        resource = codec.decode(json.dumps(content).encode())
        vid = new_vid()
        writes.append(Write(
            kind="update", type=content["resourceType"], id=content["id"], vid=vid,
            bucket=bucket_of(content["id"]), client_id=True, updated=updated_of(vid),
            body=codec.encode(resource), index=params.extract(resource),
            patients=params.patients(resource)))
    await asyncio.gather(*(write.write(db, SCOPE, AUDIT, one) for one in writes))


async def found(db: Database, text: str, name: str = "shoe-size") -> set[str]:
    query = parse("Patient", [(name, text), ("_count", "1000")], settings=SETTINGS, strict=True)
    page = await search.search(db, SCOPE, AUDIT, query)

    assert page.total == len(page.hits)
    return {hit.record.id for hit in page.hits}


def expected(size: int, count: int = OLD) -> set[str]:
    return {f"p{number}" for number in range(count) if 30 + number % 20 == size}


async def test_old_and_new_records_are_found(db: Database) -> None:
    """A stored parameter is not ready first, which is said; after the work it finds old and new
    records, each once; a changed expression is worked anew and a withdrawn one is unknown again.
    """
    await put(db, *(patient(number) for number in range(60)), parameter())
    assert await reindex.learn(db)
    assert not await reindex.learn(db)
    with pytest.raises(InvalidError, match="not ready"):
        parse("Patient", [("shoe-size", "40")], settings=SETTINGS, strict=True)
    lenient = parse("Patient", [("shoe-size", "40")], settings=SETTINGS)
    assert "not ready" in lenient.ignored[0].reason

    await put(db, *(patient(number) for number in range(60, 80)), patient(3))
    assert await reindex.work(db, grace_seconds=0)
    await reindex.learn(db)

    assert await found(db, "40") == expected(40, 80)
    assert await found(db, "gt45") == {one for size in range(46, 50) for one in expected(size, 80)}

    await put(db, parameter(type="token", expression="Patient.gender"))
    await reindex.learn(db)
    await reindex.work(db, grace_seconds=0)
    await reindex.learn(db)
    assert len(await found(db, "female")) == 80

    await put(db, parameter(status="retired"))
    await reindex.learn(db)
    await reindex.work(db, grace_seconds=0)
    await reindex.learn(db)
    assert await reindex.progress(db) == []
    with pytest.raises(InvalidError, match="Unknown"):
        await found(db, "40")
    left = await db.hot.fetchval("SELECT count(*) FROM token WHERE param = $1",
                                 parameter_number("Patient", "shoe-size"))
    assert left == 0


KILLED = """
    import asyncio, sys
    from dmed.kit.settings import Settings
    from dmed.store import reindex
    from dmed.store.pool import Database

    async def main():
        reindex.BATCH_RECORDS = 10
        db = await Database.open(sys.argv[1], Settings(pool_size=2))
        async def report(progress):
            print(progress.done, flush=True)
        await reindex.work(db, grace_seconds=0, report=report)

    asyncio.run(main())
"""


async def test_a_killed_worker_loses_nothing(db: Database, database_url: str) -> None:
    """Killed with -9 in the middle, while others write; another worker goes on where it stopped,
    and the search then finds exactly what it should, with no row twice.
    """
    await put(db, *(patient(number) for number in range(OLD)), parameter())
    await reindex.learn(db)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(KILLED), database_url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(4):
        await asyncio.wait_for(process.stdout.readline(), 20)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()

    at = await db.hot.fetchrow("SELECT state, at, done FROM reindex WHERE code = 'shoe-size'")
    assert at["state"] == "building"
    assert 0 < at["done"] < OLD

    rewriting = asyncio.create_task(put(db, *(patient(number) for number in range(0, OLD, 7))))
    for _ in range(100):  # The dead session's lock goes when the server notices.
        if await reindex.work(db, grace_seconds=0):
            break
        await asyncio.sleep(0.1)
    await rewriting
    await reindex.learn(db)

    for size in range(30, 50):
        assert await found(db, str(size)) == expected(size)
    rows = await db.hot.fetchval("SELECT count(*) FROM number WHERE param = $1",
                                 parameter_number("Patient", "shoe-size"))
    assert rows == OLD


async def test_writers_and_readers_do_not_wait(db: Database) -> None:
    """While another transaction holds a record, its batch is made and others write; the work
    ends when the record is free.
    """
    await put(db, *(patient(number) for number in range(30)), parameter())
    await reindex.learn(db)
    await db.hot.execute("UPDATE reindex SET state = 'building', until = $1", new_vid())
    async with db.hot.acquire(timeout=10) as other, other.transaction():
        await other.execute("SELECT FROM resource WHERE id = 'p5' FOR UPDATE")
        working = asyncio.create_task(reindex.work(db, grace_seconds=0))
        number = parameter_number("Patient", "shoe-size")
        rows = 0
        for _ in range(200):
            rows = await db.wide.fetchval("SELECT count(*) FROM number WHERE param = $1", number)
            if rows == 30:
                break
            await asyncio.sleep(0.02)
        assert rows == 30
        await asyncio.wait_for(asyncio.create_task(put(db, patient(6))), 2)
    assert await asyncio.wait_for(working, 10)
    await reindex.learn(db)
    assert await found(db, "35") == {"p5", "p25"}


async def test_a_worker_follows_by_itself(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker runs beside its requests learns a stored parameter and does its work."""
    monkeypatch.setattr(reindex, "LEARN_SECONDS", 0.05)
    monkeypatch.setattr(reindex, "GRACE_SECONDS", 0)
    following = asyncio.create_task(reindex.follow(db))
    await put(db, *(patient(number) for number in range(20)), parameter())
    for _ in range(400):
        states = [one.state for one in await reindex.progress(db)]
        if states == ["ready"] and not params.waiting():
            break
        await asyncio.sleep(0.05)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following

    assert await found(db, "35") == {"p5"}


async def test_all_rows_can_be_made_anew(db: Database) -> None:
    """Asked for everything, the work restores index rows that were lost, words too."""
    await put(db, *(patient(number) for number in range(10)))
    for table in ("token", "words", "number"):
        await db.hot.execute(f"DELETE FROM {table}")
    assert await found(db, "female", "gender") == set()

    await reindex.request(db, ["Patient"])
    await reindex.work(db, grace_seconds=0)

    assert len(await found(db, "female", "gender")) == 10
    assert len(await found(db, "female", "_content")) == 10


async def test_a_failing_expression_loses_no_write(db: Database) -> None:
    """An expression that fails for some record leaves it without rows, and stored."""
    await put(db, parameter(type="string", expression="Patient.name.given.single()"))
    await reindex.learn(db)
    await put(db, {"resourceType": "Patient", "id": "two", "name": [{"given": ["Ali", "Vali"]}]},
              {"resourceType": "Patient", "id": "one", "name": [{"given": ["Ali"]}]})
    await reindex.work(db, grace_seconds=0)
    await reindex.learn(db)

    assert await found(db, "ali") == {"one"}
