"""Searches for a person's records that modules make again and again, read once for everybody."""

from __future__ import annotations

from dmed.fhir import params, query
from dmed.fhir.query_pattern import HOLE, Pattern, pattern_of
from dmed.kit.settings import Settings
from dmed.store.pool import Database

_Known = dict[tuple[str, int], Pattern | None]


def of_person(db: Database, type_: str, count: int, settings: Settings) -> Pattern | None:
    """The pattern of "patient=Patient/{id}&_count={count}"; None where it is not that plain.

    InvalidError where the type has no search parameter "patient".
    """
    generation, known = db.kept.get("person patterns", (-1, {}))
    if generation != params.generation():
        # Other search parameters are served now: what was read before may mean another thing.
        known = {}
        db.kept["person patterns"] = (params.generation(), known)
    patterns: _Known = known
    key = type_, count
    if key not in patterns:
        patterns[key] = pattern_of(query.parse(
            type_, [("patient", f"Patient/{HOLE}"), ("_count", str(count))], settings=settings,
            strict=True))
    return patterns[key]
