"""What a store needs from time to time: months ahead, and old locks and answers removed."""

from __future__ import annotations

from datetime import timedelta

from dmed.store.pool import Database

KEPT = timedelta(days=1)
"""How long criteria locks and answers of idempotency keys are of use."""
_ROWS_MAX = 10_000


async def tidy(db: Database, *, months: int = 3) -> int:
    """Makes the partitions of the coming months and removes what is older than KEPT.

    At most 10,000 rows of each kind at a time, so that no transaction is long; returns how many
    went. Safe to call from several workers at once.
    """
    async with db.connection() as connection:
        await connection.execute("SELECT make_months($1)", months)
        gone = 0
        for table in ("criteria_lock", "idempotency"):
            tag: str = await connection.execute(
                f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} "
                "WHERE at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED))",
                KEPT, _ROWS_MAX)
            gone += int(tag.split()[1])
        await connection.execute(
            "DELETE FROM row_budget WHERE hour < extract(epoch FROM now())::bigint / 3600 - 48")
    return gone
