"""A file of staff, row by row: whose row it is, whether it was met before, which records it makes.

The same file gives the same ids each time, so that an import that was interrupted goes on.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from dmed.kit.errors import InvalidError
from dmed.kit.seed import fixed_id
from dmed.modules.workforce.rules import records, rows
from dmed.modules.workforce.rules.rows import Fault, Row

_LINE_CHARACTERS_MAX = 20_000


class Person(msgspec.Struct, frozen=True):
    """Somebody known by a number; `line` is 0 for who stands in the register already."""

    id: str
    born: date | None
    line: int


class House(msgspec.Struct, frozen=True):
    """An institution of the register."""

    id: str
    name: str


class Item(msgspec.Struct, frozen=True):
    """A row on its way to the records, or why it goes no further."""

    line: int
    faults: tuple[Fault, ...] = ()
    row: Row | None = None
    house: House | None = None
    person: str = ""
    is_new: bool = False
    """Whether this row is the one that makes the Practitioner."""


def decoded(raw: bytes) -> str:
    """The text of a line; InvalidError says which byte is no UTF-8 and what it looks like."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        looks = "it looks like Windows-1251; " if raw[fault.start] >= 0xC0 else ""
        raise InvalidError(
            f"The line is not UTF-8 (byte 0x{raw[fault.start]:02X} at place {fault.start + 1}): "
            f"{looks}save the file as UTF-8") from None


def columns_of(head: bytes) -> tuple[list[str], str]:
    """(columns, what parts them) of the head of a CSV file; InvalidError for a head that is none.

    Parted by comma, semicolon or tabulator.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidError("The file is UTF-16: save it as UTF-8")
    text = decoded(head.removeprefix(b"\xef\xbb\xbf")).strip()
    mark = max(",;\t", key=text.count)
    columns = [one.strip().strip('"').lower() for one in text.split(mark)]
    unknown = [one for one in columns if one not in rows.COLUMNS]
    missing = [one for one in rows.REQUIRED if one not in columns]
    if unknown:
        raise InvalidError(f"The head has unknown columns: {', '.join(unknown)[:200]}")
    if missing:
        raise InvalidError(f"The head lacks the columns {', '.join(missing)}")
    if len(set(columns)) < len(columns):
        raise InvalidError("The head names a column twice")
    return columns, mark


def csv_values(raw: bytes, columns: Sequence[str], mark: str) -> dict[str, str]:
    """The values of a line of CSV; InvalidError says why it is none."""
    text = decoded(raw).rstrip("\r\n")
    if "\0" in text or len(text) > _LINE_CHARACTERS_MAX:
        raise InvalidError("The line holds a zero byte or is longer than 20,000 characters")
    try:
        cells = next(csv.reader([text], delimiter=mark, strict=True), [])
    except csv.Error as fault:
        raise InvalidError(f"The line is no CSV: {fault}") from None
    if len(cells) != len(columns):
        raise InvalidError(f"The line has {len(cells)} columns, the head has {len(columns)}")
    return dict(zip(columns, cells, strict=True))


def json_values(raw: bytes) -> dict[str, str]:
    """The values of a line of NDJSON; InvalidError says why it is none."""
    text = decoded(raw)
    try:
        found = msgspec.json.decode(text, type=dict[str, str | int | float | None])
    except (msgspec.DecodeError, RecursionError) as fault:
        raise InvalidError(f"The line is no JSON object of plain values: {fault}") from None
    unknown = [one for one in found if one not in rows.COLUMNS]
    if unknown:
        raise InvalidError(f"The line has unknown fields: {', '.join(unknown)[:200]}")
    return {key: "" if value is None else str(value) for key, value in found.items()}


class Planner:
    """Takes the rows of one file in order and says what becomes of each.

    Memory is a few hundred bytes a person of the file.
    """

    def __init__(
        self, digest: str, people: dict[str, Person], houses: Mapping[str, House], today: date
    ) -> None:
        self._digest = digest
        self._people = people
        self._houses = houses
        self._today = today
        self._posts: dict[bytes, int] = {}

    def item(self, line: int, values: Mapping[str, str]) -> Item:
        """The item of a row; everything that is wrong with it stands in `faults`."""
        row, found = rows.read(values, self._today)
        faults = list(found)
        asked = values.get("institution", "").strip()
        house = self._houses.get(asked)
        if asked and house is None:
            faults.append(Fault(
                "institution", f"There is no institution with the number {asked[:40]!r} in the "
                "register"))
        if faults or row is None or house is None:
            return Item(line, tuple(faults))
        known = [self._people[key] for key in (row.pinfl, row.argos)
                 if key and key in self._people]
        fault = self._clash(row, known)
        if fault is not None:
            return Item(line, (fault,))
        person = known[0] if known else Person(
            fixed_id(f"staff/{self._digest}/{line}"), row.born, line)
        post = hashlib.blake2b(
            f"{person.id}/{house.id}/{row.post or row.title}/{row.kind}".encode(),
            digest_size=12).digest()
        before = self._posts.setdefault(post, line)
        if before != line:
            return Item(line, (Fault(
                "post", f"The same post of the same person stands in line {before}"),))
        for key in filter(None, (row.pinfl, row.argos)):
            self._people.setdefault(key, person)
        return Item(line, row=row, house=house, person=person.id,
                    is_new=not known or person.line == line)

    @staticmethod
    def _clash(row: Row, known: Sequence[Person]) -> Fault | None:
        if len({one.id for one in known}) > 1:
            return Fault("pinfl", "The PINFL and the Argos number belong to two different people")
        for one in known:
            if one.born is not None and one.born != row.born:
                where = f"line {one.line}" if one.line else "the register"
                return Fault("birth_date", f"In {where} the same number is of somebody born on "
                             f"{one.born}, here on {row.born}")
        return None


def resources_of(item: Item) -> list[dict[str, Any]]:
    """The records of an item with their ids; InvalidError for an item with faults."""
    row, house = item.row, item.house
    if row is None or house is None:
        said = "; ".join(one.said for one in item.faults)
        raise InvalidError(said or "The row is empty", "row")
    made = []
    if item.is_new:
        made.append({**records.practitioner_record(
            family=row.family, given=row.given, patronymic=row.patronymic, sex=row.sex,
            born=row.born, pinfl=row.pinfl, argos=row.argos, phone=row.phone,
            citizenship=row.citizenship, languages=row.languages, holds=row.holds),
            "id": item.person})
    role = records.role_record(
        practitioner=item.person, practitioner_name=f"{row.family} {row.given}",
        organisation=house.id, organisation_name=house.name, code=row.post, title=row.title,
        rate_held=row.rate, kind=row.kind, since=row.since, until=row.until)
    name = f"post/{item.person}/{house.id}/{row.post or row.title}/{row.kind}/{row.since}"
    made.append({**role, "id": fixed_id(name)})
    return made
