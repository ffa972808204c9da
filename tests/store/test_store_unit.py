"""A unit sends many writes in parts: all of them hold or none, and the time it gets is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from dmed.fhir.index import Index, parameter_number
from dmed.kit.errors import ConflictError, PreconditionError
from dmed.kit.ids import bucket_of, new_id, new_vid
from dmed.kit.settings import Settings
from dmed.store import read, schema, unit, write
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import WRITE_SECONDS_MAX, Database

SCOPE = Scope("doctor")
AUDIT = AuditRow(request="r", action="C", subject="doctor", role="doctor")
MANY = write.STATEMENT_WRITES_MAX * 3 + 7
PINFL = "https://dhp.uz/fhir/core/sid/pid/uz/ni"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(any_database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    await schema.migrate(any_database_url)
    database = await Database.open(any_database_url, Settings(pool_size=4))
    yield database
    await database.close()


def slots(count: int) -> list[Write]:
    """New records with one index row each."""
    made = []
    for _ in range(count):
        vid, id_ = new_vid(), new_id(bucket_of("unit"))
        index = Index(tokens=[(parameter_number("Slot", "status"), "", "free")])
        made.append(Write(
            kind="create", type="Slot", id=id_, bucket=bucket_of("unit"), vid=vid,
            updated=updated_of(vid), body=b'{"resourceType":"Slot"}', index=index,
        ))  # fmt: skip
    return made


async def count(db: Database) -> int:
    """How many records there are."""
    return int(await db.hot.fetchval("SELECT count(*) FROM resource"))


async def test_all_parts_are_stored_and_told_in_the_order_asked(db: Database) -> None:
    """More writes than one statement takes come back in their order, each with its version."""
    writes = slots(MANY)
    async with unit.unit(db, SCOPE) as work:
        done = await work.write_many(AUDIT, writes)
    assert [one.vid for one in done] == [one.vid for one in writes]
    assert all(one.created for one in done)
    assert (await read.read(db, SCOPE, AUDIT, "Slot", writes[-1].id)).vid == writes[-1].vid


@pytest.mark.parametrize("is_locked", [False, True])
async def test_several_are_read_as_one_by_one(db: Database, is_locked: bool) -> None:
    """In the order asked, None for what is not there; and each leaves the audit row of a read."""
    asked = AuditRow(request=f"many-{is_locked}", action="R", subject="doctor", role="doctor")
    writes = slots(3)
    names = [("Slot", one.id) for one in reversed(writes)]
    names.insert(1, ("Slot", "nowhere"))
    async with unit.unit(db, SCOPE) as work:
        await work.write_many(AUDIT, writes)
        found = await work.read_many(asked, names, lock=is_locked)
        alone = [await work.read(asked, *name) for name in names]
        assert not await noted(work.connection, asked.request)
    assert found == alone
    assert found[1] is None
    assert sorted(await noted(db.hot, asked.request)) == [200] * 6 + [404] * 2


async def noted(connection: Any, request: str) -> list[int]:
    """The outcomes of the audit rows of a request."""
    return [row["outcome"] for row in await connection.fetch(
        "SELECT outcome FROM audit WHERE request = $1", request)]


async def test_reads_of_a_unit_are_audited_also_where_it_is_undone(db: Database) -> None:
    """What was read may be told in the refusal, so its row stands though nothing else does."""
    asked = AuditRow(request="undone", action="R", subject="doctor", role="doctor")
    one = slots(1)[0]
    async with unit.unit(db, SCOPE) as work:
        await work.write_many(AUDIT, [one])

    async def refused() -> None:
        async with unit.unit(db, SCOPE) as work:
            await work.read_many(asked, [("Slot", one.id)])
            raise ConflictError("not now")

    with pytest.raises(ConflictError):
        await refused()
    assert await noted(db.hot, "undone") == [200]


@pytest.mark.parametrize("at", [0, MANY // 2, MANY - 1])
async def test_one_that_does_not_hold_undoes_all(db: Database, at: int) -> None:
    """Wherever it stands, also while another part is under way, nothing of the rest is stored."""
    before = await count(db)
    writes = slots(MANY)
    writes[at] = slots(1)[0]
    writes[at].kind, writes[at].expected_vid = "update", 1

    async def send() -> None:
        async with unit.unit(db, SCOPE) as work:
            await work.write_many(AUDIT, writes)

    with pytest.raises(PreconditionError):
        await send()
    assert await count(db) == before
    async with unit.unit(db, SCOPE) as work:  # The connection was given back whole.
        await work.write_many(AUDIT, slots(1))


async def test_an_identifier_held_by_another_undoes_all(db: Database) -> None:
    """A duplicate in the last part is a conflict that names its holder."""
    holder = slots(1)[0]
    holder.identities = ((PINFL, "1"),)
    await write.write(db, SCOPE, AUDIT, holder)
    before = await count(db)
    writes = slots(MANY)
    writes[-1].identities = ((PINFL, "1"),)

    async def send() -> None:
        async with unit.unit(db, SCOPE) as work:
            await work.write_many(AUDIT, writes)

    with pytest.raises(ConflictError, match=holder.id):
        await send()
    assert await count(db) == before


async def test_more_time_is_given_to_one_transaction_only(db: Database) -> None:
    """The limit of the server is longer inside, and the usual one again afterwards."""
    asked = "SELECT current_setting('transaction_timeout', true)"
    for seconds, told in ((30, "31s"), (0, f"{WRITE_SECONDS_MAX + 1}s")):
        async with unit.unit(db, SCOPE, seconds_max=seconds) as work:
            found = await work.fetchval(asked)
            version = await work.fetchval("SHOW server_version_num")
        assert found == (told if int(version) >= 170_000 else None)


async def test_units_of_new_actors_do_not_wait_for_each_other(db: Database) -> None:
    """As many units as there are connections, each of somebody who was never audited before: all
    read and write to the end, though none can get a second connection.
    """
    size = db.settings.pool_size
    all_here = asyncio.Barrier(size)

    async def act(number: int) -> None:
        audit = msgspec.structs.replace(AUDIT, subject=f"new-{number}")
        async with unit.unit(db, SCOPE) as work:
            await all_here.wait()
            assert await work.read(audit, "Slot", "absent") is None
            await work.write(audit, slots(1)[0])

    before = await count(db)
    await asyncio.gather(*(act(number) for number in range(size)))
    assert await count(db) == before + size
