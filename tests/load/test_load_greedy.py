"""A greedy client beside a polite one, in small; the full one is `python tests/load/greedy.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from dmed.apps.rooms import MODULES
from dmed.kit.settings import Settings
from dmed.store.schema import migrate
from dmed.trust.tables import DDL

SECONDS = 2.0


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("greedy", Path(__file__).with_name("greedy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["greedy"] = module
    spec.loader.exec_module(module)
    return module


async def test_a_greedy_client_is_held_back_and_a_polite_one_is_not(
    database_url: str, tmp_path: Path
) -> None:
    """Three hundred searches of one account are partly refused, with Retry-After, over all its
    tokens; another account is never refused, and is answered sooner than the greedy one.
    """
    script = _script()
    await migrate(database_url, [*DDL, *(line for module in MODULES for line in module.ddl)])
    settings = Settings(data=tmp_path, database_url=database_url, pool_size=4,
                        party_running_max=16, party_waiting_max=64)  # fmt: skip  # One.
    alone, beside, many = await script.serve(settings, SECONDS)

    assert set(alone.statuses) == set(beside.statuses) == {200}, script.told(alone, beside, many)
    assert set(many.statuses) == {200, 429}
    assert many.without_retry == 0
    assert beside.at(0.5) < many.at(0.5), script.told(alone, beside, many)
