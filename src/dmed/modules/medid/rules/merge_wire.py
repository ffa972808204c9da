"""What Patient/$merge asks and answers look like on the wire, and its OperationDefinition.

https://hl7.org/fhir/R5/patient-operation-merge.html (draft there and in R6; the shape is the same).
Of ours: a `reason` in words, which every merge here keeps.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dmed.fhir import codec, validate
from dmed.fhir.persons import replaced_by
from dmed.kit.errors import InvalidError

Record = dict[str, Any]
Number = tuple[str, str]
REASON = "asked for by Patient/$merge"
"""What a merge keeps where the caller says no reason."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_PLACE = "Parameters.parameter"
_NUMBERS_MAX = 20
PARAMETERS = {
    "source-patient": "valueReference", "target-patient": "valueReference",
    "source-patient-identifier": "valueIdentifier", "target-patient-identifier": "valueIdentifier",
    "preview": "valueBoolean", "reason": "valueString", "result-patient": "resource",
}  # fmt: skip  # A table.
"""Each parameter with where its value stands."""
_LISTS = frozenset({"source-patient-identifier", "target-patient-identifier"})


class Side(msgspec.Struct, frozen=True):
    """How one of the two cards is named: by its id, by numbers, or by both."""

    name: str
    id: str = ""
    numbers: tuple[Number, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """A read $merge."""

    source: Side
    target: Side
    result: Record | None
    """The card that shall stand in the end, as the caller wishes it."""
    is_preview: bool
    reason: str
    body: bytes
    """The Parameters as they came: they are told back."""


def read(body: bytes) -> Asked:
    """The parameters of $merge; InvalidError for everything that cannot be read of them."""
    parameters = codec.decode(body, "Parameters")
    given: dict[str, list[Any]] = {}
    for each in parameters.parameter or ():
        if each.name not in PARAMETERS:
            raise InvalidError(f"$merge takes no parameter {each.name[:60]!r}", _PLACE)
        value = getattr(each, PARAMETERS[each.name])
        if value is msgspec.UNSET:
            raise InvalidError(f"{each.name} takes {PARAMETERS[each.name]}", _PLACE)
        given.setdefault(each.name, []).append(value)
    for name, values in given.items():
        if len(values) > (_NUMBERS_MAX if name in _LISTS else 1):
            raise InvalidError(f"{name} is given too often", _PLACE)
    result = _one(given, "result-patient")
    reason = _one(given, "reason") or REASON
    return Asked(_side(given, "source"), _side(given, "target"),
                 None if result is None else _result(result), bool(_one(given, "preview")),
                 reason[:1000], body)


def _one(given: dict[str, list[Any]], name: str) -> Any:
    return given.get(name, [None])[0]


def _side(given: dict[str, list[Any]], name: str) -> Side:
    reference = _one(given, f"{name}-patient")
    numbers = []
    for one in given.get(f"{name}-patient-identifier", []):
        if not isinstance(one.value, str) or not one.value:
            raise InvalidError(f"{name}-patient-identifier has no value", _PLACE)
        numbers.append((one.system if isinstance(one.system, str) else "", one.value))
    if reference is None and not numbers:
        raise InvalidError(
            f"{name}-patient or {name}-patient-identifier says which card is meant", _PLACE)
    if reference is None:
        return Side(name, "", tuple(numbers))
    address = reference.reference if isinstance(reference.reference, str) else ""
    kind, _, id_ = address.rpartition("/")
    if kind.rpartition("/")[2] != "Patient" or not id_:
        raise InvalidError(f"{name}-patient refers to a Patient: Patient/[id]", _PLACE)
    return Side(name, id_, tuple(numbers))


def _result(patient: Any) -> Record:
    if patient.fhir_type != "Patient":
        raise InvalidError("result-patient holds a Patient", _PLACE)
    wrong = tuple(one for one in validate.validate(patient) if one.severity in {"error", "fatal"})
    if wrong:
        raise InvalidError(issues=wrong)
    found: Record = msgspec.json.decode(codec.encode(patient))
    return found


def settled(composed: Record, given: Record) -> tuple[Record, list[str]]:
    """The card as the caller wishes it, and what forbids it: it must be the surviving card, keep
    every number and link that the merge gives it, and be active.
    """
    against = []
    if given.get("id") != composed["id"]:
        against.append(f"result-patient is not target-patient: its id is {composed['id']}")
    kept = {(one.get("system"), one.get("value")) for one in given.get("identifier", [])}
    against += [
        f"result-patient lacks the identifier {one.get('system', '')}|{one.get('value', '')}"
        for one in composed.get("identifier", [])
        if (one.get("system"), one.get("value")) not in kept]
    against += [
        f"result-patient lacks the link {one.get('type')} to {one['other'].get('reference', '')}"
        for one in composed.get("link", []) if one not in given.get("link", [])]
    if replaced_by(given) or given.get("active") is False:
        against.append("result-patient is the card that stands: it is active and not replaced")
    return {**given, "id": composed["id"]}, against


def answer(asked: Asked, result: Record, warnings: list[str], said: list[str]) -> bytes:
    """The Parameters of the answer; `said` are sentences of what was done or would be done."""
    issues = [{"severity": "information", "code": "informational", "diagnostics": one}
              for one in said]
    issues += [{"severity": "warning", "code": "business-rule", "diagnostics": one}
               for one in warnings]
    return _ENCODER.encode({"resourceType": "Parameters", "parameter": [
        {"name": "input", "resource": msgspec.Raw(asked.body)},
        {"name": "outcome", "resource": {"resourceType": "OperationOutcome", "issue": issues}},
        {"name": "result", "resource": result}]})


def _parameter(name: str, use: str, type_: str, said: str, most: str = "1") -> Record:
    return {"name": name, "use": use, "min": int(use == "out" and name == "return"), "max": most,
            "documentation": said, "type": type_}


DEFINITION: Record = {
    "resourceType": "OperationDefinition", "id": "Patient-merge",
    "url": "https://dmed.uz/fhir/OperationDefinition/Patient-merge", "name": "PatientMerge",
    "title": "Merge two cards of one person", "status": "active", "kind": "operation",
    "affectsState": True, "code": "merge",
    "base": "http://hl7.org/fhir/OperationDefinition/Patient-merge",
    "resource": ["Patient"], "system": False, "type": True, "instance": False,
    "description": (
        "Links two cards of one person: the source becomes inactive and names the target, which "
        "takes over what it lacks. Records stay with their card and answer under both. A merge is "
        "undone by its number at /persons/merges."),
    "parameter": [
        _parameter("source-patient", "in", "Reference", "The card that is merged away"),
        _parameter("source-patient-identifier", "in", "Identifier",
                   "Its numbers, instead or beside", "*"),
        _parameter("target-patient", "in", "Reference", "The card that stands"),
        _parameter("target-patient-identifier", "in", "Identifier",
                   "Its numbers, instead or beside", "*"),
        _parameter("result-patient", "in", "Patient",
                   "The standing card as it shall be: with all numbers and links of the merge"),
        _parameter("preview", "in", "boolean", "Nothing is done, what would be done is told"),
        _parameter("reason", "in", "string", "Why, in words: kept with the merge"),
        _parameter("return", "out", "Parameters", "input, outcome, result"),
    ],
}  # fmt: skip  # A table.
"""What is served, kept in the store by a job."""
