"""`_filter`: a condition in words, read into the same criteria as any other search. Pure.

https://hl7.org/fhir/R5/search_filter.html. `and` and `or` are taken from left to right without
precedence, as the specification says; parentheses order them. A path may name the type that a
reference goes to (`subject:Patient.name`), as chains may. Faults name the character they are at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from dmed.fhir.query import (
    DEPTH_MAX,
    _check_ready,
    _CriterionReader,
    _is_type,
    _NotReadyError,
    _plain,
    _UnknownError,
)
from dmed.fhir.query_model import Criterion, Has, Logic, Match, Moment
from dmed.fhir.query_special import SPECIAL
from dmed.fhir.query_values import escape
from dmed.kit.errors import InvalidError, Issue

TESTS_MAX = 100
"""Most tests of one filter."""
BRANCHES_MAX = 200
"""Most criteria that one test may stand for, all types that its chains may mean together."""
NESTING_MAX = 20
"""Most parentheses and brackets inside one another."""

_PREFIXED = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_FITTING: Mapping[str, tuple[str, ...]] = {
    "string": ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le"),
    "token": ("eq", "ne", "co", "sw", "ew", "ss", "sb", "in", "ni"),
    "date": (*_PREFIXED, "po"),
    "number": _PREFIXED,
    "quantity": _PREFIXED,
    "reference": ("eq", "ne", "re"),
    "uri": ("eq", "ne", "co", "sw", "ew", "ss", "sb"),
    "composite": ("eq",),
}
"""Which operations a kind of parameter has, besides `pr`, which all have."""
OPERATIONS = frozenset({"pr"}.union(*_FITTING.values()))
_AS_MODIFIER = {"ss": "below", "sb": "above", "in": "in", "ni": "not-in"}
_KEPT = frozenset({"ne", "co", "sw", "ew", "gt", "lt", "ge", "le"})
"""Operations that the store's plan knows, as modifier `~co`."""

_BLANK = re.compile(r"\s*")
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?::([A-Z][A-Za-z]*))?", re.ASCII)
_HAS = re.compile(r"_has:([A-Z][A-Za-z]*):([A-Za-z_][A-Za-z0-9_-]*):", re.ASCII)
_WORD = re.compile(r"[A-Za-z]+", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BARE = re.compile(r'[^\s)\]"][^\s)\]]*')
_COMMA = re.compile(r"(?<!\\),")


class Step(msgspec.Struct, frozen=True):
    """One step of a path: a parameter, the type it goes to or "", and a condition on its target.

    `source` is set for `_has:source:name:`, a step back.
    """

    name: str
    target: str = ""
    condition: Node | None = None
    source: str = ""


class Comparison(msgspec.Struct, frozen=True):
    """One comparison; `at` is where it begins, `value` as it is meant, without quotes."""

    steps: tuple[Step, ...]
    operation: str
    value: str
    at: int


class Joined(msgspec.Struct, frozen=True):
    """Filters joined by and, or; or one under not."""

    sign: str
    parts: tuple[Node, ...]


Node: TypeAlias = Comparison | Joined


def read_filter(type_name: str, text: str, base: str = "") -> Logic:
    """The criterion that a filter stands for at a resource type.

    InvalidError names the place of a fault in the text; an unknown parameter is a fault too,
    since a condition without one of its parts means something else.
    """
    node = parse(text)
    return Logic(type_name, "and", (_criterion(node, type_name, base, 0),), "_filter", text)


def parse(text: str) -> Node:
    """The filter as a tree; InvalidError names the first character that does not fit."""
    return _Parser(text).whole()


def _fault(at: int, why: str) -> InvalidError:
    return InvalidError(f"_filter, at character {at + 1}: {why}", "_filter")


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tests = 0
        self.depth = 0

    def whole(self) -> Node:
        found = self.filter()
        if self.at < len(self.text):
            raise self.wrong("expected 'and', 'or' or the end")
        return found

    def wrong(self, why: str) -> InvalidError:
        rest = self.text[self.at : self.at + 30]
        return _fault(self.at, f"{why}, not {rest!r}" if rest else f"{why}, not the end")

    def blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        assert found
        self.at = found.end()

    def take(self, sign: str) -> None:
        self.blank()
        if not self.text.startswith(sign, self.at):
            raise self.wrong(f"expected {sign!r}")
        self.at += 1

    def word(self) -> str:
        """The word that comes next, without taking it."""
        self.blank()
        found = _WORD.match(self.text, self.at)
        return found.group() if found else ""

    def inner(self, end: str) -> Node:
        """A filter in parentheses or brackets, whose opening sign was taken."""
        self.depth += 1
        if self.depth > NESTING_MAX:
            raise _fault(self.at, f"more than {NESTING_MAX} levels")
        found = self.filter()
        self.take(end)
        self.depth -= 1
        return found

    def filter(self) -> Node:
        found = self.operand()
        while (sign := self.word()) in {"and", "or"}:
            self.at += len(sign)
            part = self.operand()
            if isinstance(found, Joined) and found.sign == sign:
                found = Joined(sign, (*found.parts, part))
            else:
                found = Joined(sign, (found, part))
        return found

    def operand(self) -> Node:
        self.blank()
        if self.text.startswith("(", self.at):
            self.at += 1
            # In parentheses of its own, so that what follows is not joined into it.
            return Joined("and", (self.inner(")"),))
        if self.word() == "not" and re.match(r"\s*\(", self.text[self.at + 3 :]):
            self.at += 3
            self.take("(")
            return Joined("not", (self.inner(")"),))
        return self.test()

    def test(self) -> Comparison:
        start = self.at
        self.tests += 1
        if self.tests > TESTS_MAX:
            raise _fault(start, f"more than {TESTS_MAX} tests")
        steps = self.path()
        operation = self.word()
        if operation not in OPERATIONS:
            raise self.wrong(f"expected an operation ({', '.join(sorted(OPERATIONS))})")
        self.at += len(operation)
        return Comparison(steps, operation, self.value(), start)

    def path(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            back = _HAS.match(self.text, self.at)
            if back:
                self.at = back.end()
                steps.append(Step(back.group(2), source=back.group(1)))
                continue
            found = _STEP.match(self.text, self.at)
            if not found:
                raise self.wrong("expected the name of a search parameter")
            self.at = found.end()
            condition = None
            if self.text.startswith("[", self.at):
                self.at += 1
                condition = self.inner("]")
                if not self.text.startswith(".", self.at):
                    raise self.wrong("expected '.' after a condition in brackets")
            steps.append(Step(found.group(1), found.group(2) or "", condition))
            if not self.text.startswith(".", self.at):
                return tuple(steps)
            self.at += 1

    def value(self) -> str:
        self.blank()
        quoted = _STRING.match(self.text, self.at)
        if quoted:
            try:
                found = str(json.loads(quoted.group(), strict=False))
            except ValueError:
                raise self.wrong("expected a JSON string") from None
            self.at = quoted.end()
        else:
            bare = _BARE.match(self.text, self.at)
            if not bare:
                raise self.wrong("expected a value")
            found = bare.group()
            self.at = bare.end()
        # A JSON escape can make what the text itself was already refused for.
        if "\0" in found or any("\ud800" <= sign <= "\udfff" for sign in found):
            raise self.wrong("the value holds a character that is no text")
        return found


def _criterion(node: Node, type_name: str, base: str, links: int) -> Criterion:
    """The criterion of a node at a type; `links` of a chain were followed before it."""
    if isinstance(node, Joined):
        parts = tuple(_criterion(part, type_name, base, links) for part in node.parts)
        if len(parts) == 1 and node.sign != "not":
            return parts[0]
        return Logic(type_name, node.sign, parts)
    reader = _TestReader(node, base)
    try:
        return reader.at_path(type_name, node.steps, links)
    except _NotReadyError:
        raise  # Left out whole, as any parameter that is not ready.
    except _UnknownError as unknown:
        raise _fault(node.at, str(unknown)) from None
    except InvalidError as fault:
        if fault.issues[0].expression == "_filter":
            raise
        raise InvalidError(issues=tuple(
            Issue(each.code, f"_filter, at character {node.at + 1}: {each.diagnostics}", "_filter")
            for each in fault.issues)) from None


class _TestReader(_CriterionReader):
    """Reads one test: its path as chains and `_has`, its operation at the end of the path."""

    def __init__(self, test: Comparison, base: str) -> None:
        super().__init__(".".join(step.name for step in test.steps), test.value, base)
        self.operation = test.operation
        self.read = 0

    def at_path(self, type_name: str, steps: tuple[Step, ...], links: int) -> Criterion:
        if links > DEPTH_MAX:
            raise InvalidError(f"more than {DEPTH_MAX} links", self.label)
        self.read += 1
        if self.read > BRANCHES_MAX:
            raise InvalidError(f"stands for over {BRANCHES_MAX} chains: name types", self.label)
        step, rest = steps[0], steps[1:]
        if step.source:
            return self._back(type_name, step, rest, links)
        if not rest:
            return self._leaf(type_name, f"{step.name}:{step.target}" if step.target else step.name)
        head = f"{step.name}:{step.target}" if step.target else step.name
        left = ".".join(each.name for each in rest)
        found, target, targets = self._targets(type_name, head, left)

        def onward(candidate: str) -> Criterion:
            inner = self.at_path(candidate, rest, links + 1)
            if step.condition is None:
                return inner
            condition = _criterion(step.condition, candidate, self.base, links + 1)
            return Logic(candidate, "and", (condition, inner))

        return self._branched(found, target, targets, left, onward)

    def _back(
        self, type_name: str, step: Step, rest: tuple[Step, ...], links: int
    ) -> Criterion:
        if not _is_type(step.source):
            raise InvalidError(f"{step.source} is no resource type", self.label)
        found = self._reference(step.source, step.name)
        if found.targets and type_name not in found.targets:
            raise InvalidError(
                f"{step.source}.{step.name} does not refer to {type_name}", self.label)
        inner = self.at_path(step.source, rest, links + 1)
        return Has(type_name, step.source, step.name, found.number, inner)

    def _leaf(self, type_name: str, name: str) -> Criterion:
        code, _, target = name.partition(":")
        if code in SPECIAL and self.operation in {"eq", "co"}:
            return self._read(type_name, code, _listed(self.text))
        _check_ready(type_name, code)
        key = _plain(type_name, code)
        if key is None:
            raise _UnknownError(f"Unknown search parameter {code[:100]!r} of {type_name}")
        kind, number = key
        if self.operation == "pr":
            if self.text not in {"true", "false"}:
                raise InvalidError("pr is followed by true or false", self.label)
            return self._read(type_name, f"{code}:missing", _opposite(self.text))
        fitting = _FITTING.get(kind, ())
        if self.operation not in fitting or (number == 0 and self.operation in {
                "co", "sw", "ew"}):
            raise InvalidError(
                f"{self.operation} does not fit {code}, a {kind} parameter "
                f"({', '.join([*fitting, 'pr'])})", self.label)
        return self._compared(type_name, code, kind, number, f":{target}" if target else "")

    def _compared(
        self, type_name: str, code: str, kind: str, number: int, only: str
    ) -> Criterion:
        operation, text = self.operation, self.text
        if operation in _AS_MODIFIER:
            return self._read(type_name, f"{code}:{_AS_MODIFIER[operation]}", _listed(text))
        if kind in {"date", "number", "quantity"}:
            prefix = "eq" if operation == "po" else operation
            found = self._read(type_name, code, prefix + _listed(text))
            return _overlapping(found) if operation == "po" else found
        given = escape(text) if kind == "string" else _listed(text)
        found = self._read(type_name, code + only, given)
        if operation == "ne" and number == 0:
            return Logic(type_name, "not", (found,))
        if kind == "string" or operation in _KEPT:
            assert isinstance(found, Match), found
            return msgspec.structs.replace(found, modifier=f"~{operation}")
        return found

    def _read(self, type_name: str, name: str, text: str) -> Criterion:
        return _CriterionReader(self.label, text, self.base)._leaf(type_name, name)  # noqa: SLF001  # Its own base class.


def _opposite(text: str) -> str:
    return "false" if text == "true" else "true"


def _listed(text: str) -> str:
    """A value whose commas do not part alternatives; its other escapes stay."""
    return _COMMA.sub(r"\\,", text)


def _overlapping(found: Criterion) -> Criterion:
    assert isinstance(found, Match), found
    values = tuple(msgspec.structs.replace(value, prefix="po")
                   for value in found.values if isinstance(value, Moment))
    return msgspec.structs.replace(found, values=values)
