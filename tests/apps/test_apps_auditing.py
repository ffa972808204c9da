"""Tampering as superuser on a sealed audit: each kind is found and named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from dmed.apps import auditing
from dmed.apps.database import Addresses
from dmed.apps.postgres import Cluster
from dmed.kit.errors import ConflictError, InvalidError
from dmed.kit.settings import Settings
from dmed.store import audit as audits
from dmed.store import audit_retire, schema, seal, seal_check
from dmed.store.model import AuditRow
from dmed.store.pool import Database
from dmed.store.seal_check import Result
from dmed.trust import audit_key, audit_roots, audit_seal

Tamper = Callable[[Any], Any]


async def ended(db: Database) -> None:
    """Waits until no transaction is open that is older than a row: the server's own, mostly."""
    while not await db.hot.fetchval(
            "SELECT max(xid) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM audit"):
        await asyncio.sleep(0.05)


class Installation:
    """A database with five sealed seconds, its keys, and a folder outside for roots."""

    def __init__(self, url: str, folder: Path, cluster: Cluster) -> None:
        self.url, self.cluster = url, cluster
        self.outside = folder / "outside"
        self.settings = Settings(
            data=folder / "data", database_url=url, audit_lodge=str(self.outside),
            audit_lodge_minutes=0, pool_size=2)
        self.addresses = Addresses(url, url)

    async def fill(self, db: Database) -> None:
        key = audit_key.load_audit_key(self.settings.data)
        for second in range(5):
            for number in range(4):
                await audits.note(db, [AuditRow(
                    request=f"s{second}-{number}", action="R", subject="doctor", role="doctor",
                    type="Patient", id=f"p-{number}", patient=f"p-{number}")])
            await ended(db)
            await audit_seal.turn(db, self.settings, key)

    async def verified(self, **more: Any) -> Result:
        return await auditing.verified(self.settings, self.addresses, **more)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sealed(
    cluster: Cluster, module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    await schema.migrate(module_database_url)
    here = Installation(module_database_url, tmp_path_factory.mktemp("audit"), cluster)
    db = await Database.open(here.url, here.settings)
    await here.fill(db)
    await db.close()
    yield here


async def tampered(here: Installation, change: Tamper, **more: Any) -> Result:
    """What is found after a change that is undone again: as the database's owner may do it."""
    connection = await asyncpg.connect(here.url)
    saved = [await connection.fetch(f"SELECT * FROM {table}") for table in TABLES]
    try:
        await change(connection)
        return await here.verified(**more)
    finally:
        for table, rows in zip(TABLES, saved, strict=True):
            await connection.execute(f"TRUNCATE {table}")
            if rows:
                await connection.copy_records_to_table(
                    table, records=[tuple(row) for row in rows], columns=list(rows[0].keys()))
        await connection.close()


TABLES = ("audit", "audit_seal", "audit_root")
MADE_ANEW = f"digest = {seal_check._DIGEST}"  # The formula is said once.


def kinds(result: Result) -> set[str]:
    return {fault.kind for fault in result.faults}


async def test_an_untouched_audit_has_no_fault(sealed: Installation) -> None:
    """Twenty rows, five seals, nothing to say; the roots outside agree."""
    result = await sealed.verified(roots=(sealed.outside,))

    assert (result.rows, result.seals, result.unsealed, result.faults) == (20, 5, 0, [])
    assert len(list(sealed.outside.glob("root-*.json"))) == 5


async def test_an_edited_row_is_found_and_named(sealed: Installation) -> None:
    """Another outcome: the row no longer gives its own digest."""
    async def edit(connection: Any) -> None:
        await connection.execute("UPDATE audit SET outcome = 403 WHERE request = 's1-2'")

    result = await tampered(sealed, edit)

    assert [(fault.kind, fault.seal) for fault in result.faults] == [("edited", 2)]
    assert "request s1-2, by doctor" in result.faults[0].said


async def test_an_edit_with_its_digest_made_anew_is_found(sealed: Installation) -> None:
    """The row fits itself, but not its seal: the old one is gone, the new one was put in."""
    async def edit(connection: Any) -> None:
        await connection.execute("UPDATE audit SET outcome = 403 WHERE request = 's1-2'")
        await connection.execute(f"UPDATE audit SET {MADE_ANEW} WHERE request = 's1-2'")

    result = await tampered(sealed, edit)

    assert {(fault.kind, fault.seal) for fault in result.faults} == {("removed", 2), ("added", 2)}
    assert any("request s1-2" in fault.said for fault in result.faults)


async def test_a_removed_row_is_found_in_its_second(sealed: Installation) -> None:
    """Its place among the rows of its seal is named."""
    async def remove(connection: Any) -> None:
        await connection.execute("DELETE FROM audit WHERE request = 's3-0'")

    result = await tampered(sealed, remove)

    assert [(fault.kind, fault.seal) for fault in result.faults] == [("removed", 4)]
    assert "of 4" in result.faults[0].said


async def test_reordered_rows_are_found(sealed: Installation) -> None:
    """Two rows of different seconds changed places, digests untouched: both moves are named."""
    async def reorder(connection: Any) -> None:
        await connection.execute(
            "UPDATE audit a SET xid = b.xid FROM audit b WHERE (a.request, b.request) IN "
            "(('s0-1', 's4-1'), ('s4-1', 's0-1'))")

    result = await tampered(sealed, reorder)

    assert {(fault.kind, fault.seal) for fault in result.faults} == {
        ("reordered", 1), ("reordered", 5)}
    assert any("moved from here to seal 5" in fault.said for fault in result.faults)


async def test_rows_reordered_within_a_second_are_found(sealed: Installation) -> None:
    """The order of transactions is part of the seal."""
    async def reorder(connection: Any) -> None:
        await connection.execute(
            "UPDATE audit a SET xid = b.xid FROM audit b WHERE (a.request, b.request) IN "
            "(('s0-1', 's0-2'), ('s0-2', 's0-1'))")

    result = await tampered(sealed, reorder)

    assert [(fault.kind, fault.seal) for fault in result.faults] == [("reordered", 1)]


async def test_a_cut_end_is_found_by_the_roots(sealed: Installation) -> None:
    """Rows and seals of the last two seconds are gone, and the roots in the database: the root
    beside the data tells it, and so do the roots lodged outside alone.
    """
    async def cut(connection: Any) -> None:
        await connection.execute("DELETE FROM audit WHERE request ~ '^s[34]'")
        await connection.execute("DELETE FROM audit_seal WHERE number > 3")
        await connection.execute("DELETE FROM audit_root WHERE seal > 3")

    beside = audit_roots.beside(sealed.settings.data)
    result = await tampered(sealed, cut)
    kept = beside.read_bytes()
    beside.unlink()
    try:
        unseen = await tampered(sealed, cut)
        outside = await tampered(sealed, cut, roots=(sealed.outside,))
    finally:
        beside.write_bytes(kept)

    assert kinds(result) == {"truncated"}
    assert unseen.faults == []
    assert {(fault.kind, fault.seal) for fault in outside.faults} == {
        ("truncated", 4), ("truncated", 5)}


async def test_a_cut_middle_is_found(sealed: Installation) -> None:
    """A second that went with its seal leaves a gap in the numbers."""
    async def cut(connection: Any) -> None:
        await connection.execute("DELETE FROM audit WHERE request ~ '^s2'")
        await connection.execute("DELETE FROM audit_seal WHERE number = 3")

    assert ("truncated", 4) in {(fault.kind, fault.seal)
                                for fault in (await tampered(sealed, cut)).faults}


async def test_a_row_put_in_again_is_found(sealed: Installation) -> None:
    """A copy of a sealed row, and a new row in a sealed second."""
    async def put_in(connection: Any) -> None:
        await connection.execute("INSERT INTO audit SELECT * FROM audit WHERE request = 's0-0'")
        await connection.execute(
            "INSERT INTO audit SELECT * FROM audit WHERE request = 's2-3' LIMIT 1")
        await connection.execute(f"""UPDATE audit SET request = 'forged', {MADE_ANEW.replace(
            'request', "'forged'")} WHERE ctid = (SELECT max(ctid) FROM audit)""")

    result = await tampered(sealed, put_in)

    assert {(fault.kind, fault.seal) for fault in result.faults} == {("added", 1), ("added", 3)}
    assert any("request forged" in fault.said for fault in result.faults)


async def test_a_replaced_seal_is_found(sealed: Installation) -> None:
    """Changed rows with a seal made to fit them: the platform's key did not sign it."""
    async def replace(connection: Any) -> None:
        await connection.execute("DELETE FROM audit WHERE request = 's4-3'")
        rows = await connection.fetch(
            "SELECT digest FROM audit WHERE request ~ '^s4' ORDER BY xid, digest")
        digests = [row["digest"] for row in rows]
        one = seal.seal_of(await connection.fetchrow(
            f"{seal.SELECT_SQL} WHERE number = 5"))
        new = msgspec.structs.replace(
            one, rows=3, leaves=b"".join(each[:4] for each in digests),
            root=seal.merkle_root(digests))
        await connection.execute(
            "UPDATE audit_seal SET rows = 3, leaves = $1, root = $2, hash = $3 WHERE number = 5",
            new.leaves, new.root, seal.hash_of(new))

    result = await tampered(sealed, replace)

    assert {(fault.kind, fault.seal) for fault in result.faults} == {("seal", 5)}
    assert any("key did not sign" in fault.said for fault in result.faults)


async def test_an_edited_seal_is_found(sealed: Installation) -> None:
    """A seal whose content does not give its hash."""
    async def edit(connection: Any) -> None:
        await connection.execute("UPDATE audit_seal SET made = made + interval '1 s' "
                                 "WHERE number = 2")

    assert ("seal", 2) in {(fault.kind, fault.seal)
                           for fault in (await tampered(sealed, edit)).faults}


async def test_another_key_verifies_nothing(sealed: Installation, tmp_path: Path) -> None:
    """With the public key of another installation every seal is foreign; with its own none is."""
    own, foreign = tmp_path / "own.pem", tmp_path / "foreign.pem"
    own.write_bytes(audit_key.load_audit_key(sealed.settings.data).public_pem())
    foreign.write_bytes(audit_key.load_audit_key(tmp_path).public_pem())

    assert (await sealed.verified(key=own)).faults == []
    assert kinds(await sealed.verified(key=foreign)) == {"seal"}


async def test_a_forged_root_is_refused(sealed: Installation) -> None:
    """A root with another hash is not signed."""
    root = min(sealed.outside.glob("*.json")).read_bytes()
    checks = dict(audit_key.checks(sealed.settings.data))
    forged = root.replace(b'"hash":"', b'"hash":"00')

    assert audit_roots.read(root, checks).seal == 1
    with pytest.raises(InvalidError, match="not signed"):
        audit_roots.read(forged, checks)


async def test_since_looks_only_at_later_rows(sealed: Installation) -> None:
    """From tomorrow on there is nothing to verify but the chain."""
    result = await sealed.verified(since=f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}")

    assert (result.rows, result.seals, result.faults) == (0, 5, [])


async def test_a_retired_month_leaves_a_chain_that_verifies(
    database_url: str, cluster: Cluster, tmp_path: Path
) -> None:
    """A sealed month of before goes to a file and is dropped; a changed one is not dropped."""
    await schema.migrate(database_url)
    here = Installation(database_url, tmp_path, cluster)
    db = await Database.open(here.url, here.settings)
    await db.hot.execute("CREATE TABLE audit_202601 PARTITION OF audit "
                         "FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')")
    old = datetime(2026, 1, 5, tzinfo=UTC)
    await audits.actor_number(db, AuditRow(request="", action="R", subject="d", role="doctor"))
    await db.hot.execute(
        audits.INSERT_SQL.replace("now() AS at", "$12::timestamptz AS at"), *audits.columns(
            [AuditRow(request="old", action="R", subject="d", role="doctor")] * 3, [1] * 3), old)
    await here.fill(db)
    await db.close()
    key = audit_key.load_audit_key(here.settings.data)
    connection = await asyncpg.connect(database_url)
    try:
        done = await audit_retire.retire(connection, tmp_path / "kept", 2, key.sign, key.number)
    finally:
        await connection.close()
    result = await here.verified()

    assert [(one.month, one.rows) for one in done] == [(date(2026, 1, 1), 3)]
    assert done[0].file.exists()
    assert (result.rows, result.retired, result.faults) == (20, 1, [])


async def test_a_month_that_is_not_as_sealed_is_not_dropped(
    database_url: str, cluster: Cluster, tmp_path: Path
) -> None:
    """A row is missing: the month stays where it is."""
    await schema.migrate(database_url)
    here = Installation(database_url, tmp_path, cluster)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE audit_202601 PARTITION OF audit "
                                 "FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')")
        await connection.execute(
            audits.INSERT_SQL.replace("now() AS at", "$12::timestamptz AS at"), *audits.columns(
                [AuditRow(request="old", action="R", subject="d", role="doctor")], [1]),
            datetime(2026, 1, 5, tzinfo=UTC))
        key = audit_key.load_audit_key(here.settings.data)
        with pytest.raises(ConflictError, match="not those of its seals"):
            await audit_retire.retire(connection, tmp_path / "kept", 2, key.sign, key.number)
        assert await connection.fetchval("SELECT count(*) FROM audit_202601") == 1
    finally:
        await connection.close()
