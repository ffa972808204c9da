"""The quick plan of index rows against the search expressions themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dmed.fhir import codec, params, path
from dmed.fhir.index import Index, modified_number
from dmed.fhir.params_plan import branches
from dmed.fhir.params_rows import writer_of_any
from dmed.fhir.path.parser import parse

_KINDS = Index.__struct_fields__


def _by_expression(resource: Any, parameter: params.SearchParameter) -> set[tuple[Any, ...]]:
    """The rows of one parameter, each alternative of its expression run as FHIRPath."""
    found = Index()
    for node in branches(parse(parameter.expression)):
        try:
            expression = path.compile(node, resource.fhir_type)
        except path.PathSemanticError:
            continue  # An alternative that belongs to another type.
        for type_name, value in expression.typed(resource):
            write = writer_of_any(parameter.type, type_name, (parameter.number,))
            if write is not None and value is not None:
                write(value, found)
    return {(kind, row) for kind in _KINDS for row in getattr(found, kind)}


def _by_plan(resource: Any) -> dict[int, set[tuple[Any, ...]]]:
    rows = params.extract(resource)
    found: dict[int, set[tuple[Any, ...]]] = {}
    for kind in _KINDS:
        for row in getattr(rows, kind):
            found.setdefault(row[0], set()).add((kind, row))
    return found


def _differing(files: Iterable[Path]) -> tuple[int, list[str]]:
    """How many parameters were compared, and which differ."""
    count, differing = 0, []
    for file in files:
        resource = codec.decode(file.read_bytes())
        planned = _by_plan(resource)
        for parameter in params.parameters(resource.fhir_type).values():
            if not parameter.is_indexed or parameter.type == "composite":
                continue
            count += 1
            expected = _by_expression(resource, parameter)
            for own, modified in _numbers(parameter):
                found = [row for row in expected if row[1][0] == own]
                laid = set().union(*(planned.get(number, set()) for number in modified))
                if {_bare(row) for row in found} != {_bare(row) for row in laid}:
                    differing.append(f"{file.name}: {parameter.code}")
    return count, differing


def _numbers(parameter: params.SearchParameter) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Under which number the expression alone writes rows, and under which ones the plan does."""
    yield parameter.number, (parameter.number,)
    for modifier in ("text", "identifier", "of-type"):
        yield (modified_number(parameter.number, modifier),
               params.modified_numbers(parameter.resource, parameter.code, modifier))


def _bare(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[0], row[1][1:]


def test_national_examples_agree(shared_data: Path) -> None:
    """For every national example the plan writes exactly the rows of the expressions."""
    files = sorted((shared_data / "uz-core" / "core" / "examples").rglob("*.json"))

    count, differing = _differing(files)

    assert differing == []
    assert count > 1_000


def test_official_examples_agree(r5_examples: Path) -> None:
    """The same for a sample of the official examples, which hold almost every resource type."""
    every = sorted(file for file in r5_examples.rglob("*.json") if file.stat().st_size < 60_000)
    files = [file for file in every[::12] if file.name not in {"package.json", ".index.json"}]

    count, differing = _differing(files)

    assert differing == []
    assert count > 2_000
