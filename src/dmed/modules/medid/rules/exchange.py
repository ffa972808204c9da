"""What asks and answers about persons look like on the wire: `$match`, `$ihe-pix`, `$find-person`.

https://hl7.org/fhir/R5/patient-operation-match.html; modelled on IHE PDQm (ITI-119) and PIXm
(ITI-83), which are written for R4: the same shapes on R5, so likeness is claimed, not conformance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dmed.fhir import codec, validate
from dmed.kit.errors import InvalidError, UnprocessableError

MATCH_GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
FIELD_EXTENSION = "https://dmed.uz/fhir/StructureDefinition/match-field"
"""Beside each match: what every field said, in bits."""
COUNT_MAX = 16
_CERTAIN = 0
_GRADES = ("certain", "probable", "possible", "certainly-not")
_PAIR_BYTES_MAX = 500

_encoder = msgspec.json.Encoder(decimal_format="number")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A read `$match`: `patient` is its struct, `record` the same as a dict."""

    patient: Any
    record: dict[str, Any]
    only_certain: bool = False
    only_single: bool = False
    count: int = COUNT_MAX


class Entry(msgspec.Struct, frozen=True):
    """A card in an answer, its body as it is stored."""

    url: str
    body: bytes
    search: dict[str, Any]


def read_match(body: bytes) -> Asked:
    """A Parameters resource, or the Patient alone; InvalidError lists every fault.

    UnprocessableError where nothing is said by which anybody could be found.
    """
    kind = _kind(body)
    if kind == "Patient":
        return _asked(codec.decode(body, "Patient"), {})
    if kind != "Parameters":
        raise InvalidError("$match takes a Parameters resource or a Patient")
    given: dict[str, Any] = {}
    patient: Any = None
    for each in codec.decode(body, "Parameters").parameter or ():
        if each.name == "resource":
            if patient is not None:
                raise InvalidError("one resource at most is matched", "Parameters.parameter")
            patient = each.resource
        elif each.name in _KINDS:
            value = getattr(each, _KINDS[each.name])
            if value is msgspec.UNSET:
                raise InvalidError(
                    f"{each.name} takes {_KINDS[each.name]}", "Parameters.parameter")
            given[each.name] = value
    if patient is None or patient is msgspec.UNSET or patient.fhir_type != "Patient":
        raise InvalidError("the parameter resource holds the Patient", "Parameters.parameter")
    return _asked(patient, given)


_KINDS = {"onlyCertainMatches": "valueBoolean", "onlySingleMatch": "valueBoolean",
          "count": "valueInteger"}


def _kind(body: bytes) -> str:
    try:
        read = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise InvalidError("The body cannot be read as JSON") from fault
    return str(read.get("resourceType", ""))


def _asked(patient: Any, given: dict[str, Any]) -> Asked:
    faults = tuple(one for one in validate.validate(patient) if one.severity in {"error", "fatal"})
    if faults:
        raise InvalidError(issues=faults)
    count = given.get("count", COUNT_MAX)
    if count < 1:
        raise InvalidError("count is at least 1", "Parameters.parameter")
    record = msgspec.json.decode(codec.encode(patient))
    if not any(record.get(name) for name in ("identifier", "name", "telecom")):
        raise UnprocessableError(
            "Nobody is found by this: give a name, a phone or an identifier", "Patient")
    return Asked(
        patient=patient, record=record, only_certain=given.get("onlyCertainMatches", False),
        only_single=given.get("onlySingleMatch", False), count=min(count, COUNT_MAX))


def match_search(score: float, grade: str, fields: Iterable[tuple[str, str, float]]) -> dict[
        str, Any]:
    """`entry.search` of a match: its score from 0 to 1, its grade, and what each field said."""
    told = [{"url": FIELD_EXTENSION, "extension": [
        {"url": "field", "valueCode": name}, {"url": "level", "valueCode": level},
        {"url": "weight", "valueDecimal": round(weight, 2)}]} for name, level, weight in fields]
    return {"extension": [{"url": MATCH_GRADE, "valueCode": grade}, *told], "mode": "match",
            "score": round(min(max(score, 0.0), 1.0), 4)}


def chosen(grades: Sequence[str], asked: Asked) -> list[int]:
    """Which of the scored, strongest first, are told: places in their order.

    Never who is certainly another; with `onlyCertainMatches` only the certain; with
    `onlySingleMatch` the strongest, and nobody where a second is of the same grade.
    """
    fitting = [at for at, grade in enumerate(grades)
               if grade != _GRADES[-1] and (not asked.only_certain or grade == _GRADES[_CERTAIN])]
    if asked.only_single:
        is_alone = len(fitting) < 2 or grades[fitting[0]] != grades[fitting[1]]
        return fitting[:1] if is_alone else []
    return fitting[: asked.count]


def searchset(entries: Sequence[Entry], self_url: str, note: str = "") -> bytes:
    """A Bundle of type searchset, bodies as they are stored; `note` becomes an outcome entry."""
    rows: list[dict[str, Any]] = [
        {"fullUrl": one.url, "resource": msgspec.Raw(one.body), "search": one.search}
        for one in entries]
    if note:
        rows.append({"resource": {"resourceType": "OperationOutcome", "issue": [
            {"severity": "information", "code": "informational", "diagnostics": note}]},
            "search": {"mode": "outcome"}})
    bundle: dict[str, Any] = {
        "resourceType": "Bundle", "type": "searchset", "total": len(entries),
        "link": [{"relation": "self", "url": self_url}]}
    if rows:
        bundle["entry"] = rows
    return _encoder.encode(bundle)


# Identifiers across domains ------------------------------------------------------------------


def read_token(text: str) -> tuple[str, str]:
    """(system, value) of `system|value`; InvalidError for another text."""
    system, bar, value = text.partition("|")
    if not bar or not system or not value or len(text) > _PAIR_BYTES_MAX:
        raise InvalidError("sourceIdentifier is system|value", "sourceIdentifier")
    return system, value


def crossed(
    cards: Sequence[dict[str, Any]], source: tuple[str, str], systems: Sequence[str]
) -> list[dict[str, Any]]:
    """The parameters of an answer: each card as targetId, each identifier as targetIdentifier.

    Without the one that was asked by; of `systems` alone where some are named. Superseded and
    unproven numbers (use old, temp) are left out.
    """
    made: list[dict[str, Any]] = []
    seen = {source}
    for card in cards:
        own = []
        for each in card.get("identifier", []):
            key = (each.get("system", ""), each.get("value", ""))
            if not all(key) or key in seen or each.get("use") in ("old", "temp"):
                continue
            if systems and key[0] not in systems:
                continue
            seen.add(key)
            kept = {name: each[name] for name in ("use", "type", "system", "value")
                    if name in each}
            own.append({"name": "targetIdentifier", "valueIdentifier": kept})
        if own or not systems:
            made += [*own, {"name": "targetId",
                            "valueReference": {"reference": f"Patient/{card['id']}"}}]
    return made


def linked(card: dict[str, Any]) -> list[str]:
    """Ids of the cards that a card says are the same person's (link replaced-by, replaces...)."""
    found = []
    for each in card.get("link", []):
        reference = each.get("other", {}).get("reference", "")
        if reference.startswith("Patient/"):
            found.append(reference.removeprefix("Patient/").partition("/")[0])
    return list(dict.fromkeys(found))


def linked_numbers(card: dict[str, Any]) -> list[tuple[str, str]]:
    """The same where a link names the other card by an identifier, as feeds of ITI-104 do."""
    found = []
    for each in card.get("link", []):
        named = each.get("other", {}).get("identifier", {})
        if named.get("system") and named.get("value"):
            found.append((named["system"], named["value"]))
    return found
