"""What other modules may call of the register of institutions."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from dmed.modules.facilities import rules, service
from dmed.modules.facilities.model import Department, Kind, OrganisationFacts, Reason, Verdict
from dmed.modules.facilities.rules import licence_number, reading, records
from dmed.modules.facilities.service import keeping
from dmed.modules.facilities.service.importing import Report, import_file
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

__all__ = [
    "Department", "Kind", "OrganisationFacts", "Reason", "Report", "Verdict",
    "departments", "districts", "enlist", "find", "import_file", "licence_number",
    "licence_valid", "organisation", "regions",
]  # fmt: skip  # A list of names reads better filled.


def regions(language: str) -> list[tuple[str, str]]:
    """(code, name) of every region, the capital first; Uzbek names for languages without own."""
    return [(one.code, rules.name_in(one, language)) for one in service.regions()]


def districts(region: str, language: str) -> list[tuple[str, str]]:
    """(code, name) of the districts of a region; none for an unknown region."""
    return [(one.code, rules.name_in(one, language))
            for place in service.regions() if place.code == region for one in place.districts]


async def organisation(gateway: Gateway, subject: Subject, organisation_id: str) -> (
        OrganisationFacts):
    """Facts of an institution or pharmacy; NotFoundError if there is none."""
    return await service.organisation(gateway, subject, organisation_id)


def licence_valid(facts: OrganisationFacts, day: date) -> Verdict:
    """Whether an institution may work on a day: active, and licensed unless it is the state's."""
    return rules.licence_valid(facts, day)


async def find(
    gateway: Gateway, subject: Subject, text: str, limit: int = 20
) -> list[OrganisationFacts]:
    """Institutions whose name or tax id begins with the text, at most `limit`."""
    return await service.find(gateway, subject, text, limit)


async def departments(
    gateway: Gateway, subject: Subject, organisation_id: str
) -> list[Department]:
    """Departments and rooms of an institution by name."""
    return await service.departments(gateway, subject, organisation_id)


async def enlist(unit: GatewayUnit, values: dict[str, str]) -> str:
    """An institution as an official register tells it, in the caller's transaction; its id.

    One that stands here under its tax number gets the new facts, and keeps its place in the tree
    and what its own people entered. FaultsError (422) for what cannot be kept.
    """
    known = await keeping.holder_of_tax(unit, values["tax_id"])
    above = None
    if known is not None:
        site = await unit.get("Location", records.site_id(known["id"]))
        before = records.form_of(known, site)
        values = {**before, **{name: text for name, text in values.items() if text}}
        parent = keeping.parent_of(known)
        above = await unit.get("Organization", parent) if parent else None
    draft, faults = reading.read(values, service.regions())
    if draft is None:
        raise keeping.FaultsError(faults)
    _, made = await keeping.put(unit, draft, above)
    return made
