"""Upgrade of an installation to the present PostgreSQL."""

from __future__ import annotations

from dmed.apps.postgres import Cluster, Supervisor
from dmed.kit.errors import ConflictError
from dmed.kit.settings import Settings


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
