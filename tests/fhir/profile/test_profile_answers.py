"""What a question asks by extensions: each limit met and broken, with its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dmed.fhir.profile import Catalogue, validate_with
from dmed.fhir.terminology import Library

CORE = "http://hl7.org/fhir/StructureDefinition/"
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-"
UCUM = "http://unitsofmeasure.org"
ANSWER = "QuestionnaireResponse.item[0].answer[0]"


def ext(name: str, **value: Any) -> dict[str, Any]:
    """An extension of FHIR's own, or of Structured Data Capture by its whole address."""
    return {"url": name if ":" in name else CORE + name, **value}


def amount(value: float, code: str) -> dict[str, Any]:
    """A quantity in a UCUM unit."""
    return {"value": value, "unit": code, "system": UCUM, "code": code}


def found(
    question: dict[str, Any], *answers: dict[str, Any], **more: Any
) -> list[tuple[str, str]]:
    """(code, place) of the errors of a response to a questionnaire of one question."""
    questionnaire = {
        "resourceType": "Questionnaire", "url": "https://x.uz/q", "status": "active",
        "item": [{"linkId": "a", **question}], **more,
    }  # fmt: skip  # A record reads better filled.
    response = {
        "resourceType": "QuestionnaireResponse", "status": "completed",
        "questionnaire": "https://x.uz/q",
        "item": [{"linkId": "a", **({"answer": list(answers)} if answers else {})}],
    }  # fmt: skip  # A record reads better filled.
    known = Catalogue([msgspec.json.encode(questionnaire)], Library())
    issues = validate_with(msgspec.json.encode(response), (), known)
    return [(each.code, each.expression) for each in issues if each.severity == "error"]


@pytest.mark.parametrize(("kind", "extension", "good", "bad"), [
    ("integer", ext("minValue", valueInteger=3), {"valueInteger": 3}, {"valueInteger": 2}),
    ("decimal", ext("maxValue", valueDecimal=3.5), {"valueDecimal": 3.5}, {"valueDecimal": 3.6}),
    ("date", ext("minValue", valueDate="2020"), {"valueDate": "2020-01-01"},
     {"valueDate": "2019-12-31"}),
    ("dateTime", ext("maxValue", valueDateTime="2022-06"), {"valueDateTime": "2022-06-30"},
     {"valueDateTime": "2022-07"}),
    ("time", ext("minValue", valueTime="08:00:00"), {"valueTime": "08:00:00"},
     {"valueTime": "07:59:59"}),
    ("decimal", ext("maxDecimalPlaces", valueInteger=2), {"valueDecimal": 1.25},
     {"valueDecimal": 1.125}),
    ("string", ext("minLength", valueInteger=3), {"valueString": "abc"}, {"valueString": "ab"}),
    ("string", ext("regex", valueString="[A-Z]{2}[0-9]+"), {"valueString": "AB7"},
     {"valueString": "7AB"}),
    ("quantity", ext(SDC + "minQuantity", valueQuantity=amount(5, "km")),
     {"valueQuantity": amount(5000, "m")}, {"valueQuantity": amount(4000, "m")}),
    ("quantity", ext(SDC + "maxQuantity", valueQuantity=amount(5, "km")),
     {"valueQuantity": amount(5, "km")}, {"valueQuantity": amount(1, "kg")}),
    ("quantity", ext("questionnaire-unitOption", valueCoding={"system": UCUM, "code": "kg"}),
     {"valueQuantity": amount(5, "kg")}, {"valueQuantity": amount(5, "g")}),
    ("quantity", ext("questionnaire-unitValueSet",
                     valueCanonical="http://hl7.org/fhir/ValueSet/age-units"),
     {"valueQuantity": amount(5, "a")}, {"valueQuantity": amount(5, "m")}),
    ("reference", ext("questionnaire-referenceResource", valueCode="Patient"),
     {"valueReference": {"reference": "https://x.uz/fhir/Patient/1"}},
     {"valueReference": {"reference": "Organization/1"}}),
])  # fmt: skip  # A table.
def test_an_answer_keeps_the_limits_of_its_question(
    kind: str, extension: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """Range, form, digits, unit and target of an answer are those that the question allows."""
    question = {"type": kind, "extension": [extension]}

    assert found(question, good) == []
    assert [(code, place.rpartition(".value")[0]) for code, place in found(question, bad)] == [
        ("value", ANSWER)]  # fmt: skip  # One look.


def test_how_many_answers_there_may_be() -> None:
    """The least and the greatest number count answers; the place is that of the item."""
    question = {"type": "string", "repeats": True, "extension": [
        ext("questionnaire-minOccurs", valueInteger=2),
        ext("questionnaire-maxOccurs", valueInteger=3)]}  # fmt: skip  # One look.
    one = {"valueString": "a"}
    place = [("structure", "QuestionnaireResponse.item[0]")]

    assert found(question, one, one) == []
    assert found(question, one) == place
    assert found(question, one, one, one, one) == place


def test_an_option_that_excludes_all_others_stands_alone() -> None:
    """optionExclusive: 'none of these' beside another answer is refused where it stands."""
    question = {"type": "coding", "repeats": True, "answerOption": [
        {"valueCoding": {"code": "a"}}, {"valueCoding": {"code": "none"}, "extension": [
            ext("questionnaire-optionExclusive", valueBoolean=True)]}]}  # fmt: skip  # One look.
    some, none = {"valueCoding": {"code": "a"}}, {"valueCoding": {"code": "none"}}

    assert found(question, none) == []
    assert found(question, some, none) == [("structure", "QuestionnaireResponse.item[0].answer[1]")]


def test_an_abstract_question_takes_no_answer() -> None:
    """R5's type `question` is abstract: only its kinds are asked."""
    assert found({"type": "question"}, {"valueString": "a"}) == [
        ("structure", "QuestionnaireResponse.item[0]")]  # fmt: skip  # One look.


def test_options_of_a_value_set_inside_the_questionnaire() -> None:
    """The options may be a value set that the questionnaire contains."""
    inside = {"resourceType": "ValueSet", "id": "v", "status": "active", "compose": {
        "include": [{"system": "http://s", "concept": [{"code": "a"}]}]}}  # fmt: skip
    question = {"type": "coding", "answerValueSet": "#v"}

    assert found(question, {"valueCoding": {"system": "http://s", "code": "a"}},
                 contained=[inside]) == []  # fmt: skip  # One look.
    assert found(question, {"valueCoding": {"system": "http://s", "code": "b"}},
                 contained=[inside]) == [("code-invalid", f"{ANSWER}.valueCoding")]  # fmt: skip
