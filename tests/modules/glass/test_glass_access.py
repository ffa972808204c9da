"""Breaking the glass: what opens, to whom, for how long, who is told, and who judges."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError
from dmed.modules.glass import MODULE, rules, service
from dmed.modules.glass.model import REASONS
from dmed.server.app import fhir_app
from dmed.trust.decide import Action
from dmed.trust.guard import Guard
from dmed.trust.identity import Account, Identity
from dmed.trust.keys import load_keys
from dmed.trust.model import Role, Subject

WHY = "Unconscious after an accident, no papers"
STRANGER = Subject(user="night", role=Role.DOCTOR, name="Tunov T.", organisation="far-clinic")


async def test_glass_opens_to_one_person_for_hours(village: Any) -> None:
    """The stranger sees all, labels too; his colleague sees nothing; the person is told."""
    gateway, patient = village.gateway, village.people["chronic"]
    assert await gateway.find(STRANGER, "Condition", f"patient=Patient/{patient}") == []
    assert not await gateway.is_in_care(STRANGER, patient)
    broken = await service.break_glass(gateway, STRANGER, patient, "emergency", WHY)

    assert await gateway.is_in_care(STRANGER, patient)
    assert await gateway.find(STRANGER, "Condition", f"patient=Patient/{patient}")
    colleague = msgspec.structs.replace(STRANGER, user="other")
    assert await gateway.find(colleague, "Condition", f"patient=Patient/{patient}") == []
    told = await gateway.find(
        village.doctor, "Communication", f"subject=Patient/{patient}&_sort=-_lastUpdated")
    assert WHY in told[0]["payload"][0]["contentCodeableConcept"]["text"]
    assert 3.9 < (broken.until - broken.at).total_seconds() / 3600 < 4.1
    async with gateway._db.connection() as connection:
        await connection.execute(
            "UPDATE care SET until = now() WHERE kind = 'glass' AND patient = $1", patient)
    assert await gateway.find(STRANGER, "Condition", f"patient=Patient/{patient}") == []


async def test_a_bad_reason_opens_nothing(village: Any) -> None:
    """No code, no words, another role, or nobody there."""
    gateway, patient = village.gateway, village.people["pregnant"]
    for code, text in (("", WHY), ("curious", WHY), ("emergency", "x"), ("emergency", " " * 40)):
        with pytest.raises(InvalidError):
            await service.break_glass(gateway, STRANGER, patient, code, text)
    with pytest.raises(ForbiddenError):
        await service.break_glass(gateway, village.registrar, patient, "emergency", WHY)
    with pytest.raises(NotFoundError):
        await service.break_glass(gateway, STRANGER, "nobody", "emergency", WHY)

    assert not await gateway.is_in_care(STRANGER, patient)


async def test_every_broken_glass_is_reviewed_by_another(village: Any) -> None:
    """The queue shows it until a verdict; only administrators judge, and never themselves."""
    gateway, patient = village.gateway, village.people["chronic"]
    broken = await service.break_glass(gateway, STRANGER, patient, "consultation", WHY)
    waiting = {one.number: one for one in await service.queue(gateway, village.admin)}
    assert waiting[broken.number].reason == WHY
    with pytest.raises(ForbiddenError):
        await service.queue(gateway, village.doctor)
    with pytest.raises(InvalidError):
        await service.review(gateway, village.admin, broken.number, "fine")
    await service.review(gateway, village.admin, broken.number, "justified")

    done = {one.number: one for one in await service.queue(gateway, village.admin)}
    assert done[broken.number].verdict == "justified"
    assert rules.review_faults("justified", "a", "a")


async def test_why_is_explained(village: Any) -> None:
    """Refused without care, allowed after, and a record that is not there proves nothing."""
    gateway, patient = village.gateway, village.people["chronic"]
    found = await gateway.find(village.doctor, "Condition", f"patient=Patient/{patient}&_count=1")
    stranger = msgspec.structs.replace(STRANGER, user="asks")
    no = await gateway.explain(stranger, Action.READ, "Condition", found[0]["id"])
    never = await gateway.explain(stranger, Action.READ, "Condition", "never-was")
    yes = await gateway.explain(village.doctor, Action.READ, "Condition", found[0]["id"])
    role = await gateway.explain(village.registrar, Action.READ, "Condition", found[0]["id"])

    assert (no.allowed, no.reasons[0].key) == (False, "trust.reason.no_care")
    assert never == no
    assert (yes.allowed, yes.reasons[-1].key) == (True, "trust.reason.care")
    assert (role.allowed, role.reasons[0].key) == (False, "trust.reason.type")


@pytest_asyncio.fixture(loop_scope="session")
async def client(village: Any, tmp_path: Any) -> Any:
    """The FHIR door with this module, for a doctor of nowhere."""
    gateway = village.gateway
    keys = load_keys(tmp_path)
    identity = Identity(gateway._db.hot, gateway.settings, keys)
    await identity.save(Account(user="far", role=Role.DOCTOR, name="F"), "a long password")
    app = fhir_app(gateway, Guard(gateway._db.hot, gateway.settings, keys), (MODULE,))
    headers = {"authorization": f"Bearer {await identity.issue_token('far')}",
               "content-type": "application/fhir+json"}  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), headers=headers,
                                 base_url="http://test/fhir") as made:
        yield made


async def test_the_operations_speak_fhir(village: Any, client: httpx.AsyncClient) -> None:
    """$break-glass and $explain-access take and give Parameters; faults are OperationOutcomes."""
    patient = village.people["chronic"]
    before = await client.get(f"/Patient/{patient}/$explain-access")
    assert before.json()["parameter"][0] == {"name": "allowed", "valueBoolean": True}
    asked = {"resourceType": "Parameters", "parameter": [
        {"name": "reason", "valueCode": "emergency"}, {"name": "text", "valueString": WHY}]}
    refused = await client.post(f"/Patient/{patient}/$break-glass", json={
        **asked, "parameter": asked["parameter"][:1]})
    assert refused.status_code == 400
    assert refused.json()["resourceType"] == "OperationOutcome"
    seen = await client.get(f"/Condition?patient={patient}")
    assert "entry" not in seen.json()
    opened = await client.post(f"/Patient/{patient}/$break-glass", json=asked)
    assert opened.status_code == 200, opened.text
    seen = await client.get(f"/Condition?patient={patient}")
    assert seen.json()["entry"]
    first = seen.json()["entry"][0]["resource"]["id"]
    why = await client.get(f"/$explain-access?type=Condition&id={first}")
    keys = [part["part"][0]["valueCode"] for part in why.json()["parameter"][1:]]
    assert keys == ["trust.reason.role", "trust.reason.glass"]


@pytest.mark.parametrize("language", ["uz", "ru", "en", "kaa", ""])
def test_the_notice_is_in_the_persons_language(language: str) -> None:
    """Who, where, when and why; Uzbek where the language is none of ours."""
    from datetime import UTC, datetime

    at = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
    made: Any = rules.notice(STRANGER, "p", WHY, at, language)
    text = made["payload"][0]["contentCodeableConcept"]["text"]

    assert all(part in text for part in ("Tunov T.", WHY, "23.11.2026 10:00"))
    assert ("opened" in text) == (language == "en")


def test_every_reason_has_words() -> None:
    """Codes of reasons stand in every language."""
    import json
    from pathlib import Path

    folder = Path(rules.__file__).parent / "data" / "locale"
    for file in folder.glob("*.json"):
        assert {f"glass.reason.{code}" for code in REASONS} <= set(json.loads(file.read_text()))
