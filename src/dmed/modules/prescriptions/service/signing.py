"""Sign, correct, cancel, repeat: the acts of the doctor."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock, ids
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    Issue,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.facilities import api as facilities
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import (
    CANCEL_REASONS,
    ITEMS_MAX,
    Alert,
    Draft,
    DraftItem,
    ItemState,
    Prescription,
)
from dmed.modules.prescriptions.rules import (
    checks,
    courses,
    documents,
    numbers,
    papers,
    resources,
    states,
)
from dmed.modules.prescriptions.rules.states import Actor, Event, Who
from dmed.modules.prescriptions.service import decisions, diagnoses, drafts, paper_forms, views
from dmed.modules.prescriptions.service.case import Case, expect, move, open_case
from dmed.modules.prescriptions.service.keys import Keys, keys
from dmed.modules.prescriptions.service.lifetime import once
from dmed.modules.signing import api as signatures
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

Within = Callable[["GatewayUnit", str], Awaitable[None]]
_PRESCRIBER = Actor(who=Who.PRESCRIBER)
_CANCELLABLE = {ItemState.TO_BE_DISPENSED, ItemState.FUTURE}


class Signer(msgspec.Struct, frozen=True):
    """Who signs, as the registers know him at this moment."""

    name: str
    organisation: facilities.OrganisationFacts
    right: signatures.Right


async def signer(gateway: Gateway, subject: Subject, now: datetime) -> Signer:
    """The doctor with a valid licence in a working organisation, or ForbiddenError that says what
    is missing. Asked anew at each signature.
    """
    drafts.require_doctor(subject)
    if not subject.organisation or not subject.practitioner_role:
        raise ForbiddenError("A prescription is signed in a post of a medical organisation")
    day = now.astimezone(clock.TASHKENT).date()
    # Both at once: the reads of one moment go to the database together.
    right, place = await asyncio.gather(
        signatures.right(gateway, subject, documents.ACT, day),
        facilities.organisation(gateway, subject, subject.organisation),
    )
    allowed = facilities.licence_valid(place, day)
    if not allowed.allowed:
        raise _refused(f"{place.name} may not prescribe today", allowed.reasons)
    return Signer(right.practitioner.short_name, place, right)


def _refused(sentence: str, reasons: tuple[facilities.Reason, ...]) -> ForbiddenError:
    said = ", ".join(
        reason.key + (f" {reason.values}" if reason.values else "") for reason in reasons
    )
    return ForbiddenError(f"{sentence}: {said}")


def refusal(alerts: list[Alert]) -> UnprocessableError:
    """One issue for each alert that keeps the draft from being signed."""
    return UnprocessableError(issues=tuple(
        Issue("business-rule",
              alert.sentence + ("" if alert.tier is alert.tier.STOP
                                else " (a coded reason leads on)"),
              f"MedicationRequest[{alert.item}]" if alert.item >= 0 else "MedicationRequest")
        for alert in alerts
    ))  # fmt: skip  # One expression.


async def sign(
    gateway: Gateway,
    subject: Subject,
    draft: Draft,
    *,
    key: str = "",
    authored: datetime | None = None,
    bases: tuple[dict[str, Any], ...] = (),
    given: signatures.Given | None = None,
    within: Within | None = None,
) -> Prescription:
    """Check, sign and activate in one transaction; see `api.sign`. `bases`: posted resources
    whose further content is kept; `given`: what the doctor's own program signed; `within`: what
    else belongs to the act, done in its transaction with the new number.
    """
    now = clock.now()
    if draft.paper:
        papers.check_written(draft.paper, now)
    else:
        states.check_signing_time(authored or now, now)
    who = await signer(gateway, subject, now)
    draft = drafts.derive(draft)
    key = key or (f"draft:{draft.id}" if draft.id else "")
    number = await _before(gateway, subject, key)
    if not number:
        try:
            alerts = await _judged(gateway, subject, draft)
        except (ConflictError, UnprocessableError):
            # A retry beside the first request may meet what that one has just written.
            number = await _before(gateway, subject, key)
            if not number:
                raise
        else:
            patient = await gateway.get(subject, "Patient", draft.patient)
            signed = await confirmed(
                gateway, subject, draft, who, patient, authored or now, key, given
            )
            at = resources.moment_of(str(signatures.read(signed.document)["at"]))
            number = await _signed(
                gateway, subject, draft, key, who, patient, alerts, at, bases, signed, within
            )
    return await with_code(gateway, subject, number)


async def _judged(gateway: Gateway, subject: Subject, draft: Draft) -> list[Alert]:
    """The alerts of a draft that may be signed; UnprocessableError or ConflictError otherwise."""
    await _check_replaced(gateway, subject, draft)
    alerts = await drafts.check(gateway, subject, draft)
    blocking = checks.unanswered(alerts)
    if blocking:
        raise refusal(blocking)
    return alerts


async def _signed(
    gateway: Gateway,
    subject: Subject,
    draft: Draft,
    key: str,
    who: Signer,
    patient: dict[str, Any],
    alerts: list[Alert],
    authored: datetime,
    bases: tuple[dict[str, Any], ...],
    signed: signatures.Signed,
    within: Within | None,
) -> str:
    """The one transaction of a signature; the number, also of the same act done before."""
    async with gateway.unit(subject) as unit:
        if key:
            kept = await tables.begin_act(unit, subject.user, key, "sign", "")
            if kept is not None:
                return same_act(kept, "sign")
        await signatures.use(unit, subject, signed)
        if draft.paper:
            await paper_forms.enter(unit, subject, draft.paper, clock.now())
        if draft.replaces and not draft.replaces_item:
            await _cancel_replaced(unit, subject, draft.replaces, clock.now())
        number = await write(
            unit, gateway, subject, draft, who, patient, alerts, authored, bases, signed=signed
        )
        if within is not None:
            await within(unit, number)
        if draft.id:
            await tables.end_draft(unit, subject.user, draft.id)
        if key:
            await tables.end_act(unit, subject.user, key, number)
    return number


async def _before(gateway: Gateway, subject: Subject, key: str) -> str:
    """The number that a signature under this key made before, or ""."""
    if not key:
        return ""
    async with gateway.unit(subject) as unit:
        kept = await tables.kept_act(unit, subject.user, key)
    return same_act(kept, "sign") if kept is not None else ""


def same_act(kept: Any, act: str) -> str:
    """The number that the act before under the same key made, or why it is no such act."""
    if kept["act"] != act:
        raise UnprocessableError("This idempotency key was used for another act")
    if not kept["number"]:
        raise ConflictError("The first request under this key has not ended")
    return str(kept["number"])


async def _check_replaced(gateway: Gateway, subject: Subject, draft: Draft) -> None:
    """Only what nobody claimed can be corrected; ConflictError names the state before any check.
    The transaction decides again under lock.
    """
    if not draft.replaces or draft.replaces_item:
        return  # One item at a pharmacy: its act decides under lock.
    old = await views.prescription(gateway, subject, draft.replaces)
    for item in old.items:
        if item.state is not ItemState.TO_BE_DISPENSED:
            raise ConflictError(
                f"{states.said_of(item.number, item.state, item.holder_name)}; it cannot be "
                "corrected any more"
            )


async def _overridden(
    unit: GatewayUnit, alerts: list[Alert], requests: list[str], context: resources.Context
) -> None:
    """The alerts that the doctor passed with a reason travel with their items."""
    for alert in alerts:
        if alert.override and alert.item >= 0:
            await unit.create(
                "DetectedIssue", resources.issue_of(alert, requests[alert.item], context))


def _records(
    unit: GatewayUnit, draft: Draft, bases: tuple[dict[str, Any], ...], context: resources.Context,
    row: states.Row,
) -> list[tuple[str, dict[str, Any]]]:
    """A MedicationRequest and a Task for each line, in turn."""
    known, made = drafts.preparations_of(draft), []
    for index, item in enumerate(draft.items):
        icd = item.diagnosis or draft.diagnosis
        request = resources.request_of(
            item, known[item.preparation], (icd, diagnoses.entries().get(icd)), index, context,
            bases[index] if index < len(bases) else None,
        )  # fmt: skip  # One line of the prescription.
        id_, task_id = unit.id_beside(draft.patient), unit.id_beside(draft.patient)
        task = resources.task_of(id_, index, context, row)
        made += [
            ("MedicationRequest", {**request, "id": id_, "status": row.request}),
            ("Task", {**task, "id": task_id}),
        ]
    return made


async def write(
    unit: GatewayUnit,
    gateway: Gateway,
    subject: Subject,
    draft: Draft,
    who: Signer,
    patient: dict[str, Any],
    alerts: list[Alert],
    authored: datetime,
    bases: tuple[dict[str, Any], ...],
    *,
    signed: signatures.Signed | None = None,
) -> str:
    """All records of a new prescription; its number. Unsigned it is a draft."""
    secrets = keys(gateway.settings)
    known = drafts.preparations_of(draft)
    carried = await decisions.bound(unit, draft, clock.today())
    day = authored.astimezone(clock.TASHKENT).date()
    named = courses.validity_class(draft, tuple(known.values()))
    until = courses.valid_until(named, draft.start or day)
    region = who.organisation.region
    region = region if region in tables.REGIONS else tables.REGIONS[9]
    confirmed_at = authored
    if draft.paper:
        # The day on the paper counts for validity; the confirmation is of today.
        number, authored = draft.paper.number, draft.paper.written
        until = courses.valid_until(named, draft.start or resources.day_of(authored.isoformat()))
    else:
        number = numbers.make_number(region, await tables.next_running(unit, region))
    # No longer than a decision carries: a pharmacy would have to refuse it afterwards.
    until = min([until, *(each.valid_until for each in carried.values())])
    context = resources.Context(
        number=number, patient=draft.patient, patient_name=views.name_of(patient),
        decisions={key: each.id for key, each in carried.items()},
        prescriber=subject.practitioner_role, prescriber_name=who.name,
        organisation=subject.organisation, organisation_name=who.organisation.name,
        authored=authored, valid_until=until, trustee=draft.trustee, replaces=draft.replaces,
        start=draft.start, repeats=draft.repeats, is_insured=named == "reimbursed",
        commission=draft.commission, paper=draft.paper, confirmed=confirmed_at,
    )  # fmt: skip  # Facts of one prescription.
    code = numbers.make_code(secrets.codes, number)
    await tables.insert(
        unit, number=number, patient=draft.patient, prescriber=subject.practitioner_role,
        organisation=subject.organisation, author=subject.user, signed=authored,
        valid_until=until, code_digest=numbers.code_digest(code),
        short_digest=numbers.code_digest(code[: numbers.SHORT_CODE_LENGTH]),
        replaces=draft.replaces, is_draft=signed is None,
    )  # fmt: skip  # Same.
    row = states.created() if signed is None else states.activated(draft.start, clock.now())
    records = _records(unit, draft, bases, context, row)
    written = await unit.create_many(records)
    requests, tasks = written[::2], written[1::2]
    await tables.insert_items(
        unit, number, [(one.id, task.id) for one, task in zip(requests, tasks, strict=True)],
        draft.start if row.state is ItemState.FUTURE else None,
    )  # fmt: skip  # One row an item.
    await _overridden(unit, alerts, [one.id for one in requests], context)
    if signed is None:
        return number
    targets = [f"{one.type}/{one.id}" for one in written]
    digests = {f"{one.type}/{one.id}": hashlib.sha256(one.body).hexdigest() for one in requests}
    await confirm(unit, secrets, subject, context, targets, digests, signed)
    return number


async def confirm(
    unit: GatewayUnit,
    secrets: Keys,
    subject: Subject,
    context: resources.Context,
    targets: list[str],
    digests: dict[str, str],
    signed: signatures.Signed,
) -> None:
    """Store the electronic confirmation: the platform's seal and the doctor's signatures."""
    seal = confirmation(secrets, subject, context, digests, signed)
    parts = [(part.format, part.data) for part in signed.envelope.parts]
    await unit.create("Provenance", resources.provenance_of(targets, context, seal, parts))


def confirmation(
    secrets: Keys,
    subject: Subject,
    context: resources.Context,
    digests: dict[str, str],
    signed: signatures.Signed,
) -> str:
    """The platform's seal over who confirmed what: number, signer, moment, the SHA-256 of each
    MedicationRequest as it was stored, the signed document and what proved its signature.
    """
    payload = {
        "document": msgspec.Raw(signed.document),
        "made_by": signed.made_by,
        "proof": signed.proof,
        "operator": signed.envelope.operator,
        "number": context.number,
        "signer": subject.user,
        "role": context.prescriber,
        "at": resources.moment(context.confirmed or context.authored),
        "sha256": digests,
    }
    return secrets.confirm(msgspec.json.encode(payload, order="sorted"))


async def prepare(gateway: Gateway, subject: Subject, draft: Draft) -> signatures.Request:
    """The document of a checked draft for the doctor's own program; see `api.prepare`."""
    now = clock.now()
    who = await signer(gateway, subject, now)
    draft = drafts.derive(draft)
    await _judged(gateway, subject, draft)
    patient = await gateway.get(subject, "Patient", draft.patient)
    return await shown(gateway, subject, draft, who, patient, now)


async def shown(
    gateway: Gateway, subject: Subject, draft: Draft, who: Signer, patient: dict[str, Any],
    at: datetime,
) -> signatures.Request:  # fmt: skip  # One signature.
    """Keep the document of a judged draft until the doctor's own program has signed it."""
    document = _document(draft, who, patient, at, ids.secret(128))
    return await signatures.prepare(gateway, subject, documents.ACT, document)


async def confirmed(
    gateway: Gateway,
    subject: Subject,
    draft: Draft,
    who: Signer,
    patient: dict[str, Any],
    at: datetime,
    key: str,
    given: signatures.Given | None,
) -> signatures.Signed:
    """The doctor's signature over the prescription, verified before anything is stored.

    SignatureError with the reason; also where a given one is over another draft than this.
    """
    nonce = key or ids.secret(128)
    if given is None:
        return await signatures.sign(
            gateway, who.right, _document(draft, who, patient, at, nonce)
        )
    kept = await signatures.opened(gateway, subject, documents.ACT, given)
    said = signatures.read(kept)
    moment = resources.moment_of(str(said["at"]))
    if _document(draft, who, patient, moment, str(said["id"])) != kept:
        raise signatures.SignatureError(
            signatures.Why.OTHER_DOCUMENT,
            "The draft or your entry in the staff register was changed after it was kept for "
            "signing: sign it again",
        )
    return await signatures.sign(gateway, who.right, kept, given)


def _document(
    draft: Draft, who: Signer, patient: dict[str, Any], at: datetime, nonce: str
) -> bytes:
    content = documents.content(
        draft, drafts.preparations_of(draft), patient, views.name_of(patient)
    )
    return signatures.document(documents.ACT, who.right, content, resources.moment(at), nonce)


async def with_code(gateway: Gateway, subject: Subject, number: str) -> Prescription:
    """The prescription with its access code, for its own doctor."""
    found = await views.prescription(gateway, subject, number)
    code = numbers.make_code(keys(gateway.settings).codes, found.number)
    return msgspec.structs.replace(found, code=code)


async def _cancel_replaced(unit: GatewayUnit, subject: Subject, text: str, now: datetime) -> None:
    case = await open_case(unit, numbers.read_number(text))
    _require_author(case, subject)
    for number in case.items:
        await move(unit, case, number, Event.CANCEL, _PRESCRIBER, now, reason="corrected")


def _require_author(case: Case, subject: Subject) -> None:
    """A prescription is changed by its doctor, or another doctor of the same organisation."""
    if subject.role is not Role.DOCTOR or subject.organisation != case.row["organisation"]:
        raise ForbiddenError("Only a doctor of the prescribing organisation may change it")


async def cancel(
    gateway: Gateway,
    subject: Subject,
    text: str,
    *,
    reason: str,
    item: int,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> Prescription:
    """Cancel items nobody claimed; ask the pharmacy that holds one; see `api.cancel`."""
    if reason not in CANCEL_REASONS:
        raise InvalidError(f"{reason!r} is no reason of a cancellation")
    number = numbers.read_number(text)
    now = clock.now()
    async with gateway.unit(subject) as unit:
        case = await open_case(unit, number)
        _require_author(case, subject)
        is_new = await once(unit, subject, key, f"cancel {item}", number)
        if is_new:
            expect(case, expected)
        chosen = [] if not is_new else [item] if item else [
            each.number for each in case.items.values()
            if each.standing.state in _CANCELLABLE or each.standing.holder
        ]  # fmt: skip  # Two branches.
        if not chosen and is_new:
            first = next(iter(case.items.values()))
            raise ConflictError(f"{states.said(first.standing)}; nothing is left to cancel")
        for each in chosen:
            event = Event.CANCEL_REQUEST if case.item(each).standing.holder else Event.CANCEL
            await move(unit, case, each, event, _PRESCRIBER, now, reason=reason)
    return await views.prescription(gateway, subject, number)


async def repeat_last(gateway: Gateway, subject: Subject, patient: str) -> Draft:
    """A saved draft with the items of the patient's newest prescription; see `api.repeat_last`."""
    drafts.require_doctor(subject)
    for old in await views.for_person(gateway, subject, patient, 10):
        items = tuple(
            DraftItem(
                preparation=item.preparation, dose=item.dose, times_per_day=item.times_per_day,
                duration_days=item.duration_days, quantity=item.quantity,
                diagnosis="" if item.diagnosis == old.diagnosis else item.diagnosis,
                note=item.note, product=item.product,
            )
            for item in old.items
            if item.preparation and item.state is not ItemState.ENTERED_IN_ERROR
        )  # fmt: skip  # One line of the old prescription.
        if items:
            fresh = Draft(patient=patient, diagnosis=old.diagnosis, items=items[:ITEMS_MAX])
            return await drafts.save(gateway, subject, drafts.derive(fresh))
    raise NotFoundError("There is no earlier prescription to repeat")
