"""A unit: several reads and writes as one database transaction, for conditionals and Bundles.

Conditional create, update and delete decide under `lock_criteria`, so two that ask for the same
find each other. Modules keep their own tables in the same transaction.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from dmed.kit.errors import ConflictError, ForbiddenError, UnavailableError
from dmed.kit.ids import bucket_in
from dmed.store import audit as audits
from dmed.store import write as writes_
from dmed.store.audit import disclosed
from dmed.store.keys import type_number
from dmed.store.model import AuditRow, Scope, SearchPage, Stored, Write, Written
from dmed.store.pool import CONNECT_SECONDS_MAX, WRITE_SECONDS_MAX, Database, told
from dmed.store.read import ONE_SQL, check_people, check_type, missing, people, stored

if TYPE_CHECKING:
    from dmed.fhir.query_model import Query

_LOCK_CRITERIA = """
INSERT INTO criteria_lock (criteria, at) VALUES ($1, now())
ON CONFLICT (criteria) DO UPDATE SET at = excluded.at
"""


class Unit:
    """One open transaction on one connection; made by `unit` only."""

    def __init__(self, db: Database, scope: Scope, connection: Any) -> None:
        self.db = db
        self.scope = scope
        self.connection = connection
        self._held: set[tuple[str, str]] = set()

    async def read(
        self, audit: AuditRow, type_: str, id_: str, *, lock: bool = False
    ) -> Stored | None:
        """The current version or None; `lock` holds other writers off until the end."""
        check_type(self.scope, type_)
        id_ = audits.storable(id_)
        row = await self.connection.fetchrow(
            ONE_SQL + (" FOR UPDATE" if lock else ""), bucket_in(id_), type_number(type_), id_)
        if lock and row is not None:
            self._held.add((type_, id_))
        about = msgspec.structs.replace(audit, type=type_, id=id_)
        if row is None:
            await self.note([msgspec.structs.replace(about, outcome=404)])
            return None
        try:
            check_people(self.scope, people(row))
        except ForbiddenError:
            # The transaction rolls back with the refusal: its row must stand outside of it.
            await audits.note(self.db, [msgspec.structs.replace(about, outcome=403)])
            raise
        about = msgspec.structs.replace(about, vid=row["vid"])
        await self.note(disclosed(about, people(row)))
        return stored(type_, id_, row)

    async def absent(self, audit: AuditRow, type_: str, id_: str) -> Exception:
        """The error for a record that an act needs and that is not there, audited outside of it."""
        about = msgspec.structs.replace(audit, type=type_, id=id_, outcome=404)
        await audits.note(self.db, [about])
        return await missing(self.db, type_number(type_), id_, type_)

    async def note(self, rows: Sequence[AuditRow]) -> None:
        """Audit rows in this transaction."""
        actor = await audits.actor_number(self.db, rows[0])
        await self.connection.execute(
            audits.INSERT_SQL, *audits.columns(rows, [actor] * len(rows)))

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
        results: dict[int, Written] = {}
        for start in range(0, len(order), writes_.STATEMENT_WRITES_MAX):
            part = order[start : start + writes_.STATEMENT_WRITES_MAX]
            chosen = [writes[at] for at in part]
            rows = [writes_.audit_rows(audit, one) for one in chosen]
            changed = [one for one in chosen if one.kind != "create"
                       and (one.type, one.id) not in self._held]
            if changed:
                await writes_.lock(self.db, self.scope, self.connection, changed)
            try:
                done = await writes_.send(self.db, self.connection, chosen, rows, actor)
            except asyncpg.UniqueViolationError as error:
                await writes_.explain_duplicate(self.db, chosen, error)
                raise ConflictError(
                    "the same identifier or record is being written by another: try again"
                ) from error
            for at, one, written in zip(part, chosen, done, strict=True):
                if written is None:
                    await writes_.explain(self.db, one)
                    raise ConflictError(f"{one.type}/{one.id} was changed meanwhile: try again")
                results[at] = written
        return [results[at] for at in range(len(writes))]

    async def search(self, audit: AuditRow, query: Query) -> SearchPage:
        """A search that sees what this unit has written."""
        from dmed.store import search

        found = await search.find(self.connection, self.scope, query)
        await self.note(disclosed(audit, found.people))
        return found.page

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
async def unit(db: Database, scope: Scope) -> AsyncIterator[Unit]:
    """One transaction: commits at the end of the block, rolls back when it raises.

    ConflictError when another transaction came first, UnavailableError when the database is away
    or the block took over WRITE_SECONDS_MAX (nothing is stored then).
    """
    began = time.monotonic()
    with told():
        async with (
            db.hot.acquire(timeout=CONNECT_SECONDS_MAX) as connection,
            connection.transaction(),
        ):
            yield Unit(db, scope, connection)
            if time.monotonic() - began > WRITE_SECONDS_MAX:
                raise UnavailableError(f"the work took over {WRITE_SECONDS_MAX} s")


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


