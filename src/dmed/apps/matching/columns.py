"""Facts of a person as one flat row, and the levels of scoring as conditions of DuckDB on them.

The conditions mirror `rules/scoring.py` and `rules/names.py` level by level; a test compares
both on pairs of invented persons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dmed.modules.medid.rules.names import ADDED, Sound
from dmed.modules.medid.rules.scoring import NAME_FIELDS, NameFacts, PersonFacts

Row = dict[str, Any]
NULL = "null"
BLOCKS = (
    ("pinfl",), ("phone", "given_core"), ("birth", "given_core"), ("birth", "family_key"),
    ("birth", "father_key"), ("birth", "phone"), ("birth", "given_frame"),
    ("family_key", "given_core", "birth_year"), ("family_key", "given_core", "birth_day"),
    ("given_core", "father_key", "birth_year"), ("given_core", "father_key", "birth_day"),
    ("family_key", "given_core", "father_key", "district"),
    ("family_key", "father_key", "birth_year"), ("family_key", "father_key", "birth_day"),
    ("phone", "family_key"), ("phone", "father_key"), ("phone", "birth_year"),
    ("phone", "birth_day"),
)  # fmt: skip  # Pairs are compared that agree in all columns of one of these.
CROSSED = ("l.family_core = r.given_core AND l.given_core = r.family_core",
           "l.family_core = r.given_core AND l.birth = r.birth",
           "l.given_core = r.family_core AND l.birth = r.birth")
"""Surname and given name in each other's place."""


def flat(facts: PersonFacts, number: str) -> Row:
    """One row for a person, by its first name; absent facts are None."""
    name = facts.names[0] if facts.names else NameFacts()
    row: Row = {"unique_id": number}
    for field in NAME_FIELDS:
        row |= _heard(field, getattr(name, field))
    whole = facts.birth if len(facts.birth) == 10 else ""
    return row | {
        "birth": facts.birth or None,
        "birth_year": facts.birth[:4] or None,
        "birth_day": whole[5:] or None,
        "sex": facts.sex or None,
        "pinfl": facts.pinfl or None,
        "is_pinfl_sound": facts.is_pinfl_sound,
        "phone": facts.phones[0] if facts.phones else None,
        "district": facts.district or None,
    }


def _heard(field: str, heard: Sound) -> Row:
    return {
        f"{field}_key": heard.key or None, f"{field}_core": heard.core or None,
        f"{field}_letters": heard.letters or None,
        f"{field}_frame": heard.frame or None,
        f"{field}_open": heard.open_bits, f"{field}_closed": heard.closed_bits,
        f"{field}_initial": heard.is_initial,
    }


def shares(people: Iterable[PersonFacts], at_least: float) -> dict[str, dict[str, float]]:
    """By name field, which share of the persons that have one has which name."""
    counts: dict[str, Counter[str]] = {field: Counter() for field in NAME_FIELDS}
    for each in people:
        for field, counted in counts.items():
            if each.names and (key := getattr(each.names[0], field).key):
                counted[key] += 1
    found = {}
    for field, counted in counts.items():
        total = max(counted.total(), 1)
        found[field] = {key: round(count / total, 7) for key, count in counted.most_common()
                        if count / total >= at_least and count > 1}
    return found


# --- Levels as conditions --------------------------------------------------------------------


def _agree(left: str, right: str, part: str = "key") -> str:
    return (f"({left}_{part}_l = {right}_{part}_r AND ({left}_open_l & {right}_closed_r) = 0"
            f" AND ({left}_closed_l & {right}_open_r) = 0)")


def _same(left: str, right: str) -> str:
    return f"(NOT ({left}_initial_l OR {right}_initial_r) AND {_agree(left, right)})"


def _courtesy(left: str, right: str) -> str:
    open_conflict = (f"(({left}_open_l & {right}_closed_r) = 0"
                     f" AND ({left}_closed_l & {right}_open_r) = 0)")
    ways = []
    for short, long in ((f"{left}_key_l", f"{right}_key_r"), (f"{right}_key_r", f"{left}_key_l")):
        stem = (f"CASE WHEN starts_with({long}, {short}) OR {short}[-1] <> 'd' THEN {short}"
                f" ELSE {short}[:-2] END")
        ways.append(f"(length({short}) <= length({long}) AND starts_with({long}, {stem}) AND"
                    f" regexp_full_match({long}[length({stem}) + 1:], '{ADDED}'))")
    return f"({open_conflict} AND ({ways[0]} OR {ways[1]}))"


def _one_slip(left: str, right: str) -> str:
    return (f"(least(length({left}), length({right})) >= 4"
            f" AND damerau_levenshtein({left}, {right}) <= 1)")


def _alike(left: str, right: str) -> str:
    key_l, key_r = f"{left}_key_l", f"{right}_key_r"
    return (f"(NOT ({left}_initial_l OR {right}_initial_r) AND {key_l} <> {key_r}"
            f" AND ({_courtesy(left, right)} OR {_one_slip(key_l, key_r)}"
            f" OR {_one_slip(f'{left}_letters_l', f'{right}_letters_r')}))")


def _near(field: str) -> str:
    key_l, key_r = f"{field}_key_l", f"{field}_key_r"
    framed = f"({field}_frame_l = {field}_frame_r AND length({field}_frame_l) >= 3)"
    return (f"(NOT ({field}_initial_l OR {field}_initial_r) AND ({key_l} = {key_r} OR {framed}"
            f" OR (least(length({key_l}), length({key_r})) >= 6"
            f" AND damerau_levenshtein({key_l}, {key_r}) <= 2)))")


def _name(field: str) -> dict[str, str]:
    key_l, key_r = f"{field}_key_l", f"{field}_key_r"
    found = {NULL: f"{key_l} IS NULL OR {key_r} IS NULL"}
    crossings = (("family", "given"), ("given", "family"))
    is_crossed = " AND ".join(f"({_same(*one)} OR {_alike(*one)})" for one in crossings)
    if field == "family":
        found |= {"same": _same(field, field), "swapped": is_crossed}
    elif field == "given":
        apart = (f"(family_key_l IS NOT NULL AND family_key_r IS NOT NULL"
                 f" AND NOT {_same('family', 'family')})")
        found |= {
            "swapped": f"{apart} AND " + " AND ".join(_same(*one) for one in crossings),
            "swapped-alike": f"{apart} AND {is_crossed}",
            "same": _same(field, field),
            "rival": f"given_known_l AND given_known_r AND NOT {_courtesy(field, field)}"
                     f" AND ({_alike(field, field)} OR {_near(field)})",
        }
    else:
        found["same"] = _same(field, field)
    found |= {
        "alike": _alike(field, field), "near": _near(field),
        "initial": f"({field}_initial_l OR {field}_initial_r) AND (starts_with({key_l}, {key_r})"
                   f" OR starts_with({key_r}, {key_l}))",
    }
    if field == "given":
        half = " OR ".join(_same(*one) for one in crossings)
        family = " OR ".join((_same("family", "family"), _alike("family", "family"),
                              _near("family"), "family_initial_l", "family_initial_r"))
        found["half"] = (f"sex_l = 'female' AND sex_r = 'female' AND ({half})"
                         f" AND {apart} AND NOT ({family})")
    if field == "family":
        found["changed"] = "sex_l = 'female' AND sex_r = 'female'"
    return found | {"different": "ELSE"}


def _birth() -> dict[str, str]:
    whole = "length(birth_l) = 10 AND length(birth_r) = 10"
    year = "birth_year_l = birth_year_r"
    day_l, month_l = "birth_l[9:10]", "birth_l[6:7]"
    day_r, month_r = "birth_r[9:10]", "birth_r[6:7]"
    return {
        NULL: "birth_l IS NULL OR birth_r IS NULL OR pinfl_l = pinfl_r",
        "new-year": "birth_l = birth_r AND birth_day_l = '01-01'",
        "same": "birth_l = birth_r",
        "swapped": f"{whole} AND {year} AND {day_l} = {month_r} AND {month_l} = {day_r}",
        "year": f"({whole} AND {year} AND (birth_day_l = '01-01' OR birth_day_r = '01-01')) OR"
                f" (NOT ({whole}) AND (starts_with(birth_l, birth_r)"
                " OR starts_with(birth_r, birth_l)))",
        "near": f"{whole} AND (hamming(birth_l, birth_r) = 1 OR (birth_day_l = birth_day_r AND"
                " abs(birth_year_l::INT - birth_year_r::INT) = 1))",
        "loose": f"{whole} AND hamming(birth_l, birth_r) = 2",
        "different": "ELSE",
    }


def _agreeing(column: str, unless: str = "") -> dict[str, str]:
    return {NULL: f"{column}_l IS NULL OR {column}_r IS NULL{unless}",
            "same": f"{column}_l = {column}_r", "different": "ELSE"}


def levels() -> dict[str, dict[str, str]]:
    """By field, its levels in the order in which they are tried, each with its condition."""
    both_sound = "is_pinfl_sound_l AND is_pinfl_sound_r"
    return {
        "pinfl": {
            NULL: "pinfl_l IS NULL OR pinfl_r IS NULL"
                  f" OR (pinfl_l <> pinfl_r AND NOT ({both_sound}))",
            "same": f"pinfl_l = pinfl_r AND {both_sound}",
            "same-unproven": "pinfl_l = pinfl_r",
            "different": "ELSE",
        },
        **{field: _name(field) for field in NAME_FIELDS},
        "birth": _birth(),
        "sex": _agreeing("sex", " OR pinfl_l = pinfl_r"),
        "phone": {
            NULL: "phone_l IS NULL OR phone_r IS NULL", "same": "phone_l = phone_r",
            "alike": "damerau_levenshtein(phone_l, phone_r) <= 1", "different": "ELSE",
        },
        "district": _agreeing("district"),
    }
