"""The minute's work is done once, whoever asks, and a failing job does not stop the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dmed.apps.database import Addresses, prepare
from dmed.apps.worker import run_once
from dmed.kit.errors import ConflictError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.gateway import Gateway
from dmed.trust.manifest import Manifest


async def test_one_worker_has_the_minute_and_every_job_runs(
        database_url: str, tmp_path: Path) -> None:
    """Of two workers one runs the jobs, all of them, and the lock is free for the next minute."""
    await prepare(Addresses(database_url, database_url))
    settings = Settings(database_url=database_url, data=tmp_path, pool_size=4)
    database = await Database.open(database_url, settings)
    ran: list[str] = []
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def failing(_: Gateway) -> None:
        begun.set()
        await go_on.wait()
        raise ConflictError("not today")

    async def sound(_: Gateway) -> None:
        ran.append("sound")

    module = Manifest(name="test", titles={}, jobs=(("failing", failing), ("sound", sound)))
    gateway = Gateway(database, settings)
    first = asyncio.create_task(run_once(database, gateway, [module]))
    await begun.wait()
    second = await run_once(database, gateway, [module])
    go_on.set()

    assert (await first, second, ran) == (True, False, ["sound"])
    assert await run_once(database, gateway, [module])

    await database.close()
