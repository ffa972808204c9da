"""Use cases of the card: open a screen of it, one measurement's history."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.kit.errors import InvalidError, NotFoundError
from dmed.modules.card.model import Card, Series, Social
from dmed.modules.card.rules import conflicts, course, reading, results
from dmed.modules.card.rules.sources import Names
from dmed.modules.card.service.records import Asked, Person
from dmed.modules.medid import api as medid
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

Record = dict[str, Any]
Found = dict[str, tuple[Record, ...]]
TABS = ("summary", "timeline", "problems", "medicines", "allergies", "results", "vaccinations",
        "visits", "documents", "social")  # fmt: skip  # A list of names reads better filled.
COURSE = tuple(course.KINDS)
DOCUMENTS = ("DocumentReference", "DiagnosticReport")
PAGE = 25
"""Records of each type on a page of the course."""
SOME = 8
"""Entries of the course on the first screen."""
POINTS_MAX = 150
"""Newest values of one measurement that its page draws and lists."""
RESULTS_FIRST, RESULTS_ALL = 120, 1_000
_NEWEST = ("_sort", "-date")
_STANDING = ("clinical-status", "active,recurrence,relapse")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z")
_BASE = {
    "AllergyIntolerance": Asked("AllergyIntolerance", 200),
    "Condition": Asked("Condition", 200, (_STANDING,)),
    "refuted": Asked("Condition", 50, (("verification-status", "refuted"),)),
    "Communication": Asked("Communication", 100, (
        ("category", f"{reading.DISPUTE_SYSTEM}|{reading.DISPUTE_CODE}"),)),
}
"""What every screen of the card needs: the banner, its marks and the disputes."""
_MEDICINES = {
    "MedicationRequest": Asked("MedicationRequest", 60, lately="authoredon"),
    "MedicationStatement": Asked("MedicationStatement", 50),
}
_GROUPS = {"groups": Asked("Observation", 20, (
    ("code", ",".join(f"{medid.reading.LOINC}|{code}" for code in results.BLOOD_GROUPS)),))}
_NEEDS: dict[str, dict[str, Asked]] = {
    "summary": {
        **_MEDICINES, **_GROUPS,
        "Observation": Asked("Observation", RESULTS_FIRST, lately="date"),
        "Immunization": Asked("Immunization", 60, (_NEWEST,)),
        "birthsex": Asked("Observation", 3, (
            ("code", f"{medid.reading.LOINC}|{conflicts.BIRTH_SEX_LOINC}"),)),
        "Encounter": Asked("Encounter", SOME, lately="date"),
        "DiagnosticReport": Asked("DiagnosticReport", SOME, lately="date"),
        "MedicationDispense": Asked("MedicationDispense", SOME, lately="whenhandedover"),
        "lately": Asked("Condition", SOME, lately="recorded-date"),
    },
    "problems": {"past": Asked("Condition", 100, (
        ("clinical-status", "inactive,remission,resolved"), ("_sort", "-recorded-date")))},
    "medicines": _MEDICINES,
    "results": {**_GROUPS, "Observation": Asked("Observation", RESULTS_ALL, (_NEWEST,))},
    "vaccinations": {"Immunization": Asked("Immunization", 300, (_NEWEST,))},
    "social": {
        "RelatedPerson": Asked("RelatedPerson", 50),
        "social": Asked("Observation", 50, (("category", "social-history"), _NEWEST)),
    },
}
_PAGES = {"timeline": COURSE, "visits": ("Encounter",), "documents": DOCUMENTS}


async def person_of(gateway: Gateway, subject: Subject, patient_id: str) -> Person:
    """All cards of the person, the one that stands for them first."""
    cards = await medid.cards_of(gateway, subject, patient_id)
    return Person(gateway, subject, tuple(cards) or (patient_id,))


async def open_card(
    gateway: Gateway, subject: Subject, patient_id: str, language: str, tab: str = "summary",
    until: str = "",
) -> Card:
    """One screen of the card. NotFoundError without such a card or tab; InvalidError for a page
    that no page leads to.
    """
    if tab not in TABS:
        raise NotFoundError(f"The card has no part {tab[:40]!r}")
    if until and not _INSTANT.fullmatch(until):
        raise InvalidError(f"{until[:40]!r} is no moment of a page")
    person = await person_of(gateway, subject, patient_id)
    patient = await gateway.get(subject, "Patient", person.cards[0])
    found = await person.ask_all({**_BASE, **_NEEDS.get(tab, {})})
    shown, following = (await person.page(_PAGES[tab], until, PAGE)
                        if tab in _PAGES else (_lately(found) if tab == "summary" else [], ""))
    names = await person.names(_named(found, shown))
    return _put_together(patient, found, tab, names, language, shown, following)


def _lately(found: Found) -> list[Record]:
    """The newest of what the first screen has read anyhow, as the beginning of the course."""
    types = ("Encounter", "DiagnosticReport", "MedicationRequest", "MedicationDispense",
             "Immunization", "lately")  # fmt: skip  # A list of names reads better filled.
    shown, _ = course.cut({name: list(found[name]) for name in types}, 10_000)
    return shown[:SOME]


def _named(found: Found, shown: list[Record]) -> list[Record]:
    """The records whose sources a screen tells."""
    records = [one for name, part in found.items() if name not in ("Observation", "Communication",
               "Encounter", "DiagnosticReport", "MedicationDispense", "lately") for one in part]
    newest: dict[str, Record] = {}
    for one in found.get("Observation", ()):
        newest.setdefault(results.code_of(one), one)
    return [*records, *newest.values(), *shown]


def _put_together(
    patient: Record, found: Found, tab: str, names: Names, language: str, shown: list[Record],
    following: str,
) -> Card:
    today = clock.today()

    def part(name: str) -> list[Record]:
        return [one for one in found.get(name, ()) if not reading.is_mistake(one)]

    taken = [one for name in _MEDICINES for one in part(name) if reading.is_taken(one, today)]
    standing = [one for one in part("Condition") if medid.reading.is_standing(one)]
    observed = [*part("Observation"), *part("groups"), *part("birthsex")]
    distinct = tuple({one["id"]: one for one in observed}.values())
    problems = [reading.problem(one, names, language) for one in standing]
    past = [reading.problem(one, names, language) for one in (*part("past"), *part("refuted"))]
    evidence = conflicts.Evidence(
        patient=patient, allergies=found["AllergyIntolerance"],
        conditions=(*found["Condition"], *found["refuted"]), medicines=tuple(taken),
        observations=distinct, vaccinations=tuple(part("Immunization")),
        visits=tuple(part("Encounter")), names=names)
    return Card(
        banner=medid.reading.banner(patient, part("AllergyIntolerance"), part("Condition"),
                                    language, today),
        tab=tab,
        blood_group=_blood_group(part("groups")),
        problems=_newest(problems),
        past=_newest(past),
        medicines=one_each([reading.medicine(one, names, language) for one in taken]),
        allergies=_allergies(part("AllergyIntolerance"), names),
        results=results.series(distinct, names, language),
        vaccinations=_newest(
            [reading.vaccination(one, names, language) for one in part("Immunization")]),
        course=course.course(shown, names, language, following),
        social=(reading.social(patient, part("RelatedPerson"), part("social"), names, language)
                if tab == "social" else Social()),
        conflicts=conflicts.conflicts(evidence, language),
        disputes=reading.disputes(part("Communication")),
    )


def _newest(facts: list[Any]) -> tuple[Any, ...]:
    return tuple(sorted(facts, key=lambda one: one.when, reverse=True))


def _allergies(records: list[Record], names: Names) -> tuple[Any, ...]:
    """Allergies, those that hold first and the dangerous of these first."""
    facts = _newest([reading.allergy(one, names) for one in records])
    order = {"bad": 0, "warn": 1}
    return tuple(sorted(facts, key=lambda one: order.get(one.tone, 2)))


def one_each(facts: list[Any]) -> tuple[Any, ...]:
    """Medicines without those prescribed again: of each the one that lasts longest."""
    longest: dict[str, Any] = {}
    for one in facts:
        known = longest.get(one.text)
        if known is None or (one.until or "9999") > (known.until or "9999"):
            longest[one.text] = one
    return _newest(list(longest.values()))


def _blood_group(records: list[Record]) -> str:
    """The blood group as it was written last; "" where it was not, or where two are told."""
    told = sorted((one for one in records if one.get("status") not in results.NO_RESULTS),
                  key=results.when_of, reverse=True)
    groups = [conflicts.blood_group(reading.value_words(one)) for one in told]
    abo = {group for group, _ in groups if group}
    rhesus = {sign for _, sign in groups if sign}
    if len(abo) != 1 or len(rhesus) > 1:
        return ""
    return abo.pop() + (rhesus.pop().replace("-", "−") if rhesus else "")


async def history(
    gateway: Gateway, subject: Subject, patient_id: str, code: str, language: str
) -> tuple[Card, Series]:
    """The newest measurements of one kind with their sources. NotFoundError for none."""
    person = await person_of(gateway, subject, patient_id)
    patient = await gateway.get(subject, "Patient", person.cards[0])
    system = f"{medid.reading.LOINC}|" if re.fullmatch(r"[0-9]{1,7}-[0-9]", code) else ""
    asked = Asked("Observation", POINTS_MAX, (("code", f"{system}{code}"), _NEWEST))
    found = await person.ask_all({**_BASE, "Observation": asked})
    names = await person.names(found["Observation"])
    made = results.series(
        [one for one in found["Observation"] if results.code_of(one) == code], names, language,
        POINTS_MAX, is_sourced=True)
    if not made:
        raise NotFoundError("There is no such measurement on this card")
    return _put_together(patient, found, "results", names, language, [], ""), made[0]
