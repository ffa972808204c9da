"""$translate: from a code to those that concept maps give for it, forwards and backwards.

https://hl7.org/fhir/R5/conceptmap-operation-translate.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from dmed.fhir.terminology.library import Library, split
from dmed.fhir.terminology.model import Coding, ConceptMap, MapGroup, MapTarget

_INVERSE = {
    "source-is-narrower-than-target": "source-is-broader-than-target",
    "source-is-broader-than-target": "source-is-narrower-than-target",
}
_DEPTH_MAX = 5
Parameter = dict[str, Any]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be translated, and into what."""

    codings: tuple[Coding, ...]
    is_reverse: bool = False
    """The codings are targets: the source codes are wanted."""
    source_scope: str = ""
    target_scope: str = ""
    target_system: str = ""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One translation; `relationship` is that of the given code to this one."""

    relationship: str
    coding: Coding
    origin: str
    more: tuple[Parameter, ...] = ()


def translate(
    library: Library, maps: Iterable[ConceptMap], question: Question
) -> list[Parameter]:
    """The output parameters of $translate over these maps."""
    found: dict[tuple[str, str, str, str], Match] = {}
    for each in maps:
        if _is_in_scope(each, question):
            for match in _matches(library, each, question, 0):
                coding = match.coding
                key = (match.relationship, coding.system, coding.code, match.origin)
                found.setdefault(key, match)
    is_any = any(match.relationship != "not-related-to" for match in found.values())
    made: list[Parameter] = [{"name": "result", "valueBoolean": is_any}]
    if not is_any:
        told = ", ".join(f"{each.system}|{each.code}"[:200] for each in question.codings)
        made.append({"name": "message", "valueString": f"No map here translates {told}"})
    return made + [_parameter(match) for match in found.values()]


def _is_in_scope(each: ConceptMap, question: Question) -> bool:
    source = each.sourceScopeUri or each.sourceScopeCanonical
    target = each.targetScopeUri or each.targetScopeCanonical
    wanted = ((question.source_scope, source), (question.target_scope, target))
    return all(not asked or split(asked)[0] == split(has)[0] for asked, has in wanted)


def _matches(
    library: Library, each: ConceptMap, question: Question, depth: int
) -> Iterator[Match]:
    origin = f"{each.url}|{each.version}" if each.version else each.url
    for group in each.group:
        near, far = split(group.source)[0], split(group.target)[0]
        if question.is_reverse:
            near, far = far, near
        if question.target_system and far != question.target_system:
            continue
        for coding in question.codings:
            if coding.system and near and coding.system != near:
                continue
            if question.is_reverse:
                yield from _backwards(group, coding, far, origin)
            else:
                yield from _forwards(library, group, coding, origin, question, depth)


def _forwards(
    library: Library, group: MapGroup, coding: Coding, origin: str, question: Question, depth: int
) -> Iterator[Match]:
    system = split(group.target)[0]
    is_named = False
    for element in group.element:
        if element.code == coding.code or _is_in(library, element.valueSet, coding):
            is_named = True
            for target in element.target:
                made = Coding(system, "", target.code, target.display)
                yield Match(relationship=target.relationship, coding=made, origin=origin,
                            more=tuple(_more(target)))  # fmt: skip  # One thought.
    rule = group.unmapped
    if is_named or rule is None or (rule.relationship == "" and rule.mode == "fixed"):
        return
    relationship = rule.relationship or "equivalent"
    if rule.mode == "use-source-code":
        made = Coding(system, "", coding.code, coding.display)
        yield Match(relationship=relationship, coding=made, origin=origin)
    elif rule.mode == "fixed":
        made = Coding(system, "", rule.code, rule.display)
        yield Match(relationship=relationship, coding=made, origin=origin)
    elif rule.mode == "other-map" and depth < _DEPTH_MAX:
        other = library.concept_map(rule.otherMap)
        if other is not None:
            alone = msgspec.structs.replace(question, codings=(coding,))
            yield from _matches(library, other, alone, depth + 1)


def _is_in(library: Library, value_set: str, coding: Coding) -> bool:
    return bool(value_set) and library.holds(value_set, coding.system, coding.code) is True


def _backwards(group: MapGroup, coding: Coding, system: str, origin: str) -> Iterator[Match]:
    for element in group.element:
        for target in element.target:
            if target.code == coding.code and element.code:
                made = Coding(system, "", element.code, element.display)
                relationship = _INVERSE.get(target.relationship, target.relationship)
                yield Match(relationship=relationship, coding=made, origin=origin)


def _more(target: MapTarget) -> Iterator[Parameter]:
    for given in target.property:
        parts = [{"name": "uri", "valueUri": given.get("code", "")}, *_values(given)]
        yield {"name": "property", "part": parts}
    for name, listed in (("product", target.product), ("dependsOn", target.dependsOn)):
        for given in listed:
            parts = [{"name": "attribute", "valueUri": given.get("attribute", "")}, *_values(given)]
            yield {"name": name, "part": parts}


def _values(given: dict[str, Any]) -> Iterator[Parameter]:
    for key, one in given.items():
        if key.startswith("value") and key != "valueSet":
            yield {"name": "value", key: one}


def _parameter(match: Match) -> Parameter:
    parts: list[Parameter] = [
        {"name": "relationship", "valueCode": match.relationship},
        {"name": "concept", "valueCoding": msgspec.to_builtins(match.coding)},
        *match.more,
    ]
    if match.origin:
        parts.append({"name": "originMap", "valueUri": match.origin})
    return {"name": "match", "part": parts}
