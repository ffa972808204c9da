"""Pages stay true while records change; totals stop where it is said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dmed.fhir import codec, params
from dmed.fhir.query import parse
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import schema, search, search_stage, write
from dmed.store.model import AuditRow, Scope, SearchPage, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4)


def audit(request: str = "r1") -> AuditRow:
    return AuditRow(request=request, action="E", subject="doctor", role="doctor")


async def put(db: Database, content: dict[str, Any], kind: str = "update") -> None:
    vid = new_vid()
    resource = codec.decode(json.dumps(content).encode())
    patients = params.patients(resource)
    await write.write(db, SCOPE, audit(), Write(
        kind=kind, type=content["resourceType"], id=content["id"], vid=vid,
        bucket=bucket_of(patients[0] if patients else content["id"]),
        updated=updated_of(vid), body=codec.encode(resource), index=params.extract(resource),
        patients=patients, client_id=True))


def person(number: int, family: str = "", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": f"p{number:03}", "gender": "female",
            **({"name": [{"family": family}]} if family else {}), **more}


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


async def ask(
    db: Database, request: str, scope: Scope = SCOPE, cursor: str | None = None,
    settings: Settings = SETTINGS,
) -> SearchPage:
    type_name, _, rest = request.partition("?")
    pairs = [(name, value) for name, _, value in
             (pair.partition("=") for pair in rest.split("&") if pair)]
    if cursor:
        pairs.append(("_cursor", cursor))
    query = parse(type_name, pairs, settings=settings, strict=True)
    return await search.search(db, scope, audit(), query)


def ids(page: SearchPage, mode: str = "match") -> list[str]:
    return [hit.record.id for hit in page.hits if hit.mode == mode]


async def walk(db: Database, request: str, **between: Any) -> list[list[str]]:
    """The ids of all pages; `between` are coroutine functions called after page n (`after1=`)."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await ask(db, request, cursor=cursor)
        pages.append(ids(page))
        assert len(pages) < 50
        if f"after{len(pages)}" in between:
            await between[f"after{len(pages)}"]()
        if page.next_cursor is None:
            return pages
        cursor = page.next_cursor


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
