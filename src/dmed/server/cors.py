"""Requests of apps in a browser from their own origin: https://fetch.spec.whatwg.org/#http-cors-protocol

Only origins of registered clients may read what FHIR and the token address answer, and always
without cookies: such an app has a bearer token or nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dmed.trust.guard import Guard
from dmed.trust.oauth.clients import origin

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_CACHE_S = 15.0
_ANYBODY = ("/.well-known/", "/fhir/.well-known/", "/fhir/metadata", "/oauth/jwks")
_CLIENTS = ("/fhir", "/cds-services", "/oauth/token", "/oauth/userinfo", "/oauth/revoke",
            "/oauth/introspect")
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS = (
    b"accept, authorization, content-type, if-match, if-none-match, if-none-exist, prefer,"
    b" x-request-id, cache-control"
)
_SHOWN = b"etag, location, last-modified, content-location, retry-after, x-request-id"
_PREFLIGHT_S = b"600"


class Cors:
    """Answers preflights, and opens answers to the origins of registered clients."""

    def __init__(self, guard: Guard) -> None:
        self._clients = guard.clients
        self._origins: frozenset[str] = frozenset()
        self._due = 0.0

    def concerns(self, scope: Scope) -> str:
        """The origin of a request of a browser to an address that apps may ask, or ""."""
        if not scope["path"].startswith((*_ANYBODY, *_CLIENTS)):
            return ""
        for name, value in scope["headers"]:
            if name == b"origin":
                return str(value.decode("latin-1"))
        return ""

    async def answer(self, given: str, scope: Scope, send: Send) -> Send | None:
        """The way to send an answer to this origin; None where a preflight was answered."""
        is_open = scope["path"].startswith(_ANYBODY)
        is_allowed = is_open or await self._is_registered(given)
        headers = [(b"vary", b"Origin")]
        if is_allowed:
            allowed = b"*" if is_open else given.encode("latin-1")
            headers.append((b"access-control-allow-origin", allowed))
        if scope["method"] == "OPTIONS":
            if is_allowed:
                headers += [
                    (b"access-control-allow-methods", _METHODS),
                    (b"access-control-allow-headers", _HEADERS),
                    (b"access-control-max-age", _PREFLIGHT_S),
                ]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return None
        headers.append((b"access-control-expose-headers", _SHOWN))

        async def opened(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return opened

    async def _is_registered(self, given: str) -> bool:
        at = time.monotonic()
        if at >= self._due:
            found = await self._clients.all()
            self._origins = frozenset(
                origin(address) for each in found for address in each.redirect_uris
            )
            self._due = at + _CACHE_S
        return given in self._origins
