"""Judging the doctors of a whole country: what it reads, how long it takes, how much memory.

    python bench/oversight.py [--doctors 10000] [--months 13]

Fills a database of its own with counts of doctors, institutions and pharmacies as they would lie
there after a year (every indicator of every doctor and month; pharmacies, products and passed
rules beside), then judges them all as the job of each night does, and opens the pages. Tells
seconds, the database's size and the greatest memory of the process, as of these doctors and per
ten thousand.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Awaitable
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg

from dmed.apps.database import database, prepare
from dmed.kit.clock import today
from dmed.kit.settings import Settings
from dmed.modules.analytics import api, tables
from dmed.modules.analytics.service import showing
from dmed.store.pool import Database
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject

REGIONS, DISTRICTS, SPECIALTIES, DOCTORS_A_HOUSE = 14, 200, 40, 25
PHARMACIES_A_DOCTOR, PREPARATIONS, PREPARATIONS_A_DOCTOR, RULES = 12, 1_200, 60, 4
INSPECTOR = Subject(user="inspector", role=Role.INSPECTOR)
_POSTS = """
insert into analytics_fact (generation, type, id, patient, body)
select 1, 'PractitionerRole', 'd' || n, '', jsonb_build_object('type', 'post', 'practitioner',
    'p' || n, 'organisation', 'h' || n / $2::int, 'name', 'Doctor ' || n, 'specialty',
    's' || n % $3::int, 'title', 'Specialty ' || n % $3::int)
from generate_series(0, $1::int - 1) n
"""
_HOUSES = """
insert into analytics_fact (generation, type, id, patient, body)
select 1, 'Organization', 'h' || n, '', jsonb_build_object('type', 'house', 'name', 'House ' || n,
    'region', 'r' || n % $2::int, 'district', 'x' || n % $3::int, 'kind', 'k' || n % 3,
    'parent', '')
from generate_series(0, $1::int - 1) n
"""
_WHOLES = """
insert into analytics_month
select 1, i, '', 'd' || n, m::date, '', (q * (0.05 + 0.3 * (hashtext(i) & 255) / 255)
    * (0.8 + 0.4 * random()))::bigint, q
from unnest($2::text[]) i, generate_series(0, $1::int - 1) n,
    unnest($3::date[]) m, lateral (select 20 + (random() * 200)::bigint as q offset n * 0) size
"""
_PARTS = """
insert into analytics_month
select 1, i, '', 'd' || n, m::date,
    case when k = 0 then '' else $5::text || ((n + k) % $6::int) end,
    case when k = 0 then 0 else 5 + (random() * 20)::bigint end,
    case when k = 0 then 200 else 0 end
from unnest($2::text[]) i, generate_series(0, $1::int - 1) n, unnest($3::date[]) m,
    generate_series(0, $4::int) k
"""
_PRODUCTS = """
insert into analytics_month
select 1, 'brand-in-inn', 'prep' || w, 'd' || n, m::date,
    'prep' || w || case when k = 0 then '' else '|t' || k end,
    case k when 0 then 0 when 1 then 3 else 2 end, case when k = 0 then 5 else 0 end
from generate_series(0, $1::int - 1) n, unnest($2::date[]) m,
    lateral (select distinct (power((n * 7919 + j * 104729) % 10007 / 10007.0, 3) * $3)::int as w
             from generate_series(1, $4::int) j) own, generate_series(0, 2) k
"""


def _months(count: int) -> list[date]:
    last = today().replace(day=1)
    whole = last.year * 12 + last.month - 1
    return [date(at // 12, at % 12 + 1, 1) for at in range(whole - count + 1, whole + 1)]


async def _fill(url: str, doctors: int, months: int) -> None:
    connection: Any = await asyncpg.connect(url, timeout=60)
    try:
        shares = [one.id for one in api.definitions().values() if one.kind != "part"]
        await connection.execute(
            "update analytics_position set generation = 1, shown = 1, version = 'bench'")
        houses = doctors // DOCTORS_A_HOUSE + 1
        await connection.execute(_HOUSES, houses, REGIONS, DISTRICTS)
        await connection.execute(_POSTS, doctors, DOCTORS_A_HOUSE, SPECIALTIES)
        for month in _months(months):
            await connection.execute(_WHOLES, doctors, shares, [month])
            for indicator, parts, name, of in (
                    ("pharmacy-pair", PHARMACIES_A_DOCTOR, "f", 15_000),
                    ("overrides", RULES, "rule-", 30)):
                await connection.execute(_PARTS, doctors, [indicator], [month], parts, name, of)
            await connection.execute(
                _PRODUCTS, doctors, [month], PREPARATIONS, PREPARATIONS_A_DOCTOR)
        await connection.execute("vacuum analyze analytics_month")
        await connection.execute("vacuum analyze analytics_fact")
        for table in ("analytics_month", "analytics_fact"):
            rows = await connection.fetchval(f"select count(*) from {table}")
            size = await connection.fetchval("select pg_total_relation_size($1::regclass)", table)
            print(f"{table}: {rows:,} rows, {size / 2**20:,.0f} MB with its index")
    finally:
        await connection.close()


async def _timed(what: str, act: Awaitable[Any], doctors: int) -> Any:
    began, worked = time.monotonic(), time.process_time()
    found = await act
    seconds, own = time.monotonic() - began, time.process_time() - worked
    print(f"{what}: {seconds:,.2f} s, {own:,.2f} s of them worked by this process "
          f"(per 10,000 doctors: {seconds / doctors * 10_000:,.1f} and "
          f"{own / doctors * 10_000:,.1f} s)")
    return found


async def _run(url: str, doctors: int, months: int) -> None:
    began = time.monotonic()
    await _fill(url, doctors, months)
    print(f"filled in {time.monotonic() - began:.0f} s")
    db = await Database.open(url, Settings(pool_size=2))
    try:
        gateway = Gateway(db, Settings())
        before = _memory()
        known = await _timed("posts and institutions read", api.staff(gateway), doctors)
        flags = await _timed("all doctors judged", api.judged(gateway, *showing.year(), known),
                             doctors)
        print(f"{len(flags):,} flags; greatest memory {_memory():,.0f} MB, of them "
              f"{_memory() - before:,.0f} MB of this")
        await _timed("regions", showing.country(gateway, INSPECTOR, "region"), doctors)
        await _timed("prescribers", showing.prescribers(gateway, INSPECTOR), doctors)
        sheet = await _timed("one prescriber",
                             showing.of_prescriber(gateway, INSPECTOR, "d7"), doctors)
        assert any(row.verdict for row in sheet.rows)
        async with gateway.unit(INSPECTOR) as unit:
            assert await tables.bases(unit, [("all", ())]) is not None
    finally:
        await db.close()


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--doctors", type=int, default=10_000)
    asked.add_argument("--months", type=int, default=13)
    given = asked.parse_args()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{given.doctors:,} doctors, {given.months} months; load of the machine {load} on "
          f"{os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="dmed-oversight-") as folder:
        Path(folder).chmod(0o711)
        with database(Settings(data=Path(folder) / "data")) as addresses:
            asyncio.run(prepare(addresses))
            asyncio.run(_run(addresses.owner, given.doctors, given.months))


if __name__ == "__main__":
    main()
