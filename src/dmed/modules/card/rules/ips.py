"""The International Patient Summary of one person as a FHIR R5 document. Pure.

https://hl7.org/fhir/uv/ips/ is written on R4; this is its Composition with the same sections and
the same codes in R5's shape. Each section tells its content in words as well, as the guide asks.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from dmed.modules.card.model import Fact, Series

Record = dict[str, Any]
LOINC = "http://loinc.org"
DOCUMENT = "60591-5"
EMPTY = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
SECTIONS: tuple[tuple[str, str, bool], ...] = (
    ("problems", "11450-4", True), ("allergies", "48765-2", True),
    ("medicines", "10160-0", True), ("vaccinations", "11369-6", True),
    ("results", "30954-2", True), ("procedures", "47519-4", True), ("devices", "46264-8", True),
    ("vitals", "8716-3", False), ("past", "11348-0", False), ("social", "29762-2", False),
)  # fmt: skip  # A table: key, LOINC, whether it stands there though it is empty.


class Part(msgspec.Struct, frozen=True):
    """A section's records, and the lines that say them in words."""

    records: tuple[Record, ...] = ()
    lines: tuple[str, ...] = ()


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What the document needs beside its sections."""

    base: str
    """Address of this server's FHIR interface, without a stroke at its end."""
    document: str
    """urn:uuid of the document itself, of its Composition and of the software that made it."""
    composition: str
    author: str
    now: datetime
    language: str
    title: str
    say: Callable[[str], str]
    """Title of a section by its key, and "none" for an empty one."""


def document(
    patient: Record, custodian: Record | None, parts: dict[str, Part], frame: Frame
) -> Record:
    """The Bundle: Composition, Patient, software, institution, then every record once."""
    stamp = frame.now.isoformat(timespec="seconds")
    composition: Record = {
        "resourceType": "Composition",
        "id": frame.composition.removeprefix("urn:uuid:"),
        "language": frame.language.replace("uz-Cyrl", "uz"),
        "text": _narrative([frame.title]),
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": DOCUMENT}], "text": frame.title},
        "subject": [{"reference": f"Patient/{patient['id']}"}],
        "date": stamp,
        "author": [{"reference": frame.author}],
        "title": frame.title,
    }
    if custodian is not None:
        composition["custodian"] = {"reference": f"Organization/{custodian['id']}"}
    composition["section"] = [
        _section(key, code, parts.get(key, Part()), frame) for key, code, is_always in SECTIONS
        if is_always or parts.get(key, Part()).records]
    entries = [{"fullUrl": frame.composition, "resource": composition},
               _entry(patient, frame), {"fullUrl": frame.author, "resource": _software(frame)}]
    if custodian is not None:
        entries.append(_entry(custodian, frame))
    seen: set[str] = set()
    for key, _, _ in SECTIONS:
        for record in parts.get(key, Part()).records:
            place = f"{record['resourceType']}/{record['id']}"
            if place not in seen:
                seen.add(place)
                entries.append(_entry(record, frame))
    return {
        "resourceType": "Bundle",
        "id": frame.document.removeprefix("urn:uuid:"),
        "identifier": {"system": "urn:ietf:rfc:3986", "value": frame.document},
        "type": "document",
        "timestamp": stamp,
        "entry": entries,
    }


def _entry(record: Record, frame: Frame) -> Record:
    return {"fullUrl": f"{frame.base}/{record['resourceType']}/{record['id']}",
            "resource": record}


def _software(frame: Frame) -> Record:
    return {
        "resourceType": "Device",
        "id": frame.author.removeprefix("urn:uuid:"),
        "name": [{"value": "DMED", "type": "user-friendly-name", "display": True}],
    }


def _section(key: str, code: str, part: Part, frame: Frame) -> Record:
    title = frame.say(key)
    made: Record = {
        "title": title,
        "code": {"coding": [{"system": LOINC, "code": code}], "text": title},
        "text": _narrative(part.lines or (frame.say("none"),)),
    }
    if part.records:
        made["entry"] = [{"reference": f"{one['resourceType']}/{one['id']}"}
                         for one in part.records]
    else:
        # Nothing recorded is no proof that there is nothing.
        made["emptyReason"] = {"coding": [{"system": EMPTY, "code": "unavailable"}]}
    return made


def _narrative(lines: Sequence[str]) -> Record:
    items = "".join(f"<li>{html.escape(line, quote=False)}</li>" for line in lines)
    return {"status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><ul>{items}</ul></div>'}


def fact_lines(facts: Iterable[Fact], day: Callable[[str], str]) -> tuple[str, ...]:
    """Facts in words: code, text, day, and from where."""
    return tuple(", ".join(part for part in (
        f"{one.code} {one.text}".strip(), one.detail, day(one.when), one.source.institution,
    ) if part) for one in facts)  # fmt: skip  # The parts of a line.


def series_lines(found: Iterable[Series], day: Callable[[str], str]) -> tuple[str, ...]:
    """Measurements in words: the latest value with unit, band and day."""
    return tuple(", ".join(part for part in (
        f"{one.text}: {one.latest} {one.unit}".strip(), _band(one), day(one.when)) if part)
        for one in found)


def _band(one: Series) -> str:
    if one.low is not None and one.high is not None:
        return f"{one.low}–{one.high}"
    return f"≤ {one.high}" if one.high is not None else f"≥ {one.low}" if one.low else ""
