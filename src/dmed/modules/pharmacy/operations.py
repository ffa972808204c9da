"""Plain national calls, operations on the Task of an item, and timed work.

`POST MedicationDispense` with status completed and an authorizingPrescription is claim, pack check
and dispense in one transaction (decisions 19).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError
from dmed.modules.pharmacy.model import Claim
from dmed.modules.pharmacy.rules import acts
from dmed.modules.pharmacy.service import (
    changing,
    checks,
    counter,
    finding,
    handing,
    offline,
    offline_cases,
)
from dmed.modules.pharmacy.service import offline_kit as offline_kits
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Event, parameters
from dmed.pages import offline as shells
from dmed.pages import view
from dmed.trust.manifest import ANYBODY, Operation, Route
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


async def ask_owed(gateway: Gateway) -> None:
    """Each minute: packs that went on while the marking operator was away are asked about."""
    await checks.ask_owed(gateway)


async def _called(request: Request, inputs: Sequence[parameters.Input]) -> parameters.TaskCall:
    """The call of a counter, or of a till for it."""
    return await parameters.called(request, inputs, subject=counter.till_of(request.state.subject))


async def claim(request: Request) -> Response:
    """`Task/{id}/$claim`: take the item to this counter with the patient's code."""
    call = await _called(request, acts.CLAIM)
    case, secrets, _ = await counter.claimed(
        call.gateway, call.subject, call.number, call.given.text("code"), (call.item,),
        call.expected,
    )  # fmt: skip  # Who, what.
    item = case.item(call.item)
    return parameters.answer_with(
        item.task,
        {"name": "request", "resource": item.request},
        {"name": "secret", "valueString": secrets[call.item]},
    )


async def claim_scanned(request: Request) -> Response:
    """`Task/$claim-scanned`: what the scanner read is the whole question; every item that can be is
    taken to this counter, again with the same secrets where it is here already.
    """
    gateway, subject = request.app.state.gateway, counter.till_of(request.state.subject)
    given = parameters.read(await request.body(), acts.SCANNED)
    made = await counter.claim(gateway, subject, given.text("text"), given.text("code"), ())
    return await _taken(gateway, subject, made)


async def _taken(gateway: Gateway, subject: Subject, made: Claim) -> Response:
    """What a claim took, item by item."""
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
    call = await _called(request, acts.DISPENSE)
    given = [
        handing.GivenPack(
            marking=pack.text("marking"),
            quantity=pack.amount("quantity"),
            lot=pack.text("lot"),
            expiry=_day(pack.text("expiry")),
            price=pack.amount("price"),
            trade=pack.text("trade"),
        )
        for pack in call.given.parts("pack")
    ]
    made, task = await handing.dispense_item(
        call.gateway, call.subject, call.number, call.item, given,
        receiver=call.given.text("receiver"), release_rest=call.given.flag("releaseRest"),
        key=call.key, expected=call.expected,
    )  # fmt: skip  # Who gets what.
    return parameters.answer_with(
        task,
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
    call = await _called(request, acts.RETURN)
    reason = call.given.text("reason", "other")
    await counter.give_back(
        call.gateway, call.subject, call.number, (call.item,), reason, call.key, call.expected
    )
    return await parameters.answer(call)


async def close(request: Request) -> Response:
    """`Task/{id}/$close`: without its rest; untouched, it is ready again or refused for good."""
    call = await _called(request, acts.CLOSE)
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
    call = await _called(request, acts.UNDO)
    target = str(call.given.values["dispense"][0].get("reference", ""))
    await handing.undo(
        call.gateway, call.subject, target.removeprefix("MedicationDispense/"), call.key,
        (call.number, call.item), call.expected,
    )  # fmt: skip  # Who, what.
    return await parameters.answer(call)


async def answer_cancel(request: Request) -> Response:
    """`Task/{id}/$answer-cancel`: the pharmacy's answer to the prescriber."""
    call = await _called(request, acts.ANSWER)
    is_accepted = call.given.flag("accept")
    event = Event.CANCEL_ACCEPT if is_accepted else Event.CANCEL_TOO_LATE
    await counter.end_item(
        call.gateway, call.subject, call.number, call.item, event, "", call.key, call.expected
    )
    return await parameters.answer(call)


async def propose_change(request: Request) -> Response:
    """`Task/{id}/$propose-change`: the pharmacist asks the doctor for something else."""
    call = await _called(request, acts.PROPOSE)
    wish = changing.Wish(
        kind=call.given.text("kind"), text=call.given.text("text"),
        preparation=call.given.text("preparation"), product=call.given.text("product"),
        quantity=call.given.amount("quantity") or Decimal(0),
    )  # fmt: skip  # One wish.
    made = await changing.propose(
        call.gateway, call.subject, call.number, call.item, wish, call.key
    )
    return await _with_proposal(call, made.id)


async def answer_change(request: Request) -> Response:
    """`Task/{id}/$answer-change`: the doctor signs what the pharmacist proposed, or refuses."""
    call = await parameters.called(request, acts.ANSWER_CHANGE)
    overrides = {part.text("rule"): part.text("reason") for part in call.given.parts("override")}
    made, number = await changing.answer(
        call.gateway, call.subject, call.number, call.item, approve=call.given.flag("approve"),
        text=call.given.text("text"), overrides=overrides,
    )  # fmt: skip  # Who, what, why.
    rows = [{"name": "number", "valueString": number}] if number else []
    return await _with_proposal(call, made.id, *rows)


async def _with_proposal(
    call: parameters.TaskCall, proposal: str, *more: dict[str, Any]
) -> Response:
    record = await call.gateway.get(call.subject, "Task", proposal)
    return await parameters.answer(call, {"name": "proposal", "resource": record}, *more)


async def find_person(request: Request) -> Response:
    """`Task/$find-person`: a one-time code goes to the patient of a PINFL."""
    given = parameters.read(await request.body(), acts.FIND)
    found = await finding.find(
        request.app.state.gateway, request.state.subject, given.text("pinfl"))
    return parameters.written([
        {"name": "lookup", "valueString": found.id},
        {"name": "sent", "valueBoolean": found.is_sent},
    ])  # fmt: skip  # One answer.


async def open_person(request: Request) -> Response:
    """`Task/$open-person`: with the code or a reason, what may be handed over to the person."""
    given = parameters.read(await request.body(), acts.OPEN)
    found = await finding.open_(
        request.app.state.gateway, request.state.subject, given.text("lookup"),
        code=given.text("code"), reason=given.text("reason"), text=given.text("text"),
    )  # fmt: skip  # Who, what, why.
    return parameters.written([
        {"name": "prescription", "part": [
            {"name": "number", "valueString": one.number},
            {"name": "signed", "valueDate": one.signed.isoformat()},
            {"name": "prescriber", "valueString": one.organisation_name},
            *({"name": "item", "valueString": item["uz"]} for item in one.items),
        ]} for one in found
    ])  # fmt: skip  # One list.


async def claim_found(request: Request) -> Response:
    """`Task/$claim-found`: take a prescription that the search showed."""
    gateway, subject = request.app.state.gateway, request.state.subject
    given = parameters.read(await request.body(), acts.CLAIM_FOUND)
    made = await finding.claim(gateway, subject, given.text("lookup"), given.text("number"))
    return await _taken(gateway, subject, made)


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
    Operation(name="find-person", type="Task", endpoint=find_person, roles=_COUNTER),
    Operation(name="open-person", type="Task", endpoint=open_person, roles=_COUNTER),
    Operation(name="claim-found", type="Task", endpoint=claim_found, roles=_COUNTER),
    Operation(name="propose-change", type="Task", endpoint=propose_change, roles=_COUNTER,
              instance=True),
    Operation(name="answer-change", type="Task", endpoint=answer_change,
              roles=frozenset({Role.DOCTOR}), instance=True),
)
DEFINITIONS = (
    *(parameters.definition(*each) for each in acts.OPERATIONS),
    parameters.definition(
        "claim-scanned", "Take a scanned prescription to this pharmacy", acts.SCANNED, acts.TAKEN,
        is_instance=False,
    ),
    parameters.definition("find-person", "Send the patient of a PINFL a code", acts.FIND,
                          acts.FOUND, is_instance=False),
    parameters.definition("open-person", "See what may be handed over to a person", acts.OPEN,
                          acts.OPENED, is_instance=False),
    parameters.definition("claim-found", "Take a prescription that a search showed",
                          acts.CLAIM_FOUND, acts.TAKEN, is_instance=False),
    parameters.definition("propose-change", "Ask the doctor to change an item", acts.PROPOSE,
                          acts.PROPOSED),
    parameters.definition("answer-change", "Sign a pharmacist's proposal or refuse it",
                          acts.ANSWER_CHANGE, acts.ANSWERED),
)  # fmt: skip  # A table.



# The counter without a network (service/offline.py)


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    x: str
    y: str


class _Acts(msgspec.Struct, forbid_unknown_fields=True):
    acts: list[str]


async def offline_kit(request: Request) -> Response:
    """The sealed kit: what a counter may trust while it has no line."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    body, seal = await offline_kits.kit(gateway, subject, view.language_of(request))
    return Response(body, media_type="application/json", headers={"DMED-Seal": seal})


async def offline_enrol(request: Request) -> Response:
    """Registers the key of a pharmacist on a computer: {x, y} in base64url."""
    given = await view.json_of(request, _Key)
    made = await offline.enrol(view.gateway(request), view.signed_in(request), given.x, given.y)
    return view.json_answer({"id": made.id, "last_seq": made.last_seq})


async def offline_acts(request: Request) -> Response:
    """Judges acts that were made without a network: {acts: [signed, ...]}; the same act again is
    answered again.
    """
    given = await view.json_of(request, _Acts)
    done = await offline.reconcile(view.gateway(request), view.signed_in(request), given.acts)
    t = view.speech(request)
    return view.json_answer({"results": [
        {"id": one.id, "outcome": one.outcome.value, "case": one.case,
         "repeated": one.is_repeated,
         "said": [offline_cases.said(t, each) for each in one.findings]}
        for one in done
    ]})  # fmt: skip  # One answer.


async def offline_manifest(request: Request) -> Response:
    """The counter as an app that can be installed."""
    return shells.manifest(request, "/counter", "/counter", "menu.counter")


_PHARMACISTS = frozenset({Role.PHARMACIST})
OFFLINE_ROUTES: tuple[Route, ...] = (
    Route(path="/counter-worker.js", endpoint=shells.worker, roles=ANYBODY),
    Route(path="/counter.webmanifest", endpoint=offline_manifest, roles=ANYBODY),
    Route(path="/counter/offline/kit", endpoint=offline_kit, roles=_PHARMACISTS),
    Route(path="/counter/offline/key", endpoint=offline_enrol, roles=_PHARMACISTS,
          methods=("POST",)),
    Route(path="/counter/offline/acts", endpoint=offline_acts, roles=_PHARMACISTS,
          methods=("POST",)),
)
