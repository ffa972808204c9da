"""For whom a person answers: the RelatedPersons that name him, and the cards of their persons.

The platform looks this up itself to know what a citizen may see; nobody is shown what is read
here, so it leaves no audit row. What he then sees leaves its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dmed.fhir.index import parameter_number
from dmed.kit.ids import bucket_in
from dmed.store.audit import storable
from dmed.store.keys import system_number, text_key, type_number
from dmed.store.model import Scope
from dmed.store.read import ONE_SQL

if TYPE_CHECKING:
    from dmed.store.pool import Database

_NAMED_MAX = 100
_NAMED = f"""
SELECT r.body FROM unnest($1::bigint[], $2::text[]) AS k(system, code)
JOIN token t ON t.param = {parameter_number("RelatedPerson", "identifier")}
    AND t.system = k.system AND t.code = k.code
JOIN resource r ON r.type = {type_number("RelatedPerson")} AND r.vid = t.vid
    AND r.bucket = t.bucket
ORDER BY r.vid LIMIT {_NAMED_MAX}
"""


async def card(db: Database, scope: Scope, id_: str) -> bytes | None:
    """A person's current card, or None; ValueError for a scope that does not reach cards."""
    _check(scope, "Patient")
    async with db.connection() as connection:
        row = await connection.fetchrow(
            ONE_SQL, bucket_in(id_), type_number("Patient"), storable(id_), None)
    return None if row is None or row["body"] is None else bytes(row["body"])


async def named(
    db: Database, scope: Scope, identifiers: Iterable[tuple[str, str]]
) -> list[bytes]:
    """The current RelatedPersons with one of these (system, value) identifiers, at most a hundred.

    ValueError for a scope that does not reach them.
    """
    _check(scope, "RelatedPerson")
    pairs = list(identifiers)
    async with db.connection() as connection:
        rows = await connection.fetch(
            _NAMED, [system_number(system) for system, _ in pairs],
            [text_key(value) for _, value in pairs])
    return [bytes(row["body"]) for row in rows if row["body"] is not None]


def _check(scope: Scope, type_: str) -> None:
    if scope.types is not None and type_ not in scope.types:
        raise ValueError(type_)
