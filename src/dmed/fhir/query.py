"""Reads a search request into a typed, bounded Query, and writes a Query as its self link.

Pure: no I/O. Every limit is a constant here and stands in docs/reference/search.md.
Specification: https://hl7.org/fhir/R5/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from urllib.parse import quote_plus

from dmed.fhir import params, query_contained
from dmed.fhir.facts import facts
from dmed.fhir.params import SearchParameter
from dmed.fhir.query_codes import with_implied
from dmed.fhir.query_model import (
    Chain,
    Criterion,
    Has,
    Ignored,
    Include,
    Logic,
    Match,
    Missing,
    Query,
    SortKey,
    Text,
    Value,
)
from dmed.fhir.query_modifiers import Modified, missing, not_served, reader_of
from dmed.fhir.query_special import SPECIAL, check_content, placed, special
from dmed.fhir.query_values import KINDS, SIMPLE_KINDS, Field, read, write
from dmed.fhir.values import split_escaped
from dmed.kit.errors import InvalidError, Issue
from dmed.kit.settings import Settings

PAIRS_MAX = 100
"""Most parameters of one search."""
VALUES_MAX = 500
"""Most alternatives of one parameter, joined by commas."""
TEXT_MAX = 16_000
"""Longest value of one parameter, in characters."""
DEPTH_MAX = 8
"""Most links of a chain or `_has`."""
CHAINS_MAX = 200
"""Most criteria that one chain may stand for, all its types and links together."""
BRANCHES_MAX = 25
"""Most target types that a chain without a named type may stand for."""
INCLUDES_MAX = 20
"""Most `_include` and `_revinclude` of one search, each."""
SORT_MAX = 5
"""Most keys of `_sort`."""

_MODIFIERS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"exact", "contains", "text", "missing"}),
    "token": frozenset({
        "not", "text", "text-advanced", "code-text", "of-type", "in", "not-in", "below", "above",
        "missing"}),
    "uri": frozenset({"below", "above", "contains", "missing"}),
    "reference": frozenset({
        "identifier", "text", "text-advanced", "code-text", "below", "above", "missing"}),
    "date": frozenset({"missing"}),
    "number": frozenset({"missing"}),
    "quantity": frozenset({"missing"}),
    "composite": frozenset({"missing"}),
    "special": frozenset({"missing"}),
}
_SUMMARIES = ("true", "text", "data", "count", "false")
_TOTALS = ("none", "estimate", "accurate")
_SORTABLE = frozenset({"string", "token", "date", "number", "quantity", "reference", "uri"})
_BY_RESOURCE = frozenset({"_id", "_lastUpdated"})
"""Parameters that the record's own row answers."""
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}(?:\.[A-Za-z][A-Za-z0-9]{0,63}){0,9}", re.ASCII)
_CURSOR = re.compile(r"[A-Za-z0-9_-]{1,4000}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII)
_SILENT = frozenset({"_format", "_pretty"})


class _UnknownError(Exception):
    """The parameter does not exist for the type; the message is the sentence for the caller."""


class _NotReadyError(_UnknownError):
    """The parameter exists, but older records are still being indexed for it."""


def modifiers(kind: str) -> tuple[str, ...]:
    """The modifiers that parameters of a kind ("token") take here, in alphabetical order."""
    return tuple(sorted(_MODIFIERS.get(kind, ())))


def parse(
    type_name: str, pairs: Iterable[tuple[str, str]], *, settings: Settings, strict: bool = False
) -> Query:
    """The search that decoded name and value pairs ask for.

    An unknown or empty parameter is listed in `ignored`, or is an InvalidError when strict. An
    unsupported modifier, a malformed value and a limit passed are InvalidErrors in any case: the
    specification forbids to leave a modifier out, since that would widen the search.
    """
    given = list(pairs)
    if len(given) > PAIRS_MAX:
        raise InvalidError(f"A search takes at most {PAIRS_MAX} parameters, not {len(given)}")
    reading = _Reading(type_name, settings)
    for name, value in given:
        _check_text(name, value)
        try:
            reading.take(name, value)
        except _UnknownError as unknown:
            reading.ignored.append(Ignored(name[:200], str(unknown)))
    if strict and reading.ignored:
        raise InvalidError(
            issues=tuple(
                Issue("not-supported", entry.reason, entry.parameter) for entry in reading.ignored
            )
        )
    return reading.query()


def self_link(query: Query) -> str:
    """The canonical query string (no '?') of what was really processed, without what was ignored.

    Parsing it again gives an equal Query with nothing ignored.
    """
    # A criterion without a name is the compartment, which stands in the address.
    pairs = [(name, _text_of(each)) for each in query.criteria if (name := name_of(each))]
    if query.sort:
        pairs.append(
            ("_sort", ",".join(("-" if k.descending else "") + k.code for k in query.sort))
        )
    pairs += [(_include_name("_include", item), _include_text(item)) for item in query.includes]
    pairs += [(_include_name("_revinclude", i), _include_text(i)) for i in query.revincludes]
    if query.elements:
        pairs.append(("_elements", ",".join(query.elements)))
    pairs += query_contained.pairs(query)
    single = (
        ("_summary", query.summary),
        ("_total", query.total),
        ("_count", str(query.count)),
        ("_cursor", query.cursor),
    )
    pairs += [(name, value) for name, value in single if value]
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in pairs])


def _quoted(text: str) -> str:
    # Most names and values need no escape, and to look is a tenth of escaping.
    return text if _PLAIN.fullmatch(text) else quote_plus(text)


def name_of(criterion: Criterion) -> str:
    """The parameter name under which a criterion is asked for: `subject:Patient.name:exact`."""
    match criterion:
        case Match(code=code, modifier=modifier):
            return f"{code}:{modifier}" if modifier else code
        case Missing(code=code):
            return f"{code}:missing"
        case Chain(code=code, target=target, branches=branches):
            return f"{code}{':' if target else ''}{target}.{name_of(branches[0])}"
        case Has(type=type_, code=code, inner=inner):
            return f"_has:{type_}:{code}:{name_of(inner)}"
        case Logic(code=code):
            return code
    raise AssertionError(criterion)


def _text_of(criterion: Criterion) -> str:
    match criterion:
        case Match(values=values, modifier=modifier):
            return ",".join(write(value, modifier) for value in values)
        case Missing(missing=missing):
            return "true" if missing else "false"
        case Chain(branches=branches):
            return _text_of(branches[0])
        case Has(inner=inner):
            return _text_of(inner)
        case Logic(text=text):
            return text
    raise AssertionError(criterion)


def _include_name(name: str, item: Include) -> str:
    return f"{name}:iterate" if item.iterate else name


def _include_text(item: Include) -> str:
    if not item.source:
        return "*"
    return f"{item.source}:{item.code}{':' if item.target else ''}{item.target}"


def _check_text(name: str, value: str) -> None:
    """Refuse what no database text can hold, and texts without measure."""
    if len(value) > TEXT_MAX or len(name) > TEXT_MAX:
        raise InvalidError(f"Search parameter {name[:100]!a}: longer than {TEXT_MAX} characters")
    for text in (name, value):
        is_text = text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)
        if "\0" in text or not is_text:
            raise InvalidError(f"Search parameter {name[:100]!a} holds a character that is no text")


def _is_type(name: str) -> bool:
    return name in _types()


@cache
def _types() -> frozenset[str]:
    return frozenset(facts().resources)


class _Reading:
    """Gathers the parts of one Query, parameter by parameter."""

    def __init__(self, type_name: str, settings: Settings) -> None:
        self.type = type_name
        self.settings = settings
        self.base = f"{settings.public_url.rstrip('/')}/fhir" if settings.public_url else ""
        self.criteria: list[Criterion] = []
        self.sort: list[SortKey] = []
        self.includes: list[Include] = []
        self.revincludes: list[Include] = []
        self.elements: list[str] = []
        self.single: dict[str, str] = {}
        self.count = settings.count_default
        self.ignored: list[Ignored] = []
        self.controls: dict[str, Callable[[str], None]] = {
            "_sort": self._take_sort,
            "_count": self._take_count,
            "_elements": self._take_elements,
            "_summary": lambda text: self._take_choice("_summary", text, _SUMMARIES),
            "_total": lambda text: self._take_choice("_total", text, _TOTALS),
            "_cursor": self._take_cursor,
            **{name: partial(self._take_choice, name, choices=choices)
               for name, choices in query_contained.CHOICES.items()},
        }

    def take(self, name: str, value: str) -> None:
        """Take one pair; _UnknownError where lenient handling may leave it out."""
        if name in _SILENT:
            return
        if not value:
            raise _UnknownError(f"Search parameter {name[:100]!r} has no value")
        head = name.partition(":")[0]
        if head in {"_include", "_revinclude"}:
            self._take_include(name, head, value)
        elif name in self.controls:
            self.controls[name](value)
        elif name == "_filter":
            from dmed.fhir.query_filter import read_filter

            self.criteria.append(read_filter(self.type, value, self.base))
        else:
            reader = _CriterionReader(name, value, self.base)
            self.criteria.append(reader.criterion(self.type, name, DEPTH_MAX))

    def query(self) -> Query:
        """The Query of all that was taken."""
        check_content(self.criteria, is_kept=self.settings.content_search)
        return query_contained.check(Query(
            type=self.type,
            criteria=tuple(self.criteria),
            sort=tuple(placed(key, self.criteria) for key in self.sort),
            includes=tuple(self.includes),
            revincludes=tuple(self.revincludes),
            count=self.count,
            summary=self.single.get("_summary", ""),
            elements=tuple(self.elements),
            total=self.single.get("_total", ""),
            cursor=self.single.get("_cursor", ""),
            ignored=tuple(self.ignored),
            contained=self.single.get("_contained", ""),
            contained_type=self.single.get("_containedType", ""),
            include_max=self.settings.include_max,
        ))

    def _once(self, name: str, text: str) -> None:
        if name in self.single:
            raise InvalidError(f"Search parameter {name} is given twice", name)
        self.single[name] = text

    def _take_choice(self, name: str, text: str, choices: tuple[str, ...]) -> None:
        if text not in choices:
            raise InvalidError(
                f"Search parameter {name}: {text[:100]!r} is none of {', '.join(choices)}", name
            )
        self._once(name, text)

    def _take_count(self, text: str) -> None:
        if not (text.isascii() and text.isdecimal() and len(text) <= 9):
            raise InvalidError(
                f"Search parameter _count: {text[:100]!r} is no whole number from 0", "_count"
            )
        self._once("_count", text)
        self.count = min(int(text), self.settings.count_max)

    def _take_cursor(self, text: str) -> None:
        if not _CURSOR.fullmatch(text):
            raise InvalidError("Search parameter _cursor: not one of our page links", "_cursor")
        self._once("_cursor", text)

    def _take_elements(self, text: str) -> None:
        for name in text.split(","):
            if not _ELEMENT.fullmatch(name):
                raise InvalidError(
                    f"Search parameter _elements: {name[:100]!r} is no element name", "_elements"
                )
            if name not in self.elements:
                self.elements.append(name)

    def _take_sort(self, text: str) -> None:
        keys = []
        for piece in text.split(","):
            found = _sort_keys(self.type, piece)
            if not found:
                raise _UnknownError(
                    f"Search parameter _sort: {self.type} cannot be sorted by {piece[:100]!r}"
                )
            keys += found
        if len(self.sort) + len(keys) > SORT_MAX:
            raise InvalidError(f"Search parameter _sort: at most {SORT_MAX} keys", "_sort")
        self.sort += keys

    def _take_include(self, name: str, head: str, text: str) -> None:
        if name not in {head, f"{head}:iterate"}:
            raise InvalidError(f"Search parameter {name[:100]!r}: only :iterate is served", head)
        into = self.includes if head == "_include" else self.revincludes
        item = _read_include(head, self.type, text, iterate=name.endswith(":iterate"))
        if item not in into:
            into.append(item)
        if len(into) > INCLUDES_MAX:
            raise InvalidError(
                issues=(Issue("too-costly", f"At most {INCLUDES_MAX} {head}", head),)
            )


def _check_ready(type_name: str, code: str) -> None:
    if (type_name, code) in params.waiting():
        raise _NotReadyError(
            f"Search parameter {code} of {type_name} is not ready: older records are being indexed"
        )


def _plain(type_name: str, code: str) -> tuple[str, int] | None:
    """Kind and number of a parameter that a sort key or a criterion names, or None."""
    if code == "_id":
        return "token", 0
    if code == "_lastUpdated":
        return "date", 0
    found = params.parameters(type_name).get(code)
    if found is None or not found.is_indexed:
        return None
    if not SIMPLE_KINDS.issuperset(part.type for part in found.components):
        return None
    return (found.type, found.number) if found.type in KINDS else None


def _sort_keys(type_name: str, piece: str) -> list[SortKey]:
    """The keys that one piece of `_sort` stands for: a composite is sorted by its components."""
    code = piece.removeprefix("-")
    _check_ready(type_name, code)
    key = _plain(type_name, code)
    if key is None:
        return []
    if key[0] == "special" and not params.parameters(type_name)[code].is_place:
        raise InvalidError(
            f"Search parameter _sort: {type_name} cannot be sorted by {code}, which has no order",
            "_sort")
    if key[0] != "composite":
        return [SortKey(code, *key, descending=piece.startswith("-"))]
    sign = "-" if piece.startswith("-") else ""
    components = params.parameters(type_name)[code].components
    return [each for part in components for each in _sort_keys(type_name, sign + part.code)]


def _read_include(head: str, base: str, text: str, *, iterate: bool) -> Include:
    if text == "*":
        return Include("", "*", 0, "", iterate)
    pieces = text.split(":")
    if len(pieces) not in {2, 3} or not all(pieces):
        raise InvalidError(
            f"Search parameter {head}: {text[:100]!r} is neither Type:parameter[:Target] nor *",
            head,
        )
    source, code, target = pieces[0], pieces[1], pieces[2] if len(pieces) == 3 else ""
    if not _is_type(source) or (target and not _is_type(target)):
        raise InvalidError(f"Search parameter {head}: unknown type in {text[:100]!r}", head)
    if head == "_include" and source != base and not iterate:
        raise InvalidError(
            f"Search parameter {head}: {source} is not what is searched; "
            f"to follow included records write {head}:iterate",
            head,
        )
    if code == "*":
        return Include(source, "*", 0, target, iterate)
    _check_ready(source, code)
    found = params.parameters(source).get(code)
    if found is None or found.type != "reference":
        raise InvalidError(
            f"Search parameter {head}: {source} has no reference parameter {code[:100]!r}", head
        )
    return Include(source, code, found.number, target, iterate)


class _CriterionReader:
    """Reads one criterion: the name may be a chain or `_has` of several links."""

    def __init__(self, label: str, text: str, base: str) -> None:
        self.label = label[:200]
        self.text = text
        self.base = base
        self.criteria = 0

    def criterion(self, type_name: str, name: str, depth: int) -> Criterion:
        """The criterion that a name stands for at a type."""
        if depth < 0:
            raise InvalidError(
                f"Search parameter {self.label!r}: more than {DEPTH_MAX} links", self.label
            )
        self.criteria += 1
        if self.criteria > CHAINS_MAX:
            why = (f"Search parameter {self.label!r}: stands for over {CHAINS_MAX} chains; name "
                   "the types")
            raise InvalidError(issues=(Issue("too-costly", why, self.label),))
        if name.startswith("_has:"):
            return self._has(type_name, name, depth)
        head, dot, rest = name.partition(".")
        if dot:
            return self._chain(type_name, head, rest, depth)
        return self._leaf(type_name, name)

    def _has(self, type_name: str, name: str, depth: int) -> Criterion:
        pieces = name.split(":", 3)
        if len(pieces) != 4 or not pieces[3] or not _is_type(pieces[1]):
            raise InvalidError(
                f"Search parameter {self.label!r} is no _has:Type:reference:parameter", self.label
            )
        _, source, code, rest = pieces
        found = self._reference(source, code)
        if found.targets and type_name not in found.targets:
            raise InvalidError(
                f"Search parameter {self.label!r}: {source}.{code} does not refer to {type_name}",
                self.label,
            )
        return Has(type_name, source, code, found.number, self.criterion(source, rest, depth - 1))

    def _chain(self, type_name: str, head: str, rest: str, depth: int) -> Criterion:
        found, target, targets = self._targets(type_name, head, rest)
        return self._branched(
            found, target, targets, rest, lambda each: self.criterion(each, rest, depth - 1)
        )

    def _targets(
        self, type_name: str, head: str, rest: str
    ) -> tuple[SearchParameter, str, tuple[str, ...]]:
        """The reference that a chain follows, the type that it names, the types it may mean."""
        code, _, target = head.partition(":")
        found = self._reference(type_name, code)
        if target and not (_is_type(target) and target in (found.targets or (target,))):
            raise InvalidError(
                f"Search parameter {self.label!r}: {code} does not refer to {target}", self.label
            )
        targets = (target,) if target else found.targets
        if not 0 < len(targets) <= BRANCHES_MAX:
            raise InvalidError(
                f"Search parameter {self.label!r}: name the type that {code} refers "
                f"to, as in {code}:Patient.{rest}"[:400],
                self.label,
            )
        return found, target, targets

    def _branched(
        self,
        found: SearchParameter,
        target: str,
        targets: tuple[str, ...],
        rest: str,
        read_one: Callable[[str], Criterion],
    ) -> Criterion:
        """The chain of what can be read for each of the types."""
        branches = []
        refusal: InvalidError | None = None
        for candidate in targets:
            try:
                branches.append(read_one(candidate))
            except _NotReadyError:
                raise
            except _UnknownError:
                continue
            except InvalidError as refused:
                if any(issue.code != "not-supported" for issue in refused.issues):
                    raise
                # Of a type whose values take no such modifier nothing can be found.
                refusal = refused
        if refusal is not None and not branches:
            raise refusal
        if not branches:
            raise _UnknownError(
                f"Search parameter {self.label!r}: no type that {found.code} refers to "
                f"has {rest[:100]!r}"
            )
        return Chain(found.resource, found.code, found.number, target, tuple(branches))

    def _reference(self, type_name: str, code: str) -> SearchParameter:
        _check_ready(type_name, code)
        found = params.parameters(type_name).get(code)
        if found is None:
            raise _UnknownError(
                f"Search parameter {self.label!r}: {type_name} has no {code[:100]!r}"
            )
        if found.type != "reference":
            raise InvalidError(
                f"Search parameter {self.label!r}: {code} is no reference", self.label
            )
        return found

    def _leaf(self, type_name: str, name: str) -> Criterion:
        code, colon, modifier = name.partition(":")
        _check_ready(type_name, code)
        if code in SPECIAL:
            return self._special(type_name, code, modifier)
        key = _plain(type_name, code)
        if key is None:
            raise _UnknownError(f"Unknown search parameter {code[:100]!r} of {type_name}")
        kind, number = key
        only = modifier if kind == "reference" and _is_type(modifier) else ""
        if colon and not only and modifier not in _MODIFIERS[kind]:
            raise not_served(Field(self.label, kind), modifier)
        if modifier == "missing":
            return self._missing(type_name, code, kind)
        found = params.parameters(type_name).get(code)
        field = Field(
            self.label,
            kind,
            code, targets=found.targets if found else (),
            only=only,
            base=self.base,
            components=tuple(part.type for part in found.components) if found else (),
        )
        reader = reader_of(kind, modifier) if colon and not only else None
        if reader is not None:
            if found is None or code in _BY_RESOURCE:
                raise not_served(field, modifier)
            return reader(Modified(field, type_name, found, self._pieces(field)), modifier)
        values = self._values(type_name, code, field, modifier)
        return Match(type_name, code, kind, number, "" if only else modifier, values)

    def _special(self, type_name: str, code: str, modifier: str) -> Criterion:
        field = Field(self.label, "special")
        found = special(type_name, code, modifier, field, self.text, self._pieces(field))
        if found is None:
            raise _UnknownError(f"Unknown search parameter {code} of {type_name}")
        return found

    def _missing(self, type_name: str, code: str, kind: str) -> Criterion:
        if self.text not in {"true", "false"}:
            raise InvalidError(
                f"Search parameter {self.label!r}: {self.text[:100]!r} is not true or false",
                self.label,
            )
        is_missing = self.text == "true"
        if code in _BY_RESOURCE:
            return Missing(type_name, code, kind, 0, is_missing)
        return missing(type_name, params.parameters(type_name)[code], is_missing=is_missing)

    def _pieces(self, field: Field) -> list[str]:
        pieces = [piece for piece in split_escaped(self.text, ",") if piece]
        if not pieces:
            raise field.wrong(self.text, "holds no value")
        if len(pieces) > VALUES_MAX:
            why = f"Search parameter {self.label!r}: at most {VALUES_MAX} alternatives"
            raise InvalidError(issues=(Issue("too-costly", why, self.label),))
        return pieces

    def _values(
        self, type_name: str, code: str, field: Field, modifier: str
    ) -> tuple[Value, ...]:
        given = [read(field, piece) for piece in self._pieces(field)]
        values = tuple(dict.fromkeys(with_implied(type_name, code, given)))
        if modifier != "exact" and any(isinstance(v, Text) and not v.key for v in values):
            raise field.wrong(self.text, "holds no letter to search for")
        return values
