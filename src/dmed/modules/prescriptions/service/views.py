"""Prescriptions as screens and other modules read them, from the records alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any

from dmed.kit.errors import ForbiddenError, GoneError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions.model import Alert, Item, Prescription, Reason, Tier, reason_key
from dmed.modules.prescriptions.rules import courses, law, numbers, papers, resources, unregistered
from dmed.modules.prescriptions.service.case import Case, CaseItem
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_GROUP = numbers.NUMBER_SYSTEM
_REQUESTS_MAX = 100
PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"


async def prescription(gateway: Gateway, subject: Subject, text: str) -> Prescription:
    """By number or by the id of one of its MedicationRequests; NotFoundError."""
    requests = await _requests(gateway, subject, text)
    tasks = await _tasks(gateway, subject, requests)
    alerts = await _alerts(gateway, subject, requests)
    patient = await patient_of(gateway, subject, _id_of(requests[0], "subject"))
    return _view(requests, tasks, alerts, patient)


async def _requests(gateway: Gateway, subject: Subject, text: str) -> list[dict[str, Any]]:
    if numbers.is_prescription_text(text):
        number = numbers.read_number(text)
        found = await gateway.find(
            subject, "MedicationRequest", f"group-identifier={_GROUP}|{number}"
        )
        if not found:
            raise NotFoundError(f"There is no prescription {numbers.show_number(number)}")
        return found
    request = await gateway.get(subject, "MedicationRequest", text)
    number = resources.number_of(request)
    return await _requests(gateway, subject, number) if number else [request]


async def for_person(
    gateway: Gateway, subject: Subject, patient: str, limit: int
) -> list[Prescription]:
    """A person's prescriptions, newest first."""
    requests = await gateway.find(
        subject, "MedicationRequest",
        f"patient={patient}&_sort=-authoredon&_count={_REQUESTS_MAX}",
    )  # fmt: skip  # One query.
    groups: dict[str, list[dict[str, Any]]] = {}
    for request in requests:
        if request.get("status") != "draft":
            groups.setdefault(resources.number_of(request) or request["id"], []).append(request)
    chosen = list(groups.values())[:limit]
    tasks = await _tasks(gateway, subject, [each for group in chosen for each in group])
    person = await patient_of(gateway, subject, patient)
    return [_view(group, tasks, {}, person) for group in chosen]


async def patient_of(gateway: Gateway, subject: Subject, patient: str) -> dict[str, Any]:
    """The Patient, or an empty dict where it is gone or may not be read."""
    try:
        return await gateway.get(subject, "Patient", patient) if patient else {}
    except (NotFoundError, GoneError, ForbiddenError):
        return {}


async def _tasks(
    gateway: Gateway, subject: Subject, requests: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Tasks by the id of the MedicationRequest that they are about."""
    ids = [request["id"] for request in requests if resources.number_of(request)]
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, len(ids), 50):
        focus = ",".join(f"MedicationRequest/{each}" for each in ids[at : at + 50])
        for task in await gateway.find(subject, "Task", f"focus={focus}&_count=100"):
            found[_id_of(task, "focus")] = task
    return found


_ALLERGY = re.compile(r"allergy to (.+?)(?: \[([^\[\]]*)\])?(?:, of the same group)?$")


async def _alerts(
    gateway: Gateway, subject: Subject, requests: list[dict[str, Any]]
) -> dict[str, list[Alert]]:
    """Passed alerts by the id of the MedicationRequest that they are about."""
    among = ",".join(f"MedicationRequest/{request['id']}" for request in requests)
    found: dict[str, list[Alert]] = {}
    try:
        issues = await gateway.find(subject, "DetectedIssue", f"implicated={among}&_count=50")
    except ForbiddenError:
        return found
    for issue in issues:
        for target in issue.get("implicated", ()):
            key = str(target.get("reference", "")).removeprefix("MedicationRequest/")
            found.setdefault(key, []).append(_alert(issue))
    return found


def _alert(issue: dict[str, Any]) -> Alert:
    code = issue.get("code") or {}
    rule = str((code.get("coding") or [{}])[0].get("code", ""))
    mitigation = (issue.get("mitigation") or [{}])[0]
    action = ((mitigation.get("action") or {}).get("coding") or [{}])[0]
    sentence = str(code.get("text", ""))
    values = _allergy_in(sentence)
    return Alert(
        rule=rule,
        tier=Tier.INTERRUPT,
        reason=Reason(reason_key(rule), values),
        override=str(action.get("code", "")),
        sentence=sentence,
    )


def _allergy_in(sentence: str) -> dict[str, str]:
    """What a finding's sentence says of an allergy: the record keeps the sentence alone."""
    found = _ALLERGY.search(sentence)
    if found is None:
        return {}
    pairs = (part.partition(": ") for part in (found.group(2) or "").split("; ") if part)
    return {"allergy": found.group(1), **{name: value for name, _, value in pairs}}


def of_case(case: Case, patient: dict[str, Any]) -> Prescription:
    """The view of a case that is open in a transaction."""
    requests = [item.request for item in case.items.values()]
    tasks = {item.request["id"]: item.task for item in case.items.values()}
    return _view(requests, tasks, {}, patient)


def _view(
    requests: list[dict[str, Any]],
    tasks: dict[str, dict[str, Any]],
    alerts: dict[str, list[Alert]],
    patient: dict[str, Any],
) -> Prescription:
    requests = sorted(requests, key=resources.item_number)
    first = requests[0]
    task = tasks.get(first["id"]) or {}
    items = tuple(
        _item(request, tasks.get(request["id"]), alerts.get(request["id"], ()))
        for request in requests
    )
    number = resources.number_of(first) or first["id"]
    return Prescription(
        number=number,
        patient=_id_of(first, "subject"),
        patient_name=name_of(patient) or str(first.get("subject", {}).get("display", "")),
        patient_birth_date=str(patient.get("birthDate", "")),
        prescriber=_id_of(first, "requester"),
        prescriber_name=str((first.get("requester") or {}).get("display", "")),
        organisation=_organisation(first)[0],
        organisation_name=_organisation(first)[1],
        signed=resources.moment_of(
            str(first.get("authoredOn") or task.get("authoredOn") or "1970-01-01")
        ),
        valid_until=_valid_until(first),
        diagnosis=resources.icd_of(first),
        items=items,
        replaces=_replaces(first),
        trustee=_trustee(first),
        commission=papers.commission_of(first),
        paper=papers.paper_of(first),
    )


def preparation_of(request: dict[str, Any]) -> medicines.Preparation | None:
    """The preparation of a request, read against the register of the day on which it was signed; of
    an unregistered medicine what the doctor stated.
    """
    authored = request.get("authoredOn")
    at = resources.moment_of(str(authored)) if authored else None
    return unregistered.preparation_of(request, at)


def _item(request: dict[str, Any], task: dict[str, Any] | None, alerts: Iterable[Alert]) -> Item:
    found = preparation_of(request)
    line = resources.item_of(request, found.key if found else "")
    number = resources.item_number(request)
    standing = CaseItem(
        number=number, request=request, task=task or {}, valid_until=_valid_until(request)
    ).standing
    concept = (request.get("medication") or {}).get("concept") or {}
    text = str(concept.get("text", "")) or str(
        ((request.get("medication") or {}).get("reference") or {}).get("display", "")
    )
    written = str(((request.get("dosageInstruction") or [{}])[0]).get("text", ""))
    is_ours = found is not None and line.dose > 0 and line.times_per_day > 0
    quantity = (request.get("dispenseRequest") or {}).get("quantity") or {}
    dispensed = standing.dispensed
    if not task and request.get("status") == "completed":
        dispensed = standing.quantity  # A history without its Tasks: it was handed over.
    return Item(
        number=number,
        request=request["id"],
        task=str((task or {}).get("id", "")),
        preparation=found.key if found and line.unregistered is None else "",
        unregistered=line.unregistered,
        label={
            language: found.label(language) if found else text
            for language in courses.LANGUAGES
        },
        dosage=courses.dosage_texts(found, line)
        if found and is_ours
        else dict.fromkeys(courses.LANGUAGES, written),
        dose=line.dose,
        times_per_day=line.times_per_day,
        duration_days=line.duration_days,
        unit=found.form.unit if found else str(quantity.get("unit", "")),
        quantity=standing.quantity,
        dispensed=dispensed,
        state=standing.state,
        status=str(request.get("status", "")),
        diagnosis=line.diagnosis,
        holder=standing.holder,
        holder_name=standing.holder_name,
        lease_until=standing.lease_until,
        alerts=tuple(alerts),
        note=line.note,
        instance=standing.instance,
        instances=standing.instances,
        starts=standing.starts,
        product=resources.product_of(request),
        reason=resources.reason_of(task or {}),
        vid=int(((task or {}).get("meta") or {}).get("versionId", 0)),
        fund_percent=law.fund_percent(request),
    )


def _id_of(resource: dict[str, Any], field: str) -> str:
    reference = str((resource.get(field) or {}).get("reference", ""))
    return reference.rpartition("/")[2]


def _organisation(request: dict[str, Any]) -> tuple[str, str]:
    for extension in request.get("extension", ()):
        if extension.get("url") == resources.ORGANISATION:
            reference = extension.get("valueReference") or {}
            text = str(reference.get("reference", "")).removeprefix("Organization/")
            return text, str(reference.get("display", ""))
    return "", ""


def _replaces(request: dict[str, Any]) -> str:
    prior = (request.get("priorPrescription") or {}).get("identifier") or {}
    return str(prior.get("value", "")) if prior.get("system") == _GROUP else ""


def _trustee(request: dict[str, Any]) -> str:
    for extension in request.get("extension", ()):
        if extension.get("url") == resources.TRUSTEE:
            return str((extension.get("valueReference") or {}).get("display", ""))
    return ""


def _valid_until(request: dict[str, Any]) -> date:
    period = (request.get("dispenseRequest") or {}).get("validityPeriod") or {}
    text = str(period.get("end") or request.get("authoredOn") or "1970-01-01")
    return resources.day_of(text)


def name_of(patient: dict[str, Any]) -> str:
    """The name that a Patient was first written with: family, given, patronymic."""
    for name in patient.get("name", ()):
        text = str(name.get("text", "")) or " ".join(
            [str(name.get("family", "")), *name.get("given", ())]
        )
        if text.strip():
            return text.strip()
    return ""


def initials_of(patient: dict[str, Any]) -> str:
    """Two letters of a name for the offline token."""
    return "".join(word[0] for word in name_of(patient).split()[:2]).upper()


def pinfl_of(patient: dict[str, Any]) -> str:
    """The PINFL of a Patient, or ""."""
    for identifier in patient.get("identifier", ()):
        if identifier.get("system") == PINFL_SYSTEM:
            return str(identifier.get("value", ""))
    return ""
