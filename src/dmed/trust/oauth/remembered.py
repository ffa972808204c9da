"""What a person allowed an app and wishes not to be asked again: per person and app, with rights.

Kept are the rights that were put before the person and those that were left ticked. The app is let
in without a question only while it asks for no more than was put before the person then; if its
wishes grow, the consent screen comes again. Taking an app's access back forgets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmed.trust.oauth import requests
from dmed.trust.oauth.scopes import Scopes, narrowed, parse

if TYPE_CHECKING:
    from dmed.trust.tables import Connection

_SAVE = """
insert into oauth_remembered (account, client, asked, allowed) values ($1, $2, $3, $4)
on conflict (account, client) do update set asked = excluded.asked, allowed = excluded.allowed,
    made = now()
"""
_LIST = """
select r.client, c.name, r.allowed as scopes, r.made, r.used from oauth_remembered r
join oauth_client c on c.id = r.client where r.account = $1 and c.is_active order by r.made desc
"""
_END = "update oauth_family set is_ended = true where account = $1 and client = $2"


class Remembered:
    """The remembered consents of one installation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def keep(self, user: str, client: str, asked: Scopes, chosen: list[str]) -> None:
        """Ask no more for these rights: `chosen` are the ticks that were left."""
        allowed = requests.ticked(asked, chosen)
        await self._connection.execute(_SAVE, user, client, asked.text(), allowed.text())

    async def ticks(self, user: str, client: str, asked: Scopes) -> list[str] | None:
        """The ticks by which a request is answered without a question; None: ask the person."""
        row = await self._connection.fetchrow(
            "update oauth_remembered set used = now() where account = $1 and client = $2"
            " returning asked, allowed", user, client)
        if row is None:
            return None
        before = narrowed(asked, parse(row["asked"]))
        if (before.grants, before.plain) != (asked.grants, asked.plain):
            return None
        return requests.ticks_within(asked, parse(row["allowed"]))

    async def of(self, user: str) -> list[dict[str, Any]]:
        """client, name, scopes, made, used of the remembered apps of a person, newest first."""
        return [dict(row) for row in await self._connection.fetch(_LIST, user)]

    async def forget(self, user: str, client: str) -> None:
        """Ask again, and end what the app was given by this person; "" means every app."""
        if client:
            await self._connection.execute(
                "delete from oauth_remembered where account = $1 and client = $2", user, client)
            await self._connection.execute(_END, user, client)
        else:
            await self._connection.execute(
                "delete from oauth_remembered where account = $1", user)
