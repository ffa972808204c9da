"""The register of licences behind its port: the simulator's failures, and the check's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.apps.licence_sim import MODES, Simulator
from dmed.kit.errors import InvalidError, UnavailableError
from dmed.kit.settings import Settings
from dmed.modules.developers.model import Call, Kind, Result
from dmed.modules.developers.rules import judge
from dmed.modules.developers.rules.errors import catalogue
from dmed.modules.developers.service import register
from dmed.modules.developers.service.register import (
    HttpRegister,
    Invented,
    invented_code,
    register_of,
)

LICENCE = "T-2026-1001"


@pytest_asyncio.fixture
async def simulated() -> AsyncIterator[tuple[Simulator, HttpRegister]]:
    """A register that can be made to fail, and who asks it."""
    simulator = Simulator(key="secret")
    server = await asyncio.start_server(simulator.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield simulator, HttpRegister(f"http://127.0.0.1:{port}", "secret")
    server.close()


async def test_a_register_that_is_well_answers(simulated):
    """A known licence, one that is none, a code that was sent, right and wrong."""
    simulator, asked = simulated
    found = await asked.look_up(LICENCE)
    await asked.send_code(LICENCE)

    assert found is not None
    assert (found.number, found.tax_id, found.kind) == (LICENCE, "309901001", Kind.CLINIC)
    assert await asked.look_up("T-0000-9999") is None
    assert simulator.sent == [LICENCE]
    assert await asked.check_code(LICENCE, invented_code(LICENCE))
    assert not await asked.check_code(LICENCE, "000000")


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "slow"])
async def test_a_register_that_fails_is_said_to_be_away(simulated, mode):
    """Cut connections, 503, nonsense and an answer about another licence admit nobody."""
    simulator, asked = simulated
    simulator.mode = mode
    with pytest.raises(UnavailableError):
        await asked.look_up(LICENCE)


async def test_a_slow_register_is_not_waited_for(simulated, monkeypatch):
    """After the time limit it counts as away."""
    simulator, asked = simulated
    simulator.mode = "slow"
    monkeypatch.setattr(register, "TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError):
        await asked.look_up(LICENCE)


async def test_a_wrong_key_of_the_register_admits_nobody(simulated):
    """401 of the register is its being away for us, never an unknown licence."""
    _, asked = simulated
    stranger = HttpRegister(f"http://127.0.0.1:{asked._parts.port}", "wrong")
    with pytest.raises(UnavailableError):
        await stranger.look_up(LICENCE)


def test_invented_licences_serve_demonstrations_alone():
    """Without a register only an installation with demo accounts knows the invented ones."""
    assert isinstance(register_of(Settings(), is_demo=True), Invented)
    with pytest.raises(UnavailableError, match="DMED_LICENCE_REGISTER"):
        register_of(Settings(), is_demo=False)
    with pytest.raises(InvalidError):
        register_of(Settings(licence_register="ftp://x"), is_demo=True)


def _call(number: int, **given) -> Call:
    moment = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=number)
    return Call(**{"number": number, "made": moment, "method": "GET", "path": "metadata",
                   "status": 200, "digest": str(number), **given})


def _result(steps, key):
    return next(step for step in steps if step.key == key)


def test_coming_again_too_soon_or_changed_does_not_pass():
    """After 503 the same request must come, and not before Retry-After; each fault is told."""
    away = _call(1, status=503, digest="x", method="POST", facts={"retry_after": 5})
    again = _call(2, status=200, digest="x", method="POST")
    late = _call(9, status=200, digest="x", method="POST")

    soon = _result(judge(Kind.CLINIC, [away, again]), "retry")
    good = _result(judge(Kind.CLINIC, [away, late]), "retry")
    other = _result(judge(Kind.CLINIC, [away, _call(9, status=200, digest="y")]), "retry")
    assert (soon.result, soon.why.key) == (Result.FAILED, "developers.why.too-soon")
    assert good.result is Result.PASSED
    assert (other.result, other.why.key) == (Result.FAILED, "developers.why.not-again")


def test_a_loop_of_refused_requests_fails():
    """The same refused request three times is a loop; two are forgiven."""
    refused = [_call(number, status=400, digest="same") for number in (1, 2)]

    assert _result(judge(Kind.CLINIC, refused), "refusals").result is Result.PASSED
    looped = _result(judge(Kind.CLINIC, [*refused, _call(3, status=400, digest="same")]),
                     "refusals")
    assert (looped.result, looped.why.values["count"]) == (Result.FAILED, "3")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(
    _call, st.integers(1, 50), status=st.sampled_from([200, 201, 400, 412, 503]),
    method=st.sampled_from(["GET", "POST", "PUT"]), by_hand=st.booleans(),
    facts=st.dictionaries(
        st.sampled_from(["type", "search", "by_pinfl", "if_match", "lacks", "linked"]),
        st.sampled_from(["Patient", "Encounter", "Bundle", True, ["name"]]), max_size=3)),
    max_size=12))
def test_the_check_is_total_and_blind_to_calls_by_hand(calls):
    """Whatever was called, each step has an outcome, a failure says why, and calls with the page's
    token change nothing.
    """
    for kind in Kind:
        steps = judge(kind, calls)
        assert steps == judge(kind, [call for call in calls if not call.by_hand])
        assert all((step.result is Result.FAILED) == (step.why is not None) for step in steps)


def test_the_catalogue_names_each_status_with_its_cause():
    """The page of errors is made of the classes: their status and code, each with a sentence."""
    found = catalogue()

    assert {one.status for one in found} >= {400, 401, 403, 404, 405, 409, 410, 412, 413, 422,
                                             429, 503}
    assert all(len(one.when) > 10 for one in found)
