"""One msgspec struct for each R5 resource, data type and backbone element, made from the facts.

https://hl7.org/fhir/R5/json.html. The structs are mutable; an absent field is `msgspec.UNSET`;
unknown fields are refused. Fields carry FHIR's names, with these rules:

- a Python keyword gets a trailing underscore: `Encounter.class_`, `Task.for_`;
- the extensions and id of a primitive are a second field: `birthDate__ext` is `_birthDate`;
- each type of a choice is a field of its own: `valueQuantity`, `valueString`, `valueString__ext`;
- decimals are `Decimal` with their digits; dates, times, instants and integer64 stay `str`;
- arrays of primitives hold None where only the paired `__ext` array has an entry.

Class attributes: `fhir_type` is the definition's name or path (`Patient`, `Patient.contact`),
`fhir_base` the type it derives from (`DomainResource`, `BackboneElement`, `Quantity`).
"""

from __future__ import annotations

import keyword
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, NewType, Optional, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dmed.fhir.facts import Element, TypeFacts, facts

EXT = "__ext"
_INTEGER_MAX = 2**31 - 1
_Text = Annotated[str, Meta(min_length=1)]
_PRIMITIVES: dict[str, Any] = {
    "boolean": bool,
    "decimal": Decimal,
    "integer": Annotated[int, Meta(ge=-(2**31), le=_INTEGER_MAX)],
    "positiveInt": Annotated[int, Meta(ge=1, le=_INTEGER_MAX)],
    "unsignedInt": Annotated[int, Meta(ge=0, le=_INTEGER_MAX)],
}
# Elements that are XML attributes, and narrative's div, have no extensions in JSON.
_PLAIN = {"id", "url", "div"}
# Any record at all stands in `contained`, in Bundle entries and in Parameters.
_ANY_RESOURCE = "AnyResource"
_USED_ABSTRACT = {"Element", "BackboneElement"}


def attribute(name: str) -> str:
    """The attribute of a JSON property: `class_` of class, `birthDate__ext` of _birthDate."""
    if name.startswith("_"):
        return attribute(name[1:]) + EXT
    return name + "_" if keyword.iskeyword(name) else name


def is_primitive(type_code: str) -> bool:
    """Whether a type's JSON is a plain value."""
    found = facts().types.get(type_code)
    return found is not None and found.kind == "primitive"


def _has_extension_field(owner: TypeFacts, element: Element) -> bool:
    if element.name == "url":
        return owner.name != "Extension"
    return element.name not in _PLAIN


class _Annotations:
    """Annotations of fields, shared by all fields of one kind, filled when all structs exist.

    Each is a NewType, which `typing` takes as it is: thousands of forward references between
    the structs would take half a second of every start to evaluate.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], Any] = {}

    def of(self, code: str, is_list: bool) -> Any:
        """The annotation of a field that holds this type, or an array of it."""
        key = code, is_list
        if key not in self._made:
            self._made[key] = NewType(code, object)
        return self._made[key]

    def fill(self, structs: dict[str, type[msgspec.Struct]]) -> None:
        """Put the real types in."""
        for (code, is_list), annotation in self._made.items():
            one = structs.get(code) or _PRIMITIVES.get(code, _Text)
            if code == _ANY_RESOURCE:
                one = _any_of(structs)
            elif is_list and (code not in structs or code == "Element"):
                one = Optional[one]  # noqa: UP045  # Made of values, where `|` fails on some.
            whole: Any = list[one] if is_list else one  # type: ignore[valid-type]  # A value here.
            annotation.__supertype__ = Union[whole, UnsetType]  # noqa: UP007  # Same reason.


def _any_of(structs: dict[str, type[msgspec.Struct]]) -> Any:
    return Union[tuple(structs[name] for name in facts().resources)]  # noqa: UP007  # Same reason.


def _fields(owner: TypeFacts, annotations: _Annotations) -> list[tuple[str, str, Any]]:
    """(attribute, JSON name, annotation) of every field, in the definition's order."""
    made: list[tuple[str, str, Any]] = []
    for element in owner.elements:
        if element.max == 0:
            continue
        codes = [element.content] if element.content else [each.code for each in element.types]
        for code in codes:
            name = element.name if element.content else element.json_name(code)
            kind = _ANY_RESOURCE if code == "Resource" else code
            made.append((attribute(name), name, annotations.of(kind, element.is_list)))
            if is_primitive(code) and _has_extension_field(owner, element):
                kind = annotations.of("Element", element.is_list)
                made.append((attribute("_" + name), "_" + name, kind))
    return made


def _define(owner: TypeFacts, annotations: _Annotations) -> type[msgspec.Struct]:
    fields = _fields(owner, annotations)
    is_resource = owner.kind == "resource"
    return msgspec.defstruct(
        owner.name.replace(".", "_"),
        [(attr, kind, UNSET) for attr, _, kind in fields],
        namespace={"fhir_type": owner.name, "fhir_base": owner.base},
        kw_only=True,
        forbid_unknown_fields=True,
        rename={attr: name for attr, name, _ in fields if attr != name},
        tag_field="resourceType" if is_resource else None,
        tag=owner.name if is_resource else None,
        gc=False,  # A resource is a tree: without cycles its parts go when it goes.
    )


@cache
def _structs() -> dict[str, type[msgspec.Struct]]:
    """Every struct, made at once, since contained resources reach all of them."""
    annotations = _Annotations()
    made = {
        owner.name: _define(owner, annotations)
        for owner in facts().types.values()
        if owner.kind != "primitive" and (not owner.is_abstract or owner.name in _USED_ABSTRACT)
    }
    annotations.fill(made)
    return made


def struct_of(name: str) -> type[msgspec.Struct]:
    """The struct class of a type name or backbone path; KeyError where R5 has no such type."""
    return _structs()[name]


@cache
def any_resource() -> Any:
    """The tagged union of all concrete resources, for decoders."""
    return _any_of(_structs())
