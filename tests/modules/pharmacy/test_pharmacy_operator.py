"""The marking operator over HTTP and a real database: its bad days, and our own reuse check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from dmed.apps.sim_marking import MODES, Operator, Server
from dmed.kit import clock
from dmed.kit.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnprocessableError,
)
from dmed.modules.pharmacy import api, operations
from dmed.modules.pharmacy.model import PackState
from dmed.modules.pharmacy.rules import marking, packs
from dmed.modules.pharmacy.rules.gs1 import read
from dmed.modules.pharmacy.rules.packs import Source
from dmed.modules.pharmacy.service import handing, operator
from dmed.modules.pharmacy.service.operator import asl_belgisi
from dmed.modules.prescriptions import api as prescriptions
from dmed.trust.gateway import Gateway

FAULTS = [mode for mode in MODES if mode not in {"", "flat", "slow", "missing"}]


class Till(msgspec.Struct):
    """The ward with an operator of its own."""

    ward: Any
    gateway: Gateway
    server: Server

    @property
    def sim(self) -> Operator:
        return self.server.operator

    async def claimed(self, who: Any) -> Any:
        made = await self.ward.signed()
        await api.claim(self.gateway, who, made.number, made.code)
        return made

    async def scan(self, who: Any, made: Any, raw: str, **more: Any) -> Any:
        return await api.scan_pack(self.gateway, who, made.number, raw, **more)

    def back(self) -> None:
        """The operator is well again, and asked at once."""
        self.sim.mode = ""
        operator.desk_of(self.gateway).breaker = type(operator.desk_of(self.gateway).breaker)()


def _told_of(ward: Any, url: str, **more: Any) -> Gateway:
    settings = msgspec.structs.replace(
        ward.gateway.settings, marking_operator=url,
        **{"marking_per_minute": 100_000, "marking_wait_ms": 3_000, **more})
    return Gateway(ward.gateway._db, settings)


@pytest_asyncio.fixture
async def till(ward: Any) -> AsyncIterator[Till]:
    """A worker that asks a simulated operator over HTTP."""
    server = Server(Operator(per_minute=100_000))
    server.start()
    made = Till(ward=ward, gateway=_told_of(ward, server.url), server=server)
    yield made
    desk = operator.desk_of(made.gateway)
    assert desk is not None
    await desk.close()
    server.stop()


def _name(verdict: Any) -> str:
    return verdict.reason.key.rpartition(".")[2]


def _identity(raw: str) -> str:
    return read(raw).identity


async def test_scans_of_one_moment_are_one_request(till: Till) -> None:
    """Forty packs asked at once go out together; asked again, they are remembered."""
    raws = [till.ward.pack() for _ in range(40)]
    words = await asyncio.gather(*(operator.words(till.gateway, [raw]) for raw in raws))

    assert len(till.sim.asked) == 1
    assert {next(iter(word.values())).source for word in words} == {Source.OPERATOR}
    again = await operator.words(till.gateway, raws)
    assert len(again) == 40
    assert len(till.sim.asked) == 1


@pytest.mark.parametrize("mode", ["", "flat"])
async def test_the_operator_tells_batch_expiry_and_state(till: Till, mode: str) -> None:
    """In both shapes of its answers; a withdrawn pack is refused and put aside."""
    till.sim.mode = mode
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    good = await till.scan(till.ward.pharmacist, made, raw)
    assert good.ok, good.sentence
    assert (good.checked, good.note) == ("operator", None)
    assert good.pack.lot
    assert good.pack.expiry
    bad = await till.scan(till.ward.pharmacist, made, till.ward.pack(serial="WDRB00000000" + (
        "1" if mode else "2")))
    assert (_name(bad), bad.is_quarantine) == ("withdrawn", True)


@pytest.mark.parametrize("mode", FAULTS)
async def test_a_failing_operator_raises_no_alert(till: Till, mode: str) -> None:
    """Whatever it answers, a good pack goes out on our own records, and that is said."""
    till.sim.mode = mode
    made = await till.claimed(till.ward.pharmacist)
    verdict = await till.scan(till.ward.pharmacist, made, till.ward.pack())

    assert verdict.ok, verdict.sentence
    assert (verdict.checked, verdict.is_quarantine) == ("own", False)
    assert verdict.note.key == "pharmacy.note.own_records"
    assert "checked against our own records" in verdict.note_sentence


async def test_a_slow_operator_is_not_waited_for(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan goes on after its wait; what comes later is kept for the next scan."""
    gateway = _told_of(till.ward, till.server.url, marking_wait_ms=100)
    till.sim.mode, till.sim.slow_seconds = "slow", 0.6
    raw = till.ward.pack()
    first = await operator.words(gateway, [raw])
    assert first[_identity(raw)].source is Source.OWN
    await asyncio.sleep(1.2)
    second = await operator.words(gateway, [raw])
    assert second[_identity(raw)].source is Source.OPERATOR
    monkeypatch.setattr(asl_belgisi, "TIMEOUT_S", 0.2)
    other = till.ward.pack()
    assert (await operator.words(gateway, [other], wait_s=2))[_identity(other)].seen is None
    await asyncio.sleep(0.6)


async def test_three_faults_spare_the_operator(till: Till) -> None:
    """Further scans are answered at once from our own records, without asking."""
    till.sim.mode = "error"
    for _ in range(5):
        await operator.words(till.gateway, [till.ward.pack()])
    desk = operator.desk_of(till.gateway)
    assert desk is not None
    assert desk.breaker.is_open(clock.now())
    assert desk.breaker.faults == 3


async def test_all_workers_keep_the_limit_together(ward: Any) -> None:
    """Two workers with one allowance of ten a minute: the operator never has to refuse."""
    server = Server(Operator(per_minute=10))
    server.start()
    workers = [_told_of(ward, server.url, marking_per_minute=10, marking_wait_ms=20 + place)
               for place in range(2)]
    for _ in range(8):
        await asyncio.gather(*(operator.words(each, [ward.pack()]) for each in workers))
    desks = [operator.desk_of(each) for each in workers]
    assert desks[0] is not desks[1]
    for desk in desks:
        await desk.close()
    server.stop()
    assert 1 <= len(server.operator.asked) <= 10
    assert server.operator.refused == 0


async def test_a_429_closes_the_line_for_all(ward: Any) -> None:
    """Its Retry-After is kept by every worker."""
    server = Server(Operator(per_minute=1))
    server.start()
    one, two = (_told_of(ward, server.url, marking_wait_ms=500 + place) for place in range(2))
    await operator.words(one, [ward.pack()])
    await operator.words(one, [ward.pack()])
    assert server.operator.refused == 1
    raw = ward.pack()
    assert (await operator.words(two, [raw]))[_identity(raw)].source is Source.OWN
    assert server.operator.refused == 1
    for each in (one, two):
        await operator.desk_of(each).close()
    server.stop()


async def test_a_pack_at_two_pharmacies_is_caught_with_and_without_the_operator(till: Till) -> None:
    """Handed over here, it is refused there: with the operator, and with the operator down."""
    for mode in ("", "down"):
        till.sim.mode = mode
        here = await till.claimed(till.ward.pharmacist)
        raw = till.ward.pack()
        assert (await till.scan(till.ward.pharmacist, here, raw)).ok
        there = await till.claimed(till.ward.other)
        held = await till.scan(till.ward.other, there, raw)
        assert (_name(held), held.is_quarantine) == ("reserved_elsewhere", True)
        await api.dispense(till.gateway, till.ward.pharmacist, here.number)
        out = await till.scan(till.ward.other, there, raw)
        assert (_name(out), out.fault, out.is_quarantine) == ("dispensed_elsewhere", "pack", True)
    found = await api.alerts(till.gateway, till.ward.other)
    assert {each.reason for each in found[:4]} == {"reserved_elsewhere", "dispensed_elsewhere"}


async def test_eight_scans_at_two_pharmacies_at_once_serve_one(till: Till) -> None:
    """With the operator down, one pack is green for one prescription only."""
    till.sim.mode = "down"
    whose = [till.ward.pharmacist if place % 2 else till.ward.other for place in range(8)]
    made = [await till.claimed(who) for who in whose]
    raw = till.ward.pack()
    verdicts = await asyncio.gather(
        *(till.scan(who, each, raw) for who, each in zip(whose, made, strict=True)))
    assert sum(verdict.ok for verdict in verdicts) == 1
    assert {_name(each) for each in verdicts if not each.ok} <= {"reserved", "reserved_elsewhere"}


async def test_caps_lock_hides_no_reuse_while_the_operator_is_down(till: Till) -> None:
    """A pack that went out with its letters turned is not taken again the right way round."""
    till.sim.mode = "down"
    raw = till.ward.pack()
    identity = _identity(raw)
    turned = identity[:18] + identity[18:].swapcase()
    here = await till.claimed(till.ward.pharmacist)
    assert (await till.scan(till.ward.pharmacist, here, turned)).ok
    await api.dispense(till.gateway, till.ward.pharmacist, here.number)
    there = await till.claimed(till.ward.other)
    assert _name(await till.scan(till.ward.other, there, raw)) == "caps_lock"


async def test_what_went_out_unasked_is_asked_later(till: Till) -> None:
    """When the operator is back, a pack that it does not know is an alert of that pharmacy; a good
    one, and one that its sale took out of circulation, are none; Caps Lock is the scanner.
    """
    till.sim.mode = "down"
    good, sold, bad = (till.ward.pack() for _ in range(3))
    caps = _identity(till.ward.pack())
    caps = caps[:18] + caps[18:].swapcase()
    till.sim.statuses = {_identity(bad): "", _identity(sold): "WITHDRAWN"}
    for raw in (good, sold, bad, caps):
        made = await till.claimed(till.ward.pharmacist)
        assert (await till.scan(till.ward.pharmacist, made, raw)).ok
    before = {each.id for each in await api.alerts(till.gateway, till.ward.pharmacist)}
    await operations.ask_owed(till.gateway)
    till.back()
    await operations.ask_owed(till.gateway)
    await operations.ask_owed(till.gateway)
    found = [each for each in await api.alerts(till.gateway, till.ward.pharmacist)
             if each.id not in before and each.serial in {read(bad).serial, caps[18:]}]
    assert {(each.serial, each.reason, each.fault) for each in found} == {
        (read(bad).serial, "unknown_serial", "pack"), (caps[18:], "caps_lock", "scanner")}
    async with till.gateway.unit(till.ward.pharmacist) as unit:
        left = await unit.fetchval(
            "select count(*) from pharmacy_marking_owed where serial = any($1::text[])",
            [read(raw).serial for raw in (good, sold, bad, caps)])
    assert left == 0


async def test_what_it_told_before_counts_while_it_is_down(till: Till) -> None:
    """A pack that it knew is green with the day; one that it did not know stays refused."""
    made = await till.claimed(till.ward.pharmacist)
    good, bad = till.ward.pack(), till.ward.pack()
    till.sim.statuses = {_identity(bad): ""}
    await operator.words(till.gateway, [good])
    await operator.words(till.gateway, [bad])
    async with till.gateway.unit(till.ward.pharmacist) as unit:
        await unit.execute("update pharmacy_marking set asked = asked - interval '1 day'"
                           " where code = any($1::text[])", [_identity(good), _identity(bad)])
    till.sim.mode = "down"
    verdict = await till.scan(till.ward.pharmacist, made, good)
    day = clock.today() - timedelta(days=1)
    assert verdict.ok
    assert (verdict.checked, verdict.note.values["day"]) == ("remembered", f"{day:%d.%m.%Y}")
    assert verdict.pack.lot
    assert _name(await till.scan(till.ward.pharmacist, made, bad)) == "unknown_serial"


async def test_an_operator_that_forgets_a_pack_is_no_suspect(till: Till) -> None:
    """"Unknown" of a serial that it knew leaves the pack green."""
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    await operator.words(till.gateway, [raw])
    async with till.gateway.unit(till.ward.pharmacist) as unit:
        await unit.execute("update pharmacy_marking set asked = asked - interval '1 day'"
                           " where code = $1", _identity(raw))
    till.sim.statuses = {_identity(raw): ""}
    verdict = await till.scan(till.ward.pharmacist, made, raw)
    assert verdict.ok, verdict.sentence
    assert verdict.checked == "remembered"


async def test_unknown_first_asks_to_look_again(till: Till) -> None:
    """Once is a hint to the scanner, twice an alert; Caps Lock is seen before both."""
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    till.sim.statuses = {_identity(raw): ""}
    first = await till.scan(till.ward.pharmacist, made, raw)
    assert (_name(first), first.fault, first.is_quarantine) == ("unknown_serial", "scanner", False)
    second = await till.scan(till.ward.pharmacist, made, raw)
    assert (second.fault, second.is_quarantine) == ("pack", True)
    lower = _identity(till.ward.pack())
    caps = await till.scan(till.ward.pharmacist, made, lower[:18] + lower[18:].swapcase())
    assert (_name(caps), caps.is_quarantine) == ("caps_lock", False)


async def test_not_in_circulation_yet_is_nobodys_fault(till: Till) -> None:
    """A code that was made and not introduced is refused without an alert."""
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    till.sim.statuses = {_identity(raw): "EMITTED"}
    verdict = await till.scan(till.ward.pharmacist, made, raw)
    assert (_name(verdict), verdict.fault, verdict.is_quarantine) == (
        PackState.NOT_INTRODUCED.value, "data", False)


async def test_an_opened_pack_that_its_sale_withdrew_still_serves(till: Till) -> None:
    """The till's report of the first blister must not make a suspect of the rest."""
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    assert (await till.scan(till.ward.pharmacist, made, raw, quantity=Decimal(6))).ok
    await api.dispense(till.gateway, till.ward.pharmacist, made.number)
    till.sim.statuses = {_identity(raw): "WITHDRAWN"}
    async with till.gateway.unit(till.ward.pharmacist) as unit:
        await unit.execute("delete from pharmacy_marking where code = $1", _identity(raw))
    more = await till.claimed(till.ward.pharmacist)
    verdict = await till.scan(till.ward.pharmacist, more, raw)
    assert verdict.ok, verdict.sentence


async def test_a_policy_may_ask_for_the_operators_word(till: Till) -> None:
    """Where it is needed, an outage stops packs that were not asked ahead, and says so."""
    gateway = _told_of(till.ward, till.server.url, marking_needed=True)
    made = await till.claimed(till.ward.pharmacist)
    ahead, raw = till.ward.pack(), till.ward.pack()
    told = await api.ask_ahead(gateway, till.ward.pharmacist, [ahead])
    assert told[_identity(ahead)].source is Source.OPERATOR
    till.sim.mode = "down"
    refused = await api.scan_pack(gateway, till.ward.pharmacist, made.number, raw)
    assert (_name(refused), refused.fault, refused.is_quarantine) == (
        "operator_away", "data", False)
    assert (await api.scan_pack(gateway, till.ward.pharmacist, made.number, ahead)).ok


async def test_a_tills_refused_pack_leaves_its_alert(till: Till) -> None:
    """`$dispense` with a pack that is out elsewhere is undone whole, and the alert stays."""
    here = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    assert (await till.scan(till.ward.pharmacist, here, raw)).ok
    await api.dispense(till.gateway, till.ward.pharmacist, here.number)
    there = await till.claimed(till.ward.other)
    with pytest.raises(UnprocessableError, match="handed over elsewhere"):
        await handing.dispense_item(till.gateway, till.ward.other, there.number, 1,
                                    [handing.GivenPack(marking=raw)], key="till-1")
    newest = (await api.alerts(till.gateway, till.ward.other))[0]
    assert (newest.serial, newest.reason) == (read(raw).serial, "dispensed_elsewhere")


async def test_an_alert_is_settled_once_by_its_pharmacy(till: Till) -> None:
    """A batch that differs twice puts the pack aside until somebody finds whose fault it was."""
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    for _ in range(2):
        await till.scan(till.ward.pharmacist, made, raw, lot="XX")
    aside = await till.scan(till.ward.pharmacist, made, raw)
    assert _name(aside) == "aside"
    alert = (await api.alerts(till.gateway, till.ward.pharmacist))[0]
    assert (alert.reason, alert.settled_as) == ("lot_mismatch", "")
    with pytest.raises(NotFoundError):
        await api.settle_alert(till.gateway, till.ward.other, alert.id, settled_as="scanner")
    with pytest.raises(InvalidError):
        await api.settle_alert(till.gateway, till.ward.pharmacist, alert.id, settled_as="fake")
    await api.settle_alert(till.gateway, till.ward.pharmacist, alert.id, settled_as="scanner")
    with pytest.raises(NotFoundError):
        await api.settle_alert(till.gateway, till.ward.pharmacist, alert.id, settled_as="pack")
    assert (await till.scan(till.ward.pharmacist, made, raw)).ok
    with pytest.raises(ForbiddenError):
        await api.alerts(till.gateway, till.ward.doctor)


async def test_boxes_are_asked_with_what_lies_in_them(till: Till) -> None:
    """SSCC -> the packs in it; an unknown box is missing; without the operator it is said."""
    box, other = "00" + "123456789012345675", "00" + "000000000000000017"
    packs = [_identity(till.ward.pack()) for _ in range(3)]
    till.sim.boxes = {box: packs}
    answer = await api.ask_boxes(till.gateway, till.ward.pharmacist, [box, other], "309900001")
    assert list(answer.known[box].children) == packs
    assert answer.missing == {other}
    with pytest.raises(InvalidError, match="check digit of this box"):
        await api.ask_boxes(till.gateway, till.ward.pharmacist, [box[:-1] + "9"], "309900001")
    with pytest.raises(ForbiddenError):
        await api.ask_boxes(till.gateway, till.ward.doctor, [box], "309900001")
    till.sim.mode = "down"
    with pytest.raises(UnavailableError):
        await api.ask_boxes(till.gateway, till.ward.pharmacist, [box], "309900001")
    with pytest.raises(UnavailableError, match="No marking operator"):
        await api.ask_boxes(till.ward.gateway, till.ward.pharmacist, [box], "309900001")


async def test_a_receipt_of_thousands_is_few_requests(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,500 packs are three requests; a receipt beyond the limit is refused."""
    gtin = read(till.ward.pack()).gtin
    raws = [f"01{gtin}21Q{number:012d}" for number in range(2_500)]
    words = await api.ask_ahead(till.gateway, till.ward.pharmacist, raws)
    assert {each.source for each in words.values()} == {Source.OPERATOR}
    assert len(till.sim.asked) == 3
    monkeypatch.setattr(marking, "REPORT_CODES_MAX", 2_499)
    with pytest.raises(InvalidError, match="At most 2499"):
        await api.ask_ahead(till.gateway, till.ward.pharmacist, raws)


async def test_a_scan_goes_before_a_receipt(till: Till) -> None:
    """A scan that comes while thousands of codes of a receipt wait is in the first request."""
    gtin = read(till.ward.pack()).gtin
    raws = [f"01{gtin}21V{number:012d}" for number in range(2_100)]
    scanned = till.ward.pack()
    await asyncio.gather(api.ask_ahead(till.gateway, till.ward.pharmacist, raws),
                         operator.words(till.gateway, [scanned]))
    place = next(number for number, codes in enumerate(till.sim.asked)
                 if _identity(scanned) in codes)
    assert len(till.sim.asked) >= 3
    assert till.sim.asked[place][0] == _identity(scanned)


async def test_without_an_operator_nothing_is_owed(till: Till) -> None:
    """Packs of an installation that is connected to none are not kept for asking."""
    made = await till.claimed(till.ward.pharmacist)
    raw = till.ward.pack()
    word = packs.Word(seen=None, source=Source.OWN)
    async with till.gateway.unit(till.ward.pharmacist) as unit:
        case = await prescriptions.open_case(unit, made.number)
        verdict, _ = await handing.scan_in(unit, case, till.ward.pharmacist.organisation, raw,
                                           None, "", None, {_identity(raw): word})
        owed = await unit.fetchval("select count(*) from pharmacy_marking_owed"
                                   " where serial = $1", read(raw).serial)
    assert verdict.ok
    assert owed == 0


def test_a_wrong_address_or_key_is_said_at_once() -> None:
    """Only http and https name a service."""
    with pytest.raises(InvalidError, match="DMED_MARKING_OPERATOR"):
        asl_belgisi.AslBelgisi("ftp://x")
