"""HTTP/1.1 of a worker with clocks and measures that the server does not bring.

A connection that opens and says nothing, sends its headers or its body by drops, or takes nothing
of its answer holds memory and a place for ever ("slowloris"). One sweep a second closes those; a
request pays nothing for it but a few assignments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dmed.kit.settings import Settings

HEADERS_MAX = 100
_SWEEP_SECONDS = 1.0
_HEAD, _BODY, _NEITHER = 1, 2, 0


def protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol class of a server, under the limits of these settings."""
    return type("Careful", (CarefulProtocol,), {"settings": settings})


class CarefulProtocol(HttpToolsProtocol):
    """httptools' protocol; too much head is 431, too slow a head 408, too slow a body is cut."""

    settings = Settings()
    _waits_for = _HEAD
    _since = 0.0
    _seen_bytes = 0
    _stalled_since = 0.0
    _head_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        """Starts the clock: who connects must ask."""
        super().connection_made(transport)
        self._since = self.loop.time()
        watch(self.server_state, self.loop, self.connections)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, and refuses a head that has grown too large."""
        self._seen_bytes += len(data)
        if self._waits_for == _NEITHER and self.cycle.response_complete:
            # A blank line is no request yet, but it has stopped the clock of idle connections.
            self._waits_for = _HEAD
            self._since = self.loop.time()
        super().data_received(data)
        if self._waits_for == _HEAD and self._seen_bytes > self.settings.request_head_limit_bytes:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A request begins: its head has to come in time."""
        super().on_message_begin()
        self._waits_for = _HEAD
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The head is whole: too many or too long headers are refused before anything runs."""
        # All bytes since the last request bound the head from above, so most are never counted.
        limit = self.settings.request_head_limit_bytes
        if len(self.headers) > HEADERS_MAX or (self._seen_bytes > limit and self._head() > limit):
            self._head_refused = True
            self._refuse(b"431 Request Header Fields Too Large")
            # Ends the parser, so that nothing starts from what it holds.
            raise ValueError("the head is too large")
        self._waits_for = _BODY
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """As before, but a connection that was refused already hears nothing more."""
        if not self._head_refused:
            super().send_400_response(msg)

    def on_message_complete(self) -> None:
        """The request is whole: what happens now is ours, not the client's, to hurry."""
        super().on_message_complete()
        self._waits_for = _NEITHER
        self._seen_bytes = 0

    def pause_writing(self) -> None:
        """The client does not read: the clock of a stalled answer starts."""
        super().pause_writing()
        self._stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stalled_since = 0.0

    def check(self, at: float) -> None:
        """Closes the connection where it has waited for its client too long."""
        if self._stalled_since and at - self._stalled_since > self.settings.response_stall_seconds:
            self.transport.abort()
        elif self._waits_for == _HEAD and self.timeout_keep_alive_task is None:
            if at - self._since > self.settings.request_head_seconds:
                self._refuse(b"408 Request Timeout")
        elif self._waits_for == _BODY and at - self._since > self.settings.request_body_seconds:
            self.transport.abort()

    def _head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse(self, status: bytes) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n"
                             b"cache-control: no-store\r\nconnection: close\r\n\r\n")
        self.transport.close()


def watch(state: Any, loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    """One sweep a second over the connections of a worker, for as long as it has any."""
    if getattr(state, "sweeping", False):
        return
    state.sweeping = True
    later: Callable[..., Any] = loop.call_later

    def sweep() -> None:
        at = loop.time()
        for connection in [*connections]:
            if isinstance(connection, CarefulProtocol):
                connection.check(at)
        if connections:
            later(_SWEEP_SECONDS, sweep)
        else:
            state.sweeping = False

    later(_SWEEP_SECONDS, sweep)
