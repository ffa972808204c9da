"""The search fuzz in small; a million strings are `python tests/load/search_fuzz.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "search_fuzz", Path(__file__).with_name("search_fuzz.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["search_fuzz"] = module
    spec.loader.exec_module(module)
    return module


async def test_no_search_string_meets_a_fault_of_ours(database_url: str, tmp_path: Path) -> None:
    """Valid and hostile strings: no 5xx, always JSON, and most valid ones are served with just
    what a slow reading of the records expects, none with anything else.
    """
    script = _script()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.pool, "SEARCH_SECONDS_MAX", 10)
        async with script.installation(database_url, tmp_path, 20) as client:
            report = await script.fuzz(client, 200, seed=3, count=20)

    assert report.faults == []
    assert report.served >= 0.6, report.refused
    assert report.equal >= 0.6, report.judged
    assert report.judged["with records"] > 5


async def test_a_statement_that_takes_too_long_is_cut(database_url: str, tmp_path: Path) -> None:
    """The database itself ends a search's statement at the limit that the pool was given."""
    script = _script()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.pool, "SEARCH_SECONDS_MAX", 1)
        async with script.installation(database_url, tmp_path, 0):
            database = await script.pool.Database.open(
                database_url, script.Settings(data=tmp_path, database_url=database_url))
            try:
                async with database.searching() as connection:
                    with pytest.raises(Exception, match="statement timeout"):
                        await connection.execute("SELECT pg_sleep(5)")
            finally:
                await database.close()
