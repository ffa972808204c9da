"""What a profile asks of a value itself: type, fixed and pattern, range, codes, invariants."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET

from dmed.fhir import path
from dmed.fhir.bindings import ValueSets
from dmed.fhir.facts import facts
from dmed.fhir.path import Typed
from dmed.fhir.path.items import quantity_of
from dmed.fhir.path.quantity import Quantity, calendar_of, common
from dmed.fhir.path.temporal import compare, parse_datetime, shift
from dmed.fhir.path.units import UCUM
from dmed.fhir.profile.definition import Binding, Constraint, Node, Usage, Value, decimal_of, sign
from dmed.fhir.profile.fields import element_of
from dmed.fhir.profile.match import fixed_test, pattern_test, said
from dmed.fhir.profile.run import Check, Item, ProfileRun
from dmed.fhir.terminology import Library as TerminologyLibrary
from dmed.fhir.terminology.asked import terminology
from dmed.fhir.terminology.pattern import Pattern
from dmed.fhir.types import struct_of
from dmed.fhir.validate_run import any_of
from dmed.kit.errors import DmedError

NOTHING: Final[Any] = struct_of("Element")()
"""Stands for the extensions of a primitive that has none."""
_BACKBONE = frozenset({"", "BackboneElement", "Element", "Resource", "DomainResource"})
_WARNINGS = frozenset({"extensible", "preferred"})
_CODED = frozenset({"code", "uri", "string", "canonical", "url", "oid", "Coding",
                    "CodeableConcept", "CodeableReference", "Quantity"})  # fmt: skip  # A table.


def too_few(name: str, low: int, count: int) -> str:
    """The sentence for a missing element."""
    if low == 1 and not count:
        return f"{name} is required by the profile and missing"
    return f"{name} is needed at least {low} times, found {count}"


def too_many(name: str, high: int, count: int) -> str:
    """The sentence for one element too many."""
    if not high:
        return f"{name} is not allowed by the profile; remove it"
    return f"{name} may stand at most {high} times, found {count}"


def types_check(node: Node, allowed: tuple[str, ...]) -> Check | None:
    """Refuse the types of a choice (or of a resource inside) that a profile leaves out."""
    codes = frozenset(each.code for each in node.types)
    if not codes or codes & _BACKBONE or (allowed != ("Resource",) and len(allowed) < 2):
        return None
    if set(allowed) <= codes:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        if item.type not in codes:
            run.note("structure", f"the type {item.type} is not allowed here, only "
                     f"{any_of(sorted(codes))}", item.place)  # fmt: skip  # One sentence.

    return check


def value_check(node: Node) -> Check | None:
    """Fixed and pattern values."""
    tests: list[tuple[str, Callable[[Any], bool], Any]] = []
    if node.fixed is not None:
        tests.append(("must be exactly", fixed_test(node.fixed.value), node.fixed.value))
    if node.pattern is not None:
        tests.append(("must contain", pattern_test(node.pattern.value), node.pattern.value))
    if not tests:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        if item.value is None:
            return
        for words, test, expected in tests:
            if not test(item.value):
                run.note("value", f"the value {words} {said(expected)}", item.place)

    return check


def range_check(node: Node) -> Check | None:
    """minValue, maxValue and maxLength."""
    low, high, length = node.min_value, node.max_value, node.max_length
    if low is None and high is None and length is None:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        value = item.value
        if value is None:
            return
        if length is not None and isinstance(value, str) and len(value) > length:
            run.note("too-long", f"the text has {len(value)} characters, at most {length} are "
                     "allowed", item.place)  # fmt: skip  # One sentence.
        if low is not None and _order(value, low, -1) < 0:
            run.note("value", f"the value must be at least {said(low.value)}", item.place)
        if high is not None and _order(value, high, 1) > 0:
            run.note("value", f"the value must be at most {said(high.value)}", item.place)

    return check


def presence_check(node: Node) -> Check | None:
    """A primitive that must have a value, or else one of the extensions that stand for it."""
    if not (node.must_have_value or node.alternatives):
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        given = UNSET if item.ext is None else item.ext.extension
        if item.value is None and not any(
            each.url in node.alternatives for each in (() if given is UNSET else given)
        ):
            others = f", or the extension {any_of(node.alternatives)}" if node.alternatives else ""
            run.note("required", f"a value is needed here{others}", item.place)

    return check


def text_check(node: Node) -> Check | None:
    """The shortest length and the regular expression of a text, both extensions of R5."""
    length, said_regex = node.min_length, node.regex
    if length is None and not said_regex:
        return None
    try:
        regex = Pattern(said_regex) if said_regex else None
    except DmedError as error:
        regex, reason = None, f"the expression '{said_regex:.100}' cannot be run: {error}"
    else:
        reason = ""

    def check(item: Item, run: ProfileRun, /) -> None:
        value = item.value
        if value is None or isinstance(value, msgspec.Struct):
            return
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if length is not None and len(text) < length:
            run.note("value", f"the text has {len(text)} characters, at least {length} are "
                     "needed", item.place)  # fmt: skip  # One sentence.
        if reason:
            run.note("not-supported", f"not checked: {reason}", item.place, "information")
        elif regex is not None and not regex.matches(text):
            run.note("value", f"'{text:.60}' does not fit the expression {said_regex:.200}",
                     item.place)  # fmt: skip  # One sentence.

    return check


def _order(value: Any, limit: Value, direction: int) -> int:
    """-1, 0 or 1; 0 too where the two cannot be compared.

    A quantity of time beside a date counts from now, back for a least value (direction -1) and
    forward for a greatest one.
    """
    expected = limit.value
    if isinstance(expected, dict):
        amount = _quantity(expected)
        if isinstance(value, str):
            return 0 if amount is None else _from_now(value, amount, direction)
        own = quantity_of(value)
        both = None if own is None or amount is None else common(own, amount)
        return 0 if both is None else sign(*both)
    number, other = decimal_of(value), decimal_of(expected)
    if number is not None and other is not None:
        return sign(number, other)
    if isinstance(value, str) and isinstance(expected, str):
        shared = min(len(value), len(expected))
        return (value[:shared] > expected[:shared]) - (value[:shared] < expected[:shared])
    return 0


def _quantity(given: dict[str, Any]) -> Quantity | None:
    """A quantity as JSON has it; None where its unit is not UCUM's."""
    number = decimal_of(given.get("value"))
    if number is None or given.get("system", UCUM) != UCUM:
        return None
    return Quantity(number, str(given.get("code") or given.get("unit") or "1"))


def _from_now(value: str, amount: Quantity, direction: int) -> int:
    """A date or moment beside now moved by a time."""
    now = path.compile("now()", "")
    own, moved = parse_datetime(value), calendar_of(amount)
    try:
        limit = shift(now.evaluate(NOTHING)[0], moved.value * direction, moved.unit)
    except path.PathExecutionError:
        return 0
    if own is None:
        return 0
    return compare(own, limit._replace(parts=limit.parts[: len(own.parts)])) or 0


def bindings_check(node: Node, owner: str) -> Check | None:
    """Codes against value sets; R5's own required bindings are checked with R5's rules."""
    known = element_of(owner, node.name) if owner else None
    base = known.binding if known is not None and known.strength == "required" else ""
    weaker = known.binding if known is not None else ""
    kept = [
        each
        for each in node.bindings
        if each.strength != "example"
        and not (base and each.value_set.partition("|")[0] == base)
        and not (each.strength in _WARNINGS and each.value_set.partition("|")[0] == weaker)
    ]
    if not kept:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        for each in kept:
            if not each.usage or any(_is_used(use, run) for use in each.usage):
                _bound(each, item, run)

    return check


def _is_used(use: Usage, run: ProfileRun) -> bool:
    """Whether the record holds the code that makes an additional binding apply."""
    if run.resource.fhir_type != use.path.partition(".")[0]:
        return False
    found = path.compile(use.path, run.resource.fhir_type)(run.resource)
    items = [Item(each, None, getattr(each, "fhir_type", "code"), (None, "", -1)) for each in found]
    wanted = {(use.system, use.code), (None, use.code)}
    return any(coding in wanted for item in items for coding in codings_of(item))


def _bound(binding: Binding, item: Item, run: ProfileRun) -> None:
    if item.type not in _CODED or item.value is None:
        return
    codings = codings_of(item)
    verdict = verdict_of(run.library.value_sets, binding.value_set, codings)
    if verdict:
        return
    if verdict is None and codings:
        run.note("not-supported", f"the code could not be checked: the content of "
                 f"{binding.value_set} is not here", item.place, "information")  # fmt: skip
        return
    found = ", ".join(f"'{system or ''}|{code}'" if system is not None else f"'{code}'"
                      for system, code in codings)  # fmt: skip  # One list.
    if not codings:
        if binding.strength not in {"required", "maximum"} or _is_excused(item):
            return
        found = "a text or unit alone"
    severity = "warning" if binding.strength in _WARNINGS else "error"
    needed = "needed" if severity == "error" else f"expected ({binding.strength})"
    run.note("code-invalid", f"{found:.300}: a code of {binding.value_set} is {needed}",
             item.place, severity)  # fmt: skip  # One sentence.


def _is_excused(item: Item) -> bool:
    """Whether extensions say why there is no code."""
    value = item.value.concept if item.type == "CodeableReference" else item.value
    if value is UNSET:
        return True
    is_quantity = item.type == "Quantity" and value.unit is UNSET
    return is_quantity or value.extension is not UNSET


def codings_of(item: Item) -> list[tuple[str | None, str]]:
    """(system, code) of every coding in a coded value; a plain code has the system None."""
    value = item.value
    if isinstance(value, str):
        return [(None, value)]
    if item.type == "CodeableReference":
        value = value.concept
    if value is UNSET or value is None:
        return []
    coding = getattr(value, "coding", None)
    listed = [value] if coding is None else () if coding is UNSET else coding
    return [
        ("" if each.system is UNSET else each.system, each.code)
        for each in listed
        if each.code is not UNSET
    ]


def verdict_of(
    value_sets: ValueSets, url: str, codings: list[tuple[str | None, str]]
) -> bool | None:
    """Whether one of the codings is in the value set; None when that cannot be told."""
    verdicts = [value_sets.holds(url, system, code) for system, code in codings]
    if True in verdicts:
        return True
    return None if None in verdicts or not verdicts else False


@cache
def _base_keys() -> frozenset[str]:
    return frozenset(rule.key for each in facts().types.values() for rule in each.invariants)


def constraints_check(node: Node) -> Check | None:
    """The profile's own invariants; R5's are checked with R5's rules."""
    kept = [Rule(each) for each in node.constraints if each.key not in _base_keys()]
    if not kept:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        for each in kept:
            each(item, run)

    return check


class Hooks:
    """What FHIRPath may ask while it runs: the resources around, value sets and profiles."""

    def __init__(self, run: ProfileRun) -> None:
        self._run = run

    def resolve(self, address: str) -> Any | None:
        """A contained resource or an entry of the Bundle."""
        found = self._run.resolve(address)
        return None if found is None else found[0]

    def member_of(self, item: Any, value_set: str) -> bool | None:
        """By the value sets of the library."""
        value = item.value if isinstance(item, Typed) else item
        kind = getattr(value, "fhir_type", "code")
        place = (None, kind, -1)
        codings = codings_of(Item(value, None, kind, place))
        return verdict_of(self._run.library.value_sets, value_set, codings)

    def conforms_to(self, item: Any, profile: str) -> bool | None:
        """By the profiles of the library; a type's own address asks for the type."""
        kind = getattr(item, "fhir_type", "")
        asked = self._run.library.type_of(profile)
        if asked and asked != kind and not facts().is_a(kind, asked):
            return False
        return self._run.conforms(Item(item, None, kind, (None, kind, -1)), profile)

    def trace(self, name: str, items: list[Any]) -> None:
        """Not noted."""

    def terminology(self, operation: str, given: list[Any], parameters: str) -> Any | None:
        """By the value sets of the library, where they are a whole terminology."""
        known = self._run.library.value_sets
        if not isinstance(known, TerminologyLibrary):
            return None
        return terminology(known, operation, given, parameters)

    def slice(self, items: list[Any], profile: str, name: str) -> list[Any] | None:
        """By the slices of a profile of the library."""
        from dmed.fhir.profile.named import slice_of

        return slice_of(items, profile, name, self._run)


class Rule:
    """One invariant, compiled for each type that it meets."""

    __slots__ = ("_compiled", "_given")

    def __init__(self, given: Constraint) -> None:
        self._given = given
        self._compiled: dict[str, path.Expression | str] = {}

    def __call__(self, item: Item, run: ProfileRun, /) -> None:
        """Note a fault when the rule does not hold."""
        compiled = self._compiled.get(item.type)
        if compiled is None:
            compiled = self._compiled[item.type] = self._compile(item.type)
        key, severity, expression, human = self._given
        if isinstance(compiled, str):
            run.note("not-supported", f"the rule {key} cannot be run: {compiled}", item.place,
                     "information")  # fmt: skip  # One sentence.
            return
        focus = item.value
        if not isinstance(focus, msgspec.Struct) and (item.ext is not None or focus is None):
            focus = Typed(focus, item.type, item.ext)
        try:
            holds = compiled.test(focus, resource=run.resource, root=run.root, hooks=Hooks(run))
        except path.PathExecutionError as error:
            human, holds = f"{human} ({error})", None
        if holds is not True:
            words = f"the rule {key} is broken: {human or expression}"
            run.note("invariant", words, item.place, "error" if severity == "error" else "warning")

    def _compile(self, kind: str) -> path.Expression | str:
        try:
            return path.compile(self._given.expression, kind)
        except path.PathError as error:
            return str(error)
