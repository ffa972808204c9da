"""`%factory`: values made inside an expression. https://hl7.org/fhir/R5/fhirpath.html#factory

Nothing that is given is changed: what is made from an instance is a copy of it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir.facts import Element, facts
from dmed.fhir.path.code import NONE, Code, Env, Items, Run, boxed
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError, PathSemanticError
from dmed.fhir.path.items import SYSTEM, Typed, type_of
from dmed.fhir.path.model import is_open, is_primitive
from dmed.fhir.path.quantity import Quantity
from dmed.fhir.path.tree import Call, Instance
from dmed.fhir.path.units import UCUM
from dmed.fhir.types import attribute, struct_of

_SIGNATURES = {
    "Extension": ("url", "value"),
    "Identifier": ("system", "value", "use", "type"),
    "HumanName": ("family", "given", "prefix", "suffix", "text", "use"),
    "ContactPoint": ("system", "value", "use"),
    "Address": ("line", "city", "state", "postalCode", "country", "use", "type"),
    "Quantity": ("system", "code", "value", "unit"),
    "Coding": ("system", "code", "display", "version"),
    "CodeableConcept": ("coding", "text"),
}
"""The functions named after types, with the elements that their arguments fill."""
_FHIR_OF = {
    "Boolean": "boolean", "String": "string", "Integer": "integer", "Long": "integer64",
    "Decimal": "decimal", "Date": "date", "DateTime": "dateTime", "Time": "time",
}  # fmt: skip  # A table.
_CHANGES = {"withExtension": 3, "withProperty": 3}


def build(compiler: Compiler, node: Call, scope: Scope) -> Code:
    """A call of one of the factory's functions. PathSemanticError for another name."""
    runs = [boxed(compiler.code(each, scope)) for each in node.arguments]
    name, count = node.name, len(runs)
    if name in _SIGNATURES and count <= len(_SIGNATURES[name]):
        return Code(_complex(name, runs), (name,), many=False)
    if name == "create" and count == 1:
        return Code(_create(runs[0]), None, many=False)
    if name in _CHANGES and count == _CHANGES[name]:
        change = _with_extension if name == "withExtension" else _with_property
        return Code(change(runs), None, many=False)
    if is_primitive(name) and 1 <= count <= 2:
        return Code(_primitive(name, runs), None, many=False)
    raise PathSemanticError(f"%factory has no {name}() of {count} arguments")


def instance(compiler: Compiler, node: Instance, scope: Scope) -> Code:
    """`Coding { code: 'a' }` on the one item of the focus; nothing where there is none.

    https://build.fhir.org/ig/HL7/FHIRPath/#instance-selector
    """
    name = next((each for each in compiler.wanted(node.type) if each in facts().types), "")
    known = facts().types.get(name)
    if known is None or known.is_abstract or known.kind == "backbone":
        raise PathSemanticError(f"{node.type.name} is no type that can be made")
    runs = [(element, boxed(compiler.code(each, scope))) for element, each in node.elements]
    is_primitive_ = known.kind == "primitive"

    def make(env: Env, this: Items) -> Items:
        if len(this) > 1:
            raise PathExecutionError(f"{name} {{…}} takes one item, not {len(this)}")
        if not this:
            return NONE
        if is_primitive_:
            return _plain(name, {element: run(env, this) for element, run in runs})
        made = struct_of(name)()
        for element, run in runs:
            put(made, element, run(env, this))
        return [made]

    return Code(make, None if is_primitive_ else (name,), many=False)


def _plain(name: str, given: dict[str, Items]) -> Items:
    """A primitive from its `value`, `id` and `extension`."""
    unknown = given.keys() - {"value", "id", "extension"}
    found = given.pop("value", NONE)
    if unknown or len(found) > 1:
        raise PathExecutionError(f"{name} takes one value, an id and extensions")
    element = struct_of("Element")() if any(given.values()) else None
    for each, items in given.items():
        put(element, each, items)
    if not found and element is None:
        return NONE
    return [Typed(json_of(found[0], name) if found else None, name, element)]


def _complex(name: str, runs: list[Run]) -> Run:
    names = _SIGNATURES[name]

    def make(env: Env, this: Items) -> Items:
        made = struct_of(name)()
        for element, run in zip(names, runs, strict=False):
            put(made, element, run(env, this))
        return [made]

    return make


def _create(run: Run) -> Run:
    def make(env: Env, this: Items) -> Items:
        wanted = _text(run(env, this), "the name of a type")
        known = facts().types.get(wanted)
        if known is None or known.kind == "backbone" or known.is_abstract:
            raise PathExecutionError(f"{wanted!r} is no type that can be made")
        return [Typed(None, wanted) if known.kind == "primitive" else struct_of(wanted)()]

    return make


def _primitive(name: str, runs: list[Run]) -> Run:
    def make(env: Env, this: Items) -> Items:
        found = runs[0](env, this)
        extensions = runs[1](env, this) if len(runs) > 1 else NONE
        if len(found) > 1:
            raise PathExecutionError(f"%factory.{name}() takes one value")
        element = struct_of("Element")(extension=list(extensions)) if extensions else None
        if not found and element is None:
            return NONE
        return [Typed(json_of(found[0], name) if found else None, name, element)]

    return make


def _with_extension(runs: list[Run]) -> Run:
    def make(env: Env, this: Items) -> Items:
        instance = _one(runs[0](env, this))
        if instance is None:
            return NONE
        added = struct_of("Extension")()
        put(added, "url", runs[1](env, this))
        put(added, "value", runs[2](env, this))
        if isinstance(instance, Typed):
            known = instance.element
            old = [] if known is None or known.extension is UNSET else known.extension
            element = struct_of("Element")(extension=[*old, added])
            return [Typed(instance.value, instance.type, element)]
        made = _copy(instance, "withExtension")
        old = [] if made.extension is UNSET else made.extension
        made.extension = [*old, added]
        return [made]

    return make


def _with_property(runs: list[Run]) -> Run:
    def make(env: Env, this: Items) -> Items:
        instance = _one(runs[0](env, this))
        if instance is None:
            return NONE
        made = _copy(instance, "withProperty")
        put(made, _text(runs[1](env, this), "the name of a property"), runs[2](env, this))
        return [made]

    return make


def _one(items: Items) -> Any:
    if len(items) > 1:
        raise PathExecutionError("one instance is changed at a time")
    return items[0] if items else None


def _copy(instance: Any, name: str) -> Any:
    if not isinstance(instance, msgspec.Struct) or not hasattr(instance, "fhir_type"):
        raise PathExecutionError(f"%factory.{name}() does not take {type_of(instance)}")
    return msgspec.structs.replace(instance)


def _text(items: Items, what: str) -> str:
    value = items[0].system() if len(items) == 1 and isinstance(items[0], Typed) else None
    found = value if value is not None else items[0] if len(items) == 1 else None
    if not isinstance(found, str):
        raise PathExecutionError(f"{what} is one text")
    return found


def put(struct: Any, name: str, items: Items) -> None:
    """Set an element of a struct, of whatever shape its JSON has; nothing for no items.

    PathExecutionError for an element that the type has not, a value that it does not take, or
    several values where it takes one.
    """
    owner = struct.fhir_type
    element = next((each for each in facts().types[owner].elements if each.name == name), None)
    if element is None:
        raise PathExecutionError(f"{owner} has no element {name!r}")
    if not items:
        return
    if not element.is_list and len(items) > 1:
        raise PathExecutionError(f"{owner}.{name} takes one value, not {len(items)}")
    made = [_fitting(each, element, owner) for each in items]
    target = attribute(element.json_name(made[0][0]))
    found = [value for _, value in made]
    setattr(struct, target, found if element.is_list else found[0])
    given = items[0]
    if isinstance(given, Typed) and given.element is not None and not element.is_list:
        setattr(struct, attribute("_" + element.json_name(made[0][0])), given.element)


def _fitting(item: Any, element: Element, owner: str) -> tuple[str, Any]:
    """The type code of an element that an item fills, and the plain value of it."""
    kind = type_of(item)
    codes = [each.code for each in element.types]
    wanted = _FHIR_OF.get(kind.removeprefix(SYSTEM), kind) if kind.startswith(SYSTEM) else kind
    if isinstance(item, Quantity) and "Quantity" in codes:
        return "Quantity", _quantity(item)
    fitting = [code for code in codes if is_open(code) or facts().is_a(wanted, code)]
    if wanted in codes or fitting:
        code = wanted if wanted in codes else fitting[0]
        return (wanted if element.is_choice and is_open(code) else code), json_of(item, wanted)
    if len(codes) == 1 and is_primitive(codes[0]) and is_primitive(wanted):
        return codes[0], json_of(item, codes[0])
    raise PathExecutionError(f"{owner}.{element.name} does not take {kind}")


def _quantity(item: Quantity) -> Any:
    made: Any = struct_of("Quantity")(value=item.value)
    if item.unit:
        made.unit, made.system, made.code = item.unit, UCUM, item.unit
    return made


def json_of(item: Any, code: str) -> Any:
    """The plain value of a primitive of a type as structs hold it; structs as they are."""
    if isinstance(item, msgspec.Struct):
        return item
    value = item.value if isinstance(item, Typed) else item
    base = facts().types[code]
    number = {"decimal": Decimal, "integer": int, "positiveInt": int, "unsignedInt": int}
    try:
        if code == "boolean":
            if value not in {True, False}:
                raise PathExecutionError(f"{value!s:.60} is no boolean")
            return bool(value)
        if code in number:
            return number[code](value)
    except (ValueError, ArithmeticError, TypeError):
        raise PathExecutionError(f"{value!s:.60} is no {base.name}") from None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
