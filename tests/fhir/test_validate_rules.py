"""Base invariants: all are run or listed, and the short cuts agree with FHIRPath."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import astuple

from dmed.fhir import codec, path, validate
from dmed.fhir.facts import facts
from dmed.fhir.validate_checks import plan_of
from dmed.fhir.validate_presence import Known, decide, names_in
from dmed.fhir.validate_rules import NATIVE, NOT_RUN, UNDECIDED, expression_of
from dmed.fhir.validate_run import Run
from dmed.fhir.walk import structs

PERIODS = [
    ("2024-01-01", "2024-01-02"),
    ("2024-01-02", "2024-01-01"),
    ("2024", "2024-05-05"),
    ("2024-06", "2024-05"),
    ("2024-01-01T10:00:00+05:00", "2024-01-01T05:30:00Z"),
    ("2024-01-01T10:00:00+05:00", "2024-01-01T04:30:00Z"),
    ("2024-01-01T10:00:00Z", "2024-01-01T09:00:00Z"),
    ("2024-01-01T10:00:00.1Z", "2024-01-01T10:00:00.25Z"),
    ("2024-01-01T10:00:00Z", "2024-01-01"),
]


def broken(fields: dict[str, Any]) -> list[str]:
    """The sentences of a record's faults."""
    found = codec.decode(msgspec.json.encode(fields))
    return [issue.diagnostics for issue in validate.validate(found)]


def errors() -> list[tuple[str, Any]]:
    """(type, rule) of every rule of severity error."""
    return [
        (each.name, rule)
        for each in facts().types.values()
        for rule in each.invariants
        if rule.severity == "error"
    ]


def test_every_rule_runs_or_is_listed_with_its_reason():
    """Each base rule of severity error compiles, or stands in the table of those not run."""
    compiled = 0
    for type_name, rule in errors():
        if rule.key not in NOT_RUN:
            assert path.compile(expression_of(rule), type_name)
            compiled += 1
    assert compiled > 240


def test_the_tables_hold_no_dead_keys():
    """Every key of the tables is a rule of R5, and every reason is a sentence."""
    keys = {rule.key for _, rule in errors()}
    assert set(NOT_RUN) | set(UNDECIDED) | set(NATIVE) <= keys
    assert all(len(reason) > 20 for reason in NOT_RUN.values())


def test_the_page_lists_every_rule_that_is_not_run():
    """docs/reference/validation.md names each rule of the tables."""
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "reference" / "validation.md"
    text = page.read_text()
    assert [key for key in (*NOT_RUN, *UNDECIDED) if f"`{key}`" not in text] == []


def present_mask(plan: Any, value: Any) -> int:
    """The presence bits of a struct, as the checks compute them."""
    found = 0
    for item, mark in zip(astuple(value), plan.marks, strict=True):
        found |= mark if item is not UNSET else 0
    return found


def disagreements(resource: Any) -> list[str]:
    """Rules that presence settles otherwise than FHIRPath does."""
    found = []
    for where, value in structs(resource):
        plan = plan_of(value.fhir_type)
        for rule in plan.rules:
            known = rule.known(present_mask(plan, value))
            if known is Known.OPEN:
                continue
            test = path.compile(rule.expression, value.fhir_type).test
            if test(value, resource=resource, root=resource) is not (known is Known.TRUE):
                found.append(f"{where}: {rule.key}")
    return found


def test_presence_agrees_with_fhirpath(shared_data):
    """On the national examples, what presence settles is what FHIRPath says."""
    folder = shared_data / "uz-core" / "core" / "examples"
    checked = 0
    for file in sorted(folder.glob("*.json")):
        resource = codec.decode(file.read_bytes())
        if resource.fhir_type != "Bundle":
            assert disagreements(resource) == []
            checked += 1
    assert checked > 80


@pytest.mark.parametrize(
    ("expression", "present", "known"),
    [
        ("code.empty() or system.exists()", {"code"}, Known.FALSE),
        ("code.empty() or system.exists()", {"code", "system"}, Known.TRUE),
        ("code.empty() or system.exists()", set(), Known.TRUE),
        ("extension.exists() != value.exists()", {"code"}, Known.FALSE),
        ("code.exists() xor value.exists()", {"code"}, Known.TRUE),
        ("value.exists() implies value > 3", set(), Known.TRUE),
        ("value.exists() implies value > 3", {"value"}, Known.OPEN),
        ("code = 'x' or value.exists().not()", {"value"}, Known.NOTHING),
        ("Thing.code.exists()", {"code"}, Known.TRUE),
        ("%resource.code.exists()", set(), Known.OPEN),
        ("code.where(x = 1).empty() and code.y.empty()", set(), Known.TRUE),
        ("(code.count() + value.count()) > 0", set(), Known.OPEN),
    ],
)
def test_what_presence_tells(expression, present, known):
    """Presence settles rules about presence, and leaves values and other records open."""
    from dmed.fhir.path.parser import parse

    node = parse(expression)
    fields = {"code", "system", "value", "extension"}
    assert names_in(node, "Thing") <= fields
    found = decide(node, "Thing", lambda name: name in present if name in fields else None)
    assert found is known


@pytest.mark.parametrize(("start", "end"), PERIODS)
def test_the_quick_period_rule_agrees_with_fhirpath(start, end):
    """per-1 in Python refuses exactly what FHIRPath finds untrue."""
    value = codec.decode(msgspec.json.encode({"start": start, "end": end}), "Period")
    [rule] = [r for _, r in errors() if r.key == "per-1"]
    holds = path.compile(rule.expression, "Period").test(value)
    assert (NATIVE["per-1"](value, Run(value)) == "") is (holds is not False)


@pytest.mark.parametrize("system", ["http://terminology.hl7.org/CodeSystem/condition-clinical", ""])
@pytest.mark.parametrize("codes", [[], ["resolved"], ["active"], ["active", "remission"], [""]])
@pytest.mark.parametrize("abated", [{}, {"abatementString": "x"}])
def test_rules_of_conditions_agree_with_fhirpath(system, codes, abated):
    """con-3 in Python says what its FHIRPath says, of any coding of the status."""
    codings = [{"display": "x"} | ({"system": system} if system else {}) |
               ({"code": code} if code else {}) for code in codes]
    status = {"clinicalStatus": {"coding": codings}} if codings else {}
    value = codec.decode(msgspec.json.encode(
        {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, **status, **abated}))
    [rule] = [r for _, r in errors() if r.key == "con-3"]
    holds = path.compile(rule.expression, "Condition").test(value)

    assert (NATIVE["con-3"](value, Run(value)) == "") is holds


@pytest.mark.parametrize(
    ("contained", "subject"),
    [
        ([{"id": "p"}], "#p"),
        ([{"id": "p"}], "Patient/1"),
        ([{"id": "p"}, {"id": "q"}], "#p"),
        ([{"id": "p", "link": [{"other": {"reference": "#"}, "type": "refer"}]}], "Patient/1"),
        ([{"id": "p", "implicitRules": "#q"}, {"id": "q"}], "#p"),
        ([{"id": "p"}], "#other"),
    ],
)
def test_rules_of_contained_records_agree_with_fhirpath(contained, subject):
    """dom-3 and ref-1 in Python say what their FHIRPath says."""
    fields = {
        "resourceType": "Encounter",
        "status": "planned",
        "contained": [{"resourceType": "Patient", **each} for each in contained],
        "subject": {"reference": subject},
    }
    resource = codec.decode(msgspec.json.encode(fields))
    run = Run(resource)
    [dom_3] = [r for _, r in errors() if r.key == "dom-3"]
    [ref_1] = [r for _, r in errors() if r.key == "ref-1"]
    wanted = path.compile(dom_3.expression, "Encounter").test(resource)
    assert (NATIVE["dom-3"](resource, run) == "") is wanted
    wanted = path.compile(ref_1.expression, "Reference").test(
        resource.subject, resource=resource, root=resource
    )
    assert (NATIVE["ref-1"](resource.subject, run) == "") is wanted


def test_rules_that_values_decide():
    """A rule that FHIRPath must evaluate is broken with its key and text."""
    base = {"resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "a"}]}}
    component = [{"code": {"coding": [{"code": "a"}]}, "valueString": "x"}]
    assert broken({**base, "component": component}) == []
    [sentence] = broken({**base, "component": component, "valueString": "x"})
    assert "obs-7" in sentence


def test_rules_that_presence_decides():
    """A rule about presence alone is broken with the path of its element."""
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    [sentence] = broken({**base, "valueQuantity": {"value": 1, "code": "mg"}})
    assert sentence.startswith("Observation.valueQuantity: the rule qty-3 is broken")
    [sentence] = broken({**base, "extension": [{"url": "http://x.uz"}]})
    assert sentence.startswith("Observation.extension[0]: the rule ext-1 is broken")


def test_rules_on_plain_fields_and_in_derived_types():
    """A rule on a plain field is asked of its values, and Age keeps the rules of Quantity."""
    definition = {
        "resourceType": "StructureDefinition",
        "url": "http://x.uz",
        "name": "X",
        "status": "draft",
        "kind": "logical",
        "abstract": False,
        "type": "X",
        "differential": {"element": [{"id": "X", "path": "X", "max": "-1"}]},
    }
    assert any("eld-3" in sentence for sentence in broken(definition))
    condition = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/1"},
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "active",
                }
            ]
        },
    }
    age = {"value": -3, "code": "a", "system": "http://unitsofmeasure.org"}
    [sentence] = broken({**condition, "onsetAge": age})
    assert "age-1" in sentence
    assert any("qty-3" in s for s in broken({**condition, "onsetAge": {"value": 3, "code": "a"}}))


def test_warnings_are_no_faults():
    """A record without narrative breaks dom-6, which only advises."""
    assert broken({"resourceType": "Patient"}) == []


def test_resources_in_bundles_are_their_own_roots():
    """A local reference is looked up in the entry's resource, not in the Bundle."""
    encounter = {
        "resourceType": "Encounter",
        "status": "planned",
        "contained": [{"resourceType": "Patient", "id": "p"}],
        "subject": {"reference": "#p"},
    }
    entry = {"fullUrl": "http://x.uz/fhir/Encounter/1", "resource": encounter}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    assert broken(bundle) == []
    del encounter["contained"]
    [sentence] = broken(bundle)
    assert sentence.startswith("Bundle.entry[0].resource.subject")


@given(codes=st.lists(st.sampled_from("abcde"), min_size=1, max_size=7),
       shape=st.lists(st.integers(0, 2), min_size=7, max_size=7))
@settings(max_examples=80, deadline=None)
def test_csd_1_agrees_with_its_expression(codes: list[str], shape: list[int]) -> None:
    """The quick rule for unique codes says what the specification's FHIRPath says."""
    top: list[dict[str, object]] = []
    level = [top, top, top]
    for code, depth in zip(codes, shape, strict=False):
        concept: dict[str, object] = {"code": code, "concept": []}
        level[depth].append(concept)
        level[min(depth + 1, 2)] = concept["concept"]
    resource = codec.decode(json.dumps(_pruned(
        {"resourceType": "CodeSystem", "status": "active", "content": "complete",
         "concept": top})).encode())
    [csd_1] = [rule for rule in facts().types["CodeSystem"].invariants if rule.key == "csd-1"]
    wanted = path.compile(csd_1.expression, "CodeSystem").test(resource)

    assert (NATIVE["csd-1"](resource, Run(resource)) == "") is (wanted is not False)


def _pruned(value: object) -> object:
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if each != []}
    return [_pruned(each) for each in value] if isinstance(value, list) else value
