"""The CDS Hooks server over HTTP: the same findings as our screen, cards, refusals, feedback."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.modules.hooks import rules
from dmed.modules.hooks.rules import PREFETCH
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Alert, Precision, Tier
from dmed.modules.prescriptions.model import Reason
from dmed.trust.identity import DEMO_PASSWORDS
from dmed.trust.model import Role, Subject

UNCOUNTED = ("no_", "brand_", "quantity_", "reimbursed_", "repeats", "start", "too_many",
             "forbidden_class", "decision_", "unregistered_incomplete", "unregistered_known")
"""What is missing in a draft or not lawful: no check of medicines."""
ATC = "http://www.whocc.no/atc"


class Clinic:
    """Clients of the roles, and a person with a penicillin allergy."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.patient = ""

    async def client(self, user: str) -> httpx.AsyncClient:
        """A system that acts for a user."""
        token = await self.platform.guard.identity.issue_token(user)
        transport = httpx.ASGITransport(app=self.platform)  # type: ignore[arg-type]  # A mapping.
        return httpx.AsyncClient(transport=transport, base_url="http://test", headers={
            "authorization": f"Bearer {token}", "accept-language": "en"})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clinic(open_platform: Callable[..., Awaitable[Platform]]) -> Clinic:
    """One worker with the demo accounts."""
    platform = await open_platform()
    await platform.guard.identity.save_demo()
    made = Clinic(platform)
    service = await made.client("service")
    person = await service.post("/fhir/Patient", json={
        "resourceType": "Patient", "gender": "female", "birthDate": "1990-01-01"})
    made.patient = person.json()["id"]
    allergy = await service.post("/fhir/AllergyIntolerance", json=allergy_of(made.patient))
    assert allergy.status_code == 201, allergy.text
    return made


def allergy_of(patient: str) -> dict[str, Any]:
    """A penicillin allergy."""
    system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
    return {"resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{patient}"},
            "clinicalStatus": {"coding": [{"system": system, "code": "active"}]},
            "code": {"text": "Penitsillin", "coding": [{"system": ATC, "code": "J01C"}]}}


def order(id_: str, atc: str, patient: str) -> dict[str, Any]:
    """A draft order by ATC code and milligrams."""
    return {"resource": {
        "resourceType": "MedicationRequest", "id": id_, "status": "draft", "intent": "order",
        "medication": {"concept": {"text": atc, "coding": [{"system": ATC, "code": atc}]}},
        "subject": {"reference": f"Patient/{patient}"},
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": {"value": 500, "unit": "mg", "code": "mg"}}]}]}}


def called(hook: str, patient: str, *orders: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The body of a call."""
    context: dict[str, Any] = {"userId": "Practitioner/d", "patientId": patient}
    if hook != "patient-view":
        context["draftOrders"] = {"resourceType": "Bundle", "type": "collection",
                                  "entry": list(orders)}
    if hook == "order-select":
        context["selections"] = [f"MedicationRequest/{orders[-1]['resource']['id']}"]
    return {"hook": hook, "hookInstance": str(uuid4()), "context": context, **more}


async def test_discovery_is_open(clinic: Clinic) -> None:
    """Three services with their prefetch, for anybody."""
    transport = httpx.ASGITransport(app=clinic.platform)  # type: ignore[arg-type]  # A mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as anybody:
        services = (await anybody.get("/cds-services")).json()["services"]
        refused = await anybody.post("/cds-services/order-sign", json={})

    assert {one["hook"] for one in services} == {"order-select", "order-sign", "patient-view"}
    assert all(one["prefetch"] == PREFETCH for one in services)
    assert refused.status_code == 401


async def test_an_order_meets_the_card(clinic: Clinic) -> None:
    """The allergy of the card makes a warning with reasons and a way out; the feedback is counted
    and what works how well is told.
    """
    system = await clinic.client("service")
    body = called("order-sign", clinic.patient, order("o1", "J01CA04", clinic.patient))
    answer = await system.post("/cds-services/order-sign", json=body)
    again = await system.post("/cds-services/order-sign", json=body)

    assert answer.status_code == 200, answer.text
    card = next(one for one in answer.json()["cards"]
                if one["extension"]["uz.dmed.rule"] == "allergy-group")
    assert card["indicator"] == "warning"
    assert len(card["summary"]) < 140
    assert card["overrideReasons"]
    assert card["suggestions"][0]["actions"][0]["resourceId"] == "MedicationRequest/o1"
    assert again.json() == answer.json()

    told = {"feedback": [{"card": card["uuid"], "outcome": "overridden", "overrideReason": {
        "reason": {"code": "tolerated-before"}, "userComment": "not kept"}}]}
    for _ in range(2):
        done = await system.post("/cds-services/order-sign/feedback", json=told)
        assert done.status_code == 200, done.text
    admin = await clinic.client("admin")
    figures = await admin.get("/fhir/$alert-precision")
    assert figures.status_code == 200, figures.text
    rules = [{part["name"]: part for part in one["part"]}
             for one in figures.json()["parameter"] if one["name"] == "rule"]
    mine = next(one for one in rules if one["id"]["valueCode"] == "allergy-group")
    assert mine["shown"]["valueInteger"] == mine["overridden"]["valueInteger"] == 1
    assert (await system.get("/fhir/$alert-precision")).status_code == 403


async def test_a_foreign_person_comes_by_prefetch(clinic: Clinic) -> None:
    """Of another server: all of the prefetch, or 412 that names what is missing."""
    system = await clinic.client("service")
    orders = (order("a", "C10AA01", "far"), order("b", "J01FA09", "far"))
    whole: dict[str, Any] = dict.fromkeys(PREFETCH) | {
        "patient": {"resourceType": "Patient", "id": "far", "gender": "male",
                    "birthDate": "1970-01-01"}}
    body = called("order-select", "far", *orders, fhirServer="https://other.example/fhir")
    missing = await system.post("/cds-services/order-select", json=body)
    answer = await system.post("/cds-services/order-select", json={**body, "prefetch": whole})

    assert missing.status_code == 412
    assert "prefetch.patient" in missing.text
    assert "interaction-hp11" in {
        one["extension"]["uz.dmed.rule"] for one in answer.json()["cards"]}, answer.text


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"hookInstance": "x"}, "hookInstance"),
        ({"hook": "patient-view"}, "hook"),
        ({"context": {"userId": "u"}}, "context"),
        ({"context": {"userId": "u", "patientId": "p"}}, "context.draftOrders"),
        ({"context": {"userId": "u", "patientId": "p", "draftOrders": {
            "resourceType": "Bundle", "type": "collection",
            "entry": [order("o", "J01CA04", "other")]}}}, "context.draftOrders"),
        ({"context": {"userId": "u", "patientId": 1}}, "context.patientId"),
    ],
)
async def test_bad_calls_name_the_place(
    clinic: Clinic, change: dict[str, Any], place: str
) -> None:
    """400, with the path of the fault."""
    system = await clinic.client("service")
    body = called("order-sign", "p", order("o", "J01CA04", "p")) | change
    answer = await system.post("/cds-services/order-sign", json=body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["issue"][0]["expression"][0].startswith(place)


async def test_others_are_refused(clinic: Clinic) -> None:
    """A pharmacist, an unknown service, no JSON, a card of somebody else."""
    system, pharmacist = await clinic.client("service"), await clinic.client("pharmacist")
    body = called("patient-view", clinic.patient)
    strange = {"feedback": [{"card": str(uuid4()), "outcome": "accepted"}]}

    assert (await system.post("/cds-services/patient-view", json=body)).status_code == 200
    assert (await pharmacist.post("/cds-services/patient-view", json=body)).status_code == 403
    assert (await system.post("/cds-services/nonsense", json=body)).status_code == 404
    assert (await system.post("/cds-services/order-sign", content=b"{")).status_code == 400
    refused = await system.post("/cds-services/order-sign/feedback", json=strange)
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["expression"] == ["feedback[0].card"]


def figures(shown: int, tier: str = "interrupt", **reasons: int) -> Precision:
    """A rule with so many overrides by reason."""
    told = {name.replace("_", "-") if name != "none" else "": count
            for name, count in reasons.items()}
    return Precision(rule="max-daily", version="1", tier=tier, shown=shown, accepted=0,
                     overridden=sum(told.values()), reasons=told)


@pytest.mark.parametrize(("one", "key", "kind"), [
    (figures(19, palliative=19), "few", ""),
    (figures(40, "passive"), "passive", ""),
    (figures(40, "stop"), "stop", ""),
    (figures(100, palliative=60, no_alternative=35), "review_reason", "warn"),
    (figures(99, palliative=31, no_alternative=31, dose_adjusted=31), "review_any", "warn"),
    (figures(100, none=95), "review_any", "warn"),
    (figures(100, palliative=30), "works", "good"),
    (figures(100, record_wrong=50, palliative=20), "record_wrong", "warn"),
    (figures(100, dose_adjusted=60), "dose_adjusted", "warn"),
    (figures(100, none=60), "no_reason", "warn"),
    (figures(100, palliative=60), "watch", ""),
])
def test_each_rule_has_its_sentence(one: Precision, key: str, kind: str) -> None:
    """Too few, not read, a cause that can be mended, works: told by the figures alone."""
    found = rules.advice(one)

    assert (found.key, found.kind) == (f"hooks.advice.{key}", kind)


@pytest.mark.parametrize("language", ["uz", "uz-Cyrl", "ru", "en"])
async def test_the_precision_of_alerts_is_a_page(clinic: Clinic, language: str) -> None:
    """An administrator and an inspector read which rule is passed and why; a doctor does not. Rules
    have names, and a rule that nobody heeds is named first.
    """
    gateway = clinic.platform.gateway
    service = Subject(user=f"till-{language}", role=Role.SERVICE)
    shown = {uuid4(): Alert(rule="max-daily", tier=Tier.INTERRUPT, version="2026-11",
                            reason=Reason("prescriptions.alert.max_daily")) for _ in range(30)}
    async with gateway.unit(service) as unit:
        await prescriptions.note_shown(unit, service.user, shown)
        await prescriptions.answer_alerts(
            unit, service.user, dict.fromkeys(list(shown)[:29], ("overridden", "palliative")))
    transport = httpx.ASGITransport(app=clinic.platform)  # type: ignore[arg-type]  # A mapping.
    answers = {}
    for user in ("admin", "inspector", "doctor"):
        async with httpx.AsyncClient(transport=transport, base_url="http://test", cookies={
                "dmed_language": language}) as person:
            await person.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
            answers[user] = await person.get("/alerts?days=30")

    assert [answers[user].status_code for user in ("admin", "inspector", "doctor")] == [
        200, 200, 403]
    said = {"uz": "Kunlik doza yuqori", "uz-Cyrl": "Кунлик доза юқори",
            "ru": "Высокая суточная доза", "en": "High daily dose"}[language]
    page = answers["admin"].text
    assert page.count(said) == 2
    assert "hooks." not in page.replace("/alerts", "")


def test_every_rule_that_is_judged_has_a_name() -> None:
    """Each rule of the checks has a sentence for doctors and a name for those who look at it."""
    words = json.loads((Path(rules.__file__).parent / "data/locale/en.json").read_text())
    told = json.loads((Path(prescriptions.__file__).parent / "data/locale/en.json").read_text())
    asked = {key.removeprefix("prescriptions.alert.") for key in told
             if key.startswith("prescriptions.alert.")}
    unnamed = {rule for rule in asked if rules.rule_key(rule) not in words}

    assert all(rule.startswith(UNCOUNTED) for rule in unnamed), unnamed
    assert rules.rule_key("interaction-hp01") in words
