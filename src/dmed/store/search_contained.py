"""`_contained=true` and `both`: pages of contained resources, or of the records around them.

Newest record first; of one record the parts from the last to the first. With `both` the records
that match by themselves stand among them in the same order.
https://hl7.org/fhir/R5/search.html#contained
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from dmed.fhir.params_contained import presence
from dmed.fhir.query_model import Query, Staged
from dmed.kit.errors import InvalidError, Issue
from dmed.store import search as plain
from dmed.store import search_cursor
from dmed.store.keys import system_number, type_name, type_names, type_number
from dmed.store.model import Hit, Scope, SearchPage
from dmed.store.plan import holds
from dmed.store.plan_contained import parts
from dmed.store.plan_where import Arguments
from dmed.store.read import people, stored
from dmed.store.search_cursor import Cursor
from dmed.store.search_include import limits
from dmed.store.search_pages import Order
from dmed.store.search_stage import TOTAL_MAX, chosen, staged

LEAD_MAX = 20_000
"""Most rows of the criterion that leads; beyond that the search is refused as too costly."""
_WHOLE = -1
"""Stands for the part where a record itself is the answer."""
_KEPT = Order((), is_oldest=False)


class _Row(NamedTuple):
    """A row of the answer at its place of the order, and its type."""

    at: tuple[int, int, int]
    type: str
    row: Any


async def find(connection: Any, scope: Scope, query: Query) -> plain.Found:
    """The page of a search with `_contained`; errors as `search`."""
    place = search_cursor.read(query, ("bigint",)) if query.cursor else None
    criteria = await staged(connection, scope, query.criteria)
    if criteria is None:
        return plain.Found(SearchPage([], 0, None), ())
    asked = _Asked(connection, scope, query, criteria)
    if query.summary == "count" or query.count == 0:
        return plain.Found(SearchPage([], await asked.total(None), None), ())
    rows = await asked.rows(place, query.count + 1)
    total: int | None = place.total if place is not None and place.total >= 0 else None
    if place is None and query.total != "none":
        exact = query.total == "accurate"
        total = await asked.total(None if exact else TOTAL_MAX + 1)
        total = total if exact or total <= TOTAL_MAX else None
    is_backward = place is not None and place.is_backward
    has_more = len(rows) > query.count
    rows = rows[: query.count]
    if not rows:
        return plain.Found(SearchPage([], total, None), ())
    start = place or plain.start_of(rows[0].row, total)
    rows = rows[::-1] if is_backward else rows

    def token(row: _Row, *, backward: bool) -> str:
        return search_cursor.written(msgspec.structs.replace(
            start, search=search_cursor.fingerprint(query), is_backward=backward,
            keys=(row.at[2],), vid=row.at[0], bucket=row.at[1]))

    has_previous = has_more if is_backward else place is not None
    page = SearchPage(
        plain.subsetted([_hit(query, row) for row in rows], query), total,
        token(rows[-1], backward=False) if has_more or is_backward else None,
        token(rows[0], backward=True) if has_previous else None)
    return plain.Found(page, tuple(dict.fromkeys(
        each for row in rows for each in people(row.row))))


class _Asked:
    """One search of contained resources: its rows and its total."""

    def __init__(
        self, connection: Any, scope: Scope, query: Query, criteria: list[Staged]
    ) -> None:
        self.connection, self.scope = connection, scope
        self.query, self.criteria = query, criteria

    async def rows(self, place: Cursor | None, size: int) -> list[_Row]:
        """So many rows from a place on, in the direction of reading."""
        args = Arguments()
        found = await self.connection.fetch(self._page(place, size, args), *args.values)
        if any(row["led"] > LEAD_MAX for row in found[:1]):
            raise _too_many()
        rows = [_Row((row["vid"], row["bucket"], row["part"]), type_name(row["type"]), row)
                for row in found]
        if self.query.contained == "both":
            alone = None if place is None else _alone(place)
            plan, _ = await chosen(
                self.connection, self.scope, self.query.type, self.criteria)
            more, _ = await plain.rows_of(self.connection, plan, _KEPT, size, alone, 0)
            rows += [_Row((row["place"], row["bucket"], _WHOLE), self.query.type, row)
                     for row in more]
        rows = [row for row in rows if place is None or _is_beyond(row.at, place)]
        is_forward = place is None or not place.is_backward
        return sorted(rows, key=lambda row: row.at, reverse=is_forward)[:size]

    async def total(self, most: int | None) -> int:
        """How many match, counted up to a limit."""
        args = Arguments()
        found = self._found(args)
        limit = "" if most is None else f" LIMIT {args.bind(most, 'int')}"
        row = await self.connection.fetchrow(
            f"{found} SELECT (SELECT count(*) FROM l) AS led, "
            f"(SELECT count(*) FROM (SELECT FROM f{limit}) AS n) AS found", *args.values)
        if row["led"] > LEAD_MAX:
            raise _too_many()
        count = int(row["found"])
        if self.query.contained == "both":
            plan, _ = await chosen(
                self.connection, self.scope, self.query.type, self.criteria)
            count += await plain.exact_total(self.connection, plan)
        return count

    def _found(self, args: Arguments) -> str:
        """The parts that match (l leads, f is found), or one row a record around them."""
        lead, rest = parts(self.query.type, self.criteria, LEAD_MAX + 1, args)
        numbers = args.bind(presence(self.query.type), "int[]")
        systems = args.bind([system_number(name) for name in type_names()], "bigint[]")
        types = args.bind([type_number(name) for name in type_names()], "smallint[]")
        part = "p.part" if self._shows_parts else str(_WHOLE)
        return (
            f"WITH l AS MATERIALIZED ({lead}), f AS (SELECT DISTINCT r.type, r.id, r.vid, "
            f"r.bucket, r.patient, r.others, {part} AS part FROM l AS p "
            f"JOIN token e ON e.vid = p.vid AND e.bucket = p.bucket "
            f"AND e.param = ({numbers})[p.part + 1] "
            f"JOIN unnest({systems}, {types}) AS c(system, type) ON c.system = e.system "
            f"JOIN resource r ON r.type = c.type AND r.vid = p.vid AND r.bucket = p.bucket"
            f"{limits(self.scope, args)} WHERE {rest}{self._not_whole(args)})"
        )

    @property
    def _shows_parts(self) -> bool:
        return self.query.contained_type == "contained"

    def _not_whole(self, args: Arguments) -> str:
        """With `both`, a record that matches by itself is not named again for what is in it."""
        if self.query.contained != "both" or self._shows_parts:
            return ""
        number = args.bind(type_number(self.query.type), "smallint")
        tests = [holds(each, "r", self.query.type, args) for each in self.criteria]
        return f" AND NOT ({' AND '.join([f'r.type = {number}', *tests])})"

    def _page(self, place: Cursor | None, size: int, args: Arguments) -> str:
        way, beyond = "DESC", "true"
        if place is not None:
            way, sign = ("ASC", ">") if place.is_backward else ("DESC", "<")
            spot = (args.bind(place.vid, "bigint"), args.bind(place.bucket, "smallint"),
                    args.bind(place.keys[0], "bigint"))
            beyond = f"(f.vid, f.bucket, f.part) {sign} ({', '.join(spot)})"
        return (
            f"{self._found(args)}, g AS (SELECT * FROM f WHERE {beyond} ORDER BY f.vid {way}, "
            f"f.bucket {way}, f.part {way} LIMIT {args.bind(size, 'int')}) "
            f"SELECT g.*, r.body, (SELECT count(*) FROM l) AS led, "
            f"pg_current_snapshot()::text AS snapshot FROM g JOIN resource r ON r.type = g.type "
            f"AND r.vid = g.vid AND r.bucket = g.bucket"
        )


def _alone(place: Cursor) -> Cursor:
    """The place among the records themselves, one before or after which that record may stand."""
    # A part of a record comes before the record: going on from it, the record is still to come.
    onto = 0 if place.keys[0] == _WHOLE or place.is_backward else 1
    return msgspec.structs.replace(place, keys=(), bucket=place.bucket + onto)


def _is_beyond(at: tuple[int, int, int], place: Cursor) -> bool:
    part = place.keys[0]
    assert isinstance(part, int), place
    spot = (place.vid, place.bucket, part)
    return at > spot if place.is_backward else at < spot


def _too_many() -> InvalidError:
    why = f"Search parameter _contained: over {LEAD_MAX} contained resources to look at; narrow it"
    return InvalidError(issues=(Issue("too-costly", why, "_contained"),))


def _hit(query: Query, row: _Row) -> Hit:
    """The answer: the record, or the part of it under the record's address and its own id."""
    part, body = row.at[2], row.row["body"]
    whole = stored(row.type, row.row["id"], row.row)
    if part == _WHOLE:
        return Hit(whole)
    own = _nth(body, query.type, part)
    id_ = msgspec.json.decode(own, type=_Named).id
    return Hit(msgspec.structs.replace(whole, id=f"{whole.id}#{id_}", body=bytes(own)))


class _Named(msgspec.Struct):
    resourceType: str  # noqa: N815  # FHIR's name.
    id: str = ""


class _Holder(msgspec.Struct):
    contained: list[msgspec.Raw]


def _nth(body: bytes, type_: str, number: int) -> msgspec.Raw:
    """The bytes of the so-manieth contained resource of a type, as they lie in the record."""
    found: Iterable[msgspec.Raw] = msgspec.json.decode(body, type=_Holder).contained
    own = [raw for raw in found if msgspec.json.decode(raw, type=_Named).resourceType == type_]
    return own[number]
