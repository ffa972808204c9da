"""Connections: two pools, one plan rule each, and one translation of the database's errors.

Pool `hot` keeps prepared plans (`force_generic_plan`) for reads by id, compartments and writes:
left to itself the server plans a read anew each time, as it cannot know that its arrays are short.
Pool `wide` plans each type-wide search anew, since there the planner must see the value. Both work
with asyncio's own loop and with uvloop.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import asyncpg

from dmed.kit.errors import ConflictError, DmedError, InvalidError, UnavailableError
from dmed.kit.settings import Settings
from dmed.store.connections import Connections, Loan

WRITE_SECONDS_MAX = 5
"""No write transaction lasts longer: one long writer stalls every reader of the feed."""
SEARCH_SECONDS_MAX = 20
LOCK_SECONDS_MAX = 4
CONNECT_SECONDS_MAX = 5
_ANSWER_SECONDS_MAX = 30.0
_STATEMENTS_KEPT = 512

_UNSTORABLE = {"22021", "22P05"}
"""PostgreSQL's codes for characters that its texts cannot hold."""
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)
FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Everything that a statement or a connection may raise."""
RETRIED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Errors after which the same single write may simply be tried again."""


def translated(error: BaseException) -> DmedError | None:
    """What a caller is told of a database error, or None for one that is a fault of ours."""
    if isinstance(error, RETRIED):
        return ConflictError("another change to the same records came first: try again")
    if isinstance(error, asyncpg.LockNotAvailableError):
        return ConflictError(f"the records are held by another change for {LOCK_SECONDS_MAX} s")
    if getattr(error, "sqlstate", "") in _UNSTORABLE or "surrogates not allowed" in str(error):
        return InvalidError("a text holds characters that cannot be stored")
    if isinstance(error, asyncpg.QueryCanceledError):
        return UnavailableError("the database needed longer than the documented limit")
    if isinstance(error, _LOST) or is_lost(error):
        return UnavailableError("the database does not answer now")
    return None


def is_lost(error: BaseException) -> bool:
    """Whether the connection died under the caller: whether its statement ran is not known."""
    if isinstance(error, _LOST):
        return True
    text = str(error)
    if isinstance(error, asyncpg.PostgresError):
        return getattr(error, "sqlstate", "") == "25P04"  # transaction_timeout of PostgreSQL 17+
    if isinstance(error, asyncpg.InternalClientError):
        # The driver's own surprise at a connection that died between two of its steps.
        return True
    return isinstance(error, asyncpg.InterfaceError) and ("clos" in text or "termin" in text)


class told:  # noqa: N801  # Reads as the word that it is: `with told():`.
    """Lets database errors leave the block as the DmedError that the caller is told."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        """Raises the known error that stands for the database's."""
        if error is not None and isinstance(error, FAILURES):
            known = translated(error)
            if known is not None:
                raise known from error


class ToldLoan(Loan):
    """A loan whose database errors leave the block as DmedError."""

    __slots__ = ()

    async def __aenter__(self) -> Any:
        with told():
            return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, trace)
        told().__exit__(kind, error, trace)


class Database:
    """An open store: its two pools, and what a worker process keeps beside them."""

    def __init__(self, hot: Connections, wide: Connections, settings: Settings) -> None:
        self.hot = hot
        self.wide = wide
        self.settings = settings
        self.kept: dict[object, Any] = {}
        """What other parts of the store keep for the life of this Database, by their own key."""

    @classmethod
    async def open(cls, url: str, settings: Settings) -> Database:
        """Connects; UnavailableError where the database does not answer."""
        with told():
            hot = await _pool(url, "force_generic_plan", settings.pool_size, WRITE_SECONDS_MAX)
            try:
                wide = await _pool(
                    url, "force_custom_plan", max(2, settings.pool_size // 2), SEARCH_SECONDS_MAX)
            except BaseException:
                await hot.close()
                raise
        return cls(hot, wide, settings)

    async def close(self) -> None:
        """Closes both pools when their statements under way have ended."""
        await self.hot.close()
        await self.wide.close()

    def connection(self) -> ToldLoan:
        """A connection of the pool for records; errors leave as DmedError."""
        return ToldLoan(self.hot, CONNECT_SECONDS_MAX)

    def searching(self) -> ToldLoan:
        """A connection of the pool for type-wide search; errors leave as DmedError."""
        return ToldLoan(self.wide, CONNECT_SECONDS_MAX)


async def _pool(url: str, plans: str, size: int, seconds: int) -> Connections:
    async def connect() -> Any:
        connection = await asyncpg.connect(
            url, timeout=CONNECT_SECONDS_MAX, command_timeout=_ANSWER_SECONDS_MAX,
            statement_cache_size=_STATEMENTS_KEPT, max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0, server_settings={
                "application_name": "dmed", "plan_cache_mode": plans, "jit": "off",
                "timezone": "UTC", "statement_timeout": f"{seconds}s",
                "lock_timeout": f"{LOCK_SECONDS_MAX}s",
                "idle_in_transaction_session_timeout": f"{WRITE_SECONDS_MAX}s",
            },
        )  # fmt: skip  # One setting a line would hide which belong together.
        if connection.get_server_version().major >= 17:
            await connection.execute(f"SET transaction_timeout = '{seconds + 1}s'")
        return connection

    made = Connections(connect, size)
    async with made.acquire(timeout=CONNECT_SECONDS_MAX):
        return made
