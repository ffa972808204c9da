"""What the marking operator's answers mean: shapes, lies, freshness and the allowance, as rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.modules.pharmacy.model import PackState
from dmed.modules.pharmacy.rules import marking
from dmed.modules.pharmacy.rules.marking import AnswerError, Breaker, Bucket, Marked, read_answer
from dmed.modules.pharmacy.rules.packs import Seen, plain_lot

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
ONE = "0109521001000024" + "21" + "S000000000001"
TWO = "0109521001000024" + "21" + "S000000000002"
FLAT = {"code": ONE, "gtin": "09521001000024", "status": "INTRODUCED", "productSeries": "4A17",
        "expirationDate": "2029-08-31T00:00:00Z", "maxRetailPrice": 125000.50}
NESTED = {"codeData": {"code": ONE, "status": "IN_CIRCULATION"},
          "packageData": {"packageType": "UNIT", "parentCode": "00123", "children": ["a"]},
          "productData": {"expirationDate": "2029-08-31"},
          "turnoverData": {"ownerInfo": {"ownerTin": "309900001"}}}


def _read(told: object, *asked: str) -> marking.Answer:
    return read_answer(json.dumps(told).encode(), asked or (ONE,), NOW)


def test_both_shapes_of_an_answer_are_read() -> None:
    """A flat list and nested results tell state, batch, expiry, price, owner and children."""
    flat = _read([FLAT]).known[ONE].seen
    nested = _read({"results": [NESTED]}).known[ONE]

    assert flat is not None
    assert (flat.state, flat.lot, str(flat.expiry)) == (
        PackState.IN_CIRCULATION, "4A17", "2029-08-31")
    assert nested.seen is not None
    assert (nested.seen.owner, nested.parent, nested.children) == ("309900001", "00123", ("a",))
    told = _read({"results": [FLAT | {"maxRetailPrice": "125000.50"}]}).known[ONE].seen
    assert told is not None
    assert told.price_max == Decimal("125000.50")


@pytest.mark.parametrize("word", sorted(marking.STATES))
def test_every_word_of_the_operator_has_a_state(word: str) -> None:
    """Each of its ten statuses comes to one of ours."""
    assert _read([FLAT | {"status": word}]).known[ONE].seen.state is marking.STATES[word]


def test_missing_and_forbidden_are_told_apart_from_silence() -> None:
    """Only missingCodes, or a bare list without it, says that a code is unknown."""
    both = _read({"results": [NESTED], "missingCodes": [TWO]}, ONE, TWO)
    assert (set(both.known), both.missing) == ({ONE}, {TWO})
    assert _read({"results": [NESTED]}, ONE, TWO).missing == frozenset()
    assert _read([FLAT], ONE, TWO).missing == {TWO}
    assert _read({"results": [], "forbiddenCodes": [ONE]}).forbidden == {ONE}


@pytest.mark.parametrize("row", [
    {"status": "VERKAUFT"}, {"gtin": "04600000000000"}, {"expirationDate": "31.08.2029"},
    {"maxRetailPrice": "viel"}, {"status": None},
])
def test_a_row_that_cannot_be_read_says_nothing(row: dict[str, object]) -> None:
    """An unknown status, another GTIN, a strange date or price: the code counts as not answered."""
    answer = _read([FLAT | row])

    assert (answer.known, answer.missing) == ({}, frozenset())


def test_an_answer_that_contradicts_itself_says_nothing() -> None:
    """The same code twice with two states, or both known and missing."""
    assert _read([FLAT, FLAT | {"status": "RETIRED"}]).known == {}
    answer = _read({"results": [NESTED], "missingCodes": [ONE]})
    assert (answer.known, answer.missing) == ({}, frozenset())


@pytest.mark.parametrize("body", [
    b"", b"{", b"7", b'{"result": "ok"}', b'{"codes": 7}', b'[{"code": "another"}]', b"\xff",
])
def test_nonsense_is_no_answer(body: bytes) -> None:
    """Torn JSON, another shape and an answer about other codes are faults of the operator."""
    with pytest.raises(AnswerError):
        read_answer(body, (ONE,), NOW)


def test_an_operator_that_knows_nothing_is_not_believed() -> None:
    """None of five codes known at once is a bad day of the operator, not five forgeries."""
    codes = [f"0109521001000024" f"21S00000000000{digit}" for digit in range(5)]
    with pytest.raises(AnswerError, match="none of 5"):
        _read({"results": [], "missingCodes": codes}, *codes)
    assert len(_read({"results": [], "missingCodes": codes[:3]}, *codes[:3]).missing) == 3


@settings(max_examples=60, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([ONE]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["code", "status", "results", "codes", "codeData", "packageData",
                         "turnoverData", "children", "missingCodes", "expirationDate"]),
        inner, max_size=5), max_leaves=15))
def test_no_answer_breaks_the_reader(told: object) -> None:
    """Any JSON whatever is an answer or an AnswerError, and names no code that was not asked."""
    try:
        answer = _read(told)
    except AnswerError:
        return
    assert set(answer.known) | answer.missing | answer.forbidden <= {ONE}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=400), st.sampled_from([1, 2, 10, 100]))
def test_no_minute_has_more_requests_than_allowed(apart: list[float], per_minute: int) -> None:
    """However requests come, in no 60 seconds more than the allowance go out."""
    at, sent = NOW, []
    bucket = Bucket(1_000_000.0, NOW, NOW)
    for seconds in apart:
        at += timedelta(seconds=seconds)
        bucket, pause = marking.take(bucket, per_minute, at)
        if pause == 0:
            sent.append(at)
    for place, first in enumerate(sent):
        within = [each for each in sent[place:] if (each - first).total_seconds() < 60]
        assert len(within) <= per_minute


def test_receipts_leave_requests_to_scans_and_a_429_stops_all() -> None:
    """Who may wait stops while some are left; nobody sends before the line is open again."""
    bucket = Bucket(11.0, NOW, NOW)
    bucket, pause = marking.take(bucket, 100, NOW, leave=10)
    assert pause == 0
    _, pause = marking.take(bucket, 100, NOW, leave=10)
    assert pause > 0
    _, pause = marking.take(bucket, 100, NOW)
    assert pause == 0
    _, pause = marking.take(Bucket(20.0, NOW, NOW + timedelta(seconds=30)), 100, NOW)
    assert pause == 30


def _marked(seen: Seen | None, minutes: int) -> Marked:
    return Marked(code=ONE, seen=seen, asked=NOW - timedelta(minutes=minutes))


def test_how_long_an_answer_is_fresh() -> None:
    """Half a day in circulation, minutes where it may change at once, never from the future."""
    good, waits = Seen(state=PackState.IN_CIRCULATION), Seen(state=PackState.NOT_INTRODUCED)
    bad = Seen(state=PackState.WITHDRAWN)
    cases = [(good, 700, True), (good, 721, False), (waits, 9, True), (waits, 11, False),
             (bad, 59, True), (bad, 61, False), (None, 4, True), (None, 6, False),
             (good, -5, False)]  # fmt: skip  # A table.
    for seen, minutes, fresh in cases:
        assert marking.is_fresh(_marked(seen, minutes), NOW) is fresh, (seen, minutes)
    assert marking.is_remembered(_marked(good, 60 * 24 * 29), NOW)
    assert not marking.is_remembered(_marked(good, 60 * 24 * 31), NOW)


def test_an_operator_that_forgets_is_believed_after_a_day() -> None:
    """A serial that it knew stays as it was told, until "unknown" was said for 24 hours."""
    before = _marked(Seen(state=PackState.IN_CIRCULATION), 900)
    first = marking.after(before, ONE, NOW)
    assert first.seen == before.seen
    assert first.missing_since == NOW
    later = marking.after(first, ONE, NOW + timedelta(hours=23))
    assert (later.seen, later.missing_since) == (before.seen, NOW)
    assert marking.after(later, ONE, NOW + timedelta(hours=24)).seen is None
    assert marking.after(None, ONE, NOW).seen is None


def test_three_faults_close_the_line_for_a_while() -> None:
    """Ten seconds after the third, at most a minute."""
    breaker = Breaker()
    for _ in range(2):
        breaker = breaker.failed(NOW, "away")
        assert not breaker.is_open(NOW)
    rests = []
    for _ in range(5):
        breaker = breaker.failed(NOW, "away")
        assert breaker.closed_until is not None
        rests.append((breaker.closed_until - NOW).total_seconds())
    assert rests == [10, 20, 40, 60, 60]
    assert not breaker.is_open(NOW + timedelta(seconds=60))


def test_a_batch_is_the_same_however_it_is_typed() -> None:
    """Small letters, blanks, hyphens and Cyrillic letters that look alike are no other batch."""
    assert plain_lot("4a 17") == plain_lot("4А-17") == plain_lot("4A17")
    assert plain_lot("4A17") != plain_lot("4B17")
