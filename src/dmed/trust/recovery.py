"""What an administrator gives back to who lost it: a first password, or a way in without factor.

Each is a way round what protects an account, so it asks for as much as making the account did
(OWASP ASVS 5, 6.4.3 and 6.4.4): the administrator has seen the person with a document, and writes
down which; and nobody undoes password and second factor of one account alone, since that would be
the account: the other one is given back by another administrator.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from dmed.kit.clock import now
from dmed.kit.errors import ForbiddenError, InvalidError
from dmed.trust import people_tables, tables

if TYPE_CHECKING:
    from dmed.trust.identity import Identity

PASSWORD, FACTOR = "password", "factor"
SEEN_MIN, SEEN_MAX = 5, 200
"""Characters that say what was seen: kind of document and place, no number is asked for."""
APART = timedelta(days=7)
"""So long the same administrator does not give the other half of the same account."""


class Given(msgspec.Struct, frozen=True):
    """What was given back to an account before: which half, by whom, when."""

    act: str
    by: str
    at: datetime


def refusal(act: str, by: str, user: str, seen: str, past: Iterable[Given], at: datetime) -> str:
    """Why an administrator may not give this half back: "own", "seen", "two"; "" where he may.
    Pure.
    """
    if by == user:
        return "own"
    if not SEEN_MIN <= len(seen.strip()) <= SEEN_MAX:
        return "seen"
    if any(one.by == by and one.act != act and at - one.at < APART for one in past):
        return "two"
    return ""


_SENTENCES = {
    "own": "What you lost yourself another administrator gives back",
    "seen": "Write down what proved who it is: the document that you saw, 5 to 200 characters",
    "two": ("You gave the other half of this account back lately: "
            "this half is given by another administrator"),
}


class Recovery:
    """Password and second factor of somebody who lost one."""

    def __init__(self, identity: Identity, connection: tables.Connection) -> None:
        self._identity = identity
        self._connection = connection

    async def password(self, by: str, user: str, seen: str) -> str:
        """A new first password, told here only; sessions and tokens end (Enlisting.renew).

        InvalidError or ForbiddenError (the `place` is "recovery." and the kind) without proof, for
        the own account, or where the same administrator took the second factor away lately.
        """
        await self._check(PASSWORD, by, user, seen)
        # First the trace, then the act: one without the other errs on the side of the account.
        await people_tables.note_recovery(self._connection, user, PASSWORD, by, seen.strip())
        return await self._identity.enlisting.renew(user)

    async def factor(self, by: str, user: str, seen: str) -> None:
        """The second factor goes and all sessions end; its person sets a new one at the door.

        Refused as `password` is.
        """
        await self._check(FACTOR, by, user, seen)
        # As above.
        await people_tables.note_recovery(self._connection, user, FACTOR, by, seen.strip())
        await self._identity.factors.remove(user)
        await self._identity.sessions.end_others(user, "")

    async def _check(self, act: str, by: str, user: str, seen: str) -> None:
        past = [Given(row["act"], row["given_by"], row["at"])
                for row in await people_tables.recoveries(self._connection, user, now() - APART)]
        kind = refusal(act, by, user, seen, past, now())
        if kind == "seen":
            raise InvalidError(_SENTENCES[kind], "recovery.seen")
        if kind:
            raise ForbiddenError(_SENTENCES[kind], f"recovery.{kind}")
