"""Rules that R5 states in words: each fault with its place, and the sound twin without it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from dmed.fhir import beyond, codec

_DATA = b"a plan"
_BODY = base64.b64encode(_DATA).decode()
_SHA1 = base64.b64encode(hashlib.sha1(_DATA, usedforsecurity=False).digest()).decode()


def places(resource: dict[str, Any]) -> list[str]:
    """Where the faults of a resource lie."""
    decoded = codec.decode(msgspec.json.encode(resource))
    return [issue.expression for issue in beyond.issues(decoded)]


def patient(**more: Any) -> dict[str, Any]:
    """A Patient with these elements."""
    return {"resourceType": "Patient", **more}


def observation(**more: Any) -> dict[str, Any]:
    """An Observation with these elements."""
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


def document(**attachment: Any) -> dict[str, Any]:
    """A DocumentReference whose attachment has these fields."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": attachment}],
    }


def waiting(question: str) -> dict[str, Any]:
    """A Questionnaire whose second item waits for the answer to that question."""
    rule = {"question": question, "operator": "exists", "answerBoolean": True}
    inner = {"linkId": "c", "type": "string"}
    return {
        "resourceType": "Questionnaire",
        "status": "draft",
        "item": [
            {"linkId": "a", "type": "string"},
            {"linkId": "b", "type": "group", "enableWhen": [rule], "item": [inner]},
        ],
    }


def narrative(link: str) -> dict[str, Any]:
    """A Patient whose narrative links there."""
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{link}">x</a></div>'
    return patient(text={"status": "generated", "div": div})


def profile(elements: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A constraint on Patient with these elements."""
    return {
        "resourceType": "StructureDefinition",
        "url": "urn:x:profile",
        "name": "X",
        "status": "draft",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "derivation": "constraint",
        "differential": {"element": elements},
        **more,
    }


def rule(key: str, expression: str) -> dict[str, Any]:
    """A rule on Patient."""
    one = {"key": key, "severity": "error", "human": "x", "expression": expression}
    return {"path": "Patient", "constraint": [one]}


def bundle(address: str) -> dict[str, Any]:
    """Parameters with a Bundle whose entry has this address."""
    entry = {"fullUrl": address, "resource": patient(id="1")}
    inner = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    return {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": inner}]}


@pytest.mark.parametrize(
    ("broken", "sound", "place"),
    [
        (
            patient(active=True, _active={"id": "a"}, name=[{"id": "a", "text": "x"}]),
            patient(active=True, _active={"id": "a"}, name=[{"id": "b", "text": "x"}]),
            "Patient.name[0]",
        ),
        (
            observation(subject={"reference": "Patient/1", "type": "Group"}),
            observation(subject={"reference": "Patient/1", "type": "Patient"}),
            "Observation.subject",
        ),
        (
            observation(subject={"reference": "Patient?identifier=1&?=="}),
            observation(subject={"reference": "Patient?identifier=1&name:exact="}),
            "Observation.subject",
        ),
        (
            observation(instantiatesCanonical="http://x.example/a|"),
            observation(instantiatesCanonical="http://x.example/a|1"),
            "Observation.instantiatesCanonical",
        ),
        (
            patient(identifier=[{"system": "urn:oid:1.2.860.0x"}]),
            patient(identifier=[{"system": "urn:oid:1.2.860.0"}]),
            "Patient.identifier[0].system",
        ),
        (waiting("x"), waiting("a"), "Questionnaire.item[1].enableWhen[0].question"),
        (waiting("c"), waiting("a"), "Questionnaire.item[1].enableWhen[0].question"),
        (waiting("b"), waiting("a"), "Questionnaire.item[1].enableWhen[0].question"),
        (document(data=_BODY, size="7"), document(data=_BODY, size="6"), "attachment"),
        (document(data=_BODY, hash=_BODY), document(data=_BODY, hash=_SHA1), "attachment"),
        (document(data="YSBw bGFu"), document(data="YSBwbGFu"), "attachment.data"),
        (narrative("http://x.example/{a}"), narrative("http://x.example/a"), "Patient.text"),
        (profile([rule("dom-2", "true")]), profile([rule("mine-1", "true")]), "Definition"),
        (
            profile([rule("mine-1", "true"), rule("mine-1", "false")]),
            profile([rule("mine-1", "true"), rule("mine-1", "true")]),
            "StructureDefinition",
        ),
        (
            profile([{"path": "Patient", "meaningWhenMissing": "x"}]),
            profile([{"path": "Patient", "short": "x"}]),
            "StructureDefinition",
        ),
        (
            profile([{"path": "Extension.url", "fixedUri": "urn:y"}], type="Extension"),
            profile([{"path": "Extension.url", "fixedUri": "urn:x:profile"}], type="Extension"),
            "StructureDefinition",
        ),
        (
            bundle("http://x.example/fhir/Patient/2"),
            bundle("http://x.example/fhir/Patient/1"),
            "entry[0]",
        ),
    ],
)
def test_rules_in_words(broken: dict[str, Any], sound: dict[str, Any], place: str) -> None:
    """The broken record has one fault, at its place; its sound twin has none."""
    [found] = places(broken)

    assert found.endswith(place)
    assert places(sound) == []


def test_decimals_have_no_more_digits_than_the_pattern() -> None:
    """R5's pattern allows 18 digits before the point; the fault names the value's own field."""
    body = codec.encode(codec.decode(msgspec.json.encode(observation(valueQuantity={"value": 1}))))
    large = codec.decode(body.replace(b'"value":1', b'"value":1000000000000000000'))
    fits = codec.decode(body.replace(b'"value":1', b'"value":100000000000000000.5'))

    assert [each.expression for each in beyond.issues(large)] == ["Observation.valueQuantity.value"]
    assert beyond.issues(fits) == []


def test_contained_records_have_ids_of_their_own() -> None:
    """The same element id may stand in a record and in one that it contains, not twice in one."""
    inner = patient(id="p", name=[{"id": "a", "text": "x"}])
    outer = observation(contained=[inner], subject={"id": "a", "reference": "#p"})
    twice = {**outer, "note": [{"id": "a", "text": "x"}]}

    assert places(outer) == []
    assert places(twice) == ["Observation.note[0]"]
