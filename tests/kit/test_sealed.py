"""Sealed files: what was sealed comes back; what was changed, cut or reordered does not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmed.kit import sealed
from dmed.kit.errors import InvalidError
from dmed.kit.sealed import Key, SealedReader, SealedWriter

KEY = Key(b"k" * 32)
PIECE = sealed.PIECE_BYTES + 16


def _sealed(data: bytes, key: Key = KEY) -> bytes:
    target = io.BytesIO()
    writer = SealedWriter(target, key)
    writer.write(data)
    writer.finish()
    return target.getvalue()


def _opened(file: bytes, size: int, key: Key = KEY) -> bytes:
    reader = SealedReader(io.BytesIO(file), key)
    data = reader.read(size)
    reader.check_end()
    return data


@pytest.mark.parametrize(
    "size", [0, 1, PIECE - 17, PIECE - 16, PIECE - 15, 2 * (PIECE - 16), 3_000_000]
)
def test_what_was_sealed_comes_back(size: int) -> None:
    """At every side of a piece's border the stream comes back whole."""
    data = bytes(number % 251 for number in range(size))

    assert _opened(_sealed(data), size) == data


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400), st.integers(1, 255))
@example(0, 1)
@example(16, 1)
def test_a_changed_byte_anywhere_is_refused(place: int, change: int) -> None:
    """In magic, head, piece or tag: one changed byte is refused with a sentence."""
    file = bytearray(_sealed(b"x" * 50))
    file[place % len(file)] ^= change

    with pytest.raises(InvalidError):
        _opened(bytes(file), 50)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000))
def test_a_file_cut_anywhere_is_refused(place: int) -> None:
    """Whatever is missing at the end is missed, a single byte too."""
    file = _sealed(b"x" * 100)

    with pytest.raises(InvalidError):
        _opened(file[: place % len(file)], 100)


def test_pieces_cannot_be_cut_swapped_repeated_or_added() -> None:
    """A file without its last pieces, with two of them exchanged, or going on, is refused."""
    data = bytes(3 * sealed.PIECE_BYTES + 10)
    file = _sealed(data)
    head = len(file) - 3 * PIECE - 26
    pieces = [file[head + PIECE * number : head + PIECE * (number + 1)] for number in range(4)]
    for order in ([0, 1, 2], [0], [1, 0, 2, 3], [0, 1, 1, 2, 3], [0, 1, 2, 3, 3]):
        with pytest.raises(InvalidError):
            _opened(file[:head] + b"".join(pieces[number] for number in order), len(data))

    assert _opened(file, len(data)) == data


def test_another_key_is_told_from_a_changed_file() -> None:
    """A wrong key says which one is needed, and never gives a byte."""
    with pytest.raises(InvalidError, match="sealed with another key"):
        _opened(_sealed(b"x"), 1, Key(b"q" * 32))


def test_two_files_of_one_key_share_nothing() -> None:
    """The same content sealed twice is two different files: salt and nonce are random."""
    first, second = _sealed(b"x" * 1000), _sealed(b"x" * 1000)

    assert first[-1016:] != second[-1016:]


def test_a_passphrase_opens_what_it_sealed() -> None:
    """The salt travels in the head; a short passphrase is refused."""
    key = sealed.key_of_passphrase("a long enough passphrase")
    file = _sealed(b"x", key)
    again = sealed.key_of_passphrase("a long enough passphrase", key.passphrase_salt)

    assert _opened(file, 1, again) == b"x"
    with pytest.raises(InvalidError, match="characters"):
        sealed.key_of_passphrase("short")


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    """Mode 600, read again the same; a second one at its place, or one that others read, is not."""
    path = tmp_path / "folder" / "backup.key"
    made = sealed.make_key(path)

    assert path.stat().st_mode & 0o077 == 0
    assert sealed.read_key(path) == made
    with pytest.raises(InvalidError, match="already"):
        sealed.make_key(path)
    path.chmod(0o644)
    with pytest.raises(InvalidError, match="others can read"):
        sealed.read_key(path)
    path.chmod(0o600)
    path.write_text("bm90IDMyIGJ5dGVz\n")
    with pytest.raises(InvalidError, match="32 bytes"):
        sealed.read_key(path)
