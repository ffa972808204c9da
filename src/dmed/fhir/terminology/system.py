"""One code system, ready to be asked: concepts in columns, so that 100,000 codes stay small.

https://hl7.org/fhir/R5/codesystem.html. A concept is known by its place (0, 1, 2, ...): the order
of the definition, each parent before its children.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from dmed.fhir.terminology.model import (
    CodeSystem,
    Concept,
    Designation,
    Property,
    PropertyDefinition,
)
from dmed.fhir.terminology.words import WordIndex
from dmed.kit.text import to_cyrillic

CONCEPT_PROPERTIES = "http://hl7.org/fhir/concept-properties#"
DISPLAY_USES = frozenset({"", "display"})
_RETIRED = frozenset({"retired", "inactive"})
_TREE = frozenset({"parent", "child"})
_DEPTH_MAX = 1_000


def languages(wish: str) -> list[str]:
    """The languages of an Accept-Language text ("ru, uz;q=0.5"), the most wanted first."""
    wanted: list[tuple[float, int, str]] = []
    for number, part in enumerate(wish.split(",")[:20]):
        tag, _, quality = part.strip().partition(";")
        weight = quality.strip().removeprefix("q=")
        is_number = weight.replace(".", "", 1).isdecimal()
        share = float(weight) if is_number else 1.0
        if tag.strip() and share > 0:
            wanted.append((-share, number, tag.strip()))
    return [tag for _, _, tag in sorted(wanted)]


def is_language(given: str, wanted: str) -> bool:
    """Whether a name in `given` serves who wants `wanted`: ru-RU and ru serve each other."""
    return given == wanted or given.partition("-")[0] == wanted.partition("-")[0]


class System:
    """The concepts of one version of a code system, with the names that supplements add."""

    def __init__(self, source: CodeSystem, supplements: Sequence[CodeSystem] = ()) -> None:
        self.url, self.version = source.url, source.version
        self.name = source.title or source.name
        self.language = source.language
        self.content = source.content or "complete"
        self.is_case_sensitive = source.caseSensitive
        self.supplements = tuple(_canonical(each.url, each.version) for each in supplements)
        self.codes: list[str] = []
        self.displays: list[str] = []
        self.definitions: dict[int, str] = {}
        self.place: dict[str, int] = {}
        self.parents: dict[int, array[int]] = {}
        self.children: dict[int, array[int]] = {}
        self.labels: dict[str, list[str | None]] = {}
        self.designations: dict[int, list[Designation]] = {}
        self.properties: dict[int, list[Property]] = {}
        self.inactive: set[int] = set()
        self.abstract: set[int] = set()
        self._meanings = _meanings([*source.property, *_definitions(supplements)])
        self._add_all(source.concept)
        for supplement in supplements:
            self._supplement(supplement)
        self._link()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def is_complete(self) -> bool:
        """Whether a code that is not here is no code of the system."""
        return self.content == "complete"

    @property
    def canonical(self) -> str:
        """The address with the version, where it has one."""
        return _canonical(self.url, self.version)

    # Building

    def _add_all(self, concepts: Sequence[Concept]) -> None:
        waiting = [(iter(concepts), -1)]
        while waiting:
            level, parent = waiting[-1]
            concept = next(level, None)
            if concept is None:
                waiting.pop()
                continue
            place = self._add(concept, parent)
            if concept.concept and len(waiting) < _DEPTH_MAX:
                waiting.append((iter(concept.concept), place))

    def _add(self, concept: Concept, parent: int) -> int:
        key = self.key(concept.code)
        place = self.place.get(key)
        if place is None:
            place = self.place[key] = len(self.codes)
            self.codes.append(concept.code)
            self.displays.append(concept.display)
            for column in self.labels.values():
                column.append(None)
            if concept.definition:
                self.definitions[place] = concept.definition
        if parent >= 0:
            self._join(place, parent)
        self._describe(place, concept)
        return place

    def _describe(self, place: int, concept: Concept) -> None:
        for each in concept.designation:
            self._name(place, each)
        if not concept.property:
            return
        kept = self.properties.setdefault(place, [])
        for one in concept.property:
            kept.append(one)
            meaning = self._meanings.get(one.code, one.code)
            if meaning in {"inactive", "notSelectable"} and one.text() == "true":
                (self.inactive if meaning == "inactive" else self.abstract).add(place)
            elif meaning == "status" and one.text() in _RETIRED:
                self.inactive.add(place)

    def _name(self, place: int, name: Designation) -> None:
        if name.language and (name.use is None or name.use.code in DISPLAY_USES):
            column = self.labels.get(name.language)
            if column is None:
                column = self.labels[name.language] = [None] * len(self.codes)
            if column[place] is None and name.use is None:
                column[place] = name.value
                return
        self.designations.setdefault(place, []).append(name)

    def _supplement(self, supplement: CodeSystem) -> None:
        waiting = list(supplement.concept)
        while waiting:
            concept = waiting.pop()
            waiting.extend(concept.concept)
            place = self.find(concept.code)
            if place is None and not self.codes_are_known:
                place = self._add(Concept(code=concept.code), -1)
            if place is not None:
                self._describe(place, concept)

    @property
    def codes_are_known(self) -> bool:
        """False for a system that only supplements speak of."""
        return self.content != "not-present"

    def _join(self, child: int, parent: int) -> None:
        known = self.parents.setdefault(child, array("I"))
        if parent not in known and parent != child:
            known.append(parent)
            self.children.setdefault(parent, array("I")).append(child)

    def _link(self) -> None:
        """Parents and children that stand as properties, once all codes are known."""
        tree = {code for code, meaning in self._meanings.items() if meaning in _TREE} | _TREE
        for place, properties in self.properties.items():
            for one in properties:
                if one.code in tree:
                    other = self.find(one.text())
                    if other is not None:
                        is_parent = self._meanings.get(one.code, one.code) == "parent"
                        self._join(*((place, other) if is_parent else (other, place)))

    # Asking

    def key(self, code: str) -> str:
        """The form of a code under which it is found."""
        return code if self.is_case_sensitive else code.lower()

    def find(self, code: str) -> int | None:
        """The place of a code, or None."""
        return self.place.get(code if self.is_case_sensitive else code.lower())

    def meaning(self, code: str) -> str:
        """What a property of this system stands for, by FHIR's own list; else its code."""
        return self._meanings.get(code, code)

    def below(self, place: int) -> set[int]:
        """The concept and everything under it."""
        return _reach(place, self.children)

    def above(self, place: int) -> set[int]:
        """The concept and everything that it is a kind of."""
        return _reach(place, self.parents)

    def is_below(self, place: int, other: int) -> bool:
        """Whether the concept is the other or lies under it."""
        return other in _reach(place, self.parents)

    @cached_property
    def words(self) -> WordIndex:
        """The index of the words of all names and codes."""
        return WordIndex(self._labels(), len(self.codes))

    def _labels(self) -> Iterator[tuple[int, str]]:
        columns: list[Sequence[str | None]] = [self.codes, self.displays, *self.labels.values()]
        for column in columns:
            for place, text in enumerate(column):
                if text:
                    yield place, text
        for place, names in self.designations.items():
            for name in names:
                yield place, name.value

    def display(self, place: int, wanted: Iterable[str] = ()) -> str:
        """The name of a concept in the first wanted language that it has one in."""
        for language in wanted:
            if self.language and is_language(self.language, language) and self.displays[place]:
                return in_script(self.displays[place], self.language, language)
            found = self._label(place, language)
            if found:
                return found
        return self.displays[place] or self._any_label(place)

    def _label(self, place: int, language: str) -> str:
        column = self.labels.get(language)
        if column is not None and (exact := column[place]):
            return exact
        for each, texts in self.labels.items():
            text = texts[place]
            if text and is_language(each, language):
                return in_script(text, each, language)
        for name in self.designations.get(place, ()):
            is_display = name.use is None or name.use.code in DISPLAY_USES
            if is_display and name.language and is_language(name.language, language):
                return in_script(name.value, name.language, language)
        return ""

    def _any_label(self, place: int) -> str:
        for texts in self.labels.values():
            if text := texts[place]:
                return text
        return ""

    def names(self, place: int) -> Iterator[Designation]:
        """All other names of a concept."""
        for language, texts in self.labels.items():
            if text := texts[place]:
                yield Designation(text, language)
        yield from self.designations.get(place, ())


def in_script(text: str, language: str, wanted: str) -> str:
    """Uzbek Latin in Cyrillic letters where these are wanted; anything else as it is."""
    if wanted == "uz-Cyrl" and language in {"uz", "uz-Latn", "uz-UZ"}:
        return to_cyrillic(text)
    return text


def _reach(place: int, links: dict[int, array[int]]) -> set[int]:
    seen = {place}
    waiting = [place]
    while waiting:
        for other in links.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def _meanings(definitions: Iterable[PropertyDefinition]) -> dict[str, str]:
    return {
        each.code: each.uri.removeprefix(CONCEPT_PROPERTIES)
        for each in definitions
        if each.uri.startswith(CONCEPT_PROPERTIES)
    }


def _definitions(supplements: Iterable[CodeSystem]) -> Iterator[PropertyDefinition]:
    for each in supplements:
        yield from each.property


def _canonical(url: str, version: str) -> str:
    return f"{url}|{version}" if version else url
