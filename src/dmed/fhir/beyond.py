"""Rules that R5 states in words and its definitions do not hold: asked by $validate alone.

Ids of elements (https://hl7.org/fhir/R5/element.html#id), references
(references.html, http.html#trules for conditional ones), canonicals (references.html#canonical),
attachments (datatypes.html#attachment), links of narrative, and what a profile may state
(profiling.html). They cost a walk through the whole record, which a write does not pay.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.types import attribute
from dmed.fhir.values import named_type
from dmed.fhir.walk import structs
from dmed.kit.errors import Issue

_LINK = re.compile(r"""\s(?:href|src)\s{0,9}=\s{0,9}["']([^"'<>]{1,2000})["']""")
_FORBIDDEN = re.compile(r"[\s{}|\\^`\[\]]")
_QUERY_PART = re.compile(r"[A-Za-z_][\w.:-]*=.*", re.DOTALL)
Fault = tuple[str, str]
"""Issue type and sentence."""


def issues(resource: Any) -> list[Issue]:
    """Every fault of a decoded resource by these rules, each with its FHIRPath."""
    found: list[Issue] = []
    for path, node in structs(resource, resource.fhir_type):
        rules = _RULES.get(node.fhir_type)
        for code, text in (*_canonicals(node), *(rules(node) if rules else ())):
            found.append(Issue(code, f"{path}: {text}", path))
    return [*_repeated_ids(resource), *found]


def _repeated_ids(resource: Any) -> Iterator[Issue]:
    """Ids of elements are unique within their resource; contained ones have their own."""
    owners: list[tuple[str, set[str]]] = []
    for path, node in structs(resource, resource.fhir_type):
        while owners and not path.startswith(f"{owners[-1][0]}."):
            owners.pop()
        if node.fhir_type in facts().resources:
            owners.append((path, set()))
            continue
        id_ = getattr(node, "id", UNSET)
        # A definition lists the same elements twice: in its snapshot and in its differential.
        if id_ is UNSET or node.fhir_type == "ElementDefinition":
            continue
        seen = owners[-1][1]
        if id_ in seen:
            where = path.replace("._", ".")
            yield Issue("invalid", f"{where}: the id '{id_}' stands on two elements", where)
        seen.add(id_)


@cache
def _canonical_fields(type_name: str) -> tuple[tuple[str, bool], ...]:
    return tuple(
        (attribute(element.json_name(each.code)), element.is_list)
        for element in facts().types[type_name].elements
        for each in element.types
        if each.code == "canonical"
    )


def _canonicals(node: Any) -> Iterator[Fault]:
    for name, is_list in _canonical_fields(node.fhir_type):
        value = getattr(node, name, UNSET)
        for each in () if value is UNSET else value if is_list else (value,):
            if each is not None and each.endswith("|"):
                yield "value", f"the canonical '{each:.100}' ends without the version after '|'"


def _reference(node: Any) -> Iterator[Fault]:
    address = node.reference
    if address is UNSET:
        return
    named = named_type(address)
    stated = UNSET if node.type is UNSET else node.type.rpartition("/")[2]
    if named in facts().resources and stated is not UNSET and stated != named:
        yield "structure", f"the reference names a {named}, its type says {stated}"
    kind, mark, query = address.partition("?")
    is_conditional = mark and kind in facts().resources
    if is_conditional and not all(_QUERY_PART.fullmatch(part) for part in query.split("&")):
        yield "invalid", f"'{address:.100}' is no conditional reference (Type?parameter=value)"


def _attachment(node: Any) -> Iterator[Fault]:
    if node.data is UNSET:
        return
    try:
        data = base64.b64decode(node.data, validate=True)
    except (binascii.Error, ValueError):
        return  # R5's own rules tell that it is no base64.
    if node.size is not UNSET and int(node.size) != len(data):
        yield "invalid", f"the size is stated as {node.size}, the data has {len(data)} bytes"
    # SHA-1 is what R5 prescribes for this field; it tells of damage, not of intent.
    digest = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
    if node.hash is not UNSET and node.hash != digest:
        yield "invalid", f"the hash does not fit the data, whose SHA-1 is '{digest}'"


def _narrative(node: Any) -> Iterator[Fault]:
    for link in _LINK.findall("" if node.div is UNSET else node.div):
        if not link.startswith("data:") and _FORBIDDEN.search(link):
            yield "invalid", f"the link '{link:.100}' has characters that an address may not have"


@cache
def _known_rules() -> dict[str, set[str]]:
    """The expressions of R5's own invariants by key."""
    found: dict[str, set[str]] = {}
    for each in facts().types.values():
        for rule in each.invariants:
            found.setdefault(rule.key, set()).add(rule.expression)
    return found


def _profile(node: Any) -> Iterator[Fault]:
    """What a constraint may state about elements that are defined elsewhere."""
    if node.derivation != "constraint" or node.differential is UNSET:
        return
    own: dict[str, str] = {}
    for element in node.differential.element:
        for name in element.__struct_fields__:
            is_closed = name == "meaningWhenMissing" or name.startswith("defaultValue")
            if is_closed and getattr(element, name) is not UNSET:
                yield "invalid", f"{element.path}: a profile may not state {name}"
        for rule in () if element.constraint is UNSET else element.constraint:
            if rule.expression is UNSET:
                continue
            known = _known_rules().get(rule.key, set())
            first = own.setdefault(rule.key, rule.expression)
            if first != rule.expression or (known and rule.expression not in known):
                yield (
                    "invalid",
                    (f"{element.path}: the key {rule.key} stands for another rule already"),
                )


_RULES: dict[str, Callable[[Any], Iterator[Fault]]] = {
    "Reference": _reference,
    "Attachment": _attachment,
    "Narrative": _narrative,
    "StructureDefinition": _profile,
}
