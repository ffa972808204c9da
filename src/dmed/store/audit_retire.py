"""Months of the audit that need not be kept any longer: exported, then dropped as a whole.

Their seals stay, so the chain is verified over the gap; what the export was is signed in
`audit_retired` and the file can be compared with it for ever.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from dmed.kit.errors import ConflictError

_PREFETCH = 5_000
_ROWS = """
SELECT t.at, t.xid, t.vid, t.actor, t.bucket, t.type, t.outcome, t.action::text AS action,
       encode(t.digest, 'hex') AS digest, t.request, t.id, t.patient, t.query, t.detail,
       a.subject, a.role, a.organisation, a.purpose
FROM audit_told t LEFT JOIN audit_actor a ON a.number = t.actor
WHERE t.at >= $1 AND t.at < $2 ORDER BY t.xid, t.digest
"""
_UNSEALED = """
SELECT (SELECT count(*) FROM audit WHERE at >= $1 AND at < $2)
     - (SELECT coalesce(sum(rows), 0) FROM audit_seal WHERE month = $3)
"""


class Retired(msgspec.Struct, frozen=True):
    """One month that was dropped, and where its rows are now."""

    month: date
    rows: int
    file: Path


async def retire(
    connection: Any, folder: Path, keep: int, sign: Callable[[bytes], bytes], key: str
) -> list[Retired]:
    """Exports and drops the months before the last `keep` (the present one counts as the first).

    The connection is the owner's. ConflictError where a month's rows and its seals differ in
    number: it is verified first. A file that is there already is never overwritten.
    """
    oldest = _kept_from(keep)
    names = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
        "WHERE inhparent = 'audit'::regclass ORDER BY 1")
    done = []
    for row in names:
        text = row["name"].rpartition("_")[2]
        if not (text.isdecimal() and len(text) == 6):
            continue
        month = date(int(text[:4]), int(text[4:]), 1)
        if month < oldest:
            done.append(await _one(connection, month, row["name"], folder, sign, key))
    return done


def _kept_from(keep: int) -> date:
    month = datetime.now(UTC).date().replace(day=1)
    for _ in range(keep - 1):
        month = (month - timedelta(days=1)).replace(day=1)
    return month


async def _one(
    connection: Any, month: date, table: str, folder: Path, sign: Callable[[bytes], bytes],
    key: str,
) -> Retired:
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    after = (first + timedelta(days=32)).replace(day=1)
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # A command of its own loop.
    path = folder / f"audit-{month:%Y-%m}.ndjson.gz"
    async with connection.transaction(isolation="repeatable_read"):
        if await connection.fetchval(_UNSEALED, first, after, month):
            raise ConflictError(
                f"the rows of {month:%Y-%m} are not those of its seals: verify the audit first")
        rows, digest = await _export(connection, first, after, path)
        now = datetime.now(UTC)
        signed = f"dmed audit retired {month:%Y-%m} {rows} {digest.hex()} {now.isoformat()}"
        await connection.execute(
            "INSERT INTO audit_retired (month, rows, digest, made, token) "
            "VALUES ($1, $2, $3, $4, $5)",
            month, rows, digest, now, f"{key} {sign(signed.encode()).hex()}")
        await connection.execute(f"DROP TABLE {table}")
    return Retired(month, rows, path)


async def _export(
    connection: Any, first: datetime, after: datetime, path: Path
) -> tuple[int, bytes]:
    """One row a line; the number of rows and the SHA-256 of the file, which is on disk then."""
    draft = path.with_name(f".{path.name}.partial")
    rows = 0
    with draft.open("wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
            async for row in connection.cursor(_ROWS, first, after, prefetch=_PREFETCH):
                told = {name: value for name, value in row.items() if value is not None}
                file.write(msgspec.json.encode(told) + b"\n")
                rows += 1
        raw.flush()
        os.fsync(raw.fileno())
    try:
        os.link(draft, path)
    except FileExistsError as fault:
        raise ConflictError(f"{path} is there already: nothing was dropped") from fault
    finally:
        draft.unlink()
    with path.open("rb") as file_:
        return rows, hashlib.file_digest(file_, "sha256").digest()
