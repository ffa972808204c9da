"""What trust costs on a read: the door's limits, the token, the decision, and the audit.

`python bench/trust.py --folder DIR` works on an installation with records in DIR (`dmed demo` made
it) and takes each part alone, in one process and without HTTP, in microseconds of processor time:
the worker's own by its clock, the database's by that of its backend. The audit in the database is
the difference between the statement of a group of reads with its audit rows and without them. The
design allows 60 microseconds for token, decision and audit together. Run it on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from dmed.apps.database import database
from dmed.apps.web import Platform
from dmed.kit import settings as settings_module
from dmed.kit.ids import bucket_in
from dmed.store import audit as audits
from dmed.store import read as reads
from dmed.store.keys import type_number
from dmed.trust.decide import Action, decide
from dmed.trust.gateway.common import audit_of
from spent import many, request
from tools import machine

GROUP = 16
"""Reads that share a statement, as under load."""
ROUNDS = 5
TICKS = os.sysconf("SC_CLK_TCK")
ALLOWED_MICROSECONDS = 60.0


def spent(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(parts[11]) + int(parts[12])) / TICKS


async def alone(act: Callable[[], Awaitable[Any]] | Callable[[], Any], count: int) -> float:
    """Microseconds of this process for one act, the median of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(count):
            made = act()
            if made is not None and hasattr(made, "__await__"):
                await made
        taken.append((time.process_time() - began) / count * 1e6)
    return statistics.median(taken)


def without_audit() -> str:
    """The statement of a group of reads, its audit rows left out."""
    begin, mark, rest = reads.GROUP_SQL.partition(", rows AS (")
    end = rest.rpartition("\nSELECT bucket,")
    assert mark, "the statement of reads has another shape: this script has to follow it"
    return begin + end[1] + end[2]


async def in_database(url: str, statement: str, ids: list[str], actor: int, count: int) -> float:
    """Microseconds of a backend for one record of a group, commit and all."""
    connection = await asyncpg.connect(url, server_settings={
        "plan_cache_mode": "force_generic_plan", "jit": "off"})
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    number = type_number("Observation")

    async def some(groups: int) -> None:
        for _ in range(groups):
            chosen = random.sample(ids, GROUP)
            await connection.fetch(
                statement, [bucket_in(one) for one in chosen], [number] * GROUP, chosen,
                [actor] * GROUP, ["bench-1"] * GROUP, [None] * GROUP)

    await some(50)
    before = spent(pid)
    await some(count // GROUP)
    taken = (spent(pid) - before) / (count // GROUP * GROUP) * 1e6
    await connection.close()
    return taken


async def whole(platform: Platform, ids: list[str], token: str, count: int) -> float:
    """Microseconds of the worker for one read through everything."""
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    async def one() -> None:
        scope, _ = request("read", f"/fhir/Observation/{random.choice(ids)}", token)
        await platform(scope, receive, send)

    await many(one, count // 4)
    return statistics.median([await many(one, count) for _ in range(ROUNDS)])


async def worker_parts(platform: Platform, token: str, ids: list[str]) -> dict[str, float]:
    """The worker's parts, each alone."""
    identity, gateway = platform.guard.identity, platform.gateway.plain()
    subject = await identity.bearer(token.encode())
    scope, _ = request("read", "/fhir/Observation/x", token)
    platform.limits.learn(scope, subject.user, time.monotonic())

    def door() -> None:
        line = platform.limits.enter(scope, time.monotonic())
        line.credit = line.rate * 4  # This loop is quicker than anybody may ask.
        platform.limits.is_full(line)
        platform.limits.leave(line)

    def decision() -> None:
        decide(subject, Action.READ, "Observation", gateway.context)
        gateway.known_scope(subject)

    async def row() -> None:
        audit = audit_of(subject, "R", "Observation", ids[0])
        await audits.actor_number(platform.database, audit)

    return {
        "limits of the door": await alone(door, 20_000),
        "token (verified within the last minute)": await alone(
            lambda: identity.bearer(token.encode()), 20_000),
        "decision and scope": await alone(decision, 20_000),
        "audit row, in the worker": await alone(row, 20_000),
    }


async def measure(url: str, count: int) -> list[str]:
    """The table as lines of Markdown."""
    platform = Platform(settings_module.load())
    await platform.open()
    token = await platform.guard.identity.issue_token("service")
    hot = platform.database.hot
    ids = [row["id"] for row in await hot.fetch(
        "SELECT id FROM resource WHERE type = $1 LIMIT 20000", type_number("Observation"))]
    parts = await worker_parts(platform, token, ids)
    actor = await audits.actor_number(platform.database, audit_of(
        await platform.guard.identity.bearer(token.encode()), "R", "Observation", ids[0]))
    bare, noted = [], []
    for _ in range(ROUNDS):  # In turns: what else the machine does meets both.
        bare.append(await in_database(url, without_audit(), ids, actor, count))
        noted.append(await in_database(url, reads.GROUP_SQL, ids, actor, count))
    parts["audit row, in the database"] = max(
        0.0, statistics.median(noted) - statistics.median(bare))
    worker = await whole(platform, ids, token, count)
    await platform.close()
    total = worker + statistics.median(noted)
    trust = sum(cost for name, cost in parts.items() if not name.startswith("limits"))
    lines = ["| part of a read | microseconds | of the whole |", "|---|---|---|"]
    lines += [f"| {name} | {cost:.1f} | {cost / total:.1%} |" for name, cost in parts.items()]
    lines += [f"| **token, decision and audit** | **{trust:.1f}** | **{trust / total:.1%}** |",
              (f"| whole read: worker {worker:.0f}, database {statistics.median(noted):.0f} "
              f"| {total:.0f} | 100% |"), "",
              (f"Allowed: {ALLOWED_MICROSECONDS:.0f} microseconds; "
              f"{'held' if trust <= ALLOWED_MICROSECONDS else 'MISSED'}. Groups of {GROUP} in the "
              f"database, median of {ROUNDS} rounds.")]
    return lines


def main() -> None:
    """Prints the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=8000)
    given = parser.parse_args()
    os.environ["DMED_DATA"] = str(given.folder)
    with database(settings_module.load()) as addresses:
        os.environ["DMED_DATABASE_URL"] = addresses.application
        lines = uvloop.run(measure(addresses.application, given.requests))
    print(f"Machine: {machine()}.\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
