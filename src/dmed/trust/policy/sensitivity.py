"""Sensitivity labels: which records are kept from those who do not treat just that. By rule.

The rules name ranges of ICD-10 categories, from the chapters' own scope (WHO, ICD-10, volume 1)
and the groups to which the law of Uzbekistan gives a secrecy of their own: psychiatric care (law
ZRU-690 of 2021), narcology (ZRU-644 of 2020), HIV (ZRU-353 of 2013) and reproductive health
(ZRU-528 of 2019). Pregnancy itself is not labelled: a prescriber must see it. Nor are medicines by
their ingredient, since an interaction that is not seen harms at once; a prescription is labelled
by the diagnosis that it names.
"""

from __future__ import annotations

import re
from enum import IntFlag
from functools import lru_cache
from typing import Any

import msgspec


class Label(IntFlag):
    """The labels as bits of the column `labels`; a number is given once and for ever."""

    PSYCHIATRY = 1
    NARCOLOGY = 2
    HIV = 4
    REPRODUCTIVE = 8


RULES = 1
"""Number of the rules below: raised with every change of them, so that old records are looked
through again (trust.relabelling). A test holds the number to the rules."""
ALL = 0x7FFF
"""Every label there is or will be: what broken glass opens."""
SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CODES: dict[Label, str] = {
    Label.PSYCHIATRY: "PSY",
    Label.NARCOLOGY: "SUD",
    Label.HIV: "HIV",
    Label.REPRODUCTIVE: "SEX",
}
"""The codes of v3-ActCode by which a label stands in meta.security."""
RANGES: tuple[tuple[Label, str, str], ...] = (
    (Label.PSYCHIATRY, "F00", "F09"),
    (Label.PSYCHIATRY, "F20", "F39"),
    (Label.PSYCHIATRY, "F50", "F99"),
    (Label.PSYCHIATRY, "X60", "X84"),
    (Label.NARCOLOGY, "F10", "F19"),
    (Label.NARCOLOGY, "Z50.2", "Z50.3"),
    (Label.NARCOLOGY, "Z71.4", "Z71.5"),
    (Label.HIV, "B20", "B24"),
    (Label.HIV, "F02.4", "F02.4"),
    (Label.HIV, "R75", "R75"),
    (Label.HIV, "Z20.6", "Z20.6"),
    (Label.HIV, "Z21", "Z21"),
    (Label.HIV, "Z71.7", "Z71.7"),
    (Label.REPRODUCTIVE, "N46", "N46"),
    (Label.REPRODUCTIVE, "N97", "N97"),
    (Label.REPRODUCTIVE, "O04", "O07"),
    (Label.REPRODUCTIVE, "Z30.3", "Z30.3"),
    (Label.REPRODUCTIVE, "Z31", "Z31"),
)
"""(label, first, last) of ICD-10 categories; both ends with all that is below them. Neurotic
disorders (F40-F48) are treated by family doctors and not labelled."""
LOINC: dict[str, Label] = dict.fromkeys(
    ("7917-8", "29893-5", "56888-1", "75622-1", "20447-9", "25836-8"), Label.HIV
)
"""Tests for HIV: antibodies, antigen, and copies of its RNA."""
_LABELS = {code: label for label, code in CODES.items()} | {
    "ETH": Label.NARCOLOGY,
    "SDV": Label.PSYCHIATRY,
}
_CODING = re.compile(
    rb'"system":"[^"]*?(/icd-10|//loinc\.org|v3-ActCode)[^"]*"(?:,"version":"[^"]*")?'
    rb',"code":"([^"]{1,20})"'
)


def labels_of(body: bytes) -> int:
    """The labels of a canonical body, from any ICD-10 or LOINC code or security label in it."""
    if b"/icd-10" not in body and b"//loinc.org" not in body and b"v3-ActCode" not in body:
        return 0
    found = Label(0)
    for place, code in _CODING.findall(body):
        found |= _label(place, code)
    return int(found)


@lru_cache(maxsize=4096)
def _label(place: bytes, raw: bytes) -> Label:
    code = raw.decode(errors="replace")
    if place == b"v3-ActCode":
        return _LABELS.get(code, Label(0))
    if place == b"//loinc.org":
        return LOINC.get(code, Label(0))
    return of_icd10(code)


def of_icd10(code: str) -> Label:
    """The labels of an ICD-10 code such as "F32.9"; none for what is no code."""
    plain = code.strip().upper().rstrip("*+†!")
    found = Label(0)
    for label, first, last in RANGES:
        if first <= plain[: len(first)] and plain[: len(last)] <= last:
            found |= label
    return found


def names_of(labels: int) -> tuple[str, ...]:
    """The names of labels, for keys and sentences: ("psychiatry", "hiv")."""
    return tuple((label.name or "").lower() for label in Label if labels & label)


def codings(labels: int) -> list[dict[str, str]]:
    """The codings of labels for meta.security."""
    return [{"system": SYSTEM, "code": CODES[label]} for label in Label if labels & label]


def missing_in(resource: Any, labels: int) -> list[dict[str, str]]:
    """The codings that meta.security of a struct does not carry yet."""
    meta = resource.meta
    given = () if meta is msgspec.UNSET or meta.security is msgspec.UNSET else meta.security
    known = {(one.system, one.code) for one in given}
    return [one for one in codings(labels) if (one["system"], one["code"]) not in known]
