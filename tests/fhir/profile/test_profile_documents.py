"""Documents, contained records, questionnaires and what a vendor reads of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dmed.fhir.profile import validate_with


def found(record: dict[str, Any], *definitions: dict[str, Any]) -> list[tuple[str, str]]:
    """(code, place) of the errors."""
    bodies = [msgspec.json.encode(each) for each in definitions]
    issues = validate_with(msgspec.json.encode(record), (), bodies)
    return [(each.code, each.expression) for each in issues if each.severity == "error"]


def document(*, subject: str = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520") -> dict[str, Any]:
    composition = {
        "resourceType": "Composition", "id": "c", "status": "final", "title": "t",
        "date": "2024-01-01", "type": {"text": "x"}, "author": [{"display": "d"}],
        "subject": [{"reference": subject}],
    }  # fmt: skip  # A record reads better filled.
    return {
        "resourceType": "Bundle", "type": "document", "timestamp": "2024-01-01T10:00:00Z",
        "identifier": {"system": "http://x.uz", "value": "1"}, "entry": [
            {"fullUrl": "http://x.uz/fhir/Composition/c", "resource": composition},
            {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
             "resource": {"resourceType": "Patient", "active": True}}]}  # fmt: skip  # One look.


def test_a_document_carries_what_it_refers_to() -> None:
    """A Composition's reference that is in no entry is told at the reference."""
    missing = document(subject="urn:uuid:00000000-ec9a-4326-a141-556f43239520")

    assert found(document()) == []
    assert ("not-found", "Bundle.entry[0].resource.subject[0]") in found(missing)


def test_an_address_ends_with_the_id() -> None:
    """A RESTful fullUrl names the resource that stands beside it."""
    wrong = document()
    wrong["entry"][0]["fullUrl"] = "http://x.uz/fhir/Composition/other"

    assert [place for _, place in found(wrong)] == ["Bundle.entry[0].fullUrl"]


def test_a_page_of_a_search_says_what_it_is() -> None:
    """Links of a page stand once; an outcome is an OperationOutcome; what is found has an id."""
    self_ = {"relation": "self", "url": "http://x.uz/fhir/Patient"}

    def page(*links: dict[str, Any], mode: str = "match", **more: Any) -> dict[str, Any]:
        entry = {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
                 "search": {"mode": mode}, "resource": {"resourceType": "Patient", **more}}
        return {"resourceType": "Bundle", "type": "searchset", "link": list(links),
                "entry": [entry]}  # fmt: skip  # One look.

    assert found(page(self_, id="1")) == []
    assert found(page(self_, self_, id="1")) == [("structure", "Bundle.link[1]")]
    assert found(page(self_)) == [("required", "Bundle.entry[0].resource")]
    assert found(page(self_, mode="outcome", id="1")) == [
        ("structure", "Bundle.entry[0].resource")]  # fmt: skip  # One look.


QUESTIONS: dict[str, Any] = {
    "resourceType": "Questionnaire", "url": "https://x.uz/q", "status": "active", "item": [
        {"linkId": "smokes", "type": "boolean", "required": True},
        {"linkId": "much", "type": "integer", "required": True,
         "enableWhen": [{"question": "smokes", "operator": "=", "answerBoolean": True}]},
        {"linkId": "why", "type": "coding", "repeats": True, "answerOption": [
            {"valueCoding": {"system": "http://s", "code": "a"}},
            {"valueCoding": {"system": "http://s", "code": "b"}}]},
        {"linkId": "rest", "type": "group", "item": [
            {"linkId": "note", "type": "string", "maxLength": 3}]}],
}  # fmt: skip  # A record reads better filled.


def response(*items: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {"resourceType": "QuestionnaireResponse", "status": status,
            "questionnaire": "https://x.uz/q", "item": list(items)}  # fmt: skip  # One look.


def item(link: str, **answer: Any) -> dict[str, Any]:
    return {"linkId": link, "answer": [answer]}


NO, YES = item("smokes", valueBoolean=False), item("smokes", valueBoolean=True)
PLACE = "QuestionnaireResponse"


@pytest.mark.parametrize(("items", "issues"), [
    ((NO,), []),
    ((YES, item("much", valueInteger=3)), []),
    ((YES,), [("required", PLACE)]),
    ((NO, item("much", valueInteger=3)), [("structure", f"{PLACE}.item[1]")]),
    ((item("smokes", valueString="no"),), [("structure", f"{PLACE}.item[0].answer[0]")]),
    ((NO, item("why", valueCoding={"system": "http://s", "code": "b"})), []),
    ((NO, item("why", valueCoding={"system": "http://s", "code": "c"})),
     [("code-invalid", f"{PLACE}.item[1].answer[0]")]),
    ((NO, item("other", valueString="a")), [("not-found", f"{PLACE}.item[1]")]),
    ((NO, item("note", valueString="a")), [("structure", f"{PLACE}.item[1]")]),
    ((NO, {"linkId": "rest", "item": [item("note", valueString="long")]}),
     [("too-long", f"{PLACE}.item[1].item[0].answer[0]")]),
    ((item("why", valueCoding={"system": "http://s", "code": "b"}), NO),
     [("structure", f"{PLACE}.item[1]")]),
    (({"linkId": "smokes", "answer": [{"valueBoolean": True}, {"valueBoolean": False}]},
      item("much", valueInteger=1)), [("structure", f"{PLACE}.item[0]")]),
])  # fmt: skip  # A table.
def test_answers_fit_their_questions(items: Any, issues: Any) -> None:
    """Types, options, order, repeats, lengths and what is enabled are held, each at its place."""
    assert found(response(*items), QUESTIONS) == issues


def test_a_response_under_way_may_be_incomplete() -> None:
    """Required answers are asked of completed responses only."""
    assert found(response(YES, status="in-progress"), QUESTIONS) == []


def test_a_derived_questionnaire_asks_no_less() -> None:
    """What complies with another changes no type and drops no requirement."""
    mark = {"url": "http://hl7.org/fhir/StructureDefinition/questionnaire-derivationType",
            "valueCoding": {"code": "compliesWith"}}  # fmt: skip  # One look.
    derived = {
        **QUESTIONS, "url": "https://x.uz/d", "derivedFrom": ["https://x.uz/q"],
        "_derivedFrom": [{"extension": [mark]}],
        "item": [{"linkId": "smokes", "type": "string"}, {"linkId": "new", "type": "string"}],
    }  # fmt: skip  # A record reads better filled.

    assert found(derived, QUESTIONS) == [
        ("structure", "Questionnaire.item[0].type"),
        ("structure", "Questionnaire.item[0].required"),
        ("not-found", "Questionnaire.item[1]")]  # fmt: skip  # One look.


EXTENSION: dict[str, Any] = {
    "resourceType": "StructureDefinition", "url": "https://x.uz/e", "name": "E",
    "status": "active", "kind": "complex-type", "abstract": False, "type": "Extension",
    "derivation": "constraint", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
    "context": [{"type": "element", "expression": "HumanName"},
                {"type": "element", "expression": "Patient.contact"}],
    "differential": {"element": [
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "min": 1}]},
}  # fmt: skip  # A record reads better filled.


def test_an_extension_stands_where_its_definition_lets_it() -> None:
    """Contexts name elements and data types; elsewhere the extension is refused."""
    one = {"url": "https://x.uz/e", "valueString": "a"}
    record = {"resourceType": "Patient"}

    assert found({**record, "name": [{"text": "a", "extension": [one]}]}, EXTENSION) == []
    assert found({**record, "contact": [{"name": {"text": "a"}, "extension": [one]}]},
                 EXTENSION) == []  # fmt: skip  # One look.
    assert found({**record, "extension": [one]}, EXTENSION) == [
        ("structure", "Patient.extension[0]")]  # fmt: skip  # One look.
    assert found({**record, "name": [{"_text": {"extension": [one]}}]}, EXTENSION) == [
        ("structure", "Patient.name[0].text.extension[0]")]  # fmt: skip  # One look.


def test_a_short_name_is_that_of_a_part() -> None:
    """A part of an extension has a name that its definition fixes; others have an address."""
    parts = {**EXTENSION, "context": [{"type": "element", "expression": "Patient"}],
             "differential": {"element": [
                 {"id": "Extension.extension:a", "path": "Extension.extension", "sliceName": "a"},
                 {"id": "Extension.extension:a.url", "path": "Extension.extension.url",
                  "fixedUri": "a"}]}}  # fmt: skip  # One look.

    def record(url: str) -> dict[str, Any]:
        inner = {"url": url, "valueString": "x"}
        return {"resourceType": "Patient",
                "extension": [{"url": "https://x.uz/e", "extension": [inner]}]}  # fmt: skip

    assert found(record("a"), parts) == []
    assert found(record("b"), parts) == [("structure", "Patient.extension[0].extension[0]")]
    assert found({"resourceType": "Patient", "extension": [{"url": "a", "valueString": "x"}]}) == [
        ("value", "Patient.extension[0]")]  # fmt: skip  # One look.


def test_unknown_extensions_are_told_not_refused() -> None:
    """An unknown extension is an information, an unknown modifier a warning."""
    record = {"resourceType": "Patient", "extension": [{"url": "https://x.uz/n", "valueCode": "a"}],
              "modifierExtension": [{"url": "https://x.uz/m", "valueCode": "a"}]}  # fmt: skip
    issues = validate_with(msgspec.json.encode(record))

    assert [(each.severity, each.expression) for each in issues] == [
        ("information", "Patient.extension[0]"),
        ("warning", "Patient.modifierExtension[0]"),
    ]
