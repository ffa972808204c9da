"""children and descendants. https://hl7.org/fhirpath/#tree-navigation."""

from __future__ import annotations

from dmed.fhir.path.code import Code, boxed
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.functions.table import Arguments, function
from dmed.fhir.path.navigate import children, descendants


@function("children")
def _children(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = boxed(source)
    return Code(
        lambda env, this: [child for item in run(env, this) for child in children(item)],
        is_ordered=False,
    )


@function("descendants")
def _descendants(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = boxed(source)
    return Code(lambda env, this: descendants(run(env, this)), is_ordered=False)
