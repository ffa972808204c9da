"""The crash test in small; the full one is `make crash`."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from types import ModuleType

import pytest


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crash", Path(__file__).with_name("crash.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["crash"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_when_processes_are_killed() -> None:
    """After kill -9 of workers and PostgreSQL every acknowledged write is whole and audited."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    assert await _script().run(writes=1500, kills=2, clients=8, port=port) == []
