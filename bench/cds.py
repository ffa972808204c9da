"""How long all safety checks of a realistic draft take: five lines, eight medicines taken.

    python bench/cds.py --rounds 200

The bar is 50 ms. Reading the card is not in it: bench/card.py measures that.
"""

from __future__ import annotations

import argparse
import platform
import time
from datetime import date
from decimal import Decimal

from dmed.modules.medicines.service import catalogue
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.modules.prescriptions.rules import checks
from dmed.modules.prescriptions.service import diagnoses, drafts

TODAY = date(2026, 11, 22)
LINES = ("amoxicillin", "clarithromycin", "ibuprofen", "metformin", "simvastatin")
TAKEN = ("enalapril", "spironolactone", "warfarin", "digoxin", "amiodarone", "omeprazole",
         "sertraline", "allopurinol")  # fmt: skip  # A list.


def _key(inn: str) -> str:
    return next(key for key, one in catalogue().preparations.items()
                if one.inn.key == inn and one.form.route == "oral")


def main() -> None:
    """Reads the command line, prints p50, p95 and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    items = tuple(DraftItem(preparation=_key(inn)) for inn in LINES)
    draft = drafts.derive(Draft(patient="p", diagnosis="J06.9", items=items))
    known = drafts.preparations_of(draft)
    running = tuple(checks.Running(inn=inn, atc=catalogue().preparations[_key(inn)].atc)
                    for inn in TAKEN)
    person = checks.Person(
        age_years=72, sex="female", weight_kg=Decimal(70), egfr=Decimal(38), running=running,
        diagnoses=("I50.0", "E11.9", "I10", "K25.9", "J45.9", "N18.3"),
        allergies=(checks.Allergy(text="Penitsillin", atc="J01C"),))
    checks.check(draft, known, diagnoses.viral(), person, TODAY)  # Tables are read once.
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = checks.check(draft, known, diagnoses.viral(), person, TODAY)
        spent.append((time.perf_counter() - began) * 1000)
    spent.sort()
    print(f"{platform.python_version()}, {len(LINES)} lines, {len(TAKEN)} taken, "
          f"{len(found)} alerts, {rounds} rounds: p50 {spent[rounds // 2]:.2f} ms  "
          f"p95 {spent[rounds * 95 // 100]:.2f} ms  worst {spent[-1]:.2f} ms  (bar 50 ms)")


if __name__ == "__main__":
    main()
