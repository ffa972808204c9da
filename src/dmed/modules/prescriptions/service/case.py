"""A prescription inside a transaction: its records loaded under lock, and moved.

Every move is compare-and-set on the versions that were read, after the row of the prescription
was locked: of parallel acts one goes on, the others see what it made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import NotFoundError, PreconditionError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import ItemState
from dmed.modules.prescriptions.rules import numbers, resources, states
from dmed.modules.prescriptions.rules.states import Actor, Event, Move, Standing, Who

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit


class CaseItem(msgspec.Struct, kw_only=True):
    """One item with its two records as they stand in this transaction."""

    number: int
    request: dict[str, Any]
    task: dict[str, Any]
    valid_until: date
    request_body: bytes = b""
    """The MedicationRequest as it was stored by the last move; empty before one."""

    @property
    def standing(self) -> Standing:
        """How the item stands now, as the rules read it."""
        owner = self.task.get("owner") or {}
        amount = (self.request.get("dispenseRequest") or {}).get("quantity") or {}
        lease = ((self.task.get("restriction") or {}).get("period") or {}).get("end")
        return Standing(
            number=self.number,
            state=resources.state_of(self.task, self.request),
            quantity=Decimal(str(amount.get("value", 0))),
            dispensed=resources.dispensed_of(self.task),
            valid_until=self.valid_until,
            holder=str(owner.get("reference", "")).removeprefix("Organization/"),
            holder_name=str(owner.get("display", "")),
            lease_until=resources.moment_of(lease) if lease else None,
            instance=resources.instance_of(self.task),
            instances=resources.instances_of(self.request),
            starts=resources.starts_of(self.task),
            held_from=resources.held_from(self.task),
            is_insured=bool(self.request.get("insurance")),
        )


class Case(msgspec.Struct, kw_only=True):
    """A prescription under lock: its row and its items by number."""

    number: str
    row: Any
    items: dict[int, CaseItem]
    is_open: bool | None = None
    """What the row says of it now; None where that is not known."""

    @property
    def patient(self) -> str:
        """Id of the Patient."""
        return str(self.row["patient"])

    def item(self, number: int) -> CaseItem:
        """The item of a number, or NotFoundError."""
        found = self.items.get(number)
        if found is None:
            raise NotFoundError(
                f"Prescription {numbers.show_number(self.number)} has no item {number}"
            )
        return found


async def open_case(unit: GatewayUnit, number: str) -> Case:
    """The prescription of a number, locked until the unit ends; NotFoundError if there is none."""
    rows = await tables.rows(unit, number)
    if not rows:
        raise NotFoundError(f"There is no prescription {numbers.show_number(number)}")
    entries = [row for row in rows if row["item"] is not None]
    # One statement for all records: a prescription of five items would take ten.
    records = await unit.get_many(
        [pair for each in entries
         for pair in (("MedicationRequest", each["request"]), ("Task", each["task"]))],
        lock=True,
    )
    items: dict[int, CaseItem] = {}
    for at, entry in enumerate(entries):
        request, task = records[2 * at], records[2 * at + 1]
        if request is None or task is None:
            raise NotFoundError(
                f"The records of prescription {numbers.show_number(number)} are not complete"
            )
        items[entry["item"]] = CaseItem(
            number=entry["item"], request=request, task=task, valid_until=entry["valid_until"]
        )
    return Case(number=number, row=rows[0], items=items, is_open=rows[0]["is_open"])


def expect(case: Case, expected: Mapping[int, int] | None) -> None:
    """Compare-and-set: item -> version of its Task that the caller knows. PreconditionError names
    the state where it has changed meanwhile.
    """
    for number, vid in (expected or {}).items():
        item = case.item(number)
        if int(item.task["meta"]["versionId"]) != vid:
            raise PreconditionError(f"{states.said(item.standing)}; its Task has changed meanwhile")


async def move(
    unit: GatewayUnit,
    case: Case,
    item_number: int,
    event: Event,
    actor: Actor,
    now: datetime,
    *,
    actor_name: str = "",
    dispensed: Decimal | None = None,
    lease_until: datetime | None = None,
    reason: str = "",
) -> Move:
    """Decide a move and write what it changes; the case holds the new versions afterwards.

    `dispensed`: the new sum of what was handed over; None leaves it. Raises what
    `rules.states.move` raises, PreconditionError when another act was quicker.
    """
    item = case.item(item_number)
    standing = item.standing
    made = states.move(standing, event, actor, now)
    if made.is_unchanged:
        return made
    is_new_holder = made.holder != standing.holder
    summed = standing.dispensed if dispensed is None else dispensed
    starts = _starts(item, made, now)
    task = resources.moved_task(
        item.task,
        made.row,
        now,
        holder=made.holder,
        holder_name=actor_name if is_new_holder else standing.holder_name,
        lease_until=lease_until or standing.lease_until,
        dispensed=Decimal(0) if made.row.next_instance > 0 else summed,
        reason=reason or made.row.reason,
        instance=made.instance,
        starts=starts,
        before=standing.state if event is Event.HOLD else None,
    )
    request = resources.moved_request(item.request, made.row, now, reason)
    await _update(unit, item, task, request)
    if ItemState.FUTURE in {standing.state, made.row.state}:
        waits = made.row.state is ItemState.FUTURE
        await tables.set_starts(unit, item.request["id"], item.standing.starts if waits else None)
    is_open = any(each.request.get("status") == "active" for each in case.items.values())
    if is_open is not case.is_open:
        await tables.set_open(unit, case.number, is_open)
        case.is_open = is_open
    return made


def _starts(item: CaseItem, made: Move, now: datetime) -> date | None:
    """The first day of the repeat that a move opens; None where it opens none."""
    if made.row.next_instance > 0:
        first_day, days = resources.course_of(item.request)
        return states.next_start(item.standing, first_day, days, now)
    return now.astimezone(TASHKENT).date() if made.row.next_instance < 0 else None


async def start_if_due(unit: GatewayUnit, case: Case, item: CaseItem, now: datetime) -> bool:
    """Open an item whose first day has come; whether it did. The minute's job does the same."""
    standing = item.standing
    is_due = standing.starts is None or standing.starts <= now.astimezone(TASHKENT).date()
    if standing.state is not ItemState.FUTURE or not is_due:
        return False
    await move(unit, case, item.number, Event.START, Actor(who=Who.TIMER), now)
    return True


async def _update(
    unit: GatewayUnit, item: CaseItem, task: dict[str, Any], request: dict[str, Any] | None
) -> None:
    """Write the records that a move changes, in one statement; the item holds them afterwards."""
    from dmed.trust.gateway import decoded

    changed = [("Task", task), *([("MedicationRequest", request)] if request is not None else [])]
    written = await unit.update_many([
        (type_, record, int(record["meta"]["versionId"])) for type_, record in changed
    ])
    item.task = decoded(written[0].body)
    if request is not None:
        item.request, item.request_body = decoded(written[1].body), written[1].body


def is_held(item: CaseItem, organisation: str) -> bool:
    """Whether this organisation holds the item now and it is not closed."""
    standing = item.standing
    open_states = {ItemState.WITH_PHARMACY, ItemState.PART_DISPENSED, ItemState.UNDONE,
                   ItemState.CANCEL_REQUESTED}  # fmt: skip  # The four held states.
    return bool(organisation) and standing.holder == organisation and standing.state in open_states
