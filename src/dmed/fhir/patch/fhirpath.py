"""FHIRPath Patch: https://hl7.org/fhir/R5/fhirpatch.html

Parameters hold the operations: add, insert, delete, replace and move, done in their order. The
path of each leads to one element; what deletions leave empty goes when all are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from dmed.fhir import codec
from dmed.fhir.patch.document import OPERATIONS_MAX, PatchError
from dmed.fhir.patch.elements import (
    Given,
    MisfitError,
    given_in,
    insert,
    move,
    put,
    remove,
    replace,
    tidy,
)
from dmed.fhir.patch.places import Place, length, lists, places
from dmed.fhir.path import PathError
from dmed.fhir.path.model import Step, steps
from dmed.fhir.path.parser import children, parse
from dmed.fhir.path.tree import Call, Node, Variable
from dmed.kit.errors import InvalidError

PATH_MAX = 2_000
"""Most characters of one path."""
_FUNCTIONS = frozenset(
    """all any as contains count empty endsWith exists extension first getValue hasValue iif is last
    length lower not ofType resolve single skip startsWith tail take toString trim upper where
    """.split()  # noqa: SIM905  # A list literal of 30 lines would hide the rest of the file.
)
"""What a path may call: names of elements and what chooses among them. Expressions that run for
ever can be written with the rest (matches, repeat, aggregate), and a patch comes from outside."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "add": ("name", "value"),
    "insert": ("index", "value"),
    "delete": (),
    "replace": ("value",),
    "move": ("source", "destination"),
}


class Operation(NamedTuple):
    """One operation, read and checked."""

    type: str
    path: str
    node: Node
    name: str
    value: Given
    at: int
    source: int
    destination: int
    told: str
    """How a refusal calls it."""

    def fails(self, why: str) -> PatchError:
        """The error of an operation that cannot be done on this resource."""
        return PatchError(f"{self.told}: {why}")


def fhirpath_patch(resource: bytes, parameters: bytes) -> bytes:
    """The resource after the operations of a Parameters resource, in canonical JSON.

    Any that fails fails the whole: InvalidError for broken Parameters or a broken path,
    PatchError for an operation that does not fit this resource. The result is not validated.
    """
    operations = read_operations(codec.decode(parameters, "Parameters"))
    root = codec.decode(resource)
    for each in operations:
        try:
            _DOES[each.type](each, root)
        except (PathError, MisfitError) as fault:
            raise each.fails(str(fault)) from fault
    if any(each.type == "delete" for each in operations):
        tidy(root)
    return codec.encode(root)


def read_operations(parameters: Any) -> list[Operation]:
    """The operations of decoded Parameters; InvalidError names the first that is broken."""
    given = [] if parameters.parameter is UNSET else parameters.parameter
    if len(given) > OPERATIONS_MAX:
        raise InvalidError(f"A patch has at most {OPERATIONS_MAX} operations", "Parameters")
    return [_operation(number, each) for number, each in enumerate(given)]


def _operation(number: int, given: Any) -> Operation:
    place = f"Parameters.parameter[{number}]"
    if given.name != "operation":
        raise InvalidError("A FHIRPath Patch has parameters named operation only", place)
    parts = _parts(given, place)
    kind = _plain(parts, "type", place)
    if kind not in _NEEDED:
        raise InvalidError(f"type is one of {', '.join(_NEEDED)}, not {kind!r}"[:200], place)
    missing = [name for name in _NEEDED[kind] if name not in parts]
    if missing:
        raise InvalidError(f"{kind} needs {' and '.join(missing)}", place)
    path = _plain(parts, "path", place)
    if not isinstance(path, str) or len(path) > PATH_MAX:
        raise InvalidError(f"path is a text of at most {PATH_MAX} characters", place)
    try:
        node = parse(path)
    except PathError as fault:
        raise InvalidError(f"The path {path[:100]} cannot be read: {fault}", place) from fault
    _check_simple(node, place)
    return Operation(
        type=kind,
        path=path,
        node=node,
        name=str(_plain(parts, "name", place)) if "name" in parts else "",
        value=given_in(parts["value"], place) if "value" in parts else Given(),
        at=_number(parts, "index", place),
        source=_number(parts, "source", place),
        destination=_number(parts, "destination", place),
        told=f"Operation {number} ({kind} {path[:100]})",
    )


def _check_simple(node: Node, place: str) -> None:
    """Refuse what a path does not need, so that its work stays in proportion to the record."""
    rest = [(node, False)]
    while rest:
        each, is_inside = rest.pop()
        if isinstance(each, Call):
            if each.name not in _FUNCTIONS or (is_inside and each.name == "resolve"):
                raise InvalidError(f"{each.name}() is not served in the path of a patch", place)
            rest += [(argument, True) for argument in each.arguments]
            rest += [] if each.source is None else [(each.source, is_inside)]
            continue
        if is_inside and isinstance(each, Variable):
            raise InvalidError(f"%{each.name} is not served in a criterion of a patch", place)
        rest += [(child, is_inside) for child in children(each)]


def _parts(given: Any, place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in () if given.part is UNSET else given.part:
        if part.name in found:
            raise InvalidError(f"The part {part.name!r} stands twice", place)
        found[part.name] = part
    return found


def _plain(parts: dict[str, Any], name: str, place: str) -> Any:
    value = given_in(parts[name], place).value if name in parts else None
    if value is None or isinstance(value, msgspec.Struct):
        raise InvalidError(f"An operation needs the part {name} with a plain value", place)
    return value


def _number(parts: dict[str, Any], name: str, place: str) -> int:
    if name not in parts:
        return 0
    value = _plain(parts, name, place)
    if type(value) is not int or value < 0:
        raise InvalidError(f"{name} is a whole number from 0", place)
    return value


def _one(each: Operation, root: Any) -> Place:
    found = places(each.node, root)
    if len(found) != 1:
        raise each.fails(
            f"the path finds {len(found)} elements, it must find one" if found
            else "no content found at the path"
        )  # fmt: skip
    return found[0]


def _add(each: Operation, root: Any) -> None:
    target = _one(each, root).struct()
    if target is None:
        raise each.fails("this element has no children")
    put(target, each.name, each.value)


def _insert(each: Operation, root: Any) -> None:
    owner, step = lists(each.node, root)
    if each.at > length(owner, step):
        raise each.fails(f"the list has {length(owner, step)} entries, no place {each.at}")
    insert(owner, step, each.at, each.value)


def _delete(each: Operation, root: Any) -> None:
    found = places(each.node, root)
    if not found:
        return  # "Path of the element to delete (if found)".
    place = _one(each, root)
    if place.is_root:
        raise each.fails("the resource itself is deleted by DELETE")
    remove(place)


def _replace(each: Operation, root: Any) -> None:
    place = _one(each, root)
    if place.is_root:
        raise each.fails("the resource itself is replaced by PUT")
    replace(place, each.value, _alternatives(place))


def _alternatives(place: Place) -> tuple[Step, ...]:
    """The steps of the same element: for a choice, all of its types."""
    step, owner = place.step, place.owner.fhir_type
    ending = step.type[:1].upper() + step.type[1:]
    every = steps(owner, step.attribute.removesuffix(ending))
    return every if step in every else (step,)


def _move(each: Operation, root: Any) -> None:
    owner, step = lists(each.node, root)
    count = length(owner, step)
    if max(each.source, each.destination) >= count:
        raise each.fails(f"the list has {count} entries, counted from 0")
    move(owner, step, each.source, each.destination)


_DOES = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
