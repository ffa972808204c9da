"""Faults of expressions; the official suite itself runs in tests/apps/test_apps_conformance.py."""

from __future__ import annotations

import pytest

from dmed.fhir import path


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("2 + 2 /", path.PathSyntaxError),
        ("name.given1", path.PathSemanticError),
        ("nothing()", path.PathSemanticError),
        ("name.first(1)", path.PathSemanticError),
        ("%unheard", path.PathSemanticError),
        ("name is Nothing", path.PathSemanticError),
        ("@T10:00:0Z", path.PathSyntaxError),
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
