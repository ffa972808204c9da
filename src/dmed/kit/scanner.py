"""A scanner of files for malware: the port, and ClamAV's daemon by its documented protocol.

INSTREAM: https://docs.clamav.net/manual/Usage/Scanning.html#clamd, `man clamd`: a command, then
chunks with their length before them (four bytes, most significant first), then one of length zero;
the answer is `stream: OK`, `stream: NAME FOUND` or a line that ends in `ERROR`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from dmed.kit import outgoing
from dmed.kit.errors import UnavailableError

WAIT_SECONDS = 10.0
_CHUNK_BYTES = 64 * 1024
_AWAY = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""Nobody there, too late, closed without an answer, an answer without an end."""


class Scanner(Protocol):
    """Says of a file whether it is known to do harm."""

    async def found(self, content: bytes) -> str:
        """The name of what was found, or "". UnavailableError where nothing can be said."""


class Clamd:
    """A clamd at `tcp://host:port` or `unix:/path`; a connection for each file, as it asks."""

    def __init__(self, address: str, wait_seconds: float = WAIT_SECONDS) -> None:
        self._address = address
        self._wait_seconds = wait_seconds

    async def found(self, content: bytes) -> str:
        """See the port. Beyond its own StreamMaxLength it says an error: nothing is known then."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                answer = await self._asked(content)
        except _AWAY as away:
            raise UnavailableError("The scanner of files does not answer") from away
        text = answer.rstrip("\n").removeprefix("stream: ")
        if text == "OK":
            return ""
        name, _, end = text.rpartition(" ")
        if end == "FOUND" and name:
            return name
        raise UnavailableError(f"The scanner of files says {text[:100]!r}")

    async def _asked(self, content: bytes) -> str:
        reader, writer = await outgoing.stream(self._address)
        try:
            writer.write(b"zINSTREAM\0")
            for start in range(0, len(content), _CHUNK_BYTES):
                chunk = content[start : start + _CHUNK_BYTES]
                writer.write(len(chunk).to_bytes(4) + chunk)
                await writer.drain()
            writer.write((0).to_bytes(4))
            await writer.drain()
            answer = await reader.readuntil(b"\0")  # As the "z" of the command asks.
        finally:
            writer.close()
        return answer[:-1].decode("utf-8", errors="replace")
