"""SMART App Launch by clients that are not ours, against a server started for it.

python tests/load/smart.py [--keep]: `fhirclient` of npm in real Chromium does the standalone launch
(sign-in, choice of the patient, consent) and the launch from within the platform; then tokens,
refresh and plain requests; Authlib does backend services. Each step is printed; the exit status
is 0 when every one held. Both libraries are installed under .dmed/smart from hash-locked lists.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "tests" / "load" / "smart"
PLACE = ROOT / ".dmed" / "smart"
CHROMIUM = Path("/usr/bin/chromium")
DMED = [sys.executable, "-c", "from dmed.apps.cli import main; main()"]
SCOPES = ("openid fhirUser profile launch launch/patient online_access offline_access "
          "patient/*.rs user/Practitioner.rs")
WAIT_MS_MAX = 20_000
_failed: list[str] = []


def step(text: str, is_held: bool, more: object = "") -> None:
    """Tells one step and whether it held."""
    print(f"{'ok  ' if is_held else 'FAIL'} {text}{f': {more}' if more != '' else ''}", flush=True)
    if not is_held:
        _failed.append(text)


def install() -> Path:
    """The peers, installed when they are not there; the folder of the app's files."""
    python, modules, app = PLACE / "python", PLACE / "js", PLACE / "app"
    if not (python / "ready").exists():
        shutil.rmtree(python, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        subprocess.run([str(python / "bin" / "pip"), "install", "-q", "--require-hashes", "-r",
                        str(PEER / "requirements.lock")], check=True)
        (python / "ready").touch()
    if not (modules / "node_modules" / "fhirclient").exists():
        modules.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEER / name, modules / name)
        npm = shutil.which("npm") or str(Path(sys.executable).with_name("npm"))
        subprocess.run([npm, "ci", "--silent", "--ignore-scripts", "--legacy-peer-deps"],
                       cwd=modules, check=True)
    shutil.copytree(PEER / "app", app, dirs_exist_ok=True)
    shutil.copy(modules / "node_modules" / "fhirclient" / "build" / "fhir-client.js", app)
    return app


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the app's files without a word."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def app_served(folder: Path) -> Iterator[str]:
    """The app at an origin of its own."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@contextlib.contextmanager
def platform_served(folder: Path, app: str) -> Iterator[str]:
    """A country of twenty with both clients registered, served by its own command."""
    port = free_port()
    own = {**os.environ, "DMED_DATA": str(folder / "data"), "DMED_PORT": str(port)}
    key = ECKey.generate_key("P-384", {"kid": "lab-1"})
    (folder / "lab.pem").write_bytes(key.as_pem(private=True))
    (folder / "lab.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    log = (folder / "log").open("w")

    def run(*arguments: str) -> None:
        subprocess.run([*DMED, *arguments], env=own, check=True, stdout=log, stderr=log)

    run("demo", "--persons", "20", "--seed", "1")
    run("app", "register", "growth", "--name", "Growth chart", "--scopes", SCOPES,
        "--redirect", f"{app}/index.html", "--launch", f"{app}/launch.html")
    run("app", "register", "lab", "--name", "Laboratory", "--account", "service",
        "--scopes", "system/Patient.rs system/Observation.rs", "--keys", str(folder / "lab.json"))
    server = subprocess.Popen([*DMED, "serve", "--workers", "1"], env=own, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/readyz", timeout=2):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def somebody(base: str, folder: Path) -> dict[str, Any]:
    """A person of whom the doctor may see observations."""
    own = {**os.environ, "DMED_DATA": str(folder / "data")}
    token = subprocess.run([*DMED, "token", "--user", "doctor"], env=own, check=True,
                           capture_output=True, text=True).stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}

    def asked(path: str) -> Any:
        request = urllib.request.Request(f"{base}/fhir/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    found = asked("Observation?_count=1")["entry"][0]["resource"]["subject"]["reference"]
    person: dict[str, Any] = asked(found)
    return person


def signed_in(page: Page) -> None:
    """The doctor by name and password."""
    page.fill("#f-user", "doctor")
    page.fill("#f-password", "doctor-demo")
    page.click("form[action='/signin'] button.btn-main")


def told(page: Page) -> dict[str, Any]:
    """What the app found, from its page."""
    page.wait_for_function("document.getElementById('told')?.textContent", timeout=WAIT_MS_MAX)
    found: dict[str, Any] = json.loads(page.text_content("#told") or "{}")
    return found


def check_app(found: dict[str, Any], person: dict[str, Any], base: str, how: str) -> None:
    """Every step of the app by itself."""
    if "fault" in found:
        step(f"{how}: the app worked", False, found["fault"])
        return
    claims = json.loads(base64.urlsafe_b64decode(found["idToken"]["raw"].split(".")[1] + "=="))\
        if "raw" in found["idToken"] else found["idToken"]
    step(f"{how}: the launch context is the chosen patient", found["patient"] == person["id"])
    step(f"{how}: id_token of this issuer for this client",
         (claims["iss"], claims["aud"]) == (base, "growth"))
    step(f"{how}: fhirUser", found["user"].startswith("Practitioner/"), found["user"])
    step(f"{how}: scopes", "patient/*.rs" in found["scope"], found["scope"])
    step(f"{how}: the patient was read", found["read"]["id"] == person["id"])
    step(f"{how}: observations of this patient alone",
         set(found["observations"]) == {f"Patient/{person['id']}"}, len(found["observations"]))
    step(f"{how}: the person behind fhirUser was read",
         found["practitioner"]["resourceType"] == "Practitioner")
    step(f"{how}: the refresh token gave a new access token", found["isRefreshed"])
    step(f"{how}: which reads on", found["again"] == person["id"])
    step(f"{how}: a write that was not allowed is refused", found["written"] == "403",
         found["written"])


def standalone(page: Page, base: str, app: str, person: dict[str, Any]) -> None:
    """The app begins: sign-in, choice of the patient, consent, back."""
    page.goto(f"{app}/launch.html?iss={base}/fhir")
    page.wait_for_url("**/signin**", timeout=WAIT_MS_MAX)
    step("standalone: the app led to the sign-in page", True)
    signed_in(page)
    page.wait_for_selector("#q-person", timeout=WAIT_MS_MAX)
    name = person["name"][0]
    page.fill("#q-person", f"{name['family']} {name['given'][0]}")
    page.press("#q-person", "Enter")
    page.click(f"button[name=patient][value='{person['id']}']")
    step("standalone: the patient was chosen", True)
    page.click("button[name=answer][value=allow]")
    page.wait_for_url(f"{app}/**", timeout=WAIT_MS_MAX)
    step("standalone: consent led back to the app", True)
    check_app(told(page), person, base, "standalone")


def within(page: Page, base: str, app: str, person: dict[str, Any]) -> None:
    """The platform opens the app for a card: the patient comes with the launch."""
    page.goto(f"{base}/apps?patient={person['id']}")
    page.click("button[name=client][value=growth]")
    page.wait_for_selector("button[name=answer][value=allow]", timeout=WAIT_MS_MAX)
    step("EHR launch: no choice of patient, consent at once", page.url.startswith(base))
    page.click("button[name=answer][value=allow]")
    page.wait_for_url(f"{app}/**", timeout=WAIT_MS_MAX)
    check_app(told(page), person, base, "EHR launch")


def system(base: str, folder: Path) -> None:
    """Backend services by Authlib."""
    done = subprocess.run([str(PLACE / "python" / "bin" / "python"), str(PEER / "system.py"),
                           f"{base}/fhir", str(folder / "lab.pem"), "lab-1"],
                          check=False, capture_output=True, text=True)
    if done.returncode:
        step("backend services: a token", False, done.stderr[-400:])
        return
    found = json.loads(done.stdout)
    step("backend services: a token by private_key_jwt (ES384)", found["expires_in"] == 300,
         found["scope"])
    step("backend services: a plain search", found["status"] == 200, found["found"])
    step("backend services: another type is refused", found["refused"] == 403, found["refused"])
    step("backend services: the same assertion again is refused",
         found["replayed"] == "invalid_client")


def main() -> None:
    """All steps; the exit status tells whether each held."""
    if not CHROMIUM.exists():
        sys.exit("Chromium is not on this machine")
    files = install()
    folder = Path(tempfile.mkdtemp(prefix="dmed-smart-"))
    folder.chmod(0o711)
    try:
        with app_served(files) as app, platform_served(folder, app) as base:
            person = somebody(base, folder)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[
                    "--headless=new", "--no-sandbox", "--disable-gpu"])
                page = browser.new_context().new_page()
                page.set_default_timeout(WAIT_MS_MAX)
                page.on("console", lambda message: message.type == "error"
                        and print("     console:", message.text[:200]))
                standalone(page, base, app, person)
                within(page, base, app, person)
                browser.close()
            system(base, folder)
    finally:
        if "--keep" not in sys.argv:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(_failed)} failed" if _failed else "all held")
    sys.exit(1 if _failed else 0)


if __name__ == "__main__":
    main()
