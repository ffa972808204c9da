"""Plain national calls, operations on the Task of an item, and timed work.

`POST MedicationRequest` with status active goes through the same rules as the screen (decisions
19): from a signed-in doctor it is his electronic confirmation; from a system it needs a Provenance
with signature in the same transaction. https://hl7.org/fhir/R5/medicationrequest.html
"""

from __future__ import annotations

import base64
from datetime import date
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import CANCEL_REASONS, HOLD_REASONS, OVERRIDE_REASONS, Draft
from dmed.modules.prescriptions.rules import resources, unregistered
from dmed.modules.prescriptions.rules.states import Actor, Event, Who
from dmed.modules.prescriptions.service import activating, drafts, lifetime, parameters, signing
from dmed.modules.prescriptions.service.case import move, open_case, start_if_due
from dmed.modules.prescriptions.service.decisions import PLATFORM
from dmed.modules.prescriptions.service.parameters import Input
from dmed.modules.signing import api as signatures
from dmed.trust.manifest import Endpoint, Operation
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
    given = _taken_signature(resource)
    draft = draft_of(resource)
    authored = resource.get("authoredOn")
    moment = resources.moment_of(str(authored)) if authored and "T" in str(authored) else None
    made = await signing.sign(
        gateway, subject, draft, authored=moment, bases=(resource,), given=given)
    return made.items[0].request


def _taken_signature(resource: dict[str, Any]) -> signatures.Given | None:
    """What the doctor's own program signed, taken out of a posted request: the extension
    SIGNATURE with `request` and `pkcs7`; None without one.
    """
    kept = [one for one in resource.get("extension", ()) if one.get("url") != SIGNATURE]
    found = [one for one in resource.get("extension", ()) if one.get("url") == SIGNATURE]
    if not found:
        return None
    resource.pop("extension")
    if kept:
        resource["extension"] = kept
    parts = {str(one.get("url")): one for one in found[0].get("extension", ())}
    return _signature(str(parts.get("request", {}).get("valueString", "")),
                      str(parts.get("pkcs7", {}).get("valueBase64Binary", "")))


def _signature(request: str, pkcs7: str) -> signatures.Given:
    try:
        return signatures.Given(request, base64.b64decode(pkcs7, validate=True))
    except ValueError as error:
        raise InvalidError("The signature is no Base64") from error


def draft_of(resource: dict[str, Any]) -> Draft:
    """The draft that a posted MedicationRequest means; UnprocessableError names an unregistered
    medicine or a patient who is no literal reference.
    """
    stated = unregistered.stated(resource)
    if stated is not None:
        key = unregistered.key_of(stated)
    else:
        found = medicines.preparation_of(resource.get("medication") or {})
        if found is None:
            raise UnprocessableError(
                "Only registered medicines may be prescribed, by INN: name a preparation, or a "
                "Medication of the register; an unregistered one by a commission's decision in "
                f"the extension {unregistered.EXTENSION}",
                "MedicationRequest.medication",
            )
        key = found.key
    reference = str((resource.get("subject") or {}).get("reference", ""))
    if not reference.startswith("Patient/"):
        raise UnprocessableError(
            "The patient must be a literal reference", "MedicationRequest.subject"
        )
    item = resources.item_of(resource, key)
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
        repeats=resources.instances_of(resource),
        start=_later_day(resource),
    )


def _later_day(resource: dict[str, Any]) -> date | None:
    """The first day that a posted request asks for, where it is not today or before."""
    period = (resource.get("dispenseRequest") or {}).get("validityPeriod") or {}
    day = resources.day_of(str(period["start"])) if period.get("start") else None
    return day if day and day > clock.today() else None


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
    await activating.end_drafts(gateway, PLATFORM)


_TASK = Input("task", "Task", "The item as it stands now.", is_required=True)
PRESCRIBE = (
    Input("bundle", "Resource", "A Bundle of one to five MedicationRequest.", is_required=True),
    Input("commission", text="Number and day of the decision that allows more than five names."),
)
PRESCRIBED = (
    Input("number", text="Thirteen digits.", is_required=True),
    Input("code", text="The access code, for the patient.", is_required=True),
    Input("task", "Task", "One an item.", is_required=True, is_list=True),
)
SIGNATURE = "https://dmed.uz/fhir/StructureDefinition/pkcs7-signature"
"""Extension of a posted MedicationRequest: the PKCS#7 message over the document of a request."""
_SIGNED = Input(
    "signature",
    text="What the doctor's own program signed: the document of $prepare-signature.",
    parts=(
        Input("request", text="Number of the request.", is_required=True),
        Input("pkcs7", "base64Binary", "PKCS#7, attached or detached.", is_required=True),
    ),
)
PREPARED = (
    Input("request", text="Number of the request; for a quarter of an hour.", is_required=True),
    Input("document", "base64Binary", "What is signed, byte for byte.", is_required=True),
)
POSTED = (
    Input("resource", "Resource", "The MedicationRequest as it will be posted.", is_required=True),
)
_OVERRIDES = (
    Input(
        "override",
        text="A coded reason that leads past an alert.",
        is_list=True,
        parts=(
            Input("item", "decimal", "Number of the item; empty: that of this Task."),
            Input("rule", text="Id of the alert's rule.", is_required=True),
            Input("reason", "code", f"One of: {', '.join(OVERRIDE_REASONS)}.", is_required=True),
        ),
    ),
)
ACTIVATE = (*_OVERRIDES, _SIGNED)
CANCEL = (Input("reason", "code", f"One of: {', '.join(CANCEL_REASONS)}.", is_required=True),)
HOLD = (Input("reason", "code", f"One of: {', '.join(HOLD_REASONS)}.", is_required=True),)


async def prescribe(request: Request) -> Response:
    """`MedicationRequest/$prescribe`: a Bundle of drafts gets one number, one code and Tasks. The
    same Idempotency-Key gives the same again. Nothing is checked or signed yet: `$activate` does.
    """
    gateway: Gateway = request.app.state.gateway
    subject: Subject = request.state.subject
    given = parameters.read(await request.body(), PRESCRIBE)
    bundle = given.values["bundle"][0]
    found = [entry.get("resource") or {} for entry in bundle.get("entry", ())]
    requests = [each for each in found if each.get("resourceType") == "MedicationRequest"]
    if bundle.get("resourceType") != "Bundle" or len(requests) != len(found):
        raise UnprocessableError("A Bundle of MedicationRequest alone is prescribed")
    draft = activating.together(
        [draft_of(each) for each in requests], given.text("commission").strip()[:100]
    )
    made = await activating.prescribe(
        gateway, subject, draft, tuple(requests), parameters.key_of(request)
    )
    return parameters.written([
        {"name": "number", "valueString": made.number},
        {"name": "code", "valueString": made.code},
        *({"name": "task", "resource": task} for task in made.tasks),
    ])  # fmt: skip  # One answer.


async def activate(request: Request) -> Response:
    """`Task/{id}/$activate`: the signature of the doctor who wrote it, over every draft of the
    prescription. 422 has one issue for each stop and each alert without a coded reason.
    """
    call = await parameters.called(request, ACTIVATE)
    signed = [_signature(part.text("request"), part.text("pkcs7"))
              for part in call.given.parts("signature")]  # fmt: skip  # None or one.
    case = await activating.activate(
        call.gateway, call.subject, call.number, _overrides(call), key=call.key,
        expected=call.expected, given=signed[0] if signed else None,
    )  # fmt: skip  # Who, what, how.
    return parameters.answer_with(case.item(call.item).task)


def _overrides(call: parameters.TaskCall) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for part in call.given.parts("override"):
        item = int(part.amount("item") or call.item)
        found.setdefault(item, {})[part.text("rule")] = part.text("reason")
    return found


async def prepare_task(request: Request) -> Response:
    """`Task/{id}/$prepare-signature`: what the doctor's own program signs for `$activate`."""
    call = await parameters.called(request, _OVERRIDES)
    return _prepared(await activating.prepare(
        call.gateway, call.subject, call.number, _overrides(call)))


async def prepare_request(request: Request) -> Response:
    """`MedicationRequest/$prepare-signature`: the same for a request that will be posted."""
    given = parameters.read(await request.body(), POSTED)
    draft = draft_of(given.values["resource"][0])
    gateway, subject = request.app.state.gateway, request.state.subject
    return _prepared(await signing.prepare(gateway, subject, draft))


def _prepared(asked: signatures.Request) -> Response:
    return parameters.written([
        {"name": "request", "valueString": asked.id},
        {"name": "document", "valueBase64Binary": base64.b64encode(asked.document).decode()},
    ])  # fmt: skip  # One answer.


async def cancel(request: Request) -> Response:
    """`Task/{id}/$cancel`: by the prescriber; at a pharmacy it becomes a wish to be answered."""
    call = await parameters.called(request, CANCEL)
    await signing.cancel(
        call.gateway, call.subject, call.number, reason=call.given.text("reason"), item=call.item,
        key=call.key, expected=call.expected,
    )  # fmt: skip  # Who, what, why.
    return await parameters.answer(call)


async def hold(request: Request) -> Response:
    """`Task/{id}/$hold`: by the authority, with a reason; everything stays where it is."""
    call = await parameters.called(request, HOLD)
    await lifetime.hold(
        call.gateway, call.subject, call.number, call.item, reason=call.given.text("reason"),
        key=call.key, expected=call.expected,
    )  # fmt: skip  # Who, what, why.
    return await parameters.answer(call)


async def release(request: Request) -> Response:
    """`Task/{id}/$release`: by the authority; the item goes on where it stood."""
    call = await parameters.called(request, ())
    await lifetime.release(
        call.gateway, call.subject, call.number, call.item, key=call.key, expected=call.expected
    )
    return await parameters.answer(call)


async def define(gateway: Gateway) -> None:
    """Each minute: the OperationDefinitions of prescribing are stored as they are here."""
    await parameters.define(gateway, PLATFORM, DEFINITIONS)


def _operation(name: str, endpoint: Endpoint, role: Role) -> Operation:
    return Operation(
        name=name, type="Task", endpoint=endpoint, roles=frozenset({role}), instance=True
    )


OPERATIONS = (
    Operation(
        name="prescribe",
        type="MedicationRequest",
        endpoint=prescribe,
        roles=frozenset({Role.DOCTOR}),
    ),
    Operation(
        name="prepare-signature",
        type="MedicationRequest",
        endpoint=prepare_request,
        roles=frozenset({Role.DOCTOR}),
    ),
    _operation("prepare-signature", prepare_task, Role.DOCTOR),
    _operation("activate", activate, Role.DOCTOR),
    _operation("cancel", cancel, Role.DOCTOR),
    _operation("hold", hold, Role.ADMINISTRATOR),
    _operation("release", release, Role.ADMINISTRATOR),
)
DEFINITIONS = (
    parameters.definition(
        "prescribe",
        "Drafts get a number, a code and Tasks",
        PRESCRIBE,
        PRESCRIBED,
        type_="MedicationRequest",
    ),
    parameters.definition(
        "prepare-signature",
        "What the doctor's own program signs",
        _OVERRIDES,
        PREPARED,
    ),
    parameters.definition(
        "prepare-signature",
        "What the doctor's own program signs of a request that will be posted",
        POSTED,
        PREPARED,
        type_="MedicationRequest",
    ),
    parameters.definition("activate", "Sign the drafts of a prescription", ACTIVATE, (_TASK,)),
    parameters.definition("cancel", "Cancel an item, or ask the pharmacy to", CANCEL, (_TASK,)),
    parameters.definition("hold", "Stop an open item where it stands", HOLD, (_TASK,)),
    parameters.definition("release", "Let an item on hold go on", (), (_TASK,)),
)
