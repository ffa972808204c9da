"""The patch suites: https://github.com/FHIR/fhir-test-cases, r5/patch.

FHIRPath Patch: XML files of `tests` with `case` elements, each `input`, `diff` (Parameters) and
`output`, or no output where the patch must be refused. JSON Patch: JSON files that are a list of
`doc`, `patch` and `expected` or `error`. Results are compared as canonical JSON: order of arrays
and digits of decimals count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dmed.apps.conformance.model import Verdict, judged
from dmed.fhir import codec, xml
from dmed.fhir.patch import fhirpath_patch, json_patch
from dmed.kit.errors import DmedError, InvalidError

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


def fhirpath_verdicts(folder: Path) -> Iterator[Verdict]:
    """A verdict for each case of FHIRPath Patch. Raises InvalidError where there is no suite."""
    files = 0
    for file in sorted(folder.glob("*.xml")):
        root = xml.parse(file.read_bytes())
        cases = [each for each in root.children("case") if each.child("diff") is not None]
        files += bool(cases)
        for case in cases:
            yield judged(case.attributes.get("name", ""), partial(_judge_fhirpath, case))
    if not files:
        raise InvalidError(f"no FHIRPath Patch suite is in {folder}")


def _judge_fhirpath(case: xml.Node) -> str:
    try:
        source, diff = _record(case, "input"), _record(case, "diff")
        wanted = None if case.child("output") is None else _record(case, "output")
    except DmedError as error:
        return f"the case cannot be read: {error}"
    return _compare(lambda: fhirpath_patch(source, diff), wanted)


def _record(case: xml.Node, name: str) -> bytes:
    """The record inside a part of a case, as canonical JSON."""
    part = case.child(name)
    inside = [] if part is None else list(part.children())
    if len(inside) != 1:
        raise InvalidError(f"{name} holds {len(inside)} records")
    _mend(inside[0])
    found = xml.read(inside[0])
    if found.issues:
        raise InvalidError(issues=found.issues)
    return codec.encode(codec.decode(found.body))


def _mend(node: xml.Node) -> None:
    """The published suite writes `<reference reference="Device/1"/>` where FHIR has `value`."""
    if not node.content and node.attributes.keys() == {node.name}:
        node.attributes = {"value": node.attributes[node.name]}
    for each in node.children():
        _mend(each)


def json_verdicts(folder: Path) -> Iterator[Verdict]:
    """A verdict for each case of JSON Patch. Raises InvalidError where there is no suite."""
    files = 0
    for file in sorted(folder.glob("*.json")):
        try:
            cases = _decode(file.read_bytes())
        except msgspec.DecodeError as error:
            raise InvalidError(f"{file.name} is no JSON: {error}") from error
        if not isinstance(cases, list) or not all("patch" in each for each in cases):
            continue  # Another suite's file.
        files += 1
        for number, case in enumerate(cases, 1):
            name = case.get("comment") or f"case {number}"
            if not case.get("disabled"):
                yield judged(name, partial(_judge_json, case))
    if not files:
        raise InvalidError(f"no JSON Patch suite is in {folder}")


def _judge_json(case: dict[str, Any]) -> str:
    document, patch = _encode(case["doc"]), _encode(case["patch"])
    wanted = _encode(case["expected"]) if "expected" in case else None
    return _compare(lambda: json_patch(document, patch), wanted)


def _compare(apply: Callable[[], bytes], wanted: bytes | None) -> str:
    """Why the result is not the wanted one (None: a refusal), or ""."""
    try:
        found = apply()
    except DmedError as error:
        return "" if wanted is None else f"refused: {error}"
    if wanted is None:
        return f"gives {found.decode()}, where a refusal is wanted"
    if _sorted(found) == _sorted(wanted):
        return ""
    return f"gives {found.decode()}, wanted {wanted.decode()}"


def _sorted(body: bytes) -> bytes:
    """JSON with its keys in order, digits kept."""
    return bytes(_encode(_decode(body)))
