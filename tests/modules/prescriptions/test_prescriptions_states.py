"""The state table: every move, every refusal, and what can never happen."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError
from dmed.modules.prescriptions.model import ItemState
from dmed.modules.prescriptions.rules import states
from dmed.modules.prescriptions.rules.states import Actor, Event, Standing, Who

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
HERE, THERE = "pharmacy-a", "pharmacy-b"
FINAL = {ItemState.CANCELLED, ItemState.EXPIRED, ItemState.NOT_DISPENSED, ItemState.PAID,
         ItemState.ENTERED_IN_ERROR, ItemState.REFUSED,
         ItemState.DRAFT_EXPIRED}  # fmt: skip  # One set.
PHARMACY = Actor(who=Who.PHARMACY, organisation=HERE)
DOCTOR = Actor(who=Who.PRESCRIBER)
TIMER = Actor(who=Who.TIMER)
PATIENT = Actor(who=Who.PATIENT)
AUTHORITY = Actor(who=Who.AUTHORITY)
INSURER = Actor(who=Who.INSURER)
LATER = date(2026, 11, 25)


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
    (standing(S.DRAFT, starts=LATER), Event.ACTIVATE, DOCTOR, S.FUTURE, ""),
    (standing(S.DRAFT), Event.DRAFT_END, TIMER, S.DRAFT_EXPIRED, ""),
    (standing(S.FUTURE, starts=NOW.date()), Event.START, TIMER, S.TO_BE_DISPENSED, ""),
    (standing(S.FUTURE, starts=LATER), Event.CANCEL, PATIENT, S.CANCELLED, ""),
    (standing(S.PART_DISPENSED, 4, HERE, instances=3), Event.DISPENSE_REST, PHARMACY, S.FUTURE, ""),
    (standing(S.PART_DISPENSED, 4, HERE, instances=2), Event.CLOSE, PHARMACY, S.FUTURE, ""),
    (standing(S.PART_DISPENSED, 4, HERE, instances=2, instance=2), Event.CLOSE, PHARMACY,
     S.CLOSED_PART, ""),
    (standing(S.FUTURE, instances=2, instance=2), Event.UNDO, PHARMACY, S.UNDONE, HERE),
    (standing(S.PART_DISPENSED, 4, HERE), Event.CANCEL_REQUEST, DOCTOR, S.CANCEL_REQUESTED, HERE),
    (standing(S.CANCEL_REQUESTED, 4, HERE), Event.CANCEL_ACCEPT, PHARMACY, S.CANCELLED, ""),
    (standing(S.CANCEL_REQUESTED, 4, HERE), Event.CANCEL_TOO_LATE, PHARMACY, S.PART_DISPENSED,
     HERE),
    (standing(S.WITH_PHARMACY, 0, HERE), Event.HOLD, AUTHORITY, S.ON_HOLD, HERE),
    (standing(S.ON_HOLD, 0, HERE, held_from=S.WITH_PHARMACY), Event.RELEASE, AUTHORITY,
     S.WITH_PHARMACY, HERE),
    (standing(S.ON_HOLD, 4, held_from=S.PART_DISPENSED), Event.RELEASE, AUTHORITY,
     S.PART_DISPENSED, ""),
    (standing(S.DISPENSED, 10, is_insured=True), Event.CLAIM_PAYMENT, PHARMACY, S.CLAIMED, ""),
    (standing(S.CLAIMED, 10), Event.PAY, INSURER, S.PAID, ""),
    (standing(S.CLAIMED, 10), Event.REFUSE_PAYMENT, INSURER, S.REFUSED, ""),
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
        (standing(S.FUTURE, starts=LATER), Event.CLAIM, PHARMACY, r"\[state future\]"),
        (standing(S.FUTURE, starts=LATER), Event.START, TIMER, "first day has not come"),
        (standing(S.ON_HOLD, 0, HERE), Event.CLAIM, PHARMACY, r"\[state on-hold\]"),
        (standing(S.ON_HOLD, 0, HERE), Event.DISPENSE_REST, PHARMACY, "is on hold"),
        (standing(S.DISPENSED, 10), Event.HOLD, AUTHORITY, "is dispensed"),
        (standing(S.DISPENSED, 10), Event.CLAIM_PAYMENT, PHARMACY, "no insurance"),
        (standing(S.CLAIMED, 10), Event.UNDO, PHARMACY, r"\[state claimed\]"),
        (standing(S.PAID, 10), Event.REFUSE_PAYMENT, INSURER, r"\[state paid\]"),
        (standing(S.TO_BE_DISPENSED), Event.UNDO, PHARMACY, "no earlier repeat"),
        (standing(S.FUTURE, instances=2, instance=2), Event.ERROR, DOCTOR, "earlier repeat"),
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


HANDS = {"here": PHARMACY, "there": Actor(who=Who.PHARMACY, organisation=THERE), "doctor": DOCTOR,
         "patient": PATIENT, "timer": TIMER, "authority": AUTHORITY,
         "insurer": INSURER}  # fmt: skip  # Who may act.
WAYS = st.lists(
    st.tuples(st.sampled_from(list(Event)), st.sampled_from(list(HANDS)), st.integers(1, 10),
              st.integers(0, 40)),
    max_size=40,
)  # fmt: skip  # One strategy.


def _after(before: Standing, made: states.Move, dispensed: Decimal, moment: datetime) -> Standing:
    """The item after a move, as the records would hold it."""
    more = made.row.next_instance
    starts = states.next_start(before, NOW.date(), 7, moment) if more > 0 else before.starts
    return standing(
        made.row.state, 0 if more > 0 else int(dispensed), made.holder,
        lease_until=moment + states.LEASE if made.holder else None, instance=made.instance,
        instances=before.instances, is_insured=before.is_insured, starts=starts,
        held_from=before.state if made.row.event is Event.HOLD else None,
    )  # fmt: skip  # Facts of one item.


@settings(max_examples=300, deadline=None)
@given(WAYS, st.integers(1, 3), st.booleans(), st.booleans())
def test_no_way_breaks_the_invariants(
    way: list[tuple[Event, str, int, int]], instances: int, is_insured: bool, is_later: bool
) -> None:
    """Whatever happens in whatever order: every move is a row of the table, no repeat exceeds what
    was prescribed nor all repeats together, a holder only while it is in progress or on hold,
    nothing opens again but by undo, final states are final, a hold ends where it began.
    """
    item, moment = standing(S.DRAFT, instances=instances, is_insured=is_insured,
                            starts=LATER if is_later else None), NOW  # fmt: skip  # A pair.
    closed: dict[int, Decimal] = {}
    for asked, hand, amount, hours in way:
        event, before = asked, item
        moment += timedelta(hours=hours)
        dispensed = before.dispensed
        try:
            if event in {Event.DISPENSE_PART, Event.DISPENSE_REST, Event.RELEASE_REST}:
                event = states.dispense_event(before, Decimal(amount), event is Event.RELEASE_REST)
                dispensed += amount
            if event is Event.UNDO:
                dispensed = Decimal(0)
            made = states.move(before, event, HANDS[hand], moment)
        except (ConflictError, ForbiddenError):
            continue
        if made.is_unchanged:
            continue
        item = _after(before, made, dispensed, moment)
        assert made.row in states.TABLE
        assert before.state in made.row.sources
        assert HANDS[hand].who in made.row.who
        if made.row.next_instance > 0:
            closed[before.instance] = dispensed
        if made.row.next_instance < 0:
            closed.pop(item.instance)
        assert dispensed <= item.quantity
        assert sum(closed.values()) + item.dispensed <= item.quantity * instances
        assert 1 <= item.instance <= instances
        assert not item.holder or made.row.task in {"in-progress", "on-hold"}
        assert before.state not in FINAL
        if before.state in {S.DISPENSED, S.CLOSED_PART}:
            assert event in {Event.UNDO, Event.CLAIM_PAYMENT}
        if before.state is S.ON_HOLD:
            assert (item.state, item.holder) == (before.held_from, before.holder)
        if made.row.state is S.DISPENSED:
            assert item.dispensed == item.quantity
            assert item.instance == instances
        if made.row.state is S.FUTURE:
            assert item.starts is not None
        if event is Event.START:
            assert item.starts is None or moment.astimezone(clock.TASHKENT).date() >= item.starts


def test_every_guard_is_a_known_word() -> None:
    """No row asks for something that the rules do not know."""
    known = set(states.GUARDS) | {f"was-{state}" for state in ItemState}
    assert {need for row in states.TABLE for need in row.needs.split()} <= known


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("who", list(Who))
def test_every_cell_is_a_row_or_a_clear_refusal(event: Event, who: Who) -> None:
    """State x event x hand: allowed by a row, else 409 that names the state, or 403."""
    for state in ItemState:
        item = standing(state, held_from=S.TO_BE_DISPENSED)
        rows = [row for row in states.TABLE if row.event is event and who in row.who]
        here = [row for row in rows if state in row.sources]
        try:
            made = states.move(item, event, Actor(who=who, organisation=HERE), NOW)
        except ForbiddenError:
            assert not rows
        except ConflictError as refusal:
            said = str(refusal)
            assert rows
            assert event is Event.EXPIRE or "[state " in said
        else:
            assert made.row in here


def _ways_to_stand(state: ItemState) -> list[Standing]:
    """Every combination of what guards ask, of an item in this state."""
    late, soon = NOW - timedelta(minutes=1), NOW + timedelta(hours=1)
    return [
        standing(state, dispensed, holder, instance=instance, instances=2, is_insured=is_insured,
                 starts=starts, valid_until=valid, held_from=before,
                 lease_until=lease if holder else None)
        for dispensed, holder, instance, is_insured in itertools.product(
            (0, 4), ("", HERE, THERE), (1, 2), (False, True))
        for starts, valid, lease in itertools.product(
            (None, LATER), (NOW.date() - timedelta(days=1), LATER), (late, soon))
        for before in (_HELD_FROM if state is S.ON_HOLD else (None,))
    ]  # fmt: skip  # One product.


_HELD_FROM = sorted(row.state for row in states.TABLE if row.event is Event.RELEASE)


@pytest.mark.parametrize("state", list(ItemState))
def test_every_cell_is_reached_or_refused_however_the_item_stands(state: ItemState) -> None:
    """State x event x hand over every combination of what guards ask: each row of the table can be
    taken from each of its states by each of its hands and leads where it says; where there is no
    row nothing is ever allowed: 403 for a hand that never may, else 409.
    """
    ways = _ways_to_stand(state)
    for event, who in itertools.product(Event, Who):
        actor = Actor(who=who, organisation=HERE if who is Who.PHARMACY else "")
        rows = {row for row in states.TABLE
                if row.event is event and state in row.sources and who in row.who}
        may_ever = any(row.event is event and who in row.who for row in states.TABLE)
        taken, refused = set(), set()
        for item in ways:
            try:
                made = states.move(item, event, actor, NOW)
            except (ForbiddenError, ConflictError) as refusal:
                refused.add(refusal.status)
            else:
                assert made.is_unchanged or made.row in rows
                if not made.is_unchanged:
                    taken.add(made.row)
        assert taken == rows, f"{state} x {event} x {who}"
        assert refused <= {409 if may_ever else 403}


def test_a_repeat_waits_for_its_day() -> None:
    """So many courses after the first day; late patients get the next one no earlier than a week
    before the course ends.
    """
    first = date(2026, 11, 22)
    item = standing(S.WITH_PHARMACY, 0, HERE, instances=3)
    assert states.next_start(item, first, 30, NOW) == first + timedelta(days=30)
    late = NOW + timedelta(days=20)
    assert states.next_start(item, first, 30, late) == late.date() + timedelta(days=23)


def test_an_undo_is_of_the_right_repeat() -> None:
    """The open one, or the one before while nothing of the open one is under way."""
    states.check_undo_instance(standing(S.PART_DISPENSED, 4, HERE, instance=2, instances=3), 2)
    states.check_undo_instance(standing(S.FUTURE, instance=2, instances=3), 1)
    for wrong in (standing(S.WITH_PHARMACY, 0, HERE, instance=2, instances=3),
                  standing(S.FUTURE, instance=3, instances=3)):  # fmt: skip  # Two items.
        with pytest.raises(ConflictError, match="was of repeat 1"):
            states.check_undo_instance(wrong, 1)


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
    text = page.read_text(encoding="utf-8").partition("## Operations")[0]
    shown = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]

    assert shown == [states.shown(row) for row in states.TABLE]
