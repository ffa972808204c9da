"""The staff register as the platform itself looks it up to know whether somebody may still work.

Practitioner and PractitionerRole tell of no patient, so this leaves no audit row; nobody is shown
what is read here.
"""

from __future__ import annotations

from typing import Any

from dmed.kit.ids import bucket_in
from dmed.store.keys import type_number
from dmed.store.model import Scope
from dmed.store.pool import told
from dmed.store.read import ONE_SQL

TYPES = frozenset({"Practitioner", "PractitionerRole"})


async def staff_record(connection: Any, scope: Scope, type_: str, id_: str) -> bytes | None:
    """The current version of a member of staff or a post, or None where there is none.

    `scope` is that of the person whom it concerns; ValueError for any other type.
    """
    if type_ not in TYPES or (scope.types is not None and type_ not in scope.types):
        raise ValueError(type_)
    with told():
        row = await connection.fetchrow(
            ONE_SQL, bucket_in(id_), type_number(type_), id_, None)
    return None if row is None or row["body"] is None else bytes(row["body"])
