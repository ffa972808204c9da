"""The table of OWASP ASVS 5.0 is current, whole, and names only what exists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import asvs

ROOT = Path(__file__).resolve().parents[2]
LEVEL_3 = {8, 14, 16}
IN_ALL = 264
"""253 requirements of levels 1 and 2, and eleven of level 3 in V8, V14 and V16."""


def test_every_requirement_stands_once_and_in_order() -> None:
    """All of levels 1 and 2, and of level 3 in the three chapters; none twice."""
    found = asvs.rows()
    numbers = [tuple(int(part) for part in row.number.split(".")) for row in found]

    assert len(found) == IN_ALL
    assert numbers == sorted(set(numbers))
    assert {row.chapter for row in found if row.level == 3} <= LEVEL_3
    assert Counter(row.level for row in found)[3] == 11


def test_what_is_met_or_partly_says_by_what() -> None:
    """Each status is one of four; what is met names evidence, what is not applicable why."""
    for row in asvs.rows():
        assert row.status in asvs.STATUSES, row.number
        assert row.evidence, row.number
        assert row.status == "not" or row.evidence != "-", row.number


def test_every_named_test_and_file_exists() -> None:
    """No link of the table leads nowhere; a folder of tests holds tests."""
    missing = []
    for row in asvs.rows():
        for name in row.files:
            path = ROOT / name
            is_empty = path.is_dir() and not any(path.rglob("test_*.py"))
            if not path.exists() or is_empty:
                missing.append(f"{row.number}: {name}")

    assert missing == []


def test_the_page_is_made_of_the_data() -> None:
    """docs/security/asvs.md is what tools/asvs.py makes now."""
    assert asvs.PAGE.read_text(encoding="utf-8") == asvs.page()


def test_times_to_mend_are_written_down() -> None:
    """SECURITY.md says by when each kind of weakness is mended, of ours and of packages."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

    for level in ("critical", "high", "medium", "low"):
        assert any(line.startswith(f"| {level}") for line in text.splitlines()), level
    assert "packages that we use" in text


def test_every_file_that_the_threat_model_names_exists() -> None:
    """The threat model leads to tests that are there."""
    import re

    for page in ("threats.md", "keys.md", "logs.md", "outgoing.md", "retention.md"):
        text = (ROOT / "docs" / "security" / page).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:tests|src|tools|docs)/[\w./-]*\w)`", text):
            assert (ROOT / name).exists(), f"{page}: {name}"
