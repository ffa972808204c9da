"""What the pack check makes of 10,000 trapped codes: `python bench/marking/marking_report.py`.

    python bench/marking/marking_report.py --seed 7 --count 10000 [--reuse 40] [--write]

Codes come from pack_codes.py, which knows the GS1 rules and nothing of the platform. Each goes
through the reader and the verdict, with an operator's book and own records as its case says. With
--reuse so many packs are handed over at one pharmacy and scanned at another over a real database,
with a simulated operator and with it down. --write makes docs/reference/marking-report.md anew.
"""

from __future__ import annotations

import argparse
import asyncio
import runpy
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pack_codes import Case, cases

from dmed.apps import demo
from dmed.apps.postgres import Cluster, Supervisor
from dmed.apps.rooms import MODULES
from dmed.apps.sim_marking import Operator, Server
from dmed.kit.settings import Settings
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.model import Pack, PackState, PackVerdict
from dmed.modules.pharmacy.rules import gs1, packs
from dmed.modules.pharmacy.rules.packs import Scan, Seen, Source, Wanted, Word
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.tables import DDL

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)
HERE, THERE, NUMBER = "pharmacy-1", "pharmacy-2", "1726000000001"
EXPIRY = date(2029, 8, 31)
_STATES = {"withdrawn": PackState.WITHDRAWN, "recalled": PackState.RECALLED,
           "waiting": PackState.NOT_INTRODUCED}


@dataclass
class Row:
    """What became of the cases of one trap."""

    cases: int = 0
    right: int = 0
    missed: int = 0
    """A bad one taken, a good one refused or read as another."""
    alerts: int = 0
    """A good pack put aside: a false alert."""
    hints: int = 0
    """Refused with "look again" first; judged by the second scan."""
    faults: Counter[str] = field(default_factory=Counter)


def _word(case: Case, code: gs1.Code, source: Source) -> Word:
    """What the operator's book says of a serial: it holds the printed packs and no others."""
    if source is Source.OWN:
        return Word(seen=None, source=source)
    one = case.pack
    if one is None or case.truth == "unknown" or (code.gtin, code.serial) != (one.gtin, one.serial):
        swapped = one is not None and code.serial.swapcase() == one.serial
        return Word(seen=None, swapped_is_known=swapped and case.truth != "unknown")
    expiry = TODAY - timedelta(days=1) if case.truth == "expired" else EXPIRY
    # A foreign code carries batch and expiry: those are the registered ones here.
    printed = gs1.day_of(code.expiry, TODAY) if code.expiry else None
    return Word(seen=Seen(state=_STATES.get(case.truth, PackState.IN_CIRCULATION),
                          lot=code.lot or "4A17", expiry=printed or expiry))


def _own(case: Case, code: gs1.Code, content: Decimal) -> Pack:
    """Our own row of the pack."""
    state, balance, pharmacy = PackState.IN_CIRCULATION, content, ""
    if case.truth in {"elsewhere", "here"}:
        state, balance = PackState.DISPENSED, Decimal(0)
        pharmacy = THERE if case.truth == "elsewhere" else HERE
    if case.truth == "opened":
        state, balance, pharmacy = PackState.PART_DISPENSED, content - 1, THERE
    return Pack(gtin=code.gtin, serial=code.serial, state=state, content=content, balance=balance,
                pharmacy=pharmacy)


def verdict_of(case: Case, source: Source = Source.OPERATOR, *, before: str = ""
               ) -> tuple[PackVerdict, Any]:
    """Reader and verdict on one text; `before`: for what it was refused here a moment ago."""
    code = gs1.read(case.text)
    if isinstance(code, gs1.Fault):
        return packs.of_fault(code), code
    product = medicines.product_or_none(code.gtin)
    if product is None:
        return packs.refuse("unknown_product", "no such product", fault="data"), code
    lot = "9Z99" if case.truth == "batch" else ""
    typed = EXPIRY + timedelta(days=40) if case.truth == "date" else None
    if case.truth == "month":
        code = gs1.read(f"01{code.gtin}17{EXPIRY:%y%m}0021{code.serial}")
        assert isinstance(code, gs1.Code)
    scan = Scan(code=code, product=product, word=_word(case, code, source),
                pack=_own(case, code, product.pack_units),
                wanted=(Wanted(item=1, preparation=product.preparation, needed=Decimal(1)),),
                number=NUMBER, pharmacy=HERE, now=NOW, today=TODAY, lot=lot, expiry=typed,
                before=frozenset({before} - {""}))
    return packs.judge(scan), code


def examine(made: list[Case], source: Source = Source.OPERATOR) -> dict[str, Row]:
    """Every case through reader and verdict, by trap."""
    rows: dict[str, Row] = {}
    for case in made:
        verdict, code = verdict_of(case, source)
        row = rows.setdefault(case.trap, Row())
        row.cases += 1
        is_same = isinstance(code, gs1.Code) and case.pack is not None and (
            code.gtin, code.serial) == (case.pack.gtin, case.pack.serial)
        name = verdict.reason.key.rpartition(".")[2]
        if name in packs.HINT_FIRST:
            row.hints += 1
            verdict, code = verdict_of(case, source, before=name)
        right = {"read": verdict.ok and is_same,
                 "operator": not verdict.ok and name == "caps_lock",
                 "refuse": not verdict.ok and (
                     verdict.is_quarantine == (case.truth != "waiting")
                     if case.truth != "good" else name == case.says or not case.says),
                 }[case.expect]  # fmt: skip  # Three kinds.
        row.right += right
        row.missed += not right
        row.alerts += verdict.is_quarantine and case.truth in {"good", "month"}
        row.faults[f"{verdict.fault or 'green'}" + ("*" if verdict.is_quarantine else "")] += 1
    return rows


def gtins() -> list[str]:
    """GTINs of registered products, so that a verdict can be reached."""
    return [product.gtin for product in medicines.all_products() if product.gtin]


def table(rows: dict[str, Row]) -> list[str]:
    """The rows of the report."""
    heads = ("trap", "codes", "as it should be", "missed", "false alerts", "look again first",
             "verdicts")
    lines = [f"| {' | '.join(heads)} |",
             "|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        said = ", ".join(f"{word} {count:,}" for word, count in sorted(row.faults.items()))
        shown = name.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| {shown} | {row.cases:,} | {row.right:,} | {row.missed:,}"
                     f" | {row.alerts:,} | {row.hints:,} | {said} |")
    total = [sum(getattr(row, name) for row in rows.values())
             for name in ("cases", "right", "missed", "alerts", "hints")]
    lines.append("| **all** | " + " | ".join(f"**{each:,}**" for each in total) + " | |")
    return lines


# Reuse over a real database


def reuse(count: int) -> dict[str, Counter[str]]:
    """Packs handed over at one pharmacy and scanned at another at the same time and afterwards, in
    a village of twenty on a database of its own.
    """
    place = Path(tempfile.mkdtemp(prefix="dmed-marking-"))
    place.chmod(0o711)
    cluster = Cluster(place)
    server = Server(Operator(per_minute=100_000))
    server.start()
    try:
        with Supervisor(cluster):
            cluster.make_database("marking")
            url = cluster.url("dmed_owner", "marking")
            return asyncio.run(_reuse(count, url, Settings(
                data=place / "keys", marking_operator=server.url, marking_per_minute=100_000),
                server.operator))
    finally:
        server.stop()
        shutil.rmtree(place, ignore_errors=True)


async def _reuse(
    count: int, url: str, settings: Settings, sim: Operator
) -> dict[str, Counter[str]]:
    await migrate(url, (*DDL, *(one for module in MODULES for one in module.ddl)))
    await demo.load(url, persons=20, processes=0)
    shared = runpy.run_path(str(ROOT / "tests/modules/prescriptions/conftest.py"))
    who = runpy.run_path(str(ROOT / "tests/modules/conftest.py"))["_subjects"]()
    db = await Database.open(url, settings)
    gateway = Gateway(db, settings)
    other = await shared["_other_pharmacist"](gateway, who["doctor"], who["pharmacist"])
    ward = shared["Ward"](gateway=gateway, doctor=who["doctor"], pharmacist=who["pharmacist"],
                          other=other, registrar=who["registrar"], service=who["pharmacist"],
                          people={})
    counts = {}
    for name, mode in (("operator asked", ""), ("operator down", "down")):
        sim.mode = mode
        found: Counter[str] = Counter()
        for _ in range(count):
            await _twice(ward, found)
        counts[name] = found
    await db.close()
    return counts


async def _twice(ward: Any, found: Counter[str]) -> None:
    """One pack at two pharmacies: scanned at once, handed over at one, scanned at the other."""
    raw, gateway = ward.pack(), ward.gateway
    counters = [(ward.pharmacist, await ward.signed()), (ward.other, await ward.signed())]
    for subject, made in counters:
        await api.claim(gateway, subject, made.number, made.code)
    both = await asyncio.gather(*(api.scan_pack(gateway, subject, made.number, raw)
                                  for subject, made in counters))
    found["at once: one green, one refused"] += sum(one.ok for one in both) == 1
    first = 0 if both[0].ok else 1
    subject, made = counters[first]
    await api.dispense(gateway, subject, made.number)
    subject, made = counters[1 - first]
    late = await api.scan_pack(gateway, subject, made.number, raw)
    found[f"afterwards: {late.reason.key.rpartition('.')[2]}"] += 1
    found["afterwards: put aside"] += late.is_quarantine
    found[f"rests on: {late.checked}"] += 1


def report(seed: int, count: int, packs_reused: int) -> str:
    """The whole report in Markdown."""
    made = cases(seed, count, gtins())
    asked = table(examine(made))
    good = [case for case in made if case.truth in {"good", "month"}]
    down = examine([case for case in good if case.expect == "read"], Source.OWN)
    missed = sum(row.missed for row in down.values())
    alerts = sum(row.alerts for row in down.values())
    words = (
        f"Made by `python bench/marking/marking_report.py --seed {seed} --count {count}"
        f" --reuse {packs_reused} --write`. The codes come from `bench/marking/pack_codes.py`,"
        " which is written from the GS1 rules and imports nothing of the platform; reader and"
        " verdict are those of the counter. Packs are registered sample products; the operator's"
        " book holds the printed packs and no others. Verdicts: green, or whose fault a refusal"
        " looks ([packs.md](packs.md)); `*` put aside. *Missed*: a bad one taken, a good one"
        " refused or read as another. *False alert*: a good pack put aside. *Look again first*:"
        " the first scan is a hint, the verdict that of the second.")
    later = (
        f"The {sum(row.cases for row in down.values()):,} readable codes of good packs again with"
        f" the operator down: {missed:,} missed, {alerts:,} false alerts. What the operator alone"
        " can tell (unknown serial, withdrawn, Caps Lock without prefix) is asked when it is back.")
    lines = ["# What the pack check makes of trapped codes", "", words, "", *asked, "", later, ""]
    if packs_reused:
        lines += [f"## Reuse in two pharmacies, {packs_reused} packs each, over a real database",
                  "", "| what | packs |", "|---|---|"]
        for name, found in reuse(packs_reused).items():
            lines += [f"| {name}, {what} | {number} |" for what, number in sorted(found.items())]
        lines.append("")
    lines.append("`tests/modules/pharmacy/test_marking_report.py` runs other seeds and holds this"
                 " page to its counts.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run it and print, or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--reuse", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    made = report(given.seed, given.count, given.reuse)
    if given.write:
        (ROOT / "docs/reference/marking-report.md").write_text(made)
    print(made)


if __name__ == "__main__":
    main()
