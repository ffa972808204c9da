"""Systems that plain codes imply: `gender=http://hl7.org/fhir/administrative-gender|male`.

An element of type `code` carries no system; the specification says that its value set's is meant:
https://hl7.org/fhir/R5/search.html#token
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.fhir.params_plan import Step, branches, plain_path
from dmed.fhir.path.parser import parse
from dmed.fhir.query_model import Token, Value


def with_implied(type_name: str, code: str, values: Sequence[Value]) -> Iterator[Value]:
    """The values of a token parameter, and after each whose system plain codes imply the same
    without a system, as the index holds it.
    """
    for value in values:
        yield value
        if isinstance(value, Token) and value.system in implied_systems(type_name, code):
            yield Token("", value.code)


@cache
def implied_systems(type_name: str, code: str) -> frozenset[str]:
    """The systems of the required value sets of the `code` elements under a parameter."""
    parameter = params.parameters(type_name).get(code)
    if parameter is None or parameter.type != "token":
        return frozenset()
    found: set[str] = set()
    for node in branches(parse(parameter.expression)) if parameter.expression else ():
        steps = plain_path(node)
        if steps and steps[0].name == type_name:
            for binding in _bindings(type_name, steps[1:]):
                value_set = facts().value_sets.get(binding)
                found.update(value_set.systems if value_set else ())
    return frozenset(found)


def _bindings(owner: str, steps: list[Step]) -> Iterator[str]:
    known = facts().types.get(owner)
    if known is None or not steps:
        return
    for element in known.elements:
        if element.name != steps[0].name:
            continue
        for each in element.types:
            if len(steps) == 1 and each.code == "code" and element.binding:
                yield element.binding
            elif len(steps) > 1:
                yield from _bindings(element.content or each.code, steps[1:])
