"""The text of a plan: one function that walks a record and writes its index rows.

The commonest leaves (codes, references, dates, texts) are written out where they stand; any other
is a call of its writer (params_rows). Both give the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

from msgspec import UNSET

from dmed.fhir.params_rows import (
    Write,
    beside_writer,
    fold_cached,
    owned,
    plain_texts,
    reference_cached,
)
from dmed.fhir.source import Source
from dmed.fhir.values import date_bounds, named_type

Numbers: TypeAlias = tuple[int, ...]
Targets: TypeAlias = tuple[tuple[int, str], ...]
_HEADS = ("strings", "tokens", "dates", "references")
_DEPTH_MAX = 8
"""Branches below this depth get a function of their own: Python nests no text deeper than 100."""


class Walk:
    """Writes the function of one plan, from `value` and `rows`."""

    def __init__(self, title: str) -> None:
        self.source = Source(title, "value, rows")
        self.depth = 0
        self._count = count()
        self.source.add(f"unset = {self.source.name(UNSET)}")
        for head in _HEADS:
            self.source.add(f"{head} = rows.{head}.append")

    @property
    def is_deep(self) -> bool:
        """Whether what comes next should stand in a function of its own."""
        return self.depth >= _DEPTH_MAX

    def call(self, write: Write, value: str) -> None:
        """A call of a writer."""
        self.source.add(f"{self.source.name(write)}({value}, rows)")

    def step(
        self, value: str, attribute: str, is_list: bool, inside: Callable[[str], None]
    ) -> None:
        """What is written for an attribute that is there, or for each of its values."""
        child = self._variable()
        self.source.add(f"{child} = {value}.{attribute}")
        self.source.open(f"if {child} is not unset:")
        self.depth += 1
        if is_list:
            each = self._variable()
            self.source.open(f"for {each} in {child}:")
            self.source.open(f"if {each} is not None:")
            inside(each)
            self.source.close()
            self.source.close()
        else:
            inside(child)
        self.depth -= 1
        self.source.close()

    def guard(self, value: str, attribute: str, text: str, inside: Callable[[str], None]) -> None:
        """What is written for a value whose attribute is that text."""
        self.source.open(f"if {value}.{attribute} == {text!r}:")
        self.depth += 1
        inside(value)
        self.depth -= 1
        self.source.close()

    def leaf(self, kind: str, type_name: str, numbers: Numbers, value: str) -> bool:
        """The rows of a value, written out; False for what needs its writer."""
        write = _WRITTEN.get((kind, type_name))
        if write is None and type_name in plain_texts(kind):
            write = _PLAIN.get(kind)
        if write is None:
            return False
        write(self, numbers, value)
        return True

    def reference(self, targets: Targets, value: str) -> None:
        """The rows of a Reference, as `params_rows.reference_writer` makes them."""
        add, name = self.source.add, self.source.name
        self.source.open(f"if {value}.display is not unset or {value}.identifier is not unset:")
        self.call(beside_writer(targets), value)
        self.source.close()
        address = self._variable()
        add(f"{address} = {value}.reference")
        self.source.open(f'if {address} is not unset and not {address}.startswith("#"):')
        add(f"kind, key, version = {name(reference_cached)}({address})")
        for number, only in targets:
            if not only:
                add(f"references(({number}, kind, key, version))")
        bound = [(number, only) for number, only in targets if only]
        if bound:
            add(
                f"named = kind or {name(named_type)}(key) or "
                f'("" if {value}.type is unset else {value}.type)'
            )
        for number, only in bound:
            self.source.open(f"if named == {only!r}:")
            add(f"references(({number}, kind, key, version))")
            self.source.close()
        self.source.close()

    def function(self) -> Write:
        """The compiled walk."""
        return self.source.function()

    def _variable(self) -> str:
        return f"v{next(self._count)}"

    # What the leaves are made of -----------------------------------------------------------

    def said(self, number: int, text: str) -> None:
        """The row of a display or text, for `:text`: folded only."""
        if number:
            self.source.add(f"key = {self.source.name(fold_cached)}({text})")
            self.source.add(f"strings(({number}, key, key))")

    def concept(self, numbers: Numbers, value: str) -> None:
        """A CodeableConcept as tokens."""
        self.step(value, "coding", True, lambda each: self.coding(numbers, each))
        number = owned(numbers, "text")
        if number:
            self.step(value, "text", False, lambda text: self.said(number, text))

    def coding(self, numbers: Numbers, value: str) -> None:
        """A Coding as tokens."""
        add, open_, close = self.source.add, self.source.open, self.source.close
        add(f"system, code = {value}.system, {value}.code")
        open_("if code is not unset or system is not unset:")
        open_("if code is unset:")
        add('code = ""')
        close()
        open_("elif system is unset:")
        add('system = ""')
        close()
        for number in numbers:
            add(f"tokens(({number}, system, code))")
        close()
        number = owned(numbers, "text")
        if number:
            self.step(value, "display", False, lambda text: self.said(number, text))

    def code(self, numbers: Numbers, value: str) -> None:
        """A code, or another plain text, as tokens."""
        for number in numbers:
            self.source.add(f'tokens(({number}, "", {value}))')

    def date(self, numbers: Numbers, value: str) -> None:
        """A date or moment."""
        self.source.add(f"low, high = {self.source.name(date_bounds)}({value})")
        for number in numbers:
            self.source.add(f"dates(({number}, low, high))")


_WRITTEN: Mapping[tuple[str, str], Callable[[Walk, Numbers, str], None]] = {
    ("token", "CodeableConcept"): Walk.concept,
    ("token", "Coding"): Walk.coding,
}
_PLAIN: Mapping[str, Callable[[Walk, Numbers, str], None]] = {
    "token": Walk.code, "date": Walk.date,
}  # fmt: skip  # Two entries read better in one line.


def touched(attributes: Sequence[str]) -> Callable[[Any], bool]:
    """Whether a value has one of these attributes."""
    source = Source("touched", "value")
    unset = source.name(UNSET)
    asked = " or ".join(f"value.{name} is not {unset}" for name in attributes) or "False"
    source.add(f"return {asked}")
    return source.function()
