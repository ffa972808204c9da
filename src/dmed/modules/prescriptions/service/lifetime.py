"""Acts on a signed item that are neither the doctor's nor the counter's: hold, release, payment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, UnprocessableError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import HOLD_REASONS
from dmed.modules.prescriptions.rules import numbers
from dmed.modules.prescriptions.rules.states import Actor, Event, Who
from dmed.modules.prescriptions.service.case import expect, move, open_case
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

_AUTHORITY = Actor(who=Who.AUTHORITY)
_INSURER = Actor(who=Who.INSURER)


async def once(
    unit: GatewayUnit, subject: Subject, key: str, act: str, number: str
) -> bool:
    """Whether this act is new under its key; no key is always new. UnprocessableError when the key
    was used for another act.
    """
    if not key:
        return True
    kept = await tables.begin_act(unit, subject.user, key, act, number)
    if kept is None:
        return True
    if kept["act"] != act or kept["number"] != number:
        raise UnprocessableError("This idempotency key was used for another act")
    return False


async def hold(
    gateway: Gateway,
    subject: Subject,
    text: str,
    item: int,
    *,
    reason: str,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> None:
    """Stop an open item where it stands; see `api.hold`."""
    if reason not in HOLD_REASONS:
        raise InvalidError(f"{reason!r} is no reason of a hold: {', '.join(HOLD_REASONS)}")
    await _by_authority(gateway, subject, text, item, Event.HOLD, reason, key, expected)


async def release(
    gateway: Gateway,
    subject: Subject,
    text: str,
    item: int,
    *,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> None:
    """Let an item on hold go on where it stood; see `api.release`."""
    await _by_authority(gateway, subject, text, item, Event.RELEASE, "", key, expected)


async def _by_authority(
    gateway: Gateway,
    subject: Subject,
    text: str,
    item: int,
    event: Event,
    reason: str,
    key: str,
    expected: Mapping[int, int] | None,
) -> None:
    if subject.role is not Role.ADMINISTRATOR:
        raise ForbiddenError("Only the authority (an administrator) holds and releases")
    number = numbers.read_number(text)
    async with gateway.unit(subject) as unit:
        case = await open_case(unit, number)
        if await once(unit, subject, key, f"{event} {item}", number):
            expect(case, expected)
            await move(unit, case, item, event, _AUTHORITY, clock.now(), reason=reason)


async def settle(
    gateway: Gateway, subject: Subject, text: str, item: int, *, is_paid: bool, reason: str = ""
) -> None:
    """The insurer's answer to a claim; see `api.settle`."""
    if subject.role is not Role.SERVICE:
        raise ForbiddenError("Only the insurer's system answers a claim for payment")
    number = numbers.read_number(text)
    event = Event.PAY if is_paid else Event.REFUSE_PAYMENT
    async with gateway.unit(subject) as unit:
        case = await open_case(unit, number)
        await move(unit, case, item, event, _INSURER, clock.now(), reason=reason)
