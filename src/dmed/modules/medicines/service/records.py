"""The register as FHIR records, following its versions: a job writes what each version changed.

Keyed by the entry, so that doing it again changes nothing; in turns of a few entries with the
place where it stands, so that a process that dies goes on there.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from dmed.kit import clock
from dmed.modules.medicines import tables
from dmed.modules.medicines.model import Entry
from dmed.modules.medicines.rules import definitions
from dmed.modules.medicines.service import force
from dmed.modules.medicines.service.feeding import PLATFORM

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

ENTRIES_A_TURN = 20
"""No write transaction lasts long: readers of the change feed wait for it."""
RUN_SECONDS_MAX = 20
"""Of one run of the job, so that other jobs get their minute too: the next one goes on."""
_ID = re.compile(r"[^A-Za-z0-9.\-]")


async def job(gateway: Gateway) -> None:
    """Each minute: writes the records of versions that are effective and not written yet."""
    until = time.monotonic() + RUN_SECONDS_MAX
    while await turn(gateway) and time.monotonic() < until:
        pass


async def turn(gateway: Gateway) -> int:
    """Writes the records of the next entries; how many entries, 0 when all is written."""
    now = clock.now()
    async with gateway.unit(PLATFORM) as unit:
        version, key = await tables.recorded(unit)
        if not key:
            following = await tables.next_version(unit, version, now)
            if following is None:
                return 0
            version = following
        rows = await tables.changed_in(unit, version, key, ENTRIES_A_TURN)
        for feed, _, entry, is_now in rows:
            await _write(unit, feed, entry, is_now=is_now)
        if len(rows) == ENTRIES_A_TURN:
            await tables.set_recorded(unit, version, f"{rows[-1][0]} {rows[-1][1]}")
        else:
            await tables.set_recorded(unit, version, "")
    return max(len(rows), 1)


async def _write(unit: GatewayUnit, feed: str, entry: Entry, *, is_now: bool) -> None:
    for resource in resources(feed, entry, is_now=is_now):
        type_, id_ = resource["resourceType"], resource["id"]
        before = await unit.get(type_, id_)
        if before is not None and _same(before, resource):
            continue
        await unit.update(type_, id_, resource)


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    bare = {name: value for name, value in before.items() if name not in {"meta", "text"}}
    return bare == {name: value for name, value in after.items() if name not in {"meta", "text"}}


def resources(feed: str, entry: Entry, *, is_now: bool) -> list[dict[str, Any]]:
    """All records of an entry, what others refer to first."""
    prefix = "" if feed == "darmon" else f"{feed}-"
    names = definitions.Names(
        product=_ID.sub("-", f"{prefix}{entry.product}")[:56],
        pack=_ID.sub("-", f"{prefix}{entry.key}")[:56])
    register = force.register()
    preparation = register.preparations.get(entry.preparation)
    inns = [register.catalogue.inns.get(one.inn) for one in entry.strengths]
    form = register.catalogue.forms.get(entry.form)
    return definitions.of_entry(entry, names, preparation, inns, form, is_now=is_now)
