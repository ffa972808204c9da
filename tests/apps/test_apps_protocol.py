"""What a client cannot do to a connection: huge heads, slow heads, slow bodies, unread answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
import uvicorn

from dmed.apps.protocol import protocol
from dmed.apps.workers import listen
from dmed.kit.settings import Settings

SMALL = Settings(request_head_limit_bytes=4_000, request_head_seconds=1, request_body_seconds=1,
                 response_stall_seconds=1)  # fmt: skip  # One installation.
GREETING = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    size = 40_000_000 if scope["path"] == "/large" else len(body)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(size).encode())]})  # fmt: skip  # One message.
    await send({"type": "http.response.body", "body": bytes(size)})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def port() -> AsyncIterator[int]:
    """A server with small limits, in this loop."""
    listening = listen("127.0.0.1", 0, 64)
    server = uvicorn.Server(uvicorn.Config(
        _app, http=protocol(SMALL), lifespan="off", log_level="critical", access_log=False,
        timeout_keep_alive=30))  # fmt: skip  # One server.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # The tests' own process keeps its signals.
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    await serving
    listening.close()


async def _said(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What the server says to these bytes until it closes, or for six seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(6):
            return await reader.read()
    except ConnectionError:
        return b"cut"
    finally:
        writer.close()


async def test_a_plain_request_is_answered(port: int) -> None:
    """The limits are out of a healthy request's way, with a body too, and twice on a connection."""
    ask = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    said = await _said(port, ask, ask.replace(b"Host", b"Connection: close\r\nHost"), pause_s=0.05)

    assert said.count(b"200 OK") == 2


async def test_a_head_too_large_is_431(port: int) -> None:
    """A long address, long headers and headers by the hundred: 431, in one piece or in two."""
    long = GREETING + b"X: " + b"y" * 5_000 + b"\r\n\r\n"
    many = GREETING + b"".join(b"X%d: 1\r\n" % number for number in range(120)) + b"\r\n"
    for said in (await _said(port, long), await _said(port, long[:4_500], long[4_500:]),
                 await _said(port, many), await _said(port, b"GET /" + b"a" * 5_000)):
        assert said.startswith(b"HTTP/1.1 431 ")
        assert said.count(b"HTTP/1.1") == 1


async def test_a_large_body_is_no_large_head(port: int) -> None:
    """A body above the head's limit in the same packet is taken."""
    said = await _said(port, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                             b"Content-Length: 9000\r\n\r\n" + b"y" * 9_000)  # fmt: skip  # One.

    assert said.startswith(b"HTTP/1.1 200 OK")


async def test_slow_heads_bodies_and_readers_are_let_go(port: int) -> None:
    """Silence, half a head, half a body, and an answer that nobody reads: each ends in seconds."""
    silent, half, body = await asyncio.gather(
        _said(port), _said(port, GREETING),
        _said(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"))

    assert silent.startswith(b"HTTP/1.1 408 ")
    assert half.startswith(b"HTTP/1.1 408 ")
    assert b"200" not in body


async def test_an_answer_that_nobody_reads_is_cut(port: int) -> None:
    """A client that takes nothing of a large answer loses its connection, not our memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(3.5)
    size = 0
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(1_000_000):
            size += len(part)
    writer.close()

    assert size < 40_000_000
