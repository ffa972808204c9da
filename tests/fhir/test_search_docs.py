"""The table of modifiers in docs/reference/search.md is made from here and from what is served.

`python tests/fhir/test_search_docs.py` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from dmed.fhir.query import modifiers

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "search.md"
START, END = "<!-- modifiers: start -->", "<!-- modifiers: end -->"
_PLAIN = "store/test_store_search_evaluator.py::test_sql_agrees_with_a_slow_reading"
_NAMED = "store/test_store_search.py::test_a_search_finds_these_and_no_others"
_WORDS = "store/test_store_search_more.py::test_words_of_one_text_are_found"
_RANDOM = "store/test_store_search_modifiers.py::test_modifiers_agree_with_a_slow_reading"
SERVED = {
    ("string", "exact"): _NAMED, ("string", "contains"): _PLAIN, ("string", "text"): _WORDS,
    ("string", "missing"): _PLAIN,
    ("token", "not"): _PLAIN, ("token", "missing"): _RANDOM, ("token", "text"): _RANDOM,
    ("token", "text-advanced"): _WORDS,
    ("token", "code-text"): _RANDOM, ("token", "of-type"): _RANDOM, ("token", "in"): _RANDOM,
    ("token", "not-in"): _RANDOM, ("token", "below"): _RANDOM, ("token", "above"): _RANDOM,
    ("date", "missing"): _PLAIN, ("number", "missing"): _PLAIN, ("quantity", "missing"): _PLAIN,
    ("reference", "[type]"): _RANDOM, ("reference", "identifier"): _RANDOM,
    ("reference", "text"): _RANDOM, ("reference", "text-advanced"): _WORDS,
    ("reference", "code-text"): _WORDS, ("reference", "below"): _RANDOM,
    ("reference", "above"): _RANDOM, ("reference", "missing"): _RANDOM,
    ("uri", "below"): _NAMED, ("uri", "above"): _NAMED, ("uri", "contains"): _NAMED,
    ("uri", "missing"): _NAMED, ("composite", "missing"): _RANDOM,
    ("special", "missing"): _RANDOM,
}  # fmt: skip  # A table.
REFUSED = {
    ("reference", "in"): "value sets name codes, not records",
    ("reference", "not-in"): "as above",
}  # fmt: skip  # A table.


def table() -> str:
    """The table as it must stand in the page."""
    lines = ["| kind | modifier | served | test, or why not |", "|---|---|---|---|"]
    for (kind, modifier), test in SERVED.items():
        lines.append(f"| {kind} | `:{modifier}` | y | `{test.partition('::')[2]}` |")
    for (kind, modifier), why in REFUSED.items():
        lines.append(f"| {kind} | `:{modifier}` | refused | {why} |")
    return "\n".join(lines)


def test_the_table_names_what_is_served() -> None:
    """Each modifier that the search takes is in the table with a test that is there, no other."""
    kinds = ("string", "token", "date", "number", "quantity", "reference", "uri", "composite",
             "special")
    served = {(kind, modifier) for kind in kinds for modifier in modifiers(kind)}

    assert served == set(SERVED) - {("reference", "[type]")}
    for test in SERVED.values():
        file, _, name = test.partition("::")
        assert re.search(rf"^async def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)


def test_the_page_is_up_to_date() -> None:
    """The page holds the table as it is made here."""
    found = PAGE.read_text().partition(START)[2].partition(END)[0]

    assert found.strip() == table()


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}")
