"""The whole FHIR room over a real PostgreSQL, and a client for each role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.kit.settings import Settings
from dmed.server.app import fhir_app
from dmed.store.audit import person_bucket
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.guard import Guard
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS, Account, values_of
from dmed.trust.keys import load_keys
from dmed.trust.manifest import Manifest
from dmed.trust.passwords import hashed
from dmed.trust.tables import DDL, save_account

BASE = "http://test"


class Room:
    """An open installation: its app, its doors and a client for each demo user."""

    def __init__(self, database: Database, settings: Settings, manifests: Any = ()) -> None:
        self.database = database
        self.settings = settings
        self.gateway = Gateway(database, settings)
        self.guard = Guard(database.hot, settings, load_keys(settings.data))
        self.app = fhir_app(self.gateway, self.guard, manifests)
        self.tokens: dict[str, str] = {}
        self.clients: list[httpx.AsyncClient] = []

    def anonymous(self, **headers: str) -> httpx.AsyncClient:
        """A client without sign-in."""
        transport = httpx.ASGITransport(app=self.app)
        client = httpx.AsyncClient(transport=transport, base_url=f"{BASE}/fhir", headers=headers)
        self.clients.append(client)
        return client

    def client(self, user: str) -> httpx.AsyncClient:
        """A client with the bearer token of a demo user."""
        return self.anonymous(
            authorization=f"Bearer {self.tokens[user]}", **{"content-type": "application/fhir+json"}
        )

    async def in_care(self, *patients: str, users: tuple[str, ...] = ("doctor",)) -> None:
        """Give people into the care of demo users, whose accounts belong to no institution."""
        for patient in patients:
            for user in users:
                await self.database.hot.execute(
                    "INSERT INTO care (bucket, patient, principal, kind, until) "
                    "VALUES ($1, $2, $3, 'encounter', '2999-01-01Z') ON CONFLICT DO NOTHING",
                    person_bucket(patient), patient, f"User/{user}")

    def variant(self, manifests: tuple[Manifest, ...] = (), **changes: Any) -> Room:
        """The same database under other settings or with modules."""
        settings = msgspec.structs.replace(self.settings, **changes)
        other = Room(self.database, settings, manifests)
        other.tokens = self.tokens
        return other


ACCOUNTS: tuple[Account, ...] = DEMO_ACCOUNTS


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hashes() -> dict[str, str]:
    """The password hashes of the demo accounts, made once: they are slow by intent."""
    return {user: await hashed(password) for user, password in DEMO_PASSWORDS.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def room(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory, hashes: dict[str, str]
) -> AsyncIterator[Room]:
    """An installation with the demo accounts, shared by the tests of one file."""
    data: Path = tmp_path_factory.mktemp("data")
    settings = Settings(data=data, database_url=module_database_url, pool_size=8)
    await migrate(module_database_url, list(DDL))
    database = await Database.open(module_database_url, settings)
    made = Room(database, settings)
    for account in ACCOUNTS:
        await save_account(database.hot, values_of(account, hashes[account.user]))
        made.tokens[account.user] = await made.guard.identity.issue_token(account.user)
    yield made
    for client in made.clients:
        await client.aclose()
    await database.close()


@pytest.fixture
def service(room: Room) -> httpx.AsyncClient:
    """A system client: all of FHIR."""
    return room.client("service")


@pytest.fixture
def doctor(room: Room) -> httpx.AsyncClient:
    """A doctor."""
    return room.client("doctor")


@pytest.fixture
def pharmacist(room: Room) -> httpx.AsyncClient:
    """A pharmacist."""
    return room.client("pharmacist")


@pytest.fixture
def registrar(room: Room) -> httpx.AsyncClient:
    """A registrar."""
    return room.client("registrar")


@pytest.fixture
def administrator(room: Room) -> httpx.AsyncClient:
    """An administrator."""
    return room.client("admin")


@pytest.fixture
def counted(room: Room) -> Callable[[str], Any]:
    """Counts the rows of a table, to prove that nothing was half stored."""

    async def count(table: str) -> int:
        return int(await room.database.hot.fetchval(f"SELECT count(*) FROM {table}"))

    return count
