"""One greedy client and one polite one: does the polite one notice?

`python tests/load/greedy.py --seconds 20` serves an installation of its own in this process. The
greedy client keeps some hundred searches under way with three tokens of one account; the polite one
asks one thing after the other. Printed are the polite one's times alone and beside the greedy one,
and what both were refused.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS

GREEDY_AT_ONCE = 300
SEARCH = "/fhir/Observation?code:text=weight&_sort=-date&_count=100"
POLITE = "/fhir/Basic?_count=5"


@dataclass
class Seen:
    """What one client saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry: int = 0

    def note(self, answer: httpx.Response, seconds: float) -> None:
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            self.seconds.append(seconds)
        elif "retry-after" not in answer.headers:
            self.without_retry += 1

    def at(self, share: float) -> float:
        """A quantile of the times of answers, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def ask(client: httpx.AsyncClient, path: str, token: str, seen: Seen) -> None:
    """One request of a client."""
    began = time.perf_counter()
    answer = await client.get(path, headers={"authorization": f"Bearer {token}"})
    seen.note(answer, time.perf_counter() - began)


async def polite(client: httpx.AsyncClient, token: str, seconds: float) -> Seen:
    """One request after the other."""
    seen = Seen()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await ask(client, POLITE, token, seen)
        await asyncio.sleep(0.005)
    return seen


async def greedy(client: httpx.AsyncClient, tokens: list[str], stop: asyncio.Event) -> Seen:
    """Some hundred searches at once; what is refused is asked again at once, out of greed."""
    seen = Seen()

    async def one(number: int) -> None:
        while not stop.is_set():
            await ask(client, SEARCH, tokens[number % len(tokens)], seen)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one(number) for number in range(GREEDY_AT_ONCE)))
    return seen


async def run(platform: Platform, seconds: float) -> tuple[Seen, Seen, Seen]:
    """The polite client alone, then beside the greedy one, and what the greedy one saw."""
    identity = platform.guard.identity
    for account in DEMO_ACCOUNTS:
        if account.user in {"service", "doctor"}:
            await identity.save(account, DEMO_PASSWORDS[account.user])
    many = [await identity.issue_token("service") for _ in range(3)]
    one = await identity.issue_token("doctor")
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://load", timeout=60) as client:
        await ask(client, POLITE, one, Seen())
        alone = await polite(client, one, seconds / 2)
        stop = asyncio.Event()
        running = asyncio.create_task(greedy(client, many, stop))
        await asyncio.sleep(seconds / 10)
        beside = await polite(client, one, seconds)
        stop.set()
        return alone, beside, await running


def told(alone: Seen, beside: Seen, many: Seen) -> str:
    """The result in words."""
    refused = sum(count for status, count in many.statuses.items() if status != 200)
    return (f"polite alone: p50 {alone.at(.5) * 1000:.0f} ms, p95 {alone.at(.95) * 1000:.0f} ms; "
            f"beside: p50 {beside.at(.5) * 1000:.0f} ms, p95 {beside.at(.95) * 1000:.0f} ms, "
            f"refused {sum(beside.statuses.values()) - beside.statuses[200]}; greedy: "
            f"{many.statuses[200]} answered (p50 {many.at(.5) * 1000:.0f} ms), {refused} refused")


async def serve(settings: Settings, seconds: float) -> tuple[Seen, Seen, Seen]:
    """A platform for the length of the run."""
    platform = Platform(settings)
    await platform.open()
    try:
        return await run(platform, seconds)
    finally:
        await platform.close()


def main() -> int:
    """1 where the polite client was refused anything."""
    from dmed.apps.database import database, prepare

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=20)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="dmed-greedy-") as folder:
        Path(folder).chmod(0o711)
        own = Settings(data=Path(folder) / "data")
        with database(own) as addresses:
            asyncio.run(prepare(addresses))
            alone, beside, many = asyncio.run(serve(Settings(
                data=own.data, database_url=addresses.application), given.seconds))
    print(told(alone, beside, many))
    return 1 if set(beside.statuses) != {200} else 0


if __name__ == "__main__":
    sys.exit(main())
