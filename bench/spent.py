"""Where a worker's time goes: one process without HTTP answers requests under a profiler.

`python bench/spent.py search --folder DIR` works on an installation that `bench/run.py` (or
`dmed demo`) made in DIR and prints microseconds a request by source file; a first part without the
profiler gives the processor time that is true. Kinds: read, search, create.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import random
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvloop

from dmed.apps.database import database
from dmed.apps.web import Platform
from dmed.kit import settings as settings_module
from run import Results, samples, write_types
from tools import DMED, ROOT, machine

TOGETHER = 8
"""Requests under way at once."""


def request(kind: str, line: str, token: str) -> tuple[MutableMapping[str, Any], bytes]:
    """The ASGI scope and the body of one request."""
    path, _, query = ("/fhir/Observation" if kind == "create" else line).partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": "POST" if kind == "create" else "GET", "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "root_path": "", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1), "state": {}, "headers": [
            (b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/fhir+json")],
    }  # fmt: skip  # One key a line would hide its shape.
    return scope, line.encode() if kind == "create" else b""


def sender(platform: Platform, kind: str, lines: list[str], token: str, failed: Counter[int]
           ) -> Callable[[], Awaitable[None]]:
    """A call that sends one random request; answers of 400 and above are counted."""

    async def one() -> None:
        scope, body = request(kind, random.choice(lines), token)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                failed[message["status"]] += 1

        await platform(scope, receive, send)

    return one


async def many(one: Callable[[], Awaitable[None]], count: int) -> float:
    """Microseconds of processor time a request."""
    async def some() -> None:
        for _ in range(count // TOGETHER):
            await one()

    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(TOGETHER)))
    return (time.process_time() - began) / count * 1e6


async def measure(kind: str, folder: Path, count: int, token: str) -> str:
    """The two parts as Markdown."""
    failed: Counter[int] = Counter()
    platform = Platform(settings_module.load())
    await platform.open()
    lines = (folder / f"{kind}.txt").read_text().splitlines()
    one = sender(platform, kind, lines, token, failed)
    await many(one, count // 4)
    microseconds = await many(one, count)
    profile = cProfile.Profile()
    profile.enable()
    await many(one, count)
    profile.disable()
    await platform.close()
    told = [(f"{kind}: {microseconds:,.0f} microseconds of processor time a request in the worker, "
            f"without HTTP; {count} requests, {TOGETHER} at once, refused {sum(failed.values())}."),
            "", "| file | share of the profile | calls a request |", "|---|---|---|"]
    return "\n".join(told + shares(pstats.Stats(profile), count))


def shares(stats: pstats.Stats, count: int) -> list[str]:
    """Rows of the table: own time by source file, the twelve largest."""
    own: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (name, _, _), (_, called, seconds, _, _) in stats.stats.items():  # type: ignore[attr-defined]  # Not in the stubs.
        short = name.split("site-packages/")[-1].split("/src/")[-1]
        short = "built into Python" if name == "~" else short.split("/python3.")[-1]
        own[short] += seconds
        calls[short] += called
    total = sum(own.values())
    return [f"| {name} | {seconds / total:.0%} | {calls[name] / count:.1f} |"
            for name, seconds in own.most_common(12)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["read", "search", "create"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=4000)
    given = parser.parse_args()
    os.environ["DMED_DATA"] = str(given.folder)
    with database(settings_module.load()) as addresses:
        if not (given.folder / f"{given.kind}.txt").exists():
            write_types(given.folder)
            asyncio.run(samples(addresses.cluster, given.folder, Results()))
        token = subprocess.run([DMED, "token", "--user", "service"], capture_output=True,
                               text=True, check=True, cwd=ROOT).stdout.strip()
        os.environ["DMED_DATABASE_URL"] = addresses.application
        print(f"Machine: {machine()}.\n")
        print(uvloop.run(measure(given.kind, given.folder, given.requests, token)))


if __name__ == "__main__":
    main()
