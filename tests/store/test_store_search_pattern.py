"""Searches of a person's records that share a statement get each what it would get alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from searching import SETTINGS, audit, put

from dmed.fhir.query import parse
from dmed.fhir.query_pattern import HOLE, Pattern, pattern_of
from dmed.kit.errors import ThrottledError, UnavailableError
from dmed.kit.settings import Settings
from dmed.store.model import Scope, SearchPage
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.store.search import search
from dmed.store.search_pattern import GROUP_MAX, search_pattern

CLINICS = ("Organization/c1", "Organization/c2", "Organization/c3")
PEOPLE = ("p000", "p001", "p002", "nobody")


class World:
    """Three persons, attached to a clinic each; the first two have records."""

    def __init__(self, url: str, db: Database) -> None:
        self.url, self.db = url, db

    async def count(self, condition: str) -> int:
        """Audit rows of a kind."""
        connection = await asyncpg.connect(self.url)
        number = await connection.fetchval(f"SELECT count(*) FROM audit_told WHERE {condition}")
        await connection.close()
        return int(number)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(module_database_url: str) -> AsyncIterator[World]:
    """The store with the persons."""
    await migrate(module_database_url)
    db = await Database.open(module_database_url, SETTINGS)
    connection = await asyncpg.connect(module_database_url)
    for number in range(3):
        await put(db, {"resourceType": "Patient", "id": f"p{number:03}"})
        await connection.execute(
            "INSERT INTO care (bucket, patient, principal, kind, until) "
            "VALUES (0, $1, $2, 'attached', '2999-12-31Z')", f"p{number:03}", CLINICS[number])
    await connection.close()
    for number in range(9):
        await put(db, {
            "resourceType": "Observation", "id": f"o{number}", "status": "final",
            "code": {"text": "weight"}, "subject": {"reference": f"Patient/p00{number % 2}"},
            "note": [{"text": "long " * 700}]})
    yield World(module_database_url, db)
    await db.close()


def asking(*clinics: str) -> Scope:
    """Somebody of these clinics, who sees Observations of people in their care alone."""
    return Scope("doctor", principals=clinics, guarded=frozenset({"Observation"}))


def pattern(count: int) -> Pattern:
    """Observations of a person."""
    made = pattern_of(parse("Observation", [("patient", HOLE), ("_count", str(count))],
                            settings=SETTINGS))
    assert made is not None
    return made


PATTERNS = {count: pattern(count) for count in (2, 4, 5)}


def told(page: SearchPage) -> Any:
    """What of a page does not differ between two moments."""
    hits = [(hit.record.id, hit.record.vid, hit.record.bucket, hit.record.body)
            for hit in page.hits]
    return hits, page.total, page.next_cursor is None


@given(asked=st.lists(st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(sorted(PATTERNS)),
    st.sets(st.sampled_from(CLINICS)).map(sorted)), min_size=1, max_size=3 * GROUP_MAX))
async def test_everybody_gets_his_own(
    world: World, asked: list[tuple[str, int, list[str]]]
) -> None:
    """Whoever asks in the same moment, for whom and with whatever rights: each is answered as by a
    search of his own.
    """
    together = await asyncio.gather(*(
        search_pattern(world.db, asking(*clinics), audit(), PATTERNS[count], person)
        for person, count, clinics in asked))
    alone = {}
    for person, count, clinics in asked:
        key = person, count, *clinics
        if key not in alone:
            page = await search(world.db, asking(*clinics), audit(),
                                PATTERNS[count].filled(person))
            alone[key] = told(page)

    assert [told(page) for page in together] == [
        alone[person, count, *clinics] for person, count, clinics in asked]


async def test_rights_decide_in_a_group_too(world: World) -> None:
    """Of those who ask at once for one person only they who treat her find her records."""
    ways = [asking(*some) for size in range(3) for some in itertools.combinations(CLINICS, size)]
    pages = await asyncio.gather(*(
        search_pattern(world.db, scope, audit(), PATTERNS[5], "p000") for scope in ways))

    assert [len(page.hits) for page in pages] == [
        5 if CLINICS[0] in scope.principals else 0 for scope in ways]
    assert sum(bool(page.hits) for page in pages) == 3


async def test_every_search_of_a_group_is_audited(world: World) -> None:
    """As many rows as searches, each with its request, its person and its words, found or not."""
    await asyncio.gather(*(
        search_pattern(world.db, asking(CLINICS[0]), audit(f"group-{number}"), PATTERNS[5], person)
        for number, person in enumerate(PEOPLE)))

    for number, person in enumerate(PEOPLE):
        assert await world.count(
            f"request = 'group-{number}' AND patient = '{person}' AND action = 'E' "
            "AND outcome = 200") == 1
    assert await world.count("request LIKE 'group-%'") == len(PEOPLE)


async def test_without_its_audit_row_nothing_is_answered(world: World) -> None:
    """Where the rows cannot be written the searches fail, and serve again once they can."""
    await search_pattern(world.db, asking(), audit(), PATTERNS[2], "p000")
    connection = await asyncpg.connect(world.url)
    await connection.execute("SET lock_timeout = '2s'; BEGIN; LOCK TABLE audit IN SHARE MODE")
    locked = await asyncio.gather(*(
        search_pattern(world.db, asking(CLINICS[0]), audit("locked"), PATTERNS[2], "p000")
        for _ in range(3)), return_exceptions=True)
    await connection.close()

    assert all(isinstance(one, Exception) for one in locked), locked
    assert await world.count("request = 'locked'") == 0
    page = await search_pattern(world.db, asking(CLINICS[0]), audit(), PATTERNS[2], "p000")
    assert len(page.hits) == 2


async def test_who_was_given_enough_is_refused_alone(world: World) -> None:
    """The hour's budget ends the searches of one; the others of the moment are answered."""
    db = await Database.open(world.url, Settings(pool_size=4, rows_per_hour=2))
    rows = [audit(), audit(), audit(), msgspec.structs.replace(audit(), subject="nurse")]
    answers = await asyncio.gather(*(
        search_pattern(db, asking(CLINICS[0]), row, PATTERNS[2], "p000") for row in rows),
        return_exceptions=True)
    await db.close()

    assert [type(one) for one in answers] == [SearchPage, SearchPage, ThrottledError, SearchPage]


async def test_a_connection_cut_in_a_group_is_no_answer_less(world: World) -> None:
    """PostgreSQL ends the connections under the group: it asks once more, or says 503."""
    await search_pattern(world.db, asking(CLINICS[0]), audit(), PATTERNS[2], "p000")
    connection = await asyncpg.connect(world.url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'dmed' AND datname = current_database()")
    await connection.close()
    answers = await asyncio.gather(*(
        search_pattern(world.db, asking(CLINICS[0]), audit(), PATTERNS[2], "p000")
        for _ in range(8)), return_exceptions=True)

    assert {one.__class__ for one in answers} <= {SearchPage, UnavailableError}
    assert all(len(one.hits) == 2 for one in answers if isinstance(one, SearchPage))
    again = await search_pattern(world.db, asking(CLINICS[0]), audit(), PATTERNS[2], "p000")
    assert len(again.hits) == 2
