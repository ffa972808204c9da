"""The command line as its users call it: real processes on a folder of their own."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).resolve().parents[2]
DMED = Path(sys.executable).with_name("dmed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dmed(data: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    own = dict(os.environ, DMED_DATA=str(data),
               DMED_BACKUP_KEY_FILE=str(data.parent / "backup.key"))
    done = subprocess.run([DMED, *arguments], env=own, cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


class Served:
    """`dmed serve` for the length of a block."""

    def __init__(self, data: Path, *options: str) -> None:
        self.base = f"http://127.0.0.1:{(port := free_port())}"
        self.process = subprocess.Popen(
            [DMED, "serve", "--port", str(port), "--workers", "1", *options], cwd=ROOT,
            env=dict(os.environ, DMED_DATA=str(data)), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.base + "/readyz", timeout=2):
                    return self
            except OSError:
                assert self.process.poll() is None, self.process.stdout.read().decode()
                time.sleep(0.05)
        raise AssertionError("no answer in 120 s")

    def get(self, path: str, token: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            request = urllib.request.Request(self.base + path, headers=headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


@pytest.fixture
def data() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dmed-cli-"))
    folder.chmod(0o711)
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


def test_init_makes_an_installation_once(data: Path) -> None:
    """`dmed init` makes the first administrator, and a second call changes nothing and says so."""
    first = dmed(data, "init", "--admin", "chief", "--password", "A-long-word-7391")
    second = dmed(data, "init", "--admin", "other", "--password", "A-long-word-7391", check=False)

    assert "chief" in first.stdout
    assert second.returncode == 1
    assert second.stderr.startswith("dmed: ")
    assert "Traceback" not in second.stderr


def test_a_backup_restores_the_records(data: Path) -> None:
    """What a backup holds is there after a restore elsewhere; a used installation is refused."""
    dmed(data, "demo", "--persons", "20")
    before = dmed(data, "export", str(data / "out")).stdout
    backup = data.parent / "backup.tar"
    dmed(data, "backup", str(backup))
    elsewhere = data.parent / "elsewhere"
    dmed(elsewhere, "restore", str(backup))
    refused = dmed(elsewhere, "restore", str(backup), check=False)

    assert backup.stat().st_mode & 0o077 == 0
    assert before.replace(str(data), "") == dmed(
        elsewhere, "export", str(elsewhere / "out")).stdout.replace(str(elsewhere), "")
    assert "in use" in refused.stderr
    assert _folder(data / "out") == _folder(elsewhere / "out")


def _folder(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def test_import_reports_each_bad_line_and_loads_the_rest(data: Path) -> None:
    """A truncated, compressed import names file, line and fault; the sound lines are stored."""
    dmed(data, "demo", "--persons", "20")
    good = {"resourceType": "Organization", "id": "import-1", "name": "Bir"}
    lines = [json.dumps(good), '{"resourceType":"Organization","id":"x","name":7}',
             '{"resourceType":"Nothing"}', json.dumps(good | {"id": "import-2"}),
             '{"resourceType":"Organi']
    file = data.parent / "some.ndjson.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    done = dmed(data, "import", str(file), check=False)
    again = dmed(data, "import", str(file), check=False)
    with Served(data) as server:
        token = dmed(data, "token", "--user", "service").stdout.strip()
        statuses = [server.get(f"/fhir/Organization/import-{number}", token)[0]
                    for number in (1, 2)]

    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert all(f"some.ndjson.gz:{line}" in said for line in (2, 3, 5)), said
    assert "Organization.name" in said
    assert statuses == [200, 200]
    assert "Traceback" not in again.stderr


def test_serve_shows_the_sign_in_page_and_refuses_strangers(data: Path) -> None:
    """The demo serves pages; FHIR without sign-in is 401; a wrong token is 401, a right one 200."""
    with Served(data, "--demo") as server:
        token = dmed(data, "token", "--user", "doctor").stdout.strip()
        page, stranger = server.get("/signin"), server.get("/fhir/Patient")
        wrong = server.get("/fhir/Patient", token[:-4] + "AAAA")
        right = server.get("/fhir/Patient?_count=1", token)

    assert page[0] == 200
    assert b"<form" in page[1]
    assert stranger[0] == wrong[0] == 401
    assert json.loads(stranger[1])["resourceType"] == "OperationOutcome"
    assert right[0] == 200
