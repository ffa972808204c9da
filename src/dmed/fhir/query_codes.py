"""Which codes a search means: implied systems, value sets and hierarchies.

`gender=http://hl7.org/fhir/administrative-gender|male` finds plain codes.

An element of type `code` carries no system; the specification says that its value set's is meant:
https://hl7.org/fhir/R5/search.html#token
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Protocol, TypeVar

from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.fhir.params_plan import Step, branches, plain_path
from dmed.fhir.path.parser import parse
from dmed.fhir.query_model import Token, Value

_T = TypeVar("_T")


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


# What terminology answers ----------------------------------------------------------------------


class Codes(Protocol):
    """What `:in`, `:not-in`, `:below` and `:above` ask of terminology.

    Codes come with their system, in a stable order. None means that nothing is known here of the
    value set or system, and then the search is refused: it would find too much or too little.
    """

    def codes_in(self, value_set: str) -> Sequence[tuple[str, str]] | None:
        """All (system, code) of a value set by its address, `|version` allowed, or `ValueSet/id`.

        InvalidError (too-costly) where they are too many to be told.
        """

    def below(self, system: str, code: str) -> Sequence[str] | None:
        """A code and all below it; empty where the system has no such code."""

    def above(self, system: str, code: str) -> Sequence[str] | None:
        """A code and all above it; empty where the system has no such code."""


_FHIR_TYPES = "http://hl7.org/fhir/fhir-types"
_R5_VALUE_SETS = "http://hl7.org/fhir/ValueSet/"


class FactsCodes:
    """The answer from R5's own facts: value sets that elements require, and the tree of types."""

    def codes_in(self, value_set: str) -> Sequence[tuple[str, str]] | None:
        """Codes of a value set of R5 that the facts hold whole."""
        url = value_set.partition("|")[0]
        if url.startswith("ValueSet/"):
            url = _R5_VALUE_SETS + url.removeprefix("ValueSet/")
        found = facts().value_sets.get(url)
        if found is None or found.unchecked:
            return None
        return [(system, code) for system, codes in found.systems.items() for code in codes]

    def below(self, system: str, code: str) -> Sequence[str] | None:
        """A type and those that derive from it; a code alone where a system is flat."""
        if system == _FHIR_TYPES:
            return sorted(name for name in _type_names() if facts().is_a(name, code))
        return self._itself(system, code)

    def above(self, system: str, code: str) -> Sequence[str] | None:
        """A type and those that it derives from; a code alone where a system is flat."""
        if system == _FHIR_TYPES:
            return sorted(name for name in _type_names() if facts().is_a(code, name))
        return self._itself(system, code)

    @staticmethod
    def _itself(system: str, code: str) -> Sequence[str] | None:
        known = _flat_systems().get(system)
        if known is None:
            return None
        return [code] if code in known else []


@cache
def _type_names() -> tuple[str, ...]:
    return tuple(name for name in facts().types if "." not in name)


_FLAT = (
    "account-status", "administrative-gender", "address-use", "contact-point-system",
    "contact-point-use", "encounter-status", "event-status", "identifier-use", "name-use",
    "observation-status", "publication-status", "request-intent", "request-priority",
    "request-status", "task-intent", "diagnostic-report-status",
)  # fmt: skip  # One list.
"""Systems of R5 without a hierarchy, whose value set of the same name holds all their codes."""


@cache
def _flat_systems() -> Mapping[str, frozenset[str]]:
    found = {}
    for name in _FLAT:
        system = f"http://hl7.org/fhir/{name}"
        value_set = facts().value_sets.get(_R5_VALUE_SETS + name)
        if value_set is not None and list(value_set.systems) == [system]:
            found[system] = frozenset(value_set.systems[system])
    return found


_sources: list[Codes] = []


def use(codes: Codes) -> None:
    """Ask this terminology too, before the facts; the apps call it once at the start."""
    if codes not in _sources:
        _sources.append(codes)


def forget(codes: Codes) -> None:
    """Ask this terminology no more; the apps call it at the end."""
    if codes in _sources:
        _sources.remove(codes)


def known(ask: Callable[[Codes], _T | None]) -> _T | None:
    """The first answer of the terminologies in use; None where none knows."""
    for source in (*_sources, FactsCodes()):
        found = ask(source)
        if found is not None:
            return found
    return None
