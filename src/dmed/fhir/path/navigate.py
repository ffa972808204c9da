"""Steps from items to children: attribute access where types are known, by class otherwise."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir.path.code import NONE, Code, Env, Items, Run, itself
from dmed.fhir.path.errors import PathSemanticError
from dmed.fhir.path.items import Typed, TypeInfo, is_of
from dmed.fhir.path.model import Step, is_open, is_primitive, members, steps
from dmed.fhir.path.quantity import Quantity

_QUANTITY_MEMBERS = {"value": "System.Decimal", "unit": "System.String"}
_ELEMENT_MEMBERS = {"id": "string", "extension": "Extension"}


def navigate(source: Code, name: str, *, strict: bool) -> Code:
    """The children of that name; a name that no static type has is empty, or an error if strict."""
    types = source.types
    if types is None or any(is_open(each) for each in types):
        return Code(_dynamic(source.run, name))
    if source.primitive:
        return _of_primitive(source, name, strict=strict)
    if types == ("System.Quantity",) and name in _QUANTITY_MEMBERS:
        return Code(_dynamic(source.run, name), (_QUANTITY_MEMBERS[name],), source.many)
    found = tuple(dict.fromkeys(step for each in types for step in steps(each, name)))
    if not found and any(is_primitive(each) for each in types):
        return Code(_dynamic(source.run, name))
    if not found and not (types and all(each == "System.TypeInfo" for each in types)):
        if strict and types:
            raise PathSemanticError(f"{' or '.join(types)} has no element {name!r}")
        return Code(lambda _env, _this: NONE, (), many=False)
    many = source.many or any(step.is_list for step in found)
    made = tuple(dict.fromkeys(step.type for step in found))
    kinds = None if not made or any(is_open(each) for each in made) else made
    if len(types) > 1 or not found:
        return Code(_dynamic(source.run, name), kinds, many)
    if len(found) > 1:
        return Code(_choice(source.run, found), kinds, many)
    return Code(_static(source, found[0]), kinds, many, is_pure=source.is_pure)


def narrowed(source: Code, name: str, wanted: tuple[str, ...]) -> Code | None:
    """The children of that name which have a wanted type, straight from their attribute.

    None where static types do not tell, so the caller must filter at run time.
    """
    types = source.types
    if types is None or len(types) != 1 or is_open(types[0]) or source.primitive:
        return None
    found = [
        step
        for step in steps(types[0], name)
        if any(is_of(step.type, each) for each in wanted) and not is_open(step.type)
    ]
    if len(found) != 1:
        return None
    many = source.many or found[0].is_list
    return Code(_static(source, found[0]), (found[0].type,), many, is_pure=source.is_pure)


def _static(source: Code, step: Step) -> Run:
    """The quickest run for one attribute: most are absent in most records, and most chains begin
    at one item, so both are decided before any list is made.
    """
    if step.is_primitive and step.extension:
        return _primitive_list(source.run, step) if step.is_list else _primitive(source, step)
    run, get = source.run, attrgetter(step.attribute)
    if step.is_list:
        return _lists(run, get)
    return _many(run, get) if source.many else _one(run, get)


def _one(source: Run, get: attrgetter[Any]) -> Run:
    if source is itself:

        def run_first(_env: Env, this: Items) -> Items:
            for item in this:
                value = get(item)
                return NONE if value is UNSET else [value]
            return NONE

        return run_first

    def run(env: Env, this: Items) -> Items:
        for item in source(env, this):
            value = get(item)
            return NONE if value is UNSET else [value]
        return NONE

    return run


def _many(source: Run, get: attrgetter[Any]) -> Run:
    def run(env: Env, this: Items) -> Items:
        items = source(env, this)
        if not items:
            return NONE
        return [value for item in items if (value := get(item)) is not UNSET]

    return run


def _lists(source: Run, get: attrgetter[Any]) -> Run:
    def run(env: Env, this: Items) -> Items:
        items = source(env, this)
        if len(items) == 1:
            value: Any = get(items[0])
            return NONE if value is UNSET else value
        if not items:
            return NONE
        found: Items = []
        for item in items:
            value = get(item)
            if value is not UNSET:
                found += value
        return found

    return run


def _primitive(source: Code, step: Step) -> Run:
    run_source, name = source.run, step.type
    get = attrgetter(step.attribute, step.extension)

    def run(env: Env, this: Items) -> Items:
        found: Items = []
        for item in run_source(env, this):
            value, more = get(item)
            if more is not UNSET:
                found.append(Typed(None if value is UNSET else value, name, more))
            elif value is not UNSET:
                found.append(value)
        return found

    def run_one(env: Env, this: Items) -> Items:
        for item in run_source(env, this):
            value, more = get(item)
            if more is UNSET:
                return NONE if value is UNSET else [value]
            return [Typed(None if value is UNSET else value, name, more)]
        return NONE

    return run if source.many else run_one


def _primitive_list(source: Run, step: Step) -> Run:
    get, name = attrgetter(step.attribute, step.extension), step.type

    def run(env: Env, this: Items) -> Items:
        found: Items = []
        for item in source(env, this):
            plain, more = get(item)
            if more is UNSET:
                if plain is not UNSET:
                    found += plain
            else:
                found += _paired([] if plain is UNSET else plain, more, name)
        return found

    return run


def _paired(plain: Items, more: Items, name: str) -> Items:
    """Values of a list beside their extensions; either list may be the longer one."""
    length = max(len(plain), len(more))
    plain = [*plain, *[None] * (length - len(plain))]
    more = [*more, *[None] * (length - len(more))]
    pairs = zip(plain, more, strict=True)
    return [value if extra is None else Typed(value, name, extra) for value, extra in pairs]


def _choice(source: Run, found: tuple[Step, ...]) -> Run:
    def run(env: Env, this: Items) -> Items:
        return [child for item in source(env, this) for step in found for child in read(item, step)]

    return run


def _dynamic(source: Run, name: str) -> Run:
    def run(env: Env, this: Items) -> Items:
        found: Items = []
        for item in source(env, this):
            if isinstance(item, msgspec.Struct):
                for step in steps(item.fhir_type, name):  # type: ignore[attr-defined]  # Every struct of ours has it.
                    found += read(item, step)
            elif type(item) is Typed:
                found += _of_typed(item, name)
            elif (isinstance(item, TypeInfo) and name in TypeInfo._fields) or (
                isinstance(item, Quantity) and name in _QUANTITY_MEMBERS
            ):
                found.append(getattr(item, name))
        return found

    return run


def read(item: Any, step: Step) -> Items:
    """The children that a struct holds under one attribute; primitives are Typed."""
    value = getattr(item, step.attribute)
    if not step.is_primitive:
        if value is UNSET:
            return NONE
        return value if step.is_list else [value]
    more = getattr(item, step.extension) if step.extension else UNSET
    if value is UNSET and more is UNSET:
        return NONE
    if not step.is_list:
        one = None if value is UNSET else value
        return [Typed(one, step.type, None if more is UNSET else more)]
    plain = [] if value is UNSET else value
    paired = plain if more is UNSET else _paired(plain, more, step.type)
    return [each if type(each) is Typed else Typed(each, step.type) for each in paired]


def _of_primitive(source: Code, name: str, *, strict: bool) -> Code:
    """`id` and `extension` of a primitive; `value` is itself, as some of R5's rules write it."""
    run = source.run
    if name == "value":
        return source
    kind = _ELEMENT_MEMBERS.get(name)
    if kind is None:
        if strict:
            raise PathSemanticError(f"{source.primitive} has no element {name!r}")
        return Code(lambda _env, _this: NONE, (), many=False)

    def of_element(env: Env, this: Items) -> Items:
        return [
            child
            for item in run(env, this)
            if type(item) is Typed
            for child in _of_typed(item, name, box=False)
        ]

    return Code(of_element, (kind,))


def _of_typed(item: Typed, name: str, *, box: bool = True) -> Items:
    if name == "value":
        return [item]
    value = UNSET if item.element is None else getattr(item.element, name, UNSET)
    if value is UNSET:
        return NONE
    if name == "id":
        return [Typed(value, "string")] if box else [value]
    found: Items = value
    return found


def children(item: Any) -> Items:
    """All children of an item, in the order of its definition; primitives are Typed."""
    if type(item) is Typed:
        element = item.element
        return NONE if element is None else children(element)
    if not isinstance(item, msgspec.Struct):
        return NONE
    found: Items = []
    for step in members(item.fhir_type):  # type: ignore[attr-defined]  # Every struct of ours has it.
        found += read(item, step)
    return found


def descendants(items: Items) -> Items:
    """All children and theirs, level by level."""
    found: Items = []
    level = items
    while level:
        level = [child for item in level for child in children(item)]
        found += level
    return found
