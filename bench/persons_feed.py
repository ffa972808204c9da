"""What the national feed costs: `python bench/persons_feed.py --persons 20000`.

First the processor time of a person in the loader and in the server, measured in one process on a
server of its own: once the general way (every card made, decoded and indexed as any record), once
as the import does it (plain lines are written). Processor time, not the clock, for the machine may
be busy; even so it rises where others use the same core, so the two stand side by side.

Then the command itself with two processes: a file of invented persons (one in a hundred lines is
bad) into an empty installation, and the same persons as changes (a tenth moved), in lines a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import asyncpg

import persons_load
from dmed.apps.persons_feed import CHUNK_ITEMS, FEEDER, Making, import_persons, shape_of
from dmed.apps.postgres import Cluster, Supervisor
from dmed.apps.sources import Item
from dmed.kit.settings import Settings
from dmed.modules.medid.rules import compose_pinfl
from dmed.store import load, schema
from dmed.store.model import AuditRow, Scope, Write
from import_cost import Meter

HEAD = "pinfl,family,given,patronymic,birth_date,sex,phone,region,district,address,passport"
NAMES = ("Anvar", "Botir", "Jasur", "Karim", "Otabek", "Rustam", "Sardor", "Temur", "Ulug‘bek")
AUDIT = AuditRow(request="bench", action="C", subject=FEEDER.user, role="service")


def line(number: int, *, is_moved: bool = False) -> str:
    """One person; of a hundred one has another sex than the PINFL."""
    # So few days of birth that they are soon all met, as those of a country are.
    born = date(1940, 1, 1) + timedelta(days=number % 1_450 * 20)
    serial = number // 1_450
    pinfl = compose_pinfl(born, "male", serial // 1000, serial % 1000)
    sex = "f" if number % 100 == 99 else "m"
    place = f"{number}-uy" + (" (yangi)" if is_moved else "")
    return (f"{pinfl},{NAMES[number % 9]}ov{'aeiou'[number % 5]},{NAMES[number // 9 % 9]},"
            f"{NAMES[number // 81 % 9]} o‘g‘li,{born},{sex},+99890{number % 10**7:07d},1726,"
            f"1726266,{place},AA{number % 10**7:07d}")


Make = Callable[[Item], Write]


async def cost(cluster: Cluster, persons: int, making: Make, way: str) -> None:
    """Prints a row: a tenth of the persons warm up, the rest are measured."""
    url = cluster.url("dmed_owner", cluster_database(way))
    await schema.migrate(url)
    items = [Item("", line(number).encode()) for number in range(persons)]

    async def loaded(part: list[Item]) -> load.Progress:
        return await load.load(url, Scope(FEEDER.user), AUDIT, iter(part), making, processes=0,
                               chunk_items=CHUNK_ITEMS, analyze=False)

    await loaded(items[: persons // 10])
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)  # As in a loading process.
    meter, built = Meter(cluster.folder), [0.0]
    build = load._build  # noqa: SLF001  # What the server does after the rows is told by itself.

    async def timed(address: str) -> None:
        began = Meter(cluster.folder)
        await build(address)
        built[0] = began.read()[1]

    load._build = timed  # noqa: SLF001  # The same.
    try:
        done = await loaded(items[persons // 10 :])
    finally:
        load._build = build  # noqa: SLF001  # The same.
    own, server = meter.read()
    each = 1e6 / max(done.loaded, 1)
    whole = (own + server) * each
    sys.stdout.write(f"| {way} | {done.loaded:,} | {own * each:,.0f} | "
                     f"{(server - built[0]) * each:,.0f} | {built[0] * each:,.0f} | {whole:,.0f} | "
                     f"{2e6 / whole:,.0f} |\n")
    sys.stdout.flush()


async def quiet(cluster: Cluster) -> None:
    """No vacuuming between: it comes by the clock and would be counted to whom it meets."""
    connection = await asyncpg.connect(cluster.url("postgres", "postgres"))
    await connection.execute("ALTER SYSTEM SET autovacuum = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


def cluster_database(way: str) -> str:
    """The name of the database of one way."""
    return f"dmed_{way}"


def costs(folder: Path, persons: int) -> None:
    """The table of processor time."""
    shaped = folder / "shape.csv"
    shaped.write_text("\n".join([HEAD, *(line(one) for one in range(300)), ""]))
    making = Making(shape_of(shaped))
    sys.stdout.write(
        f"Load of the machine {os.getloadavg()[0]:.1f}. Microseconds of processor time a person:\n"
        "\n| way | persons | loader | server: rows | server: indexes | in all | persons/s on two "
        "cores |\n|---|---|---|---|---|---|---|\n")
    cluster = Cluster(folder / "cost", 18)
    with Supervisor(cluster, ()):
        asyncio.run(quiet(cluster))
        for way, made in (("general", making.general), ("written", making)):
            cluster.make_database(cluster_database(way))
            asyncio.run(cost(cluster, persons, made, way))


def command(folder: Path, persons: int) -> None:
    """Lines a second of the command, first load and changes."""
    first, night = folder / "first.csv", folder / "night.csv"
    first.write_text("\n".join([HEAD, *(line(one) for one in range(persons)), ""]))
    some = min(persons, 2_000)
    night.write_text("\n".join(
        [HEAD, *(line(one, is_moved=one % 10 == 0) for one in range(some)), ""]))
    settings = Settings(data=folder / "data")
    began = time.monotonic()
    with redirect_stderr(StringIO()):  # A sentence a refused line.
        loaded = import_persons(settings, first, changes=False)
        changed = import_persons(settings, night, changes=True)
    sys.stdout.write(
        f"\nFirst load of {persons:,} lines {persons / loaded.seconds:,.0f}/s ({loaded.new:,} new, "
        f"{loaded.refused:,} refused), starting of the server and the processes with it; changes "
        f"of {some:,} lines {some / changed.seconds:,.0f}/s ({changed.changed:,} changed); "
        f"{time.monotonic() - began:.0f} s in all\n")


def main() -> None:
    """Run it and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=20_000)
    parser.add_argument("--only", choices=["cost", "command"])
    parser.add_argument("--kill-at", type=float, metavar="SHARE")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.kill_at is not None:
        persons_load.run(asked.persons, asked.kill_at, line, HEAD, is_written=asked.write)
        return
    with tempfile.TemporaryDirectory(prefix="dmed-feed-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        if asked.only != "command":
            costs(folder, asked.persons)
        if asked.only != "cost":
            command(folder, asked.persons)


if __name__ == "__main__":
    main()
