"""Composite parameters: what their index key holds, and how a value is taken apart. Pure.

A key is the number of the components' plain codes: systems, units and texts are left out of it,
because a search may leave them out too. They are asked of the components' own parameters. Only a
text that has no parameter of its own (R5 forgot Observation.value-string), and each text of an
installation's own composite, is in the key, folded.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

from dmed.fhir import params
from dmed.fhir.params_composites import CONVERTED_MARK
from dmed.fhir.path.units import UCUM
from dmed.fhir.query_model import (
    Address,
    Composite,
    Link,
    Match,
    Quantity,
    Simple,
    Text,
    Token,
    Value,
)
from dmed.store.keys import composite_number, type_names

_TEXT = "text"
_WITH_CODE = frozenset({"token", "reference", "uri"})


class Parts(NamedTuple):
    """A composite value as criteria of its components.

    `is_whole`: the components belong to the record itself, so the criteria say it all; else
    they only narrow and the composite's own rows decide.
    """

    parts: tuple[Match, ...]
    is_whole: bool


def parts_of(type_name: str, code: str, value: Value) -> Parts:
    """A composite value as criteria; those that the composite's key already holds are left out."""
    assert isinstance(value, Composite)
    parameter = params.parameters(type_name)[code]
    whole = _is_whole(parameter.expression, type_name)
    found = []
    for component, part in zip(parameter.components, value.parts, strict=True):
        own = params.parameters(type_name).get(component.code)
        if own is not None and (whole or _says_more(part)):
            found.append(Match(type_name, own.code, own.type, own.number, "", (part,)))
    return Parts(tuple(found), parameter.number in needless())


def reduced_numbers(param: int, value: Composite) -> list[int]:
    """The numbers under which rows of a searched composite lie: a quantity with a UCUM unit may
    be found as it was written or converted.
    """
    choices = map(_codes, _kinds().get(param, ()), value.parts)
    return [composite_number("$".join(pieces)) for pieces in product(*choices)]


def row_number(param: int, key: str) -> int:
    """The number under which a row lies, of its parameter and the key that `params` made."""
    kinds = _kinds().get(param, ())
    pieces = key.split("$", max(len(kinds) - 1, 0))
    if len(pieces) != len(kinds):
        return composite_number(key)
    return composite_number("$".join(map(_reduced, kinds, pieces)))


def _is_whole(expression: str, type_name: str) -> bool:
    return expression.strip() == type_name


def _says_more(part: Simple) -> bool:
    """Whether a part holds what the key leaves out."""
    match part:
        case Token(system=system):
            return system is not None
        case Quantity(system=system, code=code):
            return system is not None or code is not None
        case Link(type=type_):
            return bool(type_)
    return isinstance(part, Text)


def _codes(kind: str, part: Simple) -> tuple[str, ...]:
    if isinstance(part, Quantity) and part.system in {None, UCUM} and part.code:
        return "", CONVERTED_MARK
    return (_code(kind, part),)


def _code(kind: str, part: Simple) -> str:
    match part:
        case Text(key=key) if kind == _TEXT:
            return key
        case Token(code=code):
            return code or ""
        case Link(id=id_):
            return id_
        case Address(text=text):
            return text
    return ""


def _reduced(kind: str, piece: str) -> str:
    """One piece of a key as `params` writes it: `code|system`, `Type/id`, an address or a text."""
    if kind == _TEXT:
        return piece
    if kind == "quantity" and piece.endswith(CONVERTED_MARK):
        return CONVERTED_MARK
    if kind not in _WITH_CODE:
        return ""
    if kind == "token":
        return piece.rpartition("|")[0]
    return piece if kind == "uri" or ":" in piece else piece.rpartition("/")[2]


def needless() -> frozenset[int]:
    """Numbers of the composites that are always taken apart, so that no row of theirs is read."""
    return _needless(params.generation())


@lru_cache(maxsize=1)
def _needless(_generation: int) -> frozenset[int]:
    return frozenset(
        each.number
        for name in type_names()
        for each in params.parameters(name).values()
        if each.type == "composite" and _is_whole(each.expression, name)
        and all(part.code in params.parameters(name) for part in each.components)
    )


def _kinds() -> dict[int, tuple[str, ...]]:
    """The component kinds of every composite parameter, by its number."""
    return _kinds_of(params.generation())


@lru_cache(maxsize=1)
def _kinds_of(_generation: int) -> dict[int, tuple[str, ...]]:
    return {
        each.number: tuple(
            _TEXT if part.type == "string" and (
                each.is_own or part.code not in params.parameters(name))
            else part.type
            for part in each.components
        )
        for name in type_names()
        for each in params.parameters(name).values()
        if each.type == "composite"
    }
