"""What an administrator gives back: with proof, not to himself, and never both halves alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit.clock import now
from dmed.kit.errors import ForbiddenError, InvalidError
from dmed.store.pool import Database
from dmed.trust.identity import Account, Identity
from dmed.trust.model import Role
from dmed.trust.recovery import APART, FACTOR, PASSWORD, Given, refusal

AT = now()
SEEN = "passport, at my desk"
ACTS = st.sampled_from([PASSWORD, FACTOR])
NAMES = st.sampled_from(["ann", "ben", "cyd"])
PAST = st.lists(st.builds(Given, ACTS, NAMES, st.integers(0, 14).map(
    lambda days: AT - timedelta(days=days))), max_size=5)  # fmt: skip  # One list.


@given(ACTS, NAMES, PAST)
def test_nobody_gives_both_halves_of_an_account(act: str, by: str, past: list[Given]) -> None:
    """Refused exactly where the same administrator gave the other half within seven days."""
    is_second = any(one.by == by and one.act != act and AT - one.at < APART for one in past)

    assert refusal(act, by, "zoe", SEEN, past, AT) == ("two" if is_second else "")


@pytest.mark.parametrize(("by", "seen", "kind"), [
    ("zoe", SEEN, "own"), ("ann", "", "seen"), ("ann", "  ok ", "seen"), ("ann", "x" * 201, "seen"),
    ("ann", SEEN, ""),
])  # fmt: skip  # A table of cases.
def test_proof_is_written_down(by: str, seen: str, kind: str) -> None:
    """Five to two hundred characters of what was seen; never for the own account."""
    assert refusal(FACTOR, by, "zoe", seen, [], AT) == kind


async def test_two_administrators_give_an_account_back(
    identity: Identity, database: Database
) -> None:
    """The factor by one, the password by another; each is put down with its proof, and a refusal
    changes nothing.
    """
    await identity.save(Account(user="zoe", role=Role.REGISTRAR), "long-enough-word")
    await identity.factors.begin("zoe")
    await database.hot.execute("update second_factor set is_confirmed = true")

    with pytest.raises(InvalidError):
        await identity.recovery.factor("ann", "zoe", "")
    assert await identity.factors.is_set("zoe")
    await identity.recovery.factor("ann", "zoe", SEEN)
    assert not await identity.factors.is_set("zoe")
    with pytest.raises(ForbiddenError, match="another administrator"):
        await identity.recovery.password("ann", "zoe", SEEN)
    assert len(await identity.recovery.password("ben", "zoe", SEEN)) == 19

    rows = await database.hot.fetch("select act, given_by, seen from recovery order by at")
    assert [tuple(row) for row in rows] == [(FACTOR, "ann", SEEN), (PASSWORD, "ben", SEEN)]


async def test_sessions_of_one_person_are_bounded(identity: Identity, database: Database) -> None:
    """The session that was used longest ago ends when there is one too many; a demo's do not."""
    identity.sessions._settings = type(identity.sessions._settings)(
        sessions_max=3, second_factor_roles="")
    await identity.save(Account(user="many", role=Role.REGISTRAR), "long-enough-word")
    opened = [await identity.sign_in("many", "long-enough-word", "") for _ in range(5)]
    shown = [await identity.sign_in("doctor", "doctor-demo", "") for _ in range(5)]

    assert [await identity.session(one.cookie) is not None for one in opened] == [
        False, False, True, True, True]
    assert all([await identity.session(one.cookie) is not None for one in shown])
