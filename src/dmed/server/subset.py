"""`_summary` and `_elements`. https://hl7.org/fhir/R5/search.html#summary

The only place where a stored body is decoded for an answer; such an answer is tagged SUBSETTED.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from dmed.fhir.facts import Element, facts
from dmed.kit.errors import InvalidError

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules"})
_TAG = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
_SUMMARIES = frozenset({"true", "text", "data", "count", "false"})


class Wish(msgspec.Struct, frozen=True):
    """What of a record is wanted: `elements` wins over `summary`."""

    summary: str = ""
    elements: tuple[str, ...] = ()


def wanted(query: list[tuple[str, str]]) -> Wish | None:
    """The wish of a read's parameters, or None for the whole record."""
    summary = ""
    elements: tuple[str, ...] = ()
    for name, value in query:
        if name == "_summary":
            if value not in _SUMMARIES:
                raise InvalidError(f"_summary={value[:40]!r} is none of {sorted(_SUMMARIES)}", name)
            summary = value
        elif name == "_elements":
            elements = tuple(part for part in value.split(",") if part)
    return wish(summary, elements)


def wish(summary: str, elements: tuple[str, ...]) -> Wish | None:
    """The wish of a search's controls, or None for whole records."""
    if elements:
        return Wish(elements=elements)
    return Wish(summary=summary) if summary in {"true", "text", "data"} else None


def subset(type_name: str, body: bytes, asked: Wish) -> bytes:
    """The part of a record that is wanted, tagged as SUBSETTED; required elements always stay."""
    record: dict[str, Any] = _decoder.decode(body)
    if asked.summary == "data":
        kept = {name: value for name, value in record.items() if name != "text"}
    else:
        names = _names(type_name, asked)
        kept = {name: value for name, value in record.items() if name.removeprefix("_") in names}
        if asked.elements:
            kept = _trimmed(kept, asked.elements, type_name)
    meta = dict(record.get("meta", {}))
    meta["tag"] = [*meta.get("tag", []), _TAG]
    kept["meta"] = meta
    ordered = {name: kept[name] for name in record if name in kept}
    return _encoder.encode(ordered)


def _names(type_name: str, asked: Wish) -> frozenset[str]:
    if asked.elements:
        return _element_names(type_name, asked.elements)
    return _summary_names(type_name, asked.summary)


@lru_cache(maxsize=512)
def _summary_names(type_name: str, summary: str) -> frozenset[str]:
    found = set(_ALWAYS)
    if summary == "text":
        found.add("text")
    for element in facts().types[type_name].elements:
        if element.min > 0 or (summary == "true" and element.is_summary):
            found.update(_json_names(element))
    return frozenset(found)


@lru_cache(maxsize=512)
def _element_names(type_name: str, elements: tuple[str, ...]) -> frozenset[str]:
    heads = {element.partition(".")[0] for element in elements}
    found = set(_ALWAYS) | heads
    for element in facts().types[type_name].elements:
        if element.min > 0 or element.is_modifier or element.name in heads:
            found.update(_json_names(element))
    return frozenset(found)


def _json_names(element: Element) -> list[str]:
    return [element.json_name(kind.code) for kind in element.types] or [element.name]


def _trimmed(kept: dict[str, Any], elements: tuple[str, ...], type_name: str) -> dict[str, Any]:
    """Elements named with a path keep that path alone; R5 allows one step into backbones."""
    for name in [name for name in kept if name not in _ALWAYS]:
        paths = [e.partition(".")[2] for e in elements if e.partition(".")[0] == name]
        if not paths or "" in paths:
            continue
        found = facts().types.get(f"{type_name}.{name}")
        required = {e.name for e in found.elements if e.min > 0} if found else set()
        heads = {path.partition(".")[0] for path in paths} | required
        kept[name] = _only(kept[name], heads)
    return kept


def _only(value: Any, heads: set[str]) -> Any:
    if isinstance(value, list):
        return [_only(item, heads) for item in value]
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key.removeprefix("_") in heads}
    return value
