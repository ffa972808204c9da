"""From a call to what is judged, and from findings to cards: pure, every fault with its path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from dmed.fhir import codec
from dmed.kit.errors import InvalidError, Issue
from dmed.kit.i18n import Speech
from dmed.modules.hooks.model import Answer, Call, Feedback, Service
from dmed.modules.medid import api as medid
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import OVERRIDE_REASONS, Alert, Order, Precision, Tier
from dmed.trust.gateway import decoded

SUMMARY_MAX = 139
"""The specification wants less than 140 characters."""
ORDERS_MAX = 50
FEEDBACK_MAX = 100
_INDICATORS = {Tier.STOP: "critical", Tier.INTERRUPT: "warning", Tier.PASSIVE: "info"}
_LOINC = "http://loinc.org"
_OWN = "Observation?patient={{context.patientId}}&_sort=-date&_count=20&code="
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "allergies": "AllergyIntolerance?patient={{context.patientId}}",
    "conditions": "Condition?patient={{context.patientId}}",
    "medications": "MedicationRequest?patient={{context.patientId}}"
                   "&status=active,on-hold,completed",
    "measurements": _OWN + ",".join(
        f"{_LOINC}|{code}" for code in (medid.reading.WEIGHT_LOINC, *medid.KIDNEY_CODES)),
}
"""What each service needs to know of a person; a client that sends all of it is asked nothing."""
_TYPES = {"allergies": "AllergyIntolerance", "conditions": "Condition",
          "medications": "MedicationRequest", "measurements": "Observation"}
_PLACE = re.compile(r"^(.*?)(?: - at `\$\.?(.*?)`)?$", re.DOTALL)
_Body = TypeVar("_Body", Call, Feedback)
Record = dict[str, Any]


class Request(msgspec.Struct, frozen=True):
    """A call that was read and holds together."""

    instance: str
    patient: str
    server: str
    orders: tuple[tuple[str, Record], ...]
    """(reference, MedicationRequest) of the draft orders; those that were selected last, so that
    what two orders have to say of each other is said of the selected one."""
    selected: frozenset[str]
    medications: dict[str, Record]
    """Medications among the draft orders by "Medication/id"."""
    prefetch: dict[str, Record | list[Record]]
    """The sent part of PREFETCH: the Patient, and lists of records."""

    @property
    def missing(self) -> list[str]:
        """Keys of PREFETCH that were not sent."""
        return [key for key in PREFETCH if key not in self.prefetch]


# --- Reading ---------------------------------------------------------------------------------


def _read(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as fault:
        found = _PLACE.match(str(fault))
        said, place = found.groups() if found else (str(fault), "")
        raise InvalidError(f"{said} ({place or 'the body'})", place or "") from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InvalidError(f"The body is no JSON: {str(fault)[:200]}") from fault


def read(body: bytes, service: Service) -> Request:
    """The call of a service; InvalidError names the path of every fault."""
    call = _read(body, Call)
    if call.hook != service.hook:
        raise InvalidError(f"The service {service.id} is of the hook {service.hook}, not of "
                           f"{call.hook[:50]!r}", "hook")  # fmt: skip  # One sentence.
    _uuid(call.hook_instance, "hookInstance")
    for name, value in (("userId", call.context.user_id), ("patientId", call.context.patient_id)):
        if not value.strip():
            raise InvalidError(f"context.{name} is empty", f"context.{name}")
    patient = call.context.patient_id.removeprefix("Patient/")
    entries = _draft_orders(call, service)
    selected = frozenset(call.context.selections or ())
    orders = [(key, one) for key, one in entries if one["resourceType"] == "MedicationRequest"]
    if len(orders) > ORDERS_MAX:
        raise InvalidError(f"At most {ORDERS_MAX} orders of medicines are judged at once",
                           "context.draftOrders.entry")  # fmt: skip  # One sentence.
    for key, order in orders:
        _check_person(order, patient, f"context.draftOrders: the order {key}")
    if service.hook == "order-select":
        _check_selections(call, entries)
        orders.sort(key=lambda order: order[0] in selected)
    else:
        selected = frozenset(key for key, _ in orders)
    return Request(
        instance=call.hook_instance,
        patient=patient,
        server=call.fhir_server,
        orders=tuple(orders),
        selected=selected,
        medications={key: one for key, one in entries if one["resourceType"] == "Medication"},
        prefetch=_prefetch(call, patient),
    )


def _uuid(text: str, place: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as fault:
        raise InvalidError(f"{place} is no UUID", place) from fault


def _resource(raw: msgspec.Raw, type_: str | None, place: str) -> Record:
    """A resource inside the call, checked as FHIR R5; faults begin with its place."""
    try:
        found = decoded(codec.encode(codec.decode(bytes(raw), type_)))
    except InvalidError as fault:
        issues = tuple(
            Issue(one.code, f"{place}: {one.diagnostics}",
                  place + re.sub(r"^\w+", "", one.expression))
            for one in fault.issues
        )  # fmt: skip  # One expression.
        raise InvalidError(issues=issues) from fault
    return found


def _draft_orders(call: Call, service: Service) -> list[tuple[str, Record]]:
    """(reference, resource) of the draft orders; none for patient-view."""
    if service.hook == "patient-view":
        return []
    if bytes(call.context.draft_orders).strip() == b"null":
        raise InvalidError(f"{service.hook} needs context.draftOrders", "context.draftOrders")
    bundle = _resource(call.context.draft_orders, "Bundle", "context.draftOrders")
    entries = []
    for at, entry in enumerate(bundle.get("entry", ())):
        one = entry.get("resource")
        place = f"context.draftOrders.entry[{at}].resource"
        if not one:
            raise InvalidError(f"{place} is missing", place)
        if not one.get("id"):
            raise InvalidError(f"{place}.id is missing: cards name orders by it", f"{place}.id")
        entries.append((f"{one['resourceType']}/{one['id']}", one))
    return entries


def _check_selections(call: Call, entries: list[tuple[str, Record]]) -> None:
    known = {key for key, _ in entries}
    if call.context.selections is None:
        raise InvalidError("order-select needs context.selections", "context.selections")
    for at, selection in enumerate(call.context.selections):
        if selection not in known:
            raise InvalidError(f"{selection[:100]!r} is none of the draft orders",
                               f"context.selections[{at}]")  # fmt: skip  # One sentence.


def _check_person(record: Record, patient: str, place: str) -> None:
    """A record of another person never counts."""
    about = record.get("subject") or record.get("patient") or {}
    reference = str(about.get("reference", ""))
    if reference and reference.rpartition("/")[2] != patient:
        raise InvalidError(f"{place} is of another person than context.patientId", place)


def _prefetch(call: Call, patient: str) -> dict[str, Record | list[Record]]:
    found: dict[str, Record | list[Record]] = {}
    for key, raw in (call.prefetch or {}).items():
        place = f"prefetch.{key}"
        if key not in PREFETCH:
            continue
        if bytes(raw).strip() == b"null":
            if key != "patient":
                found[key] = []  # The client asked and there was nothing.
            continue
        one = _resource(raw, None, place)
        if one["resourceType"] == "OperationOutcome":
            continue  # The client asked and was refused: it is missing.
        wanted = "Patient" if key == "patient" else "Bundle"
        if one["resourceType"] != wanted:
            raise InvalidError(f"{place} is a {one['resourceType']}, wanted is a {wanted}", place)
        if key == "patient":
            if one.get("id") != patient:
                raise InvalidError(f"{place} is another person than context.patientId",
                                   f"{place}.id")  # fmt: skip  # One sentence.
            found[key] = one
            continue
        records = [entry["resource"] for entry in one.get("entry", ()) if entry.get("resource")]
        mine = [record for record in records if record["resourceType"] == _TYPES[key]]
        for record in mine:
            _check_person(record, patient, place)
        found[key] = mine
    return found


def facts_of(request: Request, today: date) -> medid.PersonFacts:
    """The facts of a person out of a whole prefetch."""
    sent: dict[str, Any] = request.prefetch
    measured = sorted(sent["measurements"], reverse=True,
                      key=lambda one: str(one.get("effectiveDateTime", "")))  # fmt: skip
    weights = [one for one in measured if medid.reading.coding(
        one.get("code", {}), _LOINC) == medid.reading.WEIGHT_LOINC]  # fmt: skip  # A filter.
    drafts = {order.get("id") for _, order in request.orders}
    return medid.facts_of(
        sent["patient"],
        allergies=[_with_id(one) for one in sent["allergies"]],
        conditions=[_with_id(one) for one in sent["conditions"]],
        requests=[_with_id(one) for one in sent["medications"] if one.get("id") not in drafts],
        weights=weights,
        kidneys=[one for one in measured if one not in weights],
        today=today,
    )


def _with_id(record: Record) -> Record:
    return {"id": "", **record}


# --- Cards -----------------------------------------------------------------------------------


def cards(
    t: Speech, alerts: Sequence[Alert], names: Sequence[tuple[str, str]], request: Request,
    client: str,
) -> dict[UUID, tuple[Alert, Record]]:
    """Card number -> the finding and its card, for findings about selected orders or the whole.
    `names`: (reference, medicine in words) of the orders in the order of `Alert.item`.
    """
    made: dict[UUID, tuple[Alert, Record]] = {}
    for alert in alerts:
        key, medicine = names[alert.item] if alert.item >= 0 else ("", "")
        if key and key not in request.selected:
            continue
        number = prescriptions.shown_card(
            client, request.instance, key, alert.rule, alert.sentence)
        made[number] = (alert, card(t, alert, key, medicine, number))
    return made


def card(t: Speech, alert: Alert, key: str, medicine: str, number: UUID) -> Record:
    """One finding as a card: critical where our own screen has no way on, warning where it wants a
    coded reason, info where it only shows.
    """
    said = prescriptions.say(t, alert.reason)
    made: Record = {
        "uuid": str(number),
        "summary": said if len(said) <= SUMMARY_MAX else said[: SUMMARY_MAX - 1] + "…",
        "indicator": _INDICATORS[alert.tier],
        "detail": _detail(t, alert, medicine, said),
        "source": {
            "label": t("hooks.source", owner=alert.owner, version=alert.version),
            "topic": {"system": prescriptions.ALERT_SYSTEM, "code": alert.rule, "display": said},
        },
        "extension": {"uz.dmed.tier": alert.tier.value, "uz.dmed.rule": alert.rule,
                      "uz.dmed.draft": alert.is_draft},
    }  # fmt: skip  # One record.
    if alert.tier is Tier.INTERRUPT:
        made["overrideReasons"] = [
            {"system": prescriptions.OVERRIDE_SYSTEM, "code": code,
             "display": t(f"prescriptions.override.{code}")}
            for code in OVERRIDE_REASONS
        ]  # fmt: skip  # One list.
    if key and alert.tier is not Tier.PASSIVE:
        made["selectionBehavior"] = "at-most-one"
        made["suggestions"] = [{
            "label": t("hooks.remove", medicine=medicine),
            "uuid": str(prescriptions.shown_card(str(number), "remove")),
            "actions": [{"type": "delete", "description": t("hooks.remove", medicine=medicine),
                         "resourceId": key}],
        }]  # fmt: skip  # One suggestion.
    return made


def _detail(t: Speech, alert: Alert, medicine: str, said: str) -> str:
    """Markdown: the medicine, the whole sentence, where it comes from, and that it is a draft."""
    lines = [f"**{medicine}**"] if medicine else []
    lines += [said, f"{t('hooks.from')}: {alert.source}"]
    if alert.is_draft:
        lines.append(f"*{t('hooks.draft')}*")
    return "\n\n".join(lines)


def unknown_card(t: Speech, key: str, text: str, number: UUID) -> Record:
    """An order whose medicine the register does not know: nobody shall take silence for safety."""
    said = t("hooks.unknown", medicine=text[:60] or key[:60])
    return {
        "uuid": str(number),
        "summary": said[:SUMMARY_MAX],
        "indicator": "info",
        "source": {"label": "DMED"},
        "extension": {"uz.dmed.rule": "not-registered"},
    }


def names_of(orders: Sequence[Order], language: str) -> list[str]:
    """What cards call the medicines: the whole preparation, or the substance alone."""
    return [order.preparation.label(language) if order.is_exact
            else order.preparation.inn.name(language) for order in orders]  # fmt: skip  # A choice.


# --- Feedback --------------------------------------------------------------------------------


def read_feedback(body: bytes) -> dict[UUID, tuple[str, str]]:
    """Card number -> (outcome, coded reason); InvalidError names the path. A reason of another
    code list counts as one without a code.
    """
    given = _read(body, Feedback)
    if len(given.feedback) > FEEDBACK_MAX:
        raise InvalidError(f"At most {FEEDBACK_MAX} cards at once", "feedback")
    return {
        _uuid(answer.card, f"feedback[{at}].card"): _outcome(answer, at)
        for at, answer in enumerate(given.feedback)
    }


def _outcome(answer: Answer, at: int) -> tuple[str, str]:
    if answer.outcome_timestamp:
        try:
            datetime.fromisoformat(answer.outcome_timestamp)
        except ValueError as fault:
            place = f"feedback[{at}].outcomeTimestamp"
            raise InvalidError(f"{place} is no moment", place) from fault
    reason = answer.override_reason.reason if answer.override_reason else None
    code = reason.code if reason and reason.code in OVERRIDE_REASONS else ""
    is_passed = answer.outcome == prescriptions.OVERRIDDEN
    return answer.outcome, code if is_passed else ""


# How well alerts work

HEEDED_FROM, ONE_REASON_FROM = Decimal("0.50"), Decimal("0.50")
_BY_REASON = frozenset({"record-wrong", "tolerated-before", "dose-adjusted", "monitoring-arranged"})
"""Reasons that tell what should be mended; the others only weigh the danger otherwise."""


class Advice(msgspec.Struct, frozen=True):
    """What to do about a rule, as a locale key with its values."""

    key: str
    values: dict[str, Any]
    kind: str = ""
    """The badge: "warn" where somebody should look, "good" where it works."""


def advice(one: Precision) -> Advice:
    """Which sentence the figures of a rule deserve: too few, one that nobody heeds and may teach to
    heed none, one whose overrides point to a cause that can be mended, or one that works.
    """
    share = one.share
    facts: dict[str, Any] = {
        "shown": one.shown, "overridden": one.overridden, "reason": "", "count": 0}
    if one.tier == Tier.PASSIVE:
        return Advice("hooks.advice.passive", facts)
    if one.tier == Tier.STOP:
        return Advice("hooks.advice.stop", facts)
    if share is None:
        return Advice("hooks.advice.few", facts)
    reason, count = max(one.reasons.items(), key=lambda pair: (pair[1], pair[0]),
                        default=("", 0))
    is_led = bool(count) and Decimal(count) / one.overridden >= ONE_REASON_FROM
    facts |= {"reason": reason, "count": count}
    if one.is_for_review:
        return Advice(f"hooks.advice.review_{'reason' if is_led and reason else 'any'}", facts,
                      "warn")
    if share < HEEDED_FROM:
        return Advice("hooks.advice.works", facts, "good")
    if is_led and reason in _BY_REASON:
        return Advice(f"hooks.advice.{reason.replace('-', '_')}", facts, "warn")
    if is_led and not reason:
        return Advice("hooks.advice.no_reason", facts, "warn")
    return Advice("hooks.advice.watch", facts)


def rule_key(rule: str) -> str:
    """The locale key of a rule's name; all pairs of interactions share one."""
    kind = "interaction" if rule.startswith("interaction-") else rule
    return f"hooks.rule.{kind.replace('-', '_')}"
