"""A person with several cards: what asks for one of them asks for all (after a merge).

Records stay with the card they were written to, so a search for a person's records names all of
his cards. The question which these are is asked of the database only once cards were merged in
this installation; that is known to each worker for a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import msgspec

from dmed.fhir.query_model import Match, Query
from dmed.fhir.query_pattern import Pattern
from dmed.store import links
from dmed.store.model import Scope
from dmed.store.pool import Database

_NAMES = frozenset({"patient", "subject", "patient:Patient", "subject:Patient"})
_CARD = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
_KNOWN_SECONDS = 1.0


async def others(db: Database, patient: str) -> list[str]:
    """The further cards of the person to whom this card belongs; mostly none."""
    known, until = db.kept.get("merges", (False, 0.0))
    if not known:
        if time.monotonic() < until:
            return []
        async with db.connection() as connection:
            known = await links.are_there(connection)
        db.kept["merges"] = (known, time.monotonic() + _KNOWN_SECONDS)
        if not known:
            return []
    async with db.connection() as connection:
        return await links.others(connection, [patient])


async def across(
    db: Database, type_: str, pairs: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Search pairs in which a person's one card stands for all of them."""
    made = []
    for name, value in pairs:
        card = _CARD.fullmatch(value) if name in _NAMES and type_ != "Patient" else None
        further = await others(db, card[1]) if card else []
        text = ",".join(f"Patient/{one}" for one in (card[1], *further)) if card and further else (
            value)
        made.append((name, text))
    return made


async def widened(db: Database, scope: Scope, patient: str) -> Scope:
    """The Scope of one person's compartment with his other cards in it; nothing more for an app
    that was let to this one card.
    """
    if not patient or scope.patients != (patient,):
        return scope
    return msgspec.structs.replace(scope, patients=(patient, *await others(db, patient)))


def filled(pattern: Pattern, id_: str, further: Sequence[str]) -> Query:
    """A pattern's search for several cards."""
    asked = pattern.filled(id_)
    criterion = asked.criteria[pattern.place]
    assert isinstance(criterion, Match), criterion
    first = criterion.values[0]
    values = (first, *(msgspec.structs.replace(first, id=one) for one in further))
    criteria = list(asked.criteria)
    criteria[pattern.place] = msgspec.structs.replace(criterion, values=values)
    return msgspec.structs.replace(asked, criteria=tuple(criteria))
