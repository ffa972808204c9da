"""`dmed analytics count` counts a whole feed, however often it is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import by_hand
import msgspec
import pytest_asyncio

from dmed.apps import demo
from dmed.apps.demo.loading import write_of
from dmed.apps.rooms import MODULES
from dmed.kit.settings import Settings
from dmed.modules.analytics import api, tables
from dmed.modules.analytics import demo as planting
from dmed.modules.analytics.rules.facts import TYPES
from dmed.modules.analytics.service import figures, showing
from dmed.modules.analytics.service.following import PLATFORM
from dmed.store import load as store_load
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.tables import DDL


class Country(msgspec.Struct):
    """A loaded country nobody has counted yet."""

    gateway: Gateway
    url: str
    folder: Path
    records: list[dict[str, object]]

    def start(self) -> subprocess.Popen[str]:
        """The command, in short steps."""
        return subprocess.Popen(
            [sys.executable, "-c", "from dmed.apps.cli import main; main()", "analytics", "count",
             "--stretch", "20"], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "DMED_DATABASE_URL": self.url, "DMED_DATA": str(self.folder)})


@pytest_asyncio.fixture(loop_scope="session")
async def country(module_database_url: str, tmp_path: Path) -> AsyncIterator[Country]:
    """Thirty persons with what was written to them."""
    url = module_database_url
    await migrate(url, (*DDL, *(one for module in MODULES for one in module.ddl)))
    made = planting.Country(one for one in demo.generate(30, 5) if one.type in TYPES).made()
    audit = AuditRow(request="t", action="C", subject="t", role="service")
    await store_load.load(url, Scope("t"), audit, made, write_of, processes=0)
    db = await Database.open(url, Settings())
    yield Country(Gateway(db, Settings()), url, tmp_path,
                  [msgspec.json.decode(one.body) for one in made])
    await db.close()


async def test_a_killed_count_goes_on_where_it_was(country: Country) -> None:
    """Killed in the middle: nothing is shown yet and the server's job stands aside; called again
    it counts the rest, and the counts are those of the hand computation.
    """
    first = country.start()
    assert first.stdout is not None
    assert "changes to count" in first.stdout.readline()
    first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    stopped = await api.position(country.gateway)
    assert stopped > (0, 0)
    assert await showing.is_counting(country.gateway)
    await figures.keep(country.gateway)
    assert await api.position(country.gateway) == stopped

    second = country.start()
    said, _ = second.communicate(timeout=60)

    assert second.returncode == 0
    assert "100.0%" in said
    assert "stand out" in said
    to_count = int(said.split(" ", 1)[0].replace(",", ""))
    assert 0 < to_count < len(country.records)
    assert not await showing.is_counting(country.gateway)
    async with country.gateway.unit(PLATFORM) as unit:
        found = await tables.totals(
            unit, date(1900, 1, 1), date(2100, 1, 1), list(api.definitions()))
    assert by_hand.compute(country.records) == {
        (one.prescriber, one.indicator, one.part): (one.numerator, one.denominator)
        for one in found}
