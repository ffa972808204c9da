"""From the tree of a profile to closures, made once. Only what R5 itself does not ask is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dmed.fhir.facts import UNBOUNDED, facts
from dmed.fhir.profile import leaves
from dmed.fhir.profile.definition import Node
from dmed.fhir.profile.fields import Gather, element_of, gather, kinds
from dmed.fhir.profile.run import Check, Item, Library, ProfileRun
from dmed.fhir.profile.slicing import Matcher, Slice, Slices, matcher
from dmed.fhir.profile.targets import target_check, type_profiles_check
from dmed.fhir.validate_run import Place

Inside = Callable[[Any, Place, ProfileRun], None]


class Builder:
    """Makes the checks of one profile's tree."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def check(self, node: Node, kind: str, owner: str = "") -> Check | None:
        """The check of one value of a node; None when R5's own rules say it all.

        `kind` is the type of the values, "" when there are several; `owner` is the type that the
        element belongs to, "" for a root.
        """
        allowed = kinds(owner, node.name) if owner else ()
        is_resource = bool(owner) and node.name in {"contained", "resource", "outcome"}
        rules = leaves.constraints_check(node)
        parts = [
            leaves.types_check(node, allowed),
            leaves.value_check(node),
            leaves.range_check(node),
            leaves.text_check(node),
            leaves.presence_check(node),
            leaves.bindings_check(node, owner),
            None if is_resource else rules,
            type_profiles_check(node),
            target_check(node),
            self._inside(node, kind),
        ]
        kept = [part for part in parts if part is not None]
        check = None if not kept else kept[0] if len(kept) == 1 else _all(kept)
        if not is_resource:
            return check
        # Rules on the element that holds a resource know the resource around it as theirs.
        inner = None if check is None else _resource(check, owns=node.name != "contained")
        both = [each for each in (rules, inner) if each is not None]
        return _all(both) if both else None

    def _inside(self, node: Node, kind: str) -> Check | None:
        """The check of a value's children; compiled for each type that is met."""
        children = node.children or (node.content.children if node.content else {})
        if not children:
            return None
        plans: dict[str, list[Inside]] = {}
        # What refers to an element around it would never end: it is compiled when it is met.
        if kind and node.content is None:
            plans[kind] = self._children(children, kind)
            if not plans[kind]:
                return None

        def check(item: Item, run: ProfileRun, /) -> None:
            plan = plans.get(item.type)
            if plan is None:
                plan = plans[item.type] = self._children(children, item.type)
            struct = item.value if isinstance(item.value, msgspec.Struct) else item.ext
            if struct is None:
                struct = leaves.NOTHING
            for child in plan:
                child(struct, item.place, run)

        return check

    def _children(self, children: Mapping[str, Node], kind: str) -> list[Inside]:
        made = [self._child(each, kind) for each in children.values()]
        return [each for each in made if each is not None]

    def _child(self, node: Node, owner: str) -> Inside | None:
        """Cardinality, values and slices of one element of a type."""
        element = element_of(owner, node.name)
        if element is None or (node.name in {"value", "id"} and _is_primitive(owner)):
            return None
        low = node.min if node.min > element.min else 0
        tighter = node.max != UNBOUNDED and (element.max == UNBOUNDED or node.max < element.max)
        high = node.max if tighter else UNBOUNDED
        found = kinds(owner, node.name)
        codes = {each.code for each in node.types} & set(found) or set(found)
        one = self.check(node, _only(codes), owner)
        slices = self._slices(node, owner) if node.slices else None
        if not low and high == UNBOUNDED and one is None and slices is None:
            return None
        return _counted(node, gather(owner, node.name), (low, high), one, slices)

    def _slices(self, node: Node, owner: str) -> Slices:
        made = []
        for each in node.slices.values():
            if each.slices and each.slicing is None:
                # Slices of a slice are told as those around them.
                each.slicing = node.slicing
            codes = {one.code for one in each.types or node.types} & set(kinds(owner, node.name))
            kind = _only(codes or set(kinds(owner, node.name)))
            check = self.check(each, kind, owner)
            inner = self._slices(each, owner) if each.slices else None
            made.append(Slice(each, self._matcher(node, each, owner), check, inner))
        return Slices(node, made)

    def _matcher(self, node: Node, slice_: Node, owner: str) -> Matcher:
        def quietly(target: Node, kind: str) -> Check | None:
            return self.check(target, kind, owner)

        return matcher(node, slice_, self.library, quietly)


def _counted(
    node: Node, items_of: Gather, bounds: tuple[int, int], one: Check | None, slices: Slices | None
) -> Inside:
    low, high = bounds
    name = node.name
    # What is absent breaks only what asks for presence; most elements are absent.
    is_easy = not low and (slices is None or not slices.has_required)

    def check(struct: Any, place: Place, run: ProfileRun) -> None:
        items = items_of(struct, place)
        if not items and is_easy:
            return
        count = len(items)
        if count < low:
            run.note("required", leaves.too_few(name, low, count), place)
        elif high != UNBOUNDED and count > high:
            run.note("structure", leaves.too_many(name, high, count), place)
        if one is not None:
            for item in items:
                one(item, run)
        if slices is not None:
            slices(items, place, run)

    return check


def _all(parts: list[Check]) -> Check:
    def check(item: Item, run: ProfileRun, /) -> None:
        for part in parts:
            part(item, run)

    return check


def _resource(check: Check, *, owns: bool) -> Check:
    def inner(item: Item, run: ProfileRun, /) -> None:
        run.within(check, item, owns=owns)

    return inner


def _only(codes: set[str]) -> str:
    return next(iter(codes)) if len(codes) == 1 and "Resource" not in codes else ""


def _is_primitive(name: str) -> bool:
    known = facts().types.get(name)
    return known is not None and known.kind == "primitive"
