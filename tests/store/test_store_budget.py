"""Hourly budgets: counted in memory, shared among workers, told in a sentence, audited."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from dmed.kit.errors import ThrottledError
from dmed.kit.settings import Settings
from dmed.store import audit as audits
from dmed.store import budget, schema, upkeep
from dmed.store.model import AuditRow
from dmed.store.pool import Database


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    opened = await Database.open(module_database_url, Settings(pool_size=2, rows_per_hour=10))
    yield opened
    await opened.close()


def asked(subject: str, role: str = "doctor") -> AuditRow:
    return AuditRow(request=f"r-{subject}", action="E", subject=subject, role=role)


async def test_who_was_given_enough_waits_for_the_hour(db: Database) -> None:
    """Ten people are given, the next search is 429 with the time to wait, and has its row."""
    for at in range(10):
        await audits.disclose(db, asked("curious"), [f"p{at}"])
    with pytest.raises(ThrottledError, match="10 records were given to curious") as refused:
        await audits.disclose(db, asked("curious"), ["x"])
    await audits.disclose(db, asked("other"), ["x"])
    rows = await db.hot.fetch(
        "SELECT outcome, patient FROM audit_told WHERE request = 'r-curious' AND outcome = 429")

    assert 0 < int(refused.value.headers["Retry-After"]) <= 3600
    assert [row["patient"] for row in rows] == [None]


async def test_systems_have_a_budget_of_their_own(db: Database) -> None:
    """What is much for a person is little for a system that answers for many."""
    for at in range(30):
        await audits.disclose(db, asked("clinic", "service"), [f"p{at}"])


async def test_workers_share_what_they_counted(db: Database) -> None:
    """Six rows here and six there are twelve: both workers refuse after they shared."""
    here, there = budget.Budget(db), budget.Budget(db)
    for one in (here, there):
        one.spend("shared", 6, 10)
        await one.share()
    with pytest.raises(ThrottledError):
        there.spend("shared", 1, 10)
    here.spend("shared", 1, 10)
    await here.share()
    with pytest.raises(ThrottledError):
        here.spend("shared", 1, 10)


async def test_no_limit_counts_nothing(db: Database) -> None:
    """With a limit of 0 nobody is refused and no row of the budget is made."""
    one = budget.Budget(db)
    for _ in range(100):
        one.spend("free", 1_000_000, 0)
    await one.share()

    assert not await db.hot.fetchval("SELECT count(*) FROM row_budget WHERE subject = 'free'")


async def test_old_hours_are_tidied(db: Database) -> None:
    """Rows of days ago go with the upkeep."""
    await db.hot.execute("INSERT INTO row_budget VALUES ('old', 1, 5)")
    await upkeep.tidy(db)

    assert not await db.hot.fetchval("SELECT count(*) FROM row_budget WHERE subject = 'old'")


def test_the_limits_are_settings() -> None:
    """People and systems have each their own, and both can be switched off."""
    settings = msgspec.structs.replace(Settings(), rows_per_hour=0, rows_per_hour_system=0)

    assert Settings().rows_per_hour < Settings().rows_per_hour_system
    assert (settings.rows_per_hour, settings.rows_per_hour_system) == (0, 0)
