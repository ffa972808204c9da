"""Use cases of the person index: find, compare, register, show, add."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dmed.kit import clock, i18n, pdf
from dmed.kit.errors import InvalidError, Issue, UnprocessableError
from dmed.kit.text import name_key
from dmed.modules.facilities import api as facilities
from dmed.modules.medid import rules
from dmed.modules.medid.model import (
    Banner,
    Draft,
    NearMatch,
    NearMatchesError,
    NewAllergy,
    NumberHeldError,
    PersonFacts,
)
from dmed.modules.medid.rules import facts as fact_rules
from dmed.modules.medid.rules import reading, writing
from dmed.modules.medid.service import acts, finding, review
from dmed.trust.decide import Action, Context, decide
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

Record = dict[str, Any]
_CANDIDATES_MAX = 30
"""Most candidates that one key may bring to a comparison."""
_OTHERS_MAX = 60
_CONDITIONS_MAX = 200
_MED_ID_TRIES = 3
_YEAR = re.compile(r"\b(1[89]|20)[0-9]{2}\b")
_DAY = re.compile(r"\b([0-9]{2})\.([0-9]{2})\.([0-9]{4})\b|\b([0-9]{4})-([0-9]{2})-([0-9]{2})\b")


async def _search(
    gateway: Gateway, subject: Subject, type_: str, pairs: Iterable[tuple[str, str]], count: int
) -> list[Record]:
    query = urlencode([*pairs, ("_count", str(count)), ("_total", "none")])
    return await gateway.find(subject, type_, query)


async def _patients(
    gateway: Gateway, subject: Subject, *pairs: tuple[str, str], count: int = _CANDIDATES_MAX
) -> list[Record]:
    return await _search(gateway, subject, "Patient", pairs, count)


# --- Near matches and registration -----------------------------------------------------------


async def near_matches(gateway: Gateway, subject: Subject, draft: Draft) -> list[NearMatch]:
    """Cards that may be the draft's person, strongest first."""
    draft = rules.complete(draft)
    found = await finding.near(
        gateway, subject, draft, lambda one: _match(draft, one) is not None)
    matches = [match for one in found if (match := _match(draft, one))]
    return sorted(matches, key=lambda match: match.weight, reverse=True)


def _match(draft: Draft, patient: Record) -> NearMatch | None:
    pinfl, is_official = reading.identifier(patient, rules.PINFL_SYSTEM)
    sides = {
        "family": (draft.family, [one.get("family", "") for one in patient.get("name", [])]),
        "given": (draft.given, [first for one in patient.get("name", [])
                                for first in one.get("given", [])[:1]]),
        "patronymic": (draft.patronymic, [
            " ".join((*one.get("given", [])[1:], *one.get("suffix", [])))
            for one in reading.names(patient)]),
        "birth_date": (draft.birth_date, [patient.get("birthDate", "")]),
        "sex": (draft.sex, [patient.get("gender", "")]),
        "pinfl": (draft.pinfl, [pinfl]),
        "phone": (draft.phone, [reading.phone(patient)]),
        "address": (draft.address_line, [
            line for one in patient.get("address", []) for line in one.get("line", [])]),
    }
    if _are_crossed(draft, sides["family"][1], sides["given"][1]):
        sides |= {"family": (draft.family, sides["given"][1]),
                  "given": (draft.given, sides["family"][1])}
    fields = tuple(
        max((rules.compare(field, ours, one) for one in theirs if one),
            key=lambda pair: pair.weight, default=rules.compare(field, ours, ""))
        for field, (ours, theirs) in sides.items()
    )
    weight = sum((pair.weight for pair in fields), Decimal(0))
    is_certain = bool(draft.pinfl) and draft.pinfl == pinfl and is_official
    if weight < rules.NEAR_WEIGHT and not is_certain:
        return None
    return NearMatch(reading.hit(patient), weight, fields, is_certain)


def _are_crossed(draft: Draft, families: list[str], givens: list[str]) -> bool:
    """Whether surname and given name stand in each other's place."""
    family, given = name_key(draft.family), name_key(draft.given)
    return (bool(family and given) and family != given
            and family in map(name_key, givens) and given in map(name_key, families))


async def register(
    gateway: Gateway, subject: Subject, draft: Draft, *, despite: tuple[str, ...]
) -> str:
    """Check, look for the person, then make the card."""
    today = clock.today()
    draft, mother = await acts.newborn_of(gateway, subject, rules.complete(draft))
    _refuse_errors(draft, today)
    matches = await near_matches(gateway, subject, draft)
    is_official = rules.is_pinfl_sound(draft) and not draft.is_pinfl_unverified
    holder = next((one for one in matches if one.is_certain and one.hit.active), None)
    if is_official and holder:
        raise NumberHeldError(holder.hit)
    unseen = [one for one in matches
              if one.hit.id not in despite and not (draft.is_pinfl_unverified and one.is_certain)]
    if unseen:
        raise NearMatchesError(unseen)
    region = dict(facilities.regions("uz")).get(draft.region, "")
    district = dict(facilities.districts(draft.region, "uz")).get(draft.district, "")
    for _ in range(_MED_ID_TRIES):
        number = rules.new_med_id(secrets.randbelow(10**12))
        if await _patients(gateway, subject, ("identifier", f"{rules.MED_ID_SYSTEM}|{number}")):
            continue  # One in ten thousand millions: draw again.
        record = writing.patient(draft, number, subject, today, region, district)
        seen = {*despite, *(one.hit.id for one in matches)}
        made = await _make(gateway, subject, draft, record, seen, mother)
        # Somebody was quicker: who that is, the registrar must see.
        return made or await register(gateway, subject, draft, despite=despite)
    raise InvalidError("no free MED-ID was drawn; try again")


async def _make(
    gateway: Gateway, subject: Subject, draft: Draft, record: Record, seen: set[str],
    mother: Record | None,
) -> str:
    """The id of the new card, or "" where another near match has come since those `seen`."""

    def is_late(one: Record) -> bool:
        return one["id"] not in seen and _match(draft, one) is not None

    async with gateway.unit(subject) as unit:
        # Who registers the same person at this moment waits here, and then finds the card.
        await finding.hold(unit, finding.rows_of_draft(draft))
        if await finding.near(gateway, subject, draft, is_late, unit):
            return ""
        made = (await unit.create("Patient", record)).id
        for one in sorted(seen):
            # Put aside by the registrar in a hurry: somebody with time looks at it once more.
            await review.propose_in(unit, made, one, "registration", {})
        if mother is not None:
            await unit.create("RelatedPerson", writing.relative(
                made, "MTH", mother, clock.today()))
        return made


def _refuse_errors(draft: Draft, today: date) -> None:
    english = i18n.translator()
    issues = tuple(
        Issue("business-rule", english.text("en", one.key, **one.values), f"Patient.{one.field}")
        for one in rules.check(draft, today) if one.severity == "error"
    )
    if issues:
        raise UnprocessableError(issues=issues)


# --- What is known of a person ---------------------------------------------------------------


async def _of_patient(
    gateway: Gateway, subject: Subject, patient_id: str, wanted: dict[str, int]
) -> dict[str, list[Record]]:
    """Records of one person by type, newest first, with all searches under way at once; also
    those of cards that were merged.

    What the subject's role may not see at all (a registrar: anything clinical) stays empty.
    """

    async def one(type_: str, count: int) -> list[Record]:
        if not decide(subject, Action.SEARCH, type_, Context()).allowed:
            return []
        return await gateway.find_about(subject, type_, patient_id, count)

    found = await asyncio.gather(*(one(type_, count) for type_, count in wanted.items()))
    return dict(zip(wanted, found, strict=True))


async def banner(gateway: Gateway, subject: Subject, patient_id: str, language: str) -> Banner:
    """Patient, allergies and conditions read; the rest is left."""
    patient = await gateway.get(subject, "Patient", patient_id)
    found = await _of_patient(gateway, subject, patient_id, {
        "AllergyIntolerance": _OTHERS_MAX, "Condition": _CONDITIONS_MAX})
    return reading.banner(patient, found["AllergyIntolerance"], found["Condition"], language,
                          clock.today())


async def facts(gateway: Gateway, subject: Subject, patient_id: str) -> PersonFacts:
    """What prescribing must know of a person today."""
    patient = await gateway.get(subject, "Patient", patient_id)

    async def measured(codes: Iterable[str], count: int) -> list[Record]:
        named = ",".join(f"{reading.LOINC}|{code}" for code in codes)
        return await _search(gateway, subject, "Observation", [
            ("patient", f"Patient/{patient_id}"), ("code", named), ("_sort", "-date")], count)

    found, weights, kidneys = await asyncio.gather(
        _of_patient(gateway, subject, patient_id, {
            "AllergyIntolerance": _OTHERS_MAX, "Condition": _CONDITIONS_MAX,
            "MedicationRequest": _OTHERS_MAX}),
        measured((reading.WEIGHT_LOINC,), 3),
        measured(fact_rules.KIDNEY_CODES, 5))
    return fact_rules.facts_of(
        patient, allergies=found["AllergyIntolerance"], conditions=found["Condition"],
        requests=found["MedicationRequest"], weights=weights, kidneys=kidneys,
        today=clock.today())


# --- Entries ---------------------------------------------------------------------------------


async def add_allergy(
    gateway: Gateway, subject: Subject, patient_id: str, allergy: NewAllergy
) -> str:
    """Write an allergy of a card that exists."""
    if not allergy.text.strip():
        raise UnprocessableError("an allergy says what it is to", "AllergyIntolerance.code")
    await gateway.get(subject, "Patient", patient_id)
    record = writing.allergy(patient_id, allergy, subject, clock.now().astimezone(clock.TASHKENT))
    return (await gateway.create(subject, "AllergyIntolerance", record)).id


async def add_pregnancy(
    gateway: Gateway, subject: Subject, patient_id: str, weeks: int, on: date | None
) -> str:
    """Write a pregnancy, dated by its first day."""
    patient = await gateway.get(subject, "Patient", patient_id)
    today = clock.today()
    _, years, _ = reading.ages(patient, today)
    if patient.get("gender") == "male" or not 10 <= years <= 60:
        raise UnprocessableError("a pregnancy is written for women of 10 to 60 years",
                                 "Condition.subject")
    if not 1 <= weeks <= 42:
        raise UnprocessableError("a pregnancy lasts 1 to 42 weeks", "Condition.onset")
    onset = writing.last_period(weeks, on or today)
    text = i18n.translator().text("uz", "medid.pregnancy")
    record = writing.condition(patient_id, "Z34.9", text, "gencl-0001-00004", onset, subject,
                               clock.now().astimezone(clock.TASHKENT))
    return (await gateway.create(subject, "Condition", record)).id


async def add_weight(
    gateway: Gateway, subject: Subject, patient_id: str, weight_kg: Decimal, on: date | None
) -> str:
    """Write a body weight, of now or of a day."""
    if not Decimal("0.3") <= weight_kg <= 400:
        raise UnprocessableError("a body weight is 0.3 to 400 kg", "Observation.value")
    await gateway.get(subject, "Patient", patient_id)
    now = clock.now().astimezone(clock.TASHKENT)
    when = on.isoformat() if on else now.isoformat(timespec="seconds")
    title = i18n.translator().text("uz", f"medid.loinc.{reading.WEIGHT_LOINC}")
    record = writing.weight(patient_id, weight_kg, when, subject, title)
    return (await gateway.create(subject, "Observation", record)).id


async def add_diagnosis(
    gateway: Gateway, subject: Subject, patient_id: str, code: str, text: str, *, kind: str,
    on: date | None,
) -> str:
    """Write an active diagnosis."""
    if not re.fullmatch(r"[A-Z][0-9]{2}(\.[0-9A-Z]{1,4})?", code):
        raise UnprocessableError(f"{code!r} is no ICD-10 code", "Condition.code")
    await gateway.get(subject, "Patient", patient_id)
    record = writing.condition(patient_id, code, text or code, kind, on or clock.today(), subject,
                               clock.now().astimezone(clock.TASHKENT))
    return (await gateway.create(subject, "Condition", record)).id


# --- The slip --------------------------------------------------------------------------------


async def slip_pdf(gateway: Gateway, subject: Subject, patient_id: str, language: str) -> bytes:
    """The registration slip; its QR holds the bare MED-ID, which the search box reads."""
    patient = await gateway.get(subject, "Patient", patient_id)
    speech = i18n.translator().speech(language)
    med_id, _ = reading.identifier(patient, rules.MED_ID_SYSTEM)
    pinfl, _ = reading.identifier(patient, rules.PINFL_SYSTEM)
    place = patient.get("managingOrganization", {}).get("display", "")
    fields = [
        ("MED-ID", rules.show_med_id(med_id)),
        (speech("medid.slip.name"), speech.script(reading.name_for(patient, language))),
        (speech("medid.slip.born"), speech.date(patient.get("birthDate", ""))),
        (speech("medid.slip.sex"), speech(f"medid.sex.{patient.get('gender', 'unknown')}")),
        (speech("medid.slip.pinfl"), rules.mask_pinfl(pinfl)),
        (speech("medid.slip.attached"), speech.script(place)),
        (speech("medid.slip.given"), speech.date(clock.today())),
    ]
    await gateway.note(subject, "E", "registration slip printed", patient=patient_id)
    return await asyncio.to_thread(
        pdf.slip, speech("medid.slip.title"), [field for field in fields if field[1]],
        code=med_id, code_label=rules.show_med_id(med_id),
        heading=speech.script(subject.organisation_name or place), note=speech("medid.slip.note"))
