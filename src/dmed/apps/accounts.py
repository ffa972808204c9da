"""Accounts of an installation from the command line: the first administrator, posts, apps, keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from dmed.apps.database import Addresses, database, prepare
from dmed.kit import outgoing
from dmed.kit.errors import ConflictError, UnavailableError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.identity import Account, Identity
from dmed.trust.keys import load_keys
from dmed.trust.oauth.clients import KEYS_MAX_CHARACTERS, Client, Clients
from dmed.trust.tables import Told


@asynccontextmanager
async def opened(settings: Settings, addresses: Addresses) -> AsyncIterator[Database]:
    """The store of an installation for the length of a command."""
    settings = msgspec.structs.replace(settings, database_url=addresses.application, pool_size=2)
    store = await Database.open(addresses.application, settings)
    try:
        yield store
    finally:
        await store.close()


def identity(store: Database, settings: Settings) -> Identity:
    """The accounts of an installation."""
    return Identity(store.hot, settings, load_keys(settings.data))


async def initialise(settings: Settings, user: str, password: str, name: str) -> None:
    """An empty installation with its first administrator; ConflictError where accounts exist."""
    with database(settings) as addresses:
        await prepare(addresses)
        async with opened(settings, addresses) as store:
            await identity(store, settings).first_administrator(user, password, name)


async def demo_token(settings: Settings, user: str) -> str:
    """A bearer token of a demo user; anybody else is refused."""
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            return await identity(store, settings).issue_demo_token(user)


async def register_key(settings: Settings, user: str, text: str) -> str:
    """Register the public key of a system's signatures; its number."""
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            return await identity(store, settings).register_key(user, text)


async def key_numbers(settings: Settings, user: str) -> list[str]:
    """The numbers of a system's keys."""
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            return list(await identity(store, settings).keys_of(user))


async def forget_key(settings: Settings, user: str, number: str) -> None:
    """Refuse signatures by this key from now on."""
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            await identity(store, settings).forget_key(user, number)


# Apps and posts


@asynccontextmanager
async def _clients(settings: Settings) -> AsyncIterator[Clients]:
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            yield Clients(Told(store.hot))


async def register_client(settings: Settings, client: Client) -> Client:
    """Register an app or replace it; InvalidError for what cannot be served."""
    async with _clients(settings) as clients:
        return await clients.save(client)


async def registered_clients(settings: Settings) -> list[Client]:
    """All registered apps."""
    async with _clients(settings) as clients:
        return await clients.all()


async def close_client(settings: Settings, id_: str) -> None:
    """Refuse an app from now on, with all that it was given."""
    async with _clients(settings) as clients:
        await clients.close(id_)


def keys_at(place: str) -> str:
    """The JWK set in a file, or at an https address, read once: no request later follows it."""
    if not place.startswith("https://"):
        return Path(place).read_text()
    try:
        with outgoing.opened(place, timeout_s=10) as answer:
            return str(answer.read(KEYS_MAX_CHARACTERS + 1).decode())
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{place} could not be read: {error}") from error


async def add_post(settings: Settings, user: str, post: Account) -> None:
    """Give an account one more post."""
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            await identity(store, settings).save_post(user, post)


async def drop_post(settings: Settings, user: str, practitioner_role: str) -> None:
    """Take a further post away."""
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            await identity(store, settings).drop_post(user, practitioner_role)


async def is_empty(addresses: Addresses) -> bool:
    """Whether nobody has an account here yet."""
    import asyncpg

    connection = await asyncpg.connect(addresses.owner)
    try:
        return not await connection.fetchval("SELECT EXISTS (SELECT FROM account)")
    finally:
        await connection.close()


async def refuse_if_used(addresses: Addresses) -> None:
    """ConflictError when the installation has accounts: nothing is overwritten."""
    if not await is_empty(addresses):
        raise ConflictError("this installation is in use: choose an empty folder with DMED_DATA")
