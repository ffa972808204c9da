"""The state table: every move, every refusal, and what can never happen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError
from dmed.modules.prescriptions.model import ItemState
from dmed.modules.prescriptions.rules import states
from dmed.modules.prescriptions.rules.states import Actor, Event, Standing, Who

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
HERE, THERE = "pharmacy-a", "pharmacy-b"
FINAL = {ItemState.CANCELLED, ItemState.EXPIRED, ItemState.NOT_DISPENSED,
         ItemState.ENTERED_IN_ERROR}  # fmt: skip  # One set.
PHARMACY = Actor(who=Who.PHARMACY, organisation=HERE)
DOCTOR = Actor(who=Who.PRESCRIBER)
TIMER = Actor(who=Who.TIMER)


def standing(state: ItemState, dispensed: int = 0, holder: str = "", **more: object) -> Standing:
    """An item of ten units, valid for a week."""
    fields: dict[str, object] = {
        "number": 1, "state": state, "quantity": Decimal(10), "dispensed": Decimal(dispensed),
        "valid_until": date(2026, 11, 29), "holder": holder, "holder_name": holder,
        "lease_until": NOW + timedelta(hours=1) if holder else None, **more,
    }  # fmt: skip  # Facts of one item.
    return Standing(**fields)  # type: ignore[arg-type]  # Fields of the struct by name.


S = ItemState
MOVES = [
    (standing(S.DRAFT), Event.ACTIVATE, DOCTOR, S.TO_BE_DISPENSED, ""),
    (standing(S.TO_BE_DISPENSED), Event.CLAIM, PHARMACY, S.WITH_PHARMACY, HERE),
    (standing(S.PART_DISPENSED, 4), Event.CLAIM, PHARMACY, S.PART_DISPENSED, HERE),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.RETURN, PHARMACY, S.TO_BE_DISPENSED, ""),
    (standing(S.PART_DISPENSED, 4, HERE), Event.RETURN, PHARMACY, S.PART_DISPENSED, ""),
    (standing(S.UNDONE, 0, HERE), Event.RETURN, PHARMACY, S.TO_BE_DISPENSED, ""),
    (standing(S.UNDONE, 3, HERE), Event.RETURN, PHARMACY, S.PART_DISPENSED, ""),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.DISPENSE_PART, PHARMACY, S.PART_DISPENSED, HERE),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.RELEASE_REST, PHARMACY, S.PART_DISPENSED, ""),
    (standing(S.PART_DISPENSED, 4, HERE), Event.DISPENSE_REST, PHARMACY, S.DISPENSED, ""),
    (standing(S.PART_DISPENSED, 4, HERE), Event.CLOSE, PHARMACY, S.CLOSED_PART, ""),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.NOT_DISPENSED, PHARMACY, S.TO_BE_DISPENSED, ""),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.REJECT, PHARMACY, S.NOT_DISPENSED, ""),
    (standing(S.TO_BE_DISPENSED), Event.CANCEL, DOCTOR, S.CANCELLED, ""),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.CANCEL_REQUEST, DOCTOR, S.CANCEL_REQUESTED, HERE),
    (standing(S.CANCEL_REQUESTED, 0, HERE), Event.CANCEL_ACCEPT, PHARMACY, S.CANCELLED, ""),
    (standing(S.CANCEL_REQUESTED, 0, HERE), Event.CANCEL_TOO_LATE, PHARMACY, S.WITH_PHARMACY,
     HERE),
    (standing(S.DISPENSED, 10), Event.UNDO, PHARMACY, S.UNDONE, HERE),
    (standing(S.CLOSED_PART, 4), Event.UNDO, PHARMACY, S.UNDONE, HERE),
    (standing(S.TO_BE_DISPENSED), Event.ERROR, DOCTOR, S.ENTERED_IN_ERROR, ""),
]  # fmt: skip  # A table: from, event, who, to, holder.


@pytest.mark.parametrize(("before", "event", "actor", "after", "holder"), MOVES)
def test_legal_moves(
    before: Standing, event: Event, actor: Actor, after: ItemState, holder: str
) -> None:
    """Each row of the way leads where the table says, and to the right holder."""
    made = states.move(before, event, actor, NOW)

    assert made.row.state is after
    assert made.holder == holder


@pytest.mark.parametrize(
    ("before", "event", "actor", "said"),
    [
        (standing(S.WITH_PHARMACY, 0, THERE), Event.CLAIM, PHARMACY, "pharmacy-b"),
        (standing(S.PART_DISPENSED, 4, THERE), Event.CLAIM, PHARMACY, "another pharmacy holds it"),
        (standing(S.DISPENSED, 10), Event.CLAIM, PHARMACY, r"\[state dispensed\]"),
        (standing(S.CANCELLED), Event.CLAIM, PHARMACY, r"\[state cancelled\]"),
        (standing(S.EXPIRED), Event.CLAIM, PHARMACY, r"\[state expired\]"),
        (standing(S.WITH_PHARMACY, 0, THERE), Event.RETURN, PHARMACY, "not held by this"),
        (standing(S.WITH_PHARMACY, 0, THERE), Event.DISPENSE_REST, PHARMACY, "not held by this"),
        (standing(S.TO_BE_DISPENSED), Event.DISPENSE_REST, PHARMACY, "waits to be dispensed"),
        (standing(S.PART_DISPENSED, 4, HERE), Event.REJECT, PHARMACY, "is partly dispensed"),
        (standing(S.UNDONE, 0, HERE), Event.CLOSE, PHARMACY, "nothing was handed over"),
        (standing(S.DISPENSED, 10), Event.CANCEL, DOCTOR, "is dispensed"),
        (standing(S.PART_DISPENSED, 4), Event.CANCEL, DOCTOR, "is partly dispensed"),
        (standing(S.PART_DISPENSED, 4, THERE), Event.UNDO, PHARMACY, "another pharmacy holds it"),
        (standing(S.TO_BE_DISPENSED), Event.EXPIRE, TIMER, "is valid until 2026-11-29"),
        (standing(S.WITH_PHARMACY, 0, HERE), Event.LEASE_END, TIMER, "lease has not ended"),
    ],
)
def test_illegal_moves_name_the_state(
    before: Standing, event: Event, actor: Actor, said: str
) -> None:
    """A move that the state forbids is a 409 that names the state and the holder."""
    with pytest.raises(ConflictError, match=said) as caught:
        states.move(before, event, actor, NOW)
    assert caught.value.status == 409


@pytest.mark.parametrize(
    ("event", "actor"),
    [(Event.CLAIM, DOCTOR), (Event.CANCEL, PHARMACY), (Event.EXPIRE, PHARMACY),
     (Event.UNDO, DOCTOR), (Event.ACTIVATE, PHARMACY)],
)  # fmt: skip  # Pairs.
def test_the_wrong_hand_is_forbidden(event: Event, actor: Actor) -> None:
    """What somebody may never do is a 403 whatever the state."""
    with pytest.raises(ForbiddenError):
        states.move(standing(S.TO_BE_DISPENSED), event, actor, NOW)


def test_claiming_again_changes_nothing() -> None:
    """The same pharmacy gets the same lease; nothing is written."""
    for state in (S.WITH_PHARMACY, S.PART_DISPENSED, S.UNDONE):
        made = states.move(standing(state, 0, HERE), Event.CLAIM, PHARMACY, NOW)
        assert made.is_unchanged
        assert made.holder == HERE


def test_expiry_is_local_midnight() -> None:
    """A prescription valid until the 29th can be claimed until midnight in Tashkent."""
    last = datetime(2026, 11, 29, 18, 59, 59, tzinfo=UTC)
    item = standing(S.TO_BE_DISPENSED)

    assert states.move(item, Event.CLAIM, PHARMACY, last).holder == HERE
    with pytest.raises(ConflictError, match="valid until"):
        states.move(item, Event.EXPIRE, TIMER, last)
    after = last + timedelta(seconds=1)
    with pytest.raises(ConflictError, match=r"has expired on 2026-11-29 \[state expired\]"):
        states.move(item, Event.CLAIM, PHARMACY, after)
    assert states.move(item, Event.EXPIRE, TIMER, after).row.reason == "expired"


def test_a_lease_ends_where_the_item_came_from() -> None:
    """Untouched items are ready again, part-dispensed ones stay part-dispensed without holder."""
    late = NOW + timedelta(hours=2)
    free = states.move(standing(S.WITH_PHARMACY, 0, HERE), Event.LEASE_END, TIMER, late)
    part = states.move(standing(S.PART_DISPENSED, 4, HERE), Event.LEASE_END, TIMER, late)
    asked = states.move(standing(S.CANCEL_REQUESTED, 0, HERE), Event.LEASE_END, TIMER, late)

    assert (free.row.state, free.holder) == (S.TO_BE_DISPENSED, "")
    assert (part.row.state, part.holder) == (S.PART_DISPENSED, "")
    assert asked.row.state is S.CANCELLED


@given(st.decimals(-5, 25, places=1), st.integers(0, 10), st.booleans())
def test_the_sum_never_passes_what_was_authorised(
    quantity: Decimal, dispensed: int, release: bool
) -> None:
    """Handing over is the rest exactly when the sum is reached; more is refused."""
    item = standing(S.PART_DISPENSED if dispensed else S.WITH_PHARMACY, dispensed, HERE)
    total = quantity + dispensed
    if quantity <= 0:
        with pytest.raises(InvalidError):
            states.dispense_event(item, quantity, release)
    elif total > 10:
        with pytest.raises(ConflictError, match="would exceed the 10 authorised"):
            states.dispense_event(item, quantity, release)
    else:
        event = states.dispense_event(item, quantity, release)
        assert (event is Event.DISPENSE_REST) == (total == 10)


EVENTS = st.lists(
    st.tuples(st.sampled_from(list(Event)), st.sampled_from([HERE, THERE, "", "timer"]),
              st.integers(1, 10)),
    max_size=25,
)  # fmt: skip  # One strategy.


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_no_way_breaks_the_invariants(way: list[tuple[Event, str, int]]) -> None:
    """Whatever happens in whatever order: never more than authorised, a holder only in held
    states, a closed authorisation never opens again except by undo, final states are final.
    """
    item, moment = standing(S.TO_BE_DISPENSED), NOW
    for asked, by, amount in way:
        event = asked
        moment += timedelta(hours=5)
        actor = (TIMER if by == "timer" else Actor(who=Who.PHARMACY, organisation=by) if by
                 else DOCTOR)  # fmt: skip  # Three hands.
        before = item
        try:
            dispensed = before.dispensed
            if event in {Event.DISPENSE_PART, Event.DISPENSE_REST, Event.RELEASE_REST}:
                event = states.dispense_event(before, Decimal(amount), event is Event.RELEASE_REST)
                dispensed += amount
            if event is Event.UNDO:
                dispensed = Decimal(0)
            made = states.move(before, event, actor, moment)
        except (ConflictError, ForbiddenError):
            continue
        if made.is_unchanged:
            continue
        item = standing(made.row.state, int(dispensed), made.holder,
                        lease_until=moment + states.LEASE)
        assert item.dispensed <= item.quantity
        assert not item.holder or made.row.task == "in-progress"
        assert before.state not in FINAL
        if before.state in {S.DISPENSED, S.CLOSED_PART}:
            assert event is Event.UNDO
        if made.row.state is S.DISPENSED:
            assert item.dispensed == item.quantity


def test_undo_within_ten_days_at_the_same_place() -> None:
    """Another pharmacy, or the eleventh day, is a 409."""
    states.check_undo(NOW - timedelta(days=10), HERE, PHARMACY, NOW)
    with pytest.raises(ConflictError, match="Only the pharmacy"):
        states.check_undo(NOW, THERE, PHARMACY, NOW)
    with pytest.raises(ConflictError, match="within 10 days"):
        states.check_undo(NOW - timedelta(days=10, seconds=1), HERE, PHARMACY, NOW)


def test_signing_happens_within_a_day_of_writing() -> None:
    """AuthoredOn a day away is accepted, beyond it refused, in both directions."""
    states.check_signing_time(NOW - timedelta(days=1), NOW)
    for wrong in (timedelta(days=-1, seconds=-1), timedelta(days=1, seconds=1)):
        with pytest.raises(ConflictError, match="more than a day"):
            states.check_signing_time(NOW + wrong, NOW)


def test_the_reference_page_is_this_table() -> None:
    """docs/reference/prescription-states.md holds every row of the table, and no other."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "prescription-states.md"
    text = page.read_text(encoding="utf-8")
    shown = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]

    assert shown == [states.shown(row) for row in states.TABLE]
