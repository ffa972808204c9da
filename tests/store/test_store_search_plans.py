"""Searches read little, whether a value is absent, rare, frequent or everywhere.

Pages of the database that a search touches are counted, not time: the machine does not matter.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dmed.fhir.index import parameter_number
from dmed.fhir.params import modified_numbers
from dmed.fhir.query import parse
from dmed.kit.settings import Settings
from dmed.store import schema, search, search_stage
from dmed.store.keys import system_number, type_number
from dmed.store.model import Scope
from dmed.store.pool import Database

RECORDS, PEOPLE = 12_000, 240
DAY = 86_400_000_000
SCOPE, SETTINGS = Scope("doctor"), Settings(pool_size=2)


def number(code: str) -> int:
    return parameter_number("Observation", code)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    """12,000 Observations of 240 patients, one after another in time."""
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    row = f"FROM generate_series(1, {RECORDS}) i"
    vid, bucket, person = "i::bigint << 21", "(i % 4096)::smallint", f"'p' || (i % {PEOPLE})"
    code = "CASE WHEN i % 2 = 0 THEN 'half' WHEN i % 3001 = 1 THEN 'rare' ELSE 'c' || i % 50 END"
    (said,) = modified_numbers("Observation", "code", "text")
    type_, patient = type_number("Observation"), type_number("Patient")
    async with database.connection() as connection:
        for table, columns in {
            "resource": f"{bucket}, {type_}, {vid}, 'o' || i, {person}, NULL, '{{}}'",
            "reference": f"{vid}, {number('patient')}, {patient}, {bucket}, {person}, NULL",
            "token": f"{vid}, {system_number('urn:s')}, {number('code')}, {bucket}, {code}",
            "token ": f"{vid}, 0, {number('status')}, {bucket}, 'final'",
            "string": f"{vid}, {said}, {bucket}, {code}, NULL, NULL",
            "date": f"{vid}, i * {DAY}, i * {DAY} + 1, {number('date')}, {bucket}, false",
            "quantity": f"{vid}, i - 0.5, i + 0.5, 0, {number('value-quantity')}, {bucket}, 'mg'",
            # Of another parameter, and large: statistics of the column know no parameters.
            "quantity ": f"{vid}, 1e6 + i, 1e6 + i, 0, {number('component-value-quantity')}, "
                         f"{bucket}, 'mg'",
        }.items():
            await connection.execute(f"INSERT INTO {table} SELECT {columns} {row}")
        await connection.execute("VACUUM ANALYZE")
    yield database
    await database.close()


class Counting:
    """A connection that adds up the database pages that its statements touch."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.pages, self.statements = connection, 0, 0

    async def _count(self, sql: str, *args: Any) -> None:
        plan = await self.connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}", *args)
        top = json.loads(plan)[0]["Plan"]
        self.pages += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        self.statements += 1

    async def fetch(self, sql: str, *args: Any) -> Any:
        await self._count(sql, *args)
        return await self.connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        await self._count(sql, *args)
        return await self.connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        await self._count(sql, *args)
        return await self.connection.fetchval(sql, *args)


async def touched(db: Database, criteria: str) -> Counting:
    pairs = [tuple(pair.split("=", 1)) for pair in criteria.split("&") if pair]
    query = parse("Observation", pairs, settings=SETTINGS, strict=True)  # type: ignore[arg-type]  # Pairs.
    async with db.searching() as connection:
        counting = Counting(connection)
        await search.find(counting, SCOPE, query)
    return counting


NONE, FEW, SOME = 60, 800, 9_000
"""A whole look at the records with a probe each touches over 40,000 pages, at one parameter's part
of an index 200.
"""
LIMITS = {
    "patient=Patient/p7": FEW,
    "patient=Patient/p7&code=half": FEW,
    "patient=Patient/p7&code=none&date=ge1970": FEW,
    "code=none": FEW, "code=rare": FEW, "code=half": FEW, "status=final": FEW,
    "code=rare,half": FEW, "code=urn:s|half": FEW, "code=none,rare": FEW,
    "date=lt1970-01-20": FEW, "date=gt2200": FEW, "date=1970-03-03": FEW,
    "date=ge1970": SOME, "date=gt1990": SOME,
    "value-quantity=gt11990": FEW, "value-quantity=gt99999": NONE, "value-quantity=50||mg": FEW,
    "value-quantity=gt20000": NONE, "value-quantity=lt-1": NONE,
    "value-quantity=gt6000": SOME, "value-quantity=lt99999": SOME,
    "status=final&code=rare": FEW, "status=final&code=none": FEW,
    "code=half&date=lt1970-01-20": FEW, "status=final&code=half": SOME,
    "_sort=date": SOME, "_sort=-date": SOME, "status=final&_sort=-date": SOME,
    "code=rare&_sort=date": FEW, "": FEW,
    "code:text=none": FEW, "code:text=rare": FEW, "code:text=half": SOME, "code:text=c": SOME,
    "code:code-text=RARE": FEW, "code:code-text=none": FEW, "code:code-text=half": SOME,
    "status:in=ValueSet/observation-status": SOME, "status:below=final&code=rare": FEW,
    "code:text=rare&status=final": FEW,
}  # fmt: skip  # A table.


@pytest.mark.parametrize("criteria", LIMITS)
async def test_a_search_touches_few_pages(
    db: Database, criteria: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request stays within its limit of pages, and within three statements."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", 1_500)
    counting = await touched(db, criteria)

    assert counting.pages <= LIMITS[criteria]
    assert counting.statements <= (1 if "patient=" in criteria else 4)
