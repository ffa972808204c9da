"""Connections are lent to one borrower at a time, never lost, and never handed on unsound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from dmed.store.connections import Connections

SIZE = 2


@pytest.fixture
async def lender(module_database_url: str) -> AsyncIterator[Connections]:
    made = Connections(lambda: asyncpg.connect(module_database_url), SIZE)
    made.is_watched = False  # One test takes the parts of many borrowers.
    yield made
    await made.close()


async def backend(connection: Any) -> int:
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_no_connection_is_lent_twice_and_no_more_are_made(lender: Connections) -> None:
    """Fifty borrowers share two connections, each alone on his; all are served."""
    busy: set[int] = set()
    seen: set[int] = set()

    async def borrow() -> None:
        async with lender.acquire(timeout=20) as connection:
            number = await backend(connection)
            assert number not in busy
            busy.add(number)
            await connection.execute("SELECT pg_sleep(0.001)")
            busy.remove(number)
            seen.add(number)

    await asyncio.gather(*(borrow() for _ in range(50)))

    assert len(seen) == SIZE


async def test_a_wait_without_end_is_a_timeout_and_loses_nothing(lender: Connections) -> None:
    """While all are lent a borrower hears TimeoutError; afterwards all can be lent again."""
    async with lender.acquire(timeout=5), lender.acquire(timeout=5):
        with pytest.raises(TimeoutError):
            async with lender.acquire(timeout=0.05):
                pass

    async with lender.acquire(timeout=1) as first, lender.acquire(timeout=1) as second:
        assert await backend(first) != await backend(second)


async def test_what_waits_beside_a_dead_connection_is_not_lent_again(lender: Connections) -> None:
    """After `drop_idle` the next borrowers get connections made anew, as many as before; one that
    is lent meanwhile stays with its borrower.
    """
    async with lender.acquire(timeout=5) as kept:
        async with lender.acquire(timeout=5) as other:
            before = await backend(other)
        lender.drop_idle()
        async with lender.acquire(timeout=5) as fresh:
            assert await backend(fresh) != before
        assert await backend(kept)

    async with lender.acquire(timeout=5) as first, lender.acquire(timeout=5) as second:
        assert await backend(first) != await backend(second)


async def test_a_waiter_that_gives_up_as_it_is_served_passes_the_connection_on(
    lender: Connections,
) -> None:
    """A borrower cancelled in the moment of the handing over does not keep the connection."""
    async with lender.acquire(timeout=5):
        loan = lender.acquire(timeout=5)
        connection = await loan.__aenter__()
        waiting = asyncio.create_task(lender.take())
        await asyncio.sleep(0)
        lender.give(connection, is_sound=True)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with lender.acquire(timeout=1) as again:
            assert await backend(again)


async def test_a_connection_left_in_a_statement_or_transaction_is_cut(lender: Connections) -> None:
    """Neither a cancelled statement nor an open transaction reaches the next borrower."""
    async with lender.acquire(timeout=5) as connection:
        first = await backend(connection)

    async def sleeper() -> None:
        async with lender.acquire(timeout=5) as connection:
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(sleeper())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with lender.acquire(timeout=5) as connection:
        second = await backend(connection)
        await connection.execute("BEGIN")
    async with lender.acquire(timeout=5) as connection:
        third = await backend(connection)

    assert len({first, second, third}) == 3


async def test_a_failed_connect_frees_its_place_and_wakes_the_next(
    module_database_url: str,
) -> None:
    """Where connecting fails the error is told, and whoever waited tries for himself."""
    fails = [True]

    async def connect() -> Any:
        await asyncio.sleep(0.02)
        if fails.pop() if fails else False:
            raise OSError("no route")
        return await asyncpg.connect(module_database_url)

    made = Connections(connect, 1)

    async def one() -> int:
        async with made.acquire(timeout=5) as connection:
            return await backend(connection)

    answers = await asyncio.gather(one(), one(), return_exceptions=True)

    assert isinstance(answers[0], OSError)
    assert isinstance(answers[1], int)
    await made.close()


async def test_closing_waits_for_the_borrower_and_refuses_new_ones(
    module_database_url: str,
) -> None:
    """`close` lets the statement under way end; who asks afterwards is refused."""
    made = Connections(lambda: asyncpg.connect(module_database_url), 1)
    ended: list[str] = []

    async def borrow() -> None:
        async with made.acquire(timeout=5) as connection:
            await connection.execute("SELECT pg_sleep(0.1)")
            ended.append("statement")

    task = asyncio.create_task(borrow())
    await asyncio.sleep(0.05)
    await made.close()
    ended.append("closed")
    await task

    assert ended == ["statement", "closed"]
    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await made.fetchval("SELECT 1")


async def test_a_second_loan_to_one_task_is_told_where_it_is_watched(lender: Connections) -> None:
    """Asking again while holding one is an error at once, with free ones, too; another task may."""
    lender.is_watched = True

    async def borrow() -> int:
        async with lender.acquire(timeout=5) as connection:
            return await backend(connection)

    async with lender.acquire(timeout=5):
        with pytest.raises(RuntimeError, match="wait for itself"):
            await borrow()
        assert await asyncio.create_task(borrow())
    assert await borrow()
