"""Required bindings: codes against the value sets in the facts.

https://hl7.org/fhir/R5/terminologies.html#required. A system without content here (UCUM, BCP 47,
MIME types, terminology.hl7.org) is "not checked": counted, never passed in silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.validate_run import Place, Run, any_of

CodeCheck: TypeAlias = Callable[[Any, Place, Run], None]


class _Codes:
    """The codes of one value set, ready for look-ups."""

    def __init__(self, url: str) -> None:
        known = facts().value_sets[url]
        self.url = url
        self.plain = frozenset(code for codes in known.systems.values() for code in codes)
        self.pairs = frozenset((s, code) for s, codes in known.systems.items() for code in codes)
        self.systems = known.systems
        self.unchecked = frozenset(known.unchecked)

    def said(self, code: str) -> str:
        """The codes that are allowed, for a sentence: all of few, the nearest of many."""
        words = sorted(self.plain)
        near = difflib.get_close_matches(code, words, 1) if len(code) < 64 else []
        hint = f"; did you mean {near[0]}?" if near and len(words) > 12 else ""
        return any_of(words) + hint

    def holds(self, system: str, code: str) -> bool | None:
        """Whether a coding is in the set; None where that system has no content here."""
        if (system, code) in self.pairs:
            return True
        return None if system in self.unchecked or "*" in self.unchecked else False


@cache
def _codes(url: str) -> _Codes:
    return _Codes(url)


def plain_codes(url: str) -> frozenset[str]:
    """The codes of a value set, of whatever system."""
    return _codes(url).plain


def code_check(url: str, type_code: str) -> CodeCheck:
    """The check of one element's value against a required value set, by the element's type."""
    makers = {
        "Coding": _coding,
        "CodeableConcept": _concept,
        "CodeableReference": _reference,
        "Quantity": _quantity,
    }
    return makers.get(type_code, _plain)(_codes(url))


def _plain(codes: _Codes) -> CodeCheck:
    def check(value: Any, place: Place, run: Run) -> None:
        if value in codes.plain:
            return
        if codes.unchecked:
            run.not_checked(codes.url)
        else:
            run.fault("code-invalid", f"'{value:.60}' is not one of {codes.said(value)}", place)

    return check


def _verdict(codes: _Codes, coding: Any) -> bool | None:
    system = "" if coding.system is UNSET else coding.system
    code = "" if coding.code is UNSET else coding.code
    return codes.holds(system, code)


def _said(coding: Any) -> str:
    system = "" if coding.system is UNSET else coding.system
    code = "" if coding.code is UNSET else coding.code
    return f"{system:.100}|{code:.60}"


def _coding(codes: _Codes) -> CodeCheck:
    def check(value: Any, place: Place, run: Run) -> None:
        holds = _verdict(codes, value)
        if holds is None:
            run.not_checked(codes.url)
        elif not holds and not (value.code is UNSET and value.extension is not UNSET):
            run.fault("code-invalid", f"'{_said(value)}' is not in {_short(codes)}", place)

    return check


def _concept(codes: _Codes) -> CodeCheck:
    def check(value: Any, place: Place, run: Run) -> None:
        codings = () if value.coding is UNSET else value.coding
        verdicts = [_verdict(codes, each) for each in codings]
        if True in verdicts:
            return
        if None in verdicts:
            run.not_checked(codes.url)
        elif verdicts or value.extension is UNSET:
            found = ", ".join(f"'{_said(each)}'" for each in codings) or "no coding"
            run.fault("code-invalid", f"{found}: a code of {_short(codes)} is needed", place)

    return check


def _reference(codes: _Codes) -> CodeCheck:
    inner = _concept(codes)

    def check(value: Any, place: Place, run: Run) -> None:
        if value.concept is not UNSET:
            inner(value.concept, (place, "concept", -1), run)

    return check


def _quantity(codes: _Codes) -> CodeCheck:
    def check(value: Any, place: Place, run: Run) -> None:
        if value.code is UNSET:
            return
        holds = codes.holds("" if value.system is UNSET else value.system, value.code)
        if holds is None:
            run.not_checked(codes.url)
        elif not holds:
            run.fault("code-invalid", f"the unit '{_said(value)}' is not in {codes.url}", place)

    return check


def _short(codes: _Codes) -> str:
    if not codes.plain:
        return codes.url
    return f"{codes.url} ({', '.join(codes.systems)}: {any_of(sorted(codes.plain))})"
