"""Rates over several processes: one measure for a party, however many workers it reaches."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit.errors import ThrottledError
from dmed.kit.settings import Settings
from dmed.trust import limits, shared_rates
from dmed.trust.limits import Limits
from dmed.trust.shared_rates import SharedRates, key_of


def test_a_rate_runs_out_and_comes_back() -> None:
    """The burst, then nothing, then what time gives back; never more than the burst."""
    rates, key = SharedRates(4.0), key_of("user doctor")
    taken = [rates.take(key, 2.0, 100.0) for _ in range(9)]
    assert taken == [True] * 8 + [False]
    assert rates.take(key, 2.0, 100.4) is False
    assert rates.take(key, 2.0, 100.5) is True
    later = [rates.take(key, 2.0, 1000.0) for _ in range(9)]
    assert later == [True] * 8 + [False]


def test_parties_do_not_share_a_slot() -> None:
    """Two parties of one slot are counted apart; where all are taken the worker counts alone."""
    rates = SharedRates(4.0, slots=2)
    assert [rates.take(key, 1.0, 0.5) for key in (1, 3)] == [True, True]
    assert rates.take(5, 1.0, 0.5) is None
    assert rates.take(5, 1.0, 60.0) is True
    assert key_of("a") != key_of("b")


def test_nobody_moves_to_a_place_that_became_free() -> None:
    """A party keeps its slot, and with it what it has used, when another one is idle again."""
    rates = SharedRates(4.0, slots=2)
    rates.take(1, 1.0, 0.5)
    assert [rates.take(3, 1.0, 0.5) for _ in range(5)] == [True] * 4 + [False]
    assert [rates.take(3, 1.0, 2.0) for _ in range(2)] == [True, False]


def test_forked_workers_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four processes that ask at once for one person, about one burst passes in all."""
    monkeypatch.setattr(shared_rates, "_shared", SharedRates(limits.BURST_SECONDS))
    settings, at = Settings(stranger_rate_per_second=25), time.monotonic()
    scope = {"headers": [], "address": "192.0.2.7"}
    reading, writing = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            passed = 0
            try:
                mine = Limits(settings, lambda scope: str(scope["address"]))
                for _ in range(100):
                    try:
                        mine.leave(mine.enter(scope, at))
                        passed += 1
                    except ThrottledError:
                        pass
                os.write(writing, passed.to_bytes(2))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    told = os.read(reading, 100)
    os.close(reading)
    os.close(writing)

    passed = sum(int.from_bytes(told[place : place + 2]) for place in range(0, len(told), 2))
    assert len(told) == 8
    assert 100 <= passed <= 140


def test_nobody_is_refused_by_half_of_anothers_write() -> None:
    """Two processes that ask for one person as fast as they can, far below the rate: none refused.

    With two numbers a slot, one of some forty thousand was: it read one of them before and one
    after the other's write.
    """
    rates = SharedRates(4.0)
    child = os.fork()
    refused = -1
    try:
        # So fast that each finds the other's moment ahead of now, and in all a fifth of the burst.
        refused = sum(rates.take(77, 1e6, time.monotonic()) is not True for _ in range(400_000))
    finally:
        if not child:
            os._exit(bool(refused))
    _, status = os.waitpid(child, 0)

    assert (refused, os.waitstatus_to_exitcode(status)) == (0, 0)


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.3, 50))
def test_it_is_the_bucket_that_limits_keep(pauses: list[float], rate: float) -> None:
    """One process alone lets the same requests through as a bucket of tokens does."""
    rates, burst, at = SharedRates(4.0), 4.0 * rate, 1_000.0
    credit, since = burst, at
    for pause in pauses:
        at += pause
        credit, since = min(burst, credit + (at - since) * rate), at
        near = abs(credit - 1.0) < 1e-4
        passed = rates.take(9, rate, at)
        assert near or passed is (credit >= 1.0)
        credit -= 1.0 if passed else 0.0


def test_a_process_alone_counts_for_itself() -> None:
    """Nothing is shared unless somebody asks for it before forking."""
    assert shared_rates.shared() is None
