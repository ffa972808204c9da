"""Cards of one person: which Patients were found to be the same human being.

A merge moves nothing: records stay with the card they were written to, and `person_link` holds
every ordered pair of cards of one person, so that who follows links needs one probe and walks no
chain. Care with one of the cards opens the records of all (store.care). The rows are written in
the transaction of a merge or its undoing, by the module that keeps these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DDL = """
CREATE TABLE IF NOT EXISTS person_link (
    patient text COLLATE "C" NOT NULL,
    other   text COLLATE "C" NOT NULL,
    PRIMARY KEY (patient, other)
);
"""
_OTHERS = "SELECT other FROM person_link WHERE patient = ANY($1::text[]) ORDER BY other"
_FORGET = "DELETE FROM person_link WHERE patient = ANY($1::text[]) OR other = ANY($1::text[])"
_KEEP = """
INSERT INTO person_link (patient, other)
SELECT a, b FROM unnest($1::text[]) AS a, unnest($1::text[]) AS b WHERE a <> b
"""


def with_others(sql: str, most: str) -> str:
    """A SELECT of ids of Patients, with the further cards of these persons; `most` rows at most."""
    return (f"WITH f AS MATERIALIZED ({sql}) SELECT id FROM f UNION "
            f"SELECT p.other FROM f JOIN person_link p ON p.patient = f.id LIMIT {most}")


async def others(connection: Any, patients: Sequence[str]) -> list[str]:
    """The further cards of the persons to whom these cards belong."""
    rows = await connection.fetch(_OTHERS, list(patients))
    return [row["other"] for row in rows if row["other"] not in patients]


async def are_there(connection: Any) -> bool:
    """Whether any cards were merged here."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM person_link)"))


async def regroup(connection: Any, groups: Sequence[Sequence[str]]) -> None:
    """From now on each group is one person's cards; what was known of these cards is forgotten."""
    await connection.execute(_FORGET, [one for group in groups for one in group])
    for group in groups:
        if len(group) > 1:
            await connection.execute(_KEEP, list(group))
