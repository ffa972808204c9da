"""How many bytes an audit row takes with its indexes, and how fast it is written, sealed, verified.

Rows as a day makes them: reads by id of many people's records, searches of a person's records with
their query, writes, a few refusals. Prints one table; needs no quiet machine for the bytes.

    python bench/audit_size.py [ROWS]
"""

from __future__ import annotations

import asyncio
import random
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from dmed.apps.postgres import Cluster, Supervisor
from dmed.kit.ids import new_id, new_vid
from dmed.kit.settings import Settings
from dmed.store import audit as audits
from dmed.store import schema, seal_check
from dmed.store.model import AuditRow
from dmed.store.pool import Database
from dmed.trust import audit_key, audit_seal

GROUP = 32
"""Rows of one flush: what a worker gathers under load."""
TYPES = ("Observation", "Condition", "MedicationRequest", "Encounter", "Patient")


def rows(count: int, people: int, dice: random.Random) -> list[AuditRow]:
    """Seven reads of ten, two searches of a person's records, one write."""
    patients = [new_id(dice.randrange(4096)) for _ in range(people)]
    process = secrets.token_urlsafe(6)
    made = []
    for number in range(count):
        patient = dice.choice(patients)
        type_ = dice.choice(TYPES)
        common = {"request": f"{process}-{number:x}", "subject": f"user-{dice.randrange(500)}",
                  "role": "doctor", "organisation": "45a-980c67db043301fc2817",
                  "patient": patient, "type": type_}
        kind = dice.random()
        if kind < 0.7:
            made.append(AuditRow(action="R", vid=new_vid(), id=new_id(dice.randrange(4096)),
                                 **common))
        elif kind < 0.9:
            made.append(AuditRow(
                action="E", query=f"patient={patient}&_count=20&_sort=-date", **common))
        else:
            made.append(AuditRow(action="C", vid=new_vid(), id=new_id(dice.randrange(4096)),
                                 outcome=201, **common))
    return made


async def measure(url: str, data: Path, count: int) -> None:
    """Writes, seals, verifies, and prints what each took."""
    await schema.migrate(url)
    settings = Settings(data=data, database_url=url, pool_size=4)
    db = await Database.open(url, settings)
    made = rows(count, max(10, count // 40), random.Random(1))
    actors = [await audits.actor_number(db, row) for row in made]
    began = time.perf_counter()
    for at in range(0, count, GROUP):
        columns = audits.columns(made[at : at + GROUP], actors[at : at + GROUP])
        await db.hot.execute(audits.INSERT_SQL, *columns)
    written = time.perf_counter() - began
    key = audit_key.load_audit_key(data)
    began = time.perf_counter()
    while await audit_seal.turn(db, settings, key):
        pass
    sealed = time.perf_counter() - began
    connection = await asyncpg.connect(url)
    began = time.perf_counter()
    result = await seal_check.verify(connection, audit_key.checks(data))
    verified = time.perf_counter() - began
    await connection.execute("VACUUM audit")
    sizes = await connection.fetch("""
        SELECT 'rows' AS part, sum(pg_relation_size(relid)) AS bytes
        FROM pg_partition_tree('audit') WHERE isleaf
        UNION ALL SELECT coalesce(regexp_replace(indexrelid::regclass::text, '_[0-9]+|_rest', ''),
            ''), sum(pg_relation_size(indexrelid)) FROM pg_index
            WHERE indrelid IN (SELECT relid FROM pg_partition_tree('audit') WHERE isleaf)
            GROUP BY 1
        UNION ALL SELECT 'seals', pg_total_relation_size('audit_seal')""")
    total = sum(row["bytes"] for row in sizes)
    for row in sizes:
        print(f"{row['part']:30} {row['bytes'] / count:8.1f} bytes a row")
    print(f"{'together':30} {total / count:8.1f} bytes a row")
    print(f"{count:,} rows: written {count / written:,.0f}/s by one connection in groups of "
          f"{GROUP}, sealed {count / sealed:,.0f}/s, verified {result.rows / verified:,.0f}/s, "
          f"{len(result.faults)} faults, {result.unsealed} not sealed")
    await connection.close()
    await db.close()


def main() -> None:
    """Makes an installation of its own, measures and removes it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    folder = Path(tempfile.mkdtemp(prefix="dmed-audit-size-"))
    folder.chmod(0o711)
    try:
        cluster = Cluster(folder, 18)
        with Supervisor(cluster):
            cluster.make_database()
            asyncio.run(measure(cluster.url("dmed_owner"), folder / "data", count))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
