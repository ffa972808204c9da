"""Roots of the audit lodged where whoever owns the database cannot reach: the port and its places.

A root says "seal N had this hash at this moment", signed by the platform's audit key. Each sealing
leaves one beside the data (`data`/audit/last-root.json); hourly one goes outside, to a folder (a
mount of another machine, written once) or to an address that takes it by POST.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from dmed.kit import outgoing
from dmed.kit.errors import InvalidError, UnavailableError
from dmed.kit.settings import Settings
from dmed.store.seal import Seal
from dmed.store.seal_check import Check, Root
from dmed.trust.audit_key import AuditKey

_ANSWER_SECONDS_MAX = 10
_BYTES_MAX = 4_096


class Lodge(Protocol):
    """A place outside of the installation that keeps roots and gives none up."""

    async def lodge(self, name: str, document: bytes) -> None:
        """Keeps a document under a name that was never used; UnavailableError where it cannot."""


class Document(msgspec.Struct, frozen=True):
    """What is lodged; `proof` signs the hash and the moment, base64."""

    seal: int
    hash: str
    made: datetime
    key: str
    proof: str


def document(seal: Seal, key: AuditKey, now: datetime) -> bytes:
    """The root of a seal, signed, as JSON."""
    signed = _signed(seal.number, seal.hash.hex(), now)
    proof = base64.b64encode(key.sign(signed)).decode()
    return msgspec.json.encode(Document(seal.number, seal.hash.hex(), now, key.number, proof))


def _signed(seal: int, hash_: str, made: datetime) -> bytes:
    return f"dmed audit root {seal} {hash_} {made.astimezone(UTC).isoformat()}".encode()


def read(text: bytes, checks: dict[str, Check] | None, place: str = "") -> Root:
    """A lodged root; InvalidError where it cannot be read or the platform's key did not sign it."""
    try:
        found = msgspec.json.decode(text, type=Document)
        hash_, proof = bytes.fromhex(found.hash), base64.b64decode(found.proof)
    except (msgspec.MsgspecError, ValueError) as fault:
        raise InvalidError(f"{place}: no lodged root: {fault}") from fault
    if checks is not None:
        check = checks.get(found.key)
        if check is None or not check(_signed(found.seal, found.hash, found.made), proof):
            raise InvalidError(f"{place}: the root of seal {found.seal} is not signed by the "
                               "platform's audit key")
    return Root(found.seal, hash_, found.made, place)


def read_all(path: Path, checks: dict[str, Check]) -> list[Root]:
    """The roots of a file, of a file with one a line, or of a folder of such files."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [read(line, checks, file.name)
            for file in files for line in file.read_bytes().splitlines() if line.strip()]


class Folder:
    """A folder as a place; a name that is there already is never written again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def lodge(self, name: str, document: bytes) -> None:
        """Writes a file of the name."""
        try:
            await asyncio.to_thread(self._write, name, document)
        except OSError as fault:
            raise UnavailableError(f"the root could not be lodged: {fault.strerror}") from fault

    def _write(self, name: str, document: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        draft = self._path / f".{name}.{os.getpid()}"
        draft.write_bytes(document + b"\n")
        try:
            os.link(draft, self._path / name)
        except FileExistsError:
            return
        finally:
            draft.unlink()


class Address:
    """An HTTPS address as a place; any answer 2xx means that the root is kept."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def lodge(self, name: str, document: bytes) -> None:
        """Sends it with its name in a header."""
        try:
            await asyncio.to_thread(self._send, name, document)
        except OSError as fault:
            raise UnavailableError(f"the root could not be lodged: {fault}") from fault

    def _send(self, name: str, document: bytes) -> None:
        headers = {"Content-Type": "application/json", "X-Audit-Root": name}
        with outgoing.opened(self._url, timeout_s=_ANSWER_SECONDS_MAX, body=document,
                             headers=headers.items()) as answer:  # fmt: skip  # One call.
            answer.read(_BYTES_MAX)


def places(settings: Settings) -> list[Lodge]:
    """Where roots go by the setting `audit_lodge`: folders and addresses, by commas."""
    found: list[Lodge] = []
    for text in filter(None, (part.strip() for part in settings.audit_lodge.split(","))):
        if text.startswith(("https://", "http://")):
            found.append(Address(text))
        else:
            found.append(Folder(Path(text)))
    return found


def beside(data: Path) -> Path:
    """The file that tells the last root beside the data."""
    return data / "audit" / "last-root.json"


def keep_beside(data: Path, document_: bytes) -> None:
    """Replaces the last root beside the data; whole or not at all."""
    path = beside(data)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(document_)
    draft.replace(path)


async def lodge_all(found: Iterable[Lodge], name: str, document_: bytes) -> list[str]:
    """Lodges in every place; the faults of those that did not take it."""
    faults = []
    for place in found:
        try:
            await place.lodge(name, document_)
        except UnavailableError as fault:
            faults.append(str(fault))
    return faults


