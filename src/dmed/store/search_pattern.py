"""A search of one person's records by a statement that is kept: only the id is put in.

Planning a search takes as long as sending it. A pattern is planned twice, for two ids that nobody
has; what differs between the two statements is where the id stands, and everything else holds for
all. Whatever is not so plain takes the general way of `search`, which answers the same.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, NamedTuple

import msgspec

from dmed.fhir.query_model import Match
from dmed.fhir.query_pattern import HOLE, OTHER, Pattern
from dmed.store import audit as audits
from dmed.store.audit import Group
from dmed.store.keys import type_number
from dmed.store.model import AuditRow, Hit, Scope, SearchPage
from dmed.store.plan import flat, is_local
from dmed.store.plan_where import Arguments
from dmed.store.pool import Database, told
from dmed.store.read import check_type, people, stored
from dmed.store.search import search, start_of, token_of
from dmed.store.search_pages import first_page, order_of
from dmed.store.search_stage import TOTAL_MAX, chosen

_KEPT_MAX = 4_000
"""Most statements that a worker keeps."""
GROUP_MAX = 16
"""Most searches of one statement: whoever shares it waits for all of them."""
_SOME, _OTHERS = ("User/anybody",), ("User/another",)
"""Principals to plan with."""
_ARGUMENT = re.compile(r"\$(\d+)", re.ASCII)
_Asked = tuple[str, int, int, str, str, str]
_Search = Group[_Asked, list[Any]]


class Statement(NamedTuple):
    """The first page of a pattern within a scope for many who ask at once, with their audit rows.

    Its first arguments are the arrays of _ASKED, of which each search gives one element.
    """

    sql: str
    arguments: tuple[Any, ...]
    """What follows the arrays: the same for whoever asks."""


# LATERAL gives each search the plan that it would have alone; the rows of the audit are those of
# store.audit, of acts about a person by her id.
_ASKED = """
WITH asked_one AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::text[])
    WITH ORDINALITY AS t(id, actor, bucket, request, query, principals, n)
), noted AS ({noted})
SELECT asked_one.n, page.* FROM asked_one, LATERAL ({page}) AS page
ORDER BY asked_one.n, page.place DESC, page.bucket DESC
"""
_ARRAYS = 6


async def search_pattern(
    db: Database, scope: Scope, audit: AuditRow, pattern: Pattern, id_: str
) -> SearchPage:
    """As `search` of `pattern.filled(id_)`: the same page, audit and errors.

    Searches that arrive in the same moment share one statement, which finds the pages and writes
    the audit rows; each is answered when that statement has been committed.
    """
    asked = pattern.query
    check_type(scope, asked.type)
    group = await _group(db, scope, pattern)
    if group is None:
        return await search(db, scope, audit, pattern.filled(id_))
    assert (audit.action, audit.outcome, audit.id, audit.detail) == ("E", 200, "", "")
    db.hot.check_second()
    await audits.spend(db, audit, 1)
    actor = await audits.actor_number(db, audit)
    with told():
        rows = await group.submit((
            id_, actor, audits.person_bucket(id_), audits.storable(audit.request),
            audits.storable(audit.query[: audits.CHARACTERS_MAX]), " ".join(scope.principals)))
    others = {one for row in rows[: asked.count] if row["others"] or row["patient"] != id_
              for one in people(row)} - {id_}
    if others:
        await audits.disclose_more(db, audit, others)
    return _page(pattern, id_, rows)


async def _group(db: Database, scope: Scope, pattern: Pattern) -> _Search | None:
    """Those who ask this pattern within such a scope, or None where it is no plain one."""
    known: dict[tuple[Pattern, Scope], _Search | None] = db.kept.setdefault("patterns", {})
    key = pattern, msgspec.structs.replace(scope, subject="", principals=())
    if key not in known:
        statement = await statement_of(scope, pattern)
        if len(known) >= _KEPT_MAX:
            known.clear()
        known[key] = None if statement is None else Group(
            partial(_flush, db, statement), GROUP_MAX)
    return known[key]


async def _flush(db: Database, statement: Statement, items: list[_Asked]) -> list[list[Any]]:
    """The rows of each search, in their order."""
    columns = [*map(list, zip(*items, strict=True))]
    rows = await audits.again_if_lost(
        db, lambda connection: connection.fetch(statement.sql, *columns, *statement.arguments))
    pages: list[list[Any]] = [[] for _ in items]
    for row in rows:
        pages[row["n"] - 1].append(row)
    return pages


async def statement_of(scope: Scope, pattern: Pattern) -> Statement | None:
    """The statement that serves every id, or None where the plan is not that of one person."""
    if scope.patients is not None:
        return None
    made = await _planned(scope, _SOME, pattern, HOLE)
    again = await _planned(scope, _OTHERS, pattern, OTHER)
    if made is None or again is None or made[0] != again[0]:
        return None
    places: list[str] = []
    arguments: list[Any] = []
    for pair in zip(made[1], again[1], strict=True):
        if pair == (HOLE, OTHER):
            places.append("asked_one.id")
        elif pair == (list(_SOME), list(_OTHERS)):
            places.append("string_to_array(asked_one.principals, ' ')")
        elif pair[0] == pair[1]:
            arguments.append(pair[0])
            places.append(f"${_ARRAYS + len(arguments)}")
        else:
            return None
    if "asked_one.id" not in places:
        return None
    page = _ARGUMENT.sub(lambda found: places[int(found[1]) - 1], made[0])
    noted = audits.insert_about_sql("asked_one", type_number(pattern.query.type))
    return Statement(_ASKED.format(noted=noted, page=page), tuple(arguments))


async def _planned(
    scope: Scope, principals: tuple[str, ...], pattern: Pattern, id_: str
) -> tuple[str, list[Any]] | None:
    scope = msgspec.structs.replace(scope, principals=principals)
    query = pattern.filled(id_)
    person = query.criteria[pattern.place]
    criteria = flat(query.criteria)
    if not isinstance(person, Match) or not is_local(person):
        return None
    # One patient leads whatever the tables hold: the choice asks the database nothing.
    plan, _ = await chosen(None, scope, query.type, criteria)
    if plan.mode != "walk" or plan.driver != person:
        return None
    arguments = Arguments()
    sql = first_page(plan, order_of(query), query.count + 1, TOTAL_MAX + 1, arguments)
    return sql, arguments.values


def _page(pattern: Pattern, id_: str, rows: list[Any]) -> SearchPage:
    asked = pattern.query
    if not rows:
        return SearchPage([], 0, None)
    counted = rows[0]["total"]
    total = counted if counted <= TOTAL_MAX else None
    has_more = len(rows) > asked.count
    rows = rows[: asked.count]
    following = None
    if has_more:
        query = pattern.filled(id_)
        following = token_of(query, order_of(query), start_of(rows[0], total), rows[-1],
                             is_backward=False)
    return SearchPage([Hit(stored(asked.type, row["id"], row)) for row in rows], total, following)
