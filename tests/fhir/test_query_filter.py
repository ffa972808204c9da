"""`_filter` is read as the specification's grammar says, and faults name their place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import query_filter
from dmed.fhir.query import parse, self_link
from dmed.fhir.query_filter import Comparison, Joined, Step
from dmed.fhir.query_model import Chain, Has, Logic, Match, Missing, Query, Text
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings

SETTINGS = Settings()


def read(type_name: str, text: str) -> Query:
    return parse(type_name, [("_filter", text)], settings=SETTINGS, strict=True)


def only(type_name: str, text: str) -> object:
    found = read(type_name, text).criteria[0]
    assert isinstance(found, Logic)
    assert found.sign == "and"
    assert len(found.parts) == 1
    return found.parts[0]


EXAMPLES = [
    ("Patient", 'name co "pet"'),
    ("Patient", 'given eq "peter" and birthdate ge 2014-10-10'),
    ("Observation", "code eq http://loinc.org|1234-5"),
    ("Observation", 'subject:Patient.name co "pet"'),
    ("Observation", 'patient.name co "pet"'),
    ("Patient", ('given eq "peter" and birthdate ge 2014-10-10 and '
                "_has:Observation:patient:code eq http://loinc.org|1234-5")),
    ("Observation", "subject[_id eq p1].name sw al or not (status eq final)".replace(
        "subject[", "subject:Patient[")),
    ("Observation", "patient re Patient/1 and date po 2024-05 and value-quantity gt 5||mg"),
    ("Observation", "(status eq final or status eq amended) and date pr false"),
    ("Observation", "code-value-quantity eq http://loinc.org|1-8$ge150"),
]


@pytest.mark.parametrize(("type_name", "text"), EXAMPLES)
def test_a_filter_is_read_and_linked(type_name: str, text: str) -> None:
    """Filters of the specification's kind are read; the self link is the same search again."""
    query = read(type_name, text)
    again = parse(type_name, [("_filter", text)], settings=SETTINGS)

    assert query == again
    assert self_link(query).startswith("_filter=")


def test_signs_are_taken_from_left_to_right() -> None:
    """Without parentheses `a or b and c` is `(a or b) and c`; parentheses change it."""
    def test(name: str, at: int) -> Comparison:
        return Comparison((Step(name),), "eq", "1", at)

    assert query_filter.parse("a eq 1 or b eq 1 and c eq 1") == Joined(
        "and", (Joined("or", (test("a", 0), test("b", 10))), test("c", 21)))
    grouped = query_filter.parse("a eq 1 or (b eq 1 and c eq 1)")
    assert isinstance(grouped, Joined)
    assert grouped.sign == "or"


def test_operations_become_criteria() -> None:
    """Presence, contains, not and chains become the criteria that other searches have too."""
    assert only("Patient", "birthdate pr true") == Missing(
        "Patient", "birthdate", "date", _number("Patient", "birthdate"), missing=False)
    contains = only("Patient", 'family co "O\'l"')
    assert isinstance(contains, Match)
    assert (contains.modifier, contains.values) == ("~co", (Text("O'l", "ol"),))
    negated = only("Patient", "not (active eq true)")
    assert isinstance(negated, Logic)
    assert negated.sign == "not"
    assert isinstance(only("Observation", "patient.family eq x"), Chain)
    assert isinstance(only("Patient", "_has:Observation:patient:code eq x"), Has)


def _number(type_name: str, code: str) -> int:
    found = parse(type_name, [(code, "2024")], settings=SETTINGS).criteria[0]
    assert isinstance(found, Match)
    return found.number


@pytest.mark.parametrize(("text", "at", "why"), [
    ("", 1, "value"),
    ("name", 5, "operation"),
    ("name xx 1", 6, "operation"),
    ("name eq", 8, "value"),
    ("(name eq 1", 11, "')'"),
    ("name eq 1)", 10, "'and'"),
    ("name eq 1 and", 14, "name"),
    ("nome eq 1 or name eq 2", 1, "nome"),
    ("name eq 1 or birthdate gt soon", 14, "date"),
    ("name gt x and active gt true", 15, "gt"),
    ('name eq "a', 9, "value"),
    ("name eq x and general-practitioner[active eq true] eq 1", 51, "'.'"),
    ("name eq 1 and " + "link." * 40 + "name eq 1", 15, "links"),
    ('name eq "\\u0000"', 17, "text"),
    ("not name eq 1", 5, "operation"),
])
def test_a_fault_names_its_place(text: str, at: int, why: str) -> None:
    """A filter that cannot be read is a 400 that says at which character, lenient or strict."""
    for strict in (False, True):
        pairs = [("_filter", text)]
        if not text:
            continue
        with pytest.raises(InvalidError) as caught:
            parse("Patient", pairs, settings=SETTINGS, strict=strict)

        sentence = caught.value.issues[0].diagnostics
        assert sentence.startswith(f"_filter, at character {at}:"), sentence
        assert why in sentence


def test_sizes_are_limited() -> None:
    """Nesting and the number of tests have limits, so no text makes much work."""
    with pytest.raises(InvalidError, match="levels"):
        read("Patient", "(" * 500 + "active eq true" + ")" * 500)
    with pytest.raises(InvalidError, match="tests"):
        read("Patient", " and ".join(["active eq true"] * 101))


@given(text=st.text(st.sampled_from('abcdenort_ ()[].:"\\|,$0123456789-é ') | st.characters(),
                    max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is written, the answer is a filter or an InvalidError."""
    try:
        query_filter.parse(text)
    except InvalidError as fault:
        assert fault.issues[0].expression == "_filter"  # noqa: PT017  # A fault is one of two right answers.
