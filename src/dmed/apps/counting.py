"""`dmed analytics count`: the change feed counted at once, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.kit.settings import Settings
from dmed.modules.analytics import api
from dmed.store import feed
from dmed.trust.gateway import Gateway

LEASE = timedelta(minutes=2)
"""So long after the last step servers leave the counting to this process."""
SAID_EVERY_S = 2.0


def count(settings: Settings, stretch: int) -> None:
    """Counts to the end of the feed and judges; prints how far it is. What was counted stays
    counted whenever it is interrupted: called again it goes on there.
    """
    with database(settings) as addresses:
        asyncio.run(_count(settings, addresses, stretch))


async def _count(settings: Settings, addresses: Addresses, stretch: int) -> None:
    await prepare(addresses)
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, settings)
        left = await feed.left(store, await api.position(gateway))
        sys.stdout.write(f"{left:,} changes to count\n")
        passed, began, said = 0, time.monotonic(), 0.0
        async for step in api.steps(gateway, stretch, lease=LEASE):
            passed += step.read
            now = time.monotonic()
            if now - said >= SAID_EVERY_S or step.is_end:
                said = now
                _say(passed, max(left, passed), now - began)
        began = time.monotonic()
        flags = await api.judge_year(gateway)
        sys.stdout.write(f"judged in {time.monotonic() - began:.0f} s: {len(flags):,} figures "
                         "stand out\n")


def _say(passed: int, whole: int, seconds: float) -> None:
    rate = passed / max(seconds, 0.001)
    share = passed / whole if whole else 1.0
    rest = timedelta(seconds=round((whole - passed) / rate)) if rate else timedelta()
    sys.stdout.write(f"{passed:,} counted ({share:.1%}), {rate:,.0f}/s, {rest} left\n")
    sys.stdout.flush()
