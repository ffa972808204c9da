"""Whether a code is in a value set, from definitions alone."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dmed.fhir.bindings import BaseValueSets, GuideValueSets, base_systems

CS, OTHER = "https://x.uz/cs", "https://x.uz/other"
SYSTEM = {"url": CS, "content": "complete", "concept": [
    {"code": "a", "concept": [{"code": "aa"}]},
    {"code": "b", "property": [{"code": "kind", "valueCoding": {"system": "s", "code": "k"}}]},
    {"code": "old", "property": [{"code": "inactive", "valueBoolean": True}]}]}  # fmt: skip


def sets(**composes: Any) -> GuideValueSets:
    made = {name: {"url": name, "compose": compose} for name, compose in composes.items()}
    return GuideValueSets(made, {CS: SYSTEM, OTHER: {"url": OTHER, "content": "fragment"}})


@pytest.mark.parametrize(("include", "inside", "outside"), [
    ({"system": CS}, {"a", "aa", "b", "old"}, {"c"}),
    ({"system": CS, "concept": [{"code": "z"}]}, {"z"}, {"a"}),
    ({"system": CS, "filter": [{"property": "concept", "op": "is-a", "value": "a"}]},
     {"a", "aa"}, {"b"}),
    ({"system": CS, "filter": [{"property": "concept", "op": "descendent-of", "value": "a"}]},
     {"aa"}, {"a", "b"}),
    ({"system": CS, "filter": [{"property": "concept", "op": "is-not-a", "value": "a"}]},
     {"b"}, {"a", "aa"}),
    ({"system": CS, "filter": [{"property": "kind", "op": "=", "value": "s#k"}]}, {"b"}, {"a"}),
])  # fmt: skip  # A table.
def test_includes(include: Any, inside: set[str], outside: set[str]) -> None:
    """Whole systems, listed codes and filters are followed where the system is here whole."""
    known = sets(v={"include": [include]})

    assert {code for code in inside | outside if known.holds("v|1", CS, code)} == inside
    assert all(known.holds("v", None, code) is False for code in outside)
    assert known.holds("v", "", next(iter(inside))) is False


def test_what_is_not_here_cannot_be_told() -> None:
    """A fragment, an unknown system, filter or value set give None, unless something decides."""
    known = sets(
        part={"include": [{"system": OTHER}]},
        both={"include": [{"system": OTHER}, {"system": CS}]},
        odd={"include": [{"system": CS, "filter": [
            {"property": "x", "op": "regex", "value": "a+"}]}]},
        nested={"include": [{"valueSet": ["both"]}], "exclude": [
            {"system": CS, "concept": [{"code": "b"}]}]},
        round={"include": [{"valueSet": ["round"]}]},
        active={"inactive": False, "include": [{"system": CS}]})  # fmt: skip  # One look.

    assert known.holds("part", OTHER, "x") is None
    assert known.holds("part", CS, "a") is False
    assert known.holds("both", CS, "a") is True
    assert known.holds("odd", CS, "a") is None
    assert known.holds("none", CS, "a") is None
    assert known.holds("nested", CS, "a") is True
    assert known.holds("nested", CS, "b") is False
    assert known.holds("round", CS, "a") is None
    assert known.holds("active", CS, "old") is False


def test_r5_s_own_sets() -> None:
    """The facts answer for required sets of R5."""
    base = BaseValueSets()
    url = "http://hl7.org/fhir/ValueSet/administrative-gender"

    assert base.holds(f"{url}|5.0.0", None, "male") is True
    assert base.holds(url, None, "m") is False
    assert base.holds("http://hl7.org/fhir/ValueSet/all-languages", None, "uz-UZ") is None
    assert base.holds("http://example.org", None, "a") is None


def test_r5_s_own_systems_are_whole(shared_data: Path) -> None:
    """What is gathered from the facts is the published content of each code system."""
    bundle = msgspec.json.decode(
        gzip.decompress((shared_data / "fhir-r5" / "valuesets.json.gz").read_bytes())
    )
    published = {
        each["resource"]["url"]: codes_of(each["resource"].get("concept", ()))
        for each in bundle["entry"]
        if each["resource"]["resourceType"] == "CodeSystem"
    }

    assert len(base_systems()) > 200
    assert [url for url, codes in base_systems().items() if published.get(url) != codes] == []


def codes_of(concepts: Any) -> set[str]:
    found = {each["code"] for each in concepts}
    return found.union(*(codes_of(each.get("concept", ())) for each in concepts))
