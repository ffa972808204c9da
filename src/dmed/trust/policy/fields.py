"""Which fields of a record a role does not see in plain FHIR REST, and may not search by: as data.

Least knowledge, field by field (OWASP ASVS 5.0, 8.1.2 and 8.2.3): who hands out medicines needs
to know that it is the right person, not where he lives; who looks up a colleague needs his post,
not his passport. Acts and pages of the platform choose what they show by themselves.

A field that is not seen cannot be asked for either: neither by a parameter that reads it, nor by
order, nor by words of the whole text, for an answer would tell it as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import msgspec

from dmed.fhir import params
from dmed.fhir.query_model import (
    Chain,
    Criterion,
    Has,
    Logic,
    Match,
    Missing,
    Query,
    SortKey,
    Token,
)
from dmed.trust.model import Role

PERSONAL_NUMBERS = ("https://dhp.uz/fhir/core/sid/pid/",)
"""Beginnings of the systems of a person's numbers (national-standard.md, 2.1): PINFL, passport."""
_ASIDE = frozenset({"text", "contained", "extension"})
"""They may repeat what is hidden, in words or in a record inside."""
_WHOLE_TEXT = frozenset({"_content", "_text"})
_WORD = re.compile(r"[A-Za-z]\w*")


class Hidden(msgspec.Struct, frozen=True):
    """What of a type is not seen: elements at its top, and identifiers of systems that begin so."""

    elements: frozenset[str]
    systems: tuple[str, ...] = ()


_PERSON_AT_A_COUNTER = Hidden(frozenset({
    "address", "telecom", "contact", "photo", "maritalStatus", "multipleBirth", *_ASIDE}))
_COLLEAGUE = Hidden(
    frozenset({"address", "telecom", "birthDate", "photo", *_ASIDE}), PERSONAL_NUMBERS)

HIDDEN: Mapping[Role, Mapping[str, Hidden]] = {
    Role.DOCTOR: {"Practitioner": _COLLEAGUE},
    Role.PHARMACIST: {"Patient": _PERSON_AT_A_COUNTER, "Practitioner": _COLLEAGUE},
    Role.REGISTRAR: {"Practitioner": _COLLEAGUE},
    Role.HEAD: {"Practitioner": _COLLEAGUE},
    Role.INSPECTOR: {"Practitioner": _COLLEAGUE},
}
"""Role > type > what is hidden. Who may write a type sees all of it: a test holds that, for he
would write it back without what he was not shown."""
_NONE: Mapping[str, Hidden] = {}


def hidden(role: Role) -> Mapping[str, Hidden]:
    """Type > what the role does not see of it; empty for a role that sees whole records."""
    return HIDDEN.get(role, _NONE)


def fault_of(role: Role, query: Query) -> tuple[str, str] | None:
    """(type, parameter) by which a search asks for what the role does not see, or None."""
    types = hidden(role)
    if not types:
        return None
    for key in query.sort:
        if query.type in types and _reads(role, query.type, key.code, key):
            return query.type, key.code
    for criterion in query.criteria:
        for asked in _asked(criterion):
            if asked.type in types and _reads(role, asked.type, asked.code, asked):
                return asked.type, asked.code
    return None


def _asked(criterion: Criterion) -> Iterator[Match | Missing]:
    """What looks at values in a criterion, chains followed to their end."""
    if isinstance(criterion, Chain):
        for branch in criterion.branches:
            yield from _asked(branch)
    elif isinstance(criterion, Has):
        yield from _asked(criterion.inner)
    elif isinstance(criterion, Logic):
        for part in criterion.parts:
            yield from _asked(part)
    else:
        yield criterion


def _reads(role: Role, type_: str, code: str, asked: Match | Missing | SortKey) -> bool:
    """Whether a parameter's answer depends on what the role does not see of the type."""
    closed = hidden(role)[type_]
    words = _words(type_, code, params.generation())
    if code in _WHOLE_TEXT or not words.isdisjoint(closed.elements):
        return True
    if not closed.systems or "identifier" not in words:
        return False
    # A number without its system would be compared with the hidden ones, too.
    return not (isinstance(asked, Match) and not asked.modifier and all(
        isinstance(value, Token) and value.system and not value.system.startswith(closed.systems)
        for value in asked.values))


@lru_cache(maxsize=4_096)
def _words(type_: str, code: str, generation: int) -> frozenset[str]:
    """Names in the expression of a parameter, and of the parts of a composite one.

    `generation` is that of the parameters: others may be installed later under the same code.
    """
    del generation
    found = params.parameters(type_).get(code)
    if found is None:
        return frozenset()
    texts = (found.expression, *(part.expression for part in found.components))
    return frozenset(word for text in texts for word in _WORD.findall(text))
