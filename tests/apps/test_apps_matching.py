"""Batch matching: Splink's levels are the scorer's, weights are learnt, a file is deduplicated."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import generator
import msgspec
import pytest

from dmed.apps.matching import batch, columns, learning
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.medid.rules.numbers import PINFL_SYSTEM
from dmed.modules.medid.rules.scoring import PersonFacts, facts_of, score, shipped

SEX = {"M": "male", "F": "female"}


def patient(row: list[str]) -> dict[str, Any]:
    given = dict(zip(generator.COLUMNS, row, strict=True))
    made: dict[str, Any] = {
        "resourceType": "Patient", "id": given["rec_id"], "gender": SEX[given["sex"]],
        "birthDate": given["dob"], "active": True,
        "name": [{"family": given["surname"], "given": [given["given"]],
                  "suffix": [given["patronymic"]] if given["patronymic"] else []}],
        "telecom": [{"system": "phone", "value": given["phone"]}] if given["phone"] else [],
        "address": [{"district": given["district"]}] if given["district"] else []}
    if given["pinfl"]:
        made["identifier"] = [{"system": PINFL_SYSTEM, "value": given["pinfl"]}]
    return made


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    return generator.rows(1_000, 5, errors=3.0)


@pytest.fixture(scope="module")
def people(rows: list[list[str]]) -> list[PersonFacts]:
    return [facts_of(patient(row)) for row in rows]


def test_the_same_seed_invents_the_same_persons() -> None:
    """Records, ids and errors repeat; another seed gives others; twins are among them."""
    first = generator.rows(800, 9)

    assert first == generator.rows(800, 9)
    assert first != generator.rows(800, 10)
    assert any(row[-1] == "twin" for row in first)
    assert len({row[2] for row in first}) == 5


def test_levels_in_the_database_are_those_of_the_scorer(people: list[PersonFacts]) -> None:
    """For pairs of badly written records, DuckDB's conditions and the scorer give one level."""
    wrong: Counter[tuple[str, str, str]] = Counter()
    fields = columns.levels()
    with learning.opened(people) as opened:
        pairs = _pairs_with_levels(opened, fields)
        for left, right, *theirs in pairs:
            said = {one.name: one.level
                    for one in score(people[left], people[right], opened.model).fields}
            for field, level in zip(fields, theirs, strict=True):
                ours = said.get(field, "").replace("held", "") or columns.NULL
                if ours != level:
                    wrong[field, ours, level] += 1

    assert len(pairs) > 2_000
    assert wrong.total() == 0, wrong.most_common(5)


def _pairs_with_levels(
    opened: learning.People, fields: dict[str, dict[str, str]]
) -> list[tuple[Any, ...]]:
    cases = [" ".join(["CASE", *(f"WHEN {condition} THEN '{level}'" if condition != "ELSE"
                                 else f"ELSE '{level}'" for level, condition in found.items()),
                       "END"]) for found in fields.values()]
    names = [row[0] for row in opened.database.execute("DESCRIBE people").fetchall()]
    sides = [f"(SELECT {', '.join(f'{name} AS {name}_{side}' for name in names)} FROM people)"
             for side in "lr"]
    return opened.database.execute(
        f"SELECT unique_id_l::INT, unique_id_r::INT, {', '.join(cases)} FROM {sides[0]} JOIN"
        f" {sides[1]} ON unique_id_l::INT < unique_id_r::INT AND (birth_l = birth_r OR"
        " pinfl_l = pinfl_r OR given_core_l = given_core_r OR family_core_l = given_core_r"
        " OR given_frame_l = given_frame_r)").fetchall()


def test_weights_are_learnt_and_find_the_persons(
    rows: list[list[str]], people: list[PersonFacts]
) -> None:
    """Learnt without labels: nothing linked wrongly by itself, most pairs found at one half."""
    person = {row[0]: row[1] for row in rows}
    with learning.opened(people) as opened:
        model = learning.learn(opened, "test", random_pairs=5e4)
    found = batch.pairs(people, model)
    true = sum(count * (count - 1) // 2 for count in Counter(person.values()).values())
    half = [one for one in found if one.score.probability >= 0.5]
    right = sum(person[one.left] == person[one.right] for one in half)

    assert all(person[one.left] == person[one.right] for one in found
               if one.score.grade == "certain")
    assert right / true > 0.9
    assert right / len(half) > 0.97
    assert model.fields["family"].keys() == shipped().fields["family"].keys()
    assert all(0 < level.m <= 1 and 0 < level.u <= 1
               for each in model.fields.values() for level in each.values())


def test_a_file_is_deduplicated(rows: list[list[str]], tmp_path: Path) -> None:
    """Pairs with their reasons and clusters are written; too few records teach nothing."""
    file = tmp_path / "people.ndjson"
    file.write_text("".join(json.dumps(patient(row)) + "\n" for row in rows[:600]))
    settings = Settings(data=tmp_path)

    counted = batch.deduplicate(settings, [file], tmp_path / "out", propose=False)

    with (tmp_path / "out" / "pairs.csv").open() as opened:
        pairs = list(csv.DictReader(opened))
    with (tmp_path / "out" / "clusters.csv").open() as opened:
        clusters = list(csv.DictReader(opened))
    assert len(pairs) == counted.total() > 0
    assert {one["grade"] for one in pairs} <= {"certain", "probable", "possible"}
    assert all("given:" in one["why"] for one in pairs if one["grade"] == "certain")
    assert len(clusters) >= len({one["left"] for one in pairs if one["grade"] == "certain"})
    with pytest.raises(InvalidError, match="too few"):
        batch.learn(settings, [file], None)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    """A line that is no JSON ends the command with its number."""
    file = tmp_path / "people.ndjson"
    file.write_text('{"resourceType": "Patient"}\n{"resourceType":\n')

    with pytest.raises(InvalidError, match="line 2"):
        batch.deduplicate(Settings(data=tmp_path), [file], tmp_path / "out", propose=False)


def test_certain_pairs_bind_records_together() -> None:
    """Records of a chain of certain pairs are one cluster; probable pairs bind nothing."""
    certain = score(PersonFacts(), PersonFacts())
    linked = msgspec.structs.replace(certain, grade="certain")
    found = [batch.Found("a", "b", linked), batch.Found("b", "c", linked),
             batch.Found("d", "e", msgspec.structs.replace(certain, grade="probable"))]

    assert batch.clusters(found) == [["a", "b", "c"]]
