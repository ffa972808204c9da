"""For whom a citizen answers, as a rule over the register's RelatedPersons. Pure.

A parent sees the record of a child under fourteen: until then the law lets parents consent and be
told (law of Uzbekistan on the protection of citizens' health); from then on the young person has
an own secret. Who was made guardian by a court answers for the ward at any age, while the register
says so. Spouses, other relatives and emergency contacts see nothing by that alone.
"""

from __future__ import annotations

from datetime import date
from typing import Any

PARENT = frozenset({"MTH", "FTH", "PRN", "NMTH", "NFTH", "ADOPTP", "ADOPTM", "ADOPTF"})
GUARDIAN = frozenset({"GUARD", "HPOWATT"})
PARENT_UNTIL_YEARS = 14
NUMBERS = ("https://dhp.uz/fhir/core/sid/pid/uz/ni", "https://dhp.uz/fhir/core/sid/pid/uz/hc")
"""Systems of the numbers that are one person's alone: PINFL and MED-ID."""


def numbers_of(card: dict[str, Any]) -> list[tuple[str, str]]:
    """The (system, value) by which the register names a person as somebody's relative."""
    return [
        (str(each["system"]), str(each["value"]))
        for each in card.get("identifier", [])
        if each.get("system") in NUMBERS and each.get("value") and each.get("use") != "old"
    ]


def ward_of(related: dict[str, Any], day: date) -> str:
    """The Patient id for whom this RelatedPerson may answer on a day, or ""; of a parent the
    child's age is to be looked at besides (`is_open`).
    """
    if related.get("active") is False or not _runs(related.get("period", {}), day):
        return ""
    if not _codes(related) & (PARENT | GUARDIAN):
        return ""
    kind, _, id_ = str(related.get("patient", {}).get("reference", "")).rpartition("/")
    return id_ if kind == "Patient" else ""


def is_open(related: dict[str, Any], ward: dict[str, Any], day: date) -> bool:
    """Whether the ward's record is open to this relative on a day."""
    if ward.get("active") is False:
        return False
    if _codes(related) & GUARDIAN:
        return True
    born = str(ward.get("birthDate", ""))
    if len(born) != len("2000-01-01"):
        return False
    until = f"{int(born[:4]) + PARENT_UNTIL_YEARS:04}{born[4:]}"
    return day.isoformat() < until


def _codes(related: dict[str, Any]) -> set[str]:
    return {
        str(coding.get("code", ""))
        for concept in related.get("relationship", [])
        for coding in concept.get("coding", [])
    }


def _runs(period: dict[str, str], day: date) -> bool:
    text = day.isoformat()
    start, end = period.get("start", "")[:10], period.get("end", "")[:10]
    return not (start and text[: len(start)] < start) and not (end and text[: len(end)] > end)
