"""Runs suites, tells how they went, and makes the page of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from dmed.apps.conformance import fhirpath, patch, validator
from dmed.apps.conformance.model import Verdict
from dmed.kit.errors import InvalidError

SUITES: dict[str, Callable[[Path], Iterator[Verdict]]] = {
    "fhirpath": fhirpath.verdicts,
    "validator": validator.verdicts,
    "fhirpath-patch": patch.fhirpath_verdicts,
    "json-patch": patch.json_verdicts,
}
FOLDERS = {
    "fhirpath": "fhirpath-r",
    "validator": "validator-r",
    "fhirpath-patch": "patch-r",
    "json-patch": "patch-r",
}
"""How the folder of each suite begins, where all stand side by side."""
REASONS = Path(__file__).parent / "data" / "reasons.json"
_NOT_REVIEWED = "NOT REVIEWED"
Say = Callable[[str], object]


def run(suite: str, folder: Path, say: Say) -> bool:
    """Tell each failing case, then `passed total`; whether all passed.

    Raises InvalidError where the folder does not hold the suite.
    """
    return _tell(list(SUITES[suite](folder)), say)


def run_all(folder: Path, say: Say, page: Path | None = None) -> bool:
    """Run every suite that a folder of folders holds; whether all cases passed.

    The last line is `passed total` of all together; `page` is written when it is given.
    """
    found = find_all(folder)
    every = [
        Verdict(f"{suite} {verdict.case}", verdict.reason)
        for suite, verdicts in found.items()
        for verdict in verdicts
    ]
    if page is not None:
        page.write_text(page_text(found), encoding="utf-8")
    return _tell(every, say)


def find_all(folder: Path) -> dict[str, list[Verdict]]:
    """The verdicts of every suite whose folder (`fhirpath-r5`, say) stands in a folder.

    Raises InvalidError where there is none.
    """
    found = {
        suite: list(verdicts(place))
        for suite, verdicts in SUITES.items()
        for place in sorted(folder.glob(f"{FOLDERS[suite]}*"))[:1]
    }
    if not found:
        raise InvalidError(f"no suite is in {folder}")
    return found


def _tell(verdicts: list[Verdict], say: Say) -> bool:
    failing = [each for each in verdicts if not each.passed]
    for verdict in failing:
        say(f"FAIL {verdict.case}: {' '.join(verdict.reason.split())}")
    say(f"{len(verdicts) - len(failing)} {len(verdicts)}")
    return not failing


def reasons() -> dict[str, dict[str, str]]:
    """The reviewed list: suite > case > why it does not pass."""
    return msgspec.json.decode(REASONS.read_bytes(), type=dict[str, dict[str, str]])


def page_text(found: Mapping[str, list[Verdict]]) -> str:
    """docs/reference/conformance.md: a table of the suites, and each failing case with why."""
    lines = [
        "# Conformance",
        "",
        "Made by `dmed conformance all DIR --write` from the suites that we hold; reasons are in",
        "`src/dmed/apps/conformance/data/reasons.json`. What a pass means stands at the head of",
        "each suite's reader in `src/dmed/apps/conformance/`. Cases of the validator suite that",
        "its manifest switches off, or whose outcome is not in the folder, are not counted.",
        "",
        "| suite | passed | cases | share |",
        "|---|--:|--:|--:|",
    ]
    for suite, verdicts in found.items():
        passed = sum(each.passed for each in verdicts)
        share = 100 * passed / max(1, len(verdicts))
        lines.append(f"| {suite} | {passed} | {len(verdicts)} | {share:.1f} % |")
    reviewed = reasons()
    for suite, verdicts in found.items():
        failing = [each for each in verdicts if not each.passed]
        if failing:
            lines += ["", f"## {suite}", "", "| case | why it does not pass |", "|---|---|"]
            lines += [
                f"| {_cell(each.case)} | "
                f"{_cell(reviewed.get(suite, {}).get(each.case, _NOT_REVIEWED))} |"
                for each in failing
            ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
