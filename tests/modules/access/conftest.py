"""One platform a file with the demo accounts, under an address of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest_asyncio
from access_browser import PUBLIC_URL

from dmed.apps.web import Platform


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """The application of one worker with the demo accounts and no records."""
    made = await open_platform(public_url=PUBLIC_URL, second_factor_roles="registrar")
    await made.guard.identity.save_demo()
    return made
