"""Where a page of a search ends: the opaque token in its links. Pure.

Paging is by key, never by offset: a token holds the sort values and version of the last record
shown, and the snapshot in which the first page was read. A record that was written again since
then keeps its place, so pages show nothing twice and lose nothing.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import msgspec

from dmed.fhir.query_model import Query
from dmed.kit.errors import InvalidError

Key = str | int | float | None


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The place before (`is_backward`) or after which a page lies.

    `total` is what the first page counted, -1 if it is not known; `since` is a version id from
    before the first page; `snapshot` the database's snapshot of the first page.
    """

    search: int
    is_backward: bool
    keys: tuple[Key, ...]
    vid: int
    bucket: int
    total: int
    since: int
    snapshot: str


def fingerprint(query: Query) -> int:
    """What a search asks for, paging aside: a token of another search is refused by it."""
    asked: tuple[object, ...] = (query.type, query.criteria, query.sort)
    if query.contained:
        asked = (*asked, query.contained, query.contained_type)
    return zlib.crc32(msgspec.msgpack.encode(asked))


def written(cursor: Cursor) -> str:
    """The token, in url-safe base64 without padding."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def read(query: Query, kinds: tuple[str, ...]) -> Cursor:
    """The place that a query's token names; InvalidError for one that is not of this search."""
    text = query.cursor
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.msgpack.decode(raw, type=Cursor)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise InvalidError("Search parameter _cursor: not one of our page links",
                           "_cursor") from None
    if cursor.search != fingerprint(query) or not _fits(cursor, kinds):
        raise InvalidError("Search parameter _cursor: belongs to another search", "_cursor")
    return cursor


_PYTHON = {"text": str, "bigint": int, "float8": float}


def _fits(cursor: Cursor, kinds: tuple[str, ...]) -> bool:
    """Whether every part is what the statement takes: a token may be made up by anybody."""
    whole = all(-(2**63) <= number < 2**63 for number in (cursor.vid, cursor.since, cursor.total))
    keys = len(cursor.keys) == len(kinds) and all(
        key is None or _is_value(key, kind)
        for key, kind in zip(cursor.keys, kinds, strict=True)
    )
    return whole and keys and 0 <= cursor.bucket < 4096 and _is_snapshot(cursor.snapshot)


def _is_value(key: Key, kind: str) -> bool:
    if type(key) is not _PYTHON[kind]:
        return False
    if isinstance(key, str):
        return "\0" not in key
    return kind != "bigint" or -(2**63) <= key < 2**63  # type: ignore[operator]  # An int here.


def _is_snapshot(text: str) -> bool:
    """`xmin:xmax:xip,...` with rising numbers, as PostgreSQL writes and reads it."""
    parts = text.split(":")
    if len(parts) != 3 or not text.isascii():
        return False
    numbers = [*parts[:2], *(parts[2].split(",") if parts[2] else ())]
    if not all(number.isdecimal() and len(number) < 19 for number in numbers):
        return False
    low, high, *running = map(int, numbers)
    return 0 < low <= high and all(
        low <= one < high for one in running) and sorted(set(running)) == running
