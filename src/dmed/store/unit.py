"""A unit: several reads and writes as one database transaction, for conditionals and Bundles.

Conditional create, update and delete decide under `lock_criteria`, so two that ask for the same
find each other. Modules keep their own tables in the same transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from dmed.kit.errors import ConflictError, DmedError, UnavailableError
from dmed.kit.ids import bucket_in
from dmed.store import audit as audits
from dmed.store import care, links
from dmed.store import write as writes_
from dmed.store.audit import disclosed
from dmed.store.keys import type_number
from dmed.store.model import AuditRow, Relation, Scope, SearchPage, Stored, Write, Written
from dmed.store.pool import CONNECT_SECONDS_MAX, WRITE_SECONDS_MAX, Database, told
from dmed.store.read import (
    MANY_LOCKED_SQL,
    MANY_SQL,
    ONE_SQL,
    check_type,
    is_outside,
    missing_in,
    people,
    stored,
)

if TYPE_CHECKING:
    from dmed.fhir.query_model import Query

_LOCK_CRITERIA = """
INSERT INTO criteria_lock (criteria, at) VALUES ($1, now())
ON CONFLICT (criteria) DO UPDATE SET at = excluded.at
"""
_AUDIT_ROWS_MAX = 1_000
"""Most audit rows of one statement."""


class Unit:
    """One open transaction on one connection; made by `unit` only."""

    def __init__(self, db: Database, scope: Scope, connection: Any) -> None:
        self.db = db
        self.scope = scope
        self.connection = connection
        self._held: set[tuple[str, str]] = set()
        self._unwritten: list[tuple[AuditRow, int]] = []
        self.noted: list[AuditRow] = []
        self.afterwards: list[AuditRow] = []
        """Refusals: their rows must stand though the transaction rolls back, so they are written
        when its connection is given back (a unit that asked for a second one could wait for
        itself)."""

    async def read(
        self, audit: AuditRow, type_: str, id_: str, *, lock: bool = False
    ) -> Stored | None:
        """The current version or None; `lock` holds other writers off until the end."""
        check_type(self.scope, type_)
        id_ = audits.storable(id_)
        row = await self.connection.fetchrow(
            ONE_SQL + (" FOR UPDATE OF r" if lock else ""), bucket_in(id_), type_number(type_),
            id_, care.principals_for(self.scope, type_))
        return await self._told(audit, type_, id_, row, lock=lock)

    async def read_many(
        self, audit: AuditRow, asked: Sequence[tuple[str, str]], *, lock: bool = False
    ) -> list[Stored | None]:
        """As `read` of each (type, id), in one statement and in the order asked."""
        for type_, _ in asked:
            check_type(self.scope, type_)
        ids = [audits.storable(id_) for _, id_ in asked]
        guarded = [care.principals_for(self.scope, type_) is not None for type_, _ in asked]
        rows = await self.connection.fetch(
            MANY_LOCKED_SQL if lock else MANY_SQL, [bucket_in(id_) for id_ in ids],
            [type_number(type_) for type_, _ in asked], ids, list(self.scope.principals), guarded)
        found = {row["n"]: row for row in rows}
        return [await self._told(audit, type_, id_, found.get(number), lock=lock)
                for number, ((type_, _), id_) in enumerate(zip(asked, ids, strict=True), 1)]

    async def _told(
        self, audit: AuditRow, type_: str, id_: str, row: Any, *, lock: bool
    ) -> Stored | None:
        """What a row of a record is to this subject, noted in the audit."""
        is_whole = type_ in self.scope.guarded or type_ not in self.scope.guarded_writes
        if lock and row is not None and row["seen"] and is_whole:
            self._held.add((type_, id_))
        about = msgspec.structs.replace(audit, type=type_, id=id_)
        if row is None:
            await self.note([msgspec.structs.replace(about, outcome=404)])
            return None
        if not row["seen"] or is_outside(self.scope, people(row)):
            refused = msgspec.structs.replace(about, vid=row["vid"], outcome=403)
            self.afterwards += disclosed(refused, people(row))
            return None
        about = msgspec.structs.replace(about, vid=row["vid"])
        await self.note(disclosed(about, people(row)))
        return stored(type_, id_, row)

    async def absent(self, audit: AuditRow, type_: str, id_: str) -> Exception:
        """The error for a record that an act needs and that is not there, audited outside of it."""
        self.afterwards.append(msgspec.structs.replace(audit, type=type_, id=id_, outcome=404))
        return await missing_in(self.connection, self.scope, type_, id_)

    async def note(self, rows: Sequence[AuditRow]) -> None:
        """Audit rows in this transaction; of reads they are written also where it rolls back.

        They are sent together before it commits (`flush`): a statement a read would cost a third
        of what a prescription's act costs.
        """
        self.noted += rows
        actor = await audits.actor_number(self.db, rows[0])
        self._unwritten += [(row, actor) for row in rows]

    async def flush(self) -> None:
        """Writes the audit rows that wait; the transaction may commit only after it."""
        while self._unwritten:
            some = self._unwritten[:_AUDIT_ROWS_MAX]
            del self._unwritten[:_AUDIT_ROWS_MAX]
            await self.connection.execute(audits.INSERT_SQL, *audits.columns(
                [row for row, _ in some], [actor for _, actor in some]))

    async def write(self, audit: AuditRow, write: Write) -> Written:
        """As `write.write`, in this transaction; after an error the unit is lost."""
        return (await self.write_many(audit, [write]))[0]

    async def write_many(self, audit: AuditRow, writes: Sequence[Write]) -> list[Written]:
        """All of these or none, in few statements; each record at most once.

        Errors as `write.write`, for the first that does not hold.
        """
        writes_.check(self.scope, writes)
        _check_identities(writes)
        actor = await audits.actor_number(self.db, audit)
        # One order for all transactions: two that write the same records queue, not deadlock.
        order = sorted(range(len(writes)), key=lambda at: (writes[at].type, writes[at].id))
        sorted_ = [writes[at] for at in order]
        await writes_.settle_buckets(self.connection, sorted_, writes_.claims(self.db))
        await care.check_new(self.connection, self.scope, writes)
        changed = [one for one in sorted_ if one.kind != "create"
                   and (one.type, one.id) not in self._held]
        if changed:
            await writes_.lock(self.db, self.scope, self.connection, changed)
        done = await self._send(sorted_, audit, actor)
        return [done[write.type, write.id] for write in writes]

    async def _send(
        self, writes: list[Write], audit: AuditRow, actor: int
    ) -> dict[tuple[str, str], Written]:
        """Sends the writes in parts; while the database works on one, the next is made ready."""
        size = writes_.STATEMENT_WRITES_MAX
        parts = [writes[start : start + size] for start in range(0, len(writes), size)]
        results: dict[tuple[str, str], Written] = {}
        sent: asyncio.Future[Any] | None = None
        try:
            for number, part in enumerate([*parts, []]):
                statement, values = _statement(part, audit, actor) if part else ("", [])
                if sent is not None:
                    for written in await self._done(parts[number - 1], sent):
                        results[written.type, written.id] = written
                if part:
                    sent = asyncio.ensure_future(self.connection.fetch(statement, *values))
                    await asyncio.sleep(0)  # It leaves before the next part is made ready.
        finally:
            if sent is not None and not sent.done():
                # The transaction cannot end while a statement of it runs.
                sent.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await sent
        return results

    async def _done(self, part: list[Write], sent: asyncio.Future[Any]) -> list[Written]:
        try:
            rows = await sent
        except asyncpg.UniqueViolationError as error:
            await writes_.explain_duplicate(self.db, part, error)
            raise ConflictError(
                "the same identifier or record is being written by another: try again"
            ) from error
        for one, row in zip(part, rows, strict=True):
            if row["kind"] is None:
                await writes_.explain(self.db, self.scope, one)
                raise ConflictError(f"{one.type}/{one.id} was changed meanwhile: try again")
        return [writes_.written(one, is_new=row["kind"] == "C")
                for one, row in zip(part, rows, strict=True)]

    async def search(self, audit: AuditRow, query: Query) -> SearchPage:
        """A search that sees what this unit has written."""
        from dmed.store import search

        found = await search.find(self.connection, self.scope, query)
        await self.note(disclosed(audit, found.people))
        return found.page

    async def grant(self, relation: Relation) -> None:
        """A care relationship of the subject that no record says; the caller audits it."""
        await care.grant(self.connection, self.scope, relation)

    async def regroup(self, groups: Sequence[Sequence[str]]) -> None:
        """Each group is from now on one person's cards (store.links)."""
        await links.regroup(self.connection, groups)

    async def lock_criteria(self, text: str) -> None:
        """Waits for and holds the one right to decide about these criteria until the end."""
        await self.connection.execute(_LOCK_CRITERIA, text)

    async def execute(self, sql: str, *arguments: object) -> str:
        """A statement on a module's own tables; its command tag."""
        tag: str = await self.connection.execute(sql, *arguments)
        return tag

    async def fetch(self, sql: str, *arguments: object) -> list[Any]:
        """Rows of a module's own tables."""
        rows: list[Any] = await self.connection.fetch(sql, *arguments)
        return rows

    async def fetchrow(self, sql: str, *arguments: object) -> Any:
        """The first row of a module's own tables, or None."""
        return await self.connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """The first value of the first row, or None."""
        return await self.connection.fetchval(sql, *arguments)


@asynccontextmanager
async def unit(
    db: Database, scope: Scope, *, seconds_max: int = 0
) -> AsyncIterator[Unit]:
    """One transaction: commits at the end of the block, rolls back when it raises.

    ConflictError when another transaction came first, UnavailableError when the database is away
    or the block took over `seconds_max` (0: WRITE_SECONDS_MAX; nothing is stored then).
    """
    began = time.monotonic()
    refusals: list[AuditRow] = []
    noted: list[AuditRow] = []
    try:
        with told():
            async with (
                db.hot.acquire(timeout=CONNECT_SECONDS_MAX) as connection,
                connection.transaction(),
            ):
                limit = seconds_max or WRITE_SECONDS_MAX
                if limit > WRITE_SECONDS_MAX:
                    await _lengthen(connection, limit)
                made = Unit(db, scope, connection)
                refusals, noted = made.afterwards, made.noted
                yield made
                await made.flush()
                if time.monotonic() - began > limit:
                    raise UnavailableError(f"the work took over {limit} s")
    except DmedError as error:
        if not isinstance(error, UnavailableError):
            # The rows of its reads went with the transaction, but what was read may be told.
            told_already = {(row.type, row.id) for row in refusals}
            refusals += [row for row in noted if (row.type, row.id) not in told_already]
        raise
    finally:
        if refusals:
            await audits.note(db, refusals)


async def _lengthen(connection: Any, seconds: int) -> None:
    """Gives the open transaction more time than others have; each statement keeps its limit."""
    if connection.get_server_version().major >= 17:
        # A running timer is changed only by stopping it first.
        await connection.execute(
            "SELECT set_config('transaction_timeout', '0', true),"
            " set_config('transaction_timeout', $1, true)", f"{seconds + 1}s")


def _statement(part: list[Write], audit: AuditRow, actor: int) -> tuple[str, list[Any]]:
    rows = [row for one in part for row in writes_.audit_rows(audit, one)]
    return writes_.arguments(part, rows, [actor] * len(rows))


def _check_identities(writes: Sequence[Write]) -> None:
    holders: dict[tuple[str, str, str], str] = {}
    for write in writes:
        if write.kind == "delete":
            continue
        for system, value in dict.fromkeys(write.identities):
            holder = holders.setdefault((write.type, system, value), write.id)
            if holder != write.id:
                raise ConflictError(
                    f"{write.type}/{holder} and {write.type}/{write.id} of one transaction carry "
                    f"the identifier {system}|{value}", f"{write.type}.identifier")


