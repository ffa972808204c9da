"""Answers from memory, confirmed: one statement writes their audit rows and tells what changed.

Who keeps definitions in memory (terminology) answers from them first and asks then whether they
were still those of the database. The statement begins after the question came, so that an answer
that it finds unchanged counts as one of that moment; and it carries the audit rows of all who asked
meanwhile, which costs one way to the database where a look and a note were two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dmed.store import audit as audits
from dmed.store import feed
from dmed.store.keys import type_number
from dmed.store.model import AuditRow
from dmed.store.pool import Database, told

GATHER_SECONDS = 0.002
"""A statement begins no sooner after the one before: all who were answered by that one share the
next, if they ask again at once."""
_SQL = f"""
WITH noted AS ({audits.insert_plain_sql("$4::int[]", "$5::text[]", "$6::text[]")})
{feed.RECENT_SQL}
"""


class Recent(NamedTuple):
    """What was written since an edge, and the edge to ask from next (as `feed.recent`)."""

    changes: list[feed.Change]
    edge: int


class _Item(NamedTuple):
    actor: int
    request: str
    detail: str
    edge: int


async def confirm(db: Database, audit: AuditRow, types: tuple[str, ...], edge: int) -> Recent:
    """Notes an act about no record, and tells what was committed to some types since an edge before
    now; returns when the audit row is committed. Errors as `audit.note`.

    Who asks together may be told of changes from the smallest of their edges; `vid` tells them.
    """
    assert (audit.type, audit.id, audit.patient, audit.query) == ("", "", "", "")
    assert (audit.action, audit.outcome) == ("E", 200)
    key = ("confirm", types)
    group: audits.Group[_Item, Recent] | None = db.kept.get(key)
    if group is None:
        numbers = [type_number(name) for name in types]
        group = db.kept[key] = audits.Group(
            lambda items: _flush(db, numbers, items), pause_seconds=GATHER_SECONDS)
    db.hot.check_second()
    actor = await audits.actor_number(db, audit)
    detail = audits.storable(audit.detail[:audits.CHARACTERS_MAX])
    with told():
        return await group.submit(_Item(actor, audits.storable(audit.request), detail, edge))


async def _flush(db: Database, types: list[int], items: list[_Item]) -> Sequence[Recent]:
    actors, requests, details, edges = zip(*items, strict=True)

    async def act(connection: Any) -> Any:
        return await connection.fetch(
            _SQL, min(edges), types, feed.BATCH_MAX, actors, requests, details)

    found = Recent(*feed.recent_of(await audits.again_if_lost(db, act)))
    return [found] * len(items)
