"""FHIRPath search expressions: ours, compiled fhirpathpy and compiled fhirpath.js, in turn.

Every search expression of R5 for the types of the synthetic country, on records of it. Each
engine gets its records as it wants them (ours decoded structs, the peers parsed JSON) and compiles
every expression before the clock runs. Expressions that an engine refuses (resolve() asks the
network) are left out for all and counted; where engines give different numbers of items it is
told. Peers are installed under .dmed/bench-fhirpath from hash-locked lists.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dmed.apps.demo.country import generate
from dmed.fhir import codec
from dmed.fhir import path as fhirpath
from dmed.fhir.facts import facts
from dmed.kit.errors import DmedError

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / "bench" / "peer_fhirpath"
PLACE = ROOT / ".dmed" / "bench-fhirpath"
PAGE = ROOT / "docs" / "performance" / "fhirpath.md"
RECORDS_MAX = 25
BARS = {"fhirpathpy": 20.0, "fhirpath.js": 1.0}
Cases = dict[str, dict[str, Any]]


def cases() -> Cases:
    """Type > its search expressions and some records."""
    found: Cases = {}
    for record in generate(40, 1):
        case = found.setdefault(record.type, {"expressions": _expressions(record.type),
                                              "records": []})
        if len(case["records"]) < RECORDS_MAX:
            case["records"].append(json.loads(record.body))
    return found


def _expressions(type_: str) -> list[str]:
    """The parts of each search parameter's expression that begin with this type."""
    made = []
    for each in facts().search:
        if type_ in each.base and each.expression:
            parts = re.split(r"\s\|\s(?![^()]*\))", each.expression)
            mine = [part for part in parts if re.match(rf"\(*{type_}\b", part)]
            made += [" | ".join(mine)] if mine else []
    return sorted(set(made))


class Ours:
    """Our own engine, in this process."""

    def __init__(self, given: Cases) -> None:
        self.made: list[tuple[str, Any, list[Any]]] = []
        self.failed: list[list[str]] = []
        for type_, case in given.items():
            records = [codec.decode(json.dumps(each).encode()) for each in case["records"]]
            for text in case["expressions"]:
                try:
                    run = fhirpath.compile(text, type_)
                    self.made.append((f"{type_}: {text}", run, records))
                except DmedError as error:
                    self.failed.append([type_, text, str(error)])

    def check(self) -> dict[str, Any]:
        """The number of items of each expression."""
        return {"counts": {name: sum(len(run(each)) for each in records)
                           for name, run, records in self.made}, "failed": self.failed}

    def measure(self, seconds: float) -> float:
        """Evaluations a second."""
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            for _, run, records in self.made:
                for record in records:
                    run(record)
                done += len(records)
        return done / spent


def install() -> dict[str, list[str]]:
    """The peers' commands, each in its own place; installed when they are not there."""
    python, modules = PLACE / "python", PLACE / "js"
    if not (python / "ready").exists():
        shutil.rmtree(python, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        subprocess.run([str(python / "bin" / "pip"), "install", "-q", "--require-hashes", "-r",
                        str(PEER / "requirements.lock")], check=True)
        (python / "ready").touch()
    if not (modules / "node_modules").exists():
        modules.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEER / name, modules / name)
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=modules, check=True)
    return {"fhirpathpy": [str(python / "bin" / "python"), str(PEER / "peer.py")],
            "fhirpath.js": ["node", str(PEER / "peer.js")]}


def ask(command: list[str], file: Path, what: str) -> dict[str, Any]:
    """What a peer tells."""
    told = subprocess.run([*command, str(file), what], cwd=PLACE / "js", check=True,
                          capture_output=True, text=True)
    return json.loads(told.stdout)


def agreed(given: Cases, checks: dict[str, dict[str, Any]]) -> tuple[Cases, int, list[str]]:
    """The cases that every engine evaluates, how many are left out, and where items differ."""
    refused = {(each[0], each[1]) for told in checks.values() for each in told["failed"]}
    kept = {type_: {**case, "expressions": [text for text in case["expressions"]
                                            if (type_, text) not in refused]}
            for type_, case in given.items()}
    names = [f"{type_}: {text}" for type_, case in kept.items() for text in case["expressions"]]
    told = [(name, {engine: check["counts"][name] for engine, check in checks.items()})
            for name in names]
    return kept, len(refused), [f"{name}: {counts}" for name, counts in told
                                if len(set(counts.values())) > 1]


def run(seconds: float, rounds: int) -> str:
    """The page; the clock runs for each engine in turn."""
    commands, given = install(), cases()
    with tempfile.TemporaryDirectory(prefix="dmed-bench-") as folder:
        file = Path(folder) / "cases.json"
        file.write_text(json.dumps(given))
        checks = {"ours": Ours(given).check()}
        checks |= {name: ask(command, file, "check") for name, command in commands.items()}
        kept, refused, different = agreed(given, checks)
        file.write_text(json.dumps(kept))
        ours = Ours(kept)
        rates: dict[str, list[float]] = {"ours": [], **{name: [] for name in commands}}
        for _ in range(rounds):
            rates["ours"].append(ours.measure(seconds))
            for name, command in commands.items():
                rates[name].append(ask(command, file, str(seconds))["rate"])
    expressions = sum(len(case["expressions"]) for case in kept.values())
    return page(rates, seconds, len(kept), expressions, refused, different)


def page(rates: dict[str, list[float]], seconds: float, types: int, expressions: int,
         refused: int, different: list[str]) -> str:
    """docs/performance/fhirpath.md."""
    ours = statistics.median(rates["ours"])
    lines = ["# FHIRPath", "",
             "Made by `bench/fhirpath.py --write`; what is compared stands at its head.", "",
             (f"- Machine: {platform.machine()}, Python {platform.python_version()}; "
              f"load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores; "
              f"{len(rates['ours'])} rounds of {seconds:g} s each, the engines in turn; medians."),
             (f"- {expressions} search expressions of {types} types, at most {RECORDS_MAX} records "
              f"of each; {refused} more are refused by an engine and left out for all."), "",
             "| engine | evaluations/s | microseconds | ours is | bar | spread |",
             "|---|--:|--:|--:|--:|---|"]
    for name, found in rates.items():
        rate = statistics.median(found)
        ratio = "" if name == "ours" else f"{ours / rate:.1f} times"
        bar = f"{BARS[name]:g} times" if name in BARS else ""
        lines.append(f"| {name} | {rate:,.0f} | {1e6 / rate:.2f} | {ratio} | {bar} | "
                     f"{min(found):,.0f} to {max(found):,.0f} |")
    if different:
        lines += ["", "Numbers of items differ, over all records of a type:", ""]
        lines += [f"- {each.replace('|', ';')}" for each in different]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    text = run(given.seconds, given.rounds)
    if given.write:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
