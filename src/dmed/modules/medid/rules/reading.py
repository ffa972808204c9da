"""Records read into what people and checks need; dicts in, frozen facts out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from dmed.fhir.persons import replaced_by
from dmed.kit import i18n
from dmed.kit.text import is_cyrillic
from dmed.modules.medicines import api as medicines
from dmed.modules.medid.model import (
    AllergyFact,
    Banner,
    DiagnosisFact,
    MedicineFact,
    PersonHit,
    Visit,
)
from dmed.modules.medid.rules import numbers

Record = dict[str, Any]
ATC_SYSTEM = "http://www.whocc.no/atc"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
LOINC = "http://loinc.org"
CVX = "http://hl7.org/fhir/sid/cvx"
WEIGHT_LOINC = "29463-7"
PREGNANCY_CODES = ("Z32.1", "Z33", "Z34", "Z35")
PREGNANCY_DAYS_MAX = 43 * 7


def first(values: list[Any] | None) -> Any:
    """The first of a list, or an empty dict."""
    return values[0] if values else {}


def coding(concept: Record, system: str) -> str:
    """The first code of a system in a CodeableConcept, or ""."""
    return next((one.get("code", "") for one in concept.get("coding", [])
                 if one.get("system") == system), "")


def identifier(record: Record, system: str) -> tuple[str, bool]:
    """(value, whether it is official) of the first identifier of a system, or ("", False)."""
    for one in record.get("identifier", []):
        if one.get("system") == system and one.get("value"):
            return one["value"], one.get("use", "official") == "official"
    return "", False


# --- Persons ---------------------------------------------------------------------------------


def full_name(name: Record) -> str:
    """A HumanName as one line: family, given, patronymic."""
    parts = [name.get("family", ""), *name.get("given", []), *name.get("suffix", [])]
    return name.get("text") or " ".join(part for part in parts if part)


def names(patient: Record) -> list[Record]:
    """HumanNames with a full name, the official one first, maiden names left out."""
    found = [one for one in patient.get("name", []) if one.get("use") not in ("maiden", "old")]
    return sorted(found, key=lambda one: one.get("use") != "official")


def name_for(patient: Record, language: str) -> str:
    """The full name in the script of the reader, if the record has it in that script."""
    found = [full_name(one) for one in names(patient)]
    wants_cyrillic = language in ("ru", "uz-Cyrl")
    same = [one for one in found if is_cyrillic(one) == wants_cyrillic]
    return next(iter(same or found), "")


def phone(patient: Record) -> str:
    """The first phone."""
    return next((one.get("value", "") for one in patient.get("telecom", [])
                 if one.get("system") in ("phone", "sms")), "")


def address(patient: Record) -> str:
    """The home address as one line."""
    found = first(patient.get("address"))
    return found.get("text") or ", ".join(
        part for part in (*found.get("line", []), found.get("city", "")) if part)


def hit(patient: Record, found_by: str = "") -> PersonHit:
    """A Patient as one line of a list."""
    found = [full_name(one) for one in names(patient)]
    return PersonHit(
        id=patient["id"],
        name=found[0] if found else "",
        name_other=found[1] if len(found) > 1 else "",
        birth_date=patient.get("birthDate", ""),
        sex=patient.get("gender", ""),
        med_id=numbers.show_med_id(identifier(patient, numbers.MED_ID_SYSTEM)[0]),
        pinfl=numbers.mask_pinfl(identifier(patient, numbers.PINFL_SYSTEM)[0]),
        phone=numbers.mask_phone(phone(patient)),
        address=address(patient),
        organisation=patient.get("managingOrganization", {}).get("display", ""),
        active=patient.get("active", True) is not False,
        found_by=found_by,
    )


def ages(patient: Record, today: date) -> tuple[int, int, int]:
    """(days, whole years, months beyond them) on a day; -1, -1, 0 where the date is unknown.

    A birth date of a year or month alone counts from its first day.
    """
    text = patient.get("birthDate", "")
    born = numbers.read_date((text + "-01-01")[:10] if len(text) == 4 else
                             f"{text}-01" if len(text) == 7 else text)
    if born is None or born > today:
        return -1, -1, 0
    return (today - born).days, numbers.age_years(born, today), numbers.age_months(born, today)


def banner(
    patient: Record, allergies: list[Record], conditions: list[Record], language: str, today: date
) -> Banner:
    """The head of every page about a person."""
    pinfl, is_official = identifier(patient, numbers.PINFL_SYSTEM)
    _, years, months = ages(patient, today)
    return Banner(
        id=patient["id"],
        name=name_for(patient, language),
        birth_date=patient.get("birthDate", ""),
        age_years=years,
        age_months=months,
        sex=patient.get("gender", ""),
        med_id=numbers.show_med_id(identifier(patient, numbers.MED_ID_SYSTEM)[0]),
        pinfl=numbers.mask_pinfl(pinfl),
        is_pinfl_verified=bool(pinfl) and is_official,
        phone=numbers.mask_phone(phone(patient)),
        address=address(patient),
        organisation=patient.get("managingOrganization", {}).get("display", ""),
        pregnancy_weeks=pregnancy_weeks(patient, conditions, today),
        allergies=tuple(allergy(one) for one in allergies if is_active_allergy(one)),
        is_active=patient.get("active", True) is not False,
        is_deceased=bool(patient.get("deceasedBoolean") or patient.get("deceasedDateTime")),
        replaced_by=replaced_by(patient),
    )


# --- Facts -----------------------------------------------------------------------------------


def is_active_allergy(record: Record) -> bool:
    """Whether an AllergyIntolerance still holds: not refuted, not resolved, not in error."""
    status = {one.get("code") for one in record.get("clinicalStatus", {}).get("coding", [])}
    sure = {one.get("code") for one in record.get("verificationStatus", {}).get("coding", [])}
    return not status & {"inactive", "resolved"} and not sure & {"refuted", "entered-in-error"}


def allergy(record: Record) -> AllergyFact:
    """An AllergyIntolerance as a fact; the ATC code may be that of a group."""
    code = record.get("code", {})
    reaction = first(record.get("reaction"))
    manifestation = first(reaction.get("manifestation")).get("concept", {})
    inn = next((one.get("display", "") for one in code.get("coding", [])
                if one.get("system") == ATC_SYSTEM), "")
    return AllergyFact(
        id=record["id"],
        text=code.get("text") or first(code.get("coding")).get("display", ""),
        inn=inn,
        atc=coding(code, ATC_SYSTEM),
        criticality=record.get("criticality", ""),
        severity=reaction.get("severity", ""),
        reaction=manifestation.get("text") or first(manifestation.get("coding")).get("display", ""),
        since=record.get("onsetDateTime", "") or record.get("recordedDate", "")[:10],
        category=next(iter(record.get("category", [])), ""),
    )


def status_of(condition: Record) -> str:
    """The clinical status of a Condition: active, recurrence, relapse, inactive, remission..."""
    found: str = first(condition.get("clinicalStatus", {}).get("coding")).get("code", "active")
    return found


def is_standing(condition: Record) -> bool:
    """Whether a Condition belongs on the list of problems now."""
    sure = {one.get("code") for one in condition.get("verificationStatus", {}).get("coding", [])}
    return status_of(condition) in ("active", "recurrence", "relapse") and not sure & {
        "refuted", "entered-in-error"}  # fmt: skip  # One set.


def diagnosis_text(concept: Record, language: str) -> str:
    """A coded diagnosis in words: as it was written for Uzbek readers, else by its ICD-10 code."""
    written = concept.get("text") or first(concept.get("coding")).get("display", "")
    key = f"medid.icd.{coding(concept, ICD10)}"
    texts = i18n.translator()
    if written and (language in ("uz", "uz-Cyrl") or not texts.has(key)):
        return str(written)
    return texts.text(language, key) if texts.has(key) else coding(concept, ICD10)


def diagnosis(condition: Record, language: str = "uz") -> DiagnosisFact:
    """A Condition as a fact."""
    code = condition.get("code", {})
    kind = next((first(one.get("valueCodeableConcept", {}).get("coding")).get("code", "")
                 for one in condition.get("extension", [])
                 if one.get("url", "").endswith("/diagnosis-type")), "")
    author = next((one.get("actor", {}).get("display", "")
                   for one in condition.get("participant", [])), "")
    return DiagnosisFact(
        id=condition["id"],
        code=coding(code, ICD10) or first(code.get("coding")).get("code", ""),
        text=diagnosis_text(code, language),
        since=condition.get("onsetDateTime", "")[:10] or condition.get("recordedDate", "")[:10],
        status=status_of(condition),
        kind=kind,
        author=author,
    )


def pregnancy_weeks(patient: Record, conditions: list[Record], today: date) -> int | None:
    """Completed weeks of a pregnancy that runs today, or None.

    The onset of a pregnancy's Condition is the first day of the last period; one that would be
    in its 44th week or later is over, whether somebody closed it or not.
    """
    if patient.get("gender") == "male":
        return None
    weeks = []
    for one in conditions:
        code = coding(one.get("code", {}), ICD10)
        onset = numbers.read_date(one.get("onsetDateTime", "")[:10])
        if onset and code.startswith(PREGNANCY_CODES) and is_standing(one):
            days = (today - onset).days
            if 0 <= days < PREGNANCY_DAYS_MAX:
                weeks.append(days // 7)
    return min(weeks) if weeks else None


def medicine(request: Record, language: str) -> MedicineFact:
    """A MedicationRequest as a medicine taken, with INN and ATC where it carries them."""
    medication = request.get("medication", {})
    concept = medication.get("concept", {})
    found = medicines.preparation_of(medication)
    dosage = first(request.get("dosageInstruction"))
    period = request.get("effectiveDosePeriod") or dosage.get("timing", {}).get(
        "repeat", {}).get("boundsPeriod", {})
    until = period.get("end", "") or request.get("dispenseRequest", {}).get(
        "validityPeriod", {}).get("end", "")
    return MedicineFact(
        id=request["id"],
        inn=found.inn.key if found else "",
        atc=found.atc if found else coding(concept, ATC_SYSTEM),
        text=medicines.label(found.key, language) if found else concept.get("text", ""),
        dose=dosage.get("text", ""),
        since=period.get("start", "") or request.get("authoredOn", "")[:10],
        until=until[:10],
        status=request.get("status", ""),
        prescriber=request.get("requester", {}).get("display", ""),
    )


def one_each(found: Iterable[MedicineFact]) -> tuple[MedicineFact, ...]:
    """Medicines without those prescribed again: of each the one that lasts longest."""
    longest: dict[str, MedicineFact] = {}
    for one in found:
        known = longest.get(one.text)
        if known is None or (one.until or "9999") > (known.until or "9999"):
            longest[one.text] = one
    return tuple(sorted(longest.values(), key=lambda one: one.since, reverse=True))


def is_taken(request: Record, today: date) -> bool:
    """Whether a MedicationRequest means a medicine taken on a day."""
    status = request.get("status", "")
    if status not in ("active", "on-hold", "completed"):
        return False
    until = medicine(request, "uz").until
    return not until or until >= today.isoformat()


def weight(observations: list[Record]) -> tuple[Decimal | None, str]:
    """(kilograms, day) of the newest body weight of a list newest first, or (None, "")."""
    for one in observations:
        value = one.get("valueQuantity", {})
        if value.get("value") is None or one.get("status") == "entered-in-error":
            continue
        factor = Decimal("0.001") if value.get("code") == "g" else Decimal(1)
        return Decimal(value["value"]) * factor, one.get("effectiveDateTime", "")[:10]
    return None, ""


# --- The course of things --------------------------------------------------------------------


def visit(encounter: Record, language: str = "uz") -> Visit:
    """An Encounter as one line."""
    who = next((one.get("actor", {}).get("display", "")
                for one in encounter.get("participant", [])), "")
    reason = first(first(encounter.get("reason")).get("value")).get("concept", {})
    kind = first(first(encounter.get("class")).get("coding")).get("code", "")
    return Visit(
        id=encounter["id"],
        when=encounter.get("actualPeriod", {}).get("start", ""),
        kind=kind,
        organisation=encounter.get("serviceProvider", {}).get("display", ""),
        doctor=who,
        reason=diagnosis_text(reason, language),
    )
