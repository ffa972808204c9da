"""A prescription's signatures: refused where they must be, kept with proofs, verified again."""

from __future__ import annotations

import asyncio
import base64
import copy
import itertools
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from dmed.apps import eimzo_sim
from dmed.apps.signing import Tally, verified, verify_one
from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, UnavailableError, UnprocessableError
from dmed.modules.prescriptions import api, operations
from dmed.modules.prescriptions.service import activating, signing
from dmed.modules.signing.api import Given, SignatureError, Why
from dmed.modules.workforce import api as workforce
from dmed.trust.gateway import Gateway
from dmed.trust.model import Subject
from dmed.trust.signing import certificates, cms, embedded, seal
from dmed.trust.signing.model import Holder

AMOXICILLIN = "amoxicillin-capsule-500mg"
_numbers = itertools.count(20)


async def provenance(ward: Any, made: Any) -> dict[str, Any]:
    found = await ward.gateway.find(
        ward.doctor, "Provenance", f"target=MedicationRequest/{made.items[0].request}")
    record: dict[str, Any] = found[0]
    return record


async def failures(gateway: Gateway, record: dict[str, Any]) -> str:
    tally = await verified(gateway)
    return " ".join(said for name, said in tally.failed if name.endswith(record["id"]))


async def test_a_signature_is_kept_with_its_proofs(ward: Any) -> None:
    """Seal, CMS with stamp and revocation list, JWS; the right to sign, with its licence."""
    made = await ward.signed(AMOXICILLIN)
    record = await provenance(ward, made)
    parts = [base64.b64decode(one["data"]) for one in record["signature"]]
    said = json.loads(seal.load(ward.gateway.settings.data).opened_jws(parts[0]))
    message = cms.read(parts[1])

    assert [one["sigFormat"] for one in record["signature"]] == [
        "application/jose", "application/pkcs7-signature", "application/jose"]
    assert message.stamp
    assert message.lists
    signer = said["document"]["signer"]
    assert signer["post"]["role"] == f"PractitionerRole/{ward.doctor.practitioner_role}"
    assert signer["post"]["version"]
    assert signer["licence"]["number"]
    assert said["document"]["content"]["items"][0]["quantity"] == "21"
    assert await failures(ward.gateway, record) == ""


async def test_a_changed_record_is_found(ward: Any) -> None:
    """A dose changed behind the signature, or a byte of the signature, is named with its reason."""
    made = await ward.signed(AMOXICILLIN)
    record = await provenance(ward, made)
    request = await ward.gateway.get(ward.doctor, "MedicationRequest", made.items[0].request)
    dose = request["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]
    dose["value"] = 3
    async with ward.gateway.unit(ward.doctor) as unit:
        await unit.update("MedicationRequest", request["id"], request)
    assert "something else than the signed document" in await failures(ward.gateway, record)


async def test_a_changed_signature_is_found(ward: Any) -> None:
    """A byte turned in the seal or in the JWS, anywhere, and a confirmation under another name."""
    record = await provenance(ward, await ward.signed(AMOXICILLIN))
    tally = Tally()
    await verify_one(ward.gateway, record, tally)
    assert tally.held == 1
    for part, step in ((0, 97), (2, 7)):
        raw = base64.b64decode(record["signature"][part]["data"])
        for place in range(40 if part == 0 else 0, len(raw), step):
            changed = bytearray(raw)
            changed[place] ^= 1
            other = copy.deepcopy(record)
            other["signature"][part]["data"] = base64.b64encode(changed).decode()
            with pytest.raises((SignatureError, ValueError)):
                await verify_one(ward.gateway, other, tally)
    other = copy.deepcopy(record)
    other["agent"][0]["who"]["reference"] = "PractitionerRole/somebody-else"
    with pytest.raises(SignatureError, match="somebody-else"):
        await verify_one(ward.gateway, other, tally)
    other = copy.deepcopy(record)
    other["signature"] = other["signature"][:1]
    with pytest.raises(SignatureError):
        await verify_one(ward.gateway, other, tally)
    assert tally.held == 1


async def _hired(ward: Any, *, post: str = "2212.113", ended: bool = False) -> Subject:
    """Somebody who works beside the doctor, in a post, with a certificate."""
    today = clock.today()
    until = today - timedelta(days=1) if ended else today + timedelta(days=99)
    person = await ward.gateway.plain().create(ward.service, "Practitioner", {
        "resourceType": "Practitioner", "name": [{"family": "Olimov", "given": ["Olim"]}],
        "identifier": [{"system": "https://dhp.uz/fhir/core/sid/pid/uz/ni",
                        "value": f"312038500100{next(_numbers)}"}],
        "qualification": [{"identifier": [{"value": "S-1"}], "code": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v2-0360", "code": "CER"}]},
            "period": {"start": "2020-01-01", "end": until.isoformat()}}],
    })  # fmt: skip  # One record.
    role = await ward.gateway.plain().create(ward.service, "PractitionerRole", {
        "resourceType": "PractitionerRole", "active": True,
        "practitioner": {"reference": f"Practitioner/{person.id}"},
        "organization": {"reference": f"Organization/{ward.doctor.organisation}"},
        "code": [{"text": "lavozim", "coding": [{"system":
            "https://terminology.dhp.uz/fhir/core/CodeSystem/position-and-profession-cs",
            "code": post}]}],
    })  # fmt: skip  # Same.
    return msgspec.structs.replace(
        ward.doctor, user=f"u-{role.id}", practitioner=str(person.id),
        practitioner_role=str(role.id), name="Olimov Olim")  # fmt: skip  # One subject.


async def test_who_may_not_sign_does_not(ward: Any) -> None:
    """An expired licence and a post that signs no prescriptions are refused, each in a sentence."""
    patient = await ward.person()
    for more, said in (({"ended": True}, "expired|ended|ran out|over|until"),
                       ({"post": "2262.13"}, "no prescription is signed")):  # fmt: skip  # Two.
        subject = await _hired(ward, **more)
        with pytest.raises(ForbiddenError, match=said):
            await api.sign(ward.gateway, subject, ward.draft(patient))
    assert await api.for_person(ward.gateway, ward.doctor, patient) == []


async def test_a_certificate_of_another_post_or_revoked_is_refused(ward: Any) -> None:
    """The test authority's verifier refuses another post, another person, a revoked certificate."""
    authority = embedded.authority(ward.gateway.settings)
    signer = embedded.EmbeddedSigner(ward.gateway.settings)
    mine = Holder(role="post-1", name="Olimov Olim", pinfl="31203850010017")
    envelope = await signer.sign(b"{}", mine, b"")
    assert signer.verifier.verify(envelope, b"{}", mine).name == mine.name
    for change, reason in (({"role": "post-2"}, Why.OTHER_POST),
                           ({"pinfl": "1"}, Why.OTHER_PERSON)):  # fmt: skip  # Two.
        with pytest.raises(SignatureError) as caught:
            signer.verifier.verify(envelope, b"{}", msgspec.structs.replace(mine, **change))
        assert caught.value.reason is reason
    with pytest.raises(SignatureError) as caught:
        signer.verifier.verify(envelope, b"{ }", mine)
    assert caught.value.reason is Why.CHANGED
    known = certificates.read(authority.person(mine).certificate)
    authority.revoke(f"{known.serial:x}", clock.now() - timedelta(minutes=1))
    again = await signer.sign(b"{}", mine, b"")
    with pytest.raises(SignatureError, match="was revoked") as caught:
        signer.verifier.verify(again, b"{}", mine)
    assert caught.value.reason is Why.REVOKED


async def test_the_seal_changes_its_key(ward: Any) -> None:
    """After a rotation older tokens and confirmations verify, and new ones are by the new key."""
    made = await ward.signed(AMOXICILLIN)
    old = await api.qr_text(ward.gateway, ward.doctor, made.number)
    before = seal.load(ward.gateway.settings.data)
    number = seal.rotate(ward.gateway.settings.data)
    after = seal.load(ward.gateway.settings.data)
    new = await api.qr_text(ward.gateway, ward.doctor, (await ward.signed(AMOXICILLIN)).number)

    assert after.active.number == number != before.active.number
    for text in (old, new):
        assert await api.token_holds(ward.gateway, ward.pharmacist, api.read_qr(text))
    for sealed in (before.cose(b"slip"), after.cose(b"slip")):
        assert after.opened_cose(sealed) == b"slip"
        for place in range(len(sealed)):
            changed = bytearray(sealed)
            changed[place] ^= 1
            with pytest.raises(SignatureError):
                after.opened_cose(bytes(changed))
    with pytest.raises(SignatureError, match="not the platform's"):
        before.opened_jws(after.jws(b"later"))


# With national keys


class Desk(msgspec.Struct):
    """A platform with national keys, and the simulated program and service."""

    gateway: Gateway
    simulator: eimzo_sim.Simulator
    holder: Holder


@pytest_asyncio.fixture
async def desk(ward: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    facts = await workforce.practitioner(ward.gateway, ward.doctor, ward.doctor.practitioner)
    holder = Holder(role="desk", name=facts.name, pinfl=facts.pinfl)
    folder = tmp_path_factory.mktemp("eimzo")
    simulator = eimzo_sim.Simulator(folder / "sim", [holder])
    server = await asyncio.start_server(simulator.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = msgspec.structs.replace(
        ward.gateway.settings, signer="eimzo", eimzo_url=f"http://127.0.0.1:{port}",
        eimzo_roots=str(simulator.roots))  # fmt: skip  # One installation.
    yield Desk(Gateway(ward.gateway._db, settings), simulator, holder)
    server.close()


async def test_a_doctor_signs_with_national_keys(ward: Any, desk: Desk) -> None:
    """Shown, signed by the program, stamped and judged by the operator, verified here and again."""
    draft = ward.draft(await ward.person())
    asked = await api.prepare(desk.gateway, ward.doctor, draft)
    given = Given(asked.id, desk.simulator.signed(asked.document, desk.holder))
    made = await api.sign(desk.gateway, ward.doctor, draft, given=given)
    record = await provenance(ward, made)

    assert len(record["signature"]) == 2
    assert await failures(desk.gateway, record) == ""
    another = ward.draft(await ward.person())
    with pytest.raises(SignatureError, match="used before") as caught:
        await api.sign(desk.gateway, ward.doctor, another, given=given)
    assert caught.value.reason is Why.REPLAYED


async def test_a_national_signature_fits_its_act_alone(ward: Any, desk: Desk) -> None:
    """Refused: none, another draft, another document, another person, a request of nobody."""
    draft = ward.draft(await ward.person())
    asked = await api.prepare(desk.gateway, ward.doctor, draft)
    other = await api.prepare(desk.gateway, ward.doctor, draft)
    good = desk.simulator.signed(asked.document, desk.holder)
    stranger = msgspec.structs.replace(desk.holder, pinfl="30101900010011", role="stranger")
    worse = msgspec.structs.replace(draft, items=(
        msgspec.structs.replace(draft.items[0], note="changed"),))
    for given, chosen, reason in (
        (None, draft, Why.NO_SIGNER),
        (Given(asked.id, good), worse, Why.OTHER_DOCUMENT),
        (Given(other.id, good), draft, Why.OTHER_DOCUMENT),
        (Given("nobody", good), draft, Why.REPLAYED),
        (Given(asked.id, good[:-1]), draft, Why.MALFORMED),
        (Given(asked.id, desk.simulator.signed(asked.document, stranger)), draft,
         Why.OTHER_PERSON),
    ):  # fmt: skip  # A table.
        with pytest.raises(SignatureError) as caught:
            await api.sign(desk.gateway, ward.doctor, chosen, given=given)
        assert caught.value.reason is reason, str(caught.value)


async def test_the_operator_fails_in_many_ways(ward: Any, desk: Desk) -> None:
    """Outages are 503 and nothing is signed; a no is a refusal; afterwards the same act goes on."""
    draft = ward.draft(await ward.person())
    asked = await api.prepare(desk.gateway, ward.doctor, draft)
    given = Given(asked.id, desk.simulator.signed(asked.document, desk.holder))
    for mode, kind in (
        ("down", UnavailableError), ("error", UnavailableError), ("nonsense", UnavailableError),
        ("no-stamps", UnavailableError), ("refuse", (SignatureError, UnavailableError)),
        ("revoked", SignatureError), ("unverified", SignatureError),
    ):  # fmt: skip  # A table.
        desk.simulator.mode = mode
        with pytest.raises(kind):
            await api.sign(desk.gateway, ward.doctor, draft, given=given)
    desk.simulator.mode = ""

    assert await api.sign(desk.gateway, ward.doctor, draft, given=given)


async def test_one_request_makes_one_prescription(ward: Any, desk: Desk) -> None:
    """The same signature sent twice at once makes one prescription."""
    patient = await ward.person()
    draft = ward.draft(patient)
    asked = await api.prepare(desk.gateway, ward.doctor, draft)
    given = Given(asked.id, desk.simulator.signed(asked.document, desk.holder))
    results = await asyncio.gather(
        *(api.sign(desk.gateway, ward.doctor, draft, given=given) for _ in range(3)),
        return_exceptions=True)

    refused = [one for one in results if isinstance(one, BaseException)]
    assert len(refused) == 2
    assert all(isinstance(one, SignatureError | ConflictError) for one in refused)
    assert len(await api.for_person(ward.gateway, ward.doctor, patient)) == 1


def _posted(patient: str) -> dict[str, Any]:
    """A request for amoxicillin as a system of a clinic posts it."""
    return {
        "resourceType": "MedicationRequest", "status": "active", "intent": "order",
        "medication": {"concept": {
            "coding": [{"system": "http://www.whocc.no/atc", "code": "C09CA01"}],
            "text": "Losartan 50 mg film-coated tablet"}},
        "subject": {"reference": f"Patient/{patient}"},
        "reason": [{"concept": {"coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}]}}],
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d",
                                  "boundsDuration": {"value": 28, "unit": "d", "code": "d",
                                                     "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
    }  # fmt: skip  # One record.


async def test_a_posted_request_carries_its_national_signature(ward: Any, desk: Desk) -> None:
    """Prepared, signed by the program, posted with the PKCS#7; without or for another: refused."""
    resource = _posted(await ward.person())
    asked = await signing.prepare(desk.gateway, ward.doctor, operations.draft_of(resource))

    def signed(document: bytes) -> dict[str, Any]:
        message = base64.b64encode(desk.simulator.signed(document, desk.holder)).decode()
        return {**resource, "extension": [{"url": operations.SIGNATURE, "extension": [
            {"url": "request", "valueString": asked.id},
            {"url": "pkcs7", "valueBase64Binary": message}]}]}

    for sent, reason in ((resource, Why.NO_SIGNER), (signed(b"{}"), Why.OTHER_DOCUMENT)):
        with pytest.raises(SignatureError) as caught:
            await operations.create_request(desk.gateway, ward.doctor, copy.deepcopy(sent))
        assert caught.value.reason is reason
    made = await operations.create_request(desk.gateway, ward.doctor, signed(asked.document))
    record = (await ward.gateway.find(
        ward.doctor, "Provenance", f"target=MedicationRequest/{made}"))[0]
    stored = await ward.gateway.get(ward.doctor, "MedicationRequest", made)

    assert len(record["signature"]) == 2
    assert operations.SIGNATURE not in json.dumps(stored, default=str)
    assert await failures(desk.gateway, record) == ""
    with pytest.raises(UnprocessableError, match=r"used before|already taken"):
        await operations.create_request(desk.gateway, ward.doctor, signed(asked.document))


async def test_drafts_are_activated_with_a_national_signature(ward: Any, desk: Desk) -> None:
    """$prepare-signature and $activate: the message is over the drafts, once, and is kept."""
    resource = {**_posted(await ward.person()), "status": "draft"}
    draft = operations.draft_of(resource)
    made = await activating.prescribe(desk.gateway, ward.doctor, draft, (resource,), "")
    with pytest.raises(SignatureError) as caught:
        await activating.activate(desk.gateway, ward.doctor, made.number, {})
    assert caught.value.reason is Why.NO_SIGNER
    asked = await activating.prepare(desk.gateway, ward.doctor, made.number, {})
    given = Given(asked.id, desk.simulator.signed(asked.document, desk.holder))
    await activating.activate(desk.gateway, ward.doctor, made.number, {}, given=given)
    record = await provenance(ward, await api.prescription(desk.gateway, ward.doctor, made.number))

    assert len(record["signature"]) == 2
    assert await failures(desk.gateway, record) == ""
    with pytest.raises(ConflictError, match="othing is left"):
        await activating.prepare(desk.gateway, ward.doctor, made.number, {})
