"""The state machine of one prescription item: a table of pure transitions.

Shared design, eprescription B2, with the rows that the way from doctor to counter needs. The
authorisation is MedicationRequest.status, the execution Task.status and Task.businessStatus;
"expired" is a reason of `stopped`, no status. docs/reference/prescription-states.md is this table.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError
from dmed.modules.prescriptions.model import ItemState

LEASE = timedelta(hours=24)
UNDO_WITHIN = timedelta(days=10)
SIGN_WITHIN = timedelta(days=1)


class Event(StrEnum):
    """What can happen to an item."""

    CREATE = "create"
    ACTIVATE = "activate"
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
    EXPIRE = "expire"
    UNDO = "undo"
    ERROR = "entered-in-error"


class Who(StrEnum):
    """Who makes it happen."""

    PRESCRIBER = "prescriber"
    PHARMACY = "pharmacy"
    PATIENT = "patient"
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
    """The guard: "held" by the acting pharmacy, "free" of any holder, "untouched" (nothing handed
    over), "touched" (something was)."""
    keeps_holder: bool = False


_S = ItemState
_HELD = frozenset({_S.WITH_PHARMACY, _S.PART_DISPENSED, _S.UNDONE})
_FREE = frozenset({_S.TO_BE_DISPENSED, _S.PART_DISPENSED})
_DONE = frozenset({_S.DISPENSED, _S.CLOSED_PART, _S.PART_DISPENSED, _S.UNDONE})
_BY_DOCTOR = frozenset({Who.PRESCRIBER})
_BY_PHARMACY = frozenset({Who.PHARMACY})
_BY_TIMER = frozenset({Who.TIMER})


def _row(
    sources: frozenset[ItemState] | set[ItemState],
    event: Event,
    who: frozenset[Who],
    state: ItemState,
    task: str,
    request: str,
    *,
    needs: str = "",
    reason: str = "",
    keeps_holder: bool = False,
) -> Row:
    return Row(
        sources=frozenset(sources),
        event=event,
        who=who,
        state=state,
        task=task,
        request=request,
        needs=needs,
        reason=reason,
        keeps_holder=keeps_holder,
    )


TABLE: tuple[Row, ...] = (
    _row(set(), Event.CREATE, _BY_DOCTOR, _S.DRAFT, "draft", "draft"),
    _row({_S.DRAFT}, Event.ACTIVATE, _BY_DOCTOR, _S.TO_BE_DISPENSED, "ready", "active"),
    _row(
        {_S.TO_BE_DISPENSED},
        Event.CLAIM,
        _BY_PHARMACY,
        _S.WITH_PHARMACY,
        "in-progress",
        "active",
        needs="free",
        keeps_holder=True,
    ),
    _row(
        {_S.PART_DISPENSED},
        Event.CLAIM,
        _BY_PHARMACY,
        _S.PART_DISPENSED,
        "in-progress",
        "active",
        needs="free",
        keeps_holder=True,
    ),
    _row(
        {_S.WITH_PHARMACY},
        Event.RETURN,
        _BY_PHARMACY,
        _S.TO_BE_DISPENSED,
        "ready",
        "active",
        needs="held untouched",
    ),
    _row(
        {_S.PART_DISPENSED},
        Event.RETURN,
        _BY_PHARMACY,
        _S.PART_DISPENSED,
        "ready",
        "active",
        needs="held",
    ),
    _row(
        {_S.UNDONE},
        Event.RETURN,
        _BY_PHARMACY,
        _S.TO_BE_DISPENSED,
        "ready",
        "active",
        needs="held untouched",
    ),
    _row(
        {_S.UNDONE},
        Event.RETURN,
        _BY_PHARMACY,
        _S.PART_DISPENSED,
        "ready",
        "active",
        needs="held touched",
    ),
    _row(
        {_S.WITH_PHARMACY, _S.UNDONE},
        Event.LEASE_END,
        _BY_TIMER,
        _S.TO_BE_DISPENSED,
        "ready",
        "active",
        needs="untouched",
    ),
    _row(
        {_S.PART_DISPENSED, _S.UNDONE},
        Event.LEASE_END,
        _BY_TIMER,
        _S.PART_DISPENSED,
        "ready",
        "active",
        needs="touched",
    ),
    _row(
        _HELD,
        Event.DISPENSE_PART,
        _BY_PHARMACY,
        _S.PART_DISPENSED,
        "in-progress",
        "active",
        needs="held",
        keeps_holder=True,
    ),
    _row(
        _HELD, Event.RELEASE_REST, _BY_PHARMACY, _S.PART_DISPENSED, "ready", "active", needs="held"
    ),
    _row(
        _HELD,
        Event.DISPENSE_REST,
        _BY_PHARMACY,
        _S.DISPENSED,
        "completed",
        "completed",
        needs="held",
    ),
    _row(
        {_S.PART_DISPENSED, _S.UNDONE},
        Event.CLOSE,
        _BY_PHARMACY,
        _S.CLOSED_PART,
        "completed",
        "completed",
        needs="held touched",
    ),
    _row(
        {_S.WITH_PHARMACY, _S.UNDONE},
        Event.NOT_DISPENSED,
        _BY_PHARMACY,
        _S.TO_BE_DISPENSED,
        "ready",
        "active",
        needs="held untouched",
    ),
    _row(
        {_S.WITH_PHARMACY, _S.UNDONE},
        Event.REJECT,
        _BY_PHARMACY,
        _S.NOT_DISPENSED,
        "rejected",
        "stopped",
        needs="held untouched",
        reason="not-dispensed",
    ),
    _row(
        {_S.TO_BE_DISPENSED},
        Event.CANCEL,
        frozenset({Who.PRESCRIBER, Who.PATIENT}),
        _S.CANCELLED,
        "cancelled",
        "cancelled",
        needs="free untouched",
    ),
    _row(
        {_S.WITH_PHARMACY},
        Event.CANCEL_REQUEST,
        _BY_DOCTOR,
        _S.CANCEL_REQUESTED,
        "in-progress",
        "active",
        keeps_holder=True,
    ),
    _row(
        {_S.CANCEL_REQUESTED},
        Event.CANCEL_ACCEPT,
        _BY_PHARMACY,
        _S.CANCELLED,
        "cancelled",
        "cancelled",
        needs="held untouched",
    ),
    _row(
        {_S.CANCEL_REQUESTED},
        Event.CANCEL_TOO_LATE,
        _BY_PHARMACY,
        _S.WITH_PHARMACY,
        "in-progress",
        "active",
        needs="held",
        keeps_holder=True,
    ),
    _row(
        {_S.CANCEL_REQUESTED},
        Event.LEASE_END,
        _BY_TIMER,
        _S.CANCELLED,
        "cancelled",
        "cancelled",
        needs="untouched",
    ),
    _row(
        _FREE,
        Event.EXPIRE,
        _BY_TIMER,
        _S.EXPIRED,
        "failed",
        "stopped",
        needs="free",
        reason="expired",
    ),
    _row(_DONE, Event.UNDO, _BY_PHARMACY, _S.UNDONE, "in-progress", "active", keeps_holder=True),
    _row(
        {_S.DRAFT, _S.TO_BE_DISPENSED},
        Event.ERROR,
        _BY_DOCTOR,
        _S.ENTERED_IN_ERROR,
        "entered-in-error",
        "entered-in-error",
        needs="free untouched",
    ),
)

_SAID: dict[ItemState, str] = {
    _S.DRAFT: "is a draft and not signed",
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


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: the kind, and the organisation of a pharmacy."""

    who: Who
    organisation: str = ""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What an event makes of an item: the row taken, and who holds it afterwards."""

    row: Row
    holder: str
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
    if event is Event.CLAIM and standing.holder and standing.holder == actor.organisation:
        return Move(row=rows[0], holder=standing.holder, is_unchanged=True)
    here = [row for row in rows if standing.state in row.sources and actor.who in row.who]
    if not here:
        raise ConflictError(f"{said(standing)}; {event} is not possible")
    _check_time(standing, event, now)
    for row in here:
        if not _missing(row, standing, actor):
            holder = (actor.organisation or standing.holder) if row.keeps_holder else ""
            if event is Event.CANCEL_REQUEST:
                holder = standing.holder
            return Move(row=row, holder=holder)
    raise ConflictError(
        f"{said(standing)}; {event} is not possible: {_missing(here[0], standing, actor)}"
    )


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


def _missing(row: Row, standing: Standing, actor: Actor) -> str:
    """What a guard misses, in words, or ""."""
    for need in row.needs.split():
        if need == "held" and (not standing.holder or standing.holder != actor.organisation):
            return "it is not held by this pharmacy"
        if need == "free" and standing.holder:
            return "another pharmacy holds it"
        if need == "untouched" and standing.dispensed > 0:
            return f"{standing.dispensed} of {standing.quantity} were handed over"
        if need == "touched" and standing.dispensed <= 0:
            return "nothing was handed over yet"
    if row.event is Event.UNDO and standing.holder not in {"", actor.organisation}:
        return "another pharmacy holds it"
    return ""


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


def shown(row: Row) -> str:
    """A row as a line of the reference page."""
    sources = ", ".join(sorted(state.value for state in row.sources)) or "-"
    who = ", ".join(sorted(each.value for each in row.who))
    request = row.request + (f" ({row.reason})" if row.reason else "")
    needs = row.needs or "-"
    return (
        f"| {sources} | {row.event.value} | {who} | {needs} | {row.task} / {row.state.value} "
        f"| {request} | {'kept' if row.keeps_holder else '-'} |"
    )
