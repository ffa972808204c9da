"""Searches over several types at once, and those within a compartment. Pure.

https://hl7.org/fhir/R5/http.html#search and https://hl7.org/fhir/R5/compartmentdefinition.html.
A parameter serves where every type that is searched knows it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import msgspec

from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.fhir.query import parse
from dmed.fhir.query_model import Criterion, Ignored, Link, Logic, Match, Query, Token
from dmed.kit.errors import InvalidError, Issue
from dmed.kit.settings import Settings

COUNT_MAX = 200
"""Largest page of a search over several types."""
COMPARTMENTS = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")
"""Compartments that are served."""


class SystemQuery(msgspec.Struct, frozen=True):
    """One search of several types: a Query a type, and what all of them share."""

    queries: tuple[Query, ...]
    ignored: tuple[Ignored, ...]
    pairs: tuple[tuple[str, str], ...]
    """What was really asked, `_type` and `_cursor` aside."""
    cursor: str

    @property
    def mark(self) -> str:
        """Tells searches apart, whatever types there are at the moment."""
        return f"* {zlib.crc32(repr(self.pairs).encode())}"


def types_of(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The types that `_type` names, in order; empty where it is not given. InvalidError."""
    named: list[str] = []
    for name, value in pairs:
        if name == "_type":
            named += value.split(",")
    for each in named:
        if each not in facts().resources:
            raise InvalidError(
                f"Search parameter _type: {each[:70]!r} is no resource type", "_type")
    return tuple(dict.fromkeys(named))


def parse_all(
    types: Sequence[str], pairs: Sequence[tuple[str, str]], *, settings: Settings,
    strict: bool = False,
) -> SystemQuery:
    """The searches of several types that pairs (with or without `_type`) ask for.

    What none of the types knows is ignored, or is an InvalidError when strict. What only some
    know is an InvalidError always: to leave it out would find far more than was meant.
    """
    given = [pair for pair in pairs if pair[0] != "_type"]
    if any(name == "_contained" and value != "false" for name, value in given):
        why = "Search parameter _contained: contained resources are searched one type at a time"
        raise InvalidError(issues=(Issue("not-supported", why, "_contained"),))
    settings = msgspec.structs.replace(
        settings, count_max=min(settings.count_max, COUNT_MAX))
    read = {name: parse(name, _for_type(name, given), settings=settings) for name in types}
    left_out = {one.parameter: one for query in read.values() for one in query.ignored}
    _check_common(read, left_out)
    if left_out and strict:
        raise InvalidError(issues=tuple(
            Issue("not-supported", one.reason, one.parameter) for one in left_out.values()))
    if left_out:
        given = [pair for pair in given if pair[0] not in left_out]
        read = {name: parse(name, _for_type(name, given), settings=settings) for name in types}
    cursor = next((value for name, value in given if name == "_cursor"), "")
    kept = tuple(pair for pair in given if pair[0] not in {"_cursor", "_format", "_pretty"})
    return SystemQuery(tuple(read.values()), tuple(left_out.values()), kept, cursor)


def _check_common(read: Mapping[str, Query], left_out: Mapping[str, Ignored]) -> None:
    issues = []
    for name in left_out:
        lacking = [type_ for type_, query in read.items()
                   if any(one.parameter == name for one in query.ignored)]
        if len(lacking) < len(read):
            why = (f"Search parameter {name[:100]}: not ready or not known for "
                   f"{', '.join(lacking[:5])}; name types that have it in _type")
            issues.append(Issue("not-supported", why, name))
    if issues:
        raise InvalidError(issues=tuple(issues))


def _for_type(name: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without the includes that start from another type."""
    return [
        pair for pair in pairs
        if pair[0] != "_include" or pair[1] == "*" or pair[1].partition(":")[0] == name
    ]


def within(asked: SystemQuery, compartment: str, id_: str) -> SystemQuery:
    """The search limited to a compartment; types that are never in it are left out."""
    limited = (_limited(query, compartment, id_) for query in asked.queries)
    pairs = (*asked.pairs, (compartment, id_))
    return msgspec.structs.replace(
        asked, queries=tuple(each for each in limited if each is not None), pairs=pairs)


def _limited(query: Query, compartment: str, id_: str) -> Query | None:
    if query.type == compartment:
        codes: tuple[str, ...] = ()
    else:
        codes = params.compartment_params(compartment, query.type)
        if not codes:
            return None
    known = params.parameters(query.type)
    parts: list[Criterion] = [
        Match(query.type, code, "reference", known[code].number, "", (Link(compartment, id_),))
        for code in codes]
    if query.type == compartment:
        parts = [_itself(compartment, id_)]
    limit = Logic(query.type, "or", tuple(parts))
    return msgspec.structs.replace(query, criteria=(*query.criteria, limit))


def _itself(compartment: str, id_: str) -> Criterion:
    return Match(compartment, "_id", "token", 0, "", (Token(None, id_),))
