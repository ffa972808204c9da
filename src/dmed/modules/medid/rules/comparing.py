"""Two cards side by side for a person to decide: letters that differ, and why, field by field."""

from __future__ import annotations

from typing import Any

import msgspec

from dmed.modules.medid.model import Span
from dmed.modules.medid.rules import likeness, numbers, reading, scoring

Record = dict[str, Any]
_SCORED = {
    "family": ("family",), "given": ("given",), "patronymic": ("father",),
    "birth_date": ("birth",), "sex": ("sex",), "pinfl": ("pinfl",), "phone": ("phone",),
    "address": ("address", "district"),
}  # fmt: skip  # Which fields of the score speak of which row.


class Row(msgspec.Struct, frozen=True):
    """One field of two cards."""

    field: str
    """As in FieldPair."""
    left: tuple[Span, ...]
    right: tuple[Span, ...]
    verdict: str
    """"same", "alike", "different" or "unknown"."""
    weight: float
    """Bits for one person (above zero) or for two."""
    reasons: tuple[str, ...]
    """Keys of sentences that say why."""


class Comparison(msgspec.Struct, frozen=True):
    """The whole of it."""

    rows: tuple[Row, ...]
    weight: float
    probability: float
    grade: str
    """FHIR match-grade."""
    holds: tuple[str, ...]
    """Keys of sentences that forbid linking by a machine."""


def fields_of(patient: Record) -> dict[str, list[str]]:
    """The values of each field, the official or first one first."""
    names = sorted(patient.get("name", []), key=lambda one: one.get("use") != "official")
    return {
        "family": [one.get("family", "") for one in names if one.get("family")],
        "given": [one["given"][0] for one in names if one.get("given")],
        "patronymic": [said for one in names
                       if (said := " ".join((*one.get("given", [])[1:], *one.get("suffix", []))))],
        "birth_date": [patient["birthDate"]] if patient.get("birthDate") else [],
        "sex": [patient["gender"]] if patient.get("gender") else [],
        "pinfl": [one["value"] for one in patient.get("identifier", [])
                  if one.get("system") == numbers.PINFL_SYSTEM and one.get("value")],
        "phone": [one["value"] for one in patient.get("telecom", [])
                  if one.get("system") in ("phone", "sms") and one.get("value")],
        "address": [said for one in patient.get("address", [])
                    if (said := reading.address({"address": [one]}))],
    }


def compare(left: Record, right: Record) -> Comparison:
    """Two cards compared; of several values of a field those that are most alike are shown."""
    said = scoring.score(scoring.facts_of(left), scoring.facts_of(right))
    scores = {one.name: one for one in said.fields}
    ours, theirs = fields_of(left), fields_of(right)
    rows = []
    for field, parts in _SCORED.items():
        pairs = [likeness.compare(field, one, other)
                 for one in ours[field] or [""] for other in theirs[field] or [""]]
        best = max(pairs, key=lambda pair: pair.weight)
        found = [scores[part] for part in parts if part in scores]
        rows.append(Row(field, best.draft, best.record, best.verdict,
                        sum(one.weight for one in found), tuple(one.key for one in found)))
    return Comparison(tuple(rows), said.weight, said.probability, said.grade, said.holds)
