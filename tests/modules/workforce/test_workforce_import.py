"""Files of staff: every fault in a sentence with its line, once and again, killed and going on."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.apps.database import Addresses
from dmed.apps.rooms import MODULES
from dmed.apps.staff_import import Outcome, import_staff
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.medid.api import compose_pinfl
from dmed.modules.workforce.rules import importing, rows
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject
from dmed.trust.tables import DDL

TODAY = date(2026, 11, 20)
HEAD = ("argos,pinfl,family,given,patronymic,sex,birth_date,institution,post,title,rate,kind,since,"
        "certificate,certificate_from,certificate_until,category,category_until")
SERVICE = Subject(user="service", role=Role.SERVICE)
TAX = "https://dhp.uz/fhir/core/sid/org/uz/soliq"
BORN = date(1980, 5, 17)


def row(number: int, **changes: str) -> str:
    """A sound line of the file with changes."""
    values = {
        "argos": f"{number:010d}", "pinfl": compose_pinfl(BORN, "female", 100, number % 1000),
        "family": "Karimova", "given": "Nilufar", "patronymic": "Anvarovna", "sex": "female",
        "birth_date": "1980-05-17", "institution": "200000001", "post": "2212.113",
        "title": "terapevt", "rate": "1", "kind": "main", "since": "2020-02-01",
        "certificate": f"S-{number}", "certificate_from": "2023-01-01",
        "certificate_until": "2028-01-01", "category": "oliy toifa",
        "category_until": "31.12.2027", **changes}
    return ",".join(values[name] for name in HEAD.split(","))


def faults(line: str) -> list[tuple[str, str]]:
    """(column, sentence) of what is wrong with a line."""
    values = importing.csv_values(line.encode(), HEAD.split(","), ",")
    planner = importing.Planner("x", {}, {"200000001": importing.House("o", "Klinika")}, TODAY)
    return [(one.column, one.said) for one in planner.item(2, values).faults]


@pytest.mark.parametrize(("changes", "column", "said"), [
    ({}, "", ""),
    ({"family": "K"}, "family", "fewer than two letters"),
    ({"family": "Kar😀mova"}, "family", "stands in no name"),
    ({"family": "Кarimova"}, "family", "mixes Latin and Cyrillic"),
    ({"given": ""}, "given", "is empty"),
    ({"sex": "x"}, "sex", "male or female"),
    ({"sex": "male"}, "pinfl", "The PINFL says female"),
    ({"birth_date": "2030-01-01"}, "birth_date", "in the future"),
    ({"birth_date": "2015-01-01"}, "birth_date", "Staff of 11 years"),
    ({"birth_date": "1980-13-17"}, "birth_date", "is no day"),
    ({"birth_date": "18.05.1980"}, "pinfl", "The PINFL says born on 1980-05-17"),
    ({"pinfl": "12345678901234"}, "pinfl", "not 14 digits"),
    ({"pinfl": "", "argos": ""}, "pinfl", "is needed"),
    ({"argos": "12"}, "argos", "no Argos number"),
    ({"institution": "999"}, "institution", "no institution with the number '999'"),
    ({"post": "doctor"}, "post", "no code of the list"),
    ({"rate": "0.3"}, "rate", "quarters from 0.25"),
    ({"rate": "NaN"}, "rate", "quarters from 0.25"),
    ({"rate": "2"}, "rate", "quarters from 0.25"),
    ({"kind": "third"}, "kind", "main or second"),
    ({"certificate_until": "2022-01-01"}, "certificate_until", "ends before it begins"),
])  # fmt: skip  # A case a line.
def test_what_is_wrong_with_a_row(changes: dict[str, str], column: str, said: str) -> None:
    """Each fault stands under its column in a sentence; a sound row has none."""
    found = faults(row(1, **changes))

    assert (found == []) is (column == "")
    if column:
        assert any(one == column and said in sentence for one, sentence in found), found


def test_all_faults_of_a_row_are_said_at_once() -> None:
    """Whoever mends the file mends a row once."""
    found = {column for column, _ in faults(row(1, family="K", rate="9", post="x", sex="?"))}

    assert {"rate", "post", "sex"} <= found


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Whatever bytes a line has, it is read or refused with a sentence."""
    planner = importing.Planner("x", {}, {}, TODAY)
    for read in (lambda: importing.csv_values(raw, HEAD.split(","), ","),
                 lambda: importing.json_values(raw)):
        try:
            item = planner.item(2, read())
        except InvalidError:
            continue
        assert item.faults


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(rows.COLUMNS), st.text(max_size=30), max_size=12))
def test_no_values_break_the_rules(values: dict[str, str]) -> None:
    """Any text in any column gives a row or faults."""
    found, wrong = rows.read(values, TODAY)

    assert (found is None) is bool(wrong)


@pytest.mark.parametrize(("head", "said"), [
    (b"\xff\xfea\x00", "UTF-16"), ("фамилия,имя".encode("cp1251"), "Windows-1251"),
    (b"family,given", "lacks the columns"), (f"{HEAD},colour".encode(), "unknown columns: colour"),
    (f"{HEAD},rate".encode(), "twice"),
])
def test_a_head_that_is_none_is_refused(head: bytes, said: str) -> None:
    """The whole file is refused before anything is stored, with what to do."""
    with pytest.raises(InvalidError, match=said):
        importing.columns_of(head)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_are_parted_by_any_of_three_marks(mark: str) -> None:
    """Comma, semicolon and tabulator, with or without a byte order mark."""
    columns, found = importing.columns_of(b"\xef\xbb\xbf" + HEAD.replace(",", mark).encode())

    assert (columns, found) == (HEAD.split(","), mark)


# Whole files on a real database -----------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def base(module_database_url: str) -> Addresses:
    """A database with two institutions."""
    await migrate(module_database_url, [*DDL, *(one for m in MODULES for one in m.ddl)])
    database = await Database.open(module_database_url, Settings())
    gateway = Gateway(database, Settings())
    for number in ("200000001", "200000002"):
        await gateway.create(SERVICE, "Organization", {
            "resourceType": "Organization", "active": True, "name": f"Klinika {number}",
            "identifier": [{"use": "official", "system": TAX, "value": number}]})
    await database.close()
    return Addresses(module_database_url, module_database_url)


async def load(base: Addresses, path: Path, chunk_items: int = 400) -> Outcome:
    return await import_staff(base, Settings(database_url=base.owner), path, processes=0,
                              chunk_items=chunk_items)


async def counts(base: Addresses) -> tuple[int, int]:
    """(people, posts) of the lists."""
    connection = await asyncpg.connect(base.owner)
    try:
        row = await connection.fetchrow(
            "select (select count(*) from staff_person), (select count(*) from staff_post)")
        return int(row[0]), int(row[1])
    finally:
        await connection.close()


async def test_a_file_with_everything_wrong_loses_nothing(base: Addresses, tmp_path: Path) -> None:
    """Sound rows are stored, each other stands in the ledger with line, column, reason and row."""
    before = await counts(base)
    lines = [
        row(1), row(1, institution="200000002", kind="second", rate="0.5"),
        row(1), row(2, pinfl=""), row(2, pinfl="", birth_date="1981-05-17", title="pediatr"),
        row(3, pinfl="", institution="299999999"), row(4, pinfl="", rate="1.3")]
    raw = b"\n".join([HEAD.encode(), *(line.encode() for line in lines),
                      row(5, pinfl="").replace("Karimova", "Каримова").encode("cp1251"),
                      row(6, pinfl="").encode() + b",more", b'"unclosed',
                      row(7, pinfl="").encode()])
    path = tmp_path / "staff.csv"
    path.write_bytes(raw)
    done = await load(base, path)
    with (tmp_path / "staff.csv.refused.csv").open(encoding="utf-8") as file:
        ledger = {int(one["line"]): one for one in csv.DictReader(file)}
    after = await counts(base)

    assert (done.rows, done.refused) == (11, 7)
    assert (after[0] - before[0], after[1] - before[1]) == (3, 4)
    assert sorted(ledger) == [4, 6, 7, 8, 9, 10, 11]
    assert "stands in line 2" in ledger[4]["reason"]
    assert "somebody born on 1980-05-17" in ledger[6]["reason"]
    assert ledger[7]["column"] == "institution"
    assert "Windows-1251" in ledger[9]["reason"]
    assert "19 columns" in ledger[10]["reason"]
    assert ledger[8]["row"] == lines[6]


async def test_the_same_file_again_and_a_second_file(base: Addresses, tmp_path: Path) -> None:
    """Nothing is stored twice; somebody of the register gets a further post, not a second card."""
    path = tmp_path / "first.csv"
    path.write_text("\n".join([HEAD, *(row(100 + n, pinfl="") for n in range(30))]))
    await load(base, path)
    before = await counts(base)
    again = await load(base, path)
    other = tmp_path / "second.csv"
    other.write_text("\n".join([
        HEAD, row(100, pinfl=""), row(101, pinfl="", institution="200000002", kind="second"),
        row(102, pinfl="", birth_date="1990-05-17")]))
    done = await load(base, other)
    after = await counts(base)

    assert (again.skipped, again.records) == (30, 0)
    assert done.already == 1
    assert done.refused == 1
    assert after == (before[0], before[1] + 1)


async def test_ndjson_is_read_too(base: Addresses, tmp_path: Path) -> None:
    """A line an object with the same names; what is none is refused."""
    path = tmp_path / "staff.ndjson"
    values = dict(zip(HEAD.split(","), row(300, pinfl="").split(","), strict=True))
    path.write_text("\n".join([json.dumps({**values, "rate": 0.75}), "[1]", '{"colour": "x"}']))
    done = await load(base, path)

    assert (done.rows, done.records, done.refused) == (3, 2, 2)


async def test_a_killed_import_goes_on_where_it_stopped(base: Addresses, tmp_path: Path) -> None:
    """Killed in the middle and called again: each person once, as in a run without interruption."""
    path = tmp_path / "killed.csv"
    path.write_text("\n".join([HEAD, *(row(1000 + n, pinfl="") for n in range(500))]))
    before = await counts(base)
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from dmed.apps.database import Addresses\n"
        "from dmed.apps.staff_import import import_staff\n"
        "from dmed.kit.settings import Settings\n"
        "url, path = sys.argv[1:]\n"
        "asyncio.run(import_staff(Addresses(url, url), Settings(database_url=url), Path(path),"
        " processes=0, chunk_items=25))\n")
    child = subprocess.Popen([sys.executable, "-c", code, base.owner, str(path)])
    until = time.monotonic() + 60
    while await _chunks(base) < 3 and child.poll() is None and time.monotonic() < until:
        await asyncio.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(20)
    done = await load(base, path, 25)
    after = await counts(base)

    assert done.rows == 500
    assert done.refused == 0
    assert done.skipped >= 75
    assert (after[0] - before[0], after[1] - before[1]) == (500, 500)


async def _chunks(base: Addresses) -> int:
    """Chunks of 25 items that stand in the ledger of loads."""
    connection = await asyncpg.connect(base.owner)
    try:
        return int(await connection.fetchval(
            "select count(*) from load_ledger where items = 25"))
    finally:
        await connection.close()
