"""The newest rows of the audit are found without reading all that one hour left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
import pytest_asyncio

from dmed.kit import clock
from dmed.kit.settings import Settings
from dmed.store import audit_read, schema
from dmed.store.audit_read import Asked
from dmed.store.pool import Database

ROWS = 60_000
"""Evenly over the last fifty minutes; every thousandth by a guest."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, Settings(pool_size=2))
    async with database.connection() as connection:
        for who in ("doctor", "guest"):
            await connection.execute(
                "INSERT INTO audit_actor (subject, role, organisation, purpose) "
                "VALUES ($1, 'doctor', 'o', 'TREAT')", who)
        await connection.execute(
            "INSERT INTO audit (at, actor, bucket, type, outcome, action, digest, request) "
            "SELECT now() - ($1 - i) * interval '50 ms', a.number, 0, 0, 200, 'R', "
            "sha256(i::text::bytea), 'r' || i FROM generate_series(1, $1) i JOIN audit_actor a "
            "ON a.subject = CASE WHEN i % 1000 = 0 THEN 'guest' ELSE 'doctor' END "
            "ORDER BY i", ROWS)
        await connection.execute("VACUUM ANALYZE audit")
    yield database
    await database.close()


class Reading:
    """A database whose statements' rows are counted as they are read from the audit."""

    def __init__(self, db: Database) -> None:
        self._db, self.rows, self.statements = db, 0, 0

    @asynccontextmanager
    async def searching(self) -> AsyncIterator[Any]:
        async with self._db.searching() as connection:
            self._connection = connection
            yield self

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._connection.fetchval(sql, *args)

    async def fetch(self, sql: str, *args: Any) -> Any:
        plan = await self._connection.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", *args)
        self.rows += _read(json.loads(plan)[0]["Plan"])
        self.statements += 1
        return await self._connection.fetch(sql, *args)


def _read(node: dict[str, Any]) -> int:
    """Rows that the scans of the audit below a node looked at."""
    own, name = 0, node.get("Relation Name", "")
    if name.startswith("audit") and name != "audit_actor":
        own = int(node["Actual Loops"] * (
            node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            + node.get("Rows Removed by Index Recheck", 0)))
    return own + sum(map(_read, node.get("Plans", ())))


@pytest.mark.parametrize(
    ("asked", "found", "most"),
    [(Asked(count=21), 21, 8_000), (Asked(count=21, subjects=("guest",)), 21, 90_000),
     (Asked(count=21, subjects=("nobody",)), 0, 200_000)],
)  # fmt: skip  # A table of cases.
async def test_the_newest_rows_are_near(db: Database, asked: Asked, found: int, most: int) -> None:
    """A page of a busy hour reads its last moments, not the hour; what is rare is found all the
    same, newest first.
    """
    reading = Reading(db)

    rows = await audit_read.rows(cast("Database", reading), asked)

    assert len(rows) == found
    assert [row.at for row in rows] == sorted((row.at for row in rows), reverse=True)
    assert found <= reading.rows < most


async def test_each_window_goes_on_where_the_last_was_too_small(db: Database) -> None:
    """Whatever the number of rows asked for, they are the newest ones, and none is missing."""
    newest = 0
    for count in (1, 40, 41, 700):
        rows = await audit_read.rows(db, Asked(count=count))
        numbers = [int(row.request[1:]) for row in rows]
        newest = newest or numbers[0]
        assert numbers == list(range(newest, newest - count, -1))
    until = clock.now() - timedelta(minutes=20)
    rows = await audit_read.rows(db, Asked(count=300, until=until))
    numbers = [int(row.request[1:]) for row in rows]
    assert numbers == list(range(numbers[0], numbers[0] - 300, -1))
    assert rows[0].at < until
    assert until - rows[0].at < timedelta(seconds=1)
