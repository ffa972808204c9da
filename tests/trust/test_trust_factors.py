"""The second factor: codes of the standard, drift, replay, recovery, and what lies stored."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.errors import ConflictError, InvalidError
from dmed.store.pool import Database
from dmed.trust import factors
from dmed.trust.factors import STEP_S, Enrolment
from dmed.trust.identity import Identity

RFC = b"12345678901234567890"


@pytest.mark.parametrize(
    ("moment", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(moment: int, code: str) -> None:
    """The last six digits of the SHA-1 vectors of RFC 6238, appendix B."""
    assert factors.code_at(RFC, factors.step_of(moment)) == code


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=20, max_size=20), st.integers(300, 4 * 10**9), st.integers(-5, 5))
def test_only_the_neighbouring_steps_are_taken(secret: bytes, moment: int, off: int) -> None:
    """A code is right for its own step and one before or after, and says which step it was."""
    step = factors.step_of(moment) + off
    found = factors.matching_step(secret, factors.code_at(secret, step), moment)
    if abs(off) <= 1:
        assert found is not None
    else:
        assert found != step


def code_of(made: Enrolment, steps: int = 0) -> str:
    secret = base64.b32decode(made.secret)
    return factors.code_at(secret, factors.step_of(time.time()) + steps)


async def test_a_factor_stands_after_its_first_code(identity: Identity, database: Database) -> None:
    """The page shown twice shows the same secret; a wrong code confirms nothing."""
    made = await identity.factors.pending("doctor")
    again = await identity.factors.pending("doctor")
    with pytest.raises(InvalidError):
        await identity.factors.confirm("doctor", "12345")
    before = await identity.factors.is_set("doctor")
    codes = await identity.factors.confirm("doctor", code_of(made))
    sealed = await database.hot.fetchval("SELECT secret FROM second_factor")
    with pytest.raises(ConflictError):
        await identity.factors.begin("doctor")
    await identity.factors.remove("doctor")

    assert again == made
    assert not before
    assert len(codes) == 10
    assert base64.b32decode(made.secret) not in bytes(sealed)
    assert made.uri.startswith(f"otpauth://totp/DMED:doctor?secret={made.secret}&")


async def test_a_code_works_once(identity: Identity) -> None:
    """Replay within its half minute is refused, and so is an older one."""
    made = await identity.factors.pending("registrar")
    await identity.factors.confirm("registrar", code_of(made, -1))
    first = await identity.factors.passes("registrar", code_of(made))
    second = await identity.factors.passes("registrar", code_of(made))
    older = await identity.factors.passes("registrar", code_of(made, -1))
    await identity.factors.remove("registrar")

    assert (first, second, older) == (True, False, False)


async def test_recovery_codes_work_once_and_lie_as_digests(
    identity: Identity, database: Database
) -> None:
    """However they are typed; a new set voids the old one; nobody else's code works."""
    made = await identity.factors.pending("pharmacist")
    codes = await identity.factors.confirm("pharmacist", code_of(made))
    rows = await database.hot.fetch("SELECT digest FROM recovery_code")
    typed = codes[0].upper().replace("-", " ")
    first = await identity.factors.passes("pharmacist", typed)
    second = await identity.factors.passes("pharmacist", typed)
    other = await identity.factors.passes("doctor", codes[1])
    left = await identity.factors.recovery_left("pharmacist")
    await identity.factors.renew_recovery("pharmacist")
    old = await identity.factors.passes("pharmacist", codes[1])
    await identity.factors.remove("pharmacist")

    assert (first, second, other, left, old) == (True, False, False, 9, False)
    assert len(rows) == 10
    assert all(len(row["digest"]) == 32 for row in rows)


def test_a_code_lives_a_minute_and_a_half_at_most() -> None:
    """The step of thirty seconds and its neighbours."""
    assert (1 + 2 * factors.DRIFT_STEPS) * STEP_S == 90
