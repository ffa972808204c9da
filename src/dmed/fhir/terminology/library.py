"""The shelf of definitions: puts them in and out, finds the right version, builds on first use.

A definition lies here as its packed JSON until it is needed; a code system then becomes a `System`,
a value set its `Members`. Whatever is put or taken drops what was built of it and of its users.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dmed.fhir.terminology.members import Evaluator, Members
from dmed.fhir.terminology.model import (
    EXPANSION_MAX,
    KINDS,
    CodeSystem,
    Compose,
    ConceptMap,
    Head,
    Include,
    TooCostlyError,
    UnknownContentError,
    ValueSet,
)
from dmed.fhir.terminology.own import own_terms
from dmed.fhir.terminology.system import System
from dmed.kit.errors import DmedError, InvalidError

LARGE_BYTES = 200_000
"""A code system whose JSON is larger is built before it is asked for, aside from the requests."""
ABSENT_MAX = 10_000
"""Most addresses of value sets that are remembered as not here."""
_ALL_CODES = "?fhir_vs"
_OWN_SETS = "http://hl7.org/fhir/"
_NUMBERS = re.compile(r"\d+|\D+")
_STATUS_RANK = {"active": 2, "draft": 1, "": 1}


class Entry:
    """One definition on the shelf."""

    __slots__ = ("_body", "_source", "head", "is_own", "size_bytes")

    def __init__(self, head: Head, body: bytes = b"", source: Any = None) -> None:
        self.head = head
        self.size_bytes = len(body)
        self.is_own = source is not None
        self._body = zlib.compress(body, 1) if body else b""
        self._source = source

    def source(self) -> Any:
        """The definition itself, read anew where it lies packed."""
        if self._source is not None:
            return self._source
        kind = KINDS[self.head.resourceType]
        return msgspec.json.decode(zlib.decompress(self._body), type=kind)

    def rank(self) -> tuple[object, ...]:
        """By what the current one of several is chosen: stored before R5's own, then status,
        then the highest version.
        """
        return (not self.is_own, _STATUS_RANK.get(self.head.status, 0),
                version_key(self.head.version), self.head.id)  # fmt: skip  # One thought.


def version_key(version: str) -> list[tuple[int, int | str]]:
    """Versions compare by their numbers: 10.0 comes after 9.1; a pre-release before its release."""
    plain, _, early = version.partition("-")
    parts: list[tuple[int, int | str]] = [
        (1, int(part)) if part.isdecimal() else (0, part) for part in _NUMBERS.findall(plain)[:40]
    ]
    return [*parts, (0, early) if early else (0, "~")]


def split(canonical: str) -> tuple[str, str]:
    """Address and version of a canonical."""
    url, _, version = canonical.partition("#")[0].partition("|")
    return url, version


class Library:
    """All terminology that is known here. Implements `dmed.fhir.bindings.ValueSets`."""

    def __init__(self, *, with_own: bool = True) -> None:
        self._by_url: dict[tuple[str, str], list[Entry]] = {}
        self._by_id: dict[tuple[str, str], Entry] = {}
        self._supplements: dict[str, list[Entry]] = {}
        self._systems: dict[tuple[str, str], System] = {}
        self._members: dict[str, Members] = {}
        self._absent: set[str] = set()
        self._maps: dict[Entry, ConceptMap] = {}
        self.changed: list[Callable[[], None]] = []
        """Called after each change, for those who keep answers."""
        if with_own:
            self._add_own()

    # The shelf

    def _add_own(self) -> None:
        terms = own_terms()
        for source in (*terms.systems, *terms.sets, *terms.maps):
            source.resourceType = type(source).__name__
            self._shelve(Entry(source, source=source))

    def put(self, body: bytes) -> Head:
        """A CodeSystem, ValueSet or ConceptMap as JSON; it replaces the one of the same id."""
        head = msgspec.json.decode(body, type=Head)
        if head.resourceType not in KINDS:
            raise InvalidError(f"{head.resourceType[:40]!r} is no terminology resource")
        self.take(head.resourceType, head.id)
        entry = Entry(head, body)
        self._by_id[head.resourceType, head.id] = entry
        self._shelve(entry)
        self._forget(entry)
        return head

    def stored(self) -> set[tuple[str, str]]:
        """(type, id) of everything that was put here."""
        return set(self._by_id)

    def take(self, resource_type: str, id_: str) -> None:
        """Removes what was put under this id; nothing happens where there is none."""
        entry = self._by_id.pop((resource_type, id_), None)
        if entry is None:
            return
        head = entry.head
        for entries in (
            self._by_url.get((head.resourceType, head.url), []),
            self._supplements.get(split(head.supplements)[0], []),
        ):
            if entry in entries:
                entries.remove(entry)
        self._forget(entry)

    def _shelve(self, entry: Entry) -> None:
        head = entry.head
        if head.resourceType == "CodeSystem" and head.content == "supplement":
            self._supplements.setdefault(split(head.supplements)[0], []).append(entry)
        if head.url:
            entries = self._by_url.setdefault((head.resourceType, head.url), [])
            entries.append(entry)
            entries.sort(key=Entry.rank, reverse=True)

    def _forget(self, entry: Entry) -> None:
        head = entry.head
        gone = {head.url, split(head.supplements)[0]}
        # Copied first: a large definition is put in a thread while others ask.
        systems = list(self._systems.items())
        self._systems = {key: one for key, one in systems if key[0] not in gone}
        self._members = {}
        self._absent = set()
        self._maps = {}
        for tell in self.changed:
            tell()

    def _entry(self, resource_type: str, url: str, version: str = "") -> Entry | None:
        for entry in self._by_url.get((resource_type, url), ()):
            if entry.head.content == "supplement":
                continue
            if not version or _is_version(entry.head.version, version):
                return entry
        return None

    def entries(self, resource_type: str) -> Iterator[Entry]:
        """Every definition of a type, the current ones of each address first."""
        for (kind, _), entries in list(self._by_url.items()):
            if kind == resource_type:
                yield from entries

    def by_id(self, resource_type: str, id_: str) -> Any | None:
        """The stored definition of an id, or None."""
        entry = self._by_id.get((resource_type, id_))
        return None if entry is None else entry.source()

    # Finding

    def system(self, url: str, version: str = "") -> System | None:
        """A code system with its supplements, or None where nothing is known of it.

        Without `version` (or a `|version` in the address) the current one.
        """
        if "|" in url:
            url, version = split(url)
        known = self._systems.get((url, version))
        if known is not None:
            return known
        entry = self._entry("CodeSystem", url, version)
        supplements = [each.source() for each in self._supplements.get(url, ())]
        if entry is None:
            if not supplements or version:
                return None
            source = CodeSystem(url=url, content="not-present")
        else:
            source = entry.source()
        made = self._systems[url, version] = System(source, supplements)
        return made

    def value_set(self, canonical: str) -> ValueSet | None:
        """The definition of a value set, or None; also the set of all codes of a system, which a
        code system names in `valueSet` or a client as `system?fhir_vs`.
        """
        entry = self._entry("ValueSet", *split(canonical))
        if entry is not None:
            found: ValueSet = entry.source()
            return found
        if canonical in self._absent:
            return None
        url = split(canonical)[0]
        system = url.removesuffix(_ALL_CODES) if url.endswith(_ALL_CODES) else self._all_of(url)
        if not system or self._entry("CodeSystem", system) is None:
            if len(self._absent) < ABSENT_MAX:
                self._absent.add(canonical)
            return None
        whole = Compose(include=[Include(system=system)])
        return ValueSet(resourceType="ValueSet", url=url, status="active", compose=whole)

    def _all_of(self, url: str) -> str:
        for entry in self.entries("CodeSystem"):
            if entry.head.valueSet and split(entry.head.valueSet)[0] == url:
                return entry.head.url
        return ""

    def head(self, resource_type: str, canonical: str) -> Head | None:
        """What a definition says of itself, or None where it is not here."""
        entry = self._entry(resource_type, *split(canonical))
        if entry is None and resource_type == "ValueSet":
            return self.value_set(canonical)
        return None if entry is None else entry.head

    def check_supplement(self, canonical: str) -> None:
        """UnknownContentError where a supplement that somebody relies on is not here."""
        url, version = split(canonical)
        for entries in self._supplements.values():
            for entry in entries:
                if entry.head.url == url and version in ("", entry.head.version):
                    return
        raise UnknownContentError(f"The supplement {canonical[:200]} is not here")

    def concept_map(self, canonical: str) -> ConceptMap | None:
        """The definition of a map, or None."""
        entry = self._entry("ConceptMap", *split(canonical))
        return None if entry is None else self._map_of(entry)

    def concept_maps(self) -> list[ConceptMap]:
        """Every map, the current version of each address."""
        return [
            self._map_of(entries[0])
            for (kind, _), entries in list(self._by_url.items())
            if kind == "ConceptMap" and entries
        ]

    def _map_of(self, entry: Entry) -> ConceptMap:
        found = self._maps.get(entry)
        if found is None:
            found = self._maps[entry] = entry.source()
        return found

    def members(self, value_set: str | ValueSet) -> Members:
        """The codes of a value set by its canonical address, or of one that is given.

        UnknownContentError where it is not here, TooCostlyError, InvalidError for a circle.
        """
        evaluator = Evaluator(self.system, self.value_set, self._members, self.check_supplement)
        if isinstance(value_set, str):
            return evaluator.by_url(value_set)
        return evaluator.of(value_set)

    def prepare_large(self) -> None:
        """Builds the large systems with their word indexes; meant for a thread of its own."""
        for entry in list(self.entries("CodeSystem")):
            if entry.size_bytes > LARGE_BYTES and entry.head.content != "supplement":
                system = self.system(entry.head.url)
                if system is not None:
                    _ = system.words

    # What bindings and searches ask

    def holds(self, value_set_url: str, system: str | None, code: str) -> bool | None:
        """Whether a value set holds a code; None when its content is not known here.

        `system` None means any system; "" is a coding that names none, which is in no set.
        """
        try:
            return self.members(value_set_url).holds(system, code)
        except DmedError:
            return None

    def codes_in(self, value_set: str, most: int = EXPANSION_MAX) -> list[tuple[str, str]] | None:
        """Every (system, code) of a value set in its order; None when that cannot be told.

        `value_set` is its address, `|version` allowed, or `ValueSet/id`. TooCostlyError where
        there are more than `most`.
        """
        try:
            found = self.members(self._address(value_set))
        except UnknownContentError:
            return None
        if found.unknown:
            return None
        if found.count > most:
            raise TooCostlyError(f"The value set {value_set[:200]} has more than {most:,} codes")
        return [(key[0], code) for key, part in found.parts.items() for code in part.codes()]

    def below(self, system: str, code: str) -> list[str] | None:
        """The code and everything under it; [] for no code of the system, None for a system that
        is not known whole.
        """
        return self._related(system, code, System.below)

    def above(self, system: str, code: str) -> list[str] | None:
        """The code and everything that it is a kind of; else as `below`."""
        return self._related(system, code, System.above)

    def _address(self, value_set: str) -> str:
        if not value_set.startswith("ValueSet/"):
            return value_set
        entry = self._by_id.get(("ValueSet", value_set.removeprefix("ValueSet/")))
        return _OWN_SETS + value_set if entry is None else entry.head.url

    def _related(
        self, url: str, code: str, reach: Callable[[System, int], set[int]]
    ) -> list[str] | None:
        system = self.system(url)
        place = None if system is None else system.find(code)
        if system is None or place is None:
            return None if system is None or not system.is_complete else []
        return [system.codes[each] for each in sorted(reach(system, place))]


def _is_version(given: str, wanted: str) -> bool:
    """Whether a version is the wanted one: also 1.x.x, and 1.0 for 1.0.3."""
    if given == wanted:
        return True
    if "x" in wanted.split("."):
        return all(
            part in {"x", mine}
            for part, mine in zip(wanted.split("."), given.split("."), strict=False)
        )
    return given.startswith(wanted + ".")
