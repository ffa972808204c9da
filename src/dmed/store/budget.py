"""How much of the record one subject is given in an hour: counted here, shared among workers.

The unit is the audit's: a request, and each person beyond the first that it discloses. A worker
counts in its memory; every few seconds what it counted is added to the hour's row, which tells it
what the others counted. So a subject may pass the limit by what it is given in those seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from dmed.kit.errors import DmedError, ThrottledError

if TYPE_CHECKING:
    from dmed.store.pool import Database

SHARE_SECONDS = 5.0
_HOUR_SECONDS = 3_600
_log = logging.getLogger("dmed.audit")

DDL = """
CREATE TABLE row_budget (
    subject text COLLATE "C" NOT NULL,
    hour    bigint NOT NULL,
    rows    bigint NOT NULL,
    PRIMARY KEY (subject, hour)
);
"""

_SHARE = """
INSERT INTO row_budget AS b (subject, hour, rows)
SELECT s.subject, $3, s.rows FROM unnest($1::text[], $2::bigint[]) AS s(subject, rows)
ON CONFLICT (subject, hour) DO UPDATE SET rows = b.rows + excluded.rows
RETURNING subject, rows
"""


class Budget:
    """What subjects were given in the present hour, as far as this worker knows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._hour = 0
        self._total: dict[str, int] = {}
        self._new: dict[str, int] = {}
        self._shared = 0.0
        self._task: asyncio.Task[None] | None = None

    def spend(self, subject: str, rows: int, most: int) -> None:
        """Counts rows that are about to be given; ThrottledError where `most` was reached.

        `most` 0 is no limit: then nothing is counted.
        """
        if not most:
            return
        now = time.time()
        hour = int(now) // _HOUR_SECONDS
        if hour != self._hour:
            self._hour, self._total, self._new = hour, {}, {}
        total = self._total.get(subject, 0)
        if total >= most:
            pause = _HOUR_SECONDS - int(now) % _HOUR_SECONDS
            raise ThrottledError(
                f"{most:,} records were given to {subject} in this hour, which is the limit: the "
                f"next hour begins in {pause // 60 + 1} minutes. Reading in bulk is done by an "
                "approved request (dmed export)", headers={"Retry-After": str(pause)})
        self._total[subject] = total + rows
        self._new[subject] = self._new.get(subject, 0) + rows
        if now - self._shared > SHARE_SECONDS and self._task is None:
            self._shared = now
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.share()
        except DmedError as error:
            _log.warning("row budgets were not shared now: %s", error)
        finally:
            self._task = None

    async def share(self) -> None:
        """Adds what was counted here to the hour's rows, and learns what others counted."""
        new, self._new = self._new, {}
        if not new:
            return
        hour = self._hour
        names = sorted(new)  # One order for all workers: they queue, not deadlock.
        async with self._db.connection() as connection:
            rows = await connection.fetch(_SHARE, names, [new[name] for name in names], hour)
        if hour == self._hour:
            for row in rows:
                more = self._new.get(row["subject"], 0)
                self._total[row["subject"]] = row["rows"] + more


def of(db: Database) -> Budget:
    """The budget of this worker."""
    found: Budget | None = db.kept.get("budget")
    if found is None:
        found = db.kept["budget"] = Budget(db)
    return found
