"""A real database with the tables of store and trust."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys
from dmed.trust.tables import DDL


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def settings(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a migrated database of this file's own."""
    await migrate(module_database_url, list(DDL))
    return Settings(
        data=tmp_path_factory.mktemp("trust"), database_url=module_database_url, pool_size=4,
        # Most tests of the door are about what comes after the second factor of staff.
        second_factor_roles="administrator",
    )  # fmt: skip  # One installation.


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The open store."""
    opened = await Database.open(settings.database_url, settings)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def identity(database: Database, settings: Settings) -> Identity:
    """Accounts with the demo users."""
    made = Identity(database.hot, settings, load_keys(settings.data))
    await made.save_demo()
    return made
