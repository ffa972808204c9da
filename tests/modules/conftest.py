"""A synthetic country of twenty persons in a real database, shared by the modules' tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio

from dmed.apps import demo
from dmed.apps.postgres import Cluster
from dmed.apps.rooms import MODULES
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject
from dmed.trust.tables import DDL


class Village(msgspec.Struct):
    """The country of twenty, its door, and the four who are signed in to it."""

    gateway: Gateway
    doctor: Subject
    pharmacist: Subject
    registrar: Subject
    admin: Subject
    people: dict[str, str]
    """Ids of the planted persons by their tale."""


def _subjects() -> dict[str, Subject]:
    return {
        account.user: Subject(
            user=account.user, role=Role(account.role), name=account.name,
            practitioner=account.practitioner, practitioner_role=account.practitioner_role,
            organisation=account.organisation, organisation_name=account.organisation_name,
            post=account.post, session="test", language="uz")
        for account in demo.accounts()
    }  # fmt: skip  # One field a thought.


def planted() -> dict[str, str]:
    """Ids of the planted persons of the country of seed 1 by their tale."""
    from dmed.modules.medid import demo as medid

    country = demo.Country(20)
    found = {}
    for number, first, _ in country.households():
        if number < len(medid.PLANTED):
            home = country.at_home(number).home
            for person in medid.household(1, number, first, home, country.until):
                found[person.tale] = person.id
    return found


@pytest_asyncio.fixture(scope="session")
async def village(cluster: Cluster) -> AsyncIterator[Village]:
    """The loaded country; tests add to it, so they count nothing but what they made."""
    name = f"village_{secrets.token_hex(4)}"
    cluster.make_database(name)
    url = cluster.url("dmed_owner", name)
    own = tuple(one for module in MODULES for one in module.ddl)
    await migrate(url, (*DDL, *own))
    await demo.load(url, persons=20, processes=0)
    db = await Database.open(url, Settings())
    who = _subjects()
    yield Village(
        gateway=Gateway(db, Settings()), doctor=who["doctor"], pharmacist=who["pharmacist"],
        registrar=who["registrar"], admin=who["admin"], people=planted())
    await db.close()
    cluster.sql(f"DROP DATABASE {name} WITH (FORCE)")
