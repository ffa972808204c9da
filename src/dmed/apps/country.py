"""`dmed demo`: an installation filled with the synthetic country and its demo users."""

from __future__ import annotations

import asyncio
import sys
from datetime import date

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dmed.apps.accounts import identity, is_empty, opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.demo.country import UNTIL
from dmed.apps.demo.loading import Loaded, accounts, load, pharmacies
from dmed.kit.errors import ConflictError, InvalidError
from dmed.kit.settings import Settings
from dmed.modules.pharmacy import demo as stock
from dmed.trust.gateway import Gateway


def fill(settings: Settings, *, persons: int, seed: int, until: str) -> None:
    """Fills the installation of these settings; one that has a country already is refused."""
    with database(settings) as addresses:
        asyncio.run(prepare(addresses))
        fill_at(settings, addresses, persons=persons, seed=seed, until=until)


def fill_at(settings: Settings, addresses: Addresses, *, persons: int, seed: int,
            until: str) -> None:
    """The same on a database that runs; prints counts, time and the digest of all records."""
    if not asyncio.run(is_empty(addresses)):
        raise ConflictError(
            "this installation has accounts and records: fill an empty one (DMED_DATA=FOLDER)")
    last = _day(until)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"),
               TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("synthetic country", total=persons, said="")

        def report(done: int, records: int) -> None:
            bar.update(task, completed=done, said=f"{records:,} records")

        loaded = asyncio.run(
            load(addresses.owner, persons=persons, seed=seed, until=last, report=report))
    asyncio.run(_furnish(settings, addresses, persons, seed, last))
    _tell(loaded, persons, seed, last)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text) if text else UNTIL
    except ValueError:
        raise InvalidError(f"{text!r} is no day: write YYYY-MM-DD", "--until") from None


async def _furnish(
    settings: Settings, addresses: Addresses, persons: int, seed: int, last: date
) -> None:
    """Stock of the pharmacies, then accounts: an installation whose filling was interrupted is seen
    as empty.
    """
    async with opened(settings, addresses) as store:
        await stock.fill(Gateway(store, settings), pharmacies(persons, seed), day=last, seed=seed)
        await identity(store, settings).save_demo(accounts(persons, seed))


def _tell(loaded: Loaded, persons: int, seed: int, last: date) -> None:
    sys.stdout.write(
        f"A synthetic country of {persons:,} persons until {last} (seed {seed}): "
        f"{loaded.records:,} records in {loaded.seconds:.1f} s "
        f"({loaded.records / max(loaded.seconds, 0.001):,.0f} records/s)\n"
        f"sha256 of all records: {loaded.digest}\n"
        "Sign in as doctor, pharmacist, registrar or admin; the words are in the README.\n")
