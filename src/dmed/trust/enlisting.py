"""Accounts that an administrator makes: a first password that is known to two and ends soon.

The platform invents it, shows it once, and its person replaces it before anything opens
(OWASP ASVS 5, 6.4.1).
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dmed.kit.clock import now
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.kit.settings import Settings
from dmed.trust import passwords, people_tables, tables, tokens
from dmed.trust.model import Role, Subject
from dmed.trust.sessions import SignedIn, Stage, subject_from

if TYPE_CHECKING:
    from dmed.trust.identity import Account, Identity

_SIGNS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without signs that are taken for one another: the password is read from a sheet."""
_GROUPS, _GROUP_SIGNS = 4, 4
RESERVED = frozenset({"new"})
"""Sign-in names that are addresses of the administrator's pages."""


def check_first(row: Any) -> None:
    """ForbiddenError (its `place` is "password.first") where a first password has ended."""
    until = row["first_until"]
    if until is not None and until < now():
        raise ForbiddenError(
            "This first password has ended: ask your administrator for a new one", "password.first")


def invented() -> str:
    """A first password of 79 random bits: four groups of four signs."""
    groups = ("".join(secrets.choice(_SIGNS) for _ in range(_GROUP_SIGNS)) for _ in range(_GROUPS))
    return "-".join(groups)


class Known(NamedTuple):
    """An account as the administrator sees it."""

    subject: Subject
    is_open: bool
    is_demo: bool


class Enlisting:
    """What the administrator does with accounts of people."""

    def __init__(
        self, identity: Identity, connection: tables.Connection, settings: Settings
    ) -> None:
        self._identity = identity
        self._connection = connection
        self._hours = settings.first_password_hours

    async def enlist(self, account: Account) -> str:
        """A new account; its first password, which is told here only.

        ConflictError where the sign-in name is taken, InvalidError for one that cannot be one, for
        a role that is no person's, and for a post without its PractitionerRole.
        """
        from dmed.trust.identity import is_user_name, values_of

        if not is_user_name(account.user):
            raise InvalidError(
                "A sign-in name has 2 to 64 Latin letters, digits and hyphens", "user")
        if account.user in RESERVED:
            raise InvalidError(f"The sign-in name {account.user!r} is reserved", "user")
        if account.role in {Role.SERVICE, Role.CITIZEN}:
            raise InvalidError(f"The role {account.role.value} is not given here", "role")
        if account.role is not Role.ADMINISTRATOR and not account.practitioner_role:
            raise InvalidError("A member of staff works in a post: choose one", "post")
        password = invented()
        until = now() + timedelta(hours=self._hours)
        values = (*values_of(account, await passwords.hashed(password)), until)
        if not await tables.new_account(self._connection, values):
            raise ConflictError(f"The sign-in name {account.user!r} is taken")
        return password

    async def renew(self, user: str) -> str:
        """A new first password in place of a forgotten one: all sessions and tokens end.

        NotFoundError without an open account, ForbiddenError for a demo account or a system's.
        """
        row = await tables.account(self._connection, user)
        if row is None or not row["active"]:
            raise NotFoundError(f"There is no open account {user!r}")
        if row["demo"] or row["role"] == Role.SERVICE:
            raise ForbiddenError(f"{user!r} has no first password: it is no person's own account")
        password = invented()
        until = now() + timedelta(hours=self._hours)
        await people_tables.set_first(
            self._connection, user, await passwords.hashed(password), until)
        await self._identity.sessions.end_others(user, "")
        await tables.next_epoch(self._connection)
        return password

    async def look(self, user: str) -> Known:
        """An account, closed ones too; NotFoundError without such."""
        row = await tables.account(self._connection, user)
        if row is None:
            raise NotFoundError(f"There is no account {user!r}")
        return Known(subject_from(row), row["active"], row["demo"])

    async def reopen(self, user: str) -> None:
        """A closed account may be used again; NotFoundError without such."""
        if await tables.account(self._connection, user) is None:
            raise NotFoundError(f"There is no account {user!r}")
        await tables.set_active(self._connection, user, active=True)

    async def choose_own(self, cookie: str, new: str, device: str = "") -> SignedIn:
        """The person's own password in place of the first one; the session goes on.

        InvalidError (its `place` the kind of fault) for one that is short, common or the first one
        again; UnauthorizedError where no session waits for it.
        """
        from dmed.trust.identity import REMEMBERED, Account

        pending = await self._identity.sessions.at_stage(cookie, Stage.PASSWORD)
        who = pending.subject
        row = await tables.account(self._connection, who.user)
        passwords.check_length(new)
        self._identity.check_new(new, Account(
            user=who.user, role=who.role, name=who.name, organisation_name=who.organisation_name))
        before = await people_tables.passwords_before(self._connection, who.user, REMEMBERED - 1)
        for stored in (row["secret"] if row is not None else "", *before):
            if await passwords.verified(stored, new):
                raise InvalidError("This password was one of your last five", "password.again")
        secret = await passwords.hashed(new)
        await people_tables.change_password(self._connection, who.user, secret, REMEMBERED)
        known = tokens.check_device(self._identity.keys, device)
        return await self._identity.advanced(cookie, pending, known)
