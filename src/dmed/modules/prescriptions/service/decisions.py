"""Decisions of commissions about unregistered medicines: entered by heads, asked by prescribing.

A head sees no person's card: he types the PINFL that the decision names, and the platform writes
the record. What counts is the row here; the DocumentReference is its copy for whoever may read the
card, so that none that a client writes carries a prescription.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.medicines import api as medicines
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import Alert, Decision, Draft, Unregistered
from dmed.modules.prescriptions.rules import tokens, unregistered
from dmed.modules.prescriptions.service.views import PINFL_SYSTEM
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

PLATFORM = Subject(user="platform", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who acts where no person does."""
VALID_DAYS_MAX = 366
"""Settled for this platform: a decision is made anew each year."""
SHOWN_MAX = 200
_PINFL_DIGITS = 14
_TYPE = "DocumentReference"


def _require_head(subject: Subject) -> None:
    if subject.role is not Role.HEAD or not subject.organisation:
        raise ForbiddenError("A commission's decision is entered by the head of an institution")


async def enter(
    gateway: Gateway,
    subject: Subject,
    *,
    number: str,
    decided: date,
    council: str,
    chair: str,
    pinfl: str,
    inn: str,
    valid_until: date,
) -> Decision:
    """Keep a decision as the head of an institution read it; see `api.enter_decision`."""
    _require_head(subject)
    number, council, chair, inn = (_words(each) for each in (number, council, chair, inn))
    missing = [name for name, value in (("number", number), ("council", council),
                                        ("chair", chair), ("inn", inn)) if not value]
    if missing:
        raise InvalidError(f"A decision names {', '.join(missing)}, too", missing[0])
    today = clock.today()
    if decided > today:
        raise UnprocessableError(f"Decided on {decided}: this day lies in the future", "decided")
    if not today <= valid_until <= decided + timedelta(days=VALID_DAYS_MAX):
        raise UnprocessableError(
            f"Valid until {valid_until}: a decision is valid from today on and for at most "
            f"{VALID_DAYS_MAX} days from {decided}", "valid_until",
        )  # fmt: skip  # One refusal.
    patient = await _person(gateway, pinfl)
    made = Decision(
        id="", number=number, decided=decided, council=council, chair=chair,
        organisation=subject.organisation, organisation_name=subject.organisation_name,
        patient=patient, inn=inn, valid_until=valid_until, entered=clock.now(),
    )  # fmt: skip  # Facts of one decision.
    async with gateway.unit(PLATFORM) as unit:
        for row in await _rows(unit, patient):
            if unregistered.is_same_number(row["number"], number) and (
                row["organisation"], row["decided"], row["withdrawn"]
            ) == (subject.organisation, decided, None):
                raise ConflictError(f"Decision {number} of {decided} is entered already")
        written = await unit.create(_TYPE, unregistered.document(made, subject.name))
        await tables.keep_decision(unit, written.id, subject.user, **_columns(made))
    await gateway.note(subject, "C", f"commission decision {number} of {decided}: {inn}",
                       patient=patient)  # fmt: skip  # Who did it: the record says the platform.
    return _with_id(made, written.id)


def _words(text: str) -> str:
    return " ".join(text.split())[: unregistered.TEXT_CHARACTERS_MAX]


def _columns(made: Decision) -> dict[str, object]:
    return {name: getattr(made, name) for name in Decision.__struct_fields__ if name != "id"}


def _with_id(made: Decision, id_: str) -> Decision:
    return unregistered.of_row({**_columns(made), "id": id_})


async def _person(gateway: Gateway, pinfl: str) -> str:
    """The one person of a PINFL; UnprocessableError where no card has it."""
    digits = "".join(sign for sign in pinfl if sign.isascii() and sign.isdecimal())
    if len(digits) != _PINFL_DIGITS:
        raise InvalidError("A PINFL has 14 digits", "pinfl")
    found = await gateway.find(
        PLATFORM, "Patient", f"identifier={PINFL_SYSTEM}|{digits}&_count=2&active:not=false"
    )
    if len(found) != 1:
        raise UnprocessableError("No card has this PINFL: check the digits", "pinfl")
    return str(found[0]["id"])


async def _rows(unit: GatewayUnit, patient: str) -> list[Any]:
    """The decisions about a person, whichever of his cards they were entered for."""
    return await tables.decisions_of(unit, await unit.cards_of(patient))


async def listed(gateway: Gateway, subject: Subject) -> list[Decision]:
    """What was entered for the head's own institution, newest first."""
    _require_head(subject)
    async with gateway.unit(subject) as unit:
        rows = await tables.decisions_by(unit, subject.organisation, SHOWN_MAX)
    return [unregistered.of_row(row) for row in rows]


async def withdraw(gateway: Gateway, subject: Subject, id_: str) -> None:
    """End a decision of the own institution: nothing is signed or handed over by it any more."""
    _require_head(subject)
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        row = await tables.withdraw_decision(unit, id_, subject.organisation, now)
        if row is None:
            raise NotFoundError("Your institution has no such decision")
        record = await unit.get(_TYPE, id_, lock=True)
        if record is not None and record.get("status") == "current":
            await unit.update(_TYPE, id_, {**record, "status": "superseded"},
                              if_match=int(record["meta"]["versionId"]))  # fmt: skip  # One write.
    await gateway.note(subject, "U", f"commission decision {row['number']} withdrawn",
                       patient=row["patient"])  # fmt: skip  # Same reason as at its entry.


async def of_person(gateway: Gateway, subject: Subject, patient: str) -> list[Decision]:
    """Decisions about a person that are in force today, for the doctor who prescribes."""
    async with gateway.unit(subject) as unit:
        rows = await _rows(unit, patient)
    today = clock.today()
    return [made for made in map(unregistered.of_row, rows)
            if made.withdrawn is None and made.decided <= today <= made.valid_until]


async def judge(
    gateway: Gateway, subject: Subject, draft: Draft, known: Mapping[str, Preparation]
) -> list[Alert]:
    """What stands against the unregistered lines of a draft; without one nothing is read."""
    if not any(item.unregistered for item in draft.items):
        return []
    async with gateway.unit(subject) as unit:
        rows = await _rows(unit, draft.patient)
    return unregistered.check(
        draft, [unregistered.of_row(row) for row in rows], _registered(draft, known), clock.today()
    )


def _registered(draft: Draft, known: Mapping[str, Preparation]) -> dict[int, Preparation]:
    """Line -> the preparation in force that is the same medicine."""
    found: dict[int, Preparation] = {}
    for index, item in enumerate(draft.items):
        mine = known.get(item.preparation)
        if item.unregistered is None or mine is None:
            continue
        for hit in medicines.search(mine.inn.en, "en", SHOWN_MAX):
            one = hit.preparation
            if one.inn.key == mine.inn.key and one.form.key == mine.form.key and (
                tokens.short_strength(one.strength_text).lower()
                == tokens.short_strength(mine.strength_text).lower()
            ):
                found[index] = one
    return found


async def bound(unit: GatewayUnit, draft: Draft, today: date) -> dict[str, Decision]:
    """Key of each unregistered medicine -> the decision that carries it today, read in the
    transaction of the act; UnprocessableError names the line that none carries.
    """
    lines = [(index, item) for index, item in enumerate(draft.items) if item.unregistered]
    if not lines:
        return {}
    rows = [unregistered.of_row(row) for row in await _rows(unit, draft.patient)]
    found: dict[str, Decision] = {}
    for index, item in lines:
        assert item.unregistered is not None  # The filter above.
        carrying = unregistered.carrying(item.unregistered, rows, today)
        if carrying is None:
            refused = unregistered.refusal(item.unregistered, rows, today)
            assert refused is not None  # It says why none carries it.
            raise UnprocessableError(
                f"Item {index + 1}: {refused[1]}",
                f"MedicationRequest[{index}].supportingInformation",
            )
        found[item.preparation] = carrying
    return found


async def may_hand_over(
    unit: GatewayUnit, patient: str, medicine: Unregistered, today: date
) -> None:
    """A pack goes out only while the decision is in force; UnprocessableError says what is not."""
    rows = [unregistered.of_row(row) for row in await _rows(unit, patient)]
    refused = unregistered.refusal(medicine, rows, today)
    if refused is None:
        return
    # Each sentence stands whole: pages say it in the reader's language by its pattern.
    rule, sentence, values = refused
    number = medicine.decision
    if rule == "decision-expired":
        raise UnprocessableError(
            f"Not handed over: decision {number} was valid until {values['until']}")
    if rule == "decision-withdrawn":
        raise UnprocessableError(f"Not handed over: decision {number} was withdrawn")
    raise UnprocessableError(f"Not handed over: {sentence}")
