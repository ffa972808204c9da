"""The tree of institutions from files: CSV or NDJSON, in parts, with a ledger of what is wrong.

Rows and the count of lines commit together: an interrupted import goes on after its last part. A
row may come before the one above it: it is put aside until that has come.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit.errors import DmedError, InvalidError, NotFoundError
from dmed.modules.facilities import tables
from dmed.modules.facilities.model import Draft, Fault
from dmed.modules.facilities.rules import reading, records
from dmed.modules.facilities.service import keeping, regions
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

PART_LINES = 50
PART_SECONDS_MAX = 60
"""A part takes well under a second; a machine that is busy may take longer and is not cut off."""
LINE_MAX_CHARACTERS = 20_000
_SHOWN = 60


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How an import stands: lines read, places made, changed and as they were, and the ledger."""

    digest: str
    lines: int = 0
    made: int = 0
    changed: int = 0
    same: int = 0
    is_done: bool = False
    faults: tuple[tuple[int, str, str, str], ...] = ()
    """(line, code, field, sentence)."""


def rows(path: Path) -> Iterator[tuple[int, dict[str, str] | Fault]]:
    """(line number, its values or what is wrong with it) of a CSV (comma, semicolon or tab) or
    NDJSON file in UTF-8; InvalidError where it is neither.
    """
    if path.suffix.lower() in {".ndjson", ".jsonl"}:
        yield from _ndjson(path)
        return
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = raw[: wrong.start].count(b"\n") + 1
        raise InvalidError(
            f'{path.name} is not in UTF-8 (line {line}): save it as "CSV UTF-8" and try again'
        ) from wrong
    if "\0" in text:
        raise InvalidError(f'{path.name} is no text file: save it as "CSV UTF-8" and try again')
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, strict=False)
    names = [str(name or "").strip().lower() for name in reader.fieldnames or []]
    unknown = [name for name in names if name not in reading.FIELDS]
    if "name" not in names or unknown or len(set(names)) != len(names):
        raise InvalidError(
            f"{path.name}: the first line names the columns, each once, of: "
            f"{', '.join(reading.FIELDS)}" + (f". Not known: {unknown[0][:_SHOWN]!r}"
                                              if unknown else ""))
    reader.fieldnames = names
    for row in reader:
        if None in row:
            yield reader.line_num, Fault("row", "facilities.fault.columns")
        elif any(row.values()):
            yield reader.line_num, {name: value or "" for name, value in row.items()}


def _ndjson(path: Path) -> Iterator[tuple[int, dict[str, str] | Fault]]:
    with path.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line[:LINE_MAX_CHARACTERS],
                                          type=dict[str, str | int | float | bool | None])
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
                yield number, Fault("row", "facilities.fault.json")
                continue
            unknown = sorted(set(row) - set(reading.FIELDS))
            if unknown:
                yield number, Fault("row", "facilities.fault.column",
                                    {"name": unknown[0][:_SHOWN]})
            else:
                yield number, {name: "" if value is None else str(value)
                               for name, value in row.items()}


def digest_of(path: Path) -> str:
    """What makes a file the same file: its content."""
    made = hashlib.sha256()
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            made.update(piece)
    return made.hexdigest()


async def import_file(
    gateway: Gateway, subject: Subject, path: Path,
    tell: Callable[[int], None] = lambda _: None,
) -> Report:
    """Imports a file to its end, from where an earlier run of the same file stopped."""
    digest = digest_of(path)
    async with gateway.unit(subject) as unit:
        run = await tables.begin_import(unit, digest, path.name)
    done_lines: int = run["lines"]
    if not run["is_done"]:
        part: list[tuple[int, dict[str, str] | Fault]] = []
        for number, row in rows(path):
            if number <= done_lines:
                continue
            part.append((number, row))
            if len(part) == PART_LINES:
                await _import_part(gateway, subject, digest, part)
                tell(number)
                part = []
        if part:
            await _import_part(gateway, subject, digest, part)
        await _import_waiting(gateway, subject, digest)
    return await report(gateway, subject, digest)


async def report(gateway: Gateway, subject: Subject, digest: str) -> Report:
    """How the import of a file stands; NotFoundError where it was never begun."""
    async with gateway.unit(subject) as unit:
        run = await unit.fetchrow(
            "select lines, made, changed, same, is_done from facility_import where digest = $1",
            digest)
        if run is None:
            raise NotFoundError("this file was never imported")
        ledger = await tables.faults(unit, digest)
    return Report(digest=digest, **dict(run), faults=tuple(
        (row["line"], row["code"], row["field"], row["sentence"]) for row in ledger))


async def _import_part(
    gateway: Gateway, subject: Subject, digest: str, part: list[tuple[int, dict[str, str] | Fault]]
) -> None:
    counts: dict[str, int] = {}
    async with gateway.unit(subject, seconds_max=PART_SECONDS_MAX) as unit:
        run = await tables.begin_import(unit, digest, "")
        for number, row in part:
            if number <= run["lines"]:
                continue  # Another run of the same file was here meanwhile.
            if isinstance(row, Fault):
                await _fault(unit, digest, number, row, "")
            else:
                await _import_row(unit, digest, number, row, counts)
        await tables.go_on(unit, digest, max(part[-1][0], run["lines"]), counts)


async def _import_row(
    unit: GatewayUnit, digest: str, number: int, row: dict[str, str], counts: dict[str, int],
    *, is_last: bool = False,
) -> bool:
    """Whether the row is dealt with: kept, or in the ledger; False where it waits."""
    draft, faults = reading.read(row, regions())
    code = row.get("code", "") or row.get("tax_id", "")
    if draft is None:
        for fault in faults:
            await _fault(unit, digest, number, fault, code)
        return True
    above = await _above(unit, draft)
    if draft.parent and above is None:
        if is_last:
            await _fault(unit, digest, number, Fault(
                "parent", "facilities.fault.parent-unknown", {"parent": draft.parent[:40]}), code)
        else:
            await tables.put_aside(unit, digest, number, draft.parent,
                                   msgspec.json.encode(row).decode())
        return False
    try:
        outcome, _ = await keeping.put(unit, draft, above)
        counts[outcome] = counts.get(outcome, 0) + 1
    except keeping.FaultsError as wrong:
        for fault in wrong.faults:
            await _fault(unit, digest, number, fault, code)
    except DmedError as wrong:
        await tables.add_fault(unit, digest, number, "row", "refused", str(wrong)[:500], code)
    return True


async def _above(unit: GatewayUnit, draft: Draft) -> dict[str, Any] | None:
    """The record of the parent by its code: a tax number, or a code of the file."""
    if not draft.parent:
        return None
    if draft.parent.isdecimal() and len(draft.parent) == 9:
        return await keeping.holder_of_tax(unit, draft.parent)
    for type_ in ("Organization", "Location"):
        found = await unit.get(type_, records.id_of(draft.parent))
        if found is not None:
            return found
    return None


async def _import_waiting(gateway: Gateway, subject: Subject, digest: str) -> None:
    """Rows put aside, over and over while that helps; what then still waits has no parent, or
    stands in a circle.
    """
    is_last = False
    while True:
        helped, after = 0, 0
        while True:
            counts: dict[str, int] = {}
            async with gateway.unit(subject, seconds_max=PART_SECONDS_MAX) as unit:
                run = await tables.begin_import(unit, digest, "")
                chosen = await tables.waiting(unit, digest, after, PART_LINES)
                for one in chosen:
                    row = msgspec.json.decode(one["row"], type=dict[str, str])
                    after = one["line"]
                    if await _import_row(unit, digest, after, row, counts, is_last=is_last):
                        helped += 1
                        await tables.taken(unit, digest, after)
                    elif is_last:
                        await tables.taken(unit, digest, after)
                is_done = is_last and not chosen
                await tables.go_on(unit, digest, run["lines"], counts, is_done=is_done)
            if not chosen:
                break
        if is_done:
            return
        is_last = helped == 0


async def _fault(
    unit: GatewayUnit, digest: str, number: int, fault: Fault, code: str
) -> None:
    await tables.add_fault(
        unit, digest, number, fault.field, fault.key, keeping.sentence(fault), code)
