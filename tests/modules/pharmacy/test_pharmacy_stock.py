"""The stock over a real database: receipt, counter, write-off, move, count, recall."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
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
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.model import ScannedPack
from dmed.modules.pharmacy.rules.stock import Counted
from dmed.modules.pharmacy.service import boxes, counts, handing, recalls, receipts, stock
from dmed.modules.pharmacy.tables import stock as ledger
from dmed.trust.model import Role, Subject

AMOXICILLIN = "amoxicillin-capsule-500mg"
LOSARTAN = "losartan-film-tablet-50mg"
AUTHORITY = Subject(user="inspector", role=Role.INSPECTOR)
_invoices = itertools.count(1)


def keeper(ward: Any, name: str = "") -> Subject:
    """A pharmacist of a pharmacy that nobody else's test has."""
    return Subject(user=f"keeper-{name or 'one'}", role=Role.PHARMACIST, name="Namuna",
                   organisation=f"stock-{secrets.token_hex(4)}")  # fmt: skip  # One subject.


def head(**more: str) -> dict[str, str]:
    """The head of an invoice."""
    day = (clock.today() - timedelta(days=1)).isoformat()
    return {"supplier": "301234567", "number": f"N-{next(_invoices)}", "day": day,
            "supplier_name": "Demo Tarqatuvchi", **more}  # fmt: skip  # Facts of one invoice.


async def received(
    ward: Any, who: Subject, packs: list[str], *, shelf: str = "A-1", price: str = "12000"
) -> int:
    """These packs of one product come in and are accepted; the receipt's number."""
    gtin = packs[0][2:16]
    text = f"gtin;packs;price;shelf\n{gtin};{len(packs)};{price};{shelf}"
    number = await receipts.begin(ward.gateway, who, text, head())
    for pack in packs:
        await receipts.scan(ward.gateway, who, number, pack)
    await receipts.accept(ward.gateway, who, number)
    return number


async def total(ward: Any, who: Subject, gtin: str = "") -> Decimal:
    """What the pharmacy has."""
    async with ward.gateway.unit(who) as unit:
        found = await ledger.balances(unit, who.organisation, [gtin] if gtin else ())
    return sum((one.quantity for one in found), Decimal(0))


async def test_an_invoice_comes_in_once(ward: Any) -> None:
    """The same invoice again is the same receipt, with another content it is refused, and nothing
    stands in stock before the packs are scanned and accepted; accepting again adds nothing.
    """
    who, pack = keeper(ward), ward.pack(AMOXICILLIN)
    gtin, facts = pack[2:16], head()
    text = f"GTIN,packs,price,shelf\n{gtin},2,12 000.50,a-3"
    number = await receipts.begin(ward.gateway, who, text, facts)
    assert await receipts.begin(ward.gateway, who, text, facts) == number
    with pytest.raises(ConflictError, match="another content"):
        await receipts.begin(ward.gateway, who, text.replace(",2,", ",3,"), facts)
    with pytest.raises(ConflictError, match="No good pack"):
        await receipts.accept(ward.gateway, who, number)

    assert (await receipts.scan(ward.gateway, who, number, pack)).fresh == 1
    assert (await receipts.scan(ward.gateway, who, number, pack)).fresh == 0
    found = await receipts.receipt(ward.gateway, who, number)
    assert [(one.invoiced, one.scanned) for one in found.comparison.lines] == [(2, 1)]
    assert await total(ward, who) == 0
    await receipts.accept(ward.gateway, who, number)
    await receipts.accept(ward.gateway, who, number)

    assert await total(ward, who) == ward.units(AMOXICILLIN)
    [batch] = await stock.batches(ward.gateway, who)
    assert (batch.balance.shelf, batch.balance.price) == ("A-3", Decimal("12000.50"))
    assert batch.balance.lot
    assert batch.balance.expiry is not None
    with pytest.raises(ConflictError, match="closed already"):
        await receipts.scan(ward.gateway, who, number, ward.pack(AMOXICILLIN))


async def test_two_at_once_begin_one_receipt(ward: Any) -> None:
    """Eight tills that send one invoice at the same moment get one number."""
    who, facts = keeper(ward), head()
    text = f"gtin;packs\n{ward.pack()[2:16]};1"
    numbers = await asyncio.gather(*(
        receipts.begin(ward.gateway, who, text, facts) for _ in range(4)))

    assert len(set(numbers)) == 1


async def test_a_box_brings_its_packs(ward: Any) -> None:
    """One scan of a transport box checks every pack in it; an unknown box and a misread one say
    so; what the invoice does not ask for stays out of stock.
    """
    who = keeper(ward)
    product = medicines.product("nm-00017")
    box = boxes.demo_sscc(17, 10, secrets.randbelow(90_000))
    number = await receipts.begin(ward.gateway, who, f"gtin;packs\n{product.gtin};8", head())
    done = await receipts.scan(ward.gateway, who, number, f"]C100{box}")
    assert (len(done.packs), done.fresh, done.box) == (10, 10, box)
    with pytest.raises(InvalidError, match="check digit of this box"):
        await receipts.scan(ward.gateway, who, number, f"(00){box[:-1]}{(int(box[-1]) + 1) % 10}")
    with pytest.raises(NotFoundError, match="does not know this box"):
        await receipts.scan(ward.gateway, who, number, f"00{boxes.demo_sscc(17, 0, 1)}")

    found = (await receipts.receipt(ward.gateway, who, number)).comparison
    assert (found.lines[0].scanned, len(found.surplus)) == (8, 2)
    await receipts.accept(ward.gateway, who, number)
    assert await total(ward, who) == 8 * product.pack_units


async def test_bad_packs_stay_out(ward: Any) -> None:
    """Recalled, expired, stolen, unknown, and packs that stand elsewhere or were handed over turn
    red on receipt with their reason, and accepting leaves them out.
    """
    who, other = keeper(ward), keeper(ward, "two")
    there = ward.pack(AMOXICILLIN)
    await received(ward, other, [there])
    good, gtin = ward.pack(AMOXICILLIN), there[2:16]
    serials = ("REC", "EXP", "STL", "UNK")
    bad = [ward.pack(AMOXICILLIN, serial=f"{kind}{secrets.token_hex(5).upper()}")
           for kind in serials]  # fmt: skip  # One each.
    number = await receipts.begin(ward.gateway, who, f"gtin;packs\n{gtin};9", head())
    faults = [(await receipts.scan(ward.gateway, who, number, pack)).packs[0].fault
              for pack in (*bad, there, good)]  # fmt: skip  # In their order.

    assert faults == ["recalled", "expired", "stolen", "unknown-serial", "at-another-pharmacy", ""]
    await receipts.accept(ward.gateway, who, number)
    assert await total(ward, who) == ward.units(AMOXICILLIN)


async def test_the_counter_moves_the_stock(ward: Any) -> None:
    """A hand-over of a whole and of an opened pack takes the units from the shelf of that pack in
    the same transaction, an undo puts them back, and a refused act moves nothing.
    """
    who = ward.pharmacist
    first, second = ward.pack(AMOXICILLIN), ward.pack(AMOXICILLIN)
    gtin, units = first[2:16], ward.units(AMOXICILLIN)
    before = await total(ward, who, gtin)
    shelf = f"T{secrets.token_hex(3)}".upper()
    await received(ward, who, [first, second], shelf=shelf)
    made = await ward.signed(AMOXICILLIN)
    await api.claim(ward.gateway, who, made.number, made.code)
    packs = [handing.GivenPack(marking=first),
             handing.GivenPack(marking=second, quantity=Decimal(3))]  # fmt: skip  # Two packs.
    done, _ = await handing.dispense_item(ward.gateway, who, made.number, 1, packs, key="s1")
    again, _ = await handing.dispense_item(ward.gateway, who, made.number, 1, packs, key="s1")
    assert again == done

    sheet = await stock.sheet(ward.gateway, who, gtin)
    here = [one for one in sheet.batches if one.balance.shelf == shelf]
    assert [one.balance.quantity for one in here] == [units - 3]
    assert [row["left"] for row in sheet.packs if row["shelf"] == shelf] == [units - 3]
    with pytest.raises(UnprocessableError):
        await handing.dispense_item(ward.gateway, who, made.number, 1, packs)
    await api.undo(ward.gateway, who, done[1], key="s2")
    assert await total(ward, who, gtin) == before + units


async def test_what_was_never_received_shows_below_zero(ward: Any) -> None:
    """A pack without a receipt is handed over all the same; the page shows the gap."""
    who = ward.other
    made = await ward.signed(LOSARTAN, diagnosis="I10")
    await api.claim(ward.gateway, who, made.number, made.code)
    pack = handing.GivenPack(marking=ward.pack(LOSARTAN), quantity=Decimal(2))
    await handing.dispense_item(ward.gateway, who, made.number, 1, [pack])

    minus = await stock.batches(ward.gateway, who, only="minus")
    assert any(one.balance.quantity <= -2 for one in minus)


async def test_write_off_issue_and_move(ward: Any) -> None:
    """Each takes what is there and no more, once under its key; a pack that was written off is
    refused at every counter.
    """
    who, gateway = keeper(ward), ward.gateway
    packs = [ward.pack(AMOXICILLIN) for _ in range(3)]
    gtin, units = packs[0][2:16], ward.units(AMOXICILLIN)
    await received(ward, who, packs)
    lot = (await stock.batches(gateway, who))[0].balance.lot
    place = stock.Place(gtin=gtin, lot=lot, shelf="A-1", funding="own", quantity=Decimal(4))
    for _ in range(2):
        await stock.move(gateway, who, place, "b 2", key="m1")
    await stock.write_off(gateway, who, place, "damaged", note="tushib ketdi")
    await stock.issue(gateway, who, place, "Jarrohlik")
    one = stock.Place(gtin=gtin, serial=packs[0][18:31])
    await stock.write_off(gateway, who, one, "damaged")
    with pytest.raises(NotFoundError, match="not in stock"):
        await stock.write_off(gateway, who, one, "damaged")
    with pytest.raises(ConflictError, match="Only"):
        await stock.move(gateway, who, msgspec.structs.replace(place, quantity=units * 3), "C-1")
    with pytest.raises(InvalidError):
        await stock.write_off(gateway, who, place, "because")
    with pytest.raises(InvalidError):
        await stock.move(gateway, who, msgspec.structs.replace(place, quantity=Decimal(-1)), "C-1")

    found = {each.balance.shelf: each.balance.quantity
             for each in await stock.batches(gateway, who)}  # fmt: skip  # By shelf.
    assert found == {"A-1": units * 2 - 12, "B2": Decimal(4)}
    made = await ward.signed(AMOXICILLIN)
    await api.claim(gateway, ward.pharmacist, made.number, made.code)
    verdict = await api.scan_pack(gateway, ward.pharmacist, made.number, packs[0])
    assert (verdict.ok, verdict.reason.key) == (False, "pharmacy.verdict.withdrawn")


async def test_the_ledger_only_grows(ward: Any) -> None:
    """The database itself refuses to change or delete a movement."""
    who = keeper(ward)
    await received(ward, who, [ward.pack(AMOXICILLIN)])
    for act in ("update pharmacy_movement set quantity = 1", "delete from pharmacy_movement"):
        with pytest.raises(asyncpg.PostgresError, match="only added"):
            async with ward.gateway.unit(who) as unit:
                await unit.execute(f"{act} where pharmacy = $1", who.organisation)


async def _act(ward: Any, who: Subject, second: Subject, luck: random.Random, model: Any) -> None:
    """One random act on the stock, and the same on the model: (lot, shelf) -> quantity."""
    gateway, units = ward.gateway, ward.units(AMOXICILLIN)
    act = luck.choice(["receive", "dispense", "dispense", "undo", "write", "move", "issue",
                       "count"])  # fmt: skip  # A list of acts.
    shelf, to = luck.choice(["A", "B"]), luck.choice(["A", "B", "C"])
    amount = Decimal(luck.randint(1, 25))
    key = (model["lot"], shelf)
    place = stock.Place(gtin=model["gtin"], lot=model["lot"], shelf=shelf, funding="own",
                        quantity=amount)  # fmt: skip  # One place.
    if act == "receive":
        packs = [ward.pack(AMOXICILLIN) for _ in range(luck.randint(1, 3))]
        await received(ward, who, packs, shelf=shelf)
        model["packs"] += [(pack[18:31], shelf) for pack in packs]
        model["there"][key] += units * len(packs)
    elif act == "dispense" and model["packs"]:
        serial, at = luck.choice(model["packs"])
        pack = ScannedPack(item=1, gtin=model["gtin"], serial=serial, trade="", quantity=amount,
                           lot=model["lot"], expiry=None, marking="")  # fmt: skip  # A pack.
        document = secrets.token_hex(8)
        async with gateway.unit(who) as unit:
            await stock.went_out(unit, who, pack, document, "1")
        model["out"].append((document, (model["lot"], at), amount))
        model["there"][model["lot"], at] -= amount
    elif act == "undo" and model["out"]:
        document, at, amount = model["out"].pop(luck.randrange(len(model["out"])))
        async with gateway.unit(who) as unit:
            await stock.came_back(unit, who, document)
        model["there"][at] += amount
    elif act in {"write", "issue"}:
        call = stock.write_off if act == "write" else stock.issue
        await call(gateway, who, place, "damaged")
        model["there"][key] -= amount
    elif act == "move":
        await stock.move(gateway, who, place, to)
        model["there"][key] -= amount
        model["there"][model["lot"], to] += amount
    elif act == "count":
        number = await counts.begin(gateway, who, shelf)
        await counts.enter(gateway, who, number, Counted(
            gtin=model["gtin"], lot=model["lot"], quantity=amount))  # fmt: skip  # One entry.
        await counts.end_counting(gateway, who, number)
        await counts.close(gateway, second, number)
        model["there"][key] = amount


@pytest.mark.parametrize("seed", range(3))
async def test_a_balance_is_the_sum_of_its_movements(ward: Any, seed: int) -> None:
    """After any random acts, some of them refused, the balances by batch and shelf are those of a
    model in plain Python, and equal the sum of the movements read one by one.
    """
    luck, who = random.Random(seed), keeper(ward)  # noqa: S311  # A repeatable walk, no secret.
    second = msgspec.structs.replace(who, user="keeper-second")
    first = ward.pack(AMOXICILLIN)
    await received(ward, who, [first], shelf="A")
    lot = (await stock.batches(ward.gateway, who))[0].balance.lot
    from collections import defaultdict

    model: dict[str, Any] = {"gtin": first[2:16], "lot": lot, "packs": [(first[18:31], "A")],
                             "out": [], "there": defaultdict(Decimal)}
    model["there"][lot, "A"] = ward.units(AMOXICILLIN)
    refused = 0
    for _ in range(30):
        try:
            await _act(ward, who, second, luck, model)
        except (ConflictError, InvalidError):
            refused += 1

    now = clock.now() + timedelta(seconds=1)
    async with ward.gateway.unit(who) as unit:
        found = await ledger.balances(unit, who.organisation)
        moved = await ledger.movements(
            unit, who.organisation, now - timedelta(hours=1), now, 10_000)
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in moved:
        sums[one.lot, one.shelf] += one.quantity
    told = defaultdict(Decimal)
    for one in found:
        told[one.lot, one.shelf] += one.quantity
    expected = {key: value for key, value in model["there"].items() if value}
    assert {key: value for key, value in told.items() if value} == expected
    assert {key: value for key, value in sums.items() if value} == expected
    assert refused < 30


async def test_a_count_is_blind_and_needs_two(ward: Any) -> None:
    """Nobody is told what is expected while counting; what is handed over after counting is no
    difference; who counted cannot close; the second person's correction makes the ledger agree.
    """
    who, gateway = keeper(ward), ward.gateway
    second = msgspec.structs.replace(who, user="keeper-second")
    packs = [ward.pack(AMOXICILLIN) for _ in range(3)]
    gtin, units = packs[0][2:16], ward.units(AMOXICILLIN)
    await received(ward, who, packs)
    number = await counts.begin(gateway, who, "")
    with pytest.raises(ConflictError, match="under way"):
        await counts.begin(gateway, who, "")
    assert await counts.scan(gateway, who, number, packs[0], "A-1", None)
    assert not await counts.scan(gateway, who, number, packs[0], "A-1", None)
    assert await counts.scan(gateway, who, number, packs[1], "A-1", Decimal(5))
    assert (await counts.count(gateway, who, number)).differences == ()
    with pytest.raises(ConflictError, match="not over yet"):
        await counts.close(gateway, second, number)
    done = await counts.end_counting(gateway, who, number)
    assert [(one.expected, one.counted) for one in done.differences] == [(units * 3, units + 5)]
    with pytest.raises(ForbiddenError, match="second person"):
        await counts.close(gateway, who, number)
    lot = done.differences[0].lot
    await stock.write_off(gateway, who, stock.Place(
        gtin=gtin, lot=lot, shelf="A-1", funding="own", quantity=Decimal(2)), "damaged")

    closed = await counts.close(gateway, second, number)
    await counts.close(gateway, second, number)
    assert closed.head["state"] == "closed"
    assert await total(ward, who) == units + 5 - 2
    here = (await stock.sheet(gateway, who, gtin)).packs
    assert {row["serial"] for row in here} == {pack[18:31] for pack in packs[:2]}


async def test_what_was_counted_is_handed_over_from_there(ward: Any) -> None:
    """A pharmacy that begins with a count: a scanned pack, and one whose batch was entered by hand,
    go out from the shelf where they were counted, and nothing stands below zero.
    """
    who = ward.other
    key = "azithromycin-film-tablet-500mg"
    key = key if medicines.products_of(key) else AMOXICILLIN
    first, second = ward.pack(key), ward.pack(key)
    gtin, shelf, units = first[2:16], f"C{secrets.token_hex(3)}".upper(), ward.units(key)
    number = await counts.begin(ward.gateway, who, shelf)
    await counts.scan(ward.gateway, who, number, first, "", None)
    lot = (await counts.count(ward.gateway, who, number)).entries[0].lot
    await counts.enter(ward.gateway, who, number, Counted(gtin=gtin, lot=lot, quantity=units))
    await counts.end_counting(ward.gateway, who, number)
    await counts.close(ward.gateway, msgspec.structs.replace(who, user="second"), number)
    made = await ward.signed(key)
    await api.claim(ward.gateway, who, made.number, made.code)
    await handing.dispense_item(ward.gateway, who, made.number, 1, [
        handing.GivenPack(marking=pack, quantity=Decimal(1)) for pack in (first, second)])

    found = [one.balance for one in (await stock.sheet(ward.gateway, who, gtin)).batches]
    assert [one.quantity for one in found if one.shelf == shelf] == [units * 2 - 2]
    assert not any(one.quantity < 0 for one in found)


async def test_a_recall_stops_every_counter(ward: Any, village: Any) -> None:
    """A recall by the authority turns the next scan red in another worker that saw the batch green
    a moment ago, stops a pack that was scanned before it, and names pharmacies and patients.
    """
    gateway, who = ward.gateway, ward.pharmacist
    key, other = "metformin-film-tablet-500mg", type(gateway)(gateway._db, gateway.settings)
    key = key if medicines.products_of(key) else LOSARTAN
    first = await ward.signed(key, diagnosis="I10")
    await api.claim(gateway, who, first.number, first.code)
    pack, waiting = ward.pack(key), ward.pack(key)
    await handing.dispense_item(gateway, who, first.number, 1, [
        handing.GivenPack(marking=pack, quantity=Decimal(1))])  # fmt: skip  # One pack.
    green = await api.scan_pack(other, who, first.number, waiting)
    assert green.ok
    lot = green.pack.lot
    for stranger in (who, ward.doctor):
        with pytest.raises(ForbiddenError, match="authority"):
            await recalls.announce(gateway, stranger, pack[2:16], lot, 1, "Sinov")
    number = await recalls.announce(
        gateway, AUTHORITY, pack[2:16], lot.lower(), 1, "Ifloslanish topildi")
    try:
        with pytest.raises(ConflictError, match="recalled already"):
            await recalls.announce(gateway, AUTHORITY, pack[2:16], lot, 2, "Yana")
        red = await api.scan_pack(other, who, first.number, ward.pack(key))
        assert (red.ok, red.reason.key, red.is_quarantine) == (
            False, "pharmacy.verdict.recalled", True)
        with pytest.raises(ConflictError, match="recalled"):
            await api.dispense(other, who, first.number)
        seen = await recalls.reach(gateway, AUTHORITY, number)
        mine = next(one for one in seen.holders if one.pharmacy == who.organisation)
        assert (mine.handed >= 1, mine.patients >= 1, seen.received) == (True, True, ())
        ours = await recalls.reach(gateway, who, number)
        assert first.patient in {one.patient for one in ours.received}
        assert all(one.name for one in ours.received if one.patient == first.patient)
        theirs = await recalls.reach(gateway, ward.other, number)
        assert first.patient not in {one.patient for one in theirs.received}
    finally:
        await recalls.end(gateway, AUTHORITY, number)
    with pytest.raises(ConflictError):
        await recalls.end(gateway, AUTHORITY, number)
    assert (await api.dispense(gateway, who, first.number)).handed


async def test_another_pharmacy_sees_nothing(ward: Any) -> None:
    """Receipts and counts of a pharmacy are nowhere for another one; a doctor has no stock."""
    who, other, gateway = keeper(ward), keeper(ward, "two"), ward.gateway
    number = await received(ward, who, [ward.pack(AMOXICILLIN)])
    counting = await counts.begin(gateway, who, "")
    for act in (receipts.receipt, receipts.accept, receipts.drop):
        with pytest.raises(NotFoundError):
            await act(gateway, other, number)
    for act in (counts.count, counts.end_counting, counts.close, counts.drop):
        with pytest.raises(NotFoundError):
            await act(gateway, other, counting)
    with pytest.raises(ForbiddenError):
        await stock.batches(gateway, ward.doctor)
    assert await stock.batches(gateway, other) == []
    count = "select count(*) from audit"
    async with gateway.unit(who) as unit:
        before = await unit.fetchval(count)
    await receipts.receipt(gateway, who, number)
    async with gateway.unit(who) as unit:
        assert await unit.fetchval(count) > before


async def test_what_goes_out_first_and_what_to_order(ward: Any) -> None:
    """The counter is told the shelf that expires first; below the least an order is proposed."""
    who, gateway = keeper(ward), ward.gateway
    await received(ward, who, [ward.pack(AMOXICILLIN)], shelf="Z-9")
    hint = (await stock.first_out(gateway, who, [AMOXICILLIN]))[AMOXICILLIN]
    assert hint.shelf == "Z-9"
    assert await stock.orders(gateway, who) == []
    units = ward.units(AMOXICILLIN)
    await stock.set_limits(gateway, who, AMOXICILLIN, units * 2, units * 5)
    [order] = await stock.orders(gateway, who)
    assert (order.packs, order.why) == (4, "limits")
    with pytest.raises(InvalidError):
        await stock.set_limits(gateway, who, AMOXICILLIN, units * 6, units * 5)
    await stock.set_limits(gateway, who, AMOXICILLIN, Decimal(0), Decimal(0))
    assert await stock.orders(gateway, who) == []
