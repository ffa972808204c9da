"""The store under row-level security: its own tests again as the application behind the wall, and
the wall held to the same answers as the Scope of a statement.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest_asyncio
import test_store_read
import test_store_unit
import test_store_write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import ask, ids, person, put

from dmed.apps.postgres import Cluster
from dmed.kit.settings import Settings
from dmed.store import care, reports
from dmed.store.model import Relation, Scope
from dmed.store.pool import Database
from dmed.store.reports import REPORT_ROLE, admit, open_reports
from dmed.store.schema import migrate

TYPES = ("Patient", "Observation", "Flag")
PEOPLE = [f"p{number:03}" for number in range(4)]
PRINCIPALS = ("Organization/a", "Organization/b")
LATER = datetime(2999, 1, 1, tzinfo=UTC)
OWNERS = {"test_nothing_is_answered_when_audit_fails"}
"""Tests that change tables, which the application cannot."""


async def _walled(cluster: Cluster, url: str) -> str:
    """Raise the wall over a fresh database; the application's address of it."""
    cluster.sql(f"DO $$ BEGIN CREATE ROLE {REPORT_ROLE} NOLOGIN; "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    await migrate(url)
    await open_reports(url)
    return cluster.url("dmed_app", url.partition("@/")[2].partition("?")[0])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(cluster: Cluster, module_database_url: str) -> AsyncIterator[Database]:
    """What the repeated tests are given: the application's own role, the wall up."""
    address = await _walled(cluster, module_database_url)
    opened = await Database.open(address, Settings(pool_size=8))
    under = await opened.hot.fetchrow(
        "SELECT current_user::text AS who, bool_and(relrowsecurity) AS walled FROM pg_class "
        "WHERE relname IN ('resource', 'resource_version')")
    assert (under["who"], under["walled"]) == ("dmed_app", True)
    yield opened
    await opened.close()


# The functions are collected here once more, with the fixture `db` of this file.
for _module in (test_store_read, test_store_unit, test_store_write):
    globals().update({f"{name}_under_rls": test for name, test in vars(_module).items()
                      if name.startswith("test_") and name not in OWNERS})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(cluster: Cluster) -> AsyncIterator[tuple[Database, Any, Any, str]]:
    """The application, the owner, a login that reports, and its name; records of four people."""
    name = f"t_{secrets.token_hex(6)}"
    cluster.make_database(name)
    url, word = cluster.url("dmed_owner", name), secrets.token_hex(8)
    login = f"reporter_{secrets.token_hex(4)}"
    app = await Database.open(await _walled(cluster, url), Settings(pool_size=4))
    cluster.sql(f"CREATE ROLE {login} LOGIN PASSWORD '{word}' IN ROLE {REPORT_ROLE}")
    for number, patient in enumerate(PEOPLE):
        await put(app, person(number))
        subject = {"reference": f"Patient/{patient}"}
        await put(app, {"resourceType": "Observation", "id": f"o{number}", "status": "final",
                        "code": {"text": "x"}, "subject": subject})
        await put(app, {"resourceType": "Flag", "id": f"f{number}", "status": "active",
                        "code": {"text": "x"}, "subject": subject})
    await put(app, {"resourceType": "Observation", "id": "nobodys", "status": "final",
                    "code": {"text": "x"}})
    owner = await asyncpg.connect(url)
    reporter = await asyncpg.connect(
        f"postgresql://{login}:{word}@/" + url.partition("@/")[2])
    yield app, owner, reporter, login
    for each in (reporter, owner, app):
        await each.close()
    cluster.sql(f"DROP DATABASE {name} WITH (FORCE)")
    cluster.sql(f"DROP ROLE {login}")


_some = st.frozensets
_relations = st.lists(st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(PRINCIPALS), st.integers(0, 3),
    st.sampled_from(["attached", care.GLASS])), max_size=5)
_refusals = st.lists(st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(("", *PRINCIPALS)), st.integers(0, 3)), max_size=3)
_scopes = st.builds(
    Scope, st.just("reporter"),
    patients=st.none() | st.lists(st.sampled_from(PEOPLE), max_size=3).map(tuple),
    types=st.none() | _some(st.sampled_from(TYPES)),
    principals=_some(st.sampled_from(PRINCIPALS)).map(lambda some: tuple(sorted(some))),
    guarded=_some(st.sampled_from(("Observation", "Flag"))))


@given(_scopes, _relations, _refusals, st.lists(st.integers(0, 3), min_size=9, max_size=9))
@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_the_wall_and_the_scope_give_the_same_rows(
    both: tuple[Database, Any, Any, str], scope: Scope, relations: list[Any],
    refusals: list[Any], labels: list[int],
) -> None:
    """Any scope, care, refusals and labels: SQL under the wall shows what a search would find."""
    app, owner, reporter, login = both
    await owner.execute("TRUNCATE care, care_refusal")
    for id_, bits in zip(sorted(["nobodys", *(f"{k}{n}" for k in "of" for n in range(4))]), labels,
                         strict=True):
        await owner.execute("UPDATE resource SET labels = $2 WHERE id = $1", id_, bits)
    rows = [Relation(patient, who, kind, LATER, bits) for patient, who, bits, kind in relations]
    rows += [Relation(patient, who, care.REFUSAL, LATER, bits) for patient, who, bits in refusals]
    for row in rows:
        await owner.execute(
            care.LOAD.format(again=care.KEEP), [0], [row.labels], [row.until.isoformat()],
            [row.patient], [row.principal], [row.kind], ["t"])
    await admit(owner, scope, login)

    seen = {row["id"] for row in await reporter.fetch("SELECT id FROM resource")}
    found: set[str] = set()
    for type_ in TYPES:
        if scope.types is None or type_ in scope.types:
            found |= set(ids(await ask(app, f"{type_}?_count=100", scope)))

    assert seen == found


def test_the_reports_wall_is_the_one_of_searches() -> None:
    """Both are made of the one condition: the text of `care.seen` stands in the policy."""
    assert care.seen("r", "q.principals") in reports._OPEN
