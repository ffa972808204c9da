"""The index of persons is kept by every way of writing, and by an upgrade; each key is a probe."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from dmed.fhir import codec, persons
from dmed.fhir.persons import Pair, Probes, Range, dated
from dmed.kit.ids import bucket_in, new_id, new_vid
from dmed.kit.settings import Settings
from dmed.store import load, reindex, schema, unit, write
from dmed.store import persons as index
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.pool import Database
from dmed.trust.gateway import prepare

SCOPE = Scope("test")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(any_database_url: str) -> AsyncIterator[Database]:
    """A migrated store on PostgreSQL 18, then on 16."""
    await schema.migrate(any_database_url)
    database = await Database.open(any_database_url, Settings(pool_size=4))
    database.kept["test url"] = any_database_url
    yield database
    await database.close()


def audit(action: str = "C") -> AuditRow:
    return AuditRow(request=secrets.token_hex(8), action=action, subject="test", role="service")


def patient(family: str, given: str, born: str = "1980-05-06", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family, "given": [given]}],
            "birthDate": born, **more}


def written(record: dict[str, Any], id_: str = "", *, is_new: bool = True) -> Write:
    resource = codec.decode(json.dumps(record).encode(), "Patient")
    return prepare.write_of(resource, id_ or new_id(7), is_new=is_new)


def name(text: str) -> int:
    return persons.first_code(text)


async def found(db: Database, probes: Probes) -> list[tuple[str, str]]:
    async with db.connection() as connection:
        rows = await index.candidates(connection.fetch, probes)
    return sorted((persons.text_of(one.family), persons.text_of(one.given)) for one in rows)


def born(family: str, day: str = "1980-05-06") -> Probes:
    number = dated(persons.birth_of(day)[0], name(family))
    return Probes(dated_family=((number, number),))


async def test_rows_come_change_and_go_with_the_record(db: Database) -> None:
    """Create, update, delete by single writes: the index says at each moment what the record
    does.
    """
    one = written(patient("Birinchi", "Ali"))
    await write.write(db, SCOPE, audit(), one)
    created = await found(db, born("Birinchi"))
    await write.write(db, SCOPE, audit("U"), written(
        patient("Ikkinchi", "Ali"), one.id, is_new=False))
    moved = (await found(db, born("Birinchi")), await found(db, born("Ikkinchi")))
    await write.write(db, SCOPE, audit("D"), prepare.deletion_of(
        "Patient", one.id, bucket=7, patients=(one.id,), vid_now=None))

    assert created == [("birinchi", "ali")]
    assert moved == ([], [("ikinchi", "ali")])
    assert await found(db, born("Ikkinchi")) == []


async def test_a_unit_that_fails_leaves_no_row(db: Database) -> None:
    """The rows are in the record's transaction: undone with it."""
    async def fail() -> None:
        async with unit.unit(db, SCOPE) as one:
            await one.write_many(audit(), [written(patient("Bekor", "Vali")) for _ in range(3)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with unit.unit(db, SCOPE) as one:
        await one.write_many(audit(), [written(patient("Rost", "Vali")) for _ in range(3)])

    assert await found(db, born("Bekor")) == []
    assert await found(db, born("Rost")) == [("rast", "vali")] * 3


class _Produce:
    def __call__(self, item: tuple[str, str, str]) -> Write:
        return written(patient(*item))


async def test_a_load_keeps_the_index(db: Database) -> None:
    """COPY writes the same rows, and overwriting replaces them."""
    url = db.kept["test url"]
    items = [("Yuklangan", each, "1999-01-02") for each in ("Anvar", "Botir", "Sobir")]
    await load.load(url, SCOPE, audit(), items, _Produce(), processes=0)

    rows = await found(db, born("Yuklangan", "1999-01-02"))
    assert [one[1] for one in rows] == ["anvar", "batir", "sabir"]


async def test_an_installation_of_before_is_filled(any_database_url: str, db: Database) -> None:
    """Rows that are missing are made in the background from where it stopped; then it is whole."""
    await write.write(db, SCOPE, audit(), written(patient("Eskidan", "Qolgan")))
    await db.hot.execute("DELETE FROM person")
    await reindex.request(db, ["Patient"])
    db.kept.pop("persons whole", None)
    before = await index.is_whole(db)
    assert await reindex.work(db, grace_seconds=0)
    db.kept.pop("persons whole", None)

    assert not before
    assert await index.is_whole(db)
    assert await found(db, born("Eskidan")) == [("iskidan", "kalgan")]


async def test_the_migration_asks_for_the_rows(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of the version before gets the table, and the order to fill it."""
    server = request.getfixturevalue("cluster")
    database = f"t_{secrets.token_hex(6)}"
    server.make_database(database)
    url = server.url("dmed_owner", database)
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:7])
        before.setattr(schema, "SEARCH_INDEXES", {
            key: ddl for key, ddl in schema.SEARCH_INDEXES.items() if "person" not in key})
        await schema.migrate(url)
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO resource (bucket, type, vid, id, body) VALUES (1, $1, $2, 'old', $3)",
        index.type_number("Patient"), new_vid(),
        b'{"resourceType":"Patient","id":"old","name":[{"family":"Karimov","given":["Alisher"]}]}')
    applied = await schema.migrate(url)
    waiting = await connection.fetchval(
        "SELECT count(*) FROM reindex WHERE type = $1 AND code = '*' AND state <> 'ready'",
        index.type_number("Patient"))
    await connection.close()
    old = await Database.open(url, Settings(pool_size=2))
    assert await reindex.work(old, grace_seconds=0)
    rows = await found(old, Probes(pairs=(Pair(name("Karimov"), name("Alisher"),
                                                name("Alisher")),)))
    await old.close()
    server.sql(f"DROP DATABASE {database} WITH (FORCE)")

    assert 8 in applied
    assert waiting == 1
    assert rows == [("karim", "alishir")]


async def test_each_key_finds_its_person(db: Database) -> None:
    """PINFL, phone, number, birth date with either name, both names, a word alone."""
    one = written(patient(
        "Kalitov", "Yagona", "1966-06-06", identifier=[
            {"system": persons.PINFL_SYSTEM, "value": "30606662040015"},
            {"system": "https://mis.example.uz", "value": "AA 77"}],
        telecom=[{"system": "phone", "value": "901234567"}],
        address=[{"state": "1726", "district": "1726266"}]))
    await write.write(db, SCOPE, audit(), one)
    day = persons.birth_of("1966-06-06")[0]
    family, given = name("Kalitov"), name("Yagona")
    all_days = (0, 2**31 - 1)
    for probes in (
        Probes(pinfls=(30606662040015,)), Probes(phones=(998901234567,)),
        Probes(numbers=("AA 77",)),
        Probes(dated_given=((dated(day, given), dated(day, given)),)),
        Probes(dated_family=((dated(day, family), dated(day, family)),)),
        Probes(pairs=(Pair(family, given, given, day - 400, day + 400),)),
        Probes(pairs=(Pair(family, given, given, *all_days, 1726000, 1726999),)),
        Probes(families=(Range(family, persons.last_with(family)),)),
        Probes(givens=(Range(given, given),)),
    ):  # fmt: skip  # One key a line.
        assert await found(db, probes) == [("kalit", "agana")], probes
    assert await found(db, Probes(pairs=(Pair(family, given, given, *all_days, 1, 2),))) == []
    assert await found(db, Probes()) == []


async def test_every_probe_walks_an_index(db: Database) -> None:
    """No key makes the database read the table: the plan of each kind is an index scan, whatever
    the statistics say of a table that nobody has analysed.
    """
    rows = [(new_vid(), 1, persons.PERSON, number * 7 % 1000 << 40, number % 97 << 40, 0, number,
             998_900_000_000 + number, number % 40_000, 0, 1) for number in range(3_000)]
    async with db.connection() as connection:
        await connection.copy_records_to_table("person", records=rows, columns=index.COLUMNS)
        for kind, width in index._WIDTHS.items():
            sql = index._statement((kind,), 50, 400)
            types = await connection.prepare(sql)
            arrays = [["x"] if one.kind == "array" else "{1}" for one in types.get_parameters()]
            plan = "\n".join(row[0] for row in await connection.fetch(
                f"EXPLAIN {sql}", *arrays))
            assert len(arrays) == width
            assert "Seq Scan on person" not in plan, plan
            assert "Sort" not in plan or kind == "numbers", plan


async def test_who_is_outside_of_the_scope_is_not_read(db: Database) -> None:
    """A scope of certain patients reaches these alone, whatever the keys find."""
    own = written(patient("Chegara", "Ichida", "1971-01-01"))
    other = written(patient("Chegara", "Tashqarida", "1971-01-01"))
    for one in (own, other):
        await write.write(db, SCOPE, audit(), one)
    async with db.connection() as connection:
        rows = await index.candidates(connection.fetch, born("Chegara", "1971-01-01"))
        read = await index.records(
            connection.fetch, Scope("x", patients=(own.id,)), rows)

    assert len(rows) == 2
    assert [one.id for one in read] == [own.id]
    assert bucket_in(own.id) == read[0].bucket
