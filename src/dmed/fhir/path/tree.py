"""The parsed form of an expression: frozen nodes, each knowing where in the text it begins."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Literal(msgspec.Struct, frozen=True):
    """A constant; `kind` is Boolean, String, Integer, Long, Decimal, Date, DateTime, Time.

    `text` is as written (strings unescaped, no `@`).
    """

    kind: str
    text: str
    at: int = 0


class QuantityLiteral(msgspec.Struct, frozen=True):
    """`4 days` or `4.5 'mg'`; a calendar unit is a word (`is_calendar`), always in the singular."""

    number: str
    unit: str
    is_calendar: bool
    at: int = 0


class Empty(msgspec.Struct, frozen=True):
    """`{}`."""

    at: int = 0


class Special(msgspec.Struct, frozen=True):
    """One of `$this`, `$index` and `$total`, without the sign."""

    name: str
    at: int = 0


class Variable(msgspec.Struct, frozen=True):
    """`%name`."""

    name: str
    at: int = 0


class Member(msgspec.Struct, frozen=True):
    """A step to children of that name; without source it begins at the focus."""

    source: Node | None
    name: str
    at: int = 0


class Call(msgspec.Struct, frozen=True):
    """A function; without source its input is the focus."""

    source: Node | None
    name: str
    arguments: tuple[Node, ...]
    at: int = 0


class Indexer(msgspec.Struct, frozen=True):
    """`source[index]`."""

    source: Node
    index: Node
    at: int = 0


class Unary(msgspec.Struct, frozen=True):
    """`+x` or `-x`; also `x asc` and `x desc` as an argument of sort()."""

    sign: str
    operand: Node
    at: int = 0


class Binary(msgspec.Struct, frozen=True):
    """`left sign right`; signs are those of the grammar, words included (`and`, `div`, `in`)."""

    sign: str
    left: Node
    right: Node
    at: int = 0


class TypeName(msgspec.Struct, frozen=True):
    """A type specifier; namespace is "", "FHIR" or "System"."""

    namespace: str
    name: str


class TypeTest(msgspec.Struct, frozen=True):
    """`operand is Type` (sign is) or `operand as Type` (sign as)."""

    sign: str
    operand: Node
    type: TypeName
    at: int = 0


class Instance(msgspec.Struct, frozen=True):
    """`Coding { code: 'a' }`: a new value of a type, its elements by name."""

    type: TypeName
    elements: tuple[tuple[str, Node], ...]
    at: int = 0


Node: TypeAlias = (
    Literal
    | QuantityLiteral
    | Empty
    | Special
    | Variable
    | Member
    | Call
    | Indexer
    | Unary
    | Binary
    | TypeTest
    | Instance
)
