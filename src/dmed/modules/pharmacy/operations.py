"""Plain national calls and timed work.

`POST MedicationDispense` with status completed and an authorizingPrescription is claim, pack check
and dispense in one transaction (decisions 19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmed.modules.pharmacy.service import counter, handing
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PLATFORM = Subject(user="platform", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who acts when time does."""


async def create_dispense(gateway: Gateway, subject: Subject, resource: dict[str, Any]) -> str:
    """A posted MedicationDispense; without a prescription (a sale without one, a hospital ward), or
    not completed, it is kept as it is. The id of the record.
    """
    authorizing = (resource.get("authorizingPrescription") or [{}])[0]
    target = str(authorizing.get("reference", ""))
    if resource.get("status") != "completed" or not target.startswith("MedicationRequest/"):
        async with gateway.unit(subject) as unit:
            return (await unit.create("MedicationDispense", resource)).id
    return await handing.dispense_posted(gateway, subject, resource)


async def end_leases(gateway: Gateway) -> None:
    """Each minute: leases that are over end."""
    await counter.end_leases(gateway, PLATFORM)
