"""docs/reference/feature-matrix.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "feature-matrix.md"
_LINK = re.compile(r"\[(test_\w+)\]\(\.\./\.\./(tests/[\w/]+\.py)\)")


def rows() -> list[tuple[str, str, str]]:
    """(feature, ours, what holds it) of every row of both tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(row[0], row[1], row[-1]) for row in cells if row[1] != "DMED"]


def test_every_named_test_exists() -> None:
    """Each link leads to a file of tests that has a test of this name."""
    for feature, _, held in rows():
        for name, file in _LINK.findall(held):
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            found = {node.name for node in ast.walk(tree)
                     if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in found, (feature, file, name)


def test_what_we_have_is_held_and_the_rest_is_not_claimed() -> None:
    """A `y` or `p` has a test, an `n` has none, and nothing else stands in our column."""
    found = rows()

    assert len(found) > 30
    for feature, ours, held in found:
        assert ours in {"y", "p", "n"}, feature
        assert bool(_LINK.findall(held)) == (ours != "n"), feature
