"""A doctor signs a prescription with the simulated E-IMZO program of his desk."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]  # Two programs are started.
PROGRAM = [sys.executable, "-c", "from dmed.apps.cli import main; main()"]
START_SECONDS_MAX = 150


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    process.kill()


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[str, str, dict[str, str]]]:
    """The platform with national keys, the simulator, and the variables both were started with."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-eimzo-"))
    folder.chmod(0o711)
    port, sim = free_port(), free_port()
    variables = {
        **os.environ, "DMED_DATA": str(folder / "data"), "DMED_PORT": str(port),
        "DMED_SIGNER": "eimzo", "DMED_EIMZO_URL": f"http://127.0.0.1:{sim}",
        "DMED_EIMZO_SOCKET": f"ws://127.0.0.1:{sim}/service/cryptapi",
        "DMED_EIMZO_ROOTS": str(folder / "data" / "eimzo-sim" / "root.pem"),
    }  # fmt: skip  # One environment.
    log = (folder / "log").open("w")
    started: list[subprocess.Popen[bytes]] = []
    try:
        subprocess.run([*PROGRAM, "demo", "--persons", "20", "--seed", "1"], env=variables,
                       check=True, stdout=log, stderr=log)  # fmt: skip  # One command.
        for command in (["sim", "eimzo", "--port", str(sim)], ["serve", "--workers", "1"]):
            started.append(subprocess.Popen([*PROGRAM, *command], env=variables, stdout=log,
                                            stderr=log))  # fmt: skip  # Same.
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(
                f"http://127.0.0.1:{port}/readyz", timeout=1
            ):
                break
            time.sleep(0.2)
        else:
            pytest.fail(f"the platform did not start: {(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sim}", variables
    finally:
        for process in started:
            ended(process)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def told(simulator: str, mode: str) -> None:
    """Tells the simulator what to do wrong."""
    with urllib.request.urlopen(f"{simulator}/sim/mode", mode.encode(), timeout=5):
        pass


def test_a_doctor_signs_at_his_desk(
    chromium: Browser, desk: tuple[str, str, dict[str, str]]
) -> None:
    """The page lists his keys, shows what he signs, and the prescription carries his signature;
    an outage of the operator is told and nothing is lost; `dmed signatures verify` agrees.
    """
    address, simulator, variables = desk
    context = chromium.new_context()
    context.add_cookies([{"name": "dmed_language", "value": "uz", "url": address}])
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(address + "/signin")
    page.locator("#f-user").fill("doctor")
    page.keyboard.press("Tab")
    page.keyboard.type("doctor-demo")
    page.keyboard.press("Enter")
    page.locator("nav.rail").wait_for()
    write_a_draft(page)
    page.locator("#eimzo-sign:not([disabled])").wait_for()
    assert "Yusupova Aziza" in page.locator("#eimzo-key").inner_text()
    assert '"act": "prescription"' in page.locator("#eimzo-document").text_content()
    assert "Lozartan" in page.content()

    told(simulator, "down")
    shown = page.url
    page.locator("#eimzo-sign").click()
    page.wait_for_load_state()
    page.locator("#eimzo-sign").wait_for(state="detached")
    told(simulator, "")
    page.goto(shown)
    page.locator("#eimzo-sign:not([disabled])").click()
    page.wait_for_url("**/prescriptions/*")
    page.locator(".qr svg").wait_for()
    context.close()

    done = subprocess.run([*PROGRAM, "signatures", "verify"], env=variables, check=False,
                          capture_output=True, text=True, timeout=200)  # fmt: skip  # One command.
    assert "1 signed documents hold, 0 fail" in done.stdout, done.stdout + done.stderr


def write_a_draft(page: Any) -> None:
    """A medicine for pressure for a known person; ends on the page of the signature."""
    page.keyboard.press("Control+k")
    page.keyboard.type("rahimov ")
    page.locator("#search-list [role=option]").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/card/*")
    page.keyboard.press("Alt+r")
    page.locator("#diagnosis-q:focus").wait_for()
    page.keyboard.type("I10")
    page.locator("#diagnosis-q-list [role=option]").first.wait_for()
    page.keyboard.press("Enter")
    page.locator("#medicine-q:focus").wait_for()
    page.keyboard.type("lozartan")
    page.locator("#medicine-q-list [role=option]").first.wait_for()
    page.keyboard.press("Enter")
    page.locator("#item-0-dose:focus").wait_for()
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/sign/*")
