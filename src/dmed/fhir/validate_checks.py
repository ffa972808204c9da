"""One plan of checks for each type, made when the type is first met.

A plan is one function, written from the definition: it looks at each field of the struct in the
struct's order and gathers a bit for each element that is there. Cardinality, choices and most
invariants are decided from that integer, and what is left to ask of a struct with the same fields
is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeAlias

from msgspec import UNSET
from msgspec.structs import astuple

from dmed.fhir.facts import Element, ElementType, facts
from dmed.fhir.source import Source, later
from dmed.fhir.types import attribute, is_primitive, struct_of
from dmed.fhir.validate_codes import code_check, plain_codes
from dmed.fhir.validate_formats import condition_of, format_of, format_said
from dmed.fhir.validate_narrative import narrative_fault
from dmed.fhir.validate_presence import Known
from dmed.fhir.validate_rules import Guarded, rules_of
from dmed.fhir.validate_run import Inner, Met, Place, Run, any_of

Check: TypeAlias = Callable[[Any, Place, Run], None]
_PENDING_MAX = 4096
"""Most combinations of fields that one type remembers."""
_RELATIVE = re.compile(
    r"([A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?|([A-Za-z]+)\?.+"
)


class Plan:
    """The checks of one type.

    `check(value, place, run)` makes all checks of one struct and of everything inside it; `marks`
    are the presence bits of its fields, `rules` its invariants.
    """

    __slots__ = ("_choices", "_needs_content", "_pending", "_required", "check", "marks", "rules")

    def __init__(self, type_name: str) -> None:
        owner = facts().types[type_name]
        is_resource = owner.kind == "resource"
        self._needs_content = not is_resource and type_name != "Element"
        self._choices: list[tuple[str, int, dict[int, str]]] = []
        self._required: list[tuple[str, int]] = []
        self._pending: dict[int, tuple[Check, ...]] = {}
        marks: dict[str, int] = {}
        bits: dict[str, int] = {}
        writers: dict[str, Callable[[Source, str], None]] = {}
        bit = 1
        for element in owner.elements:
            if element.max == 0:
                continue
            bits[element.name] = own = bit
            bit <<= 1
            if element.min > 0:
                self._required.append((_shown(element), own))
            kinds: dict[int, str] = {}
            for name, each in _properties(element):
                mark = own
                if element.is_choice:
                    mark |= bit
                    kinds[bit] = name
                    bit <<= 1
                attr, ext = attribute(name), attribute("_" + name)
                marks[attr] = marks[ext] = mark
                writers[attr] = _field(element, each, name, is_resource)
                writers[ext] = _extension(element, name)
            if len(kinds) > 1:
                self._choices.append((_shown(element), sum(kinds), kinds))
        fields = struct_of(type_name).__struct_fields__
        self.marks = tuple(marks[field] if field != "id" else 0 for field in fields)
        self.rules: tuple[Guarded, ...] = tuple(rules_of(type_name, bits))
        self.check = self._written(type_name, [writers[field] for field in fields])

    def _written(self, title: str, writers: list[Callable[[Source, str], None]]) -> Check:
        """The function that looks at each field and then at what their presence leaves open."""
        source = Source(f"checks of {title}", "value, place, run")
        unset = source.name(UNSET)
        names = [f"f{number}" for number in range(len(writers))]
        source.add(f"({', '.join(names)},) = {source.name(astuple)}(value)")
        source.add(f"unset = {unset}")
        source.add("present = 0")
        for name, mark, write in zip(names, self.marks, writers, strict=True):
            source.open(f"if {name} is not unset:")
            start = source.length
            if mark:
                source.add(f"present |= {mark}")
            write(source, name)
            source.close()
            if source.length == start:
                source.drop()
        source.add(f"pending = {source.name(self._pending.get)}(present)")
        source.open("if pending is None:")
        source.add(f"pending = {source.name(self._learn)}(present)")
        source.close()
        source.open("for check in pending:")
        source.add("check(value, place, run)")
        return source.function()

    def _learn(self, present: int) -> tuple[Check, ...]:
        """What presence of these fields breaks or leaves open, remembered for next time."""
        found: list[Check] = [
            _told("required", f"{name} is required and missing")
            for name, own in self._required
            if not present & own
        ]
        for name, mask, kinds in self._choices:
            chosen = present & mask
            if chosen & (chosen - 1):
                said = any_of([kind for own, kind in kinds.items() if own & chosen])
                found.append(_told("structure", f"{name} may have one type only, found {said}"))
        if not present and self._needs_content:
            found.append(_told("structure", "an element needs a value or children (ele-1)"))
        for rule in self.rules:
            known = rule.known(present)
            if known is not Known.TRUE:
                found.append(rule.refuse if known is Known.FALSE else rule.check())
        if len(self._pending) < _PENDING_MAX:
            self._pending[present] = tuple(found)
        return tuple(found)


@cache
def plan_of(type_name: str) -> Plan:
    """The plan of a type, made once."""
    return Plan(type_name)


def check_resource(value: Any, place: Place, run: Run) -> None:
    """All checks of a resource, wherever it stands."""
    plan_of(value.fhir_type).check(value, place, run)


def _told(code: str, text: str) -> Check:
    def check(_value: Any, place: Place, run: Run) -> None:
        run.fault(code, text, place)

    return check


def _shown(element: Element) -> str:
    return f"{element.name}[x]" if element.is_choice else element.name


def _properties(element: Element) -> list[tuple[str, ElementType]]:
    if element.content:
        return [(element.name, ElementType(element.content))]
    return [(element.json_name(each.code), each) for each in element.types]


# The text of one field's checks ------------------------------------------------------------

_Part: TypeAlias = Callable[[Source, str, str], None]
"""Writes the check of one value: (source, variable, text of its place)."""


def _field(
    element: Element, each: ElementType, name: str, is_resource: bool
) -> Callable[[Source, str], None]:
    return _each(element, name, _parts(element, each, is_resource))


def _extension(element: Element, name: str) -> Callable[[Source, str], None]:
    return _each(element, "_" + name, [_complex("Element"), _valueless(name, element)])


def _valueless(name: str, element: Element) -> _Part:
    """A primitive with an id alone: ele-1 asks for a value or an extension."""

    def write(source: Source, variable: str, _where: str) -> None:
        unset, own = source.name(UNSET), f"value.{attribute(name)}"
        has_none = f"{own} is {unset}"
        if element.is_list:
            has_none += f" or at >= len({own}) or {own}[at] is None"
        source.open(f"if {variable}.extension is {unset} and ({has_none}):")
        at = "at" if element.is_list else -1
        source.add(f"{source.name(_empty)}((place, {name!r}, {at}), run)")
        source.close()

    return write


def _each(element: Element, name: str, parts: list[_Part]) -> Callable[[Source, str], None]:
    """The checks of a field: for one value, or for each of an array."""

    def write(source: Source, variable: str) -> None:
        if not parts:
            return
        if element.is_list:
            source.add("at = -1")
            source.open(f"for each in {variable}:")
            source.add("at += 1")
            source.open("if each is not None:")
            variable = "each"
        where = f"(place, {name!r}, {'at' if element.is_list else -1})"
        if len(parts) > 1:
            source.add(f"here = {where}")
            where = "here"
        for part in parts:
            part(source, variable, where)
        if element.is_list:
            source.close()
            source.close()

    return write


def _parts(element: Element, each: ElementType, is_resource: bool) -> list[_Part]:
    """The checks of one value of a field."""
    parts: list[_Part] = []
    codes: Check | None = None
    if element.strength == "required" and element.binding in facts().value_sets:
        codes = code_check(element.binding, each.code)
        if is_primitive(each.code):
            return [_known_code(each.code, plain_codes(element.binding), codes)]
    if element.name == "id" and not is_resource:
        # Definitions call an element's id `id` here and `string` there; R5 means any text.
        parts.append(_format("string", "not {0}.strip()"))
    elif each.code == "Resource":
        parts.append(_call(_contained if element.name == "contained" else _nested))
    elif each.code == "xhtml":
        parts.append(_call(_narrative))
    elif is_primitive(each.code):
        if format_of(each.code) is not None:
            parts.append(_format(each.code, *condition_of(each.code)))
    elif each.code == "Extension":
        parts.append(_call(_met_extension))
    else:
        parts.append(_complex(each.code))
    if each.profile == "SimpleQuantity":
        parts.append(_call(_simple_quantity))
    if each.targets and each.code in {"Reference", "CodeableReference"}:
        parts.append(_call(_targets(each)))
    if codes is not None:
        parts.append(_call(codes))
    return parts


def _call(check: Check) -> _Part:
    def write(source: Source, variable: str, where: str) -> None:
        source.add(f"{source.name(check)}({variable}, {where}, run)")

    return write


def _complex(code: str) -> _Part:
    def write(source: Source, variable: str, where: str) -> None:
        source.add(f"{later(source, lambda: plan_of(code).check)}({variable}, {where}, run)")

    return write


def _format(code: str, condition: str, *named: object) -> _Part:
    """A condition that is true of an unsound value, of which only a fault costs a call."""

    def write(source: Source, variable: str, where: str) -> None:
        source.open(f"if {condition.format(variable, *map(source.name, named))}:")
        source.add(f"{source.name(_unsound)}({variable}, {code!r}, {where}, run)")
        source.close()

    return write


def _known_code(code: str, plain: frozenset[str], codes: Check) -> _Part:
    """A code that the value set holds is sound; of any other, form and set are looked at."""
    test = format_of(code)
    assert test is None or all(map(test, plain)), "a value set with codes of no sound form"

    def otherwise(value: Any, place: Place, run: Run) -> None:
        if test is not None and not test(value):
            _unsound(value, code, place, run)
        codes(value, place, run)

    def write(source: Source, variable: str, where: str) -> None:
        source.open(f"if {variable} not in {source.name(plain)}:")
        source.add(f"{source.name(otherwise)}({variable}, {where}, run)")
        source.close()

    return write


# What the text calls -----------------------------------------------------------------------


def _unsound(value: Any, code: str, place: Place, run: Run) -> None:
    run.fault("value", f"'{value!s:.60}' is not {format_said(code)}", place)


def _empty(place: Place, run: Run) -> None:
    run.fault("structure", "an element needs a value or children (ele-1)", place)


def _simple_quantity(value: Any, place: Place, run: Run) -> None:
    if value.comparator is not UNSET:
        run.fault("invariant", "a comparator is not allowed here (sqty-1)", place)


def _narrative(value: Any, place: Place, run: Run) -> None:
    reason = narrative_fault(value)
    if reason:
        run.fault("invariant", f"{reason} (txt-1, txt-2)", place)


def _met_extension(value: Any, place: Place, run: Run) -> None:
    run.extensions.append(Met(value, place, run.resource, run.root))
    plan_of("Extension").check(value, place, run)


def _contained(value: Any, place: Place, run: Run) -> None:
    outer = run.resource
    run.resource = value
    run.inner.append(Inner(value, place, run.root))
    check_resource(value, place, run)
    run.resource = outer


def _nested(value: Any, place: Place, run: Run) -> None:
    """A resource of its own inside a Bundle or Parameters."""
    outer = run.resource, run.root
    run.resource = run.root = value
    run.inner.append(Inner(value, place, value))
    check_resource(value, place, run)
    run.resource, run.root = outer


@lru_cache(maxsize=16_384)
def _target(reference: str) -> str:
    """The type that a relative or conditional reference names; "" for one of another form."""
    match = _RELATIVE.fullmatch(reference)
    return (match[1] or match[2]) if match else ""


def _targets(each: ElementType) -> Check:
    """Refuse a literal relative reference to a type that the element does not allow."""
    resources = facts().resources
    allowed = frozenset(
        name for name in resources if any(facts().is_a(name, target) for target in each.targets)
    )
    known = frozenset(resources)

    def check(value: Any, place: Place, run: Run) -> None:
        reference = value.reference
        if reference is UNSET or reference[0] == "#" or ":" in reference:
            return
        name = _target(reference)
        if name in allowed:
            return
        where = (place, "reference", -1)
        if name not in known:
            run.fault("value", f"'{reference:.80}' is no reference of the form Type/id", where)
        else:
            said = f"'{reference:.80}' refers to a {name}, allowed are {any_of(each.targets)}"
            run.fault("value", said, where)

    if each.code == "Reference":
        return check

    def check_inner(value: Any, place: Place, run: Run) -> None:
        if value.reference is not UNSET:
            check(value.reference, (place, "reference", -1), run)

    return check_inner
