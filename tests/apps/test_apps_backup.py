"""The rehearsal: save under load, lose everything, restore; and what is killed leaves no half."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-c", "from dmed.apps.cli import main; main()"]
PORT = 18_431
pytestmark = pytest.mark.slow
ACCOUNTS = """
import asyncio
from dmed.apps.accounts import identity, opened
from dmed.apps.database import database, prepare
from dmed.kit.settings import load
async def make():
    with database(load()) as addresses:
        await prepare(addresses)
        async with opened(load(), addresses) as store:
            await identity(store, load()).save_demo()
asyncio.run(make())
"""


class Site:
    """A folder with an installation, its backup key elsewhere, and what was acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.file = folder / "saved" / "backup.sealed"
        self.file.parent.mkdir()
        self.key = folder / "elsewhere" / "backup.key"
        self.before: dict[str, bytes] = {}
        self.whole: dict[str, str] = {}

    def environment(self, data: Path) -> dict[str, str]:
        return {**os.environ, "DMED_DATA": str(data), "DMED_BACKUP_KEY_FILE": str(self.key),
                "DMED_PORT": str(PORT)}  # fmt: skip  # One environment.

    def dmed(self, *arguments: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*PROGRAM, *arguments], env=self.environment(data or self.data),
                              cwd=ROOT, capture_output=True, text=True,
                              check=False)  # fmt: skip  # One call.

    def records(self, data: Path) -> dict[str, str]:
        """Every record of an installation by type and id, as its export has it."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        done = self.dmed("export", str(out), data=data)
        assert done.returncode == 0, done.stderr
        found = {}
        for file in out.iterdir():
            for line in file.read_text().splitlines():
                record = json.loads(line)
                found[f"{record['resourceType']}/{record['id']}"] = line
        return found

    def start(self, *arguments: str, data: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*PROGRAM, *arguments], env=self.environment(data), cwd=ROOT,
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)  # fmt: skip  # One call.


def _wait_for(fact: object, seconds: float = 60.0) -> None:
    assert callable(fact)
    until = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def _write(token: str, stop: threading.Event, acknowledged: dict[str, bytes]) -> None:
    """Creates and updates one after the other; what was answered is remembered."""
    number = 0
    while not stop.is_set():
        body = json.dumps({"resourceType": "Basic", "code": {"text": f"kept {number}"}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/fhir/Basic", body, method="POST",
            headers={"authorization": f"Bearer {token}", "content-type": "application/fhir+json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            record = answer.read()
        acknowledged[json.loads(record)["id"]] = record
        number += 1


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """An installation that was saved while it was written to, and then destroyed."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-rehearsal-"))
    folder.chmod(0o711)
    made = Site(folder)
    try:
        subprocess.run([sys.executable, "-c", ACCOUNTS], env=made.environment(made.data),
                       cwd=ROOT, check=True)  # fmt: skip  # One call.
        token = made.dmed("token", "--user", "service").stdout.strip()
        server = made.start("serve", "--workers", "1", data=made.data)
        stop = threading.Event()
        acknowledged: dict[str, bytes] = {}
        writer = threading.Thread(target=_write, args=(token, stop, acknowledged))
        try:
            _wait_for(_answers)
            writer.start()
            _wait_for(lambda: len(acknowledged) > 20)
            made.before = dict(acknowledged)
            done = made.dmed("backup", str(made.file))
            assert done.returncode == 0, done.stderr
        finally:
            stop.set()
            writer.join()
            server.terminate()
            server.wait(60)
        assert len(acknowledged) > len(made.before), "nothing was written during the backup"
        made.whole = made.records(made.data)
        shutil.rmtree(made.data)
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_nothing_that_was_acknowledged_before_the_backup_is_lost(site: Site) -> None:
    """A restore killed in the midst leaves nothing that serves and may be called again; then every
    record is there, in the same version and bytes.
    """
    running = site.start("restore", str(site.file), data=site.data)
    _wait_for((site.data / "restore.unfinished").exists)
    time.sleep(0.3)
    running.kill()
    running.wait()
    served = site.dmed("serve")
    done = site.dmed("restore", str(site.file))
    restored = site.records(site.data)

    assert served.returncode == 1
    assert "interrupted" in served.stderr
    assert done.returncode == 0, done.stderr
    assert {f"Basic/{id_}" for id_ in site.before} <= set(restored)
    assert [key for key, line in restored.items() if site.whole[key] != line] == []
    written_later = [key for key in site.whole if key not in restored]
    assert all(key.startswith("Basic/") for key in written_later)
    assert "in use" in site.dmed("restore", str(site.file)).stderr
    assert site.file.stat().st_mode & 0o077 == 0


def test_the_file_tells_nothing_and_the_key_is_not_in_it(site: Site) -> None:
    """No record, no key and no word of the database stands in the file in the open."""
    content = site.file.read_bytes()
    for secret in (b"kept 1", b"Basic", b"resource", b"PRIVATE KEY", b"PGDMP",
                   site.key.read_bytes()[:20]):
        assert secret not in content


def test_another_key_a_cut_and_a_changed_file_are_refused_in_a_sentence(site: Site) -> None:
    """Nothing is touched: the installation stays empty, and the sentence says what is wrong."""
    empty = site.folder / "untouched"
    whole = site.file.read_bytes()
    cut, changed, other = (site.folder / name for name in ("cut", "changed", "other.key"))
    cut.write_bytes(whole[: len(whole) // 2])
    changed.write_bytes(whole[:9_000] + bytes([whole[9_000] ^ 1]) + whole[9_001:])
    other.write_text("cXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXE=\n")
    other.chmod(0o600)
    said = [site.dmed("restore", *arguments, data=empty) for arguments in (
        (str(cut),), (str(changed),), (str(site.file), "--key-file", str(other)))]

    assert [done.returncode for done in said] == [1, 1, 1]
    assert "changed or cut short" in said[0].stderr
    assert "changed or cut short" in said[1].stderr
    assert "sealed with another key" in said[2].stderr
    assert not any("Traceback" in done.stderr for done in said)
    assert not empty.exists()


def test_a_killed_backup_leaves_no_file_under_its_name(site: Site) -> None:
    """Killed in the midst, only a .partial is there, which no restore takes; the next one works."""
    target = site.folder / "saved" / "killed.sealed"
    partial = target.with_name("killed.sealed.partial")
    running = site.start("backup", str(target), data=site.data)
    _wait_for(partial.exists)
    running.kill()
    running.wait()

    assert not target.exists()
    assert site.dmed("restore", "--check", str(partial)).returncode == 1
    assert site.dmed("backup", str(target)).returncode == 0
    assert "sound" in site.dmed("restore", "--check", str(target)).stdout


def test_a_key_inside_the_installation_is_refused(site: Site) -> None:
    """A key that would be lost together with what it protects is no key of a backup."""
    done = site.dmed("backup", str(site.folder / "x"), "--key-file", str(site.data / "k"))

    assert done.returncode == 1
    assert "outside the installation" in done.stderr
