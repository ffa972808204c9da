"""Modifiers of tokens and references that are more than a test of the same rows.

`:text`, `:code-text`, `:of-type` and `:identifier` ask for rows of their own
(`params.modified_numbers`); `:in`, `:not-in`, `:below` and `:above` become the codes that they
name, told by terminology (`query_codes`). https://hl7.org/fhir/R5/search.html#modifiers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dmed.fhir import params
from dmed.fhir.index import modified_number
from dmed.fhir.params import SearchParameter
from dmed.fhir.params_contained import POINTS
from dmed.fhir.query_codes import implied_systems, known
from dmed.fhir.query_model import (
    CodeSet,
    Criterion,
    Link,
    Logic,
    Match,
    Missing,
    Text,
    Token,
    Words,
)
from dmed.fhir.query_values import Field, read
from dmed.fhir.values import split_escaped, unescape
from dmed.fhir.words import sought
from dmed.kit.errors import InvalidError, Issue
from dmed.kit.text import fold

CODES_MAX = 10_000
"""Most codes that a value set or a hierarchy may put into a search."""
CODE_TEXT_MAX = 64
"""Longest text of `:code-text`, in characters: codes are short."""
_WITH_TEXT = frozenset({"Coding", "CodeableConcept", "CodeableReference", "Identifier", "Reference",
                        "System.Any", ""})
_PARENTS = ("partof", "part-of")
"""Codes of the parameters that name the record above, where a type has levels."""


def not_served(field: Field, modifier: str) -> InvalidError:
    """The refusal of a modifier that the parameter does not take."""
    why = f"Search parameter {field.label!r}: modifier {modifier[:50]!r} is not served"
    return InvalidError(issues=(Issue("not-supported", why, field.label),))


def parent_code(type_name: str) -> str:
    """The parameter by which records of a type name the one above; "" for types without levels."""
    for code in _PARENTS:
        found = params.parameters(type_name).get(code)
        if found is not None and type_name in found.targets:
            return code
    return ""


def missing(type_name: str, found: SearchParameter, *, is_missing: bool) -> Criterion:
    """Whether a record has no value for a parameter, in whatever form the value is.

    A code may be a text alone, a reference an identifier alone or a contained record; a composite
    is there when all its components are.
    """
    parts: list[Criterion] = []
    known_here = params.parameters(type_name)
    is_whole = (found.type == "composite" and found.expression.strip() == type_name
                and all(part.code in known_here for part in found.components))
    if is_whole:
        parts += [missing(type_name, known_here[part.code], is_missing=is_missing)
                  for part in found.components]
    else:
        parts.append(Missing(type_name, found.code, found.type, found.number, is_missing))
        for modifier, kind in _BESIDE.get(found.type, ()):
            if _has_rows(type_name, found.code, modifier):
                parts += [Missing(type_name, found.code, kind, number, is_missing)
                          for number in params.modified_numbers(type_name, found.code, modifier)]
        if found.type == "reference" and _has_rows(type_name, found.code, "identifier"):
            inwards = modified_number(found.number, POINTS)
            parts.append(Missing(type_name, found.code, "token", inwards, is_missing))
    if len(parts) == 1:
        return parts[0]
    sign = "and" if is_missing != is_whole else "or"
    text = "true" if is_missing else "false"
    return Logic(type_name, sign, tuple(parts), f"{found.code}:missing", text)


_BESIDE = {
    "token": (("text", "string"),),
    "reference": (("text", "string"), ("identifier", "token")),
}


def _has_rows(type_name: str, code: str, modifier: str) -> bool:
    kinds = params.place_types(type_name, code)
    if modifier == "of-type":
        return bool(kinds & {"Identifier", ""})
    if modifier == "identifier":
        return bool(kinds & {"Reference", "CodeableReference", ""})
    return bool(kinds & _WITH_TEXT)


class Modified:
    """Reads the value of one parameter under one of these modifiers."""

    def __init__(
        self, field: Field, type_name: str, found: SearchParameter, pieces: list[str]
    ) -> None:
        self.field = field
        self.type = type_name
        self.found = found
        self.pieces = pieces

    def criterion(self, modifier: str) -> Criterion:
        """The criterion; InvalidError where the value is malformed or nothing could be found."""
        return _READERS[modifier](self, modifier)

    def _match(self, modifier: str, values: Sequence[Text | Token | CodeSet | Link | Words], *,
               kind: str = "", rows: str = "") -> Match:
        number, numbers = self.found.number, tuple[int, ...]()
        if rows:
            if not _has_rows(self.type, self.found.code, rows):
                raise not_served(self.field, modifier)
            number, *more = params.modified_numbers(self.type, self.found.code, rows)
            numbers = (number, *more) if more else ()
        return Match(self.type, self.found.code, kind or self.found.type, number, modifier,
                     tuple(dict.fromkeys(values)), numbers)

    def _texts(self) -> list[Text]:
        texts = [Text(plain, fold(plain)) for plain in map(unescape, self.pieces)]
        if not all(text.key for text in texts):
            raise self.field.wrong(self.field.label, "holds no letter to search for")
        return texts

    def text(self, modifier: str) -> Criterion:
        """`:text`: the start of a display or text, in any script."""
        return self._match(modifier, self._texts(), kind="string", rows="text")

    def advanced(self, modifier: str) -> Criterion:
        """`:text` of a string, `:text-advanced` of codes and references: words in any order."""
        if self.found.code == "phonetic":  # Its rows hold sounds, not words.
            raise not_served(self.field, modifier)
        words = [sought(unescape(piece), self.field.label) for piece in self.pieces]
        if self.found.type == "string":
            return self._match(modifier, words)
        return self._match(modifier, words, kind="string", rows="text")

    def code_text(self, modifier: str) -> Criterion:
        """`:code-text`: the start of a display, a text or a code, without case."""
        texts = self._texts()
        if any(len(text.text) > CODE_TEXT_MAX for text in texts):
            raise self.field.wrong(self.pieces[0], f"is longer than {CODE_TEXT_MAX} characters")
        parts: tuple[Criterion, ...] = (self._match(modifier, texts),)
        if _has_rows(self.type, self.found.code, "text"):
            parts = (*parts, self._match("text", texts, kind="string", rows="text"))
        return Logic(self.type, "or", parts, f"{self.found.code}:{modifier}",
                     ",".join(self.pieces))

    def of_type(self, modifier: str) -> Criterion:
        """`:of-type`: `system|type|value` of an identifier."""
        tokens = []
        for piece in self.pieces:
            parts = [unescape(part) for part in split_escaped(piece, "|")]
            if len(parts) != 3 or not all(parts[1:]) or "|" in parts[1]:
                raise self.field.wrong(piece, "is no system|type code|value")
            tokens.append(Token(parts[0] or None, f"{parts[1]}|{parts[2]}"))
        return self._match(modifier, tokens, rows="of-type")

    def identifier(self, modifier: str) -> Criterion:
        """`:identifier`: a token that the reference's own identifier must be."""
        field = Field(self.field.label, "token")
        tokens = [read(field, piece) for piece in self.pieces]
        assert all(isinstance(token, Token) for token in tokens)
        return self._match(modifier, tokens, kind="token", rows="identifier")  # type: ignore[arg-type]  # Asserted above.

    def in_set(self, modifier: str) -> Criterion:
        """`:in` and `:not-in`: the codes of a value set."""
        sets = []
        for piece in self.pieces:
            url = unescape(piece)
            codes = known(lambda source, url=url: source.codes_in(url))  # type: ignore[misc]  # A default only binds the loop's value.
            if codes is None:
                raise self._unknown(f"of the value set {url[:200]!r} no content is known here")
            sets.append(self._code_set(piece, [Token(system, code) for system, code in codes]))
        return self._match(modifier, sets)

    def hierarchy(self, modifier: str) -> Criterion:
        """`:below` and `:above` of a token: a code with those under it, or over it."""
        sets = []
        for piece in self.pieces:
            token = read(Field(self.field.label, "token"), piece)
            assert isinstance(token, Token)
            system, code = self._system(token), token.code
            if not system or not code:
                raise self.field.wrong(piece, "needs its system: system|code")
            codes = known(
                lambda source, system=system, code=code:  # type: ignore[misc]  # Defaults only bind the loop's values.
                (source.below if modifier == "below" else source.above)(system, code))
            if codes is None:
                raise self._unknown(f"of the system {system[:200]!r} no hierarchy is known here")
            # What the system does not know is at least itself.
            found = [Token(system, each) for each in (codes or [code])]
            sets.append(self._code_set(piece, found))
        return self._match(modifier, sets)

    def levels(self, modifier: str) -> Criterion:
        """`:below` and `:above` of a reference: levels of records, or versions of a canonical."""
        links = []
        for piece in self.pieces:
            link = read(self.field, piece)
            assert isinstance(link, Link)
            if link.type is None:
                raise self.field.wrong(piece, "needs its type: Type/id")
            if link.type and (link.version or not parent_code(link.type)):
                raise self.field.wrong(piece, f"has no levels: {link.type} names no record above")
            links.append(link)
        return self._match(modifier, links)

    def _system(self, token: Token) -> str:
        if token.system is not None:
            return token.system
        implied = implied_systems(self.type, self.found.code)
        return next(iter(implied)) if len(implied) == 1 else ""

    def _code_set(self, piece: str, tokens: list[Token]) -> CodeSet:
        if len(tokens) > CODES_MAX:
            why = f"Search parameter {self.field.label!r}: means over {CODES_MAX} codes"
            raise InvalidError(issues=(Issue("too-costly", why, self.field.label),))
        implied = implied_systems(self.type, self.found.code)
        # Elements of type code hold no system: see `query_codes.with_implied`.
        plain = [Token("", token.code) for token in tokens if token.system in implied]
        return CodeSet(piece, (*tokens, *plain))

    def _unknown(self, why: str) -> InvalidError:
        return InvalidError(issues=(Issue(
            "not-supported", f"Search parameter {self.field.label!r}: {why}", self.field.label),))


_READERS: Mapping[str, Callable[[Modified, str], Criterion]] = {
    "string text": Modified.advanced,
    "token text": Modified.text,
    "reference text": Modified.text,
    "token text-advanced": Modified.advanced,
    "reference text-advanced": Modified.advanced,
    "token code-text": Modified.code_text,
    # A reference has no code: what it says of one is its display.
    "reference code-text": Modified.text,
    "of-type": Modified.of_type,
    "identifier": Modified.identifier,
    "in": Modified.in_set,
    "not-in": Modified.in_set,
    "token below": Modified.hierarchy,
    "token above": Modified.hierarchy,
    "reference below": Modified.levels,
    "reference above": Modified.levels,
}


def reader_of(kind: str, modifier: str) -> Callable[[Modified, str], Criterion] | None:
    """What reads a modifier of a kind of parameter; None where the kind's own rows answer."""
    if kind not in {"token", "reference", "string"}:
        return None
    return _READERS.get(modifier) or _READERS.get(f"{kind} {modifier}")
