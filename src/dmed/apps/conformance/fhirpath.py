"""The FHIRPath suite: https://github.com/FHIR/fhir-test-cases, r5/fhirpath.

A folder holds files of `tests` in the namespace below, and the inputs in `input/` (XML or JSON)
or beside them; where an XML input is missing its JSON in `input-json/` is taken. A case passes
when the values, their types and their order are those of its outputs, or when it fails in the way
its `invalid` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dmed.apps.conformance.model import Verdict, judged, read
from dmed.fhir import codec, path, xml
from dmed.kit.errors import DmedError, InvalidError

_NAMESPACE = "http://hl7.org/fhirpath/tests"
_FOLDERS = ("input", ".", "input-json")
_ERRORS: dict[str, type[path.PathError]] = {
    "syntax": path.PathSyntaxError,
    "semantic": path.PathSemanticError,
    "execution": path.PathExecutionError,
    "true": path.PathError,
}
_NOTHING = codec.decode(b'{"resourceType":"Basic"}')
"""The focus of cases that name no input."""


class Case(NamedTuple):
    """One test; `outputs` are pairs of type ("" if not told) and text."""

    name: str
    expression: str
    input: str
    invalid: str
    is_strict: bool
    is_predicate: bool
    is_ordered: bool
    outputs: list[tuple[str, str]]


def verdicts(folder: Path) -> Iterator[Verdict]:
    """A verdict for each case. Raises InvalidError where the folder holds no such suite."""
    inputs = _Inputs(folder)
    files = 0
    for file in sorted(folder.glob("*.xml")):
        root = xml.parse(file.read_bytes())
        if root.space == _NAMESPACE and root.name == "tests":
            files += 1
            for case in _cases(root):
                yield judged(case.name, partial(_judge, case, inputs))
    if not files:
        raise InvalidError(f"no FHIRPath suite is in {folder}")


def _cases(root: xml.Node) -> Iterator[Case]:
    for group in root.children("group"):
        for test in group.children("test"):
            expression = test.child("expression")
            if expression is None:
                raise InvalidError(f"the test {test.attributes.get('name')} has no expression")
            said = test.attributes
            invalid = expression.attributes.get("invalid", "false")
            yield Case(
                f"{group.attributes.get('name', '')}/{said.get('name', '')}",
                expression.text(),
                said.get("inputfile", ""),
                "" if invalid == "false" else invalid,
                said.get("mode") == "strict",
                said.get("predicate") == "true",
                said.get("ordered") != "false",
                [(out.attributes.get("type", ""), out.text()) for out in test.children("output")],
            )


class _Inputs:
    """The records of a folder, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """A record by file name. Raises InvalidError."""
        if not name:
            return _NOTHING
        if name not in self._read:
            body = self._body(name)
            self._read[name] = codec.decode(body)
        return self._read[name]

    def _body(self, name: str) -> bytes:
        for place in _FOLDERS:
            for each in (name, str(Path(name).with_suffix(".json"))):
                if (self._folder / place / each).is_file():
                    body = read(self._folder, f"{place}/{each}")
                    # What is wrong with the form of an input is not what the case asks.
                    return xml.read(xml.parse(body)).body if each.endswith(".xml") else body
        raise InvalidError(f"the file {name} is not here")


def _judge(case: Case, inputs: _Inputs) -> str:
    """Why the case fails, or ""."""
    try:
        focus = inputs.get(case.input)
    except DmedError as error:
        return f"input {case.input}: {error}"
    try:
        compiled = path.compile(case.expression, focus.fhir_type, strict=case.is_strict)
        found = [(kind, _text(value)) for kind, value in compiled.typed(focus)]
    except path.PathError as error:
        if case.invalid and isinstance(error, _ERRORS.get(case.invalid, path.PathError)):
            return ""
        wanted = f"a fault of {case.invalid}" if case.invalid else "a result"
        return f"{type(error).__name__}: {error}, where {wanted} is wanted"
    if case.invalid:
        return f"gives {_shown(found)}, where a fault of {case.invalid} is wanted"
    if case.is_predicate:
        found = [("System.Boolean", _truth(found))]
    return _difference(case, found)


def _truth(found: list[tuple[str, str]]) -> str:
    """A collection as a condition: its one boolean, or whether there is anything."""
    if len(found) == 1 and found[0][0] in {"boolean", "System.Boolean"}:
        return found[0][1]
    return str(bool(found)).lower()


def _difference(case: Case, found: list[tuple[str, str]]) -> str:
    wanted = [(kind, _wanted(kind, text)) for kind, text in case.outputs]
    have = [(_suite_type(kind), text) for kind, text in found]
    if not case.is_ordered:
        wanted, have = sorted(wanted), sorted(have)
    is_same = len(wanted) == len(have) and all(
        kind in {"", own} and text == value
        for (kind, text), (own, value) in zip(wanted, have, strict=True)
    )
    return "" if is_same else f"gives {_shown(have)}, wanted {_shown(wanted)}"


def _suite_type(kind: str) -> str:
    """The suite's name of a type: System.String is its string."""
    name = kind.removeprefix("System.")
    return name[0].lower() + name[1:] if name not in {kind, "Quantity"} else name


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _wanted(kind: str, text: str) -> str:
    if kind in {"date", "dateTime", "time", "instant"}:
        return text.removeprefix("@").removeprefix("T" if kind == "time" else "")
    return text


def _shown(items: list[tuple[str, str]]) -> str:
    return "; ".join(f"{kind} {text}".strip() for kind, text in items) or "nothing"
