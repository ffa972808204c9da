"""Parts of records keep what they must and are marked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec
from dmed.fhir.subset import SUBSETTED, subset

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation", "id": "o", "meta": {"versionId": "1"},
    "implicitRules": "http://a.uz/rules",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a</div>'},
    "status": "final", "_status": {"extension": [{"url": "u", "valueString": "x"}]},
    "code": {"coding": [{"system": "s", "code": "c"}], "text": "t"},
    "effectiveDateTime": "2024-01-01", "valueQuantity": {"value": 5.40, "unit": "mg"},
    "note": [{"text": "n"}],
    "component": [{"code": {"text": "c"}, "valueInteger": 1, "dataAbsentReason": {"text": "d"},
                   "interpretation": [{"text": "i"}]}],
}
BODY = codec.encode(codec.decode(json.dumps(OBSERVATION).replace("5.4,", "5.40,").encode()))
PATIENT = codec.encode(codec.decode(json.dumps({
    "resourceType": "Patient", "id": "p", "name": [{"family": "K", "given": ["D"]}],
    "contact": [{"name": {"family": "M"}, "gender": "female"}], "gender": "female",
    "link": [{"other": {"reference": "Patient/q"}, "type": "seealso"}],
}).encode()))


def keys(body: bytes) -> set[str]:
    return set(json.loads(body)) - {"resourceType", "id", "meta"}


@pytest.mark.parametrize(("summary", "elements", "expected"), [
    ("text", (), {"text", "status", "_status", "code"}),
    ("data", (), set(OBSERVATION) - {"text", "resourceType", "id", "meta"}),
    ("true", (), {"implicitRules", "status", "_status", "code", "effectiveDateTime",
                  "valueQuantity", "component"}),
    ("", ("note",), {"note", "implicitRules", "status", "_status", "code"}),
    ("", ("value", "Observation.effective"), {"valueQuantity", "effectiveDateTime",
                                              "implicitRules", "status", "_status", "code"}),
    ("true", ("note",), {"note", "implicitRules", "status", "_status", "code"}),
])  # fmt: skip  # A table.
def test_parts_are_kept(summary: str, elements: tuple[str, ...], expected: set[str]) -> None:
    """What is asked for stays, and so does what is mandatory or changes meaning."""
    part = subset(BODY, summary, elements)

    assert keys(part) == expected
    assert json.loads(part)["meta"] == {"versionId": "1", "tag": [SUBSETTED]}


def test_elements_inside_others_are_kept_alone() -> None:
    """`name.family` leaves out the given name; a summary goes into components, too."""
    assert json.loads(subset(PATIENT, "", ("name.family",)))["name"] == [{"family": "K"}]
    assert json.loads(subset(PATIENT, "", ("contact.gender",)))["contact"] == [{"gender": "female"}]
    component = json.loads(subset(BODY, "true"))["component"]
    assert set(component[0]) == {"code", "valueInteger"}
    assert "contact" not in json.loads(subset(PATIENT, "true"))
    assert json.loads(subset(PATIENT, "true"))["link"] == [
        {"other": {"reference": "Patient/q"}, "type": "seealso"}]


def test_whole_records_stay_as_they_are() -> None:
    """Without a wish, or with `_summary=false`, the very bytes come back."""
    assert subset(BODY, "") is BODY
    assert subset(BODY, "false") is BODY


def test_digits_and_the_mark_stay_single() -> None:
    """Decimals keep their digits; subsetting twice marks once; the result is valid R5 JSON."""
    part = subset(subset(BODY, "data"), "data")

    assert b'"value":5.40' in part
    assert part.count(b"SUBSETTED") == 1
    assert codec.encode(codec.decode(part)) == part


@given(st.lists(st.sampled_from(["note", "value", "component.code", "code.text", "nothing", "text",
                                 "component", "code.coding.system", "id"]), max_size=4),
       st.sampled_from(["", "true", "text", "data", "false"]))
@settings(max_examples=80, deadline=None)
def test_a_part_never_says_more(elements: list[str], summary: str) -> None:
    """A part is a record of the same type and id whose elements all come from the whole."""
    part = json.loads(subset(BODY, summary, elements))

    assert (part["resourceType"], part["id"]) == ("Observation", "o")
    assert set(part) <= set(OBSERVATION)
