"""Organization/[id]/$equipment: what an institution works with, as FHIR Device.

https://hl7.org/fhir/R5/device.html; the register of equipment is a table of this module, because
devices are no records of persons and change by lists.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.modules.facilities import tables
from dmed.modules.facilities.model import Equipment
from dmed.modules.facilities.rules.records import CODE_SYSTEM
from dmed.trust.manifest import SIGNED_IN, Operation


async def equipment(request: Request) -> Response:
    """A collection Bundle of Devices, by name."""
    gateway, subject = request.app.state.gateway, request.state.subject
    organisation = request.path_params["id"]
    await gateway.read(subject, "Organization", organisation)
    async with gateway.unit(subject) as unit:
        found = await tables.equipment_of(unit, organisation)
    body = {"resourceType": "Bundle", "type": "collection",
            "entry": [{"resource": device(one)} for one in found]}
    if not found:
        del body["entry"]
    return Response(msgspec.json.encode(body), media_type="application/fhir+json")


def device(one: Equipment) -> dict[str, Any]:
    """One device as FHIR."""
    found: dict[str, Any] = {
        "resourceType": "Device",
        "identifier": [{"use": "official", "system": CODE_SYSTEM, "value": one.code}],
        "displayName": one.name,
        "status": "active" if one.is_active else "inactive",
        "name": [{"value": one.name, "type": "user-friendly-name"}],
        "owner": {"reference": f"Organization/{one.organisation}"},
    }
    if one.maker:
        found["manufacturer"] = one.maker
    if one.serial:
        found["serialNumber"] = one.serial
    if one.place:
        found["location"] = {"reference": f"Location/{one.place}"}
    if one.checked_until:
        found["property"] = [{"type": {"text": "verified until"},
                              "valueString": one.checked_until.isoformat()}]
    return found


OPERATIONS = (
    Operation(name="equipment", type="Organization", endpoint=equipment, roles=SIGNED_IN,
              instance=True, affects_state=False),
)
