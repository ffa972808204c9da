"""`dmed serve`: the database, then the workers, in one command."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from pathlib import Path

import msgspec

from dmed.apps import tls
from dmed.apps.backup import refuse_unfinished
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.workers import Workers, listen
from dmed.kit import logs, outgoing
from dmed.kit import settings as settings_module
from dmed.kit.errors import InvalidError
from dmed.kit.outgoing import is_near
from dmed.kit.settings import Settings
from dmed.trust.limits import BURST_SECONDS
from dmed.trust.shared_rates import share

_DEMO_PERSONS = 200
_WORKER_BACKLOG = 1024
_FINISH_SECONDS_MAX = 10
_KEEP_ALIVE_SECONDS = 75


def serve(settings: Settings, *, cert: Path | None, key: Path | None, demo: bool) -> None:
    """Serves until it is told to stop (SIGINT, SIGTERM); every acknowledged write is on disk."""
    check_listening(settings, has_cert=cert is not None)
    # The modules load while PostgreSQL starts.
    modules = threading.Thread(target=importlib.import_module, args=("dmed.apps.rooms",))
    modules.start()
    refuse_unfinished(settings)
    with database(settings) as addresses:
        if addresses.cluster is not None and addresses.cluster.notice:
            sys.stderr.write(addresses.cluster.notice + "\n")
        asyncio.run(prepare(addresses))
        if demo:
            _fill_if_empty(settings, addresses)
        # A worker forked while a thread imports would wait for that thread's lock for ever.
        modules.join()
        settings = msgspec.structs.replace(settings, database_url=addresses.application)
        hand_over(settings)
        _work(settings, cert, key)


def check_listening(settings: Settings, *, has_cert: bool) -> None:
    """InvalidError where others than this machine would be served without TLS. Pure.

    A certificate, or a proxy that is named (DMED_TRUSTED_PROXIES) and does it, or the word that the
    line is guarded otherwise.
    """
    if has_cert or is_near(settings.host) or settings.trusted_proxies or settings.lines_unchecked:
        return
    raise InvalidError(
        f"Listening on {settings.host} would serve records in the open: give --cert and --key, "
        "name the proxy that speaks TLS in DMED_TRUSTED_PROXIES, or set DMED_LINES_UNCHECKED=true "
        "where the line is guarded otherwise")


def _fill_if_empty(settings: Settings, addresses: Addresses) -> None:
    from dmed.apps.accounts import is_empty
    from dmed.apps.country import fill_at

    if asyncio.run(is_empty(addresses)):
        fill_at(settings, addresses, persons=_DEMO_PERSONS, seed=1, until="")


def hand_over(settings: Settings) -> None:
    """Puts the settings where the worker processes read them: into their environment."""
    for field in msgspec.structs.fields(Settings):
        os.environ[settings_module.variable(field.name)] = str(getattr(settings, field.name))


def _work(settings: Settings, cert: Path | None, key: Path | None) -> None:
    import uvicorn

    from dmed.apps.protocol import protocol
    from dmed.apps.web import create

    logs.configure()
    listening = listen(settings.host, settings.port, _WORKER_BACKLOG)
    scheme = "https" if cert else "http"
    shown = "localhost" if settings.host in {"127.0.0.1", "::1"} else settings.host
    sys.stdout.write(f"DMED is at {scheme}://{shown}:{settings.port}\n")
    sys.stdout.flush()

    outgoing.limit_to(settings)  # The workers, which are forked, inherit the wall.

    def work() -> None:
        config = uvicorn.Config(
            create(), loop="uvloop", http=protocol(settings), lifespan="on", access_log=False,
            log_config=None, server_header=False, proxy_headers=False, ssl_certfile=cert,
            ssl_keyfile=key, timeout_graceful_shutdown=_FINISH_SECONDS_MAX,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )  # fmt: skip  # One a line would hide which belong together.
        config.load()
        if config.ssl is not None:
            tls.harden(config.ssl)
        uvicorn.Server(config).run(sockets=[listening])

    if settings.workers > 1:
        share(BURST_SECONDS)  # Before the workers are forked: they count rates together.
    Workers(settings.workers, work).serve()
