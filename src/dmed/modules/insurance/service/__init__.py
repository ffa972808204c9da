"""Claims are made of what pharmacies claim, sent until answered, settled once, compared nightly."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.kit.errors import ConflictError, UnavailableError
from dmed.modules.insurance import rules, tables
from dmed.modules.insurance.model import Answer, Claim, Difference, Outcome, State
from dmed.modules.insurance.service.fund import Fund, HttpFund
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api as pharmacy
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Actor, Event, ItemState, Who
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

PLATFORM = Subject(user="insurance", role=Role.SERVICE, name="DMED", purpose="HPAYMT")
"""Who claims and settles: a job, no person."""
STRETCH = 200
TAKE = 20
_LEASE = timedelta(minutes=2)
_ASK_AGAIN = timedelta(minutes=10)
_NIGHT_HOUR = 2
_DAYS_MAX = 31
_INSURER = Actor(who=Who.INSURER)
_STATES = {Outcome.PAID: ItemState.PAID, Outcome.REFUSED: ItemState.REFUSED}


def fund_of(gateway: Gateway) -> Fund | None:
    """The fund of this installation; None where none is connected."""
    settings = gateway.settings
    return HttpFund(settings.fund, settings.fund_key) if settings.fund else None


async def keep(gateway: Gateway) -> None:
    """The job of each minute: new claims, those due, and after two at night the day before."""
    fund = fund_of(gateway)
    if fund is None:
        return
    await collect(gateway)
    while await send(gateway, fund):
        pass
    now = clock.now().astimezone(clock.TASHKENT)
    yesterday = now.date() - timedelta(days=1)
    async with gateway.unit(PLATFORM) as unit:
        last = await tables.compared(unit)
    if now.hour >= _NIGHT_HOUR and last < yesterday:
        first = max(last, yesterday - timedelta(days=_DAYS_MAX)) + timedelta(days=1)
        for days in range((yesterday - first).days + 1):
            await reconcile(gateway, fund, first + timedelta(days=days))


async def collect(gateway: Gateway) -> int:
    """Makes a claim of each item that a pharmacy claimed since the last time; how many."""
    made = 0
    while True:
        async with gateway.unit(PLATFORM) as unit:
            at = await tables.position(unit)
        told = await gateway.follow(PLATFORM, ("Task",), at, STRETCH)
        if told.position == at:
            return made
        async with gateway.unit(PLATFORM) as unit:
            if await tables.position(unit, lock=True) != at:
                continue
            for task in told.records.values():
                if task is not None and _is_claimed(task):
                    made += await _claim(unit, task)
            await tables.move(unit, told.position)


def _is_claimed(task: dict[str, Any]) -> bool:
    codings = (task.get("businessStatus") or {}).get("coding") or ()
    return any(coding.get("code") == ItemState.CLAIMED.value for coding in codings)


async def _claim(unit: GatewayUnit, task: dict[str, Any]) -> bool:
    request_id = str(task["focus"]["reference"]).removeprefix("MedicationRequest/")
    request = await unit.get("MedicationRequest", request_id)
    number = str((task.get("groupIdentifier") or {}).get("value", ""))
    item = int(str(task["identifier"][0]["value"]).rpartition("-")[2])
    key = rules.key_of(number, item)
    if request is None or await tables.is_known(unit, key):
        return False
    dispenses = [one for one in await unit.find(
        "MedicationDispense", f"prescription=MedicationRequest/{request_id}&_count=100")
        if one.get("status") == "completed"]
    pharmacy = next((str(actor["actor"]["reference"]).removeprefix("Organization/")
                     for one in dispenses for actor in one.get("performer") or ()
                     if str(actor["actor"].get("reference", "")).startswith("Organization/")), "")
    amount = _amount(dispenses)
    made = await unit.create("Claim", rules.claim(
        key, request, dispenses, pharmacy, amount, clock.now()))
    await tables.add(unit, key, number, item, made.id, pharmacy, amount)
    return True


def _amount(dispenses: list[dict[str, Any]]) -> Decimal | None:
    """What the counters said that the fund pays; where one told no price, what the register's
    ceiling comes to. None where that is unknown, too.
    """
    total = Decimal(0)
    for one in dispenses:
        charge = pharmacy.charge_in(one)
        if charge is not None:
            total += charge.fund
            continue
        contained = (one.get("contained") or [{}])[0]
        codes = [str(each.get("value", "")) for each in contained.get("identifier") or ()]
        found = next((product for code in codes
                      if (product := medicines.product_or_none(code)) is not None), None)
        value = (one.get("quantity") or {}).get("value")
        if found is None or found.price_ceiling is None or value is None:
            return None
        total += found.price_ceiling * Decimal(str(value)) / found.pack_units
    return total.quantize(Decimal("0.01")) if dispenses else None


async def send(gateway: Gateway, fund: Fund) -> int:
    """Sends claims that are due; how many were decided. One without an answer comes again after a
    pause that doubles; the fund is then left alone until the next minute.
    """
    now, settled = clock.now(), 0
    async with gateway.unit(PLATFORM) as unit:
        taken = await tables.take(unit, now, _LEASE, TAKE)
    for place, one in enumerate(taken):
        record = await gateway.get(PLATFORM, "Claim", one.record)
        try:
            answer = await fund.submit(one.key, record)
        except UnavailableError:
            async with gateway.unit(PLATFORM) as unit:
                await tables.wait(unit, one.key, now + rules.pause(one.attempts), one.state)
                for later in taken[place + 1 :]:
                    await tables.wait(unit, later.key, now, later.state)
            return 0
        if answer.outcome is Outcome.PENDING:
            async with gateway.unit(PLATFORM) as unit:
                await tables.wait(unit, one.key, now + _ASK_AGAIN, State.PENDING)
        else:
            settled += await apply(gateway, one, answer, record)
    return settled


async def apply(
    gateway: Gateway, claim: Claim, answer: Answer, record: dict[str, Any]
) -> bool:
    """Settles an item by the fund's decision, in one transaction with its ClaimResponse; False
    where it was settled before. ConflictError where the item stands otherwise.
    """
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        case = await prescriptions.open_case(unit, claim.number)
        if not await tables.answered(unit, answer, now):
            return False
        state = case.item(claim.item).standing.state
        if state is ItemState.CLAIMED:
            event = Event.PAY if answer.outcome is Outcome.PAID else Event.REFUSE_PAYMENT
            await prescriptions.move(
                unit, case, claim.item, event, _INSURER, now, reason=answer.reason)
        elif state is not _STATES[answer.outcome]:
            raise ConflictError(f"{claim.key} is {state} here and {answer.outcome} by the fund")
        await unit.create("ClaimResponse", rules.response(record, answer, now))
    return True


async def reconcile(gateway: Gateway, fund: Fund, day: date) -> list[Difference]:
    """Compares a day (Tashkent) with the fund's list; the differences, kept for people.

    A decision whose answer was lost is taken over from the list. Repeatable: the same day again
    gives the same list; what somebody settled stays settled. UnavailableError keeps the day for the
    next night.
    """
    theirs = await fund.decided(day)
    start = datetime(day.year, day.month, day.day, tzinfo=clock.TASHKENT)
    span = (start, start + timedelta(days=1), [one.key for one in theirs])
    async with gateway.unit(PLATFORM) as unit:
        known = {one.key: one for one in await tables.claims(unit, *span)}
    for line in theirs:
        one = known.get(line.key)
        if one is not None and one.answered is None and line.outcome is not Outcome.PENDING:
            record = await gateway.get(PLATFORM, "Claim", one.record)
            await apply(gateway, one, Answer(
                key=one.key, outcome=line.outcome, amount=line.amount, reason=line.reason), record)
    async with gateway.unit(PLATFORM) as unit:
        ours = await tables.claims(unit, *span)
        found = rules.differences(day, ours, theirs)
        await tables.keep_differences(unit, day, found)
        await tables.note_compared(unit, day)
    return found
