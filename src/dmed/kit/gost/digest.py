"""The hash GOST R 34.11-94: https://www.rfc-editor.org/rfc/rfc5831, with its two sets of S-boxes.

O'zDSt 1106:2009 (algorithm 2-A) is this hash with the set "CryptoPro" of RFC 4357. Everything is
little-endian: the first byte of a message is the lowest of its block, and so is the result's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

BLOCK_BYTES = 32
_MASK_32 = 0xFFFFFFFF
_MASK_64 = (1 << 64) - 1
_MASK_256 = (1 << 256) - 1

TEST = (
    "4A92D80E6B1C7F53", "EB4C6DFA23810759", "581DA342EFC7609B", "7DA1089FE46CB253",
    "6C715FD84A9E03B2", "4BA0721D36859CFE", "DB413F590AE7682C", "1FD057A4923E6B8C",
)  # fmt: skip  # Eight boxes; the first replaces the lowest four bits.
"""id-GostR3411-94-TestParamSet (RFC 4357, 11.2)."""
CRYPTOPRO = (
    "A4568137DCE092BF", "5F402DB91763CEA8", "7FCE94103B526A8D", "4A7C0F28E165DB93",
    "764B9C2A180EFD35", "7624D9F0A15B8EC3", "DE41705A3C8F629B", "13A95B4F867ED02C",
)  # fmt: skip  # Same.
"""id-GostR3411-94-CryptoProParamSet (RFC 4357, 11.2)."""

_C3 = 0xFF00FFFF000000FFFF0000FF00FFFF0000FF00FF00FF00FFFF00FF00FF00FF00
_PERMUTED = [8 * (place % 4) + place // 4 for place in range(32)]
"""RFC 5831, 5.1: which byte of the input stands at each place of the key."""


@lru_cache(maxsize=4)
def _tables(boxes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """For each byte of a word: what the boxes make of it, already turned left by eleven bits."""
    made = []
    for place in range(4):
        low, high = boxes[2 * place], boxes[2 * place + 1]
        row = []
        for byte in range(256):
            word = (int(high[byte >> 4], 16) << 4 | int(low[byte & 15], 16)) << (8 * place)
            row.append((word << 11 | word >> 21) & _MASK_32)
        made.append(tuple(row))
    return tuple(made)


def _encrypted(block: int, key: int, tables: tuple[tuple[int, ...], ...]) -> int:
    """GOST 28147-89, simple substitution of one block of 64 bits (RFC 5830, 5)."""
    t0, t1, t2, t3 = tables
    low, high = block & _MASK_32, block >> 32
    words = [key >> shift & _MASK_32 for shift in range(0, 256, 32)]
    for first, second in zip(
        words[0::2] * 3 + words[7::-2], words[1::2] * 3 + words[6::-2], strict=True
    ):
        mixed = low + first
        high ^= (t0[mixed & 255] | t1[mixed >> 8 & 255]) ^ t2[mixed >> 16 & 255] ^ t3[
            mixed >> 24 & 255
        ]
        mixed = high + second
        low ^= (t0[mixed & 255] | t1[mixed >> 8 & 255]) ^ t2[mixed >> 16 & 255] ^ t3[
            mixed >> 24 & 255
        ]
    return low << 32 | high


def _key(mixed: int) -> int:
    """The permutation of the bytes of a key (RFC 5831, 5.1)."""
    raw = mixed.to_bytes(32, "little")
    return int.from_bytes(bytes([raw[place] for place in _PERMUTED]), "little")


def _turned(value: int) -> int:
    """The transformation A: the sum of the two low quarters becomes the highest."""
    return ((value ^ value >> 64) & _MASK_64) << 192 | value >> 64


def _words(value: int) -> list[int]:
    raw = value.to_bytes(32, "little")
    return [raw[place] | raw[place + 1] << 8 for place in range(0, 32, 2)]


def _shifted(words: list[int], times: int) -> list[int]:
    """The shift register over sixteen words, so many times (RFC 5831, 5.3)."""
    words = words[:]
    for place in range(times):
        words.append(
            words[place] ^ words[place + 1] ^ words[place + 2] ^ words[place + 3]
            ^ words[place + 12] ^ words[place + 15]
        )  # fmt: skip  # One sum.
    return words[times:]


def _step(state: int, block: int, tables: tuple[tuple[int, ...], ...]) -> int:
    """One step of the hash: keys, encryption, mixing (RFC 5831, 5)."""
    u, v = state, block
    sealed = _encrypted(state & _MASK_64, _key(u ^ v), tables)
    for shift in (64, 128, 192):
        u = _turned(u) ^ (_C3 if shift == 128 else 0)
        v = _turned(_turned(v))
        sealed |= _encrypted(state >> shift & _MASK_64, _key(u ^ v), tables) << shift
    mixed = [a ^ b for a, b in zip(_shifted(_words(sealed), 12), _words(block), strict=True)]
    mixed = [a ^ b for a, b in zip(_shifted(mixed, 1), _words(state), strict=True)]
    return int.from_bytes(
        b"".join(word.to_bytes(2, "little") for word in _shifted(mixed, 61)), "little"
    )


def digest(data: bytes, boxes: Sequence[str] = CRYPTOPRO) -> bytes:
    """The 32 bytes of the hash of `data`, lowest byte first, with a set of S-boxes."""
    tables = _tables(boxes)
    state = total = 0
    for start in range(0, len(data), BLOCK_BYTES):
        block = int.from_bytes(data[start : start + BLOCK_BYTES], "little")
        total += block
        state = _step(state, block, tables)
    state = _step(state, len(data) * 8, tables)
    return _step(state, total & _MASK_256, tables).to_bytes(32, "little")
