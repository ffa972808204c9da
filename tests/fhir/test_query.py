"""Search requests become typed queries; what is wrong is a 400 that names the parameter."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.fhir.query import (
    BRANCHES_MAX,
    DEPTH_MAX,
    INCLUDES_MAX,
    PAIRS_MAX,
    SORT_MAX,
    VALUES_MAX,
    parse,
    self_link,
)
from dmed.fhir.query_model import Chain, Link, Match, Moment, Quantity, Query, Text, Token
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings

SETTINGS = Settings(public_url="https://dmed.example/", count_max=100)


def one(type_name: str, name: str, value: str) -> Query:
    return parse(type_name, [(name, value)], settings=SETTINGS, strict=True)


def values(query: Query) -> tuple[object, ...]:
    criterion = query.criteria[0]
    assert isinstance(criterion, Match)
    return criterion.values


def test_tokens_are_told_apart() -> None:
    """Code, system and both are read with their escapes."""
    assert values(one("Patient", "identifier", r"a|b\|c,|d,e|,f\,g")) == (
        Token("a", "b|c"), Token("", "d"), Token("e", None), Token(None, "f,g"))


def test_strings_are_folded_and_kept() -> None:
    """A string keeps what was written, for exact, and its folded key."""
    assert values(one("Patient", "name", "КаримOVA")) == (Text("КаримOVA", "karimova"),)


def test_names_that_are_heard_have_their_skeleton() -> None:
    """`phonetic` compares skeletons, in a chain as well; other texts are only folded."""
    chain = one("Observation", "patient.phonetic", "Юлдашева").criteria[0]
    skeleton = values(one("Patient", "phonetic", "Yo‘ldosheva"))[0]

    assert isinstance(chain, Chain)
    assert chain.branches[0].values[0].key == skeleton.key != "yoldosheva"  # type: ignore[attr-defined,union-attr]  # Texts of a Match.


def test_plain_codes_imply_their_system() -> None:
    """A code's own system finds it, though the element has none; another system does not."""
    gender = "http://hl7.org/fhir/administrative-gender"
    kind = "http://hl7.org/fhir/endpoint-status"

    assert values(one("Patient", "gender", f"{gender}|male")) == (
        Token(gender, "male"), Token("", "male"))
    assert values(one("Patient", "gender", "urn:x|male")) == (Token("urn:x", "male"),)
    assert values(one("Endpoint", "status", f"{kind}|active"))[1:] == (Token("", "active"),)
    assert values(one("Observation", "code", "http://loinc.org|1-1")) == (
        Token("http://loinc.org", "1-1"),)


def test_references_become_type_and_id() -> None:
    """Bare ids, relative and own absolute addresses are one; foreign ones stay addresses."""
    for text in ("7", "Patient/7", "https://dmed.example/fhir/Patient/7"):
        assert values(one("Observation", "patient", text)) == (Link("Patient", "7"),)
    assert values(one("Observation", "subject:Patient", "7")) == (Link("Patient", "7"),)
    assert values(one("Observation", "subject", "7")) == (Link(None, "7"),)
    assert values(one("Observation", "subject", "Patient/7/_history/3")) == (
        Link("Patient", "7", "3"),)
    assert values(one("Observation", "subject", "http://x.org/Patient/7")) == (
        Link("", "http://x.org/Patient/7"),)


def test_prefixes_and_precision_are_read() -> None:
    """A date covers its written precision, a number half a unit of its last digit."""
    moment = values(one("Patient", "birthdate", "ge2024-05"))[0]
    quantity = values(one("Observation", "value-quantity", "lt5.40|http://unitsofmeasure.org|mg"))[0]

    assert isinstance(moment, Moment)
    assert (moment.prefix, moment.high - moment.low + 1) == ("ge", 31 * 86_400 * 1_000_000)
    assert isinstance(quantity, Quantity)
    assert (quantity.number.low, quantity.number.high) == (Decimal("5.395"), Decimal("5.405"))
    assert (quantity.number.prefix, quantity.code) == ("lt", "mg")


def test_a_blank_before_a_zone_is_a_plus() -> None:
    """A '+' that a browser decoded to a blank is taken as it was meant."""
    given_, meant = (values(one("Observation", "date", f"2024-01-01T10:00:00{sign}05:00"))
                     for sign in " +")

    assert given_ == meant


@pytest.mark.parametrize(("type_name", "name", "value"), [
    ("Patient", "birthdate", "2024-13"), ("Patient", "birthdate", "gt"),
    ("Patient", "birthdate", "2024-02-30"), ("Patient", "birthdate", "yesterday"),
    ("RiskAssessment", "probability", "gtx"), ("RiskAssessment", "probability", "NaN"),
    ("RiskAssessment", "probability", "1e999"), ("RiskAssessment", "probability", "1e31"),
    ("Observation", "value-quantity", "5|mg"), ("Observation", "value-quantity", "x||mg"),
    ("Observation", "code-value-quantity", "8480-6"),
    ("Observation", "code-value-quantity", "8480-6$gt5$6"),
    ("Observation", "code-value-quantity", "8480-6$"),
    ("Observation", "component-code-value-quantity", "http://loinc.org|$gt5"),
    ("Observation", "patient", "a b"), ("Observation", "subject:Patient", "Group/1"),
    ("Observation", "patient.birthdate", "x"), ("Observation", "code.text", "x"),
    ("Observation", "subject:Nothing.name", "x"), ("Observation", "patient:Group.name", "x"),
    ("Observation", "focus.name", "x"),
    ("Patient", "identifier", "a|b|c"), ("Patient", "identifier", "|"),
    ("Patient", "name", "'"), ("Patient", "name", "a\0b"), ("Patient", "name", "\ud800"),
    ("Patient", "name", ","), ("Patient", "gender:missing", "perhaps"),
    ("Patient", "gender:text", "x"), ("Patient", "name:not", "x"), ("Patient", "gender:gt", "x"),
    ("Patient", "_has:Observation:patient", "x"), ("Patient", "_has:Nothing:patient:code", "x"),
    ("Patient", "_has:Observation:code:code", "x"),
    ("Patient", "_has:Encounter:location:status", "x"),
    ("Patient", "_count", "-1"), ("Patient", "_count", "x"), ("Patient", "_count", "٣"),
    ("Patient", "_summary", "yes"), ("Patient", "_total", "all"),
    ("Patient", "_elements", "a b"), ("Patient", "_cursor", "?"),
    ("Patient", "_include", "x"), ("Patient", "_include", "Patient:name"),
    ("Patient", "_include", "Patient:none"), ("Patient", "_include", "Nothing:x"),
    ("Patient", "_include", "Observation:subject"), ("Patient", "_include:recurse", "*"),
    ("Patient", "_revinclude", "Observation:patient:Nothing"), ("Patient", "_include", "a:b:c:d"),
    ("Observation", "code-value-quantity:missing", "x"), ("ValueSet", "url", "a b"),
    ("Patient", "_lastUpdated:missing", "yes"), ("Patient", "_id:below", "x"),
    ("Patient", "_id:text", "x"), ("Observation", "code:of-type", "a|b|c"),
    ("Patient", "identifier:of-type", "a|b"), ("Patient", "identifier:of-type", "a||c"),
    ("Patient", "identifier:of-type", "x"), ("Observation", "code:text", ","),
    ("Observation", "code:text", "'"), ("Observation", "code:in", "http://x.org/none"),
    ("Observation", "code:not-in", "http://x.org/none"), ("Observation", "code:below", "x"),
    ("Observation", "code:below", "http://x.org/none|x"), ("Observation", "code:below", "a|"),
    ("Observation", "subject:identifier", "a|b|c"), ("Observation", "subject:below", "Patient/1"),
    ("Encounter", "location:below", "Location/1/_history/2"), ("Observation", "subject:below", "1"),
    ("Patient", "birthdate:text", "x"),
    ("Observation", "code:code-text", "a" * 65), ("Patient", "phonetic:text", "x"),
    ("Location", "near", "x"), ("Location", "near", "1"), ("Location", "near", "91|0"),
    ("Location", "near", "0|181"), ("Location", "near", "1|2|-3"), ("Location", "near", "1|2|3|mg"),
    ("Location", "near", "1|2|1e99"), ("Location", "near", "1|2|3|km|x"),
    ("Location", "near", "1e999|2"), ("Location", "near:missing", "1|2"),
    ("Location", "_sort", "near"), ("Location", "_sort", "contains"),
    ("Location", "contains", "1"), ("Location", "contains", "1|2|3|km"),
    ("Location", "contains", "91|2"), ("Patient", "name:text", "a OR"),
    ("Observation", "code:text-advanced", "-"),
])  # fmt: skip  # A list of faults.
def test_malformed_values_are_always_refused(type_name: str, name: str, value: str) -> None:
    """Lenient or strict: a malformed value is a 400 whose message names the parameter."""
    for strict in (False, True):
        with pytest.raises(InvalidError) as caught:
            parse(type_name, [(name, value)], settings=SETTINGS, strict=strict)
        assert name.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0] in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [
    ("unknown", "x"), ("name", ""), ("patient.name", "x"), ("link.unknown", "x"),
    ("_query", "x"), ("contains", "x"), ("_sort", "near"),
])  # fmt: skip  # A list.
def test_unknown_parameters_are_reported_or_refused(name: str, value: str) -> None:
    """Lenient: left out with a sentence. Strict: a 400 with the same sentence."""
    query = parse("Patient", [(name, value)], settings=SETTINGS)

    assert query.criteria == ()
    assert query.sort == ()
    assert [entry.parameter for entry in query.ignored] == [name]
    with pytest.raises(InvalidError) as caught:
        one("Patient", name, value)
    assert caught.value.issues[0].diagnostics == query.ignored[0].reason
    assert caught.value.issues[0].code == "not-supported"


def test_a_chain_leaves_out_types_without_the_modifier() -> None:
    """A chain asks the types whose values take its modifier; where none does, it is refused."""
    chain = one("Encounter", "subject.identifier:of-type", "|MR|1").criteria[0]

    assert isinstance(chain, Chain)
    assert len(chain.branches) == 2
    with pytest.raises(InvalidError, match="not served"):
        one("Observation", "patient.gender:text", "x")


def test_limits_hold() -> None:
    """Too many pairs, values, keys, links or includes are a clear 400."""
    for pairs, said in (
        ([("name", "a")] * (PAIRS_MAX + 1), "at most"),
        ([("name", "a," * VALUES_MAX + "b")], "at most"),
        ([("name", "a" * 20_000)], "longer"),
        ([("_sort", "name," * SORT_MAX + "name")], "at most"),
        ([("_include", f"Patient:{code}") for code, each in params.parameters("Patient").items()
          if each.type == "reference"] * 3
         + [("_include:iterate", f"Observation:{code}")
            for code, each in params.parameters("Observation").items()
            if each.type == "reference"]
         + [("_include:iterate", f"Encounter:{code}")
            for code, each in params.parameters("Encounter").items()
            if each.type == "reference"], str(INCLUDES_MAX)),
        ([("link:Patient." * (DEPTH_MAX + 1) + "name", "a")], "more than"),
        ([("_has:Patient:link:" * (DEPTH_MAX + 1) + "name", "a")], "more than"),
    ):
        with pytest.raises(InvalidError, match=said):
            parse("Patient", pairs, settings=SETTINGS)


def test_counts_are_cut_to_the_largest_page() -> None:
    """A page larger than allowed becomes the largest, and the self link says so."""
    query = one("Patient", "_count", "5000")

    assert query.count == 100
    assert self_link(query) == "_count=100"


def test_a_chain_without_type_asks_every_target() -> None:
    """`subject.name` means each target type that has such a parameter."""
    chain = one("Encounter", "subject.name", "x").criteria[0]

    assert not isinstance(chain, Match)
    assert sorted(branch.type for branch in chain.branches) == ["Group", "Patient"]  # type: ignore[union-attr]  # It is a Chain.
    assert BRANCHES_MAX >= 2


def test_one_of_each_is_enough() -> None:
    """A control parameter given twice is refused, repeated sort keys and elements add up."""
    with pytest.raises(InvalidError, match="twice"):
        parse("Patient", [("_count", "1"), ("_count", "2")], settings=SETTINGS)
    query = parse("Patient", [("_elements", "name,gender"), ("_elements", "name"),
                              ("_sort", "family"), ("_sort", "-_id")], settings=SETTINGS)

    assert query.elements == ("name", "gender")
    assert [(key.code, key.descending) for key in query.sort] == [("family", False), ("_id", True)]


TYPES = st.sampled_from(["Patient", "Observation", "Encounter", "ValueSet", "RiskAssessment"])
_NAMES = ["_id", "_lastUpdated", "_count", "_sort", "_include", "_revinclude", "_summary", "_total",
          "_elements", "_cursor", "_has:Observation:patient:code", "subject:Patient.name",
          "patient.birthdate", "_include:iterate", "_tag", "_format"]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """A type and pairs, of which most are nearly right."""
    type_name = draw(TYPES)
    names = st.sampled_from([*params.parameters(type_name), *_NAMES])
    suffix = st.sampled_from(["", "", "", ":not", ":exact", ":missing", ":below", ":Patient", ":x"])
    pieces = st.sampled_from(["2024", "2024-05-01", "T10:00", "Z", "gt", "ne", "ap", "5.40", "1e3",
                              "|", ",", "$", "\\", "http://a.b/c", "Patient", "/", "true", "*", ":",
                              "mg", "name", "-", "x", " ", "Observation:subject", "count", "ы"])
    value = st.one_of(st.lists(pieces, max_size=6).map("".join), st.text(max_size=12))
    pair = st.tuples(st.one_of(st.builds(str.__add__, names, suffix), st.text(max_size=8)), value)
    return type_name, draw(st.lists(pair, max_size=4))


@given(requests(), st.booleans())
@settings(max_examples=600, deadline=None)
def test_any_text_is_a_query_or_a_clear_fault(
    request: tuple[str, list[tuple[str, str]]], strict: bool
) -> None:
    """Nothing but InvalidError is raised, and the self link of a query gives the query again."""
    type_name, pairs = request
    try:
        query = parse(type_name, pairs, settings=SETTINGS, strict=strict)
    except InvalidError:
        return
    link = parse_qsl(self_link(query), keep_blank_values=True, strict_parsing=True)
    again = parse(type_name, link, settings=SETTINGS, strict=True)

    assert again == msgspec.structs.replace(query, ignored=())
    assert self_link(again) == self_link(query)


def test_every_parameter_of_r5_can_be_asked_for() -> None:
    """For each type and each indexed parameter a plain value gives a criterion of its kind."""
    plain = {"string": "a", "token": "a|b", "date": "2024", "number": "1", "quantity": "1",
             "reference": "1", "uri": "urn:a"}
    for type_name in facts().resources:
        for code, each in params.parameters(type_name).items():
            if not each.is_indexed or "special" in {
                    each.type, *(part.type for part in each.components)}:
                continue
            value = plain.get(each.type) or "$".join(plain[c.type] for c in each.components)
            criterion = one(type_name, code, value).criteria[0]
            assert isinstance(criterion, Match)
            assert (criterion.kind, criterion.code) == (each.type, code)
