"""Search expressions to a plan: one walk over a record serves all its parameters.

Expressions share their first steps (`Observation.code`, `Observation.value.ofType(Quantity)`),
so they are laid into one tree of attributes; an absent element costs one look. What is no plain
path runs as compiled FHIRPath once a record. https://hl7.org/fhir/R5/searchparameter.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from dmed.fhir.facts import Element, facts
from dmed.fhir.params_rows import Write, writer
from dmed.fhir.params_source import Walk, touched
from dmed.fhir.path.parser import type_name
from dmed.fhir.path.tree import Binary, Call, Literal, Member, Node, TypeTest
from dmed.fhir.types import attribute

Test = Callable[[Any], bool]


class Field(NamedTuple):
    """One attribute that a step can mean: its Python name, FHIR type and whether it is a list."""

    attribute: str
    type: str
    is_list: bool


class Step(NamedTuple):
    """One step of a plain path: a member, narrowed to a type if `only` is given."""

    name: str
    only: str = ""
    filter: Node | None = None
    target: str = ""


class Branch:
    """A place in the tree of attributes while it is being laid out."""

    def __init__(self) -> None:
        self.children: dict[Field, Branch] = {}
        self.filters: dict[Node, Branch] = {}
        self.leaves: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.actions: list[Write] = []

    @property
    def is_idle(self) -> bool:
        """Nothing would ever be written."""
        return not (self.actions or self._writers()) and all(
            branch.is_idle for branch in (*self.children.values(), *self.filters.values())
        )

    def finished(self) -> Plan:
        """The same as a plan that walks."""
        walk = Walk("index rows")
        self._lay_out(walk, "value")
        steps = [field.attribute for field, branch in self.children.items() if not branch.is_idle]
        is_always = bool(self.actions or self._writers() or self.filters)
        return Plan(
            walk=walk.function(),
            touches=(lambda _value: True) if is_always else touched(steps),
            is_idle=self.is_idle,
        )

    def _writers(self) -> list[Callable[[Walk, str], None]]:
        """What writes the leaves of this place, in their order."""
        found: list[Callable[[Walk, str], None]] = []
        for (kind, type_), numbers in self.leaves.items():
            wanted = tuple(dict.fromkeys(numbers))
            if kind == "reference" and type_ == "Reference":
                found.append(partial(_reference, targets=wanted))
                continue
            plain = tuple(number for number, _ in wanted)
            made = writer(kind, type_, plain)
            if made is not None:
                found.append(partial(_leaf, key=(kind, type_), numbers=plain, made=made))
        return found

    def _lay_out(self, walk: Walk, value: str) -> None:
        """Write what a value gives: its own rows, those of guarded places, then its children's."""
        for write in self.actions:
            walk.call(write, value)
        for leaf in self._writers():
            leaf(walk, value)
        for node, branch in self.filters.items():
            if not branch.is_idle:
                walk.guard(value, *_predicate(node), partial(branch.inside, walk))
        for field, branch in self.children.items():
            if not branch.is_idle:
                inside = partial(branch.inside, walk)
                walk.step(value, field.attribute, field.is_list, inside)

    def inside(self, walk: Walk, value: str) -> None:
        """The same as text inside a walk; what is deep stands in a function of its own."""
        if walk.is_deep:
            walk.call(self.finished().walk, value)
        else:
            self._lay_out(walk, value)


def _leaf(
    walk: Walk, value: str, key: tuple[str, str], numbers: tuple[int, ...], made: Write
) -> None:
    if not walk.leaf(*key, numbers, value):
        walk.call(made, value)


def _reference(walk: Walk, value: str, targets: tuple[tuple[int, str], ...]) -> None:
    walk.reference(targets, value)


class Plan(NamedTuple):
    """A walk over a value that writes rows."""

    walk: Write
    """Writes the rows of a value and of all that the plan reaches from it."""
    touches: Test
    """False when nothing can come of a value, since it has none of the first elements."""
    is_idle: bool
    """Nothing would ever be written."""


@cache
def fields(owner: str, name: str) -> tuple[Field, ...]:
    """The attributes that a member of a type can mean, one for each type of a choice; none for
    an unknown member.
    """
    found = facts().types.get(owner)
    for element in found.elements if found else ():
        if element.name == name:
            return tuple(_fields_of(element))
    return ()


def _fields_of(element: Element) -> Iterator[Field]:
    if element.content:
        yield Field(attribute(element.name), element.content, element.is_list)
    for each in element.types:
        yield Field(attribute(element.json_name(each.code)), each.code, element.is_list)


def branches(node: Node) -> Iterator[Node]:
    """The alternatives of a union at the top of an expression."""
    if isinstance(node, Binary) and node.sign == "|":
        yield from branches(node.left)
        yield from branches(node.right)
    else:
        yield node


def plain_path(node: Node) -> list[Step] | None:
    """The steps of a path made of members, type restrictions and `where`; None for any other."""
    if isinstance(node, Member):
        before = [] if node.source is None else plain_path(node.source)
        return None if before is None else [*before, Step(node.name)]
    if isinstance(node, TypeTest) and node.sign == "as":
        return _narrowed(node.operand, node.type.name)
    if isinstance(node, Call) and node.source is not None and len(node.arguments) == 1:
        if node.name in ("ofType", "as"):
            named = type_name(node.arguments[0])
            return None if named is None else _narrowed(node.source, named.name)
        if node.name == "where":
            return _filtered(node.source, node.arguments[0])
    return None


def _narrowed(source: Node, only: str) -> list[Step] | None:
    steps = plain_path(source)
    if not steps or steps[-1].only or steps[-1].filter or steps[-1].target:
        return None
    return [*steps[:-1], steps[-1]._replace(only=only)]


def _filtered(source: Node, test: Node) -> list[Step] | None:
    steps = plain_path(source)
    if not steps or steps[-1].filter or steps[-1].target:
        return None
    if isinstance(test, TypeTest) and test.operand == Call(None, "resolve", (), _at(test.operand)):
        return [*steps[:-1], steps[-1]._replace(target=test.type.name)]
    if _equality(test) is None:
        return None
    return [*steps[:-1], steps[-1]._replace(filter=test)]


def _at(node: Node) -> int:
    return node.at


def _equality(node: Node) -> tuple[str, str] | None:
    """(member, text) of a test such as `system='email'`."""
    if (
        isinstance(node, Binary)
        and node.sign == "="
        and isinstance(node.left, Member)
        and node.left.source is None
        and isinstance(node.right, Literal)
        and node.right.kind == "String"
    ):
        return node.left.name, node.right.text
    return None


def _predicate(node: Node) -> tuple[str, str]:
    """(attribute, text) of a test of `_equality`."""
    pair = _equality(node)
    assert pair is not None
    return attribute(pair[0]), pair[1]


def lay(root: Branch, owner: str, steps: list[Step], kind: str, number: int) -> None:
    """Lay a path from a value of type `owner` into the tree, ending in a parameter's leaf."""
    for place, type_, target in places(root, owner, steps):
        place.leaves.setdefault((kind, type_), []).append((number, target))


def places(root: Branch, owner: str, steps: list[Step]) -> Iterator[tuple[Branch, str, str]]:
    """Where a path ends in the tree: (place, FHIR type there, only target type or "")."""
    if not steps:
        yield root, owner, ""
        return
    step, rest = steps[0], steps[1:]
    for field in fields(owner, step.name):
        if step.only and not facts().is_a(field.type, step.only):
            continue
        place = root.children.setdefault(field, Branch())
        if step.filter is not None:
            place = place.filters.setdefault(step.filter, Branch())
        if step.target:
            assert not rest
            yield place, field.type, step.target
        else:
            yield from places(place, field.type, rest)
