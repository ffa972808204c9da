"""`dmed persons import`: the national feed of persons from CSV or NDJSON, first load and changes.

A first load goes the way of `dmed import`: cards are made in processes of their own and copied in
chunks, each with its line of the ledger, so a killed load goes on where it stopped. What meets a
card that is there, and every line of a file of changes, is compared with that card instead, in
parts that commit with their ledger. Nothing is lost: a refused line is kept with its reasons.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import secrets
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import msgspec

from dmed.apps import persons_written
from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.importing import run_load
from dmed.apps.sources import Item, about, digest_of
from dmed.fhir import codec
from dmed.kit import clock
from dmed.kit.errors import InvalidError, Issue
from dmed.kit.ids import new_id
from dmed.kit.settings import Settings
from dmed.modules.medid.rules import feeding, numbers
from dmed.modules.medid.service import feeding as feed
from dmed.modules.medid.tables import feeds
from dmed.store import load as store_load
from dmed.store.model import Write
from dmed.trust.gateway import Gateway
from dmed.trust.gateway import prepare as preparing
from dmed.trust.model import Role, Subject

FEEDER = Subject(user="national-feed", role=Role.SERVICE, name="dmed persons import")
_encoder = msgspec.json.Encoder(decimal_format="number")
PROBED_LINES = 200
"""Lines at the beginning by which a file is judged as a whole."""
CHUNK_ITEMS = 1_000
"""Lines that are copied together: written cards are so quick that smaller parts cost too much."""
_LINE_BYTES = 110
"""About what a line takes."""
_GUESSES = ("windows-1251", "utf-16", "koi8-r")


class Shape(msgspec.Struct, frozen=True):
    """How a file is written; picklable, for the processes of a load."""

    encoding: str
    delimiter: str = ""
    fields: tuple[str, ...] = ()
    """Of CSV; empty for NDJSON."""
    language: str = "en"

    @property
    def first(self) -> int:
        """The number of the first line that is a person."""
        return 2 if self.fields else 1


class Counts(msgspec.Struct):
    """What became of a file's lines in this run."""

    new: int = 0
    changed: int = 0
    same: int = 0
    conflict: int = 0
    refused: int = 0
    skipped: int = 0
    """Dealt with by an earlier run of the same file."""
    seconds: float = 0.0

    def add(self, told: dict[str, int]) -> None:
        """Counts of one part."""
        for name, count in told.items():
            setattr(self, name, getattr(self, name) + count)


# --- Files ------------------------------------------------------------------------------------


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]  # A reader of bytes either way.


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes without the end) of each line that is not empty."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if body := line.rstrip(b"\r\n"):
                yield number, body


def shape_of(path: Path, encoding: str = "", language: str = "en") -> Shape:
    """How a file is written, by its first lines.

    InvalidError where nothing can be read of it: the sentence names the encoding that would.
    """
    probe = [line for _, line in zip(range(PROBED_LINES), _raw(path), strict=False)]
    if not probe:
        raise InvalidError(f"{path.name} is empty", path.name)
    encoding = encoding or "utf-8"
    head = _heading_text(path, probe, encoding)
    if head.lstrip().startswith("{"):
        return Shape(encoding, language=language)
    try:
        delimiter, fields = feeding.heading(head)
    except ValueError as fault:
        raise InvalidError(f"{path.name}: {fault}", path.name) from fault
    return Shape(encoding, delimiter, fields, language)


def _raw(path: Path) -> Iterator[bytes]:
    for _, line in lines_of(path):
        yield line


def _heading_text(path: Path, probe: Sequence[bytes], encoding: str) -> str:
    wrong = sum(not _reads(line, encoding) for line in probe)
    if wrong * 2 > len(probe) or probe[0][:2] in (b"\xff\xfe", b"\xfe\xff"):
        better = "utf-16" if probe[0][:2] in (b"\xff\xfe", b"\xfe\xff") else next(
            (one for one in _GUESSES if _is_readable(probe, one)), "")
        advice = f"; it reads as {better}: say --encoding {better}" if better else ""
        raise InvalidError(f"{path.name} is not written in {encoding}{advice}", path.name)
    try:
        return probe[0].decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as fault:
        raise InvalidError(f"{path.name}: its first line is not {encoding}", path.name) from fault


def _reads(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _is_readable(probe: Sequence[bytes], encoding: str) -> bool:
    """Whether lines read in an encoding as letters of people's names, not as any signs at all."""
    if not all(_reads(line, encoding) for line in probe):
        return False
    text = "".join(line.decode(encoding) for line in probe)
    strange = sum(not (sign.isalnum() or sign.isspace() or sign in "\"'`‘’.,;:|-+/()_{}№")
                  for sign in text)
    return strange * 20 < len(text)


# --- One line ---------------------------------------------------------------------------------


def read_line(body: bytes, shape: Shape) -> feeding.Line:
    """The person of a line. InvalidError with a sentence for everything that is wrong with it."""
    if len(body) > feeding.LINE_BYTES_MAX:
        raise InvalidError(f"the line is longer than {feeding.LINE_BYTES_MAX:,} bytes")
    try:
        text = body.decode(shape.encoding)
    except UnicodeDecodeError as fault:
        raise InvalidError(
            f"the line is not written in {shape.encoding}: byte {fault.start + 1} is "
            f"0x{body[fault.start]:02X}") from fault
    try:
        values = feeding.values_of(text, shape.delimiter, shape.fields)
    except (ValueError, msgspec.DecodeError, StopIteration, csv.Error) as fault:
        raise InvalidError(f"the line cannot be read: {fault}") from fault
    line = feeding.line_of(values)
    wrong = [one for one in feeding.check(line, clock.today()) if one.severity == "error"]
    if wrong:
        raise InvalidError(issues=tuple(
            Issue("value", said.split(": ", 1)[1], one.field)
            for one, said in zip(wrong, feed.said(wrong, shape.language), strict=True)))
    return line


class Making(msgspec.Struct, frozen=True):
    """Makes the Write of a line's new card; picklable."""

    shape: Shape

    def __call__(self, item: Item) -> Write:
        """InvalidError with every fault of the line. Plain lines are written, others made."""
        return written(item.body, self.shape) or self.general(item)

    def general(self, item: Item) -> Write:
        """The card of any line, made and indexed as a record of any kind is."""
        line = read_line(item.body, self.shape)
        told = numbers.read_pinfl(line.draft.pinfl)
        if told is None or not told.is_check_right:
            # It claims nothing, so it must be looked for: that is the other way's work.
            raise InvalidError("the check digit of the PINFL is wrong", "pinfl")
        med_id = numbers.new_med_id(secrets.randbelow(10**12))
        return preparing.write_of(
            _card(line, med_id), new_id(secrets.randbelow(4096)), is_new=True)


def _card(line: feeding.Line, med_id: str) -> Any:
    places = _places(line.draft.region, line.draft.district)
    record = feeding.card_of(line, med_id, FEEDER, clock.today(), places)
    # Made of checked fields by one pattern, it needs no validation of its own (a test holds it
    # to R5): that would take a fifth of the time.
    return codec.decode(_encoder.encode(record), "Patient")


def written(body: bytes, shape: Shape) -> Write | None:
    """The card of a plain line, or None where the general way is needed."""
    values = _plain(body, shape)
    made = None if values is None else persons_written.write(values, clock.today())
    if made is not None and not _tried:
        # Once a process: should the pattern ever differ from the general way, nothing is lost.
        _tried.append(agrees(made, body, shape))
    return made if made is not None and _tried[0] else None


_tried: list[bool] = []
"""Whether this process's first written card was as the general way makes it."""


def agrees(made: Write, body: bytes, shape: Shape) -> bool:
    """Whether a written card is the one that the general way makes of its line."""
    return persons_written.is_same(made, _card(read_line(body, shape), made.identities[1][1]))


def _plain(body: bytes, shape: Shape) -> dict[str, str] | None:
    if len(body) > feeding.LINE_BYTES_MAX:
        return None
    try:
        text = body.decode(shape.encoding)
    except UnicodeDecodeError:
        return None
    return persons_written.plain_values(text, shape.delimiter, shape.fields)


_places = lru_cache(maxsize=1_000)(feed.place_names)


# --- The command ------------------------------------------------------------------------------


def import_persons(
    settings: Settings, path: Path, *, changes: bool, encoding: str = "", language: str = "en"
) -> Counts:
    """Take over a file; the same file called again goes on where it was stopped.

    `changes`: every line is compared with the card of its PINFL. Otherwise lines are new cards,
    and only those whose PINFL is there already are compared.
    """
    shape = shape_of(path, encoding, language)
    digest = f"persons:{digest_of([path])}"
    began, counts = time.monotonic(), Counts()
    with database(settings) as addresses:
        asyncio.run(prepare(addresses, search_indexes=changes))
        again: set[int] | None = None
        if not changes:
            again = _load(addresses, path, shape, digest, counts)
        asyncio.run(_compare(settings, addresses, path, shape, digest, counts, again))
        report = _report_path(settings, path, digest)
        asyncio.run(_write_report(settings, addresses, digest, report))
    counts.seconds = time.monotonic() - began
    _tell(counts, report)
    return counts


def _load(
    addresses: Addresses, path: Path, shape: Shape, digest: str, counts: Counts
) -> set[int]:
    """The COPY of new cards; returns the numbers of lines that the other way deals with: refused
    ones, those whose PINFL or number is there, and those of which something is to be said.
    """
    suspect: set[int] = set()
    # Items are counted without empty lines: from this item on, a line is so many further.
    shifts: list[tuple[int, int]] = [(1, shape.first - 1)]

    def items() -> Iterator[Item]:
        people = ((number, body) for number, body in lines_of(path) if number >= shape.first)
        for item, (number, body) in enumerate(people, 1):
            if number - item != shifts[-1][1]:
                shifts.append((item, number - item))
            if feeding.is_suspect(body.decode(shape.encoding, "replace")):
                suspect.add(number)
            yield Item(f"{path.name}:{number}", body)

    done = run_load(addresses, items(), Making(shape), title=path.name, digest=digest,
                    chunk_items=CHUNK_ITEMS, expected_items=about([path], _LINE_BYTES))
    counts.new += done.loaded
    counts.skipped += done.skipped
    faults = asyncio.run(store_load.faults_of(addresses.owner, digest))
    return {one.line + shifts[bisect_right(shifts, (one.line, 1 << 62)) - 1][1]
            for one in faults} | suspect


async def _compare(
    settings: Settings, addresses: Addresses, path: Path, shape: Shape, digest: str,
    counts: Counts, only: set[int] | None,
) -> None:
    """Lines (all, or `only` these numbers) compared with their cards, part by part."""
    if only is not None and not only:
        return
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, settings)
        async with gateway.unit(FEEDER) as unit:
            done = await feeds.done_parts(unit, digest)
        part: list[feed.Raw] = []
        for number, body in lines_of(path):
            if number < shape.first or (only is not None and number not in only):
                continue
            part.append(_raw_line(number, body, shape))
            if len(part) == feed.PART:
                await _apply(gateway, digest, part, shape, done, counts)
                part = []
        if part:
            await _apply(gateway, digest, part, shape, done, counts)


def _raw_line(number: int, body: bytes, shape: Shape) -> feed.Raw:
    text = body[:feeding.LINE_BYTES_MAX].decode(shape.encoding, "backslashreplace")
    text = text.replace("\0", "\\0")
    try:
        line = read_line(body, shape)
    except InvalidError as fault:
        return feed.Raw(number, text, None, tuple(
            f"{one.expression}: {one.diagnostics}" if one.expression else one.diagnostics
            for one in fault.issues))
    notes = [one for one in feeding.check(line, clock.today())
             if one.key in ("medid.feed.straightened", "medid.check.pinfl-check-digit")]
    return feed.Raw(number, text, line, tuple(feed.said(notes, shape.language)))


async def _apply(
    gateway: Gateway, digest: str, part: list[feed.Raw], shape: Shape, done: set[int],
    counts: Counts,
) -> None:
    if part[0].number in done:
        counts.skipped += len(part)
        return
    counts.add(await feed.apply(gateway, FEEDER, digest, part, shape.language))


def _report_path(settings: Settings, path: Path, digest: str) -> Path:
    folder = settings.data / "feeds"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{path.stem}-{digest[-12:]}.ndjson"


async def _write_report(
    settings: Settings, addresses: Addresses, digest: str, report: Path
) -> None:
    """Everything there is to say of a file, a line each, in the order of its lines."""
    async with opened(settings, addresses) as store:
        async with Gateway(store, settings).unit(FEEDER) as unit:
            entries = await feeds.told_of(unit, digest)
        with report.open("wb") as file:
            for one in entries:
                file.write(msgspec.json.encode({
                    "line": one.line, "kind": one.kind, "reasons": one.reasons,
                    "patient": one.patient, "raw": one.raw}) + b"\n")


def _tell(counts: Counts, report: Path) -> None:
    told: Counter[str] = Counter({name: getattr(counts, name) for name in (
        "new", "changed", "same", "conflict", "refused", "skipped")})
    total = counts.new + counts.changed + counts.same + counts.conflict + counts.refused
    text = ", ".join(f"{count:,} {name}" for name, count in told.items() if count) or "nothing"
    sys.stdout.write(f"{text} ({total / max(counts.seconds, 0.001):,.0f} lines/s); "
                     f"what is to be said of lines: {report}\n")

