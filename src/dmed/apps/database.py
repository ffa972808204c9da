"""Which database a command works on: the embedded one (started or joined) or one by address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from dmed.apps.postgres import Cluster, Supervisor
from dmed.kit.errors import InvalidError, UnavailableError
from dmed.kit.outgoing import is_near
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

    `DMED_DATABASE_URL` wins; InvalidError where it leads over a network without TLS that checks
    whom it reaches (`check_address`). Else the embedded server is joined where a process runs it
    already, and started for the block where none does.
    """
    if settings.database_url:
        check_address(settings.database_url, is_unchecked_allowed=settings.lines_unchecked)
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


def check_address(url: str, *, is_unchecked_allowed: bool) -> None:
    """InvalidError for a database on another machine that is not asked for its certificate. Pure.

    Sockets and this machine's own addresses need none. `sslmode=verify-full` is the only mode in
    which libpq and asyncpg compare certificate and name:
    https://www.postgresql.org/docs/current/libpq-ssl.html
    """
    parts = urlsplit(url)
    given = parse_qs(parts.query)
    hosts = [one.rpartition("@")[2] for one in parts.netloc.rpartition("@")[2].split(",") if one]
    hosts += [one for value in given.get("host", []) for one in value.split(",")]
    far = [host for host in hosts if not _is_near(unquote(host))]
    if far and given.get("sslmode") != ["verify-full"] and not is_unchecked_allowed:
        raise InvalidError(
            "DMED_DATABASE_URL leads to another machine without sslmode=verify-full, so nobody "
            "checks whom the records go to: add it (with sslrootcert), or set "
            "DMED_LINES_UNCHECKED=true where the line is guarded otherwise")


def _is_near(host: str) -> bool:
    """Whether a host of an address (with its port) is a socket folder or this machine."""
    if host.startswith(("/", "@")):
        return True
    name = host.partition("]")[0][1:] if host.startswith("[") else host.rpartition(":")[0] or host
    return is_near(name)


async def prepare(addresses: Addresses, *, search_indexes: bool = True) -> None:
    """Brings the tables of the store, of trust and of every module up to date; without
    `search_indexes` a first load that was interrupted may go on as it began.
    """
    from dmed.apps.rooms import MODULES
    from dmed.store.schema import migrate
    from dmed.trust import guides
    from dmed.trust.tables import DDL

    own = [line for module in MODULES for line in module.ddl]
    await migrate(
        addresses.owner, [*DDL, *guides.DDL, *own], search_indexes=search_indexes)
