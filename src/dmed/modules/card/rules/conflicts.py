"""What in a record does not go together: doubles and contradictions, each as a pure function.

The card shows both sides and decides nothing (decision 0058): which of two blood groups is right
is found out with the person, never by a rule. What was entered in error takes no part.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from dmed.modules.card.model import Conflict, Side
from dmed.modules.card.rules import reading, results
from dmed.modules.card.rules.sources import Names, source
from dmed.modules.medid import api as medid

Record = dict[str, Any]
NI_SYSTEM_END = "/ni"
"""End of the identifier system of the PINFL, which holds birth date and sex."""
NO_KNOWN = frozenset({"716186003", "no-known-allergies", "no-known-medication-allergies"})
"""Codes by which an AllergyIntolerance says that there is none (SNOMED CT, IPS)."""
BIRTH_SEX_LOINC = "76689-9"
_ABO = {"A": "A", "B": "B", "AB": "AB", "O": "O", "0": "O",
        "I": "O", "II": "A", "III": "B", "IV": "AB"}  # fmt: skip  # Letters, then numbers.
_GROUP = re.compile(r"\b(AB|IV|III|II|I|A|B|O|0)(?![A-Z0-9])")
_NEGATIVE = re.compile(r"NEG|ОТР|МАНФ|MANF|[-−–]\s*\)?$|RH\s*\(?[-−–]")
_POSITIVE = re.compile(r"POS|ПОЛ|МУСБ|MUSB|\+")
_LOOKALIKE = str.maketrans("АВОІ", "ABOI")
_medid = medid.reading


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The records that are held against each other."""

    patient: Record
    allergies: tuple[Record, ...] = ()
    conditions: tuple[Record, ...] = ()
    medicines: tuple[Record, ...] = ()
    """Those taken now."""
    observations: tuple[Record, ...] = ()
    vaccinations: tuple[Record, ...] = ()
    visits: tuple[Record, ...] = ()
    names: Names = Names()
    """What the sources of these records need."""


def conflicts(evidence: Evidence, language: str) -> tuple[Conflict, ...]:
    """Everything that does not go together, contradictions first, in a stable order."""
    records = {f"{one['resourceType']}/{one['id']}": one for part in (
        evidence.allergies, evidence.conditions, evidence.medicines, evidence.observations,
        evidence.vaccinations, evidence.visits) for one in part}
    found = [_sourced(one, records, evidence.names)
             for rule in RULES for one in rule(evidence, language)]
    return tuple(sorted(found, key=lambda one: not one.is_contradiction))


def _sourced(conflict: Conflict, records: dict[str, Record], names: Names) -> Conflict:
    """The same with where each side is from; the person's own card is no source of another."""
    sides = tuple(
        msgspec.structs.replace(
            side, source=source(record, names),
            status="refuted" if reading.is_refuted(record) else "")
        if (record := records.get(side.reference)) is not None else side
        for side in conflict.sides)
    return msgspec.structs.replace(conflict, sides=sides)


def _side(record: Record, text: str, when: str = "") -> Side:
    return Side(f"{record['resourceType']}/{record['id']}", text, when)


# Allergies --------------------------------------------------------------------------------------


def substance(record: Record) -> str:
    """What an allergy is to, so that two records of one substance meet: code, else folded words."""
    fact = _medid.allergy(record)
    return fact.atc or " ".join(fact.text.lower().split())


def _says_none(record: Record) -> bool:
    return bool(reading.codes(record.get("code", {})) & NO_KNOWN)


def allergies(evidence: Evidence, _language: str) -> Iterable[Conflict]:
    """One substance twice; one held and refuted; "no known allergy" beside an allergy."""
    sound = [one for one in evidence.allergies if not reading.is_mistake(one)]
    held = [one for one in sound if _medid.is_active_allergy(one) and not _says_none(one)]
    by_substance: dict[str, list[Record]] = defaultdict(list)
    for one in held:
        by_substance[substance(one)].append(one)
    for records in by_substance.values():
        if len(records) > 1:
            yield Conflict(key="allergy_twice", is_contradiction=False,
                           sides=tuple(map(_allergy_side, records)))
    for one in sound:
        if reading.is_refuted(one):
            against = by_substance.get(substance(one), [])
            if against:
                yield Conflict(key="allergy_refuted", is_contradiction=True,
                               sides=(_allergy_side(one), *map(_allergy_side, against)))
        elif _says_none(one) and held and _medid.is_active_allergy(one):
            yield Conflict(key="allergy_none", is_contradiction=True,
                           sides=(_allergy_side(one), *map(_allergy_side, held)))


def _allergy_side(record: Record) -> Side:
    fact = _medid.allergy(record)
    return _side(record, fact.text, str(record.get("recordedDate", "")) or fact.since)


# Diagnoses --------------------------------------------------------------------------------------


def problems(evidence: Evidence, language: str) -> Iterable[Conflict]:
    """One diagnosis standing twice; one that stands here and was refuted there."""
    standing: dict[str, list[Record]] = defaultdict(list)
    refuted: dict[str, list[Record]] = defaultdict(list)
    for one in evidence.conditions:
        code = _medid.diagnosis(one).code
        if not code or reading.is_mistake(one):
            continue
        if reading.is_refuted(one):
            refuted[code].append(one)
        elif _medid.is_standing(one):
            standing[code].append(one)
    for code, records in standing.items():
        sides = tuple(_problem_side(one, language) for one in records)
        if len(records) > 1:
            yield Conflict(key="problem_twice", is_contradiction=False, sides=sides)
        if refuted[code]:
            more = tuple(_problem_side(one, language) for one in refuted[code])
            yield Conflict(key="problem_refuted", is_contradiction=True, sides=(*more, *sides))


def _problem_side(record: Record, language: str) -> Side:
    fact = _medid.diagnosis(record, language)
    when = str(record.get("recordedDate", "")) or fact.since
    return _side(record, f"{fact.code} {fact.text}".strip(), when)


# Medicines and vaccinations ---------------------------------------------------------------------


def medicines(evidence: Evidence, language: str) -> Iterable[Conflict]:
    """One substance taken now by two prescriptions of different numbers."""
    by_code: dict[str, dict[str, Record]] = defaultdict(dict)
    for one in evidence.medicines:
        if one["resourceType"] != "MedicationRequest" or one.get("status") == "completed":
            continue
        fact = _medid.medicine(one, language)
        if fact.atc:
            number = one.get("groupIdentifier", {}).get("value", "") or one["id"]
            by_code[fact.atc].setdefault(number, one)
    for records in by_code.values():
        if len(records) > 1:
            yield Conflict(key="medicine_twice", is_contradiction=False, sides=tuple(
                _side(one, _medid.medicine(one, language).text, str(one.get("authoredOn", "")))
                for one in records.values()))


def vaccinations(evidence: Evidence, language: str) -> Iterable[Conflict]:
    """One vaccine given twice on a day, or one dose of its series on two days."""
    doses: dict[tuple[str, str], list[Record]] = defaultdict(list)
    days: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for one in evidence.vaccinations:
        fact = reading.vaccination(one, Names(), language)
        if one.get("status") != "completed" or not fact.code:
            continue
        days[fact.code, fact.when[:10]].append(one)
        if fact.detail:
            doses[fact.code, fact.detail].append(one)
    told: set[str] = set()
    for key, groups in (("vaccine_twice", days), ("dose_twice", doses)):
        for records in groups.values():
            names = {str(one["id"]) for one in records}
            if len(records) > 1 and not names <= told:
                told |= names
                yield Conflict(key=key, is_contradiction=False, sides=tuple(
                    _vaccine_side(one, language) for one in records))


def _vaccine_side(record: Record, language: str) -> Side:
    fact = reading.vaccination(record, Names(), language)
    return _side(record, f"{fact.text} {fact.detail}".strip(), fact.when)


# Measurements -----------------------------------------------------------------------------------


def blood_group(text: str) -> tuple[str, str]:
    """(ABO, Rh) as written in any of the usual ways; "" for a part that is not told.

    >>> blood_group("A(II) Rh+"), blood_group("О(I) резус-отрицательный"), blood_group("AB neg")
    (('A', '+'), ('O', '-'), ('AB', '-'))
    """
    raised = text.upper()
    found = _GROUP.search(raised.translate(_LOOKALIKE))
    rhesus = "-" if _NEGATIVE.search(raised) else "+" if _POSITIVE.search(raised) else ""
    return _ABO[found.group(1)] if found else "", rhesus


def blood_groups(evidence: Evidence, _language: str) -> Iterable[Conflict]:
    """Two blood groups or two Rh factors of one person."""
    told = [(one, blood_group(reading.value_words(one))) for one in evidence.observations
            if results.code_of(one) in results.BLOOD_GROUPS
            and one.get("status") not in results.NO_RESULTS]
    for part in (0, 1):
        values = {group[part] for _, group in told if group[part]}
        if len(values) > 1:
            yield Conflict(key="blood_group", is_contradiction=True, sides=tuple(
                _side(one, reading.value_words(one), results.when_of(one))
                for one, group in told if group[part]))
            return


def measurements(evidence: Evidence, language: str) -> Iterable[Conflict]:
    """One measurement of one moment with two values."""
    moments: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for one in evidence.observations:
        when = results.when_of(one)
        if "T" in when and one.get("status") not in results.NO_RESULTS:
            moments[results.code_of(one), when].append(one)
    for records in moments.values():
        shown = {str(one["id"]): _value(one) for one in records}
        if len(records) < 2:
            continue
        yield Conflict(
            key="result_differs" if len(set(shown.values())) > 1 else "result_twice",
            is_contradiction=len(set(shown.values())) > 1,
            sides=tuple(_side(one, f"{reading.title(one, language)}: {shown[str(one['id'])]}",
                              results.when_of(one)) for one in records))


def _value(record: Record) -> str:
    point = results.point_of(record)
    if point is not None and point.second is not None:
        return f"{point.value}/{point.second}"
    return reading.value_words(record)


# The person -------------------------------------------------------------------------------------


def person(evidence: Evidence, language: str) -> Iterable[Conflict]:
    """Sex and birth date against the PINFL and what was observed; what came after death."""
    patient = evidence.patient
    sex, born = patient.get("gender", ""), patient.get("birthDate", "")
    own = _side(patient, sex)
    for one in patient.get("identifier", []):
        if not str(one.get("system", "")).endswith(NI_SYSTEM_END) or one.get("use") == "temp":
            continue
        told = medid.read_pinfl(str(one.get("value", "")))
        if told and sex in ("male", "female") and told.sex != sex:
            yield Conflict(key="sex_pinfl", is_contradiction=True,
                           sides=(own, _side(patient, told.sex)))
        if told and len(born) == 10 and told.birth_date.isoformat() != born:
            yield Conflict(key="birth_pinfl", is_contradiction=True, sides=(
                _side(patient, born), _side(patient, told.birth_date.isoformat())))
    for one in evidence.observations:
        if results.code_of(one) != BIRTH_SEX_LOINC or sex not in ("male", "female"):
            continue
        observed = _sex_of(one)
        if observed and observed != sex:
            yield Conflict(key="sex_observed", is_contradiction=True, sides=(
                own, _side(one, observed, results.when_of(one))))
    if sex == "male":
        for one in evidence.conditions:
            code = _medid.coding(one.get("code", {}), _medid.ICD10)
            if code.startswith(("O", *_medid.PREGNANCY_CODES)) and _medid.is_standing(one):
                yield Conflict(key="sex_diagnosis", is_contradiction=True,
                               sides=(own, _problem_side(one, language)))


def _sex_of(observation: Record) -> str:
    found = {code.lower() for code in reading.codes(observation.get("valueCodeableConcept", {}))}
    for sex, names in (("male", {"male", "m", "la2-8"}), ("female", {"female", "f", "la3-6"})):
        if found & names:
            return sex
    return ""


def after_death(evidence: Evidence, language: str) -> Iterable[Conflict]:
    """A visit or a measurement more than a day after the day of death."""
    died = str(evidence.patient.get("deceasedDateTime", ""))[:10]
    if len(died) < 10:
        return
    late = [(one, str(one.get("actualPeriod", {}).get("start", ""))) for one in evidence.visits]
    late += [(one, results.when_of(one)) for one in evidence.observations]
    sides = tuple(_side(one, reading.title(one, language) if one["resourceType"] == "Observation"
                        else _medid.visit(one, language).reason, when)
                  for one, when in late if when[:10] > died)
    if sides:
        yield Conflict(key="after_death", is_contradiction=True,
                       sides=(_side(evidence.patient, died), *sides[:5]))


RULES: tuple[Callable[[Evidence, str], Iterable[Conflict]], ...] = (
    person, after_death, blood_groups, allergies, problems, measurements, medicines, vaccinations)
