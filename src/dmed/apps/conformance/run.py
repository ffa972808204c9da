"""Runs one suite and tells how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dmed.apps.conformance import fhirpath, patch, validator
from dmed.apps.conformance.model import Verdict

SUITES: dict[str, Callable[[Path], Iterator[Verdict]]] = {
    "fhirpath": fhirpath.verdicts,
    "validator": validator.verdicts,
    "fhirpath-patch": patch.fhirpath_verdicts,
    "json-patch": patch.json_verdicts,
}


def run(suite: str, folder: Path, say: Callable[[str], object]) -> bool:
    """Tell each failing case, then `passed total`; whether all passed.

    Raises InvalidError where the folder does not hold the suite.
    """
    passed = total = 0
    for verdict in SUITES[suite](folder):
        total += 1
        passed += verdict.passed
        if not verdict.passed:
            say(f"FAIL {verdict.case}: {' '.join(verdict.reason.split())}")
    say(f"{passed} {total}")
    return passed == total
