"""Whether the audit is as it was sealed: every fault by name, with where and when.

The rows of each month are read once, by transaction, beside the seals of that month. A row whose
own digest does not fit was edited; rows that a seal does not know, or knows and that are gone, are
told apart by the four bytes that the seal keeps of each digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from dmed.store.audit import digest_sql, unpack_sql
from dmed.store.seal import LEAF_BYTES, SELECT_SQL, Seal, hash_of, merkle_root, seal_of

FAULTS_MAX = 1_000
"""Most faults that are named; the rest is counted."""
UNSEALED_SECONDS = 60
"""Rows older than this must be sealed where a server runs."""
_PREFETCH = 20_000
_PROOF_EVERY = 256
_NO_HASH = bytes(32)
Check = Callable[[bytes, bytes], bool]
"""check(signed, proof)"""


class Root(msgspec.Struct, frozen=True):
    """What was lodged outside: the hash of a seal at a moment; its signature was checked."""

    seal: int
    hash: bytes
    made: datetime
    place: str = ""


class Fault(msgspec.Struct, frozen=True):
    """One thing that is not as it was sealed."""

    kind: str
    """edited, removed, added, reordered, seal, chain, truncated, unsealed"""
    seal: int
    said: str


class Result(msgspec.Struct):
    """What a verification looked at and found."""

    rows: int = 0
    seals: int = 0
    retired: int = 0
    unsealed: int = 0
    faults: list[Fault] = []
    more_faults: int = 0

    def add(self, kind: str, seal: int, said: str) -> None:
        """One more fault; beyond FAULTS_MAX it is only counted."""
        if len(self.faults) >= FAULTS_MAX:
            self.more_faults += 1
        else:
            self.faults.append(Fault(kind, seal, said))


_DIGEST = digest_sql(
    at="at", vid="vid", actor="actor", bucket="bucket", type="type", outcome="outcome",
    action="action", request="request", id=f"({unpack_sql('id')})",
    patient=f"({unpack_sql('patient')})", query="query", detail="detail")
_ROWS = f"""
SELECT at, xid, digest, digest = {_DIGEST} AS same FROM audit
WHERE at >= $1 AND at < $2 AND xid >= $3 ORDER BY xid, digest
"""
_NAMED = """
SELECT t.at, t.request, t.action::text AS action, t.outcome, t.id, a.subject
FROM audit_told t LEFT JOIN audit_actor a ON a.number = t.actor
WHERE t.at = $1 AND t.digest = $2 LIMIT 1
"""


async def verify(
    connection: Any, keys: Mapping[str, Check], roots: Sequence[Root] = (), *,
    since: datetime | None = None,
) -> Result:
    """Verifies all seals and the rows sealed since a moment (None: all rows that are there).

    `keys` check the proofs by key number; a key that is not among them makes a fault. The
    connection is plain, outside of the platform's pools; its view is that of one moment.
    """
    result = Result()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        seals = await _chain(connection, keys, result)
        _against(seals, roots, result)
        await _months(connection, seals, since, result)
    return result


async def _chain(connection: Any, keys: Mapping[str, Check], result: Result) -> list[Seal]:
    """The seals in order; each must fit its own hash, the one before, and the platform's key."""
    seals = [seal_of(row) for row in await connection.fetch(f"{SELECT_SQL} ORDER BY number")]
    result.seals = len(seals)
    before = _NO_HASH
    number = 0
    doubtful = False
    for seal in seals:
        if seal.number != number + 1:
            gone = f"{number + 1}" if seal.number == number + 2 else (
                f"{number + 1} to {seal.number - 1}")
            result.add("truncated", seal.number, f"the seals {gone} before it are gone")
        if seal.hash != hash_of(seal):
            result.add("seal", seal.number, "it was replaced: its content does not give its hash")
            doubtful = True
        elif seal.previous != before and seal.number == number + 1:
            result.add("chain", seal.number,
                       f"it names another seal {number} than the one that is here")
            doubtful = True
        before, number = seal.hash, seal.number
    if seals and (doubtful or not all(_proved(seal, keys) for seal in _sample(seals))):
        for seal in seals:
            if not _proved(seal, keys):
                result.add("seal", seal.number,
                           "it was replaced: the platform's key did not sign it")
    return seals


def _sample(seals: Sequence[Seal]) -> list[Seal]:
    """Enough proofs: whoever changes a seal must change all after it, the last among them."""
    return [*seals[::_PROOF_EVERY], seals[-1]]


def _proved(seal: Seal, keys: Mapping[str, Check]) -> bool:
    check = keys.get(seal.key)
    return check is not None and check(seal.hash, seal.proof)


def _against(seals: Sequence[Seal], roots: Sequence[Root], result: Result) -> None:
    """What was lodged outside must be here as it was lodged."""
    known = {seal.number: seal for seal in seals}
    newest = seals[-1].number if seals else 0
    for root in roots:
        seal = known.get(root.seal)
        lodged = f"lodged at {root.made:%Y-%m-%d %H:%M:%S} UTC{root.place and f' ({root.place})'}"
        if seal is None:
            result.add("truncated", root.seal, f"it was {lodged}, the last seal here is {newest}: "
                       "the end of the audit was cut off")
        elif seal.hash != root.hash:
            result.add("seal", root.seal, f"it was replaced: another one was {lodged}")


async def _months(
    connection: Any, seals: Sequence[Seal], since: datetime | None, result: Result
) -> None:
    """The rows of every month against the seals of that month."""
    retired = {row["month"] for row in await connection.fetch("SELECT month FROM audit_retired")}
    asked = [seal for seal in seals if since is None or seal.last >= since]
    ends = _ends(seals)
    eras = _eras(seals)
    oldest = await connection.fetchval("SELECT min(at) FROM audit")
    low = min((seal.low for seal in asked), default=0) if since is not None else 0
    if since is not None and eras and asked and asked[0].era != seals[-1].era:
        low = 0  # Transactions of different eras do not compare.
    months = {seal.month for seal in asked}
    if oldest is not None:
        start = oldest if since is None else max(since, oldest)
        months |= set(_months_from(start.astimezone(UTC)))
    moved = _Moved()
    for month in sorted(months):
        mine = [seal for seal in asked if seal.month == month]
        if month in retired:
            result.retired += len(mine)
            continue
        await _month(connection, month, mine, eras, ends, low, result, moved, since)
    moved.tell(result)


def _months_from(first: datetime) -> list[date]:
    months, month = [], first.date().replace(day=1)
    last = datetime.now(UTC).date()
    while month <= last:
        months.append(month)
        month = (month + timedelta(days=32)).replace(day=1)
    return months


def _eras(seals: Sequence[Seal]) -> list[tuple[int, datetime]]:
    return sorted({(seal.era, seal.since) for seal in seals})


def _ends(seals: Sequence[Seal]) -> dict[int, int]:
    """How far each era is sealed."""
    ends: dict[int, int] = {}
    for seal in seals:
        ends[seal.era] = max(ends.get(seal.era, 0), seal.high)
    return ends


class _Moved:
    """Leaves that one seal misses and another has too much: rows that were moved between them."""

    def __init__(self) -> None:
        self.missing: list[tuple[bytes, Seal, int]] = []
        self.extra: list[tuple[bytes, int, str]] = []

    def tell(self, result: Result) -> None:
        """Pairs what is missing with what came in, and names each."""
        spare: dict[bytes, list[tuple[int, str]]] = {}
        for leaf, seal, name in self.extra:
            spare.setdefault(leaf, []).append((seal, name))
        for leaf, home, place in self.missing:
            if spare.get(leaf):
                to, name = spare[leaf].pop()
                result.add("reordered", home.number, f"{name} was moved"
                           + (f" from here to seal {to}" if to != home.number else ""))
                continue
            result.add("removed", home.number, f"row {place + 1} of {home.rows}, digest "
                       f"{leaf.hex()}.., written between {home.first:%Y-%m-%d %H:%M:%S.%f} and "
                       f"{home.last:%H:%M:%S.%f} UTC, is not as it was sealed: gone or rewritten")
        for left in spare.values():
            for seal, name in left:
                result.add("added", seal, f"{name} was not sealed: put in or rewritten afterwards")


async def _month(
    connection: Any, month: date, seals: Sequence[Seal], eras: Sequence[tuple[int, datetime]],
    ends: Mapping[int, int], low: int, result: Result, moved: _Moved, since: datetime | None,
) -> None:
    """One month's rows, by era and transaction, beside its seals in the same order."""
    ordered = sorted(seals, key=lambda seal: (seal.era, seal.low))
    at = 0
    mine: list[Any] = []
    async for era, row in _rows(connection, month, eras, low):
        if since is None or row["at"] >= since:
            result.rows += 1
        while at < len(ordered) and (ordered[at].era, ordered[at].high) <= (era, row["xid"]):
            await _batch(connection, ordered[at], mine, result, moved)
            at, mine = at + 1, []
        if not row["same"]:
            name = await _name(connection, row)
            result.add("edited", ordered[at].number if at < len(ordered) else 0,
                       f"{name} was edited: it does not give its own digest")
        if at < len(ordered) and (ordered[at].era, ordered[at].low) <= (era, row["xid"]):
            mine.append(row)
        elif row["xid"] < ends.get(era, 0):
            if since is None or row["at"] >= since:
                moved.extra.append(
                    (row["digest"][:LEAF_BYTES], 0, await _name(connection, row)))
        else:
            result.unsealed += 1
            age = datetime.now(UTC) - row["at"]
            if age > timedelta(seconds=UNSEALED_SECONDS) and result.unsealed == 1:
                result.add("unsealed", 0, f"rows since {row['at']:%Y-%m-%d %H:%M:%S} UTC are not "
                           "sealed: no server has run since, or its sealer does not work")
    for seal in ordered[at:]:
        await _batch(connection, seal, mine, result, moved)
        mine = []


async def _rows(
    connection: Any, month: date, eras: Sequence[tuple[int, datetime]], low: int
) -> AsyncIterator[tuple[int, Any]]:
    """(era, row) of a month, by era, transaction and digest."""
    begin = datetime(month.year, month.month, 1, tzinfo=UTC)
    end = (begin + timedelta(days=32)).replace(day=1)
    bounds = [*eras[1:], (0, datetime.max.replace(tzinfo=UTC))]
    spans = [(era, max(begin, since), min(end, bounds[number][1]))
             for number, (era, since) in enumerate(eras)] or [(1, begin, end)]
    for era, first, after in spans:
        if first < after:
            async for row in connection.cursor(_ROWS, first, after, low, prefetch=_PREFETCH):
                yield era, row


async def _batch(
    connection: Any, seal: Seal, rows: Sequence[Any], result: Result, moved: _Moved
) -> None:
    """The rows of one seal against what it says of them."""
    digests = [row["digest"] for row in rows]
    if len(digests) == seal.rows and merkle_root(digests) == seal.root:
        return
    leaves = [seal.leaves[place : place + LEAF_BYTES]
              for place in range(0, len(seal.leaves), LEAF_BYTES)]
    present = Counter(digest[:LEAF_BYTES] for digest in digests)
    missing = Counter(leaves) - present
    extra = present - Counter(leaves)
    if not missing and not extra:
        kind = "reordered" if [one[:LEAF_BYTES] for one in digests] != leaves else "edited"
        result.add(kind, seal.number, f"its {seal.rows} rows are not in the order and with the "
                   "digests in which they were sealed")
        return
    for place, leaf in enumerate(leaves):
        if missing[leaf] > 0:
            missing[leaf] -= 1
            moved.missing.append((leaf, seal, place))
    for row in rows:
        leaf = row["digest"][:LEAF_BYTES]
        if extra[leaf] > 0:
            extra[leaf] -= 1
            moved.extra.append((leaf, seal.number, await _name(connection, row)))


async def _name(connection: Any, row: Any) -> str:
    """A row in words: when, who, what."""
    found = await connection.fetchrow(_NAMED, row["at"], row["digest"])
    if found is None:
        return f"the row of {row['at']:%Y-%m-%d %H:%M:%S.%f} UTC"
    what = f"{found['action']} {found['id'] or ''}".strip()
    return (f"the row of {found['at']:%Y-%m-%d %H:%M:%S.%f} UTC, request {found['request']}, by "
            f"{found['subject'] or '?'}: {what}, {found['outcome']}")
