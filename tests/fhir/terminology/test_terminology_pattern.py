"""Patterns of filters: as Python's own for what is served, and never slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir.terminology.pattern import Pattern
from dmed.kit.errors import InvalidError

ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"\.", r"\w", "1"])
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?"])
PIECES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, REPEATS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
    ),
    max_leaves=6,
)  # fmt: skip  # One kind a line.


@settings(max_examples=300, deadline=None)
@given(PIECES, st.text(alphabet="abc1.", max_size=8))
def test_patterns_match_as_pythons_do(pattern: str, text: str) -> None:
    """Whatever is served means what Python's re.fullmatch takes it for."""
    assert Pattern(pattern).matches(text) == bool(re.fullmatch(pattern, text, re.DOTALL))


def test_anchors_at_the_ends_change_nothing() -> None:
    """The whole text is matched anyway, so ^ and $ around a pattern are passed over."""
    assert Pattern("^a+$").matches("aaa")
    assert not Pattern("^a+$").matches("aab")
    assert Pattern(r"a\$").matches("a$")


def test_hostile_patterns_take_linear_time() -> None:
    """Patterns that hold a backtracking engine for ages answer at once."""
    began = time.perf_counter()
    for hostile in ("(a+)+b", "(a|a)*b", "(a*)*(a*)*b", ".*.*.*.*.*.*b", "(a|aa)+b"):
        assert not Pattern(hostile).matches("a" * 2_000)

    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "wrong",
    ["(", ")", "a)", "[ab", "*a", "a{", "a{x}", "a{3,2}", "(?=a)", r"(a)\1", r"\b", "a^b",
     "a" * 501, "((a{50}){50}){50}", "(" * 400 + ")" * 400, "\\"],
)  # fmt: skip  # A list reads better filled.
def test_what_is_not_served_is_refused(wrong: str) -> None:
    """Look-around, back references, faults and explosions are refused with a sentence."""
    with pytest.raises(InvalidError, match="pattern"):
        Pattern(wrong)
