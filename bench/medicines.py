"""How long a search of medicines takes as it is typed, over some 30,000 packs.

    python bench/medicines.py --packs 30000 --rounds 300
    python bench/medicines.py --french ../shared/data/medicines/bdpm-fr

    python bench/medicines.py --days

The first prints p50, p95 and the worst of five ways of typing, and the time to make the index. The
second reads the French register as the connector does and prints what it would put aside. The third
takes good and bad days of the simulator in, on a database of its own, and prints what became of
each, as docs/reference/feed-report.md tells.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dmed.apps.postgres import Cluster, Supervisor
from dmed.apps.sim_darmon import MODES, Feed, Server, row_of
from dmed.kit.settings import Settings
from dmed.kit.text import romanise, to_cyrillic
from dmed.modules.medicines import MODULE, api, tables
from dmed.modules.medicines.model import Entry, Rejected
from dmed.modules.medicines.rules.rows import read
from dmed.modules.medicines.service import feeding, force
from dmed.modules.medicines.service.bdpm import Bdpm
from dmed.modules.medicines.service.sources import Darmon, Source
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.tables import DDL

LETTERS = "abcdefghijklmnopqrstuvxyz"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _wrong(word: str, chance: random.Random) -> str:
    """The word with one wrong letter or two letters swapped."""
    at = chance.randrange(1, max(len(word) - 1, 2))
    if chance.random() < 0.5:
        return word[:at] + chance.choice(LETTERS) + word[at + 1 :]
    return word[: at - 1] + word[at : at + 1] + word[at - 1 : at] + word[at + 1 :]


def _typed(chance: random.Random) -> dict[str, str]:
    product = chance.choice(api.all_products())
    inn = product.preparation.inn
    long = chance.randrange(3, 9)
    return {
        "beginning": inn.uz[:long], "cyrillic": to_cyrillic(inn.uz)[:long],
        "russian": inn.ru[:long], "trade": product.trade[:long],
        "atc": product.preparation.atc[:long],
        "wrong letter": _wrong(romanise(inn.ru), chance)[: long + 4],
        "with strength": f"{inn.uz[:long]} {product.preparation.strength_text.split()[0]}",
        "two letters": inn.uz[:2],
    }  # fmt: skip  # One set of ways.


def search(packs: int, rounds: int, seed: int, clock: Callable[[], float]) -> None:
    """Times single calls of the search that the prescribing page makes."""
    names = force.names()
    began = time.perf_counter()
    stays = []
    for place, product in enumerate(api.sample_products(packs)):
        entry = read(place, row_of(product), names)
        if isinstance(entry, Entry):
            stays.append(force.Stay("darmon", entry, BEGAN, None))
    read_at = time.perf_counter()
    force.use(force.made_of(1, stays))
    made_at = time.perf_counter()
    index = force.register().index
    print(f"{platform.python_version()}, {len(api.all_products()):,} packs, "
          f"{len(index.preparations):,} preparations; rows read in {read_at - began:.1f} s, "
          f"catalogue and index made in {made_at - read_at:.1f} s")
    chance = random.Random(seed)  # The same words again.
    spent: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way, text in _typed(chance).items():
            start = clock()
            api.search(text, "uz", 10)
            spent.setdefault(way, []).append((clock() - start) * 1000)
    spent["all"] = [one for ways in list(spent.values()) for one in ways]
    for way, times in spent.items():
        times.sort()
        print(f"{way:14} p50 {times[len(times) // 2]:6.2f} ms  "
              f"p95 {times[len(times) * 95 // 100]:6.2f} ms  worst {times[-1]:6.2f} ms")


async def french(folder: Path) -> None:
    """Reads the French register as the connector does; counts."""
    source = Bdpm(folder, BEGAN)
    began = time.perf_counter()
    head = await source.head("", None)
    assert head is not None
    names = force.names()
    notes: Counter[str] = Counter()
    rejected: list[Rejected] = []
    products: set[str] = set()
    rows = linked = 0
    for number in range(1, head.pages + 1):
        page = await source.page(head, number)
        staged, bad, noted, _ = feeding.validated(page, names)
        rejected += bad
        notes.update(noted)
        rows += len(staged)
        products |= {one.entry.product for one in staged}
        linked += sum(bool(one.entry.preparation) for one in staged)
    share = 100 * len(products) / source.products
    print(f"{len(products):,} of {source.products:,} products ({share:.2f} %), {rows:,} rows, "
          f"{linked:,} with a certain INN, form and strength, in "
          f"{time.perf_counter() - began:.1f} s")
    print("put aside:", dict(Counter(one.reason for one in rejected)))
    print("notes:", dict(notes))


async def days(url: str, folder: Path | None) -> None:
    """Takes days of the simulator in, and the French register where its folder is given."""
    await migrate(url, (*DDL, *MODULE.ddl))
    db = await Database.open(url, Settings())
    gateway = Gateway(db, Settings())
    server = Server(Feed())
    server.start()
    for mode in ("", *MODES):
        server.feed.mode = mode
        if mode or server.feed.asked:
            server.feed.next_day(50)
        await _day(gateway, Darmon(server.url), mode or "as it should be")
    server.stop()
    if folder:
        await _day(gateway, Bdpm(folder, BEGAN), "French register")
    await db.close()


async def _day(gateway: Gateway, source: Source, name: str) -> None:
    began = time.perf_counter()
    done = await feeding.take(gateway, source)
    async with gateway.unit(feeding.PLATFORM) as unit:
        last = done or (await tables.deliveries(unit, 1))[0]
        why = await tables.rejected_by_reason(unit, last.number)
        fault = next(one.fault for one in await tables.feeds(unit) if one.name == source.name)
    told = (f"{last.state} {','.join(last.reasons)} +{last.added} ~{last.changed} "
            f"-{last.withdrawn} put aside {why} notes {last.notes}")
    spent = time.perf_counter() - began
    print(f"{name:16} {spent:5.1f} s  {last.mode} {fault or told}", flush=True)


def _on_a_database(folder: Path | None) -> None:
    place = Path(tempfile.mkdtemp(prefix="dmed-bench-"))
    place.chmod(0o711)
    cluster = Cluster(place)
    try:
        with Supervisor(cluster):
            cluster.make_database("dmed")
            asyncio.run(days(cluster.url("dmed_owner", "dmed"), folder))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processor", action="store_true",
                        help="processor time instead of time on the wall, on a busy machine")
    parser.add_argument("--french", type=Path)
    parser.add_argument("--days", action="store_true")
    given = parser.parse_args()
    if given.days:
        _on_a_database(given.french)
    elif given.french:
        asyncio.run(french(given.french))
    else:
        clock = time.process_time if given.processor else time.perf_counter
        search(given.packs, given.rounds, given.seed, clock)


if __name__ == "__main__":
    main()
