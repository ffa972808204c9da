"""The compiled facts of R5: complete, typed, quick."""

from __future__ import annotations

from dmed.fhir.facts import FILE, UNBOUNDED, Element, ElementType, facts


def element(type_name: str, name: str) -> Element:
    """One element of a type."""
    return next(e for e in facts().types[type_name].elements if e.name == name)


def test_facts_name_their_package():
    """The file says which package it was compiled from, with its digest."""
    assert (facts().package, facts().version) == ("hl7.fhir.r5.core", "5.0.0")
    assert len(bytes.fromhex(facts().sha512)) == 64


def test_facts_are_compact():
    """The committed file stays well under a megabyte, against 92 of the package."""
    assert FILE.stat().st_size < 300_000


def test_every_resource_and_type_is_there():
    """R5 has 158 concrete resources and 21 primitive types."""
    kinds = [each.kind for each in facts().types.values()]
    assert len(facts().resources) == 158
    assert kinds.count("primitive") == 21
    assert facts().types["Patient.contact"].kind == "backbone"


def test_elements_carry_cardinality_types_and_bindings():
    """An element tells its cardinality, its types with targets, its binding and its flags."""
    subject = element("Observation", "subject")
    assert (subject.min, subject.max, subject.is_list) == (0, 1, False)
    assert subject.types[0].code == "Reference"
    assert "Patient" in subject.types[0].targets
    status = element("Observation", "status")
    assert (status.min, status.is_modifier, status.is_summary) == (1, True, True)
    assert status.strength == "required"
    assert status.binding == "http://hl7.org/fhir/ValueSet/observation-status"
    assert element("Patient", "name").max == UNBOUNDED


def test_choices_and_shared_content_are_marked():
    """A choice lists its types under one name, a contentReference names the path it shares."""
    value = element("Observation", "value")
    assert value.is_choice
    assert value.json_name("Quantity") == "valueQuantity"
    assert element("Observation.component", "referenceRange").content == (
        "Observation.referenceRange"
    )
    assert element("Ratio", "denominator").types == (ElementType("Quantity", (), "SimpleQuantity"),)


def test_required_value_sets_have_their_codes():
    """Codes come from the package's own systems, filters and enumerations."""
    gender = facts().value_sets["http://hl7.org/fhir/ValueSet/administrative-gender"]
    assert gender.systems == {
        "http://hl7.org/fhir/administrative-gender": ("female", "male", "other", "unknown")
    }
    assert gender.unchecked == ()


def test_systems_without_content_are_marked():
    """A value set over UCUM or BCP 47 says that its codes cannot be checked here."""
    languages = facts().value_sets["http://hl7.org/fhir/ValueSet/all-languages"]
    assert languages.unchecked == ("urn:ietf:bcp:47",)
    assert not languages.systems


def test_search_parameters_are_the_real_ones():
    """All 1,239 parameters and the special `_filter` are there, and none of the examples."""
    found = {each.id: each for each in facts().search}
    assert len(found) == 1240
    assert not any(name.startswith("example") for name in found)
    combined = found["Observation-code-value-quantity"]
    assert combined.type == "composite"
    assert [(c.code, c.expression) for c in combined.components] == [
        ("code", "code"),
        ("value-quantity", "value.ofType(Quantity)"),
    ]


def test_compartments_and_operations():
    """The five compartments and the specification's operations with their parameters."""
    assert sorted(facts().compartments) == [
        "Device",
        "Encounter",
        "Patient",
        "Practitioner",
        "RelatedPerson",
    ]
    assert facts().compartments["Patient"]["Observation"] == ("subject", "performer")
    everything = next(
        o for o in facts().operations if o.code == "everything" and "Patient" in o.resources
    )
    assert "start" in {p.name for p in everything.parameters}


def test_derivation_is_followed():
    """Age is a Quantity, a Patient is a Resource, a Resource is no Patient."""
    assert facts().is_a("Age", "Quantity")
    assert facts().is_a("Patient", "Resource")
    assert not facts().is_a("Resource", "Patient")
