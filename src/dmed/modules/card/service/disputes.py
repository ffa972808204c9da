"""Use cases: a person disputes an entry of the own card; who treats answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.modules.card.model import Entry
from dmed.modules.card.rules import course, reading, results, sources, writing
from dmed.modules.card.service import person_of
from dmed.modules.card.service.records import Asked
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

Record = dict[str, Any]
SAID_MIN, SAID_MAX = 3, 1_000
_TYPES = (*course.KINDS, "Observation", "MedicationStatement")
_ABOUT = re.compile(rf"({'|'.join(_TYPES)})/([A-Za-z0-9.\-]{{1,64}})")
_DISPUTES = Asked("Communication", 200, (
    ("category", f"{reading.DISPUTE_SYSTEM}|{reading.DISPUTE_CODE}"),))


async def entry_of(
    gateway: Gateway, subject: Subject, patient_id: str, about: str, language: str
) -> Entry:
    """The entry that is to be disputed. NotFoundError where it is not on this card."""
    found = _ABOUT.fullmatch(about)
    if found is None:
        raise NotFoundError("There is no such entry on this card")
    person = await person_of(gateway, subject, patient_id)
    record = await gateway.get(subject, found[1], found[2])
    whose = (record.get("subject") or record.get("patient") or {}).get("reference", "")
    if whose.removeprefix("Patient/") not in person.cards:
        raise NotFoundError("There is no such entry on this card")
    names = await person.names([record])
    if found[1] in course.KINDS:
        return course.entry(record, names, language)
    if found[1] == "MedicationStatement":
        fact = reading.medicine(record, names, language)
        return Entry(when=fact.when, kind="prescription", text=fact.text, reference=about,
                     source=fact.source)
    return Entry(
        when=results.when_of(record), kind="result", text=reading.title(record, language),
        detail=reading.value_words(record), reference=about,
        source=sources.source(record, names))


async def dispute(
    gateway: Gateway, subject: Subject, patient_id: str, about: str, said: str
) -> str:
    """Write an objection down; the id of its Communication. The entry itself stays as it is.

    InvalidError for words too short or long, ConflictError where one is open already.
    """
    said = _words(said)
    await entry_of(gateway, subject, patient_id, about, "uz")
    person = await person_of(gateway, subject, patient_id)
    async with gateway.unit(subject) as unit:
        # Two clicks on one button are one objection.
        await unit.execute("select pg_advisory_xact_lock(hashtextextended($1, 57))", about)
        known = reading.disputes(await person.ask_in(unit, _DISPUTES))
        if any(one.about == about and one.is_open for one in known):
            raise ConflictError("This entry is disputed already; the answer is awaited")
        record = writing.objection(patient_id, about, said, subject, clock.now())
        return (await unit.create("Communication", record)).id


async def answer(
    gateway: Gateway, subject: Subject, patient_id: str, dispute_id: str, said: str
) -> bool:
    """Answer an objection; False where this card has none of that id. ConflictError if it has an
    answer.
    """
    said = _words(said)
    person = await person_of(gateway, subject, patient_id)
    records = await person.ask(_DISPUTES)
    record = next((one for one in records if one["id"] == dispute_id), None)
    if record is None or record.get("inResponseTo"):
        return False
    async with gateway.unit(subject) as unit:
        await unit.execute("select pg_advisory_xact_lock(hashtextextended($1, 57))", dispute_id)
        known = reading.disputes(await person.ask_in(unit, _DISPUTES))
        if any(one.id == dispute_id and not one.is_open for one in known):
            raise ConflictError("This objection has its answer already")
        await unit.create(
            "Communication", writing.answer(patient_id, record, said, subject, clock.now()))
    return True


def _words(text: str) -> str:
    text = " ".join(text.split())
    if not SAID_MIN <= len(text) <= SAID_MAX:
        raise InvalidError(f"Say in {SAID_MIN} to {SAID_MAX} characters what it is about")
    return text
