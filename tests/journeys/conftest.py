"""A served country of twenty persons, a real Chromium, and a person at a browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from dmed.apps.accounts import demo_token
from dmed.kit.settings import Settings
from dmed.trust.identity import DEMO_PASSWORDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip  # A list of options reads better filled.
START_SECONDS_MAX = 90
ANSWER_MS_MAX = 10_000
VIEW = {"width": 1440, "height": 900}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def live_folder() -> Iterator[Path]:
    """The folder of the served installation: its `data` is what commands join."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-journey-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def live_server(live_folder: Path) -> Iterator[str]:
    """The address of the platform, served by its own command over a fresh synthetic country."""
    folder = live_folder
    port = _free_port()
    program = [sys.executable, "-c", "from dmed.apps.cli import main; main()"]
    variables = {**os.environ, "DMED_DATA": str(folder / "data"), "DMED_PORT": str(port)}
    log = (folder / "log").open("w")
    subprocess.run([*program, "demo", "--persons", "20", "--seed", "1"], env=variables,
                   check=True, stdout=log, stderr=log)  # fmt: skip  # One command.
    server = subprocess.Popen([*program, "serve", "--workers", "1"], env=variables,
                              stdout=log, stderr=log)  # fmt: skip  # Same.
    try:
        _wait(f"http://127.0.0.1:{port}/readyz", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(30)
        server.kill()
        log.close()


EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="session")
def prescribed(live_server: str, live_folder: Path) -> Callable[[], tuple[str, str]]:
    """Number and code of a prescription of amoxicillin that the demo doctor signs for somebody new,
    by the calls of a system.
    """
    with ThreadPoolExecutor(1) as apart:  # A loop of another test may run in this thread.
        token = apart.submit(
            asyncio.run, demo_token(Settings(data=live_folder / "data"), "doctor")).result()

    def ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(f"{live_server}/fhir/{path}", json=body, timeout=30, headers={
            "Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"})
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def made() -> tuple[str, str]:
        person = ask("Patient", {
            "resourceType": "Patient", "gender": "male", "birthDate": "1980-02-03",
            "name": [{"family": "Namunayev", "given": ["Karim"]}]})
        request = runpy.run_path(str(EXAMPLES / "national_calls.py"))["prescription"](person["id"])
        bundle = {"resourceType": "Bundle", "type": "collection",
                  "entry": [{"resource": {**request, "status": "draft"}}]}
        told = ask("MedicationRequest/$prescribe", {
            "resourceType": "Parameters", "parameter": [{"name": "bundle", "resource": bundle}]})
        rows = {row["name"]: row for row in told["parameter"]}
        ask(f"Task/{rows['task']['resource']['id']}/$activate", {"resourceType": "Parameters"})
        return rows["number"]["valueString"], rows["code"]["valueString"]

    return made


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1):
            return
        if server.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(f"the platform did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A Chromium for one file of journeys, or a skip that says what is missing."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not on this machine: browser journeys are not driven")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


READ_QR = """async (element) => {
  const picture = new Image();
  const text = new XMLSerializer().serializeToString(element);
  picture.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await picture.decode();
  const canvas = new OffscreenCanvas(600, 600);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, 600, 600);
  pen.drawImage(picture, 20, 20, 560, 560);
  const image = pen.getImageData(0, 0, 600, 600);
  const worker = new Worker("/pages/camera-worker.js", { type: "module" });
  const read = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data.text);
    worker.onerror = (fault) => reject(new Error(fault.message));
  });
  worker.postMessage({ image, formats: ["QRCode"] });
  return read;
}"""


class Workplace:
    """A signed-in person at a browser of their own; complaints of the console are kept."""

    def __init__(self, browser: Browser, address: str, language: str, theme: str = "light") -> None:
        self.address = address
        self.context = browser.new_context(viewport=VIEW, color_scheme=theme)  # type: ignore[arg-type]  # light or dark.
        self.context.add_cookies([{"name": "dmed_language", "value": language, "url": address}])
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(ANSWER_MS_MAX)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda fault: self.complaints.append(str(fault)))

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            where = message.location.get("url", "")
            self.complaints.append(f"{message.type}: {message.text} ({where})")

    def sign_in(self, user: str) -> None:
        """By keyboard alone: the name has the focus."""
        self.page.goto(self.address + "/signin")
        self.page.locator("#f-user:focus").wait_for()
        self.type(user)
        self.press("Tab")
        self.type(DEMO_PASSWORDS[user])
        self.press("Enter")
        self.page.locator("nav.rail").wait_for()

    def type(self, text: str) -> None:
        """Types into whatever has the focus, as a person or a scanner does."""
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        """Presses a key: "Control+k", "F2"."""
        self.page.keyboard.press(key)

    def scan(self, text: str) -> None:
        """A scanner types a code, its GS signs too, and ends with Enter."""
        self.page.keyboard.insert_text(text)
        self.press("Enter")

    def choose(self, box: str, text: str) -> None:
        """Types into a search box and takes the first answer."""
        self.page.locator(f"{box}:focus").wait_for()
        self.type(text)
        self.page.locator(f"{box}-list [role=option]").first.wait_for()
        self.press("Enter")

    def read_qr(self) -> str:
        """What the camera would read from the code on the screen."""
        text: str = self.page.locator(".qr svg").evaluate(READ_QR)
        return text

    def pictures(self, name: str) -> list[Path]:
        """The page in light and in dark, kept as output of the run."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        made = []
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # One of its words.
            made.append(SCREENSHOTS / f"{name}-{theme}.png")
            self.page.screenshot(path=made[-1])
        self.page.emulate_media(color_scheme="light")
        return made

    def close(self) -> None:
        """Leaves; the console must have been silent."""
        self.context.close()
        assert not self.complaints, "\n".join(self.complaints)


@pytest.fixture
def workplace(chromium: Browser, live_server: str) -> Iterator[Callable[..., Workplace]]:
    """Makes workplaces: `workplace("ru", theme="dark")`; each must end without complaints."""
    made: list[Workplace] = []

    def make(language: str = "uz", *, theme: str = "light") -> Workplace:
        made.append(Workplace(chromium, live_server, language, theme))
        return made[-1]

    yield make
    for place in made:
        place.close()
