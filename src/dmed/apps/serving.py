"""`dmed serve`: the database, then the workers, in one command."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from pathlib import Path

import msgspec

from dmed.apps.database import Addresses, database, prepare
from dmed.kit import settings as settings_module
from dmed.kit.settings import Settings

_DEMO_PERSONS = 200
_WORKER_BACKLOG = 1024


def serve(settings: Settings, *, cert: Path | None, key: Path | None, demo: bool) -> None:
    """Serves until it is told to stop (SIGINT, SIGTERM); every acknowledged write is on disk."""
    # The modules load while PostgreSQL starts.
    threading.Thread(target=importlib.import_module, args=("dmed.apps.rooms",), daemon=True).start()
    with database(settings) as addresses:
        if addresses.cluster is not None and addresses.cluster.notice:
            sys.stderr.write(addresses.cluster.notice + "\n")
        asyncio.run(prepare(addresses))
        if demo:
            _fill_if_empty(settings, addresses)
        settings = msgspec.structs.replace(settings, database_url=addresses.application)
        hand_over(settings)
        _work(settings, cert, key)


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
    from granian import Granian
    from granian.constants import Interfaces, Loops

    scheme = "https" if cert else "http"
    shown = "localhost" if settings.host in {"127.0.0.1", "::1"} else settings.host
    sys.stdout.write(f"DMED is at {scheme}://{shown}:{settings.port}\n")
    sys.stdout.flush()
    Granian(
        "dmed.apps.web:create", factory=True, interface=Interfaces.ASGI, address=settings.host,
        port=settings.port, workers=settings.workers, loop=Loops.uvloop, runtime_threads=1,
        websockets=False, log_access=False, log_level="warning",  # type: ignore[arg-type]  # Text is accepted.
        backlog=_WORKER_BACKLOG, respawn_failed_workers=True, ssl_cert=cert, ssl_key=key,
    ).serve()
