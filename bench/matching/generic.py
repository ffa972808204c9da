"""Splink twice: as it comes out of its box, and with our levels and blocks for any columns."""

from __future__ import annotations

import csv
import logging
import tempfile
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import splink.comparison_library as cl
from families import CODE, DATE, KIND, NAME, TEXT, Family, pair
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

Weighed = list[tuple[str, str, float]]
_LEAST = 0.02


def _level(condition: str, label: str, **more: Any) -> dict[str, Any]:
    return {"sql_condition": condition, "label_for_charts": label, **more}


def _compared(column: str, steps: list[str], *, by_share: bool, other: str = "") -> dict[str, Any]:
    left, right = f"{column}_l", f"{column}_r"
    levels = [_level(f"{left} IS NULL OR {right} IS NULL", "null", is_null_level=True)]
    exact = _level(f"{left} = {right}", "same")
    if by_share:
        exact |= {"tf_adjustment_column": column, "tf_adjustment_weight": 1.0}
    levels.append(exact)
    if other:
        levels.append(_level(f"{left} = {other}_r AND {other}_l = {right}", "swapped"))
    levels += [_level(step.format(left=left, right=right), step) for step in steps]
    return {"output_column_name": column,
            "comparison_levels": [*levels, _level("ELSE", "different")]}


_SLIP = "damerau_levenshtein({left}, {right}) <= 1"
_TWO_SLIPS = "damerau_levenshtein({left}, {right}) <= 2"
_SAME_DIGITS = ("array_to_string(list_sort(string_split({left}, '')), '')"
                " = array_to_string(list_sort(string_split({right}, '')), '')")
_STEPS = {
    NAME: [_SLIP, "jaro_winkler_similarity({left}, {right}) >= 0.9", _TWO_SLIPS,
           "jaro_winkler_similarity({left}, {right}) >= 0.8"],
    DATE: [_SLIP, _SAME_DIGITS, _TWO_SLIPS],
    TEXT: [_SLIP, "jaro_winkler_similarity({left}, {right}) >= 0.9", _TWO_SLIPS,
           "jaro_winkler_similarity({left}, {right}) >= 0.75"],
    CODE: [_SLIP, _TWO_SLIPS], KIND: [],
}  # fmt: skip  # What is tried after "same", by kind of column.


def _ours(family: Family, names: list[str]) -> list[Any]:
    made = []
    for column, kind in family.columns.items():
        other = next((one for one in names if one != column), "") if kind == NAME else ""
        made.append(_compared(column, _STEPS[kind], by_share=kind in (NAME, TEXT, CODE),
                              other=other if len(names) == 2 else ""))
    if family.identifier:
        made.append(cl.ExactMatch(family.identifier))
    return made


def _plain(family: Family) -> list[Any]:
    made: list[Any] = []
    for column, kind in family.columns.items():
        if kind == NAME:
            made.append(cl.NameComparison(column).configure(term_frequency_adjustments=True))
        elif kind == DATE:
            made.append(cl.DamerauLevenshteinAtThresholds(column, [1, 2]))
        elif kind == TEXT:
            made.append(cl.JaroWinklerAtThresholds(column, [0.9, 0.7]).configure(
                term_frequency_adjustments=True))
        else:
            made.append(cl.ExactMatch(column).configure(
                term_frequency_adjustments=kind == CODE))
    if family.identifier:
        made.append(cl.ExactMatch(family.identifier))
    return made


def _blocks(family: Family, *, is_ours: bool) -> list[tuple[str, ...]]:
    """Columns in which pairs agree that are compared; ours are all pairs of telling columns."""
    names = [one for one, kind in family.columns.items() if kind == NAME]
    date = next(one for one, kind in family.columns.items() if kind == DATE)
    rest = [one for one, kind in family.columns.items() if kind in (TEXT, CODE)]
    blocks = [(date,), *combinations(names, 2)]
    blocks += [(name, one) for name in names for one in rest]
    if is_ours:
        blocks += list(combinations(rest, 2))
        blocks += [("name_begin", one) for one in [*names, *rest]]
        # Who has little else must be found by his number alone.
        blocks += [(one,) for one, kind in family.columns.items() if kind == CODE]
    if family.identifier:
        blocks.append((family.identifier,))
    return blocks


def run(family: Family, *, is_ours: bool, with_identifier: bool) -> Weighed:
    """Pairs with their probabilities, learnt without labels."""
    used = family if with_identifier else Family(**{**family.__dict__, "identifier": ""})
    names = [one for one, kind in used.columns.items() if kind == NAME]
    date = next(one for one, kind in used.columns.items() if kind == DATE)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        database = duckdb.connect(str(Path(folder) / "set.duckdb"))
        _load(database, used, Path(folder) / "set.csv", names)
        interface = DuckDBAPI(connection=database)
        settings = SettingsCreator(
            link_type="dedupe_only", comparisons=_ours(used, names) if is_ours else _plain(used),
            blocking_rules_to_generate_predictions=[
                block_on(*columns) for columns in _blocks(used, is_ours=is_ours)],
            retain_matching_columns=False)
        linker = Linker(interface.register("records"), settings, log_level=logging.ERROR)
        training = linker.training
        training.estimate_probability_two_random_records_match(
            [block_on(*names), block_on(names[0], date)], recall=0.7)
        training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
        for columns in ((date,), tuple(names[:2])):
            training.estimate_parameters_using_expectation_maximisation(block_on(*columns))
        found = linker.inference.predict(threshold_match_probability=_LEAST)
        rows = database.execute("SELECT unique_id_l, unique_id_r, match_probability"
                                f" FROM {found.physical_name}").fetchall()
        database.close()
    return [(*pair(left, right), probability) for left, right, probability in rows]


def _load(database: Any, family: Family, file: Path, names: list[str]) -> None:
    columns = [*family.columns, *([family.identifier] if family.identifier else [])]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["unique_id", *columns, "name_begin"])
        for number, row in family.rows.items():
            begin = "".join(sorted(row[one][:3].lower() for one in names[:2] if row[one]))
            writer.writerow([number, *(row[one].lower() for one in columns), begin])
    database.execute("CREATE TABLE records AS SELECT * FROM read_csv(?, header = true,"
                     " all_varchar = true)", [str(file)])
