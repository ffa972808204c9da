"""Files to import, read as items: lines of NDJSON, resources, Bundles; plain or .gz, or folders."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import msgspec

LINE_BYTES_MAX = 64 * 1024 * 1024
_EXAMPLES = frozenset({"example", "examples", "tests", "openapi", "other", "node_modules"})
_SUFFIXES = (".ndjson", ".json", ".jsonl")


class Item(msgspec.Struct, frozen=True):
    """One thing to load: where it stands ("file:line"), its bytes, or why it cannot be read."""

    where: str
    body: bytes = b""
    fault: str = ""


def files_of(path: Path) -> list[Path]:
    """The file itself, or the loadable files of a folder in the order of their names."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*")
                      if file.is_file() and file.name.removesuffix(".gz").endswith(_SUFFIXES))
    return [path]


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 over the bytes of the files in their order: what the ledger knows an import by."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def about(files: Iterable[Path], item_bytes: int) -> int:
    """Roughly how many items of so many bytes files hold; packed ones hold five times as many."""
    return sum(file.stat().st_size * (5 if file.suffix == ".gz" else 1) // item_bytes
               for file in files)


def items_of(path: Path) -> Iterator[Item]:
    """The items of a file; a cut or broken compressed file ends with an item that says so."""
    number = 0
    try:
        with _opened(path) as file:
            if path.name.removesuffix(".gz").endswith(".json"):
                yield Item(path.name, file.read())
                return
            for number, line in enumerate(file, 1):
                if len(line) > LINE_BYTES_MAX:
                    yield Item(f"{path.name}:{number}",
                               fault=f"the line is longer than {LINE_BYTES_MAX:,} bytes")
                elif line.strip():
                    yield Item(f"{path.name}:{number}", line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Item(f"{path.name}:{number + 1}", fault=f"the file is cut short or broken: {error}")


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def package_items(path: Path) -> Iterator[Item]:
    """The JSON files of a FHIR package (.tgz) or of a folder, but those of its examples."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if not _EXAMPLES.isdisjoint(file.relative_to(path).parts[:-1]):
                continue
            yield Item(str(file.relative_to(path)), file.read_bytes())
        return
    with tarfile.open(path) as archive:
        for member in archive:
            parts = member.name.split("/")
            if (member.isfile() and parts[-1].endswith(".json")
                    and _EXAMPLES.isdisjoint(parts[:-1])):
                opened = archive.extractfile(member)
                assert opened is not None
                yield Item(member.name, opened.read())
