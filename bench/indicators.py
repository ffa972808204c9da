"""Planted over-prescribers and kick-back pairs in the synthetic country: are they found?

    python bench/indicators.py --seed 4711 [--persons 2000] [--country 7]
    python bench/indicators.py --sweep 30 --from-seed 5000 [--persons 2000] [--country 7 31]

Plants by the seed that is given, loads the country's records of prescribing into a fresh database
(persons, staff, institutions, diagnoses, prescriptions, hand-overs), counts them through the change
feed as the platform does, judges all figures and tells which of the planted were found and who else
was flagged. Ends with status 1 where one was missed or more than 1 % of the others were flagged.

With `--sweep K` it does so for K seeds one after the other in memory, by the same functions without
a database, in each of the countries that are given, and prints a line for each seed.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from dmed.apps import demo
from dmed.apps.database import database, prepare
from dmed.apps.demo.loading import write_of
from dmed.kit.seed import Made
from dmed.kit.settings import Settings
from dmed.modules.analytics import api
from dmed.modules.analytics import demo as planting
from dmed.modules.analytics.model import Figure, House, Kept, Post
from dmed.modules.analytics.rules import counting, facts, judging
from dmed.modules.analytics.rules.facts import TYPES
from dmed.modules.analytics.service import figures
from dmed.store import load as store_load
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.pool import Database
from dmed.trust.gateway import Gateway

YEARS = timedelta(days=11 * 366)
OTHERS_MAX = 0.01
_SHAPES: set[int] = set()


def _produce(records: list[Made]) -> list[Write]:
    return [write_of(record, _SHAPES) for record in records]


async def _load(url: str, records: Sequence[Made]) -> None:
    items = [list(records[at : at + 500]) for at in range(0, len(records), 500)]
    audit = AuditRow(request="planted", action="C", subject="demo", role="administrator",
                     purpose="HSYSADMIN", detail="planted country")
    done = await store_load.load(
        url, Scope("demo"), audit, items, _produce, processes=0, chunk_items=4)
    print(f"{done.loaded:,} records loaded in {done.seconds:.0f} s, {done.faults} refused")


async def _run(url: str, records: Sequence[Made], planted: Sequence[planting.Planted]) -> bool:
    await _load(url, records)
    db = await Database.open(url, Settings(pool_size=2))
    try:
        gateway = Gateway(db, Settings())
        began = time.monotonic()
        counted = await api.follow(gateway)
        taken = time.monotonic() - began
        print(f"{counted:,} changes counted in {taken:.0f} s ({counted / taken:,.0f}/s)")
        began = time.monotonic()
        known = await api.staff(gateway)
        verdicts = await api.verdicts(gateway, demo.UNTIL - YEARS, demo.UNTIL, known)
        print(f"{len(verdicts):,} figures judged in {time.monotonic() - began:.1f} s")
        streamed = await api.judged(gateway, demo.UNTIL - YEARS, demo.UNTIL, known)
        assert _keys(streamed) == _keys(one for one in verdicts if one.is_flagged)
    finally:
        await db.close()
    told = tell(verdicts, planted)
    print(*told.lines, told.summary, sep="\n")
    return told.is_good


def _keys(flags: Iterable[api.Verdict]) -> set[tuple[str, str, str]]:
    return {(one.figure.indicator, one.figure.prescriber, one.figure.part) for one in flags}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the planted and of the others."""

    planted: int
    missed: tuple[str, ...]
    wrong: int
    others: int
    lines: tuple[str, ...]
    """A line of text for each planted, and for each flag of another."""

    @property
    def is_good(self) -> bool:
        """Whether all were found and hardly anybody else."""
        return not self.missed and self.wrong <= OTHERS_MAX * self.others

    @property
    def summary(self) -> str:
        """All in one line."""
        return (f"found {self.planted - len(self.missed)} of {self.planted}; of {self.others} "
                f"others who could be judged {self.wrong} flagged "
                f"({self.wrong / max(1, self.others):.2%})")


def tell(verdicts: Sequence[api.Verdict], planted: Sequence[planting.Planted]) -> Told:
    """What was found of the planted, and who else was flagged."""
    flags = [one for one in verdicts if one.is_flagged]
    lines, missed = [], []
    for one in planted:
        hits = [flag for flag in flags if flag.figure.prescriber == one.prescriber
                and flag.figure.indicator in one.indicators
                and (not one.part or flag.figure.part == one.part)]
        shown = ", ".join(_shown(hit) for hit in hits or [
            verdict for verdict in verdicts if verdict.figure.prescriber == one.prescriber
            and verdict.figure.indicator in one.indicators
            and (not one.part or verdict.figure.part == one.part)])
        lines.append(f"  {'found ' if hits else 'MISSED'} {one.kind:10} {one.prescriber} {shown}")
        missed += [] if hits else [one.kind]
    bad = {one.prescriber for one in planted}
    others = {one.figure.prescriber for one in verdicts} - bad
    wrong = [flag for flag in flags if flag.figure.prescriber not in bad]
    lines += [f"  other  {flag.figure.prescriber} {flag.figure.part} {_shown(flag)}"
              for flag in wrong]
    return Told(planted=len(planted), missed=tuple(missed), others=len(others), lines=tuple(lines),
                wrong=len({flag.figure.prescriber for flag in wrong}))


def _shown(one: api.Verdict) -> str:
    return (f"{one.figure.indicator} {one.figure.numerator}/{one.figure.denominator}"
            f" (expected {one.expected:.3f} by {one.peer_count}, chance {one.chance:.1e})")


class InMemory:
    """A country counted without a database; of each seed only the persons whom it changed are
    counted again.
    """

    def __init__(self, persons: int, country: int) -> None:
        opened = planting.Country(record for record in demo.generate(persons, country)
                                  if record.type in TYPES)
        self._opened = pickle.dumps(opened)
        self._before = {record["id"]: record
                        for record in (*opened.requests.values(), *opened.fills)}
        found = [*map(facts.kept, map(msgspec.json.decode, (one.body for one in opened.others))),
                 *map(facts.kept, (*opened.requests.values(), *opened.fills))]
        self._facts = {(one.type, one.id): one for one in found if one is not None}
        self._by_person: dict[str, dict[tuple[str, str], Kept]] = {}
        for key, one in self._facts.items():
            self._by_person.setdefault(one.patient, {})[key] = one
        houses = {one.id: one.fact for one in self._facts.values() if isinstance(one.fact, House)}
        self._places = {one.id: figures.place_of(one.fact, houses) for one in self._facts.values()
                        if isinstance(one.fact, Post)}
        self._counts = {person: counting.counts(list(own.values()))
                        for person, own in self._by_person.items() if person}
        self._totals = _totals(self._counts.values())

    def judged(self, seed: int) -> tuple[list[api.Verdict], list[planting.Planted]]:
        """All verdicts, and what was planted by a seed."""
        found, planted = self.counted(seed)
        return judging.judge_all(found, api.definitions(), self._places), planted

    def counted(self, seed: int) -> tuple[list[Figure], list[planting.Planted]]:
        """All figures over all months, and what was planted by a seed."""
        opened = pickle.loads(self._opened)  # noqa: S301  # Made above: a copy, quicker than others.
        planted = planting.plant(opened, seed)
        changed: dict[str, dict[tuple[str, str], Kept]] = {}
        for record in (*opened.requests.values(), *opened.fills):
            if self._before.get(record["id"]) == record:
                continue
            one = facts.kept(record)
            if one is not None and self._facts.get((one.type, one.id)) != one:
                changed.setdefault(one.patient, {})[one.type, one.id] = one
        totals = dict(self._totals)
        for person, new in changed.items():
            after = counting.counts([*{**self._by_person[person], **new}.values()])
            for change in (after, {cell: (-k, -n)
                                   for cell, (k, n) in self._counts[person].items()}):
                for key, (k, n) in _totals([change]).items():
                    before = totals.get(key, (0, 0))
                    totals[key] = (before[0] + k, before[1] + n)
        found = [Figure(prescriber=prescriber, indicator=indicator, part=part, numerator=k,
                        denominator=n)
                 for (prescriber, indicator, part), (k, n) in totals.items() if k or n]
        return found, planted


def _totals(counted: Iterable[counting.Counts]) -> dict[tuple[str, str, str], tuple[int, int]]:
    """(prescriber, indicator, part) > (numerator, denominator) over all months."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for counts in counted:
        for cell, (k, n) in counts.items():
            key = cell.prescriber, cell.indicator, cell.part
            before = found.get(key, (0, 0))
            found[key] = (before[0] + k, before[1] + n)
    return found


def sweep(persons: int, countries: Sequence[int], seeds: Sequence[int]) -> bool:
    """A line for each country and seed; whether each seed found all and hardly anybody else."""
    good = found = planted = wrong = others = 0
    for number in countries:
        country = InMemory(persons, number)
        for seed in seeds:
            told = tell(*country.judged(seed))
            print(f"country {number} of {persons:,}, seed {seed}: {told.summary}", flush=True)
            for line in told.lines:
                if not line.startswith("  found"):
                    print(line, flush=True)
            good += told.is_good
            found += told.planted - len(told.missed)
            planted += told.planted
            wrong += told.wrong
            others += told.others
    print(f"{persons:,} persons, countries {', '.join(map(str, countries))}: {good} of "
          f"{len(countries) * len(seeds)} seeds good; found {found:,} of {planted:,}; of "
          f"{others:,} others {wrong} flagged ({wrong / max(1, others):.3%})")
    return good == len(countries) * len(seeds)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    how = asked.add_mutually_exclusive_group(required=True)
    how.add_argument("--seed", type=int)
    how.add_argument("--sweep", type=int, help="so many seeds, in memory")
    asked.add_argument("--from-seed", type=int, default=1)
    asked.add_argument("--persons", type=int, default=2000)
    asked.add_argument("--country", type=int, nargs="+", default=[7])
    given = asked.parse_args()
    if given.sweep is not None:
        seeds = range(given.from_seed, given.from_seed + given.sweep)
        return 0 if sweep(given.persons, given.country, seeds) else 1
    are_good = [loaded(given.persons, one, given.seed) for one in given.country]
    return 0 if all(are_good) else 1


def loaded(persons: int, number: int, seed: int) -> bool:
    """One country through a database; whether all were found and hardly anybody else."""
    country = planting.Country(record for record in demo.generate(persons, number)
                               if record.type in TYPES)
    planted = planting.plant(country, seed)
    records = country.made()
    print(f"country {number} of {persons:,}, planted by seed {seed}: "
          f"{len(planted)} of {len(country.prescriptions())} prescribers")
    with tempfile.TemporaryDirectory(prefix="dmed-indicators-") as folder:
        Path(folder).chmod(0o711)
        with database(Settings(data=Path(folder) / "data")) as addresses:
            asyncio.run(prepare(addresses))
            return asyncio.run(_run(addresses.owner, records, planted))


if __name__ == "__main__":
    sys.exit(main())
