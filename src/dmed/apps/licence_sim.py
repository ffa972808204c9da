"""A simulator of the register of licences: the invented licences over HTTP, with failures on order.

`POST /sim/mode` with one of MODES as body sets how it fails; an empty body makes it well again.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from dmed.modules.developers.api import Entry, invented, invented_code

MODES = ("down", "error", "nonsense", "other", "slow")
"""Connections are cut; 503; an answer that cannot be read; one about another licence; no answer."""
_WAIT_SECONDS = 30
_BODY_MAX_BYTES = 10_000
_SLOW_SECONDS = 8


class Simulator:
    """The register; `mode` is how it fails just now, "" where it is well."""

    def __init__(self, key: str = "") -> None:
        self.mode = ""
        self.sent: list[str] = []
        """Licences whose holders were sent a code."""
        self._key = key

    def served(self, method: str, path: str, key: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of an answer."""
        if path == "/sim/mode":
            self.mode = body.decode() if body.decode() in MODES else ""
            return 200, b"{}"
        if self.mode == "error":
            return 503, b"unavailable"
        if self.mode == "nonsense":
            return 200, b'{"number": 17'
        if self._key and key != f"Bearer {self._key}":
            return 401, b"{}"
        parts = [part.replace("%2F", "/") for part in path.strip("/").split("/")]
        entry = invented().get(parts[1]) if len(parts) > 1 and parts[0] == "licences" else None
        if entry is None:
            return 404, b"{}"
        if method == "GET" and len(parts) == 2:
            return 200, msgspec.json.encode(self._told(entry))
        if method == "POST" and parts[2:] == ["code"]:
            self.sent.append(entry.number)
            return 202, b"{}"
        if method == "POST" and len(parts) == 4 and parts[2] == "code":
            return (200 if parts[3] == invented_code(entry.number) else 403), b"{}"
        return 404, b"{}"

    def _told(self, entry: Entry) -> Entry:
        if self.mode == "other":
            return msgspec.structs.replace(entry, number="T-0000-0000")
        return entry

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError,
                                 ValueError, TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *rows = head.split("\r\n")
                method, path = first.split(" ")[:2]
                headers = {name.lower(): value.strip() for name, _, value in
                           (row.partition(":") for row in rows if row)}
                length = min(int(headers.get("content-length", "0")), _BODY_MAX_BYTES)
                body = await reader.readexactly(length)
                if self.mode == "slow" and path != "/sim/mode":
                    await asyncio.sleep(_SLOW_SECONDS)
                if self.mode != "down" or path == "/sim/mode":
                    status, said = self.served(
                        method, path, headers.get("authorization", ""), body)
                    writer.write(f"HTTP/1.1 {status} OK\r\nContent-Length: {len(said)}\r\n"
                                 "Content-Type: application/json\r\nConnection: close\r\n\r\n"
                                 .encode() + said)
                    await writer.drain()
        writer.close()


def run(port: int) -> None:
    """Serves until it is stopped; tells how a platform is told of it, and the codes."""
    async def serve() -> None:
        server = await asyncio.start_server(Simulator().answer, "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    print(f"DMED_LICENCE_REGISTER=http://127.0.0.1:{port}", flush=True)
    for entry in invented().values():
        print(f"  {entry.number}  {entry.tax_id}  code {invented_code(entry.number)}"
              f"  {entry.status}  {entry.holder}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
