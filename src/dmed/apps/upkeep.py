"""Backup, restore and upgrade of an installation: database and keys in one file."""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from dmed.apps.accounts import refuse_if_used
from dmed.apps.database import database, prepare
from dmed.apps.postgres import Cluster, Supervisor
from dmed.kit.errors import ConflictError, InvalidError, NotSupportedError
from dmed.kit.settings import Settings

_DUMP = "database.dump"
_KEYS = "keys"


def backup(settings: Settings, file: Path) -> None:
    """One tar file: a consistent dump of the database and the keys; readable by its owner only.

    The file appears under its name only when it is whole. It holds keys and health data: keep it
    as you keep the installation itself.
    """
    with database(settings) as addresses:
        if addresses.cluster is None:
            raise NotSupportedError(
                "the database is given by DMED_DATABASE_URL: back it up with its own pg_dump")
        partial = file.with_name(file.name + ".partial")
        with tempfile.TemporaryDirectory(prefix="dmed-backup-") as folder:
            dump = Path(folder) / _DUMP
            with dump.open("wb") as target:
                addresses.cluster.program("pg_dump", "--format=custom", "--no-owner",
                                          "--compress=6", stdout=target)
            with (os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
                  as target, tarfile.open(fileobj=target, mode="w") as archive):
                archive.add(dump, _DUMP)
                keys = settings.data / _KEYS
                if keys.exists():
                    archive.add(keys, _KEYS)
        partial.rename(file)


def restore(settings: Settings, file: Path) -> None:
    """A backup put into an empty installation; anything half restored is no installation."""
    with database(settings) as addresses:
        if addresses.cluster is None:
            raise NotSupportedError(
                "the database is given by DMED_DATABASE_URL: restore it with its own pg_restore")
        asyncio.run(prepare(addresses))
        asyncio.run(refuse_if_used(addresses))
        with tempfile.TemporaryDirectory(prefix="dmed-restore-") as folder:
            try:
                with tarfile.open(file) as archive:
                    archive.extractall(folder, filter="data")
            except (tarfile.TarError, OSError) as error:
                raise InvalidError(f"{file}: not a backup, or cut short: {error}") from error
            dump = Path(folder) / _DUMP
            if not dump.exists():
                raise InvalidError(f"{file}: holds no {_DUMP}")
            addresses.cluster.recreate("dmed")
            with dump.open("rb") as source:
                addresses.cluster.program("pg_restore", "--no-owner", "--exit-on-error",
                                          "--single-transaction", "--dbname=dmed", stdin=source)
            if (Path(folder) / _KEYS).exists():
                shutil.copytree(Path(folder) / _KEYS, settings.data / _KEYS, dirs_exist_ok=True)


def upgrade(settings: Settings) -> None:
    """Data of an older embedded PostgreSQL into the present one; the old files stay beside it."""
    folder = Cluster(settings.data).folder
    version = folder / "postgres" / "PG_VERSION"
    if not version.exists():
        raise ConflictError(f"there is no embedded database in {folder}")
    old = int(version.read_text())
    present = Cluster(settings.data)
    if old == present.major:
        raise ConflictError(f"the database is of PostgreSQL {old} already")
    dump = folder / f"upgrade-{old}.dump"
    before = Cluster(settings.data, old)
    with Supervisor(before), dump.open("wb") as target:
        before.program("pg_dump", "--format=custom", "--no-owner", stdout=target)
    kept = folder / f"postgres-{old}"
    before.pgdata.rename(kept)
    before.words_file.rename(folder / f"postgres-{old}.json")
    with Supervisor(present), dump.open("rb") as source:
        present.make_database()
        present.program("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction",
                        "--dbname=dmed", stdin=source)
