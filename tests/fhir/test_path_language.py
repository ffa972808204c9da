"""FHIRPath over our structs: navigation, types, logic, and what R5's own rules need."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, path
from dmed.fhir.facts import facts
from dmed.fhir.path.model import steps


def record(body: dict[str, Any]) -> Any:
    """A struct from plain JSON."""
    return codec.decode(msgspec.json.encode(body))


PATIENT = record(
    {
        "resourceType": "Patient",
        "id": "p1",
        "contained": [{"resourceType": "Organization", "id": "clinic", "name": "Klinika 7"}],
        "active": True,
        "name": [
            {"use": "official", "family": "Karimova", "given": ["Dilnoza", "Aziza"]},
            {"use": "nickname", "given": ["Dilya"]},
        ],
        "birthDate": "1990-05-17",
        "_birthDate": {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                    "valueDateTime": "1990-05-17T06:30:00+05:00",
                }
            ]
        },
        "deceasedBoolean": False,
        "generalPractitioner": [
            {"reference": "Practitioner/d1"},
            {"reference": "#clinic"},
            {"type": "Organization", "display": "Elsewhere"},
        ],
        "managingOrganization": {"reference": "https://other.example/fhir/Organization/9"},
    }
)
OBSERVATION = record(
    {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "effectiveDateTime": "2024-03-01",
        "valueQuantity": {
            "value": 120,
            "unit": "mmHg",
            "system": "http://unitsofmeasure.org",
            "code": "mm[Hg]",
        },
    }
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Patient.name.given", ["Dilnoza", "Aziza", "Dilya"]),
        ("name.where(use = 'official').given.first()", ["Dilnoza"]),
        ("name[1].given", ["Dilya"]),
        ("name[7].given", []),
        ("name.select(given.count())", [2, 1]),
        ("name.select($index)", [0, 1]),
        ("name.given.aggregate($total & $this.substring(0, 1), '')", ["DAD"]),
        ("birthDate.extension(%`ext-patient-birthTime`).value", ["1990-05-17T06:30:00+05:00"]),
        ("birthDate = @1990-05-17", [True]),
        ("birthDate = @1990-05", []),
        ("birthDate + 1 year > @1991-05-16", [True]),
        ("deceased is boolean", [True]),
        ("deceased.ofType(dateTime)", []),
        ("Patient.deceased.exists() and Patient.deceased != false", [False]),
        ("generalPractitioner.where(resolve() is Practitioner).reference", ["Practitioner/d1"]),
        ("generalPractitioner.where(resolve() is Organization).count()", [2]),
        ("generalPractitioner.resolve().ofType(Organization).name", ["Klinika 7"]),
        ("managingOrganization.resolve() is Organization", [True]),
        ("contained.name", ["Klinika 7"]),
        ("%resource.id", ["p1"]),
        ("name.given.join('-')", ["Dilnoza-Aziza-Dilya"]),
        ("(1 | 2 | 2 | 3).count()", [3]),
        ("name.given contains 'Aziza'", [True]),
        ("iif(active, 'yes', 'no')", ["yes"]),
        ("{} and false", [False]),
        ("{} or true", [True]),
        ("({} implies false)", []),
        ("5 div 2 + 5 mod 2", [3]),
        ("1 / 4", [Decimal("0.25")]),
        ("'a' & {} & 'b'", ["ab"]),
        ("1000 'mg' = 1 'g'", [True]),
        ("name.repeat(given)", ["Dilnoza", "Aziza", "Dilya"]),
        ("gender.empty()", [True]),
        ("photo.data.hasValue()", [False]),
        ("text.`div`.htmlChecks()", []),
    ],
)
def test_expressions_on_a_patient(expression: str, expected: list[Any]) -> None:
    """Each expression gives exactly the values that the specification says."""
    assert path.compile(expression, "Patient")(PATIENT) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Observation.value.ofType(Quantity).value", [Decimal(120)]),
        ("value.as(string)", []),
        ("(value as Quantity).unit", ["mmHg"]),
        ("value > 100 'mm[Hg]'", [True]),
        ("value < 10 'kPa'", [False]),
        ("value.code = 'mm[Hg]'", [True]),
        ("effective <= today()", [True]),
        ("effective is dateTime", [True]),
        ("code.coding.exists(system = 'http://loinc.org' and code = '8480-6')", [True]),
    ],
)
def test_expressions_on_an_observation(expression: str, expected: list[Any]) -> None:
    """Choice elements are reached by their one name, with and without their type."""
    assert path.compile(expression, "Observation")(OBSERVATION) == expected


def test_types_come_with_values() -> None:
    """`typed` names the FHIR type also where the plain value cannot show it."""
    found = path.compile("birthDate | deceased | name.first().family | 1", "Patient").typed(PATIENT)

    assert found == [
        ("date", "1990-05-17"),
        ("boolean", False),
        ("string", "Karimova"),
        ("System.Integer", 1),
    ]


def test_condition_has_three_answers() -> None:
    """`test` answers true, false, or neither."""
    answers = [
        path.compile(text, "Patient").test(PATIENT) for text in ("active", "1 = 2", "gender")
    ]

    assert answers == [True, False, None]


def test_primitive_without_value_is_an_element() -> None:
    """A primitive that has extensions alone is counted, but has no value."""
    patient = record(
        {
            "resourceType": "Patient",
            "name": [{"given": [None, "Olim"], "_given": [{"id": "x"}, None]}],
        }
    )

    assert path.compile("name.given.select(hasValue())", "Patient")(patient) == [False, True]
    assert path.compile("name.given.count()", "Patient")(patient) == [2]
    assert path.compile("name.given.id", "Patient")(patient) == ["x"]


def test_focus_inside_a_record() -> None:
    """With an element as focus, %resource is the record that holds it."""
    compiled = path.compile("given.first() & ' ' & %resource.id", "HumanName")

    assert compiled.evaluate(PATIENT.name[0], resource=PATIENT) == ["Dilnoza p1"]


def test_variables_are_filled_by_the_caller() -> None:
    """Names given to compile are filled at each evaluation."""
    compiled = path.compile("name.given.where($this = %wanted)", "Patient", variables=("wanted",))

    assert compiled.evaluate(PATIENT, variables={"wanted": ["Aziza"]}) == ["Aziza"]
    assert compiled.evaluate(PATIENT) == []


def test_hooks_answer_for_the_outside() -> None:
    """resolve() and memberOf() ask the hooks for what the record does not hold."""

    class Outside(path.NoHooks):
        def resolve(self, address: str) -> Any:
            return record({"resourceType": "Practitioner", "id": address.rpartition("/")[2]})

        def member_of(self, item: Any, value_set: str) -> bool | None:
            return item is not None and value_set.endswith("/vital")

    resolved = path.compile("generalPractitioner.first().resolve().id", "Patient")
    member = path.compile("code.memberOf('https://example.org/vital')", "Observation")

    assert resolved.evaluate(PATIENT, hooks=Outside()) == ["d1"]
    assert member.test(OBSERVATION, hooks=Outside()) is True
    assert member.test(OBSERVATION) is None


@pytest.mark.parametrize(
    "expression", ["name.given = 'a' and name.single()", "name.given.substring(1)", "1 < 'a'"]
)
def test_wrong_values_are_execution_errors(expression: str) -> None:
    """Several items where one is allowed, and types without order, are named errors."""
    patient = record({"resourceType": "Patient", "name": [{"given": ["a"]}, {"given": ["b", "c"]}]})
    with pytest.raises(path.PathExecutionError):
        path.compile(f"({expression}) or name.given.substring(0, 1) = 'x'", "Patient")(patient)


def _focus_type(where: str) -> str:
    """The type of the element that an invariant stands on."""
    if where in facts().types:
        return where
    owner, _, name = where.rpartition(".")
    found = steps(owner, name.removesuffix("[x]"))
    return found[0].type if len(found) == 1 else ""


def test_every_base_invariant_compiles_strictly() -> None:
    """Each rule of R5 compiles with static types, so no name in it is unknown to us."""
    rules = {
        (rule.expression, _focus_type(rule.path))
        for each in facts().types.values()
        for rule in each.invariants
    }

    for expression, type_name in sorted(rules):
        path.compile(expression, type_name, strict=True)
    assert len(rules) > 290


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="Patient.name()'\"[]|&=<>!~ 0123$%`{},+-*/@T:", max_size=40))
def test_any_text_is_an_expression_or_a_named_error(text: str) -> None:
    """No text makes the compiler fail in any other way than with its own errors."""
    with contextlib.suppress(path.PathError):
        path.compile(text, "Patient")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8))
def test_union_keeps_first_of_equals(given_names: list[str]) -> None:
    """A union holds each value once, in the order of first appearance."""
    name = {"family": "x", **({"given": given_names} if given_names else {})}
    patient = record({"resourceType": "Patient", "name": [name]})

    found = path.compile("name.given | {}", "Patient")(patient)

    assert found == list(dict.fromkeys(given_names))


@settings(max_examples=100, deadline=None)
@given(st.booleans() | st.none(), st.booleans() | st.none())
def test_logic_is_that_of_kleene(left: bool | None, right: bool | None) -> None:
    """and, or, implies follow from not and or, with neither as the third value."""

    def word(value: bool | None) -> str:
        return "{}" if value is None else str(value).lower()

    def test(text: str) -> bool | None:
        return path.compile(text.format(word(left), word(right)), "Patient").test(PATIENT)

    assert test("({}) and ({})") == test("((({}).not()) or (({}).not())).not()")
    assert test("({}) implies ({})") == test("(({}).not()) or ({})")


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("(1.5 | 2).sum()", ["3.5"]),
        ("{}.sum()", []),
        ("(0 'kg' | 500 'g').sum()", ["500 'g'"]),
        ("(1 'm' | 3 's').max()", []),
        ("(3 | 1 | 2).min()", ["1"]),
        ("('b' | 'a').max()", ["b"]),
        ("(@2014 | @2015).max()", ["2015"]),
        ("(5.5 | 4.7 | 4.8).avg()", ["5.0"]),
        ("@2014-01-05T10:30:15.250-07:30.timezoneOffsetOf()", ["-7.5"]),
        ("@2014-01-05T10:30:15.250.millisecondOf()", ["250"]),
        ("@T10:30:15.250.secondOf()", ["15"]),
        ("@T10:30.yearOf()", []),
        ("@2014.monthOf()", []),
        ("@2014-01-05T10:30:15.250.timeOf()", ["10:30:15.250"]),
        ("@2014-01-05T10:30:15.dateOf()", ["2014-01-05"]),
        ("'x'.yearOf()", []),
        ("birthDate.yearOf()", ["1990"]),
        ("1 'h' + 30 'min'", ["90 'min'"]),
        ("0 'kg' - 500 'g'", ["-500 'g'"]),
    ],
)
def test_totals_and_parts_of_dates(expression: str, wanted: list[str]) -> None:
    """What FHIRPath 3.0 adds: totals, parts of dates; quantities meet in the first one's unit."""
    assert [str(each) for each in path.compile(expression, "Patient")(PATIENT)] == wanted


def test_modifiers_that_nobody_knows_are_an_error() -> None:
    """checkModifiers() lets what has none or named ones through, and refuses any other."""
    body = {"resourceType": "Patient",
            "modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}  # fmt: skip  # Short.
    modified = record(body)

    assert path.compile("checkModifiers('urn:x').exists()", "Patient").test(modified) is True
    assert path.compile("checkModifiers().exists()", "Patient").test(PATIENT) is True
    with pytest.raises(path.PathExecutionError, match="urn:x"):
        path.compile("checkModifiers('urn:y')", "Patient")(modified)


def test_subsumption_is_asked_of_hooks_that_know_it() -> None:
    """subsumes() and subsumedBy() ask the same question from both ends; unknown is empty."""

    class Tree(path.NoHooks):
        def subsumes(self, one: Any, other: Any) -> bool | None:
            return one.code == "animal" and other.code in {"animal", "dog"}

    concept = {"coding": [{"code": "animal"}, {"code": "dog"}]}
    patient = record({"resourceType": "Patient", "maritalStatus": concept})
    first, second = "maritalStatus.coding[0]", "maritalStatus.coding[1]"

    def asked(text: str, hooks: Any) -> bool | None:
        return path.compile(text, "Patient").test(patient, hooks=hooks)

    assert asked(f"{first}.subsumes(%resource.{second})", Tree()) is True
    assert asked(f"{second}.subsumes(%resource.{first})", Tree()) is False
    assert asked(f"{second}.subsumedBy(%resource.{first})", Tree()) is True
    assert asked(f"{second}.subsumedBy(%resource.{first})", path.NoHooks()) is None
