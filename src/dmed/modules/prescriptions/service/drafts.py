"""Drafts and their checks: autosaved, private to their doctor, never a clinical fact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from dmed.kit import ids
from dmed.kit.clock import today
from dmed.kit.errors import ForbiddenError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.medid import api as medid
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import Alert, Draft, DraftItem, Unregistered
from dmed.modules.prescriptions.rules import checks, courses, law, resources, unregistered
from dmed.modules.prescriptions.rules.foreign import Order
from dmed.modules.prescriptions.rules.precision import OVERRIDDEN
from dmed.modules.prescriptions.service import decisions, diagnoses, views
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

SCREEN = "screen"
DRAFTS_MAX = 50
KEEP_HOURS = 24
"""A draft that nobody touched for a day is forgotten (B2: 24 h without signature)."""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Draft)


def preparations_of(draft: Draft) -> dict[str, medicines.Preparation]:
    """The registered preparations that the draft's lines name, by key; of an unregistered one what
    the doctor stated.
    """
    found = {}
    for item in draft.items:
        if item.unregistered is not None:
            made = unregistered.preparation(item.unregistered)
            if made is not None:
                found[item.preparation] = made
            continue
        try:
            found[item.preparation] = medicines.registered(item.preparation)
        except NotFoundError:
            continue
    return found


def products_of(draft: Draft) -> dict[str, medicines.Product]:
    """The products on the market that the draft's lines name, by key."""
    named = {item.product for item in draft.items} - {""}
    return {key: medicines.product(key) for key in named if medicines.is_on_market(key)}


def derive(draft: Draft) -> Draft:
    """The draft with everything filled in that can be derived."""
    known = preparations_of(draft)
    items = tuple(
        courses.filled(known[item.preparation], item) if item.preparation in known else item
        for item in draft.items
    )
    return msgspec.structs.replace(draft, items=items)


def unregistered_line(medicine: Unregistered) -> DraftItem:
    """A line of a medicine that is not in the register."""
    return DraftItem(preparation=unregistered.key_of(medicine), unregistered=medicine)


def require_doctor(subject: Subject) -> None:
    """Only doctors write prescriptions."""
    if subject.role is not Role.DOCTOR:
        raise ForbiddenError("Only a doctor may write a prescription")


async def save(gateway: Gateway, subject: Subject, draft: Draft) -> Draft:
    """Keep a draft of its doctor."""
    require_doctor(subject)
    kept = msgspec.structs.replace(draft, id=draft.id or ids.secret(128), updated=None)
    async with gateway.unit(subject) as unit:
        moment = await tables.save_draft(
            unit, kept.id, subject.user, kept.patient, _encoder.encode(kept)
        )
    if moment is None:
        raise NotFoundError(f"There is no draft {kept.id}")
    return msgspec.structs.replace(kept, updated=moment)


async def listed(gateway: Gateway, subject: Subject, patient: str) -> list[Draft]:
    """The doctor's drafts, newest first."""
    async with gateway.unit(subject) as unit:
        rows = await tables.drafts(unit, subject.user, patient, DRAFTS_MAX)
    return [
        msgspec.structs.replace(_decoder.decode(row["body"]), updated=row["updated"])
        for row in rows
    ]


async def one(gateway: Gateway, subject: Subject, draft_id: str) -> Draft:
    """One of the doctor's drafts, or NotFoundError."""
    async with gateway.unit(subject) as unit:
        row = await tables.draft(unit, subject.user, draft_id)
    if row is None:
        raise NotFoundError(f"There is no draft {draft_id}")
    return msgspec.structs.replace(_decoder.decode(row["body"]), updated=row["updated"])


async def drop(gateway: Gateway, subject: Subject, draft_id: str) -> None:
    """Forget a draft."""
    async with gateway.unit(subject) as unit:
        await tables.end_draft(unit, subject.user, draft_id)


async def check(gateway: Gateway, subject: Subject, draft: Draft) -> list[Alert]:
    """Everything to say about a draft, worst first. What it replaces does not count as running."""
    require_doctor(subject)
    person = checks.Person()
    if draft.patient:
        without: frozenset[str] = frozenset()
        if draft.replaces:
            old = await views.prescription(gateway, subject, draft.replaces)
            only = draft.replaces_item
            without = frozenset(item.request for item in old.items
                                if not only or item.number == only)  # fmt: skip  # One filter.
        facts = await medid.facts(gateway, subject, draft.patient)
        person = person_of(facts, without)
    known = preparations_of(draft)
    alerts = [
        *law.check(draft, known, products_of(draft)),
        *await decisions.judge(gateway, subject, draft, known),
        *checks.check(draft, known, diagnoses.viral(), person, today()),
    ]
    await _count(gateway, subject, draft, alerts)
    return alerts


async def _count(gateway: Gateway, subject: Subject, draft: Draft, alerts: list[Alert]) -> None:
    """Count what the tables said: once a day for a doctor, person, rule and medicine, so that a
    line that is typed letter by letter counts once.
    """
    counted = {
        shown_card(subject.user, draft.patient, today().isoformat(), alert.rule,
                   draft.items[alert.item].preparation if alert.item >= 0 else ""): alert
        for alert in alerts if alert.version and draft.patient
    }  # fmt: skip  # One mapping.
    if not counted:
        return
    # In one order, so that two checks at the same time never wait for each other.
    counted = dict(sorted(counted.items()))
    passed = {card: alert.override for card, alert in counted.items() if alert.override}
    async with gateway.unit(subject) as unit:
        await note_shown(unit, SCREEN, counted)
        if passed:
            await tables.answer_alerts(unit, SCREEN, list(passed),
                                       [OVERRIDDEN] * len(passed), list(passed.values()))


def shown_card(*parts: str) -> UUID:
    """The number of an alert that was shown: the same for the same parts."""
    return UUID(bytes=hashlib.sha256("|".join(parts).encode()).digest()[:16], version=5)


async def note_shown(unit: GatewayUnit, channel: str, alerts: Mapping[UUID, Alert]) -> None:
    """Count alerts as shown in a channel: our screen, or a system's client."""
    shown = list(alerts.values())
    await tables.note_alerts(
        unit, channel, today(), list(alerts), [alert.rule for alert in shown],
        [alert.version for alert in shown], [alert.tier.value for alert in shown],
    )  # fmt: skip  # The order of the statement.


def judge(orders: Sequence[Order], facts: medid.PersonFacts) -> list[Alert]:
    """What the tables of safety say about orders of another system, worst first; `Alert.item` is
    the place in the list. Nothing is read or stored.
    """
    viral = diagnoses.viral()
    lines = [
        checks.Line(at, order.item, order.preparation, order.item.diagnosis,
                    order.item.diagnosis in viral)
        for at, order in enumerate(orders)
    ]  # fmt: skip  # One line.
    return checks.ordered(checks.safety(lines, person_of(facts), today()))


def judge_card(facts: medid.PersonFacts) -> list[Alert]:
    """What the card alone gives reason to say: pairs among the medicines taken, their number."""
    return checks.of_card(person_of(facts), today())


def person_of(facts: medid.PersonFacts, without: frozenset[str] = frozenset()) -> checks.Person:
    """What the checks read, out of the facts of the card; `without`: ids of MedicationRequests that
    do not count. An INN that the card names in words or by its code alone is found in the register.
    """
    return checks.Person(
        age_years=facts.age_years,
        sex=facts.sex,
        pregnancy_weeks=facts.pregnancy_weeks,
        is_breastfeeding=facts.is_breastfeeding,
        weight_kg=facts.weight_kg,
        egfr=facts.egfr,
        diagnoses=tuple(each.code for each in facts.diagnoses if each.code),
        allergies=tuple(_allergy(each) for each in facts.allergies),
        running=tuple(
            checks.Running(
                inn=each.inn or medicines.inn_of_atc(each.atc) or medicines.inn_named(each.text),
                atc=each.atc,
                text=each.text,
                since=_day(each.since),
                until=_day(each.until),
            )
            for each in facts.medicines
            if each.id not in without
        ),
    )


def _allergy(fact: medid.AllergyFact) -> checks.Allergy:
    named = medicines.inn_of_atc(fact.atc) or medicines.inn_named(fact.inn or fact.text)
    return checks.Allergy(
        text=fact.text,
        inn=named or fact.inn,
        atc=fact.atc or medicines.atc_of_inn(named),
        reaction=fact.reaction,
        severity=fact.severity,
        since=fact.since,
    )


def _day(text: str) -> date | None:
    return resources.day_of(text) if text else None
