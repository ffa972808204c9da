"""Seals over the audit: each second's rows become a Merkle batch, and the batches a chain.

One sealer at a time (an advisory lock; any worker may hold it) takes the rows of the transactions
that have ended since the last seal: those from the last seal's `high` up to the oldest transaction
still open. A row that is committed late belongs to a later transaction range, so every row is
sealed exactly once. A seal holds the rows of one range and one month, so that a month can be
dropped as a whole. What is not sealed yet is younger than SEAL_SECONDS and the longest transaction.

A restored database counts transactions anew: then the next era begins, which holds the rows later
than `since`. Merkle tree: https://www.rfc-editor.org/rfc/rfc6962#section-2.1 over row digests.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from dmed.store.pool import Database

SEAL_SECONDS = 1
"""How often the sealer looks; a row waits at most this and the longest open transaction."""
LEAF_BYTES = 4
"""What a seal keeps of each row's digest, to name the row that is gone or came in."""
ROWS_MAX = 100_000
"""Most rows of one seal, unless one transaction wrote more."""
XIDS_MAX = 20_000
_BATCHES_MAX = 50
_LOCK = 7_305_516_208_331_003
_THREAD_ROWS = 2_000
_ERA_PAUSE = timedelta(seconds=10)
"""No transaction of the platform lasts longer, so none of the old era began after this pause."""
_LOOK_BACK = timedelta(days=1)
_START = datetime(1970, 1, 1, tzinfo=UTC)
_NO_HASH = bytes(32)
_XID_MAX = 2**62
Signer = Callable[[bytes], bytes]


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed batch as it lies in `audit_seal`; `hash` covers all but `proof` and itself."""

    number: int
    era: int
    since: datetime
    """Rows of the era are not earlier."""
    month: date
    low: int
    """First transaction of the range."""
    high: int
    """First transaction after the range."""
    first: datetime
    last: datetime
    rows: int
    leaves: bytes
    """The first four bytes of each row's digest, by (transaction, digest)."""
    root: bytes
    previous: bytes
    """The hash of the seal before."""
    made: datetime
    key: str
    """Number of the key of `proof`."""
    hash: bytes = b""
    proof: bytes = b""
    """The platform's signature of `hash`."""


_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Seal))
SELECT_SQL = f"SELECT {', '.join(_COLUMNS)} FROM audit_seal"  # Names of ours.
_INSERT = (
    f"INSERT INTO audit_seal ({', '.join(_COLUMNS)}) VALUES "  # Names of ours.
    f"({', '.join(f'${number}' for number in range(1, len(_COLUMNS) + 1))})"
)
_ROWS = """
SELECT xid, at, digest FROM audit WHERE at >= $1 AND at < $2 AND xid >= $3 AND xid < $4
ORDER BY xid, digest LIMIT $5
"""


def seal_of(row: Any) -> Seal:
    """A row of SELECT_SQL as a Seal."""
    return Seal(**dict(row))


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970."""
    return (moment - _START) // timedelta(microseconds=1)


def merkle_root(digests: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of some digests in their order; of none the hash of nothing."""
    sha = hashlib.sha256
    if not digests:
        return sha().digest()
    level = [sha(b"\0" + digest).digest() for digest in digests]
    while len(level) > 1:
        paired = [sha(b"\1" + left + right).digest()
                  for left, right in zip(level[::2], level[1::2], strict=False)]
        # A node without a partner goes up as it is: the tree of RFC 6962.
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0]


def hash_of(seal: Seal) -> bytes:
    """The hash by which the next seal names this one."""
    head = struct.pack(
        ">qqqqqqqqqq", seal.number, seal.era, microseconds(seal.since), seal.month.toordinal(),
        seal.low, seal.high, microseconds(seal.first), microseconds(seal.last), seal.rows,
        microseconds(seal.made))
    leaves = hashlib.sha256(seal.leaves).digest()
    return hashlib.sha256(b"".join(
        [head, seal.root, leaves, seal.previous, seal.key.encode()])).digest()


async def seal_all(db: Database, sign: Signer, key: str) -> list[Seal]:
    """Seals what can be sealed now; nothing while another worker does.

    `sign` gives the platform's signature of 32 bytes, `key` is its number.
    """
    made: list[Seal] = []
    for _ in range(_BATCHES_MAX):
        seals, more = await _seal_next(db, sign, key)
        made += seals
        if not more:
            break
    return made


async def last_seal(connection: Any) -> Seal | None:
    """The newest seal, or None before the first."""
    row = await connection.fetchrow(f"{SELECT_SQL} ORDER BY number DESC LIMIT 1")
    return None if row is None else seal_of(row)


class _Range(msgspec.Struct, frozen=True):
    era: int
    since: datetime
    until: datetime | None
    low: int
    high: int
    more: bool


async def _seal_next(db: Database, sign: Signer, key: str) -> tuple[list[Seal], bool]:
    """The seals of the next range of transactions, and whether there is another range to seal."""
    async with db.searching() as connection, connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
            return [], False
        last = await last_seal(connection)
        range_ = await _next_range(connection, last)
        if range_.low >= range_.high:
            return [], False
        rows, high = await _rows(connection, range_, last)
        now = await connection.fetchval("SELECT clock_timestamp()")
        seals = await _made(rows, msgspec.structs.replace(range_, high=high), last, now, sign, key)
        await connection.executemany(
            _INSERT, [tuple(getattr(seal, name) for name in _COLUMNS) for seal in seals])
        return seals, range_.more or high < range_.high


async def _next_range(connection: Any, last: Seal | None) -> _Range:
    """What comes after the last seal, up to the oldest transaction still open."""
    edge: int = await connection.fetchval(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    if last is None:
        low = await connection.fetchval("SELECT min(xid) FROM audit")
        return _bounded(1, _START, edge if low is None else low, edge)
    if edge >= last.high:
        return _bounded(last.era, last.since, last.high, edge)
    # The database was restored and counts anew. First what the old era left, then a new one.
    since = last.made + _ERA_PAUSE
    left = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM audit WHERE at >= $1 AND at < $2 AND xid >= $3)",
        last.since, since, last.high)
    if left:
        return _Range(last.era, last.since, since, last.high, _XID_MAX, more=True)
    return _bounded(last.era + 1, since, 0, edge)


def _bounded(era: int, since: datetime, low: int, edge: int) -> _Range:
    high = min(edge, low + XIDS_MAX)
    return _Range(era, since, None, low, high, more=high < edge)


async def _rows(connection: Any, range_: _Range, last: Seal | None) -> tuple[list[Any], int]:
    """The rows of a range by (xid, digest), and where it ends if it holds too many."""
    # Months before cannot hold a row of an open transaction: they need not be looked into.
    since = range_.since if last is None else max(range_.since, last.made - _LOOK_BACK)
    until = range_.until or datetime.max.replace(tzinfo=UTC)
    rows = await connection.fetch(
        _ROWS, since, until, range_.low, range_.high, ROWS_MAX + 1)
    if len(rows) <= ROWS_MAX:
        return rows, range_.high
    high = rows[-1]["xid"]
    kept = [row for row in rows if row["xid"] < high]
    if kept:
        return kept, high
    rows = await connection.fetch(_ROWS, since, until, high, high + 1, None)
    return rows, high + 1


def _month(row: Any) -> date:
    moment: datetime = row["at"].astimezone(UTC)
    return moment.date().replace(day=1)


async def _made(
    rows: list[Any], range_: _Range, last: Seal | None, now: datetime, sign: Signer, key: str
) -> list[Seal]:
    """A seal a month of these rows; where there is none, none: the range joins the next seal's."""
    seals: list[Seal] = []
    for month, group in itertools.groupby(sorted(rows, key=_month), _month):
        mine = list(group)
        digests = [row["digest"] for row in mine]
        large = len(digests) > _THREAD_ROWS
        root = await asyncio.to_thread(merkle_root, digests) if large else merkle_root(digests)
        times = [row["at"] for row in mine]
        open_ = Seal(
            number=1 if last is None else last.number + 1, era=range_.era, since=range_.since,
            month=month, low=range_.low, high=range_.high, first=min(times), last=max(times),
            rows=len(mine), leaves=b"".join([digest[:LEAF_BYTES] for digest in digests]),
            root=root, previous=_NO_HASH if last is None else last.hash, made=now, key=key)
        named = hash_of(open_)
        last = msgspec.structs.replace(open_, hash=named, proof=sign(named))
        seals.append(last)
    return seals


async def roots_due(db: Database, *, every: timedelta) -> Seal | None:
    """The newest seal where the last lodged root is older than `every`; None where none is due."""
    async with db.connection() as connection:
        lodged = await connection.fetchrow(
            "SELECT seal, made FROM audit_root WHERE lodged IS NOT NULL ORDER BY seal DESC LIMIT 1")
        seal = await last_seal(connection)
    if seal is None or (lodged and (lodged["seal"] >= seal.number
                                    or seal.made - lodged["made"] < every)):
        return None
    return seal


async def note_root(db: Database, seal: Seal, token: str, made: datetime) -> None:
    """Keeps a root that was lodged outside."""
    async with db.connection() as connection:
        await connection.execute(
            "INSERT INTO audit_root (seal, hash, made, token, lodged) VALUES ($1, $2, $3, $4, $3) "
            "ON CONFLICT (seal) DO UPDATE SET token = excluded.token, lodged = excluded.lodged",
            seal.number, seal.hash, made, token)
