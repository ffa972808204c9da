"""A pharmacist proposes, the doctor signs or refuses; a person is found without his paper."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ThrottledError,
    UnprocessableError,
)
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.service import finding
from dmed.modules.prescriptions import api as prescriptions

AMOXICILLIN = "amoxicillin-capsule-500mg"
PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"


def weaker() -> str:
    """Key of amoxicillin capsules of another strength."""
    return next(hit.preparation.key for hit in medicines.search("amoksitsillin 250 kapsula")
                if hit.preparation.form.key == "capsule"
                and hit.preparation.key != AMOXICILLIN and hit.preparation.inn.key == "amoxicillin")


async def held(ward: Any) -> Any:
    """A signed prescription that is held by the pharmacy."""
    made = await ward.signed(AMOXICILLIN)
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    return made


async def proposed(ward: Any, **more: Any) -> tuple[Any, Any]:
    """A prescription and the open proposal about it."""
    made = await held(ward)
    wish = api.Wish(**{"kind": "strength", "text": "500 mg yo‘q", "preparation": weaker(), **more})
    return made, await api.propose_change(ward.gateway, ward.pharmacist, made.number, 1, wish)


async def test_a_signed_change_is_a_new_prescription_at_the_same_counter(ward: Any) -> None:
    """Another strength: the amount a day stays, the old item ends, the new one is held here, and
    can be handed over at once.
    """
    made, proposal = await proposed(ward)
    assert proposal in await api.changes_for_me(ward.gateway, ward.doctor)
    assert "500 mg" in proposal.before["uz"]
    done, number = await api.answer_change(
        ward.gateway, ward.doctor, made.number, 1, approve=True)

    assert (done.state, done.made) == ("accepted", number)
    old = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert (old.items[0].state.value, old.items[0].holder) == ("cancelled", "")
    claim = await api.claimed(ward.gateway, ward.pharmacist, number)
    (item,) = claim.prescription.items
    assert claim.held == (1,)
    assert (item.preparation, item.dose) == (weaker(), Decimal(2) * made.items[0].dose)
    assert claim.prescription.replaces == made.number
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, number, ward.pack(weaker()))
    assert verdict.ok, verdict.sentence
    (told,) = await api.changes_about(ward.gateway, ward.pharmacist, made.number)
    assert (told.state, told.made) == ("accepted", number)
    record = await ward.gateway.get(ward.doctor, "Task", proposal.id)
    assert (record["status"], record["intent"]) == ("accepted", "proposal")


async def test_a_refused_change_leaves_the_item_as_it_is(ward: Any) -> None:
    """The answer's words reach the pharmacy; a second answer is 404 and a new proposal possible."""
    made, _ = await proposed(ward, kind="quantity", quantity=Decimal(10))
    done, number = await api.answer_change(
        ward.gateway, ward.doctor, made.number, 1, approve=False, text="To‘liq kurs kerak")

    assert (done.state, number) == ("rejected", "")
    (told,) = await api.changes_about(ward.gateway, ward.pharmacist, made.number)
    assert told.answer == "To‘liq kurs kerak"
    assert (await api.claimed(ward.gateway, ward.pharmacist, made.number)).held == (1,)
    with pytest.raises(NotFoundError):
        await api.answer_change(ward.gateway, ward.doctor, made.number, 1, approve=True)
    await api.propose_change(ward.gateway, ward.pharmacist, made.number, 1, api.Wish(
        kind="quantity", text="qolmadi", quantity=Decimal(14)))


async def test_a_partly_supplied_item_keeps_what_was_handed_over(ward: Any) -> None:
    """The old item is stopped with its part; the new one is for the quantity proposed."""
    made = await held(ward)
    await api.scan_pack(ward.gateway, ward.pharmacist, made.number, ward.pack(),
                        quantity=Decimal(10))
    await api.dispense(ward.gateway, ward.pharmacist, made.number)
    await api.propose_change(ward.gateway, ward.pharmacist, made.number, 1, api.Wish(
        kind="quantity", text="qoldig‘i", quantity=Decimal(8)))
    _, number = await api.answer_change(
        ward.gateway, ward.doctor, made.number, 1, approve=True)

    old = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert (old.items[0].status, old.items[0].dispensed) == ("stopped", Decimal(10))
    new = await prescriptions.prescription(ward.gateway, ward.doctor, number)
    assert new.items[0].quantity == Decimal(8)


@pytest.mark.parametrize(("wish", "error"), [
    ({"kind": "colour", "text": "x"}, InvalidError),
    ({"kind": "quantity", "text": " "}, InvalidError),
    ({"kind": "quantity", "text": "x"}, UnprocessableError),
    ({"kind": "strength", "text": "x", "preparation": "paracetamol-tablet-500mg"},
     UnprocessableError),
    ({"kind": "form", "text": "x", "preparation": AMOXICILLIN}, UnprocessableError),
    ({"kind": "strength", "text": "x", "preparation": "nothing"}, InvalidError),
    ({"kind": "brand", "text": "x", "product": "nothing"}, UnprocessableError),
])
async def test_what_is_no_change_is_refused(
    ward: Any, wish: dict[str, Any], error: type[Exception]
) -> None:
    """Another medicine, the same thing, no reason: each with its sentence, and nothing is asked."""
    made = await held(ward)
    with pytest.raises(error):
        await api.propose_change(ward.gateway, ward.pharmacist, made.number, 1, api.Wish(**wish))
    assert await api.changes_about(ward.gateway, ward.pharmacist, made.number) == []


async def test_who_may_propose_and_answer(ward: Any) -> None:
    """Only the pharmacy that holds the item asks, once; only a doctor of that house answers."""
    made, _ = await proposed(ward)
    wish = api.Wish(kind="quantity", text="x", quantity=Decimal(3))
    with pytest.raises(ConflictError, match="asked already"):
        await api.propose_change(ward.gateway, ward.pharmacist, made.number, 1, wish)
    with pytest.raises(ConflictError, match="not held"):
        await api.propose_change(ward.gateway, ward.other, made.number, 1, wish)
    with pytest.raises(ForbiddenError):
        await api.answer_change(ward.gateway, ward.pharmacist, made.number, 1, approve=True)
    stranger = msgspec.structs.replace(ward.doctor, organisation=ward.other.organisation + "x")
    with pytest.raises(NotFoundError):
        await api.answer_change(ward.gateway, stranger, made.number, 1, approve=True)


# Finding without the paper


async def with_pinfl(ward: Any, pinfl: str) -> str:
    """A person with a PINFL and a telephone."""
    made = await ward.gateway.create(ward.doctor, "Patient", {
        "resourceType": "Patient", "gender": "female", "birthDate": "1980-01-01",
        "identifier": [{"use": "official", "system": PINFL_SYSTEM, "value": pinfl}],
        "telecom": [{"system": "phone", "value": "+998901234567"}],
        "name": [{"family": "Izlanova", "given": ["Namuna"]}]})
    return str(made.id)


async def sent(ward: Any, patient: str) -> list[Any]:
    """What couriers carried to a person, newest first."""
    found: list[Any] = await api.messages(ward.gateway, ward.registrar, [patient])
    return found


async def test_the_patients_code_opens_what_may_be_handed_over(ward: Any) -> None:
    """The code comes by SMS; the list names medicines and no diagnosis; one is taken from it."""
    patient = await with_pinfl(ward, "41501800010011")
    made = await ward.signed(AMOXICILLIN, patient=patient)
    lookup = await api.find_person(ward.gateway, ward.pharmacist, "4150180 0010011")
    text = next(one.text for one in await sent(ward, patient) if one.channel == "sms")
    code = re.findall(r"\d{6}", text)[0]
    with pytest.raises(ForbiddenError, match="2 more tries"):
        await api.open_person(ward.gateway, ward.pharmacist, lookup.id, code="000000"
                              if code != "000000" else "000001")
    with pytest.raises(NotFoundError):
        await api.claim_found(ward.gateway, ward.pharmacist, lookup.id, made.number)
    with pytest.raises(NotFoundError):
        await api.open_person(ward.gateway, ward.other, lookup.id, code=code)
    (found,) = await api.open_person(ward.gateway, ward.pharmacist, lookup.id, code=code)

    assert found.number == made.number
    assert "Amoksitsillin" in found.items[0]["uz"]
    assert "J15" not in str(msgspec.to_builtins(found))
    claim = await api.claim_found(ward.gateway, ward.pharmacist, lookup.id, found.number)
    assert claim.held == (1,)
    foreign = await ward.signed(AMOXICILLIN)
    with pytest.raises(NotFoundError, match="of this person"):
        await api.claim_found(ward.gateway, ward.pharmacist, lookup.id, foreign.number)


async def test_a_reason_opens_it_too_and_the_patient_is_told(ward: Any) -> None:
    """A coded reason with words; the words stand in the patient's messages and in the audit."""
    patient = await with_pinfl(ward, "41501800010022")
    await ward.signed(AMOXICILLIN, patient=patient)
    lookup = await api.find_person(ward.gateway, ward.pharmacist, "41501800010022")
    with pytest.raises(InvalidError, match="reason is needed"):
        await api.open_person(ward.gateway, ward.pharmacist, lookup.id)
    with pytest.raises(InvalidError, match="words"):
        await api.open_person(ward.gateway, ward.pharmacist, lookup.id, reason="emergency")
    found = await api.open_person(ward.gateway, ward.pharmacist, lookup.id, reason="phone-lost",
                                  text="Telefoni yo‘qolgan")

    assert len(found) == 1
    assert any("Telefoni yo‘qolgan" in one.text for one in await sent(ward, patient))


async def test_a_number_alone_tells_nothing(ward: Any) -> None:
    """A PINFL that nobody has is answered alike; three wrong codes end a search; thirty searches
    an hour are the most of a pharmacy.
    """
    lookup = await api.find_person(ward.gateway, ward.other, "41501800019999")
    assert lookup.is_sent
    for _ in range(finding.TRIES_MAX):
        with pytest.raises(ForbiddenError, match="is wrong"):
            await api.open_person(ward.gateway, ward.other, lookup.id, code="12345")
    with pytest.raises(ForbiddenError, match="begin again"):
        await api.open_person(ward.gateway, ward.other, lookup.id, code="12345")
    for _ in range(finding.LOOKUPS_AN_HOUR - 1):
        await api.find_person(ward.gateway, ward.other, "41501800019999")
    with pytest.raises(ThrottledError):
        await api.find_person(ward.gateway, ward.other, "41501800019999")
