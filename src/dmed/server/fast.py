"""The short way of a read by id: https://hl7.org/fhir/R5/http.html#read

A bearer token, a type, an id, no parameters and no conditions: that is nearly every read. It
makes no Starlette object, no Call and no mapping of headers; whatever else is asked takes the
long way, which answers the same.
"""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping
from typing import Any, NamedTuple

from starlette.types import Send

from dmed.kit.errors import UnauthorizedError
from dmed.server import negotiate
from dmed.server.answer import GZIP_MIN_BYTES, http_date
from dmed.server.door import Door
from dmed.trust.gateway.prepare import ID
from dmed.trust.guard import Guard
from dmed.trust.request import USER_KEY

_UNUSUAL = frozenset({b"cookie", b"if-none-match", b"if-modified-since", b"prefer"})
_PARTS = 4
_FIXED = [
    (b"content-type", negotiate.JSON_TYPE.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"private, no-store"),
    (b"vary", b"Accept-Encoding, Authorization, Cookie"),
]


class Wanted(NamedTuple):
    """What the headers of a request say that matters for its answer."""

    token: bytes
    takes_gzip: bool


Asked = tuple[str, str, Wanted]


class FastRead:
    """Recognises such a read and answers it."""

    def __init__(self, door: Door, guard: Guard) -> None:
        self._types = door.types - {"AuditEvent", "Binary"}
        self._gateway = door.plain
        self._identity = guard.identity

    def asked(self, scope: MutableMapping[str, Any]) -> Asked | None:
        """(type, id, what the headers want) of a plain read, or None for the long way."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        parts = scope["path"].split("/")
        if len(parts) != _PARTS or parts[2] not in self._types or not ID.fullmatch(parts[3]):
            return None
        headers = wanted(scope)
        return None if headers is None else (parts[2], parts[3], headers)

    async def answer(
        self, asked: Asked, scope: MutableMapping[str, Any], request_id: str, send_: Send
    ) -> None:
        """Find out who asks, decide, read with its audit row, and send the stored bytes."""
        type_, id_, headers = asked
        subject = await self._identity.bearer(headers.token)
        scope[USER_KEY] = subject.user
        stored = await self._gateway.read(subject, type_, id_)
        await send_page(stored.body, headers, [
            (b"etag", b'W/"%d"' % stored.vid),
            (b"last-modified", http_date(stored.updated).encode()),
            (b"x-request-id", request_id.encode()),
        ], send_)


def wanted(scope: MutableMapping[str, Any]) -> Wanted | None:
    """The bearer token and the packing of a request that asks for nothing unusual, else None."""
    token = b""
    takes_gzip = False
    for name, value in scope["headers"]:
        if name == b"authorization":
            token = value
        elif name == b"accept":
            negotiate.check_accept(value.decode("latin-1"), "")
        elif name == b"accept-encoding":
            takes_gzip = negotiate.takes_gzip(value.decode("latin-1"))
        elif name in _UNUSUAL:
            return None
    if token[:7].lower() != b"bearer ":
        return None
    token = token[7:].strip()
    if not token:
        raise UnauthorizedError("The bearer token is empty")
    return Wanted(token, takes_gzip)


async def send_page(
    body: bytes, wanted: Wanted, more: list[tuple[bytes, bytes]], send_: Send
) -> None:
    """Send a body of JSON with the headers that every answer has and these."""
    headers = [*_FIXED, *more]
    if wanted.takes_gzip and len(body) >= GZIP_MIN_BYTES:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        body = packer.compress(body) + packer.flush()
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", b"%d" % len(body)))
    await send_({"type": "http.response.start", "status": 200, "headers": headers})
    await send_({"type": "http.response.body", "body": body})
