"""The counter over a real database: claim, hand over, give back, end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.pharmacy import api, operations
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.model import ItemState

AMOXICILLIN = "amoxicillin-capsule-500mg"
PARACETAMOL = "paracetamol-tablet-500mg"


async def _claimed(ward: Any, *keys: str) -> Any:
    made = await ward.signed(*(keys or (AMOXICILLIN,)))
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    return made


async def _green(ward: Any, made: Any, key: str = AMOXICILLIN, **more: Any) -> Any:
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number,
                                  ward.pack(key, **more))
    assert verdict.ok, verdict.sentence
    return verdict


async def test_the_whole_way(ward: Any) -> None:
    """Scan the QR, scan the packs, hand over: request and Task are completed, the dispense holds
    batch, expiry, GTIN and marking of the pack.
    """
    made = await ward.signed(AMOXICILLIN)
    qr = await prescriptions.qr_text(ward.gateway, ward.doctor, made.number)
    assert api.is_prescription_code(qr)
    claim = await api.claim(ward.gateway, ward.pharmacist, qr)
    assert claim.is_token_valid is True
    assert claim.held == (1,)
    assert claim.item(1).holder == ward.pharmacist.organisation
    assert claim.secrets[1]

    first = await _green(ward, made)
    assert first.quantity == ward.units()  # The whole first pack.
    second = await _green(ward, made, place=1)
    assert first.quantity + second.quantity == 21
    done = await api.dispense(ward.gateway, ward.pharmacist, made.number, key="w1")

    assert done.item(1).state is ItemState.DISPENSED
    assert done.item(1).status == "completed"
    assert done.held == ()
    assert sum(each.quantity for each in done.handed) == 21
    found = await ward.gateway.find(
        ward.doctor, "MedicationDispense", f"prescription=MedicationRequest/{made.items[0].request}"
    )
    assert len(found) == 2
    contained = found[0]["contained"][0]
    systems = {each["system"] for each in contained["identifier"]}
    assert "https://mobile-api.aslbelgisi.uz/marking" in systems
    assert "https://mobile-api.aslbelgisi.uz/gtin" in systems
    assert contained["batch"]["lotNumber"]
    assert contained["batch"]["expirationDate"]
    task = await ward.gateway.get(ward.doctor, "Task", made.items[0].task)
    assert task["status"] == "completed"
    assert task["output"][0]["valueQuantity"]["value"] == 21
    shown = await api.for_person(ward.gateway, ward.doctor, made.patient)
    assert {each.label["uz"] for each in shown} == {"Amoksitsillin 500 mg kapsula"}
    assert {each.packs[0].lot for each in shown} >= {contained["batch"]["lotNumber"]}


async def test_the_short_code_is_enough(ward: Any) -> None:
    """The number and the eight signs under the QR, in any spelling."""
    made = await ward.signed()
    shown = f" {made.code[:4].lower()}-{made.code[4:8].lower()}"
    claim = await api.claim(
        ward.gateway, ward.pharmacist, prescriptions.show_number(made.number), shown
    )
    assert claim.held == (1,)


async def test_a_prescription_is_read_through_a_russian_keyboard(ward: Any) -> None:
    """The QR and the typed code come in Cyrillic when the keyboard is Russian."""
    us = "qwertyuiop[]asdfghjkl;'zxcvbnm,./QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>?$"
    ru = "йцукенгшщзхъфывапролджэячсмитьбю.ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮ,;"
    cyrillic = str.maketrans(us, ru)
    made = await ward.signed()
    qr = await prescriptions.qr_text(ward.gateway, ward.doctor, made.number)
    assert api.is_prescription_code(qr.translate(cyrillic))
    claim = await api.claim(ward.gateway, ward.pharmacist, qr.translate(cyrillic))
    assert claim.is_token_valid is True
    short = made.code[:8].translate(cyrillic)
    assert (await api.claim(ward.gateway, ward.pharmacist, made.number, short)).held == (1,)


async def test_of_sixty_four_claims_one_pharmacy_wins(ward: Any) -> None:
    """Two pharmacies, 64 claims at once: one holds it, the other is told who."""
    made = await ward.signed()
    subjects = [ward.pharmacist if place % 2 else ward.other for place in range(64)]
    answers = await asyncio.gather(
        *(api.claim(ward.gateway, each, made.number, made.code) for each in subjects),
        return_exceptions=True,
    )
    won = {subject.organisation for subject, answer in zip(subjects, answers, strict=True)
           if not isinstance(answer, BaseException)}
    lost = [answer for answer in answers if isinstance(answer, BaseException)]

    assert len(won) == 1
    assert len(lost) == 32
    assert all(isinstance(answer, ConflictError) for answer in lost)
    assert "is with a pharmacy (" in str(lost[0])
    secrets = {answer.secrets[1] for answer in answers if not isinstance(answer, BaseException)}
    assert len(secrets) == 1


async def test_a_wrong_code_is_counted_and_locks(ward: Any) -> None:
    """Four wrong codes are counted, the fifth locks, then even the right one waits."""
    made = await ward.signed()
    for left in (4, 3, 2, 1):
        with pytest.raises(ForbiddenError, match=f"{left} more wrong codes"):
            await api.claim(ward.gateway, ward.pharmacist, made.number, "AAAA-BBBB")
    with pytest.raises(ForbiddenError, match="locked for 15 minutes"):
        await api.claim(ward.gateway, ward.pharmacist, made.number, "AAAA-BBBB")
    with pytest.raises(ForbiddenError, match="locked until"):
        await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)


async def test_a_right_code_ends_the_counting(ward: Any) -> None:
    """After a right code the next wrong one counts from the beginning."""
    made = await ward.signed()
    with pytest.raises(ForbiddenError):
        await api.claim(ward.gateway, ward.pharmacist, made.number, "WRONG")
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    with pytest.raises(ForbiddenError, match="4 more"):
        await api.claim(ward.gateway, ward.other, made.number, "WRONG")


@pytest.mark.parametrize(
    ("text", "code", "error", "said"),
    [
        ("1726-0048-2215-8", "ABCD", InvalidError, "check digit"),
        ("1735-9999-9998-0", "ABCD", NotFoundError, "There is no prescription"),
        ("UZRX:1726", "", InvalidError, "cut off"),
        ("hello", "ABCD", InvalidError, "13 digits"),
    ],
)
async def test_bad_texts_have_clear_sentences(
    ward: Any, text: str, code: str, error: type[DmedError], said: str
) -> None:
    """Wrong check digit, unknown number, a torn QR, and nonsense."""
    if error is NotFoundError:
        from dmed.modules.prescriptions.rules.numbers import make_number

        text = make_number("1735", 99_999_998)
    with pytest.raises(error, match=said):
        await api.claim(ward.gateway, ward.pharmacist, text, code)


async def test_the_code_is_needed_beside_the_number(ward: Any) -> None:
    """The number alone claims nothing."""
    made = await ward.signed()
    with pytest.raises(InvalidError, match="under the QR code"):
        await api.claim(ward.gateway, ward.pharmacist, made.number)


async def test_a_number_alone_shows_nothing(ward: Any) -> None:
    """A pharmacy sees a prescription by its number only while it holds or has handed over."""
    made = await ward.signed()
    with pytest.raises(ForbiddenError, match="has not claimed"):
        await api.claimed(ward.gateway, ward.other, made.number)
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    assert (await api.claimed(ward.gateway, ward.pharmacist, made.number)).held == (1,)
    with pytest.raises(ForbiddenError, match="has not claimed"):
        await api.claimed(ward.gateway, ward.other, made.number)


async def test_a_forged_token_is_refused(ward: Any) -> None:
    """A right code beside a changed token: the signature does not hold."""
    made = await ward.signed()
    qr = await prescriptions.qr_text(ward.gateway, ward.doctor, made.number)
    forged = qr[:-1] + ("A" if qr[-1] != "A" else "B")
    with pytest.raises(ForbiddenError, match="signature in this QR code"):
        await api.claim(ward.gateway, ward.pharmacist, forged)


async def test_only_a_licensed_pharmacist_in_a_pharmacy_claims(ward: Any) -> None:
    """Doctor, registrar, a pharmacist without licence, and one in a clinic are refused."""
    made = await ward.signed()
    unlicensed = msgspec.structs.replace(ward.pharmacist, practitioner_role="none")
    in_clinic = msgspec.structs.replace(ward.pharmacist, organisation=ward.doctor.organisation)
    for subject, said in (
        (ward.doctor, "Only a pharmacist"), (ward.registrar, "Only a pharmacist"),
        (unlicensed, "may not dispense today"), (in_clinic, "is no pharmacy"),
    ):  # fmt: skip  # Pairs.
        with pytest.raises(ForbiddenError, match=said):
            await api.claim(ward.gateway, subject, made.number, made.code)


async def test_one_item_can_be_taken_the_other_elsewhere(ward: Any) -> None:
    """Lease and secret belong to an item."""
    made = await ward.signed(AMOXICILLIN, PARACETAMOL)
    mine = await api.claim(ward.gateway, ward.pharmacist, made.number, made.code, items=(1,))
    theirs = await api.claim(ward.gateway, ward.other, made.number, made.code)

    assert (mine.held, theirs.held) == ((1,), (2,))
    with pytest.raises(ConflictError, match="Item 1 is with a pharmacy"):
        await api.claim(ward.gateway, ward.other, made.number, made.code, items=(1,))


async def test_the_same_key_hands_over_once(ward: Any) -> None:
    """A retry of a hand-over writes nothing; eight at once write one."""
    made = await _claimed(ward)
    await _green(ward, made)
    key = f"d-{made.number}"
    answers = await asyncio.gather(
        *(api.dispense(ward.gateway, ward.pharmacist, made.number, key=key) for _ in range(8))
    )
    assert {len(answer.handed) for answer in answers} == {1}
    with pytest.raises(UnprocessableError, match="another act"):
        await api.return_(ward.gateway, ward.pharmacist, made.number, key=key)
    with pytest.raises(ConflictError, match="No pack is scanned"):
        await api.dispense(ward.gateway, ward.pharmacist, made.number, key=key + "x")


async def test_giving_back_frees_item_secret_and_packs(ward: Any) -> None:
    """After a return another pharmacy claims, with another secret, and the pack is free."""
    made = await ward.signed()
    mine = await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    raw = ward.pack()
    assert (await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)).ok
    back = await api.return_(ward.gateway, ward.pharmacist, made.number, reason="patient-left")
    assert back.held == ()
    assert back.item(1).state is ItemState.TO_BE_DISPENSED
    theirs = await api.claim(ward.gateway, ward.other, made.number, made.code)
    assert theirs.secrets[1] != mine.secrets[1]
    assert (await api.scan_pack(ward.gateway, ward.other, made.number, raw)).ok
    with pytest.raises(ConflictError, match="not held by this pharmacy"):
        await api.return_(ward.gateway, ward.pharmacist, made.number)


async def test_closing_and_refusing_items(ward: Any) -> None:
    """A part is closed with a reason; an untouched item is put back or finally rejected."""
    made = await _claimed(ward)
    with pytest.raises(ConflictError, match="is with a pharmacy"):
        await api.close(ward.gateway, ward.pharmacist, made.number, 1, reason="out-of-stock")
    await _green(ward, made)
    await api.dispense(ward.gateway, ward.pharmacist, made.number)
    closed = await api.close(ward.gateway, ward.pharmacist, made.number, 1, reason="not-required")
    assert (closed.item(1).state, closed.item(1).status) == (ItemState.CLOSED_PART, "completed")

    other = await _claimed(ward)
    with pytest.raises(InvalidError, match="no reason"):
        await api.not_dispensed(ward.gateway, ward.pharmacist, other.number, 1, reason="whim")
    back = await api.not_dispensed(ward.gateway, ward.pharmacist, other.number, 1,
                                   reason="out-of-stock")
    assert back.item(1).state is ItemState.TO_BE_DISPENSED
    await api.claim(ward.gateway, ward.pharmacist, other.number, other.code)
    gone = await api.not_dispensed(ward.gateway, ward.pharmacist, other.number, 1,
                                   reason="unsuitable", final=True)
    assert (gone.item(1).state, gone.item(1).status) == (ItemState.NOT_DISPENSED, "stopped")


async def test_a_cancellation_at_the_counter_is_answered(ward: Any) -> None:
    """The doctor's wish is flagged; the pharmacy accepts it or says too late."""
    made = await _claimed(ward)
    await prescriptions.cancel(ward.gateway, ward.doctor, made.number, reason="contraindicated")
    claim = await api.claimed(ward.gateway, ward.pharmacist, made.number)
    assert claim.item(1).state is ItemState.CANCEL_REQUESTED
    late = await api.answer_cancel(ward.gateway, ward.pharmacist, made.number, 1, accept=False)
    assert late.item(1).state is ItemState.WITH_PHARMACY
    await prescriptions.cancel(ward.gateway, ward.doctor, made.number, reason="contraindicated")
    gone = await api.answer_cancel(ward.gateway, ward.pharmacist, made.number, 1, accept=True)
    assert (gone.item(1).state, gone.item(1).status) == (ItemState.CANCELLED, "cancelled")


async def test_a_lease_that_is_over_ends(ward: Any) -> None:
    """The minute's job frees it; before the job another pharmacy's claim does."""
    over = clock.now() - timedelta(minutes=1)
    for by_job in (True, False):
        made = await _claimed(ward)
        async with ward.gateway.unit(ward.service) as unit:
            task = await unit.get("Task", made.items[0].task, lock=True)
            task["restriction"]["period"]["end"] = over.isoformat(timespec="seconds")
            await unit.update("Task", task["id"], task)
            await unit.execute("update pharmacy_claim set lease_until = $2 where number = $1",
                               made.number, over)
        if by_job:
            await operations.end_leases(ward.gateway)
            read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
            assert read.items[0].state is ItemState.TO_BE_DISPENSED
        theirs = await api.claim(ward.gateway, ward.other, made.number, made.code)
        assert theirs.held == (1,)


async def test_expired_and_cancelled_prescriptions_are_not_claimed(ward: Any) -> None:
    """Each refusal names the state."""
    made = await ward.signed()
    async with ward.gateway.unit(ward.doctor) as unit:
        await unit.execute("update prescription set valid_until = $2 where number = $1",
                           made.number, clock.today() - timedelta(days=1))
    with pytest.raises(ConflictError, match=r"has expired on .* \[state expired\]"):
        await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    made = await ward.signed()
    await prescriptions.cancel(ward.gateway, ward.doctor, made.number, reason="other")
    with pytest.raises(ConflictError, match=r"\[state cancelled\]"):
        await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)


async def test_the_day_and_the_queue(ward: Any) -> None:
    """What is held stands in the queue; what was handed over and refused is counted."""
    before = await api.today(ward.gateway, ward.other)
    made = await ward.signed()
    await api.claim(ward.gateway, ward.other, made.number, made.code)
    queue = await api.queue(ward.gateway, ward.other)
    row = next(each for each in queue if each.number == made.number)
    assert (row.state, row.items, row.patient_name) == ("open", 1, "Sinovova Namuna")
    await api.scan_pack(ward.gateway, ward.other, made.number, ward.pack(PARACETAMOL))
    await api.scan_pack(ward.gateway, ward.other, made.number, ward.pack())
    await api.dispense(ward.gateway, ward.other, made.number)
    after = await api.today(ward.gateway, ward.other)
    assert after.packs == before.packs + 1
    assert after.refused_packs == before.refused_packs + 1
    assert after.handed[0].number == made.number
    with pytest.raises(ForbiddenError):
        await api.queue(ward.gateway, ward.doctor)
