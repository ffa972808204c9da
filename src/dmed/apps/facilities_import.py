"""`dmed facilities import`: the tree of institutions from files, with its ledger on the screen."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path

from dmed.apps.accounts import opened
from dmed.apps.database import database, prepare
from dmed.kit.settings import Settings
from dmed.modules.facilities import api as facilities
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject

IMPORTER = Subject(user="facilities-import", role=Role.ADMINISTRATOR, name="Import",
                   purpose="HSYSADMIN")
_SHOWN = 20


def import_facilities(
    settings: Settings, path: Path, ledger: Path | None, say: Callable[[str], None]
) -> bool:
    """Imports a file to its end; True where every row was kept. The ledger is a CSV of faults."""
    report = asyncio.run(_import(settings, path, say))
    say(f"{path.name}: {report.lines:,} lines, {report.made:,} made, {report.changed:,} changed, "
        f"{report.same:,} as they were, {len(report.faults):,} faults")
    for line, code, field, sentence in report.faults[:_SHOWN]:
        say(f"  line {line} {code} {field}: {sentence}")
    if len(report.faults) > _SHOWN and ledger is None:
        say(f"  ... and {len(report.faults) - _SHOWN:,} more: --ledger FILE writes them all")
    if ledger is not None:
        with ledger.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "code", "field", "fault"))
            writer.writerows(report.faults)
    return not report.faults


async def _import(
    settings: Settings, path: Path, say: Callable[[str], None]
) -> facilities.Report:
    with database(settings) as addresses:
        await prepare(addresses)
        async with opened(settings, addresses) as store:
            return await facilities.import_file(
                Gateway(store, settings), IMPORTER, path,
                lambda line: say(f"  {line:,} lines") if line % 10_000 == 0 else None)
