"""Scan, hand over, undo: packs and MedicationDispense in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock, ids
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError, UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import Claim, Pack, PackState, PackVerdict, ScannedPack
from dmed.modules.pharmacy.rules import acts, dispenses, gs1, packs, prices
from dmed.modules.pharmacy.rules import stock as stock_rules
from dmed.modules.pharmacy.service import operator, stock, unregistered, views
from dmed.modules.pharmacy.service.counter import (
    actor_of,
    once,
    pharmacy_of,
    require_held,
    require_licence,
)
from dmed.modules.pharmacy.tables import marking as marking_table
from dmed.modules.pharmacy.tables import prices as prices_table
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Case, Event
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

RESERVED = timedelta(minutes=10)
LOOK_AGAIN = timedelta(minutes=10)
"""A second refusal of a pack for the same reason within this time is no slip of the scanner."""


class GivenPack(msgspec.Struct, frozen=True, kw_only=True):
    """A pack as a system names it: its marking, and how much of it is handed over."""

    marking: str
    """"" for a medicine outside the register, whose batch and expiry are typed."""
    quantity: Decimal | None = None
    """None: as much as the item still needs, at most the pack's balance."""
    lot: str = ""
    expiry: date | None = None
    price: Decimal | None = None
    """Of the whole pack, in so'm; None: as the pharmacy keeps it."""
    trade: str = ""
    """Name on a pack outside the register."""

    @property
    def supply(self) -> unregistered.Supply:
        """The same of a pack that no register knows."""
        return unregistered.Supply(quantity=self.quantity, lot=self.lot, expiry=self.expiry,
                                   price=self.price, trade=self.trade)  # fmt: skip  # Same.


async def scan(
    gateway: Gateway,
    subject: Subject,
    text: str,
    raw: str,
    quantity: Decimal | None,
    lot: str,
    expiry: date | None,
    price: Decimal | None = None,
) -> PackVerdict:
    """Judge a pack and reserve it when it is green; see `api.scan_pack`."""
    number, price = prescriptions.read_number(text), prices.read(price)
    pharmacy = pharmacy_of(subject)
    words = await operator.words(gateway, [raw])
    async with gateway.unit(subject) as unit:
        case = await prescriptions.open_case(unit, number)
        verdict, code = await scan_in(unit, case, pharmacy, raw, quantity, lot, expiry, words,
                                      price=price)  # fmt: skip  # The order of the pack.
        if not verdict.ok:
            await _keep_refusal(unit, pharmacy, number, verdict, code)
    return verdict


async def _keep_refusal(
    unit: GatewayUnit, pharmacy: str, number: str, verdict: PackVerdict, code: gs1.Code | None
) -> None:
    """A red verdict is counted; one that puts the pack aside is an alert, too."""
    if verdict.reason.key.endswith(f".{packs.UNREGISTERED}"):
        return
    gtin, serial = (code.gtin, code.serial) if code else ("", "")
    await tables.keep_refusal(unit, pharmacy, number, gtin, serial, verdict.reason.key)
    if verdict.is_quarantine:
        name = verdict.reason.key.rpartition(".")[2]
        await marking_table.raise_alert(unit, pharmacy, number, gtin, serial, name, verdict.fault)


class RefusedPackError(UnprocessableError):
    """A pack that a system wanted to hand over turned red; nothing of the act was done."""

    def __init__(self, verdict: PackVerdict, code: gs1.Code | None, where: str) -> None:
        super().__init__(verdict.sentence, where)
        self.verdict = verdict
        self.pack_code = code


async def note_refused(gateway: Gateway, subject: Subject, number: str,
                       refused: RefusedPackError) -> None:
    """After an act was undone by a red pack: what a scan at the counter leaves behind, too."""
    async with gateway.unit(subject) as unit:
        await _keep_refusal(unit, pharmacy_of(subject), number, refused.verdict, refused.pack_code)


async def scan_in(
    unit: GatewayUnit,
    case: Case,
    pharmacy: str,
    raw: str,
    quantity: Decimal | None,
    lot: str,
    expiry: date | None,
    words: Mapping[str, packs.Word],
    *,
    price: Decimal | None = None,
    is_sold: bool = False,
) -> tuple[PackVerdict, gs1.Code | None]:
    """The same inside a unit whose case is locked; the code is None when none could be read.
    `words`: what `operator.words` said before the unit began. `is_sold`: it went out already, so
    that its price is no reason to refuse it.
    """
    code = gs1.read(raw)
    if isinstance(code, gs1.Fault):
        return packs.of_fault(code), None
    now = clock.now()
    product = medicines.product_or_none(code.gtin)
    word = words[code.identity]
    seen = word.seen
    if product is not None and (seen is not None or word.source is packs.Source.OWN):
        # Also a pack that the operator was not asked about: two pharmacies meet in its row.
        await tables.meet_pack(
            unit, code.gtin, code.serial, PackState.IN_CIRCULATION.value, product.pack_units,
            seen.lot if seen else "", seen.expiry if seen else None,
        )  # fmt: skip  # The order of the table.
    before, aside = await marking_table.before(
        unit, pharmacy, code.gtin, code.serial, now - LOOK_AGAIN)
    scan_ = packs.Scan(
        code=code, product=product, word=word, pack=await _pack(unit, code),
        wanted=await _wanted(unit, case, pharmacy, now), number=case.number, pharmacy=pharmacy,
        now=now, today=clock.today(), quantity=quantity, lot=lot, expiry=expiry,
        swapped_is_ours=seen is None and await _is_ours_swapped(unit, code),
        before=frozenset(each.rpartition(".")[2] for each in before), aside=aside,
    )  # fmt: skip  # Everything that a verdict rests on.
    verdict = packs.judge(scan_)
    if verdict.ok and verdict.pack is not None and await stock.check_not_recalled(
        unit, code.gtin, code.serial, verdict.pack.lot
    ):
        return stock_rules.recalled(verdict), code
    if verdict.ok and product is not None:
        verdict = acts.as_named(verdict, prescriptions.product_of(case.item(verdict.item).request),
                                product)  # fmt: skip  # One rule.
    if verdict.ok and product is not None and not is_sold:
        kept = await prices_table.known(unit, pharmacy, code.gtin, code.serial)
        limit = prices.limit_of(product.price_ceiling, seen.price_max if seen else None)
        verdict = prices.checked(verdict, prices.asked(price, *kept, limit))
    if verdict.ok and verdict.pack is not None:
        await tables.keep_hold(unit, code.gtin, code.serial, case.number, verdict.item, pharmacy,
                               verdict.quantity, verdict.pack.lot, verdict.pack.expiry,
                               now + RESERVED, verdict.price)  # fmt: skip  # As in the table.
        if word.is_owed:
            await marking_table.owe(unit, code.gtin, code.serial, pharmacy, case.number)
    return verdict, code


async def _is_ours_swapped(unit: GatewayUnit, code: gs1.Code) -> bool:
    """Whether Caps Lock may hide a pack that we met: without the operator, its serial with letters
    turned lies here as one that was handed over, and this one does not.
    """
    turned = code.serial.swapcase()
    if turned == code.serial:
        return False
    mine = await tables.pack(unit, code.gtin, code.serial)
    other = await tables.pack(unit, code.gtin, turned)
    is_out = other is not None and other["balance"] < other["content"]
    return is_out and (mine is None or mine["balance"] == mine["content"])


async def _pack(unit: GatewayUnit, code: gs1.Code) -> Pack | None:
    row = await tables.pack(unit, code.gtin, code.serial, lock=True)
    if row is None:
        return None
    hold = await tables.hold_of_pack(unit, code.gtin, code.serial)
    return Pack(
        gtin=code.gtin, serial=code.serial, state=PackState(row["state"]),
        content=row["content"], balance=row["balance"],
        pharmacy=(hold["pharmacy"] if hold and not row["pharmacy"] else row["pharmacy"]),
        lot=row["lot"], expiry=row["expiry"],
        reserved_for=hold["number"] if hold else "",
        reserved_until=hold["until"] if hold else None,
    )  # fmt: skip  # Facts of one pack.


async def _wanted(
    unit: GatewayUnit, case: Case, pharmacy: str, now: datetime
) -> tuple[packs.Wanted, ...]:
    """What the held items still need, scanned packs counted off."""
    scanned: dict[int, Decimal] = {}
    for row in await tables.holds(unit, case.number, pharmacy, now):
        scanned[row["item"]] = scanned.get(row["item"], Decimal(0)) + row["quantity"]
    return tuple(
        packs.Wanted(
            item=item.number,
            preparation=prescriptions.preparation_of(item.request),
            is_unregistered=prescriptions.stated(item.request) is not None,
            needed=item.standing.quantity - item.standing.dispensed
            - scanned.get(item.number, Decimal(0)),
        )
        for item in case.items.values()
        if prescriptions.is_held(item, pharmacy)
    )  # fmt: skip  # One row an item.


async def unscan(gateway: Gateway, subject: Subject, text: str, gtin: str, serial: str) -> Claim:
    """Take a scanned pack out again."""
    number = prescriptions.read_number(text)
    async with gateway.unit(subject) as unit:
        await tables.drop_hold(unit, number, pharmacy_of(subject), gtin, serial)
    return await views.claim(gateway, subject, number)


async def dispense(
    gateway: Gateway,
    subject: Subject,
    text: str,
    items: tuple[int, ...],
    receiver: str,
    release_rest: bool,
    key: str,
) -> Claim:
    """Hand over what is scanned; see `api.dispense`."""
    number = prescriptions.read_number(text)
    pharmacy, now = pharmacy_of(subject), clock.now()
    await require_licence(gateway, subject, now)
    async with gateway.unit(subject) as unit:
        case = await prescriptions.open_case(unit, number)
        if await once(unit, subject, key, f"dispense {number}"):
            rows = [row for row in await tables.holds(unit, number, pharmacy, now)
                    if not items or row["item"] in items]  # fmt: skip  # A filter.
            if not rows:
                raise ConflictError("No pack is scanned for this prescription, or its reservation "
                                    "has ended: scan again")  # fmt: skip  # One sentence.
            for item in sorted({row["item"] for row in rows}):
                chosen = [_scanned(row) for row in rows if row["item"] == item]
                await hand_over(unit, subject, case, item, chosen, now, receiver=receiver,
                                release_rest=release_rest)  # fmt: skip  # Who gets what.
    return await views.claim(gateway, subject, number)


async def dispense_item(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    given: list[GivenPack],
    *,
    receiver: str = "",
    release_rest: bool = False,
    key: str = "",
    expected: Mapping[int, int] | None = None,
) -> tuple[list[str], dict[str, Any]]:
    """Check packs and hand them over in one act, for an item held here. Ids of the
    MedicationDispense and the Task afterwards; the same key again gives the same ids and changes
    nothing.

    UnprocessableError says why a pack is refused; nothing is handed over then.
    """
    pharmacy, now = pharmacy_of(subject), clock.now()
    await require_licence(gateway, subject, now)
    words = await operator.words(gateway, [each.marking for each in given if each.marking])
    try:
        async with gateway.unit(subject) as unit:
            case = await prescriptions.open_case(unit, number)
            if not await once(unit, subject, key, f"dispense {number} {item}"):
                return await tables.made_by(unit, pharmacy, key), case.item(item).task
            prescriptions.expect(case, expected)
            require_held(case, item, pharmacy)
            chosen = [await _checked(unit, case, item, pharmacy, each, words) for each in given]
            made = await hand_over(unit, subject, case, item, chosen, now, receiver=receiver,
                                   release_rest=release_rest)  # fmt: skip  # Who gets what.
            if key:
                await tables.end_act(unit, pharmacy, key, made)
            return made, case.item(item).task
    except RefusedPackError as refused:
        await note_refused(gateway, subject, number, refused)
        raise


async def _checked(
    unit: GatewayUnit, case: Case, item: int, pharmacy: str, given: GivenPack,
    words: Mapping[str, packs.Word],
) -> ScannedPack:
    """A pack that may be handed over for this item, or UnprocessableError."""
    if not given.marking:
        return await unregistered.supplied(unit, case, item, given.supply)
    verdict, code = await scan_in(
        unit, case, pharmacy, given.marking, given.quantity, given.lot, given.expiry, words,
        price=prices.read(given.price),
    )
    if not verdict.ok or verdict.pack is None or code is None:
        raise RefusedPackError(verdict, code, "Parameters.parameter")
    if verdict.item != item:
        raise UnprocessableError(
            f"This pack serves item {verdict.item}, not {item}", "Parameters.parameter"
        )
    return ScannedPack(
        item=item, gtin=code.gtin, serial=code.serial, trade="", quantity=verdict.quantity,
        lot=verdict.pack.lot, expiry=verdict.pack.expiry, marking=code.identity,
        price=verdict.price,
    )  # fmt: skip  # Facts of one pack.


def _scanned(row: Any) -> ScannedPack:
    return ScannedPack(
        item=row["item"], gtin=row["gtin"], serial=row["serial"], trade="",
        quantity=row["quantity"], lot=row["lot"], expiry=row["expiry"],
        marking=f"01{row['gtin']}21{row['serial']}", price=row["price"],
    )  # fmt: skip  # Facts of one pack.


async def hand_over(
    unit: GatewayUnit,
    subject: Subject,
    case: Case,
    item: int,
    chosen: list[ScannedPack],
    now: datetime,
    *,
    receiver: str = "",
    release_rest: bool = False,
    base: dict[str, Any] | None = None,
) -> list[str]:
    """Write a MedicationDispense for each pack, take it out of the pack's balance and move the
    item. Their ids.
    """
    actor = actor_of(subject)
    require_held(case, item, actor.organisation)
    standing = case.item(item).standing
    total = sum((pack.quantity for pack in chosen), Decimal(0))
    percent = prescriptions.fund_percent(case.item(item).request)
    event = prescriptions.dispense_event(standing, total, release_rest)
    since = {
        row["item"]: row["since"]
        for row in await tables.claims(unit, case.number, actor.organisation)
    }
    made = []
    for pack in chosen:
        product = medicines.product(pack.gtin) if pack.gtin else None
        charge = prices.of_pack(pack, product.pack_units if product else pack.quantity, percent)
        if product is not None:
            await take_out(unit, pack, actor.organisation)
        record = dispenses.dispense_of(
            case.item(item).request, item, case.number, product, pack,
            performer=subject.practitioner_role, performer_name=subject.name,
            pharmacy=actor.organisation, pharmacy_name=subject.organisation_name, at=now,
            receiver=receiver, base=base, charge=charge,
        )  # fmt: skip  # Who, what, to whom.
        written = await unit.create("MedicationDispense", record)
        if product is not None:
            await stock.went_out(unit, subject, pack, written.id, case.number)
            await tables.drop_hold(unit, case.number, actor.organisation, pack.gtin, pack.serial)
        await tables.keep_handover(
            unit, dispense=written.id, number=case.number, item=item,
            pharmacy=actor.organisation, patient=case.patient,
            preparation=product.preparation.key if product else dispenses.name_of(record),
            unit=dispenses.preparation_in(case.item(item).request, product).form.unit,
            gtin=pack.gtin, serial=pack.serial, lot=pack.lot, expiry=pack.expiry,
            quantity=pack.quantity, at=now,
            seconds=int((now - since[item]).total_seconds()) if item in since else 0,
            instance=standing.instance, price=pack.price,
            total=charge.total if charge else None, fund=charge.fund if charge else None,
        )  # fmt: skip  # One row.
        made.append(written.id)
    moved = await prescriptions.move(
        unit, case, item, event, actor, now, dispensed=standing.dispensed + total,
        actor_name=subject.organisation_name,
    )  # fmt: skip  # Same.
    if not moved.holder:
        await tables.drop_claim(unit, case.number, item)
    return made


async def take_out(unit: GatewayUnit, pack: ScannedPack, pharmacy: str) -> None:
    """Lower a pack's balance under lock; ConflictError when it does not hold so much, or is not
    this pharmacy's.
    """
    row = await tables.pack(unit, pack.gtin, pack.serial, lock=True)
    if row is None:
        raise NotFoundError(f"The pack {pack.marking} was not scanned")
    if row["balance"] < pack.quantity or row["pharmacy"] not in {"", pharmacy}:
        raise ConflictError(
            f"The pack with serial {pack.serial} holds {row['balance']:f} "
            f"[state {row['state']}]; {pack.quantity:f} cannot be handed over from it"
        )
    left = row["balance"] - pack.quantity
    state = PackState.PART_DISPENSED if left > 0 else PackState.DISPENSED
    await tables.change_pack(unit, pack.gtin, pack.serial, state.value, left, pharmacy)


async def undo(
    gateway: Gateway,
    subject: Subject,
    dispense_id: str,
    key: str,
    of: tuple[str, int] | None = None,
    expected: Mapping[int, int] | None = None,
) -> Claim:
    """Take a hand-over back; see `api.undo`. `of`: the number and item that it must be of."""
    actor, now = actor_of(subject), clock.now()
    async with gateway.unit(subject) as unit:
        row = await tables.handover(unit, dispense_id)
        if row is None or (of is not None and (row["number"], row["item"]) != of):
            raise NotFoundError(f"There is no hand-over {dispense_id} of a prescription")
        number = row["number"]
        case = await prescriptions.open_case(unit, number)
        if await once(unit, subject, key, f"undo {dispense_id}"):
            prescriptions.expect(case, expected)
            if row["undone"]:
                raise ConflictError(f"The hand-over {dispense_id} was undone before "
                                    "[state entered-in-error]")  # fmt: skip  # One sentence.
            prescriptions.check_undo(row["at"], row["pharmacy"], actor, now)
            standing = case.item(row["item"]).standing
            prescriptions.check_undo_instance(standing, row["instance"])
            await _undo(unit, subject, case, row, now)
    return await views.claim(gateway, subject, number)


async def _undo(unit: GatewayUnit, subject: Subject, case: Case, row: Any, now: datetime) -> None:
    actor = actor_of(subject)
    record = await unit.get("MedicationDispense", row["dispense"], lock=True)
    if record is None:
        raise NotFoundError(f"There is no MedicationDispense {row['dispense']}")
    version = int(record["meta"]["versionId"])
    await unit.update(
        "MedicationDispense",
        record["id"],
        {**record, "status": "entered-in-error"},
        if_match=version,
    )
    if row["gtin"]:
        await _put_back(unit, row, actor.organisation)
        await stock.came_back(unit, subject, row["dispense"])
    await tables.mark_undone(unit, row["dispense"])
    left = await tables.handed(unit, case.number, row["item"], row["instance"])
    lease = now + prescriptions.LEASE
    await prescriptions.move(
        unit, case, row["item"], Event.UNDO, actor, now,
        actor_name=subject.organisation_name, dispensed=left,
        lease_until=lease,
    )  # fmt: skip  # Who, what, until when.
    await tables.keep_claim(
        unit, case.number, row["item"], actor.organisation, ids.secret(), now, lease
    )


async def _put_back(unit: GatewayUnit, row: Any, pharmacy: str) -> None:
    """What an undone hand-over took out of a pack is in it again."""
    pack = await tables.pack(unit, row["gtin"], row["serial"], lock=True)
    assert pack is not None  # A hand-over keeps its pack's row.
    balance = pack["balance"] + row["quantity"]
    is_whole = balance == pack["content"]
    state = PackState.IN_CIRCULATION if is_whole else PackState.PART_DISPENSED
    await tables.change_pack(
        unit,
        row["gtin"],
        row["serial"],
        state.value,
        balance,
        "" if is_whole else pharmacy,
    )


async def dispense_posted(gateway: Gateway, subject: Subject, resource: dict[str, Any]) -> str:
    """A posted MedicationDispense with status completed: claim, pack check and dispense in one
    transaction (decisions 19). The id of the record.
    """
    now = clock.now()
    await require_licence(gateway, subject, now)
    target = str((resource["authorizingPrescription"][0] or {}).get("reference", ""))
    marking, lot, expiry = dispenses.pack_in(resource)
    amount = (resource.get("quantity") or {}).get("value")
    if amount is None:
        raise UnprocessableError("The quantity is missing", "MedicationDispense.quantity")
    request_id = target.removeprefix("MedicationRequest/")
    async with gateway.unit(subject) as unit:
        number = await prescriptions.number_of_request(unit, request_id)
    number = number or await prescriptions.adopt(gateway, request_id)
    if not number:
        raise UnprocessableError(
            f"{target or 'The reference'} is no electronic prescription",
            "MedicationDispense.authorizingPrescription",
        )
    words = await operator.words(gateway, [marking] if marking else [])
    try:
        async with gateway.unit(subject) as unit:
            case = await prescriptions.open_case(unit, number)
            item = next(each.number for each in case.items.values()
                        if each.request["id"] == request_id)  # fmt: skip  # One search.
            if not marking and prescriptions.stated(case.item(item).request) is None:
                raise UnprocessableError(
                    "The pack is missing: a contained Medication with the marking identifier "
                    f"({dispenses.MARKING_SYSTEM})", "MedicationDispense.contained",
                )  # fmt: skip  # One refusal.
            return await _posted(unit, subject, case, item, resource, (marking, lot, expiry),
                                 Decimal(str(amount)), now, words)  # fmt: skip  # Who gets what.
    except RefusedPackError as refused:
        await note_refused(gateway, subject, number, refused)
        raise


async def _posted(
    unit: GatewayUnit,
    subject: Subject,
    case: Case,
    item: int,
    resource: dict[str, Any],
    pack: tuple[str, str, date | None],
    amount: Decimal,
    now: datetime,
    words: Mapping[str, packs.Word],
) -> str:
    from dmed.modules.pharmacy.service.counter import take

    marking, lot, expiry = pack
    if amount <= 0:
        raise InvalidError("The quantity must be above 0", "MedicationDispense.quantity")
    await take(unit, subject, case, (item,), now)
    prescriptions.dispense_event(case.item(item).standing, amount, False)
    price = prices.read(told.price if (told := prices.in_record(resource)) else None)
    base = {name: value for name, value in resource.items() if name != "contained"}
    base = msgspec.to_builtins(base, builtin_types=(Decimal,))
    if not marking:
        supply = unregistered.Supply(quantity=amount, lot=lot, expiry=expiry, price=price)
        outside = await unregistered.supplied(unit, case, item, supply)
        return (await hand_over(unit, subject, case, item, [outside], now, base=base))[0]
    verdict, refused = await scan_in(
        unit, case, pharmacy_of(subject), marking, amount, lot, expiry, words, price=price,
    )
    if not verdict.ok or verdict.pack is None:
        raise RefusedPackError(verdict, refused, "MedicationDispense.contained")
    if verdict.item != item:
        raise UnprocessableError(
            f"This pack serves item {verdict.item}, not {item}",
            "MedicationDispense.authorizingPrescription",
        )
    code = gs1.read(marking)
    assert isinstance(code, gs1.Code)  # The verdict was green.
    chosen = ScannedPack(
        item=item, gtin=code.gtin, serial=code.serial, trade="", quantity=amount,
        lot=verdict.pack.lot, expiry=verdict.pack.expiry, marking=code.identity,
        price=verdict.price,
    )  # fmt: skip  # Facts of one pack.
    return (await hand_over(unit, subject, case, item, [chosen], now, base=base))[0]
