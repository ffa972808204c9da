"""The slow reading of a body that was refused: every fault of form, each with its FHIRPath.

https://hl7.org/fhir/R5/json.html. Runs only when the fast path failed or became suspicious, so
it may be slow; it must be complete and its sentences must tell a vendor what to change.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

import msgspec

from dmed.fhir.codec_json import JsonNumber, JsonObject, parse
from dmed.fhir.codec_rest import rule_faults
from dmed.fhir.facts import Element, facts
from dmed.fhir.types import is_primitive
from dmed.kit.errors import Issue

DEPTH_MAX = 100
"""Most objects inside each other."""
FAULTS_MAX = 100
"""Most faults that one answer lists."""
EXPONENT_MAX = 308
"""Decimals lie between 1E-308 and 1E+308 or are zero."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {
    "boolean": "true or false",
    "decimal": "a number",
    "integer": "a whole number",
    "positiveInt": "a whole number above 0",
    "unsignedInt": "a whole number, 0 or more",
}
_RANGES = {
    "integer": (-(2**31), 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
}


class _Property(msgspec.Struct, frozen=True):
    """What may stand under one JSON key: the element, its type, and whether it is `_x`."""

    element: Element
    code: str
    is_extension: bool = False


@cache
def _properties(type_name: str) -> dict[str, _Property]:
    """The JSON keys that a type knows."""
    made: dict[str, _Property] = {}
    for element in facts().types[type_name].elements:
        if element.content:
            made[element.name] = _Property(element, element.content)
            continue
        for each in element.types:
            name = element.json_name(each.code)
            made[name] = _Property(element, each.code)
            if is_primitive(each.code) and element.name not in {"id", "div"}:
                made["_" + name] = _Property(element, "Element", is_extension=True)
    if type_name == "Extension":
        del made["_url"]
    return made


def find_faults(body: bytes, type_name: str | None) -> tuple[Issue, ...]:
    """Every fault of form in a body, at most FAULTS_MAX; empty when there is none.

    Where there are some, the faults of rules in the rest follow, so that one answer tells all.
    """
    try:
        root = parse(body)
    except UnicodeDecodeError as error:
        return (Issue("structure", f"The body is not UTF-8: byte {error.start} is invalid"),)
    except json.JSONDecodeError as error:
        return (
            Issue(
                "structure",
                f"The body is not JSON: {error.msg}, line {error.lineno} column {error.colno}",
            ),
        )
    except ValueError as error:
        return (Issue("structure", f"The body is not JSON: {error}"),)
    except RecursionError:
        return (Issue("structure", f"Objects are nested over {DEPTH_MAX} deep"),)
    found: list[Issue] = []
    for issue in _root(root, type_name):
        found.append(issue)
        if len(found) >= FAULTS_MAX:
            return tuple(found)
    if found and isinstance(root, JsonObject):
        found.extend(rule_faults(root, type_name, tuple(found)))
    return tuple(found[:FAULTS_MAX])


def _root(root: Any, type_name: str | None) -> Iterator[Issue]:
    if not isinstance(root, JsonObject):
        yield Issue("structure", f"A JSON object is expected, found {_said(root)}")
    elif type_name is None or facts().types[type_name].kind == "resource":
        yield from _resource(root, "", type_name, 1)
    else:
        yield from _object(root, type_name, type_name, 1)


def _resource(value: JsonObject, path: str, expected: str | None, depth: int) -> Iterator[Issue]:
    """Faults of a resource at a path; an empty path is the root, named by its own type."""
    types = [item for key, item in value.pairs if key == "resourceType"]
    where = f"{path}.resourceType" if path else "resourceType"
    if not types:
        yield Issue("required", "resourceType is missing", path or expected or "")
        return
    name = types[-1]
    if not isinstance(name, str) or isinstance(name, JsonNumber) or name not in facts().resources:
        hint = _hint(str(name), facts().resources)
        yield Issue("structure", f"{_said(name)} is no R5 resource type{hint}", where)
        return
    if expected is not None and name != expected:
        yield Issue("structure", f"resourceType is {name}, expected {expected}", where)
        return
    yield from _object(value, name, path or name, depth)


def _object(value: JsonObject, type_name: str, path: str, depth: int) -> Iterator[Issue]:
    """Faults of one object of a known type, and of everything inside."""
    if depth > DEPTH_MAX:
        yield Issue("too-long", f"Objects are nested over {DEPTH_MAX} deep", path)
        return
    if not value.pairs:
        yield Issue("structure", f"{path}: an object may not be empty", path)
    properties = _properties(type_name)
    is_resource = facts().types[type_name].kind == "resource"
    values = dict(value.pairs)
    seen: set[str] = set()
    for key, item in value.pairs:
        where = f"{path}.{key}"
        if key in seen:
            yield Issue("structure", f"{where} is given twice in one object", where)
            continue
        seen.add(key)
        if is_resource and key == "resourceType":
            continue
        known = properties.get(key)
        if known is None:
            yield _unknown(key, type_name, where, properties)
        elif known.element.is_list:
            yield from _array(item, known, where, values.get(_pair(key)), depth)
        else:
            yield from _value(item, known, where, depth)


def _pair(key: str) -> str:
    return key[1:] if key.startswith("_") else "_" + key


def _unknown(key: str, type_name: str, where: str, properties: dict[str, _Property]) -> Issue:
    hint = _hint(key, properties)
    return Issue("structure", f"{type_name} has no field '{key:.60}'{hint}", where[:500])


def _hint(word: str, known: Iterable[str]) -> str:
    """The known word that is nearest to a wrong one; long words are not compared."""
    near = difflib.get_close_matches(word, list(known), 1) if len(word) < 64 else []
    return f"; did you mean {near[0]}?" if near else ""


def _array(item: Any, known: _Property, where: str, pair: Any, depth: int) -> Iterator[Issue]:
    """Faults of an array; its nulls must stand for an entry of the paired array."""
    if not isinstance(item, list):
        yield Issue("structure", f"{where}: an array is expected, found {_said(item)}", where)
        return
    if not item:
        yield Issue("structure", f"{where}: an array may not be empty; leave the field out", where)
    can_be_null = known.is_extension or is_primitive(known.code)
    others = pair if isinstance(pair, list) else []
    for index, each in enumerate(item):
        at = f"{where}[{index}]"
        if each is None and can_be_null:
            if index >= len(others) or others[index] is None:
                yield Issue(
                    "structure",
                    f"{at}: null is allowed only where the paired array has an entry",
                    at,
                )
            continue
        yield from _value(each, known, at, depth)


def _value(item: Any, known: _Property, where: str, depth: int) -> Iterator[Issue]:
    """Faults of one value."""
    if item is None:
        yield Issue("structure", f"{where}: null is not allowed; leave the field out", where)
    elif is_primitive(known.code):
        yield from _primitive(item, known.code, where)
    elif not isinstance(item, JsonObject):
        yield Issue("structure", f"{where}: an object is expected, found {_said(item)}", where)
    elif known.code == "Resource":
        yield from _resource(item, where, None, depth + 1)
    else:
        yield from _object(item, known.code, where, depth + 1)


def _primitive(item: Any, code: str, where: str) -> Iterator[Issue]:
    """Faults of one primitive value: its JSON type, and what no text or number may be."""
    if code == "boolean":
        fits = isinstance(item, bool)
    elif code in _KINDS:
        fits = isinstance(item, JsonNumber)
    else:
        fits = isinstance(item, str) and not isinstance(item, JsonNumber)
    if not fits:
        expected = _KINDS.get(code, "a text in quotation marks")
        yield Issue("value", f"{where}: {expected} is expected, found {_said(item)}", where)
    elif code in _RANGES:
        yield from _whole(item, code, where)
    elif code == "decimal":
        yield from _decimal(item, where)
    elif code != "boolean":
        yield from _text(item, where)


def _whole(item: JsonNumber, code: str, where: str) -> Iterator[Issue]:
    low, high = _RANGES[code]
    if not re.fullmatch("-?[0-9]{1,12}", item) or not low <= int(item) <= high:
        yield Issue(
            "value",
            f"{where}: {_KINDS[code]} from {low} to {high} is expected, found {_said(item)}",
            where,
        )


def _decimal(item: JsonNumber, where: str) -> Iterator[Issue]:
    try:
        value = Decimal(item)
    except InvalidOperation:
        value = Decimal("Infinity")
    if not value.is_finite() or (value and abs(value.adjusted()) > EXPONENT_MAX):
        yield Issue(
            "value",
            f"{where}: {_said(item)} is beyond what a decimal may be "
            f"(1E-{EXPONENT_MAX} to 1E+{EXPONENT_MAX})",
            where,
        )


def _text(item: str, where: str) -> Iterator[Issue]:
    if not item:
        yield Issue("value", f"{where}: a text may not be empty; leave the field out", where)
    control = _CONTROL.search(item)
    if control:
        yield Issue(
            "value",
            f"{where}: the control character \\u{ord(control[0]):04x} is not allowed in a text",
            where,
        )
    if _SURROGATE.search(item):
        yield Issue("value", f"{where}: half of a surrogate pair is no character", where)


def _said(item: Any) -> str:
    """A value as a sentence names it, shortened."""
    if isinstance(item, JsonObject):
        return "an object"
    if isinstance(item, list):
        return "an array"
    if item is None or isinstance(item, bool):
        return {None: "null", True: "true", False: "false"}[item]
    text = str(item) if isinstance(item, JsonNumber) else f"'{item}'"
    return text if len(text) <= 60 else text[:57] + "..."
