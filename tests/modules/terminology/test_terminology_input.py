"""Whatever is sent to a terminology operation is answered or refused, never a fault of ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir.terminology import Library
from dmed.kit.errors import DmedError, InvalidError
from dmed.modules.terminology import operations
from dmed.modules.terminology.model import Given, pairs_of_body

GENDER = "http://hl7.org/fhir/administrative-gender"
SETS = "http://hl7.org/fhir/ValueSet/administrative-gender"
ANSWERS = (
    ("CodeSystem", "lookup", operations.lookup),
    ("CodeSystem", "validate-code", operations.validate_in_system),
    ("CodeSystem", "subsumes", operations.subsumes),
    ("ValueSet", "expand", operations.expand),
    ("ValueSet", "validate-code", operations.validate_in_set),
    ("ConceptMap", "translate", operations.translate),
)
NAMES = (
    "code", "system", "coding", "codeableConcept", "url", "valueSet", "codeSystem", "display",
    "filter", "count", "offset", "codeA", "codeB", "codingA", "sourceCode", "sourceCoding",
    "targetCode", "targetSystem", "conceptMap", "displayLanguage", "activeOnly", "property",
    "designation", "abstract", "useSupplement", "version",
)  # fmt: skip  # A list reads better filled.
TEXTS = st.sampled_from(["", "male", GENDER, SETS, "-1", "1", "true", "x|y", "\x00", "ru"])
SYSTEMS = st.sampled_from([GENDER, "urn:x", ""])
CODINGS = st.fixed_dictionaries(
    {}, optional={"system": SYSTEMS, "code": TEXTS, "display": TEXTS, "version": TEXTS})
FILTERS = st.fixed_dictionaries({
    "property": TEXTS, "op": st.sampled_from(["=", "is-a", "regex", "exists", "in", "odd"]),
    "value": st.sampled_from(["male", "(", "m.*", "", "true"])})  # fmt: skip  # One thought.
RULES = st.fixed_dictionaries({}, optional={
    "system": SYSTEMS, "concept": st.lists(CODINGS, max_size=2),
    "filter": st.lists(FILTERS, max_size=2), "valueSet": st.lists(TEXTS, max_size=2),
})  # fmt: skip  # One thought.
SET_BODIES = st.fixed_dictionaries({"resourceType": st.just("ValueSet")}, optional={
    "compose": st.fixed_dictionaries({}, optional={
        "include": st.lists(RULES, max_size=3), "exclude": st.lists(RULES, max_size=2)}),
    "expansion": st.just({"contains": [{"code": "a"}]})})  # fmt: skip  # One thought.
VALUES = st.one_of(
    TEXTS, st.booleans(), st.integers(-5, 5), st.none(), st.lists(TEXTS, max_size=2), CODINGS,
    st.fixed_dictionaries({"coding": st.lists(CODINGS, max_size=2)}), SET_BODIES,
)  # fmt: skip  # One thought.
LIBRARY = Library()


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(ANSWERS) - 1), st.lists(st.tuples(st.sampled_from(NAMES), VALUES),
                                                  max_size=6))
def test_random_input_is_answered_or_refused(number: int, pairs: list[tuple[str, Any]]) -> None:
    """Random parameters of random kinds give an answer that is JSON, or an expected refusal."""
    type_, name, endpoint = ANSWERS[number]
    answer = endpoint.answer
    known = []
    for pair in pairs:
        try:
            Given([pair], type_, name)
        except InvalidError:
            continue
        known.append(pair)
    asked = Given(known, type_, name)
    try:
        made = answer(LIBRARY, asked, "", asked.text("displayLanguage"))
    except DmedError:
        return

    assert made["resourceType"] in {"Parameters", "ValueSet"}
    assert msgspec.json.encode(made)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"resourceType": "Patient"}',
     b'{"resourceType": "Parameters", "parameter": 1}',
     b'{"resourceType": "Parameters", "parameter": [1]}',
     b'{"resourceType": "Parameters", "parameter": [{"name": 1}]}',
     b'{"resourceType": "Parameters", "parameter": [{"name": "code"}]}',
     b'{"resourceType":"Parameters","parameter":[{"name":"a","valueId":"","valueUri":""}]}'],
)  # fmt: skip  # A body a line.
def test_bodies_that_are_no_parameters_are_refused(body: bytes) -> None:
    """A body that is no Parameters resource is refused with a sentence."""
    with pytest.raises(InvalidError):
        pairs_of_body(body)


def test_an_answer_holds_what_was_asked() -> None:
    """The same question by address and by Parameters reads alike."""
    body = b"""{"resourceType": "Parameters", "parameter": [
        {"name": "code", "valueCode": "male"}, {"name": "system", "valueUri": "s"},
        {"name": "abstract", "valueBoolean": false}]}"""
    posted = Given(pairs_of_body(body), "ValueSet", "validate-code")
    plain = Given([("code", "male"), ("system", "s"), ("abstract", "false")],
                  "ValueSet", "validate-code")

    assert posted.codings() == plain.codings()
    assert posted.flag("abstract") is plain.flag("abstract") is False
