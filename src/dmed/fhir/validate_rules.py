"""Base invariants: which rule runs where, and how. https://hl7.org/fhir/R5/conformance-rules.html

Rules are FHIRPath from the facts, compiled once. Presence of fields decides most of them before
FHIRPath is called. A few that stand on almost every element are written in Python for speed;
NOT_RUN lists those that cannot be decided from one record, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from msgspec import UNSET

from dmed.fhir import path
from dmed.fhir.facts import Invariant, facts
from dmed.fhir.path.parser import parse
from dmed.fhir.path.tree import Node
from dmed.fhir.validate_presence import Known, decide, names_in
from dmed.fhir.validate_run import Place, Run
from dmed.fhir.walk import local_addresses

Rule: TypeAlias = Callable[[Any, Run], str]
"""Why a value breaks the rule, as a sentence; an empty text when it holds."""

_STORE = "needs the record it refers to, which only the store has"
_TERMINOLOGY = "asks whether a code is in a value set; required bindings are checked on their own"
NOT_RUN: dict[str, str] = {
    "ele-1": "the codec refuses empty elements, and the checks refuse elements with an id alone",
    "txt-1": "checked as the form of the narrative, in Python",
    "txt-2": "checked as the form of the narrative, in Python",
    "apd-1": _STORE,
    "dgr-1": _STORE,
    "enc-2": _STORE,
    "obs-9": _STORE,
    "prc-1": _STORE,
    "prov-1": _STORE,
    "prov-2": _STORE,
    "prov-3": _STORE,
    "eld-11": "its text asks `contains` of several values, which FHIRPath refuses",
    "que-2": "161 questionnaires among the official examples break it, made by HL7's own generator",
    "exs-1": _TERMINOLOGY,
    "opd-3": _TERMINOLOGY,
}
"""Rules with severity error that are not evaluated, each with its reason."""


UNDECIDED: dict[str, str] = {
    "rng-2": "quantities",
    "ratrng-2": "quantities",
    "per-1": "dates",
    "app-5": "dates",
    "mdd-1": "dates",
    "inv-1": "dates (of Task)",
}
"""Rules that compare what cannot always be compared (units without UCUM, dates of different
precision): with no result they hold. Any other rule that is not true is broken."""


_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_ABATED = frozenset({"inactive", "resolved", "remission"})


class Guarded:
    """A rule with what presence alone says about it, learnt as masks of fields are met."""

    __slots__ = ("_bits", "_check", "_memo", "_node", "_type_name", "expression", "key", "mask")

    def __init__(self, invariant: Invariant, type_name: str, bits: Mapping[str, int]) -> None:
        self.key = invariant.key
        self.expression = expression_of(invariant)
        self._type_name = type_name
        self._node: Node = parse(self.expression)
        self._bits = {n: bits[n] for n in names_in(self._node, type_name) if n in bits}
        self._memo: dict[int, Known] = {}
        self.mask = 0
        for bit in self._bits.values():
            self.mask |= bit
        self._check: Callable[[Any, Place, Run], None] | None = None

    def known(self, present: int) -> Known:
        """What presence alone says: TRUE, FALSE, or OPEN when the rule must be evaluated."""
        relevant = present & self.mask
        known = self._memo.get(relevant)
        if known is None:
            known = self._memo[relevant] = self._decide(relevant)
        return known

    def check(self) -> Callable[[Any, Place, Run], None]:
        """What evaluates the rule on a value and notes a fault when it is broken."""
        if self._check is None:
            self._check = self._made()
        return self._check

    def _made(self) -> Callable[[Any, Place, Run], None]:
        key = self.key
        rule = NATIVE.get(key) or compiled(key, self.expression, self._type_name)

        def check(value: Any, place: Place, run: Run) -> None:
            reason = rule(value, run)
            if reason:
                run.fault("invariant", f"the rule {key} is broken: {reason}", place)

        return check

    def refuse(self, _value: Any, place: Place, run: Run) -> None:
        """Note that presence alone breaks the rule."""
        run.fault("invariant", f"the rule {self.key} is broken: {self.expression}", place)

    def _decide(self, relevant: int) -> Known:
        def is_present(name: str) -> bool | None:
            return bool(relevant & self._bits[name]) if name in self._bits else None

        known = decide(self._node, self._type_name, is_present)
        return known if known in {Known.TRUE, Known.FALSE} else Known.OPEN


def expression_of(invariant: Invariant) -> str:
    """A rule's expression on its type; one that stands on a plain field is asked of each value."""
    path = invariant.path
    if "." not in path or path in facts().types:
        return invariant.expression
    field = path.rpartition(".")[2].removesuffix("[x]")
    return f"{field}.all({invariant.expression})"


def rules_of(type_name: str, bits: Mapping[str, int]) -> Iterator[Guarded]:
    """The rules of a type, its own and inherited ones; `bits` is the presence bit of each field."""
    name = type_name
    while name in facts().types:
        found = facts().types[name]
        for invariant in found.invariants:
            is_repeated = invariant.key == "ext-1" and invariant.path != "Extension"
            if invariant.severity == "error" and invariant.key not in NOT_RUN and not is_repeated:
                yield Guarded(invariant, type_name, bits)
        name = found.base


def compiled(key: str, expression: str, type_name: str) -> Rule:
    """The rule as a closure over FHIRPath; a rule that is not true is broken, but see UNDECIDED."""
    test = path.compile(expression, type_name).test
    accepted = (True, None) if key in UNDECIDED else (True,)

    def rule(value: Any, run: Run) -> str:
        try:
            holds = test(value, resource=run.resource, root=run.root)
        except path.PathExecutionError as error:
            return f"{expression} ({error})"
        return "" if holds in accepted else expression

    return rule


def _ref_1(value: Any, run: Run) -> str:
    reference = value.reference
    if reference is UNSET or not reference.startswith("#"):
        return ""
    if reference == "#" and run.root is not run.resource:
        return ""
    contained = getattr(run.root, "contained", UNSET)
    ids = () if contained is UNSET else [each.id for each in contained]
    return "" if reference[1:] in ids else f"no contained resource has the id '{reference[1:]}'"


@cache
def _whole(type_name: str, key: str) -> Rule:
    """A rule as its expression has it, for what is not sound at a glance."""
    [rule] = [each for each in facts().types[type_name].invariants if each.key == key]
    return compiled(rule.key, rule.expression, type_name)


def _per_1(value: Any, run: Run) -> str:
    """Most periods are sound at a glance: same form, same zone, in order."""
    start, end = value.start, value.end
    if start is not UNSET and end is not UNSET:
        shortest = min(len(start), len(end))
        is_plain = "T" not in start and "T" not in end
        is_alike = len(start) == len(end) and start[19:] == end[19:]
        if (is_plain or is_alike) and start[:shortest] <= end[:shortest]:
            return ""
    return _whole("Period", "per-1")(value, run)


def _con_3(value: Any, run: Run) -> str:
    """What has abated is inactive: most conditions say so with the first code."""
    status = value.clinicalStatus
    for each in () if status is UNSET or status.coding is UNSET else status.coding:
        if each.system == _CLINICAL and each.code in _ABATED:
            return ""
    return _whole("Condition", "con-3")(value, run)


def _is_shown(value: Any, name: str) -> bool:
    """Whether the narrative shows or links to a contained resource, as narrative.html allows."""
    div = UNSET if value.text is UNSET else value.text.div
    return div is not UNSET and re.search(rf"""["']#{re.escape(name)}["']""", div) is not None


def _dom_3(value: Any, _run: Run) -> str:
    named = local_addresses(value)
    for each in value.contained:
        is_named = each.id is UNSET or f"#{each.id}" in named
        if not is_named and "#" not in local_addresses(each) and not _is_shown(value, each.id):
            return f"the contained resource '{each.id}' is referred to from nowhere"
    return ""


def _csd_1(value: Any, _run: Run) -> str:
    """As the expression has it: the codes at the top and those from the third level down."""
    if value.concept is UNSET:
        return ""
    seen: set[str] = set()
    level, depth = value.concept, 1
    while level:
        codes = [each.code for each in level if each.code is not UNSET]
        if depth != 2:
            for code in codes:
                if code in seen:
                    return f"the code '{code}' stands more than once"
                seen.add(code)
        level = [each for above in level if above.concept is not UNSET for each in above.concept]
        depth += 1
    return ""


def _ctm_1(value: Any, _run: Run) -> str:
    """By the type that the reference names; where it names none, only the store could tell."""
    if value.onBehalfOf is UNSET or value.member is UNSET:
        return "" if value.onBehalfOf is UNSET else "who acts on behalf of it is missing"
    address = value.member.reference
    name = "" if address is UNSET else address.rpartition("/")[0].rpartition("/")[2]
    if not name or name not in facts().resources or name == "Practitioner":
        return ""
    return f"only a Practitioner acts on behalf of an organisation, not a {name}"


NATIVE: dict[str, Rule] = {
    "ctm-1": _ctm_1,
    "ref-1": _ref_1,
    "dom-3": _dom_3,
    "per-1": _per_1,
    "con-3": _con_3,
    "csd-1": _csd_1,
}
"""Rules in Python, because they are asked often or are slow; a test compares them with FHIRPath."""
