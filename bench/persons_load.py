"""A first load of millions of persons, killed in the middle: `persons_feed.py --kill-at 0.5`.

The command itself works (`dmed persons import`, two processes, the embedded server) on a file of
invented persons; four lines of a thousand are odd: another sex than the PINFL's, a name of one
letter, a line again with another address, a known PINFL under another name. When the ledger holds
so large a share of the lines, the importer is killed (SIGKILL, with its processes; its server goes
with it), and the same command is given again. Afterwards the cards are compared with the lines.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import msgspec

from dmed.apps.postgres import Cluster, Supervisor
from dmed.modules.medid.rules import PINFL_SYSTEM
from dmed.store.keys import system_number, type_number
from dmed.store.schema import SEARCH_INDEXES
from tools import ROOT, machine

PAGE = ROOT / "docs" / "performance" / "persons_feed.md"
TICK_SECONDS = 1.0
MIB = 1 << 20
Line = Callable[..., str]


class Tick(msgspec.Struct):
    """What was seen at one moment of a run."""

    seconds: float
    items: int
    loader: int
    """Bytes of the importer's processes that are theirs alone."""
    server: int
    """The same of the server's processes, and the shared memory that they touched."""
    disk: int
    indexes: int


class Run(msgspec.Struct):
    """One call of the command."""

    ticks: list[Tick]
    seconds: float
    said: str
    is_killed: bool


def odd(number: int, line: Line) -> str:
    """The line of a person, or an odd one."""
    match number % 1000:
        case 199:
            return _with(line(number), 5, "f")
        case 399:
            return _with(line(number - 1), 1, "A")
        case 599:
            return line(number - 1, is_moved=True)
        case 799:
            return _with(line(number - 1), 1, "Xolmatboyev")
    return line(number) if number % 100 != 99 else _with(line(number), 5, "m")


def _with(line: str, place: int, value: str) -> str:
    """The line with another value in one column."""
    parts = line.split(",")
    parts[place] = value
    return ",".join(parts)


def kinds(persons: int) -> dict[str, int]:
    """How many lines of each kind there are."""
    count = {name: (persons + 1000 - 1 - at) // 1000 for name, at in (
        ("of another sex", 199), ("a name of one letter", 399), ("again, moved", 599),
        ("again, of another name", 799))}
    return {"plain": persons - sum(count.values()), **count}


# Watching -------------------------------------------------------------------------------------


def _own_bytes(pids: list[int]) -> tuple[int, int]:
    """(anonymous bytes of processes together, the most shared memory that one of them touched)."""
    own = shared = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # It has ended.
        told = dict(row.split(":", 1) for row in text.splitlines() if ":" in row)
        own += int(told.get("RssAnon", "0").split()[0]) << 10
        shared = max(shared, int(told.get("RssShmem", "0").split()[0]) << 10)
    return own, shared


def _below(pid: int) -> list[int]:
    """A process and all that it started, and these started."""
    parents: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(each.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def _postmaster(cluster: Cluster) -> int:
    try:
        return int((cluster.pgdata / "postmaster.pid").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def _folder_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_blocks * 512
            except OSError:
                continue  # A file of a moment.
    return total


async def _seen(cluster: Cluster) -> tuple[int, int]:
    """(lines in the ledger, search indexes that are there); of a server that is not up, none."""
    try:
        connection = await asyncpg.connect(cluster.url("dmed_owner"), timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return 0, 0
    try:
        items = await connection.fetchval(
            "SELECT coalesce(sum(items), 0) FROM load_ledger WHERE digest LIKE 'persons:%'")
        there = await connection.fetchval(
            "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE c.relname = ANY($1::text[]) AND i.indisvalid", list(SEARCH_INDEXES))
        return int(items), int(there)
    except (OSError, asyncpg.PostgresError):
        return 0, 0
    finally:
        await connection.close()


def call(folder: Path, file: Path, kill_at: int) -> Run:
    """The command, watched; killed when the ledger holds so many lines (0: never)."""
    log = folder / "said.txt"
    began = time.monotonic()
    with log.open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-c", "from dmed.apps.cli import main; main()", "persons", "import",
             str(file)], env={**os.environ, "DMED_DATA": str(folder / "data")}, stdout=said,
            stderr=subprocess.DEVNULL, start_new_session=True)
    ticks: list[Tick] = []
    cluster = None
    while child.poll() is None:
        time.sleep(TICK_SECONDS)
        if cluster is None and (folder / "data" / "postgres.json").exists():
            cluster = Cluster(folder / "data")
        if cluster is None:
            continue
        items, there = asyncio.run(_seen(cluster))
        server = _postmaster(cluster)
        below = set(_below(server)) if server else set()
        loader, _ = _own_bytes([one for one in _below(child.pid) if one not in below])
        own, shared = _own_bytes(list(below))
        disk = _folder_bytes(folder / "data") if len(ticks) % 20 == 0 else ticks[-1].disk
        ticks.append(Tick(time.monotonic() - began, items, loader, own + shared, disk, there))
        if kill_at and items >= kill_at:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            break
    return Run(ticks, time.monotonic() - began, log.read_text().strip(),
               is_killed=child.returncode != 0)


# What came of it --------------------------------------------------------------------------------


_COUNTS = {
    "cards": f"SELECT count(*) FROM resource WHERE type = {type_number('Patient')}",
    "PINFLs that stand on a card": (
        f"SELECT count(*) FROM identity_claim c JOIN resource r ON r.bucket = c.bucket "
        f"AND r.type = c.type AND r.id = c.id WHERE c.system = {system_number(PINFL_SYSTEM)}"),
    "cards in the index of persons": "SELECT count(DISTINCT vid) FROM person",
    "cards in the feed of changes, as made": "SELECT count(*) FROM feed WHERE kind = 'C'",
    "audit rows of a card that was made": (
        "SELECT count(*) FROM audit WHERE patient IS NOT NULL AND action = 'C'"),
}
_LEDGER = (
    "SELECT sum(items) AS read, sum(loaded) AS stored, "
    "sum(jsonb_array_length(faults)) AS refused FROM load_ledger WHERE digest LIKE 'persons:%'")
_QUEUE = ("SELECT kind, reasons->>0 AS reason, count(*) AS lines FROM person_feed "
          "GROUP BY 1, 2 ORDER BY 3 DESC, 2")
_SIZES = """
SELECT c.relname AS name, pg_relation_size(t.oid) AS bytes, pg_indexes_size(t.oid) AS index_bytes
FROM pg_class t JOIN pg_class c ON c.oid = t.oid
WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r'
ORDER BY pg_total_relation_size(t.oid) DESC LIMIT 9
"""


async def facts(cluster: Cluster, persons: int) -> list[str]:
    """Lines of Markdown: the ledger, the comparison of cards with lines, and bytes."""
    connection = await asyncpg.connect(cluster.url("dmed_owner"), command_timeout=1800)
    try:
        ledger = await connection.fetchrow(_LEDGER)
        queue = await connection.fetch(_QUEUE)
        counts = {name: await connection.fetchval(sql) for name, sql in _COUNTS.items()}
        sizes = await connection.fetch(_SIZES)
        whole = await connection.fetchval("SELECT pg_database_size(current_database())")
    finally:
        await connection.close()
    copied = (f"Ledger of the copying: {ledger['read']:,} lines read, {ledger['stored']:,} stored, "
              f"{ledger['refused']:,} left to the comparison with cards. What there is to be said "
              "of these at its end:")
    lines = ["", copied, "", "| kind | first reason | lines |", "|---|---|---|"]
    lines += [f"| {row['kind']} | {row['reason'] or ''} | {row['lines']:,} |" for row in queue]
    told = kinds(persons)
    wanted = told["plain"]
    lines += ["", "The file: " + ", ".join(f"{count:,} {name}" for name, count in told.items())
              + f". Each plain line must have made one card: {wanted:,}.", "",
              "| counted afterwards | | |", "|---|---|---|"]
    lines += [f"| {name} | {count:,} | {'as it must be' if count == wanted else 'WRONG'} |"
              for name, count in counts.items()]
    each = max(counts["cards"], 1)
    lines += ["", f"The database: {whole / 1e9:.2f} GB, {whole / each:,.0f} bytes a card.", "",
              "| table | bytes a card | of indexes |", "|---|---|---|"]
    lines += [f"| {row['name']} | {row['bytes'] / each:,.0f} | {row['index_bytes'] / each:,.0f} |"
              for row in sizes]
    return lines


def progress(runs: list[Run], persons: int, step: int) -> Iterator[str]:
    """The table of rates by stretches of lines, whichever run they came in."""
    yield from ["| lines | s | lines/s | loader MB | server MB | disk GB |",
                "|---|---|---|---|---|---|"]
    before = 0
    for run in runs:
        last = Tick(0.0, before, 0, 0, 0, 0)
        peak = [0, 0, 0]
        for tick in run.ticks:
            peak = [max(old, new) for old, new in zip(
                peak, (tick.loader, tick.server, tick.disk), strict=True)]
            done = tick.items
            if done <= before:
                last = Tick(tick.seconds, before, 0, 0, 0, 0)  # Its server and processes start.
            is_end = done >= persons or (run.is_killed and tick is run.ticks[-1])
            if done <= last.items or not (done // step > last.items // step or is_end):
                continue
            took = max(tick.seconds - last.seconds, 0.001)
            yield (f"| to {done:,} | {took:,.0f} | {(done - last.items) / took:,.0f} | "
                   f"{peak[0] / MIB:,.0f} | {peak[1] / MIB:,.0f} | {peak[2] / 1e9:.1f} |")
            last, peak = tick, [0, 0, 0]
        before = max(one.items for one in run.ticks)


def phases(run: Run, persons: int) -> str:
    """Where the time of a run went."""
    rows = next((one.seconds for one in run.ticks if one.items >= persons), run.seconds)
    built = next((one.seconds for one in run.ticks
                  if one.items >= persons and one.indexes == len(SEARCH_INDEXES)), run.seconds)
    return (f"copying {rows:,.0f} s, indexes {built - rows:,.0f} s, statistics and the comparison "
            f"of odd lines {run.seconds - built:,.0f} s")


def measured(folder: Path, persons: int, share: float, line: Line, head: str) -> str:
    """The whole run as Markdown."""
    file, step = folder / "persons.csv", max(min(1_000_000, persons // 10), 1)
    began = time.monotonic()
    with file.open("w") as opened:
        opened.write(head + "\n")
        opened.writelines(odd(number, line) + "\n" for number in range(persons))
    sys.stderr.write(f"file of {file.stat().st_size / 1e6:,.0f} MB in "
                     f"{time.monotonic() - began:.0f} s\n")
    load, runs = os.getloadavg()[0], []
    if share:
        runs.append(call(folder, file, max(int(persons * share), 1)))
        sys.stderr.write("\n".join(progress(runs, persons, step)) + "\n")
    runs.append(call(folder, file, 0))
    cluster = Cluster(folder / "data")
    with Supervisor(cluster):
        told = asyncio.run(facts(cluster, persons))
    return "\n".join([
        f"- Machine: {machine()}",
        f"- Load of the machine at the beginning {load:.1f}, at the end {os.getloadavg()[0]:.1f}.",
        f"- File: {persons:,} lines, {file.stat().st_size / 1e6:,.0f} MB.", "",
        *summary(runs, persons), "", *progress(runs, persons, step), *told, ""])


def summary(runs: list[Run], persons: int) -> Iterator[str]:
    """The whole in sentences."""
    whole = sum(run.seconds for run in runs)
    loader, server = (max(values) / MIB for values in zip(
        *((one.loader, one.server) for run in runs for one in run.ticks), strict=True))
    yield (f"{persons:,} lines in {whole:,.0f} s: {persons / whole:,.0f} lines/s, starts of the "
           "server, indexes, statistics and odd lines with them. At most "
           f"{loader:,.0f} MB of the loader's processes together and {server:,.0f} MB of the "
           "server's, its shared memory with them.")
    yield ""
    if len(runs) > 1:
        yield (f"Killed (SIGKILL) after {runs[0].seconds:,.0f} s with "
               f"{runs[0].ticks[-1].items:,} lines in the ledger; the same command again went on "
               f"in {runs[1].seconds:,.0f} s: {phases(runs[1], persons)}.")
    else:
        yield f"{phases(runs[0], persons)}."
    yield ""
    yield f"The command said: {runs[-1].said.split('; what')[0]}."


def run(persons: int, share: float, line: Line, head: str, *, is_written: bool) -> None:
    """Measure in a folder of its own beside the data of installations, and print."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-load-"))
    folder.chmod(0o711)
    try:
        text = measured(folder, persons, share, line, head)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(text)
    if is_written:
        PAGE.write_text(
            "# The national feed: a first load of persons\n\nMade by `bench/persons_feed.py "
            f"--persons {persons} --kill-at {share} --write`; change the code, not this page.\n\n"
            f"{text}")
