"""Going through a record: every Reference, and the rewriting of temporary addresses.

https://hl7.org/fhir/R5/http.html#transaction: inside a transaction, a `urn:uuid:` that names an
entry is replaced wherever a reference, address or narrative link holds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar

from msgspec import UNSET
from msgspec.structs import astuple

from dmed.fhir.facts import facts
from dmed.fhir.source import Source, later
from dmed.fhir.types import attribute, is_primitive, struct_of

_ADDRESSES = frozenset({"uri", "url", "canonical", "oid", "uuid"})
_LINK = re.compile(r"""(\s(?:href|src)\s{0,9}=\s{0,9})(["'])([^"'<>]{1,2000})\2""")
T = TypeVar("T")
_Field: TypeAlias = tuple[str, str, bool]
"""(attribute, JSON name, is an array)"""


def _fields(type_name: str, wanted: Callable[[str], bool]) -> tuple[_Field, ...]:
    """The fields of a type whose type code is wanted, extensions of primitives as `Element`."""
    made: list[_Field] = []
    for element in facts().types[type_name].elements:
        codes = [element.content] if element.content else [each.code for each in element.types]
        for code in codes:
            name = element.name if element.content else element.json_name(code)
            if wanted(code):
                made.append((attribute(name), name, element.is_list))
            if is_primitive(code) and wanted("Element"):
                made.append((attribute("_" + name), "_" + name, element.is_list))
    return tuple(made)


@cache
def _children(type_name: str) -> tuple[_Field, ...]:
    """The fields that hold structs."""
    own = _fields(type_name, lambda code: not is_primitive(code))
    present = struct_of(type_name).__struct_fields__
    return tuple(field for field in own if field[0] in present)


@cache
def _addresses(type_name: str) -> tuple[_Field, ...]:
    """The fields that hold addresses as plain text."""
    return _fields(type_name, _ADDRESSES.__contains__)


def structs(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every struct inside a struct, with its FHIRPath, in the definition's order; itself first."""
    waiting = [(path, value)]
    while waiting:
        here, node = waiting.pop()
        yield here, node
        below: list[tuple[str, Any]] = []
        for attr, name, is_list in _children(node.fhir_type):
            child = getattr(node, attr)
            if child is UNSET:
                continue
            if is_list:
                below.extend(
                    (f"{here}.{name}[{index}]", item)
                    for index, item in enumerate(child)
                    if item is not None
                )
            else:
                below.append((f"{here}.{name}", child))
        waiting.extend(reversed(below))


def references(resource: Any) -> Iterator[tuple[str, Any]]:
    """Every Reference of a resource with its FHIRPath, contained resources and extensions too.

    In the order of the definition. The structs are those of the resource itself: changing one
    changes the resource.
    """
    for path, node in structs(resource, resource.fhir_type):
        if node.fhir_type == "Reference":
            yield path, node


def first_address(resource: Any, wanted: Callable[[str], T | None]) -> T | None:
    """What `wanted` makes of the first address of a Reference of which it makes anything.

    In the order of `references`, but without places: some ten times as quick.
    """
    found: T | None = _finder(resource.fhir_type)(resource, wanted)
    return found


def _any_finder(value: Any, wanted: Callable[[str], T | None]) -> T | None:
    return first_address(value, wanted)


@cache
def _finder(type_name: str) -> Callable[[Any, Callable[[str], Any]], Any]:
    """`first_address` for the structs of one type, written from its definition."""
    source = Source(f"references of {type_name}", "value, wanted")
    if type_name == "Reference":
        source.open(f"if value.reference is not {source.name(UNSET)}:")
        source.add("found = wanted(value.reference)")
        source.open("if found is not None:")
        source.add("return found")
        source.close()
        source.close()
    own = {attr: (type_, is_list) for attr, type_, is_list in _held(type_name)}
    fields = struct_of(type_name).__struct_fields__
    names = [f"f{number}" for number in range(len(fields))]
    source.add(f"({', '.join(names)},) = {source.name(astuple)}(value)")
    source.add(f"unset = {source.name(UNSET)}")
    for name, field in zip(names, fields, strict=True):
        if field not in own:
            continue
        code, is_list = own[field]
        inner = (source.name(_any_finder) if code == "Resource"
                 else later(source, partial(_finder, code)))
        source.open(f"if {name} is not unset:")
        if is_list:
            source.open(f"for each in {name}:")
            source.open("if each is not None:")
        source.add(f"found = {inner}({'each' if is_list else name}, wanted)")
        source.open("if found is not None:")
        source.add("return found")
        for _ in range(4 if is_list else 2):
            source.close()
    source.add("return None")
    return source.function()


def _held(type_name: str) -> Iterator[tuple[str, str, bool]]:
    """(attribute, type, is an array) of the fields that hold structs."""
    for element in facts().types[type_name].elements:
        codes = [element.content] if element.content else [each.code for each in element.types]
        for code in codes:
            name = element.name if element.content else element.json_name(code)
            if is_primitive(code):
                yield attribute("_" + name), "Element", element.is_list
            else:
                yield attribute(name), code, element.is_list


def local_addresses(resource: Any) -> set[str]:
    """Every `#...` that a resource holds: in references and in uri, url and canonical values."""
    found: set[str] = set()
    for _, node in structs(resource, ""):
        if node.fhir_type == "Reference":
            found.add(node.reference if node.reference is not UNSET else "")
        for attr, _, is_list in _addresses(node.fhir_type):
            value = getattr(node, attr)
            if value is not UNSET:
                found.update(value if is_list else (value,))
    return {each for each in found if each is not None and each.startswith("#")}


def rewrite_urls(resource: Any, mapping: Mapping[str, str]) -> int:
    """Replace every address that equals a key of the mapping, in place; returns how many.

    Looks at Reference.reference, at values of type uri, url, canonical, oid and uuid, and at
    href and src in narratives. A fragment after the key is kept (`urn:uuid:...#x`).
    """
    if not mapping:
        return 0
    changed = 0
    for _, node in structs(resource, resource.fhir_type):
        kind = node.fhir_type
        if kind == "Reference" and node.reference is not UNSET:
            changed += _replace(node, "reference", mapping)
        elif kind == "Narrative" and node.div is not UNSET:
            changed += _replace_links(node, mapping)
        for attr, _, is_list in _addresses(kind):
            value = getattr(node, attr)
            if value is UNSET:
                continue
            if is_list:
                for index, item in enumerate(value):
                    new = _mapped(item, mapping) if item is not None else None
                    if new is not None:
                        value[index] = new
                        changed += 1
            else:
                changed += _replace(node, attr, mapping)
    return changed


def _mapped(value: str, mapping: Mapping[str, str]) -> str | None:
    """The new address of a value, or None when it stays."""
    found = mapping.get(value)
    if found is not None:
        return found
    base, mark, fragment = value.partition("#")
    found = mapping.get(base) if mark and base else None
    return None if found is None else f"{found}#{fragment}"


def _replace(node: Any, attr: str, mapping: Mapping[str, str]) -> int:
    new = _mapped(getattr(node, attr), mapping)
    if new is None:
        return 0
    setattr(node, attr, new)
    return 1


def _replace_links(node: Any, mapping: Mapping[str, str]) -> int:
    changed = 0

    def link(match: re.Match[str]) -> str:
        nonlocal changed
        new = _mapped(match[3], mapping)
        if new is None:
            return match[0]
        changed += 1
        return f"{match[1]}{match[2]}{new}{match[2]}"

    node.div = _LINK.sub(link, node.div)
    return changed
