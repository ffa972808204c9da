"""One plan of checks for each type, made when the type is first met.

A plan holds a check for each field of the struct, in the struct's order, and a bit for each
element, so that cardinality, choices and most invariants are decided from one integer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from msgspec import UNSET
from msgspec.structs import astuple

from dmed.fhir.facts import Element, ElementType, facts
from dmed.fhir.types import attribute, is_primitive, struct_of
from dmed.fhir.validate_codes import code_check
from dmed.fhir.validate_formats import TEXT_MAX, format_of, format_said
from dmed.fhir.validate_narrative import narrative_fault
from dmed.fhir.validate_presence import Known
from dmed.fhir.validate_rules import Guarded, rules_of
from dmed.fhir.validate_run import Inner, Met, Place, Run, any_of

Check: TypeAlias = Callable[[Any, Place, Run], None]
Part: TypeAlias = tuple[int, int, tuple[object, ...], tuple[Check | None, ...], tuple[int, ...]]
"""(first field, end, what the part is when all are absent, checks, presence bits)"""
_PENDING_MAX = 4096
"""Most combinations of fields that one type remembers."""
_PART = 12
"""Fields compared at once: most fields are absent, and one comparison skips so many of them."""
_RELATIVE = re.compile(
    r"([A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?|([A-Za-z]+)\?.+"
)


class Plan:
    """The checks of one type."""

    __slots__ = (
        "choices",
        "is_resource",
        "needs_content",
        "parts",
        "pending",
        "required",
        "required_mask",
        "rules",
    )

    def __init__(self, type_name: str) -> None:
        owner = facts().types[type_name]
        self.is_resource = owner.kind == "resource"
        self.needs_content = not self.is_resource and type_name != "Element"
        checks: dict[str, Check | None] = {}
        marks: dict[str, int] = {}
        bits: dict[str, int] = {}
        self.choices: list[tuple[str, int, dict[int, str]]] = []
        self.required: list[tuple[str, int]] = []
        bit = 1
        for element in owner.elements:
            if element.max == 0:
                continue
            bits[element.name] = own = bit
            bit <<= 1
            if element.min > 0:
                self.required.append((_shown(element), own))
            kinds: dict[int, str] = {}
            for name, each in _properties(element):
                mark = own
                if element.is_choice:
                    mark |= bit
                    kinds[bit] = name
                    bit <<= 1
                attr = attribute(name)
                checks[attr], marks[attr] = _field(element, each, name, self.is_resource), mark
                ext = attribute("_" + name)
                checks[ext], marks[ext] = _extension(element, name), mark
            if len(kinds) > 1:
                self.choices.append((_shown(element), sum(kinds), kinds))
        fields = struct_of(type_name).__struct_fields__
        self.parts = tuple(
            self._part(fields[start : start + _PART], start, checks, marks)
            for start in range(0, len(fields), _PART)
        )
        self.required_mask = sum(own for _, own in self.required)
        self.rules: tuple[Guarded, ...] = tuple(rules_of(type_name, bits))

        self.pending: dict[int, tuple[Check, ...]] = {}

    def learn(self, present: int) -> tuple[Check, ...]:
        """The rules that presence of these fields does not settle, remembered for next time."""
        found: list[Check] = []
        for rule in self.rules:
            known = rule.known(present)
            if known is not Known.TRUE:
                found.append(rule.refuse if known is Known.FALSE else rule.check)
        if len(self.pending) < _PENDING_MAX:
            self.pending[present] = tuple(found)
        return tuple(found)

    @staticmethod
    def _part(
        fields: tuple[str, ...],
        start: int,
        checks: dict[str, Check | None],
        marks: dict[str, int],
    ) -> Part:
        return (
            start,
            start + len(fields),
            (UNSET,) * len(fields),
            tuple(checks[field] for field in fields),
            tuple(marks[field] if field != "id" else 0 for field in fields),
        )


@cache
def plan_of(type_name: str) -> Plan:
    """The plan of a type, made once."""
    return Plan(type_name)


def check_object(plan: Plan, value: Any, place: Place, run: Run) -> None:
    """All checks of one struct and of everything inside it."""
    present = 0
    items = astuple(value)
    for start, end, absent, checks, marks in plan.parts:
        part = items[start:end]
        if part == absent:
            continue
        for item, check, mark in zip(part, checks, marks, strict=True):
            if item is not UNSET:
                present |= mark
                if check is not None:
                    check(item, place, run)
    if present & plan.required_mask != plan.required_mask:
        for name, own in plan.required:
            if not present & own:
                run.fault("required", f"{name} is required and missing", place)
    for name, mask, kinds in plan.choices:
        chosen = present & mask
        if chosen & (chosen - 1):
            found = any_of([kind for own, kind in kinds.items() if own & chosen])
            run.fault("structure", f"{name} may have one type only, found {found}", place)
    if not present and plan.needs_content:
        run.fault("structure", "an element needs a value or children (ele-1)", place)
    pending = plan.pending.get(present)
    if pending is None:
        pending = plan.learn(present)
    for rule in pending:
        rule(value, place, run)


def check_resource(value: Any, place: Place, run: Run) -> None:
    """All checks of a resource, wherever it stands."""
    check_object(plan_of(value.fhir_type), value, place, run)


def _shown(element: Element) -> str:
    return f"{element.name}[x]" if element.is_choice else element.name


def _properties(element: Element) -> list[tuple[str, ElementType]]:
    if element.content:
        return [(element.name, ElementType(element.content))]
    return [(element.json_name(each.code), each) for each in element.types]


def _field(element: Element, each: ElementType, name: str, is_resource: bool) -> Check | None:
    """The check of one field, for one value or for each of an array; None when nothing is left."""
    parts = _parts(element, each, is_resource)
    if not parts:
        return None
    if not element.is_list and each.code in {"string", "markdown"} and len(parts) == 1:
        return _text(name, each.code)
    one = parts[0] if len(parts) == 1 else _all(parts)
    return _each(name, one) if element.is_list else _single(name, one)


def _text(name: str, code: str) -> Check:
    """The commonest check of all, without a call in between."""

    def check(value: Any, place: Place, run: Run) -> None:
        if value.isspace() or len(value) > TEXT_MAX:
            run.fault("value", f"'{value!s:.60}' is not {format_said(code)}", (place, name, -1))

    return check


def _parts(element: Element, each: ElementType, is_resource: bool) -> list[Check]:
    """The checks of one value of a field."""
    parts: list[Check] = []
    if element.name == "id" and not is_resource:
        # Definitions call an element's id `id` here and `string` there; R5 means any text.
        parts.append(_format(str.strip, "string"))
    elif each.code == "Resource":
        parts.append(_contained if element.name == "contained" else _nested)
    elif each.code == "xhtml":
        parts.append(_narrative)
    elif is_primitive(each.code):
        test = format_of(each.code)
        if test is not None:
            parts.append(_format(test, each.code))
    elif each.code == "Extension":
        parts.append(_met_extension)
    else:
        parts.append(_complex(each.code))
    if each.profile == "SimpleQuantity":
        parts.append(_simple_quantity)
    if each.targets and each.code in {"Reference", "CodeableReference"}:
        parts.append(_targets(each))
    if element.strength == "required" and element.binding in facts().value_sets:
        codes = code_check(element.binding, each.code)
        if codes is not None:
            parts.append(codes)
    return parts


def _all(parts: list[Check]) -> Check:
    def check(value: Any, place: Place, run: Run) -> None:
        for part in parts:
            part(value, place, run)

    return check


def _single(name: str, one: Check) -> Check:
    def check(value: Any, place: Place, run: Run) -> None:
        one(value, (place, name, -1), run)

    return check


def _each(name: str, one: Check) -> Check:
    def check(value: Any, place: Place, run: Run) -> None:
        for index, item in enumerate(value):
            if item is not None:
                one(item, (place, name, index), run)

    return check


def _extension(element: Element, name: str) -> Check:
    one = _complex("Element")
    return _each("_" + name, one) if element.is_list else _single("_" + name, one)


def _format(test: Callable[[Any], object], code: str) -> Check:
    def check(value: Any, place: Place, run: Run) -> None:
        if not test(value):
            run.fault("value", f"'{value!s:.60}' is not {format_said(code)}", place)

    return check


def _simple_quantity(value: Any, place: Place, run: Run) -> None:
    if value.comparator is not UNSET:
        run.fault("invariant", "a comparator is not allowed here (sqty-1)", place)


def _narrative(value: Any, place: Place, run: Run) -> None:
    reason = narrative_fault(value)
    if reason:
        run.fault("invariant", f"{reason} (txt-1, txt-2)", place)


def _complex(code: str) -> Check:
    def check(value: Any, place: Place, run: Run) -> None:
        check_object(plan_of(code), value, place, run)

    return check


def _met_extension(value: Any, place: Place, run: Run) -> None:
    run.extensions.append(Met(value, place, run.resource, run.root))
    check_object(plan_of("Extension"), value, place, run)


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
        match = _RELATIVE.fullmatch(reference)
        name = (match[1] or match[2]) if match else ""
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
