"""Weights learnt from records without labels: Splink estimates, the platform's model comes out.

u is counted over random pairs, m by expectation maximisation over pairs that agree in a block
(decision 0053). What too few pairs show keeps the value set by hand.
"""

from __future__ import annotations

import csv
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from dmed.apps.matching.columns import BLOCKS, CROSSED, NULL, Row, flat, levels, shares
from dmed.modules.medid.rules.scoring import Level, Model, PersonFacts, score, shipped

_BIT_COLUMNS = tuple(f"{field}_{kind}" for field in ("family", "given", "father")
                     for kind in ("open", "closed"))
_FLAG_COLUMNS = (*(f"{field}_initial" for field in ("family", "given", "father")),
                 "is_pinfl_sound", "given_known")
_TRAINING_BLOCKS = (
    (("birth", "father_core"), ("birth", "phone"), ("birth", "district"), ("phone",)),
    (("family_core", "given_core"),),
)
"""Of each row the first block that has pairs: one leaves the names free, one all but them."""
_TRAINING_PAIRS_MIN = 100
_RANDOM_PAIRS_MAX = 1e6
_EM_PAIRS_MAX = 3e5
_RECALL_OF_SURE = 0.75
_SHARE_MIN = 2e-5
_KNOWN_SHARE, _KNOWN_TIMES = 2e-4, 8
"""From which share of persons, and how many of them, a spelling is a name and no slip."""
_U_MIN = {"birth.new-year": 2e-5}
"""Where a day is not known many have 1 January: more than random pairs of one file show."""
_DOUBT_PAIRS = 50
"""What was set by hand counts as so many pairs against those that were met."""
_BY_HAND = {
    "pinfl": ("same", "same-unproven", "different"), "family": ("swapped", "initial"),
    "given": ("swapped", "swapped-alike", "half", "initial"), "father": ("initial",),
}  # fmt: skip  # Levels too rare or too sure for estimation: a number of the state, a slip.


class People:
    """Persons' facts in an own DuckDB, ready for Splink."""

    def __init__(self, people: Sequence[PersonFacts], folder: Path, *, model: Model) -> None:
        self.people = people
        self.model = msgspec.structs.replace(
            model, shares=shares(people, _SHARE_MIN) or model.shares,
            persons=max(len(people), 2),
            known_share=max(_KNOWN_SHARE, _KNOWN_TIMES / max(len(people), 1)))
        self.database = duckdb.connect(str(folder / "people.duckdb"))
        self.database.execute("SET preserve_insertion_order = false")
        self._load(folder / "people.csv")

    def _load(self, file: Path) -> None:
        known = self.model.shares.get("given", {})
        columns: list[str] = []
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            for number, each in enumerate(self.people):
                row: Row = flat(each, str(number))
                row["given_known"] = (known.get(row["given_key"] or "", 0.0)
                                      >= self.model.known_share)
                if not columns:
                    columns = list(row)
                    writer.writerow(columns)
                writer.writerow("" if row[one] is None else row[one] for one in columns)
        types = dict.fromkeys(_BIT_COLUMNS, "UBIGINT") | dict.fromkeys(_FLAG_COLUMNS, "BOOLEAN")
        chosen = ", ".join(
            f'CAST({one} AS {types.get(one, "VARCHAR")}) AS {one}' for one in columns)
        self.database.execute(
            f"CREATE TABLE people AS SELECT {chosen} FROM read_csv(?, header = true,"
            " all_varchar = true, delim = ',', quote = '\"', escape = '\"')", [str(file)])
        file.unlink()

    def linker(self, model: Model, *, weighs_shares: bool = True) -> Linker:
        """Splink set up with the platform's levels, blocks and weights."""
        blocks: list[Any] = [block_on(*columns) for columns in BLOCKS]
        blocks += [{"blocking_rule": rule, "sql_dialect": "duckdb"} for rule in CROSSED]
        comparisons: list[Any] = [_comparison(field, of_field, model, weighs_shares=weighs_shares)
                       for field, of_field in levels().items()]
        settings = SettingsCreator(
            link_type="dedupe_only", comparisons=comparisons,
            blocking_rules_to_generate_predictions=blocks,
            probability_two_random_records_match=1 / model.persons,
            retain_matching_columns=False, retain_intermediate_calculation_columns=True,
            em_convergence=0.001, max_iterations=20)
        interface = DuckDBAPI(connection=self.database)
        return Linker(interface.register("people"), settings, log_level=logging.ERROR)

    def pairs_in(self, columns: Sequence[str]) -> int:
        """How many pairs agree in all these columns of the table."""
        named = ", ".join(columns)
        known = " AND ".join(f"{one} IS NOT NULL" for one in columns)
        found = self.database.execute(
            "SELECT coalesce(sum(met * (met - 1) / 2), 0)::BIGINT FROM (SELECT count(*) AS met"
            f" FROM people WHERE {known} GROUP BY {named})").fetchall()
        return int(found[0][0])

    def close(self) -> None:
        """Gives the database back."""
        self.database.close()


@contextmanager
def opened(people: Sequence[PersonFacts], model: Model | None = None) -> Iterator[People]:
    """The persons in a DuckDB of a temporary folder, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="dmed-matching-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = People(people, Path(folder), model=model or shipped())
        try:
            yield made
        finally:
            made.close()


def _comparison(
    field: str, of_field: dict[str, str], model: Model, *, weighs_shares: bool
) -> dict[str, Any]:
    made = []
    for label, condition in of_field.items():
        one: dict[str, Any] = {"sql_condition": condition, "label_for_charts": label}
        if label == NULL:
            one["is_null_level"] = True
        else:
            known = model.fields[field][label]
            one |= {"m_probability": known.m, "u_probability": known.u}
            if label in _BY_HAND.get(field, ()):
                one |= {"fix_m_probability": True, "fix_u_probability": True}
        if label == "same" and weighs_shares and field in model.shares:
            one |= {"tf_adjustment_column": f"{field}_key", "tf_adjustment_weight": 1.0,
                    "tf_minimum_u_value": model.rare_share,
                    "disable_tf_exact_match_detection": True}
        made.append(one)
    return {"output_column_name": field, "comparison_levels": made,
            "comparison_description": field}


def learn(
    people: People, source: str, *, seed: int = 1, random_pairs: float = _RANDOM_PAIRS_MAX
) -> Model:
    """The model of these persons; thresholds and what is set by hand come from the one before."""
    linker = people.linker(people.model)
    training = linker.training
    training.estimate_probability_two_random_records_match(
        [block_on("pinfl"), block_on("family_key", "given_key", "birth", "sex")],
        recall=_RECALL_OF_SURE)
    training.estimate_u_using_random_sampling(max_pairs=random_pairs, seed=seed)
    for choices in _TRAINING_BLOCKS:
        columns = next((one for one in choices if people.pairs_in(one) >= _TRAINING_PAIRS_MIN), ())
        if not columns:
            continue
        training.estimate_parameters_using_expectation_maximisation(
            block_on(*columns), fix_probability_two_random_records_match=True,
            max_pairs=_EM_PAIRS_MAX)
    estimated = _exported(linker, people.model, source)
    return _recounted(people, estimated)


def _exported(linker: Linker, model: Model, source: str) -> Model:
    saved = linker.misc.save_model_to_json(out_path=None)
    fields = dict(model.fields)
    for comparison in saved["comparisons"]:
        field = comparison["output_column_name"]
        found = dict(fields[field])
        for level in comparison["comparison_levels"]:
            label = level["label_for_charts"]
            if label == NULL or label in _BY_HAND.get(field, ()):
                continue
            m, u = level.get("m_probability"), level.get("u_probability")
            before = found[label]
            least = _U_MIN.get(f"{field}.{label}", 1e-8)
            found[label] = Level(max(m or before.m, before.m / 10), max(u or before.u, least))
        fields[field] = found
    return msgspec.structs.replace(model, source=source, fields=fields)


def _recounted(people: People, model: Model) -> Model:
    """M counted anew, field by field, over pairs that are sure without the field.

    Estimation takes twins for one person whose given name was mistaken; the scorer does not.
    """
    by_hand = shipped()
    sure = model.thresholds["link"].weight
    met: dict[str, Counter[str]] = {field: Counter() for field in levels()}
    for left, right, _ in candidates(people, model, at_least=0.0):
        scored = score(people.people[left], people.people[right], model)
        if any(f"{one.name}.{one.level}" in model.caps for one in scored.fields):
            continue
        for one in scored.fields:
            if one.name in met and one.level != "held" and scored.weight - one.weight >= sure:
                met[one.name][one.level] += 1
    fields = dict(model.fields)
    for field, counted in met.items():
        total = counted.total() + _DOUBT_PAIRS
        fields[field] = {
            label: _smoothed(counted[label], total, by_hand.fields[field][label].m, level.u)
            for label, level in model.fields[field].items()}
    return msgspec.structs.replace(model, fields=fields)


def _smoothed(met: int, total: int, before: float, u: float) -> Level:
    """M of so many of so many pairs; what was hardly met keeps a tenth of what it was."""
    counted = (met + _DOUBT_PAIRS * before) / total
    return Level(round(max(counted, before / 10), 7), float(f"{u:.4g}"))


# --- Pairs -----------------------------------------------------------------------------------


def candidates(people: People, model: Model, *, at_least: float) -> list[tuple[int, int, float]]:
    """Pairs that a block brings together and Splink gives at least so many bits."""
    linker = people.linker(model)
    found = linker.inference.predict(threshold_match_weight=at_least)
    rows = people.database.execute(
        f"SELECT unique_id_l::BIGINT, unique_id_r::BIGINT, match_weight"
        f" FROM {found.physical_name}").fetchall()
    return [(int(left), int(right), float(weight)) for left, right, weight in rows]
