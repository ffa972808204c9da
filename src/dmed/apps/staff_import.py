"""`dmed staff import`: staff from CSV or NDJSON into the register; refused rows in a file."""

from __future__ import annotations

import asyncio
import csv
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.sources import about, digest_of
from dmed.fhir import codec
from dmed.kit import clock
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.workforce import api as workforce
from dmed.modules.workforce.rules import importing
from dmed.modules.workforce.rules.rows import Fault
from dmed.store import load as store_load
from dmed.store.load_chunk import Fault as LoadFault
from dmed.store.model import AuditRow, Scope, Write
from dmed.trust.gateway import Gateway
from dmed.trust.gateway import prepare as preparing

_KEPT = 50_000
_ROW_BYTES = 240
"""About what a row takes in a file."""
_ALREADY = "exists already"


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a file."""

    rows: int = 0
    records: int = 0
    refused: int = 0
    already: int = 0
    """Posts that were in the register before."""
    skipped: int = 0
    """Rows that an earlier run had dealt with."""
    seconds: float = 0.0
    list_seconds: float = 0.0
    """Of the seconds those that the lists took."""
    listed: int = 0
    """Rows of records read to bring the lists up to date."""
    peak_mb: int = 0


def produce(item: workforce.Item) -> list[Write]:
    """The Writes of a row; InvalidError with everything that is wrong with it."""
    made = []
    for content in workforce.resources_of(item):
        found = codec.decode(_encoder.encode(content))
        preparing.check(found)
        made.append(preparing.write_of(found, found.id, is_new=True))
    return made


_encoder = msgspec.json.Encoder(decimal_format="number")


class Refused:
    """The ledger of refused rows: a CSV file beside the import, to be mended and imported again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(("line", "column", "reason", "row"))
        self.count = 0

    def add(self, line: int, faults: Sequence[Fault], raw: bytes) -> None:
        """Notes every fault of a row, and the row as it came."""
        self.count += 1
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        for fault in faults:
            self._writer.writerow((line, fault.column, fault.said, text))

    def close(self) -> None:
        """Ends the file; without a refused row there is none."""
        self._file.close()
        if not self.count:
            self.path.unlink()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


class Reading:
    """The items of a file; refused rows go to the ledger on the way."""

    def __init__(self, path: Path, planner: workforce.Planner, refused: Refused) -> None:
        self._path = path
        self._planner = planner
        self._refused = refused
        self.rows = 0
        self.lines: dict[int, tuple[int, bytes]] = {}
        """Number of an item under way > its line and bytes."""

    def items(self) -> Iterator[workforce.Item]:
        """Each row once, in order; InvalidError for a head that is none."""
        lines = _lines(self._path)
        is_json = self._path.name.endswith((".ndjson", ".jsonl"))
        columns, mark = ([], "") if is_json else importing.columns_of(next(lines, (1, b""))[1])
        for line, raw in lines:
            self.rows += 1
            self.lines[self.rows] = (line, raw)
            self.lines.pop(self.rows - _KEPT, None)
            try:
                values = (importing.json_values(raw) if is_json
                          else importing.csv_values(raw, columns, mark))
                item = self._planner.item(line, values)
            except InvalidError as error:
                item = workforce.Item(line, (Fault("", error.issues[0].diagnostics),))
            if item.faults:
                self._refused.add(line, item.faults, raw)
            yield item


async def import_staff(
    addresses: Addresses, settings: Settings, path: Path, *, processes: int = 2,
    chunk_items: int = store_load.CHUNK_ITEMS,
) -> Outcome:
    """Loads a file; InvalidError for one that is no file of staff. Called again it goes on."""
    began = time.monotonic()
    digest = digest_of([path])
    async with opened(settings, addresses) as store:
        people, houses = await workforce.known(Gateway(store, settings))
    refused = Refused(path.with_name(f"{path.name}.refused.csv"))
    reading = Reading(
        path, workforce.Planner(digest, people, houses, clock.today()), refused)
    outcome = Outcome()

    def report(progress: store_load.Progress, faults: Sequence[LoadFault]) -> None:
        for fault in faults:
            line, raw = reading.lines.get(fault.line, (fault.line, b""))
            if all(_ALREADY in reason for reason in fault.reasons):
                outcome.already += 1
            elif not fault.reasons[0].startswith("row: "):
                refused.add(line, [Fault("", reason) for reason in fault.reasons], raw)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{progress.items + progress.skipped:,} rows")

    audit = AuditRow(request="staff import", action="C", subject="import", role="service",
                     purpose="HSYSADMIN", detail=f"staff import {path.name}"[:200])
    try:
        done = await store_load.load(
            addresses.owner, Scope("import"), audit, reading.items(), produce,
            digest=f"staff {digest}", processes=processes, chunk_items=chunk_items, report=report,
            expected_items=about([path], _ROW_BYTES))
    finally:
        refused.close()
    stored = time.monotonic()
    async with opened(settings, addresses) as store:
        outcome.listed = await workforce.follow(Gateway(store, settings))
    outcome.list_seconds = time.monotonic() - stored
    outcome.rows, outcome.records, outcome.skipped = reading.rows, done.loaded, done.skipped
    outcome.refused, outcome.seconds = refused.count, time.monotonic() - began
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    below = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    outcome.peak_mb = max(own, below) // 1024
    return outcome


def run(settings: Settings, path: Path) -> int:
    """The command; prints what became of the file, and returns how many rows were refused."""
    with database(settings) as addresses:
        asyncio.run(prepare(addresses, search_indexes=False))
        done = asyncio.run(import_staff(addresses, settings, path))
    sys.stdout.write(_told(done, path))
    return done.refused


def _told(done: Outcome, path: Path) -> str:
    rate = done.rows / max(done.seconds, 0.001)
    text = (f"{done.rows:,} rows in {done.seconds:.1f} s ({rate:,.0f} rows/s, at most "
            f"{done.peak_mb:,} MB a process): {done.records:,} records stored, "
            f"{done.refused:,} rows refused\n")
    if done.already:
        text += f"{done.already:,} posts were in the register already\n"
    if done.skipped:
        text += f"{done.skipped:,} rows were in already from an earlier run\n"
    if done.refused:
        text += f"The refused rows, with what is wrong with each: {path.name}.refused.csv\n"
    return text


__all__ = ["Outcome", "import_staff", "produce", "run"]
