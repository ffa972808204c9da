"""Whether a code is in a value set: the question that bindings ask, and answers from what is here.

https://hl7.org/fhir/R5/terminologies.html#binding. Whoever knows more content implements
`ValueSets`; here are R5's own required sets (from the facts) and those that a guide enumerates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Protocol

from dmed.fhir.facts import facts

_DEPTH_MAX = 16
_TOLD_MAX = 50_000
"""Answers that are remembered: the same few codes are asked again and again."""
_PARTLY = frozenset({"http://hl7.org/fhir/restful-interaction"})
"""Systems of which no required value set uses every code."""
_IS_A = frozenset({"is-a", "descendent-of", "is-not-a"})


class ValueSets(Protocol):
    """What a binding may ask of terminology."""

    def holds(self, value_set_url: str, system: str | None, code: str) -> bool | None:
        """Whether a value set holds a code; None when its content is not known here.

        `value_set_url` may carry `|version`. `system` None means any system (an element of type
        code has none); "" is a coding that names no system, which is in no value set.
        """


class NoValueSets:
    """Nothing is known."""

    def holds(self, value_set_url: str, system: str | None, code: str) -> bool | None:  # noqa: ARG002  # The interface's arguments.
        """Cannot be told."""
        return None


class BaseValueSets:
    """R5's own required value sets, from the facts."""

    def holds(self, value_set_url: str, system: str | None, code: str) -> bool | None:
        """By the facts; a set or a system without content there cannot be told."""
        found = _base_codes(value_set_url.partition("|")[0])
        if found is None:
            return None
        pairs, plain, unchecked = found
        if (code in plain) if system is None else ((system, code) in pairs):
            return True
        is_open = "*" in unchecked or (bool(unchecked) if system is None else system in unchecked)
        return None if is_open else False


@cache
def _base_codes(
    url: str,
) -> tuple[frozenset[tuple[str, str]], frozenset[str], frozenset[str]] | None:
    known = facts().value_sets.get(url)
    if known is None:
        return None
    pairs = frozenset((s, code) for s, codes in known.systems.items() for code in codes)
    return pairs, frozenset(code for _, code in pairs), frozenset(known.unchecked)


@cache
def base_systems() -> dict[str, frozenset[str]]:
    """The codes of R5's own code systems, gathered from the required value sets that use them.

    Each is whole; a test compares them with the published code systems.
    """
    found: dict[str, set[str]] = {}
    for value_set in facts().value_sets.values():
        for system, codes in value_set.systems.items():
            if system.startswith("http://hl7.org/fhir/") and system not in _PARTLY:
                found.setdefault(system, set()).update(codes)
    return {system: frozenset(codes) for system, codes in found.items()}


class Concepts:
    """A code system's codes with their parents, read from its CodeSystem resource."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self.url = str(resource.get("url", ""))
        self.is_complete = resource.get("content") == "complete"
        self.parents: dict[str, tuple[str, ...]] = {}
        self.inactive: set[str] = set()
        self.properties: dict[str, dict[str, frozenset[str]]] = {}
        self._walk(resource.get("concept", ()), ())

    def _walk(self, concepts: Iterable[Mapping[str, Any]], above: tuple[str, ...]) -> None:
        for concept in concepts:
            code = str(concept.get("code", ""))
            named = [
                str(each.get("valueCode", ""))
                for each in concept.get("property", ())
                if each.get("code") in {"parent", "subsumedBy"}
            ]
            self.parents[code] = (*above, *named)
            found: dict[str, set[str]] = {}
            for each in concept.get("property", ()):
                value = next((v for k, v in each.items() if k.startswith("value")), "")
                found.setdefault(str(each.get("code", "")), set()).update(_texts(value))
            is_retired = "retired" in found.get("status", ()) or "true" in found.get("inactive", ())
            if is_retired:
                self.inactive.add(code)
            if found:
                self.properties[code] = {k: frozenset(v) for k, v in found.items()}
            self._walk(concept.get("concept", ()), (code,))

    def below(self, root: str) -> frozenset[str]:
        """A code and everything under it."""
        children: dict[str, list[str]] = {}
        for code, parents in self.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(code)
        found, waiting = {root}, [root]
        while waiting:
            new = [each for each in children.get(waiting.pop(), ()) if each not in found]
            found.update(new)
            waiting.extend(new)
        return frozenset(found)


def _texts(value: Any) -> tuple[str, ...]:
    """How a filter may write a property's value; a coding as `code` or as `system#code`."""
    if isinstance(value, Mapping):
        code = str(value.get("code", ""))
        return code, f"{value.get('system', '')}#{code}"
    return (str(value).lower(),) if isinstance(value, bool) else (str(value),)


class _Part:
    """One include or exclude: what it says of a coding."""

    __slots__ = ("codes", "sets", "system")

    def __init__(self, system: str, codes: frozenset[str] | None, sets: tuple[str, ...]) -> None:
        self.system = system
        self.codes = codes
        self.sets = sets


class GuideValueSets:
    """The value sets of installed guides, as far as their codes are enumerated or their filters
    can be followed in CodeSystems that are here. What is asked elsewhere goes to `further`.
    """

    def __init__(
        self,
        value_sets: Mapping[str, Mapping[str, Any]],
        code_systems: Mapping[str, Mapping[str, Any]],
        further: ValueSets | None = None,
    ) -> None:
        self._value_sets = value_sets
        self._code_systems = code_systems
        self._further: ValueSets = further or BaseValueSets()
        self._concepts: dict[str, Concepts | None] = {}
        self._told: dict[tuple[str, str | None, str], bool | None] = {}
        self._parts: dict[str, tuple[list[_Part], list[_Part]] | None] = {}

    def knows(self, value_set_url: str) -> bool:
        """Whether the definition of a value set is here."""
        return value_set_url.partition("|")[0] in self._value_sets

    def holds(self, value_set_url: str, system: str | None, code: str) -> bool | None:
        """By the set's definition: included and not excluded; None where content is missing."""
        asked = value_set_url, system, code
        if asked in self._told:
            return self._told[asked]
        if len(self._told) > _TOLD_MAX:
            self._told.clear()
        found = self._holds(value_set_url.partition("|")[0], system, code, 0)
        self._told[asked] = found
        return found

    def _holds(self, url: str, system: str | None, code: str, depth: int) -> bool | None:
        parts = self._composed(url)
        if parts is None or depth > _DEPTH_MAX:
            return self._further.holds(url, system, code)
        included = _any(self._says(each, system, code, depth) for each in parts[0])
        if included is not True:
            return included
        excluded = _any(self._says(each, system, code, depth) for each in parts[1])
        return None if excluded is None else not excluded

    def _says(self, part: _Part, system: str | None, code: str, depth: int) -> bool | None:
        verdicts = [
            self._holds(each.partition("|")[0], system, code, depth + 1) for each in part.sets
        ]
        if part.system:
            if system is not None and system != part.system:
                return False
            verdicts.append(None if part.codes is None else code in part.codes)
        if False in verdicts:
            return False
        return None if None in verdicts or not verdicts else True

    def _composed(self, url: str) -> tuple[list[_Part], list[_Part]] | None:
        if url not in self._parts:
            resource = self._value_sets.get(url)
            self._parts[url] = None if resource is None else self._read(resource)
        return self._parts[url]

    def _read(self, resource: Mapping[str, Any]) -> tuple[list[_Part], list[_Part]] | None:
        compose = resource.get("compose")
        if compose is None:
            listed = _expanded(resource.get("expansion", {}).get("contains", ()))
            systems = {system for system, _ in listed}
            parts = [_Part(s, frozenset(c for t, c in listed if t == s), ()) for s in systems]
            return (parts, []) if parts else None
        active_only = compose.get("inactive") is False
        return (
            [self._part(each, active_only=active_only) for each in compose.get("include", ())],
            [self._part(each) for each in compose.get("exclude", ())],
        )

    def _part(self, include: Mapping[str, Any], *, active_only: bool = False) -> _Part:
        system = str(include.get("system", ""))
        sets = tuple(map(str, include.get("valueSet", ())))
        if "concept" in include:
            return _Part(
                system, frozenset(str(c.get("code", "")) for c in include["concept"]), sets
            )
        known = self.concepts(system) if system else None
        if known is None:
            whole = None if include.get("filter") else base_systems().get(system)
            return _Part(system, whole, sets)
        codes: frozenset[str] | None = frozenset(known.parents)
        if active_only:
            codes = frozenset(known.parents) - known.inactive
        for each in include.get("filter", ()):
            kept = _filtered(known, each)
            codes = None if kept is None or codes is None else codes & kept
        return _Part(system, codes, sets)

    def concepts(self, system: str) -> Concepts | None:
        """The codes of a system whose complete content is here, or None."""
        if system not in self._concepts:
            resource = self._code_systems.get(system.partition("|")[0])
            found = None if resource is None else Concepts(resource)
            self._concepts[system] = found if found is not None and found.is_complete else None
        return self._concepts[system]


def _filtered(known: Concepts, given: Mapping[str, Any]) -> frozenset[str] | None:
    """The codes that a filter keeps; None for one that cannot be followed."""
    name, sign, value = (str(given.get(k, "")) for k in ("property", "op", "value"))
    if sign in _IS_A and name in {"concept", "code"}:
        below = known.below(value)
        if sign == "is-not-a":
            return frozenset(known.parents) - below
        return below - {value} if sign == "descendent-of" else below
    if sign in {"=", "in"}:
        wanted = {value} if sign == "=" else {each.strip() for each in value.split(",")}
        if name in {"concept", "code"}:
            return frozenset(wanted)
        of = known.properties
        kept = {code for code in known.parents if wanted & of.get(code, {}).get(name, frozenset())}
        if name in {"notSelectable", "inactive"} and "false" in wanted:
            kept |= {code for code in known.parents if name not in of.get(code, {})}
        return frozenset(kept)
    return None


def _expanded(contains: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for each in contains:
        found.append((str(each.get("system", "")), str(each.get("code", ""))))
        found.extend(_expanded(each.get("contains", ())))
    return found


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    """Three-valued or."""
    is_open = False
    for each in verdicts:
        if each:
            return True
        is_open = is_open or each is None
    return None if is_open else False
