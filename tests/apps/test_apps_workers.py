"""Workers are started anew when they die, and the platform says so when they cannot live."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dmed.apps.workers import FAILURES_MAX, listen
from dmed.kit.errors import UnavailableError

SCRIPT = """
import sys, time
from dmed.apps.workers import Workers
def work():
    with open(sys.argv[1], "a") as out:
        print(__import__("os").getpid(), file=out, flush=True)
    {act}
Workers(2, work).serve()
"""


def started(book: Path, act: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT.format(act=act), str(book)],
                            stderr=subprocess.PIPE, text=True)


def pids(book: Path) -> list[int]:
    return [int(line) for line in book.read_text().split()] if book.exists() else []


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "did not happen in 20 s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_worker_is_replaced_however_often(tmp_path: Path) -> None:
    """Six kills in a row, each soon after a start, leave two workers; SIGTERM ends them all."""
    book = tmp_path / "pids"
    parent = started(book, "time.sleep(600)")
    for kill in range(FAILURES_MAX + 1):
        until(lambda kill=kill: len(pids(book)) == kill + 2)
        os.kill(pids(book)[-1], signal.SIGKILL)
    until(lambda: len(pids(book)) == FAILURES_MAX + 3)
    alive = [pid for pid in pids(book) if is_alive(pid)]
    parent.terminate()
    told = parent.communicate(timeout=30)[1]

    assert len(alive) == 2
    assert parent.returncode == 0
    assert told.count("signal 9: a new one takes its place") == FAILURES_MAX + 1
    assert not any(is_alive(pid) for pid in alive)


def test_workers_that_cannot_live_end_the_platform(tmp_path: Path) -> None:
    """Workers that end by themselves at once are not tried for ever: the end says why."""
    parent = started(tmp_path / "pids", "sys.exit(3)")
    told = parent.communicate(timeout=60)[1]

    assert parent.returncode != 0
    assert f"{FAILURES_MAX} workers ended as soon as they began, the last with status 3" in told


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """No worker outlives a killed parent: the port is free for the next start."""
    book = tmp_path / "pids"
    parent = started(book, "time.sleep(600)")
    until(lambda: len(pids(book)) == 2)
    parent.kill()
    parent.communicate(timeout=30)

    until(lambda: not any(is_alive(pid) for pid in pids(book)))


def test_a_taken_address_is_named() -> None:
    """A port that another server holds is refused in a sentence with the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
            listen("127.0.0.1", port, 10)
