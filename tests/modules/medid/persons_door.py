"""A fresh installation with the FHIR door of the person index: fixtures of its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from dmed.apps.rooms import MODULES
from dmed.kit.settings import Settings
from dmed.modules.medid import MODULE as MEDID
from dmed.server.app import fhir_app
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.guard import Guard
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys
from dmed.trust.model import Role, Subject
from dmed.trust.tables import DDL

PINFL = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
MIS = "https://mis.example.uz/persons"


class Door(msgspec.Struct):
    """The gateway, a client for each hand, and two subjects."""

    gateway: Gateway
    database: Database
    service: httpx.AsyncClient
    registrar_client: httpx.AsyncClient
    pharmacist: httpx.AsyncClient
    registrar: Subject
    system: Subject


async def opened(url: str, folder: Path, *, pool_size: int = 8) -> AsyncIterator[Door]:
    """A migrated database, open, with bearer tokens of the demo accounts."""
    await migrate(url, (*DDL, *(one for module in MODULES for one in module.ddl)))
    settings = Settings(data=folder, pool_size=pool_size)
    database = await Database.open(url, settings)
    gateway = Gateway(database, settings)
    keys = load_keys(settings.data)
    identity = Identity(database.hot, settings, keys)
    await identity.save_demo()
    app = fhir_app(gateway, Guard(database.hot, settings, keys), (MEDID,))
    clients = []
    for user in ("service", "registrar", "pharmacist"):
        token = await identity.issue_token(user)
        clients.append(httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test/fhir",
            headers={"authorization": f"Bearer {token}",
                     "content-type": "application/fhir+json"},
        ))  # fmt: skip  # One client.
    yield Door(gateway, database, *clients, Subject(user="registrar", role=Role.REGISTRAR),
               Subject(user="service", role=Role.SERVICE))
    for client in clients:
        await client.aclose()
    await database.close()


def person(
    family: str, given: str, patronymic: str = "", born: str = "", sex: str = "", *,
    pinfl: str = "", phone: str = "", district: str = "", **more: Any,
) -> dict[str, Any]:
    """A Patient as a system would post it."""
    name: dict[str, Any] = {"use": "official"}
    name |= {"family": family} if family else {}
    name |= {"given": [given]} if given else {}
    name |= {"suffix": [patronymic]} if patronymic else {}
    made: dict[str, Any] = {"resourceType": "Patient", "name": [name], "active": True}
    if born:
        made["birthDate"] = born
    if sex:
        made["gender"] = sex
    if pinfl:
        made["identifier"] = [{"use": "official", "system": PINFL, "value": pinfl}]
    if phone:
        made["telecom"] = [{"system": "phone", "value": phone}]
    if district:
        made["address"] = [{"use": "home", "country": "UZ", "state": district[:4],
                            "district": district}]
    return made | more
