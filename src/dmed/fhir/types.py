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
import sys
from decimal import Decimal
from functools import cache
from types import ModuleType
from typing import Annotated, Any, Optional, Union

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
_structs: dict[str, type[msgspec.Struct]] = {}


def attribute(name: str) -> str:
    """The attribute of a JSON property: `class_` of class, `birthDate__ext` of _birthDate."""
    if name.startswith("_"):
        return attribute(name[1:]) + EXT
    return name + "_" if keyword.iskeyword(name) else name


def is_primitive(type_code: str) -> bool:
    """Whether a type's JSON is a plain value."""
    found = facts().types.get(type_code)
    return found is not None and found.kind == "primitive"


def _class_name(path: str) -> str:
    return path.replace(".", "_")


def _has_extension_field(owner: TypeFacts, element: Element) -> bool:
    if element.name == "url":
        return owner.name != "Extension"
    return element.name not in _PLAIN


def _fields(owner: TypeFacts) -> list[tuple[str, str, Any]]:
    """(attribute, JSON name, annotation) of every field, in the definition's order."""
    made: list[tuple[str, str, Any]] = []
    for element in owner.elements:
        if element.max == 0:
            continue
        if element.content:
            made.append(_field(element, element.name, _class_name(element.content)))
            continue
        for each in element.types:
            name = element.json_name(each.code)
            if not is_primitive(each.code):
                code = _ANY_RESOURCE if each.code == "Resource" else _class_name(each.code)
                made.append(_field(element, name, code))
                continue
            plain = _PRIMITIVES.get(each.code, _Text)
            made.append(_field(element, name, Optional[plain] if element.is_list else plain))  # noqa: UP045  # A value, not an annotation: `|` fails on forward references.
            if _has_extension_field(owner, element):
                kind = Optional["Element"] if element.is_list else "Element"
                made.append(_field(element, "_" + name, kind))
    return made


def _field(element: Element, name: str, kind: Any) -> tuple[str, str, Any]:
    whole = list[kind] if element.is_list else kind
    return attribute(name), name, Union[whole, UnsetType]  # noqa: UP007  # Same reason.


def _define(owner: TypeFacts, module: ModuleType) -> type[msgspec.Struct]:
    fields = _fields(owner)
    is_resource = owner.kind == "resource"
    return msgspec.defstruct(
        _class_name(owner.name),
        [(attr, kind, UNSET) for attr, _, kind in fields],
        namespace={
            "fhir_type": owner.name,
            "fhir_base": owner.base,
            "__module__": module.__name__,
        },
        kw_only=True,
        forbid_unknown_fields=True,
        rename={attr: name for attr, name, _ in fields if attr != name},
        tag_field="resourceType" if is_resource else None,
        tag=owner.name if is_resource else None,
    )


def _define_all() -> None:
    """Define every struct at once, since contained resources reach all of them."""
    module = ModuleType("dmed.fhir.r5")
    module.__doc__ = (
        "The structs that dmed.fhir.types defines; a home for their forward references."
    )
    sys.modules[module.__name__] = module
    made: dict[str, type[msgspec.Struct]] = {}
    for owner in facts().types.values():
        if owner.kind == "primitive" or (owner.is_abstract and owner.name not in _USED_ABSTRACT):
            continue
        made[owner.name] = struct = _define(owner, module)
        setattr(module, struct.__name__, struct)
    module.AnyResource = Union[tuple(made[name] for name in facts().resources)]  # type: ignore[attr-defined]  # noqa: UP007  # A union made of values.
    _structs.update(made)


_USED_ABSTRACT = {"Element", "BackboneElement"}


def struct_of(name: str) -> type[msgspec.Struct]:
    """The struct class of a type name or backbone path; KeyError where R5 has no such type."""
    if not _structs:
        _define_all()
    return _structs[name]


@cache
def any_resource() -> Any:
    """The tagged union of all concrete resources, for decoders."""
    struct_of("Patient")
    return sys.modules["dmed.fhir.r5"].AnyResource
