"""Where a FHIRPath leads: places in a resource that can be written, not only values.

The steps that name elements are followed here, so that each result knows what holds it; criteria
and the rarer functions run in the engine of `fhir.path`, whose structs are found again by
identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir import path
from dmed.fhir.facts import facts
from dmed.fhir.path import NoHooks, PathExecutionError, PathSemanticError, Typed
from dmed.fhir.path.model import Step, members, resolve_type, steps
from dmed.fhir.path.parser import type_name
from dmed.fhir.path.tree import (
    Binary,
    Call,
    Indexer,
    Member,
    Node,
    Special,
    TypeName,
    TypeTest,
    Variable,
)
from dmed.fhir.types import struct_of

_ROOT = Step("", "", is_list=False, is_primitive=False, extension="")
_OURSELVES = frozenset({"resource", "rootResource", "context"})
_SLICES = {"first": (0, 1), "tail": (1, None), "last": (-1, None)}


class Place:
    """One element: the struct that holds it, the step to it, and its index in a list or -1."""

    __slots__ = ("index", "owner", "step")

    def __init__(self, owner: Any, step: Step, index: int = -1) -> None:
        self.owner = owner
        self.step = step
        self.index = index

    @property
    def is_root(self) -> bool:
        """Whether it is the resource itself."""
        return self.step is _ROOT

    def value(self) -> Any:
        """The struct, or the primitive as Typed."""
        if self.is_root:
            return self.owner
        value = getattr(self.owner, self.step.attribute)
        if not self.step.is_primitive:
            return value[self.index] if self.step.is_list else value
        if self.step.is_list:
            value = value[self.index] if value is not UNSET and self.index < len(value) else None
        return Typed(None if value is UNSET else value, self.step.type, self._element())

    def struct(self) -> Any:
        """What its children hang on: the struct, or a primitive's Element, made where needed."""
        if not self.step.is_primitive:
            return self.value()
        found = self._element()
        if found is None and self.step.extension:
            found = struct_of("Element")()
            set_at(self.owner, self.step.extension, self.index, found)
        return found

    def _element(self) -> Any:
        more = getattr(self.owner, self.step.extension) if self.step.extension else UNSET
        if more is UNSET:
            return None
        if self.step.is_list:
            return more[self.index] if self.index < len(more) else None
        return more


def set_at(owner: Any, attribute: str, index: int, value: Any) -> None:
    """Set an attribute, or one entry of its list, which grows with None as far as needed."""
    if index < 0:
        setattr(owner, attribute, value)
        return
    found = getattr(owner, attribute)
    found = [] if found is UNSET else found
    found += [None] * (index + 1 - len(found))
    found[index] = value
    setattr(owner, attribute, found)


def length(owner: Any, step: Step) -> int:
    """How many entries a list has, those with extensions alone included."""
    found = [getattr(owner, step.attribute)]
    if step.extension:
        found.append(getattr(owner, step.extension))
    return max(0 if each is UNSET else len(each) for each in found)


def places(node: Node, root: Any) -> list[Place]:
    """All places that an expression leads to in a resource; PathError where it does not."""
    match node:
        case Member():
            return _members(node, root)
        case Special(name="this"):
            return [Place(root, _ROOT)]
        case Variable() if node.name in _OURSELVES:
            return [Place(root, _ROOT)]
        case Indexer():
            return _indexed(node, root)
        case Call():
            return _called(node, root)
        case TypeTest(sign="as"):
            return _of_type(places(node.operand, root), node.type)
        case Binary(sign="|"):
            return _union(places(node.left, root) + places(node.right, root))
    return _found_again(node, root)


def children(place: Place, name: str) -> list[Place]:
    """The places of all children of that name."""
    value = place.value()
    if isinstance(value, Typed):
        value = value.element
    if not isinstance(value, msgspec.Struct):
        return []
    return [each for step in steps(_type(value), name) for each in _at(value, step)]


def lists(node: Node, root: Any) -> tuple[Any, Step]:
    """The struct and step of the one list that an expression names, even if it is empty."""
    if isinstance(node, Member) and node.source is not None:
        owners = [each.value() for each in places(node.source, root)]
        owners = [each.element if isinstance(each, Typed) else each for each in owners]
        found = [
            (owner, step)
            for owner in owners
            if isinstance(owner, msgspec.Struct)
            for step in steps(_type(owner), node.name)
        ]
    else:
        found = _whole_lists(places(node, root))
    if len(found) != 1 or not found[0][1].is_list:
        raise PathExecutionError("the path names no list, or more than one")
    return found[0]


def _whole_lists(found: list[Place]) -> list[tuple[Any, Step]]:
    """The lists of which these are all the entries."""
    owners = {(id(each.owner), each.step): (each.owner, each.step) for each in found}
    return [
        (owner, step)
        for owner, step in owners.values()
        if step.is_list and len(found) == length(owner, step)
    ]


def _type(struct: Any) -> str:
    name: str = struct.fhir_type
    return name


def _at(owner: Any, step: Step) -> Iterator[Place]:
    if step.is_list:
        for index in range(length(owner, step)):
            yield Place(owner, step, index)
    elif getattr(owner, step.attribute) is not UNSET or (
        step.extension and getattr(owner, step.extension) is not UNSET
    ):
        yield Place(owner, step)


def _members(node: Member, root: Any) -> list[Place]:
    if node.source is not None:
        return [child for each in places(node.source, root) for child in children(each, node.name)]
    start = Place(root, _ROOT)
    if not steps(root.fhir_type, node.name) and node.name in facts().types:
        if not facts().is_a(root.fhir_type, node.name):
            raise PathSemanticError(f"the resource is {root.fhir_type}, not {node.name}")
        return [start]
    return children(start, node.name)


def _indexed(node: Indexer, root: Any) -> list[Place]:
    index = path.compile(node.index, root.fhir_type)(root)
    if len(index) != 1 or type(index[0]) is not int:
        raise PathExecutionError("an index is a whole number")
    found = places(node.source, root)
    return found[index[0] : index[0] + 1] if index[0] >= 0 else []


def _called(node: Call, root: Any) -> list[Place]:
    if node.source is None:
        return _found_again(node, root)
    count = len(node.arguments)
    if node.name == "where" and count == 1:
        return _where(places(node.source, root), node.arguments[0], root)
    if node.name == "extension" and count == 1:
        address = path.compile(node.arguments[0], root.fhir_type)(root)
        every = [e for each in places(node.source, root) for e in children(each, "extension")]
        return [each for each in every if address == [each.value().url]]
    if node.name in _SLICES and count == 0:
        start, end = _SLICES[node.name]
        return places(node.source, root)[start:end]
    if node.name == "single" and count == 0:
        found = places(node.source, root)
        if len(found) > 1:
            raise PathExecutionError(f"single() meets {len(found)} items")
        return found
    if node.name in {"ofType", "as"} and count == 1:
        return _of_type(places(node.source, root), type_name(node.arguments[0]))
    return _found_again(node, root)


def _where(found: list[Place], criterion: Node, root: Any) -> list[Place]:
    test = path.compile(criterion, "")
    return [each for each in found if test.test(each.value(), resource=root) is True]


def _of_type(found: list[Place], wanted: TypeName | None) -> list[Place]:
    names = resolve_type(wanted) if wanted else ()
    if not names:
        raise PathSemanticError("there is no such type")
    return [each for each in found
            if any(facts().is_a(_kind(each.value()), name) for name in names)]  # fmt: skip


def _kind(value: Any) -> str:
    return value.type if isinstance(value, Typed) else _type(value)


def _union(found: list[Place]) -> list[Place]:
    return list({(id(each.owner), each.step, each.index): each for each in found}.values())


class _Contained(NoHooks):
    """resolve() within the resource: a patch reaches no other one."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def resolve(self, address: str) -> Any | None:
        """The contained resource of that id."""
        contained = getattr(self._root, "contained", UNSET)
        if contained is UNSET or not address.startswith("#"):
            return None
        return next((each for each in contained if each.id == address[1:]), None)


def _found_again(node: Node, root: Any) -> list[Place]:
    """Places of what the engine gives: structs by identity; plain values have no place."""
    given = path.compile(node, root.fhir_type).evaluate(root, hooks=_Contained(root))
    if not given:
        return []
    known = {id(each.value()): each for each in _structs(Place(root, _ROOT))}
    found = [known.get(id(each)) for each in given]
    kept = [each for each in found if each is not None]
    if len(kept) != len(given):
        raise PathExecutionError("the path ends in a value that has no place in the resource")
    return kept


def _structs(place: Place) -> Iterator[Place]:
    yield place
    value = place.value()
    for step in members(_type(value)):
        if step.is_primitive:
            continue
        for each in _at(value, step):
            yield from _structs(each)
