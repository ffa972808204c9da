"""After the load of `bench/life.py`: is everything there that was acknowledged, and once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from dmed.apps.postgres import Cluster
from dmed.store.keys import type_number

if TYPE_CHECKING:
    from life_data import Data
    from life_plan import Line


async def check(folder: Path, line: Line, data: Data, is_profiled: bool) -> list[str]:
    """Faults in sentences, and what was found into `line.found`."""
    connection: Any = await asyncpg.connect(Cluster(folder).url("dmed_owner"))
    faults: list[str] = []
    for name, given, statement in (
        ("prescribed", line.numbers, "select count(*) from prescription where number = any($1)"),
        ("activated", line.activated,
         "select count(*) from prescription where number = any($1) and not is_draft"),
        ("dispensed", [each for each in line.dispensed.values() if each],
         "select count(*) from pharmacy_handover where dispense = any($1) and not undone"),
        ("MedicationDispense", [each for each in line.dispensed.values() if each],
         (f"select count(*) from resource where type = {type_number('MedicationDispense')}"
          " and id = any($1)")),
        ("claimed", line.claimed,
         ("select count(*) from prescription_item i where task = any($1) and (exists (select from"
          " pharmacy_claim c where c.number = i.number and c.item = i.item) or exists (select from"
          " pharmacy_handover h where h.number = i.number and h.item = i.item))")),
        ("audited dispenses", [each for each in line.dispensed.values() if each],
         ("select count(*) from resource r where r.type ="
          f" {type_number('MedicationDispense')} and r.id = any($1) and exists"
          " (select from audit a where a.vid = r.vid and a.action in ('C', 'U'))")),
    ):
        wanted = len(set(given))
        if name.startswith("audited"):
            await connection.execute("create index if not exists life_audit on audit (vid)")
        there = await connection.fetchval(statement, list(set(given)))
        line.found.append(f"{name}: acknowledged {wanted:,}, found {there:,}")
        if there != wanted:
            faults.append(f"{name}: {wanted - there} of {wanted} acknowledged are not there")
    doubles = await connection.fetchval(
        "select count(*) from (select 1 from pharmacy_handover where not undone"
        " group by gtin, serial having count(*) > 1) t")
    empty = await connection.fetchval("select count(*) from pharmacy_pack where balance < 0")
    line.found.append(f"packs handed over twice: {doubles}; packs beyond their content: {empty}")
    if doubles or empty:
        faults.append(f"{doubles} packs went out twice, {empty} beyond their content")
    await connection.execute("drop index if exists life_audit")
    if is_profiled:
        await _dearest(connection)
    await connection.close()
    return faults


async def _dearest(connection: Any) -> None:
    """The statements that cost the server most, where pg_stat_statements is loaded."""
    try:
        await connection.execute("create extension if not exists pg_stat_statements")
        rows = await connection.fetch(
            "select calls, total_exec_time, mean_exec_time, left(regexp_replace(query, '\\s+',"
            " ' ', 'g'), 110) as text from pg_stat_statements order by total_exec_time desc"
            " limit 30")
    except asyncpg.PostgresError as error:
        print(f"life: no figures of statements: {error}")
        return
    for row in rows:
        print(f"{row['calls']:>9,} {row['total_exec_time'] / 1000:8.1f} s "
              f"{row['mean_exec_time']:7.2f} ms  {row['text']}")
