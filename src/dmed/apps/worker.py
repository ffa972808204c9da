"""Work that comes with time: each minute the modules' jobs, in one worker of the installation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import asyncpg

from dmed.kit.errors import DmedError
from dmed.store import upkeep
from dmed.store.pool import Database
from dmed.trust import upkeep as trust_upkeep
from dmed.trust.gateway import Gateway
from dmed.trust.manifest import Manifest

_EVERY_SECONDS = 60
_TIMEKEEPER_LOCK = 7_305_516_208_331_002
_log = logging.getLogger("dmed.worker")


async def keep_time(database: Database, gateway: Gateway, manifests: Sequence[Manifest]) -> None:
    """Runs every module's jobs once a minute, for ever; a lock chooses one worker each time."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        try:
            await run_once(database, gateway, manifests)
        except (DmedError, OSError, asyncpg.PostgresError) as error:
            # The database may be restarting; the next minute tries again.
            _log.warning("jobs of this minute did not run: %s", error)


async def run_once(database: Database, gateway: Gateway, manifests: Sequence[Manifest]) -> bool:
    """Runs the jobs now; False when another worker has this minute."""
    async with database.hot.apart() as connection:
        # A lock of the session: the jobs' own transactions come and go meanwhile.
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _TIMEKEEPER_LOCK):
            return False
        try:
            await upkeep.tidy(database)
            await trust_upkeep.tidy(database.hot)
            for manifest in manifests:
                for name, job in manifest.jobs:
                    try:
                        await job(gateway)
                    except DmedError as error:
                        _log.warning("job %s of %s: %s", name, manifest.name, error)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _TIMEKEEPER_LOCK)
    return True
