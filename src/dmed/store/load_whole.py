"""All of these records or none, however many: what belongs together is seen together.

`load` commits in chunks; a guide that is half its old version and half its new one would refuse
sound records, so its definitions come and go in one transaction on the owner's connection, which
has no limit of time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from dmed.kit.errors import ConflictError
from dmed.store import audit as audits
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.pool import Database, told
from dmed.store.write import STATEMENT_WRITES_MAX, arguments, audit_rows, check, settle_buckets


@asynccontextmanager
async def alone(url: str, lock: int) -> AsyncIterator[Any]:
    """A connection to the database at `url` that holds an advisory lock for the block; who asks
    for the same lock waits. UnavailableError when the database is away.
    """
    with told():
        connection: Any = await asyncpg.connect(url)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", lock)
            yield connection
        finally:
            await connection.close()


async def write_whole(
    connection: Any, db: Database, scope: Scope, audit: AuditRow, writes: Sequence[Write],
    also: Callable[[Any], Awaitable[None]],
) -> None:
    """Writes all records with what belongs to them, and what `also` adds, in one transaction.

    Each record at most once. ConflictError where another changed one of them meanwhile; then
    nothing is stored.
    """
    check(scope, writes)
    actor = await audits.actor_number(db, audit)
    ordered = sorted(writes, key=lambda one: (one.type, one.id))
    async with connection.transaction():
        for start in range(0, len(ordered), STATEMENT_WRITES_MAX):
            part = ordered[start : start + STATEMENT_WRITES_MAX]
            await settle_buckets(connection, part, {})
            rows = [row for one in part for row in audit_rows(audit, one)]
            statement, values = arguments(part, rows, [actor] * len(rows))
            done = await connection.fetch(statement, *values)
            if any(row["kind"] is None for row in done):
                raise ConflictError("a definition was changed while the guide was installed")
        await also(connection)
