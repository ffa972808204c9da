"""Identifiers: buckets, record ids that begin with their bucket, and time-ordered version ids.

Why: a read by id must touch one shard only, and the newest-first walk of a search must
need no second sort key (shared design, "The record store").
"""

from __future__ import annotations

import secrets
import time
import zlib

BUCKETS = 4096
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_VID_EPOCH_MS = 1_262_304_000_000  # 2010-01-01T00:00:00Z
_last_vid = 0


def bucket_of(text: str) -> int:
    """The bucket (0..4095) that a text hashes to: the same on every machine, for ever."""
    return zlib.crc32(text.encode()) % BUCKETS


def new_id(bucket: int) -> str:
    """A server-made record id: three hex digits of the bucket, a hyphen, 80 random bits."""
    return f"{bucket:03x}-{secrets.token_hex(10)}"


def bucket_in(record_id: str) -> int | None:
    """The bucket that a server-made id names, or None for an id that a client chose."""
    if len(record_id) == 24 and record_id[3] == "-":
        try:
            int(record_id[4:], 16)
            return int(record_id[:3], 16) % BUCKETS
        except ValueError:
            return None
    return None


def new_vid() -> int:
    """A version id: milliseconds since 2010 in the high 42 bits, 21 random bits below.

    Strictly rising within a process; across processes collisions meet the primary key.
    """
    global _last_vid  # noqa: PLW0603  # The one counter of this process.
    vid = ((time.time_ns() // 1_000_000 - _VID_EPOCH_MS) << 21) | secrets.randbits(21)
    if vid <= _last_vid:
        vid = _last_vid + 1
    _last_vid = vid
    return vid


def vid_at(milliseconds: int) -> int:
    """The smallest version id of a moment, given in milliseconds since 1970."""
    return max(0, milliseconds - _VID_EPOCH_MS) << 21


def milliseconds_of(vid: int) -> int:
    """The moment of a version id, in milliseconds since 1970."""
    return (vid >> 21) + _VID_EPOCH_MS


def secret(bits: int = 256) -> str:
    """A random secret in url-safe base64."""
    return secrets.token_urlsafe(bits // 8)
