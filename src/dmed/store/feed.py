"""The change feed: every write, at least once, in an order that a reader can stand on.

Rows are taken by (xid, vid) and only below the oldest transaction still open, so that none can
appear later before a position already passed. Order is kept per bucket; there is no order of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from dmed.store.keys import type_name, type_number
from dmed.store.model import updated_of
from dmed.store.pool import Database

BATCH_MAX = 10_000
START = (0, 0)

_READ = """
SELECT xid::text::bigint AS xid, vid, bucket, type, kind, id FROM feed
WHERE xid >= $1::bigint::text::xid8 AND (xid > $1::bigint::text::xid8 OR vid > $2)
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY feed.xid, feed.vid LIMIT $3
"""

_LEFT = """
SELECT count(*) FROM feed
WHERE xid >= $1::bigint::text::xid8 AND (xid > $1::bigint::text::xid8 OR vid > $2)
"""

RECENT_SQL = """
SELECT edge, vid, bucket, type, kind, id, xid::text::bigint AS xid
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS edge) AS now
LEFT JOIN feed ON xid >= $1::bigint::text::xid8 AND type = ANY($2::smallint[])
ORDER BY vid LIMIT $3
"""
"""What was written to types ($2) since an edge ($1), at most $3 rows: for `recent_of`."""

_CURRENT = """
SELECT r.type, r.id, r.body FROM unnest($1::smallint[], $2::smallint[], $3::text[])
    AS asked (bucket, type, id)
JOIN resource r ON r.bucket = asked.bucket AND r.type = asked.type AND r.id = asked.id
"""


class Position(NamedTuple):
    """How far a reader has come: the xid and vid of the last change it has dealt with."""

    xid: int
    vid: int


class Change(msgspec.Struct, frozen=True):
    """One write: C created, U updated, D deleted. The version is read by (type, id, vid)."""

    position: Position
    bucket: int
    type: str
    id: str
    kind: str

    @property
    def vid(self) -> int:
        """The version that this write made."""
        return self.position.vid

    @property
    def updated(self) -> datetime:
        """When it was made."""
        return updated_of(self.position.vid)


async def changes(
    db: Database, after: tuple[int, int] = START, *, limit: int = 1_000
) -> list[Change]:
    """The next changes after a position, at most `limit` (up to BATCH_MAX); empty when at the end.

    A reader stores the last `position` when it has dealt with a batch; after a crash it may see
    the same changes again.
    """
    async with db.connection() as connection:
        rows = await connection.fetch(_READ, after[0], after[1], max(1, min(limit, BATCH_MAX)))
    return [_change(row) for row in rows]


async def left(db: Database, after: tuple[int, int]) -> int:
    """How many changes come after a position, those of open transactions with them."""
    async with db.connection() as connection:
        return int(await connection.fetchval(_LEFT, *after))


async def current(db: Database, found: Sequence[Change]) -> dict[tuple[str, str], bytes]:
    """(type, id) > the body as it is now, of records that a reader was told of; a record that was
    deleted is left out. For readers who count: a later change of it comes by the feed again.
    """
    places = {(change.bucket, type_number(change.type), change.id) for change in found}
    columns = [list(column) for column in zip(*sorted(places), strict=True)] or [[], [], []]
    async with db.connection() as connection:
        rows = await connection.fetch(_CURRENT, *columns)
    return {(type_name(row["type"]), row["id"]): row["body"] for row in rows}


async def recent(db: Database, types: Sequence[str], edge: int) -> tuple[list[Change], int]:
    """What was written to some types since an edge, with the edge to ask from next.

    For readers who must see a write as soon as it is committed: nothing is held back until older
    transactions end, so a change may come again with the next answer, and is known by its `vid`.
    `edge` is a transaction number; `(await end(db)).xid + 1` is that of now. At most BATCH_MAX:
    after so many the reader reads everything anew.
    """
    numbers = [type_number(name) for name in types]
    async with db.connection() as connection:
        rows = await connection.fetch(RECENT_SQL, edge, numbers, BATCH_MAX)
    return recent_of(rows)


def recent_of(rows: Sequence[Any]) -> tuple[list[Change], int]:
    """The changes and the next edge in the rows of RECENT_SQL."""
    return [_change(row) for row in rows if row["vid"] is not None], rows[0]["edge"]


def _change(row: Any) -> Change:
    position = Position(row["xid"], row["vid"])
    return Change(position, row["bucket"], type_name(row["type"]), row["id"], row["kind"].decode())


async def end(db: Database) -> Position:
    """The position from which only what is written after now will be seen."""
    async with db.connection() as connection:
        xid = await connection.fetchval(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1")
    return Position(xid, 2**63 - 1)
