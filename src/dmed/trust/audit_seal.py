"""The sealer at work in every worker; a lock lets one of them seal at a time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import asyncpg

from dmed.kit import clock
from dmed.kit.errors import DmedError
from dmed.kit.settings import Settings
from dmed.store import seal as sealing
from dmed.store.pool import Database
from dmed.trust import audit_roots
from dmed.trust.audit_key import AuditKey

_log = logging.getLogger("dmed.audit")


async def follow(database: Database, settings: Settings, key: AuditKey) -> None:
    """Seals each second's rows for ever, and lodges a root when one is due."""
    while True:
        await asyncio.sleep(sealing.SEAL_SECONDS)
        try:
            await turn(database, settings, key)
        except (DmedError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The database may be restarting; the next second seals what this one left.
            _log.warning("the audit was not sealed now: %s", error)


async def turn(database: Database, settings: Settings, key: AuditKey) -> list[sealing.Seal]:
    """Seals what can be sealed now, and lodges the hourly root; the seals that were made."""
    made = await sealing.seal_all(database, key.sign, key.number)
    if made:
        root = audit_roots.document(made[-1], key, clock.now())
        await asyncio.to_thread(audit_roots.keep_beside, settings.data, root)
        await _lodge(database, settings, key)
    return made


async def _lodge(database: Database, settings: Settings, key: AuditKey) -> None:
    due = await sealing.roots_due(database, every=timedelta(minutes=settings.audit_lodge_minutes))
    if due is None:
        return
    now = clock.now()
    root = audit_roots.document(due, key, now)
    faults = await audit_roots.lodge_all(
        audit_roots.places(settings), f"root-{due.number:012d}.json", root)
    for fault in faults:
        _log.error("seal %s: %s", due.number, fault)
    if not faults:
        await sealing.note_root(database, due, root.decode(), now)
