"""Records by seed: the same ids, version ids and bytes each time the same seed is used.

The synthetic country is made of these; an id begins with its bucket as in `kit.ids`, the
version id and `meta.lastUpdated` follow from the moment of the record itself.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple

import msgspec

from dmed.kit.ids import bucket_in, bucket_of, vid_at

# A fixed offset is four times quicker than the zone's rules; it has held since 1992.
_TASHKENT = timezone(timedelta(hours=5))
_LATER_MS_MAX = 30_000
_encoder = msgspec.json.Encoder(decimal_format="number")


class Made(NamedTuple):
    """One record ready to be loaded; `body` is canonical."""

    type: str
    id: str
    bucket: int
    vid: int
    updated: datetime
    body: bytes


def generator(*parts: object) -> Random:
    """A repeatable generator of numbers for these parts: the same on every machine."""
    return Random("/".join(map(str, parts)))  # noqa: S311  # Repeatable, not secret.


def fixed_id(name: str) -> str:
    """The id of a record that is the same in every country, by its name."""
    return f"{bucket_of(name):03x}-{hashlib.sha256(name.encode()).hexdigest()[:20]}"


def drawn_id(bucket: int, numbers: Random) -> str:
    """The next id in a bucket."""
    return f"{bucket:03x}-{numbers.getrandbits(80):020x}"


def local(day: date, minute_of_day: int, second: int = 0) -> datetime:
    """A moment of a Tashkent day."""
    start = datetime(day.year, day.month, day.day, tzinfo=_TASHKENT)
    return start + timedelta(minutes=minute_of_day, seconds=second)


def make(record_id: str, moment: datetime, profile: str, resource: dict[str, Any]) -> Made:
    """A record of the dict: `resource` begins with resourceType and has no id and no meta.

    Its keys stand in the order of the definition, so that the bytes are canonical. An id that
    names no bucket (a register's own number) gets the bucket of its address.
    """
    kind = resource["resourceType"]
    bucket = bucket_in(record_id)
    if bucket is None:
        bucket, spread = bucket_of(f"{kind}/{record_id}"), fixed_id(f"{kind}/{record_id}")
    else:
        spread = record_id
    # Some seconds later, by the id: records of one moment get version ids of their own.
    later = timedelta(milliseconds=int(spread[-9:-5], 16) % _LATER_MS_MAX)
    updated = (moment + later).astimezone(UTC)
    vid = vid_at(int(updated.timestamp() * 1000)) + int(spread[-5:], 16)
    meta: dict[str, Any] = {
        "versionId": str(vid),
        "lastUpdated": f"{updated.isoformat(timespec='milliseconds')[:-6]}Z",
    }
    if profile:
        meta["profile"] = [profile]
    whole = {"resourceType": kind, "id": record_id, "meta": meta, **resource}
    return Made(kind, record_id, bucket, vid, updated, _encoder.encode(whole))
