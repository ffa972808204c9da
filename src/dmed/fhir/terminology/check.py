"""$validate-code: whether a code, with its display, is good in a system or in a value set.

https://hl7.org/fhir/R5/valueset-operation-validate-code.html, codesystem-operation-validate-code.
Each fault is an issue with a code of `tx-issue-type`, the place in the request, and a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dmed.fhir.terminology.expand import display_of
from dmed.fhir.terminology.library import Library
from dmed.fhir.terminology.members import Members, Part
from dmed.fhir.terminology.model import Coding
from dmed.fhir.terminology.system import System, languages

TX_ISSUE = "http://hl7.org/fhir/tools/CodeSystem/tx-issue-type"
Parameter = dict[str, Any]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong; `kind` is a code of tx-issue-type."""

    kind: str
    text: str
    expression: str
    code: str = "code-invalid"
    severity: str = "error"


class Finding(msgspec.Struct, kw_only=True):
    """What is found of one coding; `verdict` None: it cannot be told here."""

    verdict: bool | None
    coding: Coding
    display: str = ""
    version: str = ""
    faults: list[Fault] = []


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question on codings; `path` is where they stand in the request ("" of a plain code)."""

    codings: tuple[Coding, ...]
    path: str = ""
    language: str = ""
    is_concept: bool = False
    no_abstract: bool = False
    infer_system: bool = False
    is_lenient: bool = False
    """A display that is no name of the code is a warning."""

    def place(self, number: int, name: str) -> str:
        """The FHIRPath of a part of one coding, from the request's parameters."""
        whole = f"{self.path}.coding[{number}]" if self.is_concept else self.path
        return f"{whole}.{name}" if whole else name


def in_system(library: Library, url: str, version: str, ask: Ask) -> list[Parameter]:
    """The output parameters of CodeSystem/$validate-code; `url` "" takes each coding's system."""
    found = [
        _in_system(library, url or one.system, version or one.version, one, ask, number)
        for number, one in enumerate(ask.codings)
    ]
    return _answer(found, ask)


def _in_system(
    library: Library, url: str, version: str, coding: Coding, ask: Ask, number: int
) -> Finding:
    meant = Coding(url, version, coding.code, coding.display)
    if not url:
        fault = _fault("invalid-data", f"The code {coding.code[:100]!r} names no system",
                       ask.place(number, "system"), "invalid")  # fmt: skip  # One thought.
        return Finding(verdict=False, coding=meant, faults=[fault])
    if coding.system and coding.system != url:
        text = f"The coding is of {coding.system[:200]}, not of {url[:200]}"
        fault = _fault("invalid-data", text, ask.place(number, "system"), "invalid")
        return Finding(verdict=False, coding=meant, faults=[fault])
    system = library.system(url, version)
    if system is None or not system.codes_are_known:
        return Finding(verdict=None, coding=meant, faults=[_no_system(meant, ask, number)])
    place = system.find(coding.code)
    if place is None:
        return Finding(
            verdict=not system.is_complete, coding=meant, version=system.version,
            faults=[_no_code(system, meant, ask, number)])  # fmt: skip  # One thought.
    part = Part((url, system.version), system, range(len(system)))
    return _named(part, place, meant, ask, number)


def in_set(library: Library, members: Members, name: str, ask: Ask) -> list[Parameter]:
    """The output parameters of ValueSet/$validate-code; `name` is the set's address."""
    found = [
        _in_set(library, members, name, one, ask, number)
        for number, one in enumerate(ask.codings)
    ]
    return _answer(found, ask)


def _in_set(
    library: Library, members: Members, name: str, coding: Coding, ask: Ask, number: int
) -> Finding:
    meant = coding
    if not coding.system:
        holders = [key[0] for key, part in members.parts.items() if part.holds(coding.code)]
        if not ask.infer_system or not holders:
            return _without_system(name, members, coding, ask, number)
        meant = Coding(holders[0], "", coding.code, coding.display)
    for key, part in members.parts.items():
        is_version = not meant.version or meant.version == key[1]
        if key[0] == meant.system and is_version and part.holds(meant.code):
            naming = part.naming
            place = None if naming is None else naming.find(meant.code)
            return _named(part, place, meant, ask, number)
    return _not_in_set(library, members, name, meant, ask, number)


def _without_system(
    name: str, members: Members, coding: Coding, ask: Ask, number: int
) -> Finding:
    if ask.infer_system:
        verdict = members.holds(None, coding.code)
        text = f"The code {coding.code[:100]!r} is not in the value set {name[:200]}"
        fault = _fault("not-in-vs", text, ask.place(number, "code"))
        return Finding(verdict=verdict, coding=coding, faults=[fault])
    text = "The coding names no system: without one a code cannot be looked up"
    fault = _fault("invalid-data", text, ask.place(number, "system"), "invalid")
    return Finding(verdict=False, coding=coding, faults=[fault])


def _not_in_set(
    library: Library, members: Members, name: str, coding: Coding, ask: Ask, number: int
) -> Finding:
    verdict: bool | None = members.holds(coding.system, coding.code)
    system = library.system(coding.system, coding.version)
    is_fragment = system is not None and system.codes_are_known and not system.is_complete
    if verdict is None and system is not None and is_fragment and "*" not in members.missing:
        # Of a fragment not all codes are here: an unknown one is let pass, with a warning.
        faults = [_no_code(system, coding, ask, number)]
        return Finding(verdict=True, coding=coding, version=system.version, faults=faults)
    if verdict is not None:
        verdict = False  # It may be there in another version than the one that is asked for.
    told = f"{coding.system[:200]}|{coding.code[:100]}"
    if verdict is None:
        text = f"Whether {told} is in the value set {name[:200]} cannot be told: content is missing"
        fault = _fault("vs-invalid", text, ask.place(number, "code"), "not-found")
    else:
        text = f"The code {told} is not in the value set {name[:200]}"
        fault = _fault("not-in-vs", text, ask.place(number, "code"))
    faults = [fault]
    place = None
    if system is None or not system.codes_are_known:
        faults.append(_no_system(coding, ask, number))
    else:
        place = system.find(coding.code)
        if place is None:
            faults.append(_no_code(system, coding, ask, number))
    display = "" if system is None or place is None else system.display(place, _wanted(ask))
    version = "" if system is None else system.version
    return Finding(verdict=verdict, coding=coding, display=display, version=version, faults=faults)


def _named(part: Part, place: int | None, coding: Coding, ask: Ask, number: int) -> Finding:
    """The finding on a code that is held: what is left is its display, and whether it is real."""
    system = part.system
    made = Finding(
        verdict=True, coding=coding, display=display_of(part, coding.code, place, _wanted(ask)),
        version=part.key[1])  # fmt: skip  # One thought.
    faults: list[Fault] = []
    if system is not None and place is not None:
        if place in system.abstract and ask.no_abstract:
            text = f"The code {coding.code[:100]!r} is abstract: it groups others"
            faults.append(_fault("code-rule", text, ask.place(number, "code"), "business-rule"))
        if place in system.inactive:
            text = f"The code {coding.code[:100]!r} is no longer active"
            faults.append(Fault(kind="code-comment", text=text, code="business-rule",
                                expression=ask.place(number, "code"), severity="warning"))
    if coding.display and not _is_name(part, place, coding):
        text = (
            f"{coding.display[:100]!r} is no name of {coding.system[:200]}|{coding.code[:100]}: "
            f"{made.display[:200]!r} is"
        )
        faults.append(Fault(kind="invalid-display", text=text, code="invalid",
                            expression=ask.place(number, "display"),
                            severity="warning" if ask.is_lenient else "error"))
    made.faults = faults
    if any(fault.severity == "error" for fault in faults):
        made.verdict = False
    return made


def _is_name(part: Part, place: int | None, coding: Coding) -> bool:
    given = _plain(coding.display)
    listed = part.listed.get(coding.code)
    names = [] if listed is None else [listed.display, *(n.value for n in listed.designation)]
    if part.naming is not None and place is not None:
        names.append(part.naming.displays[place])
        names += [name.value for name in part.naming.names(place)]
    known = {_plain(name) for name in names if name}
    return given in known or not known


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _wanted(ask: Ask) -> Sequence[str]:
    return languages(ask.language) if ask.language else ()


def _fault(kind: str, text: str, expression: str, code: str = "code-invalid") -> Fault:
    return Fault(kind=kind, text=text, expression=expression, code=code)


def _no_system(coding: Coding, ask: Ask, number: int) -> Fault:
    of = f", version {coding.version[:60]}" if coding.version else ""
    text = f"There is no content here of the code system {coding.system[:200]}{of}"
    return _fault("not-found", text, ask.place(number, "system"), "not-found")


def _no_code(system: System, coding: Coding, ask: Ask, number: int) -> Fault:
    if not system.is_complete:
        text = (
            f"The code {coding.code[:100]!r} is not in the part of {system.canonical[:200]} that "
            "is here: it cannot be checked"
        )
        return Fault(kind="invalid-code", text=text, code="code-invalid", severity="warning",
                     expression=ask.place(number, "code"))  # fmt: skip  # One thought.
    text = f"The code {coding.code[:100]!r} is not in {system.canonical[:200]}"
    return _fault("invalid-code", text, ask.place(number, "code"))


def _answer(found: list[Finding], ask: Ask) -> list[Parameter]:
    """One good coding of a concept makes it good, unless another is no code of its system; the
    first good one, else the first, is told.
    """
    shown = next((each for each in found if each.verdict), found[0])
    wrong = any(fault.kind == "invalid-code" and fault.severity == "error"
                for each in found for fault in each.faults)  # fmt: skip  # One thought.
    is_good = bool(shown.verdict) and not wrong
    made: list[Parameter] = [{"name": "result", "valueBoolean": is_good}]
    faults = shown.faults if is_good else [fault for each in found for fault in each.faults]
    errors = [fault.text for fault in faults if is_good or fault.severity == "error"]
    if errors:
        made.append({"name": "message", "valueString": "; ".join(errors)})
    for name, kind, value in (
        ("code", "valueCode", shown.coding.code),
        ("system", "valueUri", shown.coding.system),
        ("version", "valueString", shown.version),
        ("display", "valueString", shown.display),
    ):
        if value:
            made.append({"name": name, kind: value})
    if ask.is_concept:
        codings = [msgspec.to_builtins(one) for one in ask.codings]
        made.append({"name": "codeableConcept", "valueCodeableConcept": {"coding": codings}})
    if faults:
        outcome = {"resourceType": "OperationOutcome", "issue": [_issue(one) for one in faults]}
        made.append({"name": "issues", "resource": outcome})
    return made


def _issue(fault: Fault) -> dict[str, Any]:
    return {
        "severity": fault.severity,
        "code": fault.code,
        "details": {"coding": [{"system": TX_ISSUE, "code": fault.kind}], "text": fault.text},
        "expression": [fault.expression],
    }


