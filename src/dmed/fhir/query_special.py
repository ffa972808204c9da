"""Parameters that no index row of a search parameter answers: `_text`, `_content`, `_list`, `_in`.

Words are sought in a table of their own; lists, groups and care teams are asked by a step back,
as `_has` does. https://hl7.org/fhir/R5/search.html#list
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.fhir.index import parameter_number
from dmed.fhir.query_model import (
    Chain,
    Criterion,
    Has,
    Logic,
    Match,
    Near,
    SortKey,
    Token,
)
from dmed.fhir.query_values import Field
from dmed.fhir.values import unescape
from dmed.fhir.words import sought
from dmed.kit.errors import InvalidError, Issue

SPECIAL = frozenset({"_text", "_content", "section-text", "_list", "_in"})
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_MEMBERS = {"List": "item", "Group": "member", "CareTeam": "participant"}
"""What can be named by `_in`, and the parameter that says who is in it."""


def special(type_name: str, code: str, modifier: str, field: Field, text: str,
            pieces: list[str]) -> Criterion | None:
    """The criterion of such a parameter, or None where the type has none of it.

    InvalidError for a modifier, and for values that cannot be read.
    """
    if modifier:
        raise _not_supported(field, f"modifier {modifier[:50]!r} is not served")
    if code in {"_text", "_content", "section-text"}:
        if code == "_text" and not facts().is_a(type_name, "DomainResource"):
            return None
        if code == "section-text" and type_name != "Composition":
            return None
        values = tuple(sought(unescape(piece), field.label) for piece in pieces)
        return Match(type_name, code, "words", parameter_number(type_name, code), "", values)
    named = [_named(field, code, unescape(piece)) for piece in pieces]
    parts: list[Criterion] = []
    for holder, member in _MEMBERS.items():
        ids = tuple(Token(None, id_) for type_, id_ in named if type_ == holder)
        if ids:
            inner = Match(holder, "_id", "token", 0, "", ids)
            number = params.parameters(holder)[member].number
            parts.append(Has(type_name, holder, member, number, inner))
    return Logic(type_name, "or", tuple(parts), code, text)


def _named(field: Field, code: str, text: str) -> tuple[str, str]:
    """Type and id of the holder that a value names."""
    if text.startswith("$"):
        raise _not_supported(field, f"the list {text[:50]!r} is not kept here: name one by id")
    type_, slash, id_ = text.rpartition("/")
    if code == "_list" and not slash:
        type_ = "List"
    wanted = ("List",) if code == "_list" else tuple(_MEMBERS)
    if type_ not in wanted or not _ID.fullmatch(id_):
        raise field.wrong(text, f"is no id of {' or '.join(wanted)}")
    return type_, id_


def placed(key: SortKey, criteria: Iterable[Criterion]) -> SortKey:
    """A sort by distance with the place that the search itself names; other keys as they are."""
    if key.kind != "special":
        return key
    for each in criteria:
        if isinstance(each, Match) and each.code == key.code and len(each.values) == 1:
            place = each.values[0]
            assert isinstance(place, Near), each
            return msgspec.structs.replace(key, place=place)
    raise InvalidError(
        f"Search parameter _sort: {key.code} is a distance, so the search needs one "
        f"{key.code}=latitude|longitude|distance|unit", "_sort")


def _not_supported(field: Field, why: str) -> InvalidError:
    return InvalidError(issues=(
        Issue("not-supported", f"Search parameter {field.label}: {why}", field.label),))


def check_content(criteria: Iterable[Criterion], *, is_kept: bool) -> None:
    """Refuse `_content` anywhere in a search where the installation keeps no content."""
    if is_kept:
        return
    for each in criteria:
        inner: tuple[Criterion, ...] = ()
        match each:
            case Match(kind="words", code="_content"):
                why = "Search parameter _content: switched off here (DMED_CONTENT_SEARCH)"
                raise InvalidError(issues=(Issue("not-supported", why, "_content"),))
            case Chain(branches=branches):
                inner = branches
            case Has(inner=one):
                inner = (one,)
            case Logic(parts=parts):
                inner = parts
        check_content(inner, is_kept=is_kept)
