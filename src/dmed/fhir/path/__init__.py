"""FHIRPath, compiled to Python closures over the structs of `fhir.types`.

    ages = compile("Patient.name.where(use = 'official').family", "Patient")
    ages(patient)  # -> ["Karimova"]

Specification: https://hl7.org/fhirpath/ and https://hl7.org/fhir/R5/fhirpath.html. How it is
built: `lexer` and `parser` make a tree (`tree`); `compiler` follows the types of R5 through it and
makes closures; `functions` and `operators` say what each name and sign does.
"""

from __future__ import annotations

from dmed.fhir.path.code import Hooks, NoHooks
from dmed.fhir.path.errors import (
    PathError,
    PathExecutionError,
    PathSemanticError,
    PathSyntaxError,
)
from dmed.fhir.path.expression import Expression, compile  # noqa: A004  # The word of the field.
from dmed.fhir.path.items import Stub, Typed

__all__ = [
    "Expression",
    "Hooks",
    "NoHooks",
    "PathError",
    "PathExecutionError",
    "PathSemanticError",
    "PathSyntaxError",
    "Stub",
    "Typed",
    "compile",
]
