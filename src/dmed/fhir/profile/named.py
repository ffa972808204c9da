"""slice() of FHIRPath: which of some items belong to a slice that a profile names.

https://hl7.org/fhir/R5/fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dmed.fhir.path import Typed
from dmed.fhir.path.items import type_of
from dmed.fhir.profile.build import Builder
from dmed.fhir.profile.definition import Node
from dmed.fhir.profile.fields import kinds
from dmed.fhir.profile.run import Check, Item, ProfileRun
from dmed.fhir.profile.slicing import matcher

_DEPTH_MAX = 12


def slice_of(items: list[Any], profile: str, name: str, run: ProfileRun) -> list[Any] | None:
    """The items of the slice, in their order; None where the profile has none for such items."""
    found = run.library.definition(profile)
    if found is None:
        return None
    builder = Builder(run.library)
    for node, owner in _sliced(found.root, found.type, name, 0):
        allowed = kinds(owner, node.name)
        if not all(type_of(each) in allowed for each in items):
            continue

        def quietly(target: Node, kind: str, owner: str = owner) -> Check | None:
            return builder.check(target, kind, owner)

        test = matcher(node, node.slices[name], run.library, quietly).test
        return [each for index, each in enumerate(items) if test(_item(each), index, run)]
    return None


def _sliced(node: Node, owner: str, name: str, depth: int) -> Iterator[tuple[Node, str]]:
    """Every element with a slice of that name, and the type that the element belongs to."""
    if depth > _DEPTH_MAX:
        return
    for child in node.children.values():
        if name in child.slices:
            yield child, owner
        for kind in kinds(owner, child.name):
            yield from _sliced(child, kind, name, depth + 1)


def _item(value: Any) -> Item:
    kind = type_of(value)
    place = (None, kind, -1)
    if isinstance(value, Typed):
        return Item(value.value, value.element, kind, place)
    return Item(value, None, kind, place)
