"""RxChange: a pharmacist proposes something else to the doctor, who signs it or refuses.

Another strength, form, quantity or trade name is no substitution inside the INN as prescribed: it
is a new authorisation, so it gets a new number and a new signature. The pharmacy that asked holds
the new item at once; of the old one only what was handed over stays.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock, ids
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import CHANGES, Proposal
from dmed.modules.pharmacy.rules import changes
from dmed.modules.pharmacy.service.counter import once, pharmacy_of, require_held
from dmed.modules.pharmacy.tables import asking as asking_table
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Actor, Draft, DraftItem, Event, Item, Who
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

_PRESCRIBER = Actor(who=Who.PRESCRIBER)
_SHOWN_MAX = 50
TEXT_CHARACTERS_MAX = 300


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a pharmacist asks for; empty fields stay as they were prescribed."""

    kind: str
    text: str
    preparation: str = ""
    product: str = ""
    quantity: Decimal = Decimal(0)


async def propose(
    gateway: Gateway, subject: Subject, number: str, item: int, wish: Wish, key: str = ""
) -> Proposal:
    """Ask the doctor to change an item that is held here; see `api.propose_change`."""
    if wish.kind not in CHANGES:
        raise InvalidError(f"{wish.kind!r} is no change: {', '.join(CHANGES)}")
    text = " ".join(wish.text.split())[:TEXT_CHARACTERS_MAX]
    if not text:
        raise InvalidError("Say in words why the change is asked for")
    pharmacy, now = pharmacy_of(subject), clock.now()
    found = await prescriptions.prescription(gateway, subject, number)
    line = _line(found, item)
    if line.holder != pharmacy:
        # Before the wish is judged: whoever does not hold it learns nothing of the item.
        raise ConflictError(f"Item {item} is not held by this pharmacy")
    if line.unregistered is not None:
        raise ConflictError("A medicine outside the register is changed by the doctor himself: the "
                            "commission's decision names it")  # fmt: skip  # One sentence.
    after = changes.wanted(line, wish.kind, wish.preparation, wish.product, wish.quantity)
    async with gateway.unit(subject) as unit:
        case = await prescriptions.open_case(unit, found.number)
        if await once(unit, subject, key, f"propose {found.number} {item}"):
            require_held(case, item, pharmacy)
            if line.instances > 1:
                raise ConflictError("A repeated course is changed by the doctor himself")
            if await asking_table.proposal_of(unit, found.number, item, lock=True):
                raise ConflictError("The doctor was asked already and has not answered")
            proposal = Proposal(
                id="", number=found.number, item=item, kind=wish.kind, pharmacy=pharmacy,
                pharmacy_name=subject.organisation_name, prescriber=found.prescriber,
                organisation=found.organisation, preparation=after.preparation,
                product=after.product, quantity=after.quantity, text=text, at=now,
                patient=found.patient,
            )  # fmt: skip  # One question.
            record = changes.task_of(proposal, line.request)
            written = await unit.create("Task", record)
            await asking_table.keep_proposal(unit, written.id, **msgspec.structs.asdict(proposal))
    return await open_about(gateway, subject, found.number, item)


async def open_about(gateway: Gateway, subject: Subject, number: str, item: int) -> Proposal:
    """The open proposal about an item, for those who have to do with it; NotFoundError."""
    async with gateway.unit(subject) as unit:
        row = await asking_table.proposal_of(unit, number, item)
    mine = subject.organisation
    if row is None or not mine or mine not in {row["pharmacy"], row["organisation"]}:
        raise NotFoundError(f"Nothing is proposed for item {item} of prescription {number}")
    return await _told(gateway, subject, row)


async def mine(gateway: Gateway, subject: Subject) -> list[Proposal]:
    """Open proposals to this doctor, oldest first."""
    _require_doctor(subject)
    async with gateway.unit(subject) as unit:
        rows = await asking_table.proposals(
            unit, subject.organisation, subject.practitioner_role, _SHOWN_MAX
        )
    return [await _told(gateway, subject, row) for row in rows]


async def about(gateway: Gateway, subject: Subject, number: str) -> list[Proposal]:
    """What this pharmacy proposed about a prescription, newest first, with the answers."""
    async with gateway.unit(subject) as unit:
        rows = await asking_table.proposals_about(unit, number, pharmacy_of(subject))
    return [_proposal(row) for row in rows]


async def answer(
    gateway: Gateway,
    subject: Subject,
    number: str,
    item: int,
    *,
    approve: bool,
    text: str = "",
    overrides: dict[str, str] | None = None,
) -> tuple[Proposal, str]:
    """Sign the change or refuse it; see `api.answer_change`."""
    _require_doctor(subject)
    proposal = await open_about(gateway, subject, number, item)
    if not approve:
        text = " ".join(text.split())[:TEXT_CHARACTERS_MAX]
        async with gateway.unit(subject) as unit:
            await _end(unit, proposal, "rejected", text)
        return msgspec.structs.replace(proposal, state="rejected", answer=text), ""
    draft = await _draft(gateway, subject, proposal, overrides or {})

    async def exchange(unit: GatewayUnit, made: str) -> None:
        await _exchange(unit, proposal, made)

    signed = await prescriptions.sign(
        gateway, subject, draft, key=f"change {proposal.id}", within=exchange
    )
    done = msgspec.structs.replace(proposal, state="accepted", made=signed.number)
    return done, signed.number


async def _draft(
    gateway: Gateway, subject: Subject, proposal: Proposal, overrides: dict[str, str]
) -> Draft:
    """The new prescription of one item that the doctor signs."""
    old = await prescriptions.prescription(gateway, subject, proposal.number)
    line = _line(old, proposal.item)
    dose, times = changes.dose_of(line, proposal)
    item = DraftItem(
        preparation=proposal.preparation, product=proposal.product,
        exception="availability" if proposal.product else "",
        dose=dose, times_per_day=times, duration_days=line.duration_days,
        quantity=proposal.quantity, diagnosis=line.diagnosis, note=line.note, overrides=overrides,
    )  # fmt: skip  # One line.
    return prescriptions.derive(Draft(
        patient=old.patient, diagnosis=old.diagnosis, items=(item,), trustee=old.trustee,
        replaces=old.number, replaces_item=proposal.item,
    ))  # fmt: skip  # One draft.


async def _exchange(unit: GatewayUnit, proposal: Proposal, made: str) -> None:
    """Inside the signature: the old item ends, the new one is with the pharmacy that asked."""
    now = clock.now()
    row = await asking_table.proposal_of(unit, proposal.number, proposal.item, lock=True)
    if row is None or row["task"] != proposal.id:
        raise ConflictError("This proposal was answered meanwhile")
    pharmacy = Actor(who=Who.PHARMACY, organisation=proposal.pharmacy)
    case = await prescriptions.open_case(unit, proposal.number)
    require_held(case, proposal.item, proposal.pharmacy)
    for event, actor in ((Event.CANCEL_REQUEST, _PRESCRIBER), (Event.CANCEL_ACCEPT, pharmacy)):
        await prescriptions.move(unit, case, proposal.item, event, actor, now, reason="corrected")
    await tables.drop_claim(unit, proposal.number, proposal.item)
    new = await prescriptions.open_case(unit, made)
    lease = now + prescriptions.LEASE
    await prescriptions.move(
        unit, new, 1, Event.CLAIM, pharmacy, now, actor_name=proposal.pharmacy_name,
        lease_until=lease,
    )  # fmt: skip  # Who, what, until when.
    await tables.keep_claim(unit, made, 1, proposal.pharmacy, ids.secret(), now, lease)
    await _end(unit, proposal, "accepted", "", made)


async def _end(
    unit: GatewayUnit, proposal: Proposal, state: str, text: str, made: str = ""
) -> None:
    record = await unit.get("Task", proposal.id, lock=True)
    row = await asking_table.proposal_of(unit, proposal.number, proposal.item, lock=True)
    if record is None or row is None or row["task"] != proposal.id:
        raise ConflictError("This proposal was answered meanwhile")
    version = int(record["meta"]["versionId"])
    answered = changes.answered(record, state, text, made, clock.now())
    await unit.update("Task", proposal.id, answered, if_match=version)
    await asking_table.end_proposal(unit, proposal.id, state, text, made)


async def _told(gateway: Gateway, subject: Subject, row: Any) -> Proposal:
    """A proposal with the person's name and both medicines in words."""
    old = await prescriptions.prescription(gateway, subject, row["number"])
    line = _line(old, row["item"])
    return msgspec.structs.replace(
        _proposal(row), patient=old.patient, patient_name=old.patient_name,
        before=changes.words(line.label, line.quantity, line.unit),
    )  # fmt: skip  # One proposal.


def _proposal(row: Any) -> Proposal:
    known = medicines.preparation(row["preparation"])
    labels = {language: known.label(language) for language in ("uz", "ru", "en")}
    if row["product"]:
        trade = medicines.product(row["product"]).trade
        labels = {language: f"{text} ({trade})" for language, text in labels.items()}
    return Proposal(
        id=row["task"], number=row["number"], item=row["item"], kind=row["kind"],
        pharmacy=row["pharmacy"], pharmacy_name=row["pharmacy_name"],
        prescriber=row["prescriber"], organisation=row["organisation"],
        preparation=row["preparation"], product=row["product"], quantity=row["quantity"],
        text=row["text"], at=row["at"], state=row["state"], answer=row["answer"],
        made=row["made"], after=changes.words(labels, row["quantity"], known.form.unit),
    )  # fmt: skip  # Facts of one row.


def _line(found: prescriptions.Prescription, item: int) -> Item:
    for each in found.items:
        if each.number == item:
            return each
    raise NotFoundError(f"Prescription {found.number} has no item {item}")


def _require_doctor(subject: Subject) -> None:
    if subject.role is not Role.DOCTOR:
        raise ForbiddenError("Only the doctor answers a pharmacist's proposal")

