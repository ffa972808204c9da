"""`dmed audit`: verify the seals, lodge roots, and retire months that need not be kept."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.store import audit_retire
from dmed.store.seal_check import Result, Root, verify
from dmed.trust import audit_key, audit_roots, audit_seal


def verify_audit(
    settings: Settings, *, since: str, roots: tuple[Path, ...], key: Path | None
) -> bool:
    """Verifies and prints every fault by name; whether there was none."""
    with database(settings) as addresses:
        began = time.perf_counter()
        result = asyncio.run(verified(settings, addresses, since=since, roots=roots, key=key))
        seconds = time.perf_counter() - began
    for fault in result.faults:
        place = f"seal {fault.seal}: " if fault.seal else ""
        sys.stdout.write(f"{fault.kind}: {place}{fault.said}\n")
    if result.more_faults:
        sys.stdout.write(f"and {result.more_faults:,} more faults\n")
    retired = f", {result.retired:,} seals of retired months" if result.retired else ""
    sys.stdout.write(
        f"{result.rows:,} rows, {result.seals:,} seals{retired}, {result.unsealed:,} rows not yet "
        f"sealed, {len(result.faults) + result.more_faults:,} faults "
        f"({result.rows / max(seconds, 0.001):,.0f} rows/s)\n")
    return not result.faults


async def verified(
    settings: Settings, addresses: Addresses, *, since: str = "", roots: tuple[Path, ...] = (),
    key: Path | None = None,
) -> Result:
    """The result of a verification against the keys, the root beside the data and given roots."""
    known = dict(audit_key.checks(settings.data, key))
    lodged: list[Root] = []
    faults: list[str] = []
    beside = audit_roots.beside(settings.data)
    for path in [*([beside] if beside.exists() else []), *roots]:
        try:
            lodged += audit_roots.read_all(path, known)
        except InvalidError as fault:
            faults.append(str(fault))
    connection: Any = await asyncpg.connect(addresses.owner)
    try:
        kept = await connection.fetch("SELECT token FROM audit_root ORDER BY seal")
        for row in kept:
            try:
                lodged.append(audit_roots.read(row["token"].encode(), known, "in the database"))
            except InvalidError as fault:
                faults.append(str(fault))
        result = await verify(connection, known, lodged, since=_moment(since))
    finally:
        await connection.close()
    for text in faults:
        result.add("seal", 0, text)
    return result


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as fault:
        raise InvalidError(f"--since {text!r} is no date or time (YYYY-MM-DD)") from fault
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seal_now(settings: Settings) -> None:
    """Seals what no running server has sealed yet, and lodges a root where one is due."""
    async def run(addresses: Addresses) -> int:
        await prepare(addresses)
        async with opened(settings, addresses) as store:
            key = audit_key.load_audit_key(settings.data)
            return len(await audit_seal.turn(store, settings, key))

    with database(settings) as addresses:
        sys.stdout.write(f"{asyncio.run(run(addresses)):,} seals made\n")


def show_key(settings: Settings) -> str:
    """The public key of the seals, for auditors."""
    return audit_key.load_audit_key(settings.data).public_pem().decode()


def retire(settings: Settings, folder: Path, *, months: int | None) -> None:
    """Exports sealed months older than the setting into a folder, then drops them."""
    keep = settings.audit_keep_months if months is None else months
    if keep < 1:
        raise InvalidError("how many months are kept? Set DMED_AUDIT_KEEP_MONTHS or give --keep")

    async def run(addresses: Addresses) -> list[audit_retire.Retired]:
        await prepare(addresses)
        key = audit_key.load_audit_key(settings.data)
        connection: Any = await asyncpg.connect(addresses.owner)
        try:
            return await audit_retire.retire(connection, folder, keep, key.sign, key.number)
        finally:
            await connection.close()

    with database(settings) as addresses:
        done = asyncio.run(run(addresses))
    for one in done:
        sys.stdout.write(f"{one.month:%Y-%m}: {one.rows:,} rows in {one.file}, dropped\n")
    if not done:
        sys.stdout.write("no month is old enough\n")
