"""Parts of a record for `_summary` and `_elements`, marked as such.

Specification: https://hl7.org/fhir/R5/search.html#_summary, https://hl7.org/fhir/R5/search.html#_elements
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from typing import Any, TypeAlias

import msgspec

from dmed.fhir.facts import Element, facts

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
"""The tag of a record that is not whole: it must never be sent back as an update."""
_ALWAYS = frozenset({"resourceType", "id", "meta"})
_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
_Wanted: TypeAlias = "dict[str, _Wanted]"


def subset(body: bytes, summary: str, elements: Sequence[str] = ()) -> bytes:
    """The canonical body with only the parts asked for, tagged SUBSETTED; digits are kept.

    `summary` is true, text, data, false or "". Mandatory elements and those that change the
    meaning of others stay in any case. `elements` ("name", "name.family", "Patient.name") go
    before `summary`. A body that is asked for whole comes back as it is.
    """
    if not elements and summary in {"", "false"}:
        return body
    resource = _decoder.decode(body)
    name = resource["resourceType"]
    if elements:
        kept = _picked(resource, name, _wanted(name, elements))
    elif summary == "true":
        kept = _filtered(resource, name, lambda element: element.is_summary or element.min > 0)
    elif summary == "text":
        kept = _filtered(resource, name,
                         lambda element: element.name == "text" or element.min > 0)
    else:
        kept = {key: value for key, value in resource.items() if key != "text"}
    return _encoder.encode(_tagged(kept))


def without(body: bytes, names: Collection[str], systems: tuple[str, ...] = ()) -> bytes:
    """The canonical body without some elements at its top ("multipleBirth" names every type of
    it) and without identifiers whose system begins with one of `systems`, tagged SUBSETTED. A body
    that has nothing of it comes back as it is.
    """
    resource = _decoder.decode(body)
    known = _elements(resource["resourceType"])
    kept = {key: value for key, value in resource.items()
            if not _is_named(key.removeprefix("_"), known, names)}  # fmt: skip  # One mapping.
    numbers = kept.pop("identifier", ())
    if told := [one for one in numbers if not one.get("system", "").startswith(systems)]:
        kept["identifier"] = told
    return body if kept == resource else _encoder.encode(_tagged(kept))


def _is_named(key: str, known: Mapping[str, Element], names: Collection[str]) -> bool:
    element = known.get(key)
    return key in names or (element is not None and element.name in names)


def _tagged(resource: dict[str, Any]) -> dict[str, Any]:
    meta = dict(resource.get("meta", {}))
    tags = meta.get("tag", [])
    if not any(_is_mark(tag) for tag in tags):
        meta["tag"] = [*tags, SUBSETTED]
    head: dict[str, Any] = {key: resource[key] for key in ("resourceType", "id") if key in resource}
    return {**head, "meta": meta,
            **{key: value for key, value in resource.items() if key not in _ALWAYS}}


def _is_mark(tag: dict[str, Any]) -> bool:
    return tag.get("code") == SUBSETTED["code"] and tag.get("system") == SUBSETTED["system"]


@cache
def _elements(type_name: str) -> Mapping[str, Element]:
    """Elements of a type by every JSON name that they may have."""
    found = facts().types.get(type_name)
    return {
        name: element
        for element in (found.elements if found else ())
        for name in ({element.json_name(each.code) for each in element.types} or {element.name})
    }


def _inside(element: Element, key: str) -> str:
    """The type whose elements stand inside a value: a backbone, or the type that `key` names."""
    if element.content:
        return element.content
    for each in element.types:
        if element.json_name(each.code) == key:
            return each.code
    return ""


def _filtered(
    value: dict[str, Any], type_name: str, keeps: Callable[[Element], bool]
) -> dict[str, Any]:
    """The elements of a record or backbone that a rule keeps; data types stay whole."""
    kept: dict[str, Any] = {}
    for key, child in value.items():
        plain = key.removeprefix("_")
        element = _elements(type_name).get(plain)
        if plain in _ALWAYS:
            kept[key] = child
        elif element is not None and keeps(element):
            inner = _inside(element, plain)
            is_backbone = "." in inner and plain == key
            kept[key] = _each(child, partial(_filtered, type_name=inner, keeps=keeps)) \
                if is_backbone else child
    return kept


def _each(child: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(child, list):
        return [change(one) for one in child]
    return change(child)


def _wanted(type_name: str, elements: Sequence[str]) -> _Wanted:
    """Paths as a tree; an empty branch means all of it."""
    tree: _Wanted = {}
    whole: list[_Wanted] = []
    for path in elements:
        names = path.removeprefix(f"{type_name}.").split(".")
        branch = tree
        for name in names:
            branch = branch.setdefault(name, {})
        whole.append(branch)
    for branch in whole:
        branch.clear()
    return tree


def _picked(value: dict[str, Any], type_name: str, wanted: _Wanted) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, child in value.items():
        plain = key.removeprefix("_")
        element = _elements(type_name).get(plain)
        branch = wanted.get(plain)
        if branch is None and element is not None:
            branch = wanted.get(element.name)
        if branch and element is not None and plain == key and _holds_objects(child):
            kept[key] = _each(child, partial(_picked, type_name=_inside(element, plain),
                                             wanted=branch))
        elif branch is not None or plain in _ALWAYS or _is_needed(element):
            kept[key] = child
    return kept


def _is_needed(element: Element | None) -> bool:
    """Whether a record without the element would be invalid or would mean something else."""
    return element is not None and (element.min > 0 or element.is_modifier)


def _holds_objects(child: Any) -> bool:
    one = child[0] if isinstance(child, list) and child else child
    return isinstance(one, dict)
