"""Search as it is typed, on a fresh installation: any part, script and order, with errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from persons_door import Door, opened, person

from dmed.modules.medid.service import finding
from dmed.store import reindex

KARAKALPAK = person("Ótegenova", "Gúlayım", "Ájiniyaz qızı", "1994-07-21", "female",
                    phone="+998975001122", district="1735401")
PEOPLE = {
    "alisher": person("Karimov", "Alisher", "Valiyevich", "1975-04-09", "male",
                      phone="+998901112233", district="1726266"),
    "alisher2": person("Karimov", "Alisher", "Sobirovich", "1983-01-19", "male",
                       phone="+998907778899", district="1718401"),
    "nigora": person("Xo‘jayeva", "Nigora", "Sobir qizi", "1988-11-30", "female"),
    "shirin": person("Ғуломова", "Ширин", "Чориевна", "2001-02-28", "female"),
    "kamol": person("Abdurahmonov", "Muhammad Ali", "Kamolovich", "1969-12-31", "male"),
    "gulayim": KARAKALPAK,
    "yulduz": person("Yo‘ldosheva", "O‘g‘iloy", "G‘ofur qizi", "1950-10-01", "female"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Door, dict[str, str]]]:
    """The door and the ids of PEOPLE by their name here."""
    async for door in opened(module_database_url, tmp_path_factory.mktemp("finding")):
        ids = {}
        for name, one in PEOPLE.items():
            ids[name] = (await door.gateway.create(door.registrar, "Patient", one)).id
        yield door, ids


Town = tuple[Door, dict[str, str]]


async def found(town: Town, text: str, **narrowed: str) -> list[str]:
    """Names here of those found, best first."""
    door, ids = town
    hits = await finding.find(door.gateway, door.registrar, text, 10, **narrowed)
    names = {id_: name for name, id_ in ids.items()}
    return [names[hit.id] for hit in hits]


@pytest.mark.parametrize(("typed", "name"), [
    ("Karimov Alisher Vali", "alisher"), ("alisher valiyevich", "alisher"),
    ("Valiyevich Alisher", "alisher"), ("Каримов А. В.", "alisher"), ("A. Karimov 1975", "alisher"),
    ("Karimov 09.04.1975", "alisher"), ("1975-04-09", "alisher"), ("901112233", "alisher"),
    ("Karmov Alisher Valiyevich", "alisher"), ("Karimov Alihser 1975", "alisher"),
    ("kari alish 1975", "alisher"), ("Karmov 1975", "alisher"),
    ("Ходжаева", "nigora"), ("Khodjaeva Nigora", "nigora"), ("Hojayeva", "nigora"),
    ("Xoʻjayev Nig", "nigora"), ("Xöjayeva", "nigora"), ("nigora sobirovna", "nigora"),
    ("Gulomova Shirin", "shirin"), ("Ğulomova Şirin", "shirin"), ("Гулямова Ширин", "shirin"),
    ("Shirin Chori qizi", "shirin"), ("Şirin Çoriyevna", "shirin"), ("Shrin Gulomova", "shirin"),
    ("Muhammad", "kamol"), ("Ali Abdurahmonov", "kamol"), ("Muhammadali", "kamol"),
    ("Абдурахманов Мухаммад", "kamol"), ("Abdurahmanov M A", "kamol"),
    ("Ótegenova Gúlayım", "gulayim"), ("Өтегенова Гүлайым", "gulayim"), ("Otegenova", "gulayim"),
    ("Утегенова Гулайым", "gulayim"), ("Gulayim Ajiniyaz", "gulayim"), ("Ötegenova", "gulayim"),
    ("Юлдашева Угилой", "yulduz"), ("Yuldasheva", "yulduz"), ("Йўлдошева Ўғилой", "yulduz"),
    ("Yöldoşeva Öğiloy", "yulduz"), ("ugiloy", "yulduz"),
])  # fmt: skip  # What is typed, and who comes first.
async def test_whoever_is_meant_comes_first(town: Town, typed: str, name: str) -> None:
    """Any part, script, order, initials, half words and one slip: the person is the first."""
    assert (await found(town, typed))[:1] == [name]


@pytest.mark.parametrize(("narrowed", "name"), [
    ({"year": "1983"}, "alisher2"), ({"year": "1970-1979"}, "alisher"),
    ({"district": "1726266"}, "alisher"), ({"district": "1718"}, "alisher2"),
    ({"phone": "8899"}, "alisher2"), ({"phone": "+998 90 111-22-33"}, "alisher"),
])  # fmt: skip  # What narrows, and who is left.
@pytest.mark.parametrize("typed", ["Karimov", "alisher karimov", "Алишер"])
async def test_year_district_and_phone_narrow(
    town: Town, typed: str, narrowed: dict[str, str], name: str
) -> None:
    """Of two with one name the narrowing leaves one; what cannot be read narrows nothing."""
    assert await found(town, typed, **narrowed) == [name]
    assert len(await found(town, typed, year="x", district="y")) == 2


@pytest.mark.parametrize(
    "typed", ["", " ", "Qzxwvut", "%", "a,b|c\\", "Karimov 1801", "31.02.1975"])
async def test_nonsense_finds_nobody(town: Town, typed: str) -> None:
    """What means nobody gives an empty list, never an error."""
    assert await found(town, typed) == []


async def test_a_new_name_is_found_and_the_old_one_forgotten_at_once(town: Town) -> None:
    """An update takes its rows along: by the former name nobody is found unless it is kept."""
    door, ids = town
    made = person("Vaqtinchayev", "Sinovjon", "", "1991-01-02", "male")
    id_ = (await door.gateway.create(door.registrar, "Patient", made)).id
    ids["temporary"] = id_
    before = await found(town, "Vaqtinchayev Sinovjon")
    await door.gateway.update(door.registrar, "Patient", id_, made | {
        "id": id_, "name": [{"family": "Boshqayev", "given": ["Sinovjon"]}]})

    assert before == ["temporary"]
    assert await found(town, "Boshqayev Sinovjon") == ["temporary"]
    assert await found(town, "Vaqtinchayev") == []


async def test_the_operation_answers_while_one_types(town: Town) -> None:
    """`$find-person` by GET: a searchset in order; faults are refused; roles as the decision."""
    door, ids = town
    answer = await door.registrar_client.get(
        "/Patient/$find-person", params={"q": "алишер карим", "year": "1975", "count": "5"})
    faulty = await door.service.get("/Patient/$find-person", params={"q": "a", "count": "1000"})
    refused = await door.pharmacist.get("/Patient/$find-person", params={"q": "Karimov"})

    assert [one["resource"]["id"] for one in answer.json()["entry"]] == [ids["alisher"]]
    assert (faulty.status_code, refused.status_code) == (400, 403)


async def test_whom_a_search_shows_is_audited(town: Town) -> None:
    """A row for each person shown, with what was typed; those weighed and left out have none."""
    door, ids = town
    await found(town, "Karimov Alisher Sobir")
    rows = await door.database.hot.fetch(
        "SELECT patient FROM audit_told WHERE query = 'Karimov Alisher Sobir'")

    assert [row["patient"] for row in rows] == [ids["alisher2"]]


async def test_older_records_are_found_while_their_rows_are_made(town: Town) -> None:
    """An installation of before has no rows: FHIR's search helps until the work is done, and then
    the index has everybody.
    """
    door, _ = town
    await door.database.hot.execute("DELETE FROM person")
    await reindex.request(door.database, ["Patient"])
    door.database.kept.pop("persons whole", None)
    early = await found(town, "Xo‘jayeva Nigora")
    assert await reindex.work(door.database, grace_seconds=0)
    whole = await door.database.hot.fetchval("SELECT count(DISTINCT vid) FROM person")

    assert early == ["nigora"]
    assert whole == await door.database.hot.fetchval("SELECT count(*) FROM resource WHERE type = "
                                                     "(SELECT type FROM reindex LIMIT 1)")
    assert (await found(town, "Karmov Alisher Valiyevich"))[:1] == ["alisher"]
