"""The life of prescriptions under load: cycles of twelve calls at an offered rate (issue 6, F).

A cycle: 1 prescribe with 2 items, 1 activate, 2 claims, 2 dispenses with pack check, 3 reads by id,
2 searches of medicines, 1 of persons. The load is open: each call has a moment in a plan that does
not wait for answers, and its time is counted from that moment, so that what a slow server keeps
waiting is counted too. A call without an answer, or refused with 429 or 503, is asked again later
with the same idempotency key. At the end every acknowledged act is looked for in the database.

    python bench/life.py --rate 500 --minutes 10 --overload 1500 --overload-minutes 10 --write
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from life_check import check
from life_client import Client, cpu_seconds
from life_data import Data, prepare, tokens
from life_plan import KINDS, Line, Phase
from tools import ROOT, Server, free_port, machine

CLI = [sys.executable, "-c", "from dmed.apps.cli import main; main()"]
WARM_SECONDS = 8.0
RECOVERY_SECONDS = 30.0
BARS_MS = {"claim": 300.0, "dispense": 300.0, "activate": 1000.0}
ACCEPTED = 500.0
RECOVERY_BAR = 10.0


def main() -> None:
    """Prepare what is not there, drive the phases, check, tell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rate", type=float, default=500, help="calls a second, sustained")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--overload", type=float, default=1500, help="calls a second; 0: none")
    parser.add_argument("--overload-minutes", type=float, default=10)
    parser.add_argument("--after", type=float, default=0,
                        help="calls a second after the overload; 0: half of --rate")
    parser.add_argument("--persons", type=int, default=0, help="0: as many as the run needs")
    parser.add_argument("--folder", type=Path, help="keep the installation here and use it again")
    parser.add_argument("--write", action="store_true", help="write docs/performance/life.md")
    parser.add_argument("--profile", action="store_true", help="tell the dearest statements")
    given = parser.parse_args()
    calls = 60 * (given.rate * given.minutes
                  + min(given.overload, given.rate * 1.6) * given.overload_minutes)
    persons = given.persons or max(500, int(calls / 12 / 4))
    folder = given.folder or Path(tempfile.mkdtemp(prefix="dmed-life-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    try:
        text, is_right = run(given, folder, persons)
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if given.write:
        (ROOT / "docs" / "performance" / "life.md").write_text(text)
    sys.exit(0 if is_right else 1)


def run(given: argparse.Namespace, folder: Path, persons: int) -> tuple[str, bool]:
    """The whole on one installation; the page, and whether nothing acknowledged was lost."""
    port = free_port()
    environment = {**os.environ, "DMED_DATA": str(folder), "DMED_PORT": str(port),
                   "DMED_WORKERS": "2"}
    say(f"preparing {persons:,} persons")
    kept = folder / "life.json"
    if not kept.exists():
        data = prepare(CLI, environment, folder, persons)
        kept.write_bytes(msgspec.json.encode(data))
    data = msgspec.json.decode(kept.read_bytes(), type=Data)
    with Server([*CLI, "serve"], environment, f"http://127.0.0.1:{port}/readyz",
                folder / "serve.log") as server:
        data = msgspec.structs.replace(data, tokens=tokens(environment, folder))
        line = uvloop.run(drive(given, port, data, server))
        faults = asyncio.run(check(folder, line, data, given.profile))
    if given.folder is not None:
        kept.write_bytes(msgspec.json.encode(msgspec.structs.replace(data, begun=line.begun)))
    return report(given, line, faults, persons), not faults


async def drive(given: argparse.Namespace, port: int, data: Data, server: Server) -> Line:
    """Warm-up, sustained load, overload and what comes after it."""
    client = Client(port)
    line = Line(client, data)
    say("warming up")
    await line.phase(Phase("warm-up", min(given.rate, 240.0) / 2, WARM_SECONDS))
    phases = [Phase("sustained", given.rate, given.minutes * 60)]
    if given.overload:
        after = given.after or given.rate / 2
        phases += [Phase("overload", given.overload, given.overload_minutes * 60),
                   Phase("after", after, RECOVERY_SECONDS)]
    for phase in phases:
        say(f"{phase.name}: {phase.rate:.0f} calls/s for {phase.seconds:.0f} s")
        before = cpu_seconds(server.process.pid)
        await line.phase(phase, settle=phase.name != "overload")
        after_cpu = cpu_seconds(server.process.pid)
        phase.cpu = {name: after_cpu[name] - before[name] for name in after_cpu}
        say(phase.told())
    await line.settle()
    client.close()
    return line


# The page


def report(given: argparse.Namespace, line: Line, faults: list[str], persons: int) -> str:
    """docs/performance/life.md: how, then a part a phase, then what was looked for afterwards."""
    lines = [
        "# The life of prescriptions under load", "",
        "Made by `bench/life.py --write`; change the code, not this page.", "",
        f"- Machine: {machine()}; server, database and load generator share it.",
        (f"- Two workers, sign-in, rights, checks, signatures, audit and pack check on, fsync on; "
         f"{persons:,} persons, {len(line.data.tokens['doctor'])} doctors and "
         f"{len(line.data.tokens['pharmacist'])} pharmacists signed in."),
        ("- Cycles of twelve calls: 1 prescribe with 2 items, 1 activate, 2 claims, 2 dispenses "
         "with pack check, 3 reads by id, 2 searches of medicines, 1 of persons."),
        ("- Open load: times are from the planned moment of a call, so what a slow server keeps "
         "waiting is counted."), "",
    ]
    for phase in line.phases[1:]:
        lines += phase_part(phase)
    sustained = next(one for one in line.phases if one.name == "sustained")
    lines += ["## Bars", "", "| what | measured | bar | |", "|---|---|---|---|"]
    lines += [bar(f"{given.rate:.0f}/s offered, accepted", sustained.accepted_a_second,
                  ACCEPTED, "/s", is_low=False)]
    lines += [bar(f"{kind} p95", sustained.percentile(kind, 0.95), most, " ms")
              for kind, most in BARS_MS.items()]
    overload = next((one for one in line.phases if one.name == "overload"), None)
    if overload is not None:
        after = next(one for one in line.phases if one.name == "after")
        lines += [
            bar(f"{overload.rate:.0f}/s offered, accepted", overload.accepted_a_second, ACCEPTED,
                "/s", is_low=False),
            bar("the same in the worst 10 s", overload.worst_window(10), ACCEPTED, "/s",
                is_low=False),
            bar("refusals without Retry-After, or other errors",
                float(overload.unmarked + overload.error_count), 0.0, ""),
            bar(f"recovery at {after.rate:.0f}/s", after.recovery(BARS_MS), RECOVERY_BAR, " s"),
        ]
    lines += ["", "## Nothing lost", "",
              *(f"- {each}" for each in (line.found or ["not looked for"])),
              *(f"- FAULT: {each}" for each in faults[:20]), ""]
    return "\n".join(lines)


def bar(name: str, value: float, most: float, unit: str, *, is_low: bool = True) -> str:
    """One line of the table of bars."""
    holds = value <= most if is_low else value >= most * 0.995
    sign = "at most" if is_low else "at least"
    return (f"| {name} | {value:,.1f}{unit} | {sign} {most:,.0f}{unit} "
            f"| {'reached' if holds else 'MISSED'} |")


def phase_part(phase: Phase) -> list[str]:
    """A phase in words and its table of kinds of calls."""
    cycles = max(phase.accepted / 12, 0.1)
    cpu = ", ".join(f"{name} {seconds / phase.wall * 100:.0f} % of a core"
                    for name, seconds in phase.cpu.items())
    each = ", ".join(f"{name} {seconds / cycles * 1000:.1f} ms"
                     for name, seconds in phase.cpu.items())
    made = [
        f"## {phase.name.capitalize()}: {phase.rate:,.0f} calls/s for {phase.seconds / 60:g} min",
        "",
        (f"Accepted {phase.accepted:,} ({phase.accepted_a_second:,.0f}/s), refused with "
         f"Retry-After {phase.refused:,}, without {phase.unmarked}, other errors "
         f"{phase.error_count}; not sent {phase.unsent:,}, no work ready {phase.idle:,} (a read "
         "took its place)."), "",
        f"Processor: {cpu}; for each cycle of twelve accepted calls: {each}.", "",
        "| call | accepted | refused | p50 ms | p95 ms | p99 ms | largest ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        row = [phase.percentile(kind, at) for at in (0.5, 0.95, 0.99, 1.0)]
        made.append(f"| {kind} | {len(phase.times[kind]):,} | {phase.refusals[kind]:,} | "
                    + " | ".join(f"{each:,.0f}" for each in row) + " |")
    if phase.errors:
        made += ["", "Errors: " + json.dumps(
            {f"{kind} {status}": count for (kind, status), count in phase.errors.items()})]
    return [*made, ""]


def say(text: str) -> None:
    """One line for whoever waits."""
    print(f"life: {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
