"""The crash test of the counter in small; `python tests/load/crash_life.py` is the full one."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
async def test_a_hand_over_is_done_once_though_processes_are_killed() -> None:
    """After kill -9 of workers and PostgreSQL each item was handed over exactly once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = importlib.util.spec_from_file_location(
        "crash_life", Path(__file__).with_name("crash_life.py"))
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["crash_life"] = script
    spec.loader.exec_module(script)

    assert await script.run(items=60, kills=2, clients=6, port=port) == []
