"""Claims to the fund over real HTTP: its failures, one decision each, the comparison at night."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from dmed.apps.sim_fund import Fund, Server
from dmed.kit import clock
from dmed.kit.errors import UnavailableError
from dmed.kit.settings import Settings
from dmed.modules.insurance import rules, service, tables
from dmed.modules.insurance.api import HttpFund
from dmed.modules.insurance.model import Claim, Decided, Kind, Outcome, State
from dmed.modules.insurance.service import PLATFORM
from dmed.modules.pharmacy import api as pharmacy
from dmed.modules.prescriptions import api as prescriptions

LOSARTAN = "losartan-film-tablet-50mg"


@pytest.fixture
def fund() -> Iterator[Server]:
    """A fund of its own, quick to be slow."""
    server = Server(Fund(slow_s=1.0))
    server.start()
    yield server
    server.fund.never.set()
    server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def claimed(ward: Any) -> AsyncIterator[str]:
    """The number of a dispensed item whose pharmacy claims its payment; older claims are gone."""
    made = await ward.signed(LOSARTAN, diagnosis="I10", validity_class="reimbursed")
    await pharmacy.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    left = made.items[0].remaining
    while left > 0:
        taken = min(left, ward.units(LOSARTAN))
        await pharmacy.scan_pack(
            ward.gateway, ward.pharmacist, made.number, ward.pack(LOSARTAN), quantity=taken)
        left -= taken
    await pharmacy.dispense(ward.gateway, ward.pharmacist, made.number)
    await pharmacy.claim_payment(ward.gateway, ward.pharmacist, made.number, 1)
    await service.collect(ward.gateway)
    yield made.number
    async with ward.gateway.unit(PLATFORM) as unit:
        await unit.execute("delete from insurance_claim")
        await unit.execute("delete from insurance_difference")


async def state(ward: Any, number: str) -> str:
    found = await prescriptions.prescription(ward.gateway, ward.doctor, number)
    return found.items[0].state.value


async def again(ward: Any) -> None:
    """Time passes: what waits is due."""
    async with ward.gateway.unit(PLATFORM) as unit:
        await unit.execute("update insurance_claim set due = now() - interval '1 second'")


async def kept(ward: Any) -> list[Claim]:
    async with ward.gateway.unit(PLATFORM) as unit:
        return await tables.latest(unit)


def door(server: Server) -> HttpFund:
    return HttpFund(server.url, timeout_s=0.4)


async def responses(ward: Any, claim: str) -> list[dict[str, Any]]:
    return await ward.gateway.find(PLATFORM, "ClaimResponse", f"request=Claim/{claim}")


async def test_a_claim_is_made_once_sent_and_paid(
    ward: Any, claimed: str, fund: Server
) -> None:
    """One Claim with its hand-overs, one payment, the item paid; nothing is sent again."""
    assert await service.collect(ward.gateway) == 0
    one = (await kept(ward))[0]
    record = await ward.gateway.get(PLATFORM, "Claim", one.record)
    assert record["identifier"][0]["value"] == f"{claimed}-1"
    assert record["item"][0]["quantity"]["value"] > 0
    assert record["prescription"]["reference"].startswith("MedicationRequest/")
    assert await service.send(ward.gateway, door(fund)) == 1
    await again(ward)
    assert await service.send(ward.gateway, door(fund)) == 0

    assert await state(ward, claimed) == "paid"
    assert fund.fund.tries == [f"{claimed}-1"]
    assert len(await responses(ward, one.record)) == 1


async def test_a_refusal_says_why(ward: Any, claimed: str, fund: Server) -> None:
    """The code of the refusal stands with the claim and in its ClaimResponse."""
    fund.fund.mode = "refuse"
    await service.send(ward.gateway, door(fund))
    one = (await kept(ward))[0]
    record = (await responses(ward, one.record))[0]

    assert await state(ward, claimed) == "refused"
    assert one.reason in rules.REFUSALS
    assert record["item"][0]["adjudication"][0]["reason"]["coding"][0]["code"] == one.reason


@pytest.mark.parametrize("mode", ["down", "slow", "lost", "nonsense", "other"])
async def test_a_bad_day_settles_nothing_and_nothing_twice(
    ward: Any, claimed: str, fund: Server, mode: str
) -> None:
    """Whatever goes wrong the item stays claimed; on the good day it is paid once."""
    fund.fund.mode = mode
    assert await service.send(ward.gateway, door(fund)) == 0
    assert await state(ward, claimed) == "claimed"
    assert (await kept(ward))[0].attempts == 1
    fund.fund.mode = ""
    assert await service.send(ward.gateway, door(fund)) == 0  # It waits its time.
    await again(ward)
    assert await service.send(ward.gateway, door(fund)) == 1

    assert await state(ward, claimed) == "paid"
    assert len(fund.fund.decisions) == 1
    assert len(await responses(ward, (await kept(ward))[0].record)) == 1


async def test_a_later_decision_is_asked_for(ward: Any, claimed: str, fund: Server) -> None:
    """What the fund takes and decides later is asked again under the same key."""
    fund.fund.mode = "pending"
    await service.send(ward.gateway, door(fund))
    assert (await kept(ward))[0].state is State.PENDING
    fund.fund.mode = ""
    await again(ward)
    await service.send(ward.gateway, door(fund))

    assert await state(ward, claimed) == "paid"
    assert set(fund.fund.tries) == {f"{claimed}-1"}


async def test_a_lost_answer_is_found_at_night(ward: Any, claimed: str, fund: Server) -> None:
    """The decision whose answer was lost is taken from the fund's list; it is no difference."""
    fund.fund.mode = "lost"
    await service.send(ward.gateway, door(fund))
    fund.fund.mode = ""
    found = await service.reconcile(ward.gateway, door(fund), clock.today())
    twice = await service.reconcile(ward.gateway, door(fund), clock.today())

    assert (found, twice) == ([], [])
    assert await state(ward, claimed) == "paid"


@pytest.mark.parametrize(("mode", "kind"), [
    ("forget", Kind.MISSING_THERE), ("extra", Kind.MISSING_HERE), ("less", Kind.AMOUNT),
    ("turned", Kind.OUTCOME)])
async def test_differences_are_kept_for_people(
    ward: Any, claimed: str, fund: Server, mode: str, kind: Kind
) -> None:
    """Each way to differ stands in the list once, until somebody settles it."""
    await service.send(ward.gateway, door(fund))
    fund.fund.mode = mode
    for _ in range(2):
        await service.reconcile(ward.gateway, door(fund), clock.today())
    async with ward.gateway.unit(PLATFORM) as unit:
        found = await tables.differences(unit)
        assert [one.kind for one in found] == [kind]
        assert await tables.settle(unit, found[0].day, found[0].key, kind.value, "admin")
        assert not await tables.settle(unit, found[0].day, found[0].key, kind.value, "admin")
    await service.reconcile(ward.gateway, door(fund), clock.today())
    async with ward.gateway.unit(PLATFORM) as unit:
        assert await tables.differences(unit) == []
    assert await state(ward, claimed) == "paid"


async def test_a_fund_that_is_away_keeps_the_night(ward: Any, fund: Server) -> None:
    """A list that does not come is an error, never an empty list."""
    fund.fund.mode = "down"
    with pytest.raises(UnavailableError):
        await service.reconcile(ward.gateway, door(fund), clock.today())


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["resourceType", "request", "identifier", "value", "disposition", "item",
                         "payment", "amount"]), inner, max_size=4), max_leaves=12))
def test_no_answer_is_understood_by_chance(record: Any) -> None:
    """Whatever the fund says in place of a ClaimResponse is no answer, and no crash."""
    with pytest.raises(UnavailableError):
        rules.answer_of(record, "1-1")


@given(st.sampled_from(list(Outcome)), st.decimals(0, 10**9, places=2), st.sampled_from(
    rules.REFUSALS))
def test_an_answer_comes_back_as_it_was(outcome: Outcome, amount: Decimal, reason: str) -> None:
    """What is written as ClaimResponse is read as the same answer."""
    answer = rules.Answer(
        key="1-1", outcome=outcome, number="F-1", reason=reason if outcome is Outcome.REFUSED
        else "", amount=amount if outcome is Outcome.PAID else None)
    written = rules.response({"type": {}, "patient": {}}, answer, clock.now())

    assert rules.answer_of(written, "1-1") == answer


def test_the_pause_doubles_up_to_an_hour() -> None:
    """Tries come apart, never further than an hour."""
    pauses = [rules.pause(attempts) for attempts in range(1, 20)]

    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(minutes=2)
    assert pauses[-1] == timedelta(hours=1)


def test_equal_lists_have_no_difference() -> None:
    """The same on both sides is nothing to tell."""
    claim = Claim(key="1-1", number="1", item=1, record="r", pharmacy="p", state=State.PAID,
                  amount=None, made=clock.now(), attempts=1, paid=Decimal(5),
                  answered=clock.now())
    line = Decided(key="1-1", outcome=Outcome.PAID, amount=Decimal(5))

    assert rules.differences(date(2026, 1, 1), [claim], [line]) == []
    assert msgspec.json.decode(msgspec.json.encode(line), type=Decided) == line
    assert service.fund_of(type("G", (), {"settings": Settings()})()) is None
