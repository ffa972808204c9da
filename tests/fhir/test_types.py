"""The structs made from the facts."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.types import any_resource, attribute, is_primitive, struct_of


def test_every_type_has_a_struct():
    """Each concrete resource, data type and backbone element has a struct of its own."""
    for name, each in facts().types.items():
        if each.kind != "primitive" and not each.is_abstract:
            assert struct_of(name).fhir_type == name


def test_an_unknown_type_has_none():
    """A name that R5 does not know is a KeyError."""
    with pytest.raises(KeyError):
        struct_of("Pacient")


def test_fields_are_absent_until_set():
    """A new struct is empty, and its fields can be set."""
    patient = struct_of("Patient")()
    assert patient.birthDate is UNSET
    patient.birthDate = "1990-01-31"
    assert msgspec.json.encode(patient) == b'{"resourceType":"Patient","birthDate":"1990-01-31"}'


def test_attributes_of_awkward_names():
    """Keywords get an underscore at the end, primitive extensions the ending __ext."""
    assert attribute("class") == "class_"
    assert attribute("_birthDate") == "birthDate__ext"
    assert attribute("_for") == "for___ext"
    encounter = struct_of("Encounter")
    assert "class_" in encounter.__struct_fields__
    assert (
        encounter.__struct_encode_fields__[encounter.__struct_fields__.index("class_")] == "class"
    )


def test_choices_are_fields_of_their_own():
    """Each type of value[x] is a field, with an extension field where it is primitive."""
    fields = struct_of("Observation").__struct_fields__
    assert {"valueQuantity", "valueString", "valueString__ext"} <= set(fields)
    assert "valueQuantity__ext" not in fields


def test_contained_resources_and_recursion():
    """A contained resource is told by its resourceType, and shared content nests in itself."""
    body = (
        b'{"resourceType":"Questionnaire","contained":[{"resourceType":"Patient","id":"p"}],'
        b'"item":[{"linkId":"1","item":[{"linkId":"1.1","item":[{"linkId":"1.1.1"}]}]}]}'
    )
    found = msgspec.json.decode(body, type=any_resource())
    assert found.contained[0].fhir_type == "Patient"
    assert found.item[0].item[0].item[0].linkId == "1.1.1"


def test_decimals_keep_their_digits():
    """A decimal is a Decimal with the digits that came."""
    found = msgspec.json.decode(b'{"value":1.00}', type=struct_of("Quantity"))
    assert str(found.value) == "1.00"
    assert isinstance(found.value, Decimal)


def test_primitives_are_told_from_the_rest():
    """A code is primitive, a Coding is not, an unknown name is not."""
    assert [is_primitive(n) for n in ("code", "Coding", "nothing")] == [True, False, False]
