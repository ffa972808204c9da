"""Sensitivity labels of records that were written before a rule was: found and put down, resumably.

A label is set when a record is written (trust.policy.sensitivity). When the rules grow, records of
before are wrong until somebody writes them again; `work` goes through them by version number, first
the current versions, then the superseded ones. Labels are only added, never taken away: what was
kept secret once stays so until a person decides otherwise.

Nothing waits for it: it reads in batches without locks and changes one record a statement, only
where its version is still the one that was read. A writer who came first has labelled the new
version himself; the version that he superseded is met in the second part. The place is kept after
each batch: a killed worker loses one batch, and doing it again changes nothing.

A worker of the release before may go on writing by the old rules for a while. So everything that
was written since the work began is gone through once more when `grace_seconds` have passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from dmed.kit.ids import vid_at
from dmed.store.keys import type_number
from dmed.store.pool import Database, told

DDL: tuple[str, ...] = (
    """create table if not exists relabel (
        rules integer primary key,
        turn smallint not null default 1,
        part smallint not null default 0,
        type smallint not null default 0,
        at bigint not null default 0,
        seen bigint not null default 0,
        changed bigint not null default 0,
        began timestamptz not null default now(),
        caught timestamptz,
        ended timestamptz
    )""",
)
"""One row a number of the rules: how far the work for them has come."""
FRESH = """insert into relabel (rules, turn, ended) select {rules}, 2, now()
    where not exists (select from resource) on conflict do nothing"""
"""An installation without records begins with the present rules: there is nothing of before."""
BATCH_RECORDS = 200
GRACE_SECONDS = 900
"""So long workers of the release before may go on beside those of this one."""
_OVERLAP_MS = 60_000
"""A version is named before its transaction commits; no transaction lasts nearly so long."""
_LOCK = 7_305_516_208_331_004
_PAUSE_SECONDS = 0.01
_CURRENT, _EARLIER = 0, 1
_TABLES = {_CURRENT: "resource", _EARLIER: "resource_version"}

LabelsOf = Callable[[bytes], int]
"""The labels of a record's canonical body, as bits; pure."""

_NEWER = "SELECT max(rules) FROM relabel"
_WANT = "INSERT INTO relabel (rules) VALUES ($1) ON CONFLICT (rules) DO NOTHING"
_ANEW = """
UPDATE relabel SET turn = 1, part = 0, type = 0, at = 0, seen = 0, changed = 0, began = now(),
    caught = NULL, ended = NULL WHERE rules = $1
"""
_PLACE = """
SELECT turn, part, type, at, (extract(epoch FROM began) * 1000)::bigint AS began,
    caught <= now() - make_interval(secs => $2) AS is_late
FROM relabel WHERE rules = $1 AND ended IS NULL
"""
_ON = """
UPDATE relabel SET part = $2, type = $3, at = $4, seen = seen + $5, changed = changed + $6
WHERE rules = $1
"""
_CAUGHT = "UPDATE relabel SET turn = 2, part = 0, type = 0, at = 0, caught = now() WHERE rules = $1"
_ENDED = "UPDATE relabel SET ended = now() WHERE rules = $1"
# Who treats a person must not lose the record for the moment between the two statements: what
# opens it is widened before it is closed.
_CARE = """
UPDATE care SET labels = labels | $5 WHERE source = $2::smallint::text || '/' || $3::text
    AND (labels & $5) <> $5 AND EXISTS (SELECT FROM resource
        WHERE bucket = $1 AND type = $2 AND id = $3 AND vid = $4)
"""
_CHANGE = {
    _CURRENT: """UPDATE resource SET labels = labels | $5
        WHERE bucket = $1 AND type = $2 AND id = $3 AND vid = $4 AND (labels & $5) <> $5""",
    _EARLIER: """UPDATE resource_version SET labels = labels | $5
        WHERE type = $2 AND vid = $4 AND bucket = $1 AND id = $3 AND (labels & $5) <> $5""",
}


class Progress(msgspec.Struct, frozen=True):
    """How far the work for the present rules has come."""

    rules: int
    turn: int
    """2: what was written while the first turn went on is gone through again."""
    seen: int
    changed: int
    ended: bool


Report = Callable[[Progress], Awaitable[None]]


async def progress(db: Database, rules: int) -> Progress | None:
    """How far the work for these rules has come; None where it was never begun."""
    async with db.connection() as connection:
        row = await connection.fetchrow(
            "SELECT turn, seen, changed, ended IS NOT NULL FROM relabel WHERE rules = $1", rules)
    return None if row is None else Progress(rules, *row)


async def begin_anew(db: Database, rules: int) -> None:
    """The work for these rules begins from the first record, whatever was done before."""
    async with db.connection() as connection:
        await connection.execute(_WANT, rules)
        await connection.execute(_ANEW, rules)


async def work(
    db: Database, rules: int, labels_of: LabelsOf, types: Sequence[str], *,
    grace_seconds: float = GRACE_SECONDS, report: Report | None = None,
) -> bool:
    """Does what is due for the rules of this number; True where it has ended a turn just now.

    Does nothing where another worker is at it, where it was done, or where a newer release has
    begun with newer rules.
    """
    with told():
        async with db.hot.apart() as keeper:
            # A lock of the session: it goes with a worker that dies.
            if not await keeper.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                return False
            try:
                if (await keeper.fetchval(_NEWER) or 0) > rules:
                    return False
                await keeper.execute(_WANT, rules)
                row = await keeper.fetchrow(_PLACE, rules, grace_seconds)
                if row is None or (row["turn"] == 2 and not row["is_late"]):
                    return False
                numbers = sorted(type_number(name) for name in types)
                await _turn(keeper, rules, labels_of, numbers, row, report)
                await keeper.execute(_CAUGHT if row["turn"] == 1 else _ENDED, rules)
                return True
            finally:
                await keeper.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _turn(
    connection: Any, rules: int, labels_of: LabelsOf, types: Sequence[int], row: Any,
    report: Report | None,
) -> None:
    """All types of both parts, from the place that the row names."""
    floor = 0 if row["turn"] == 1 else vid_at(row["began"] - _OVERLAP_MS)
    for part in (_CURRENT, _EARLIER):
        for number in types:
            if (part, number) < (row["part"], row["type"]):
                continue
            is_place = (part, number) == (row["part"], row["type"])
            at = max(floor, row["at"] if is_place else 0)
            while True:
                rows = await connection.fetch(
                    f"SELECT bucket, id, vid, body, labels FROM {_TABLES[part]} "
                    "WHERE type = $1 AND vid > $2 ORDER BY vid LIMIT $3",
                    number, at, BATCH_RECORDS)
                if not rows:
                    break
                changed = await _batch(connection, part, number, rows, labels_of)
                at = rows[-1]["vid"]
                await connection.execute(_ON, rules, part, number, at, len(rows), changed)
                if report is not None:
                    told_of = await connection.fetchrow(
                        "SELECT turn, seen, changed, false FROM relabel WHERE rules = $1", rules)
                    await report(Progress(rules, *told_of))
                await asyncio.sleep(_PAUSE_SECONDS)


async def _batch(
    connection: Any, part: int, number: int, rows: Sequence[Any], labels_of: LabelsOf
) -> int:
    """Labels the records of a batch that lack one; how many were changed."""
    changed = 0
    for row in rows:
        labels = labels_of(row["body"]) if row["body"] is not None else 0
        if labels & ~row["labels"] == 0:
            continue
        values = (row["bucket"], number, row["id"], row["vid"], labels)
        if part == _CURRENT:
            await connection.execute(_CARE, *values)
        changed += int((await connection.execute(_CHANGE[part], *values)).split()[1])
    return changed
