"""Reads, history, feed and jobs keep their promises, and nothing is answered unaudited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio

from dmed.fhir.index import Index
from dmed.kit.clock import now
from dmed.kit.errors import (
    DmedError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from dmed.kit.ids import bucket_of, new_id, new_vid
from dmed.kit.settings import Settings
from dmed.store import audit as audits
from dmed.store import feed, history, jobs, read, schema, unit, write
from dmed.store.model import AuditRow, Scope, Stored, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")


def audit(action: str = "R", request: str = "r1") -> AuditRow:
    return AuditRow(request=request, action=action, subject="doctor", role="doctor")


def record(type_: str = "Observation", id_: str = "", **more: object) -> Write:
    vid = new_vid()
    bucket = bucket_of(id_ or "x")
    values: dict[str, object] = {
        "kind": "update", "type": type_, "id": id_ or new_id(bucket), "bucket": bucket, "vid": vid,
        "updated": updated_of(vid), "body": b'{"n":%d}' % vid, "index": Index(),
    }
    return Write(**(values | more))  # type: ignore[arg-type]  # Fields by name.


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(any_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(any_database_url)
    database = await Database.open(any_database_url, Settings(pool_size=8))
    yield database
    await database.close()


async def noted(db: Database, request: str) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await db.hot.fetch(
        "SELECT * FROM audit_told WHERE request = $1 ORDER BY patient NULLS FIRST", request)
    return rows


async def test_each_of_500_reads_leaves_one_row(db: Database) -> None:
    """Parallel reads of found and missing records: one audit row each, and which."""
    some = [record(patients=("p1",)) for _ in range(20)]
    for one in some:
        await write.write(db, SCOPE, audit("C"), one)
    answers = await asyncio.gather(*(
        read.read(db, SCOPE, audit("R", "many"), "Observation",
                  some[at % 20].id if at % 5 else f"none-{at}") for at in range(500)),
        return_exceptions=True)
    rows = await noted(db, "many")

    assert sum(isinstance(answer, NotFoundError) for answer in answers) == 100
    assert len(rows) == 500
    assert sum(row["outcome"] == 404 for row in rows) == 100
    assert {row["patient"] for row in rows if row["outcome"] == 200} == {"p1"}


async def test_digests_can_be_made_again_from_the_rows(db: Database) -> None:
    """Reads and writes alike store the digest of exactly the row that lies in the table."""
    one = record(patients=("p1", "p2"))
    await write.write(db, SCOPE, audit("C", "d"), one)
    await read.read(db, SCOPE, audit("R", "d"), "Observation", one.id)
    await audits.note(db, [audit("E", "d")])
    columns = {name: name for name in (
        "at", "vid", "actor", "bucket", "type", "outcome", "action", "request", "id", "patient",
        "query", "detail")}
    wrong = await db.hot.fetchval(
        f"SELECT count(*) FROM audit_told WHERE digest <> {audits.digest_sql(**columns)}")

    assert wrong == 0
    assert len(await noted(db, "d")) == 3 + 2 + 1


async def test_a_read_names_every_person_disclosed(db: Database) -> None:
    """A record of three patients: one row for each of them."""
    one = record(patients=("p1", "p2", "p3"))
    await write.write(db, SCOPE, audit("C"), one)
    await read.read(db, SCOPE, audit("R", "three"), "Observation", one.id)

    assert [row["patient"] for row in await noted(db, "three")] == ["p1", "p2", "p3"]


async def test_nothing_is_answered_when_audit_fails(db: Database) -> None:
    """While audit rows cannot be written every read, vread, history and note fails."""
    one = record()
    await write.write(db, SCOPE, audit("C"), one)
    await db.hot.execute("ALTER TABLE audit ADD CONSTRAINT shut CHECK (outcome = 0) NOT VALID")
    try:
        for act in (
            read.read(db, SCOPE, audit(), "Observation", one.id),
            read.vread(db, SCOPE, audit(), "Observation", one.id, one.vid),
            history.history(db, SCOPE, audit(), "Observation", one.id),
            audits.note(db, [audit()]),
            write.write(db, SCOPE, audit("C"), record()),
        ):
            with pytest.raises((asyncpg.CheckViolationError, DmedError)):
                await act
    finally:
        await db.hot.execute("ALTER TABLE audit DROP CONSTRAINT shut")


async def test_scope_limits_reads_and_history(db: Database) -> None:
    """A scope limited to patients or types sees nothing else; the refusal is noted."""
    one, other = record(patients=("p1",)), record(patients=("p2", "p1"))
    for each in (one, other):
        await write.write(db, SCOPE, audit("C"), each)
    narrow = Scope("p2", patients=("p2",))
    with pytest.raises(NotFoundError):
        await read.read(db, narrow, audit("R", "refused"), "Observation", one.id)
    with pytest.raises(NotFoundError):
        await read.vread(db, narrow, audit(), "Observation", one.id, one.vid)
    with pytest.raises(NotFoundError):
        await history.history(db, narrow, audit(), "Observation", one.id)
    with pytest.raises(ForbiddenError):
        await write.write(db, narrow, audit("U"), record(id_="z", patients=("p1",)))
    with pytest.raises(ForbiddenError):
        await read.read(db, Scope("x", types=frozenset({"Patient"})), audit(), "Observation",
                        one.id)
    page = await history.history(db, narrow, audit(), None, None, count=1000)

    assert (await read.read(db, narrow, audit(), "Observation", other.id)).id == other.id
    assert other.id in {version.id for version in page.versions}
    assert one.id not in {version.id for version in page.versions}
    assert [row["outcome"] for row in await noted(db, "refused")] == [403]


async def test_scope_keeps_a_record_with_its_people(db: Database) -> None:
    """Who may see p2 alone cannot take a record of p1 over by writing p2 into it."""
    one = record(patients=("p1",))
    await write.write(db, SCOPE, audit("C"), one)
    narrow = Scope("p2", patients=("p2",))
    taken = record(id_=one.id, bucket=one.bucket, patients=("p2",))
    with pytest.raises(ForbiddenError):
        await write.write(db, narrow, audit("U"), taken)
    with pytest.raises(ForbiddenError):
        async with unit.unit(db, narrow) as work:
            await work.write(audit("U"), taken)
    own = record(patients=("p2",))

    assert (await write.write(db, narrow, audit("C"), own)).created
    assert (await read.read(db, SCOPE, audit(), "Observation", one.id)).vid == one.vid


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
async def test_an_unstorable_text_is_invalid(db: Database, text: str) -> None:
    """A value that PostgreSQL cannot hold is the caller's fault, and nothing is stored."""
    one = record(index=Index(tokens=[(1, "", text)]))
    with pytest.raises(InvalidError):
        await write.write(db, SCOPE, audit("C"), one)
    with pytest.raises(NotFoundError):
        await read.read(db, SCOPE, audit(), "Observation", one.id)


async def test_instance_history_pages_newest_first(db: Database) -> None:
    """Eleven versions and a delete over pages of five: in order, none twice, with the total."""
    one = record(id_="hist-1", client_id=True)
    writes = [one, *(record(id_="hist-1", client_id=True) for _ in range(10)),
              record(id_="hist-1", client_id=True, kind="delete", body=b"")]
    for each in writes:
        await write.write(db, SCOPE, audit("U"), each)
    seen, cursor, total = [], None, None
    for _ in range(3):
        page = await history.history(db, SCOPE, audit(), "Observation", "hist-1", count=5,
                                     cursor=cursor)
        seen += page.versions
        cursor, total = page.next_cursor, total or page.total
    assert cursor is None
    assert total == 12
    assert [version.vid for version in seen] == [each.vid for each in reversed(writes)]
    assert [version.deleted for version in seen] == [True] + [False] * 11
    for each in writes[:-1]:
        version = await read.vread(db, SCOPE, audit(), "Observation", "hist-1", each.vid)
        assert version.body == each.body


async def test_type_and_system_history_walk_everything_once(db: Database) -> None:
    """Paging through type and system history shows each version once, newest first."""
    since = now() - timedelta(milliseconds=1)
    writes = [record("Flag", f"flag-{at % 7}", client_id=True) for at in range(30)]
    writes += [record("Goal") for _ in range(10)]
    for each in writes:
        await write.write(db, SCOPE, audit("U"), each)
    for type_, expected in (
        ("Flag", [each.vid for each in reversed(writes[:30])]),
        (None, [each.vid for each in reversed(writes)]),
    ):
        vids, cursor = [], None
        while True:
            page = await history.history(db, SCOPE, audit(), type_, None, since=since, count=7,
                                         cursor=cursor)
            vids += [version.vid for version in page.versions]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert vids == expected


async def test_history_audits_each_person(db: Database) -> None:
    """A page about two people: the request's row and one for each of them."""
    since = now() - timedelta(milliseconds=1)
    for person in ("q1", "q2", "q1"):
        await write.write(db, SCOPE, audit("C"), record("Procedure", patients=(person,)))
    await history.history(db, SCOPE, audit("R", "hh"), "Procedure", None, since=since)

    assert [row["patient"] for row in await noted(db, "hh")] == [None, "q1", "q2"]


@pytest.mark.parametrize("cursor", ["", "x", "1.2.3", "-1.0", "1.fffff", "g.1"])
async def test_a_foreign_cursor_is_refused(db: Database, cursor: str) -> None:
    """A page address that this server did not give is an error, never an empty page."""
    with pytest.raises(InvalidError):
        await history.history(db, SCOPE, audit(), "Observation", None, cursor=cursor)


@pytest.mark.parametrize("id_", ["a\x00b", "\udcff", "", "x" * 3000, "'; DROP TABLE audit", "ў"])
async def test_a_hostile_id_fails_alone(db: Database, id_: str) -> None:
    """An id that PostgreSQL could not even take is not found, and its group is answered."""
    one = record()
    await write.write(db, SCOPE, audit("C"), one)
    answers = await asyncio.gather(
        read.read(db, SCOPE, audit("R", "ho\x00stile"), "Observation", id_),
        read.read(db, SCOPE, audit("R"), "Observation", one.id),
        read.vread(db, SCOPE, audit("R"), "Observation", id_, 1),
        return_exceptions=True)

    assert isinstance(answers[0], NotFoundError)
    assert isinstance(answers[1], Stored)
    assert isinstance(answers[2], NotFoundError)


async def test_an_unknown_type_is_refused(db: Database) -> None:
    """A type that R5 does not know is never stored, and never found."""
    with pytest.raises(InvalidError):
        await write.write(db, SCOPE, audit("C"), record("Nonsense"))
    with pytest.raises(NotFoundError):
        await read.read(db, SCOPE, audit("R"), "Nonsense", "1")


async def test_history_of_nothing_is_not_found(db: Database) -> None:
    """A record that never was has no history and no versions."""
    with pytest.raises(NotFoundError):
        await history.history(db, SCOPE, audit(), "Observation", "never-was")
    with pytest.raises(NotFoundError):
        await read.vread(db, SCOPE, audit(), "Observation", "never-was", 5)
    with pytest.raises(NotFoundError):
        await write.write(db, SCOPE, audit("D"),
                          record(id_="never-was", client_id=True, kind="delete", body=b""))


async def test_a_deleted_record_may_come_again(db: Database) -> None:
    """PUT after DELETE makes the record anew, and its history goes on."""
    for kind in ("update", "delete", "update"):
        await write.write(db, SCOPE, audit("U"), record(id_="back-1", client_id=True, kind=kind))
    page = await history.history(db, SCOPE, audit(), "Observation", "back-1")

    assert [version.deleted for version in page.versions] == [False, True, False]
    assert (await read.read(db, SCOPE, audit(), "Observation", "back-1")).vid


async def test_the_feed_shows_each_write_once_and_none_too_early(db: Database) -> None:
    """While an older transaction is open, later changes wait; then all come, in order."""
    at = await feed.end(db)
    one, two, three = record(), record(), record()
    async with unit.unit(db, SCOPE) as work:
        await work.write(audit("C"), one)
        await asyncio.create_task(write.write(db, SCOPE, audit("C"), two))
        assert await asyncio.create_task(feed.changes(db, at)) == []
    await write.write(db, SCOPE, audit("D"),
                      record(id_=two.id, bucket=two.bucket, kind="delete", vid=three.vid))
    seen: list[feed.Change] = []
    while batch := await feed.changes(db, at, limit=1):
        seen += batch
        at = batch[-1].position

    assert {(change.kind, change.vid) for change in seen} == {
        ("C", one.vid), ("C", two.vid), ("D", three.vid)}
    assert seen[-1].kind == "D"


async def test_jobs_are_taken_once_and_come_back(db: Database) -> None:
    """Ten jobs for five takers: each once; a lost lease brings a job back; failures end it."""
    async with unit.unit(db, SCOPE) as work:
        for number in range(10):
            await jobs.enqueue(work, "ten", {"n": number})
    taken = [job for some in await asyncio.gather(
        *(jobs.take(db, ["ten"], limit=2) for _ in range(5))) for job in some]
    first = taken[0]
    await db.hot.execute("UPDATE job SET due = now() WHERE kind = 'ten'")  # All leases pass.
    again = {job.number: job for job in await jobs.take(db, ["ten"], limit=10)}

    assert len({job.number for job in taken}) == len(taken) == 10
    assert again[first.number].attempts == first.attempts + 1
    assert not await jobs.done(db, first)
    assert await jobs.done(db, again[first.number])


async def test_a_job_that_keeps_failing_is_put_aside(db: Database) -> None:
    """After the last attempt the job lies in job_failed with its error."""
    async with unit.unit(db, SCOPE) as work:
        number = await jobs.enqueue(work, "bad", {})
    job = (await jobs.take(db, ["bad"]))[0]
    assert await jobs.retry(db, job, "no")
    await db.hot.execute("UPDATE job SET attempts = $2, due = now() WHERE number = $1",
                         number, jobs.ATTEMPTS_MAX - 1)
    last = (await jobs.take(db, ["bad"]))[0]
    assert not await jobs.retry(db, last, "still no")
    assert await db.hot.fetchval("SELECT error FROM job_failed WHERE number = $1", number)


async def test_a_job_of_a_rolled_back_unit_never_was(db: Database) -> None:
    """What the caller's transaction undoes leaves no job."""
    async def undone() -> None:
        async with unit.unit(db, SCOPE) as work:
            await jobs.enqueue(work, "undone", {})
            raise GoneError("changed my mind")

    with pytest.raises(GoneError):
        await undone()
    assert await jobs.take(db, ["undone"]) == []


async def test_a_wrong_address_is_unavailable() -> None:
    """A database that does not answer is a 503, at once."""
    with pytest.raises(UnavailableError):
        await Database.open("postgresql://nobody@127.0.0.1:1/none", Settings())
