"""From a struct to the values of one of its elements, whatever shape their JSON has."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

from msgspec import UNSET

from dmed.fhir.facts import Element, facts
from dmed.fhir.profile.run import Item
from dmed.fhir.types import attribute, struct_of
from dmed.fhir.validate_run import Place

Gather: TypeAlias = Callable[[Any, Place], list[Item]]


class Field(NamedTuple):
    """One JSON property of an element: attribute, JSON name, type, attribute of extensions."""

    attr: str
    name: str
    type: str
    ext: str
    is_list: bool


@cache
def element_of(owner: str, name: str) -> Element | None:
    """The base definition of a child; a choice is found by `value` and by `valueQuantity` too."""
    known = facts().types.get(_owner(owner))
    if known is None:
        return None
    for element in known.elements:
        if element.name == name:
            return element
    for element in known.elements:
        if element.is_choice and any(element.json_name(t.code) == name for t in element.types):
            return element
    return None


def _owner(type_name: str) -> str:
    """Primitives have the children of Element."""
    known = facts().types.get(type_name)
    return "Element" if known is not None and known.kind == "primitive" else type_name


@cache
def fields(owner: str, name: str) -> tuple[Field, ...]:
    """The JSON properties of a child; one for each type of a choice."""
    element = element_of(owner, name)
    if element is None:
        return ()
    present = frozenset(struct_of(_owner(owner)).__struct_fields__)
    found = []
    codes = [element.content] if element.content else [each.code for each in element.types]
    for code in codes:
        json_name = element.name if element.content else element.json_name(code)
        if element.is_choice and name not in {element.name, json_name}:
            continue
        attr, ext = attribute(json_name), attribute("_" + json_name)
        if attr in present:
            known = ext if ext in present else ""
            found.append(Field(attr, json_name, code, known, element.is_list))
    return tuple(found)


@cache
def kinds(owner: str, name: str) -> tuple[str, ...]:
    """The types that a child may have in R5 itself."""
    return tuple(each.type for each in fields(owner, name))


@cache
def gather(owner: str, name: str) -> Gather:
    """A closure from a struct of the owner's type and its place to the child's items."""
    known = fields(owner, name)
    if len(known) == 1 and not known[0].ext:
        return _lists(known[0]) if known[0].is_list else _one(known[0])
    if len(known) == 1 and not known[0].is_list:
        return _primitive(known[0])

    def several(struct: Any, place: Place) -> list[Item]:
        found: list[Item] = []
        for each in known:
            value = getattr(struct, each.attr)
            ext = getattr(struct, each.ext) if each.ext else UNSET
            if value is UNSET and ext is UNSET:
                continue
            if not each.is_list:
                found.append(_item(value, ext, each.type, (place, each.name, -1)))
                continue
            pairs = zip_longest(() if value is UNSET else value, () if ext is UNSET else ext)
            for index, (one, own) in enumerate(pairs):
                found.append(_item(one, own, each.type, (place, each.name, index)))
        return found

    return several


def _item(value: Any, ext: Any, type_name: str, place: Place) -> Item:
    plain = None if value is UNSET else value
    return Item(plain, None if ext is UNSET else ext, _actual(plain, type_name), place)


def _actual(value: Any, type_name: str) -> str:
    return value.fhir_type if type_name == "Resource" and value is not None else type_name


def _lists(field: Field) -> Gather:
    attr, name, type_name = field.attr, field.name, field.type

    def items(struct: Any, place: Place) -> list[Item]:
        value = getattr(struct, attr)
        if value is UNSET:
            return []
        return [
            Item(each, None, _actual(each, type_name), (place, name, index))
            for index, each in enumerate(value)
            if each is not None
        ]

    return items


def _primitive(field: Field) -> Gather:
    attr, ext_attr, name, type_name = field.attr, field.ext, field.name, field.type

    def items(struct: Any, place: Place) -> list[Item]:
        value = getattr(struct, attr)
        ext = getattr(struct, ext_attr)
        if value is UNSET:
            return [] if ext is UNSET else [Item(None, ext, type_name, (place, name, -1))]
        return [Item(value, None if ext is UNSET else ext, type_name, (place, name, -1))]

    return items


def _one(field: Field) -> Gather:
    attr, name, type_name = field.attr, field.name, field.type

    def items(struct: Any, place: Place) -> list[Item]:
        value = getattr(struct, attr)
        if value is UNSET:
            return []
        return [Item(value, None, _actual(value, type_name), (place, name, -1))]

    return items
