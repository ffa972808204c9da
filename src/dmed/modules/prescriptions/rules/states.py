"""The state machine of one prescription item: a table of pure transitions.

Shared design, eprescription B2, complete, with repeats. The authorisation is
MedicationRequest.status, the execution Task.status and Task.businessStatus; "expired" is a reason
of `stopped`, no status. docs/reference/prescription-states.md is this table.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError
from dmed.modules.prescriptions.model import ItemState

LEASE = timedelta(hours=24)
UNDO_WITHIN = timedelta(days=10)
SIGN_WITHIN = timedelta(days=1)
EARLY_DAYS = 7
"""So long before the end of a course its next repeat may be taken."""


class Event(StrEnum):
    """What can happen to an item."""

    CREATE = "create"
    DRAFT_END = "draft-end"
    ACTIVATE = "activate"
    START = "start"
    CLAIM = "claim"
    RETURN = "return"
    LEASE_END = "lease-end"
    DISPENSE_PART = "dispense-part"
    RELEASE_REST = "release-rest"
    DISPENSE_REST = "dispense-rest"
    CLOSE = "close"
    NOT_DISPENSED = "not-dispensed"
    REJECT = "reject"
    CANCEL = "cancel"
    CANCEL_REQUEST = "cancel-request"
    CANCEL_ACCEPT = "cancel-accept"
    CANCEL_TOO_LATE = "cancel-too-late"
    HOLD = "hold"
    RELEASE = "release"
    EXPIRE = "expire"
    UNDO = "undo"
    CLAIM_PAYMENT = "claim-payment"
    PAY = "pay"
    REFUSE_PAYMENT = "refuse-payment"
    ERROR = "entered-in-error"


class Who(StrEnum):
    """Who makes it happen."""

    PRESCRIBER = "prescriber"
    PHARMACY = "pharmacy"
    PATIENT = "patient"
    AUTHORITY = "authority"
    """The ministry's staff, or a rule of the platform (a recall)."""
    INSURER = "insurer"
    TIMER = "timer"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: from these states this event by these leads there."""

    sources: frozenset[ItemState]
    event: Event
    who: frozenset[Who]
    state: ItemState
    task: str
    """Task.status."""
    request: str
    """MedicationRequest.status."""
    reason: str = ""
    """MedicationRequest.statusReason."""
    needs: str = ""
    """The guard, words of `GUARDS`; "was-..." asks for the state before the hold."""
    keeps_holder: bool = False
    next_instance: int = 0
    """1: the next repeat begins; -1: the one before is open again."""


GUARDS: dict[str, str] = {
    "held": "it is not held by this pharmacy",
    "free": "another pharmacy holds it",
    "kept": "no pharmacy holds it",
    "untouched": "some of it was handed over",
    "touched": "nothing was handed over yet",
    "last": "further repeats follow",
    "more": "no repeat is left",
    "first": "an earlier repeat was dispensed",
    "repeated": "no earlier repeat was dispensed",
    "due": "its first day has not come",
    "early": "its first day has come",
    "insured": "no insurance pays for it",
}
"""Words of guards, and what is said where one is missed."""

_S, _E, _W = ItemState, Event, Who
_HELD = {_S.WITH_PHARMACY, _S.PART_DISPENSED, _S.UNDONE}
_OPEN = {_S.FUTURE, _S.TO_BE_DISPENSED, _S.CANCEL_REQUESTED} | _HELD
_DONE = {_S.DISPENSED, _S.CLOSED_PART, _S.PART_DISPENSED, _S.UNDONE}
_WAITS = {_S.FUTURE, _S.TO_BE_DISPENSED}


def _row(
    sources: set[ItemState],
    event: Event,
    who: Who | set[Who],
    state: ItemState,
    task: str,
    request: str,
    needs: str = "",
    **more: Any,
) -> Row:
    by = frozenset({who} if isinstance(who, Who) else who)
    return Row(sources=frozenset(sources), event=event, who=by, state=state, task=task,
               request=request, needs=needs, **more)  # fmt: skip  # One call.


# fmt: off  # A table: one row a line or two.
_CLOSING: tuple[Row, ...] = (
    _row(_HELD, _E.DISPENSE_REST, _W.PHARMACY, _S.DISPENSED, "completed", "completed", "held last"),
    _row(_HELD, _E.DISPENSE_REST, _W.PHARMACY, _S.FUTURE, "accepted", "active", "held more",
         next_instance=1),
    _row({_S.PART_DISPENSED, _S.UNDONE}, _E.CLOSE, _W.PHARMACY, _S.CLOSED_PART, "completed",
         "completed", "held touched last"),
    _row({_S.PART_DISPENSED, _S.UNDONE}, _E.CLOSE, _W.PHARMACY, _S.FUTURE, "accepted", "active",
         "held touched more", next_instance=1),
    _row({_S.WITH_PHARMACY, _S.UNDONE}, _E.NOT_DISPENSED, _W.PHARMACY, _S.TO_BE_DISPENSED, "ready",
         "active", "held untouched"),
    _row({_S.WITH_PHARMACY, _S.UNDONE}, _E.REJECT, _W.PHARMACY, _S.NOT_DISPENSED, "rejected",
         "stopped", "held untouched", reason="not-dispensed"),
    _row(_WAITS, _E.CANCEL, {_W.PRESCRIBER, _W.PATIENT}, _S.CANCELLED, "cancelled", "cancelled",
         "free untouched first"),
    _row(_WAITS, _E.CANCEL, {_W.PRESCRIBER, _W.PATIENT}, _S.CANCELLED, "cancelled", "stopped",
         "free untouched repeated"),
    _row(_HELD, _E.CANCEL_REQUEST, _W.PRESCRIBER, _S.CANCEL_REQUESTED, "in-progress", "active",
         "kept", keeps_holder=True),
    _row({_S.CANCEL_REQUESTED}, _E.CANCEL_ACCEPT, _W.PHARMACY, _S.CANCELLED, "cancelled",
         "cancelled", "held untouched first"),
    _row({_S.CANCEL_REQUESTED}, _E.CANCEL_ACCEPT, _W.PHARMACY, _S.CANCELLED, "cancelled",
         "stopped", "held", reason="cancelled"),
    _row({_S.CANCEL_REQUESTED}, _E.CANCEL_TOO_LATE, _W.PHARMACY, _S.WITH_PHARMACY, "in-progress",
         "active", "held untouched", keeps_holder=True),
    _row({_S.CANCEL_REQUESTED}, _E.CANCEL_TOO_LATE, _W.PHARMACY, _S.PART_DISPENSED, "in-progress",
         "active", "held touched", keeps_holder=True),
    _row({_S.CANCEL_REQUESTED}, _E.LEASE_END, _W.TIMER, _S.CANCELLED, "cancelled", "cancelled",
         "untouched first"),
    _row({_S.CANCEL_REQUESTED}, _E.LEASE_END, _W.TIMER, _S.CANCELLED, "cancelled", "stopped",
         reason="cancelled"),
    _row({*_WAITS, _S.PART_DISPENSED}, _E.EXPIRE, _W.TIMER, _S.EXPIRED, "failed", "stopped", "free",
         reason="expired"),
    _row({_S.DRAFT, *_WAITS}, _E.ERROR, _W.PRESCRIBER, _S.ENTERED_IN_ERROR, "entered-in-error",
         "entered-in-error", "free untouched first"),
)
_HOLDING: tuple[Row, ...] = (
    _row(_OPEN, _E.HOLD, _W.AUTHORITY, _S.ON_HOLD, "on-hold", "on-hold", keeps_holder=True),
    *(_row({_S.ON_HOLD}, _E.RELEASE, _W.AUTHORITY, state, task, "active", f"was-{state}{more}",
           keeps_holder=task == "in-progress")
      for state, task, more in (
          (_S.FUTURE, "accepted", ""), (_S.TO_BE_DISPENSED, "ready", ""),
          (_S.WITH_PHARMACY, "in-progress", ""), (_S.PART_DISPENSED, "in-progress", " kept"),
          (_S.PART_DISPENSED, "ready", " free"), (_S.UNDONE, "in-progress", ""),
          (_S.CANCEL_REQUESTED, "in-progress", ""))),
)
TABLE: tuple[Row, ...] = (
    _row(set(), _E.CREATE, _W.PRESCRIBER, _S.DRAFT, "draft", "draft"),
    _row({_S.DRAFT}, _E.DRAFT_END, _W.TIMER, _S.DRAFT_EXPIRED, "cancelled", "entered-in-error"),
    _row({_S.DRAFT}, _E.ACTIVATE, _W.PRESCRIBER, _S.TO_BE_DISPENSED, "ready", "active", "due"),
    _row({_S.DRAFT}, _E.ACTIVATE, _W.PRESCRIBER, _S.FUTURE, "accepted", "active", "early"),
    _row({_S.FUTURE}, _E.START, _W.TIMER, _S.TO_BE_DISPENSED, "ready", "active", "due"),
    _row({_S.TO_BE_DISPENSED}, _E.CLAIM, _W.PHARMACY, _S.WITH_PHARMACY, "in-progress", "active",
         "free", keeps_holder=True),
    _row({_S.PART_DISPENSED}, _E.CLAIM, _W.PHARMACY, _S.PART_DISPENSED, "in-progress", "active",
         "free", keeps_holder=True),
    _row({_S.WITH_PHARMACY, _S.UNDONE}, _E.RETURN, _W.PHARMACY, _S.TO_BE_DISPENSED, "ready",
         "active", "held untouched"),
    _row({_S.PART_DISPENSED, _S.UNDONE}, _E.RETURN, _W.PHARMACY, _S.PART_DISPENSED, "ready",
         "active", "held touched"),
    _row({_S.WITH_PHARMACY, _S.UNDONE}, _E.LEASE_END, _W.TIMER, _S.TO_BE_DISPENSED, "ready",
         "active", "untouched"),
    _row({_S.PART_DISPENSED, _S.UNDONE}, _E.LEASE_END, _W.TIMER, _S.PART_DISPENSED, "ready",
         "active", "touched"),
    _row(_HELD, _E.DISPENSE_PART, _W.PHARMACY, _S.PART_DISPENSED, "in-progress", "active", "held",
         keeps_holder=True),
    _row(_HELD, _E.RELEASE_REST, _W.PHARMACY, _S.PART_DISPENSED, "ready", "active", "held"),
    *_CLOSING,
    *_HOLDING,
    _row(_DONE, _E.UNDO, _W.PHARMACY, _S.UNDONE, "in-progress", "active", keeps_holder=True),
    _row(_WAITS, _E.UNDO, _W.PHARMACY, _S.UNDONE, "in-progress", "active",
         "free untouched repeated", keeps_holder=True, next_instance=-1),
    _row({_S.DISPENSED, _S.CLOSED_PART}, _E.CLAIM_PAYMENT, _W.PHARMACY, _S.CLAIMED, "completed",
         "completed", "insured"),
    _row({_S.CLAIMED}, _E.PAY, _W.INSURER, _S.PAID, "completed", "completed"),
    _row({_S.CLAIMED}, _E.REFUSE_PAYMENT, _W.INSURER, _S.REFUSED, "completed", "completed"),
)
# fmt: on

_SAID: dict[ItemState, str] = {
    _S.DRAFT: "is a draft and not signed",
    _S.DRAFT_EXPIRED: "was never signed",
    _S.FUTURE: "waits for its first day",
    _S.ON_HOLD: "is on hold",
    _S.CLAIMED: "is dispensed and claimed for payment",
    _S.PAID: "is dispensed and paid for",
    _S.REFUSED: "is dispensed and its payment was refused",
    _S.TO_BE_DISPENSED: "waits to be dispensed",
    _S.WITH_PHARMACY: "is with a pharmacy",
    _S.PART_DISPENSED: "is partly dispensed",
    _S.DISPENSED: "is dispensed",
    _S.CLOSED_PART: "is partly dispensed and closed",
    _S.NOT_DISPENSED: "was refused by a pharmacy",
    _S.CANCEL_REQUESTED: "is with a pharmacy and its cancellation was asked for",
    _S.CANCELLED: "is cancelled",
    _S.EXPIRED: "has expired",
    _S.UNDONE: "is in progress again after an undo",
    _S.ENTERED_IN_ERROR: "was entered in error",
}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an item stands at the moment of an event."""

    number: int
    state: ItemState
    quantity: Decimal
    dispensed: Decimal
    valid_until: date
    holder: str = ""
    holder_name: str = ""
    lease_until: datetime | None = None
    instance: int = 1
    """Which repeat is open, of `instances`; `quantity` and `dispensed` are of this one."""
    instances: int = 1
    starts: date | None = None
    """First day on which it may be handed over; None: at once."""
    held_from: ItemState | None = None
    """The state before a hold."""
    is_insured: bool = False


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: the kind, and the organisation of a pharmacy."""

    who: Who
    organisation: str = ""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What an event makes of an item: the row taken, and who holds it afterwards."""

    row: Row
    holder: str
    instance: int = 1
    """The repeat that is open afterwards."""
    is_unchanged: bool = False
    """The same pharmacy claims again: the same secret, nothing is written."""


def said_of(number: int, state: ItemState, holder: str) -> str:
    """One English sentence: in what state an item is and, at a pharmacy, who holds it."""
    where = f" ({holder})" if holder else ""
    return f"Item {number} {_SAID[state]}{where} [state {state}]"


def said(standing: Standing) -> str:
    """The same of a standing."""
    return said_of(standing.number, standing.state, standing.holder_name or standing.holder)


def move(standing: Standing, event: Event, actor: Actor, now: datetime) -> Move:
    """The move that an event makes. Raises ConflictError that names the state (and the holder),
    ForbiddenError when somebody acts who never may. Dates are days of Tashkent.
    """
    rows = [row for row in TABLE if row.event is event]
    if not any(actor.who in row.who for row in rows):
        raise ForbiddenError(f"{actor.who} may not {event} an item of a prescription")
    is_ours = bool(standing.holder) and standing.holder == actor.organisation
    if event is Event.CLAIM and is_ours and standing.state is not ItemState.ON_HOLD:
        return Move(row=rows[0], holder=standing.holder, instance=standing.instance,
                    is_unchanged=True)  # fmt: skip  # One answer.
    here = [row for row in rows if standing.state in row.sources and actor.who in row.who]
    if not here:
        raise ConflictError(f"{said(standing)}; {event} is not possible")
    _check_time(standing, event, now)
    for row in here:
        if not _missing(row, standing, actor, now):
            return Move(
                row=row,
                holder=_holder(row, standing, actor),
                instance=standing.instance + row.next_instance,
            )
    missing = _missing(here[0], standing, actor, now)
    raise ConflictError(f"{said(standing)}; {event} is not possible: {missing}")


def _holder(row: Row, standing: Standing, actor: Actor) -> str:
    if not row.keeps_holder:
        return ""
    return actor.organisation if actor.who is Who.PHARMACY else standing.holder


def _check_time(standing: Standing, event: Event, now: datetime) -> None:
    today = now.astimezone(TASHKENT).date()
    if event is Event.CLAIM and today > standing.valid_until:
        raise ConflictError(
            f"The prescription has expired on {standing.valid_until} [state expired]"
        )
    if event is Event.EXPIRE and today <= standing.valid_until:
        raise ConflictError(f"The prescription is valid until {standing.valid_until}")
    if event is Event.LEASE_END and (standing.lease_until is None or now < standing.lease_until):
        raise ConflictError(f"{said(standing)}; its lease has not ended")


def _missing(row: Row, standing: Standing, actor: Actor, now: datetime) -> str:
    """What a guard misses, in words, or ""."""
    for need in row.needs.split():
        if need.startswith("was-"):
            if standing.held_from != need.removeprefix("was-"):
                return f"it was {standing.held_from} before"
        elif not _holds(need, standing, actor, now):
            if need == "untouched":
                return f"{standing.dispensed} of {standing.quantity} were handed over"
            return GUARDS[need]
    if row.event is Event.UNDO and standing.holder not in {"", actor.organisation}:
        return GUARDS["free"]
    return ""


def _holds(need: str, standing: Standing, actor: Actor, now: datetime) -> bool:
    is_due = standing.starts is None or now.astimezone(TASHKENT).date() >= standing.starts
    return {
        "held": bool(standing.holder) and standing.holder == actor.organisation,
        "free": not standing.holder,
        "kept": bool(standing.holder),
        "untouched": standing.dispensed <= 0,
        "touched": standing.dispensed > 0,
        "last": standing.instance >= standing.instances,
        "more": standing.instance < standing.instances,
        "first": standing.instance == 1,
        "repeated": standing.instance > 1,
        "due": is_due,
        "early": not is_due,
        "insured": standing.is_insured,
    }[need]


def created() -> Row:
    """The row of a new draft."""
    return next(row for row in TABLE if row.event is Event.CREATE)


def activated(starts: date | None, now: datetime) -> Row:
    """The row that a signature takes: ready at once, or waiting for a later first day."""
    standing = Standing(number=1, state=ItemState.DRAFT, quantity=Decimal(1), dispensed=Decimal(0),
                        valid_until=date.max, starts=starts)  # fmt: skip  # Nothing else counts.
    return move(standing, Event.ACTIVATE, Actor(who=Who.PRESCRIBER), now).row


def next_start(standing: Standing, first_day: date, days: int, now: datetime) -> date:
    """The first day of the next repeat: so many courses of `days` after the first day, but not
    more than a week before the course just handed over ends.
    """
    today = now.astimezone(TASHKENT).date()
    planned = first_day + timedelta(days=days * standing.instance)
    return max(planned, today + timedelta(days=max(0, days - EARLY_DAYS)))


def dispense_event(standing: Standing, quantity: Decimal, release_rest: bool) -> Event:
    """Which event handing over `quantity` is. InvalidError unless it is above 0, ConflictError
    when the sum would pass what was authorised.
    """
    if quantity <= 0:
        raise InvalidError(f"Item {standing.number}: the quantity must be above 0")
    total = standing.dispensed + quantity
    if total > standing.quantity:
        raise ConflictError(
            f"Item {standing.number}: {total} would exceed the {standing.quantity} authorised "
            f"({standing.dispensed} were handed over before)"
        )
    if total == standing.quantity:
        return Event.DISPENSE_REST
    return Event.RELEASE_REST if release_rest else Event.DISPENSE_PART


def check_signing_time(authored: datetime, now: datetime) -> None:
    """The time of writing (authoredOn) lies within one day of the signing, or ConflictError."""
    if abs(now - authored) > SIGN_WITHIN:
        raise ConflictError(
            f"authoredOn {authored.isoformat()} is more than a day away from the signing"
        )


def check_undo(handed_over: datetime, pharmacy: str, actor: Actor, now: datetime) -> None:
    """An undo comes from the same pharmacy within ten days, or ConflictError."""
    if actor.organisation != pharmacy:
        raise ConflictError("Only the pharmacy that handed it over may undo it")
    if now - handed_over > UNDO_WITHIN:
        raise ConflictError(
            f"Handed over on {handed_over.astimezone(TASHKENT).date()}: an undo is possible within "
            f"{UNDO_WITHIN.days} days"
        )


def check_undo_instance(standing: Standing, instance: int) -> None:
    """Only of the repeat that is open, or of the one before while nothing of it is under way."""
    is_before = standing.state in _WAITS and standing.instance - 1 == instance
    if standing.instance != instance and not is_before:
        raise ConflictError(
            f"{said(standing)}; the hand-over was of repeat {instance}, now it is "
            f"{standing.instance} of {standing.instances}"
        )


def shown(row: Row) -> str:
    """A row as a line of the reference page."""
    sources = ", ".join(sorted(state.value for state in row.sources)) or "-"
    who = ", ".join(sorted(each.value for each in row.who))
    request = row.request + (f" ({row.reason})" if row.reason else "")
    needs = row.needs or "-"
    repeat = {1: "next", -1: "before"}.get(row.next_instance, "-")
    return (
        f"| {sources} | {row.event.value} | {who} | {needs} | {row.task} / {row.state.value} "
        f"| {request} | {'kept' if row.keeps_holder else '-'} | {repeat} |"
    )
