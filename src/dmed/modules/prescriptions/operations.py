"""Plain national calls and timed work.

`POST MedicationRequest` with status active goes through the same rules as the screen (decisions
19): from a signed-in doctor it is his electronic confirmation; from a system it needs a Provenance
with signature in the same transaction. https://hl7.org/fhir/R5/medicationrequest.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import Draft
from dmed.modules.prescriptions.rules import resources
from dmed.modules.prescriptions.rules.states import Actor, Event, Who
from dmed.modules.prescriptions.service import drafts, signing
from dmed.modules.prescriptions.service.adopting import PLATFORM
from dmed.modules.prescriptions.service.case import move, open_case, start_if_due
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_EXPIRE_AT_ONCE = 200


async def create_request(gateway: Gateway, subject: Subject, resource: dict[str, Any]) -> str:
    """A posted MedicationRequest: an active order is signed, anything else is kept as it is.

    Returns the id of the MedicationRequest. Raises UnprocessableError with one issue a finding.
    """
    if resource.get("status") != "active" or resource.get("intent") != "order":
        async with gateway.unit(subject) as unit:
            return (await unit.create("MedicationRequest", resource)).id
    if subject.role is Role.SERVICE:
        raise UnprocessableError(
            "An active prescription from a system needs a Provenance with the doctor's signature "
            "in the same transaction",
            "MedicationRequest.status",
        )
    if subject.role is not Role.DOCTOR:
        raise ForbiddenError("Only a doctor may write a prescription")
    draft = draft_of(resource)
    authored = resource.get("authoredOn")
    moment = resources.moment_of(str(authored)) if authored and "T" in str(authored) else None
    made = await signing.sign(gateway, subject, draft, authored=moment, bases=(resource,))
    return made.items[0].request


def draft_of(resource: dict[str, Any]) -> Draft:
    """The draft that a posted MedicationRequest means; UnprocessableError names an unregistered
    medicine or a patient who is no literal reference.
    """
    found = medicines.preparation_of(resource.get("medication") or {})
    if found is None:
        raise UnprocessableError(
            "Only registered medicines may be prescribed, by INN: name a preparation, or a "
            "Medication of the register",
            "MedicationRequest.medication",
        )
    reference = str((resource.get("subject") or {}).get("reference", ""))
    if not reference.startswith("Patient/"):
        raise UnprocessableError(
            "The patient must be a literal reference", "MedicationRequest.subject"
        )
    item = resources.item_of(resource, found.key)
    trustee = next(
        (
            str((each.get("valueReference") or {}).get("display", ""))
            for each in resource.get("extension", ())
            if each.get("url") == resources.TRUSTEE
        ),
        "",
    )
    return Draft(
        patient=reference.removeprefix("Patient/"),
        diagnosis=item.diagnosis,
        items=(item,),
        trustee=trustee,
    )


async def expire(gateway: Gateway) -> None:
    """Each minute: what was valid until yesterday and lies open is stopped, reason expired. Items
    at a pharmacy wait for its return or the end of the lease.
    """
    now = clock.now()
    timer = Actor(who=Who.TIMER)
    async with gateway.unit(PLATFORM) as unit:
        due = await tables.expired(unit, clock.today(), _EXPIRE_AT_ONCE)
    for number in due:
        async with gateway.unit(PLATFORM) as unit:
            case = await open_case(unit, number)
            for item in list(case.items.values()):
                try:
                    await move(unit, case, item.number, Event.EXPIRE, timer, now)
                except ConflictError:
                    continue  # With a pharmacy, or closed already.


async def start(gateway: Gateway) -> None:
    """Each minute: waiting items and repeats whose first day has come are ready."""
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        due = await tables.due(unit, clock.today(), _EXPIRE_AT_ONCE)
    for row in due:
        async with gateway.unit(PLATFORM) as unit:
            case = await open_case(unit, row["number"])
            item = case.item(row["item"])
            if not await start_if_due(unit, case, item, now):
                # Cancelled, on hold or expired meanwhile: a release sets the day again.
                await tables.set_starts(unit, item.request["id"], None)


async def forget_drafts(gateway: Gateway) -> None:
    """Each minute: drafts that nobody touched for a day are forgotten."""
    async with gateway.unit(PLATFORM) as unit:
        await tables.drop_old_drafts(unit, drafts.KEEP_HOURS)
