"""The national feed: first load, changes, conflicts, bad lines, wrong encodings, a killed run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.apps import persons_feed
from dmed.apps.persons_feed import Making, Shape, import_persons, read_line, shape_of
from dmed.apps.sources import Item
from dmed.fhir import codec, params
from dmed.fhir.facts import SearchFacts
from dmed.kit import clock
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.medid.rules import compose_pinfl, feeding
from dmed.trust.gateway import prepare

HEAD = "pinfl,family,given,patronymic,birth_date,sex,phone,region,district,address,passport,died"
TODAY = date(2026, 11, 23)


def row(number: int, **changes: str) -> str:
    """A line of the file; each number is another person."""
    born = date(1960 + number % 40, 1 + number % 12, 1 + number % 28)
    fields = {
        "pinfl": compose_pinfl(born, "male", number // 1000, number % 1000),
        "family": "Oqimov", "given": f"Sinov{'abdeghilmn'[number % 10]}", "patronymic": "",
        "birth_date": born.isoformat(), "sex": "erkak", "phone": f"+99890{number:07d}",
        "region": "1726", "district": "1726266", "address": f"{number}-uy", "passport": "",
        "died": ""} | changes
    return ",".join(fields[name] for name in HEAD.split(","))


def file_of(folder: Path, *lines: str, name: str = "feed.csv", encoding: str = "utf-8") -> Path:
    """A file of the feed with its heading."""
    path = folder / name
    path.write_bytes("\n".join([HEAD, *lines, ""]).encode(encoding))
    return path


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Settings:
    """An empty installation."""
    return Settings(data=tmp_path / "data", database_url=database_url, pool_size=2)


def asked(url: str, sql: str, *arguments: Any) -> list[Any]:
    """Rows of a statement."""
    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    return asyncio.run(run())


def cards(url: str) -> list[dict[str, Any]]:
    """All Patients."""
    rows = asked(url, "SELECT body FROM resource")
    found = [json.loads(row["body"]) for row in rows]
    return [one for one in found if one["resourceType"] == "Patient"]


def report(installation: Settings) -> dict[int, dict[str, Any]]:
    """What was said of lines in the last report, by line."""
    newest = max((installation.data / "feeds").iterdir(), key=lambda one: one.stat().st_mtime)
    told = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]
    return {one["line"]: one for one in told}


BAD = {
    "sex": ({"sex": "ayol"}, "another sex"),
    "born": ({"birth_date": "1961-12-31"}, "another date"),
    "future": ({"pinfl": compose_pinfl(date(2031, 1, 1), "male", 1, 1),
                "birth_date": "2031-01-01"}, "lies ahead"),
    "pinfl": ({"pinfl": "12345"}, "14 digits"),
    "none": ({"pinfl": ""}, "without a PINFL"),
    "letter": ({"given": "K"}, "One letter is no name"),
    "emoji": ({"given": "Anvar😀"}, "no such signs: 😀"),
    "script": ({"family": "山田"}, "Latin or Cyrillic"),
}


def test_a_file_is_taken_over_and_nothing_is_lost(
    tmp_path: Path, installation: Settings
) -> None:
    """Sound lines become cards; each bad line is kept with its sentence; look-alike letters are
    put right and told; the same file again changes nothing; a double PINFL is compared, not lost.
    """
    bad = [row(500 + number, **changes) for number, (changes, _) in enumerate(BAD.values())]
    lines = [*(row(number) for number in range(20)), *bad, row(40, family="Oqимов"), row(3),
             row(50)[:30], '"' + row(51)]
    path = file_of(tmp_path, *lines)
    first = import_persons(installation, path, changes=False)
    told = report(installation)

    assert (first.new, first.same, first.refused) == (21, 2, len(bad) + 2)
    for number, (_, words) in enumerate(BAD.values()):
        entry = told[22 + number]
        assert entry["kind"] == "refused"
        assert words in "; ".join(entry["reasons"])
        assert entry["raw"] == bad[number]
    mixed = told[22 + len(bad)]
    assert mixed["kind"] == "note"
    assert "put right" in mixed["reasons"][0]
    found = cards(installation.database_url)
    assert len(found) == 21
    assert not any(feeding.spelling.is_mixed(one["name"][0]["text"]) for one in found)
    again = import_persons(installation, path, changes=False)
    assert (again.new, again.changed, again.refused) == (0, 0, 0)
    assert len(cards(installation.database_url)) == 21


def test_changes_are_taken_over_and_conflicts_wait(
    tmp_path: Path, installation: Settings
) -> None:
    """A new address, a death, a married name change the card; another birth date or given name
    waits for a person and changes nothing; the same name in another script is no change.
    """
    import_persons(installation, file_of(tmp_path, *(row(number) for number in range(6))),
                   changes=True)
    before = {one["telecom"][0]["value"]: one for one in cards(installation.database_url)}
    nightly = file_of(
        tmp_path, row(0, address="Yangi 1-uy"), row(1, died="2026-01-05"),
        row(2, family="Оқимов", given="Синoвд"), row(3), row(4, given="Boshqacha"),
        row(5, family="Tamomboshqa"), row(9), name="night.csv")
    done = import_persons(installation, nightly, changes=True, language="ru")
    after = {one["telecom"][0]["value"]: one for one in cards(installation.database_url)}
    told = report(installation)

    assert (done.new, done.changed, done.same, done.conflict) == (1, 2, 2, 2)
    moved = after["+998900000000"]["address"]
    assert [(one["use"], one["line"][0]) for one in moved] == [
        ("home", "Yangi 1-uy"), ("old", "0-uy")]
    assert after["+998900000001"]["deceasedDateTime"] == "2026-01-05"
    assert after["+998900000004"] == before["+998900000004"]
    assert told[6]["reasons"] == ["Имя не то, что на карте"]
    assert told[7]["reasons"] == ["Фамилия не та, что на карте"]
    assert told[6]["patient"] == before["+998900000004"]["id"]


def test_a_killed_import_goes_on_where_it_stopped(
    tmp_path: Path, installation: Settings
) -> None:
    """Killed in the middle, called again: every person is there once."""
    count = 200
    path = file_of(tmp_path, *(row(number) for number in range(count)))
    variables = {**os.environ, "DMED_DATA": str(installation.data),
                 "DMED_DATABASE_URL": installation.database_url}
    program = [sys.executable, "-c", "from dmed.apps.cli import main; main()"]
    killed = subprocess.Popen([*program, "persons", "import", str(path), "--changes"],
                              env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and killed.poll() is None:
        try:
            parts = asked(installation.database_url, "SELECT line FROM person_feed_part")
        except asyncpg.UndefinedTableError:
            parts = []
        if parts:
            break
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    stood = len(cards(installation.database_url))
    done = import_persons(installation, path, changes=True)
    numbers = [item["value"] for one in cards(installation.database_url)
               for item in one["identifier"] if item["system"].endswith("/ni")]

    assert done.skipped == stood
    assert done.new + done.skipped == count
    assert len(numbers) == len(set(numbers)) == count


@pytest.mark.parametrize(("encoding", "said"), [
    ("windows-1251", "--encoding windows-1251"), ("utf-16", "--encoding utf-16")])
def test_a_file_in_another_encoding_is_refused_whole_with_advice(
    tmp_path: Path, encoding: str, said: str
) -> None:
    """Nothing is loaded as rubbish: the sentence says how the file can be read."""
    heading = HEAD.replace("family", "familiya")
    path = tmp_path / "old.csv"
    path.write_bytes("\n".join([heading, *(
        row(number, family="Каримов", given="Анвар") for number in range(5))]).encode(encoding))
    with pytest.raises(InvalidError) as refused:
        shape_of(path)

    assert said in refused.value.issues[0].diagnostics
    if encoding != "utf-16":
        assert shape_of(path, encoding).fields[:3] == ("pinfl", "family", "given")


@pytest.mark.parametrize("heading", ["", "a,b,c", "pinfl;family", "pinfl,family,given,given"])
def test_a_file_without_a_sound_heading_is_refused(tmp_path: Path, heading: str) -> None:
    """Empty, unknown, short and doubled headings are told in a sentence."""
    path = tmp_path / "odd.csv"
    path.write_text(heading + "\n" if heading else "")
    with pytest.raises(InvalidError):
        shape_of(path)


def test_one_line_of_another_encoding_is_told(tmp_path: Path) -> None:
    """The byte that cannot be read is named; the other lines are read."""
    shape = Shape("utf-8", ",", tuple(HEAD.split(",")))
    with pytest.raises(InvalidError, match=r"byte \d+ is 0x"):
        read_line(row(1, family="Каримов").encode("windows-1251"), shape)


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_line_breaks_the_reading(body: bytes, is_json: bool) -> None:
    """Whatever a line holds, it is a person or a sentence."""
    shape = Shape("utf-8", "" if is_json else ",", () if is_json else tuple(HEAD.split(",")))
    told, line = "", None
    try:
        line = read_line(body, shape)
    except InvalidError as fault:
        told = fault.issues[0].diagnostics

    assert told or (line is not None and line.draft.pinfl)


@given(st.integers(0, 900_000), st.sampled_from(["Karimov", "Каримов", "Yo‘ldoshev", "Ábdiev"]),
       st.sampled_from(["", "AA1234567"]), st.sampled_from(["", "2026-01-05"]))
@settings(max_examples=40, deadline=None)
def test_cards_of_the_feed_hold_to_r5(number: int, family: str, passport: str, died: str) -> None:
    """Cards are copied without validation of each: what is made passes it all the same."""
    making = Making(Shape("utf-8", ",", feeding.heading(HEAD)[1]))
    line = row(number, family=family, passport=passport, died=died)
    write = making(Item("x", line.encode()))

    prepare.check(codec.decode(write.body, "Patient"))
    assert {system.rsplit("/", 1)[1] for system, _ in write.identities} >= {"ni", "hc"}
    assert clock.today() >= TODAY or died == ""


NAMES = ("Karimov", "Каримов", "Ғуломова", "Yo‘ldoshev", "Ábdiev", "Abdu Karim", "Ali-Sher",
         "K", "Anvar😀", "山田", "Каримoв", " Umar  Ali ", "", "Oʻgʻli")


@given(
    number=st.integers(0, 900_000), family=st.sampled_from(NAMES),
    given_name=st.sampled_from(NAMES),
    patronymic=st.sampled_from(["", "Karimovich", "Anvar o‘g‘li", "Каримович", "X"]),
    changes=st.fixed_dictionaries({}, optional={
        "sex": st.sampled_from(["", "ayol", "m", "ж"]),
        "birth_date": st.sampled_from(["", "1961-12-31", "03.04.1963"]),
        "phone": st.sampled_from(["", "901232140", "+998 90 123 21 40", "12"]),
        "region": st.sampled_from(["", "1735", "99"]),
        "district": st.sampled_from(["", "1726266", "1735401", "1726999", "Chilonzor"]),
        "address": st.sampled_from(["", "5-uy", "1000-uy", "a  b", "x" * 70, '"5-uy"', "C:\\temp",
                                    "1985-yil"]),
        "passport": st.sampled_from(["AA1234567", "aa 1234567", "A1"]),
        "died": st.sampled_from(["2026-01-05", "x"]),
        "pinfl": st.sampled_from(["30101600010010", "", "3 0101600010019"])}))
@settings(max_examples=150, deadline=None)
def test_written_cards_are_those_of_the_general_way(
    number: int, family: str, given_name: str, patronymic: str, changes: dict[str, str]
) -> None:
    """Body, claims and every index row of a written card are those that reading, making, decoding
    and indexing give; what the general way refuses is never written.
    """
    shape = Shape("utf-8", ",", feeding.heading(HEAD)[1])
    body = row(number, family=family, given=given_name, patronymic=patronymic, **changes).encode()
    made = persons_feed.written(body, shape)
    if made is None:
        return

    assert persons_feed.agrees(made, body, shape)


def test_plain_lines_are_written_and_others_made() -> None:
    """A usual line takes the short way, one with a quotation the long one; where an installed
    parameter asks for rows of Patients that the pattern does not know, every line does.
    """
    making = Making(Shape("utf-8", ",", feeding.heading(HEAD)[1]))
    plain, quoted = Item("x", row(7).encode()), Item("x", row(8, address='"1, 2"').encode())
    own = SearchFacts("own", "https://example.org/own", "own", ("Patient",), "string",
                      "Patient.name.family")

    assert making(plain).lines is not None
    assert making(quoted).lines is None
    try:
        params.install({("Patient", "own"): own})
        assert making(plain).lines is None
    finally:
        params.install({})
    assert making(plain).lines is not None
