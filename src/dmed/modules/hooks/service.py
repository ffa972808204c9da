"""Answering a hook: read what is missing, judge, count what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from dmed.kit.clock import today
from dmed.kit.errors import GoneError, InvalidError, NotFoundError, PreconditionError
from dmed.kit.i18n import Speech
from dmed.modules.hooks import rules
from dmed.modules.hooks.model import Service
from dmed.modules.medid import api as medid
from dmed.modules.prescriptions import api as prescriptions
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway


def channel_of(subject: Subject) -> str:
    """Under which name alerts of a caller are counted: its client, else its account."""
    return f"client:{subject.scopes.client}" if subject.scopes.client else f"user:{subject.user}"


async def answer(
    gateway: Gateway, subject: Subject, service: Service, request: rules.Request, t: Speech,
    own_server: str,
) -> dict[str, Any]:
    """The cards of a call. PreconditionError names the prefetch that is missing where the person's
    card is not here; nothing is ever asked of another server.
    """
    facts = await _facts(gateway, subject, request, own_server)
    channel = channel_of(subject)
    orders, names, unknown = [], [], []
    for key, record in request.orders:
        order = prescriptions.order_of(record, request.medications)
        if order is not None:
            orders.append(order)
            names.append(key)
        elif key in request.selected:
            number = prescriptions.shown_card(channel, request.instance, key, "not-registered")
            text = str(((record.get("medication") or {}).get("concept") or {}).get("text", ""))
            unknown.append(rules.unknown_card(t, key, text, number))
    alerts = (prescriptions.judge_card(facts) if service.hook == "patient-view"
              else prescriptions.judge(orders, facts))
    called = list(zip(names, rules.names_of(orders, t.language), strict=True))
    made = rules.cards(t, alerts, called, request, channel)
    if made:
        async with gateway.unit(subject) as unit:
            shown = {number: alert for number, (alert, _) in sorted(made.items())}
            await prescriptions.note_shown(unit, channel, shown)
    return {"cards": [*(card for _, card in made.values()), *unknown]}


async def _facts(
    gateway: Gateway, subject: Subject, request: rules.Request, own_server: str
) -> medid.PersonFacts:
    """Out of the prefetch where all of it was sent, else of the card, by the caller's rights."""
    missing = request.missing
    if not missing:
        return rules.facts_of(request, today())
    if request.server and request.server.rstrip("/") != own_server.rstrip("/"):
        raise _missing(missing, "its server is not asked from here")
    try:
        return await medid.facts(gateway, subject, request.patient)
    except (NotFoundError, GoneError) as fault:
        raise _missing(missing, "the person has no card here") from fault


def _missing(keys: list[str], why: str) -> PreconditionError:
    named = ", ".join(f"prefetch.{key}" for key in keys)
    return PreconditionError(f"Missing: {named}; {why}", f"prefetch.{keys[0]}")


async def feedback(
    gateway: Gateway, subject: Subject, answers: dict[UUID, tuple[str, str]]
) -> None:
    """Keep what became of cards that this client was shown; InvalidError names one that it was
    not, and then nothing is kept. Told again it is the same.
    """
    async with gateway.unit(subject) as unit:
        known = await prescriptions.answer_alerts(unit, channel_of(subject), answers)
        for at, card in enumerate(answers):
            if card not in known:
                raise InvalidError(f"The card {card} was never shown to this client",
                                   f"feedback[{at}].card")  # fmt: skip  # One sentence.
