"""Answers kept for retries, under the client's idempotency key, in the act's own transaction.

After https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import msgspec

from dmed.kit.errors import ConflictError, UnprocessableError
from dmed.trust.tables import Connection

KEPT_HOURS = 24
_PENDING = 0


class Kept(msgspec.Struct, frozen=True):
    """An answer: status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes


async def recall(connection: Connection, user: str, key: str, digest: bytes) -> Kept | None:
    """The answer kept for a key, or None when the key is claimed for this act now.

    Another request with the same key waits here until the first one has ended. Raises
    UnprocessableError for another request under the same key, ConflictError while the outcome of
    the first is not known.
    """
    await connection.execute(
        "delete from idempotency where subject = $1 and key = $2"
        " and at < now() - make_interval(hours => $3)",
        user,
        key,
        KEPT_HOURS,
    )
    claimed = await connection.fetchval(
        "insert into idempotency (key, subject, digest, status, headers, body)"
        " values ($1, $2, $3, 0, '{}', '') on conflict do nothing returning true",
        key,
        user,
        digest,
    )
    if claimed:
        return None
    row = await connection.fetchrow(
        "select digest, status, headers, body from idempotency where subject = $1 and key = $2",
        user,
        key,
    )
    if row is None:
        raise ConflictError("The first request under this Idempotency-Key was undone: try again")
    if row["digest"] != digest:
        raise UnprocessableError("This Idempotency-Key was used for another request")
    if row["status"] == _PENDING:
        raise ConflictError("The first request under this Idempotency-Key has not ended")
    headers = msgspec.json.decode(row["headers"], type=dict[str, str])
    return Kept(row["status"], headers, row["body"])


async def remember(connection: Connection, user: str, key: str, kept: Kept) -> None:
    """Keep the answer under a key that `recall` has claimed."""
    await connection.execute(
        "update idempotency set status = $3, headers = $4, body = $5"
        " where subject = $1 and key = $2",
        user,
        key,
        kept.status,
        msgspec.json.encode(kept.headers).decode(),
        kept.body,
    )


async def release(connection: Connection, user: str, key: str) -> None:
    """Give a claimed key free: its act failed and left nothing."""
    await connection.execute(
        "delete from idempotency where subject = $1 and key = $2 and status = 0", user, key
    )
