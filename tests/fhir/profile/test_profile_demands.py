"""Less common demands of profiles: expressions, shortest lengths, recursion, rules of extensions,
and what a profile may ask beside the one that it derives from.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from definitions import BASE, URL, definition

from dmed.fhir.profile import validate_with

UCUM = "http://unitsofmeasure.org"
MARK = "https://example.uz/StructureDefinition/mark"


def found(
    record: dict[str, Any], *definitions: bytes, url: str = URL, severity: str = "error"
) -> list[tuple[str, str]]:
    """(code, place) of the issues of one severity."""
    issues = validate_with(msgspec.json.encode(record), [url] if url else (), definitions)
    return [(each.code, each.expression) for each in issues if each.severity == severity]


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


@pytest.mark.parametrize(("family", "sound"), [
    ("Karimova", True), ("karimova", False), ("Ka", False), ("K1", False), ("", True)])
def test_an_expression_and_a_shortest_length(family: str, sound: bool) -> None:
    """A text fits the whole expression and is long enough; what is absent breaks neither."""
    profile = definition("Patient", {"id": "Patient.name.family", "extension": [
        {"url": BASE + "regex", "valueString": "[A-Z][a-z]+"},
        {"url": BASE + "minLength", "valueInteger": 3}]})  # fmt: skip  # One look.
    name = {"family": family} if family else {"text": "x"}
    places = {place for _, place in found(patient(name=[name]), profile)}

    assert places == (set() if sound else {"Patient.name[0].family"})


def test_an_expression_of_the_type_counts_too() -> None:
    """R5 puts the expression on the type of an element; one that cannot be run is told."""
    def profile(regex: str) -> bytes:
        kind = {"code": "id", "extension": [{"url": BASE + "regex", "valueString": regex}]}
        return definition("Patient", {"id": "Patient.id", "type": [kind]})

    assert found(patient(id="a-1"), profile("[a-z]-[0-9]")) == []
    assert found(patient(id="a-b"), profile("[a-z]-[0-9]")) == [("value", "Patient.id")]
    assert found(patient(id="a"), profile("(?=a)a")) == []
    assert ("not-supported", "Patient.id") in found(
        patient(id="a"), profile("(?=a)a"), severity="information")


def test_rules_hold_inside_what_refers_to_them() -> None:
    """What a profile asks of an item is asked of the items inside it, however deep."""
    profile = definition(
        "Questionnaire",
        {"id": "Questionnaire.item"}, {"id": "Questionnaire.item.prefix", "min": 1},
        {"id": "Questionnaire.item.item", "contentReference": "#Questionnaire.item"},
    )  # fmt: skip  # One look.

    def item(link: str, *inner: dict[str, Any], **more: Any) -> dict[str, Any]:
        made = {"linkId": link, "text": "x", "type": "group", **more}
        return {**made, "item": list(inner)} if inner else {**made, "type": "string"}

    record = {"resourceType": "Questionnaire", "status": "active", "item": [
        item("1", item("2", item("3"), prefix="b"), prefix="a")]}  # fmt: skip  # One look.
    assert found(record, profile) == [("required", "Questionnaire.item[0].item[0].item[0]")]
    record["item"][0]["item"][0]["item"][0]["prefix"] = "c"  # type: ignore[index]  # The same tree.
    assert found(record, profile) == []


def mark(**more: Any) -> bytes:
    """An extension with a code."""
    return definition("Extension", {"id": "Extension.url", "fixedUri": MARK}, url=MARK, **more)


def test_an_extension_stands_where_an_expression_selects() -> None:
    """A context of FHIRPath is the elements that it selects from the record."""
    profile = mark(context=[{"type": "fhirpath", "expression": "Patient.name.where(use = 'old')"}])
    own = {"extension": [{"url": MARK, "valueCode": "x"}], "family": "A"}

    assert found(patient(name=[{"use": "old", **own}]), profile, url="") == []
    assert found(patient(name=[{"use": "usual", **own}]), profile, url="") == [
        ("structure", "Patient.name[0].extension[0]")]


def test_an_extension_s_rule_on_its_place() -> None:
    """A contextInvariant is asked of the element around, which sees %extension."""
    profile = mark(
        context=[{"type": "element", "expression": "HumanName"}],
        contextInvariant=["use.exists() and %extension.value.exists()"])
    own = {"extension": [{"url": MARK, "valueCode": "x"}], "family": "A"}

    assert found(patient(name=[{"use": "old", **own}]), profile, url="") == []
    assert found(patient(name=[own]), profile, url="") == [
        ("invariant", "Patient.name[0].extension[0]")]


def derived(*elements: dict[str, Any]) -> list[str]:
    """Places of what is wrong with a profile that derives from a base, of which it knows targets,
    cardinality, a fixed value and a binding.
    """
    base = definition(
        "Observation",
        {"id": "Observation.subject", "min": 1,
         "type": [{"code": "Reference", "targetProfile": [f"{URL}-patient"]}]},
        {"id": "Observation.value", "type": [{"code": "Quantity"}]},
        {"id": "Observation.category", "max": "2"},
        {"id": "Observation.language", "fixedCode": "uz"},
        {"id": "Observation.code", "binding": {"strength": "required", "valueSet": f"{URL}-v"}},
    )  # fmt: skip  # One look.
    others = [
        definition("Patient", url=f"{URL}-patient"),
        definition("Patient", url=f"{URL}-narrow", baseDefinition=f"{URL}-patient"),
        definition("Patient", url=f"{URL}-other"),
        definition("Patient", url=f"{URL}-also", extension=[
            {"url": BASE + "structuredefinition-imposeProfile",
             "valueCanonical": f"{URL}-patient"}]),
    ]  # fmt: skip  # One look.
    made = msgspec.json.decode(definition(
        "Observation", *elements, url=f"{URL}-d", baseDefinition=URL))
    places = found(made, base, *others, url="")
    return [place.removeprefix("StructureDefinition.differential.element[0].")
            for _, place in places]


def refers(*targets: str) -> dict[str, Any]:
    return {"id": "Observation.subject",
            "type": [{"code": "Reference", "targetProfile": [URL + each for each in targets]}]}


@pytest.mark.parametrize(("element", "places"), [
    (refers("-patient"), []),
    (refers("-narrow"), []),
    (refers("-also"), []),
    (refers("-unknown"), []),
    (refers("-other"), ["type[0].targetProfile[0]"]),
    ({"id": "Observation.subject", "min": 0}, ["min"]),
    ({"id": "Observation.subject", "min": 1}, []),
    ({"id": "Observation.category", "max": "3"}, ["max"]),
    ({"id": "Observation.category", "max": "1"}, []),
    ({"id": "Observation.status", "max": "*"}, ["max"]),
    ({"id": "Observation.value[x]", "type": [{"code": "string"}]}, ["type[0]"]),
    ({"id": "Observation.value[x]", "type": [{"code": "Quantity"}]}, []),
    ({"id": "Observation.issued", "type": [{"code": "date"}]}, ["type[0]"]),
    ({"id": "Observation.language", "fixedCode": "ru"}, ["fixedCode"]),
    ({"id": "Observation.code", "binding": {"strength": "preferred", "valueSet": URL}},
     ["binding.strength"]),
    ({"id": "Observation.code", "binding": {"strength": "required", "valueSet": URL}}, []),
])  # fmt: skip  # A case a line.
def test_a_profile_narrows_what_it_derives_from(
    element: dict[str, Any], places: list[str]
) -> None:
    """What fits a profile must fit its base: each widening is told at its place."""
    assert derived(element) == places


def test_a_range_counts_in_ucum_and_from_now() -> None:
    """Limits of a quantity hold in any unit of its kind; a time beside a date counts from today."""
    weight = definition("Observation", {
        "id": "Observation.value[x]", "type": [{"code": "Quantity"}],
        "minValueQuantity": {"value": 1, "system": UCUM, "code": "kg"}})  # fmt: skip
    born = definition("Patient", {
        "id": "Patient.birthDate",
        "minValueQuantity": {"value": 100, "system": UCUM, "code": "a"}})  # fmt: skip

    def grams(value: int) -> dict[str, Any]:
        return {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                "valueQuantity": {"value": value, "system": UCUM, "code": "g"}}  # fmt: skip

    assert found(grams(1000), weight) == []
    assert found(grams(999), weight) == [("value", "Observation.valueQuantity")]
    assert found({"resourceType": "Patient", "birthDate": "1990-05-17"}, born) == []
    assert found({"resourceType": "Patient", "birthDate": "1850-05-17"}, born) == [
        ("value", "Patient.birthDate")]  # fmt: skip  # One look.


def test_a_value_that_must_be_there_or_its_stand_in() -> None:
    """A profile may refuse extensions alone, or name those that stand for a value."""
    reason = "https://example.uz/why-not"
    must = definition("Patient", {"id": "Patient.active", "mustHaveValue": True})
    either = definition("Patient", {"id": "Patient.active", "valueAlternatives": [reason]})

    def inactive(url: str) -> dict[str, Any]:
        return {"resourceType": "Patient",
                "_active": {"extension": [{"url": url, "valueCode": "unknown"}]}}  # fmt: skip

    assert found({"resourceType": "Patient", "active": False}, must) == []
    assert found(inactive(reason), must) == [("required", "Patient.active")]
    assert found(inactive(reason), either) == []
    assert found(inactive("https://example.uz/other"), either) == [("required", "Patient.active")]


def test_a_rule_on_an_element_that_holds_a_resource_knows_the_one_around() -> None:
    """%resource is the Bundle for a rule on Bundle.entry.resource, whose focus is the entry's."""
    rule = {"key": "x-1", "severity": "error", "human": "who is who",
            "expression": "%context is Patient and %resource is Bundle and %rootResource is Bundle"}
    profile = definition("Bundle", {"id": "Bundle.entry.resource", "constraint": [rule]})
    entry = {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
             "resource": {"resourceType": "Patient", "active": True}}  # fmt: skip

    assert found({"resourceType": "Bundle", "type": "collection", "entry": [entry]}, profile) == []


def test_profiles_of_types_and_paths_of_discriminators() -> None:
    """A profile names profiles of the element's own type, and tells slices by what it has."""
    other = definition("Organization", {"id": "Organization.name", "min": 1},
                       url="https://example.uz/org")  # fmt: skip  # One look.
    wrong = definition("Observation", {"id": "Observation.code", "type": [
        {"code": "CodeableConcept", "profile": ["https://example.uz/org"]}]})  # fmt: skip
    sliced = definition("Patient", {"id": "Patient.name", "slicing": {
        "rules": "open", "discriminator": [{"type": "value", "path": "colour"}]}})  # fmt: skip

    assert [place for _, place in found(msgspec.json.decode(wrong), other, url="")] == [
        "StructureDefinition.differential.element[0].type[0].profile[0]"]  # fmt: skip  # One look.
    issues = validate_with(sliced, (), ())
    assert [each.expression for each in issues if "colour" in each.diagnostics] == [
        "StructureDefinition.differential.element[0].slicing.discriminator[0]"]  # fmt: skip
