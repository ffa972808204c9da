"""The scanner's protocol: clean, found, too large, and every way in which it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dmed.apps.sim_scanner import EICAR, MODES, STREAM_MAX_BYTES, Simulator
from dmed.kit import outgoing
from dmed.kit.errors import InvalidError, UnavailableError
from dmed.kit.scanner import Clamd
from dmed.kit.settings import Settings


@pytest_asyncio.fixture(loop_scope="session")
async def daemon(tmp_path: Path) -> AsyncIterator[tuple[Simulator, Clamd, Clamd]]:
    """The simulator, and ways to it by TCP and by a socket of this machine."""
    simulator = Simulator()
    by_tcp = await asyncio.start_server(simulator.answer, "127.0.0.1", 0)
    by_path = await asyncio.start_unix_server(simulator.answer, tmp_path / "clamd.sock")
    port = by_tcp.sockets[0].getsockname()[1]
    yield (simulator, Clamd(f"tcp://127.0.0.1:{port}", 0.5),
           Clamd(f"unix:{tmp_path}/clamd.sock", 5))
    by_tcp.close()
    by_path.close()


async def test_a_file_is_judged(daemon: tuple[Simulator, Clamd, Clamd]) -> None:
    """Empty, small and in many chunks; what is found is found at the end of a large one, too."""
    simulator, by_tcp, by_path = daemon
    large = b"x" * 300_000
    assert [await by_tcp.found(each) for each in (b"", b"a", large)] == ["", "", ""]
    assert await by_path.found(large + EICAR) == "Eicar-Test-Signature"
    assert simulator.seen == 4


@pytest.mark.parametrize("mode", MODES)
async def test_a_scanner_that_fails_says_nothing_good(
    daemon: tuple[Simulator, Clamd, Clamd], mode: str
) -> None:
    """A cut connection, silence and a strange answer are no "OK"."""
    simulator, by_tcp, _ = daemon
    simulator.mode = mode
    with pytest.raises(UnavailableError):
        await by_tcp.found(b"a")


async def test_what_is_too_large_to_be_judged_is_not_good(
    daemon: tuple[Simulator, Clamd, Clamd]
) -> None:
    """Beyond the daemon's own limit nothing is known of a file."""
    with pytest.raises(UnavailableError):
        await daemon[2].found(b"x" * (STREAM_MAX_BYTES + 1))


async def test_nobody_there(tmp_path: Path) -> None:
    """No socket, no such service, an address that is none."""
    for address in (f"unix:{tmp_path}/none", "tcp://127.0.0.1:9", "http://127.0.0.1:9", "clamd"):
        with pytest.raises(UnavailableError):
            await Clamd(address, 1).found(b"a")


def test_files_leave_to_this_machine_alone() -> None:
    """By tcp: to another machine the start is refused; the port of clamd is the usual one."""
    with pytest.raises(InvalidError) as refused:
        outgoing.limit_to(Settings(scanner="tcp://scanner.example:3310"))
    assert "DMED_SCANNER" in refused.value.issues[0].diagnostics
    assert outgoing.places_of(Settings(scanner="tcp://localhost")) == {("localhost", 3310)}
