"""The published sets of person records, read alike: columns by kind, and which pairs are true.

A set is known by its file name and columns, so that other sets of the same families are read too.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import duckdb

Pair = tuple[str, str]
NAME, DATE, TEXT, CODE, KIND = "name", "date", "text", "code", "kind"
"""What a column holds: a person's name, a date, words, a number to type, one of few values."""
FEBRL = {"given_name": NAME, "surname": NAME, "date_of_birth": DATE, "street_number": CODE,
         "address_1": TEXT, "address_2": TEXT, "suburb": TEXT, "postcode": CODE, "state": KIND}
UGANDA = {"given_name": NAME, "surname": NAME, "date_of_birth": DATE, "sex": KIND,
          "phone_number": CODE}
FAKE = {"first_name": NAME, "surname": NAME, "dob": DATE, "city": TEXT, "email": TEXT}
HISTORICAL = {"first_name": NAME, "surname": NAME, "dob": DATE, "birth_place": TEXT,
              "postcode_fake": CODE, "occupation": KIND, "gender": KIND}
UZBEK = {"surname": NAME, "given": NAME, "patronymic": NAME, "dob": DATE, "sex": KIND,
         "district": TEXT, "phone": CODE}


@dataclass
class Family:
    """A set of records: rows by id, kinds of columns, true pairs (smaller id first)."""

    name: str
    columns: dict[str, str]
    rows: dict[str, dict[str, str]]
    true: set[Pair]
    identifier: str = ""
    is_uzbek: bool = False
    notes: list[str] = field(default_factory=list)


def pair(left: str, right: str) -> Pair:
    return (left, right) if left < right else (right, left)


def _within(groups: dict[str, list[str]]) -> set[Pair]:
    return {pair(*both) for ids in groups.values() for both in combinations(ids, 2)}


def _csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        return [{key.strip(): (value or "").strip() for key, value in row.items() if key}
                for row in csv.DictReader(opened)]


def _grouped(rows: dict[str, dict[str, str]], column: str) -> set[Pair]:
    groups: dict[str, list[str]] = defaultdict(list)
    for number, row in rows.items():
        groups[row[column]].append(number)
    return _within(groups)


def read(file: Path) -> Family | None:
    """The set of a file, or None where the file is none (labels, links, a read-me)."""
    name = file.stem
    if file.suffix == ".parquet" and "historical" in name:
        found = duckdb.sql(f"SELECT * FROM '{file}'")
        keys = found.columns
        listed = [dict(zip(keys, ("" if one is None else str(one) for one in row), strict=True))
                  for row in found.fetchall()]
        rows = {row["unique_id"]: row for row in listed}
        return Family(name, HISTORICAL, rows, _grouped(rows, "cluster"))
    if file.suffix != ".csv" or name.endswith(("_links", "_labels")):
        return None
    listed = _csv(file)
    if name.startswith("febrl"):
        rows = {row["rec_id"]: row for row in listed}
        for number, row in rows.items():
            row["person"] = "-".join(number.split("-")[:2])
        return Family(name, FEBRL, rows, _grouped(rows, "person"), "soc_sec_id")
    if name.startswith("opencr"):
        rows = {row["rec_id"]: row for row in listed}
        links = _csv(file.with_name(f"{name}_true_links.csv"))
        true = {pair(one["rec_id_1"], one["rec_id_2"]) for one in links}
        return Family(name, UGANDA, rows, true, "uganda_nin")
    if "cluster" in listed[0] and "email" in listed[0]:
        rows = {row["unique_id"]: row for row in listed}
        return Family(name, FAKE, rows, _grouped(rows, "cluster"))
    if "pinfl" in listed[0]:
        rows = {row["rec_id"]: row for row in listed}
        return Family(name, UZBEK, rows, _grouped(rows, "person_id"), "pinfl", is_uzbek=True)
    return None
