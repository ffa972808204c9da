"""A prescription that a system sent in a transaction with the doctor's signed Provenance.

The records are the system's own; at its first dispense the platform gives it a number and a Task,
so that states, leases and packs hold for it as for every other (decisions 19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.kit.errors import UnprocessableError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import Draft
from dmed.modules.prescriptions.rules import checks, courses, law, numbers, resources
from dmed.modules.prescriptions.service import decisions, diagnoses, drafts, views
from dmed.modules.prescriptions.service.decisions import PLATFORM
from dmed.modules.prescriptions.service.keys import keys
from dmed.modules.prescriptions.service.signing import refusal

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

_REGION = "1726"


async def adopt(gateway: Gateway, request_id: str) -> str:
    """The number that the request has from now on; "" where there is no active order with a signed
    Provenance under this id. UnprocessableError names what the rules of prescribing miss in it.
    """
    async with gateway.unit(PLATFORM) as unit:
        request = await unit.get("MedicationRequest", request_id, lock=True)
        if request is None or request.get("status") != "active":
            return ""
        before = await tables.number_of_request(unit, request_id)
        if before or request.get("intent") != "order":
            return before
        signed = await unit.find("Provenance", f"target=MedicationRequest/{request_id}&_count=10")
        if not any(each.get("signature") for each in signed):
            return ""
        return await _adopted(gateway, unit, request)


async def _adopted(gateway: Gateway, unit: GatewayUnit, request: dict[str, Any]) -> str:
    found = views.preparation_of(request)
    if found is None:
        raise UnprocessableError(
            "The prescription names no registered medicine", "MedicationRequest.medication"
        )
    item = courses.filled(found, resources.item_of(request, found.key))
    patient = str((request.get("subject") or {}).get("reference", "")).removeprefix("Patient/")
    draft = Draft(
        patient=patient,
        diagnosis=item.diagnosis,
        items=(item,),
        repeats=resources.instances_of(request),
    )
    known = {found.key: found}
    alerts = [
        *law.check(draft, known, drafts.products_of(draft)),
        *checks.check(draft, known, diagnoses.viral(), checks.Person(), clock.today()),
    ]
    stops = [alert for alert in alerts if alert.tier is alert.tier.STOP]
    if stops:
        raise refusal(stops)
    carried = await decisions.bound(unit, draft, clock.today())
    authored = resources.moment_of(str(request.get("authoredOn") or clock.now().isoformat()))
    until = courses.valid_until(
        courses.validity_class(draft, (found,)), authored.astimezone(clock.TASHKENT).date()
    )
    until = min([until, *(each.valid_until for each in carried.values())])
    number = numbers.make_number(_REGION, await tables.next_running(unit, _REGION))
    requester = request.get("requester") or {}
    if not str(requester.get("reference", "")).startswith("PractitionerRole/"):
        raise UnprocessableError(
            "The prescription names no prescriber in a post", "MedicationRequest.requester"
        )
    context = resources.Context(
        number=number, patient=patient,
        patient_name=str((request.get("subject") or {}).get("display", "")),
        prescriber=str(requester.get("reference", "")).removeprefix("PractitionerRole/"),
        prescriber_name=str(requester.get("display", "")), organisation="", organisation_name="",
        authored=authored, valid_until=until,
    )  # fmt: skip  # Facts of one prescription.
    code = numbers.make_code(keys(gateway.settings).codes, number)
    await tables.insert(
        unit, number=number, patient=patient, prescriber=context.prescriber, organisation="",
        author="system", signed=authored, valid_until=until,
        code_digest=numbers.code_digest(code),
        short_digest=numbers.code_digest(code[: numbers.SHORT_CODE_LENGTH]), replaces="",
    )  # fmt: skip  # Same.
    version = int(request["meta"]["versionId"])
    await unit.update(
        "MedicationRequest",
        request["id"],
        resources.numbered(request, item, found, context),
        if_match=version,
    )
    task = await unit.create("Task", resources.task_of(request["id"], 0, context))
    await tables.insert_item(unit, number, 1, request["id"], task.id)
    return number
