"""The index of persons at the size of a country: candidates, ranking, search as you type, $match.

    python bench/persons.py [--rows 200000] [--cards 20000] [--asks 1000] [--http] [--seconds 10]
                            [--data FOLDER] [--write]

`cards` persons have complete Patients, written as an import writes them. The rest of `rows` are
filler: rows of the index alone, their names, dates, phones and districts drawn independently from
those of the cards. Asks are about persons with cards, with the slips of `persons_data.asked`.
--data keeps the database in a folder, so that the same rows are measured again (--rows is then
what is there). --write puts what is printed into docs/performance/persons.md. The bars: issue of
MED-ID, docs/reference/person-search.md.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop

from dmed.apps.database import Addresses, database, prepare
from dmed.fhir import codec, persons
from dmed.kit.settings import Settings
from dmed.modules.medid.rules import keys
from dmed.modules.medid.service import finding
from dmed.store import load
from dmed.store import persons as store_persons
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.pool import Database
from dmed.store.schema import SEARCH_INDEXES
from dmed.trust.gateway import Gateway, Stored
from dmed.trust.gateway import prepare as preparing
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys
from dmed.trust.model import Role, Subject
from persons_data import Crowd, asked, patient, typed
from tools import DMED, ROOT, Figures, Server, free_port, machine, wrk

SERVICE = Subject(user="service", role=Role.SERVICE)
PART_ROWS = 1_000_000
WARM_SECONDS = 20
RUNS = (("$match", 1, 0), ("$match", 8, 300), ("$match", 8, 0), ("$find-person", 1, 0),
        ("$find-person", 8, 0))
"""What is asked, by how many clients, how often a second (0: as fast as they are answered). The bar
names 300 `$match` a second by eight clients."""
TABLES = ("person", *store_persons.INDEXES, "person_record")


class Produce:
    """The Write of the person of a number."""

    def __init__(self) -> None:
        self.crowd = Crowd()

    def __call__(self, number: int) -> Write:
        body = msgspec.json.encode(patient(self.crowd.someone(number)))
        resource = codec.decode(body, "Patient")
        return preparing.write_of(resource, preparing.make_id(resource), is_new=True)


_POOL = """
CREATE TEMP TABLE pool AS SELECT row_number() OVER ()::int - 1 AS n, family, given, patronymic,
    born, district, traits FROM person TABLESAMPLE SYSTEM (100) LIMIT 200000;
ALTER TABLE pool ADD PRIMARY KEY (n);
ANALYZE pool;
"""
_FILL = """
INSERT INTO person (vid, bucket, param, family, given, patronymic, pinfl, phone, born, district,
                    traits)
SELECT $1::bigint + s.at, (s.at % 4096)::smallint, $2::int, f.family, g.given, p.patronymic,
    30000000000000 + ($1::bigint + s.at) % 20000000000000, 998900000000 + (s.at * 7919) % 100000000,
    b.born, d.district, g.traits
FROM (SELECT at, (random() * m)::int AS f, (random() * m)::int AS g, (random() * m)::int AS p,
             (random() * m)::int AS b, (random() * m)::int AS d
      FROM generate_series(1, $3::bigint) AS at, (SELECT max(n) AS m FROM pool) AS size) AS s
JOIN pool f ON f.n = s.f JOIN pool g ON g.n = s.g JOIN pool p ON p.n = s.p
JOIN pool b ON b.n = s.b JOIN pool d ON d.n = s.d
"""


async def build(addresses: Addresses, cards: int, rows: int) -> None:
    """Cards by import, then filler with the indexes built after it."""
    audit = AuditRow(request="bench", action="C", subject="bench", role="service")
    began = time.perf_counter()
    await load.load(addresses.owner, Scope("bench"), audit, range(cards), Produce(), processes=2)
    took = time.perf_counter() - began
    print(f"{cards:,} cards imported, index kept: {cards / took:,.0f} a second")
    connection: Any = await asyncpg.connect(addresses.owner)
    await connection.execute("SET maintenance_work_mem = '1GB'; SET synchronous_commit = off")
    began = time.perf_counter()
    await connection.execute(_POOL)
    for name in (*store_persons.INDEXES, "person_record"):
        await connection.execute(f"DROP INDEX IF EXISTS {name}")
    # Version numbers that no record has.
    start = 1
    while start <= rows - cards:
        part = min(PART_ROWS, rows - cards - start + 1)
        await connection.execute(_FILL, start, persons.PERSON, part)
        start += part
    filled = time.perf_counter() - began
    for name in (*store_persons.INDEXES, "person_record"):
        await connection.execute(SEARCH_INDEXES[name])
    await connection.execute("ANALYZE person")
    await connection.close()
    print(f"{rows:,} rows: filled in {filled:.0f} s, indexed in "
          f"{time.perf_counter() - began - filled:.0f} s")


async def sizes(connection: Any) -> None:
    """Megabytes of the table and of each index, and bytes a row."""
    rows = await connection.fetchval("SELECT count(*) FROM person")
    total = 0
    for name in TABLES:
        size = await connection.fetchval("SELECT pg_relation_size($1::regclass)", name)
        total += size
        print(f"  {name}: {size / 2**20:,.0f} MB, {size / max(rows, 1):.0f} bytes a row")
    print(f"  in all {total / 2**30:.2f} GB, {total / max(rows, 1):.0f} bytes a row; at 36 million "
          f"rows {total / max(rows, 1) * 36e6 / 2**30:.1f} GB")


def told(name: str, seconds: Iterable[float]) -> None:
    """Percentiles of one measure."""
    cuts = statistics.quantiles(seconds, n=1000)
    print(f"{name}: p50 {cuts[499] * 1e3:.2f} ms, p95 {cuts[949] * 1e3:.2f} ms, "
          f"p99 {cuts[989] * 1e3:.2f} ms")


async def find_candidates(db: Database, gateway: Gateway, cards: int, asks: int) -> None:
    """Keys, coarse ranking and scoring, each by itself; with a PINFL in two of three, and none."""
    crowd = Crowd()
    for share in (0.66, 0.0):
        chance = random.Random(11)
        taken: dict[str, list[float]] = {"keys": [], "whole": []}
        among = near = coarse = first = brought = 0
        for _ in range(asks):
            one = crowd.someone(chance.randrange(cards))
            body = asked(one, chance, pinfl=share)
            resource = codec.decode(msgspec.json.encode(body), "Patient")
            rows, values = finding.rows_asked(resource)
            began = time.perf_counter()
            async with db.connection() as connection:
                found = await store_persons.candidates(
                    connection.fetch, keys.asked_of(rows, values))
            taken["keys"].append(time.perf_counter() - began)
            brought += len(found)
            right = {each.vid for each in found if each.pinfl == int(one.pinfl)}
            among += bool(right)
            best = keys.nearest(rows, found, finding.SCORED_MAX)
            near += any(each.vid in right for each in best)
            coarse += bool(best) and best[0].vid in right
            began = time.perf_counter()
            matched = await finding.match(
                gateway, SERVICE, resource, body, choose=lambda scored: scored[:1])
            taken["whole"].append(time.perf_counter() - began)
            first += bool(matched) and matched[0].stored.vid in right
        what = f"with a PINFL in {share:.0%}" if share else "without PINFL"
        print(f"{what}: {brought / asks:.0f} candidates on average, the person among them "
              f"{among / asks:.4f}, among the {finding.SCORED_MAX} read {near / asks:.4f}; first "
              f"by the coarse weight {coarse / asks:.4f}, by the score among cards "
              f"{first / asks:.4f}")
        for name, seconds in taken.items():
            told(f"  {name}", seconds)


async def type_along(gateway: Gateway, cards: int, asks: int) -> None:
    """Every keystroke of some searches, and whether the person is on the first page at the end."""
    crowd, chance = Crowd(), random.Random(12)
    taken: list[float] = []
    worst: list[tuple[float, str]] = []
    shown = searches = 0
    while len(taken) < asks:
        one = crowd.someone(chance.randrange(cards))
        hits: list[tuple[Stored, str]] = []
        for text, year in typed(one, chance):
            began = time.perf_counter()
            hits = await finding.find_records(gateway, SERVICE, text, 10, year=year)
            taken.append(time.perf_counter() - began)
            worst.append((taken[-1], f"{text!r} {year}"))
        searches += 1
        shown += any(one.pinfl.encode() in stored.body for stored, _ in hits)
    told(f"search as you type, {len(taken):,} keystrokes", taken)
    print(f"  the person is among the ten shown at the end of {shown / searches:.3f} of "
          f"{searches} searches (others may bear the same name)")
    slow = ", ".join(f"{text} {seconds * 1e3:.0f} ms" for seconds, text in sorted(worst)[:-6:-1])
    print(f"  slowest: {slow}")


async def inside(addresses: Addresses, settings: Settings, arguments: argparse.Namespace) -> None:
    """Everything that needs no HTTP."""
    await prepare(addresses)
    connection: Any = await asyncpg.connect(addresses.owner)
    there = await connection.fetchval("SELECT count(*) FROM person")
    if not there:
        await build(addresses, arguments.cards, arguments.rows)
    await sizes(connection)
    await connection.close()
    db = await Database.open(addresses.application, settings)
    await Identity(db.hot, settings, load_keys(settings.data)).save_demo()
    gateway = Gateway(db, settings)
    await find_candidates(db, gateway, arguments.cards, arguments.asks)
    await type_along(gateway, arguments.cards, arguments.asks)
    await db.close()


def over_http(folder: Path, arguments: argparse.Namespace) -> None:
    """`$match` and `$find-person` of a platform with two workers, as RUNS says."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "DMED_DATA": str(folder), "DMED_PORT": str(port),
                   "DMED_ROWS_PER_HOUR_SYSTEM": "1000000000"}
    crowd, chance = Crowd(), random.Random(13)
    some = [crowd.someone(chance.randrange(arguments.cards)) for _ in range(2_000)]
    bodies = folder / "match.txt"
    bodies.write_text("\n".join(
        msgspec.json.encode(asked(one, chance)).decode() for one in some))
    lines = folder / "find.txt"
    lines.write_text("\n".join(
        f"/fhir/Patient/$find-person?{text}" for one in some[:500]
        for text in _queries(typed(one, chance))))
    with Server([str(DMED), "serve"], environment, f"{base}/readyz", folder / "log"):
        token = subprocess.run([DMED, "token", "--user", "service"], capture_output=True,
                               text=True, check=True, env=environment).stdout.strip()
        kinds = {"$match": ("create", bodies, "/fhir/Patient/$match"),
                 "$find-person": ("read", lines, "/")}
        for kind, file, target in kinds.values():
            # The index is larger than what a start reads: what is asked is what a day asks.
            wrk(Figures(), base, kind, file, token, WARM_SECONDS, target=target, connections=8)
        for name, clients, rate in RUNS:
            kind, file, target = kinds[name]
            figures = Figures()
            wrk(figures, base, kind, file, token, arguments.seconds, target=target,
                connections=clients, rate=rate)
            often = f", {rate}/s asked" if rate else ""
            print(f"{name}, {clients} clients{often}: {figures.rate:,.0f}/s, p50 "
                  f"{figures.p50:.1f} ms, p95 {figures.p95:.1f} ms, p99 {figures.p99:.1f} ms, "
                  f"{figures.errors} errors")


def _queries(keystrokes: Iterable[tuple[str, str]]) -> Iterable[str]:
    from urllib.parse import urlencode

    for text, year in keystrokes:
        yield urlencode([("q", text), *([("year", year)] if year else [])])


class Told(StringIO):
    """What is printed, kept for the page and shown at once."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = sys.stdout

    def write(self, text: str) -> int:
        self._shown.write(text)
        self._shown.flush()
        return super().write(text)


def page(said: str, arguments: argparse.Namespace) -> str:
    """docs/performance/persons.md of one run."""
    machine_said, _, rest = said.partition("\n")
    asked = [f"--rows {arguments.rows}", f"--cards {arguments.cards}", f"--asks {arguments.asks}",
             f"--seconds {arguments.seconds}", *(["--http"] if arguments.http else [])]
    return "\n".join([
        "# Persons: finding one among all", "",
        f"Made by `bench/persons.py {' '.join(asked)} --write`; change the code, not this page.",
        "",
        f"- Machine: {machine_said}; server, database and client share it.",
        f"- Load of the machine at the end: {os.getloadavg()[0]:.1f}; above 2 others worked too.",
        f"- {arguments.cards:,} persons have complete cards; the other rows of the index are",
        "  filler: names, dates, phones and districts drawn independently from those of the cards.",
        "- Asked are persons with cards, with typing errors and other scripts; one process without",
        "  HTTP first, then (`--http`) two workers with sign-in, policy and audit, after",
        f"  {WARM_SECONDS} seconds of each kind that are not counted.",
        "- Bars: `$match` through HTTP p95 under 20 ms and 300/s by 8 clients at 36 million rows;",
        "  search as you type p95 under 30 ms; ranked first at least 0.99.",
        "- What the import of persons costs: `bench/persons_feed.py`, docs/reference/med-id.md.",
        "", "```text", rest.rstrip(), "```", ""])


def main() -> None:
    """Build what is not there, then measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--cards", type=int, default=20_000)
    parser.add_argument("--asks", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    kept = Told()
    with redirect_stdout(kept):
        measure(arguments)
    if arguments.write:
        (ROOT / "docs" / "performance" / "persons.md").write_text(page(kept.getvalue(), arguments))


def measure(arguments: argparse.Namespace) -> None:
    """Prints everything."""
    print(machine())
    with tempfile.TemporaryDirectory(prefix="dmed-persons-") as name:
        folder = arguments.data or Path(name)
        folder.chmod(0o711)
        settings = Settings(data=folder, rows_per_hour_system=10**9)
        with database(settings) as addresses:
            uvloop.run(inside(addresses, settings, arguments))
        if arguments.http:
            over_http(folder, arguments)


if __name__ == "__main__":
    main()
