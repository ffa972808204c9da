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
from decimal import Decimal
from functools import cache
from typing import Any

from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.types import attribute
from dmed.fhir.validate_formats import format_of, format_said
from dmed.fhir.values import named_type
from dmed.fhir.walk import structs
from dmed.kit.errors import Issue

_LINK = re.compile(r"""\s(?:href|src)\s{0,9}=\s{0,9}["']([^"'<>]{1,2000})["']""")
_FORBIDDEN = re.compile(r"[\s{}|\\^`\[\]]")
_BLANK = re.compile(r"\s")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?(E[+-]?[0-9]{1,9})?")
_REST = re.compile(r"https?://.{1,1000}/([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})")
_QUERY_PART = re.compile(r"[A-Za-z_][\w.:-]*=.*", re.DOTALL)
Fault = tuple[str, str]
"""Issue type and sentence."""


def issues(resource: Any) -> list[Issue]:
    """Every fault of a decoded resource by these rules, each with its FHIRPath."""
    found: list[Issue] = []
    for path, node in structs(resource, resource.fhir_type):
        for name, text in _values(node):
            found.append(Issue("value", f"{path}.{name}: {text}", f"{path}.{name}"))
        rules = _RULES.get(node.fhir_type)
        for code, text in rules(node) if rules else ():
            found.append(Issue(code, f"{path}: {text}", path))
        if node.fhir_type == "Questionnaire":
            found += _conditions(node, path)
        if node.fhir_type == "Bundle" and path != "Bundle":
            found += _inner_bundle(node, path)
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
def _value_fields(type_name: str) -> tuple[tuple[str, bool, str], ...]:
    return tuple(
        (attribute(element.json_name(each.code)), element.is_list, each.code)
        for element in facts().types[type_name].elements
        for each in element.types
        if each.code in _VALUES
    )


def _values(node: Any) -> Iterator[tuple[str, str]]:
    """The field and the fault of each plain value that its type's rules refuse."""
    for name, is_list, code in _value_fields(node.fhir_type):
        value = getattr(node, name, UNSET)
        for each in () if value is UNSET else value if is_list else (value,):
            fault = None if each is None else _VALUES[code](each)
            if fault:
                yield name.rstrip("_"), fault


def _canonical(value: str) -> str:
    return f"the canonical '{value:.100}' names no version after '|'" if value[-1] == "|" else ""


def _base64(value: str) -> str:
    return "base64 holds no white space (RFC 4648)" if _BLANK.search(value) else ""


def _decimal(value: Decimal) -> str:
    """R5's pattern: 18 digits before the point and 17 after it."""
    return "" if _DECIMAL.fullmatch(str(value)) else f"the decimal {value} has too many digits"


def _uri(value: str) -> str:
    """A urn:uuid or urn:oid is one in full."""
    for head, kind in _URNS:
        if value.startswith(head) and not format_of(kind)(value.partition("#")[0]):  # type: ignore[misc]  # Both types have a format.
            return f"'{value:.100}' is not {format_said(kind)}"
    return ""


_URNS = (("urn:uuid:", "uuid"), ("urn:oid:", "oid"))
_VALUES: dict[str, Callable[[Any], str]] = {
    "uri": _uri,
    "url": _uri,
    "canonical": _canonical,
    "base64Binary": _base64,
    "decimal": _decimal,
}


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
    yield from _own_address(node)
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


def _inner_bundle(bundle: Any, path: str) -> Iterator[Issue]:
    """The addresses of entries where a Bundle stands inside another record; validation of a
    Bundle itself looks at its own.
    """
    for index, entry in enumerate(() if bundle.entry is UNSET else bundle.entry):
        if entry.resource is UNSET or entry.fullUrl is UNSET:
            continue
        kind, id_ = entry.resource.fhir_type, entry.resource.id
        match = _REST.fullmatch(entry.fullUrl)
        if match and match[1] in facts().resources and match.groups() != (kind, id_):
            where = f"{path}.entry[{index}]"
            text = f"the address {entry.fullUrl:.100} does not end with {kind} and its id"
            yield Issue("invalid", f"{where}: {text}", where)


def _conditions(questionnaire: Any, path: str) -> Iterator[Issue]:
    """An item waits for another question of the questionnaire, for none inside itself."""
    items: list[tuple[str, Any, tuple[str, ...]]] = []
    waiting: list[tuple[str, Any, tuple[str, ...]]] = [(path, questionnaire, ())]
    inside: dict[str, tuple[str, ...]] = {}
    while waiting:
        here, node, above = waiting.pop()
        for index, item in enumerate(() if node.item is UNSET else node.item):
            link = "" if item.linkId is UNSET else item.linkId
            inside[link] = (*above, link)
            where = f"{here}.item[{index}]"
            items.append((where, item, inside[link]))
            waiting.append((where, item, inside[link]))
    for where, item, own in items:
        for number, rule in enumerate(() if item.enableWhen is UNSET else item.enableWhen):
            asked = inside.get(rule.question)
            spot = f"{where}.enableWhen[{number}].question"
            if asked is None:
                yield Issue("not-found", f"{spot}: there is no item '{rule.question:.100}'", spot)
            elif own[-1] in asked:
                text = f"the item '{own[-1]:.100}' cannot wait for itself or for what it holds"
                yield Issue("business-rule", f"{spot}: {text}", spot)


def _own_address(node: Any) -> Iterator[Fault]:
    """An extension's address is that of its definition."""
    views = [each for each in (node.snapshot, node.differential) if each is not UNSET]
    for element in (each for view in views for each in view.element):
        fixed = element.fixedUri
        is_address = node.type == "Extension" and element.path == "Extension.url"
        if is_address and fixed is not UNSET and fixed != node.url:
            yield "invalid", f"the extension's url is fixed as '{fixed:.100}', not as its own"
            return


_RULES: dict[str, Callable[[Any], Iterator[Fault]]] = {
    "Reference": _reference,
    "Attachment": _attachment,
    "Narrative": _narrative,
    "StructureDefinition": _profile,
}
