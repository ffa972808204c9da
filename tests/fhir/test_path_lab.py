"""The trial of an expression as the FHIRPath Lab asks and answers, without HTTP."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec
from dmed.fhir.path import PathError, lab
from dmed.kit.errors import InvalidError

PATIENT = {
    "resourceType": "Patient",
    "id": "x",
    "name": [{"family": "Karimova", "given": ["Nodira"]}],
    "birthDate": "1990-05-17",
    "contact": [{"gender": "female"}],
    "generalPractitioner": [{"reference": "Practitioner/d1"}],
}
_LAB = "http://fhir.forms-lab.com/StructureDefinition/"


def asked(expression: str, *more: Any, resource: Any = None) -> bytes:
    """Parameters for an expression."""
    named = resource or {"resource": PATIENT}
    parameters = [
        {"name": "expression", "valueString": expression},
        {"name": "resource", **named},
        *more,
    ]
    return json.dumps({"resourceType": "Parameters", "parameter": parameters}).encode()


def parts(body: bytes) -> list[Any]:
    """The values of the only result; the whole answer is sound Parameters."""
    answer = lab.answer(body)
    codec.decode(answer, "Parameters")
    [_, result] = json.loads(answer, parse_float=str)["parameter"]
    return result.get("part", [])


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("birthDate", {"name": "date", "valueDate": "1990-05-17"}),
        ("@2020", {"name": "date", "valueDate": "2020"}),
        ("@2020-01-01T10:00:00Z", {"name": "dateTime", "valueDateTime": "2020-01-01T10:00:00Z"}),
        ("@2020-01-01T10", {"name": "dateTime", "valueString": "2020-01-01T10"}),
        ("@T10:00", {"name": "time", "valueString": "10:00"}),
        ("@T10:00:00", {"name": "time", "valueTime": "10:00:00"}),
        ("1.50", {"name": "decimal", "valueDecimal": "1.50"}),
        ("true", {"name": "boolean", "valueBoolean": True}),
        ("5 days", {"name": "Quantity", "valueQuantity": {"value": 5, "unit": "day"}}),
        ("''", {"name": "empty-string"}),
        ("%word", {"name": "string", "valueString": "salom"}),
    ],
)
def test_kinds_of_values(expression: str, wanted: dict[str, Any]) -> None:
    """Each kind stands in its own property, and what FHIR cannot hold as text."""
    variables = {"name": "variables", "part": [{"name": "word", "valueString": "salom"}]}

    assert parts(asked(expression, variables)) == [wanted]


def test_structures_have_their_place() -> None:
    """Data types stand as values, parts of records as JSON; both say where they are."""
    [name, contact] = parts(asked("name.combine(contact)"))

    assert name["valueHumanName"] == PATIENT["name"][0]
    assert name["extension"] == [{"url": f"{_LAB}resource-path", "valueString": "Patient.name[0]"}]
    assert contact["name"] == "Patient.contact"
    assert contact["extension"][1]["url"] == f"{_LAB}json-value"
    assert json.loads(contact["extension"][1]["valueString"]) == {"gender": "female"}


def test_records_that_travel_as_text() -> None:
    """JSON and XML inside the Lab's extensions are read like a record."""
    as_xml = '<Patient xmlns="http://hl7.org/fhir"><birthDate value="1990-05-17"/></Patient>'
    for kind, text in (("json-value", json.dumps(PATIENT)), ("xml-value", as_xml)):
        given = {"extension": [{"url": f"{_LAB}{kind}", "valueString": text}]}

        assert parts(asked("birthDate", resource=given))[0]["valueDate"] == "1990-05-17"


def test_what_nobody_resolved_is_its_address() -> None:
    """The target of a reference is not here: its type is known, and its address is told."""
    [found] = parts(asked("generalPractitioner.resolve()"))

    assert found["name"] == "Practitioner"
    assert found["extension"][-1]["valueString"] == "Practitioner/d1"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Parameters"}',
        asked("1", resource={"valueString": "Patient/1"}),
        asked(""),
        asked("1" * (lab.EXPRESSION_LENGTH_MAX + 1)),
        asked("name.("),
        asked("%unheard"),
    ],
)
def test_wrong_requests_are_refused(body: bytes) -> None:
    """No expression, no record, too long or wrong: an error with its sentence."""
    with pytest.raises(InvalidError) as caught:
        lab.answer(body)

    assert all(issue.diagnostics for issue in caught.value.issues)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="namegivtrc.()'|&=<> 0123$%{},+-*/@T:", min_size=1, max_size=30))
def test_any_expression_has_an_answer_or_a_named_error(text: str) -> None:
    """Whatever is tried, the answer is sound Parameters or an error of FHIRPath."""
    with contextlib.suppress(PathError, InvalidError):
        codec.decode(lab.answer(asked(text)), "Parameters")
