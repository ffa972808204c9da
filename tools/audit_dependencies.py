"""Known weaknesses of what the locks name, by pip-audit; says so where it could not be asked.

`make audit`. pip-audit is taken from a room of its own under `build/`, so that it never becomes a
dependency. The exit status is 0 when nothing is known, 1 when something is, and 2 when the question
could not be asked (no network, no service): "not run" is no "clean".
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOM = ROOT / "build" / "audit"
LOCKS = ("run.lock", "dev.lock", "node.lock")
_AUDITOR = "pip-audit"
_SECONDS_MAX = 240


def auditor() -> str:
    """The program, installed where it is missing; "" where it cannot be had."""
    program = ROOM / "bin" / _AUDITOR
    if not program.exists():
        try:
            venv.create(ROOM, with_pip=True)
            done = subprocess.run([str(ROOM / "bin" / "pip"), "install", "-q", _AUDITOR],
                                  capture_output=True, text=True, check=False,
                                  timeout=_SECONDS_MAX)
        except (OSError, subprocess.SubprocessError) as fault:
            print(f"not run: {_AUDITOR} cannot be installed here: {fault}")
            return ""
        if done.returncode != 0:
            print(f"not run: {_AUDITOR} cannot be installed here")
            return ""
    return str(program)


def plain(lock: Path) -> str:
    """The pins of a lock without their hashes: the auditor wants names and versions alone."""
    return "\n".join(re.findall(r"^[A-Za-z0-9][\w.-]*==[^\s;\\]+", lock.read_text(),
                                re.MULTILINE)) + "\n"


def ask(program: str, lock: Path, service: str) -> tuple[int, str]:
    """Status and words of one question: 0 nothing known, 1 something, 2 not answered."""
    pins = ROOM / f"{lock.stem}.txt"
    pins.write_text(plain(lock))
    try:
        done = subprocess.run(
            [program, "-r", str(pins), "--no-deps", "--disable-pip", "-f", "json", "-s", service,
             "--progress-spinner", "off", "--timeout", "15"],
            capture_output=True, text=True, check=False, timeout=_SECONDS_MAX)
        answer = json.loads(done.stdout)
    except (ValueError, subprocess.SubprocessError):
        return 2, "the service did not answer"
    known = [f"{one['name']} {one['version']}: {fault['id']}, mended in "
             f"{', '.join(fault['fix_versions']) or 'no version yet'}"
             for one in answer["dependencies"] for fault in one.get("vulns", [])]
    return (1, "; ".join(known)) if known else (0, f"{len(answer['dependencies'])} packages, none")


def main() -> int:
    """Asks for each lock; the worst status counts."""
    program = auditor()
    if not program:
        return 2
    worst = 0
    for name in LOCKS:
        status, told = ask(program, ROOT / "requirements" / name, "pypi")
        if status == 2:
            status, told = ask(program, ROOT / "requirements" / name, "osv")
        print(f"{name}: {'not run: ' if status == 2 else ''}{told}")
        worst = max(worst, status)
    return worst


if __name__ == "__main__":
    sys.exit(main())
