"""Packs at the counter over a real database: scan, open, hand over, undo."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    NotFoundError,
)
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.model import PackState
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
    unknown = ward.pack(serial="UNK0000000001")
    assert await said(unknown) == ("unknown_serial", "scanner", False)
    assert await said(unknown) == ("unknown_serial", "pack", True)
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


async def test_a_scanned_pack_can_be_taken_out(ward: Any) -> None:
    """Its reservation ends."""
    made = await _claimed(ward)
    verdict = await _green(ward, made)
    claim = await api.claimed(ward.gateway, ward.pharmacist, made.number)
    assert [pack.serial for pack in claim.scanned] == [verdict.pack.serial]
    claim = await api.unscan_pack(ward.gateway, ward.pharmacist, made.number,
                                  verdict.pack.gtin, verdict.pack.serial)
    assert claim.scanned == ()


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
