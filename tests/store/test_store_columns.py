"""What a column says comes apart on the server as it was, whatever text it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dmed.store.columns import Parameters, columns, selected

NAMES = ("param", "vid", "low", "wide", "code", "exact")
TEXT = some.text(some.characters(exclude_characters="\x00\x1e\x1f", exclude_categories=("Cs",)))
ROW = some.tuples(
    some.integers(-(2**31), 2**31 - 1),
    some.none() | some.integers(-(2**63), 2**63 - 1),
    some.none() | some.floats(allow_nan=False),
    some.booleans(), TEXT, some.none() | TEXT)
SQL = f"SELECT {selected(NAMES)} FROM {Parameters().rows(NAMES, 'double precision')}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connection(any_database_url: str) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(any_database_url)
    yield opened
    await opened.close()


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=some.lists(ROW, max_size=5))
async def test_rows_come_back_as_they_were(connection: Any, rows: list[tuple[Any, ...]]) -> None:
    """Quotes, braces, backslashes, empty texts, NULLs and the widest numbers survive."""
    back = await connection.fetch(SQL, *columns(NAMES, rows))

    expected = [(*row[:5], None if row[5] is None or (len(rows) == 1 and row[5] == "") else row[5])
                for row in rows]
    assert [tuple(row) for row in back] == expected


@pytest.mark.parametrize("text", ["a\x1fb", "\x1e", "\x1f", "a\x1e\x1f"])
async def test_our_own_marks_shift_nothing(connection: Any, text: str) -> None:
    """A text with a separator in it stays one value, and the rows beside it theirs."""
    rows = [(1, 1, 1.0, True, text, text), (2, 2, 2.0, False, "b", None)]
    back = await connection.fetch(SQL, *columns(NAMES, rows))

    clean = text.replace("\x1f", " ").replace("\x1e", " ")
    assert [row[5] for row in back] == [clean, None]
    assert [row[4] for row in back] == [clean, "b"]
