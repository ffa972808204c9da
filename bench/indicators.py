"""Planted over-prescribers and kick-back pairs in the synthetic country: are they found?

    python bench/indicators.py --seed 4711 [--persons 2000] [--country 7]

Plants by the seed that is given, loads the country's records of prescribing into a fresh database
(persons, staff, institutions, diagnoses, prescriptions, hand-overs), counts them through the change
feed as the platform does, judges all figures and tells which of the planted were found and who else
was flagged. Ends with status 1 where one was missed or more than 1 % of the others were flagged.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from dmed.apps import demo
from dmed.apps.database import database, prepare
from dmed.apps.demo.loading import write_of
from dmed.kit.seed import Made
from dmed.kit.settings import Settings
from dmed.modules.analytics import api
from dmed.modules.analytics import demo as planting
from dmed.modules.analytics.rules.facts import TYPES
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
    return tell(verdicts, planted)


def _keys(flags: Iterable[api.Verdict]) -> set[tuple[str, str, str]]:
    return {(one.figure.indicator, one.figure.prescriber, one.figure.part) for one in flags}


def tell(verdicts: Sequence[api.Verdict], planted: Sequence[planting.Planted]) -> bool:
    """Prints what was found; whether it is all of it and hardly anybody else."""
    flags = [one for one in verdicts if one.is_flagged]
    missed = 0
    for one in planted:
        hits = [flag for flag in flags if flag.figure.prescriber == one.prescriber
                and flag.figure.indicator in one.indicators
                and (not one.part or flag.figure.part == one.part)]
        missed += not hits
        shown = ", ".join(f"{hit.figure.indicator} {hit.figure.numerator}/{hit.figure.denominator}"
                          f" (expected {hit.expected:.3f})" for hit in hits)
        print(f"  {'found ' if hits else 'MISSED'} {one.kind:10} {one.prescriber} {shown}")
    bad = {one.prescriber for one in planted}
    everybody = {one.figure.prescriber for one in verdicts}
    others = everybody - bad
    wrong = {flag.figure.prescriber for flag in flags} - bad
    for flag in flags:
        if flag.figure.prescriber in wrong:
            print(f"  other  {flag.figure.indicator} {flag.figure.prescriber} {flag.figure.part} "
                  f"{flag.figure.numerator}/{flag.figure.denominator} "
                  f"(expected {flag.expected:.3f}, chance {flag.chance:.1e})")
    share = len(wrong) / max(1, len(others))
    print(f"found {len(planted) - missed} of {len(planted)}; of {len(others)} others who could be "
          f"judged {len(wrong)} flagged ({share:.2%})")
    return not missed and share <= OTHERS_MAX


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--seed", type=int, required=True)
    asked.add_argument("--persons", type=int, default=2000)
    asked.add_argument("--country", type=int, default=7)
    given = asked.parse_args()
    country = planting.Country(record for record in demo.generate(given.persons, given.country)
                               if record.type in TYPES)
    planted = planting.plant(country, given.seed)
    records = country.made()
    print(f"country {given.country} of {given.persons:,}, planted by seed {given.seed}: "
          f"{len(planted)} of {len(country.prescriptions())} prescribers")
    with tempfile.TemporaryDirectory(prefix="dmed-indicators-") as folder:
        Path(folder).chmod(0o711)
        with database(Settings(data=Path(folder) / "data")) as addresses:
            asyncio.run(prepare(addresses))
            return 0 if asyncio.run(_run(addresses.owner, records, planted)) else 1


if __name__ == "__main__":
    sys.exit(main())
