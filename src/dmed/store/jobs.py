"""Work to do later: put down in the caller's transaction, taken by any worker, done at least once.

A taken job is hidden for `lease_seconds`; a worker that dies loses nothing, since the job comes
back when its lease has passed. After ATTEMPTS_MAX failures it goes to `job_failed` and stays there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from dmed.store.pool import Database
from dmed.store.unit import Unit

ATTEMPTS_MAX = 10
TAKE_MAX = 100
_PAUSE_SECONDS = 2
_PAUSE_SECONDS_MAX = 3_600
_ERROR_CHARACTERS_MAX = 2_000

_TAKE = """
WITH next AS (
    SELECT number FROM job WHERE due <= now() AND kind = ANY ($1::text[])
    ORDER BY due, number LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE job SET due = now() + $3::interval, attempts = attempts + 1
FROM next WHERE job.number = next.number
RETURNING job.number, job.kind, job.payload, job.attempts
"""
_RETRY = """
UPDATE job SET due = now() + $2::interval, error = $3 WHERE number = $1 AND attempts = $4
"""
_GIVE_UP = """
WITH gone AS (DELETE FROM job WHERE number = $1 AND attempts = $2 RETURNING *)
INSERT INTO job_failed (number, kind, payload, due, attempts, error)
SELECT number, kind, payload, due, attempts, $3 FROM gone
"""


class Job(msgspec.Struct, frozen=True):
    """A job as a worker takes it; `payload` is JSON of the kind's own shape."""

    number: int
    kind: str
    payload: bytes
    attempts: int


async def enqueue(
    unit: Unit, kind: str, payload: object, *, after: timedelta = timedelta()
) -> int:
    """Puts a job down in the caller's transaction; its number. It can be taken after the commit."""
    number: int = await unit.fetchval(
        "INSERT INTO job (kind, payload, due) VALUES ($1, $2, now() + $3::interval) "
        "RETURNING number", kind, msgspec.json.encode(payload), after)
    return number


async def take(
    db: Database, kinds: list[str], *, limit: int = 1, lease_seconds: int = 60
) -> list[Job]:
    """Takes jobs that are due, the oldest first, for `lease_seconds`; none is given to two."""
    async with db.connection() as connection:
        rows: list[Any] = await connection.fetch(
            _TAKE, kinds, max(1, min(limit, TAKE_MAX)), timedelta(seconds=lease_seconds))
    return [Job(*row) for row in sorted(rows, key=lambda row: row["number"])]


async def done(db: Database, job: Job) -> bool:
    """The job is finished and goes; False if its lease had passed and another took it."""
    async with db.connection() as connection:
        tag = await connection.execute(
            "DELETE FROM job WHERE number = $1 AND attempts = $2", job.number, job.attempts)
    return bool(tag == "DELETE 1")


async def retry(db: Database, job: Job, error: str) -> bool:
    """The job failed: it comes again after a pause that doubles; False when it was given up."""
    words = error[:_ERROR_CHARACTERS_MAX]
    async with db.connection() as connection:
        if job.attempts >= ATTEMPTS_MAX:
            await connection.execute(_GIVE_UP, job.number, job.attempts, words)
            return False
        pause = min(_PAUSE_SECONDS * 2 ** (job.attempts - 1), _PAUSE_SECONDS_MAX)
        await connection.execute(
            _RETRY, job.number, timedelta(seconds=pause), words, job.attempts)
    return True
