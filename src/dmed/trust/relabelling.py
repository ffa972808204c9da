"""Labels of records of before, whenever the rules of sensitivity have grown: found by the workers.

Each worker looks once a minute whether the work for its own rules is done (store.relabel); one of
them does it, beside the requests and in nobody's way. What it did is an audit row.
"""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from dmed.kit.errors import DmedError
from dmed.store import audit as store_audit
from dmed.store import relabel
from dmed.store.model import AuditRow
from dmed.store.pool import Database
from dmed.trust.policy import sensitivity
from dmed.trust.policy.roles import labelled_types

FIRST_SECONDS = 15
_EVERY_SECONDS = 60
_log = logging.getLogger("dmed.relabel")


async def follow(database: Database) -> None:
    """Relabels what is due, for ever; the first look is when a worker has settled."""
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            await work(database)
        except (DmedError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The database may be restarting; the next round goes on where this one stopped.
            _log.warning("labels of old records were not looked at now: %s", error)
        await asyncio.sleep(_EVERY_SECONDS)


async def work(
    database: Database, *, grace_seconds: float = relabel.GRACE_SECONDS,
    report: relabel.Report | None = None,
) -> bool:
    """Does what is due by the present rules; True where a turn ended, which leaves an audit row."""
    ended = await relabel.work(
        database, sensitivity.RULES, sensitivity.labels_of, sorted(labelled_types()),
        grace_seconds=grace_seconds, report=report)
    if ended:
        told = await relabel.progress(database, sensitivity.RULES)
        assert told is not None, "a turn that ended has its row"
        await store_audit.note(database, [AuditRow(
            request="relabel", action="E", subject="-", role="", purpose="", outcome=200,
            detail=(f"labels of old records by rules {told.rules}: {told.seen} versions seen, "
                    f"{told.changed} labelled"))])
    return ended


async def begin_anew(database: Database) -> None:
    """All records are looked through again, from the first: for rows that came by another way."""
    await relabel.begin_anew(database, sensitivity.RULES)
