"""The staff register through the gateway."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dmed.kit.errors import NotFoundError
from dmed.modules.workforce import rules
from dmed.modules.workforce.model import PractitionerFacts, Reason, Verdict
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_STAFF_MAX = 200


async def _role_of(
    gateway: Gateway, subject: Subject, practitioner_id: str, role_id: str
) -> dict[str, Any] | None:
    if role_id:
        role = await gateway.get(subject, "PractitionerRole", role_id)
        owner = role.get("practitioner", {}).get("reference", "")
        return role if owner == f"Practitioner/{practitioner_id}" else None
    query = urlencode({"practitioner": f"Practitioner/{practitioner_id}", "_count": "20"})
    roles = await gateway.find(subject, "PractitionerRole", query)
    return next((role for role in roles if role.get("active", True)), None)


async def practitioner(
    gateway: Gateway, subject: Subject, practitioner_id: str, role_id: str
) -> PractitionerFacts:
    """Facts of a member of staff in a post; without `role_id` in the newest active one."""
    record = await gateway.get(subject, "Practitioner", practitioner_id)
    return rules.facts(record, await _role_of(gateway, subject, practitioner_id, role_id))


async def licence_valid(gateway: Gateway, subject: Subject, day: date) -> Verdict:
    """Reads the subject's record and post anew and decides."""
    if not subject.practitioner or not subject.practitioner_role:
        return Verdict(False, (Reason("workforce.reason.no-post", {"name": subject.name}),))
    try:
        record, role = await asyncio.gather(
            gateway.get(subject, "Practitioner", subject.practitioner),
            _role_of(gateway, subject, subject.practitioner, subject.practitioner_role))
    except NotFoundError:
        return Verdict(False, (Reason("workforce.reason.no-post", {"name": subject.name}),))
    return rules.may_sign(rules.facts(record, role), role, day)


async def staff(
    gateway: Gateway, subject: Subject, organisation_id: str
) -> list[PractitionerFacts]:
    """Everybody with an active post at an institution, by name."""
    query = urlencode({"organization": f"Organization/{organisation_id}", "active": "true",
                       "_count": str(_STAFF_MAX), "_include": "PractitionerRole:practitioner"})
    found = await gateway.find(subject, "PractitionerRole", query)
    people = {one["id"]: one for one in found if one["resourceType"] == "Practitioner"}
    made = []
    for role in found:
        if role["resourceType"] != "PractitionerRole":
            continue
        owner = str(role.get("practitioner", {}).get("reference", "")).removeprefix("Practitioner/")
        if owner in people:
            made.append(rules.facts(people[owner], role))
    return sorted(made, key=lambda one: one.name)
