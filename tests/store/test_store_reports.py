"""Row-level security: SQL access sees by row what its Scope would see, and nothing without."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from searching import ask, ids, person, put

from dmed.apps.postgres import Cluster
from dmed.kit.settings import Settings
from dmed.store import care
from dmed.store.model import Relation, Scope
from dmed.store.pool import Database
from dmed.store.reports import REPORT_ROLE, admit, open_reports
from dmed.store.schema import migrate

ME = ("Organization/mine",)
GUARDED = frozenset({"Observation"})
READER = Scope("reporter", principals=ME, guarded=GUARDED,
               types=frozenset({"Patient", "Observation"}))  # fmt: skip  # One scope.
LATER = datetime(2999, 1, 1, tzinfo=UTC)


class Wall(msgspec.Struct):
    """A database with the wall up: its application, its owner and one who reports."""

    app: Database
    owner: Any
    reporter: Any


def _observation(id_: str, patient: str) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final",
            "code": {"text": "x"}, "subject": {"reference": f"Patient/{patient}"}}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wall(cluster: Cluster, module_database_url: str) -> AsyncIterator[Wall]:
    """Three people of whom one is in care; the application works under the wall."""
    url, word = module_database_url, secrets.token_hex(8)
    login = f"reporter_{secrets.token_hex(4)}"
    cluster.sql(f"DO $$ BEGIN CREATE ROLE {REPORT_ROLE} NOLOGIN; "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    cluster.sql(f"CREATE ROLE {login} LOGIN PASSWORD '{word}' IN ROLE {REPORT_ROLE}")
    await migrate(url)
    for _ in range(2):  # It may be opened again.
        await open_reports(url)
    database = url.partition("@/")[2].partition("?")[0]
    app = await Database.open(cluster.url("dmed_app", database), Settings(pool_size=4))
    owner = await asyncpg.connect(url)
    head = f"postgresql://{login}:{word}@/"
    reporter = await asyncpg.connect(head + url.partition("@/")[2])
    for number in range(3):
        await put(app, person(number))
        await put(app, _observation(f"o{number}", f"p{number:03}"))
    relation = Relation("p001", ME[0], "attached", LATER)
    async with app.connection() as connection:
        await care.grant(connection, READER, relation)
    await admit(owner, msgspec.structs.replace(READER), login)
    yield Wall(app, owner, reporter)
    await reporter.close()
    await owner.close()
    await app.close()
    cluster.sql(f"DROP OWNED BY {login}", database)
    cluster.sql(f"DROP ROLE {login}")


async def test_a_report_sees_what_its_scope_would_see(wall: Wall) -> None:
    """The rows of the role are those of a search with the same Scope."""
    rows = await wall.reporter.fetch("SELECT id FROM resource ORDER BY id")
    searched = [*ids(await ask(wall.app, "Patient", READER)),
                *ids(await ask(wall.app, "Observation", READER))]  # fmt: skip  # A list.

    assert [row["id"] for row in rows] == sorted(searched) == ["o1", "p000", "p001", "p002"]


async def test_no_setting_and_no_statement_widens_it(wall: Wall) -> None:
    """The role writes nothing, reads no index, no care, and cannot turn the wall off."""
    for statement in (
        "UPDATE resource SET labels = 0", "DELETE FROM resource", "SELECT * FROM token",
        "SELECT * FROM care", "SELECT * FROM report_reader", "SET ROLE dmed_owner",
        "UPDATE report_reader SET guarded = '{}'",
        "ALTER TABLE resource DISABLE ROW LEVEL SECURITY",
    ):
        with pytest.raises(asyncpg.PostgresError):
            await wall.reporter.execute(statement)
    await wall.reporter.execute("SET row_security = on")
    assert await wall.reporter.fetchval("SELECT count(*) FROM resource") == 4
    await wall.reporter.execute("SET row_security = off")
    with pytest.raises(asyncpg.PostgresError):
        await wall.reporter.fetchval("SELECT count(*) FROM resource")
    await wall.reporter.execute("RESET row_security")


async def test_labels_refusals_and_strangers(wall: Wall) -> None:
    """A label closes a row; who is in the role but not admitted sees nothing at all."""
    count = "SELECT count(*) FROM resource WHERE id = 'o1'"
    await wall.owner.execute("UPDATE resource SET labels = 1 WHERE id = 'o1'")
    assert await wall.reporter.fetchval(count) == 0
    await wall.owner.execute("UPDATE resource SET labels = 0 WHERE id = 'o1'")
    assert await wall.reporter.fetchval(count) == 1
    await wall.owner.execute("UPDATE report_reader SET login = login || 'x'")
    assert await wall.reporter.fetchval("SELECT count(*) FROM resource") == 0
    await wall.owner.execute("UPDATE report_reader SET login = left(login, -1)")
