"""Prescribing in two steps, as systems of clinics do it: drafts with a number, then the signature.

The screen signs in one step (`signing`); both reach the same states by the same rules.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, UnprocessableError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import (
    ITEMS_COMMISSION_MAX,
    ITEMS_MAX,
    Alert,
    Draft,
    DraftItem,
    ItemState,
)
from dmed.modules.prescriptions.rules import checks, numbers, papers, resources, states
from dmed.modules.prescriptions.rules.states import Actor, Event, Who
from dmed.modules.prescriptions.service import drafts, signing, views
from dmed.modules.prescriptions.service.case import Case, expect, move, open_case
from dmed.modules.prescriptions.service.keys import keys
from dmed.modules.prescriptions.service.lifetime import once
from dmed.modules.signing import api as signatures
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

DRAFT_KEPT = timedelta(hours=24)
_PRESCRIBER = Actor(who=Who.PRESCRIBER)
_TIMER = Actor(who=Who.TIMER)
_AT_ONCE = 200

Overrides = Mapping[int, Mapping[str, str]]
"""Item -> rule -> coded reason."""


def together(parts: list[Draft], commission: str = "") -> Draft:
    """One draft of the drafts of a Bundle; UnprocessableError where they do not go together.
    `commission`: the decision that allows more than five names.
    """
    if not parts:
        raise UnprocessableError("The Bundle holds no MedicationRequest")
    most = ITEMS_COMMISSION_MAX if commission else ITEMS_MAX
    if len(parts) > most:
        raise UnprocessableError(f"A prescription names at most {most} medicines")
    first = parts[0]
    for each in parts:
        same = (each.patient, each.repeats, each.start)
        if same != (first.patient, first.repeats, first.start):
            raise UnprocessableError(
                "The items of a prescription share patient, number of repeats and first day"
            )
    items = tuple(item for each in parts for item in each.items)
    return msgspec.structs.replace(first, items=items, commission=commission)


class Prescribed(msgspec.Struct, frozen=True):
    """What drafts were given: number and code, and the Task of each item."""

    number: str
    code: str
    tasks: tuple[dict[str, Any], ...]


async def prescribe(
    gateway: Gateway, subject: Subject, draft: Draft, bases: tuple[dict[str, Any], ...], key: str
) -> Prescribed:
    """Give drafts a number, a code and Tasks; see `operations.prescribe`."""
    now = clock.now()
    who = await signing.signer(gateway, subject, now)
    draft = drafts.derive(draft)
    patient = await gateway.get(subject, "Patient", draft.patient)
    async with gateway.unit(subject) as unit:
        kept = await tables.begin_act(unit, subject.user, key, "prescribe", "") if key else None
        if kept is not None:
            number = signing.same_act(kept, "prescribe")
        else:
            number = await signing.write(
                unit, gateway, subject, draft, who, patient, [], now, bases
            )
            if key:
                await tables.end_act(unit, subject.user, key, number)
        case = await open_case(unit, number)
    code = numbers.make_code(keys(gateway.settings).codes, number)
    return Prescribed(number, code, tuple(item.task for item in case.items.values()))


async def activate(
    gateway: Gateway,
    subject: Subject,
    number: str,
    overrides: Overrides,
    *,
    key: str = "",
    expected: Mapping[int, int] | None = None,
    given: signatures.Given | None = None,
) -> Case:
    """Check and sign every draft of a prescription; see `operations.activate`. `given`: what the
    doctor's own program signed, over the document of `prepare`. The prescription as it stands then.
    """
    now = clock.now()
    who = await signing.signer(gateway, subject, now)
    found = await _read(gateway, subject, number)
    alerts: list[Alert] = []
    signed = None
    if _is_waiting(found):
        # Both at once: the reads of one moment go to the database together.
        (draft, alerts), patient = await asyncio.gather(
            _judged(gateway, subject, found, overrides),
            gateway.get(subject, "Patient", found.patient),
        )
        signed = await signing.confirmed(
            gateway, subject, draft, who, patient, now, f"activate {number} {now.isoformat()}",
            given
        )
        now = resources.moment_of(str(signatures.read(signed.document)["at"]))
    async with gateway.unit(subject) as unit:
        case = await open_case(unit, number)
        if not await once(unit, subject, key, "activate", number):
            return case
        expect(case, expected)
        if signed is not None:
            await signatures.use(unit, subject, signed)
        await _activated(unit, gateway, subject, case, who, alerts, now, signed)
    return case


async def prepare(
    gateway: Gateway, subject: Subject, number: str, overrides: Overrides
) -> signatures.Request:
    """The document of a prescription's drafts, judged as `activate` does, for the doctor's own
    program. ConflictError where nothing is left to sign.
    """
    now = clock.now()
    who = await signing.signer(gateway, subject, now)
    found = await _read(gateway, subject, number)
    if not _is_waiting(found):
        raise ConflictError("Nothing is left to activate")
    draft, _ = await _judged(gateway, subject, found, overrides)
    patient = await gateway.get(subject, "Patient", draft.patient)
    return await signing.shown(gateway, subject, draft, who, patient, now)


async def _read(gateway: Gateway, subject: Subject, number: str) -> Case:
    """The prescription as it stands; the transaction of the act reads it again under lock."""
    async with gateway.unit(subject) as unit:
        return await open_case(unit, number)


def _is_waiting(case: Case) -> bool:
    return any(item.standing.state is ItemState.DRAFT for item in case.items.values())


async def _judged(
    gateway: Gateway, subject: Subject, found: Case, overrides: Overrides
) -> tuple[Draft, list[Alert]]:
    """The draft of the unsigned records with its alerts; UnprocessableError where one blocks."""
    draft = _draft(found, overrides)
    alerts = await drafts.check(gateway, subject, draft)
    blocking = checks.unanswered(alerts)
    if blocking:
        raise signing.refusal(blocking)
    return draft, alerts


def _draft(found: Case, overrides: Overrides) -> Draft:
    """The draft that the unsigned records of a prescription mean."""
    items: list[DraftItem] = []
    repeats, start = 1, None
    for item in found.items.values():
        known = views.preparation_of(item.request)
        line = resources.item_of(item.request, known.key if known else "")
        given = dict(overrides.get(item.number, {}))
        items.append(msgspec.structs.replace(line, overrides=given))
        repeats = resources.instances_of(item.request)
        first_day, _ = resources.course_of(item.request)
        start = first_day if first_day > clock.today() else None
    commission = papers.commission_of(next(iter(found.items.values())).request)
    return Draft(patient=found.patient, diagnosis=items[0].diagnosis, items=tuple(items),
                 repeats=repeats, start=start, commission=commission)


async def _activated(
    unit: GatewayUnit,
    gateway: Gateway,
    subject: Subject,
    case: Case,
    who: signing.Signer,
    alerts: list[Alert],
    now: datetime,
    signed: signatures.Signed | None,
) -> None:
    if subject.practitioner_role != case.row["prescriber"]:
        raise ForbiddenError("A prescription is signed by the doctor who wrote it")
    states.check_signing_time(case.row["signed"], now)
    waiting = [item for item in case.items.values() if item.standing.state is ItemState.DRAFT]
    if not waiting or signed is None:
        first = next(iter(case.items.values()))
        raise ConflictError(f"{states.said(first.standing)}; nothing is left to activate")
    context = resources.Context(
        number=case.number, patient=case.patient, patient_name="",
        prescriber=subject.practitioner_role, prescriber_name=who.name,
        organisation=subject.organisation, organisation_name=who.organisation.name,
        authored=now, valid_until=case.row["valid_until"],
    )  # fmt: skip  # Facts of one prescription.
    targets, digests = [], {}
    for item in waiting:
        await move(unit, case, item.number, Event.ACTIVATE, _PRESCRIBER, now)
        request = item.request["id"]
        targets += [f"MedicationRequest/{request}", f"Task/{item.task['id']}"]
        digests[targets[-2]] = hashlib.sha256(item.request_body).hexdigest()
        for alert in alerts:
            if alert.item == item.number - 1 and alert.override:
                await unit.create("DetectedIssue", resources.issue_of(alert, request, context))
    await signing.confirm(unit, keys(gateway.settings), subject, context, targets, digests, signed)
    await tables.set_signed(unit, case.number, now)


async def end_drafts(gateway: Gateway, platform: Subject) -> None:
    """Drafts that nobody signed for a day are entered in error (B2)."""
    now = clock.now()
    async with gateway.unit(platform) as unit:
        due = await tables.unsigned(unit, now - DRAFT_KEPT, _AT_ONCE)
    for number in due:
        async with gateway.unit(platform) as unit:
            case = await open_case(unit, number)
            for item in list(case.items.values()):
                if item.standing.state is ItemState.DRAFT:
                    await move(unit, case, item.number, Event.DRAFT_END, _TIMER, now)
            await tables.set_signed(unit, number, case.row["signed"])
