"""The short way of a search of one person's records: `Observation?patient={id}&_count=20`.

Screens ask the same few searches of one person after the other. The address is compared with the
patterns asked before, only the id is new; an address of no pattern takes the long way, which
answers the same.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Send

from dmed.fhir import params, query
from dmed.fhir.query_pattern import HOLE, Pattern, pattern_of
from dmed.kit.errors import DmedError
from dmed.kit.settings import Settings
from dmed.server.bundle import bundle, hits
from dmed.server.call import base_of
from dmed.server.door import Door
from dmed.server.fast import Wanted, send_page, wanted
from dmed.server.search import links_of
from dmed.trust.guard import Guard
from dmed.trust.request import USER_KEY

_PATTERNS_MAX = 1_000
_PARTS = 3
_OPEN = re.compile(
    rb"(?P<before>(?:[^&]*&)*?(?:patient|subject)=(?:Patient/)?)"
    rb"(?P<id>[A-Za-z0-9.-]{1,64})(?P<after>&.*)?", re.ASCII)
Asked = tuple[Pattern, str, Wanted]


class FastSearch:
    """Recognises such a search and answers it."""

    def __init__(self, door: Door, guard: Guard) -> None:
        self._types = door.types - {"AuditEvent"}  # It is no stored record.
        self._gateway = door.plain
        self._settings = door.settings
        self._identity = guard.identity
        self._known: dict[tuple[str, bytes, bytes], Pattern | None] = {}
        self._generation = params.generation()

    def asked(self, scope: MutableMapping[str, Any]) -> Asked | None:
        """(pattern, id, what the headers want) of such a search, or None for the long way."""
        if scope["method"] != "GET":
            return None
        found = _OPEN.fullmatch(scope["query_string"])
        parts = scope["path"].split("/")
        if found is None or len(parts) != _PARTS or parts[2] not in self._types:
            return None
        headers = wanted(scope)
        if headers is None:
            return None
        if self._generation != params.generation():
            # Other search parameters are served now: what was read before may mean another thing.
            self._generation = params.generation()
            self._known.clear()
        before, id_, after = found.groups(b"")
        key = parts[2], before, after
        if key not in self._known:
            if len(self._known) >= _PATTERNS_MAX:
                self._known.clear()
            self._known[key] = _pattern(*key, self._settings)
        pattern = self._known[key]
        return None if pattern is None else (pattern, id_.decode(), headers)

    async def answer(
        self, asked: Asked, scope: MutableMapping[str, Any], request_id: str, send_: Send
    ) -> bool:
        """Find out who asks, decide, search with its audit row, and send the page.

        False, and nothing sent, where the sign-in is of a kind that needs the long way, or the page
        is larger than any answer may be.
        """
        pattern, id_, headers = asked
        subject = await self._identity.bearer(headers.token)
        if subject.scopes.is_app:
            return False
        scope[USER_KEY] = subject.user
        page = await self._gateway.search_pattern(subject, pattern, id_)
        base = base_of(scope, self._settings)
        links = links_of(f"{base}/{pattern.query.type}", pattern.link(id_), page)
        body = bundle("searchset", hits(base, page.hits), total=page.total, links=links)
        if len(body) > self._settings.response_limit_bytes:
            return False  # The long way says what to do.
        await send_page(body, headers, [(b"x-request-id", request_id.encode())], send_)
        return True


def _pattern(type_: str, before: bytes, after: bytes, settings: Settings) -> Pattern | None:
    """The pattern of an address, or None where it is not so plain or not well asked."""
    try:
        text = (before + HOLE.encode() + after).decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20)
        if any(name in {"_format", "_pretty"} for name, _ in pairs):
            return None
        return pattern_of(query.parse(type_, pairs, settings=settings))
    except (DmedError, ValueError):
        return None  # The long way says what is wrong.
