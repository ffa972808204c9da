"""A simulator of ClamAV's daemon: INSTREAM, the test file of EICAR, and failures on order.

The test file (https://www.eicar.org/download-anti-malware-testfile/) is put together here, so that
no scanner of a builder's machine takes this source for it.
"""

from __future__ import annotations

import asyncio
import contextlib

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS" + b"-TEST-FILE!$H+H*"
MODES = ("cut", "silent", "nonsense")
"""The connection is cut; no answer comes; an answer that cannot be read."""
STREAM_MAX_BYTES = 25 * 1024 * 1024


class Simulator:
    """The daemon; `mode` is how it fails just now, "" where it is well."""

    def __init__(self) -> None:
        self.mode = ""
        self.seen = 0
        """Files that were asked about."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one command, one answer."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            command = await reader.readuntil(b"\0")
            if command == b"zPING\0":
                writer.write(b"PONG\0")
            elif command != b"zINSTREAM\0":
                writer.write(b"UNKNOWN COMMAND\0")
            elif self.mode != "cut":
                writer.write(await self._judged(reader))
            await writer.drain()
        writer.close()

    async def _judged(self, reader: asyncio.StreamReader) -> bytes:
        content = bytearray()
        while size := int.from_bytes(await reader.readexactly(4)):
            if len(content) + size > STREAM_MAX_BYTES:
                return b"INSTREAM size limit exceeded. ERROR\0"
            content += await reader.readexactly(size)
        self.seen += 1
        if self.mode == "silent":
            await asyncio.sleep(3_600)
        if self.mode == "nonsense":
            return b"stream: who knows\0"
        return b"stream: Eicar-Test-Signature FOUND\0" if EICAR in content else b"stream: OK\0"


def run(port: int) -> None:
    """Serves until it is interrupted; prints the setting for it."""

    async def serve() -> None:
        server = await asyncio.start_server(Simulator().answer, "127.0.0.1", port)
        print(f"DMED_SCANNER=tcp://127.0.0.1:{port}", flush=True)
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
