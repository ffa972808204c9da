"""Which database a command works on: the embedded one (started or joined) or one by address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from dmed.apps.postgres import Cluster, Supervisor
from dmed.kit.errors import UnavailableError
from dmed.kit.settings import Settings


class Addresses(msgspec.Struct, frozen=True):
    """Where to connect: `owner` makes tables, `application` serves; `supervisor` if it is ours."""

    owner: str
    application: str
    cluster: Cluster | None = None
    supervisor: Supervisor | None = None


@contextmanager
def database(settings: Settings) -> Iterator[Addresses]:
    """The addresses of the installation's database, running for as long as the block does.

    `DMED_DATABASE_URL` wins. Else the embedded server is joined where a process runs it already,
    and started for the block where none does.
    """
    if settings.database_url:
        yield Addresses(settings.database_url, settings.database_url)
        return
    cluster = Cluster(settings.data)
    supervisor = Supervisor(cluster)
    if not supervisor.acquire():
        if not cluster.answers():
            raise UnavailableError(
                f"another process owns the database in {cluster.folder}, but it does not answer")
        yield Addresses(cluster.url("dmed_owner"), cluster.url("dmed_app"), cluster)
        return
    with supervisor:
        cluster.make_database()
        yield Addresses(cluster.url("dmed_owner"), cluster.url("dmed_app"), cluster, supervisor)


async def prepare(addresses: Addresses) -> None:
    """Brings the tables of the store, of trust and of every module up to date."""
    from dmed.apps.rooms import MODULES
    from dmed.store.schema import migrate
    from dmed.trust import guides
    from dmed.trust.tables import DDL

    own = [line for module in MODULES for line in module.ddl]
    await migrate(addresses.owner, [*DDL, *guides.DDL, *own])
