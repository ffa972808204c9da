"""How search behaves as the data grows: the same query shapes at 1, 4, 16 and 64 times the data.

Shapes: those of the load test of mock.health's fhir-server-compare (`queries.yaml`, read from
DMED_SHARED_DATA), with values sampled from the loaded records, and the densities none, rare, half
and all of each search kind. One client asks one request after the other over one connection, each
with a fresh value; sign-in, policy and audit are on. p50 and p95 per shape; errors are counted.

`bench/shape.py --persons 2000 --steps 1,4,16,64 --write` writes docs/performance/shape.md. With
`--folder DIR` the installations stay in DIR/1, DIR/4 ... and are used again.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from dmed.apps.postgres import Cluster
from tools import DMED, ROOT, Server, free_port, machine

PAGE = ROOT / "docs" / "performance" / "shape.md"
SUITE = "conformance/testscripts-fhir-server-compare/queries.yaml"
SAMPLE_ROWS = 2_000
RATIO_BAR = 1.5
DENSITY_BAR = 10.0
SLOWEST_SECONDS = 20
"""After this long a shape is not asked further: what it has says enough."""


@dataclass
class Shape:
    """A query: its address with `{{place}}` for sampled values, and where each place comes from."""

    name: str
    path: str
    group: str = ""
    """The search kind whose densities it belongs to, or ""."""
    samples: dict[str, str] = field(default_factory=dict)


@dataclass
class Measured:
    """What one shape took at one size, in milliseconds."""

    p50: float = 0.0
    p95: float = 0.0
    requests: int = 0
    errors: int = 0
    matches: int | None = None
    said: str = ""


def shapes(file: Path) -> list[Shape]:
    """The shapes of queries.yaml that its own load test asks: GET, not marked `skip`.

    The file is regular, so that its few keys are read by their indentation.
    """
    found = []
    text = re.sub(r"(?m)^\s*#.*$", "", file.read_text(encoding="utf-8"))
    for block in re.split(r"\n  - name: ", text)[1:]:
        name = block.partition("\n")[0].strip()
        if re.search(r'^    loadtest: "skip', block, re.MULTILINE):
            continue
        path = _unquoted(re.search(r"^    path: (.+)$", block, re.MULTILINE)[1])
        pairs = "&".join(f"{key}={quote(value, safe='{}|/:')}" for key, value in
                         _section(block, "params"))
        samples = dict(_section(block, "sample"))
        found.append(Shape(name, f"/fhir/{path}" + (f"?{pairs}" if pairs else ""),
                           samples=samples))
    return found


def _section(block: str, name: str) -> list[tuple[str, str]]:
    part = re.search(rf"^    {name}:\n((?:      .+\n?)+)", block, re.MULTILINE)
    lines = part[1].splitlines() if part else []
    pairs = [re.match(r'\s+("[^"]+"|[^:]+): (.+)', line) for line in lines]
    return [(_unquoted(pair[1]), _unquoted(pair[2])) for pair in pairs if pair]


def _unquoted(text: str) -> str:
    return re.sub(r"\s+#.*$", "", text).strip().strip('"')


@dataclass
class Pools:
    """Values of the loaded records, by the names that queries.yaml gives to its pools."""

    values: dict[str, list[str]]
    densities: list[Shape]
    records: int

    def fill(self, shape: Shape) -> str | None:
        """The address with fresh values, or None where a pool is empty."""
        path = shape.path
        for place, pool in shape.samples.items():
            if not self.values.get(pool):
                return None
            value = quote(random.choice(self.values[pool]), safe="|/:.-")
            path = path.replace("{{" + place + "}}", value)
        return path


async def pools(cluster: Cluster) -> Pools:
    """Samples from all over the tables."""
    from dmed.store.keys import type_number

    connection = await asyncpg.connect(cluster.url("dmed_owner"))
    # What autovacuum does in the hours after a load, here before the measurement.
    await connection.execute("VACUUM (ANALYZE)")
    total = await connection.fetchval("SELECT count(*) FROM resource")

    async def some(name: str) -> list[dict]:
        share = min(100.0, 100 * SAMPLE_ROWS * 40 / max(total, 1))
        rows = await connection.fetch(
            f"SELECT body FROM resource TABLESAMPLE SYSTEM ({share}) WHERE type = $1 LIMIT $2",
            type_number(name), SAMPLE_ROWS)
        return [json.loads(row["body"]) for row in rows]

    people, observed = await some("Patient"), await some("Observation")
    values = {
        "patient_id": [one["id"] for one in people],
        "patient_family": [one["name"][0].get("family", "") for one in people if one.get("name")],
        "patient_given": [one["name"][0]["given"][0] for one in people
                          if one.get("name") and one["name"][0].get("given")],
        "condition_code": _codes(await some("Condition"), "code"),
        "procedure_code": _codes(await some("Procedure"), "code"),
        "medication_code": _codes(await some("MedicationRequest"), "medication"),
        "practitioner_id": [one["id"] for one in await some("Practitioner")],
        "location_id": [one["id"] for one in await some("Location")],
    }  # fmt: skip  # A table.
    await connection.close()
    return Pools({name: [one for one in many if one] for name, many in values.items()},
                 densities(people, observed), total)


def _codes(records: list[dict], key: str) -> list[str]:
    concepts = [one.get(key) or {} for one in records]
    codings = [(one.get("concept") or one).get("coding") or [{}] for one in concepts]
    return [f"{one[0].get('system', '')}|{one[0]['code']}" for one in codings if "code" in one[0]]


def densities(people: list[dict], observed: list[dict]) -> list[Shape]:
    """For each search kind a query that matches nothing, little, half and everything."""
    births = sorted(one["birthDate"] for one in people if "birthDate" in one)
    middle = births[len(births) // 2] if births else "1990-01-01"
    amounts = sorted(float(one["valueQuantity"]["value"]) for one in observed
                     if "value" in one.get("valueQuantity", {}))
    half = amounts[len(amounts) // 2] if amounts else 1
    codes = _codes(observed, "code")
    rare = min(set(codes), key=codes.count) if codes else "x"
    families = [one["name"][0].get("family", "x") for one in people if one.get("name")] or ["x"]
    letters = sorted({family[0] for family in families},
                     key=lambda letter: sum(family[0] >= letter for family in families))
    whom = people[0]["id"] if people else "x"
    table = {
        "token": ("Patient?gender=", [("none", "other"), ("half", "male")]),
        "token (code)": ("Observation?code=", [("none", "http://x|y"), ("rare", rare)]),
        "token (status)": ("Observation?status=", [("none", "cancelled"), ("all", "final")]),
        "string": ("Patient?family=", [("none", "Zzzzq"), ("rare", random.choice(families)),
                                       ("half", ",".join(letters[: len(letters) // 2 + 1]))]),
        "date": ("Patient?birthdate=", [("none", "ge2100"), ("rare", middle),
                                        ("half", f"ge{middle}"), ("all", "ge1850")]),
        "quantity": ("Observation?value-quantity=", [("none", "gt1000000000"),
                                                     ("half", f"gt{half}"), ("all", "ge-1000")]),
        "reference": ("Observation?subject=", [("none", "Patient/none"),
                                               ("rare", f"Patient/{whom}")]),
    }  # fmt: skip  # A table.
    return [Shape(f"{kind}, {density}", f"/fhir/{path}{quote(value, safe='|,:/')}&_count=20", kind)
            for kind, (path, cases) in table.items() for density, value in cases]


class Client:
    """One keep-alive connection, one request after the other."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}

    def get(self, path: str) -> tuple[int, bytes, float]:
        """Status, body and milliseconds; 0 where no answer came."""
        began = time.perf_counter()
        try:
            self._connection.request("GET", path, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            return 0, str(fault).encode(), (time.perf_counter() - began) * 1000
        return answer.status, body, (time.perf_counter() - began) * 1000


def measure(client: Client, shape: Shape, given: Pools, requests: int) -> Measured | None:
    """One shape; None where there is nothing to sample for it."""
    made = Measured()
    took: list[float] = []
    began = time.perf_counter()
    for number in range(requests + requests // 10 + 1):
        path = given.fill(shape)
        if path is None:
            return None
        status, body, milliseconds = client.get(path)
        if status != 200:
            made.errors += 1
            made.said = made.said or f"{status} {body[:160].decode('utf-8', 'replace')}"
        if number > requests // 10:  # The first tenth warms up.
            took.append(milliseconds)
        if time.perf_counter() - began > SLOWEST_SECONDS and took:
            break
    if shape.group:
        _, body, _ = client.get(f"{given.fill(shape)}&_summary=count&_total=accurate")
        made.matches = json.loads(body).get("total")
    made.requests = len(took)
    made.p50 = statistics.median(took)
    made.p95 = sorted(took)[min(int(len(took) * 0.95), len(took) - 1)]
    return made


def step(folder: Path, persons: int, asked: Sequence[Shape], requests: int
         ) -> tuple[dict[str, Measured | None], list[Shape], int]:
    """Load a country of this size into a folder of its own, if need be, and measure every shape."""
    environment = dict(os.environ, DMED_DATA=str(folder), DMED_PORT=str(free_port()))
    if not (folder / "postgres").exists():
        subprocess.run([DMED, "demo", "--persons", str(persons), "--seed", "1"], check=True,
                       capture_output=True, env=environment, cwd=ROOT)
    port = int(environment["DMED_PORT"])
    with Server([str(DMED), "serve", "--workers", "2"], environment,
                f"http://127.0.0.1:{port}/readyz", folder / "serve.log"):
        given = asyncio.run(pools(Cluster(folder)))
        token = subprocess.run([DMED, "token", "--user", "service"], check=True, text=True,
                               capture_output=True, env=environment, cwd=ROOT).stdout.strip()
        found: dict[str, Measured | None] = {}
        for shape in [*asked, *given.densities]:
            # A connection of its own, so that a shape's trouble stays its own.
            found[shape.name] = measure(Client(port, token), shape, given, requests)
    return found, given.densities, given.records


def report(results: dict[int, dict[str, Measured | None]], records: dict[int, int],
           kinds: Sequence[Shape], options: argparse.Namespace) -> str:
    """The page: per shape p50 and p95 at each size and their ratio, then the densities."""
    steps = sorted(results)
    first, last = steps[0], steps[-1]
    names = [name for name in results[last] if not any(name == kind.name for kind in kinds)]
    heads = " | ".join(f"{size}x p50 / p95" for size in steps)
    lines = [
        "# Shape: search as the data grows", "",
        "Made by `bench/shape.py --write`; change the code, not this page.", "",
        f"- Machine: {machine()}; server, database and client share it.",
        "- Data: synthetic country, " + ", ".join(
            f"{size}x = {records[size]:,} records" for size in steps) + "; sampled values.",
        (f"- One client, {options.requests} requests a shape after a tenth to warm up; 2 workers; "
         "sign-in, policy and audit on. Milliseconds."),
        (f"- Bars: p50 at {last}x within {RATIO_BAR} of {first}x; densities of a kind within "
         f"{DENSITY_BAR:.0f} of each other; no errors."), "",
        f"| shape | {heads} | p50 {last}x / {first}x | errors |",
        "|---|" + "---|" * (len(steps) + 2),
    ]  # fmt: skip  # The head of the page, line by line.
    lines += [_line(name, [results[size].get(name) for size in steps]) for name in names]
    lines += ["", f"## Densities at {last}x", "",
              "| kind | matches | p50 | p95 | slowest of the kind / quickest | errors |",
              "|---|---|---|---|---|---|"]
    for kind in kinds:
        found = results[last].get(kind.name)
        same = [results[last][one.name] for one in kinds if one.group == kind.group]
        p50s = [one.p50 for one in same if one is not None and one.p50]
        if found is not None:
            spread = max(p50s) / min(p50s)
            lines.append(f"| {kind.name} | {found.matches if found.matches is not None else '?'} | "
                         f"{found.p50:.1f} | {found.p95:.1f} | {spread:.1f} | {found.errors} |")
    said = {one.said for found in results.values() for one in found.values() if one and one.said}
    lines += ["", f"Errors in all: {_errors(results)}.", *(f"- `{one}`" for one in sorted(said))]
    return "\n".join(lines) + "\n"


def _line(name: str, found: Sequence[Measured | None]) -> str:
    cells = [f"{one.p50:.1f} / {one.p95:.1f}" if one else "nothing to sample" for one in found]
    ratio = f"{found[-1].p50 / found[0].p50:.2f}" if found[0] and found[-1] else ""
    return f"| {name} | {' | '.join(cells)} | {ratio} | {sum(one.errors for one in found if one)} |"


def _errors(results: dict[int, dict[str, Measured | None]]) -> int:
    return sum(one.errors for found in results.values() for one in found.values() if one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=2_000, help="persons at 1x")
    parser.add_argument("--steps", default="1,4,16,64")
    parser.add_argument("--requests", type=int, default=200, help="requests a shape")
    parser.add_argument("--shared", type=Path, default=Path(
        os.environ.get("DMED_SHARED_DATA", ROOT.parent / "shared" / "data")))
    parser.add_argument("--folder", type=Path, help="keep the installations here, use them again")
    parser.add_argument("--write", action="store_true", help="write docs/performance/shape.md")
    options = parser.parse_args()
    asked = shapes(options.shared / SUITE)
    results: dict[int, dict[str, Measured | None]] = {}
    records: dict[int, int] = {}
    kinds: list[Shape] = []
    for size in (int(one) for one in options.steps.split(",")):
        print(f"shape: {size}x, {options.persons * size:,} persons", file=sys.stderr, flush=True)
        folder = options.folder / str(size) if options.folder else Path(
            tempfile.mkdtemp(prefix="dmed-shape-"))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        try:
            results[size], kinds, records[size] = step(
                folder, options.persons * size, asked, options.requests)
        finally:
            if not options.folder:
                shutil.rmtree(folder, ignore_errors=True)
    text = report(results, records, kinds, options)
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
