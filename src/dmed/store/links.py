"""Cards of one person: which Patients were found to be the same human being.

A merge moves nothing: records stay with the card they were written to, and `person_link` holds
every ordered pair of cards of one person, so that who follows links needs one probe and walks no
chain. Care with one of the cards opens the records of all (store.care). The rows are written in
the transaction of a merge or its undoing, by the module that keeps these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""`fetch` of a connection or of an open unit."""

DDL = """
CREATE TABLE IF NOT EXISTS person_link (
    patient text COLLATE "C" NOT NULL,
    other   text COLLATE "C" NOT NULL,
    PRIMARY KEY (patient, other)
);
"""
_OTHERS = ("SELECT patient, other FROM person_link WHERE patient = ANY($1::text[]) "
           "ORDER BY patient, other")
_FORGET = "DELETE FROM person_link WHERE patient = ANY($1::text[]) OR other = ANY($1::text[])"
_KEEP = """
INSERT INTO person_link (patient, other)
SELECT a, b FROM unnest($1::text[]) AS a, unnest($1::text[]) AS b WHERE a <> b
"""


def with_others(sql: str, most: str) -> str:
    """A SELECT of ids of Patients, with the further cards of these persons; `most` rows at most."""
    return (f"WITH f AS MATERIALIZED ({sql}) SELECT id FROM f UNION "
            f"SELECT p.other FROM f JOIN person_link p ON p.patient = f.id LIMIT {most}")


def with_other_cards(sql: str, patient: str) -> str:
    """A SELECT of (type, id) of records, with the further cards of the Patients among them;
    `patient` is the number of their type.
    """
    return (f"WITH c AS MATERIALIZED ({sql}) SELECT c.type, c.id FROM c UNION "
            f"SELECT c.type, p.other FROM c JOIN person_link p ON p.patient = c.id "
            f"WHERE c.type = {patient}")


async def others_of(fetch: Fetch, patients: Sequence[str]) -> dict[str, list[str]]:
    """The further cards of the persons to whom these cards belong, by card; nothing for those of
    whom there is one alone.
    """
    found: dict[str, list[str]] = {}
    for row in await fetch(_OTHERS, list(patients)):
        found.setdefault(row["patient"], []).append(row["other"])
    return found


async def are_there(fetch: Fetch) -> bool:
    """Whether any cards were merged here."""
    return bool(await fetch("SELECT FROM person_link LIMIT 1"))


async def regroup(connection: Any, groups: Sequence[Sequence[str]]) -> None:
    """From now on each group is one person's cards; what was known of these cards is forgotten."""
    await connection.execute(_FORGET, [one for group in groups for one in group])
    for group in groups:
        if len(group) > 1:
            await connection.execute(_KEEP, list(group))
