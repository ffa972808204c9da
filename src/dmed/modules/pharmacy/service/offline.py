"""Reconciliation: acts of a counter without a network are judged here and booked or kept beside.

Each act is one transaction. It is sent again after a lost answer as often as needed: the same act
gets the same answer and does nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    UnprocessableError,
)
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.model import ScannedPack
from dmed.modules.pharmacy.rules import dispenses, gs1, prices
from dmed.modules.pharmacy.rules import offline as rules
from dmed.modules.pharmacy.rules.offline import Act, Facts, Kind, Outcome
from dmed.modules.pharmacy.rules.packs import Word
from dmed.modules.pharmacy.service import counter, handing, operator
from dmed.modules.pharmacy.service import offline_store as store
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Case, Finding, ItemState
from dmed.trust.model import Subject
from dmed.trust.signing import jose
from dmed.trust.signing.model import SignatureError

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

_FITTING = (ConflictError, InvalidError, NotFoundError, PreconditionError, UnprocessableError)
"""What the rules of the counter say of an act that does not fit; anything else is a fault."""
_ENDED = {ItemState.CANCELLED, ItemState.EXPIRED, ItemState.ENTERED_IN_ERROR, ItemState.ON_HOLD,
          ItemState.NOT_DISPENSED, ItemState.FUTURE}  # fmt: skip  # Closed without a hand-over.
_ID_MAX = 64


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer about one act."""

    id: str
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    case: int | None = None
    is_repeated: bool = False
    """It was judged before; this is the same answer again."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """An act as it came: believed to be of the key that it names, and nothing more yet."""

    act: Act
    device: store.Device
    digest: bytes
    signed: str


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """An act that is believed, with what its judgement rests on."""

    sent: Sent
    number: str
    facts: Facts
    findings: tuple[Finding, ...]
    words: Mapping[str, Word]
    """What the marking operator says of the packs now, asked before the unit."""


class UnfitError(Exception):
    """The act does not fit the prescription or the packs: nothing of this unit is kept."""

    def __init__(self, kind: Kind, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.kind, self.finding = kind, finding


async def enrol(gateway: Gateway, subject: Subject, x: str, y: str) -> store.Device:
    """Register the key that a pharmacist's PIN guards on this computer; the same key again is the
    same computer. InvalidError for what is no point of P-256 in base64url.
    """
    pharmacy, now = counter.pharmacy_of(subject), clock.now()
    await counter.require_licence(gateway, subject, now)
    _public(x, y)
    made = store.Device(
        id=jose.thumbprint(x, y), pharmacy=pharmacy, username=subject.user, name=subject.name,
        practitioner=subject.practitioner, practitioner_role=subject.practitioner_role,
        x=x, y=y, since=now, withdrawn=None, last_seq=0,
    )  # fmt: skip  # One key.
    async with gateway.unit(subject) as unit:
        await store.keep_device(unit, made)
        kept = await store.device(unit, made.id)
    assert kept is not None  # It was kept just now.
    if kept.pharmacy != pharmacy or kept.username != subject.user:
        raise ForbiddenError("This key belongs to somebody else")
    await gateway.note(subject, "C", f"offline computer {made.id}")
    return kept


async def withdraw(gateway: Gateway, subject: Subject, id_: str) -> None:
    """Acts of this key count no more from now on; what was done before still does."""
    async with gateway.unit(subject) as unit:
        await store.withdraw(unit, counter.pharmacy_of(subject), id_, clock.now())
    await gateway.note(subject, "U", f"offline computer {id_} withdrawn")


async def computers(gateway: Gateway, subject: Subject) -> list[store.Device]:
    """The computers of the own pharmacy on which a PIN is set, newest first."""
    async with gateway.unit(subject) as unit:
        return await store.devices(unit, counter.pharmacy_of(subject))


def _public(x: str, y: str) -> ec.EllipticCurvePublicKey:
    try:
        return jose.public_key(x, y)
    except ValueError as error:
        raise InvalidError("This is no public key on P-256") from error


async def reconcile(gateway: Gateway, subject: Subject, signed: list[str]) -> list[Result]:
    """Judge acts in the order in which they were made; one answer each, in the same order.

    ForbiddenError when an act is of another pharmacy than the one signed in: it stays in its
    queue and is sent by the right one.
    """
    if len(signed) > rules.ACTS_AT_ONCE:
        raise InvalidError(f"At most {rules.ACTS_AT_ONCE} acts are sent at once")
    counter.pharmacy_of(subject)
    return [await _settle(gateway, subject, each) for each in signed]


async def _settle(gateway: Gateway, subject: Subject, text: str) -> Result:
    sent = await _opened(gateway, subject, text)
    if isinstance(sent, Result):
        return sent
    author = msgspec.structs.replace(
        subject, name=sent.device.name, practitioner=sent.device.practitioner,
        practitioner_role=sent.device.practitioner_role,
    )  # fmt: skip  # Who handed over, whoever sends it.
    licence = await _licence(gateway, author, sent.act.at)
    words = await operator.words(gateway, [pack.raw for pack in sent.act.packs])
    try:
        async with gateway.unit(subject) as unit:
            looked = await _look(unit, gateway, sent, licence, words)
            if isinstance(looked, Result):
                return looked
            made = await _book(unit, author, looked)
            result = await _keep(unit, looked, tuple(made))
    except UnfitError as unfit:
        kind, finding = unfit.kind, unfit.finding
        async with gateway.unit(subject) as unit:
            looked = await _look(unit, gateway, sent, licence, words)
            if isinstance(looked, Result):
                return looked
            looked = msgspec.structs.replace(looked, findings=(finding, *looked.findings))
            beside = await _beside(unit, author, looked)
            result = await _keep(unit, looked, beside, kind)
    await gateway.note(subject, "E", f"offline act {sent.act.id}: {result.outcome.value}")
    return result


async def _opened(gateway: Gateway, subject: Subject, text: str) -> Sent | Result:
    """The act inside a text and the key it names; a Result for what is no act of a known key."""
    try:
        header, payload, signed, signature = jose.read(text.encode())
        act = msgspec.json.decode(payload, type=Act)
    except (SignatureError, msgspec.DecodeError, UnicodeEncodeError):
        return Result(id="", outcome=Outcome.REFUSED, findings=(
            rules.finding("unreadable", "This is no act of a counter"),))
    if not rules.is_plausible(act):
        return Result(id=act.id[:_ID_MAX], outcome=Outcome.REFUSED, findings=(
            rules.finding("unreadable", "This is no act of a counter"),))
    async with gateway.unit(subject) as unit:
        device = await store.device(unit, str(header.get("kid", "")))
    if device is None or not jose.raw_holds(_public(device.x, device.y), signed, signature):
        await gateway.note(subject, "E", f"offline act {act.id}: unknown key", outcome=403)
        return Result(id=act.id, outcome=Outcome.REFUSED, findings=(
            rules.finding("key", "The act is not signed by a known key of a pharmacist"),))
    if device.pharmacy != subject.organisation:
        raise ForbiddenError("These acts are of another pharmacy: sign in there to send them")
    return Sent(act=act, device=device, digest=hashlib.sha256(payload).digest(), signed=text)


async def _licence(gateway: Gateway, author: Subject, at: datetime) -> Finding | None:
    """Whether pharmacy and pharmacist were licensed at the moment of the act."""
    try:
        await counter.require_licence(gateway, author, at)
    except ForbiddenError as refusal:
        return rules.finding("licence", str(refusal))
    return None


async def _look(
    unit: GatewayUnit, gateway: Gateway, sent: Sent, licence: Finding | None,
    words: Mapping[str, Word],
) -> Looked | Result:
    """What the act's judgement rests on, under the lock of its key; a Result for one that was
    judged before or is not believed.
    """
    act = sent.act
    device = await store.device(unit, sent.device.id, lock=True)
    assert device is not None  # Keys are never deleted.
    before = await store.act(unit, act.id)
    if before is not None and (
        before.outcome is not Outcome.WAITING or before.digest != sent.digest
    ):
        return _again(before, sent.digest)
    now, token, fault, is_waited_for = clock.now(), None, "", False
    try:
        read = await prescriptions.read_token(unit, gateway.settings, act.token)
        token = read.token
        is_waited_for = read.is_offline and await _is_on_its_way(unit, act, token.number, now)
    except InvalidError as refusal:
        fault = str(refusal)
    if token is not None and not 1 <= act.item <= len(token.items):
        fault = f"it has no item {act.item}"
    day = datetime.combine(rules.local_day(act.at), time(), clock.TASHKENT)
    facts = Facts(
        now=now, token_fault=fault,
        signed=token.signed_on if token else None,
        # One that waited is no gap now.
        last_seq=act.seq - 1 if before is not None else device.last_seq,
        is_seq_taken=await store.is_seq_taken(unit, device.id, act.seq, act.id),
        # One that waited is counted already, and is none before itself.
        acts_that_day=await store.count_acts(
            unit, device.pharmacy, day, day + timedelta(days=1)) - (before is not None),
    )  # fmt: skip  # Facts of one act.
    number = f"{token.number:013d}" if token else ""
    wrong = rules.disbelieved(act, facts)
    if wrong is None and device.withdrawn is not None and act.at >= device.withdrawn:
        wrong = rules.finding("withdrawn", "The key of that computer was withdrawn before")
    await store.advance(unit, device.id, act.seq)
    if wrong is not None:
        kept = _record(sent, number, now, Outcome.REFUSED, (wrong,))
        await store.keep_act(unit, kept)
        return Result(id=act.id, outcome=Outcome.REFUSED, findings=(wrong,))
    if is_waited_for:
        said = rules.finding("waiting", "The doctor wrote it without a network and has not sent "
                             "it yet: this act waits for it")  # fmt: skip  # One sentence.
        await store.keep_act(unit, _record(sent, number, now, Outcome.WAITING, (said,)))
        return Result(id=act.id, outcome=Outcome.WAITING, findings=(said,))
    return Looked(sent=sent, number=number, facts=facts, words=words,
                  findings=(licence,) if licence else ())  # fmt: skip  # What is known.


async def _is_on_its_way(unit: GatewayUnit, act: Act, number: int, now: datetime) -> bool:
    """Whether a prescription written without a network may still come; after ten days nobody
    waits, and the act is judged without it.
    """
    if prescriptions.is_late(act.at, now):
        return False
    return await prescriptions.is_on_its_way(unit, f"{number:013d}")


def _again(before: store.Kept, digest: bytes) -> Result:
    if before.digest != digest:
        return Result(id=before.id, outcome=Outcome.REFUSED, findings=(
            rules.finding("reused", "The number of this act was used for another act"),))
    return Result(id=before.id, outcome=before.outcome, findings=before.findings,
                  case=before.opened, is_repeated=True)  # fmt: skip  # The same answer.


def _record(
    sent: Sent, number: str, now: datetime, outcome: Outcome, findings: tuple[Finding, ...],
    made: tuple[str, ...] = (), opened: int | None = None,
) -> store.Kept:  # fmt: skip  # One row.
    return store.Kept(
        id=sent.act.id, digest=sent.digest, pharmacy=sent.device.pharmacy, device=sent.device.id,
        number=number, item=sent.act.item, at=sent.act.at, received=now, outcome=outcome,
        findings=findings, dispenses=made, opened=opened, signed=sent.signed, seq=sent.act.seq,
    )  # fmt: skip  # One row.


async def _book(unit: GatewayUnit, author: Subject, looked: Looked) -> list[str]:
    """The same claim and hand-over as online, at the moment of the act. UnfitError says why the
    prescription or a pack does not allow it.
    """
    act, now = looked.sent.act, looked.facts.now
    try:
        case = await prescriptions.open_case(unit, looked.number)
        item = case.item(act.item)
    except NotFoundError as refusal:
        raise UnfitError(Kind.CLOSED, rules.finding("unknown", str(refusal))) from refusal
    # A course that ended between the act and its sending was valid when it was handed over.
    is_over = rules.local_day(now) > item.valid_until
    moment = min(act.at, now) if is_over else now
    standing = item.standing
    late = rules.expired(act, item.valid_until)
    if late is not None:
        raise UnfitError(Kind.CLOSED, late)
    try:
        await counter.take(unit, author, case, (act.item,), moment)
        total = sum((pack.quantity for pack in act.packs), Decimal(0))
        prescriptions.dispense_event(case.item(act.item).standing, total, True)
    except _FITTING as refusal:
        name, kind = ("closed", Kind.CLOSED) if standing.state in _ENDED else ("double",
                                                                               Kind.DOUBLE)
        raise UnfitError(kind, rules.finding(name, str(refusal))) from refusal
    chosen = [await _pack(unit, case, author, looked, place) for place in range(len(act.packs))]
    base = _base(act, "")
    try:
        made = await handing.hand_over(unit, author, case, act.item, chosen, now,
                                       release_rest=True, base=base)  # fmt: skip  # Who gets what.
    except _FITTING as refusal:
        raise UnfitError(Kind.PACK, rules.finding("pack", str(refusal))) from refusal
    await store.date_handovers(unit, made, act.at)
    return made


async def _pack(
    unit: GatewayUnit, case: Case, author: Subject, looked: Looked, place: int
) -> ScannedPack:
    """One pack of the act, judged as a scan is; UnfitError with the counter's own sentence."""
    act = looked.sent.act
    given = act.packs[place]
    verdict, code = await handing.scan_in(
        unit, case, author.organisation, given.raw, given.quantity, given.lot, given.expiry,
        looked.words, is_sold=True)
    if not verdict.ok or verdict.pack is None or code is None:
        raise UnfitError(Kind.PACK, Finding(verdict.reason, verdict.sentence))
    if verdict.item != act.item:
        raise UnfitError(Kind.PACK, rules.finding(
            "other_item", f"This pack serves item {verdict.item}, not {act.item}",
            item=str(verdict.item)))  # fmt: skip  # One finding.
    return ScannedPack(
        item=act.item, gtin=code.gtin, serial=code.serial, trade="", quantity=given.quantity,
        lot=verdict.pack.lot, expiry=verdict.pack.expiry, marking=code.identity,
        price=given.price if prices.is_price(given.price) else None,
    )  # fmt: skip  # Facts of one pack.


def _prices(looked: Looked) -> list[Finding]:
    """Packs that were sold above what limited their price on that day: by the register that was in
    force then, and the marking operator's word of now.
    """
    found = []
    for given in looked.sent.act.packs:
        code = gs1.read(given.raw)
        if isinstance(code, gs1.Fault) or given.price is None:
            continue
        seen = looked.words[code.identity].seen
        product = _on_the_day(code.gtin, looked.sent.act.at)
        limit = prices.limit_of(product.price_ceiling if product else None,
                                seen.price_max if seen else None)  # fmt: skip  # Two limits.
        found.append(rules.asked_too_much(given.price, limit))
    return [each for each in found if each is not None]


def _on_the_day(gtin: str, at: datetime) -> medicines.Product | None:
    try:
        return medicines.product(gtin, at)
    except NotFoundError:
        return medicines.product_or_none(gtin)


def _base(act: Act, more: str) -> dict[str, Any]:
    at = dispenses.moment(act.at)
    text = f"Handed over without a network{more}"
    return {"whenPrepared": at, "whenHandedOver": at, "note": [{"text": text}]}


async def _beside(unit: GatewayUnit, author: Subject, looked: Looked) -> tuple[str, ...]:
    """What was handed over although it does not fit is kept as a MedicationDispense without
    `authorizingPrescription`: the card must show what the person has. Nothing of the prescription
    moves. Ids of the records; none where patient or product are not known.
    """
    act, made = looked.sent.act, []
    try:
        case = await prescriptions.open_case(unit, looked.number)
        item = case.item(act.item)
    except NotFoundError:
        return ()
    for given in act.packs:
        code = gs1.read(given.raw)
        product = None if isinstance(code, gs1.Fault) else medicines.product_or_none(code.gtin)
        if isinstance(code, gs1.Fault) or product is None:
            continue
        pack = ScannedPack(
            item=act.item, gtin=code.gtin, serial=code.serial, trade="", quantity=given.quantity,
            lot=given.lot, expiry=given.expiry, marking=code.identity,
            price=given.price if prices.is_price(given.price) else None,
        )  # fmt: skip  # Facts of one pack.
        record = dispenses.dispense_of(
            item.request, act.item, case.number, product, pack,
            performer=author.practitioner_role, performer_name=author.name,
            pharmacy=author.organisation, pharmacy_name=author.organisation_name,
            at=looked.facts.now, base=_base(act, "; a conflict case is open"),
            # Nobody asks the fund for what the prescription did not allow.
            charge=prices.of_pack(pack, product.pack_units, Decimal(0)),
        )  # fmt: skip  # Who, what, to whom.
        del record["authorizingPrescription"]
        made.append((await unit.create("MedicationDispense", record)).id)
        await _empty(unit, looked, pack, author.organisation)
    return tuple(made)


async def _empty(unit: GatewayUnit, looked: Looked, pack: ScannedPack, pharmacy: str) -> None:
    """The pack is out of the house: its balance falls, where it has one here to fall."""
    from dmed.modules.pharmacy import tables

    product = medicines.product(pack.gtin)
    seen = looked.words[f"01{pack.gtin}21{pack.serial}"].seen
    if seen is not None:
        await tables.meet_pack(unit, pack.gtin, pack.serial, seen.state.value, product.pack_units,
                               seen.lot, seen.expiry)  # fmt: skip  # The order of the table.
    row = await tables.pack(unit, pack.gtin, pack.serial, lock=True)
    if row and row["balance"] >= pack.quantity and row["pharmacy"] in {"", pharmacy}:
        await handing.take_out(unit, pack, pharmacy)


async def _keep(
    unit: GatewayUnit, looked: Looked, made: tuple[str, ...], kind: Kind | None = None
) -> Result:
    """The act with its outcome, and a case where one is needed."""
    sent = looked.sent
    findings = looked.findings
    case_item = await _of_item(unit, looked)
    facts = msgspec.structs.replace(
        looked.facts, preparation=case_item, smallest=smallest(case_item)
    )
    findings = (*findings, *rules.passed_limits(sent.act, facts), *_prices(looked))
    outcome = Outcome.ACCEPTED
    if kind is not None:
        outcome = Outcome.CONFLICT
    elif findings:
        outcome, kind = Outcome.QUESTIONED, Kind.LIMIT
    kept = _record(sent, looked.number, facts.now, outcome, findings, made)
    opened = None
    if kind is not None:
        others = [each for each in await _others(unit, looked) if each != kept.pharmacy]
        opened = await store.open_case(unit, kind, kept, others, facts.now)
    await store.keep_act(unit, msgspec.structs.replace(kept, opened=opened))
    return Result(id=kept.id, outcome=outcome, findings=findings, case=opened)


async def _of_item(unit: GatewayUnit, looked: Looked) -> medicines.Preparation | None:
    try:
        case = await prescriptions.open_case(unit, looked.number)
        request = case.item(looked.sent.act.item).request
    except NotFoundError:
        return None
    return prescriptions.preparation_of(request)


def smallest(preparation: medicines.Preparation | None) -> Decimal:
    """Content of the smallest pack of a preparation on the market, 0 when there is none."""
    packs = medicines.products_of(preparation.key) if preparation else ()
    return min((product.pack_units for product in packs), default=Decimal(0))


async def _others(unit: GatewayUnit, looked: Looked) -> list[str]:
    """Other pharmacies that have to do with the item or the packs, its holder among them."""
    act, packs = looked.sent.act, []
    for given in act.packs:
        code = gs1.read(given.raw)
        if isinstance(code, gs1.Code):
            packs.append((code.gtin, code.serial))
    found = set(await store.handed_by(unit, looked.number, act.item, packs))
    try:
        case = await prescriptions.open_case(unit, looked.number)
        found.add(case.item(act.item).standing.holder)
    except NotFoundError:
        pass
    return sorted(found - {""})

