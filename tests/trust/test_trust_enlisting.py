"""Accounts that an administrator makes: the first password ends soon and opens nothing itself."""

from __future__ import annotations

import msgspec
import pytest
import pytest_asyncio

from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
)
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.enlisting import RESERVED, invented
from dmed.trust.identity import Account, Identity
from dmed.trust.keys import load_keys
from dmed.trust.model import Role
from dmed.trust.sessions import Stage

ADDRESS = "10.9.0.1"
OWN = "krug-na-vode-17-lodok"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def identity(database: Database, settings: Settings) -> Identity:
    """Accounts with the demo users; no role demands a second factor."""
    plain = msgspec.structs.replace(settings, second_factor_roles="")
    made = Identity(database.hot, plain, load_keys(settings.data))
    await made.save_demo()
    return made


def account(user: str, **more: object) -> Account:
    """An account of an administrator, who needs no post."""
    facts = {"role": Role.ADMINISTRATOR, "name": "Aliyeva Zuhra"}
    return Account(user=user, **{**facts, **more})  # type: ignore[arg-type]  # Facts of a row.


async def test_a_first_password_opens_nothing_until_an_own_one_is_chosen(
    identity: Identity
) -> None:
    """It leads to the choice of an own password; then the session is open, the first one is
    refused, and the own one leads in at once.
    """
    first = await identity.enlisting.enlist(account("zuhra"))

    begun = await identity.sign_in("zuhra", first, ADDRESS)
    assert begun.stage is Stage.PASSWORD
    assert await identity.session(begun.cookie) is None
    opened = await identity.enlisting.choose_own(begun.cookie, OWN)

    assert opened.stage is Stage.OPEN
    assert await identity.session(opened.cookie) is not None
    assert await identity.session(begun.cookie) is None
    with pytest.raises(UnauthorizedError):
        await identity.sign_in("zuhra", first, ADDRESS)
    assert (await identity.sign_in("zuhra", OWN, ADDRESS)).stage is Stage.OPEN


async def test_a_first_password_ends_by_itself(identity: Identity, database: Database) -> None:
    """After its hours it is refused, but only to who knows it; a new one leads in again."""
    first = await identity.enlisting.enlist(account("late"))
    await database.hot.execute(
        "UPDATE account SET first_until = now() - interval '1 second' WHERE name = 'late'")

    with pytest.raises(ForbiddenError) as refused:
        await identity.sign_in("late", first, ADDRESS)
    assert refused.value.issues[0].expression == "password.first"
    with pytest.raises(UnauthorizedError):
        await identity.sign_in("late", "some-other-word", ADDRESS)

    second = await identity.enlisting.renew("late")
    assert (await identity.sign_in("late", second, ADDRESS)).stage is Stage.PASSWORD


async def test_a_forgotten_password_ends_every_session(identity: Identity) -> None:
    """After the administrator's new one no session of before opens anything."""
    first = await identity.enlisting.enlist(account("forgetful"))
    begun = await identity.sign_in("forgetful", first, ADDRESS)
    opened = await identity.enlisting.choose_own(begun.cookie, OWN)
    await identity.enlisting.renew("forgetful")
    assert await identity.session(opened.cookie) is None
    with pytest.raises(UnauthorizedError):
        await identity.sign_in("forgetful", OWN, ADDRESS)


@pytest.mark.parametrize("fault", ["short", "the first again", "common"])
async def test_a_weak_own_password_is_refused_and_may_be_chosen_again(
    identity: Identity, fault: str
) -> None:
    """The session waits on; nothing was changed."""
    user = f"weak-{fault.replace(' ', '-')}"
    first = await identity.enlisting.enlist(account(user))
    begun = await identity.sign_in(user, first, ADDRESS)
    chosen = {"short": "kurz", "the first again": first, "common": "password12345"}[fault]
    with pytest.raises(InvalidError):
        await identity.enlisting.choose_own(begun.cookie, chosen)
    assert (await identity.enlisting.choose_own(begun.cookie, OWN)).stage is Stage.OPEN


async def test_an_open_session_is_no_place_to_choose_without_the_old_password(
    identity: Identity
) -> None:
    """Whoever finds an open session cannot set a password there by the way of the first one."""
    opened = await identity.sign_in("doctor", "doctor-demo", ADDRESS)
    with pytest.raises(UnauthorizedError):
        await identity.enlisting.choose_own(opened.cookie, OWN)


@pytest.mark.parametrize(("made", "error"), [
    (account("doctor"), ConflictError),
    (account("a b"), InvalidError),
    *[(account(name), InvalidError) for name in sorted(RESERVED)],
    (account("svc", role=Role.SERVICE), InvalidError),
    (account("cit", role=Role.CITIZEN), InvalidError),
    (account("nopost", role=Role.DOCTOR), InvalidError),
])  # fmt: skip  # A table.
async def test_what_cannot_be_an_account_is_refused(
    identity: Identity, made: Account, error: type[Exception]
) -> None:
    """A name that is taken, no name, a reserved one, a role of systems or citizens, no post."""
    with pytest.raises(error):
        await identity.enlisting.enlist(made)


async def test_no_first_password_for_demo_and_systems(identity: Identity) -> None:
    """Demo passwords are public and stay; a system has keys; nobody has none."""
    for user, error in (("doctor", ForbiddenError), ("service", ForbiddenError),
                        ("nobody-here", NotFoundError)):
        with pytest.raises(error):
            await identity.enlisting.renew(user)


async def test_a_closed_account_opens_again(identity: Identity) -> None:
    """Closed it is refused at the door; opened again its own password still holds."""
    first = await identity.enlisting.enlist(account("closing"))
    begun = await identity.sign_in("closing", first, ADDRESS)
    await identity.enlisting.choose_own(begun.cookie, OWN)
    await identity.close_account("closing")
    assert not (await identity.enlisting.look("closing")).is_open
    with pytest.raises(UnauthorizedError):
        await identity.sign_in("closing", OWN, ADDRESS)
    await identity.enlisting.reopen("closing")
    assert (await identity.sign_in("closing", OWN, ADDRESS)).stage is Stage.OPEN


async def test_accounts_are_found_by_beginnings_and_not_all_listed(identity: Identity) -> None:
    """By sign-in name or a word of the name; signs of patterns find nothing more."""
    await identity.enlisting.enlist(account("found-1", name="Qosimov Sherzod"))
    for text in ("found", "Qosim", "sherz"):
        assert [row["name"] for row in await identity.accounts(text)] == ["found-1"]
    assert await identity.accounts("%osim") == []
    assert len(await identity.accounts(most=3)) == 3


def test_first_passwords_differ_and_have_no_signs_that_look_alike() -> None:
    """A thousand of them: all different, four groups of four, none of 0, 1, i, l, o."""
    made = {invented() for _ in range(1000)}
    assert len(made) == 1000
    assert all([len(part) for part in one.split("-")] == [4, 4, 4, 4] for one in made)
    assert not set("".join(made)) & set("01ilo")
