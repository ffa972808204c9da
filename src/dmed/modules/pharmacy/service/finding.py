"""Finding a person's open prescriptions without the paper: by a one-time code, or with a reason.

Any of thousands of pharmacies could otherwise look at anybody (eprescription B4). So a number alone
tells nothing, not even whether somebody has it; a search needs what only the patient can read, or
a reason that the patient is told of; and a pharmacy may search so many times an hour.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dmed.kit import clock, ids
from dmed.kit.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ThrottledError,
)
from dmed.kit.i18n import translator
from dmed.modules.pharmacy.model import LOOKUP_REASONS, Claim, Found, Lookup
from dmed.modules.pharmacy.rules import changes
from dmed.modules.pharmacy.service import counter, courier, views
from dmed.modules.pharmacy.tables import asking as asking_table
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import ItemState, Prescription
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
LOOKUPS_AN_HOUR = 30
"""Of one pharmacy; settled for this platform."""
TRIES_MAX = 3
OPEN_FOR = timedelta(minutes=15)
TEXT_CHARACTERS_MAX = 200
_DIGITS = 6
_PINFL_DIGITS = 14
_HOUR = timedelta(hours=1)
_FOUND_MAX = 30
_LANGUAGES = ("uz", "ru", "en")
_WAITING = {ItemState.TO_BE_DISPENSED, ItemState.PART_DISPENSED, ItemState.WITH_PHARMACY}


def _digest(lookup: str, code: str) -> bytes:
    return hmac.digest(lookup.encode(), code.encode(), "sha256")


async def find(gateway: Gateway, subject: Subject, pinfl: str) -> Lookup:
    """Send the patient of a PINFL a code; see `api.find_person`."""
    now = clock.now()
    await counter.require_licence(gateway, subject, now)
    pharmacy = counter.pharmacy_of(subject)
    digits = "".join(sign for sign in pinfl if sign.isdecimal() and sign.isascii())
    if len(digits) != _PINFL_DIGITS:
        raise InvalidError("A PINFL has 14 digits")
    people = await gateway.find(
        subject, "Patient", f"identifier={PINFL_SYSTEM}|{digits}&_count=2&active:not=false"
    )
    person: dict[str, Any] = people[0] if len(people) == 1 else {}
    lookup = ids.secret()
    code = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}d}"
    async with gateway.unit(subject) as unit:
        if await asking_table.lookups_since(unit, pharmacy, now - _HOUR) >= LOOKUPS_AN_HOUR:
            raise ThrottledError(
                f"This pharmacy searched {LOOKUPS_AN_HOUR} times within the hour: ask for the QR "
                "code or the number", headers={"Retry-After": "600"},
            )  # fmt: skip  # One refusal.
        await asking_table.keep_lookup(
            unit, lookup, pharmacy, subject.user, str(person.get("id", "")), _digest(lookup, code),
            now, now + OPEN_FOR,
        )  # fmt: skip  # The order of the table.
        is_sent = False
        if person:
            text = _told("code", code=code, pharmacy=subject.organisation_name)
            is_sent = await courier.tell(unit, person["id"], _phone(person), text, now)
    # The same answer whether or not somebody has the number: a search tells nobody who lives.
    del is_sent
    return Lookup(id=lookup, is_sent=True, until=now + OPEN_FOR)


def _phone(person: dict[str, Any]) -> str:
    found = [str(each.get("value", "")) for each in person.get("telecom", ())
             if each.get("system") == "phone"]  # fmt: skip  # One filter.
    return found[0] if found else ""


def _told(what: str, **values: str) -> str:
    """A message in Uzbek and Russian: the reader's language is not known."""
    texts = translator()
    return " / ".join(
        texts.text(language, f"pharmacy.message.{what}", **values) for language in ("uz", "ru")
    )


async def open_(
    gateway: Gateway, subject: Subject, lookup: str, *, code: str, reason: str, text: str
) -> list[Found]:
    """What a search found, by the patient's code or with a reason; see `api.open_person`."""
    now, pharmacy = clock.now(), counter.pharmacy_of(subject)
    await counter.require_licence(gateway, subject, now)
    text = " ".join(text.split())[:TEXT_CHARACTERS_MAX]
    if not code:
        _check_reason(reason, text)
    refusal = patient = ""
    async with gateway.unit(subject) as unit:
        row = await asking_table.lookup(unit, lookup, pharmacy)
        if row is None or row["until"] < now:
            raise NotFoundError("This search is over: begin again")
        if row["tries"] >= TRIES_MAX:
            raise ForbiddenError("Too many wrong codes: begin again")
        if code and not hmac.compare_digest(_digest(lookup, code), row["code_digest"]):
            left = TRIES_MAX - await asking_table.count_try(unit, lookup)
            refusal = f"The code is wrong; {left} more tries"
        else:
            patient = row["patient"]
            await asking_table.open_lookup(unit, lookup, "code" if code else reason)
            if patient and not code:
                said = _told("looked", pharmacy=subject.organisation_name, reason=text)
                await courier.tell(unit, patient, "", said, now)
    if refusal:
        # The count has committed; only now the answer is no.
        raise ForbiddenError(refusal)
    if not patient:
        return []
    how = "by the patient's code" if code else f"without a code, {reason}: {text}"
    await gateway.note(subject, "E", f"prescriptions looked for by PINFL {how}", patient=patient)
    every = await prescriptions.for_person(gateway, subject, patient, limit=_FOUND_MAX)
    return [found for found in map(_shown, every) if found.items]


def _check_reason(reason: str, text: str) -> None:
    if reason not in LOOKUP_REASONS:
        raise InvalidError(
            f"Without the patient's code a reason is needed: {', '.join(LOOKUP_REASONS)}"
        )
    if not text:
        raise InvalidError("Say the reason in words: the patient reads it")


def _shown(one: Prescription) -> Found:
    """Only what the counter needs to choose: no diagnosis, no doctor, no other medicines."""
    items = tuple(
        changes.words(item.label, item.remaining, item.unit)
        for item in one.items
        if item.state in _WAITING
    )
    day = one.signed.astimezone(clock.TASHKENT).date()
    return Found(number=one.number, signed=day, valid_until=one.valid_until,
                 organisation_name=one.organisation_name, items=items)  # fmt: skip  # One line.


async def claim(gateway: Gateway, subject: Subject, lookup: str, number: str) -> Claim:
    """Take a prescription that an opened search found; see `api.claim_found`."""
    now, pharmacy = clock.now(), counter.pharmacy_of(subject)
    await counter.require_licence(gateway, subject, now)
    digits = prescriptions.read_number(number)
    async with gateway.unit(subject) as unit:
        row = await asking_table.lookup(unit, lookup, pharmacy)
        if row is None or row["until"] < now or not row["opened"]:
            raise NotFoundError("This search is over or was not opened: begin again")
        case = await prescriptions.open_case(unit, digits)
        if case.patient != row["patient"]:
            raise NotFoundError("There is no such prescription of this person")
        await counter.take(unit, subject, case, (), now)
    return await views.claim(gateway, subject, digits)
