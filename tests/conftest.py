"""Fixtures that every test may use: a real PostgreSQL, fresh databases, shared test data."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dmed.apps.database import Addresses, prepare
from dmed.apps.postgres import Cluster, Supervisor
from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.store.connections import Connections
from packages import package_folder

ROOT = Path(__file__).parent.parent
_QUICK = ("-c", "shared_buffers=128MB", "-c", "fsync=off", "-c", "max_connections=200")
"""Tests of meaning may lose a crashed machine's data; the crash test runs with fsync on."""

Connections.is_watched = True


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of test data made by others, or a skip that names it."""
    folder = Path(os.environ.get("DMED_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"shared test data is not here: {folder.name} (DMED_SHARED_DATA)")
    return folder


def _running(major: int) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix=f"dmed-test-{major}-"))
    folder.chmod(0o711)
    cluster = Cluster(folder, major)
    try:
        with Supervisor(cluster, _QUICK):
            cluster.make_database("dmed")
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """An embedded PostgreSQL 18 for the whole run."""
    yield from _running(18)


@pytest.fixture(scope="session")
def cluster_16() -> Iterator[Cluster]:
    """An embedded PostgreSQL 16 for the whole run."""
    yield from _running(16)


def _fresh(server: Cluster) -> Iterator[str]:
    name = f"t_{secrets.token_hex(6)}"
    server.make_database(name)
    yield server.url("dmed_owner", name)
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    """The owner's address of a fresh empty database on PostgreSQL 18, for one test."""
    yield from _fresh(cluster)


@pytest.fixture(scope="module")
def module_database_url(cluster: Cluster) -> Iterator[str]:
    """The same, shared by the tests of one file."""
    yield from _fresh(cluster)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_platform(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[..., Awaitable[Platform]]]:
    """Opens the file's one platform, one worker with all modules on a fresh database, with the
    settings that are given; closed after the file's last test.
    """
    made: list[Platform] = []

    async def opened(**given: Any) -> Platform:
        settings = Settings(data=tmp_path_factory.mktemp("platform"), pool_size=4,
                            database_url=module_database_url, **given)
        await prepare(Addresses(module_database_url, module_database_url))
        platform = Platform(settings)
        await platform.open()
        made.append(platform)
        return platform

    yield opened
    for each in made:
        await each.close()


@pytest.fixture(scope="module", params=[18, 16])
def any_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database for one file of store tests, on 18 and then on 16."""
    server = request.getfixturevalue("cluster" if request.param == 18 else "cluster_16")
    yield from _fresh(server)


_READS_SHARED = "shared test data is not here"


def _chromium_can_be_had() -> bool:
    return bool(shutil.which("chromium")) or (os.geteuid() == 0 and bool(shutil.which("apt-get")))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under DMED_STRICT_SKIPS a skip that need not be is a failure (decisions 10)."""
    if os.environ.get("DMED_STRICT_SKIPS") != "1" or exitstatus != 0:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    wrong = []
    for report in reporter.stats.get("skipped", []):
        journey = "journeys" in report.nodeid and _chromium_can_be_had()
        data = _READS_SHARED in str(report.longrepr) and (ROOT.parent / "shared" / "data").is_dir()
        if journey or data:
            wrong.append(report.nodeid)
    if wrong:
        reporter.write_line("skipped although it could run:\n" + "\n".join(wrong), red=True)
        session.exitstatus = 1


@pytest.fixture(scope="session")
def r5_examples() -> Path:
    """Folder of the official R5 examples (npm, CC0), fetched once; a skip where npm is not."""
    try:
        return package_folder("hl7.fhir.r5.examples", "5.0.0")
    except OSError as error:
        pytest.skip(f"hl7.fhir.r5.examples cannot be had: {error}")
