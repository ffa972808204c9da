"""`dmed persons learn` and `dmed persons deduplicate`: a file or the whole installation."""

from __future__ import annotations

import asyncio
import csv
import gzip
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.importing import IMPORTER
from dmed.apps.matching import learning
from dmed.kit import clock
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.medid.rules.scoring import (
    GRADES,
    WEIGHTS_FILE,
    Model,
    PersonFacts,
    Score,
    facts_of,
    installed,
    score,
    shipped,
)
from dmed.modules.medid.service import review
from dmed.trust.gateway import Gateway

PERSONS_MIN = 1_000
"""Fewer records teach nothing."""
_PROPOSED_MAX = 100_000
_PART = 200
_BELOW_REVIEW_BITS = 4.0
"""Splink weighs without holds and caps: pairs a little below the cut are looked at, too."""


class Found(msgspec.Struct, frozen=True):
    """A pair of records that may be one person's."""

    left: str
    right: str
    score: Score


def learn(settings: Settings, files: Sequence[Path], out: Path | None) -> Path:
    """Weights of these records, written where the platform reads them, or to `out`; its path.

    InvalidError where there are too few. Running servers take them at their next start.
    """
    people = _people(settings, files)
    if len(people) < PERSONS_MIN:
        raise InvalidError(f"{len(people):,} persons are too few to learn from: {PERSONS_MIN:,}")
    source = f"{len(people):,} records, {clock.today().isoformat()}"
    with learning.opened(people) as database_:
        model = learning.learn(database_, source)
    target = out or settings.data / WEIGHTS_FILE
    target.write_bytes(msgspec.json.format(msgspec.json.encode(_bare(model)), indent=1))
    return target


def _bare(model: Model) -> Model:
    bare = msgspec.structs.replace(model)
    msgspec.structs.force_setattr(bare, "bits", {})
    return bare


def deduplicate(
    settings: Settings, files: Sequence[Path], out: Path, *, propose: bool
) -> Counter[str]:
    """Writes pairs.csv and clusters.csv into `out`; gives the number of pairs by grade.

    With `propose` pairs of the installation go to the review queue, the likeliest first.
    """
    people = _people(settings, files)
    model = installed(settings.data) or shipped()
    found = pairs(people, msgspec.structs.replace(model, persons=max(len(people), 1_000)))
    out.mkdir(parents=True, exist_ok=True)
    _write(out, found)
    if propose:
        with database(settings) as addresses:
            asyncio.run(_propose(settings, addresses, found))
    return Counter(one.score.grade for one in found)


def pairs(people: Sequence[PersonFacts], model: Model) -> list[Found]:
    """All pairs from the review threshold on, the likeliest first."""
    cut = model.thresholds["review"].weight
    found = []
    with learning.opened(people, model) as opened_:
        for left, right, _ in learning.candidates(
                opened_, model, at_least=cut - _BELOW_REVIEW_BITS):
            scored = score(people[left], people[right], model)
            if scored.grade != GRADES[-1]:
                found.append(Found(people[left].id, people[right].id, scored))
    return sorted(found, key=lambda one: (-one.score.weight, one.left, one.right))


def clusters(found: Sequence[Found]) -> list[list[str]]:
    """Records that certain pairs bind together: each list is one person, to whom all link."""
    above: dict[str, str] = {}

    def root(one: str) -> str:
        while above.setdefault(one, one) != one:
            above[one] = above[above[one]]
            one = above[one]
        return one

    for each in found:
        if each.score.grade == "certain":
            above[root(each.left)] = root(each.right)
    groups: dict[str, list[str]] = {}
    for one in sorted(above):
        groups.setdefault(root(one), []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _write(out: Path, found: Sequence[Found]) -> None:
    with (out / "pairs.csv").open("w", newline="", encoding="utf-8") as opened_:
        writer = csv.writer(opened_)
        writer.writerow(("left", "right", "grade", "probability", "weight", "why", "holds"))
        for one in found:
            why = " ".join(f"{each.name}:{each.level}:{each.weight:+.1f}"
                           for each in one.score.fields)
            writer.writerow((one.left, one.right, one.score.grade,
                             f"{one.score.probability:.6f}", f"{one.score.weight:.2f}", why,
                             " ".join(each.rpartition(".")[2] for each in one.score.holds)))
    with (out / "clusters.csv").open("w", newline="", encoding="utf-8") as opened_:
        writer = csv.writer(opened_)
        writer.writerow(("cluster", "record"))
        for number, group in enumerate(clusters(found), 1):
            writer.writerows((number, one) for one in group)


async def _propose(settings: Settings, addresses: Addresses, found: Sequence[Found]) -> None:
    await prepare(addresses)
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, settings)
        chosen = [(one.left, one.right) for one in found[:_PROPOSED_MAX]]
        for place in range(0, len(chosen), _PART):
            await review.propose(gateway, IMPORTER, chosen[place : place + _PART], "batch")
    if len(found) > _PROPOSED_MAX:
        sys.stdout.write(f"the likeliest {_PROPOSED_MAX:,} of {len(found):,} were put up\n")


# --- Where the records come from -------------------------------------------------------------


def _people(settings: Settings, files: Sequence[Path]) -> list[PersonFacts]:
    if files:
        return [each for file in files for each in _of_file(file)]
    with database(settings) as addresses:
        return asyncio.run(_of_installation(settings, addresses))


def _of_file(file: Path) -> Iterator[PersonFacts]:
    """Patients of NDJSON; other types are passed over."""
    open_ = gzip.open if file.suffix == ".gz" else open
    with open_(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found = msgspec.json.decode(line) if line.strip() else {}
            except msgspec.DecodeError as error:
                raise InvalidError(f"{file.name}, line {number}: {error}") from error
            if found.get("resourceType") == "Patient":
                yield facts_of(found)


async def _of_installation(settings: Settings, addresses: Addresses) -> list[PersonFacts]:
    """Active Patients, page by page and audited as every read in bulk."""
    await prepare(addresses)
    people: list[PersonFacts] = []
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, msgspec.structs.replace(settings, rows_per_hour_system=0)).plain()
        cursor = ""
        while True:
            asked = [("active", "true"), ("_count", str(settings.count_max)),
                     ("_sort", "_lastUpdated"), ("_total", "none")]
            _, page = await gateway.search(
                IMPORTER, "Patient", [*asked, ("_cursor", cursor)] if cursor else asked,
                strict=True)
            people += [facts_of(msgspec.json.decode(hit.record.body)) for hit in page.hits]
            if page.next_cursor is None:
                return people
            cursor = page.next_cursor
