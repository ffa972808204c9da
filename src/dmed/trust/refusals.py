"""Refusals by rate in the audit: one row a party and minute, however many there were.

Each single refusal must cost nothing, since it answers a flood; but who knocks a thousand times a
minute has to be found afterwards (OWASP ASVS 5, 16.3.3).
"""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from dmed.kit.errors import DmedError
from dmed.store import audit as store_audit
from dmed.store.model import AuditRow
from dmed.store.pool import Database
from dmed.trust.limits import OTHERS, Limits

EVERY_SECONDS = 60
_log = logging.getLogger("dmed.refusals")


def rows_of(told: dict[str, int]) -> list[AuditRow]:
    """The audit rows of refusals by party ("user x", "page x", "address x", the rest). Pure."""
    made = []
    for party, count in sorted(told.items()):
        kind, _, name = party.partition(" ")
        is_person = kind in {"user", "page"}
        if party == OTHERS:
            where = "further parties"
        else:
            where = "a token" if kind == "user" else "pages" if is_person else f"address {name}"
        made.append(AuditRow(
            request="rates", action="E", subject=name if is_person else "-", role="", purpose="",
            outcome=429, detail=f"refused by rate: {count} within a minute by {where}"[:200]))
    return made


async def write(database: Database, limits: Limits) -> int:
    """Puts down what was refused since the last time; how many rows."""
    rows = rows_of(limits.told())
    for row in rows:
        # Rows of one call are of one actor.
        await store_audit.note(database, [row])
    return len(rows)


async def follow(database: Database, limits: Limits) -> None:
    """Writes once a minute, for ever."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await write(database, limits)
        except (DmedError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The database may be restarting: the figures of /metrics still count these.
            _log.warning("refusals of this minute are not in the audit: %s", error)
