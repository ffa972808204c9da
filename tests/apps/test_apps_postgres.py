"""The embedded server: starts anywhere, as root and as an ordinary user, and survives a kill."""

from __future__ import annotations

import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dmed
from dmed.apps.postgres import Cluster, Supervisor, memory_bytes, sized
from dmed.kit.errors import ConflictError


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="dmed test with space "))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_killed_server_comes_back_with_its_data(folder: Path) -> None:
    """After kill -9 of the server its owner restarts it and committed rows are there."""
    cluster = Cluster(folder)
    with Supervisor(cluster) as owner:
        cluster.make_database()
        cluster.program("psql", "-c", "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(owner.pid, signal.SIGKILL)
        while owner.restarts == 0:
            time.sleep(0.02)
        owner._wait_until_ready()
        cluster.program("psql", "-c", "SELECT 1 / count(*) FROM kept")

        assert owner.restarts >= 1


def test_an_empty_lock_file_of_a_lost_machine_is_no_hindrance(folder: Path) -> None:
    """After a power cut the server's own lock file may be empty; the platform starts all the same,
    but leaves the file alone while a process works in the folder.
    """
    cluster = Cluster(folder)
    with Supervisor(cluster):
        cluster.make_database()
        cluster.program("psql", "-c", "CREATE TABLE kept AS SELECT 42 AS answer")
    lock = cluster.pgdata / "postmaster.pid"
    lock.touch()
    lock.chmod(0o600)
    if cluster.user is not None:
        os.chown(lock, cluster.user.pw_uid, cluster.user.pw_gid)

    other = subprocess.Popen(["sleep", "60"], cwd=cluster.pgdata)
    try:
        Supervisor(cluster)._end_orphan()
        assert lock.exists()
    finally:
        other.kill()
        other.wait()
    with Supervisor(cluster):
        cluster.program("psql", "-c", "SELECT 1 / count(*) FROM kept")


def test_one_process_owns_the_data(folder: Path) -> None:
    """A second owner of the same folder is refused while the first lives."""
    with Supervisor(Cluster(folder)), pytest.raises(ConflictError, match="another process owns"):
        Supervisor(Cluster(folder)).start()


def test_another_major_version_is_refused(folder: Path) -> None:
    """Files of PostgreSQL 16 are not touched by 18; the message names `dmed upgrade`."""
    Cluster(folder, 16).initialise()
    with pytest.raises(ConflictError, match="dmed upgrade"):
        Supervisor(Cluster(folder, 18)).start()


def test_the_application_is_no_superuser_and_words_are_asked(folder: Path) -> None:
    """The roles of the platform have no superuser rights, and a wrong word is refused."""
    cluster = Cluster(folder)
    with Supervisor(cluster):
        cluster.make_database()
        cluster.program("psql", "-c", "SELECT 1 / (SELECT count(*) FROM pg_roles "
                        "WHERE rolname = current_user AND NOT rolsuper)", role="dmed_app")
        wrong = subprocess.run(
            [str(cluster.programs / "psql"), "-h", str(cluster.run), "-U", "dmed_app", "dmed"],
            env={"PGPASSWORD": "guess"}, capture_output=True, text=True, check=False)

        assert "password authentication failed" in wrong.stderr


NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


def _interpreter_for_everybody() -> str:
    """A Python that user nobody may start: ours, or the system's of the same version."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            version = subprocess.run(
                [candidate, "-c", "import sys; print(*sys.version_info[:2])"], text=True,
                capture_output=True, check=False, **NOBODY)
        except PermissionError:
            continue
        if version.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return candidate
    pytest.skip("every Python of this version lies in a folder that only root may enter")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_runs_it_too() -> None:
    """Started by an ordinary user the server runs as that user, in his own folder."""
    python = _interpreter_for_everybody()
    home = Path(tempfile.mkdtemp(prefix="dmed-user-"))
    os.chown(home, 65534, 65534)
    script = ("import sys; from pathlib import Path; from dmed.apps.postgres import *\n"
              "c = Cluster(Path(sys.argv[1]) / 'data')\n"
              "with Supervisor(c): c.make_database(); print(c.folder, c.answers())")
    path = os.pathsep.join([*site.getsitepackages(), str(Path(dmed.__file__).parent.parent)])
    done = subprocess.run([python, "-c", script, str(home)], capture_output=True, text=True,
                          check=False, env={"PYTHONPATH": path, "HOME": str(home)}, **NOBODY)
    shutil.rmtree(home)

    assert done.stdout.strip() == f"{home / 'data'} True", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has closed folders that others own not")
def test_a_closed_home_moves_the_data_to_the_state_folder(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server's user cannot reach the data, it goes to the state folder and says so."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("dmed.apps.postgres.STATE_FOLDER", folder / "state")
    (folder / "state").mkdir(mode=0o711)
    cluster = Cluster(closed / "data")
    with Supervisor(cluster):
        assert cluster.answers()

    assert cluster.folder.is_relative_to(folder / "state")
    assert str(cluster.folder) in cluster.notice
    assert closed.stat().st_mode & 0o777 == 0o700


def test_the_memory_of_the_server_follows_the_machine_and_its_container(folder: Path) -> None:
    """A quarter of what may be used, within bounds; a container's bound counts, "max" is none."""
    gib = 1024**3
    assert sized(24 * gib) == {"shared_buffers": "'6144MB'", "effective_cache_size": "'12288MB'"}
    assert sized(gib // 4)["shared_buffers"] == "'128MB'"
    assert sized(1024 * gib)["shared_buffers"] == "'16384MB'"

    bound = folder / "memory.max"
    bound.write_text(f"{2**28}\n")
    assert memory_bytes(bound) == 2**28
    bound.write_text("max\n")
    assert memory_bytes(bound) == memory_bytes(folder / "nowhere") > 2**28
