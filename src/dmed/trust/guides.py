"""The guides that this worker validates with: what is stored, learnt within seconds.

https://hl7.org/fhir/R5/validation.html. A record that claims an installed profile in `meta.profile`
is checked against it when it is written; a newly installed guide counts without a restart.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from dmed.fhir import profile
from dmed.fhir.bindings import ValueSets
from dmed.fhir.profile import KINDS, Catalogue
from dmed.fhir.validate import Report
from dmed.kit.errors import DmedError, Issue
from dmed.kit.settings import Settings
from dmed.store import definitions
from dmed.store.pool import Database

EVERY_SECONDS = 2.0
BODY_BYTES_MAX = 16 * 1024 * 1024
"""Larger definitions are a matter of the terminology service; here they count as not known."""
_TYPES = tuple(sorted(KINDS))
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
