"""Pages stay true while records change; totals stop where it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from searching import SETTINGS, ask, ids, person, put, walk

from dmed.store import schema, search, search_stage
from dmed.store.pool import Database


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def db(kept: Database) -> Database:
    """The database without records."""
    await kept.hot.execute(
        "TRUNCATE resource, resource_version, id_claim, compartment, "
        + ", ".join(schema.INDEX_TABLES))
    kept.kept.clear()
    return kept


@pytest.mark.parametrize("order", ["", "_sort=_lastUpdated&", "_sort=family&", "_sort=-family&"])
@pytest.mark.parametrize("criteria", ["", "gender=female&", "birthdate=ge1900&",
                                      "gender=female,male&"])
@pytest.mark.parametrize("dense", [0, 20_000])
async def test_pages_lose_and_repeat_nothing_under_change(
    db: Database, order: str, criteria: str, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records written again, added or removed between pages: each that stays is shown once."""
    monkeypatch.setattr(search_stage, "DENSE_ROWS", dense)
    old = [person(number, f"F{number % 4}", birthDate="1980") for number in range(12)]
    for content in old:
        await put(db, content)
    await put(db, old[7] | {"birthDate": "1981"})

    async def change() -> None:
        for number in (0, 3, 6, 9, 11):  # Some were shown already, some not yet.
            await put(db, old[number] | {"active": True})
        await put(db, old[3] | {"active": False})
        await put(db, person(50, "F1", birthDate="1990"))
        await put(db, old[5], "delete")

    async def change_again() -> None:
        await put(db, old[9] | {"active": False})
        await put(db, old[1] | {"active": False})

    pages = await walk(db, f"Patient?{criteria}{order}_count=4", after1=change,
                       after2=change_again)
    shown = [one for page in pages for one in page]

    assert len(shown) == len(set(shown))
    assert set(shown) >= {content["id"] for content in old} - {"p005"}


async def test_a_record_that_no_longer_matches_is_not_shown(db: Database) -> None:
    """A record changed away from the search between pages is left out of the later page."""
    for number in range(6):
        await put(db, person(number))

    async def change() -> None:
        await put(db, person(0) | {"gender": "male"})

    pages = await walk(db, "Patient?gender=female&_count=3", after1=change)

    assert pages == [["p005", "p004", "p003"], ["p002", "p001"]]


async def test_totals_stop_at_a_thousand(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the limit a total is exact, above it absent; accurate is exact in any case."""
    monkeypatch.setattr(search, "TOTAL_MAX", 5)
    monkeypatch.setattr(search_stage, "TOTAL_MAX", 5)
    for number in range(5):
        await put(db, person(number, "A"))

    assert (await ask(db, "Patient?_count=2")).total == 5
    await put(db, person(6, "A"))
    for request in ("Patient?_count=2", "Patient?gender=female&_count=2", "Patient?_count=10",
                    "Patient?_sort=family&_count=2", "Patient?name=a&_count=2"):
        assert (await ask(db, request)).total is None
        assert (await ask(db, f"{request}&_total=accurate")).total == 6
        assert (await ask(db, f"{request}&_summary=count")).total == 6
    monkeypatch.setattr(search_stage, "DENSE_ROWS", 3)
    assert ids(await ask(db, "Patient?name=a&_count=9")) == ["p006", "p004", "p003", "p002",
                                                             "p001", "p000"]
    assert ids(await ask(db, "Patient?name=a&gender=female&_count=1")) == ["p006"]
    assert ids(await ask(db, "Patient?name=a&birthdate=1990&_count=1")) == []
