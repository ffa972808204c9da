"""The counter over a real database: claim, scan, hand over, give back, undo."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
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
from dmed.modules.pharmacy.model import PackState
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


async def _pack(ward: Any, gtin: str, serial: str) -> Any:
    async with ward.gateway.unit(ward.pharmacist) as unit:
        return await unit.fetchrow(
            "select state, balance, pharmacy from pharmacy_pack where gtin = $1 and serial = $2",
            gtin, serial,
        )  # fmt: skip  # One query.


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


async def test_wrong_packs_say_why(ward: Any) -> None:
    """Another strength, another medicine, unknown product and serial, and pack states."""
    made = await _claimed(ward)

    async def said(raw: str) -> tuple[str, str, bool]:
        verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)
        assert not verdict.ok
        assert verdict.sentence
        return (verdict.reason.key.rpartition(".")[2], verdict.fault, verdict.is_quarantine)

    assert await said(ward.pack("amoxicillin-capsule-250mg")) == (
        "other_strength", "prescription", False)
    assert await said(ward.pack(PARACETAMOL)) == ("not_prescribed", "prescription", False)
    assert await said(ward.pack(serial="UNK0000000001")) == ("unknown_serial", "pack", True)
    assert await said(ward.pack(serial="RECA000000001")) == ("recalled", "pack", True)
    assert await said(ward.pack(serial="WDRA000000001")) == ("withdrawn", "pack", True)
    assert await said(ward.pack(serial="STLA000000001")) == ("stolen", "pack", True)
    assert await said(ward.pack(serial="EXPA000000001")) == ("expired", "pack", True)
    assert await said("0104607034690022" + "21" + "S" * 13) == ("check_digit", "scanner", False)
    assert await said("0104607034690021" + "21" + "S" * 13) == ("unknown_product", "data", True)
    assert await said("4780001234567") == ("ean13", "scanner", False)


async def test_caps_lock_is_thought_of_first(ward: Any) -> None:
    """A serial that only exists with its case turned is a scanner's fault, no suspect."""
    made = await _claimed(ward)
    raw = ward.pack(serial="sxyZ000000001")
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)

    assert verdict.reason.key == "pharmacy.verdict.caps_lock"
    assert (verdict.fault, verdict.is_quarantine) == ("scanner", False)


async def test_a_swapped_keyboard_and_an_apostrophe_are_read(ward: Any) -> None:
    """The pack is taken although the keyboard was Russian, and its apostrophe is kept."""
    made = await _claimed(ward)
    us = "qwertyuiop[]asdfghjkl;'zxcvbnm,./QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>?"
    ru = "йцукенгшщзхъфывапролджэячсмитьбю.ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮ,"
    raw = ward.pack(serial="S'q/w,e;r'tH1")
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number,
                                  raw.replace("\x1d", "").translate(str.maketrans(us, ru)))
    assert verdict.ok, verdict.sentence
    assert verdict.pack.serial == "S'q/w,e;r'tH1"
    assert "keyboard layout was Cyrillic" in verdict.code_sentence


async def test_batch_and_expiry_on_the_pack_must_agree(ward: Any) -> None:
    """What is typed from the pack is compared with what the operator registered."""
    made = await _claimed(ward)
    raw = ward.pack()
    wrong = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw, lot="XX")
    assert wrong.reason.key == "pharmacy.verdict.lot_mismatch"
    wrong = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw,
                                expiry=clock.today())
    assert wrong.reason.key == "pharmacy.verdict.expiry_mismatch"
    right = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)
    again = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)
    assert right.ok
    assert again.reason.key == "pharmacy.verdict.scanned_already"


async def test_a_pack_goes_out_once(ward: Any) -> None:
    """A pack handed over is refused here and elsewhere."""
    made = await _claimed(ward)
    raw = ward.pack()
    assert (await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)).ok
    await api.dispense(ward.gateway, ward.pharmacist, made.number)

    here = await _claimed(ward)
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, here.number, raw)
    assert verdict.reason.key == "pharmacy.verdict.dispensed_here"
    there = await ward.signed()
    await api.claim(ward.gateway, ward.other, there.number, there.code)
    verdict = await api.scan_pack(ward.gateway, ward.other, there.number, raw)
    assert verdict.reason.key == "pharmacy.verdict.dispensed_elsewhere"
    assert verdict.is_quarantine


async def test_a_pack_scanned_at_two_counters_serves_one(ward: Any) -> None:
    """Sixteen scans of one pack for sixteen prescriptions at once: one turns green."""
    made = await asyncio.gather(*(_claimed(ward) for _ in range(16)))
    raw = ward.pack()
    verdicts = await asyncio.gather(
        *(api.scan_pack(ward.gateway, ward.pharmacist, each.number, raw) for each in made)
    )
    assert sum(verdict.ok for verdict in verdicts) == 1
    assert {verdict.reason.key for verdict in verdicts if not verdict.ok} == {
        "pharmacy.verdict.reserved"
    }


async def test_an_opened_pack_keeps_its_balance_at_one_pharmacy(ward: Any) -> None:
    """Blisters: a part is handed over, the rest serves the next patient here and nobody there."""
    made = await _claimed(ward)
    raw, content = ward.pack(), ward.units()
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw,
                                  quantity=Decimal(6))
    assert verdict.quantity == 6
    claim = await api.dispense(ward.gateway, ward.pharmacist, made.number)
    assert claim.item(1).state is ItemState.PART_DISPENSED
    assert claim.item(1).remaining == 15
    row = await _pack(ward, verdict.pack.gtin, verdict.pack.serial)
    assert (row["state"], row["balance"]) == (PackState.PART_DISPENSED, content - 6)

    there = await ward.signed()
    await api.claim(ward.gateway, ward.other, there.number, there.code)
    refused = await api.scan_pack(ward.gateway, ward.other, there.number, raw)
    assert refused.reason.key == "pharmacy.verdict.opened_elsewhere"
    here = await _claimed(ward)
    more = await api.scan_pack(ward.gateway, ward.pharmacist, here.number, raw,
                               quantity=content - 5)
    assert more.reason.key == "pharmacy.verdict.not_enough_in_pack"
    rest = await api.scan_pack(ward.gateway, ward.pharmacist, here.number, raw)
    assert rest.quantity == content - 6
    await api.dispense(ward.gateway, ward.pharmacist, here.number)
    row = await _pack(ward, verdict.pack.gtin, verdict.pack.serial)
    assert (row["state"], row["balance"]) == (PackState.DISPENSED, 0)


async def test_the_rest_may_be_taken_anywhere(ward: Any) -> None:
    """A released remainder is claimed by another pharmacy, which hands over no more than that."""
    made = await _claimed(ward)
    await _green(ward, made)
    first = await api.dispense(ward.gateway, ward.pharmacist, made.number, release_rest=True)
    left = first.item(1).remaining
    assert first.held == ()
    claim = await api.claim(ward.gateway, ward.other, made.number, made.code)
    assert claim.item(1).state is ItemState.PART_DISPENSED
    verdict = await api.scan_pack(ward.gateway, ward.other, made.number, ward.pack())
    assert verdict.quantity == left
    done = await api.dispense(ward.gateway, ward.other, made.number)
    assert done.item(1).state is ItemState.DISPENSED


async def test_too_much_is_refused_and_enough_is_said(ward: Any) -> None:
    """More than the item needs is refused at the scan; a further pack is not needed."""
    made = await _claimed(ward, PARACETAMOL)
    raw = ward.pack(PARACETAMOL, place=2)
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw,
                                  quantity=Decimal(15))
    assert verdict.reason.key == "pharmacy.verdict.too_much"
    assert verdict.reason.values["most"] == "12"
    key = "azithromycin-film-tablet-500mg"
    made = await _claimed(ward, key)
    await _green(ward, made, key)
    verdict = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, ward.pack(key))
    assert verdict.reason.key == "pharmacy.verdict.enough"


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


async def test_a_scanned_pack_can_be_taken_out(ward: Any) -> None:
    """Its reservation ends."""
    made = await _claimed(ward)
    verdict = await _green(ward, made)
    claim = await api.claimed(ward.gateway, ward.pharmacist, made.number)
    assert [pack.serial for pack in claim.scanned] == [verdict.pack.serial]
    claim = await api.unscan_pack(ward.gateway, ward.pharmacist, made.number,
                                  verdict.pack.gtin, verdict.pack.serial)
    assert claim.scanned == ()


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


async def test_undo_gives_the_pack_its_content_back(ward: Any) -> None:
    """The dispense becomes entered-in-error, the item is in progress here, the pack whole again."""
    made = await _claimed(ward, "fosfomycin-granules-sachet-3g")
    verdict = await _green(ward, made, "fosfomycin-granules-sachet-3g")
    done = await api.dispense(ward.gateway, ward.pharmacist, made.number)
    assert done.item(1).state is ItemState.DISPENSED
    with pytest.raises(ConflictError, match="Only the pharmacy"):
        await api.undo(ward.gateway, ward.other, done.handed[0].id)
    back = await api.undo(ward.gateway, ward.pharmacist, done.handed[0].id)

    assert (back.item(1).state, back.item(1).status) == (ItemState.UNDONE, "active")
    assert back.item(1).dispensed == 0
    assert back.held == (1,)
    record = await ward.gateway.get(ward.doctor, "MedicationDispense", done.handed[0].id)
    assert record["status"] == "entered-in-error"
    row = await _pack(ward, verdict.pack.gtin, verdict.pack.serial)
    assert (row["state"], row["balance"]) == (PackState.IN_CIRCULATION, 1)
    with pytest.raises(ConflictError, match="undone before"):
        await api.undo(ward.gateway, ward.pharmacist, done.handed[0].id)
    with pytest.raises(NotFoundError):
        await api.undo(ward.gateway, ward.pharmacist, "none")


async def test_undo_ends_after_ten_days(ward: Any) -> None:
    """On the eleventh day it is a conflict."""
    made = await _claimed(ward, "fosfomycin-granules-sachet-3g")
    await _green(ward, made, "fosfomycin-granules-sachet-3g")
    done = await api.dispense(ward.gateway, ward.pharmacist, made.number)
    async with ward.gateway.unit(ward.pharmacist) as unit:
        await unit.execute("update pharmacy_handover set at = at - interval '11 days'"
                           " where dispense = $1", done.handed[0].id)
    with pytest.raises(ConflictError, match="within 10 days"):
        await api.undo(ward.gateway, ward.pharmacist, done.handed[0].id)


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


def _posted(made: Any, raw: str, units: int, **more: Any) -> dict[str, Any]:
    """A plain national MedicationDispense."""
    return {
        "resourceType": "MedicationDispense", "status": "completed",
        "contained": [{"resourceType": "Medication", "id": "p", "identifier": [
            {"system": "https://mobile-api.aslbelgisi.uz/marking", "value": raw}]}],
        "medication": {"reference": {"reference": "#p"}},
        "subject": {"reference": f"Patient/{made.patient}"},
        "authorizingPrescription": [
            {"reference": f"MedicationRequest/{made.items[0].request}"}],
        "quantity": {"value": units}, "note": [{"text": "kept"}], **more,
    }  # fmt: skip  # One record.


async def test_a_plain_post_claims_checks_and_dispenses(ward: Any) -> None:
    """In one transaction; a part leaves the request active, the sum completes it."""
    made = await ward.signed()
    first = await operations.create_dispense(
        ward.gateway, ward.pharmacist, _posted(made, ward.pack()[:31], 16))
    record = await ward.gateway.get(ward.doctor, "MedicationDispense", first)
    assert record["note"] == [{"text": "kept"}]
    assert record["contained"][0]["batch"]["lotNumber"]
    read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert (read.items[0].state, read.items[0].dispensed) == (ItemState.PART_DISPENSED, 16)
    await operations.create_dispense(
        ward.gateway, ward.pharmacist, _posted(made, ward.pack(), 5))
    read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert read.items[0].state is ItemState.DISPENSED


async def test_a_refused_plain_post_leaves_nothing(ward: Any) -> None:
    """A bad pack, too much, no pack, a foreign prescription: refused, and no claim remains."""
    made = await ward.signed()
    wrong = ward.pack(PARACETAMOL)
    reference = [{"reference": "MedicationRequest/none"}]
    for resource, error, said in (
        (_posted(made, wrong, 5), UnprocessableError, "not on the prescription"),
        (_posted(made, ward.pack(), 50), ConflictError, "would exceed the 21"),
        (_posted(made, ward.pack(), 5, contained=[]), UnprocessableError, "The pack is missing"),
        (_posted(made, ward.pack(), 5, quantity={}), UnprocessableError, "quantity is missing"),
        (_posted(made, ward.pack(), 5, authorizingPrescription=reference), UnprocessableError,
         "no electronic prescription"),
    ):  # fmt: skip  # A table.
        with pytest.raises(error, match=said):
            await operations.create_dispense(ward.gateway, ward.pharmacist, resource)
    read = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    assert (read.items[0].state, read.items[0].holder) == (ItemState.TO_BE_DISPENSED, "")


async def test_a_plain_sale_without_prescription_is_kept(ward: Any) -> None:
    """A MedicationDispense without an authorizingPrescription is stored as it is."""
    made = await ward.signed()
    resource = _posted(made, "x", 1)
    del resource["authorizingPrescription"]
    record = await operations.create_dispense(ward.gateway, ward.pharmacist, resource)

    found = await ward.gateway.get(ward.doctor, "MedicationDispense", record)
    assert found["quantity"]["value"] == 1
