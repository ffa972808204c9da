"""One platform a file with the demo accounts, under an address of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from access_browser import PUBLIC_URL

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.store.schema import migrate
from dmed.trust.tables import DDL


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    """The application of one worker with the demo accounts and no records."""
    settings = Settings(
        data=tmp_path_factory.mktemp("access"), database_url=module_database_url, pool_size=4,
        public_url=PUBLIC_URL, second_factor_roles="registrar",
    )  # fmt: skip  # One struct.
    await migrate(module_database_url, [*DDL, *(line for module in MODULES for line in module.ddl)])
    made = Platform(settings)
    await made.open()
    await made.guard.identity.save_demo()
    yield made
    await made.close()
