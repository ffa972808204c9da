"""JSON Patch, merge patch and FHIRPath Patch keep their standards, and digits and order."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmed.apps.conformance import patch as suites
from dmed.fhir import codec
from dmed.fhir.patch import (
    Patch,
    PatchError,
    fhirpath_patch,
    json_patch,
    merge_patch,
    patch_of,
)
from dmed.fhir.patch.document import is_equal
from dmed.kit.errors import DmedError, InvalidError, MediaTypeError

MISPRINT = "reference: string has no attribute 'reference'"
"""One case of the suite writes <reference reference="..."/>, which is no FHIR XML."""


def test_the_suite_of_fhirpath_patch(shared_data: Path) -> None:
    """Every case of FHIR's own suite passes but the one whose XML is broken."""
    verdicts = list(suites.fhirpath_verdicts(shared_data / "conformance/patch-r5"))
    assert len(verdicts) == 23
    failed = [each for each in verdicts if each.reason and MISPRINT not in each.reason]
    assert failed == []


def test_the_suite_of_json_patch(shared_data: Path) -> None:
    """Every case of the RFC's suite passes."""
    verdicts = list(suites.json_verdicts(shared_data / "conformance/patch-r5"))
    assert [each for each in verdicts if each.reason] == []
    assert len(verdicts) == 11


# JSON Patch --------------------------------------------------------------------------------


def operations(*given: dict[str, Any]) -> bytes:
    """A JSON Patch."""
    return json.dumps(given).encode()


def test_order_and_digits_are_kept() -> None:
    """What a patch does not touch keeps its place and its digits."""
    body = b'{"b":1.500,"a":[1,2.0,1e2],"c":12345678901234567890.10}'
    patch = b'[{"op":"add","path":"/z","value":0.10},{"op":"replace","path":"/a/0","value":7.00}]'
    assert json_patch(body, patch) == (
        b'{"b":1.500,"a":[7.00,2.0,1E+2],"c":12345678901234567890.10,"z":0.10}'
    )


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ({"op": "remove", "path": "/x"}, PatchError),
        ({"op": "remove", "path": ""}, PatchError),
        ({"op": "replace", "path": "/list/2", "value": 1}, PatchError),
        ({"op": "replace", "path": "/list/-", "value": 1}, PatchError),
        ({"op": "add", "path": "/list/3", "value": 1}, PatchError),
        ({"op": "add", "path": "/list/01", "value": 1}, PatchError),
        ({"op": "add", "path": "/text/x", "value": 1}, PatchError),
        ({"op": "test", "path": "/flag", "value": 1}, PatchError),
        ({"op": "test", "path": "/list", "value": [2, 1]}, PatchError),
        ({"op": "move", "from": "/deep", "path": "/deep/a/b"}, PatchError),
        ({"op": "copy", "from": "/none", "path": "/x"}, PatchError),
        ({"op": "spy", "path": "/x"}, InvalidError),
        ({"op": "add", "path": "/x"}, InvalidError),
        ({"op": "add", "path": "x", "value": 1}, InvalidError),
        ({"op": "add", "path": "/a~2", "value": 1}, InvalidError),
        ({"op": "copy", "path": "/x"}, InvalidError),
        ({"path": "/x", "value": 1}, InvalidError),
    ],
)
def test_what_does_not_fit_or_is_broken_is_refused(
    operation: dict[str, Any], error: type[DmedError]
) -> None:
    """A patch that breaks the RFC is 400, one that does not fit the document 422."""
    body = b'{"list":[1,2],"text":"t","flag":true,"deep":{"a":{}}}'
    with pytest.raises(error):
        json_patch(body, operations(operation))


def test_the_operations_that_fit() -> None:
    """Whole documents, ends of arrays, numbers by value, moves onto itself, escaped names."""
    body = b'{"list":[1,2],"a/b":1,"m~n":2,"o":{"x":1,"y":2}}'
    steps = (
        {"op": "test", "path": "/list/0", "value": 1.0},
        {"op": "test", "path": "/o", "value": {"y": 2, "x": 1}},
        {"op": "add", "path": "/list/-", "value": 3},
        {"op": "add", "path": "/list/0", "value": 0},
        {"op": "copy", "from": "/a~1b", "path": "/m~0n"},
        {"op": "move", "from": "/o", "path": "/o"},
        {"op": "move", "from": "/list/0", "path": "/list/3"},
        {"op": "test", "path": "/list", "value": [1, 2, 3, 0]},
    )
    made = json.loads(json_patch(body, operations(*steps)))
    assert made == {"list": [1, 2, 3, 0], "a/b": 1, "m~n": 1, "o": {"x": 1, "y": 2}}
    assert json_patch(body, operations({"op": "replace", "path": "", "value": []})) == b"[]"


def test_a_patch_cannot_fill_the_memory() -> None:
    """Copies that double the document, and too many operations, end in a refusal."""
    double = [{"op": "copy", "from": "", "path": path} for path in ("/a", "/b")] * 20
    with pytest.raises(InvalidError, match="copies"):
        json_patch(b'{"a":1}', operations(*double))
    many = [{"op": "add", "path": "/a", "value": 1}] * 1001
    with pytest.raises(InvalidError, match="at most"):
        json_patch(b"{}", operations(*many))


@pytest.mark.parametrize(
    "body", [b"", b"[", b"\xff", b'{"a":1,"a":2}', b"[NaN]", b"[" * 100_000, b'{"op":"add"}']
)
def test_broken_patches_are_the_callers_fault(body: bytes) -> None:
    """Whatever the bytes are, the answer is InvalidError."""
    with pytest.raises(InvalidError):
        json_patch(b"{}", body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab/~", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def _difference(old: Any, new: Any, path: str = "") -> list[dict[str, Any]]:
    """A JSON Patch that makes `new` of `old`, found the simple way."""
    if is_equal(old, new):
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [{"op": "replace", "path": path, "value": new}]
    made: list[dict[str, Any]] = []
    for name in old.keys() | new.keys():
        place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in new:
            made.append({"op": "remove", "path": place})
        elif name not in old:
            made.append({"op": "add", "path": place, "value": new[name]})
        else:
            made += _difference(old[name], new[name], place)
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_JSON, _JSON)
def test_a_difference_makes_one_of_the_other(old: Any, new: Any) -> None:
    """Patching by the difference of two documents gives the other one."""
    patch = operations(*_difference(old, new))
    assert json.loads(json_patch(json.dumps(old).encode(), patch)) == new


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(each) for name, each in value.items() if each is not None}
    return value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_JSON, _JSON)
def test_merging_is_the_rfcs_own_rule(old: Any, patch: Any) -> None:
    """Merge patch agrees with RFC 7396's pseudo code, and twice is as once."""

    def rule(target: Any, change: Any) -> Any:
        if not isinstance(change, dict):
            return change
        kept = dict(target) if isinstance(target, dict) else {}
        for name, value in change.items():
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = rule(kept.get(name), value)
        return kept

    body, change = json.dumps(old).encode(), json.dumps(patch).encode()
    once = merge_patch(body, change)
    assert json.loads(once) == rule(old, patch)
    assert merge_patch(once, change) == once


# FHIRPath Patch ----------------------------------------------------------------------------


def part(name: str, **value: Any) -> dict[str, Any]:
    """A part of Parameters."""
    return {"name": name, **value}


def parameters(*wanted: dict[str, Any]) -> bytes:
    """FHIRPath Patch; each operation is {type, path, ...} with parts as they are."""
    made = []
    for one in wanted:
        parts = [part("type", valueCode=one["type"]), part("path", valueString=one["path"])]
        parts += [part("name", valueString=one["name"])] if "name" in one else []
        parts += [part("value", **one["value"])] if "value" in one else []
        parts += [part(key, valueInteger=one[key])
                  for key in ("index", "source", "destination") if key in one]  # fmt: skip
        made.append({"name": "operation", "part": parts})
    listed = {"parameter": made} if made else {}
    return json.dumps({"resourceType": "Parameters", **listed}).encode()


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Old"}],
    "extension": [{"url": "http://x/e", "valueDecimal": 1.50}],
    "identifier": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
    "name": [
        {"use": "official", "family": "Karimova", "given": ["Nodira", "Zilola", "Malika"],
         "_given": [None, {"id": "second"}, None]},
        {"use": "usual", "text": "Nodira"},
    ],
    "birthDate": "1980-01-02",
    "_birthDate": {"extension": [{"url": "http://x/t", "valueString": "noon"}]},
    "deceasedBoolean": False,
    "managingOrganization": {"reference": "#o"},
}  # fmt: skip


def patched(*wanted: dict[str, Any], of: dict[str, Any] = PATIENT) -> dict[str, Any]:
    """The record after the operations."""
    made: dict[str, Any] = json.loads(fhirpath_patch(json.dumps(of).encode(), parameters(*wanted)))
    return made


def test_primitives_and_their_extensions_move_together() -> None:
    """Entries of a list of primitives keep their ids when others come, go or move."""
    given = "Patient.name[0].given"
    moved = patched({"type": "move", "path": given, "source": 1, "destination": 0})["name"][0]
    assert moved["given"] == ["Zilola", "Nodira", "Malika"]
    assert moved["_given"] == [{"id": "second"}, None, None]
    fewer = patched({"type": "delete", "path": f"{given}[0]"})["name"][0]
    assert (fewer["given"], fewer["_given"]) == (["Zilola", "Malika"], [{"id": "second"}, None])
    more = patched({"type": "insert", "path": given, "index": 1, "value": {"valueString": "X"}})
    assert more["name"][0]["given"] == ["Nodira", "X", "Zilola", "Malika"]
    assert more["name"][0]["_given"] == [None, None, {"id": "second"}, None]
    plain = patched({"type": "replace", "path": f"{given}[1]", "value": {"valueString": "Z"}})
    assert "_given" not in plain["name"][0]


def test_places_are_found_by_criteria_and_functions() -> None:
    """where, first, last, extension, ofType, resolve of contained resources, unions."""
    for path, change in (
        ("Patient.name.where(use = 'usual').text", lambda made: made["name"][1]["text"]),
        ("Patient.name.where(text.exists()).text", lambda made: made["name"][1]["text"]),
        ("Patient.name.first().family", lambda made: made["name"][0]["family"]),
        ("name.last().text", lambda made: made["name"][1]["text"]),
        ("Patient.name[0].given.last()", lambda made: made["name"][0]["given"][2]),
        ("Patient.name.where($this.use = 'usual').text", lambda made: made["name"][1]["text"]),
        ("Patient.contained.where(id = 'o').name", lambda made: made["contained"][0]["name"]),
        ("Patient.managingOrganization.resolve().name",
         lambda made: made["contained"][0]["name"]),
        ("Patient.birthDate.extension('http://x/t').value.ofType(string)",
         lambda made: made["_birthDate"]["extension"][0]["valueString"]),
        ("(Patient.name[1].text | Patient.name[1].text)", lambda made: made["name"][1]["text"]),
        ("%resource.name[1].text", lambda made: made["name"][1]["text"]),
    ):  # fmt: skip
        made = patched({"type": "replace", "path": path, "value": {"valueString": "New"}})
        assert change(made) == "New", path


def test_choices_change_their_type() -> None:
    """Replacing a choice by a value of another of its types leaves one of them."""
    value = {"valueDateTime": "2026-01-01"}
    made = patched({"type": "replace", "path": "Patient.deceased", "value": value})
    assert made["deceasedDateTime"] == "2026-01-01"
    assert "deceasedBoolean" not in made
    with pytest.raises(PatchError, match="already"):
        patched({"type": "add", "path": "Patient", "name": "deceased", "value": value})
    with pytest.raises(PatchError, match="does not fit"):
        patched({"type": "replace", "path": "Patient.deceased", "value": {"valueString": "x"}})


def test_extensions_come_onto_primitives() -> None:
    """Add makes the Element of a primitive where there is none; delete takes it away again."""
    parts = {"part": [part("url", valueUri="http://x/n"), part("value", valueDecimal=0.10)]}
    add = {"type": "add", "path": "Patient.name[0].family", "name": "extension", "value": parts}
    made = patched(add)
    assert made["name"][0]["_family"] == {"extension": [{"url": "http://x/n", "valueDecimal": 0.1}]}
    gone = {"type": "delete", "path": "Patient.name[0].family.extension[0]"}
    assert patched(add, gone) == patched()
    assert "_birthDate" not in patched({"type": "delete", "path": "Patient.birthDate.extension"})


def test_contained_resources_and_backbones_are_added() -> None:
    """A part may hold a resource, or parts of its own for types without a name."""
    inner = {"resourceType": "Organization", "id": "o2"}
    made = patched(
        {"type": "add", "path": "Patient", "name": "contained", "value": {"resource": inner}},
        {"type": "add", "path": "Patient", "name": "link", "value": {"part": [
            part("other", valueReference={"reference": "Patient/q"}),
            part("type", valueCode="seealso")]}},
    )  # fmt: skip
    assert made["contained"][1] == inner
    assert made["link"] == [{"other": {"reference": "Patient/q"}, "type": "seealso"}]


def test_what_is_emptied_goes() -> None:
    """Deleting the last things of an element takes the element, at the end of all operations."""
    delete = {"type": "delete", "path": "Patient.managingOrganization.reference"}
    assert "managingOrganization" not in patched(delete)
    again = {"type": "add", "path": "Patient.managingOrganization", "name": "display",
             "value": {"valueString": "New"}}  # fmt: skip
    assert patched(delete, again)["managingOrganization"] == {"display": "New"}
    assert patched({"type": "delete", "path": "Patient.photo"}) == patched()


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"type": "delete", "path": "Patient.name"}, "2 elements"),
        ({"type": "delete", "path": "Patient"}, "DELETE"),
        ({"type": "replace", "path": "Patient", "value": {"valueString": "x"}}, "PUT"),
        ({"type": "replace", "path": "Patient.photo", "value": {"valueString": "x"}}, "no content"),
        ({"type": "add", "path": "Patient", "name": "shoe", "value": {"valueString": "x"}},
         "no element"),
        ({"type": "add", "path": "Patient.name[1].text", "name": "x", "value": {"valueCode": "x"}},
         "no element"),
        ({"type": "insert", "path": "Patient.name", "index": 3, "value": {"valueHumanName":
         {"text": "x"}}}, "no place 3"),
        ({"type": "insert", "path": "Patient.birthDate", "index": 0, "value": {"valueDate":
         "2020"}}, "no list"),
        ({"type": "move", "path": "Patient.name", "source": 0, "destination": 2}, "2 entries"),
        ({"type": "add", "path": "Observation", "name": "status", "value": {"valueCode": "final"}},
         "not Observation"),
        ({"type": "replace", "path": "Patient.name[0].text.length()", "value":
         {"valueInteger": 1}}, "no content"),
    ],
)  # fmt: skip
def test_operations_that_do_not_fit_say_why(operation: dict[str, Any], why: str) -> None:
    """PatchError names the operation, its path and what is wrong."""
    with pytest.raises(PatchError, match=why) as told:
        patched(operation)
    assert str(told.value).startswith(f"Operation 0 ({operation['type']} ")


@pytest.mark.parametrize(
    "operation",
    [
        {"type": "spoil", "path": "Patient"},
        {"type": "add", "path": "Patient", "value": {"valueString": "x"}},
        {"type": "move", "path": "Patient.name", "source": 0},
        {"type": "move", "path": "Patient.name", "source": -1, "destination": 0},
        {"type": "delete", "path": "Patient.name.where("},
        {"type": "delete", "path": "Patient.name.where(family.matches('(a*)*b'))"},
        {"type": "delete", "path": "Patient.repeat(name)"},
        {"type": "delete", "path": "Patient.name.where(%resource.name.exists())"},
        {"type": "delete", "path": "x" * 2001},
    ],
)
def test_broken_and_endless_patches_are_the_callers_fault(operation: dict[str, Any]) -> None:
    """InvalidError for wrong Parameters, and for paths that could run for ever."""
    with pytest.raises(InvalidError):
        patched(operation)


@st.composite
def _lists(draw: st.DrawFn) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    """Values, random operations on the list of them, and what a plain list becomes by these."""
    values = draw(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6))
    model = list(values)
    wanted: list[dict[str, Any]] = []
    path = "Patient.name.given"
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["insert", "move", "replace", "delete", "add"]))
        at = draw(st.integers(0, max(0, len(model) - 1)))
        value = {"valueString": f"n{number}"}
        if kind == "insert":
            wanted.append({"type": kind, "path": path, "index": at, "value": value})
            model.insert(at, f"n{number}")
        elif kind == "add" or not model:
            where = "Patient.name[0]"
            wanted.append({"type": "add", "path": where, "name": "given", "value": value})
            model.append(f"n{number}")
        elif kind == "move":
            to = draw(st.integers(0, len(model) - 1))
            wanted.append({"type": kind, "path": path, "source": at, "destination": to})
            model.insert(to, model.pop(at))
        elif kind == "replace":
            wanted.append({"type": kind, "path": f"{path}[{at}]", "value": value})
            model[at] = f"n{number}"
        else:
            wanted.append({"type": kind, "path": f"{path}[{at}]"})
            del model[at]
    return values, wanted, model


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_lists())
def test_lists_change_as_plain_lists_do(case: Any) -> None:
    """Random inserts, moves, replacements and deletions agree with a Python list."""
    values, wanted, model = case
    record = {"resourceType": "Patient", "name": [{"use": "usual", "given": values}]}
    assert patched(*wanted, of=record)["name"][0].get("given", []) == model


_PATHS = st.sampled_from([
    "Patient", "Patient.name", "Patient.name[0]", "name.given", "Patient.name.given[1]",
    "Patient.birthDate", "Patient.extension.value", "Patient.deceased", "Patient.contained",
    "Patient.birthDate.extension", "Patient.name.where(use = 'usual')", "Patient.id",
    "Patient.name.given.where($this = 'Zilola')", "Patient.contained[0].name", "1", "'x'",
    "Patient.name.count()", "Patient.managingOrganization.resolve()", "%resource", "$this",
    "Patient.name[99999999999999999999]", "Patient.name['x']", "{}", "%context.name",
    "Patient.name.family.lower()", "name | identifier", "Patient.name.ofType(HumanName)",
])  # fmt: skip
_VALUES = st.sampled_from([
    {"valueString": "x"}, {"valueDecimal": 1.5}, {"valueInteger": 3}, {"valueBoolean": True},
    {"valueHumanName": {"text": "n"}}, {"valueMoney": {"value": 1}}, {"valueDate": "2020"},
    {"resource": {"resourceType": "Patient"}}, {"_valueString": {"id": "only"}},
    {"part": [{"name": "other", "valueReference": {"reference": "Patient/1"}}]},
    {"part": [{"name": "value", "part": [{"name": "text", "valueString": "x"}]}]},
])  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries(
    {"type": st.sampled_from(["add", "insert", "delete", "replace", "move"]), "path": _PATHS,
     "value": _VALUES, "index": st.integers(0, 3), "source": st.integers(0, 3),
     "destination": st.integers(0, 3), "name": st.sampled_from(
         ["name", "given", "extension", "deceased", "deceasedBoolean", "contained", "link", "id",
          "birthDate", "div", "value", "active"])}), min_size=1, max_size=4))  # fmt: skip
def test_no_patch_is_a_fault_of_ours(wanted: list[dict[str, Any]]) -> None:
    """Random operations either make a record that can be read, or are refused in words."""
    body = codec.encode(codec.decode(json.dumps(PATIENT).encode()))
    try:
        made = Patch("application/fhir+json", parameters(*wanted)).apply(body)
    except DmedError as refusal:
        told = refusal.issues[0].diagnostics
    else:
        told = "made"
        assert codec.encode(codec.decode(made, "Patient")) == made
    assert told


def test_a_deep_value_is_refused() -> None:
    """A patch cannot make a record that is nested deeper than what can be read."""
    for depth in (100, 300, 600, 900):
        deep = "[" * depth + "1" + "]" * depth
        patch = f'[{{"op":"add","path":"/active","value":{deep}}}]'.encode()
        with pytest.raises(InvalidError):
            Patch("application/json-patch+json", patch).apply(b'{"resourceType":"Patient"}')


# As a server applies it ----------------------------------------------------------------------


def test_the_result_is_canonical_and_the_same_record() -> None:
    """Keys come in R5's order, what was emptied goes, and id and type stay."""
    body = codec.encode(codec.decode(json.dumps(PATIENT).encode()))
    patch = operations(
        {"op": "remove", "path": "/contained/0"},
        {"op": "remove", "path": "/managingOrganization/reference"},
        {"op": "add", "path": "/active", "value": True},
    )
    made = Patch("application/json-patch+json", patch).apply(body)
    assert made == codec.encode(codec.decode(made))
    assert list(json.loads(made))[:3] == ["resourceType", "id", "extension"]
    assert Decimal(str(json.loads(made, parse_float=str)["extension"][0]["valueDecimal"])) == (
        Decimal("1.5")
    )
    for kind, change in (
        ("application/json-patch+json", operations({"op": "remove", "path": "/id"})),
        ("application/merge-patch+json", b'{"id":"other"}'),
        ("application/merge-patch+json", b'{"resourceType":"Person"}'),
        ("application/fhir+json",
         parameters({"type": "replace", "path": "Patient.id", "value": {"valueId": "q"}})),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match="does not change"):
            Patch(kind, change).apply(body)
    with pytest.raises(InvalidError):
        Patch("application/merge-patch+json", b'{"shoes":1}').apply(body)
    with pytest.raises(PatchError):
        Patch("application/merge-patch+json", b"[]").apply(body)


def test_the_kind_is_told_by_the_media_type() -> None:
    """Parameters come as FHIR or plain JSON; anything else is 415 and names what is taken."""
    assert patch_of("application/json; charset=utf-8", b"{}").kind == "application/fhir+json"
    assert patch_of("application/JSON-patch+json", b"[]").kind == "application/json-patch+json"
    with pytest.raises(MediaTypeError) as told:
        patch_of("text/plain", b"x")
    assert "json-patch+json" in told.value.headers["Accept-Patch"]
    with pytest.raises(InvalidError):
        patch_of("application/json-patch+json", b" ")
