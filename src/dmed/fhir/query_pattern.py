"""Searches that differ from one another in one id alone: `Observation?patient={id}&_count=20`.

Nearly every search of a person's records is such a one. What was read and planned for one person
serves all others, so the parts that hold for all are kept here with a hole for the id.
"""

from __future__ import annotations

import msgspec

from dmed.fhir.query import self_link
from dmed.fhir.query_model import Link, Match, Missing, Query

_KINDS = frozenset({"date", "number", "quantity", "string", "token"})
HOLE = "id-of-anybody.0"
"""Stands for the id in the search of which a pattern is made; it is an id like another."""
OTHER = "id-of-another.1"
"""A second such id: what changes between the two is the id's place."""


class Pattern(msgspec.Struct, frozen=True, eq=False):
    """A search with HOLE for the id of one reference, and the text of its self link around it."""

    query: Query
    place: int
    """Index of the criterion with the hole."""
    before: str
    after: str

    def filled(self, id_: str) -> Query:
        """The search for one id (`[A-Za-z0-9.-]{1,64}`)."""
        criterion = self.query.criteria[self.place]
        assert isinstance(criterion, Match), criterion
        link = msgspec.structs.replace(criterion.values[0], id=id_)
        criteria = list(self.query.criteria)
        criteria[self.place] = msgspec.structs.replace(criterion, values=(link,))
        return msgspec.structs.replace(self.query, criteria=tuple(criteria))

    def link(self, id_: str) -> str:
        """What `self_link(filled(id_))` gives."""
        return f"{self.before}{id_}{self.after}"


def pattern_of(query: Query) -> Pattern | None:
    """The pattern of a search for HOLE, or None where the id does not stand in one reference alone.

    Only plain first pages: no modifiers, chains, includes, order, parts of records, exact totals.
    """
    odd = (query.ignored, query.includes, query.revincludes, query.sort, query.elements,
           query.cursor, query.summary, query.total, query.contained)
    if any(odd) or query.count == 0:
        return None
    places = [number for number, each in enumerate(query.criteria) if _is_open(each)]
    if not all(number in places or _is_plain(each) for number, each in enumerate(query.criteria)):
        return None
    before, _, after = self_link(query).partition(HOLE)
    if len(places) != 1 or HOLE in after:
        return None
    return Pattern(query, places[0], before, after)


def _is_open(criterion: object) -> bool:
    if not isinstance(criterion, Match) or criterion.kind != "reference":
        return False
    link = criterion.values[0]
    return (len(criterion.values) == 1 and isinstance(link, Link) and link.id == HOLE
            and link.type != "" and not link.version)


def _is_plain(criterion: object) -> bool:
    """Whether a criterion is a condition on index rows and no more, whoever the person is."""
    if isinstance(criterion, Missing):
        return True
    return (isinstance(criterion, Match) and not criterion.modifier and criterion.kind in _KINDS
            and not criterion.code.startswith("_"))
