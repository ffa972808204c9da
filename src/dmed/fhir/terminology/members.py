"""What a value set holds: its rules worked out over the code systems that are here.

https://hl7.org/fhir/R5/valueset.html#compositions. The codes are the union of the includes without
those of the excludes; inside one include its system, filters and value sets all must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from dmed.fhir.terminology.filters import keep_all
from dmed.fhir.terminology.model import (
    CODES_MAX,
    Compose,
    Contained,
    Include,
    Listed,
    TooCostlyError,
    UnknownContentError,
    ValueSet,
)
from dmed.fhir.terminology.system import System
from dmed.fhir.terminology.words import Places
from dmed.kit.errors import InvalidError, Issue

DEPTH_MAX = 32
SUPPLEMENT = "http://hl7.org/fhir/StructureDefinition/valueset-supplement"
"""The extension by which a value set relies on a supplement."""
Key: TypeAlias = tuple[str, str]
"""A system's address and version ("" where it has none)."""


class Part:
    """The codes of one system in a value set.

    With content here they are places of `system`; without, the codes that were `listed`.
    """

    __slots__ = ("_marked", "_sorted", "key", "listed", "naming", "places", "system")

    def __init__(
        self,
        key: Key,
        system: System | None,
        places: Collection[int] = (),
        listed: Mapping[str, Listed] | None = None,
        naming: System | None = None,
    ) -> None:
        self.key = key
        self.system = system
        self.naming = naming or system
        """Where names are found; for a system without content here those of its supplements."""
        self.places: Collection[int] = places
        self.listed: dict[str, Listed] = dict(listed or {})
        """By code: what the value set itself says of a code, e.g. another display."""
        self._sorted: list[int] | None = None
        self._marked: Places | None = None

    def __len__(self) -> int:
        return len(self.listed) if self.system is None else len(self.places)

    def holds(self, code: str) -> bool:
        """Whether the code is in this part."""
        if self.system is None:
            return code in self.listed
        place = self.system.find(code)
        return place is not None and place in self.places

    @property
    def is_whole(self) -> bool:
        """Whether every concept of the system is in it."""
        return self.system is not None and len(self.places) == len(self.system)

    def marked(self) -> Places:
        """The places as one set for searches, made once."""
        if self._marked is None:
            assert self.system is not None
            self._marked = Places.of(self.places, len(self.system))
        return self._marked

    def codes(self) -> Iterator[str]:
        """The codes: in the system's order, or as they were listed."""
        if self.system is None:
            yield from self.listed
        else:
            for place in self.in_order():
                yield self.system.codes[place]

    def in_order(self) -> Collection[int]:
        """The places in the system's order, or in that of a list that the value set gives."""
        if isinstance(self.places, range | dict):
            return self.places
        if self._sorted is None:
            self._sorted = sorted(self.places)
        return self._sorted

    def union(self, other: Part) -> Part:
        """What is in either."""
        listed = {**other.listed, **self.listed}
        places = (
            max(self.places, other.places, key=len)
            if isinstance(self.places, range) or isinstance(other.places, range)
            else set(self.places) | set(other.places)
        )
        return Part(self.key, self.system, places, listed, self.naming)

    def _where(self, keep: Callable[[str], bool]) -> Part:
        """The codes of this part that a test keeps."""
        if self.system is None:
            kept = {code: each for code, each in self.listed.items() if keep(code)}
            return Part(self.key, None, (), kept, self.naming)
        codes = self.system.codes
        places = {place: None for place in self.in_order() if keep(codes[place])}
        return Part(self.key, self.system, places, self.listed)

    def common(self, other: Part) -> Part:
        """What is in both."""
        if self.system is None or self.system is not other.system:
            return self._where(other.holds)
        places = _common(self.places, other.places)
        return Part(self.key, self.system, places, {**other.listed, **self.listed})

    def without(self, other: Part) -> Part:
        """What is here and not there."""
        if self.system is None or self.system is not other.system:
            return self._where(lambda code: not other.holds(code))
        gone = other.places
        if isinstance(gone, range):
            return Part(self.key, self.system, (), {})
        return Part(self.key, self.system, set(self.places) - set(gone), self.listed)


def _common(one: Collection[int], other: Collection[int]) -> Collection[int]:
    if isinstance(one, range):
        return other
    return one if isinstance(other, range) else set(one) & set(other)


class Members:
    """The codes of a value set by system, and the systems of which it cannot be told."""

    def __init__(
        self,
        parts: Mapping[Key, Part] | None = None,
        unknown: Iterable[str] = (),
        used: Iterable[str] = (),
    ) -> None:
        self.parts: dict[Key, Part] = dict(parts or {})
        self.unknown = frozenset(unknown)
        """Addresses of systems without content here ("*": of a value set without content)."""
        self.used = tuple(dict.fromkeys(used))
        """Canonical addresses of the value sets that were drawn in."""

    @property
    def missing(self) -> list[str]:
        """The systems without any content here; of a fragment what is here may be listed."""
        partial = {key[0] for key, part in self.parts.items() if part.system is not None}
        return sorted(self.unknown - partial)

    @property
    def count(self) -> int:
        """How many codes there are."""
        return sum(map(len, self.parts.values()))

    def holds(self, system: str | None, code: str) -> bool | None:
        """Whether a code is in the set; None where that cannot be told. `system` None: of any."""
        for key, part in self.parts.items():
            if (system is None or key[0] == system) and part.holds(code):
                return True
        if system is None:
            return None if self.unknown else False
        return None if system in self.unknown or "*" in self.unknown else False

    def union(self, other: Members) -> Members:
        """What is in either."""
        parts = dict(self.parts)
        for key, part in other.parts.items():
            parts[key] = parts[key].union(part) if key in parts else part
        return Members(parts, self.unknown | other.unknown, (*self.used, *other.used))

    def common(self, other: Members) -> Members:
        """What is in both."""
        parts: dict[Key, Part] = {}
        for key, part in self.parts.items():
            for same in other.speaking_of(key):
                found = part.common(same)
                parts[key] = parts[key].union(found) if key in parts else found
        return Members(parts, self.unknown | other.unknown, (*self.used, *other.used))

    def without(self, other: Members) -> Members:
        """What is here and not there."""
        parts = dict(self.parts)
        for key in self.parts:
            for same in other.speaking_of(key):
                parts[key] = parts[key].without(same)
        return Members(parts, self.unknown | other.unknown, (*self.used, *other.used))

    def speaking_of(self, key: Key) -> list[Part]:
        """The parts of a system and version; one without version speaks of every version."""
        return [
            part
            for (system, version), part in self.parts.items()
            if system == key[0] and (version == key[1] or "" in (version, key[1]))
        ]


class Evaluator:
    """Works out one value set; `find_system` and `find_set` look on the shelf."""

    def __init__(
        self,
        find_system: Callable[[str, str], System | None],
        find_set: Callable[[str], ValueSet | None],
        kept: dict[str, Members],
        check_supplement: Callable[[str], None],
    ) -> None:
        self._find_system = find_system
        self._find_set = find_set
        self._kept = kept
        self._check_supplement = check_supplement
        self._open: list[str] = []

    def by_url(self, canonical: str) -> Members:
        """The members of a value set on the shelf. UnknownContentError where it is not there."""
        known = self._kept.get(canonical)
        if known is not None:
            return known
        if canonical in self._open:
            circle = " > ".join([*self._open[self._open.index(canonical) :], canonical])
            raise InvalidError(
                issues=(Issue("processing", f"A value set includes itself: {circle}"),)
            )
        source = self._find_set(canonical)
        if source is None:
            raise UnknownContentError(f"There is no value set {canonical[:200]} here")
        if len(self._open) >= DEPTH_MAX:
            raise TooCostlyError(f"Value sets include one another more than {DEPTH_MAX} deep")
        self._open.append(canonical)
        try:
            found = self.of(source)
        finally:
            self._open.pop()
        self._kept[canonical] = found
        return found

    def of(self, source: ValueSet) -> Members:
        """The members of a value set that is given."""
        for each in source.extension:
            if each.url == SUPPLEMENT and each.valueCanonical:
                self._check_supplement(each.valueCanonical)
        if source.compose is not None and source.compose.include:
            made = self._composed(source.compose)
        elif source.expansion is not None:
            made = self._listed_expansion(source.expansion.contains)
        else:
            return Members(unknown=("*",))
        if made.count > CODES_MAX:
            raise TooCostlyError(
                f"The value set {source.url[:200]} has more than {CODES_MAX:,} codes"
            )
        return made

    def _composed(self, compose: Compose) -> Members:
        made = Members()
        for include in compose.include:
            made = made.union(self._include(include))
        for exclude in compose.exclude:
            made = made.without(self._include(exclude))
        if compose.inactive is False:
            parts = {key: _active(part) for key, part in made.parts.items()}
            made = Members(parts, made.unknown, made.used)
        return made

    def _include(self, include: Include) -> Members:
        made: Members | None = None
        for canonical in include.valueSet:
            other = self._drawn(canonical)
            made = other if made is None else made.common(other)
        if include.system:
            own = self._of_system(include)
            made = own if made is None else own.common(made)
        if made is None:
            raise InvalidError("A rule of a value set needs a system or a value set")
        return made

    def _drawn(self, canonical: str) -> Members:
        try:
            found = self.by_url(canonical)
        except UnknownContentError:
            return Members(unknown=("*",), used=(canonical,))
        return Members(found.parts, found.unknown, (canonical, *found.used))

    def _of_system(self, include: Include) -> Members:
        system = self._find_system(include.system, include.version)
        if include.concept:
            return self._enumerated(include, system)
        if system is None or not system.codes_are_known:
            return Members(unknown=(include.system,))
        places: Collection[int] = (
            keep_all(system, include.filter) if include.filter else range(len(system))
        )
        key = (include.system, system.version)
        unknown = () if system.is_complete else (include.system,)
        return Members({key: Part(key, system, places)}, unknown)

    def _enumerated(self, include: Include, system: System | None) -> Members:
        listed = {each.code: each for each in include.concept}
        if system is None or not system.is_complete:
            key = (include.system, include.version)
            return Members({key: Part(key, None, (), listed, system)})
        key = (include.system, system.version)
        found = (system.find(code) for code in listed)
        places = dict.fromkeys(place for place in found if place is not None)
        said = {code: each for code, each in listed.items() if each.display or each.designation}
        return Members({key: Part(key, system, places, said)})

    def _listed_expansion(self, contains: Iterable[Contained]) -> Members:
        made = Members()
        for each in _flat(contains):
            if not each.abstract and each.code:
                key = (each.system, each.version)
                part = made.parts.setdefault(key, Part(key, None))
                part.listed[each.code] = Listed(each.code, each.display, each.designation)
        return made


def _active(part: Part) -> Part:
    if part.system is None or not part.system.inactive:
        return part
    return Part(part.key, part.system, set(part.places) - part.system.inactive, part.listed)


def _flat(contains: Iterable[Contained]) -> Iterator[Contained]:
    waiting = list(contains)[::-1]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(reversed(each.contains))

