"""The orphan exception: a medicine outside the register, by a commission's decision alone."""

from __future__ import annotations

import secrets
from datetime import date, timedelta
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
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api as pharmacy
from dmed.modules.prescriptions import api, operations
from dmed.modules.prescriptions.model import Decision, Draft, Tier, Unregistered
from dmed.modules.prescriptions.rules import courses, resources, unregistered
from dmed.modules.prescriptions.service import decisions, printing
from dmed.trust.model import Role, Subject

PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
SMA = "G12.0"
TODAY = date(2026, 11, 23)
SYRUP = Unregistered(inn="Risdiplam", form="oral-solution", strength="0,75 mg/ml",
                     decision="17-K")  # fmt: skip  # A medicine that no list of ours has.
KNOWN = Unregistered(inn="нусинерсен", form="injection", strength="28 mg/5 ml", decision="17-K")
"""A known INN in a strength that the register does not have."""


def a_decision(**more: Any) -> Decision:
    """A decision of this autumn about risdiplam."""
    fields: dict[str, Any] = {
        "id": "d", "number": "17-K", "decided": date(2026, 11, 2), "council": "VKK 3",
        "chair": "Salimov A.", "organisation": "o", "organisation_name": "O", "patient": "p",
        "inn": "risdiplam", "valid_until": date(2027, 5, 2), "entered": clock.now(), **more,
    }  # fmt: skip  # Facts of one decision.
    return Decision(**fields)


def refused(medicine: Unregistered, *known: Decision, today: date = TODAY) -> str:
    """The rule that stops a medicine, or ""."""
    found = unregistered.refusal(medicine, known, today)
    return found[0] if found else ""


# The rule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "rule"), [
    ({}, ""), ({"number": " 17-k "}, ""), ({"inn": "РИСДИПЛАМ"}, ""),
    ({"number": "18-K"}, "decision-unknown"), ({"inn": "nusinersen"}, "decision-inn"),
    ({"valid_until": date(2026, 11, 22)}, "decision-expired"),
    ({"valid_until": TODAY}, ""), ({"withdrawn": clock.now()}, "decision-withdrawn"),
])  # fmt: skip  # A table of cases.
def test_a_decision_carries_its_person_number_inn_and_days(
    change: dict[str, Any], rule: str
) -> None:
    """Each part of a decision that does not fit has a reason of its own; the last day counts."""
    assert refused(SYRUP, a_decision(**change)) == rule


def test_without_a_number_nothing_is_allowed() -> None:
    """That some decision lies there is not enough: the doctor names it."""
    assert refused(msgspec.structs.replace(SYRUP, decision=" "), a_decision()) == "decision-missing"


def test_a_newer_decision_of_the_same_number_counts() -> None:
    """A withdrawn or ended one beside it takes nothing away."""
    ended = a_decision(valid_until=date(2026, 11, 10))
    gone = a_decision(withdrawn=clock.now())

    assert refused(SYRUP, ended, gone, a_decision()) == ""
    assert unregistered.carrying(SYRUP, [ended, gone, a_decision(id="good")], TODAY).id == "good"


def test_an_inn_is_the_same_in_every_script() -> None:
    """The commission writes Russian, the doctor Latin."""
    assert unregistered.is_same_inn("Нусинерсен", "nusinersen")
    assert not unregistered.is_same_inn("nusinersen", "risdiplam")


def test_what_is_in_the_register_is_no_exception() -> None:
    """The same INN, form and strength must be chosen from the register."""
    one = medicines.preparation("amoxicillin-capsule-500mg")
    stated = Unregistered(inn="Amoksitsillin", form="capsule", strength="500 мг", decision="17-K")
    draft = api.derive(Draft(patient="p", diagnosis=SMA, items=(api.unregistered_line(stated),)))
    known = {draft.items[0].preparation: unregistered.preparation(stated)}
    same = decisions._registered(draft, known)

    assert same == {0: one}
    carried = a_decision(inn="amoxicillin")
    rules = [each.rule for each in unregistered.check(draft, [carried], same, TODAY)]
    assert rules == ["unregistered-known"]


def test_what_is_not_whole_is_stopped() -> None:
    """INN, form and strength are needed to dose and to count; every finding is a stop."""
    for part in ("inn", "form", "strength"):
        line = api.unregistered_line(msgspec.structs.replace(SYRUP, **{part: ""}))
        draft = Draft(patient="p", diagnosis=SMA, items=(line,))
        alert, = unregistered.check(draft, [a_decision()], {}, TODAY)
        assert (alert.rule, alert.tier) == ("unregistered-incomplete", Tier.STOP)


def test_an_inn_that_no_table_knows_is_said() -> None:
    """The checks cannot speak of it: the doctor must know that."""
    draft = Draft(patient="p", diagnosis=SMA, items=(api.unregistered_line(SYRUP),))
    alert, = unregistered.check(draft, [a_decision()], {}, TODAY)

    assert (alert.rule, alert.tier) == ("unregistered-unknown", Tier.PASSIVE)
    known = Draft(patient="p", diagnosis=SMA, items=(api.unregistered_line(KNOWN),))
    assert unregistered.check(known, [a_decision(inn="nusinersen")], {}, TODAY) == []


def test_it_is_a_preparation_with_what_was_stated() -> None:
    """A known INN brings code, ATC and names; the content of a bottle is not guessed."""
    made, syrup = unregistered.preparation(KNOWN), unregistered.preparation(SYRUP)

    assert made is not None
    assert syrup is not None
    assert (made.inn.key, made.atc, made.strength, made.per) == (
        "nusinersen", "M09AX07", Decimal(28), Decimal(5))
    assert made.label("ru") == "Нусинерсен 28 мг/5 мл раствор для инъекций"
    assert syrup.label("uz").startswith("Risdiplam 0,75 mg/ml")
    line = msgspec.structs.replace(api.unregistered_line(SYRUP), dose=Decimal(5), times_per_day=1,
                                   duration_days=30)  # fmt: skip  # A month of syrup.
    assert courses.quantity_of(syrup, line) == 0
    assert courses.filled(made, msgspec.structs.replace(
        api.unregistered_line(KNOWN), dose=Decimal(1), times_per_day=1, duration_days=4,
    )).quantity == 4  # fmt: skip  # Ampoules are counted.


def test_a_record_is_never_taken_for_the_registers_strength() -> None:
    """One ATC code has one preparation in the register: another strength of it stays another."""
    made = unregistered.preparation(KNOWN)
    assert made is not None
    reference = unregistered.concept(made)

    assert medicines.preparation_of(reference) is None
    unmarked = [one for one in reference["concept"]["coding"]
                if one["system"] != medicines.UNREGISTERED_SYSTEM]  # fmt: skip  # A filter.
    assert medicines.preparation_of({"concept": {"coding": unmarked}}) is not None
    back = unregistered.stated({"extension": [unregistered.extension(KNOWN)]})
    assert back == KNOWN
    assert unregistered.key_of(back) == unregistered.key_of(KNOWN)


# The decision -------------------------------------------------------------------------------------


async def a_person(ward: Any) -> tuple[str, str]:
    """A new person with a PINFL."""
    patient = await ward.person(years=9)
    record = await ward.gateway.get(ward.doctor, "Patient", patient)
    pinfl = "5" + "".join(secrets.choice("0123456789") for _ in range(13))
    record["identifier"] = [{"system": PINFL_SYSTEM, "value": pinfl}]
    await ward.gateway.update(ward.doctor, "Patient", patient, record)
    return patient, pinfl


def a_head(ward: Any) -> Subject:
    """The head of the doctor's institution."""
    return Subject(user="head", role=Role.HEAD, name="Tursunov Alisher",
                   organisation=ward.doctor.organisation,
                   organisation_name=ward.doctor.organisation_name)  # fmt: skip  # One subject.


async def entered(ward: Any, pinfl: str, **more: Any) -> Decision:
    """A decision that is in force, as the head enters it."""
    today = clock.today()
    fields: dict[str, Any] = {
        "number": "17-K", "decided": today - timedelta(days=3), "council": "VKK 3",
        "chair": "Salimov A.", "pinfl": pinfl, "inn": "Risdiplam",
        "valid_until": today + timedelta(days=180), **more,
    }  # fmt: skip  # What stands on the decision.
    return await api.decisions.enter(ward.gateway, a_head(ward), **fields)


def a_line(medicine: Unregistered = SYRUP, **more: Any) -> Any:
    """A whole line of it: one bottle for eighty days."""
    fields: dict[str, Any] = {"dose": Decimal(5), "times_per_day": 1, "duration_days": 16,
                              "quantity": Decimal(2), **more}  # fmt: skip  # Two bottles.
    return msgspec.structs.replace(api.unregistered_line(medicine), **fields)


async def test_a_head_enters_a_decision_and_sees_no_card(ward: Any) -> None:
    """The record names number, days, council and person; who entered it stands in the audit."""
    patient, pinfl = await a_person(ward)
    made = await entered(ward, pinfl)

    record = await ward.gateway.get(ward.doctor, "DocumentReference", made.id)
    assert record["subject"]["reference"] == f"Patient/{patient}"
    assert record["identifier"][0]["value"] == "17-K"
    assert record["period"]["end"] == made.valid_until.isoformat()
    assert (await api.decisions.of_person(ward.gateway, ward.doctor, patient))[0].id == made.id
    assert made.id in [one.id for one in await api.decisions.listed(ward.gateway, a_head(ward))]
    with pytest.raises(ForbiddenError):
        await ward.gateway.get(a_head(ward), "Patient", patient)


async def test_only_a_head_enters_what_can_be_a_decision(ward: Any) -> None:
    """Doctors enter none; a wrong PINFL, a day that is not, a year too much and a double say so."""
    _, pinfl = await a_person(ward)
    with pytest.raises(ForbiddenError):
        await api.decisions.enter(
            ward.gateway, ward.doctor, number="1", decided=clock.today(), council="c", chair="h",
            pinfl=pinfl, inn="i", valid_until=clock.today())  # fmt: skip  # By a doctor.
    today = clock.today()
    for more, kind, said in (
        ({"pinfl": "123"}, InvalidError, "14 digits"),
        ({"pinfl": "99999999999999"}, UnprocessableError, "No card"),
        ({"decided": today + timedelta(days=1)}, UnprocessableError, "future"),
        ({"valid_until": today + timedelta(days=500)}, UnprocessableError, "at most 366"),
        ({"council": " "}, InvalidError, "council"),
    ):
        with pytest.raises(kind, match=said):
            await entered(ward, **{"pinfl": pinfl, **more})
    await entered(ward, pinfl)
    with pytest.raises(ConflictError, match="already"):
        await entered(ward, pinfl)


async def test_another_institution_withdraws_nothing(ward: Any) -> None:
    """A decision is ended where it was entered."""
    _, pinfl = await a_person(ward)
    made = await entered(ward, pinfl)
    foreign = Subject(user="other", role=Role.HEAD, organisation="elsewhere")
    with pytest.raises(NotFoundError):
        await api.decisions.withdraw(ward.gateway, foreign, made.id)


# From the doctor to the patient -------------------------------------------------------------------


async def signed(ward: Any, patient: str, **more: Any) -> Any:
    """A signed prescription of it."""
    draft = Draft(patient=patient, diagnosis=SMA, items=(a_line(**more),))
    return await api.sign(ward.gateway, ward.doctor, api.derive(draft))


async def test_without_a_decision_it_is_refused(ward: Any) -> None:
    """None entered, of another person, or withdrawn since: nothing is signed."""
    patient, pinfl = await a_person(ward)
    _, other = await a_person(ward)
    await entered(ward, other)
    with pytest.raises(UnprocessableError, match="no decision 17-K"):
        await signed(ward, patient)
    made = await entered(ward, pinfl)
    await api.decisions.withdraw(ward.gateway, a_head(ward), made.id)
    with pytest.raises(UnprocessableError, match="withdrawn"):
        await signed(ward, patient)


async def test_a_decision_holds_for_all_cards_of_its_person(ward: Any) -> None:
    """Entered for one card, it carries what is signed on another of the same person, and is told
    to the doctor there; after the merge is undone it is the other's alone.
    """
    patient, _ = await a_person(ward)
    second, pinfl = await a_person(ward)
    made = await entered(ward, pinfl)
    async with ward.gateway.unit(ward.doctor) as unit:
        await unit.regroup([[patient, second]])
    known = await api.decisions.of_person(ward.gateway, ward.doctor, patient)
    assert [one.id for one in known] == [made.id]
    assert (await signed(ward, patient)).number
    with pytest.raises(ConflictError, match="already"):
        await entered(ward, pinfl)

    async with ward.gateway.unit(ward.doctor) as unit:
        await unit.regroup([[patient], [second]])
    assert await api.decisions.of_person(ward.gateway, ward.doctor, patient) == []
    with pytest.raises(UnprocessableError, match="no decision 17-K"):
        await signed(ward, patient)


async def test_it_is_signed_with_its_decision(ward: Any) -> None:
    """Words, codes and the decision stand in the record; no offline token; valid no longer."""
    patient, pinfl = await a_person(ward)
    until = clock.today() + timedelta(days=4)
    decision = await entered(ward, pinfl, valid_until=until)
    made = await signed(ward, patient)

    assert made.valid_until == until
    assert (made.items[0].preparation, made.items[0].unregistered) == ("", SYRUP)
    record = await ward.gateway.get(ward.doctor, "MedicationRequest", made.items[0].request)
    assert record["supportingInformation"] == [
        {"reference": f"DocumentReference/{decision.id}"}]
    assert record["medication"]["concept"]["text"].startswith("Risdiplam 0,75 mg/ml")
    assert "reference" not in record["medication"]
    assert (await api.qr_text(ward.gateway, ward.doctor, made.number)).endswith("/")
    slip = await printing.slip_pdf(ward.gateway, ward.doctor, made.number, "uz", "a5")
    assert slip.startswith(b"%PDF")


async def test_a_system_prescribes_it_in_two_steps(ward: Any) -> None:
    """The same by `$prescribe` and `$activate`: the posted extension states it."""
    from dmed.modules.prescriptions.service import activating

    patient, pinfl = await a_person(ward)
    posted = {
        "resourceType": "MedicationRequest", "status": "draft", "intent": "order",
        "medication": {"concept": {"text": "Risdiplam"}},
        "subject": {"reference": f"Patient/{patient}"},
        "extension": [unregistered.extension(SYRUP)],
        "reason": [{"concept": {"coding": [{"system": resources.ICD, "code": SMA}]}}],
        "dispenseRequest": {"quantity": {"value": 2}},
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d", "boundsDuration":
                                  {"value": 16, "unit": "d", "code": "d",
                                   "system": resources.UCUM}}},
            "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "ml"}}]}],
    }  # fmt: skip  # One record.
    draft = activating.together([operations.draft_of(posted)])
    with pytest.raises(UnprocessableError, match="no decision 17-K"):
        await activating.prescribe(ward.gateway, ward.doctor, draft, (posted,), "")
    decision = await entered(ward, pinfl)
    made = await activating.prescribe(ward.gateway, ward.doctor, draft, (posted,), "")
    case = await activating.activate(ward.gateway, ward.doctor, made.number, {})

    record = case.item(1).request
    assert record["status"] == "active"
    assert record["supportingInformation"][-1]["reference"].endswith(decision.id)
    assert unregistered.stated(record) == SYRUP


async def claimed(ward: Any) -> tuple[Any, Decision]:
    """Such a prescription at the counter."""
    patient, pinfl = await a_person(ward)
    decision = await entered(ward, pinfl)
    made = await signed(ward, patient)
    await pharmacy.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    return made, decision


def a_pack(**more: Any) -> Any:
    """What stands on its box."""
    fields: dict[str, Any] = {"marking": "", "quantity": Decimal(2), "lot": "R77",
                              "expiry": clock.today() + timedelta(days=200),
                              "price": Decimal(9_000_000), "trade": "Namuna-sirop"}  # fmt: skip
    return pharmacy.GivenPack(**{**fields, **more})


async def test_the_counter_hands_it_over_by_batch_and_expiry(ward: Any) -> None:
    """No code is asked for: the record keeps batch, expiry and price and says what it was."""
    made, _ = await claimed(ward)
    claim = await pharmacy.supply_unregistered(
        ward.gateway, ward.pharmacist, made.number, 1, a_pack())

    assert claim.item(1).state.value == "dispensed"
    record = await ward.gateway.get(ward.doctor, "MedicationDispense", claim.handed[0].id)
    assert record["contained"][0]["batch"]["lotNumber"] == "R77"
    assert "identifier" not in record["contained"][0]
    systems = {one["system"] for one in record["medication"]["concept"]["coding"]}
    assert medicines.UNREGISTERED_SYSTEM in systems
    assert claim.handed[0].total == Decimal(9_000_000)
    assert claim.handed[0].label["uz"].startswith("Risdiplam")
    back = await pharmacy.undo(ward.gateway, ward.pharmacist, claim.handed[0].id)
    assert back.item(1).dispensed == 0


async def test_a_part_is_handed_over_and_the_rest_after(ward: Any) -> None:
    """Units count as for every medicine: never more than was authorised."""
    made, _ = await claimed(ward)
    one = a_pack(quantity=Decimal(1))
    claim = await pharmacy.supply_unregistered(ward.gateway, ward.pharmacist, made.number, 1, one)
    assert (claim.item(1).dispensed, claim.item(1).state.value) == (1, "part-dispensed")
    with pytest.raises(ConflictError, match="exceed"):
        await pharmacy.supply_unregistered(ward.gateway, ward.pharmacist, made.number, 1, a_pack())


@pytest.mark.parametrize(("more", "said"), [
    ({"lot": ""}, "batch and the expiry"), ({"expiry": None}, "batch and the expiry"),
    ({"expiry": date(2020, 1, 1)}, "expired on"),
])  # fmt: skip  # A table of cases.
async def test_what_is_missing_on_the_box_is_said(
    ward: Any, more: dict[str, Any], said: str
) -> None:
    """Batch and expiry are all that is known of it: nothing goes out without them."""
    made, _ = await claimed(ward)
    with pytest.raises(UnprocessableError, match=said):
        await pharmacy.supply_unregistered(
            ward.gateway, ward.pharmacist, made.number, 1, a_pack(**more))


async def test_a_withdrawn_decision_ends_at_the_counter(ward: Any) -> None:
    """The head withdrew it after the signature: nothing is handed over."""
    made, decision = await claimed(ward)
    await api.decisions.withdraw(ward.gateway, a_head(ward), decision.id)
    with pytest.raises(UnprocessableError, match="withdrawn"):
        await pharmacy.supply_unregistered(
            ward.gateway, ward.pharmacist, made.number, 1, a_pack())


async def test_its_pack_is_no_suspect(ward: Any) -> None:
    """A GTIN that no register knows is a hint here, no refusal that counts and no alert."""
    made, _ = await claimed(ward)
    before = (await pharmacy.today(ward.gateway, ward.pharmacist)).refused_packs
    code = "01" + "09990000000018"[:13]
    digits = code[2:] + str(-sum(int(sign) * (3 if at % 2 == 0 else 1)
                                 for at, sign in enumerate(reversed(code[2:]))) % 10)
    verdict = await pharmacy.scan_pack(
        ward.gateway, ward.pharmacist, made.number, f"01{digits}21ABCDEFGHJKLMN")

    assert (verdict.ok, verdict.item, verdict.is_quarantine) == (False, 1, False)
    assert verdict.reason.key == "pharmacy.verdict.unregistered"
    assert (await pharmacy.today(ward.gateway, ward.pharmacist)).refused_packs == before


async def test_a_registered_medicine_needs_its_code(ward: Any) -> None:
    """The way without a code is open to what the register does not have, and to nothing else."""
    made = await ward.signed()
    await pharmacy.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    with pytest.raises(UnprocessableError, match="marking of its pack is missing"):
        await pharmacy.supply_unregistered(
            ward.gateway, ward.pharmacist, made.number, 1, a_pack())


async def test_no_favourite_keeps_what_was_allowed_to_one_person(ward: Any) -> None:
    """A line of one person's decision is left out; alone it makes no favourite."""
    draft = Draft(patient="p", items=(a_line(),))
    with pytest.raises(InvalidError):
        await api.favourites.keep(ward.gateway, ward.doctor, "SMA", draft)
