"""How well records of one person are found: our matcher beside Splink as it comes, in one run.

    python bench/matching/accuracy.py                       all sets of ../shared/data/mpi
    python bench/matching/accuracy.py --own 100000 --seed 11   and invented persons
    python bench/matching/accuracy.py --data FOLDER --only febrl,opencr
    python bench/matching/accuracy.py --own 1000000 --seed 23 --shipped --no-baseline --only own

Pairs at probability 0.5, the threshold fixed beforehand. "auto" are links that the platform makes
by itself. What was learnt was learnt from the set itself, without its labels; --shipped takes the
platform's own weights instead.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import families
import generator
import generic
from families import Family, Pair, pair

from dmed.apps.matching import learning
from dmed.modules.medid.rules.scoring import PINFL_SYSTEM, PersonFacts, facts_of, score

HALF = 0.5
HEAD = ("| set | identifier | matcher | pairs | P | R | F1 | false | s |\n"
        "|---|---|---|---|---|---|---|---|---|")
SEX = {"M": "male", "F": "female", "m": "male", "f": "female"}


def row(family: Family, used: str, matcher: str, found: set[Pair], seconds: float) -> float:
    """Prints one row; gives F1."""
    right = len(found & family.true)
    precision, recall = right / max(len(found), 1), right / max(len(family.true), 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    print(f"| {family.name} | {used or 'none'} | {matcher} | {len(family.true):,} | {precision:.5f}"
          f" | {recall:.4f} | {f1:.4f} | {len(found) - right:,} | {seconds:.0f} |", flush=True)
    return f1


def facts(family: Family, given: dict[str, str], *, with_identifier: bool) -> PersonFacts:
    """A row as the platform sees it: a Patient."""
    if family.is_uzbek:
        birth, number = given["dob"], given["pinfl"]
        surname, name, father = given["surname"], given["given"], given["patronymic"]
        phone, district = given["phone"], given["district"]
    else:
        day, number = given["date_of_birth"], given[family.identifier]
        birth = f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 else ""
        surname, name, father = given["surname"], given["given_name"], ""
        phone, district = given["phone_number"].replace(" ", ""), ""
    patient: dict[str, Any] = {
        "birthDate": birth, "gender": SEX.get(given["sex"], ""),
        "name": [{"family": surname, "given": [name], "suffix": [father] if father else []}],
        "telecom": [{"system": "phone", "value": phone}] if phone else [],
        "address": [{"district": district}] if district else [],
    }
    if with_identifier and number:
        system = PINFL_SYSTEM if family.is_uzbek else "urn:other"
        patient["identifier"] = [{"system": system, "value": number}]
    return facts_of(patient)


def by_platform(
    family: Family, *, with_identifier: bool, is_shipped: bool
) -> tuple[set[Pair], set[Pair]]:
    """Pairs at one half, and those that are linked by themselves: by the weights that the platform
    comes with, or by weights learnt from the set.
    """
    numbers = list(family.rows)
    people = [facts(family, one, with_identifier=with_identifier) for one in family.rows.values()]
    half, sure = set(), set()
    with learning.opened(people) as opened:
        model = learning.shipped() if is_shipped else learning.learn(opened, family.name)
        for left, right, _ in learning.candidates(opened, model, at_least=-4.0):
            scored = score(people[left], people[right], model)
            both = pair(numbers[left], numbers[right])
            if scored.probability >= HALF:
                half.add(both)
            if scored.grade == "certain":
                sure.add(both)
    return half, sure


def measure(
    family: Family, *, with_identifier: bool, has_baseline: bool, is_shipped: bool
) -> None:
    """The rows of a set."""
    used = family.identifier if with_identifier else ""
    if has_baseline:
        began = time.monotonic()
        found = generic.run(family, is_ours=False, with_identifier=with_identifier)
        row(family, used, "Splink", {(left, right) for left, right, one in found if one >= HALF},
            time.monotonic() - began)
    if family.is_uzbek or family.name.startswith("opencr"):
        began = time.monotonic()
        half, sure = by_platform(family, with_identifier=with_identifier, is_shipped=is_shipped)
        seconds = time.monotonic() - began
        row(family, used, f"DMED, {'shipped weights' if is_shipped else 'as Patients'}", half,
            seconds)
        if family.is_uzbek:
            row(family, used, "DMED auto", sure, seconds)
    if not family.is_uzbek:
        # Dates with letters among their digits are no dates of a Patient; as columns they compare.
        began = time.monotonic()
        found = generic.run(family, is_ours=True, with_identifier=with_identifier)
        row(family, used, "DMED, as columns",
            {(left, right) for left, right, one in found if one >= HALF}, time.monotonic() - began)


def invented(records: int, seed: int, errors: float) -> Family:
    """Our own persons."""
    rows = {one[0]: dict(zip(generator.COLUMNS, one, strict=True))
            for one in generator.rows(records, seed, errors)}
    return Family(f"own {records:,} (seed {seed})", families.UZBEK, rows,
                  families._grouped(rows, "person_id"), "pinfl", is_uzbek=True)  # noqa: SLF001  # One bench.


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(os.environ.get("DMED_SHARED_DATA", "../shared/data")) / "mpi"
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--only", default="", help="beginnings of names, by commas")
    parser.add_argument("--own", type=int, default=0, help="so many records of invented persons")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--errors", type=float, default=1.0)
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--shipped", action="store_true",
                        help="the platform's own weights instead of such as the set teaches")
    parser.add_argument("--identifier", choices=["with", "without", "both"], default="both")
    chosen = parser.parse_args()
    wanted = tuple(one for one in chosen.only.split(",") if one)
    print(HEAD)
    found = [invented(chosen.own, chosen.seed, chosen.errors)] if chosen.own else []
    for file in sorted(chosen.data.iterdir()) if chosen.data.is_dir() else []:
        if wanted and not any(one in file.name for one in wanted):
            continue
        if family := families.read(file):
            found.append(family)
    for family in found:
        ways = [False, True] if family.identifier else [False]
        for way in ways:
            if chosen.identifier == "both" or way == (chosen.identifier == "with"):
                measure(family, with_identifier=way, has_baseline=not chosen.no_baseline,
                        is_shipped=chosen.shipped)
    if not found:
        sys.exit(f"no sets in {chosen.data}")


if __name__ == "__main__":
    main()
