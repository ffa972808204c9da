"""From where and when a record is: institution, author, moment. Dicts in, Source out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from dmed.modules.card.model import Source

Record = dict[str, Any]
_SINGLE = ("serviceProvider", "custodian", "requester", "recorder", "asserter", "author")
_MANY = ("participant", "performer", "author", "informationSource")
_RECORDED = ("recordedDate", "issued", "authoredOn", "recorded", "dateAsserted", "sent", "date")
ACTORS = ("Practitioner", "PractitionerRole", "Organization")
"""Types of those who write records."""


class Names(msgspec.Struct, frozen=True):
    """What other records say of those that a record only refers to."""

    places: dict[str, str] = {}
    """"Encounter/…" > name of the institution."""
    people: dict[str, str] = {}
    """"Practitioner/…", "PractitionerRole/…", "Organization/…" > name."""


def source(record: Record, names: Names) -> Source:
    """Institution, author and moment of a record as far as it or its visit tells them."""
    institution, author = "", ""
    for actor in _actors(record):
        reference = str(actor.get("reference", ""))
        name = str(actor.get("display", "")) or names.people.get(reference, "")
        if reference.startswith("Organization/"):
            institution = institution or name
        elif not reference.startswith(("Patient/", "RelatedPerson/", "Device/", "Location/")):
            author = author or name
    if not institution:
        institution = names.places.get(encounter_of(record), "")
    recorded = next((str(record[name]) for name in _RECORDED if record.get(name)), "")
    meta = record.get("meta", {})
    return Source(
        institution=institution,
        author=author,
        recorded=recorded or str(meta.get("lastUpdated", "")),
        system=str(meta.get("source", "")).partition("#")[0],
    )


def encounter_of(record: Record) -> str:
    """The reference to the visit in which a record was made, or ""."""
    found = record.get("encounter") or next(
        (one for one in record.get("context", []) if isinstance(one, dict)), {})
    reference = str(found.get("reference", "")) if isinstance(found, dict) else ""
    return reference if reference.startswith("Encounter/") else ""


def unnamed(records: Iterable[Record]) -> dict[str, set[str]]:
    """Type > ids of what must be read so that every record can tell its source."""
    wanted: dict[str, set[str]] = {}
    for record in records:
        has_place = False
        for actor in _actors(record):
            type_, _, id_ = str(actor.get("reference", "")).partition("/")
            has_place = has_place or type_ == "Organization"
            if type_ in ACTORS and id_ and "/" not in id_ and not actor.get("display"):
                wanted.setdefault(type_, set()).add(id_)
        visit = encounter_of(record)
        if visit and not has_place:
            wanted.setdefault("Encounter", set()).add(visit.removeprefix("Encounter/"))
    return wanted


def names(found: Iterable[Record]) -> Names:
    """Names of visits, people and institutions that were read for their names."""
    places: dict[str, str] = {}
    people: dict[str, str] = {}
    for record in found:
        type_, place = record["resourceType"], f"{record['resourceType']}/{record['id']}"
        if type_ == "Encounter":
            provider = record.get("serviceProvider", {})
            places[place] = str(provider.get("display", ""))
            for one in record.get("participant", []):
                actor = one.get("actor", {})
                if actor.get("display"):
                    people.setdefault(str(actor.get("reference", "")), str(actor["display"]))
        elif type_ == "Organization":
            people[place] = str(record.get("name", ""))
        elif type_ == "PractitionerRole":
            people[place] = str(record.get("practitioner", {}).get("display", ""))
        elif type_ == "Practitioner":
            people[place] = _name(record)
    return Names(places, people)


def _name(record: Record) -> str:
    found: Record = next(iter(record.get("name", [])), {})
    parts = [found.get("family", ""), *found.get("given", [])]
    return str(found.get("text") or " ".join(part for part in parts if part))


def _actors(record: Record) -> Iterator[Record]:
    for name in _SINGLE:
        value = record.get(name)
        if isinstance(value, dict):
            yield value
    for name in _MANY:
        value = record.get(name)
        for each in value if isinstance(value, list) else []:
            if isinstance(each, dict):
                actor = each.get("actor", each)
                if isinstance(actor, dict) and (actor.get("reference") or actor.get("display")):
                    yield actor
