"""Accounts of an installation from the command line: the first administrator, demo tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from dmed.apps.database import Addresses, database, prepare
from dmed.kit.errors import ConflictError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys


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
