"""docs/security/asvs.md of docs/security/asvs.tsv: OWASP ASVS 5.0, what is met and where.

Numbers and levels are those of OWASP ASVS 5.0.0; the words are ours (its text is CC BY-SA). Level 2
throughout, level 3 for V8, V14 and V16. `python tools/asvs.py` writes the page;
tests/tidy/test_asvs.py holds that it is current and that every test and file it names exists.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "security" / "asvs.tsv"
PAGE = DATA.with_suffix(".md")
STATUSES = ("met", "partly", "not", "not applicable")
CHAPTERS = {
    1: "Encoding and sanitising", 2: "Validation and business logic", 3: "Browser",
    4: "API", 5: "Files", 6: "Authentication", 7: "Sessions", 8: "Authorization (level 3)",
    9: "Self-contained tokens", 10: "OAuth and OIDC", 11: "Cryptography", 12: "Transport",
    13: "Configuration", 14: "Data protection (level 3)", 15: "Code and architecture",
    16: "Logging and errors (level 3)", 17: "WebRTC",
}
_FILE = re.compile(r"(?:(?:tests|src|tools|docs|bench)/[\w./-]*\w|SECURITY\.md)")


class Row(NamedTuple):
    """One requirement."""

    number: str
    level: int
    words: str
    status: str
    evidence: str

    @property
    def chapter(self) -> int:
        """The first part of its number."""
        return int(self.number.partition(".")[0])

    @property
    def files(self) -> list[str]:
        """The tests and files that it names."""
        return _FILE.findall(self.evidence)


def rows() -> list[Row]:
    """The table of data, in order."""
    with DATA.open(encoding="utf-8") as file:
        return [Row(line[0], int(line[1]), *line[2:5]) for line in csv.reader(file, delimiter="\t")
                if not line[0].startswith("#")]


def page() -> str:
    """The whole page."""
    every = rows()
    lines = [
        "# OWASP ASVS 5.0", "",
        ("Made by `python tools/asvs.py` of `asvs.tsv`. Numbers and levels are those of OWASP ASVS "
        "5.0.0, the words are ours;"),
        ("level 2 throughout, level 3 for V8, V14 and V16. This is our own judgement, no audit by "
        'others. "met" names what holds it;'),
        '"partly" says what is missing.', "",
        "| chapter | met | partly | not | not applicable | of all |", "|---|---|---|---|---|---|"]
    for chapter, title in CHAPTERS.items():
        found = Counter(row.status for row in every if row.chapter == chapter)
        lines.append(f"| V{chapter} {title} | " + " | ".join(
            str(found[status]) for status in STATUSES) + f" | {found.total()} |")
    found = Counter(row.status for row in every)
    lines.append("| **all** | " + " | ".join(
        f"**{found[status]}**" for status in STATUSES) + f" | **{found.total()}** |")
    for chapter, title in CHAPTERS.items():
        lines += ["", f"## V{chapter} {title}", "", ("| number | level | in our words | status | "
                  "held by, or what is missing |"), "|---|---|---|---|---|"]
        lines += [f"| {row.number} | {row.level} | {row.words} | {row.status} | {row.evidence} |"
                  for row in every if row.chapter == chapter]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(rows())} requirements\n")
