"""`dmed import` and `dmed export`: records between files and the store."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.sources import Item, about, digest_of, files_of, items_of
from dmed.fhir import codec, walk
from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError
from dmed.kit.ids import new_id
from dmed.kit.settings import Settings
from dmed.store import load as store_load
from dmed.store.load_chunk import Fault
from dmed.store.model import AuditRow, Scope, SearchPage, Write
from dmed.trust import guides
from dmed.trust.gateway import Gateway
from dmed.trust.gateway import prepare as preparing
from dmed.trust.model import Role, Subject

IMPORTER = Subject(user="import", role=Role.SERVICE, name="dmed import")
_FAULTS_SHOWN = 1000
_PLACES_KEPT = 100_000
_ITEM_BYTES = 1_500
"""About what a record takes in a file: by it a large load is told from a small one."""


def produce(item: Item) -> list[Write]:
    """The Writes of an item: of a resource one, of a Bundle (not a document or message) each entry.

    Raises InvalidError with every fault; then nothing of the item is stored.
    """
    if item.fault:
        raise InvalidError(item.fault)
    resource = codec.decode(item.body)
    if resource.fhir_type == "Bundle" and resource.type in {
            "transaction", "batch", "collection", "searchset", "history"}:
        return _entries(resource)
    preparing.check(resource)
    return [_write(resource)]


class Producing(msgspec.Struct, frozen=True):
    """`produce` for the processes of a load, held to the profiles that were installed when it
    began: `definitions` is the file of their bodies, "" for R5's rules alone. Picklable.
    """

    definitions: str = ""

    def __call__(self, item: Item) -> list[Write]:
        """As `produce`; a record that breaks a profile it claims is refused as the door does."""
        if self.definitions:
            _learn(self.definitions)
        return produce(item)


@cache
def _learn(path: str) -> None:
    """Once a process: what the file holds is what this process validates with."""
    guides.learn(msgspec.msgpack.decode(Path(path).read_bytes(), type=list[bytes]))


def _write(resource: Any) -> Write:
    if resource.id is msgspec.UNSET:
        return preparing.write_of(resource, preparing.make_id(resource), is_new=True)
    preparing.check_id(resource.id)
    return preparing.write_of(resource, resource.id, is_new=True)


def _entries(bundle: Any) -> list[Write]:
    """The entries of a Bundle, with the references among them resolved to their new ids."""
    entries = [] if bundle.entry is msgspec.UNSET else bundle.entry
    known: dict[str, str] = {}
    resources = []
    for number, entry in enumerate(entries):
        if entry.resource is msgspec.UNSET:
            continue
        preparing.check(entry.resource, f"Bundle.entry[{number}].resource")
        resource = entry.resource
        if resource.id is msgspec.UNSET:
            resource.id = new_id(preparing.home_bucket(resource, known))
        if entry.fullUrl is not msgspec.UNSET and entry.fullUrl.startswith("urn:uuid:"):
            known[entry.fullUrl] = f"{resource.fhir_type}/{resource.id}"
        resources.append(resource)
    for resource in resources:
        walk.rewrite_urls(resource, known)
    return [_write(resource) for resource in resources]


def _audit(detail: str) -> AuditRow:
    return AuditRow(request="import", action="C", subject=IMPORTER.user, role=IMPORTER.role.value,
                    purpose="HSYSADMIN", detail=detail[:200])


class Places(dict[int, str]):
    """Where the items under way stand ("file:line") by their number; older ones are forgotten."""

    def note(self, number: int, where: str) -> None:
        """Remembers the place of an item; faults come within the chunks that are under way."""
        self[number] = where
        self.pop(number - _PLACES_KEPT, None)


def import_files(
    settings: Settings, paths: Sequence[Path], *, replace: bool, profiles: bool = True
) -> int:
    """Loads files and folders as one load; prints each refused line; returns how many.

    `profiles`: a record is held to the installed profiles that it claims, as it is on writing
    (unless the setting says that writes are not); those that come with the load do not count yet.
    """
    files = [file for path in paths for file in files_of(path)]
    if not files:
        raise InvalidError("there is no .ndjson or .json file there", str(paths[0]))
    with database(settings) as addresses, TemporaryDirectory(prefix="dmed-import-") as folder:
        asyncio.run(prepare(addresses, search_indexes=replace))
        is_held = profiles and settings.validate_profiles
        held = asyncio.run(_definitions(settings, addresses, Path(folder))) if is_held else ""
        done = run_load(addresses, (item for file in files for item in items_of(file)),
                        Producing(held),
                        title=files[0].name if len(files) == 1 else f"{len(files)} files",
                        digest=digest_of(files), replace=replace,
                        expected_items=about(files, _ITEM_BYTES))
    skipped = f", {done.skipped:,} items were in already" if done.skipped else ""
    sys.stdout.write(f"{done.loaded:,} records stored, {done.faults:,} items refused{skipped} "
                     f"({done.loaded / max(done.seconds, 0.001):,.0f} records/s)\n")
    return done.faults


async def _definitions(settings: Settings, addresses: Addresses, folder: Path) -> str:
    """The file of what is installed, for the processes; "" where no profile is."""
    async with opened(settings, addresses) as store:
        bodies = await guides.everything(store)
    if not bodies:
        return ""
    file = folder / "definitions"
    file.write_bytes(msgspec.msgpack.encode(bodies))
    return str(file)


def run_load(addresses: Addresses, items: Iterator[Item], produce_one: Callable[[Item], Any], *,
             title: str, digest: str = "", replace: bool = False,
             chunk_items: int = store_load.CHUNK_ITEMS,
             expected_items: int = 0) -> store_load.Progress:
    """A load with a progress bar; faults go to standard error as "file:line: place: reason"."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"),
               TimeElapsedColumn())
    places = Places()

    def placed() -> Iterator[Item]:
        for number, item in enumerate(items, 1):
            places.note(number, item.where)
            yield item

    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, said="")

        def report(progress: store_load.Progress, faults: Sequence[Fault]) -> None:
            said = progress.faults - len(faults)
            bar.update(task, completed=progress.items,
                       said=f"{progress.loaded:,} records, {progress.faults:,} refused")
            for fault in faults[:max(0, _FAULTS_SHOWN - said)]:
                where = places.get(fault.line, f"{title}, item {fault.line}")
                sys.stderr.write(f"{where}: {'; '.join(fault.reasons)}\n")

        return asyncio.run(store_load.load(
            addresses.owner, Scope(IMPORTER.user), _audit(title), placed(), produce_one,
            digest=digest, overwrite=replace, report=report, chunk_items=chunk_items,
            expected_items=expected_items))


def export_records(settings: Settings, folder: Path) -> None:
    """All current records as <Type>.ndjson, oldest first; the folder must be new or empty."""
    if folder.exists() and any(folder.iterdir()):
        raise InvalidError(f"{folder} is not empty: nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    with database(settings) as addresses:
        asyncio.run(prepare(addresses))
        asyncio.run(_export(settings, addresses, folder))


async def _export(settings: Settings, addresses: Addresses, folder: Path) -> None:
    async with opened(settings, addresses) as store:
        gateway = Gateway(store, settings).plain()
        for name, found in sorted(facts().types.items()):
            if found.kind == "resource" and not found.is_abstract:
                count = await _export_type(gateway, name, folder, settings)
                if count:
                    sys.stdout.write(f"{folder / name}.ndjson: {count:,} records\n")


async def _export_type(gateway: Gateway, name: str, folder: Path, settings: Settings) -> int:
    size, cursor, count = str(settings.count_max), "", 0
    target = folder / f"{name}.ndjson"
    while True:
        pairs = [("_count", size), ("_sort", "_lastUpdated"), ("_total", "none")]
        _, page = await gateway.search(
            IMPORTER, name, [*pairs, ("_cursor", cursor)] if cursor else pairs, strict=True)
        if page.hits:
            _append(target, page)
            count += len(page.hits)
        if page.next_cursor is None:
            return count
        cursor = page.next_cursor


def _append(target: Path, page: SearchPage) -> None:
    with target.open("ab") as file:
        file.writelines(hit.record.body + b"\n" for hit in page.hits)
