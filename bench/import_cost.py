"""What an import costs a record: processor time of the loader and the server, WAL, rows, bytes.

python bench/import_cost.py FILE.ndjson [RECORDS]

Loads the first third of the records to warm up, then measures the rest on a server of its own in
a temporary folder, in one process. Processor time, not the clock: the machine may be busy.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from dmed.apps.importing import IMPORTER, produce
from dmed.apps.postgres import Cluster, Supervisor
from dmed.apps.sources import Item, items_of
from dmed.store import load, schema
from dmed.store.model import AuditRow, Scope

TICKS = os.sysconf("SC_CLK_TCK")
AUDIT = AuditRow(request="bench", action="C", subject=IMPORTER.user, role="service")
_SIZES = """
SELECT t.relname AS name, pg_relation_size(t.oid) AS bytes, t.reltuples AS rows,
    count(i.indexrelid) AS indexes, coalesce(sum(pg_relation_size(i.indexrelid)), 0) AS index_bytes
FROM pg_class t LEFT JOIN pg_index i ON i.indrelid = t.oid
WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r' AND pg_relation_size(t.oid) > 0
GROUP BY t.oid, t.relname, t.reltuples
ORDER BY pg_relation_size(t.oid) + coalesce(sum(pg_relation_size(i.indexrelid)), 0) DESC LIMIT 14
"""


def of_server(folder: Path) -> float:
    """Seconds of processor time of a server and all its backends, the ended ones too."""
    pid = next(folder.rglob("postmaster.pid")).read_text().split()[0]
    ticks = 0
    for each in Path("/proc").iterdir():
        if not each.name.isdigit():
            continue
        try:
            fields = (each / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended in the meantime; its parent tells of it.
        if each.name == pid:
            ticks += sum(map(int, fields[11:15]))
        elif fields[1] == pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


class Meter:
    """Seconds of processor time of this process and of a server since it was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own, self._server = time.process_time(), of_server(folder)

    def read(self) -> tuple[float, float]:
        """Of the process that asks, and of the server."""
        return time.process_time() - self._own, of_server(self.folder) - self._server


async def measure(cluster: Cluster, items: list[Item]) -> str:
    """The figures as Markdown."""
    url = cluster.url("dmed_owner", "dmed")
    await schema.migrate(url)

    async def loaded(part: list[Item]) -> load.Progress:
        given: Iterator[Item] = iter(part)
        return await load.load(url, Scope(IMPORTER.user), AUDIT, given, produce, processes=0)

    await loaded(items[: len(items) // 3])
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)  # As in a loading process.
    connection = await asyncpg.connect(url)
    before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    server, own = of_server(cluster.folder), time.process_time()
    done = await loaded(items[len(items) // 3 :])
    own, server = time.process_time() - own, of_server(cluster.folder) - server
    wal = await connection.fetchval("SELECT pg_current_wal_insert_lsn() - $1::pg_lsn", before)
    sizes = await connection.fetch(_SIZES)
    await connection.close()
    count, every = done.loaded, len(items)
    lines = [
        (f"{count:,} records, {done.faults} refused: {own / count * 1e6:,.0f} microseconds of "
        f"processor time in the loader, {server / count * 1e6:,.0f} in the server (building "
        f"indexes and ANALYZE with it), {int(wal) / count:,.0f} bytes of WAL a record."),
        "", "| table | rows a record | index entries | bytes | bytes of indexes |",
        "|---|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['rows'] / every:.2f} | {row['rows'] * row['indexes'] / every:.2f} "
        f"| {row['bytes'] / every:,.0f} | {int(row['index_bytes']) / every:,.0f} |"
        for row in sizes]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("records", type=int, nargs="?", default=15_000)
    given = parser.parse_args()
    items = [item for _, item in zip(range(given.records), items_of(given.file), strict=False)]
    folder = Path(tempfile.mkdtemp(prefix="dmed-bench-"))
    folder.chmod(0o711)
    cluster = Cluster(folder, 18)
    try:
        with Supervisor(cluster, ()):
            cluster.make_database("dmed")
            print(asyncio.run(measure(cluster, items)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
