"""The stages of a session: second factor, choice of post, the shared counter, lists and ends."""

from __future__ import annotations

import base64
import secrets
import time

import pytest
from argon2 import PasswordHasher

from dmed.kit.errors import (
    InvalidError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
)
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust import factors, passwords
from dmed.trust.identity import Account, Identity, is_simple
from dmed.trust.model import Role
from dmed.trust.sessions import (
    About,
    SignedIn,
    Stage,
    demanding_roles,
    digest_of,
    next_stage,
)

WORD = "long-enough-word"
_place = 0


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty sign-ins with the least of argon2id: its strength is tested elsewhere."""
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", quick)


async def entered(identity: Identity, user: str, device: str = "", **about: object) -> SignedIn:
    """A sign-in from an address of its own."""
    global _place  # noqa: PLW0603  # Attempts are counted by address.
    _place += 1
    return await identity.sign_in(user, WORD, f"10.20.0.{_place}", device, About(**about))


async def somebody(identity: Identity, role: Role = Role.DOCTOR, *, demo: bool = True) -> str:
    """A new account without records; not demo: its role's rules count."""
    user = f"user-{secrets.token_hex(4)}"
    await identity.save(Account(user=user, role=role, name="Anna", demo=demo), WORD)
    return user


async def code(identity: Identity, user: str, steps: int = 0) -> str:
    """The code that this person's telephone shows."""
    row = await identity._connection.fetchrow(
        "SELECT secret FROM second_factor WHERE account = $1", user
    )
    secret = identity.factors._opened(user, row["secret"])
    return factors.code_at(secret, factors.step_of(time.time()) + steps)


async def with_factor(identity: Identity) -> str:
    """An account whose second factor stands."""
    user = await somebody(identity)
    made = await identity.factors.pending(user)
    step = factors.step_of(time.time()) - 1
    await identity.factors.confirm(user, factors.code_at(base64.b32decode(made.secret), step))
    return user


def test_stages_follow_each_other() -> None:
    """Password, then what is set or demanded, then the choice among several posts."""
    facts = {"is_required": True, "posts": 2}
    assert next_stage(None, has_factor=True, **facts) == Stage.FACTOR
    assert next_stage(None, has_factor=False, **facts) == Stage.ENROL
    assert next_stage(Stage.FACTOR, has_factor=True, **facts) == Stage.POST
    assert next_stage(None, has_factor=False, is_required=False, posts=1) == Stage.OPEN


async def test_a_waiting_session_is_nobodys(identity: Identity) -> None:
    """Until the code is right the cookie opens nothing; then it is another cookie."""
    user = await with_factor(identity)
    waiting = await entered(identity, user)
    assert (waiting.stage, await identity.session(waiting.cookie)) == (Stage.FACTOR, None)
    with pytest.raises(UnauthorizedError):
        await identity.pass_factor(waiting.cookie, "000000", waiting.device)
    opened = await identity.pass_factor(waiting.cookie, await code(identity, user), waiting.device)

    assert opened.stage == Stage.OPEN
    assert await identity.session(opened.cookie) is not None
    assert await identity.sessions.find(waiting.cookie) is None
    with pytest.raises(UnauthorizedError):
        await identity.pass_factor(opened.cookie, await code(identity, user, 1), opened.device)


async def test_codes_are_not_guessed_from_many_browsers(identity: Identity) -> None:
    """Strangers who know the password share one count; the owner's browser is not held up."""
    user = await with_factor(identity)
    mine = await entered(identity, user)
    mine = await identity.pass_factor(mine.cookie, await code(identity, user), mine.device)
    outcomes = []
    for _ in range(8):
        stranger = await entered(identity, user)  # A fresh browser each time.
        with pytest.raises((UnauthorizedError, ThrottledError)) as refused:
            await identity.pass_factor(stranger.cookie, "000000", stranger.device)
        outcomes.append(refused.type)
    again = await entered(identity, user, mine.device)
    opened = await identity.pass_factor(again.cookie, await code(identity, user, 1), again.device)

    assert outcomes.count(UnauthorizedError) <= 6
    assert opened.stage == Stage.OPEN


async def test_a_role_may_demand_a_second_factor(identity: Identity) -> None:
    """The administrator enrols before anything opens; demo accounts are let off."""
    user = await somebody(identity, Role.ADMINISTRATOR, demo=False)
    waiting = await entered(identity, user)
    made = await identity.factors.pending(user)
    right = factors.code_at(base64.b32decode(made.secret), factors.step_of(time.time()))
    opened, codes = await identity.enrol(waiting.cookie, right, waiting.device)

    assert waiting.stage == Stage.ENROL
    assert (opened.stage, len(codes)) == (Stage.OPEN, 10)
    demo = await somebody(identity, Role.ADMINISTRATOR)
    assert (await entered(identity, demo)).stage == Stage.OPEN


async def test_several_posts_are_chosen_from(identity: Identity) -> None:
    """The chosen post decides role and place; it can be changed, and taken away."""
    user = await somebody(identity)
    second = Account(user=user, role=Role.REGISTRAR, practitioner_role="post-2", organisation="o2")
    await identity.save_post(user, second)
    waiting = await entered(identity, user, place="/persons")
    assert (waiting.stage, await identity.session(waiting.cookie)) == (Stage.POST, None)
    with pytest.raises(NotFoundError):
        await identity.sessions.choose_post(waiting.cookie, "somebody-elses")
    opened = await identity.sessions.choose_post(waiting.cookie, "post-2")
    session = await identity.session(opened.cookie)
    assert session is not None
    assert (session.subject.role, session.subject.organisation) == (Role.REGISTRAR, "o2")
    assert opened.place == "/persons"
    back = await identity.sessions.choose_post(opened.cookie, "")
    assert back.subject.role == Role.DOCTOR
    again = await identity.sessions.choose_post(back.cookie, "post-2")
    await identity.drop_post(user, "post-2")
    assert await identity.session(again.cookie) is None


async def test_a_token_is_bound_to_its_post(identity: Identity) -> None:
    """A token of a post that was taken away is refused."""
    from dmed.trust import tokens

    user = await somebody(identity)
    await identity.save_post(user, Account(user=user, role=Role.PHARMACIST, practitioner_role="p2"))
    subject = await identity.in_post(user, "p2")
    token = tokens.make(identity.keys, subject, "").encode()
    assert (await identity.bearer(token)).role == Role.PHARMACIST
    await identity.drop_post(user, "p2")
    identity._epoch_due = 0.0
    with pytest.raises(UnauthorizedError):
        await identity.bearer(token)


async def test_a_counter_is_shared(identity: Identity) -> None:
    """One locks, another works, the first comes back by PIN to where he was; from this browser."""
    first, second = await somebody(identity), await somebody(identity)
    with pytest.raises(InvalidError):
        await identity.set_pin(first, WORD, "123456")
    with pytest.raises(UnauthorizedError):
        await identity.set_pin(first, "not-the-word", "482915")
    await identity.set_pin(first, WORD, "482915")
    one = await entered(identity, first)
    await identity.sessions.lock(one.cookie, "/counter/today")
    assert await identity.session(one.cookie) is None
    two = await entered(identity, second, one.device)
    waiting = await identity.locked_here(two.device)
    with pytest.raises(UnauthorizedError):
        await identity.unlock(two.device, waiting[0]["number"], "482916")
    with pytest.raises(UnauthorizedError):
        await identity.unlock((await entered(identity, second)).device, waiting[0]["number"], WORD)
    opened = await identity.unlock(two.device, waiting[0]["number"], "482915")

    assert (opened.subject.user, opened.place) == (first, "/counter/today")
    assert await identity.session(opened.cookie) is not None
    assert await identity.session(two.cookie) is not None
    assert await identity.locked_here(two.device) == []


@pytest.mark.parametrize("pin", ["111111", "123456", "987654", "121212", "123123", "135791"])
def test_simple_pins_are_refused(pin: str) -> None:
    """Rows and repetitions are what a thief tries first."""
    assert is_simple(pin)
    assert not is_simple("482915")


async def test_shared_computers_end_idle_sooner(identity: Identity, database: Database) -> None:
    """Eleven idle minutes end a session at a shared computer, not at one's own."""
    user = await somebody(identity)
    shared, own = await entered(identity, user, is_shared=True), await entered(identity, user)
    await database.hot.execute(
        "UPDATE page_session SET seen = now() - interval '11 minutes' WHERE account = $1", user
    )

    assert await identity.session(shared.cookie) is None
    assert await identity.session(own.cookie) is not None


async def test_sessions_are_listed_and_ended(identity: Identity) -> None:
    """By number, one or all others; somebody else's number ends nothing."""
    user, other = await somebody(identity), await somebody(identity)
    one, two, three = [await entered(identity, user, agent=f"Browser {n}") for n in range(3)]
    listed = await identity.sessions.of(user)
    with pytest.raises(NotFoundError):
        await identity.sessions.end(other, listed[0]["number"])
    await identity.sessions.end(user, digest_of(one.cookie).hex()[:16])
    ended = await identity.session(one.cookie)
    await identity.sessions.end_others(user, three.cookie)

    assert {row["agent"] for row in listed} == {"Browser 0", "Browser 1", "Browser 2"}
    assert ended is None
    assert await identity.session(two.cookie) is None
    assert await identity.session(three.cookie) is not None


def test_all_staff_sign_in_with_a_second_factor() -> None:
    """As shipped: everybody who may read or write what is known of others, and whoever gives
    rights. Citizens choose for themselves, systems sign with keys.
    """
    assert demanding_roles(Settings()) == set(Role) - {Role.CITIZEN, Role.SERVICE}
