"""A prescription as FHIR, and back: pure functions over plain dicts.

MedicationRequest: https://hl7.org/fhir/R5/medicationrequest.html with the national profile,
Task: https://hl7.org/fhir/R5/task.html, DetectedIssue, Provenance. The authorisation and the
execution are kept apart (IHE MPD): one MedicationRequest and one Task an item.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.modules.medicines.api import Preparation, medication, unit_name
from dmed.modules.prescriptions.model import Alert, Diagnosis, DraftItem, ItemState, Paper
from dmed.modules.prescriptions.rules import courses, unregistered
from dmed.modules.prescriptions.rules.numbers import ITEM_SYSTEM, NUMBER_SYSTEM
from dmed.modules.prescriptions.rules.states import Row

PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-medication-request"
TRUSTEE = "https://dhp.uz/fhir/core/StructureDefinition/trustee"
ORGANISATION = "https://dhp.uz/fhir/core/StructureDefinition/prescribing-organization"
"""Additive extension: the institution in whose name the doctor prescribed."""
PAPER = "https://dhp.uz/fhir/core/StructureDefinition/prescription-paper-form"
"""Additive extension: typed in from a form of paper; written, entered, reason."""
COMMISSION = "https://dhp.uz/fhir/core/StructureDefinition/prescription-commission"
"""Additive extension: the decision that allowed more than five names."""
EXCEPTION_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-inn-exception"
PAPER_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-paper-reason"
ICD = "http://hl7.org/fhir/sid/icd-10"
STATE_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-item-state"
TASK_CODE_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-task"
OUTPUT_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-task-output"
STATUS_REASON_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-status-reason"
ALERT_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-alert"
OVERRIDE_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-override"
UNIT_SYSTEM = (
    "https://terminology.dhp.uz/fhir/core/CodeSystem/medication-total-volume-local-units-cs"
)
HELD_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/prescription-item-held-state"
"""Second coding of Task.businessStatus during a hold: the state before it."""
INSURANCE = "Davlat tibbiy sug‘urtasi jamg‘armasi"
PIECE = "piece"
UCUM = "http://unitsofmeasure.org"
_WHEN = {"before-meal": "AC", "with-meal": "C", "after-meal": "PC", "morning": "MORN",
         "night": "NIGHT"}  # fmt: skip  # Pairs side by side.
_TIMING = {code: timing for timing, code in _WHEN.items()}


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What all items of a prescription share."""

    number: str
    patient: str
    patient_name: str
    prescriber: str
    """Id of the PractitionerRole."""
    prescriber_name: str
    organisation: str
    organisation_name: str
    authored: datetime
    valid_until: date
    trustee: str = ""
    replaces: str = ""
    """Number of the prescription that this one corrects."""
    start: date | None = None
    """First day of validity; None: that of writing."""
    repeats: int = 1
    is_insured: bool = False
    commission: str = ""
    decisions: dict[str, str] = {}
    """Key of an unregistered medicine -> id of the decision that carries it."""
    paper: Paper | None = None
    confirmed: datetime | None = None
    """When it was signed, where that is not when it was written."""

    @property
    def first_day(self) -> date:
        """The first day on which it may be handed over."""
        return self.start or self.authored.astimezone(TASHKENT).date()


def moment(value: datetime) -> str:
    """A FHIR dateTime of the second with the zone of Tashkent."""
    return value.astimezone(TASHKENT).isoformat(timespec="seconds")


def day_of(text: str) -> date:
    """The calendar day in Tashkent of a FHIR date or dateTime."""
    if "T" in text:
        return moment_of(text).astimezone(TASHKENT).date()
    return date.fromisoformat((text + "-01-01")[:10] if len(text) < 10 else text[:10])


def moment_of(text: str) -> datetime:
    """The moment of a FHIR dateTime; a day alone means its beginning in Tashkent."""
    if "T" in text:
        return datetime.fromisoformat(text)
    return datetime.combine(day_of(text), datetime.min.time(), TASHKENT)


def quantity(value: Decimal, unit: str) -> dict[str, Any]:
    """A quantity in units of presentation, as the national profile codes it."""
    return {"value": courses.whole(value), "unit": unit_name(unit, "uz"), "system": UNIT_SYSTEM,
            "code": PIECE}  # fmt: skip  # One line a group of fields.


def request_of(
    item: DraftItem,
    preparation: Preparation,
    diagnosis: tuple[str, Diagnosis | None],
    index: int,
    context: Context,
    base: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The active MedicationRequest of one item (index from 0). `base`: a resource that a system
    posted, whose further content is kept.
    """
    day = context.first_day
    last = day + timedelta(days=item.duration_days * context.repeats - 1)
    resource: dict[str, Any] = dict(base or {})
    resource.pop("id", None)
    kept = [each for each in resource.get("identifier", ()) if each.get("system") != ITEM_SYSTEM]
    resource |= {
        "resourceType": "MedicationRequest",
        "meta": resource.get("meta") or {"profile": [PROFILE]},
        "identifier": [*kept, _identifier("PLAC", ITEM_SYSTEM, f"{context.number}-{index + 1}")],
        "groupIdentifier": _identifier("PGN", NUMBER_SYSTEM, context.number),
        "status": "active",
        "statusChanged": moment(context.authored),
        "intent": "order",
        "medication": _medication(item, preparation),
        "subject": {"reference": f"Patient/{context.patient}", "display": context.patient_name},
        "authoredOn": moment(context.authored),
        "requester": {
            "reference": f"PractitionerRole/{context.prescriber}",
            "display": context.prescriber_name,
        },
        "reason": resource.get("reason") or [_reason(*diagnosis)],
        "effectiveDosePeriod": {"start": day.isoformat(), "end": last.isoformat()},
        "dispenseRequest": {
            **resource.get("dispenseRequest", {}),
            **_dispense_request(item, preparation, context),
        },
        "substitution": _substitution(item),
    }
    if context.is_insured:
        resource.setdefault("insurance", [{"display": INSURANCE}])
    if not base:
        resource["category"] = [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/medicationrequest-admin-location",
            "code": "outpatient"}]}]  # fmt: skip  # One coding, one thought.
        resource["dosageInstruction"] = [dosage(item, preparation)]
        if item.note:
            resource["note"] = [{"text": item.note}]
    resource["extension"] = [
        *(each for each in resource.get("extension", ())
          if each.get("url") not in {ORGANISATION, unregistered.EXTENSION}),
        *([unregistered.extension(item.unregistered)] if item.unregistered else []),
        *_about(context),
        {"url": ORGANISATION, "valueReference": {
            "reference": f"Organization/{context.organisation}",
            "display": context.organisation_name}},
    ]  # fmt: skip  # One nested extension.
    if item.preparation in context.decisions:
        reference = {"reference": f"DocumentReference/{context.decisions[item.preparation]}"}
        known = [each for each in resource.get("supportingInformation", ()) if each != reference]
        resource["supportingInformation"] = [*known, reference]
    if context.trustee:
        resource["extension"].append(
            {"url": TRUSTEE, "valueReference": {"display": context.trustee}}
        )
    if context.replaces:
        resource["priorPrescription"] = {
            "identifier": {"system": NUMBER_SYSTEM, "value": context.replaces}
        }
    return resource


def _medication(item: DraftItem, preparation: Preparation) -> dict[str, Any]:
    """The INN; a named product beside it where an exception allows one."""
    if item.unregistered is not None:
        return unregistered.concept(preparation)
    named = {"reference": {"reference": f"Medication/{item.product}"}} if item.product else {}
    return {**medication(preparation.key), **named}


def _substitution(item: DraftItem) -> dict[str, Any]:
    if not item.product:
        return {"allowedBoolean": True}
    coding = [{"system": EXCEPTION_SYSTEM, "code": item.exception}]
    return {"allowedBoolean": False, "reason": {"coding": coding}}


def _about(context: Context) -> list[dict[str, Any]]:
    """Extensions that only some prescriptions have."""
    found: list[dict[str, Any]] = []
    if context.commission:
        found.append({"url": COMMISSION, "valueString": context.commission})
    if context.paper:
        entered = context.confirmed or context.authored
        coding = {"system": PAPER_SYSTEM, "code": context.paper.reason}
        found.append({"url": PAPER, "extension": [
            {"url": "written", "valueDateTime": moment(context.paper.written)},
            {"url": "entered", "valueDateTime": moment(entered)},
            {"url": "reason", "valueCoding": coding},
        ]})  # fmt: skip  # One nested extension.
    return found


def product_of(request: dict[str, Any]) -> str:
    """Key of the product that a request prescribes by its trade name, or ""."""
    if (request.get("substitution") or {}).get("allowedBoolean") is not False:
        return ""
    reference = (request.get("medication") or {}).get("reference") or {}
    return str(reference.get("reference", "")).removeprefix("Medication/")


def _dispense_request(
    item: DraftItem, preparation: Preparation, context: Context
) -> dict[str, Any]:
    """How much of an item may be handed over, when, and how often."""
    course = {"value": Decimal(item.duration_days), "unit": "kun", "system": UCUM, "code": "d"}
    repeated = {"numberOfRepeatsAllowed": context.repeats - 1, "dispenseInterval": course}
    return {
        "validityPeriod": {"start": context.first_day.isoformat(),
                           "end": context.valid_until.isoformat()},
        **(repeated if context.repeats > 1 else {}),
        "quantity": quantity(item.quantity, preparation.form.unit),
        "expectedSupplyDuration": course,
    }  # fmt: skip  # One element.


def _identifier(kind: str, system: str, value: str) -> dict[str, Any]:
    kinds = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": kind}]}
    return {"use": "official", "type": kinds, "system": system, "value": value}


def _reason(code: str, known: Diagnosis | None) -> dict[str, Any]:
    coding: dict[str, Any] = {"system": ICD, "code": code}
    if known:
        coding["display"] = known.uz
    return {"concept": {"coding": [coding], "text": known.uz if known else code}}


def numbered(
    request: dict[str, Any], item: DraftItem, preparation: Preparation, context: Context
) -> dict[str, Any]:
    """A request that a system signed, with the number that it gets here; the rest stays."""
    dispense = request.get("dispenseRequest") or {}
    return {
        **request,
        "identifier": [*request.get("identifier", ()),
                       _identifier("PLAC", ITEM_SYSTEM, f"{context.number}-1")],
        "groupIdentifier": _identifier("PGN", NUMBER_SYSTEM, context.number),
        "dispenseRequest": {
            **dispense,
            "quantity": dispense.get("quantity")
            or quantity(item.quantity, preparation.form.unit),
            "validityPeriod": {**dispense.get("validityPeriod", {}),
                               "end": context.valid_until.isoformat()},
        },
    }  # fmt: skip  # Nested once.


def dosage(item: DraftItem, preparation: Preparation) -> dict[str, Any]:
    """The one dosage line of an item."""
    repeat: dict[str, Any] = {
        "boundsDuration": {
            "value": Decimal(item.duration_days),
            "unit": "kun",
            "system": UCUM,
            "code": "d",
        },
        "frequency": item.times_per_day,
        "period": Decimal(1),
        "periodUnit": "d",
    }
    if item.timing in _WHEN:
        repeat["when"] = [_WHEN[item.timing]]
    return {
        "text": courses.dosage_texts(preparation, item)["uz"],
        "asNeeded": item.as_needed,
        "timing": {"repeat": repeat},
        "route": {"text": preparation.form.route},
        "doseAndRate": [{"doseQuantity": {
            "value": courses.whole(item.dose),
            "unit": unit_name(preparation.form.dose_unit, "uz")}}],
    }  # fmt: skip  # Nested once, read at once.


def item_of(resource: dict[str, Any], preparation_key: str) -> DraftItem:
    """The line that a MedicationRequest means; zero or empty where it does not say."""
    line = (resource.get("dosageInstruction") or [{}])[0]
    repeat = (line.get("timing") or {}).get("repeat") or {}
    dose = ((line.get("doseAndRate") or [{}])[0].get("doseQuantity") or {}).get("value")
    dispense = resource.get("dispenseRequest") or {}
    amount = (dispense.get("quantity") or {}).get("value")
    when = (repeat.get("when") or [""])[0]
    return DraftItem(
        preparation=preparation_key,
        unregistered=unregistered.stated(resource),
        dose=Decimal(str(dose or 0)),
        times_per_day=_times_a_day(repeat),
        duration_days=_days(resource, repeat),
        quantity=Decimal(str(amount or 0)),
        timing=_TIMING.get(when, ""),
        as_needed=bool(line.get("asNeeded")),
        diagnosis=icd_of(resource),
        note=str((resource.get("note") or [{}])[0].get("text", "")),
        product=product_of(resource),
        exception=_exception(resource),
    )


def _exception(resource: dict[str, Any]) -> str:
    reason = (resource.get("substitution") or {}).get("reason") or {}
    for coding in reason.get("coding", ()):
        if coding.get("system") == EXCEPTION_SYSTEM:
            return str(coding.get("code", ""))
    return ""


def _times_a_day(repeat: dict[str, Any]) -> int:
    if repeat.get("timeOfDay"):
        return len(repeat["timeOfDay"])
    frequency, period = int(repeat.get("frequency") or 0), Decimal(str(repeat.get("period") or 1))
    hours = {"h": 1, "d": 24}.get(str(repeat.get("periodUnit", "d")), 0)
    if not frequency or not hours or period <= 0:
        return 1 if frequency else 0
    return max(1, int(frequency * 24 / (period * hours)))


def _days(resource: dict[str, Any], repeat: dict[str, Any]) -> int:
    bounds = (
        repeat.get("boundsDuration")
        or (resource.get("dispenseRequest") or {}).get("expectedSupplyDuration")
        or {}
    )
    factor = {"d": 1, "wk": 7, "mo": 30, "a": 365}.get(str(bounds.get("code", "d")), 0)
    if bounds.get("value") is not None:
        return int(Decimal(str(bounds["value"])) * factor)
    period = repeat.get("boundsPeriod") or resource.get("effectiveDosePeriod") or {}
    if period.get("start") and period.get("end"):
        return (day_of(period["end"]) - day_of(period["start"])).days + 1
    return 0


def icd_of(resource: dict[str, Any]) -> str:
    """The first ICD-10 code among the reasons, or ""."""
    for reason in resource.get("reason", ()):
        for coding in (reason.get("concept") or {}).get("coding", ()):
            if str(coding.get("system", "")).startswith(ICD):
                return str(coding.get("code", ""))
    return ""


def number_of(resource: dict[str, Any]) -> str:
    """The prescription number of a MedicationRequest or Task, or ""."""
    group = resource.get("groupIdentifier") or {}
    return str(group.get("value", "")) if group.get("system") == NUMBER_SYSTEM else ""


def item_number(resource: dict[str, Any]) -> int:
    """The number of the item within its prescription (1..5); 1 where it has none."""
    for identifier in resource.get("identifier", ()):
        if identifier.get("system") == ITEM_SYSTEM:
            return int(str(identifier.get("value", "")).rpartition("-")[2] or 1)
    return 1


def task_of(request_id: str, index: int, context: Context, row: Row | None = None) -> (
        dict[str, Any]):
    """The Task of a new item as a row of the table makes it; without one it is ready, to be
    dispensed by anyone until it expires.
    """
    return {
        "resourceType": "Task",
        "identifier": [{"system": ITEM_SYSTEM, "value": f"{context.number}-{index + 1}"}],
        "groupIdentifier": {"system": NUMBER_SYSTEM, "value": context.number},
        "status": row.task if row else "ready",
        "businessStatus": state_concept(row.state if row else ItemState.TO_BE_DISPENSED),
        "intent": "order",
        # R5 lets a Task carry a restriction (the lease) only where its code is also "fulfill".
        "code": {
            "coding": [
                {"system": TASK_CODE_SYSTEM, "code": "dispense-item"},
                {"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"},
            ]
        },
        "focus": {"reference": f"MedicationRequest/{request_id}"},
        "for": {"reference": f"Patient/{context.patient}"},
        "requestedPeriod": {"start": context.first_day.isoformat(),
                            "end": context.valid_until.isoformat()},
        "authoredOn": moment(context.authored),
        "lastModified": moment(context.authored),
        "requester": {"reference": f"PractitionerRole/{context.prescriber}"},
    }  # fmt: skip  # One record.


def state_concept(state: ItemState, held_from: ItemState | None = None) -> dict[str, Any]:
    """Task.businessStatus of a state, on hold with the state before."""
    coding = [{"system": STATE_SYSTEM, "code": state.value}]
    if held_from:
        coding.append({"system": HELD_SYSTEM, "code": held_from.value})
    return {"coding": coding}


def held_from(task: dict[str, Any]) -> ItemState | None:
    """The state of an item before its hold, or None."""
    for coding in (task.get("businessStatus") or {}).get("coding", ()):
        if coding.get("system") == HELD_SYSTEM:
            return ItemState(coding["code"])
    return None


def reason_of(task: dict[str, Any]) -> str:
    """The code of why an item stands as it does, or ""."""
    concept = (task.get("statusReason") or {}).get("concept") or {}
    return str((concept.get("coding") or [{}])[0].get("code", ""))


def instance_of(task: dict[str, Any]) -> int:
    """Which repeat is open; 1 where it says nothing."""
    found = _output(task, "instance")
    return int(found["valueInteger"]) if found else 1


def instances_of(request: dict[str, Any]) -> int:
    """How often the course may be handed over in all."""
    return int((request.get("dispenseRequest") or {}).get("numberOfRepeatsAllowed") or 0) + 1


def starts_of(task: dict[str, Any]) -> date | None:
    """The first day on which the open repeat may be handed over, where it says one."""
    start = (task.get("requestedPeriod") or {}).get("start")
    return day_of(str(start)) if start else None


def course_of(request: dict[str, Any]) -> tuple[date, int]:
    """The first day of a prescription's validity, and the days of one course."""
    period = (request.get("dispenseRequest") or {}).get("validityPeriod") or {}
    first = day_of(str(period.get("start") or request.get("authoredOn") or "1970-01-01"))
    return first, item_of(request, "").duration_days


def state_of(task: dict[str, Any] | None, request: dict[str, Any]) -> ItemState:
    """The state of an item; of a request without a Task (a history) by its own status."""
    for coding in ((task or {}).get("businessStatus") or {}).get("coding", ()):
        if coding.get("system") == STATE_SYSTEM:
            return ItemState(coding["code"])
    return {
        "active": ItemState.TO_BE_DISPENSED,
        "completed": ItemState.DISPENSED,
        "cancelled": ItemState.CANCELLED,
        "stopped": ItemState.EXPIRED,
        "entered-in-error": ItemState.ENTERED_IN_ERROR,
    }.get(str(request.get("status")), ItemState.DRAFT)


def dispensed_of(task: dict[str, Any] | None) -> Decimal:
    """Units of the open repeat handed over so far, as the Task's output says."""
    found = _output(task or {}, "dispensed")
    return Decimal(str(found["valueQuantity"]["value"])) if found else Decimal(0)


def _output(task: dict[str, Any], code: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = task.get("output") or []
    for output in found:
        for coding in (output.get("type") or {}).get("coding", ()):
            if coding.get("system") == OUTPUT_SYSTEM and coding.get("code") == code:
                return output
    return None


def moved_task(
    task: dict[str, Any],
    row: Row,
    at: datetime,
    *,
    holder: str,
    holder_name: str,
    lease_until: datetime | None,
    dispensed: Decimal,
    reason: str = "",
    instance: int = 1,
    starts: date | None = None,
    before: ItemState | None = None,
) -> dict[str, Any]:
    """The Task after a move: status, state, holder, lease, and what was handed over so far.

    `starts`: the first day of the repeat that now is open, where it changes; `before`: the state
    that a hold interrupts.
    """
    task = {**task, "status": row.task, "businessStatus": state_concept(row.state, before),
            "lastModified": moment(at)}  # fmt: skip  # One thought.
    if starts:
        task["requestedPeriod"] = {**task.get("requestedPeriod", {}), "start": starts.isoformat()}
    for field in ("owner", "restriction", "statusReason", "output"):
        task.pop(field, None)
    if holder:
        task["owner"] = {"reference": f"Organization/{holder}", "display": holder_name}
        if lease_until:
            task["restriction"] = {"period": {"end": moment(lease_until)}}
    if reason:
        task["statusReason"] = {
            "concept": {"coding": [{"system": STATUS_REASON_SYSTEM, "code": reason}]}
        }
    output: list[dict[str, Any]] = []
    if dispensed > 0:
        amount = {"value": courses.whole(dispensed), "system": UNIT_SYSTEM, "code": PIECE}
        output.append({"type": _output_type("dispensed"), "valueQuantity": amount})
    if instance > 1:
        output.append({"type": _output_type("instance"), "valueInteger": instance})
    if output:
        task["output"] = output
    return task


def _output_type(code: str) -> dict[str, Any]:
    return {"coding": [{"system": OUTPUT_SYSTEM, "code": code}]}


def moved_request(
    request: dict[str, Any], row: Row, at: datetime, reason: str = ""
) -> dict[str, Any] | None:
    """The MedicationRequest after a move, or None when its status stays."""
    if request.get("status") == row.request:
        return None
    request = {**request, "status": row.request, "statusChanged": moment(at)}
    code = reason or row.reason
    if code and row.request in {"stopped", "cancelled", "completed", "on-hold"}:
        request["statusReason"] = {"coding": [{"system": STATUS_REASON_SYSTEM, "code": code}]}
    else:
        request.pop("statusReason", None)
    return request


def issue_of(alert: Alert, request_id: str, context: Context) -> dict[str, Any]:
    """An alert that the doctor passed with a coded reason, as a DetectedIssue with mitigation."""
    return {
        "resourceType": "DetectedIssue",
        "status": "mitigated",
        "code": {"coding": [{"system": ALERT_SYSTEM, "code": alert.rule}], "text": alert.sentence},
        "severity": "high",
        "subject": {"reference": f"Patient/{context.patient}"},
        "identifiedDateTime": moment(context.authored),
        "author": {"reference": f"PractitionerRole/{context.prescriber}"},
        "implicated": [{"reference": f"MedicationRequest/{request_id}"}],
        "detail": f"{alert.sentence} (table {alert.version}: {alert.source})"
        if alert.source else alert.sentence,
        "mitigation": [{
            "action": {"coding": [{"system": OVERRIDE_SYSTEM, "code": alert.override}]},
            "date": moment(context.authored),
            "author": {"reference": f"PractitionerRole/{context.prescriber}"}}],
    }  # fmt: skip  # One nested field.


def provenance_of(
    targets: list[str], context: Context, jws: str, parts: Sequence[tuple[str, bytes]] = ()
) -> dict[str, Any]:
    """The electronic confirmation: who signed what, the platform's seal over it, and the signatures
    of the signer (`parts`: format and bytes).
    """
    who = {
        "reference": f"PractitionerRole/{context.prescriber}",
        "display": context.prescriber_name,
    }
    return {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "occurredDateTime": moment(context.confirmed or context.authored),
        "recorded": moment(context.confirmed or context.authored),
        "activity": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion",
            "code": "LA"}]},
        "patient": {"reference": f"Patient/{context.patient}"},
        "agent": [{
            "type": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                "code": "author"}]},
            "who": who,
            "onBehalfOf": {"reference": f"Organization/{context.organisation}",
                           "display": context.organisation_name}}],
        "signature": [
            {"type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
             "when": moment(context.confirmed or context.authored),
             "who": who,
             "targetFormat": "application/fhir+json" if place == 0 else "application/json",
             "sigFormat": kind,
             "data": base64.b64encode(data).decode()}
            for place, (kind, data) in enumerate([("application/jose", jws.encode()), *parts])],
    }  # fmt: skip  # Nested as the resource is.
