"""The fuzz of the whole HTTP face in small; the full one is `python tests/load/fuzz.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.store.schema import migrate
from dmed.trust.tables import DDL

SECONDS = 3


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).with_name("fuzz.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


async def test_no_request_of_the_document_meets_a_fault_of_ours(
    database_url: str, tmp_path: Path
) -> None:
    """Acts of the OpenAPI document with random bodies, headers and queries: below 500, JSON."""
    script = _script()
    await migrate(database_url, [*DDL, *(line for module in MODULES for line in module.ddl)])
    platform = Platform(Settings(data=tmp_path, database_url=database_url, pool_size=4))
    await platform.open()
    try:
        await script.accounts(platform)
        ledger = await script.run(platform, SECONDS, number=1)
    finally:
        await platform.close()

    assert ledger.faults == []
    assert sum(ledger.statuses.values()) > 50


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(500, b"{}", "a fault of ours"), (400, b'{"a": 1}', "a refusal without OperationOutcome"),
     (200, b"{", "no JSON"), (200, b'{"resourceType": "Patient"}', ""), (204, b"", "")],
)  # fmt: skip  # A table of cases.
def test_the_judge_knows_a_fault(status: int, body: bytes, said: str) -> None:
    """What the fuzz calls a fault, and what it does not."""
    import httpx

    assert _script().fault(httpx.Response(status, content=body), 0.1, "GET") == said
