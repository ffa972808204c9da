"""Slices by every discriminator, with every rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from definitions import BASE, URL, definition

from dmed.fhir.profile import validate_with


def sliced(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {"slicing": {"discriminator": [{"type": kind, "path": path}], "rules": "open", **more}}


def found(record: dict[str, Any], *definitions: bytes) -> list[tuple[str, str]]:
    """(code, place) of the errors."""
    issues = validate_with(msgspec.json.encode(record), [URL], definitions)
    return [(each.code, each.expression) for each in issues if each.severity == "error"]


def patient(*identifiers: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {"identifier": list(identifiers)} if identifiers else {}
    return {"resourceType": "Patient", **given, **more}


A, B, C = ({"system": f"http://{name}", "value": name} for name in "abc")


def by_system(**more: Any) -> bytes:
    return definition(
        "Patient", {"id": "Patient.identifier", **sliced("value", "system", **more)},
        {"id": "Patient.identifier:a", "min": 1, "max": "1"},
        {"id": "Patient.identifier:a.system", "min": 1, "fixedUri": "http://a"},
        {"id": "Patient.identifier:a.value", "min": 1},
        {"id": "Patient.identifier:b"},
        {"id": "Patient.identifier:b.system", "min": 1, "patternUri": "http://b"})  # fmt: skip


def test_a_slice_is_counted_and_its_items_checked() -> None:
    """Too few and too many are told at the owner, a fault inside at the item."""
    profile = by_system()

    assert found(patient(A, C), profile) == []
    assert found(patient(B), profile) == [("required", "Patient")]
    assert found(patient(A, A), profile) == [("structure", "Patient")]
    assert found(patient(C, {"system": "http://a"}), profile) == [
        ("required", "Patient.identifier[1]")]  # fmt: skip  # One look.


@pytest.mark.parametrize(("more", "record", "place"), [
    ({"rules": "closed"}, (A, C), "Patient.identifier[1]"),
    ({"rules": "openAtEnd"}, (C, A), "Patient.identifier[1]"),
    ({"ordered": True}, (B, A), "Patient.identifier[1]"),
])  # fmt: skip  # A table.
def test_rules_of_slicing(more: dict[str, Any], record: Any, place: str) -> None:
    """Closed lets nothing else stand, openAtEnd only after the slices, ordered in their order."""
    profile = by_system(**more)

    assert found(patient(*record), profile) == [("structure", place)]
    assert found(patient(A, B), profile) == []


def test_by_exists() -> None:
    """A slice of what has an element, and one of what has it not."""
    profile = definition(
        "Patient", {"id": "Patient.identifier", **sliced("exists", "period")},
        {"id": "Patient.identifier:dated", "max": "1"},
        {"id": "Patient.identifier:dated.period", "min": 1},
        {"id": "Patient.identifier:plain"},
        {"id": "Patient.identifier:plain.period", "max": "0"},
        {"id": "Patient.identifier:plain.value", "min": 1})  # fmt: skip  # One look.
    dated = {"period": {"start": "2024"}}

    assert found(patient(dated, A), profile) == []
    assert found(patient(dated, dated), profile) == [("structure", "Patient")]
    assert found(patient({"system": "http://a"}), profile) == [
        ("required", "Patient.identifier[0]")]  # fmt: skip  # One look.


def test_by_type_of_a_choice() -> None:
    """value[x] by type: the slice of a type speaks of that type alone."""
    profile = definition(
        "Observation", {"id": "Observation.value[x]", **sliced("type", "$this")},
        {"id": "Observation.value[x]:valueQuantity", "type": [{"code": "Quantity"}]},
        {"id": "Observation.value[x]:valueQuantity.code", "min": 1})  # fmt: skip  # One look.
    record = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}

    assert found({**record, "valueString": "a"}, profile) == []
    assert found({**record, "valueQuantity": {"value": 1}}, profile) == [
        ("required", "Observation.valueQuantity")]  # fmt: skip  # One look.


def test_by_profile_and_type_of_what_a_reference_names() -> None:
    """resolve() leads to contained records and entries; a type is known from the address too."""
    inner = definition("Organization", {"id": "Organization.name", "min": 1},
                       url="https://example.uz/org")  # fmt: skip  # One look.
    by_type = definition(
        "Patient", {"id": "Patient.generalPractitioner", **sliced("type", "resolve()")},
        {"id": "Patient.generalPractitioner:org", "max": "1", "type": [
            {"code": "Reference", "targetProfile": [BASE + "Organization"]}]})  # fmt: skip
    by_profile = definition(
        "Patient", {"id": "Patient.generalPractitioner", **sliced("profile", "resolve()")},
        {"id": "Patient.generalPractitioner:org", "min": 1, "type": [
            {"code": "Reference", "targetProfile": ["https://example.uz/org"]}]})  # fmt: skip

    def record(*references: str, **more: Any) -> dict[str, Any]:
        return patient(generalPractitioner=[{"reference": each} for each in references], **more)

    named = {"contained": [{"resourceType": "Organization", "id": "o", "name": "A"}]}
    unnamed = {
        "contained": [{"resourceType": "Organization", "id": "o", "identifier": [{"value": "1"}]}]
    }
    assert found(record("Organization/1", "Practitioner/1"), by_type) == []
    assert found(record("Organization/1", "Organization/2"), by_type) == [("structure", "Patient")]
    assert found(record("#o", **named), by_profile, inner) == []
    assert found(record("#o", **unnamed), by_profile, inner) == [("required", "Patient")]


def test_by_position() -> None:
    """The first item is the first slice."""
    profile = definition(
        "Patient", {"id": "Patient.identifier", **sliced("position", "$this")},
        {"id": "Patient.identifier:first"}, {"id": "Patient.identifier:first.value", "min": 1},
        {"id": "Patient.identifier:second"})  # fmt: skip  # One look.

    assert found(patient({"system": "http://a"}, A), profile) == [
        ("required", "Patient.identifier[0]")]  # fmt: skip  # One look.
    assert found(patient(A, {"system": "http://a"}), profile) == []


def test_by_a_nested_pattern_and_by_binding() -> None:
    """A path into a concept, and a slice told by its value set."""
    codes = msgspec.json.encode(
        {
            "resourceType": "ValueSet",
            "url": "https://example.uz/vs",
            "status": "active",
            "compose": {"include": [{"system": "http://s", "concept": [{"code": "1"}]}]},
        }
    )
    concept = {"coding": [{"system": "http://s", "code": "1"}]}
    nested = definition(
        "Patient", {"id": "Patient.identifier", **sliced("pattern", "type")},
        {"id": "Patient.identifier:a", "max": "1"},
        {"id": "Patient.identifier:a.type", "patternCodeableConcept": concept})  # fmt: skip
    bound = definition(
        "Patient", {"id": "Patient.identifier", **sliced("value", "type")},
        {"id": "Patient.identifier:a", "max": "1"},
        {"id": "Patient.identifier:a.type", "binding": {
            "strength": "required", "valueSet": "https://example.uz/vs"}})  # fmt: skip
    item = {"type": concept, "value": "1"}

    for profile in (nested, bound):
        assert found(patient(item, A), profile, codes) == []
        assert found(patient(item, item), profile, codes) == [("structure", "Patient")]


def test_extensions_by_their_address() -> None:
    """A slice of extensions is told by the profile's address, and its definition is held."""
    extension = definition("Extension", {"id": "Extension.value[x]", "min": 1,
                                         "type": [{"code": "string"}]},
                           {"id": "Extension.url", "fixedUri": "https://example.uz/e"},
                           url="https://example.uz/e")  # fmt: skip  # One look.
    profile = definition("Patient", {"id": "Patient.extension:e", "min": 1, "type": [
        {"code": "Extension", "profile": ["https://example.uz/e"]}]})  # fmt: skip  # One look.

    def record(**value: Any) -> dict[str, Any]:
        return patient(extension=[{"url": "https://example.uz/e", **value}])

    assert found(record(valueString="a"), profile, extension) == []
    assert found(patient(), profile, extension) == [("required", "Patient")]
    assert ("structure", "Patient.extension[0].valueBoolean") in found(
        record(valueBoolean=True), profile, extension)  # fmt: skip  # One look.


def test_slices_of_slices() -> None:
    """`a/x` is a slice of slice a, told by the same discriminators."""
    profile = definition(
        "Patient", {"id": "Patient.identifier", "slicing": {"rules": "open", "discriminator": [
            {"type": "value", "path": "system"}, {"type": "value", "path": "use"}]}},
        {"id": "Patient.identifier:a"},
        {"id": "Patient.identifier:a.system", "min": 1, "patternUri": "http://a"},
        {"id": "Patient.identifier:a/x", "max": "1"},
        {"id": "Patient.identifier:a/x.use", "min": 1, "patternCode": "official"})  # fmt: skip
    official = {"system": "http://a", "use": "official"}

    assert found(patient(official, {"system": "http://a", "use": "old"}), profile) == []
    assert found(patient(official, official), profile) == [("structure", "Patient")]


def test_a_slice_is_told_by_the_discriminators_that_it_speaks_of() -> None:
    """What another slice says of a path is no word about this one; what it forbids must be away."""
    two = {"slicing": {"rules": "closed", "discriminator": [
        {"type": "value", "path": "system"}, {"type": "value", "path": "use"}]}}  # fmt: skip
    profile = definition(
        "Patient", {"id": "Patient.telecom", **two},
        {"id": "Patient.telecom:home"},
        {"id": "Patient.telecom:home.system", "min": 1, "fixedCode": "phone"},
        {"id": "Patient.telecom:home.use", "min": 1, "fixedCode": "home"},
        {"id": "Patient.telecom:mail"},
        {"id": "Patient.telecom:mail.system", "min": 1, "fixedCode": "email"},
        {"id": "Patient.telecom:mail.use", "max": "0"},
        {"id": "Patient.telecom:fax", "min": 1},
        {"id": "Patient.telecom:fax.system", "min": 1, "fixedCode": "fax"})  # fmt: skip
    fax = {"system": "fax", "value": "1", "use": "work"}
    home = {"system": "phone", "value": "1", "use": "home"}
    mail = {"system": "email", "value": "a@x.uz"}

    def record(*telecom: dict[str, Any]) -> dict[str, Any]:
        return {"resourceType": "Patient", "telecom": list(telecom)}

    assert found(record(home, mail, fax), profile) == []
    assert found(record(fax, {**mail, "use": "home"}), profile) == [
        ("structure", "Patient.telecom[1]")]  # fmt: skip  # One look.
    assert found(record(home), profile) == [("required", "Patient")]


def test_a_choice_named_by_its_type_is_a_slice_of_it() -> None:
    """The name valueCode in a differential means value[x] as a code, for discriminators too."""
    url = "https://example.uz/kind"
    by_value = {"slicing": {"rules": "open", "discriminator": [
        {"type": "value", "path": f"extension('{url}').value"}]}}  # fmt: skip
    profile = definition(
        "Patient", {"id": "Patient.contact", **by_value},
        {"id": "Patient.contact:near", "min": 1},
        {"id": "Patient.contact:near.extension:kind", "min": 1,
         "type": [{"code": "Extension", "profile": [url]}]},
        {"id": "Patient.contact:near.extension:kind.valueCode", "fixedCode": "near"},
        {"id": "Patient.contact:near.name", "min": 1},
        {"id": "Patient.contact:far"},
        {"id": "Patient.contact:far.extension:kind", "min": 1,
         "type": [{"code": "Extension", "profile": [url]}]},
        {"id": "Patient.contact:far.extension:kind.valueCode", "fixedCode": "far"},
        {"id": "Patient.contact:far.address", "min": 1})  # fmt: skip

    def contact(kind: str, **more: Any) -> dict[str, Any]:
        return {"extension": [{"url": url, "valueCode": kind}], **more}

    near, far = contact("near", name={"text": "a"}), contact("far", address={"text": "b"})
    assert found({"resourceType": "Patient", "contact": [near, far]}, profile) == []
    assert found({"resourceType": "Patient", "contact": [
        near, contact("far", name={"text": "c"})]}, profile) == [
        ("required", "Patient.contact[1]")]  # fmt: skip  # One look.
