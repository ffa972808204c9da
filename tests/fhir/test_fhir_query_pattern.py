"""Patterns of searches that differ in one id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.fhir.query import parse, self_link
from dmed.fhir.query_pattern import HOLE, Pattern, pattern_of
from dmed.kit.settings import Settings

SETTINGS = Settings()
PLAIN = [
    [("patient", HOLE)],
    [("patient", HOLE), ("_count", "20")],
    [("status", "final"), ("subject", f"Patient/{HOLE}"), ("date", "ge2020-01-01")],
    [("code", "http://loinc.org|8480-6,8462-4"), ("patient", f"Patient/{HOLE}")],
    [("patient", HOLE), ("value-quantity:missing", "true")],
]
ODD = [
    [("status", "final")],
    [("patient", HOLE), ("subject", HOLE)],
    [("patient", f"{HOLE},other")],
    [("patient:identifier", f"urn:x|{HOLE}")],
    [("patient", HOLE), ("_sort", "-date")],
    [("patient", HOLE), ("_include", "Observation:patient")],
    [("patient", HOLE), ("_summary", "count")],
    [("patient", HOLE), ("_count", "0")],
    [("patient", HOLE), ("_total", "accurate")],
    [("patient", HOLE), ("_elements", "status")],
    [("patient", HOLE), ("nonsense", "x")],
    [("patient", HOLE), ("patient.name", "ali")],
    [("patient", HOLE), ("_id", "x")],
    [("patient", HOLE), ("code:not", "x")],
    [("patient", HOLE), ("_content", HOLE)],
    [("patient", HOLE), ("encounter", "Encounter/e")],
]


def made(pairs: list[tuple[str, str]]) -> Pattern | None:
    return pattern_of(parse("Observation", pairs, settings=SETTINGS))


@given(pairs=st.sampled_from(PLAIN), id_=st.from_regex(r"[A-Za-z0-9.-]{1,64}", fullmatch=True))
def test_a_filled_pattern_is_the_search_that_was_asked(
    pairs: list[tuple[str, str]], id_: str
) -> None:
    """With any id put in, query and self link are those of reading the whole address."""
    pattern = made(pairs)
    assert pattern is not None
    asked = parse("Observation", [(name, text.replace(HOLE, id_)) for name, text in pairs],
                  settings=SETTINGS)
    assert pattern.filled(id_) == asked
    assert pattern.link(id_) == self_link(asked)


@pytest.mark.parametrize("pairs", ODD)
def test_what_is_not_plain_has_no_pattern(pairs: list[tuple[str, str]]) -> None:
    """Modifiers, chains, includes, order, parts and two places for the id go the long way."""
    assert made(pairs) is None
