"""Tokens to a tree, by precedence climbing. https://hl7.org/fhirpath/#grammar."""

from __future__ import annotations

from functools import lru_cache

from dmed.fhir.path.errors import PathSyntaxError
from dmed.fhir.path.lexer import Token, tokens
from dmed.fhir.path.tree import (
    Binary,
    Call,
    Empty,
    Indexer,
    Instance,
    Literal,
    Member,
    Node,
    QuantityLiteral,
    Special,
    TypeName,
    TypeTest,
    Unary,
    Variable,
)

NESTING_MAX = 100
"""Deepest nesting of parentheses and arguments; an expression from outside cannot exhaust us."""
DEPTH_MAX = 200
"""Deepest tree: a chain of that many steps or operators. The longest of R5 has about 60."""

_PRECEDENCE = {
    "implies": 1, "or": 2, "xor": 2, "and": 3, "in": 4, "contains": 4,
    "=": 5, "~": 5, "!=": 5, "!~": 5, "<": 6, ">": 6, "<=": 6, ">=": 6, "|": 7,
    "is": 8, "as": 8, "+": 9, "-": 9, "&": 9, "*": 10, "/": 10, "div": 10, "mod": 10,
}  # fmt: skip  # The grammar's ladder, weakest first.
_UNARY = 11
_CALENDAR = {
    unit + ending: unit
    for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for ending in ("", "s")
}
_SPECIALS = {"this", "index", "total"}


@lru_cache(maxsize=2048)
def parse(text: str) -> Node:
    """The tree of an expression. Raises PathSyntaxError that names the place."""
    node = _Parser(tokens(text)).whole()
    if _depth(node) > DEPTH_MAX:
        raise PathSyntaxError(f"longer than {DEPTH_MAX} steps")
    return node


def _depth(node: Node) -> int:
    deepest = 0
    rest = [(node, 1)]
    while rest:
        each, depth = rest.pop()
        deepest = max(deepest, depth)
        rest += [(child, depth + 1) for child in children(each)]
    return deepest


def children(node: Node) -> list[Node]:
    """The nodes directly below a node."""
    match node:
        case Member(source=source):
            return [] if source is None else [source]
        case Call(source=source, arguments=arguments):
            return [*arguments] if source is None else [source, *arguments]
        case Indexer(source=source, index=index):
            return [source, index]
        case Unary(operand=operand) | TypeTest(operand=operand):
            return [operand]
        case Binary(left=left, right=right):
            return [left, right]
        case Instance(elements=elements):
            return [each for _, each in elements]
    return []


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._now.kind != "end":
            raise self._unexpected()
        return node

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._now
        self._at += 1
        return token

    def _is(self, sign: str) -> bool:
        return self._now.kind == "sign" and self._now.text == sign

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            raise self._unexpected(sign)
        self._at += 1

    def _unexpected(self, wanted: str = "") -> PathSyntaxError:
        met = self._now.text or "the end"
        hint = f", {wanted!r} is missing" if wanted else ""
        return PathSyntaxError(f"unexpected {met!r} at {self._now.at}{hint}")

    def _expression(self, weakest: int) -> Node:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise PathSyntaxError(f"nested deeper than {NESTING_MAX} at {self._now.at}")
        left = self._unary()
        while True:
            token = self._now
            strength = _PRECEDENCE.get(token.text, 0) if token.kind in ("sign", "name") else 0
            if not strength or strength <= weakest:
                self._depth -= 1
                return left
            self._take()
            if token.text in ("is", "as"):
                left = TypeTest(token.text, left, self._type_name(), token.at)
            else:
                left = Binary(token.text, left, self._expression(strength), token.at)

    def _unary(self) -> Node:
        token = self._now
        if token.kind == "sign" and token.text in "+-":
            self._take()
            # Polarity binds weaker than a dot: -1.abs() is -(1.abs()).
            return Unary(token.text, self._expression(_UNARY), token.at)
        return self._invocations(self._term())

    def _invocations(self, node: Node) -> Node:
        while True:
            if self._is("."):
                self._take()
                node = self._invocation(node)
            elif self._is("["):
                at = self._take().at
                index = self._expression(0)
                self._expect("]")
                node = Indexer(node, index, at)
            elif self._is("{"):
                node = self._instance(node)
            else:
                return node

    def _instance(self, named: Node) -> Node:
        name = type_name(named)
        if name is None:
            raise self._unexpected()
        at = self._take().at
        found: list[tuple[str, Node]] = []
        if self._is(":"):
            self._take()
        else:
            while not found or self._is(","):
                if found:
                    self._take()
                element = self._name()
                self._expect(":")
                found.append((element, self._expression(0)))
        self._expect("}")
        return Instance(name, tuple(found), at)

    def _invocation(self, source: Node | None) -> Node:
        token = self._take()
        if token.kind == "special":
            return self._special(token)
        if token.kind not in ("name", "quoted"):
            self._at -= 1
            raise self._unexpected()
        if token.kind == "name" and self._is("("):
            found = self._arguments(is_sort=token.text == "sort")
            return Call(source, token.text, found, token.at)
        return Member(source, token.text, token.at)

    def _special(self, token: Token) -> Node:
        if token.text not in _SPECIALS:
            raise PathSyntaxError(f"${token.text} at {token.at} is not known")
        return Special(token.text, token.at)

    def _arguments(self, *, is_sort: bool) -> tuple[Node, ...]:
        self._expect("(")
        found: list[Node] = []
        while not self._is(")"):
            if found:
                self._expect(",")
            found.append(self._expression(0))
            if is_sort and self._now.kind == "name" and self._now.text in ("asc", "desc"):
                token = self._take()
                found[-1] = Unary(token.text, found[-1], token.at)
        self._take()
        return tuple(found)

    def _term(self) -> Node:
        token = self._now
        if token.kind in ("name", "quoted", "special"):
            if token.kind == "name" and token.text in ("true", "false"):
                self._take()
                return Literal("Boolean", token.text, token.at)
            return self._invocation(None)
        if token.kind == "variable":
            self._take()
            return Variable(token.text, token.at)
        if self._is("("):
            self._take()
            node = self._expression(0)
            self._expect(")")
            return node
        if self._is("{"):
            self._take()
            self._expect("}")
            return Empty(token.at)
        return self._literal()

    def _literal(self) -> Node:
        token = self._take()
        match token.kind:
            case "string":
                return Literal("String", token.text, token.at)
            case "number":
                return self._number(token)
            case "long":
                return Literal("Long", token.text, token.at)
            case "date":
                return Literal("Date", token.text, token.at)
            case "datetime":
                return Literal("DateTime", token.text, token.at)
            case "time":
                return Literal("Time", token.text[1:], token.at)
        self._at -= 1
        raise self._unexpected()

    def _number(self, token: Token) -> Node:
        unit = self._now
        if unit.kind == "string":
            self._take()
            return QuantityLiteral(token.text, unit.text, is_calendar=False, at=token.at)
        if unit.kind == "name" and unit.text in _CALENDAR:
            self._take()
            return QuantityLiteral(token.text, _CALENDAR[unit.text], is_calendar=True, at=token.at)
        return Literal("Decimal" if "." in token.text else "Integer", token.text, token.at)

    def _type_name(self) -> TypeName:
        parts = [self._name()]
        while self._is("."):
            self._take()
            parts.append(self._name())
        if len(parts) > 2:
            raise PathSyntaxError(f"{'.'.join(parts)} is no type name")
        return TypeName(parts[0] if len(parts) == 2 else "", parts[-1])

    def _name(self) -> str:
        token = self._take()
        if token.kind not in ("name", "quoted"):
            self._at -= 1
            raise self._unexpected()
        return token.text


def type_name(node: Node) -> TypeName | None:
    """The type that an argument such as `Patient`, `System.String` or FHIR.`Patient` names."""
    if isinstance(node, Member) and node.source is None:
        return TypeName("", node.name)
    if isinstance(node, Member) and isinstance(node.source, Member) and node.source.source is None:
        return TypeName(node.source.name, node.name)
    return None
