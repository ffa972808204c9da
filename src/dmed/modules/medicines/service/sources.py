"""Where deliveries come from: the DARMON feed over HTTP, and folders of the French register.

DARMON's interface is not published; this is the shape that the simulator speaks and that an
adapter of the real one has to produce (docs/reference/medicines.md). A page is tab-separated text
whose last line says how many rows it holds, so that a torn one is known.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import urllib.error
import urllib.parse
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from dmed.kit import outgoing
from dmed.kit.errors import InvalidError
from dmed.modules.medicines.model import Head, Page, Rejected
from dmed.modules.medicines.rules.rows import FIELDS, RAW_CHARACTERS_MAX

ANSWER_SECONDS_MAX = 30
HEAD_BYTES_MAX = 65_536
PAGE_BYTES_MAX = 16 * 1024 * 1024
PAGES_MAX = 10_000
ROWS_MAX = 1_000_000
TRIES = 3
_MARK_CHARACTERS_MAX = 200
_WORD = re.compile(r"[^\W\d_]+")
_FURTHER = "ЁёЎў"
"""Cyrillic letters of Windows-1251 outside the alphabet's stretch."""


class FeedError(Exception):
    """A feed could not be read: the code of the reason (medicines.fault.<code>), and details."""

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(f"{reason}: {words}" if words else reason)
        self.reason = reason
        self.words = words


class Source(Protocol):
    """A feed that gives deliveries page by page; the same page again is the same rows."""

    name: str
    is_national: bool

    async def head(self, mark: str, since: datetime | None) -> Head | None:
        """The delivery that waits, None where there is nothing new after `mark`; FeedError."""

    async def page(self, head: Head, number: int) -> Page:
        """A page, from 1 on; FeedError where it does not come whole."""


class _Told(msgspec.Struct):
    delivery: str
    mode: str
    as_of: datetime
    pages: int
    rows: int
    fields: list[str]
    effective: datetime | None = None


class Darmon:
    """The DARMON feed at an address: full the first time, what changed since then afterwards."""

    name = "darmon"
    is_national = True

    def __init__(self, url: str, key: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidError(f"The feed of medicines has no http address: {url!r}")
        self._url = url.rstrip("/")
        self._key = key
        self._fields: dict[str, tuple[str, ...]] = {}

    async def head(self, mark: str, since: datetime | None) -> Head | None:
        """What waits; a feed that cannot tell deltas answers with a full one."""
        query = "?" + urllib.parse.urlencode({"since": since.isoformat()}) if since else ""
        status, body, etag = await self._get(f"/register{query}", HEAD_BYTES_MAX, mark)
        if status == http.client.NOT_MODIFIED:
            return None
        try:
            told = msgspec.json.decode(body, type=_Told)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FeedError("nonsense", str(error)[:200]) from error
        name = etag or told.delivery
        if told.as_of.tzinfo is None or told.mode not in {"full", "delta"}:
            raise FeedError("nonsense", f"{told.mode} {told.as_of}")
        if not 0 <= told.pages <= PAGES_MAX or not 0 <= told.rows <= ROWS_MAX:
            raise FeedError("too-large", f"{told.pages} pages, {told.rows} rows")
        if not name or len(name) > _MARK_CHARACTERS_MAX:
            raise FeedError("nonsense", "no mark")
        self._fields[name] = tuple(told.fields)
        return Head(mark=name, mode=told.mode, as_of=told.as_of, pages=told.pages,
                    rows=told.rows, effective=told.effective)

    async def page(self, head: Head, number: int) -> Page:
        """A page, asked for again where it came torn."""
        address = f"/register/{urllib.parse.quote(head.mark, safe='')}/{number}"
        fault = FeedError("torn")
        for _ in range(TRIES):
            try:
                _, body, _ = await self._get(address, PAGE_BYTES_MAX, "")
                return await asyncio.to_thread(
                    read_page, body, number, self._fields.get(head.mark, FIELDS))
            except FeedError as error:
                if error.reason not in {"torn", "unreachable"}:
                    raise
                fault = error
        raise fault

    async def _get(self, path: str, most: int, mark: str) -> tuple[int, bytes, str]:
        headers = []
        if self._key:
            headers.append(("Authorization", f"Bearer {self._key}"))
        if mark:
            headers.append(("If-None-Match", f'"{mark}"'))
        return await asyncio.to_thread(_fetched, self._url + path, headers, most)


def _fetched(url: str, headers: list[tuple[str, str]], most: int) -> tuple[int, bytes, str]:
    try:
        with outgoing.opened(url, timeout_s=ANSWER_SECONDS_MAX, headers=headers) as answer:
            body = answer.read(most + 1)
            if len(body) > most:
                raise FeedError("too-large", f"more than {most} bytes")
            length = answer.headers.get("Content-Length")
            if length and length.isdecimal() and len(body) < int(length):
                raise FeedError("torn", f"{len(body)} of {length} bytes")
            return answer.status, body, str(answer.headers.get("ETag", "")).strip('W/"')
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.NOT_MODIFIED:
                return error.code, b"", ""
            raise FeedError("unreachable", f"status {error.code}") from error
    except http.client.IncompleteRead as error:
        raise FeedError("torn", str(error)[:200]) from error
    except (OSError, http.client.HTTPException) as error:
        raise FeedError("unreachable", str(error)[:200]) from error


# Pages ------------------------------------------------------------------------------------------


def read_page(body: bytes, number: int, fields: Sequence[str]) -> Page:
    r"""The rows of a page of text; FeedError "torn" without its whole last line.

    >>> read_page(b"1\\tk\\tx\\n# end 1 1\\n", 1, ("key", "trade")).rows
    ((1, {'key': 'k', 'trade': 'x'}),)
    """
    text, notes = decoded(body)
    lines = text.split("\n")
    if lines and not lines[-1].strip():
        lines.pop()
    last = lines.pop().split() if lines else []
    if len(last) != 4 or last[:2] != ["#", "end"] or last[2] != str(number):
        raise FeedError("torn", f"page {number} has no end")
    if last[3] != str(len(lines)):
        raise FeedError("torn", f"page {number}: {len(lines)} of {last[3]} rows")
    rows: list[tuple[int, dict[str, str]]] = []
    broken: list[Rejected] = []
    for place_in_page, line in enumerate(lines, 1):
        place, _, rest = line.rstrip("\r").partition("\t")
        cells = rest.split("\t")
        if not place.isdecimal() or len(place) > 9 or len(cells) != len(fields):
            said = f"{len(cells)} cells, not {len(fields)}"
            at = int(place) if place.isdecimal() and len(place) < 10 else -place_in_page
            raw = line.replace("\t", " | ").replace("\0", "·")[:RAW_CHARACTERS_MAX]
            broken.append(Rejected(at, cells[0][:40].replace("\0", "·"), "ragged", said, raw))
            continue
        rows.append((int(place), dict(zip(fields, cells, strict=True))))
    return Page(tuple(rows), tuple(broken), notes)


def decoded(body: bytes) -> tuple[str, tuple[str, ...]]:
    """Text of a page in UTF-8, else in UTF-16 by its mark, else in Windows-1251 where that makes
    words; with a note which one it was. FeedError "encoding" where none does.
    """
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return body.decode("utf-16"), ("utf-16",)
        except UnicodeDecodeError as error:
            raise FeedError("encoding", "utf-16") from error
    try:
        return body.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    if body.count(b"\0"):
        raise FeedError("encoding", "neither text of 8 bits nor UTF-8")
    try:
        text = body.decode("cp1251")
    except UnicodeDecodeError as error:
        raise FeedError("encoding", "neither UTF-8 nor Windows-1251") from error
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    plain = sum(all("А" <= letter <= "я" or letter in _FURTHER for letter in word)
                for word in words)
    # In another code page its accented letters become Cyrillic ones inside Latin words.
    if plain * 2 < len(words):
        raise FeedError("encoding", "neither UTF-8 nor Windows-1251")
    return text, ("windows-1251",)


def source_of(url: str, key: str = "") -> Source:
    """The source of a setting: an http address is DARMON's."""
    return Darmon(url, key)


