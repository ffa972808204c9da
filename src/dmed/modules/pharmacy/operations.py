"""Plain national calls, operations on the Task of an item, and timed work.

`POST MedicationDispense` with status completed and an authorizingPrescription is claim, pack check
and dispense in one transaction (decisions 19).
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError
from dmed.modules.pharmacy.rules import acts
from dmed.modules.pharmacy.service import counter, handing
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Event, parameters
from dmed.trust.manifest import Operation
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


async def claim(request: Request) -> Response:
    """`Task/{id}/$claim`: take the item to this counter with the patient's code."""
    call = await parameters.called(request, acts.CLAIM)
    made = await counter.claim(
        call.gateway, call.subject, call.number, call.given.text("code"), (call.item,),
        call.expected,
    )  # fmt: skip  # Who, what.
    record = await call.gateway.get(
        call.subject, "MedicationRequest", made.item(call.item).request
    )
    return await parameters.answer(
        call,
        {"name": "request", "resource": record},
        {"name": "secret", "valueString": made.secrets[call.item]},
    )


async def claim_scanned(request: Request) -> Response:
    """`Task/$claim-scanned`: what the scanner read is the whole question; every item that can be is
    taken to this counter, again with the same secrets where it is here already.
    """
    gateway, subject = request.app.state.gateway, request.state.subject
    given = parameters.read(await request.body(), acts.SCANNED)
    made = await counter.claim(gateway, subject, given.text("text"), given.text("code"), ())
    rows: list[dict[str, Any]] = [{"name": "number", "valueString": made.prescription.number}]
    for number in made.held:
        item = made.item(number)
        rows.append({"name": "item", "part": [
            {"name": "task", "resource": await gateway.get(subject, "Task", item.task)},
            {"name": "request",
             "resource": await gateway.get(subject, "MedicationRequest", item.request)},
            {"name": "secret", "valueString": made.secrets[number]},
        ]})  # fmt: skip  # One item.
    return parameters.written(rows)


async def dispense(request: Request) -> Response:
    """`Task/{id}/$dispense`: pack check and hand-over in one act."""
    call = await parameters.called(request, acts.DISPENSE)
    given = [
        handing.GivenPack(
            marking=pack.text("marking"),
            quantity=pack.amount("quantity"),
            lot=pack.text("lot"),
            expiry=_day(pack.text("expiry")),
        )
        for pack in call.given.parts("pack")
    ]
    made = await handing.dispense_item(
        call.gateway, call.subject, call.number, call.item, given,
        receiver=call.given.text("receiver"), release_rest=call.given.flag("releaseRest"),
        key=call.key, expected=call.expected,
    )  # fmt: skip  # Who gets what.
    return await parameters.answer(
        call,
        *(
            {"name": "dispense", "valueReference": {"reference": f"MedicationDispense/{each}"}}
            for each in made
        ),
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise InvalidError("The expiry is a day: YYYY-MM-DD", "Parameters.parameter") from error


async def give_back(request: Request) -> Response:
    """`Task/{id}/$return`: ready again for any pharmacy."""
    call = await parameters.called(request, acts.RETURN)
    reason = call.given.text("reason", "other")
    await counter.give_back(
        call.gateway, call.subject, call.number, (call.item,), reason, call.key, call.expected
    )
    return await parameters.answer(call)


async def close(request: Request) -> Response:
    """`Task/{id}/$close`: without its rest; untouched, it is ready again or refused for good."""
    call = await parameters.called(request, acts.CLOSE)
    async with call.gateway.unit(call.subject) as unit:
        case = await prescriptions.open_case(unit, call.number)
        is_touched = case.item(call.item).standing.dispensed > 0
    event = Event.CLOSE if is_touched else Event.NOT_DISPENSED
    if call.given.flag("final") and not is_touched:
        event = Event.REJECT
    await counter.end_item(
        call.gateway, call.subject, call.number, call.item, event, call.given.text("reason"),
        call.key, call.expected,
    )  # fmt: skip  # Who, what, why.
    return await parameters.answer(call)


async def undo(request: Request) -> Response:
    """`Task/{id}/$undo`: a hand-over of this item is taken back."""
    call = await parameters.called(request, acts.UNDO)
    target = str(call.given.values["dispense"][0].get("reference", ""))
    await handing.undo(
        call.gateway, call.subject, target.removeprefix("MedicationDispense/"), call.key,
        (call.number, call.item), call.expected,
    )  # fmt: skip  # Who, what.
    return await parameters.answer(call)


async def answer_cancel(request: Request) -> Response:
    """`Task/{id}/$answer-cancel`: the pharmacy's answer to the prescriber."""
    call = await parameters.called(request, acts.ANSWER)
    is_accepted = call.given.flag("accept")
    event = Event.CANCEL_ACCEPT if is_accepted else Event.CANCEL_TOO_LATE
    await counter.end_item(
        call.gateway, call.subject, call.number, call.item, event, "", call.key, call.expected
    )
    return await parameters.answer(call)


async def define(gateway: Gateway) -> None:
    """Each minute: the OperationDefinitions of the counter are stored as they are here."""
    await parameters.define(gateway, PLATFORM, DEFINITIONS)


_COUNTER = frozenset({Role.PHARMACIST, Role.SERVICE})
_ENDPOINTS = {
    "claim": claim,
    "dispense": dispense,
    "return": give_back,
    "close": close,
    "undo": undo,
    "answer-cancel": answer_cancel,
}
OPERATIONS = (
    *(
        Operation(name=name, type="Task", endpoint=_ENDPOINTS[name], roles=_COUNTER, instance=True)
        for name, *_ in acts.OPERATIONS
    ),
    Operation(name="claim-scanned", type="Task", endpoint=claim_scanned, roles=_COUNTER),
)
DEFINITIONS = (
    *(parameters.definition(*each) for each in acts.OPERATIONS),
    parameters.definition(
        "claim-scanned", "Take a scanned prescription to this pharmacy", acts.SCANNED, acts.TAKEN,
        is_instance=False,
    ),
)  # fmt: skip  # A table.
