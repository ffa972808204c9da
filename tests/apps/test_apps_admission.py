"""A busy worker refuses what it could not answer soon, and takes all up again afterwards."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.apps.admission import INSIDE_MIN, TARGET_SECONDS, Admission, weight_of
from dmed.kit.errors import ThrottledError, UnavailableError

CLAIM = {"method": "POST", "path": "/fhir/Task/1/$claim", "query_string": b""}
READ = {"method": "GET", "path": "/fhir/Patient/1", "query_string": b""}
SEARCH = {"method": "GET", "path": "/fhir/Patient/$find-person", "query_string": b"q=a"}
FIGURES = {"method": "GET", "path": "/oversight/indicators", "query_string": b""}


class Desk:
    """A worker that ends `rate` requests a second, one after the other, in invented time."""

    def __init__(self, rate: float, seed: int = 0) -> None:
        self.admission = Admission(4_000)
        self.rate, self.now = rate, 0.0
        self.inside: deque[float] = deque()
        self.accepted = self.refused = 0
        self.longest = 0.0
        self.retries: set[int] = set()
        self._chance = random.Random(seed)  # noqa: S311  # Invented moments, no secrets.

    def offer(self, a_second: float, seconds: float, scope: dict[str, Any] = READ) -> None:
        """Requests at a steady rate; ends what is due between them."""
        free = self.now
        for _ in range(int(a_second * seconds)):
            self.now += self._chance.expovariate(a_second)
            while self.inside and max(free, self.inside[0]) + 1 / self.rate <= self.now:
                free = max(free, self.inside[0]) + 1 / self.rate
                self._end(free)
            try:
                self.admission.begin(scope, 1, self.now)
            except UnavailableError as refusal:
                self.refused += 1
                self.retries.add(int(refusal.headers["Retry-After"]))
            else:
                self.accepted += 1
                self.inside.append(self.now)

    def _end(self, at: float) -> None:
        began = self.inside.popleft()
        self.longest = max(self.longest, at - began)
        self.admission.end(began, at)


def test_nobody_is_refused_while_answers_are_quick() -> None:
    """Nine tenths of what a worker can do: everything is let in."""
    desk = Desk(rate=500)
    desk.offer(450, 20)
    assert desk.refused == 0


@settings(max_examples=12, deadline=None)
@given(st.sampled_from([60.0, 150.0, 400.0]), st.floats(1.5, 4.0), st.integers(0, 99))
def test_too_much_is_refused_and_what_is_let_in_is_answered_soon(
    rate: float, times: float, seed: int
) -> None:
    """Whatever a worker can do and however much more is offered: it loses next to nothing of its
    rate, and after the first moments nobody inside waits long.
    """
    desk = Desk(rate, seed)
    desk.offer(rate * times, 4)
    assert desk.retries == {1, 2, 3}
    desk.longest, desk.accepted = 0.0, 0
    desk.offer(rate * times, 6)
    assert desk.accepted >= rate * 6 * 0.9
    assert desk.longest <= max(6 * TARGET_SECONDS, 3 * INSIDE_MIN / rate)


def _clients(admission: Admission, count: int, rates: list[tuple[float, float]]) -> None:
    """So many clients who ask again as soon as they are answered, of a worker whose rate (answers
    a second, one after the other) is one after the other of these for so many seconds each.
    """
    now = 0.0
    inside = deque([now] * count)
    for _ in range(count):
        admission.begin(READ, 1, now)
    for rate, seconds in rates:
        end = now + seconds
        while now < end:
            now += 1 / rate
            admission.end(inside.popleft(), now)
            admission.begin(READ, len(inside), now)
            inside.append(now)


def test_clients_of_quick_answers_are_no_overload() -> None:
    """Thirty clients of a worker that takes 6 ms for each wait 0.18 s; none is refused."""
    _clients(admission := Admission(4_000), 30, [(1 / 0.006, 20)])
    assert admission.refused == 0


def test_a_slow_moment_refuses_nobody() -> None:
    """Slow for 0.3 s (the collector, the disk) now and then: none of thirty clients is refused;
    where it stays slow they are.
    """
    pauses = [(400.0, 1.7), (60.0, 0.3), (400.0, 2.0)] * 3
    _clients(admission := Admission(4_000), 30, pauses)
    assert admission.refused == 0
    with pytest.raises(ThrottledError):
        _clients(Admission(4_000), 30, [(60.0, 3.0)])


def test_after_an_overload_all_are_let_in_again_within_ten_seconds() -> None:
    """The measure grows back while answers are quick."""
    desk = Desk(rate=150)
    desk.offer(900, 10)
    assert desk.refused > 0
    desk.offer(100, 10)
    desk.refused = 0
    desk.offer(100, 5)
    assert desk.refused == 0


def test_a_few_long_answers_are_no_overload() -> None:
    """Fewer than the least number inside are never refused, however long they take."""
    admission = Admission(4_000)
    for at in range(INSIDE_MIN):
        admission.begin(SEARCH, at, float(at))
    admission.end(0.0, 30.0)
    admission.begin(SEARCH, 5, 30.0)


def _fill(admission: Admission, scope: dict[str, Any]) -> None:
    """Lets in what one party asks until the first is refused."""
    before = -1
    while admission.running != before:
        before = admission.running
        with contextlib.suppress(UnavailableError):
            admission.begin(scope, 1, 0.0)


def test_figures_go_first_and_the_counter_stays_longest() -> None:
    """Dashboards, then advice and searches for persons, then all else."""
    admission = Admission(100)
    let_in = {}
    for name, scope in (("figures", FIGURES), ("search", SEARCH), ("claim", CLAIM)):
        _fill(admission, scope)
        let_in[name] = admission.running
    assert let_in == {"figures": 50, "search": 80, "claim": 100}
    assert weight_of(READ) == weight_of(CLAIM)
    assert weight_of({**READ, "path": "/cds-services/x"}) == weight_of(SEARCH)


def test_a_greedy_party_keeps_no_newcomer_out() -> None:
    """Where one party fills the worker it is told so (429); of another one the first request is
    still let in.
    """
    admission = Admission(40)
    _fill(admission, READ)
    with pytest.raises(ThrottledError):
        admission.begin(READ, 40, 0.0)
    with pytest.raises(UnavailableError):
        admission.begin(READ, 3, 0.0)
    admission.begin(READ, 0, 0.0)
