"""Writes hold their promises under races, and leave nothing half stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pytest
import pytest_asyncio

from dmed.fhir.index import Index, parameter_number
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    GoneError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from dmed.kit.ids import bucket_of, new_id, new_vid
from dmed.kit.settings import Settings
from dmed.store import read, schema, unit, write
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")
PINFL = "https://dhp.uz/fhir/core/sid/pid/uz/ni"


def audit(action: str = "C", request: str = "r1") -> AuditRow:
    return AuditRow(request=request, action=action, subject="doctor", role="doctor")


def patient(id_: str = "", **more: object) -> Write:
    """A Patient with rows in every index table."""
    bucket = bucket_of(id_ or "p")
    vid = new_vid()
    id_ = id_ or new_id(bucket)
    number = parameter_number
    index = Index(
        strings=[(number("Patient", "family"), "karimov", "Karimov")],
        tokens=[(number("Patient", "gender"), "http://hl7.org/fhir/administrative-gender", "male")],
        dates=[(number("Patient", "birthdate"), 0, 86_399_999_999)],
        numbers=[(1, Decimal("1.5"), Decimal("2.5"))],
        quantities=[(2, Decimal("1.5"), Decimal("2.5"), "http://unitsofmeasure.org", "mg")],
        references=[(number("Patient", "organization"), "Organization", "o1", "")],
        uris=[(3, "http://example.org/x")],
        composites=[(4, "a|b$c", None, None)],
    )
    values: dict[str, object] = {
        "kind": "update", "type": "Patient", "id": id_, "bucket": bucket, "vid": vid,
        "updated": updated_of(vid), "body": b'{"resourceType":"Patient"}', "index": index,
        "patients": (id_,),
    }
    return Write(**(values | more))  # type: ignore[arg-type]  # Fields by name.


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(any_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(any_database_url)
    database = await Database.open(any_database_url, Settings(pool_size=16))
    yield database
    await database.close()


async def rows_of(db: Database, vid: int) -> dict[str, int]:
    counts = {}
    for table in (*schema.INDEX_TABLES, "resource", "resource_version", "compartment", "feed",
                  "audit"):
        counts[table] = await db.hot.fetchval(f"SELECT count(*) FROM {table} WHERE vid = $1", vid)
    return counts


async def test_a_write_leaves_all_that_belongs_to_it(db: Database) -> None:
    """One create: body, a row in each index table, compartment, feed and audit."""
    one = patient()
    written = await write.write(db, SCOPE, audit(), one)
    counts = await rows_of(db, one.vid)
    back = await read.read(db, SCOPE, audit("R"), "Patient", one.id)

    assert written.created
    assert counts == dict.fromkeys(counts, 1) | {"resource_version": 0}
    assert (back.vid, back.body, back.updated) == (one.vid, one.body, one.updated)


async def test_an_update_replaces_every_index_row(db: Database) -> None:
    """After an update only the new version is indexed; the old one is in the history."""
    one = patient()
    await write.write(db, SCOPE, audit(), one)
    two = patient(one.id, bucket=one.bucket, expected_vid=one.vid)
    written = await write.write(db, SCOPE, audit("U"), two)
    old, new = await rows_of(db, one.vid), await rows_of(db, two.vid)

    assert not written.created
    assert {table for table in old if old[table]} == {"resource_version", "feed", "audit"}
    assert new == dict.fromkeys(new, 1) | {"resource_version": 0}


async def test_a_delete_keeps_history_and_releases_the_rest(db: Database) -> None:
    """A deleted record is gone, its identity free, its last version still readable."""
    identity = ((PINFL, "30101800010017"),)
    one = patient(kind="create", identities=identity)
    await write.write(db, SCOPE, audit(), one)
    gone = patient(one.id, bucket=one.bucket, kind="delete", body=b"")
    await write.write(db, SCOPE, audit("D"), gone)

    with pytest.raises(GoneError):
        await read.read(db, SCOPE, audit("R"), "Patient", one.id)
    with pytest.raises(GoneError):
        await read.vread(db, SCOPE, audit("R"), "Patient", one.id, gone.vid)
    with pytest.raises(GoneError):
        await write.write(db, SCOPE, audit("D"),
                          patient(one.id, bucket=one.bucket, kind="delete", body=b""))
    back = await read.vread(db, SCOPE, audit("R"), "Patient", one.id, one.vid)
    assert back.body == one.body
    other = patient(kind="create", identities=identity)
    assert (await write.write(db, SCOPE, audit(), other)).created


async def test_compare_and_set_lets_one_of_64_win(db: Database) -> None:
    """64 writers expect the same version: one writes, 63 get a precondition error."""
    one = patient()
    await write.write(db, SCOPE, audit(), one)
    answers = await asyncio.gather(*(
        write.write(db, SCOPE, audit("U"), patient(one.id, bucket=one.bucket, expected_vid=one.vid))
        for _ in range(64)), return_exceptions=True)

    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(failures) == 63
    assert {type(failure) for failure in failures} == {PreconditionError}


async def test_unconditional_writers_queue_and_lose_nothing(db: Database) -> None:
    """64 writers without a condition all succeed, and the history has every version."""
    one = patient()
    await write.write(db, SCOPE, audit(), one)
    await asyncio.gather(*(
        write.write(db, SCOPE, audit("U"), patient(one.id, bucket=one.bucket)) for _ in range(64)))
    kept = await db.hot.fetchval(
        "SELECT count(*) FROM resource_version WHERE id = $1 AND bucket = $2", one.id, one.bucket)
    tokens = await db.hot.fetchval(
        "SELECT count(*) FROM token t JOIN (SELECT vid FROM resource WHERE id = $1 UNION ALL "
        "SELECT vid FROM resource_version WHERE id = $1) v USING (vid)", one.id)

    assert kept == 64
    assert tokens == 1


async def test_64_creates_of_one_client_id_make_one_record(db: Database) -> None:
    """PUT to a new id by 64 clients with different buckets: one bucket, one record, no error."""
    answers = await asyncio.gather(*(
        write.write(db, SCOPE, audit(), patient("chosen-1", bucket=at, client_id=True))
        for at in range(64)))
    count = await db.hot.fetchval("SELECT count(*) FROM resource WHERE id = 'chosen-1'")

    assert count == 1
    assert sum(answer.created for answer in answers) == 1


async def test_identity_claim_lets_one_of_64_creates_win(db: Database) -> None:
    """64 parallel creates with one official identifier: one record; the rest name its holder."""
    many = [patient(kind="create", identities=((PINFL, "30101800010025"),)) for _ in range(64)]
    answers = await asyncio.gather(*(write.write(db, SCOPE, audit(), one) for one in many),
                                   return_exceptions=True)

    winners = [answer for answer in answers if not isinstance(answer, BaseException)]
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(winners) == 1
    assert {type(failure) for failure in failures} == {ConflictError}
    assert all(f"Patient/{winners[0].id}" in str(failure) for failure in failures)
    for one in many:
        counts = await rows_of(db, one.vid)
        assert set(counts.values()) - {0} == ({1} if one.id == winners[0].id else set())


async def test_an_update_moves_claims(db: Database) -> None:
    """Claims follow the record: what an update no longer carries is free again."""
    first, second = (PINFL, "a1"), (PINFL, "a2")
    one = patient(kind="create", identities=(first,))
    await write.write(db, SCOPE, audit(), one)
    await write.write(db, SCOPE, audit("U"),
                      patient(one.id, bucket=one.bucket, identities=(second,)))
    assert (await write.write(db, SCOPE, audit(), patient(kind="create", identities=(first,)))
            ).created
    with pytest.raises(ConflictError):
        await write.write(db, SCOPE, audit(), patient(kind="create", identities=(second,)))


async def test_a_transaction_swaps_identities(db: Database) -> None:
    """Within one unit an identity passes from a deleted record to a new one."""
    identity = ((PINFL, "b1"),)
    one = patient(kind="create", identities=identity)
    await write.write(db, SCOPE, audit(), one)
    async with unit.unit(db, SCOPE) as work:
        done = await work.write_many(audit(), [
            patient(kind="create", identities=identity),
            patient(one.id, bucket=one.bucket, kind="delete", body=b"")])

    assert [written.created for written in done] == [True, False]


async def test_a_unit_is_all_or_nothing(db: Database) -> None:
    """A later failure in a unit leaves no trace of its earlier writes, 300 of them."""
    many = [patient(kind="create") for _ in range(300)]

    async def failing() -> None:
        async with unit.unit(db, SCOPE) as work:
            await work.write_many(audit(), many)
            await work.write(audit(), patient("never-1", expected_vid=5, client_id=True))

    with pytest.raises(PreconditionError):
        await failing()
    counts = [await db.hot.fetchval(
        f"SELECT count(*) FROM {table} WHERE vid = ANY ($1)", [one.vid for one in many])
        for table in ("resource", "token", "feed", "audit", "compartment")]
    claims = await db.hot.fetchval("SELECT count(*) FROM id_claim WHERE id = 'never-1'")

    assert counts == [0] * 5
    assert claims == 0


async def test_a_large_unit_writes_each_record(db: Database) -> None:
    """700 creates and updates in one unit come back in the order they were given."""
    many = [patient(kind="create") for _ in range(350)]
    async with unit.unit(db, SCOPE) as work:
        await work.write_many(audit(), many)
    both = [patient(one.id, bucket=one.bucket) for one in many]
    both += [patient(kind="create") for _ in range(350)]
    async with unit.unit(db, SCOPE) as work:
        done = await work.write_many(audit(), both)

    assert [written.id for written in done] == [one.id for one in both]
    assert [written.created for written in done] == [False] * 350 + [True] * 350


async def test_a_unit_reads_what_it_wrote_and_locks(db: Database) -> None:
    """A unit sees its own writes; a locked read makes another writer wait for its end."""
    one = patient(kind="create")
    async with unit.unit(db, SCOPE) as work:
        assert await work.read(audit("R"), "Patient", one.id) is None
        await work.write(audit(), one)
        assert await work.read(audit("R"), "Patient", one.id) is not None
    async with unit.unit(db, SCOPE) as work:
        seen = await work.read(audit("R"), "Patient", one.id, lock=True)
        assert seen is not None
        other = asyncio.create_task(
            write.write(db, SCOPE, audit("U"), patient(one.id, bucket=one.bucket)))
        await asyncio.sleep(0.1)
        assert not other.done()
        await work.write(audit("U"), patient(one.id, bucket=one.bucket, expected_vid=seen.vid))
    assert not (await other).created


async def test_64_conditional_creates_find_each_other(db: Database) -> None:
    """Under one criteria lock 64 'create unless there' make one record."""

    async def create() -> bool:
        async with unit.unit(db, SCOPE) as work:
            await work.lock_criteria("Patient?identifier=c1")
            found = await work.fetchval(
                "SELECT count(*) FROM token WHERE param = 77 AND code = 'c1'")
            if found:
                return False
            await work.write(audit(), patient(kind="create", index=Index(tokens=[(77, "", "c1")])))
            return True

    assert sum(await asyncio.gather(*(create() for _ in range(64)))) == 1


async def test_a_killed_connection_leaves_nothing(db: Database) -> None:
    """The server ends the connection in mid-transaction: an error, and nothing is stored."""
    one = patient(kind="create")

    async def killed() -> None:
        async with unit.unit(db, SCOPE) as work:
            await work.write(audit(), one)
            await db.wide.execute(
                "SELECT pg_terminate_backend($1)", await work.fetchval("SELECT pg_backend_pid()"))
            await asyncio.sleep(0.05)
            await work.write(audit(), patient(kind="create"))

    with pytest.raises(DmedError) as caught:
        await killed()

    assert caught.value.status == 503
    assert set((await rows_of(db, one.vid)).values()) == {0}
    with pytest.raises(NotFoundError):
        await read.read(db, SCOPE, audit("R"), "Patient", one.id)


async def test_the_pool_survives_the_loss_of_every_connection(
    db: Database, any_database_url: str
) -> None:
    """After all connections were ended, the next reads and writes work again."""
    one = patient(kind="create")
    await write.write(db, SCOPE, audit(), one)
    killer = await asyncpg.connect(any_database_url)
    await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                         "WHERE datname = current_database() AND pid <> pg_backend_pid()")
    await killer.close()
    await asyncio.sleep(0.05)

    assert (await read.read(db, SCOPE, audit("R"), "Patient", one.id)).vid == one.vid
    assert (await write.write(db, SCOPE, audit(), patient(kind="create"))).created


async def test_a_unit_that_takes_too_long_stores_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction beyond the documented limit is a 503, and none of it is stored."""
    monkeypatch.setattr(unit, "WRITE_SECONDS_MAX", 0.05)
    one = patient(kind="create")

    async def slow() -> None:
        async with unit.unit(db, SCOPE) as work:
            await work.write(audit(), one)
            await asyncio.sleep(0.1)

    with pytest.raises(UnavailableError):
        await slow()
    assert set((await rows_of(db, one.vid)).values()) == {0}


async def test_creates_of_one_moment_share_a_statement_but_not_a_fate(db: Database) -> None:
    """Of creates that arrive together each is stored with its own rows; a bad one fails alone."""
    sound = [patient(kind="create") for _ in range(40)]
    taken = patient(kind="create")
    await write.write(db, SCOPE, audit(), taken)
    again = patient(kind="create")
    again.id, again.bucket = taken.id, taken.bucket
    unstorable = patient(kind="create")
    unstorable.index.strings.append((1, "a\x00b", "a\x00b"))

    answers = await asyncio.gather(
        *(write.write(db, SCOPE, audit(), one) for one in [*sound[:20], again, unstorable,
                                                            *sound[20:]]),
        return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {type(answer) for answer in refused} == {PreconditionError, InvalidError}
    for one in sound:
        rows = await rows_of(db, one.vid)
        assert rows == await rows_of(db, taken.vid), one.id
    assert await db.hot.fetchval("SELECT count(*) FROM audit WHERE vid = ANY($1)",
                                 [one.vid for one in sound]) == len(sound)
    assert set((await rows_of(db, unstorable.vid)).values()) == {0}
