"""Rates, places and lines of parties; and that one of them cannot starve another."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from dmed.kit.errors import ThrottledError, UnavailableError
from dmed.kit.settings import Settings
from dmed.kit.turns import PARTY
from dmed.store.connections import Connections
from dmed.store.pool import Database
from dmed.trust import limits as limits_module
from dmed.trust import refusals
from dmed.trust.limits import BURST_SECONDS, Limits, Line


def _scope(token: str = "", address: str = "192.0.2.1", cookie: str = "") -> dict[str, Any]:
    headers = [(b"host", b"test")]
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    if cookie:
        headers.append((b"cookie", cookie.encode()))
    return {"headers": headers, "address": address}


def _limits(**changes: int) -> Limits:
    return Limits(Settings(**changes), lambda scope: str(scope["address"]))  # type: ignore[arg-type]  # Numbers alone.


def _entered(limits: Limits, scope: dict[str, Any], at: float = 0.0) -> Line:
    line = limits.enter(scope, at)
    assert not limits.is_full(line)
    return line


def test_a_rate_refuses_what_comes_too_fast_and_takes_it_up_again() -> None:
    """Beyond the burst the answer is 429 with Retry-After; a second later there is credit again."""
    limits = _limits(stranger_rate_per_second=2)
    for _ in range(int(2 * BURST_SECONDS)):
        limits.leave(_entered(limits, _scope()))
    with pytest.raises(ThrottledError) as refused:
        limits.enter(_scope(), 0.0)
    limits.leave(_entered(limits, _scope(), at=1.0))

    assert refused.value.headers["Retry-After"] == "1"
    assert limits.refused == 1


def test_unverified_credentials_count_for_their_address() -> None:
    """A hundred invented tokens from one address share its rate; a verified one has its own."""
    limits = _limits(stranger_rate_per_second=1)
    for number in range(int(BURST_SECONDS)):
        limits.leave(_entered(limits, _scope(f"invented-{number}")))
    with pytest.raises(ThrottledError):
        limits.enter(_scope("another"), 0.0)
    limits.learn(_scope("known"), "doctor", 0.0)

    assert limits.knows(limits.enter(_scope("known"), 0.0))


def test_two_tokens_of_one_user_share_one_line() -> None:
    """A second token buys nothing; a refused one counts for its address again."""
    limits = _limits()
    limits.learn(_scope("a"), "doctor", 0.0)
    limits.learn(_scope("b"), "doctor", 0.0)

    assert limits.enter(_scope("a"), 0.0) is limits.enter(_scope("b"), 0.0)
    limits.forget(_scope("b"))
    assert not limits.knows(limits.enter(_scope("b"), 0.0))


def test_a_page_session_has_the_rate_of_people() -> None:
    """What comes by cookie is a person at a screen: it has the lower rate of pages."""
    limits = _limits(page_rate_per_second=1)
    limits.learn(_scope(cookie="dmed_session=x"), "doctor", 0.0)
    for _ in range(int(BURST_SECONDS)):
        limits.leave(_entered(limits, _scope(cookie="dmed_session=x")))

    with pytest.raises(ThrottledError):
        limits.enter(_scope(cookie="dmed_session=x"), 0.0)


async def test_a_party_waits_in_its_own_line_which_is_bounded() -> None:
    """Two run, three wait, the sixth is 429; another party's request runs at once."""
    limits = _limits(party_running_max=2, party_waiting_max=3)
    running = [_entered(limits, _scope(address="greedy")) for _ in range(2)]
    waiting = []
    for _ in range(3):
        line = limits.enter(_scope(address="greedy"), 0.0)
        assert limits.is_full(line)
        waiting.append(asyncio.ensure_future(limits.wait(line)))
        await asyncio.sleep(0)
    with pytest.raises(ThrottledError, match="under way"):
        limits.enter(_scope(address="greedy"), 0.0)
    other = _entered(limits, _scope(address="polite"))
    limits.leave(other)
    limits.leave(running[0])
    await waiting[0]

    assert [one.done() for one in waiting] == [True, False, False]
    waiting[1].cancel()
    await asyncio.gather(waiting[1], return_exceptions=True)
    for _ in range(3):
        limits.leave(line)
        await asyncio.sleep(0)
    assert (limits.count, line.running, len(line.waiting)) == (0, 0, 0)


def test_a_full_worker_says_so() -> None:
    """Beyond the worker's whole measure the answer is 503 with Retry-After, whoever asks."""
    limits = _limits(requests_max=1)
    _entered(limits, _scope(address="a"))

    with pytest.raises(UnavailableError) as refused:
        limits.enter(_scope(address="b"), 0.0)
    assert refused.value.headers["Retry-After"] == "1"


def test_a_flood_of_addresses_is_forgotten() -> None:
    """Lines of parties that are idle do not gather: the memory is bounded."""
    limits = _limits()
    for number in range(20_050):
        limits.leave(_entered(limits, _scope(address=str(number)), at=float(number)))

    assert len(limits._lines) < 20_010


async def test_connections_go_out_in_turns_of_the_parties() -> None:
    """Behind fifty waiting statements of one party, another party's single one is served second."""
    served: list[str] = []

    class Nothing:
        def is_closed(self) -> bool:
            return False

        def is_in_transaction(self) -> bool:
            return False

    async def connect() -> Nothing:
        return Nothing()

    connections = Connections(connect, 1)

    async def work(party: str) -> None:
        PARTY.set(party)
        async with connections.acquire(timeout=10):
            served.append(party)
            await asyncio.sleep(0)

    greedy = [asyncio.create_task(work("greedy")) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.gather(asyncio.create_task(work("polite")), *greedy)

    assert served.index("polite") <= 3
    assert len(served) == 51


def test_the_door_costs_little() -> None:
    """Entering and leaving is far below what a request costs (bench/trust.py tells the figure)."""
    limits = _limits(party_rate_per_second=10_000_000)
    scope = _scope("t" * 400)
    limits.learn(scope, "service", 0.0)
    began = time.process_time()
    for _ in range(10_000):
        limits.leave(_entered(limits, scope))

    assert (time.process_time() - began) / 10_000 < 50e-6


def _flood(limits: Limits, times: int, **scope: str) -> None:
    for _ in range(times):
        try:
            limits.leave(_entered(limits, _scope(**scope)))
        except ThrottledError:
            continue


async def test_refusals_by_rate_are_one_audit_row_a_party_and_minute(database: Database) -> None:
    """However many there were; a person by name, a stranger by address. Nothing is told twice."""
    limits = _limits(stranger_rate_per_second=1, party_rate_per_second=1)
    limits.learn(_scope(token="t"), "greedy", 0.0)
    _flood(limits, 50, address="192.0.2.7")
    _flood(limits, 30, token="t")

    assert await refusals.write(database, limits) == 2
    assert await refusals.write(database, limits) == 0
    rows = await database.hot.fetch(
        "select t.detail, a.subject from audit t join audit_actor a on a.number = t.actor"
        " where t.outcome = 429 order by t.detail")

    assert [(row["detail"], row["subject"]) for row in rows] == [
        ("refused by rate: 26 within a minute by a token", "greedy"),
        ("refused by rate: 46 within a minute by address 192.0.2.7", "-")]


def test_a_flood_of_parties_does_not_fill_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound parties are told of together."""
    monkeypatch.setattr(limits_module, "_TOLD_MAX", 3)
    limits = _limits(stranger_rate_per_second=1)
    for number in range(9):
        _flood(limits, 5, address=f"192.0.2.{number}")

    told = [row.detail for row in refusals.rows_of(limits.told())]

    assert len(told) == 4
    assert "refused by rate: 6 within a minute by further parties" in told
