"""The official FHIRPath suite for R5: how much of it holds, and what does not."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dmed.fhir import codec, path

_NS = "{http://hl7.org/fhirpath/tests}"
_SUITE = Path("conformance") / "fhirpath-r5"
_PASSING = 751
"""Of 754 cases that we hold; the others are listed in _FAILING."""
_FAILING = {
    # Clinical documents (CDA) are another model than FHIR and are not read.
    "cdaTests": {"testHasTemplateId1", "testHasTemplateId2", "testHasTemplateId3"},
}


class Case(NamedTuple):
    """One test of the suite."""

    group: str
    name: str
    expression: str
    input: str
    invalid: str
    is_strict: bool
    is_predicate: bool
    outputs: list[tuple[str, str]]


def _root(folder: Path) -> ET.Element:
    return ET.parse(folder / "tests-fhir-r5.xml").getroot()  # noqa: S314  # A file of our own disk.


def _cases(folder: Path) -> Iterator[Case]:
    for group in _root(folder).findall(f"{_NS}group"):
        for test in group.findall(f"{_NS}test"):
            expression = test.find(f"{_NS}expression")
            assert expression is not None
            outputs = [
                (out.get("type", ""), out.text or "") for out in test.findall(f"{_NS}output")
            ]
            yield Case(
                group.get("name", ""),
                test.get("name", ""),
                expression.text or "",
                test.get("inputfile") or "patient-example.xml",
                expression.get("invalid", ""),
                test.get("mode") == "strict",
                test.get("predicate") == "true",
                outputs,
            )


@cache
def _input(folder: Path, name: str) -> Any:
    made = folder / "input-json" / name.replace(".xml", ".json")
    file = folder / "input" / name if name.endswith(".json") else made
    return codec.decode(file.read_bytes()) if file.exists() else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _wanted(kind: str, text: str) -> str:
    if kind in {"date", "dateTime", "time", "instant"}:
        return text.removeprefix("@").removeprefix("T" if kind == "time" else "")
    return text


def _holds(case: Case, folder: Path) -> bool:
    resource = _input(folder, case.input)
    if resource is None:
        return False
    try:
        compiled = path.compile(case.expression, resource.fhir_type, strict=case.is_strict)
        if case.is_predicate:
            found = compiled.test(resource) is True
            return found is (case.outputs[0][1] == "true")
        values = [_text(value) for value in compiled(resource)]
    except path.PathError:
        return bool(case.invalid)
    return not case.invalid and values == [_wanted(*output) for output in case.outputs]


def test_official_suite(shared_data: Path) -> None:
    """The pinned number of official cases holds, and the failing ones are those listed."""
    folder = shared_data / _SUITE
    failing: dict[str, set[str]] = {}
    passing = 0
    for case in _cases(folder):
        if _holds(case, folder):
            passing += 1
        else:
            failing.setdefault(case.group, set()).add(case.name)

    assert failing == _FAILING
    assert passing == _PASSING


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("2 + 2 /", path.PathSyntaxError),
        ("name.given1", path.PathSemanticError),
        ("nothing()", path.PathSemanticError),
        ("name.first(1)", path.PathSemanticError),
        ("%unheard", path.PathSemanticError),
        ("name is Nothing", path.PathSemanticError),
        ("(" * 300, path.PathSyntaxError),
        ("iif(" * 300, path.PathSyntaxError),
        (".".join(["name"] * 5000), path.PathSyntaxError),
        ("|".join(["1"] * 5000), path.PathSyntaxError),
        ("name" + ".repeat(extension" * 40 + ")" * 40, path.PathSemanticError),
    ],
)
def test_faults_are_named(expression: str, fault: type[path.PathError]) -> None:
    """A wrong expression is refused when it is compiled, with the kind of its fault."""
    with pytest.raises(fault):
        path.compile(expression, "Patient", strict=True)
