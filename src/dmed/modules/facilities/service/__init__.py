"""Institutions through the gateway, and the list of regions and districts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from dmed.modules.facilities import rules
from dmed.modules.facilities.model import Department, OrganisationFacts, Region, Shape
from dmed.modules.facilities.rules import records
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_DEPARTMENTS_MAX = 200
_UNITS = {Shape.WARD: "Ward", Shape.ROOM: "Ward", Shape.BED: "Bed"}


@cache
def regions() -> tuple[Region, ...]:
    """The regions of Uzbekistan, the capital first, with their larger districts and cities."""
    raw = files("dmed.modules.facilities").joinpath("data/places.json").read_bytes()
    return msgspec.json.decode(raw, type=tuple[Region, ...])


async def organisation(
    gateway: Gateway, subject: Subject, organisation_id: str
) -> OrganisationFacts:
    """Facts of an institution; a branch without tax id has that of the parent above it."""
    found = rules.facts(record := await gateway.get(subject, "Organization", organisation_id))
    parent = str(record.get("partOf", {}).get("reference", "")).removeprefix("Organization/")
    if found.tax_id or not parent:
        return found
    above = rules.facts(await gateway.get(subject, "Organization", parent))
    return msgspec.structs.replace(found, tax_id=above.tax_id)


async def find(
    gateway: Gateway, subject: Subject, text: str, limit: int
) -> list[OrganisationFacts]:
    """Institutions by tax id (nine digits) or by the beginning of the name."""
    bare = text.strip()
    if bare.isdecimal() and len(bare) == 9:
        asked = {"identifier": f"{rules.TAX_SYSTEM}|{bare}"}
    else:
        asked = {"name": bare.replace(",", r"\,")}
    query = urlencode({**asked, "_count": str(limit)})
    found = await gateway.find(subject, "Organization", query) if bare else []
    return sorted((rules.facts(one) for one in found), key=lambda one: one.name)


async def departments(
    gateway: Gateway, subject: Subject, organisation_id: str
) -> list[Department]:
    """Locations that the institution manages, by name."""
    query = urlencode({"organization": f"Organization/{organisation_id}",
                       "_count": str(_DEPARTMENTS_MAX)})
    found = await gateway.find(subject, "Location", query)
    made = [Department(one["id"], one.get("name", ""),
                       _UNITS.get(records.shape_of(one), "Branch"))
            for one in found if not records.is_site(one)]
    return sorted(made, key=lambda one: one.name)
