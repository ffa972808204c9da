"""Words of a record for `_text` and `_content`, and a search for words. Pure.

Both sides fold alike (kit.text), so a word is found in any of the three scripts. What is kept is
the text of a PostgreSQL tsvector, made here with positions, and what is sought is a tsquery made
of our own quoted words: nothing of a caller's text is ever read as syntax by the database.
https://hl7.org/fhir/R5/search.html#_text
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from msgspec import UNSET
from msgspec.structs import astuple

from dmed.fhir.facts import Element, facts
from dmed.fhir.query_model import Words
from dmed.fhir.source import Source, later
from dmed.fhir.types import attribute, is_primitive, struct_of
from dmed.kit.errors import InvalidError
from dmed.kit.text import fold

WORD_LETTERS_MAX = 40
"""A longer word is kept and sought by its beginning."""
WORDS_MAX = 5_000
"""Most words of one record that are kept, from its beginning.

A tsvector may have a million bytes: so many of the longest words fit into it."""
SOUGHT_MAX = 50
"""Most words of one search."""
_GAP = 3
"""Places between two texts of a record, so that no phrase reaches over them."""

_WORD = re.compile(r"[^\W_]+")
_TAG = re.compile(r"<[^>]*>")
_PIECE = re.compile(r'[()]|-?"[^"]*"|[^\s()"]+')
# Addresses, keys and bytes are no words that a person would look for.
_UNREAD = frozenset({
    "contentType", "data", "div", "fullUrl", "hash", "id", "implicitRules", "lastUpdated", "meta",
    "reference", "resourceType", "system", "url", "valueUri", "valueUrl", "versionId",
})  # fmt: skip  # A list of words reads better filled.
_NUMBERS = frozenset({"boolean", "decimal", "integer", "positiveInt", "unsignedInt"})


# What is kept ------------------------------------------------------------------------------


class Texts(NamedTuple):
    """The texts of a record that are searched by word, narratives without their marks."""

    narrative: str = ""
    sections: Sequence[str] = ()
    """Narratives of a Composition's sections, of all levels in their order."""
    others: Sequence[str] = ()
    """All other texts and all codes in the order of the record's body."""

    @property
    def all(self) -> list[str]:
        """Every text: the narratives first."""
        return [self.narrative, *self.sections, *self.others]


def texts_of(resource: Any) -> Texts:
    """What a record (a struct) has to be searched by word."""
    others: list[str] = []
    _gather(resource, others.append)
    sections: list[str] = []
    if resource.fhir_type == "Composition" and resource.section is not UNSET:
        sections += _told(resource.section)
    return Texts(_words_of_narrative(resource), sections, others)


def _words_of_narrative(holder: Any) -> str:
    narrative = getattr(holder, "text", UNSET)
    div = UNSET if narrative is UNSET else narrative.div
    return "" if div is UNSET else html.unescape(_TAG.sub(" ", div))


def _told(sections: Sequence[Any]) -> Iterator[str]:
    for section in sections:
        yield _words_of_narrative(section)
        if section.section is not UNSET:
            yield from _told(section.section)


def document(texts: Sequence[str], mark: str) -> str:
    """The tsvector text of these texts, "" where they hold no word.

    `mark` is a word that all rows of the kind carry, which no caller can write.
    """
    # Long texts are rarely met twice: they would only push short ones out of the memory.
    return document_of(
        [words_of(text) if len(text) < 100 else words_of.__wrapped__(text) for text in texts], mark)


def document_of(texts: Sequence[Sequence[str]], mark: str) -> str:
    """As `document`, of the words of each text (`words_of`)."""
    places: dict[str, str] = {}
    at = 0
    for words in texts:
        for word in words[: WORDS_MAX - at] if len(words) > WORDS_MAX - at else words:
            at += 1
            before = places.get(word)
            places[word] = f"{word}:{at}" if before is None else f"{before},{at}"
        at += _GAP
        if at >= WORDS_MAX:
            break
    return " ".join([mark, *places.values()]) if places else ""


def is_word(text: str) -> bool:
    """Whether a text is read at all: what looks like a date is not, as `_write` writes it."""
    # LOINC's 8480-6 is shorter than any date with a month.
    return text[4:5] != "-" or len(text) < 7 or not text[:4].isdecimal()


def _gather(value: Any, add: Callable[[str], None]) -> None:
    """Adds the texts of a struct and of all inside it, in order; dates are no words."""
    _gatherer(value.fhir_type)(value, add)


@cache
def _gatherer(type_name: str) -> Callable[[Any, Callable[[str], None]], None]:
    """`_gather` for the structs of one type, written from its definition."""
    source = Source(f"texts of {type_name}", "value, add")
    codes = {
        attr: (code, element.is_list)
        for element in facts().types[type_name].elements if element.max != 0
        for attr, code in _held(element)
    }
    fields = struct_of(type_name).__struct_fields__
    names = [f"f{number}" for number in range(len(fields))]
    source.add(f"({', '.join(names)},) = {source.name(astuple)}(value)")
    source.add(f"unset = {source.name(UNSET)}")
    for name, field in zip(names, fields, strict=True):
        code, is_list = codes[field]
        if code:
            source.open(f"if {name} is not unset:")
            _write(source, code, name, is_list)
            source.close()
    source.add("return")
    return source.function()


def _held(element: Element) -> Iterator[tuple[str, str]]:
    """(attribute, type) of the fields of an element; "" instead of a type that is not read."""
    for code in [element.content] if element.content else [each.code for each in element.types]:
        name = element.name if element.content else element.json_name(code)
        is_read = name not in _UNREAD and code not in _NUMBERS
        yield attribute(name), code if is_read else ""
        yield attribute("_" + name), "Element"


def _write(source: Source, code: str, name: str, is_list: bool) -> None:
    if is_list:
        source.open(f"for each in {name}:")
        source.open("if each is not None:")
        name = "each"
    if code == "Resource":
        source.add(f"{source.name(_gather)}({name}, add)")
    elif is_primitive(code):
        # `is_word`, in place.
        source.open(
            f'if {name}[4:5] != "-" or len({name}) < 7 or not {name}[:4].isdecimal():')
        source.add(f"add({name})")
        source.close()
    else:
        source.add(f"{later(source, lambda: _gatherer(code))}({name}, add)")
    if is_list:
        source.close()
        source.close()


@lru_cache(maxsize=16_384)
def words_of(text: str) -> tuple[str, ...]:
    """The folded words of a text, in order."""
    return tuple(word[:WORD_LETTERS_MAX] for word in _WORD.findall(fold(text)))


# What is sought ----------------------------------------------------------------------------


def sought(text: str, name: str) -> Words:
    """The words that a caller seeks: `heart (attack OR "acute failure") NOT child* `.

    Blanks and AND mean and; OR, NOT (or `-`) and parentheses as usual, in capitals; a text in
    quotes is a phrase; `*` ends a beginning. InvalidError names the parameter.
    """
    reader = _Reader(text, name)
    made = reader.either()
    if reader.at < len(reader.pieces):
        raise reader.wrong("has a ')' too many")
    return Words(text, made, reader.needed())


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.pieces: list[str] = _PIECE.findall(text)
        self.at = 0
        self.count = 0
        self.depth = 0

    def needed(self) -> tuple[str, ...]:
        """The words that cannot be absent from what is found."""
        is_open = any(piece in {"OR", "NOT", "("} or (piece.startswith("-") and len(piece) > 1)
                      for piece in self.pieces)
        words = (word for piece in self.pieces if piece != "AND" for word in words_of(piece))
        return () if is_open else tuple(dict.fromkeys(words))

    def wrong(self, why: str) -> InvalidError:
        return InvalidError(f"Search parameter {self.name}: {self.text[:100]!r} {why}", self.name)

    def next(self) -> str:
        return self.pieces[self.at] if self.at < len(self.pieces) else ""

    def either(self) -> str:
        parts = [self.every()]
        while self.next() == "OR":
            self.at += 1
            parts.append(self.every())
        return parts[0] if len(parts) == 1 else f"({' | '.join(parts)})"

    def every(self) -> str:
        parts = [self.one()]
        while self.next() not in {"", "OR", ")"}:
            if self.next() == "AND":
                self.at += 1
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else f"({' & '.join(parts)})"

    def one(self) -> str:
        piece = self.next()
        self.at += 1
        if piece == "NOT":
            return f"!{self.deeper(self.one)}"
        if piece == "(":
            found = self.deeper(self.either)
            if self.next() != ")":
                raise self.wrong("has a '(' that is not closed")
            self.at += 1
            return found
        if piece in {"", ")", "AND", "OR"}:
            raise self.wrong("holds no word where one is needed")
        negated = piece.startswith("-") and len(piece) > 1
        return ("!" if negated else "") + self.phrase(piece)

    def deeper(self, read: Any) -> str:
        self.depth += 1
        if self.depth > SOUGHT_MAX:
            raise self.wrong(f"nests over {SOUGHT_MAX} levels")
        found: str = read()
        self.depth -= 1
        return found

    def phrase(self, piece: str) -> str:
        words = words_of(piece)
        self.count += len(words)
        if not words:
            raise self.wrong("holds no word to search for")
        if self.count > SOUGHT_MAX:
            raise self.wrong(f"holds over {SOUGHT_MAX} words")
        quoted = [f"'{word}'" for word in words]
        if piece.rstrip('"').endswith("*") or len(words[-1]) == WORD_LETTERS_MAX:
            quoted[-1] += ":*"
        return quoted[0] if len(quoted) == 1 else f"({' <-> '.join(quoted)})"
