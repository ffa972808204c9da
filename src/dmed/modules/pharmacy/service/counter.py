"""Claim and give back: who holds a prescription's items, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock, ids
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.facilities import api as facilities
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import NOT_DISPENSED_REASONS, RETURN_REASONS, Claim
from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.service import views
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Actor, Case, CaseItem, Event, ItemState, Who
from dmed.modules.workforce import api as workforce
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import scopes

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

_TIMER = Actor(who=Who.TIMER)
_LEASES_AT_ONCE = 200


def pharmacy_of(subject: Subject) -> str:
    """The pharmacy that a subject acts for; ForbiddenError for anybody else than its staff."""
    if subject.role not in {Role.PHARMACIST, Role.SERVICE} or not subject.organisation:
        raise ForbiddenError("Only a pharmacist in a post of a pharmacy may do this")
    return subject.organisation


def till_of(subject: Subject) -> Subject:
    """Who acts when a till calls an operation of the counter: its account, without the limits of
    its scopes. A till that may write hand-overs needs no right to search persons, prescriptions and
    Tasks: what an act reads is what the code, the lease or the pack opens to it. ForbiddenError for
    a system that may not write hand-overs. Who is no system acts as he is.
    """
    if subject.role is not Role.SERVICE or not subject.scopes.is_app:
        return subject
    if not scopes.allows(subject.scopes, "create", "MedicationDispense"):
        raise ForbiddenError("This system may not hand medicines over: it lacks the scope "
                             "system/MedicationDispense.c")  # fmt: skip  # One sentence.
    pharmacy_of(subject)
    return msgspec.structs.replace(subject, scopes=scopes.EVERYTHING)


def actor_of(subject: Subject) -> Actor:
    """The pharmacy as the state table knows it."""
    return Actor(who=Who.PHARMACY, organisation=pharmacy_of(subject))


async def require_licence(gateway: Gateway, subject: Subject, now: datetime) -> None:
    """The pharmacy works and its pharmacist is licensed today, or ForbiddenError says why not."""
    day = now.astimezone(clock.TASHKENT).date()
    # Both at once: the reads of one moment go to the database together.
    place, verdict = await asyncio.gather(
        facilities.organisation(gateway, subject, pharmacy_of(subject)),
        _verdict(gateway, subject, day),
    )
    if place.kind is not facilities.Kind.PHARMACY:
        raise ForbiddenError(f"{place.name} is no pharmacy")
    allowed = facilities.licence_valid(place, day)
    if not allowed.allowed:
        said = ", ".join(reason.key for reason in allowed.reasons)
        raise ForbiddenError(f"{place.name} may not dispense today: {said}")
    if verdict is not None and not verdict.allowed:
        said = ", ".join(reason.key for reason in verdict.reasons)
        raise ForbiddenError(f"The pharmacist may not dispense today: {said}")


async def _verdict(gateway: Gateway, subject: Subject, day: date) -> workforce.Verdict | None:
    """Whether the pharmacist is licensed; None for a system, whose pharmacy answers for it."""
    if subject.role is Role.SERVICE:
        return None
    return await workforce.licence_valid(gateway, subject, day)


async def once(unit: GatewayUnit, subject: Subject, key: str, act: str) -> bool:
    """Whether this act is new under its key; no key is always new. UnprocessableError when the key
    was used for another act.
    """
    if not key:
        return True
    before = await tables.begin_act(unit, pharmacy_of(subject), key, act)
    if before and before != act:
        raise UnprocessableError("This idempotency key was used for another act")
    return not before


async def claim(
    gateway: Gateway,
    subject: Subject,
    number_or_qr: str,
    code: str,
    items: tuple[int, ...],
    expected: Mapping[int, int] | None = None,
) -> Claim:
    """Take items to this counter; see `api.claim`."""
    case, _, token_holds = await claimed(gateway, subject, number_or_qr, code, items, expected)
    return await views.claim(gateway, subject, case.number, is_token_valid=token_holds)


async def claimed(
    gateway: Gateway,
    subject: Subject,
    number_or_qr: str,
    code: str,
    items: tuple[int, ...],
    expected: Mapping[int, int] | None = None,
) -> tuple[Case, dict[int, str], bool | None]:
    """The same; the records as the claim left them, the secrets by item, and whether the signed
    token of a QR text holds.
    """
    now = clock.now()
    await require_licence(gateway, subject, now)
    number_or_qr, code = gs1.as_meant(number_or_qr), gs1.as_meant(code)
    token_holds = None
    if number_or_qr.strip().upper().startswith("UZRX:"):
        text = prescriptions.read_qr(number_or_qr)
        token_holds = await prescriptions.token_holds(gateway, subject, text)
        number, code = text.number, text.code
    else:
        number = prescriptions.read_number(number_or_qr)
    if token_holds is False:
        raise ForbiddenError("The signature in this QR code does not hold: do not dispense")
    if not code:
        raise InvalidError("The code that stands under the QR code is needed beside the number")
    async with gateway.unit(subject) as unit:
        try:
            refusal = await prescriptions.check_code(unit, number, code, now)
        except NotFoundError:
            if token_holds and await prescriptions.is_on_its_way(unit, number):
                raise NotFoundError(
                    f"The doctor wrote {prescriptions.show_number(number)} without a network and "
                    "has not sent it yet: hand it over at the counter without a network") from None
            raise
        if not refusal:
            case = await prescriptions.open_case(unit, number)
            news = {each: vid for each, vid in (expected or {}).items()
                    if case.item(each).standing.holder != subject.organisation}
            prescriptions.expect(case, news)  # Claiming again is the same claim.
            await take(unit, subject, case, items, now)
            leases = await tables.claims(unit, number, subject.organisation)
    if refusal:
        # The count of wrong codes has committed; only now the answer is no.
        raise ForbiddenError(refusal)
    return case, {row["item"]: row["secret"] for row in leases}, token_holds


async def take(
    unit: GatewayUnit, subject: Subject, case: Case, items: tuple[int, ...], now: datetime
) -> None:
    """Claim the chosen items, or every one that can be, inside a unit. ConflictError names the
    state and the holder when none can.
    """
    actor = actor_of(subject)
    wanted = [case.item(number) for number in items] or list(case.items.values())
    for item in wanted:
        await end_lease(unit, case, item, now)
        await prescriptions.start_if_due(unit, case, item, now)
    possible = [item for item in wanted if _is_claimable(item, actor.organisation, now)]
    for item in possible if possible and not items else wanted:
        made = await prescriptions.move(
            unit, case, item.number, Event.CLAIM, actor, now,
            actor_name=subject.organisation_name, lease_until=now + prescriptions.LEASE,
        )  # fmt: skip  # Who, what, until when.
        if not made.is_unchanged:
            await tables.keep_claim(
                unit, case.number, item.number, actor.organisation, ids.secret(), now,
                now + prescriptions.LEASE,
            )  # fmt: skip  # Same.


def _is_claimable(item: CaseItem, pharmacy: str, now: datetime) -> bool:
    standing = item.standing
    if standing.holder:
        return standing.holder == pharmacy
    is_free = standing.state in {ItemState.TO_BE_DISPENSED, ItemState.PART_DISPENSED}
    return is_free and now.astimezone(clock.TASHKENT).date() <= standing.valid_until


async def end_lease(unit: GatewayUnit, case: Case, item: CaseItem, now: datetime) -> bool:
    """End a lease whose time is over; whether it did. The minute's job does the same."""
    standing = item.standing
    if not standing.holder or standing.lease_until is None or now < standing.lease_until:
        return False
    if standing.state is ItemState.ON_HOLD:
        return False  # The hold keeps everything as it is; the lease ends after its release.
    await prescriptions.move(unit, case, item.number, Event.LEASE_END, _TIMER, now)
    await tables.drop_claim(unit, case.number, item.number)
    return True


async def end_leases(gateway: Gateway, platform: Subject) -> None:
    """Each minute: leases that are over end, their secrets and reservations with them."""
    now = clock.now()
    async with gateway.unit(platform) as unit:
        due = await tables.ended_leases(unit, now, _LEASES_AT_ONCE)
    for row in due:
        async with gateway.unit(platform) as unit:
            case = await prescriptions.open_case(unit, row["number"])
            if not await end_lease(unit, case, case.item(row["item"]), now):
                standing = case.item(row["item"]).standing
                if not standing.holder:
                    await tables.drop_claim(unit, row["number"], row["item"])
                elif standing.state is ItemState.ON_HOLD:
                    later = now + prescriptions.LEASE
                    await tables.defer_claim(unit, row["number"], row["item"], later)


async def give_back(
    gateway: Gateway,
    subject: Subject,
    text: str,
    items: tuple[int, ...],
    reason: str,
    key: str,
    expected: Mapping[int, int] | None = None,
) -> Claim:
    """Held items are ready for any pharmacy again; see `api.return_`."""
    if reason not in RETURN_REASONS:
        raise InvalidError(f"{reason!r} is no reason to give a prescription back")
    number = prescriptions.read_number(text)
    actor, now = actor_of(subject), clock.now()
    async with gateway.unit(subject) as unit:
        case = await prescriptions.open_case(unit, number)
        if await once(unit, subject, key, f"return {number}"):
            prescriptions.expect(case, expected)
            held = [each.number for each in case.items.values()
                    if prescriptions.is_held(each, actor.organisation)]  # fmt: skip  # A filter.
            for each in items or tuple(held) or tuple(case.items):
                await prescriptions.move(unit, case, each, Event.RETURN, actor, now)
                await tables.drop_claim(unit, number, each)
    return await views.claim(gateway, subject, number)


async def end_item(
    gateway: Gateway,
    subject: Subject,
    text: str,
    item: int,
    event: Event,
    reason: str,
    key: str,
    expected: Mapping[int, int] | None = None,
) -> Claim:
    """Close, not dispensed, reject or an answer to a cancellation: the item leaves this counter
    (or, too late, stays); see `api`.
    """
    needs_reason = event in {Event.CLOSE, Event.NOT_DISPENSED, Event.REJECT}
    if needs_reason and reason not in NOT_DISPENSED_REASONS:
        raise InvalidError(f"{reason!r} is no reason not to dispense")
    number = prescriptions.read_number(text)
    actor, now = actor_of(subject), clock.now()
    async with gateway.unit(subject) as unit:
        case = await prescriptions.open_case(unit, number)
        if await once(unit, subject, key, f"{event} {number} {item}"):
            prescriptions.expect(case, expected)
            made = await prescriptions.move(unit, case, item, event, actor, now, reason=reason)
            if not made.holder:
                await tables.drop_claim(unit, number, item)
    return await views.claim(gateway, subject, number)


async def claim_payment(
    gateway: Gateway, subject: Subject, text: str, item: int, key: str = ""
) -> Claim:
    """Ask the insurance to pay for what this pharmacy handed over; see `api.claim_payment`."""
    number = prescriptions.read_number(text)
    actor, now = actor_of(subject), clock.now()
    async with gateway.unit(subject) as unit:
        case = await prescriptions.open_case(unit, number)
        if await once(unit, subject, key, f"payment {number} {item}"):
            handed = await tables.handovers_of(unit, number, actor.organisation)
            if not any(row["item"] == item and not row["undone"] for row in handed):
                raise ConflictError("Only a pharmacy that handed it over claims its payment")
            await prescriptions.move(unit, case, item, Event.CLAIM_PAYMENT, actor, now)
    return await views.claim(gateway, subject, number)


def require_held(case: Case, item: int, pharmacy: str) -> None:
    """The item is held here, or ConflictError names its state and holder."""
    found = case.item(item)
    if not prescriptions.is_held(found, pharmacy):
        raise ConflictError(f"{prescriptions.said(found.standing)}; it is not held by this "
                            "pharmacy")  # fmt: skip  # One sentence.
