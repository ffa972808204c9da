"""$expand: the codes of a value set, whole, in pages, or as you type.

https://hl7.org/fhir/R5/valueset-operation-expand.html. The list is flat. Order: with a filter the
codes whose name begins with what was typed come first; else that of the value set's parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias
from uuid import uuid4

import msgspec

from dmed.fhir.terminology.members import Members, Part
from dmed.fhir.terminology.model import (
    EXPANSION_MAX,
    Designation,
    Listed,
    TooCostlyError,
    UnknownContentError,
)
from dmed.fhir.terminology.system import System, in_script, is_language, languages
from dmed.fhir.terminology.words import Places, found_in, words_of

FILTER_WORDS_MAX = 12
_Tier: TypeAlias = Places | list[str]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How an expansion is wanted."""

    filter: str = ""
    offset: int = 0
    count: int | None = None
    language: str = ""
    """Languages as in Accept-Language; "" for the names that the systems give."""
    include_designations: bool = False
    designations: tuple[str, ...] = ()
    """Languages, or `system|code` of a use, to which designations are limited; () for all."""
    include_definition: bool = False
    active_only: bool = False
    selectable_only: bool = False
    properties: tuple[str, ...] = ()


def expansion(members: Members, wish: Wish, timestamp: str) -> dict[str, Any]:
    """ValueSet.expansion as JSON. TooCostlyError where it is too large to be given at once;
    UnknownContentError where a system without content here would be needed.
    """
    if members.missing:
        told = ("a value set that it includes" if each == "*" else each[:200]
                for each in members.missing)  # fmt: skip  # One thought.
        raise UnknownContentError(
            f"The value set cannot be listed, because there is no content here of: "
            f"{', '.join(told)}"
        )
    parts = list(members.parts.values())
    total, found = _found(parts, wish)
    if wish.count is None and total - wish.offset > EXPANSION_MAX:
        raise TooCostlyError(
            f"The value set has {total:,} codes, more than the {EXPANSION_MAX:,} of one answer: "
            "ask for pages with offset and count, or give a filter"
        )
    count = EXPANSION_MAX if wish.count is None else min(wish.count, EXPANSION_MAX)
    wanted = languages(wish.language)
    is_mixed = len({part.key[0] for part in parts}) < len(parts)
    contains = [
        _entry(part, code, wish, wanted, with_version=is_mixed)
        for part, code in islice(found, wish.offset, wish.offset + count)
    ]
    made: dict[str, Any] = {
        "identifier": f"urn:uuid:{uuid4()}",
        "timestamp": timestamp,
        "total": total,
        "offset": wish.offset,
        "parameter": _parameters(members, wish),
    }
    if wish.properties or wish.include_definition:
        asked = (*wish.properties, *(("definition",) if wish.include_definition else ()))
        made["property"] = [{"code": code} for code in dict.fromkeys(asked)]
    if contains:
        made["contains"] = contains
    return made


def _found(parts: Sequence[Part], wish: Wish) -> tuple[int, Iterator[tuple[Part, int | str]]]:
    """How many codes answer the wish, and these: a place of the part's system, or a code."""
    typed = words_of(wish.filter)[:FILTER_WORDS_MAX]
    if not typed:
        if wish.filter.strip():
            return 0, iter(())
        lists = [_wanted(part, wish) for part in parts]
        pairs = zip(parts, lists, strict=True)
        return sum(map(len, lists)), ((part, one) for part, some in pairs for one in some)
    groups = [_typed(part, typed, wish) for part in parts]
    total = sum(len(leading) + len(others) for leading, others in groups)
    return total, (
        (part, one)
        for tier in (0, 1)
        for part, group in zip(parts, groups, strict=True)
        for one in group[tier]
    )


def _wanted(part: Part, wish: Wish) -> Sequence[Any]:
    if part.system is None:
        return list(part.listed)
    gone = _gone(part.system, wish)
    in_order: Any = part.in_order()
    if not gone:
        return in_order if isinstance(in_order, range | list) else list(in_order)
    return [place for place in in_order if place not in gone]


def _gone(system: System, wish: Wish) -> set[int]:
    gone = system.inactive if wish.active_only else set()
    return gone | system.abstract if wish.selectable_only else gone


def _typed(part: Part, typed: list[str], wish: Wish) -> tuple[_Tier, _Tier]:
    """What of a part answers the typed words: by the beginning of a name, and the rest."""
    system = part.system
    if system is None:
        ranks = [(max(_ranks(part, code, each, typed)), code) for code, each in part.listed.items()]
        return (
            [code for rank, code in ranks if rank == 2],
            [code for rank, code in ranks if rank == 1],
        )
    leading, others = system.words.find(typed)
    if part.listed:
        said, rest = _by_said_names(part, system, typed)
        leading |= said
        others = (others | rest) - leading
    if not part.is_whole:
        leading, others = leading & part.marked(), others & part.marked()
    gone = _gone(system, wish)
    if gone:
        marked = Places.of(gone, len(system))
        leading, others = leading - marked, others - marked
    return leading, others


def _by_said_names(part: Part, system: System, typed: list[str]) -> tuple[Places, Places]:
    """The places that answer by names which the value set itself gives."""
    found: tuple[list[int], list[int]] = ([], [])
    for code, each in part.listed.items():
        place = system.find(code)
        rank = max(found_in(text, typed) for text in _said(each))
        if rank and place is not None:
            found[2 - rank].append(place)
    return Places.of(found[0], len(system)), Places.of(found[1], len(system))


def _said(each: Listed) -> list[str]:
    return [each.display, *(name.value for name in each.designation)]


def _ranks(part: Part, code: str, each: Listed, typed: list[str]) -> Iterator[int]:
    for text in (code, *_said(each)):
        yield found_in(text, typed)
    place = None if part.naming is None else part.naming.find(code)
    if part.naming is not None and place is not None:
        for name in part.naming.names(place):
            yield found_in(name.value, typed)


def display_of(part: Part, code: str, place: int | None, wanted: Sequence[str]) -> str:
    """The name of a code: in the first wanted language, else as the value set says, else the
    system's own.
    """
    listed = part.listed.get(code)
    naming = part.naming
    if listed is None:
        return naming.display(place, wanted) if naming and place is not None else ""
    for language in wanted:
        for name in listed.designation:
            if name.language and is_language(name.language, language):
                return in_script(name.value, name.language, language)
        if naming is not None and place is not None:
            found = naming.display(place, (language,))
            if found != naming.display(place):
                return found
    if listed.display or naming is None or place is None:
        return listed.display
    return naming.display(place, wanted)


def _entry(
    part: Part, one: int | str, wish: Wish, wanted: list[str], *, with_version: bool
) -> dict[str, Any]:
    naming = part.naming
    if isinstance(one, int):
        assert naming is not None
        place: int | None = one
        code = naming.codes[one]
    else:
        code = one
        place = None if naming is None else naming.find(code)
    made: dict[str, Any] = {"system": part.key[0]}
    if place is not None and part.system is not None:
        if place in part.system.abstract:
            made["abstract"] = True
        if place in part.system.inactive:
            made["inactive"] = True
    if with_version and part.key[1]:
        made["version"] = part.key[1]
    made["code"] = code
    display = display_of(part, code, place, wanted)
    if display:
        made["display"] = display
    if wish.include_designations or wish.designations:
        names = [name for name in _names(part, code, place) if _is_wanted(name, wish)]
        if names:
            made["designation"] = [msgspec.to_builtins(name) for name in names]
    if naming is not None and place is not None:
        properties = _properties(naming, place, wish)
        if properties:
            made["property"] = properties
    return made


def _names(part: Part, code: str, place: int | None) -> Iterator[Designation]:
    listed = part.listed.get(code)
    if listed is not None:
        yield from listed.designation
    if part.naming is not None and place is not None:
        yield from part.naming.names(place)


def _is_wanted(name: Designation, wish: Wish) -> bool:
    if not wish.designations:
        return True
    use = "" if name.use is None else f"{name.use.system}|{name.use.code}"
    return any(
        each in (name.language, f"urn:ietf:bcp:47|{name.language}", use)
        for each in wish.designations
    )


def _properties(system: System, place: int, wish: Wish) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if wish.include_definition and (text := system.definitions.get(place)):
        made.append({"code": "definition", "valueString": text})
    for one in system.properties.get(place, ()):
        if one.code in wish.properties or "*" in wish.properties:
            name, value = one.pair()
            made.append({"code": one.code, name: msgspec.to_builtins(value)})
    return made


def _parameters(members: Members, wish: Wish) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if wish.filter:
        made.append({"name": "filter", "valueString": wish.filter})
    if wish.offset:
        made.append({"name": "offset", "valueInteger": wish.offset})
    if wish.count is not None:
        made.append({"name": "count", "valueInteger": wish.count})
    if wish.language:
        made.append({"name": "displayLanguage", "valueCode": wish.language})
    for name, is_set in (
        ("activeOnly", wish.active_only),
        ("includeDesignations", wish.include_designations),
        ("excludeNotForUI", wish.selectable_only),
    ):
        if is_set:
            made.append({"name": name, "valueBoolean": True})
    for part in members.parts.values():
        system = part.system
        canonical = "|".join(filter(None, part.key)) if system is None else system.canonical
        made.append({"name": "used-codesystem", "valueUri": canonical})
        supplements = () if part.naming is None else part.naming.supplements
        made.extend({"name": "used-supplement", "valueUri": each} for each in supplements)
    made.extend({"name": "used-valueset", "valueUri": each} for each in members.used)
    return made
