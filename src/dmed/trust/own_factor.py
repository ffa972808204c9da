"""A person's own second factor: set after the password, taken away after it and with a code.

Either ends the person's other sessions (OWASP ASVS 5, 7.4.3): whoever changes a factor may do so
because somebody else is in.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dmed.kit.errors import UnauthorizedError
from dmed.trust import passwords, tables

if TYPE_CHECKING:
    from dmed.trust.identity import Identity


class OwnFactor:
    """What a person does with the own second factor."""

    def __init__(self, identity: Identity, connection: tables.Connection) -> None:
        self._identity = identity
        self._connection = connection

    async def set(self, user: str, password: str, code: str, cookie: str) -> list[str]:
        """A person sets the own second factor: after the password, its first code makes it stand.
        The recovery codes; all other sessions of the person end.

        UnauthorizedError for a wrong password, InvalidError for a wrong code, ThrottledError after
        a few.
        """
        key = await self._check_password(user, password, "set")
        codes = await self._identity.factors.confirm(user, code)
        await tables.forget_attempts(self._connection, key)
        await self._identity.sessions.end_others(user, cookie)
        return codes

    async def drop(self, user: str, password: str, typed: str, cookie: str = "") -> None:
        """Take a person's second factor away after the password and a right code; all other
        sessions end.

        UnauthorizedError for a wrong one of either; ThrottledError after a few.
        """
        key = await self._check_password(user, password, "drop")
        if not await self._identity.factors.passes(user, typed):
            raise UnauthorizedError("The code is not right")
        await tables.forget_attempts(self._connection, key)
        await self._identity.factors.remove(user)
        await self._identity.sessions.end_others(user, cookie)

    async def _check_password(self, user: str, password: str, act: str) -> bytes:
        """The key under which this attempt counts, which is to be forgotten when all was right."""
        key = hashlib.sha256(f"{user}\0factor\0{act}".encode()).digest()
        await self._identity.reserve(key)
        row = await tables.account(self._connection, user)
        if row is None or not await passwords.verified(row["secret"], password):
            raise UnauthorizedError("The name or the password is not right", "password")
        return key
