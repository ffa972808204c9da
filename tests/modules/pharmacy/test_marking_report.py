"""Trapped codes of a generator that knows nothing of the reader: none missed, no false alert."""

from __future__ import annotations

import re
from pathlib import Path

import marking_report
import pack_codes
import pytest

from dmed.modules.pharmacy.rules.packs import Source

REPORT = Path(__file__).resolve().parents[3] / "docs/reference/marking-report.md"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_trap_of_another_seed_is_met(seed: int) -> None:
    """Ten codes of each trap: at most 1 % missed, no good pack put aside, none by the operator's
    being down.
    """
    made = pack_codes.cases(seed, 10 * len((*pack_codes.TRAPS, *pack_codes.HISTORIES)),
                            marking_report.gtins())
    rows = marking_report.examine(made)
    missed = {name: row.missed for name, row in rows.items() if row.missed}

    assert sum(missed.values()) * 100 <= len(made), missed
    assert sum(row.alerts for row in rows.values()) == 0
    good = [case for case in made if case.expect == "read"]
    down = marking_report.examine(good, Source.OWN)
    assert sum(row.alerts for row in down.values()) == 0
    assert sum(row.missed for row in down.values()) * 100 <= len(good)


def test_the_report_tells_these_counts() -> None:
    """The page has every trap, 10,000 codes, and the counts that its seed gives again."""
    page = REPORT.read_text()
    seed = int(re.search(r"--seed (\d+)", page).group(1))
    count = int(re.search(r"--count (\d+)", page).group(1))
    assert count >= 10_000
    made = pack_codes.cases(seed, count, marking_report.gtins())
    for line in marking_report.table(marking_report.examine(made)):
        assert line in page


def test_the_generator_stands_apart() -> None:
    """Nothing of the platform is imported where the codes are made."""
    text = Path(pack_codes.__file__).read_text()

    assert not re.search(r"^\s*(?:from|import) dmed", text, re.MULTILINE)


@pytest.mark.parametrize("what", ["operator asked", "operator down"])
def test_reuse_was_caught_in_the_report(what: str) -> None:
    """Every pack at two pharmacies had one green and one refusal, with and without the operator."""
    page = REPORT.read_text()
    packs = int(re.search(r"two pharmacies, (\d+) packs each", page).group(1))

    assert f"| {what}, at once: one green, one refused | {packs} |" in page
    assert f"| {what}, afterwards: dispensed_elsewhere | {packs} |" in page
