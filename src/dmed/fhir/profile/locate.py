"""Discriminator paths, walked twice: through the tree of a profile, and through a record.

https://hl7.org/fhir/R5/profiling.html#discriminator: a restricted FHIRPath of child names,
`extension(url)`, `resolve()` and `ofType(X)`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.profile.definition import Node, TypeRef
from dmed.fhir.profile.fields import gather
from dmed.fhir.profile.leaves import NOTHING
from dmed.fhir.profile.run import Item, Library, ProfileRun, type_in
from dmed.fhir.types import attribute

_STEP = re.compile(r"(\$this)|(\w+)\(\s*(?:['\"]([^'\"]*)['\"]|([\w.]+))?\s*\)|([A-Za-z]\w*)")


class Step(NamedTuple):
    """One step: kind is child, extension, resolve or ofType; name is the argument."""

    kind: str
    name: str


def steps_of(path: str) -> tuple[Step, ...]:
    """The steps of a discriminator path; `$this` is none."""
    found = []
    for this, call, text, word, child in _STEP.findall(path):
        if this:
            continue
        if call:
            found.append(Step(call, text or word))
        else:
            found.append(Step("child", child.removesuffix("[x]")))
    return tuple(found)


def located(slice_: Node, base: Node, steps: tuple[Step, ...], library: Library) -> list[Node]:
    """The nodes that a path leads to, the slice's own first, then those of profiles and the base.

    Nodes that say nothing are left out where others say something.
    """
    nodes = [slice_]
    for step in steps:
        nodes = [found for node in nodes for found in _down(node, step, library)]
    rest = [base]
    for number, step in enumerate(steps):
        # What the other slices say of the path is no word about this one.
        rest = [found for node in rest for found in _down(node, step, library, number > 0)]
    if not steps:
        profiles = [library.root_of(p) for each in slice_.types for p in each.profiles]
        nodes += [each for each in profiles if each is not None]
        return nodes
    return nodes + [each for each in rest if each not in nodes]


def _down(node: Node, step: Step, library: Library, into_slices: bool = True) -> list[Node]:
    roots = [library.root_of(p) for each in node.types for p in each.profiles]
    every = [node, *(root for root in roots if root is not None)]
    if step.kind == "child":
        if into_slices:
            every += [slice_ for each in every for slice_ in each.slices.values()]
        return [each.children[step.name] for each in every if step.name in each.children]
    if step.kind == "ofType":
        return [
            *(s for s in node.slices.values() if any(t.code == step.name for t in s.types)),
            node,
        ]
    if step.kind == "resolve":
        return _targets(node, library)
    if step.kind == "extension":
        return _extensions(every, step.name, library)
    return []


def _targets(node: Node, library: Library) -> list[Node]:
    found: list[Node] = []
    for each in node.types:
        for target in each.targets:
            root = library.root_of(target)
            stub = Node(target, library.type_of(target))
            stub.types = (TypeRef(library.type_of(target), (target,), (), ()),)
            if root is not None:
                stub.children, stub.constraints = root.children, root.constraints
            found.append(stub)
    return found


def _extensions(every: list[Node], url: str, library: Library) -> list[Node]:
    found: list[Node] = []
    for each in every:
        sliced = each.children.get("extension")
        for one in () if sliced is None else sliced.slices.values():
            fixed = one.children.get("url")
            by_url = fixed is not None and fixed.fixed is not None and fixed.fixed.value == url
            if by_url or any(url in kind.profiles for kind in one.types):
                found.append(one)
    root = library.root_of(url)
    return found if root is None else [*found, root]


def values(item: Item, steps: tuple[Step, ...], run: ProfileRun) -> list[Item]:
    """What a path finds from an item of a record."""
    items = [item]
    for step in steps:
        items = [found for each in items for found in _walk(each, step, run)]
    return items


def _walk(item: Item, step: Step, run: ProfileRun) -> list[Item]:
    if step.kind == "ofType":
        return [item] if facts().is_a(item.type, step.name) else []
    if step.kind == "resolve":
        return _resolved(item, run)
    struct = item.value if isinstance(item.value, msgspec.Struct) else item.ext
    if struct is None:
        struct = NOTHING
    kind = item.type if struct is item.value else "Element"
    if step.kind == "extension":
        found = gather(kind, "extension")(struct, item.place)
        return [each for each in found if each.value.url == step.name]
    if kind == "Element" and not hasattr(struct, attribute(step.name)):
        return []
    return gather(kind, step.name)(struct, item.place)


def _resolved(item: Item, run: ProfileRun) -> list[Item]:
    value = item.value
    if item.type == "CodeableReference":
        value = UNSET if value is None else value.reference
    if value is None or value is UNSET:
        return []
    address = value if isinstance(value, str) else value.reference
    if address is UNSET:
        return []
    found = run.resolve(address)
    if found is not None:
        return [Item(found[0], None, found[0].fhir_type, found[1])]
    named = "" if isinstance(value, str) or value.type is UNSET else value.type
    return [Item(None, None, type_in(address) or named, item.place)]
