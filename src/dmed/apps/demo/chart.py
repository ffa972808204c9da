"""Writes one person's records as FHIR R5 after the national core profiles, keys in order."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import cache
from random import Random
from typing import Any

from dmed.apps.demo.tables import ANALYTES, PANELS, Analyte, Vaccine
from dmed.kit.seed import Made, drawn_id, make
from dmed.modules.medicines import api as medicines
from dmed.modules.medid.demo import Person
from dmed.modules.prescriptions.rules.numbers import NUMBER_SYSTEM, make_number
from dmed.modules.workforce.demo import Holder

_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_CS = "https://terminology.dhp.uz/fhir/core/CodeSystem/"
_THO = "http://terminology.hl7.org/CodeSystem/"
_UCUM = "http://unitsofmeasure.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
LOINC = "http://loinc.org"
_NUMBERS_FROM = 50_000_000
"""Running numbers of prescriptions of the past begin here, far above those given today."""


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


_CLASSES = {code: [_concept(f"{_THO}v3-ActCode", code)] for code in ("AMB", "HH", "IMP")}
_TYPES = {number: [_concept(f"{_CS}encounter-type-cs", f"mserv-0001-0000{number}")]
          for number in (1, 2, 3, 4)}  # fmt: skip  # Two lines of one thought.
_ATTENDER = [_concept(f"{_THO}v3-ParticipationType", "ATND")]
_ACTIVE, _RESOLVED = (_concept(f"{_THO}condition-clinical", code) for code in
                      ("active", "resolved"))  # fmt: skip  # A pair.
_CONFIRMED = _concept(f"{_THO}condition-ver-status", "confirmed")
_DIAGNOSIS_TYPE = "https://dhp.uz/fhir/core/StructureDefinition/diagnosis-type"
_MAIN, _ADDITIONAL = (
    [{"url": _DIAGNOSIS_TYPE,
      "valueCodeableConcept": _concept(f"{_CS}diagnosis-type-cs", f"gencl-0001-000{code}")}]
    for code in ("03", "04")
)  # fmt: skip  # A pair.
_PROBLEM = [_concept(f"{_THO}condition-category", "problem-list-item")]
_VISIT_DIAGNOSIS = [_concept(f"{_THO}condition-category", "encounter-diagnosis")]
_VITAL = [_concept(f"{_THO}observation-category", "vital-signs")]
_LABORATORY = [_concept(f"{_THO}observation-category", "laboratory")]
_FLAGS = {code: [_concept(f"{_THO}v3-ObservationInterpretation", code)] for code in "HLN"}
_AUTHOR = _concept(f"{_THO}provenance-participant-type", "author")
_OUTPATIENT = [_concept(f"{_THO}medicationrequest-admin-location", "outpatient")]
_HOUR = timedelta(hours=1)


@cache
def _analyte_parts(key: str, sex: str) -> tuple[Any, ...]:
    analyte: Analyte = ANALYTES[key]
    is_woman = sex == "female" and analyte.woman_mean > 0
    low = analyte.woman_low if is_woman else analyte.low
    high = analyte.woman_high if is_woman else analyte.high
    unit: dict[str, Any] = {"system": _UCUM, "code": analyte.unit}
    if analyte.shown:
        unit = {"unit": analyte.shown, **unit}
    code = {"coding": [{"system": LOINC, "code": analyte.loinc}], "text": analyte.name}
    reference = [{"low": {"value": low, **unit}, "high": {"value": high, **unit}}]
    return analyte, code, unit, low, high, reference


@cache
def _vital_parts(loinc: str, name: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": loinc}], "text": name}


@cache
def _diagnosis(code: str, name: str) -> dict[str, Any]:
    return {"coding": [{"system": ICD10, "code": code}], "text": name}


@cache
def _preparation(key: str) -> tuple[Any, ...]:
    found = medicines.preparation(key)
    unit = medicines.unit_name(found.form.dose_unit, "uz")
    presentation = medicines.unit_name(found.form.unit, "uz")
    dose = {"value": found.default_dose, "unit": unit}
    return found, medicines.medication(key), dose, unit, presentation


def stamp(moment: datetime) -> str:
    """A FHIR dateTime to the second with the zone."""
    return moment.isoformat(timespec="seconds")


class Chart:
    """The records of one person as they come; all lie in the person's bucket."""

    def __init__(self, person: Person, numbers: Random) -> None:
        self.person = person
        self.numbers = numbers
        self.subject = person.reference
        self.made: list[Made] = []
        self._prescriptions = 0

    def new_id(self) -> str:
        """The next id in the person's bucket."""
        return drawn_id(self.person.bucket, self.numbers)

    def _put(self, record_id: str, moment: datetime, profile: str, resource: dict[str, Any]) -> str:
        self.made.append(make(record_id, moment, _PROFILE + profile, resource))
        return record_id

    def encounter(
        self, start: datetime, end: datetime, *, doctor: Holder, place: str, kind: str = "AMB",
        service: int = 4, condition: str = "", encounter_id: str = "", reason: str = "",
        code: str = "",
    ) -> str:
        """A finished visit; `condition` is the id of its diagnosis, `code` and `reason` say it."""
        period = {"start": stamp(start), "end": stamp(end)}
        resource: dict[str, Any] = {
            "resourceType": "Encounter",
            "status": "completed",
            "class": _CLASSES[kind],
            "type": _TYPES[service],
            "subject": self.subject,
            "serviceProvider": {"reference": f"Organization/{place}",
                                "display": doctor.organisation_name},
            "participant": [{"type": _ATTENDER, "period": period, "actor": {
                "reference": f"Practitioner/{doctor.practitioner}", "display": doctor.name}}],
            "actualPeriod": period,
        }
        if condition:
            reference = {"reference": {"reference": f"Condition/{condition}"}}
            resource["reason"] = [{"value": [{"concept": _diagnosis(code, reason)}]}]
            resource["diagnosis"] = [{"condition": [reference]}]
        return self._put(encounter_id or self.new_id(), end, "encounter", resource)

    def condition(
        self, code: str, name: str, moment: datetime, *, doctor: Holder, encounter: str,
        onset: date, until: date | None = None, is_chronic: bool = False, is_main: bool = False,
    ) -> str:
        """A diagnosis, resolved on the day `until` where that is given."""
        resource: dict[str, Any] = {
            "resourceType": "Condition",
            "extension": _ADDITIONAL if is_chronic and not is_main else _MAIN,
            "clinicalStatus": _RESOLVED if until else _ACTIVE,
            "verificationStatus": _CONFIRMED,
            "category": _PROBLEM if is_chronic else _VISIT_DIAGNOSIS,
            "code": _diagnosis(code, name),
            "subject": self.subject,
            "encounter": {"reference": f"Encounter/{encounter}"},
            "onsetDateTime": onset.isoformat(),
        }
        if until:
            resource["abatementDateTime"] = until.isoformat()
        resource["recordedDate"] = stamp(moment)
        resource["participant"] = [{"function": _AUTHOR, "actor": {
            "reference": f"Practitioner/{doctor.practitioner}", "display": doctor.name}}]
        return self._put(self.new_id(), moment, "condition", resource)

    def vital(
        self, loinc: str, name: str, value: float, unit: str, shown: str, moment: datetime,
        encounter: str, doctor: Holder,
    ) -> None:
        """One vital sign with one value."""
        self._observe(_VITAL, _vital_parts(loinc, name), moment, encounter, doctor, {
            "valueQuantity": {"value": value, "unit": shown, "system": _UCUM, "code": unit}})

    def blood_pressure(self, high: int, low: int, moment: datetime, encounter: str,
                       doctor: Holder) -> None:
        """Systolic and diastolic pressure in mm[Hg]."""
        unit = {"unit": "mm Hg", "system": _UCUM, "code": "mm[Hg]"}
        self._observe(_VITAL, _vital_parts("85354-9", "Qon bosimi"), moment, encounter, doctor, {
            "component": [
                {"code": _vital_parts("8480-6", "Sistolik bosim"),
                 "valueQuantity": {"value": high, **unit}},
                {"code": _vital_parts("8462-4", "Diastolik bosim"),
                 "valueQuantity": {"value": low, **unit}},
            ]})

    def laboratory(self, key: str, value: float, moment: datetime, encounter: str,
                   doctor: Holder) -> str:
        """One measurement of the laboratory with range and flag; its id."""
        analyte, code, unit, low, high, reference = _analyte_parts(key, self.person.sex)
        value = round(max(value, 0.0), analyte.digits) if analyte.digits else round(max(value, 0))
        flag = "H" if value > high else "L" if value < low else "N"
        return self._observe(_LABORATORY, code, moment, encounter, doctor, {
            "valueQuantity": {"value": value, **unit},
            "interpretation": _FLAGS[flag],
            "referenceRange": reference,
        })

    def _observe(self, category: list[Any], code: dict[str, Any], moment: datetime,
                 encounter: str, doctor: Holder, value: dict[str, Any]) -> str:
        return self._put(self.new_id(), moment, "observation", {
            "resourceType": "Observation",
            "status": "final",
            "category": category,
            "code": code,
            "subject": self.subject,
            "encounter": {"reference": f"Encounter/{encounter}"},
            "effectiveDateTime": stamp(moment),
            "performer": [{"reference": f"Practitioner/{doctor.practitioner}"}],
            **value,
        })

    def report(self, panel_key: str, results: list[str], moment: datetime, encounter: str,
               doctor: Holder) -> None:
        """A laboratory report over observations already written."""
        panel = PANELS[panel_key]
        issued = moment + _HOUR
        self._put(self.new_id(), issued, "diagnostic-report", {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "category": [_concept(f"{_THO}v2-0074", panel.category)],
            "code": _vital_parts(panel.loinc, panel.name),
            "subject": self.subject,
            "encounter": {"reference": f"Encounter/{encounter}"},
            "effectiveDateTime": stamp(moment),
            "issued": stamp(issued),
            "performer": [{"reference": f"Organization/{doctor.organisation}"}],
            "result": [{"reference": f"Observation/{one}"} for one in results],
        })

    def prescribe(
        self, key: str, moment: datetime, *, doctor: Holder, encounter: str, code: str, name: str,
        days: int = 0, group: str = "",
    ) -> tuple[str, str, Decimal]:
        """One item of a prescription of the past: (id, key, quantity in units of presentation)."""
        found, medication, dose, unit, presentation = _preparation(key)
        days = days or found.default_days
        doses = found.default_dose * found.default_times * days
        quantity = (doses / found.dose_per_unit).to_integral_value(ROUND_CEILING)
        start, end = moment.date(), moment.date() + timedelta(days=days)
        period = {"start": start.isoformat(), "end": end.isoformat()}
        valid = moment.date() + timedelta(days=10 if found.antibiotic else 60)
        text = f"{found.default_dose:f} {unit}dan kuniga {found.default_times} mahal, {days} kun"
        request = self._put(self.new_id(), moment, "medication-request", {
            "resourceType": "MedicationRequest",
            "groupIdentifier": {"system": NUMBER_SYSTEM, "value": group or self.prescription()},
            "status": "completed",
            "intent": "order",
            "category": _OUTPATIENT,
            "medication": medication,
            "subject": self.subject,
            "encounter": {"reference": f"Encounter/{encounter}"},
            "authoredOn": stamp(moment),
            "requester": {"reference": f"PractitionerRole/{doctor.role}", "display": doctor.name},
            "reason": [{"concept": _diagnosis(code, name)}],
            "effectiveDosePeriod": period,
            "dosageInstruction": [{
                "text": text,
                "timing": {"repeat": {"boundsPeriod": period, "frequency": found.default_times,
                                      "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": dose}],
            }],
            "dispenseRequest": {
                "validityPeriod": {"start": period["start"], "end": valid.isoformat()},
                "quantity": {"value": quantity, "unit": presentation},
            },
        })
        return request, key, quantity

    def prescription(self) -> str:
        """The number of the person's next prescription."""
        self._prescriptions += 1
        running = _NUMBERS_FROM + (self.person.number * 53 + self._prescriptions) % 49_000_000
        return make_number(self.person.home.region, running)

    def dispense(
        self, item: tuple[str, str, Decimal], moment: datetime, pharmacist: Holder
    ) -> None:
        """The whole quantity of an item handed over at a pharmacy."""
        request, key, quantity = item
        _, medication, _, _, presentation = _preparation(key)
        self._put(self.new_id(), moment, "medication-dispense", {
            "resourceType": "MedicationDispense",
            "status": "completed",
            "medication": medication,
            "subject": self.subject,
            "performer": [
                {"actor": {"reference": f"PractitionerRole/{pharmacist.role}",
                           "display": pharmacist.name}},
                {"actor": {"reference": f"Organization/{pharmacist.organisation}",
                           "display": pharmacist.organisation_name}},
            ],
            "authorizingPrescription": [{"reference": f"MedicationRequest/{request}"}],
            "quantity": {"value": quantity, "unit": presentation},
            "recorded": stamp(moment),
            "whenHandedOver": stamp(moment),
            "receiver": [self.subject],
        })

    def vaccination(self, vaccine: Vaccine, moment: datetime, nurse: Holder) -> None:
        """One dose given."""
        lot = f"{vaccine.cvx}{moment:%y}{self.numbers.randrange(1000):03d}"
        self._put(self.new_id(), moment, "immunization", {
            "resourceType": "Immunization",
            "status": "completed",
            "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx",
                                        "code": vaccine.cvx}], "text": vaccine.name},
            "lotNumber": lot,
            "expirationDate": f"{moment.year + 1}-{moment:%m}-28",
            "patient": self.subject,
            "occurrenceDateTime": stamp(moment),
            "primarySource": True,
            "performer": [{"actor": {"reference": f"Organization/{nurse.organisation}",
                                     "display": nurse.organisation_name}}],
            "protocolApplied": [{"doseNumber": str(vaccine.dose)}],
        })

    def allergy(self, text: str, inn: str, atc: str, category: str, moment: datetime, *,
                doctor: Holder, is_severe: bool, reaction: str, onset: str) -> None:
        """An allergy, medicines coded by ATC group or code."""
        coding = [{"system": "http://www.whocc.no/atc", "code": atc}] if atc else []
        code: dict[str, Any] = {"coding": coding} if coding else {}
        if coding and inn:
            coding[0]["display"] = inn
        code["text"] = text
        self._put(self.new_id(), moment, "allergy-intolerance", {
            "resourceType": "AllergyIntolerance",
            "clinicalStatus": _concept(f"{_THO}allergyintolerance-clinical", "active"),
            "verificationStatus": _concept(f"{_THO}allergyintolerance-verification", "confirmed"),
            "type": _concept("http://hl7.org/fhir/allergy-intolerance-type", "allergy"),
            "category": [category],
            "criticality": "high" if is_severe else "low",
            "code": code,
            "patient": self.subject,
            "onsetDateTime": onset,
            "recordedDate": stamp(moment),
            "participant": [{"function": _AUTHOR, "actor": {
                "reference": f"Practitioner/{doctor.practitioner}", "display": doctor.name}}],
            "reaction": [{"manifestation": [{"concept": {"text": reaction}}],
                          "severity": "severe" if is_severe else "moderate"}],
        })

    def procedure(self, name: str, moment: datetime, encounter: str, doctor: Holder) -> None:
        """Something that was done, in words."""
        self._put(self.new_id(), moment, "procedure", {
            "resourceType": "Procedure",
            "status": "completed",
            "code": {"text": name},
            "subject": self.subject,
            "encounter": {"reference": f"Encounter/{encounter}"},
            "occurrenceDateTime": stamp(moment),
            "performer": [{"actor": {"reference": f"Practitioner/{doctor.practitioner}",
                                     "display": doctor.name}}],
        })

    def episode(self, condition: str, start: date, doctor: Holder, moment: datetime) -> None:
        """The running observation of a chronic disease at the clinic."""
        self._put(self.new_id(), moment, "episodeofcare", {
            "resourceType": "EpisodeOfCare",
            "status": "active",
            "type": [_concept(f"{_CS}episode-of-care-type-cs", "mserv-0001-00004")],
            "diagnosis": [{"condition": [
                {"reference": {"reference": f"Condition/{condition}"}}]}],
            "patient": self.subject,
            "managingOrganization": {"reference": f"Organization/{doctor.organisation}"},
            "period": {"start": start.isoformat()},
            "careManager": {"reference": f"Practitioner/{doctor.practitioner}"},
        })
