"""A file of synthetic staff, and what its import costs.

    python bench/staff.py make 560000 staff.csv     writes a file for the synthetic country
    python bench/staff.py run 560000                 makes it, imports it into a fresh installation
                                                     in two runs, the first killed in the middle,
                                                     and measures the lists
    python bench/staff.py cost 20000                 processor time of a row in the loader, in the
                                                     server and in the lists, in one process

Names are invented by combination; numbers are made by rule and belong to nobody by intention.
Some of a thousand rows are wrong on purpose: unknown institutions, letters of Windows-1251.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from random import Random

import asyncpg

from dmed.apps import staff_import
from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.demo.loading import load as load_country
from dmed.apps.staff_import import Outcome, import_staff
from dmed.kit import clock
from dmed.kit.settings import Settings
from dmed.modules.medid.api import compose_pinfl, names
from dmed.modules.workforce import api as workforce
from dmed.modules.workforce.model import Direction
from dmed.modules.workforce.service import lists
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject
from import_cost import Meter

COLUMNS = ("argos,pinfl,family,given,patronymic,sex,birth_date,phone,citizenship,languages,"
           "institution,post,title,rate,kind,since,diploma,school,graduated,certificate,"
           "certificate_from,certificate_until,category,category_until")
POSTS = (
    ("3221.2", "tibbiyot hamshirasi", 40), ("2212.113", "terapevt", 8), ("2211.1",
     "umumiy amaliyot shifokori", 12), ("2212.89", "pediatr", 7), ("2212.14", "ginekolog", 5),
    ("2212.45", "kardiolog", 3), ("2262.13", "farmatsevt", 6), ("", "registrator", 6),
    ("", "sanitar", 13),
)  # fmt: skip  # Code, title, how many of a hundred.
RATES = ("1", "1", "1", "1", "0.5", "0.75", "1.25", "1.5", "0.25")
ADMIN = Subject(user="admin", role=Role.ADMINISTRATOR)


def rows(count: int, institutions: list[str], seed: int = 1) -> Iterator[bytes]:
    """Lines of a file of so many posts; every eighth is a second post of the person before."""
    numbers = Random(seed)
    pool = names()["uz"]
    families = [one.partition(":")[0] for one in pool["family"]]
    given = {sex: [one.partition(":")[0] for one in pool[sex]] for sex in ("male", "female")}
    weights = [one[2] for one in POSTS]
    person = ""
    for number in range(count):
        is_second = number % 8 == 7 and person
        if not is_second:
            person = _person(number, numbers, families, given)
        code, title, _ = numbers.choices(POSTS, weights)[0]
        since = date(1995, 1, 1) + timedelta(days=numbers.randrange(11_000))
        institution = numbers.choice(institutions)
        if number % 1000 == 500:
            institution = "000000000"
        held = _held(number, numbers, licensed=code[:1] == "2" or code[:2] == "32")
        kind, rate = ("second", "0.5") if is_second else ("main", numbers.choice(RATES))
        line = (f"{person},{institution},{code},{title},{rate},{kind},{since},{held}\n")
        yield line.encode("cp1251" if number % 1000 == 700 else "utf-8", "replace")


def _person(
    number: int, numbers: Random, families: list[str], given: dict[str, list[str]]
) -> str:
    sex = "female" if numbers.random() < 0.72 else "male"
    born = date(1958, 1, 1) + timedelta(days=numbers.randrange(16_000))
    family = numbers.choice(families) + "a" * (sex == "female")
    father = numbers.choice(given["male"]) + ("ovna" if sex == "female" else "ovich")
    pinfl = compose_pinfl(born, sex, 100 + number // 1000 % 900, number % 1000)
    wrong = "ш" if number % 1000 == 700 else ""
    return (f"{number:010d},{pinfl},{family}{wrong},{numbers.choice(given[sex])},{father},{sex},"
            f"{born},+99890{number % 10_000_000:07d},UZ,uz ru")


def _held(number: int, numbers: Random, *, licensed: bool) -> str:
    since = date(2021, 12, 1) + timedelta(days=numbers.randrange(1_700))
    diploma = f"B-{number},Toshkent tibbiyot akademiyasi,{2000 + number % 20}-06-30"
    if not licensed:
        return f"{diploma},,,,,"
    return (f"{diploma},S-{number},{since},{since.replace(year=since.year + 5, day=1)},"
            f"birinchi toifa,{since.replace(year=since.year + 5, day=1)}")


def make(count: int, path: Path, institutions: list[str]) -> None:
    """Writes the file."""
    with path.open("wb") as file:
        file.write(COLUMNS.encode() + b"\n")
        file.writelines(rows(count, institutions))


async def institutions_of(settings: Settings, owner: str) -> list[str]:
    """Tax numbers of the institutions of an installation."""
    async with opened(settings, Addresses(owner, owner)) as store:
        _, houses = await workforce.known(Gateway(store, settings))
    return sorted(number for number in houses if len(number) == 9 and number.isdecimal())


Case = Callable[[], Awaitable[object]]


async def screens(settings: Settings, owner: str) -> list[tuple[str, float]]:
    """(what, milliseconds) of the lists that heads and the ministry open, median of five."""
    from dmed.apps.database import Addresses

    async with opened(settings, Addresses(owner, owner)) as store:
        gateway = Gateway(store, settings)
        async with gateway.unit(ADMIN) as unit:
            own = await unit.fetchval("select organisation from staff_post limit 1")
        place = await lists.house(gateway, ADMIN, own)
        cases: dict[str, Case] = {
            "staff of an institution": lambda: lists.staff(gateway, ADMIN, place),
            "a name in an institution": lambda: lists.staff(gateway, ADMIN, place, "karim"),
            "a name in the country": lambda: lists.everywhere(gateway, ADMIN, "Karimova N"),
            "expiring, institution": lambda: lists.expiring(gateway, ADMIN, place),
            "vacancies, institution": lambda: lists.vacancies(gateway, ADMIN, place),
            "overlaps, institution": lambda: lists.overlaps(gateway, ADMIN, place),
            "regions, country": lambda: lists.regions(gateway, ADMIN),
            "forecast, country": lambda: lists.forecast(gateway, ADMIN),
            f"activity, 25 people, {len(Direction)} counts": lambda: lists.activity(
                gateway, ADMIN, place, f"{clock.today():%Y-%m}"),
        }
        found = []
        for name, ask in cases.items():
            taken = []
            for _ in range(5):
                began = time.perf_counter()
                await ask()
                taken.append((time.perf_counter() - began) * 1000)
            found.append((name, sorted(taken)[2]))
    return found


async def _items(owner: str) -> int:
    """Rows of the file that are in."""
    connection = await asyncpg.connect(owner)
    try:
        return int(await connection.fetchval(
            "select coalesce(sum(items), 0) from load_ledger where digest like 'staff %'"))
    finally:
        await connection.close()


@contextmanager
def installation(count: int) -> Iterator[tuple[Settings, Addresses, Path]]:
    """A fresh installation with a small country, in a folder of its own, and a file of staff."""
    with tempfile.TemporaryDirectory(prefix="dmed-staff-") as folder:
        Path(folder).chmod(0o711)
        settings = Settings(data=Path(folder) / "data")
        path = Path(folder) / "staff.csv"
        with database(settings) as addresses:
            asyncio.run(prepare(addresses))
            asyncio.run(load_country(addresses.owner, persons=120, processes=2))
            make(count, path, asyncio.run(institutions_of(settings, addresses.owner)))
            yield settings, addresses, path


def run(count: int) -> None:
    """The whole measurement in a folder of its own."""
    with installation(count) as (settings, addresses, path):
        _say(f"{count:,} rows, {path.stat().st_size / 1e6:.0f} MB")
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-c", "from dmed.apps.cli import main; main()", "staff", "import",
             str(path)], env={**os.environ, "DMED_DATA": str(settings.data)},
            start_new_session=True)
        while child.poll() is None and asyncio.run(_items(addresses.owner)) < count // 3:
            time.sleep(0.2)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        _say(f"killed after {time.monotonic() - began:.0f} s")
        done: Outcome = asyncio.run(import_staff(addresses, settings, path))
        _say(f"second run: {done.seconds:.1f} s, {done.rows:,} rows of which {done.skipped:,} "
             f"were in, {done.records:,} records, {done.refused:,} refused, "
             f"{done.peak_mb:,} MB at most a process; lists {done.list_seconds:.1f} s")
        whole = count - done.skipped
        _say(f"{whole / max(done.seconds, 0.001):,.0f} rows/s with index and lists")
        for name, taken in asyncio.run(screens(settings, addresses.owner)):
            _say(f"{name}: {taken:.1f} ms")


def cost(count: int) -> None:
    """Processor time, not the clock: the machine may be busy."""
    with installation(count) as (settings, addresses, path):
        followed = workforce.follow
        meter, lists_began = Meter(settings.data), [Meter(settings.data)]

        async def following(gateway: Gateway) -> int:
            lists_began[0] = Meter(settings.data)
            return await followed(gateway)

        staff_import.workforce.follow = following  # type: ignore[attr-defined]  # Told by itself.
        done = asyncio.run(import_staff(addresses, settings, path, processes=0))
        own, server = meter.read()
        below, behind = lists_began[0].read()
        each = 1e6 / max(done.rows, 1)
        _say(f"{done.rows:,} rows, {done.records:,} records, {done.refused:,} refused; "
             f"microseconds of processor time a row: loader {(own - below) * each:,.0f}, "
             f"server {(server - behind) * each:,.0f}, lists {(below + behind) * each:,.0f}; "
             f"in all {(own + server) * each:,.0f}: {2e6 / ((own + server) * each):,.0f} "
             "rows/s on two cores")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    what, number, *where = sys.argv[1:]
    if what == "cost":
        cost(int(number))
    elif what == "make":
        make(int(number), Path(where[0]), [f"{200_000_000 + one}" for one in range(3000)])
    else:
        run(int(number))
