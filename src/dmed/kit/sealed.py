"""Sealed files: a stream encrypted and authenticated piece by piece, written and read in passing.

AES-256-GCM over pieces of one mebibyte in the STREAM construction (Hoang, Reyhanitabar, Rogaway
and Vizár 2015, as in `age`): the nonce counts the pieces and marks the last, so they cannot be
changed, reordered, repeated or cut off unseen. Each file has a key of its own, by HKDF-SHA256
(RFC 5869) from the master key and a random salt; a passphrase becomes a master key by scrypt
(RFC 7914). The whole head is authenticated with every piece.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import IO

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dmed.kit.errors import InvalidError

MAGIC = b"DMED-SEALED-1\n"
PIECE_BYTES = 1 << 20
KEY_BYTES = 32
PASSPHRASE_MIN_CHARACTERS = 12
_TAG_BYTES = 16
_HEAD_MAX_BYTES = 4096
_SCRYPT = {"n": 1 << 16, "r": 8, "p": 1}
_SCRYPT_MEMORY_BYTES = 128 * 1024 * 1024


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the pieces, in the open: nothing of it is secret."""

    salt: str
    """Of this file's key."""
    nonce: str
    """First seven bytes of every piece's nonce."""
    key_id: str
    """Names the master key, so that a wrong one is told from a damaged file."""
    passphrase_salt: str = ""
    """Of scrypt, where the master key comes from a passphrase."""
    made: str = ""
    """When, for people."""


class Key(msgspec.Struct, frozen=True):
    """A master key, from a file or from a passphrase with its salt."""

    secret: bytes
    passphrase_salt: str = ""

    @property
    def number(self) -> str:
        """Its public name; tells nothing of the secret."""
        return _derived(self.secret, b"", b"dmed key id", 8).hex()


def make_key(path: Path) -> Key:
    """A new random key in a new file that its owner alone may read; InvalidError where there is
    one already.
    """
    secret = secrets.token_bytes(KEY_BYTES)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as fault:
        raise InvalidError(f"{path}: there is a key already; nothing was changed") from fault
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secret) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return Key(secret)


def read_key(path: Path) -> Key:
    """The key of a file; InvalidError where it is none, or where others may read it."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InvalidError(f"{path}: others can read this key; set its mode to 600")
        secret = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, ValueError) as fault:
        raise InvalidError(f"{path}: the key cannot be read") from fault
    if len(secret) != KEY_BYTES:
        raise InvalidError(f"{path}: this is no key of {KEY_BYTES} bytes in base64")
    return Key(secret)


def key_of_passphrase(passphrase: str, salt: str = "") -> Key:
    """The master key of a passphrase; with a new salt where none is given (for writing)."""
    if len(passphrase) < PASSPHRASE_MIN_CHARACTERS:
        raise InvalidError(f"the passphrase has under {PASSPHRASE_MIN_CHARACTERS} characters")
    salt = salt or secrets.token_hex(16)
    secret = hashlib.scrypt(passphrase.encode(), salt=bytes.fromhex(salt), dklen=KEY_BYTES,
                            maxmem=_SCRYPT_MEMORY_BYTES, **_SCRYPT)
    return Key(secret, salt)


def head_of(file: Path) -> Head:
    """The head of a sealed file; InvalidError where it is none."""
    with file.open("rb") as source:
        return _head(source)[0]


class SealedWriter:
    """Encrypts what is written to it; the file is whole only after `finish`."""

    def __init__(self, target: IO[bytes], key: Key, made: str = "") -> None:
        head = Head(salt=secrets.token_hex(32), nonce=secrets.token_hex(7), key_id=key.number,
                    passphrase_salt=key.passphrase_salt, made=made)
        encoded = msgspec.json.encode(head)
        self._head = MAGIC + len(encoded).to_bytes(2, "big") + encoded
        self._pieces = _Pieces(key, head, self._head)
        self._target = target
        self._held = bytearray()
        target.write(self._head)

    def write(self, data: bytes) -> None:
        """Adds to the stream."""
        self._held += data
        # One piece is always held back: only `finish` knows which is the last.
        while len(self._held) > PIECE_BYTES:
            self._target.write(self._pieces.seal(bytes(self._held[:PIECE_BYTES]), is_last=False))
            del self._held[:PIECE_BYTES]

    def finish(self) -> None:
        """Writes the last piece."""
        self._target.write(self._pieces.seal(bytes(self._held), is_last=True))


class SealedReader:
    """Reads a sealed stream; whatever it returns is authentic.

    InvalidError says whether the file is none of ours, the key is another, or the file was changed
    or cut. Only a reader that came to `is_ended` has seen the whole file.
    """

    def __init__(self, source: IO[bytes], key: Key) -> None:
        head, raw = _head(source)
        if head.key_id != key.number:
            raise InvalidError(
                f"this file was sealed with another key: it needs {head.key_id}, not {key.number}")
        self._pieces = _Pieces(key, head, raw)
        self._source = source
        self._ahead = source.read(PIECE_BYTES + _TAG_BYTES)
        self._held = b""
        self.is_ended = False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes of the stream; InvalidError where it ends before."""
        parts = []
        while size > len(self._held):
            parts.append(self._held)
            size -= len(self._held)
            self._held = self._next()
        parts.append(self._held[:size])
        self._held = self._held[size:]
        return b"".join(parts)

    def check_end(self) -> None:
        """Raises InvalidError unless everything was read."""
        if not self.is_ended:
            self._held += self._next()
        if self._held:
            raise InvalidError("the file goes on after its end")

    def _next(self) -> bytes:
        if self.is_ended:
            raise InvalidError("the file ends too early")
        sealed, self._ahead = self._ahead, self._source.read(PIECE_BYTES + _TAG_BYTES)
        self.is_ended = not self._ahead
        return self._pieces.open(sealed, is_last=self.is_ended)


class _Pieces:
    """The cipher of one file, counting its pieces."""

    def __init__(self, key: Key, head: Head, raw: bytes) -> None:
        salt = bytes.fromhex(head.salt)
        self._cipher = AESGCM(_derived(key.secret, salt, b"dmed sealed file", KEY_BYTES))
        self._prefix = bytes.fromhex(head.nonce)
        self._raw = raw
        self._count = 0

    def seal(self, data: bytes, *, is_last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(is_last=is_last), data, self._raw)

    def open(self, sealed: bytes, *, is_last: bool) -> bytes:
        number = self._count
        try:
            return self._cipher.decrypt(self._nonce(is_last=is_last), sealed, self._raw)
        except (InvalidTag, ValueError) as fault:
            raise InvalidError(
                f"the file was changed or cut short (piece {number + 1} is not as it was sealed)"
            ) from fault

    def _nonce(self, *, is_last: bool) -> bytes:
        made = self._prefix + self._count.to_bytes(4, "big") + bytes([is_last])
        self._count += 1
        return made


def _head(source: IO[bytes]) -> tuple[Head, bytes]:
    start = source.read(len(MAGIC) + 2)
    size = int.from_bytes(start[len(MAGIC):], "big")
    if start[: len(MAGIC)] != MAGIC or size > _HEAD_MAX_BYTES:
        raise InvalidError("this is no sealed file of DMED")
    raw = source.read(size)
    try:
        head = msgspec.json.decode(raw, type=Head)
        sizes = [len(bytes.fromhex(text)) for text in (head.salt, head.nonce)]
    except (msgspec.DecodeError, ValueError) as fault:
        raise InvalidError("the head of the sealed file was changed or cut short") from fault
    if sizes != [32, 7]:
        raise InvalidError("the head of the sealed file was changed or cut short")
    return head, start + raw


def _derived(secret: bytes, salt: bytes, purpose: bytes, size: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=salt, info=purpose).derive(secret)
