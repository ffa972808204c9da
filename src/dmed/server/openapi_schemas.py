"""JSON Schemas of all R5 types from the facts. https://hl7.org/fhir/R5/json.html

They describe shapes: names, arrays, references between types. Rules that no schema can say
(invariants, bindings, slices) are the validator's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from dmed.fhir.facts import Element, TypeFacts, facts

_NUMBERS = {"decimal": "number", "integer": "integer", "positiveInt": "integer",
            "unsignedInt": "integer"}  # fmt: skip  # A short table.


@lru_cache(maxsize=1)
def schemas() -> dict[str, Any]:
    """Type > schema; backbone elements stand under their path with `_` for the dot."""
    found: dict[str, Any] = {"Resource": {
        "type": "object", "required": ["resourceType"],
        "properties": {"resourceType": {"type": "string"}, "id": {"type": "string"}},
    }}  # fmt: skip  # The one schema that stands for any resource.
    for name, each in facts().types.items():
        if name == "Resource":
            continue
        found[name.replace(".", "_")] = _primitive(name) if each.kind == "primitive" else _of(each)
    return found


def _primitive(name: str) -> dict[str, Any]:
    if name == "boolean":
        return {"type": "boolean"}
    return {"type": _NUMBERS.get(name, "string")}


def _of(each: TypeFacts) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    if each.kind == "resource" and not each.is_abstract:
        properties["resourceType"] = {"const": each.name}
        required.append("resourceType")
    for element in each.elements:
        for name, type_ in _spellings(element):
            properties[name] = _held(element, type_)
            known = facts().types.get(type_)
            if known is not None and known.kind == "primitive":
                properties[f"_{name}"] = _listed(element, {"$ref": "#/components/schemas/Element"})
        is_plain = not element.is_choice and _is_complex(element)
        if element.min and is_plain:
            required.append(element.name)
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if not each.is_abstract:
        made["additionalProperties"] = False
    return {**made, "required": required} if required else made


def _is_complex(element: Element) -> bool:
    """Whether an element has no primitive value that an extension could stand for."""
    code = element.types[0].code if element.types else ""
    known = facts().types.get(code)
    return known is not None and known.kind != "primitive"


def _spellings(element: Element) -> list[tuple[str, str]]:
    if element.content or not element.types:
        return [(element.name, element.content)]
    if not element.is_choice:
        return [(element.name, element.types[0].code)]
    return [(element.json_name(each.code), each.code) for each in element.types]


def _held(element: Element, type_: str) -> dict[str, Any]:
    known = facts().types.get(type_)
    if known is None:
        return _listed(element, {"type": "string"})
    if known.name in ("Resource", "DomainResource"):
        return _listed(element, {"$ref": "#/components/schemas/Resource"})
    return _listed(element, {"$ref": f"#/components/schemas/{type_.replace('.', '_')}"})


def _listed(element: Element, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema} if element.is_list else schema
