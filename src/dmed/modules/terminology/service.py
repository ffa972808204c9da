"""The library of an installation in this worker, kept as the database has it.

Who asks is answered from what was committed before he asked: one check of the changes serves all
that came while the one before was under way, as a group commit does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from dmed.fhir import query_codes
from dmed.fhir.terminology import Library
from dmed.fhir.terminology.library import LARGE_BYTES
from dmed.fhir.terminology.model import KINDS
from dmed.kit.errors import DmedError
from dmed.trust import guides
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PLATFORM = Subject(user="platform", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who reads the definitions."""
TYPES = tuple(KINDS)
PAGE = 100
"""Definitions read at once: one may have some MB."""
RELOAD_MIN = 2_000
"""After so many changes all is read anew."""
SLOW_SECONDS = 0.25
PAUSE_SECONDS = 1.0
"""A look at the changes that took longer than SLOW_SECONDS (under a large import that is still
open) is repeated after PAUSE_SECONDS only: so old an answer may then be."""
GATHER_SECONDS = 0.002
"""Looks at the changes begin no sooner after one another: those who ask meanwhile share the next.
A look costs more processor time than an answer."""
EVERY_SECONDS = 2.0
_log = logging.getLogger("dmed.terminology")


class Shelf:
    """A library and how far it has followed the changes of the database."""

    def __init__(self, gateway: Gateway) -> None:
        self.library = Library()
        self._gateway = gateway
        self._lock = asyncio.Lock()
        self._edge = 0
        self._seen: frozenset[int] = frozenset()
        self._begun = 0
        self._done = 0
        self._last_end = 0.0
        self._last_seconds = 0.0

    async def answered(
        self, subject: Subject, act: str, answer: Callable[[Library], bytes]
    ) -> bytes:
        """What `answer` makes of the library with everything that was committed before this call;
        its audit row is committed. DmedError as `answer` raises it, without a row.

        It is made first, and confirmed by the statement that writes the row: where the library was
        not current after all, it is made again.
        """
        is_noted = False
        if self._edge and not self._lock.locked() and self._last_seconds <= SLOW_SECONDS:
            edge, seen = self._edge, self._seen
            with contextlib.suppress(DmedError):  # It may be of a library that is not current.
                body = answer(self.library)
                is_noted = True
        if is_noted:
            changes, following = await self._gateway.note_and_confirm(subject, act, TYPES, edge)
            if seen.issuperset(changes):
                if self._edge == edge:
                    self._edge, self._seen = following, frozenset(changes)
                return body
        library = await self.current()
        try:
            body = answer(library)
        except DmedError as refusal:
            if is_noted:
                await self._gateway.note(subject, "E", act, outcome=refusal.status)
            raise
        if not is_noted:
            await self._gateway.note(subject, "E", act)
        return body

    async def current(self) -> Library:
        """The library with everything that was committed before this call."""
        ticket = self._begun
        async with self._lock:
            if self._done > ticket or self._may_wait():
                return self.library
            pause = self._last_end + GATHER_SECONDS - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            self._begun += 1
            await self._check()
            self._done = self._begun
        return self.library

    def _may_wait(self) -> bool:
        is_slow = self._last_seconds > SLOW_SECONDS
        return is_slow and time.monotonic() - self._last_end < PAUSE_SECONDS

    async def _check(self) -> None:
        if not self._edge:
            await self._load_all()
            return
        began = time.monotonic()
        changes, edge = await self._gateway.written_since(TYPES, self._edge)
        self._last_end = time.monotonic()
        self._last_seconds = self._last_end - began
        new = [change for change in changes if change[2] not in self._seen]
        if len(new) >= RELOAD_MIN:
            await self._load_all()
            return
        if new:
            last = {(type_, id_): is_deleted for type_, id_, _, is_deleted in new}
            for (type_, id_), is_deleted in last.items():
                if is_deleted:
                    self.library.take(type_, id_)
            for type_ in TYPES:
                ids = [id_ for (kind, id_), gone in last.items() if kind == type_ and not gone]
                await self._load(type_, ids)
        self._edge, self._seen = edge, frozenset(vid for _, _, vid, _ in changes)

    async def _load_all(self) -> None:
        # What is written while we read is above the edge, and is read again with the next check.
        _, edge = await self._gateway.written_since(TYPES)
        found: set[tuple[str, str]] = set()
        for type_ in TYPES:
            async for bodies in self._pages(type_, []):
                found |= await self._put(bodies)
        for type_, id_ in self.library.stored() - found:
            self.library.take(type_, id_)
        self._edge, self._seen = edge, frozenset()
        await asyncio.to_thread(self.library.prepare_large)

    async def _load(self, type_: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            async for bodies in self._pages(type_, [("_id", ",".join(some))]):
                put = await self._put(bodies)
                if put:
                    await asyncio.to_thread(self.library.prepare_large)

    async def _put(self, bodies: Iterable[bytes]) -> set[tuple[str, str]]:
        found = set()
        for body in bodies:
            try:
                if len(body) > LARGE_BYTES:
                    head = await asyncio.to_thread(self.library.put, body)
                else:
                    head = self.library.put(body)
            except (msgspec.MsgspecError, DmedError) as fault:
                # One definition that cannot be read must not hide the others.
                _log.warning("a definition was left out: %s", fault)
                continue
            found.add((head.resourceType, head.id))
            await asyncio.sleep(0)
        return found

    async def _pages(
        self, type_: str, criteria: list[tuple[str, str]]
    ) -> AsyncIterator[list[bytes]]:
        cursor = ""
        fixed = [*criteria, ("_count", str(PAGE)), ("_total", "none")]
        while True:
            pairs = [*fixed, ("_cursor", cursor)] if cursor else fixed
            _, page = await self._gateway.search(PLATFORM, type_, pairs, strict=True)
            yield [hit.record.body for hit in page.hits]
            if page.next_cursor is None:
                return
            cursor = page.next_cursor


def shelf_of(gateway: Gateway) -> Shelf:
    """The shelf of the gateway's installation in this worker."""
    return gateway.held("terminology", lambda: Shelf(gateway))


def library_of(gateway: Gateway) -> Library:
    """The library as it is, without a look at the database."""
    return shelf_of(gateway).library


async def current(gateway: Gateway) -> Library:
    """The library with everything that was committed before this call."""
    return await shelf_of(gateway).current()


async def follow(gateway: Gateway) -> None:
    """Until it is ended: keeps the library current for those who cannot wait, the bindings of
    profiles and searches, and lets these ask it once it is read.
    """
    library = library_of(gateway)
    is_asked = False
    try:
        while True:
            try:
                await current(gateway)
                if not is_asked:
                    query_codes.use(library)
                    guides.use(library)
                    is_asked = True
            except (DmedError, OSError) as error:
                _log.warning("terminology could not be read, again in a moment: %s", error)
            await asyncio.sleep(EVERY_SECONDS)
    finally:
        if is_asked:
            query_codes.forget(library)
            guides.use(None)
