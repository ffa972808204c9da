"""Use cases: correct, attach, close and reopen a card, note a death, keep relatives and history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dmed.fhir.persons import replaced_by
from dmed.kit import clock, i18n
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    Issue,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.facilities import api as facilities
from dmed.modules.medid import rules
from dmed.modules.medid.model import Draft, Finding
from dmed.modules.medid.rules import documents, keeping, merging, writing
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

Record = dict[str, Any]
VERSIONS_MAX = 200
RELATIVES_MAX = 50


def refuse(findings: list[Finding]) -> None:
    """UnprocessableError with every finding that is an error."""
    english = i18n.translator()
    issues = tuple(
        Issue("business-rule", english.text("en", one.key, **one.values), one.field)
        for one in findings if one.severity == "error")
    if issues:
        raise UnprocessableError(issues=issues)


def need_reason(reason: str) -> str:
    """The reason without blanks; UnprocessableError where there is none."""
    told = " ".join(reason.split())
    if len(told) < merging.REASON_LETTERS_MIN:
        raise UnprocessableError("this act needs a reason in words", "reason")
    return told


async def _held(unit: GatewayUnit, patient_id: str, version: int | None = None) -> Record:
    """The card, held until the end of the unit; a merged one is changed through its survivor."""
    stored = await unit.current("Patient", patient_id, if_match=version)
    found = await unit.get("Patient", patient_id)
    assert found is not None, stored.id
    if into := replaced_by(found):
        raise ConflictError(f"this card was merged into Patient/{into}: change that one")
    return found


async def correct(
    gateway: Gateway, subject: Subject, patient_id: str, draft: Draft, reason: str,
    version: int | None = None,
) -> list[str]:
    """Change what a card says of a person; what it said before stays as a former name, address
    or number. Returns the fields that changed.

    UnprocessableError with every fault, ConflictError for a PINFL of another active card or a
    merged card, PreconditionError where the card is not at `version` any more.
    """
    told, today = need_reason(reason), clock.today()
    draft = rules.complete(draft)
    refuse(rules.check(draft, today))
    region = dict(facilities.regions("uz")).get(draft.region, "")
    district = dict(facilities.districts(draft.region, "uz")).get(draft.district, "")
    async with gateway.unit(subject) as unit:
        card = await _held(unit, patient_id, version)
        made, changed = keeping.correct(card, draft, today, region, district)
        if changed:
            await unit.update("Patient", patient_id, made)
    if changed:
        await gateway.note(subject, "U", f"corrected {', '.join(changed)}: {told}",
                           patient=patient_id)
    return changed


async def add_document(
    gateway: Gateway, subject: Subject, patient_id: str, kind: str, value: str, country: str = ""
) -> None:
    """Write a document of the person; one of the same kind becomes a former one."""
    faults = documents.check(kind, value, country)
    refuse(faults or ([] if value.strip() else [Finding("medid.check.document-form", "document")]))
    made = documents.identifier(kind, value, country=country)
    async with gateway.unit(subject) as unit:
        card = await _held(unit, patient_id)
        await unit.update("Patient", patient_id, keeping.add_document(card, made, clock.today()))


async def attach(
    gateway: Gateway, subject: Subject, patient_id: str, organisation: str, exception: str = ""
) -> None:
    """Attach a person to a primary clinic: by choice once a year, earlier by an exception.

    UnprocessableError says until when he is bound, NotFoundError for no such institution.
    """
    today = clock.today()
    async with gateway.unit(subject) as unit:
        clinic = await unit.get("Organization", organisation)
        if clinic is None:
            raise NotFoundError(f"there is no Organization/{organisation}")
        card = await _held(unit, patient_id)
        refuse(keeping.check_attachment(card, organisation, exception, today))
        await unit.update("Patient", patient_id, keeping.attach(
            card, organisation, clinic.get("name", ""), today))
    await gateway.note(subject, "U", f"attached to Organization/{organisation}"
                       + (f" ({exception})" if exception else ""), patient=patient_id)


async def close(gateway: Gateway, subject: Subject, patient_id: str, reason: str) -> None:
    """Deactivate a card: made by mistake, or of a person who left for good."""
    told = need_reason(reason)
    async with gateway.unit(subject) as unit:
        card = await _held(unit, patient_id)
        await unit.update("Patient", patient_id, card | {"active": False})
    await gateway.note(subject, "U", f"card deactivated: {told}", patient=patient_id)


async def reopen(gateway: Gateway, subject: Subject, patient_id: str, reason: str) -> None:
    """Activate a card again; ConflictError where another card carries its number meanwhile."""
    told = need_reason(reason)
    async with gateway.unit(subject) as unit:
        card = await _held(unit, patient_id)
        await unit.update("Patient", patient_id, card | {"active": True})
    await gateway.note(subject, "U", f"card activated again: {told}", patient=patient_id)


async def note_death(
    gateway: Gateway, subject: Subject, patient_id: str, died: str, reason: str
) -> None:
    """Write the day of death and what proves it (a certificate's number)."""
    told = need_reason(reason)
    async with gateway.unit(subject) as unit:
        card = await _held(unit, patient_id)
        refuse(keeping.check_death(card, died, clock.today()))
        day = rules.read_date(died)
        assert day is not None
        card.pop("deceasedBoolean", None)
        await unit.update("Patient", patient_id, card | {"deceasedDateTime": day.isoformat()})
    await gateway.note(subject, "U", f"death on {day.isoformat()}: {told}", patient=patient_id)


async def take_back_death(
    gateway: Gateway, subject: Subject, patient_id: str, reason: str
) -> None:
    """The person lives: a death was written by mistake."""
    told = need_reason(reason)
    async with gateway.unit(subject) as unit:
        card = await _held(unit, patient_id)
        for element in ("deceasedBoolean", "deceasedDateTime"):
            card.pop(element, None)
        await unit.update("Patient", patient_id, card)
    await gateway.note(subject, "U", f"death taken back: {told}", patient=patient_id)


# Family -----------------------------------------------------------------------------------------


async def relate(
    gateway: Gateway, subject: Subject, patient_id: str, kin_id: str, role: str, paper: str = ""
) -> str:
    """Write what the holder of another card is to this person; the RelatedPerson's id.

    A guardian needs the document that made him one. UnprocessableError for an unknown role, for
    oneself, for a parent younger than the child; ConflictError where it is written already.
    """
    async with gateway.unit(subject) as unit:
        card, kin = await _held(unit, patient_id), await unit.get("Patient", kin_id)
        if kin is None:
            raise NotFoundError(f"there is no Patient/{kin_id}")
        refuse(_check_kin(card, kin, role, paper))
        made = writing.relative(patient_id, role, kin, clock.today(), " ".join(paper.split()))
        there = await unit.find("RelatedPerson", f"patient=Patient/{patient_id}&_count=50")
        if any(_says(one, role, made) for one in there):
            raise ConflictError("this relative is written already", "RelatedPerson")
        return (await unit.create("RelatedPerson", made)).id


def _says(there: Record, role: str, made: Record) -> bool:
    codes = {coding.get("code") for concept in there.get("relationship", [])
             for coding in concept.get("coding", [])}
    ours = {(one.get("system"), one.get("value")) for one in made["identifier"]}
    theirs = {(one.get("system"), one.get("value")) for one in there.get("identifier", [])}
    return there.get("active") is not False and role in codes and bool(ours & theirs)


def _check_kin(card: Record, kin: Record, role: str, paper: str) -> list[Finding]:
    found = []
    if role not in keeping.ROLES:
        found.append(Finding("medid.kin.role", "role"))
    if card["id"] == kin["id"]:
        found.append(Finding("medid.kin.self", "kin"))
    if role == "GUARD" and len(paper.strip()) < merging.REASON_LETTERS_MIN:
        found.append(Finding("medid.kin.paper", "paper"))
    born, kin_born = card.get("birthDate", ""), kin.get("birthDate", "")
    if role in ("MTH", "FTH") and born and kin_born and kin_born >= born:
        found.append(Finding("medid.kin.younger", "kin"))
    if (role, kin.get("gender")) in {("MTH", "male"), ("FTH", "female")}:
        found.append(Finding("medid.kin.sex", "role"))
    return found


async def unrelate(
    gateway: Gateway, subject: Subject, patient_id: str, related_id: str, reason: str
) -> None:
    """A relationship ends today; it stays readable."""
    told = need_reason(reason)
    async with gateway.unit(subject) as unit:
        found = await unit.get("RelatedPerson", related_id, lock=True)
        if found is None or found.get("patient", {}).get("reference") != f"Patient/{patient_id}":
            raise NotFoundError(f"there is no RelatedPerson/{related_id} of this person")
        period = found.get("period", {}) | {"end": clock.today().isoformat()}
        await unit.update("RelatedPerson", related_id, found | {
            "active": False, "period": period})
    await gateway.note(subject, "U", f"RelatedPerson/{related_id} ended: {told}",
                       patient=patient_id)


async def relatives(gateway: Gateway, subject: Subject, patient_id: str) -> list[Record]:
    """The RelatedPersons of a card, those that stand first."""
    found = await gateway.find(
        subject, "RelatedPerson", f"patient=Patient/{patient_id}&_count={RELATIVES_MAX}")
    return sorted(found, key=lambda one: one.get("active") is False)


# History ----------------------------------------------------------------------------------------


async def history(gateway: Gateway, subject: Subject, patient_id: str) -> list[keeping.Former]:
    """Names, addresses, phones, documents and clinics that a card ever had, newest first."""
    page = await gateway.history(subject, "Patient", patient_id, count=VERSIONS_MAX)
    bodies = [_decoded(one.body) for one in reversed(page.versions) if not one.deleted]
    return keeping.history(bodies)


def _decoded(body: bytes) -> Record:
    found: Record = msgspec.json.decode(body)
    return found


async def newborn_of(
    gateway: Gateway, subject: Subject, draft: Draft
) -> tuple[Draft, Record | None]:
    """The draft of a newborn with what comes from the mother's card, and that card.

    UnprocessableError where the mother cannot be found or cannot be one.
    """
    if draft.category != "newborn" or not draft.mother:
        return draft, None
    try:
        mother = await gateway.get(subject, "Patient", draft.mother)
    except DmedError as fault:
        raise UnprocessableError("the mother's card was not found", "Patient.mother") from fault
    own = keeping.draft_of(mother)
    if own.sex == "male":
        raise UnprocessableError("a mother's card is a woman's", "Patient.mother")
    return msgspec.structs.replace(
        draft, family=draft.family or own.family, phone=draft.phone or own.phone,
        region=draft.region or own.region, district=draft.district or own.district,
        address_line=draft.address_line or own.address_line), mother
