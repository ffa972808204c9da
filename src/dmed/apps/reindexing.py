"""`dmed reindex`: the work on old records for search parameters and labels, here and now."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.store import reindex as store_reindex
from dmed.store import relabel as store_relabel
from dmed.store.reindex import EVERYTHING, GRACE_SECONDS, Progress
from dmed.trust import relabelling
from dmed.trust.policy import sensitivity


def reindex(settings: Settings, types: Sequence[str], *, words: bool) -> None:
    """Makes index rows anew for all records of these types (with `words`: those of `_text` and
    `_content` alone, of all types where none is named), then does whatever else is due. Prints
    how far it is. It may be interrupted and called again, and runs beside the server.
    """
    for name in types:
        if name not in facts().resources:
            raise InvalidError(f"{name[:70]!r} is no resource type of FHIR R5")
    with database(settings) as addresses:
        asyncio.run(_reindex(settings, addresses, types, words=words))


async def _reindex(
    settings: Settings, addresses: Addresses, types: Sequence[str], *, words: bool
) -> None:
    await prepare(addresses)
    async with opened(settings, addresses) as store:
        if words:
            for code in ("_text", "_content"):
                await store_reindex.request(store, types or facts().resources, code)
        elif types:
            await store_reindex.request(store, types, EVERYTHING)
        await store_reindex.learn(store)
        if any(one.state != "ready" for one in await store_reindex.progress(store)):
            # The workers that run must have heard of it before it is done.
            await asyncio.sleep(GRACE_SECONDS)
        if not await store_reindex.work(store, grace_seconds=GRACE_SECONDS, report=_said):
            sys.stdout.write("a worker of the server is at it\n")
        for one in await store_reindex.progress(store):
            await _said(one)


def relabel(settings: Settings) -> None:
    """Looks through all records for sensitivity labels that they lack. May be interrupted: a
    running server goes on with it, and once more with what is written meanwhile.
    """
    with database(settings) as addresses:
        asyncio.run(_relabel(settings, addresses))


async def _relabel(settings: Settings, addresses: Addresses) -> None:
    await prepare(addresses)
    async with opened(settings, addresses) as store:
        await relabelling.begin_anew(store)
        if not await relabelling.work(store, report=_labelled):
            sys.stdout.write("a worker of the server is at it\n")
            return
        told = await store_relabel.progress(store, sensitivity.RULES)
        if told is not None:
            await _labelled(told)


async def _labelled(one: store_relabel.Progress) -> None:
    sys.stdout.write(f"labels: {one.seen:,} versions seen, {one.changed:,} labelled\n")


async def _said(one: Progress) -> None:
    what = "everything" if one.code == EVERYTHING else one.code
    sys.stdout.write(f"{one.type} {what}: {one.state}, {one.done:,} records\n")
