"""What FHIR R5 adds to FHIRPath: the factory, terminologies, slices, definitions of elements;
and distances between dates of FHIRPath 3.0. https://hl7.org/fhir/R5/fhirpath.html
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dmed.fhir import codec, path
from dmed.fhir.path.code import NoHooks
from dmed.fhir.path.lab import answer
from dmed.fhir.profile import Catalogue
from dmed.fhir.profile.leaves import Hooks
from dmed.fhir.profile.run import ProfileRun
from dmed.fhir.terminology import Library
from dmed.fhir.terminology.asked import terminology
from dmed.fhir.terminology.trial import OwnTerms

BASE = "http://hl7.org/fhir/StructureDefinition/"
PRESSURE = "https://example.uz/StructureDefinition/pressure"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
GENDER = "http://hl7.org/fhir/administrative-gender"


def record(body: dict[str, Any]) -> Any:
    return codec.decode(msgspec.json.encode(body))


PATIENT = record({"resourceType": "Patient", "id": "p", "gender": "female",
                  "name": [{"family": "Karimova", "given": ["Aziza"]}]})  # fmt: skip  # One look.


class Known(NoHooks):
    """A terminology of R5's own definitions."""

    library = Library()

    def terminology(self, operation: str, given: list[Any], parameters: str) -> Any | None:
        return terminology(self.library, operation, given, parameters)


def ask(expression: str, focus: Any = PATIENT, hooks: Any = None) -> list[Any]:
    """The values as plain JSON."""
    found = path.compile(expression, focus.fhir_type, strict=True).evaluate(
        focus, hooks=hooks or Known())
    return [msgspec.to_builtins(each) if isinstance(each, msgspec.Struct) else each
            for each in found]  # fmt: skip  # One list.


@pytest.mark.parametrize(("expression", "expected"), [
    ("%factory.Coding('s', 'c', 'd', 'v')",
     {"system": "s", "code": "c", "display": "d", "version": "v"}),
    ("%factory.Coding('s', 'c')", {"system": "s", "code": "c"}),
    ("%factory.CodeableConcept(%factory.Coding('s', 'c') | %factory.Coding('s', 'e'), 't')",
     {"coding": [{"system": "s", "code": "c"}, {"system": "s", "code": "e"}], "text": "t"}),
    ("%factory.HumanName('F', 'A' | 'B', {}, {}, 'B F', 'official')",
     {"family": "F", "given": ["A", "B"], "text": "B F", "use": "official"}),
    ("%factory.Identifier('s', 'v', 'usual', %factory.CodeableConcept({}, 'MRN'))",
     {"system": "s", "value": "v", "use": "usual", "type": {"text": "MRN"}}),
    ("%factory.ContactPoint('phone', '+998', 'home')",
     {"system": "phone", "value": "+998", "use": "home"}),
    ("%factory.Address('a' | 'b', 'Tashkent', {}, '100000', 'UZ', 'home')",
     {"line": ["a", "b"], "city": "Tashkent", "postalCode": "100000", "country": "UZ",
      "use": "home"}),
    ("%factory.Extension('http://x.uz', 5)", {"url": "http://x.uz", "valueInteger": 5}),
    ("%factory.Extension('http://x.uz', @2024-05-06)",
     {"url": "http://x.uz", "valueDate": "2024-05-06"}),
    ("%factory.Extension('http://x.uz', %factory.code('a'))",
     {"url": "http://x.uz", "valueCode": "a"}),
    ("%factory.withProperty(%factory.create('Period'), 'start', @2024-05-06)",
     {"start": "2024-05-06"}),
    ("%factory.withExtension(%factory.Coding('s', 'c'), 'http://x.uz', true)",
     {"system": "s", "code": "c", "extension": [{"url": "http://x.uz", "valueBoolean": True}]}),
])  # fmt: skip  # A case a line.
def test_the_factory_makes_values(expression: str, expected: dict[str, Any]) -> None:
    """Each function fills the elements that the specification names, in their JSON's shape."""
    [made] = ask(expression)

    assert {key: each for key, each in made.items() if key != "resourceType"} == expected


def test_the_factory_changes_nothing() -> None:
    """What is made of an instance is a copy; primitives keep value, type and extensions."""
    made = ask("%factory.withProperty(Patient, 'birthDate', @1990-01-01)")
    typed = path.compile(
        "%factory.withExtension(Patient.gender, 'http://x.uz', 'y').extension.value", "Patient")

    assert made[0]["birthDate"] == "1990-01-01"
    assert ask("Patient.birthDate") == []
    assert typed(PATIENT) == ["y"]
    assert ask("%factory.Quantity('http://unitsofmeasure.org', 'mg', 5.0, 'mg') = 5 'mg'") == [True]
    assert ask("%factory.date('2024-01-01') < @2024-02-01") == [True]


@pytest.mark.parametrize("expression", [
    "%factory.withProperty(Patient, 'nonsense', 1)", "%factory.create('Nonsense')",
    "%factory.withProperty(Patient, 'active', %factory.Coding('s', 'c'))",
    "%factory.withProperty(Patient, 'gender', 'a' | 'b')", "%factory.integer('x')",
])  # fmt: skip  # A case a line.
def test_the_factory_refuses_what_no_type_has(expression: str) -> None:
    """An unknown element or type, a value of another type, and one too many are errors."""
    with pytest.raises(path.PathExecutionError):
        ask(expression)


def test_unknown_functions_are_found_when_compiling() -> None:
    """Neither service has functions beyond its own, and no variable may take its name."""
    for expression in ("%factory.Nonsense('a')", "%terminologies.nonsense('a')",
                       "%factory.Coding(1, 2, 3, 4, 5)", "defineVariable('factory', 1)"):
        with pytest.raises(path.PathSemanticError):
            path.compile(expression, "Patient")


@pytest.mark.parametrize(("expression", "expected"), [
    ((f"%terminologies.validateVS('{GENDERS}', Patient.gender, 'system={GENDER}')"
      ".parameter.where(name = 'result').value"), [True]),
    ((f"%terminologies.validateVS('{GENDERS}', %factory.Coding('{GENDER}', 'blue'))"
      ".parameter.where(name = 'result').value"), [False]),
    (f"%terminologies.validateCS('{GENDER}', 'male').parameter.where(name = 'result').value",
     [True]),
    ((f"%terminologies.lookup(%factory.Coding('{GENDER}', 'male'))"
      ".parameter.where(name = 'display').value"), ["Male"]),
    (f"%terminologies.expand('{GENDERS}', 'count=2&offset=1').expansion.contains.code",
     ["female", "other"]),
    ("%terminologies.subsumes('http://hl7.org/fhir/fhir-types', 'Element', 'Quantity')",
     ["subsumes"]),
    ("%terminologies.expand('http://nowhere.uz/set')", []),
    ("%terminologies.lookup(Patient.contact)", []),
])  # fmt: skip  # A case a line.
def test_terminologies_answer(expression: str, expected: list[Any]) -> None:
    """Each operation answers as the service does; what it does not know is empty."""
    assert ask(expression) == expected


def test_without_a_service_terminologies_are_silent() -> None:
    """An expression that asks where no terminology is at hand gets nothing, and no error."""
    assert ask(f"%terminologies.expand('{GENDERS}')", hooks=NoHooks()) == []


def test_an_element_tells_its_definition() -> None:
    """The definition of an element comes for each item, with cardinality, types and binding."""
    [gender] = ask("Patient.gender.elementDefinition()")
    name = ask("Patient.name.where(use.empty()).family.elementDefinition()")
    managing = ask("managingOrganization.elementDefinition()")
    value = record({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                    "valueString": "y"})  # fmt: skip  # One look.

    assert (gender["path"], gender["min"], gender["max"]) == ("Patient.gender", 0, "1")
    assert gender["type"] == [{"code": "code"}]
    assert gender["binding"] == {"strength": "required", "valueSet": GENDERS}
    assert [each["path"] for each in name] == ["HumanName.family"]
    assert managing == []
    assert ask("Observation.value.elementDefinition().path", value) == ["Observation.value[x]"]
    assert ask("Patient.elementDefinition().path") == ["Patient"]


def test_slices_are_told_by_their_profile() -> None:
    """The items of a slice, as the profile's discriminator tells them; no slice is an error."""

    def fixed(code: str) -> dict[str, Any]:
        return {"coding": [{"system": "http://x.uz", "code": code}]}

    elements = [
        {"id": "Observation.component", "path": "Observation.component", "slicing": {
            "discriminator": [{"type": "value", "path": "code"}], "rules": "open"}},
        *(element for code in ("high", "low") for element in (
            {"id": f"Observation.component:{code}", "path": "Observation.component",
             "sliceName": code},
            {"id": f"Observation.component:{code}.code", "path": "Observation.component.code",
             "patternCodeableConcept": fixed(code)})),
    ]  # fmt: skip  # A slice each.
    profile = msgspec.json.encode({
        "resourceType": "StructureDefinition", "url": PRESSURE, "name": "P", "status": "active",
        "kind": "resource", "abstract": False, "type": "Observation", "derivation": "constraint",
        "baseDefinition": BASE + "Observation", "differential": {"element": elements}})
    pressure = record({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                       "component": [{"code": fixed(code), "valueInteger": number}
                                     for number, code in enumerate(("low", "high", "low"))]})
    hooks = Hooks(ProfileRun(pressure, Catalogue([profile])))

    assert ask(f"component.slice('{PRESSURE}', 'low').value", pressure, hooks) == [0, 2]
    assert ask(f"component.slice('{PRESSURE}', 'high').value", pressure, hooks) == [1]
    for other in (f"component.slice('{PRESSURE}', 'none')", "component.slice('http://n', 'low')"):
        with pytest.raises(path.PathExecutionError):
            ask(other, pressure, hooks)


@pytest.mark.parametrize(("expression", "expected"), [
    ("@2012-01-01.duration(@2014-01-01, 'years')", [2]),
    ("@2012-01-02.duration(@2014-01-01, 'years')", [1]),
    ("@2012-01-02.difference(@2014-01-01, 'years')", [2]),
    ("@2014-01-31.duration(@2014-02-28, 'month')", [0]),
    ("@2014-01-31.difference(@2014-02-28, 'months')", [1]),
    ("@2014-03-01.duration(@2014-01-15, 'months')", [-1]),
    ("@2024-02-28.duration(@2024-03-01, 'days')", [2]),
    ("@2024-01-06.difference(@2024-01-07, 'weeks')", [1]),
    ("@2024-01-07.difference(@2024-01-13, 'weeks')", [0]),
    ("@2024-01-01T10:59:00Z.difference(@2024-01-01T11:00:00Z, 'hours')", [1]),
    ("@2024-01-01T10:59:00Z.duration(@2024-01-01T11:00:00Z, 'hours')", [0]),
    ("@2024-01-01T10:00:00+05:00.duration(@2024-01-01T10:00:00Z, 'hours')", [5]),
    ("@T10:00:00.duration(@T10:00:01.250, 'milliseconds')", [1250]),
    ("@2012.duration(@2014, 'years')", [2]),
    ("@2012.duration(@2014-06-01, 'years')", []),
    ("@2012.difference(@2014-06-01, 'years')", [2]),
    ("@2012.duration(@2014, 'months')", []),
    ("@2012-01-01.duration(@T10:00, 'years')", []),
    ("{}.duration(@2014, 'years')", []),
])  # fmt: skip  # A case a line.
def test_distances_between_dates(expression: str, expected: list[Any]) -> None:
    """Whole periods, and boundaries crossed; empty where precision leaves it open."""
    assert ask(expression) == expected


def test_a_trial_knows_r5_s_own_terminology() -> None:
    """The trial of an expression has R5's own value sets and nothing else to ask."""
    expression = f"%terminologies.validateVS('{GENDERS}', gender).parameter.first().value"
    body = {"resourceType": "Parameters", "parameter": [
        {"name": "expression", "valueString": expression.replace("gender)",
                                                                 f"gender, 'system={GENDER}')")},
        {"name": "resource", "resource": {"resourceType": "Patient", "gender": "male"}}]}
    told = msgspec.json.decode(answer(msgspec.json.encode(body), OwnTerms))

    assert told["parameter"][1]["part"] == [{"name": "boolean", "valueBoolean": True}]
