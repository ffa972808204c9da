"""The filters of a value set over the concepts of one system.

https://hl7.org/fhir/R5/valueset-filter-operator.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dmed.fhir.terminology.model import Filter
from dmed.fhir.terminology.pattern import pattern
from dmed.fhir.terminology.system import System
from dmed.kit.errors import InvalidError

_CODE = frozenset({"concept", "code"})
_DEFAULT_FALSE = frozenset({"inactive"})
"""What a concept is not, unless it says so."""


def keep(system: System, condition: Filter) -> set[int]:
    """The places that a filter keeps. InvalidError for an operator or property not served."""
    maker = _OPERATORS.get(condition.op)
    if maker is None:
        raise InvalidError(
            f"The filter operator {condition.op[:40]!r} is not served: {', '.join(_OPERATORS)} are"
        )
    if not condition.value or not condition.property:
        raise InvalidError(f"A filter {condition.op} has no value or no property")
    return maker(system, condition)


def _tree(system: System, condition: Filter) -> int:
    if condition.property not in _CODE:
        raise InvalidError(
            f"The operator {condition.op} is served on the property concept, "
            f"not on {condition.property[:60]!r}"
        )
    place = system.find(condition.value)
    return -1 if place is None else place


def _is_a(system: System, condition: Filter) -> set[int]:
    place = _tree(system, condition)
    return set() if place < 0 else system.below(place)


def _descendent_of(system: System, condition: Filter) -> set[int]:
    place = _tree(system, condition)
    return set() if place < 0 else system.below(place) - {place}


def _is_not_a(system: System, condition: Filter) -> set[int]:
    return set(range(len(system))) - _is_a(system, condition)


def _generalizes(system: System, condition: Filter) -> set[int]:
    place = _tree(system, condition)
    return set() if place < 0 else system.above(place)


def _child_of(system: System, condition: Filter) -> set[int]:
    place = _tree(system, condition)
    return set(system.children.get(place, ()))


def _descendent_leaf(system: System, condition: Filter) -> set[int]:
    return {place for place in _descendent_of(system, condition) if place not in system.children}


def _equal(system: System, condition: Filter) -> set[int]:
    return _among(system, condition.property, {condition.value})


def _in(system: System, condition: Filter) -> set[int]:
    return _among(system, condition.property, _listed(condition.value))


def _not_in(system: System, condition: Filter) -> set[int]:
    found = _among(system, condition.property, _listed(condition.value))
    return set(range(len(system))) - found


def _regex(system: System, condition: Filter) -> set[int]:
    compiled = pattern(condition.value)
    if condition.property in _CODE:
        return {place for place, code in enumerate(system.codes) if compiled.matches(code)}
    if condition.property == "display":
        return {place for place, text in enumerate(system.displays) if compiled.matches(text)}
    return _having(system, condition.property, compiled.matches)


def _exists(system: System, condition: Filter) -> set[int]:
    name = condition.property
    if name in _CODE:
        found = set(range(len(system)))
    elif name in {"parent", "child"}:
        found = set(system.parents if name == "parent" else system.children)
    else:
        found = _having(system, name, lambda _text: True)
    return found if condition.value != "false" else set(range(len(system))) - found


def _among(system: System, name: str, values: set[str]) -> set[int]:
    """Places whose property has one of the values."""
    if name in _CODE:
        return {place for value in values if (place := system.find(value)) is not None}
    if name == "display":
        return {place for place, text in enumerate(system.displays) if text in values}
    if name in {"parent", "child"}:
        links = system.children if name == "parent" else system.parents
        roots = [place for value in values if (place := system.find(value)) is not None]
        return {other for place in roots for other in links.get(place, ())}
    found = _having(system, name, values.__contains__)
    if system.meaning(name) in _DEFAULT_FALSE and "false" in values:
        found |= set(range(len(system))) - _having(system, name, lambda _text: True)
    return found


def _having(system: System, name: str, test: Callable[[str], bool]) -> set[int]:
    return {
        place
        for place, properties in system.properties.items()
        if any(one.code == name and any(map(test, one.texts())) for one in properties)
    }


def _listed(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


_OPERATORS: dict[str, Callable[[System, Filter], set[int]]] = {
    "=": _equal,
    "is-a": _is_a,
    "descendent-of": _descendent_of,
    "is-not-a": _is_not_a,
    "regex": _regex,
    "in": _in,
    "not-in": _not_in,
    "generalizes": _generalizes,
    "child-of": _child_of,
    "descendent-leaf": _descendent_leaf,
    "exists": _exists,
}


def keep_all(system: System, conditions: Iterable[Filter]) -> set[int]:
    """The places that every filter keeps."""
    kept: set[int] | None = None
    for condition in conditions:
        found = keep(system, condition)
        kept = found if kept is None else kept & found
    return set() if kept is None else kept
