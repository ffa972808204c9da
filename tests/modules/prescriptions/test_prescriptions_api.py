"""The doctor's acts over a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.prescriptions import api, operations
from dmed.modules.prescriptions.model import Draft, DraftItem, ItemState, Tier
from dmed.modules.prescriptions.rules import numbers, resources
from dmed.modules.prescriptions.service.keys import keys

AMOXICILLIN = "amoxicillin-capsule-500mg"
PARACETAMOL = "paracetamol-tablet-500mg"


async def test_a_signed_prescription_is_whole(ward: Any) -> None:
    """One number, one code, an active MedicationRequest and a ready Task an item."""
    made = await ward.signed(AMOXICILLIN, PARACETAMOL)

    assert made.number == numbers.read_number(api.show_number(made.number))
    assert len(made.code) == 52
    assert [item.state for item in made.items] == [ItemState.TO_BE_DISPENSED] * 2
    assert made.valid_until == clock.today() + timedelta(days=10)  # An antibiotic is among them.
    assert made.prescriber_name == "Yusupova A."
    assert made.organisation == ward.doctor.organisation
    assert made.number.startswith("1726")
    for item in made.items:
        request = await ward.gateway.get(ward.doctor, "MedicationRequest", item.request)
        task = await ward.gateway.get(ward.doctor, "Task", item.task)
        assert request["status"] == "active"
        assert request["groupIdentifier"]["value"] == made.number
        assert task["status"] == "ready"
        assert task["focus"]["reference"] == f"MedicationRequest/{item.request}"


async def test_quantity_and_dosage_are_derived(ward: Any) -> None:
    """Dose, times, days and quantity in units of presentation come from the preparation."""
    made = await ward.signed(AMOXICILLIN)
    item = made.items[0]

    assert (item.dose, item.times_per_day, item.duration_days) == (1, 3, 7)
    assert item.quantity == 21
    assert item.dosage["uz"] == "1 kapsuladan kuniga 3 mahal, 7 kun"
    assert item.label["ru"] == "Амоксициллин 500 мг капсулы"


async def test_the_confirmation_signs_what_was_stored(ward: Any) -> None:
    """The Provenance names doctor and records, its signature holds over the stored bytes."""
    made = await ward.signed(AMOXICILLIN)
    request = await ward.gateway.read(ward.doctor, "MedicationRequest", made.items[0].request)
    found = await ward.gateway.find(
        ward.doctor, "Provenance", f"target=MedicationRequest/{made.items[0].request}"
    )

    assert len(found) == 1
    signature = found[0]["signature"][0]
    assert signature["who"]["reference"].endswith(ward.doctor.practitioner_role)
    jws = base64.b64decode(signature["data"]).decode()
    payload = json.loads(keys(ward.gateway.settings).confirmed(jws))
    assert payload["number"] == made.number
    digest = hashlib.sha256(request.body).hexdigest()
    assert payload["sha256"][f"MedicationRequest/{made.items[0].request}"] == digest


async def test_the_code_is_kept_as_digest_only(ward: Any) -> None:
    """Neither the code nor its beginning stands in any table or record of the prescription."""
    made = await ward.signed(AMOXICILLIN)
    async with ward.gateway.unit(ward.doctor) as unit:
        row = await unit.fetchrow("select * from prescription where number = $1", made.number)
    request = await ward.gateway.read(ward.doctor, "MedicationRequest", made.items[0].request)

    assert row["code_digest"] == numbers.code_digest(made.code)
    assert made.code not in str(dict(row))
    assert made.code[:8].encode() not in request.body


async def test_the_same_key_signs_once(ward: Any) -> None:
    """A retry with the same key gives the same prescription; eight at once make one."""
    patient = await ward.person()
    draft = ward.draft(patient)
    made = await asyncio.gather(
        *(api.sign(ward.gateway, ward.doctor, draft, key=f"k-{patient}") for _ in range(8))
    )

    assert len({one.number for one in made}) == 1
    assert len({one.code for one in made}) == 1
    assert len(await api.for_person(ward.gateway, ward.doctor, patient)) == 1


async def test_a_signed_draft_is_gone_and_signs_once(ward: Any) -> None:
    """A saved draft is its own key: signing it twice gives the same prescription."""
    patient = await ward.person()
    draft = await api.save_draft(ward.gateway, ward.doctor, ward.draft(patient))
    first = await api.sign(ward.gateway, ward.doctor, draft)
    second = await api.sign(ward.gateway, ward.doctor, draft)

    assert first.number == second.number
    assert await api.drafts(ward.gateway, ward.doctor, patient) == []


async def test_drafts_are_private_and_kept(ward: Any) -> None:
    """A draft comes back as it was typed, to its doctor only, and writes no record."""
    patient = await ward.person()
    typed = Draft(patient=patient, diagnosis="J20.9", items=(DraftItem(dose=Decimal("0.5")),))
    kept = await api.save_draft(ward.gateway, ward.doctor, typed)
    other = msgspec.structs.replace(ward.doctor, user="colleague")

    found = await api.draft(ward.gateway, ward.doctor, kept.id)
    assert found.items == typed.items
    assert [each.id for each in await api.drafts(ward.gateway, ward.doctor, patient)] == [kept.id]
    with pytest.raises(NotFoundError):
        await api.draft(ward.gateway, other, kept.id)
    with pytest.raises(NotFoundError):
        await api.save_draft(ward.gateway, other, kept)
    assert await api.for_person(ward.gateway, ward.doctor, patient) == []
    await api.drop_draft(ward.gateway, ward.doctor, kept.id)
    await api.drop_draft(ward.gateway, ward.doctor, kept.id)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": ()}, "names no medicine"),
        ({"diagnosis": ""}, "an indication"),
        ({"items": tuple(DraftItem(preparation=PARACETAMOL) for _ in range(6))}, "at most 5"),
        ({"items": (DraftItem(preparation="homemade-tonic"),)}, "only registered medicines"),
        ({"items": (DraftItem(),)}, "only registered medicines"),
    ],
)
async def test_what_is_missing_stops(ward: Any, change: dict[str, Any], said: str) -> None:
    """Each missing thing is a STOP with its own sentence, and nothing is stored."""
    patient = await ward.person()
    draft = ward.draft(patient, **change)

    with pytest.raises(UnprocessableError, match=said):
        await api.sign(ward.gateway, ward.doctor, draft)
    assert await api.for_person(ward.gateway, ward.doctor, patient) == []


async def test_only_a_doctor_with_licence_and_organisation_signs(ward: Any) -> None:
    """A pharmacist, a doctor without a post, and one with an unknown post are refused."""
    patient = await ward.person()
    draft = ward.draft(patient)
    for subject, said in (
        (ward.pharmacist, "Only a doctor"),
        (msgspec.structs.replace(ward.doctor, organisation=""), "in a post"),
        (msgspec.structs.replace(ward.doctor, practitioner_role="none"), "may not sign today"),
        (msgspec.structs.replace(ward.doctor, practitioner=""), "may not sign today"),
    ):
        with pytest.raises(ForbiddenError, match=said):
            await api.sign(ward.gateway, subject, draft)


async def test_an_allergy_stops_and_a_cross_reaction_asks_for_a_reason(ward: Any) -> None:
    """Penicillin allergy: amoxicillin needs a reason, so does a cephalosporin with a penicillin's
    side chain; another cephalosporin is shown; the INN stops.
    """
    patient = await ward.person()
    await ward.allergic(patient, "Penitsillin", "J01C")
    alerts = await api.check(ward.gateway, ward.doctor, ward.draft(patient))
    assert [(one.rule, one.tier) for one in alerts] == [("allergy-group", Tier.INTERRUPT)]
    for key, tier in (("cefalexin-capsule-500mg", Tier.INTERRUPT),
                      ("cefixime-capsule-400mg", Tier.PASSIVE)):
        alerts = await api.check(ward.gateway, ward.doctor, ward.draft(patient, key))
        assert [(one.rule, one.tier) for one in alerts] == [("allergy-cross", tier)]

    await ward.allergic(patient, "Amoksitsillin")
    alerts = await api.check(ward.gateway, ward.doctor, ward.draft(patient))
    assert alerts[0].rule == "allergy-inn"
    assert alerts[0].tier is Tier.STOP
    with pytest.raises(UnprocessableError, match="allergy to Amoksitsillin"):
        await api.sign(ward.gateway, ward.doctor, ward.draft(patient))


async def test_a_coded_reason_leads_on_and_travels(ward: Any) -> None:
    """An interrupting alert needs a coded reason, which stands in a DetectedIssue afterwards."""
    patient = await ward.person()
    await ward.allergic(patient, "Penitsillin", "J01C")
    draft = ward.draft(patient)
    with pytest.raises(UnprocessableError, match="a coded reason leads on"):
        await api.sign(ward.gateway, ward.doctor, draft)

    item = msgspec.structs.replace(
        draft.items[0], overrides={"allergy-group": "tolerated-before"}
    )
    made = await api.sign(
        ward.gateway, ward.doctor, msgspec.structs.replace(draft, items=(item,))
    )
    read = await api.prescription(ward.gateway, ward.pharmacist, made.number)
    assert [(one.rule, one.override) for one in read.items[0].alerts] == [
        ("allergy-group", "tolerated-before")
    ]
    issues = await ward.gateway.find(
        ward.doctor, "DetectedIssue", f"implicated=MedicationRequest/{made.items[0].request}"
    )
    assert issues[0]["mitigation"][0]["action"]["coding"][0]["code"] == "tolerated-before"


async def test_a_free_text_is_no_override(ward: Any) -> None:
    """Only codes of the list lead on."""
    patient = await ward.person()
    await ward.allergic(patient, "Penitsillin", "J01C")
    draft = ward.draft(patient)
    item = msgspec.structs.replace(draft.items[0], overrides={"allergy-group": "because"})

    with pytest.raises(UnprocessableError):
        await api.sign(ward.gateway, ward.doctor, msgspec.structs.replace(draft, items=(item,)))


async def test_the_same_medicine_twice_asks_for_a_reason(ward: Any) -> None:
    """A second prescription of the running INN interrupts."""
    made = await ward.signed(AMOXICILLIN)
    alerts = await api.check(ward.gateway, ward.doctor, ward.draft(made.patient))

    assert [(one.rule, one.tier) for one in alerts] == [("duplicate-inn", Tier.INTERRUPT)]


async def test_correcting_replaces_in_one_act(ward: Any) -> None:
    """The corrected prescription is cancelled with that reason, the new one names it; the old
    does not count as a running medicine.
    """
    old = await ward.signed(AMOXICILLIN)
    draft = ward.draft(old.patient, "amoxicillin-capsule-250mg")
    new = await api.correct(ward.gateway, ward.doctor, old.number, draft)

    assert new.replaces == old.number
    read = await api.prescription(ward.gateway, ward.doctor, old.number)
    assert [item.state for item in read.items] == [ItemState.CANCELLED]
    request = await ward.gateway.get(ward.doctor, "MedicationRequest", old.items[0].request)
    assert request["statusReason"]["coding"][0]["code"] == "corrected"
    with pytest.raises(ConflictError, match="is cancelled"):
        await api.correct(ward.gateway, ward.doctor, old.number, draft)


async def test_cancelling_names_the_reason_and_happens_once(ward: Any) -> None:
    """One item or all can be cancelled; again is a conflict that names the state."""
    made = await ward.signed(AMOXICILLIN, PARACETAMOL)
    one = await api.cancel(ward.gateway, ward.doctor, made.number, reason="patient-request",
                           item=2)
    assert [item.status for item in one.items] == ["active", "cancelled"]
    both = await api.cancel(ward.gateway, ward.doctor, made.number, reason="prescribing-error")
    assert not both.is_open
    with pytest.raises(ConflictError, match=r"\[state cancelled\]"):
        await api.cancel(ward.gateway, ward.doctor, made.number, reason="prescribing-error")
    with pytest.raises(InvalidError, match="no reason"):
        await api.cancel(ward.gateway, ward.doctor, made.number, reason="whim")


async def test_only_the_own_organisation_cancels(ward: Any) -> None:
    """A doctor of another institution is refused, though he treats the person too; one who does
    not cannot tell that there is such a prescription.
    """
    made = await ward.signed()
    stranger = msgspec.structs.replace(ward.doctor, organisation="elsewhere")
    with pytest.raises(NotFoundError):
        await api.cancel(ward.gateway, stranger, made.number, reason="prescribing-error")
    await ward.gateway.create(stranger, "Encounter", {
        "resourceType": "Encounter", "status": "in-progress",
        "subject": {"reference": f"Patient/{made.patient}"}})

    with pytest.raises(ForbiddenError, match="prescribing organisation"):
        await api.cancel(ward.gateway, stranger, made.number, reason="prescribing-error")


async def test_the_last_prescription_is_repeated(ward: Any) -> None:
    """A saved draft with the same lines and diagnosis."""
    made = await ward.signed(PARACETAMOL)
    draft = await api.repeat_last(ward.gateway, ward.doctor, made.patient)

    assert [item.preparation for item in draft.items] == [PARACETAMOL]
    assert draft.diagnosis == "J15.9"
    assert draft.id
    with pytest.raises(NotFoundError, match="no earlier prescription"):
        await api.repeat_last(ward.gateway, ward.doctor, await ward.person())


async def test_a_history_without_tasks_is_shown(ward: Any) -> None:
    """Prescriptions of the synthetic country's past are listed as dispensed."""
    found = await api.for_person(ward.gateway, ward.doctor, ward.people["chronic"])

    assert found
    assert {item.state for one in found for item in one.items} == {ItemState.DISPENSED}
    assert all(item.label["uz"] for one in found for item in one.items)
    mine = [one for one in found if one.prescriber == ward.doctor.practitioner_role]
    for one in mine[:1]:
        assert await api.qr_svg(ward.gateway, ward.doctor, one.number)


async def test_unknown_numbers_are_not_found(ward: Any) -> None:
    """A wrong check digit is invalid, a right number of nobody is not found."""
    number = numbers.make_number("1735", 99_999_999)
    with pytest.raises(NotFoundError, match="no prescription 1735-9999"):
        await api.prescription(ward.gateway, ward.doctor, number)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    with pytest.raises(InvalidError, match="check digit"):
        await api.prescription(ward.gateway, ward.doctor, wrong)


async def test_the_qr_holds_number_code_and_a_signed_token(ward: Any) -> None:
    """With five items the token stays within 400 characters and its signature holds."""
    made = await ward.signed(
        "amoxicillin-clavulanic-acid-film-tablet-875mg-125mg", PARACETAMOL,
        "ambroxol-syrup-15mg-5ml-100", "cetirizine-oral-drops-10mg-1ml-10",
        "xylometazoline-nasal-spray-0_05pc-140",
    )  # fmt: skip  # Five items.
    text = numbers.read_qr(await api.qr_text(ward.gateway, ward.doctor, made.number))

    assert (text.number, text.code) == (made.number, made.code)
    assert 0 < len(text.token) <= 400
    assert await api.token_holds(ward.gateway, ward.pharmacist, text) is True
    other = msgspec.structs.replace(text, number=numbers.make_number("1726", 5))
    assert await api.token_holds(ward.gateway, ward.pharmacist, other) is False
    svg = await api.qr_svg(ward.gateway, ward.doctor, made.number)
    assert svg.startswith("<svg")


@pytest.mark.parametrize("language", ["uz", "uz-Cyrl", "ru", "en"])
async def test_the_slip_is_a_pdf_in_every_language(ward: Any, language: str) -> None:
    """A5 and A4 are printed."""
    made = await ward.signed(AMOXICILLIN, PARACETAMOL)
    for paper in ("a5", "a4"):
        pdf = await api.slip_pdf(ward.gateway, ward.doctor, made.number, language, paper=paper)
        assert pdf.startswith(b"%PDF")


async def test_the_slip_is_for_the_prescribing_organisation(ward: Any) -> None:
    """A pharmacist, who must be shown the code, cannot print it himself."""
    made = await ward.signed()
    with pytest.raises(ForbiddenError):
        await api.slip_pdf(ward.gateway, ward.pharmacist, made.number)
    with pytest.raises(ForbiddenError):
        await api.qr_text(ward.gateway, ward.pharmacist, made.number)


async def test_what_is_over_expires_at_midnight(ward: Any) -> None:
    """The day after its last day an open prescription is stopped with the reason expired."""
    made = await ward.signed()
    async with ward.gateway.unit(ward.doctor) as unit:
        await unit.execute("update prescription set valid_until = $2 where number = $1",
                           made.number, clock.today() - timedelta(days=1))
    await operations.expire(ward.gateway)

    read = await api.prescription(ward.gateway, ward.doctor, made.number)
    assert (read.items[0].state, read.items[0].status) == (ItemState.EXPIRED, "stopped")
    request = await ward.gateway.get(ward.doctor, "MedicationRequest", made.items[0].request)
    assert request["statusReason"]["coding"][0]["code"] == "expired"


def _posted(patient: str, **more: Any) -> dict[str, Any]:
    """A plain national MedicationRequest."""
    return {
        "resourceType": "MedicationRequest", "status": "active", "intent": "order",
        "medication": {"reference": {"reference": "Medication/nm-00007"}},
        "subject": {"reference": f"Patient/{patient}"},
        "reason": [{"concept": {"coding": [{"system": resources.ICD, "code": "J15.9"}]}}],
        "dosageInstruction": [{
            "text": "1 x 3", "timing": {"repeat": {
                "frequency": 3, "period": 1, "periodUnit": "d",
                "boundsDuration": {"value": 7, "code": "d",
                                   "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
        "note": [{"text": "kept"}], **more,
    }  # fmt: skip  # One record.


async def test_a_doctors_plain_post_is_his_confirmation(ward: Any) -> None:
    """It gets a number, a Task and a Provenance; its own content is kept."""
    patient = await ward.person()
    made = await operations.create_request(ward.gateway, ward.doctor, _posted(patient))
    request = await ward.gateway.get(ward.doctor, "MedicationRequest", made)

    assert request["note"] == [{"text": "kept"}]
    assert request["dosageInstruction"][0]["text"] == "1 x 3"
    read = await api.prescription(ward.gateway, ward.doctor, made)
    assert read.items[0].state is ItemState.TO_BE_DISPENSED
    assert read.items[0].quantity == 21
    assert await ward.gateway.find(ward.doctor, "Provenance", f"target=MedicationRequest/{made}")
    found = await ward.gateway.find(
        ward.pharmacist, "MedicationRequest", f"patient={patient}&status=active"
    )
    assert [each["id"] for each in found] == [made]


async def test_a_plain_post_meets_the_same_rules(ward: Any) -> None:
    """No indication, an unregistered medicine, a late signature and a system are refused."""
    patient = await ward.person()
    late = (clock.now() - timedelta(days=3)).isoformat()
    for subject, change, error, said in (
        (ward.doctor, {"reason": []}, UnprocessableError, "an indication"),
        (ward.doctor, {"medication": {"concept": {"text": "tonic"}}}, UnprocessableError,
         "Only registered"),
        (ward.doctor, {"authoredOn": late}, ConflictError, "more than a day"),
        (ward.service, {}, UnprocessableError, "Provenance"),
        (ward.pharmacist, {}, ForbiddenError, "Only a doctor"),
    ):  # fmt: skip  # A table.
        with pytest.raises(error, match=said):
            await operations.create_request(ward.gateway, subject, _posted(patient, **change))
    assert await api.for_person(ward.gateway, ward.doctor, patient) == []


async def test_a_posted_draft_is_kept_as_it_is(ward: Any) -> None:
    """What is no active order goes through no rules."""
    patient = await ward.person()
    made = await operations.create_request(
        ward.gateway, ward.doctor, _posted(patient, status="draft", reason=[
            {"concept": {"text": "x"}}])
    )  # fmt: skip  # One call.
    request = await ward.gateway.get(ward.doctor, "MedicationRequest", made)
    assert request["status"] == "draft"
    assert "groupIdentifier" not in request
