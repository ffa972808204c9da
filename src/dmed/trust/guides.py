"""The guides that this worker validates with: what is stored, learnt within seconds.

https://hl7.org/fhir/R5/validation.html. A record that claims an installed profile in `meta.profile`
is checked against it when it is written; a newly installed guide counts without a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from dmed.fhir import profile
from dmed.fhir.bindings import ValueSets
from dmed.fhir.profile import KINDS, Catalogue
from dmed.fhir.terminology import Library
from dmed.fhir.terminology.model import KINDS as TERMS
from dmed.fhir.validate import Report
from dmed.kit.errors import DmedError, Issue
from dmed.kit.settings import Settings
from dmed.store import definitions
from dmed.store.pool import Database

EVERY_SECONDS = 2.0
BODY_BYTES_MAX = 16 * 1024 * 1024
"""Larger definitions are a matter of the terminology service; here they count as not known."""
_LARGE_BYTES_MAX = 256 * 1024 * 1024
_TYPES = tuple(sorted(KINDS))
DDL: tuple[str, ...] = (
    """create table if not exists guide (
        name text collate "C" primary key,
        version text not null,
        installed timestamptz not null default now()
    )""",
    """create table if not exists guide_definition (
        guide text collate "C" not null references guide (name) on delete cascade,
        type text collate "C" not null,
        id text collate "C" not null,
        vid bigint not null,
        digest bytea not null,
        primary key (guide, type, id)
    )""",
)
"""Which guide brought which definition, so that its next version can take away what it drops."""
_log = logging.getLogger("dmed.guides")


class _Installed:
    """The state of this process: it serves one installation."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.stamp = (0, 0)
        self.value_sets: ValueSets | None = None
        self.on_write = True


_installed = _Installed()


def installed() -> Catalogue:
    """What this worker validates with now."""
    return _installed.catalogue


def use(value_sets: ValueSets | None) -> None:
    """Let bindings ask a terminology service from now on; None: the guides' own definitions."""
    _installed.value_sets = value_sets
    _installed.stamp = (-1, 0)


def forget() -> None:
    """Back to R5 alone, as before any guide was read."""
    _installed.catalogue, _installed.stamp = Catalogue(), (0, 0)
    _installed.on_write = True


async def start(db: Database, settings: Settings) -> None:
    """Read what is installed; the setting says whether writes are held to it."""
    _installed.on_write = settings.validate_profiles
    await refresh(db)


async def refresh(db: Database) -> bool:
    """Read the definitions again where one has changed; whether one had."""
    now = await definitions.stamp(db, _TYPES)
    if now == _installed.stamp:
        return False
    bodies = await definitions.bodies(db, _TYPES, BODY_BYTES_MAX)
    _installed.catalogue = Catalogue(bodies, _installed.value_sets)
    _installed.stamp = now
    return True


async def everything(db: Database) -> list[bytes]:
    """The bodies of all definitions that validation and terminology learn from; none where no
    profile is installed. For `learn` in another process.
    """
    kinds = sorted({*KINDS, *TERMS})
    found = await definitions.bodies(db, kinds, _LARGE_BYTES_MAX)
    return found if Catalogue(found) else []


def learn(bodies: Sequence[bytes]) -> None:
    """Validate in this process with these definitions from now on, as a worker does that has read
    them from the database, codes of bindings included.
    """
    library = Library()
    for body in bodies:
        try:
            library.put(body)
        except (msgspec.MsgspecError, DmedError):
            continue  # No terminology, or what no worker could read either.
    _installed.catalogue = Catalogue(bodies, library)
    _installed.on_write = True


async def follow(db: Database) -> None:
    """For ever: keep up with what is installed."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await refresh(db)
        except (DmedError, OSError) as error:
            _log.warning("guides could not be read, again in a moment: %s", error)


def issues_of(resource: Any, report: Report) -> list[Issue]:
    """What the installed profiles say of a record that claims one of them; errors alone.

    A record that claims none (nor holds one that does, as the entries of a document may) is not
    looked at further.
    """
    catalogue = _installed.catalogue
    if not _installed.on_write or not catalogue or not _claims(resource, report, catalogue):
        return []
    return profile.check(resource, report, catalogue, errors_only=True)


def _claims(resource: Any, report: Report, catalogue: Catalogue) -> bool:
    for each in (resource, *(inner.resource for inner in report.inner)):
        meta = each.meta
        listed = getattr(meta, "profile", None) or ()
        if any(url is not None and catalogue.definition(url) is not None for url in listed):
            return True
    return False


# What is recorded of an installation ------------------------------------------------------------


class Brought(NamedTuple):
    """One definition that a guide brought: the version that it was stored as (0: never), and the
    SHA-256 of the bytes that it came as (empty: they were refused).
    """

    type: str
    id: str
    vid: int
    digest: bytes


async def brought(connection: Any) -> dict[str, list[Brought]]:
    """What each installed guide brought, by the guide's name."""
    rows = await connection.fetch(
        "select g.name, d.type, d.id, d.vid, d.digest from guide g"
        " left join guide_definition d on d.guide = g.name"
    )
    found: dict[str, list[Brought]] = {}
    for row in rows:
        listed = found.setdefault(row["name"], [])
        if row["type"] is not None:
            listed.append(Brought(row["type"], row["id"], row["vid"], row["digest"]))
    return found


async def record(
    connection: Any, name: str, version: str, definitions_: Iterable[Brought]
) -> None:
    """Notes that a guide is installed with these definitions, instead of what was noted of it."""
    await connection.execute(
        "insert into guide (name, version) values ($1, $2)"
        " on conflict (name) do update set version = excluded.version, installed = now()",
        name, version,
    )  # fmt: skip  # One statement.
    await connection.execute("delete from guide_definition where guide = $1", name)
    rows: Sequence[Brought] = list(definitions_)
    await connection.executemany(
        "insert into guide_definition (guide, type, id, vid, digest) values ($1, $2, $3, $4, $5)",
        [(name, *each) for each in rows],
    )
