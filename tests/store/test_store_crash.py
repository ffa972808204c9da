"""A killed PostgreSQL loses no acknowledged write and shows no half of one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmed.apps.postgres import Cluster, Supervisor
from dmed.fhir.index import Index
from dmed.kit.errors import ConflictError, UnavailableError
from dmed.kit.ids import bucket_of, new_id, new_vid
from dmed.kit.settings import Settings
from dmed.store import schema, unit, write
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import Database

KILLS = 3
WRITERS = 8
SCOPE = Scope("doctor")
AUDIT = AuditRow(request="crash", action="C", subject="doctor", role="doctor")


@pytest.fixture
def durable() -> Iterator[tuple[Supervisor, str]]:
    """A PostgreSQL of its own that waits for the disk, and its owner's address."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-crash-"))
    folder.chmod(0o711)
    cluster = Cluster(folder)
    try:
        with Supervisor(cluster, ("-c", "shared_buffers=64MB")) as supervisor:
            cluster.make_database("dmed")
            yield supervisor, cluster.url("dmed_owner")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record() -> Write:
    bucket, vid = bucket_of("x"), new_vid()
    return Write(
        kind="create", type="Observation", id=new_id(bucket), bucket=bucket, vid=vid,
        updated=updated_of(vid), body=b'{"n":%d}' % vid, patients=("p1",),
        index=Index(tokens=[(1, "", "a"), (2, "", "b")], references=[(3, "Patient", "p1", "")]))


async def writer(db: Database, acknowledged: list[Write], attempted: list[Write],
                 stop: asyncio.Event) -> None:
    while not stop.is_set():
        pair = [record(), record()]
        attempted += pair
        try:
            if len(attempted) % 4:
                async with unit.unit(db, SCOPE) as work:
                    await work.write_many(AUDIT, pair)
                acknowledged += pair
            else:
                for one in pair:
                    await write.write(db, SCOPE, AUDIT, one)
                    acknowledged.append(one)
        except (UnavailableError, ConflictError):
            await asyncio.sleep(0.05)


async def test_kills_of_the_server_lose_nothing(durable: tuple[Supervisor, str]) -> None:
    """SIGKILL while eight writers write: acknowledged is there, all is whole."""
    supervisor, url = durable
    await schema.migrate(url)
    db = await Database.open(url, Settings(pool_size=WRITERS))
    acknowledged: list[Write] = []
    attempted: list[Write] = []
    stop = asyncio.Event()
    writers = [asyncio.create_task(writer(db, acknowledged, attempted, stop))
               for _ in range(WRITERS)]
    for _ in range(KILLS):
        before = len(acknowledged)
        while len(acknowledged) < before + 50:
            await asyncio.sleep(0.02)
        os.kill(supervisor.pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
    before = len(acknowledged)
    while len(acknowledged) < before + 50:
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*writers)
    counts = {}
    for table, each in (("resource", 1), ("token", 2), ("reference", 1), ("compartment", 1),
                        ("feed", 1), ("audit", 1)):
        found = await db.hot.fetch(
            f"SELECT vid, count(*) AS n FROM {table} WHERE vid IS NOT NULL GROUP BY vid")
        counts[table] = {row["vid"]: row["n"] // each for row in found}
    rows = await db.hot.fetch("SELECT vid, body FROM resource")
    bodies = {row["vid"]: row["body"] for row in rows}
    await db.close()

    assert supervisor.restarts >= KILLS
    assert all(bodies.get(one.vid) == one.body for one in acknowledged)
    assert all(each == counts["resource"] for each in counts.values())
    assert set(bodies) <= {one.vid for one in attempted}
