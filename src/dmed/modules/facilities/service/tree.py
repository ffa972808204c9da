"""Looking at the tree: what stands where, the map, the history."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from dmed.kit.clock import today
from dmed.kit.errors import NotFoundError
from dmed.modules.facilities import rules, tables
from dmed.modules.facilities.model import Equipment, Kind, OrganisationFacts, Shape
from dmed.modules.facilities.rules import changes, hours, places, records
from dmed.modules.facilities.service import regions
from dmed.modules.facilities.service.keeping import LEVELS_MAX, parent_of
from dmed.trust.gateway import decoded
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PAGE = 50
_BELOW_MAX = 500
_POINTS_MAX = 400
_KEPT_S = 60.0
_SOON_DAYS = 90


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One institution in a list."""

    facts: OrganisationFacts
    licence: str = ""
    """"", "over" or "soon": how its licence stands today."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """One place inside an institution, with how deep it stands."""

    id: str
    type: str
    shape: Shape
    name: str
    depth: int
    kind: str = ""
    """Code of the kind of department."""
    hours: str = ""
    is_active: bool = True


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One institution with all that its page shows."""

    record: dict[str, Any]
    facts: OrganisationFacts
    form: dict[str, str]
    licence: str
    above: tuple[tuple[str, str], ...]
    """(id, name) of those above, the highest first."""
    below: tuple[Line, ...]
    leaves: tuple[Leaf, ...]
    equipment: tuple[Equipment, ...]


class Bubble(msgspec.Struct, frozen=True, kw_only=True):
    """A region or an institution on the map."""

    x: int
    y: int
    r: int
    name: str
    link: str
    count: int = 0
    kind: str = ""


class Map(msgspec.Struct, frozen=True, kw_only=True):
    """A map to draw."""

    width: int
    height: int
    bubbles: tuple[Bubble, ...]


def line_of(record: dict[str, Any]) -> Line:
    """An institution with the state of its licence today."""
    found = rules.facts(record)
    if found.is_state or found.licence_until is None:
        licence = "" if found.is_state else "over"
    else:
        left = (found.licence_until - today()).days
        licence = "over" if left < 0 else "soon" if left <= _SOON_DAYS else ""
    return Line(facts=found, licence=licence)


async def listed(
    gateway: Gateway, subject: Subject, *, text: str = "", region: str = "", kind: str = "",
    cursor: str = "",
) -> tuple[list[Line], str]:
    """A page of institutions by name: those searched for, or the roots of the tree where nothing
    is asked; and the cursor of the next page, "" at the end.
    """
    asked: list[tuple[str, str]] = []
    bare = text.strip()
    if bare.isdecimal() and len(bare) == 9:
        asked.append(("identifier", f"{rules.TAX_SYSTEM}|{bare}"))
    elif bare:
        asked.append(("name:contains" if len(bare) > 2 else "name", bare.replace(",", r"\,")))
    if region:
        asked.append(("address-state", region))
    if kind == Kind.PHARMACY:
        asked.append(("type:text", rules.PHARMACY_TEXT))
    elif kind:
        asked.append(("type", f"{rules.code_list('nomenclature').system}|{kind}"))
    if not asked:
        asked += [("partof:missing", "true"), ("type:not", _of_private("I_5")),
                  ("type:not", _of_private("I_6"))]
    asked += [("_sort", "name"), ("_count", str(PAGE)), ("_total", "none")]
    asked += [("_cursor", cursor)] if cursor else []
    _, page = await gateway.search(subject, "Organization", asked, strict=True)
    return [line_of(decoded(hit.record.body)) for hit in page.hits], page.next_cursor or ""


def _of_private(code: str) -> str:
    return f"{rules.code_list('subordination').system}|{code}"


async def view(gateway: Gateway, subject: Subject, organisation_id: str) -> View:
    """One institution; NotFoundError where there is none."""
    record = await gateway.get(subject, "Organization", organisation_id)
    locations = await _find(gateway, subject, "Location", "organization", organisation_id)
    site = next((one for one in locations if records.is_site(one)), None)
    services = await _find(gateway, subject, "HealthcareService", "organization", organisation_id)
    below = await _find(gateway, subject, "Organization", "partof", organisation_id)
    async with gateway.unit(subject) as unit:
        devices = await tables.equipment_of(unit, organisation_id)
    line = line_of(record)
    return View(
        record=record, facts=line.facts, form=records.form_of(record, site), licence=line.licence,
        above=tuple(await above(gateway, subject, record)),
        below=tuple(sorted(map(line_of, below), key=lambda one: one.facts.name)),
        leaves=tuple(_leaves([one for one in locations if one is not site], services)),
        equipment=tuple(devices))


async def _find(
    gateway: Gateway, subject: Subject, type_: str, by: str, id_: str
) -> list[dict[str, Any]]:
    query = urlencode({by: f"Organization/{id_}", "_count": str(_BELOW_MAX), "_total": "none"})
    return await gateway.find(subject, type_, query)


async def above(
    gateway: Gateway, subject: Subject, record: dict[str, Any]
) -> list[tuple[str, str]]:
    """(id, name) of the institutions above a record, the highest first."""
    found: list[tuple[str, str]] = []
    at = parent_of(record)
    while at and len(found) < LEVELS_MAX:
        try:
            record = await gateway.get(subject, "Organization", at)
        except NotFoundError:
            break
        found.insert(0, (at, record.get("name", "")))
        at = parent_of(record)
    return found


def _leaves(
    locations: list[dict[str, Any]], services: list[dict[str, Any]]
) -> list[Leaf]:
    """Departments with their wards and beds below them, then services; by name."""
    by_parent: dict[str, list[dict[str, Any]]] = {}
    ids = {one["id"] for one in locations}
    for one in sorted(locations, key=lambda place: place.get("name", "")):
        parent = parent_of(one)
        by_parent.setdefault(parent if parent in ids else "", []).append(one)
    found: list[Leaf] = []

    def add(parent: str, depth: int) -> None:
        for one in by_parent.pop(parent, []):
            found.append(_leaf(one, depth))
            add(one["id"], depth + 1)

    add("", 0)
    found += [_leaf(one, 0) for one in sorted(services, key=lambda one: one.get("name", ""))]
    return found


def _leaf(record: dict[str, Any], depth: int) -> Leaf:
    opening = next(iter(record.get("hoursOfOperation") or record.get("availability") or []), None)
    return Leaf(
        id=record["id"], type=record["resourceType"], shape=records.shape_of(record),
        name=record.get("name", ""), depth=depth, hours=hours.written(opening),
        kind=records.form_of(record, None)["place"],
        is_active=record.get("status", "active") == "active" and record.get("active", True))


async def history(
    gateway: Gateway, subject: Subject, type_: str, id_: str
) -> list[tuple[str, datetime, list[changes.Change]]]:
    """(version, moment, what changed with it) of a place, the latest first; at most fifty."""
    page = await gateway.history(subject, type_, id_, count=51)
    bodies = [None if one.deleted else msgspec.json.decode(one.body, type=dict[str, Any])
              for one in page.versions]
    found = []
    for place, one in enumerate(page.versions[:50]):
        before = bodies[place + 1] if place + 1 < len(bodies) else None
        found.append((str(one.vid), one.updated,
                      changes.changes(before, bodies[place])))
    return found


async def country(gateway: Gateway, subject: Subject) -> Map:
    """Regions as bubbles by how many institutions they have; counted once a minute a worker."""
    held: dict[str, tuple[dict[str, int], float]] = gateway.held("facilities.map", dict)
    counts, until = held.get("counts", ({}, 0.0))
    if time.monotonic() > until:
        counts = {}
        for one in regions():
            _, page = await gateway.search(subject, "Organization", [
                ("address-state", one.code), ("_summary", "count"), ("_total", "accurate")])
            counts[one.code] = page.total or 0
        held["counts"] = (counts, time.monotonic() + _KEPT_S)
    frame, most = places.frame(list(places.CENTRES.values())), max(counts.values(), default=0)
    circles = [(*frame.point(*places.CENTRES[one.code]), places.radius(counts[one.code], most))
               for one in regions()]
    bubbles = [
        Bubble(x=x, y=y, r=circle[2], count=counts[one.code], name=one.code,
               link=f"/facilities/map?region={quote(one.code)}")
        for one, circle, (x, y) in zip(regions(), circles, places.apart(circles), strict=True)]
    return Map(width=places.WIDTH, height=frame.height, bubbles=tuple(bubbles))


async def region_map(gateway: Gateway, subject: Subject, region: str) -> Map:
    """The institutions of a region that tell where they stand; at most _POINTS_MAX."""
    query = urlencode({"address-state": region, "_count": str(_POINTS_MAX), "_total": "none",
                       "_include": "Location:organization"})
    found = await gateway.find(subject, "Location", query)
    kinds = {one["id"]: rules.facts(one).kind for one in found
             if one["resourceType"] == "Organization"}
    placed = [one for one in found if one.get("position") and one["resourceType"] == "Location"]
    spots = [(float(one["position"]["latitude"]), float(one["position"]["longitude"]))
             for one in placed]
    frame = places.frame(spots)
    bubbles = []
    for one, spot in zip(placed, spots, strict=True):
        x, y = frame.point(*spot)
        owner = str(one.get("managingOrganization", {}).get("reference", "")).rpartition("/")[2]
        bubbles.append(Bubble(x=x, y=y, r=9, name=one.get("name", ""),
                              link=f"/facilities/{quote(owner)}",
                              kind=kinds.get(owner, Kind.OTHER)))
    return Map(width=places.WIDTH, height=frame.height, bubbles=tuple(bubbles))
