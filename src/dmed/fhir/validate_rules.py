"""Base invariants: which rule runs where, and how. https://hl7.org/fhir/R5/conformance-rules.html

Rules are FHIRPath from the facts, compiled once. Presence of fields decides most of them before
FHIRPath is called. A few that stand on almost every element are written in Python for speed;
NOT_RUN lists those that cannot be decided from one record, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from msgspec import UNSET

from dmed.fhir.facts import Invariant, facts
from dmed.fhir.path.parser import parse
from dmed.fhir.path.tree import Node
from dmed.fhir.validate_narrative import narrative_fault
from dmed.fhir.validate_presence import Known, decide, names_in
from dmed.fhir.validate_run import Place, Run

Rule: TypeAlias = Callable[[Any, Place, Run], str]
"""Why a value breaks the rule, as a sentence; an empty text when it holds."""

_STORE = "needs the record it refers to, which only the store has"
_TERMINOLOGY = "asks whether a code is in a value set; required bindings are checked on their own"
NOT_RUN: dict[str, str] = {
    "ele-1": "the codec refuses empty elements, and the checks refuse elements with an id alone",
    "txt-2": "checked together with txt-1",
    "apd-1": _STORE,
    "ctm-1": _STORE,
    "dgr-1": _STORE,
    "enc-2": _STORE,
    "obs-9": _STORE,
    "prc-1": _STORE,
    "prov-1": _STORE,
    "prov-2": _STORE,
    "prov-3": _STORE,
    "exs-1": _TERMINOLOGY,
    "opd-3": _TERMINOLOGY,
}
"""Rules with severity error that are not evaluated, each with its reason."""


class Guarded:
    """A rule with what presence alone says about it, learnt as masks of fields are met."""

    __slots__ = ("_bits", "_memo", "_node", "_type_name", "expression", "key", "mask", "rule")

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
        self.rule = NATIVE.get(invariant.key) or compiled(self.expression, type_name)

    def check(self, value: Any, present: int, place: Place, run: Run) -> None:
        """Note a fault when the rule is broken; `present` has a bit for each field that is set."""
        relevant = present & self.mask
        known = self._memo.get(relevant)
        if known is None:
            known = self._memo[relevant] = self._decide(relevant)
        if known is Known.TRUE:
            return
        if known is Known.FALSE:
            run.fault("invariant", f"the rule {self.key} is broken: {self.expression}", place)
        elif self.rule is not None:
            reason = self.rule(value, place, run)
            if reason:
                run.fault("invariant", f"the rule {self.key} is broken: {reason}", place)

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


def compiled(expression: str, type_name: str) -> Rule | None:
    """The rule as a closure over FHIRPath."""
    return None


def _ref_1(value: Any, _place: Place, run: Run) -> str:
    reference = value.reference
    if reference is UNSET or not reference.startswith("#"):
        return ""
    if reference == "#" and run.root is not run.resource:
        return ""
    contained = getattr(run.root, "contained", UNSET)
    ids = () if contained is UNSET else [each.id for each in contained]
    return "" if reference[1:] in ids else f"no contained resource has the id '{reference[1:]}'"


def _txt_1(value: Any, _place: Place, _run: Run) -> str:
    return narrative_fault(value.div)


NATIVE: dict[str, Rule] = {"ref-1": _ref_1, "txt-1": _txt_1}
"""Rules in Python; a test compares ref-1 with its FHIRPath."""
