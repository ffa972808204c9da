"""Static types by the facts of R5: what a member of a type can be, and which attribute holds it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from dmed.fhir.facts import Element, facts
from dmed.fhir.path.tree import TypeName
from dmed.fhir.types import EXT, attribute

SYSTEM_TYPES = frozenset(
    f"System.{name}"
    for name in (
        "Boolean", "String", "Integer", "Long", "Decimal", "Date", "DateTime", "Time", "Quantity",
    )
)  # fmt: skip  # A short list.
_OPEN = frozenset({"Resource", "DomainResource", "Element", "BackboneElement", "Base", "DataType"})


class Step(NamedTuple):
    """One attribute that a member can be; `extension` is the attribute of a primitive's
    extensions, empty where it has none.
    """

    attribute: str
    type: str
    is_list: bool
    is_primitive: bool
    extension: str


@cache
def steps(owner: str, name: str) -> tuple[Step, ...]:
    """The attributes that a member of a FHIR type stands for, one for each type of a choice."""
    found = facts().types.get(owner)
    for element in found.elements if found else ():
        if element.name == name and element.max != 0:
            return tuple(_steps(owner, element))
    return ()


@cache
def members(owner: str) -> tuple[Step, ...]:
    """All attributes of a FHIR type in the definition's order: what children() goes through."""
    found = facts().types.get(owner)
    every = found.elements if found else ()
    return tuple(step for each in every if each.max != 0 for step in _steps(owner, each))


def _steps(owner: str, element: Element) -> list[Step]:
    if element.content:
        return [Step(attribute(element.name), element.content, element.is_list, False, "")]
    made = []
    for each in element.types:
        name = attribute(element.json_name(each.code))
        primitive = facts().types[each.code].kind == "primitive"
        extension = name + EXT if primitive and _has_extensions(owner, element.name) else ""
        made.append(Step(name, each.code, element.is_list, primitive, extension))
    return made


def _has_extensions(owner: str, name: str) -> bool:
    """As `fhir.types` lays its fields: XML attributes and narrative have none."""
    return name not in {"id", "div"} and (name != "url" or owner != "Extension")


def is_primitive(type_name: str) -> bool:
    """Whether it is one of FHIR's primitive types."""
    found = facts().types.get(type_name)
    return found is not None and found.kind == "primitive"


def is_open(type_name: str) -> bool:
    """Whether a value of that static type may be of many types at run time."""
    return type_name in _OPEN


def resolve_type(name: TypeName) -> tuple[str, ...]:
    """The types that a specifier may mean (Quantity is both FHIR's and System's); empty if none."""
    found = []
    if name.namespace in ("", "FHIR") and name.name in facts().types:
        found.append(name.name)
    if name.namespace in ("", "System") and f"System.{name.name}" in SYSTEM_TYPES:
        found.append(f"System.{name.name}")
    return tuple(found)
