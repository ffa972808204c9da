"""`dmed export` behind two people, on an installation of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from dmed.apps import bulk
from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, prepare
from dmed.kit.errors import ForbiddenError
from dmed.kit.settings import Settings
from dmed.modules.oversight import api as oversight
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject

ACCOUNT = "INSERT INTO account (name, secret, role, demo) VALUES ($1, 'x', 'administrator', $2)"


def subject(user: str) -> Subject:
    return Subject(user=user, role=Role.ADMINISTRATOR)


async def _people(url: str, *names: str) -> None:
    connection = await asyncpg.connect(url)
    for name in names:
        await connection.execute(ACCOUNT, name, name.startswith("demo"))
    await connection.close()


async def _approved(settings: Settings, addresses: Addresses) -> int:
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, settings)
        number = await oversight.ask_bulk(
            gateway, subject("first"), "PUBHLTH", "Yearly figures", days=1, standing=False)
        await oversight.approve_bulk(gateway, subject("second"), number)
        return number


async def _noted(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT detail FROM audit WHERE detail ~ '^(export|bulk read)'")
    await connection.close()
    return [row["detail"] for row in rows]


def test_export_needs_two_people_where_people_work(database_url: str, tmp_path: Path) -> None:
    """Free before anybody works here; then only by an approved request, and by that once."""
    settings = Settings(data=tmp_path / "data", database_url=database_url)
    addresses = Addresses(database_url, database_url)
    asyncio.run(prepare(addresses))
    asyncio.run(_people(database_url, "demo", "first"))
    bulk.export(settings, tmp_path / "early", None)
    asyncio.run(_people(database_url, "second"))
    with pytest.raises(ForbiddenError, match="needs two people"):
        bulk.export(settings, tmp_path / "alone", None)
    number = asyncio.run(_approved(settings, addresses))
    bulk.export(settings, tmp_path / "both", number)
    with pytest.raises(ForbiddenError, match="used already"):
        bulk.export(settings, tmp_path / "again", number)

    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "data") == [
        "both", "early"]
    assert len(asyncio.run(_noted(database_url))) == 2
