"""Migrations make the tables once, whoever calls and however often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest

from dmed.apps.postgres import Cluster
from dmed.kit.settings import Settings
from dmed.store import schema, upkeep
from dmed.store.pool import Database


async def test_migrate_is_repeatable_and_safe_in_parallel(any_database_url: str) -> None:
    """Four callers at once, then a fifth: each migration is applied exactly once."""
    applied = await asyncio.gather(*(schema.migrate(any_database_url) for _ in range(4)))
    own = ["CREATE TABLE IF NOT EXISTS own (a int)"]
    applied.append(await schema.migrate(any_database_url, own))

    assert sorted(number for one in applied for number in one) == [
        number for number, _ in schema.MIGRATIONS
    ]


async def test_months_lie_ahead(any_database_url: str) -> None:
    """Partitions of this month and the next three are there for audit and feed."""
    await schema.migrate(any_database_url)
    connection = await asyncpg.connect(any_database_url)
    try:
        names = await connection.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
            "WHERE inhparent IN ('audit'::regclass, 'feed'::regclass)"
        )
    finally:
        await connection.close()

    assert len(names) == 2 * (1 + 3 + 1)


async def test_the_application_cannot_change_the_audit(cluster: Cluster, database_url: str) -> None:
    """The application's role may add and read audit rows; it may not change or remove any."""
    await schema.migrate(database_url)
    database = urlsplit(database_url).path[1:]
    connection = await asyncpg.connect(cluster.url("dmed_app", database))
    try:
        part = f"audit_{datetime.now(UTC):%Y%m}"
        for statement in (
            "DELETE FROM audit", "UPDATE audit SET outcome = 1", "TRUNCATE audit",
            f"DELETE FROM {part}", f"UPDATE {part} SET outcome = 1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.execute("SELECT make_months(4)")
    finally:
        await connection.close()


async def test_upkeep_removes_only_what_is_old(any_database_url: str) -> None:
    """Of two criteria locks the one of the day before yesterday goes."""
    await schema.migrate(any_database_url)
    db = await Database.open(any_database_url, Settings(pool_size=2))
    try:
        await db.hot.execute(
            "INSERT INTO criteria_lock VALUES ('old', now() - interval '2 days'), ('new', now())")
        gone = await upkeep.tidy(db)
        left = await db.hot.fetch("SELECT criteria FROM criteria_lock")
    finally:
        await db.close()

    assert gone == 1
    assert [row["criteria"] for row in left] == ["new"]
