"""`dmed backup` and `dmed restore`: database and keys in one sealed file, written in passing.

Nothing lies on the disk in the open: pg_dump writes into the cipher, and pg_restore reads from it.
Inside the seal stand three parts: `manifest.json` (what every table held in the very snapshot that
was dumped), `keys` (a tar file) and `database` (pg_dump's own format). A restore reads the whole
file once to see that it is authentic, before it touches anything, and compares the tables with the
manifest at its end.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import msgspec

from dmed.apps.accounts import refuse_if_used
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.postgres import Cluster
from dmed.kit.clock import now
from dmed.kit.errors import ConflictError, InvalidError, NotSupportedError
from dmed.kit.sealed import (
    Key,
    SealedReader,
    SealedWriter,
    head_of,
    key_of_passphrase,
    make_key,
    read_key,
)
from dmed.kit.settings import Settings

_KEYS = "keys"
_MARK = "restore.unfinished"
_BLOCK_BYTES = 1 << 20
_PARTS = ("manifest.json", _KEYS, "database")


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds: rows by table, and the sum of all versions' numbers."""

    made: str
    rows: dict[str, int]
    versions_sum: str = ""


def key_path(settings: Settings, given: Path | None) -> Path:
    """Where the backup key lies: as given, as set, or in the user's own configuration folder."""
    if given is not None:
        return given
    if settings.backup_key_file:
        return Path(settings.backup_key_file)
    return Path.home() / ".config" / "dmed" / "backup.key"


def backup_key(settings: Settings, given: Path | None, say: Callable[[str], object]) -> Key:
    """The key for a new backup, made where there is none; InvalidError for a place inside the
    installation, which would be lost together with it.
    """
    path = key_path(settings, given).absolute()
    if path.is_relative_to(settings.data.absolute()):
        raise InvalidError(f"{path}: a backup key lies outside the installation that it protects")
    if path.exists():
        return read_key(path)
    key = make_key(path)
    say(f"A backup key was made: {path}. Keep a copy elsewhere; without it no backup can be read.")
    return key


def existing_key(settings: Settings, given: Path | None) -> Key:
    """The key to open a backup with; InvalidError where it cannot be read."""
    return read_key(key_path(settings, given))


def passphrase_key(file: Path, passphrase: str) -> Key:
    """The key by which a passphrase opens this file; InvalidError where it was sealed by a key."""
    salt = head_of(file).passphrase_salt
    if not salt:
        raise InvalidError(f"{file}: was sealed with a key file, not with a passphrase")
    return key_of_passphrase(passphrase, salt)


def backup(settings: Settings, file: Path, key: Key) -> Manifest:
    """One sealed file of the running installation, readable by its owner only.

    The file appears under its name only when it is whole; NotSupportedError where the database
    is another's (DMED_DATABASE_URL).
    """
    with database(settings) as addresses:
        cluster = _own(addresses, "back it up with its own pg_dump, and seal the file")
        partial = file.with_name(file.name + ".partial")
        with os.fdopen(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        ) as target:
            writer = SealedWriter(target, key, now().isoformat())
            manifest = asyncio.run(_write(addresses, cluster, settings.data / _KEYS, writer))
            writer.finish()
            target.flush()
            os.fsync(target.fileno())
        partial.rename(file)
        return manifest


async def _write(addresses: Addresses, cluster: Cluster, keys: Path, writer: SealedWriter
                 ) -> Manifest:
    connection = await asyncpg.connect(addresses.owner)
    try:
        # The dump sees exactly what was counted, however much is written meanwhile.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            manifest = await _counted(connection)
            _part(writer, [msgspec.json.encode(manifest)])
            _part(writer, [_tar_of(keys)])
            with cluster.piped("pg_dump", "--format=custom", "--no-owner", "--compress=6",
                               f"--snapshot={snapshot}", is_source=True) as dump:
                await asyncio.to_thread(_part, writer, iter(lambda: dump.read(_BLOCK_BYTES), b""))
    finally:
        await connection.close()
    return manifest


async def _counted(connection: asyncpg.Connection) -> Manifest:
    names = [row["relname"] for row in await connection.fetch(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p') AND NOT relispartition AND nspname = 'public'"
        " ORDER BY relname")]
    rows = {}
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        rows[name] = await connection.fetchval(f"SELECT count(*) FROM {quoted}")
    if "resource" not in rows:
        raise ConflictError("there are no records here yet: nothing to save")
    versions = await connection.fetchval(
        "SELECT (SELECT coalesce(sum(vid), 0) FROM resource)"
        " + (SELECT coalesce(sum(vid), 0) FROM resource_version)")
    return Manifest(made=now().isoformat(), rows=rows, versions_sum=str(versions))


def _tar_of(folder: Path) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        if folder.exists():
            archive.add(folder, _KEYS)
    return held.getvalue()


def _part(writer: SealedWriter, blocks: Iterator[bytes] | list[bytes]) -> None:
    """One part: blocks, each after its length, and an empty one at the end."""
    for block in blocks:
        writer.write(len(block).to_bytes(4, "big"))
        writer.write(block)
    writer.write(bytes(4))


def _blocks(reader: SealedReader) -> Iterator[bytes]:
    while size := int.from_bytes(reader.read(4), "big"):
        if size > 256 * _BLOCK_BYTES:
            raise InvalidError("a part of the backup is not as it is written")
        yield reader.read(size)


def check(file: Path, key: Key) -> Manifest:
    """Reads a backup to its end and changes nothing; InvalidError in a sentence where it is not
    whole, not authentic, or sealed with another key.
    """
    with _opened(file) as source:
        reader = SealedReader(source, key)
        manifest = _manifest(reader)
        for _ in _PARTS[1:]:
            for _ in _blocks(reader):
                pass
        reader.check_end()
    return manifest


def _opened(file: Path) -> io.BufferedReader:
    try:
        return file.open("rb")
    except OSError as fault:
        raise InvalidError(f"{file}: {fault.strerror}") from fault


def _manifest(reader: SealedReader) -> Manifest:
    try:
        return msgspec.json.decode(b"".join(_blocks(reader)), type=Manifest)
    except msgspec.DecodeError as fault:
        raise InvalidError("the sealed file holds no backup of an installation") from fault


def restore(settings: Settings, file: Path, key: Key) -> Manifest:
    """A backup put into an empty installation, and compared with what it says it holds.

    Where it is interrupted, a mark stays in the installation: it does not serve, and the restore
    may be called again. ConflictError where the installation is in use.
    """
    check(file, key)
    with database(settings) as addresses:
        cluster = _own(addresses, "restore it with its own pg_restore")
        mark = settings.data / _MARK
        if not mark.exists():
            asyncio.run(prepare(addresses))
            asyncio.run(refuse_if_used(addresses))
            _sync_write(mark, f"{file.name}\n")
        cluster.recreate("dmed")
        with _opened(file) as source:
            reader = SealedReader(source, key)
            manifest = _manifest(reader)
            with tarfile.open(fileobj=io.BytesIO(b"".join(_blocks(reader)))) as archive:
                archive.extractall(settings.data, filter="data")
            with cluster.piped("pg_restore", "--no-owner", "--exit-on-error",
                               "--single-transaction", "--dbname=dmed", is_source=False) as target:
                for block in _blocks(reader):
                    target.write(block)
            reader.check_end()
        asyncio.run(_compare(addresses, manifest))
        mark.unlink()
    return manifest


async def _compare(addresses: Addresses, manifest: Manifest) -> None:
    connection = await asyncpg.connect(addresses.owner)
    try:
        found = await _counted(connection)
    finally:
        await connection.close()
    wrong = [f"{name}: {found.rows.get(name, 0)} of {count}"
             for name, count in manifest.rows.items() if found.rows.get(name, 0) != count]
    if found.versions_sum != manifest.versions_sum:
        wrong.append("the versions are others")
    if wrong:
        raise ConflictError("what was restored is not what was saved: " + ", ".join(wrong))


def refuse_unfinished(settings: Settings) -> None:
    """ConflictError where a restore was interrupted here: half of an installation never serves."""
    if (settings.data / _MARK).exists():
        raise ConflictError("a restore was interrupted here: call `dmed restore` again")


def _own(addresses: Addresses, otherwise: str) -> Cluster:
    if addresses.cluster is None:
        raise NotSupportedError(f"the database is given by DMED_DATABASE_URL: {otherwise}")
    return addresses.cluster


def _sync_write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
