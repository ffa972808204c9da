"""What a profile asks of elements: each kind of demand, met and broken, with its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from definitions import BASE, URL, definition

from dmed.fhir.profile import Catalogue, validate_with


def found(
    record: dict[str, Any], *definitions: bytes, severity: str = "error", url: str = URL
) -> list[tuple[str, str]]:
    """(code, place) of the issues of one severity."""
    issues = validate_with(msgspec.json.encode(record), [url], definitions)
    return [(each.code, each.expression) for each in issues if each.severity == severity]


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


def test_cardinality() -> None:
    """Too few is told at the owner; an element that is not allowed too."""
    profile = definition("Patient", {"id": "Patient.name", "min": 2, "max": "2"},
                         {"id": "Patient.photo", "max": "0"},
                         {"id": "Patient.name.family", "min": 1})  # fmt: skip  # One look.

    assert found(patient(name=[{"family": "A"}, {"text": "b"}]), profile) == [
        ("required", "Patient.name[1]")]  # fmt: skip  # One look.
    assert found(patient(name=[{"family": "A"}]), profile) == [("required", "Patient")]
    assert found(patient(name=[{"family": "A"}] * 3, photo=[{"url": "http://x.uz"}]), profile) == [
        ("structure", "Patient"), ("structure", "Patient")]  # fmt: skip  # One look.


def test_an_extension_alone_fills_a_required_primitive() -> None:
    """A data-absent-reason stands for a value that the profile requires."""
    absent = {"url": BASE + "data-absent-reason", "valueCode": "unknown"}
    profile = definition("Patient", {"id": "Patient.birthDate", "min": 1})

    assert found(patient(_birthDate={"extension": [absent]}), profile) == []
    assert found(patient(), profile) == [("required", "Patient")]


@pytest.mark.parametrize(("kind", "value", "sound", "broken"), [
    ("patternCoding", {"system": "http://a"}, {"system": "http://a", "code": "1"}, {"code": "1"}),
    ("fixedCoding", {"system": "http://a"}, {"system": "http://a"},
     {"system": "http://a", "code": "1"}),
])  # fmt: skip  # A table.
def test_fixed_is_equal_and_pattern_is_contained(
    kind: str, value: Any, sound: Any, broken: Any
) -> None:
    """A pattern lets more stand beside it, a fixed value nothing."""
    profile = definition("Patient", {"id": "Patient.meta.tag", kind: value})

    assert found(patient(meta={"tag": [sound]}), profile) == []
    assert found(patient(meta={"tag": [broken]}), profile) == [("value", "Patient.meta.tag[0]")]


def test_ranges_and_lengths() -> None:
    """minValue, maxValue and maxLength are held for numbers, dates and texts."""
    profile = definition(
        "Observation", {"id": "Observation.valueInteger", "minValueInteger": 1,
                        "maxValueInteger": 5},
        {"id": "Observation.effectiveDateTime", "maxValueDateTime": "2024-12-31"},
        {"id": "Observation.code.text", "maxLength": 3})  # fmt: skip  # One look.

    assert found(observation(valueInteger=5, effectiveDateTime="2024"), profile) == []
    assert found(observation(valueInteger=6), profile) == [("value", "Observation.valueInteger")]
    assert found(observation(effectiveDateTime="2025-01-01"), profile) == [
        ("value", "Observation.effectiveDateTime")]  # fmt: skip  # One look.
    assert found({**observation(), "code": {"text": "long"}}, profile) == [
        ("too-long", "Observation.code.text")]  # fmt: skip  # One look.


def test_types_of_a_choice() -> None:
    """A type that the profile leaves out is refused where it stands."""
    profile = definition(
        "Observation", {"id": "Observation.value[x]", "type": [{"code": "Quantity"}]}
    )

    assert found(observation(valueQuantity={"value": 1}), profile) == []
    assert found(observation(valueString="a"), profile) == [
        ("structure", "Observation.valueString")]  # fmt: skip  # One look.


def test_invariants_speak_in_the_guide_s_words() -> None:
    """An invariant is told with its key and sentence; a warning stays a warning."""
    rule = {"key": "u-1", "severity": "error", "human": "A name is needed",
            "expression": "name.exists()"}  # fmt: skip  # One look.
    profile = definition("Patient", {"id": "Patient", "constraint": [
        rule, {**rule, "key": "u-2", "severity": "warning"}]})  # fmt: skip  # One look.
    issues = validate_with(b'{"resourceType":"Patient"}', [URL], [profile])

    assert [(each.code, each.severity) for each in issues] == [
        ("invariant", "error"), ("invariant", "warning")]  # fmt: skip  # One look.
    assert "u-1 is broken: A name is needed" in issues[0].diagnostics
    assert found(patient(name=[{"text": "a"}]), profile) == []


VALUE_SET = msgspec.json.encode({
    "resourceType": "ValueSet", "url": "https://example.uz/vs", "status": "active",
    "compose": {"include": [{"system": "https://example.uz/cs", "concept": [{"code": "a"}]}]},
})  # fmt: skip  # A record reads better filled.


@pytest.mark.parametrize(
    ("strength", "severity"),
    [("required", "error"), ("extensible", "warning"), ("preferred", "warning")],
)
def test_bindings(strength: str, severity: str) -> None:
    """A code outside is an error of a required binding and a warning of a weaker one."""
    profile = definition("Patient", {"id": "Patient.maritalStatus", "binding": {
        "strength": strength, "valueSet": "https://example.uz/vs|1"}})  # fmt: skip  # One look.
    inside = {"coding": [{"system": "https://example.uz/cs", "code": "a"}]}
    outside = {"coding": [{"system": "https://example.uz/cs", "code": "b"}]}

    assert found(patient(maritalStatus=inside), profile, VALUE_SET, severity=severity) == []
    assert found(patient(maritalStatus=outside), profile, VALUE_SET, severity=severity) == [
        ("code-invalid", "Patient.maritalStatus")]  # fmt: skip  # One look.


def test_a_binding_without_content_is_not_checked() -> None:
    """Where the value set is not here, an information says so and nothing is refused."""
    profile = definition("Patient", {"id": "Patient.maritalStatus", "binding": {
        "strength": "required", "valueSet": "https://example.uz/other"}})  # fmt: skip  # One look.
    record = patient(maritalStatus={"coding": [{"system": "https://s.uz", "code": "b"}]})

    assert found(record, profile) == []
    assert found(record, profile, severity="information") == [
        ("not-supported", "Patient.maritalStatus")]  # fmt: skip  # One look.


def test_reference_targets() -> None:
    """The type in the address, and the contained record itself, must fit the target profiles."""
    inner = definition("Organization", {"id": "Organization.name", "min": 1},
                       url="https://example.uz/org")  # fmt: skip  # One look.
    profile = definition("Patient", {"id": "Patient.generalPractitioner", "type": [
        {"code": "Reference", "targetProfile": ["https://example.uz/org"]}]})  # fmt: skip
    named = {"resourceType": "Organization", "id": "o", "name": "A"}
    unnamed = {"resourceType": "Organization", "id": "o", "identifier": [{"value": "1"}]}

    def record(address: str, *contained: Any) -> dict[str, Any]:
        more = {"contained": list(contained)} if contained else {}
        return patient(generalPractitioner=[{"reference": address}], **more)

    place = "Patient.generalPractitioner[0]"
    assert found(record("Organization/1"), profile, inner) == []
    assert found(record("Practitioner/1"), profile, inner) == [("structure", place)]
    assert found(record("#o", named), profile, inner) == []
    assert found(record("#o", unnamed), profile, inner) == [("structure", place)]


def test_profiles_derive_from_profiles() -> None:
    """A differential lies over the profile that it derives from, which need no snapshot either."""
    above = definition("Patient", {"id": "Patient.name", "min": 1}, url="https://example.uz/a")
    profile = definition("Patient", {"id": "Patient.birthDate", "min": 1},
                         baseDefinition="https://example.uz/a")  # fmt: skip  # One look.

    assert found(patient(), profile, above) == [("required", "Patient"), ("required", "Patient")]
    assert found(patient(), profile, severity="information") != []


def test_claims_are_checked_and_unknown_ones_told() -> None:
    """`meta.profile` is followed, with a version too; what is not installed is a warning."""
    profile = definition("Patient", {"id": "Patient.name", "min": 1}, version="2")
    claimed = patient(meta={"profile": [f"{URL}|1"]})
    catalogue = Catalogue([profile])
    issues = validate_with(msgspec.json.encode(claimed), (), catalogue)
    unknown = patient(meta={"profile": ["https://example.uz/none"]})

    assert sorted(each.severity for each in issues) == ["error", "warning"]
    assert [each.severity for each in validate_with(msgspec.json.encode(unknown), (), catalogue)
            ] == ["warning"]  # fmt: skip  # One look.


def test_a_profile_of_another_type_is_told() -> None:
    """A record cannot claim a profile of another type."""
    profile = definition("Observation", {"id": "Observation.value[x]", "min": 1})

    assert found(patient(), profile) == [("structure", "Patient")]


def test_r5_s_own_vital_signs() -> None:
    """R5's profile of a blood pressure is there without any guide."""
    codes = {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]}
    record = {**observation(), "code": codes}

    assert ("required", "Observation") in found(record, url=BASE + "bp")
