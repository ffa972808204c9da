"""Records of before get their sensitivity labels by a job that survives being killed and holds
nobody up, on a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest_asyncio

from dmed.fhir import codec, params
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import relabel, schema, write
from dmed.store.model import AuditRow, Relation, Scope, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("admin")
SETTINGS = Settings(pool_size=4)
AUDIT = AuditRow(request="r", action="U", subject="admin", role="administrator")
TYPES = ["Condition", "Encounter"]
SECRET = 4
OLD = 120


def labels_of(body: bytes) -> int:
    """The rule of these tests: whoever is named B24 is secret."""
    return SECRET if b'"B24"' in body else 0


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(database_url, list(relabel.DDL))
    database = await Database.open(database_url, SETTINGS)
    yield database
    await database.close()


def condition(number: int, code: str = "") -> dict[str, Any]:
    """Every third is secret, unless a code is given."""
    return {"resourceType": "Condition", "id": f"c{number}",
            "subject": {"reference": f"Patient/p{number}"},
            "clinicalStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                "code": "active"}]},
            "code": {"coding": [{"code": code or ("B24" if number % 3 == 0 else "J45")}]}}


async def put(db: Database, *contents: dict[str, Any], labels: int = 0) -> None:
    """Writes as a release did that knew no rule (labels 0), with a relationship bound to each."""
    until = datetime.now(UTC) + timedelta(days=1)
    writes = []
    for content in contents:
        resource = codec.decode(json.dumps(content).encode())
        vid = new_vid()
        patients = params.patients(resource)
        writes.append(Write(
            kind="update", type=content["resourceType"], id=content["id"], vid=vid,
            bucket=bucket_of(content["id"]), client_id=True, updated=updated_of(vid),
            body=codec.encode(resource), index=params.extract(resource), patients=patients,
            labels=labels,
            care=tuple(Relation(one, "Organization/o", "episode", until, labels)
                       for one in patients)))
    await asyncio.gather(*(write.write(db, SCOPE, AUDIT, one) for one in writes))


async def work(db: Database, rules: int = 1, **given: Any) -> bool:
    return await relabel.work(db, rules, labels_of, TYPES, grace_seconds=0, **given)


async def labelled(db: Database, table: str = "resource") -> set[str]:
    rows = await db.wide.fetch(f"SELECT id, labels FROM {table} WHERE labels <> 0")
    assert {row["labels"] for row in rows} <= {SECRET}
    return {row["id"] for row in rows}


async def test_old_records_their_versions_and_their_care_are_labelled(db: Database) -> None:
    """Current and superseded versions get the label, and so does what opens them; others none."""
    await put(db, *(condition(number) for number in range(9)))
    await put(db, condition(0, "J45"), condition(1, "B24"))

    assert await work(db)

    assert await labelled(db) == {"c1", "c3", "c6"}
    assert await labelled(db, "resource_version") == {"c0"}
    care = await db.hot.fetch("SELECT patient, labels FROM care WHERE labels <> 0")
    assert {(row["patient"], row["labels"]) for row in care} == {
        ("p1", SECRET), ("p3", SECRET), ("p6", SECRET)}


async def test_what_an_old_worker_wrote_meanwhile_is_found_in_the_second_turn(
    db: Database
) -> None:
    """A record written by the old rules after the first turn is labelled; then all is at rest,
    until the rules have a higher number. A worker of the old release changes nothing any more.
    """
    await put(db, condition(3))
    assert await work(db, 2)
    await put(db, condition(6))

    assert not await relabel.work(db, 2, labels_of, TYPES, grace_seconds=600)
    assert await work(db, 2)
    assert await labelled(db) == {"c3", "c6"}
    told = await relabel.progress(db, 2)
    assert told is not None
    assert told.ended

    await put(db, condition(9))
    assert not await work(db, 2)
    assert not await work(db, 1)
    assert await labelled(db) == {"c3", "c6"}
    assert await work(db, 3)
    assert await labelled(db) == {"c3", "c6", "c9"}


async def test_it_can_be_asked_for_anew(db: Database) -> None:
    """Rows that came without labels by another way are found when the work is asked for again."""
    await put(db, condition(3))
    assert await work(db)
    assert await work(db)
    await db.hot.execute("UPDATE resource SET labels = 0")

    assert not await work(db)
    await relabel.begin_anew(db, 1)
    assert await work(db)

    assert await labelled(db) == {"c3"}


KILLED = """
    import asyncio, sys
    from dmed.kit.settings import Settings
    from dmed.store import relabel
    from dmed.store.pool import Database

    async def main():
        relabel.BATCH_RECORDS = 10
        relabel._PAUSE_SECONDS = 0.1
        db = await Database.open(sys.argv[1], Settings(pool_size=2))
        async def report(progress):
            print(progress.seen, flush=True)
        await relabel.work(db, 1, lambda body: 4 if b'"B24"' in body else 0,
                           ["Condition", "Encounter"], grace_seconds=0, report=report)

    asyncio.run(main())
"""


async def test_a_killed_worker_loses_nothing(db: Database, database_url: str) -> None:
    """Killed with -9 in the middle while others write; another goes on where it stopped, and every
    record that must be labelled is, and no other.
    """
    await put(db, *(condition(number) for number in range(OLD)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(KILLED), database_url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(4):
        await asyncio.wait_for(process.stdout.readline(), 20)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()

    halfway = await relabel.progress(db, 1)
    assert halfway is not None
    assert 0 < halfway.seen < OLD
    assert not halfway.ended

    rewriting = asyncio.create_task(put(db, *(condition(n) for n in range(0, OLD, 7))))
    for _ in range(100):  # The dead session's lock goes when the server notices.
        if await work(db):
            break
        await asyncio.sleep(0.1)
    await rewriting
    assert await work(db)

    assert await labelled(db) == {f"c{number}" for number in range(0, OLD, 3)}
    told = await relabel.progress(db, 1)
    assert told is not None
    assert told.ended


async def test_writers_do_not_wait(db: Database) -> None:
    """While a transaction holds one record the others are labelled, and written meanwhile; the new
    version of the held one is met later in the same walk.
    """
    await put(db, *(condition(number) for number in range(0, 30, 3)))
    async with db.hot.acquire(timeout=10) as other, other.transaction():
        await other.execute("UPDATE resource SET vid = $1 WHERE id = 'c27'", new_vid())
        working = asyncio.create_task(work(db))
        for _ in range(200):
            if len(await labelled(db)) == 9:
                break
            await asyncio.sleep(0.02)
        assert len(await labelled(db)) == 9
        await asyncio.wait_for(asyncio.create_task(put(db, condition(3), labels=SECRET)), 2)
    assert await asyncio.wait_for(working, 10)

    # Its new version comes later in the walk than the one that was passed over.
    assert "c27" in await labelled(db)


def test_progress_is_plain() -> None:
    """What is told of it names numbers alone."""
    told = relabel.Progress(1, 1, 200, 3, ended=False)

    assert msgspec.to_builtins(told) == {
        "rules": 1, "turn": 1, "seen": 200, "changed": 3, "ended": False}
