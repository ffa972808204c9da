"""Use case: the patient summary as a document (IPS) and as paper."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from dmed.kit import clock, pdf
from dmed.kit.errors import DmedError, NotFoundError, UnprocessableError
from dmed.kit.i18n import Speech, translator
from dmed.modules.card import service
from dmed.modules.card.model import Card, Fact, Series
from dmed.modules.card.rules import ips, reading, results
from dmed.modules.card.rules.ips import Part
from dmed.modules.card.service.records import Asked, Person
from dmed.modules.medid import api as medid
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

Record = dict[str, Any]
_TEMPLATE = pdf.PACKAGE / "modules" / "card" / "data" / "print" / "card.typ"
_WANTED = {
    "AllergyIntolerance": Asked("AllergyIntolerance", 200),
    "Condition": Asked("Condition", 200, (
        ("clinical-status", "active,recurrence,relapse"),)),
    "past": Asked("Condition", 100, (
        ("clinical-status", "inactive,remission,resolved"), ("_sort", "-recorded-date"))),
    "MedicationRequest": Asked("MedicationRequest", 100, (("_sort", "-authoredon"),)),
    "MedicationStatement": Asked("MedicationStatement", 50),
    "Immunization": Asked("Immunization", 200, (("_sort", "-date"),)),
    "Observation": Asked("Observation", 400, (("_sort", "-date"),)),
    "Procedure": Asked("Procedure", 50, (("_sort", "-date"),)),
    "DeviceUsage": Asked("DeviceUsage", 50),
}
_PAST_MAX = 30
_PRINTED = ("problems", "allergies", "medicines", "results", "vaccinations")
_TEXTS = ("title", "made", "by", "born", "blood", "attached", "page", "value", "band", "when",
          "from")  # fmt: skip  # A list of names reads better filled.


async def summary(
    gateway: Gateway, subject: Subject, patient_id: str, language: str, base: str = ""
) -> Record:
    """The summary as a Bundle of type document. NotFoundError without such a card."""
    person = await service.person_of(gateway, subject, patient_id)
    patient = await gateway.get(subject, "Patient", person.cards[0])
    found = await person.ask_all(_WANTED)
    sound = {name: [one for one in part if not reading.is_mistake(one)]
             for name, part in found.items()}
    t = translator().speech(language)
    parts = await _parts(person, sound, t)
    frame = ips.Frame(
        base=(base or gateway.settings.public_url or "https://dmed.invalid/fhir").rstrip("/"),
        document=f"urn:uuid:{uuid.uuid4()}", composition=f"urn:uuid:{uuid.uuid4()}",
        author=f"urn:uuid:{uuid.uuid4()}", now=clock.now().astimezone(clock.TASHKENT),
        language=language, title=t("card.ips.title"), say=lambda key: t(f"card.ips.{key}"))
    made = ips.document(patient, await _custodian(gateway, subject, patient), parts, frame)
    await gateway.note(subject, "E", "summary exported", patient=person.cards[0])
    return made


async def _parts(
    person: Person, sound: dict[str, list[Record]], t: Speech
) -> dict[str, Part]:
    today = clock.today()
    standing = [one for one in sound["Condition"] if medid.reading.is_standing(one)]
    allergies = [one for one in sound["AllergyIntolerance"] if not reading.is_refuted(one)]
    taken = [one for name in ("MedicationRequest", "MedicationStatement") for one in sound[name]
             if reading.is_taken(one, today)]
    vaccinated = [one for one in sound["Immunization"] if one.get("status") == "completed"]
    past = [one for one in sound["past"] if not reading.is_refuted(one)][:_PAST_MAX]
    names = await person.names([*standing, *allergies, *taken, *vaccinated, *past])
    newest = results.series(sound["Observation"], names, t.language)
    by_reference = {f"Observation/{one['id']}": one for one in sound["Observation"]}
    vital = {f"Observation/{one['id']}" for one in sound["Observation"]
             if any("vital-signs" in reading.codes(each) for each in one.get("category", []))}
    social = [one for one in sound["Observation"] if results.is_social(one)]

    def facts(records: list[Record], made: list[Fact]) -> Part:
        return Part(tuple(records), ips.fact_lines(made, t.date))

    def measured(found: list[Series]) -> Part:
        return Part(tuple(by_reference[one.reference] for one in found),
                    ips.series_lines(found, t.date))

    return {
        "problems": facts(standing, [reading.problem(one, names, t.language) for one in standing]),
        "allergies": facts(allergies, [reading.allergy(one, names) for one in allergies]),
        "medicines": facts(taken, [reading.medicine(one, names, t.language) for one in taken]),
        "vaccinations": facts(
            vaccinated, [reading.vaccination(one, names, t.language) for one in vaccinated]),
        "results": measured([one for one in newest if one.reference not in vital]),
        "vitals": measured([one for one in newest if one.reference in vital]),
        "past": facts(past, [reading.problem(one, names, t.language) for one in past]),
        "social": Part(tuple(social), tuple(
            f"{reading.title(one, t.language)}: {reading.value_words(one)}" for one in social)),
        "procedures": Part(tuple(sound["Procedure"]), tuple(
            reading.words(one.get("code", {})) for one in sound["Procedure"])),
        "devices": Part(tuple(sound["DeviceUsage"]), tuple(
            reading.words(one.get("device", {}).get("concept", {}))
            or str(one.get("device", {}).get("reference", {}).get("display", ""))
            for one in sound["DeviceUsage"])),
    }


async def _custodian(gateway: Gateway, subject: Subject, patient: Record) -> Record | None:
    """The institution to which the person is attached, where it can be read."""
    reference = str(patient.get("managingOrganization", {}).get("reference", ""))
    if not reference.startswith("Organization/"):
        return None
    try:
        return await gateway.get(subject, "Organization", reference.partition("/")[2])
    except DmedError:
        return None


async def by_identifier(gateway: Gateway, subject: Subject, identifier: str) -> str:
    """The id of the one card with an identifier "system|value". NotFoundError, or
    UnprocessableError where several have it.
    """
    _, found = await gateway.search(
        subject, "Patient", [("identifier", identifier), ("_count", "2"), ("_total", "none")],
        strict=True)
    if not found.hits:
        raise NotFoundError("There is no person with this identifier")
    if len(found.hits) > 1:
        raise UnprocessableError("Several persons have this identifier: ask for one by id")
    return found.hits[0].record.id


# On paper ---------------------------------------------------------------------------------------


async def card_pdf(gateway: Gateway, subject: Subject, patient_id: str, language: str) -> bytes:
    """The summary on paper (A4); the print is noted in the audit."""
    card = await service.open_card(gateway, subject, patient_id, language)
    t = translator().speech(language)
    await gateway.note(subject, "E", "card printed", patient=card.banner.id)
    return await asyncio.to_thread(pdf.render, _TEMPLATE, _paper(card, subject, t), paper="a4")


def _paper(card: Card, subject: Subject, t: Speech) -> dict[str, Any]:
    banner = card.banner
    sections = {
        "problems": [_line(one, t, "", one.code) for one in card.problems],
        "allergies": [_line(one, t, one.kind and _reaction(one.kind, t))
                      for one in card.allergies if one.tone],
        "medicines": [_line(one, t, one.detail) for one in card.medicines],
        "vaccinations": [_line(one, t, one.detail and t("card.dose", number=one.detail))
                         for one in card.vaccinations],
    }
    return {
        "texts": {name: t(f"card.print.{name}") for name in _TEXTS},
        "heads": {name: t(f"card.ips.{name}") for name in _PRINTED},
        "none": t("card.ips.none"),
        "name": t.script(banner.name),
        "med_id": banner.med_id,
        "born": t.date(banner.birth_date),
        "sex": t(f"sex.{banner.sex or 'unknown'}"),
        "blood": card.blood_group,
        "attached": t.script(banner.organisation),
        "made": t.moment(clock.now()),
        "by": t.name(subject.name),
        "sections": [[name, rows] for name, rows in sections.items()],
        "results": [[t.script(one.text), _value(one), _band(one, t),
                     t.date(one.when), one.flag] for one in card.results[:40]],
        "conflicts": [t(f"card.conflict.{one.key}") for one in card.conflicts],
        "note": t("card.print.note"),
    }


def _line(fact: Fact, t: Speech, detail: str, code: str = "") -> list[str]:
    origin = ", ".join(part for part in (
        t.date(fact.when), t.script(fact.source.institution), t.name(fact.source.author)) if part)
    return [f"{code} {t.script(fact.text)}".strip(), t.script(detail), origin]


def _value(one: Series) -> str:
    unit = "" if one.unit.startswith("{") else one.unit
    return f"{one.latest} {unit}".strip()


def _reaction(kind: str, t: Speech) -> str:
    key = f"reaction.{kind}"
    return t(key) if t.translator.has(key) else kind


def _band(one: Series, t: Speech) -> str:
    if one.low is not None and one.high is not None:
        return f"{t.number(one.low)}–{t.number(one.high)}"
    if one.high is not None:
        return f"≤ {t.number(one.high)}"
    return f"≥ {t.number(one.low)}" if one.low is not None else ""
