"""Connections lent to one borrower at a time: what a pool costs, without what it does not need.

asyncpg's own pool took 60 of the 160 microseconds of a short statement, for proxies and for the
reset of session settings, of which the store changes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import asyncpg

from dmed.kit.turns import PARTY, Turns

_CLOSE_SECONDS_MAX = 10.0


class Connections:
    """At most `size` connections to one database; made when they are first needed.

    Where all are lent, they go out in turns of `kit.turns.PARTY`: nobody waits behind all that
    one greedy party asked before.

    A task that holds a connection may not ask the same pool for another: when all are held by
    such tasks, each waits for itself. Tests look for that (`is_watched`), wherever it happens.
    """

    is_watched = False
    """Whether a second loan to one task is an error; costs a little, so tests alone set it."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], size: int) -> None:
        self._connect = connect
        self._size = size
        self._idle: list[Any] = []
        self._all: set[Any] = set()
        self._making = 0
        self._waiters: Turns[asyncio.Future[Any]] = Turns()
        self._closing = False
        self._returned = asyncio.Event()
        self._borrowers: set[asyncio.Task[Any] | None] = set()

    def acquire(self, *, timeout: float) -> Loan:
        """A connection for the length of an `async with`.

        TimeoutError when none becomes free (or the server does not answer) within `timeout`
        seconds; the errors of `asyncpg.connect` as they are.
        """
        return Loan(self, timeout)

    async def execute(self, query: str, *args: Any) -> str:
        """The status of one statement on any connection."""
        async with self.acquire(timeout=_CLOSE_SECONDS_MAX) as connection:
            return str(await connection.execute(query, *args))

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows of one statement on any connection."""
        async with self.acquire(timeout=_CLOSE_SECONDS_MAX) as connection:
            return list(await connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row of one statement on any connection, or None."""
        async with self.acquire(timeout=_CLOSE_SECONDS_MAX) as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value of the first row of one statement, or None."""
        async with self.acquire(timeout=_CLOSE_SECONDS_MAX) as connection:
            return await connection.fetchval(query, *args)

    async def close(self) -> None:
        """Lends no more, and closes every connection when its statement under way has ended."""
        self._closing = True
        for waiter in self._waiters.all():
            if not waiter.done():
                waiter.set_result(None)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS_MAX):
                while len(self._idle) < len(self._all):
                    self._returned.clear()
                    await self._returned.wait()
                for connection in self._idle:
                    await connection.close()
        except TimeoutError:
            self.terminate()
        self._idle.clear()
        self._all.clear()

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Any]:
        """A connection beside the pool, closed at the end: for a lock that is held while other
        work goes on, and must not take a place from it.
        """
        connection = await self._connect()
        try:
            yield connection
        finally:
            await connection.close()

    def terminate(self) -> None:
        """Cuts every connection at once."""
        for connection in self._all:
            connection.terminate()

    def drop_idle(self) -> None:
        """Cuts what waits to be lent, after one was found dead: connections die together."""
        while self._idle:
            connection = self._idle.pop()
            connection.terminate()
            self._all.discard(connection)

    def check_second(self) -> None:
        """RuntimeError where the present task holds a connection already; only when watched."""
        if self.is_watched and asyncio.current_task() in self._borrowers:
            raise RuntimeError(
                "a task that holds a connection asks the same pool for a second: it could wait "
                "for itself")

    def lend(self) -> None:
        """Remembers the present task as a borrower; only when watched."""
        if self.is_watched:
            self._borrowers.add(asyncio.current_task())

    def settle(self) -> None:
        """Forgets the present task as a borrower."""
        self._borrowers.discard(asyncio.current_task())

    def at_once(self) -> Any:
        """An idle connection, or None. The last returned goes out first: it is the warmest."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._all.discard(connection)
        return None

    async def take(self) -> Any:
        """As `acquire`, but without an end to the wait and to be given back by `give`."""
        while (connection := self.at_once()) is None:
            if self._closing:
                raise asyncpg.InterfaceError("the pool is closed")
            if len(self._all) + self._making < self._size:
                return await self._made()
            connection = await self._waited()
            if connection is not None:
                break
        return connection

    async def _made(self) -> Any:
        self._making += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._wake(None)
            raise
        finally:
            self._making -= 1
        self._all.add(connection)
        return connection

    async def _waited(self) -> Any:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.push(PARTY.get(), waiter)
        try:
            return await waiter
        except BaseException:
            # What was handed over in the same moment goes to the next in the queue.
            if waiter.done() and not waiter.cancelled():
                self.give(waiter.result(), is_sound=True)
            raise

    def give(self, connection: Any, *, is_sound: bool) -> None:
        """Takes a connection back; one that is not sound is cut and its place is free."""
        if connection is not None and not (is_sound and not connection.is_closed()):
            connection.terminate()
            self._all.discard(connection)
            connection = None
        if not self._wake(connection) and connection is not None:
            self._idle.append(connection)
        if self._closing:
            self._returned.set()

    def _wake(self, connection: Any) -> bool:
        while (waiter := self._waiters.pop()) is not None:
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False


class Loan:
    """One borrowing of a connection."""

    __slots__ = ("_connection", "_lender", "_timeout")

    def __init__(self, lender: Connections, timeout: float) -> None:
        self._lender = lender
        self._timeout = timeout

    async def __aenter__(self) -> Any:
        if self._lender.is_watched:
            self._lender.check_second()
        self._connection = self._lender.at_once()
        if self._connection is None:
            async with asyncio.timeout(self._timeout):
                self._connection = await self._lender.take()
        if self._lender.is_watched:
            self._lender.lend()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        # A statement that was left alone (cancelled, timed out) may still be running there.
        is_left = kind is not None and issubclass(kind, asyncio.CancelledError | TimeoutError)
        connection = self._connection
        is_sound = not is_left and not connection.is_in_transaction()
        if self._lender.is_watched:
            self._lender.settle()
        self._lender.give(connection, is_sound=is_sound)
