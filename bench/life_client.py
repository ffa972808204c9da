"""HTTP as light as a load generator needs it, and what processes cost."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from pathlib import Path

CONNECTIONS_MAX = 1_500
ANSWER_SECONDS_MAX = 30.0
_TICK = os.sysconf("SC_CLK_TCK")


class Broken(Exception):  # noqa: N818  # It names a state of the connection.
    """No whole answer came."""


class _Wire(asyncio.Protocol):
    """One keep-alive connection: a request, then its whole answer."""

    def __init__(self) -> None:
        self.buffer = b""
        self.answer: asyncio.Future[tuple[int, bytes, bytes]] | None = None
        self.is_closed = False
        self.needs = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) < self.needs:
            return
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15:].split(b"\r", 1)[0]) if at >= 0 else 0
        self.needs = end + 4 + length
        if len(self.buffer) < self.needs:
            return
        body, self.buffer = self.buffer[end + 4 : self.needs], self.buffer[self.needs :]
        self.needs = 0
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((int(head[9:12]), head, body))

    def connection_lost(self, _: Exception | None) -> None:
        self.is_closed = True
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Broken())


class Client:
    """Keep-alive connections to one server, made when they are needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[_Wire] = deque()
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether a call would need more connections than there may be."""
        return not self._idle and self._count >= CONNECTIONS_MAX

    async def send(self, request: bytes) -> tuple[int, bytes, bytes]:
        """(status, head in small letters, body); Broken where no whole answer came."""
        wire = await self._wire()
        try:
            wire.answer = asyncio.get_running_loop().create_future()
            wire.transport.write(request)  # type: ignore[attr-defined]  # A writing transport.
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                answer = await wire.answer
        except (Broken, TimeoutError) as error:
            self._count -= 1
            wire.transport.close()
            raise Broken from error
        if b"connection: close" in answer[1]:
            self._count -= 1
            wire.transport.close()
        else:
            self._idle.append(wire)
        return answer

    async def _wire(self) -> _Wire:
        while self._idle:
            wire = self._idle.pop()
            if not wire.is_closed:
                return wire
            self._count -= 1
        self._count += 1
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                _Wire, "127.0.0.1", self._port)
        except OSError as error:
            self._count -= 1
            raise Broken from error
        return wire

    def close(self) -> None:
        """Ends every connection."""
        for wire in self._idle:
            wire.transport.close()


def request_of(method: str, path: str, token: str, body: bytes = b"", key: str = "") -> bytes:
    """A request as it goes over the wire."""
    more = f"Idempotency-Key: {key}\r\n" if key else ""
    if method == "POST":
        more += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            f"{more}\r\n").encode() + body


def cpu_seconds(server: int) -> dict[str, float]:
    """Processor time so far of the workers, PostgreSQL and of this process, in seconds."""
    parents: dict[int, int] = {}
    spent: dict[int, tuple[str, float]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        name, rest = re.search(r"\((.*)\) (.*)", text).groups()  # type: ignore[union-attr]  # Always so.
        fields = rest.split()
        parents[int(folder.name)] = int(fields[1])
        spent[int(folder.name)] = name, sum(int(each) for each in fields[11:15]) / _TICK
    found = {"workers": 0.0, "PostgreSQL": 0.0}
    for pid, (name, seconds) in spent.items():
        above = pid
        while above > 1 and above != server:
            above = parents.get(above, 0)
        if above == server:
            found["PostgreSQL" if "postgres" in name else "workers"] += seconds
    own = os.times()
    return {**found, "load generator": own.user + own.system}
