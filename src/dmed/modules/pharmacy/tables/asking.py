"""Proposals to the doctor, searches by a person's number, and what was sent to persons."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dmed.modules.pharmacy.tables import Connection

# Proposals to the doctor


async def keep_proposal(connection: Connection, task: str, **fields: Any) -> None:
    """A pharmacist asks the doctor; there is one open question an item."""
    await connection.execute(
        "insert into pharmacy_proposal (task, number, item, kind, pharmacy, pharmacy_name,"
        " prescriber, organisation, preparation, product, quantity, text, at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        task, *(fields[name] for name in (
            "number", "item", "kind", "pharmacy", "pharmacy_name", "prescriber", "organisation",
            "preparation", "product", "quantity", "text", "at")),
    )  # fmt: skip  # The order of the statement.


async def proposal_of(
    connection: Connection, number: str, item: int, *, lock: bool = False
) -> Any | None:
    """The open proposal about an item, or None."""
    statement = ("select * from pharmacy_proposal"
                 " where number = $1 and item = $2 and state = 'requested'")
    return await connection.fetchrow(statement + (" for update" if lock else ""), number, item)


async def proposals(
    connection: Connection, organisation: str, prescriber: str, limit: int
) -> list[Any]:
    """Open proposals to a doctor, oldest first."""
    return await connection.fetch(
        "select * from pharmacy_proposal where organisation = $1 and prescriber = $2"
        " and state = 'requested' order by at limit $3",
        organisation, prescriber, limit,
    )  # fmt: skip  # Same.


async def proposals_about(connection: Connection, number: str, pharmacy: str) -> list[Any]:
    """Every proposal of a pharmacy about a prescription, or that it came of, newest first."""
    return await connection.fetch(
        "select * from pharmacy_proposal where (number = $1 or made = $1) and pharmacy = $2"
        " order by at desc",
        number, pharmacy,
    )  # fmt: skip  # Same.


async def end_proposal(
    connection: Connection, task: str, state: str, answer: str = "", made: str = ""
) -> None:
    """The doctor's answer."""
    await connection.execute(
        "update pharmacy_proposal set state = $2, answer = $3, made = $4 where task = $1",
        task, state, answer, made,
    )  # fmt: skip  # Same.


# Finding by the person's number


async def keep_lookup(
    connection: Connection, id_: str, pharmacy: str, author: str, patient: str,
    code_digest: bytes, at: datetime, until: datetime,
) -> None:
    """A search at a counter; `patient` is "" where nobody has the number."""
    await connection.execute(
        "insert into pharmacy_lookup (id, pharmacy, author, patient, code_digest, at, until)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        id_, pharmacy, author, patient, code_digest, at, until,
    )  # fmt: skip  # Same.


async def lookups_since(connection: Connection, pharmacy: str, since: datetime) -> int:
    """How many searches a pharmacy began since a moment. Searches of one pharmacy wait for each
    other here, so that the count holds.
    """
    await connection.execute(
        "select pg_advisory_xact_lock(hashtextextended('pharmacy-lookup ' || $1, 0))", pharmacy
    )
    return int(await connection.fetchval(
        "select count(*) from pharmacy_lookup where pharmacy = $1 and at >= $2", pharmacy, since
    ))  # fmt: skip  # Same.


async def lookup(connection: Connection, id_: str, pharmacy: str) -> Any | None:
    """A pharmacy's own search, locked, or None."""
    return await connection.fetchrow(
        "select * from pharmacy_lookup where id = $1 and pharmacy = $2 for update", id_, pharmacy
    )


async def count_try(connection: Connection, id_: str) -> int:
    """One more wrong code of a search; how many there were."""
    return int(await connection.fetchval(
        "update pharmacy_lookup set tries = tries + 1 where id = $1 returning tries", id_
    ))  # fmt: skip  # Same.


async def open_lookup(connection: Connection, id_: str, how: str) -> None:
    """A search was opened by the code or by a reason."""
    await connection.execute("update pharmacy_lookup set opened = $2 where id = $1", id_, how)


async def keep_message(
    connection: Connection, patient: str, channel: str, address: str, text: str, at: datetime
) -> None:
    """What a courier was given."""
    await connection.execute(
        "insert into pharmacy_message (patient, channel, address, text, at)"
        " values ($1, $2, $3, $4, $5)",
        patient, channel, address, text, at,
    )  # fmt: skip  # Same.


async def messages(connection: Connection, patients: list[str], limit: int) -> list[Any]:
    """What was sent to persons, newest first."""
    return await connection.fetch(
        "select channel, address, text, at from pharmacy_message where patient = any($1)"
        " order by at desc, id desc limit $2",
        patients, limit,
    )  # fmt: skip  # Same.
