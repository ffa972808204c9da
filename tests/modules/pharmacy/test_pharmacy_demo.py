"""The stock of the synthetic country's pharmacies: repeatable, good to show, put in once."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import msgspec

from dmed.apps.demo.country import UNTIL
from dmed.apps.demo.loading import pharmacies
from dmed.modules.pharmacy import demo
from dmed.modules.pharmacy.rules.stock import band
from dmed.modules.pharmacy.service import recalls, receipts, stock
from dmed.trust.model import Role, Subject


def test_the_same_seed_gives_the_same_stock() -> None:
    """Pharmacy, day and seed decide; another of them is another stock; no serial comes twice."""
    made = demo.stock_of("p1", UNTIL, 1)
    assert made == demo.stock_of("p1", UNTIL, 1)
    others = [demo.stock_of("p2", UNTIL, 1), demo.stock_of("p1", UNTIL, 2)]
    assert all(made.invoice != other.invoice for other in others)
    assert made != demo.stock_of("p1", UNTIL + timedelta(days=1), 1)
    packs = [one for each in pharmacies(20) for one in demo.stock_of(each, UNTIL, 1).packs]
    assert len({(one.gtin, one.serial) for one in packs}) == len(packs) > 100
    assert {len(one.serial) for one in packs} == {13}
    bands = {band(line.expiry, UNTIL) for line in made.invoice.lines}
    assert {"expired", "7", "30", "90", ""} <= bands


async def test_the_stock_pages_have_something_to_show(ward: Any) -> None:
    """Batches, an accepted receipt with its packs, what to order, prices and a recall; put in a
    second time it stays as it is.
    """
    who = Subject(user="keeper", role=Role.PHARMACIST, organisation=f"d-{secrets.token_hex(4)}")
    wanted = next(f"{who.organisation}-{place}" for place in range(100) if any(
        one.lot == demo.RECALLED_LOT
        for one in demo.stock_of(f"{who.organisation}-{place}", UNTIL, 1).invoice.lines))
    who = msgspec.structs.replace(who, organisation=wanted)
    packs = len(demo.stock_of(wanted, UNTIL, 1).packs)

    assert await demo.fill(ward.gateway, [wanted], day=UNTIL, seed=1) == packs
    assert await demo.fill(ward.gateway, [wanted], day=UNTIL, seed=1) == 0
    found = await stock.batches(ward.gateway, who)
    assert len(found) == demo.PRODUCTS + 1
    assert sum(one.is_recalled for one in found) == 1
    listed = await receipts.listed(ward.gateway, who)
    assert [(row["state"], row["packs"], row["scanned"]) for row in listed] == [
        ("accepted", packs, packs)]
    assert len(await stock.orders(ward.gateway, who)) >= 2
    sheet = await stock.sheet(ward.gateway, who, found[-1].balance.gtin)
    assert (sheet.packs, sheet.movements) != ((), ())
    assert any([(await stock.sheet(ward.gateway, who, one.balance.gtin)).retail
                for one in found[:3]])
    reason = [one.reason for one, _ in await recalls.listed(ward.gateway, who)
              if one.lot == demo.RECALLED_LOT]
    assert reason == [demo.RECALL_REASON]
    async with ward.gateway.unit(ward.doctor) as unit:
        await unit.execute("update pharmacy_recall set ended_at = now() where lot = $1",
                           demo.RECALLED_LOT)
