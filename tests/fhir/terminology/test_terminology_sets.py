"""Value sets worked out: filters, nesting, versions, and agreement with a slow evaluator."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir.terminology import Library, TooCostlyError, UnknownContentError
from dmed.fhir.terminology.expand import Wish, expansion
from dmed.fhir.terminology.model import ValueSet
from dmed.kit.errors import InvalidError

TREE = "urn:tree"
PARENTS: dict[str, tuple[str, ...]] = {
    "a": (), "b": ("a",), "c": ("a",), "d": ("b",), "e": ("b", "c"), "f": (), "g": ("f",),
}  # fmt: skip  # A tree on two lines.
KINDS = {"a": "x", "b": "x", "d": "y", "g": "y"}


def tree() -> dict[str, Any]:
    """A system in which e has two parents, one of them by property."""
    def concept(code: str) -> dict[str, Any]:
        below = [other for other, parents in PARENTS.items() if parents[:1] == (code,)]
        properties: list[dict[str, Any]] = [
            {"code": "up", "valueCode": parent} for parent in PARENTS[code][1:]]
        if code in KINDS:
            properties.append({"code": "kind", "valueString": KINDS[code]})
        if code == "g":
            properties.append({"code": "inactive", "valueBoolean": True})
        return {"code": code, "display": f"Code {code}", "property": properties,
                "concept": [concept(other) for other in below]}

    roots = [concept(code) for code, parents in PARENTS.items() if not parents]
    return {"resourceType": "CodeSystem", "id": "tree", "url": TREE, "version": "1.2.0",
            "status": "active", "content": "complete", "concept": roots, "property": [
                {"code": "up", "uri": "http://hl7.org/fhir/concept-properties#parent",
                 "type": "code"}, {"code": "kind", "type": "string"}]}


def library(*more: dict[str, Any]) -> Library:
    """The tree with other definitions."""
    made = Library(with_own=False)
    for number, each in enumerate((tree(), *more)):
        made.put(msgspec.json.encode({"id": f"n{number}", **each}))
    return made


def composed(*include: dict[str, Any], exclude: tuple[dict[str, Any], ...] = ()) -> ValueSet:
    """A value set by its rules."""
    compose = {"include": list(include), "exclude": list(exclude)}
    return msgspec.convert({"resourceType": "ValueSet", "compose": compose}, ValueSet)


def codes(shelf: Library, value_set: ValueSet | str) -> set[str]:
    """The codes of a set, without their system."""
    members = shelf.members(value_set)
    assert not members.unknown
    return {code for part in members.parts.values() for code in part.codes()}


def condition(op: str, value: str, name: str = "concept") -> dict[str, Any]:
    """An include of the tree with one filter."""
    return {"system": TREE, "filter": [{"property": name, "op": op, "value": value}]}


@pytest.mark.parametrize(
    ("include", "wanted"),
    [
        (condition("is-a", "b"), "bde"),
        (condition("descendent-of", "a"), "bcde"),
        (condition("is-not-a", "a"), "fg"),
        (condition("generalizes", "e"), "abce"),
        (condition("child-of", "c"), "e"),
        (condition("descendent-leaf", "a"), "de"),
        (condition("=", "x", "kind"), "ab"),
        (condition("in", "x, y", "kind"), "abdg"),
        (condition("not-in", "x,y", "kind"), "cef"),
        (condition("in", "a,e,zz"), "ae"),
        (condition("exists", "true", "kind"), "abdg"),
        (condition("exists", "false", "kind"), "cef"),
        (condition("exists", "false", "parent"), "af"),
        (condition("=", "c", "parent"), "e"),
        (condition("=", "false", "inactive"), "abcdef"),
        (condition("regex", "[b-d]"), "bcd"),
        (condition("regex", "Code (a|f)", "display"), "af"),
        (condition("regex", "x|z", "kind"), "ab"),
        (condition("is-a", "nothing"), ""),
    ],
)
def test_each_filter_keeps_what_it_says(include: dict[str, Any], wanted: str) -> None:
    """Every operator of valueset-filter-operator over hierarchy, properties and displays."""
    assert codes(library(), composed(include)) == set(wanted)


@pytest.mark.parametrize("value", ["UZ", "urn:iso:std:iso:3166|UZ", "urn:iso:std:iso:3166#UZ"])
def test_a_filter_names_a_coding_in_three_ways(value: str) -> None:
    """A property that is a coding is met by its code, by system|code, and by system#code."""
    coding = {"system": "urn:iso:std:iso:3166", "code": "UZ"}
    shelf = library({"resourceType": "CodeSystem", "url": "urn:places", "content": "complete",
                     "concept": [{"code": "1", "property": [
                         {"code": "country", "valueCoding": coding}]}, {"code": "2"}]})
    rule = {"system": "urn:places", "filter": [{"property": "country", "op": "=", "value": value}]}

    assert codes(shelf, composed(rule)) == {"1"}


def test_filters_of_one_rule_all_hold_and_excludes_go() -> None:
    """Filters are joined by and; what an exclude names is taken out, whatever named it."""
    both = {"system": TREE, "filter": [
        *condition("is-a", "a")["filter"], *condition("exists", "true", "kind")["filter"]]}

    assert codes(library(), composed(both)) == set("abd")
    assert codes(library(), composed(both, exclude=(condition("is-a", "b"),))) == {"a"}


def test_nested_sets_meet_and_join() -> None:
    """Value sets in one rule must all hold the code, with the system's too; rules are joined."""
    shelf = library(
        {"resourceType": "ValueSet", "url": "urn:b", "version": "1",
         "compose": {"include": [condition("is-a", "b")]}},
        {"resourceType": "ValueSet", "url": "urn:c",
         "compose": {"include": [condition("is-a", "c")]}})  # fmt: skip  # One set a line.

    assert codes(shelf, composed({"valueSet": ["urn:b|1", "urn:c"]})) == {"e"}
    assert codes(shelf, composed({"valueSet": ["urn:b"]}, {"valueSet": ["urn:c"]})) == set("bcde")
    assert codes(shelf, composed({"valueSet": ["urn:b"], "system": TREE,
                                  "concept": [{"code": "d"}, {"code": "a"}]})) == {"d"}


LETTERS = st.sampled_from("abcdefg")
RULES = st.one_of(
    st.just({"system": TREE}),
    st.lists(LETTERS, min_size=1, max_size=3).map(
        lambda some: {"system": TREE, "concept": [{"code": code} for code in some]}),
    st.tuples(st.sampled_from(["is-a", "descendent-of", "is-not-a", "generalizes"]), LETTERS).map(
        lambda pair: condition(*pair)),
    st.tuples(st.sampled_from(["in", "not-in"]), st.sampled_from(["x", "y", "x,y"])).map(
        lambda pair: condition(*pair, name="kind")),
)  # fmt: skip  # One kind a line.


def above(code: str) -> set[str]:
    """A code and everything that it is a kind of, by walking."""
    return {code}.union(*(above(parent) for parent in PARENTS[code]))


def slowly(rule: dict[str, Any]) -> set[str]:
    """What a rule gives, code by code."""
    if "concept" in rule:
        return {each["code"] for each in rule["concept"]}
    if "filter" not in rule:
        return set(PARENTS)
    op, value = rule["filter"][0]["op"], rule["filter"][0]["value"]
    tests = {
        "is-a": lambda code: value in above(code),
        "descendent-of": lambda code: value in above(code) - {code},
        "is-not-a": lambda code: value not in above(code),
        "generalizes": lambda code: code in above(value),
        "in": lambda code: KINDS.get(code, "-") in value.split(","),
        "not-in": lambda code: KINDS.get(code, "-") not in value.split(","),
    }
    return {code for code in PARENTS if tests[op](code)}


@settings(max_examples=200, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=3), st.lists(RULES, max_size=2), st.booleans())
def test_random_sets_agree_with_a_slow_evaluator(
    include: list[dict[str, Any]], exclude: list[dict[str, Any]], is_nested: bool
) -> None:
    """Random rules give what code by code reasoning gives; `holds` says the same of each code."""
    wanted = set().union(*map(slowly, include)).difference(*map(slowly, exclude))
    made = {"resourceType": "ValueSet", "url": "urn:s",
            "compose": {"include": include, "exclude": exclude}}
    shelf = library(made, {"resourceType": "ValueSet", "url": "urn:outer",
                           "compose": {"include": [{"valueSet": ["urn:s"]}]}})
    url = "urn:outer" if is_nested else "urn:s"

    assert codes(shelf, url) == wanted
    assert {code for code in PARENTS if shelf.holds(url, TREE, code)} == wanted
    listed = expansion(shelf.members(url), Wish(), "").get("contains", [])
    assert len(listed) == len(wanted)


def test_what_cannot_be_told_is_none() -> None:
    """A set or system without content is None, never false; what is known stays known."""
    shelf = library({"resourceType": "ValueSet", "url": "urn:mixed", "compose": {"include": [
        {"system": TREE, "concept": [{"code": "a"}]}, {"system": "urn:closed"},
        {"system": "urn:listed", "concept": [{"code": "1"}]}]}})

    assert shelf.holds("urn:mixed", TREE, "a") is True
    assert shelf.holds("urn:mixed", TREE, "b") is False
    assert shelf.holds("urn:mixed", "urn:listed", "1") is True
    assert shelf.holds("urn:mixed", "urn:closed", "1") is None
    assert shelf.holds("urn:mixed", None, "zz") is None
    assert shelf.holds("urn:mixed", "", "a") is False
    assert shelf.holds("urn:absent", TREE, "a") is None
    assert shelf.codes_in("urn:mixed") is None
    with pytest.raises(UnknownContentError, match="urn:closed"):
        expansion(shelf.members("urn:mixed"), Wish(), "")


def test_versions_are_chosen() -> None:
    """Without a version the highest active one counts; |version asks for one, also by prefix."""
    shelf = library(*(
        {"resourceType": "CodeSystem", "url": "urn:v", "version": version, "status": status,
         "content": "complete", "concept": [{"code": version}]}
        for version, status in (("9.1.0", "active"), ("10.0.0", "active"), ("11.0", "retired"),
                                ("10.0.0-draft", "active"))))  # fmt: skip  # One a line.

    found = [shelf.system("urn:v"), shelf.system("urn:v", "9"), shelf.system("urn:v|11.0")]

    assert [each.version for each in found if each] == ["10.0.0", "9.1.0", "11.0"]
    assert shelf.system("urn:v", "8") is None


def test_an_expansion_that_came_with_a_set_is_used() -> None:
    """A set without rules but with its codes holds these, also of systems without content."""
    shelf = library({"resourceType": "ValueSet", "url": "urn:given", "expansion": {"contains": [
        {"abstract": True, "contains": [{"system": "urn:x", "code": "1", "display": "One"}]}]}})

    assert shelf.codes_in("urn:given") == [("urn:x", "1")]


def test_a_system_has_a_set_of_all_its_codes() -> None:
    """The set that a system names in `valueSet`, and system?fhir_vs, hold every code of it."""
    shelf = library({"resourceType": "CodeSystem", "url": "urn:y", "valueSet": "urn:all-y",
                     "content": "complete", "concept": [{"code": "1"}, {"code": "2"}]})

    assert codes(shelf, "urn:all-y") == codes(shelf, "urn:y?fhir_vs") == {"1", "2"}
    assert shelf.holds("urn:none?fhir_vs", "urn:none", "1") is None


def test_codes_of_a_system_that_is_not_here_are_joined_and_taken_out() -> None:
    """Listed codes are compared by system and code, also where only one side names a version."""
    def listed(version: str, *some: str) -> dict[str, Any]:
        found: dict[str, Any] = {"system": "urn:x", "concept": [{"code": code} for code in some]}
        return {**found, "version": version} if version else found

    shelf = library({"resourceType": "ValueSet", "url": "urn:two",
                     "compose": {"include": [listed("", "2", "3")]}})

    assert codes(shelf, composed(listed("1", "1", "2"), exclude=(listed("", "2"),))) == {"1"}
    assert codes(shelf, composed({**listed("1", "1", "2"), "valueSet": ["urn:two"]})) == {"2"}


def test_the_limit_of_an_answer() -> None:
    """More than 10,000 codes are too-costly without count; in pages every code comes once."""
    many = {"resourceType": "CodeSystem", "url": "urn:many", "content": "complete",
            "concept": [{"code": str(number)} for number in range(10_001)]}
    shelf = library(many)
    members = shelf.members(composed({"system": "urn:many"}))
    pages = [expansion(members, Wish(offset=start, count=4_000), "") for start in (0, 4_000, 8_000)]

    with pytest.raises(TooCostlyError):
        expansion(members, Wish(), "")
    assert [one["code"] for page in pages for one in page["contains"]] == [
        str(number) for number in range(10_001)]


def test_unserved_filters_are_refused() -> None:
    """An operator or a hierarchy filter on another property is an error, not an empty set."""
    for include in (condition("like", "a"), condition("is-a", "x", "kind")):
        with pytest.raises(InvalidError, match="operator"):
            library().members(composed(include))


def test_names_that_the_set_gives_come_first() -> None:
    """A display or designation of the set replaces the system's, and is found as you type."""
    members = library().members(composed({"system": TREE, "concept": [
        {"code": "a", "display": "Alef", "designation": [{"language": "ru", "value": "Алеф"}]},
        {"code": "b"}]}))
    found = expansion(members, Wish(filter="алеф"), "")["contains"]
    russian = expansion(members, Wish(language="ru"), "")["contains"]

    assert [(one["code"], one["display"]) for one in found] == [("a", "Alef")]
    assert [one["display"] for one in russian] == ["Алеф", "Code b"]
