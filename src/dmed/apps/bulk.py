"""`dmed export` behind two people: an approved request, or an installation not in use yet."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.importing import IMPORTER, export_records
from dmed.kit.errors import ForbiddenError
from dmed.kit.settings import Settings
from dmed.modules.oversight import api as oversight
from dmed.trust.gateway import Gateway

_PEOPLE = "SELECT count(*) > 1 FROM account WHERE active AND NOT demo"
"""Whether it is in use: others than demo users and the first administrator work here."""


def export(settings: Settings, folder: Path, request: int | None) -> None:
    """Writes all records into a folder, after `request` was found approved; ForbiddenError.

    Where only demo users and the first administrator are, there is no second person yet: no
    request is needed, and it is audited all the same.
    """
    with database(settings) as addresses:
        asyncio.run(_admit(settings, addresses, request))
        # What two people answer for is no matter of an hourly budget.
        export_records(msgspec.structs.replace(settings, rows_per_hour_system=0), folder)


async def _admit(settings: Settings, addresses: Addresses, request: int | None) -> None:
    await prepare(addresses)
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, settings)
        if request is not None:
            found = await oversight.use_bulk(gateway, request)
            sys.stderr.write(f"request {found.number}: asked by {found.asker}, approved by "
                             f"{found.approver}\n")
            return
        async with store.connection() as connection:
            if await connection.fetchval(_PEOPLE):
                raise ForbiddenError(
                    "reading in bulk needs two people: one asks and another approves at "
                    "/oversight/bulk, then: dmed export FOLDER --request NUMBER")
        await gateway.note(IMPORTER, "E", "export without request: not in use yet")
