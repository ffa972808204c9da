"""How sure it is that two records are one person's: Fellegi and Sunter's sum, in process.

Each field of two records is at one of a few levels; a level weighs log2(m / u) bits, where m is
how often it is met between two records of one person and u between two persons. m, u, and how
common each name is are learnt from data (`dmed persons learn`, decision 0053) and stand in
`data/weights.json`. Rare names weigh more than common ones. A PINFL holds birth date and sex:
where it agrees, they are not weighed again. Above the sum stand a few holds, which no weight
overrules: twins, father and son, two sound PINFLs are for people to decide (decision 0054).
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from math import log2
from pathlib import Path
from typing import Any

import msgspec

from dmed.kit.text import fold
from dmed.modules.medid.rules import names
from dmed.modules.medid.rules.names import Sound, edits, sound
from dmed.modules.medid.rules.numbers import (
    MED_ID_SYSTEM,
    PINFL_SYSTEM,
    digits,
    read_phone,
    read_pinfl,
)

WEIGHTS_FILE = "matching-weights.json"
"""In the folder of the installation: weights that it learnt itself."""
GRADES = ("certain", "probable", "possible", "certainly-not")
"""Codes of FHIR's match-grade: link by itself; likely; for review; two persons."""
NAME_FIELDS = ("family", "given", "father")
FIELDS = ("pinfl", *NAME_FIELDS, "birth", "sex", "phone", "district", "address", "number")
_VARIANTS_MAX = 6
_UNSURE_GIVEN = ("near", "initial", "swapped-alike", "half")
_BESIDE_NAME = ("phone", "district", "address", "number")
_HELD_BY_PINFL = "held"
_DATE = re.compile("[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")


class NameFacts(msgspec.Struct, frozen=True):
    """One full name of a person, as heard."""

    family: Sound = Sound()
    given: Sound = Sound()
    father: Sound = Sound()
    """The patronymic, as the father's name."""


class PersonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What matching compares of a person."""

    id: str = ""
    names: tuple[NameFacts, ...] = ()
    """The official one first; maiden and earlier names behind."""
    birth: str = ""
    """FHIR date: YYYY, YYYY-MM or YYYY-MM-DD."""
    sex: str = ""
    """"male", "female" or nothing."""
    pinfl: str = ""
    """A PINFL whose form and check digit are right; others claim nothing."""
    is_pinfl_sound: bool = False
    """Its birth date and sex are those of the record, and the record does not doubt it."""
    phones: tuple[str, ...] = ()
    district: str = ""
    """Code of the district, or its name as heard."""
    address: str = ""
    """Street and house as heard."""
    numbers: tuple[str, ...] = ()
    """Other numbers of documents, as "system|value"."""
    is_of_many: bool = False
    """The record says that the person is a twin."""


class FieldScore(msgspec.Struct, frozen=True):
    """What one field says, in bits above (one person) or below zero (two)."""

    name: str
    level: str
    weight: float

    @property
    def key(self) -> str:
        """The key of its sentence for people: "medid.match.given.alike"."""
        return f"medid.match.{self.name}.{self.level}"


class Score(msgspec.Struct, frozen=True):
    """How sure it is, and why."""

    weight: float
    """Bits, the chance beforehand included: 0 is even."""
    probability: float
    grade: str
    """One of GRADES."""
    fields: tuple[FieldScore, ...]
    holds: tuple[str, ...] = ()
    """Keys of sentences that say why it is not linked by itself: "medid.match.hold.twins"."""


class Level(msgspec.Struct, frozen=True):
    """How often a level is met between records of one person (m) and of two (u)."""

    m: float
    u: float


class Cut(msgspec.Struct, frozen=True):
    """A threshold and the errors measured at it, on the data that `source` of the model names."""

    weight: float
    precision: float = 0.0
    recall: float = 0.0


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Learnt weights: `fields[name][level]`, names' shares, and the thresholds."""

    source: str
    """What it was learnt from, with day and size."""
    persons: int
    """Of so many persons a candidate is one: the chance beforehand is one in so many."""
    fields: dict[str, dict[str, Level]]
    shares: dict[str, dict[str, float]] = {}
    """By name field: the share of persons that has the name, by its key, for common names."""
    rare_share: float = 1e-5
    """Share of a name that the list does not have."""
    known_share: float = 1e-4
    """From this share on a spelling is a name and no slip of the pen."""
    caps: dict[str, float] = {}
    """The most that a pair weighs with such a level ("given.rival") where no PINFL agrees.

    There is a third thing that two records can be, and that is relatives.
    """
    thresholds: dict[str, Cut] = {}
    """"link", "probable" and "review"."""
    bits: dict[str, dict[str, float]] = {}
    """Weights by field and level: always worked out of `fields`, whatever a file says."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "bits", {
            field: {level: log2(met.m / met.u) for level, met in levels.items()}
            for field, levels in self.fields.items()})

    def weight(self, field: str, level: str) -> float:
        """Bits of a level; 0 for what the model does not know."""
        found = self.bits.get(field)
        return found.get(level, 0.0) if found else 0.0

    def share(self, field: str, key: str) -> float:
        """How common a name is."""
        return self.shares.get(field, {}).get(key, self.rare_share)


_in_use: list[Model] = []


def use(model: Model | None) -> None:
    """Every score of this process goes by these weights from now on; None: by the shipped ones."""
    _in_use[:] = [model] if model else []


def installed(folder: Path) -> Model | None:
    """The weights that an installation learnt itself, if it did."""
    file = folder / WEIGHTS_FILE
    return msgspec.json.decode(file.read_bytes(), type=Model) if file.exists() else None


@lru_cache(maxsize=1)
def shipped() -> Model:
    """The weights that come with the platform."""
    place = files("dmed.modules.medid") / "data" / "weights.json"
    return msgspec.json.decode(place.read_bytes(), type=Model)


# --- Facts -----------------------------------------------------------------------------------


def facts_of(patient: dict[str, Any]) -> PersonFacts:
    """What matching compares of a Patient; unknown or malformed parts are left out."""
    pinfl, numbers = _identifiers(patient)
    told = read_pinfl(pinfl) if pinfl else None
    birth, sex = patient.get("birthDate", ""), patient.get("gender", "")
    birth = birth if _DATE.fullmatch(birth) else ""
    sex = sex if sex in ("male", "female") else ""
    place: dict[str, Any] = next(iter(patient.get("address", [])), {})
    many = patient.get("multipleBirthBoolean") is True or (patient.get("multipleBirthInteger") or 0)
    return PersonFacts(
        id=patient.get("id", ""),
        names=tuple(_name(one) for one in _named(patient))[:_VARIANTS_MAX],
        birth=birth,
        sex=sex,
        pinfl=pinfl if told and told.is_check_right else "",
        is_pinfl_sound=bool(told and told.is_check_right and told.sex == sex
                            and told.birth_date.isoformat() == birth),
        phones=tuple(sorted({read_phone(one["value"]) or digits(one["value"])
                             for one in patient.get("telecom", [])
                             if one.get("system") in ("phone", "sms") and one.get("value")})),
        district=sound(place.get("district", "")).key or place.get("district", ""),
        address=" ".join(fold(" ".join(place.get("line", []))).replace(",", " ").split()),
        numbers=numbers,
        is_of_many=bool(many),
    )


def _identifiers(patient: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    pinfl, numbers = "", []
    for one in patient.get("identifier", []):
        system, value = one.get("system", ""), one.get("value", "")
        if not value or one.get("use") in ("temp", "old"):
            continue
        if system == PINFL_SYSTEM:
            pinfl = pinfl or digits(value)
        elif system and system != MED_ID_SYSTEM:
            numbers.append(f"{system}|{fold(value).replace(' ', '')}")
    return pinfl, tuple(sorted(numbers))


def _named(patient: dict[str, Any]) -> list[dict[str, Any]]:
    found = [one for one in patient.get("name", []) if one.get("family") or one.get("given")]
    return sorted(found, key=lambda one: one.get("use") != "official")


def _name(name: dict[str, Any]) -> NameFacts:
    given = name.get("given", [])
    patronymic = " ".join((*given[1:], *name.get("suffix", [])))
    return NameFacts(sound(name.get("family", "")), sound(given[0] if given else ""),
                     sound(patronymic))


# --- Levels ----------------------------------------------------------------------------------


def _name_levels(
    asked: NameFacts, found: NameFacts, is_women: bool, model: Model
) -> dict[str, str]:
    levels = {}
    for field in NAME_FIELDS:
        ours, theirs = getattr(asked, field), getattr(found, field)
        if ours.key and theirs.key:
            levels[field] = names.likeness(ours, theirs)
    if levels.get("given") in ("alike", "near") and _are_two_names(asked.given, found.given, model):
        levels["given"] = "rival"
    crossed = _crossed(asked, found) if levels.get("family", "same") != "same" else ""
    if crossed.startswith("swapped"):
        levels |= {"family": "swapped", "given": crossed}
    elif is_women and levels.get("family") == "different":
        levels["family"] = "changed"  # Women take another surname when they marry.
        if crossed and levels["given"] == "different":
            levels["given"] = "half"
    return levels


def _crossed(asked: NameFacts, found: NameFacts) -> str:
    """Whether surname and given name stand in each other's place: "swapped", or almost."""
    if not (asked.given.key and asked.family.key and found.given.key and found.family.key):
        return ""
    both = {names.likeness(asked.family, found.given), names.likeness(asked.given, found.family)}
    if both == {"same"}:
        return "swapped"
    return "swapped-alike" if both <= {"same", "alike"} else "half" if "same" in both else ""


def birth_level(ours: str, theirs: str) -> str:
    """"same", "new-year" (both 1 January), "swapped", "year", "near", "loose" or "different"."""
    if ours == theirs:
        return "new-year" if ours.endswith("-01-01") else "same"
    if len(ours) != 10 or len(theirs) != 10:
        short = min(len(ours), len(theirs))
        return "year" if ours[:short] == theirs[:short] else "different"
    if ours[:4] == theirs[:4]:
        if ours[5:7] == theirs[8:] and ours[8:] == theirs[5:7]:
            return "swapped"
        if ours.endswith("-01-01") or theirs.endswith("-01-01"):
            return "year"
    wrong = sum(a != b for a, b in zip(ours, theirs, strict=True))
    is_next_year = ours[4:] == theirs[4:] and abs(int(ours[:4]) - int(theirs[:4])) == 1
    return "near" if wrong == 1 or is_next_year else "loose" if wrong == 2 else "different"


def _pinfl_level(asked: PersonFacts, found: PersonFacts) -> str:
    if not asked.pinfl or not found.pinfl:
        return ""
    both_sound = asked.is_pinfl_sound and found.is_pinfl_sound
    if asked.pinfl == found.pinfl:
        return "same" if both_sound else "same-unproven"
    return "different" if both_sound else ""


def _levels_beside_names(asked: PersonFacts, found: PersonFacts) -> dict[str, str]:
    levels = {}
    pinfl = _pinfl_level(asked, found)
    if pinfl:
        levels["pinfl"] = pinfl
    is_held = pinfl.startswith("same")
    if asked.birth and found.birth:
        levels["birth"] = _HELD_BY_PINFL if is_held else birth_level(asked.birth, found.birth)
    if asked.sex and found.sex:
        levels["sex"] = _HELD_BY_PINFL if is_held else (
            "same" if asked.sex == found.sex else "different")
    if asked.phones and found.phones:
        levels["phone"] = _phone_level(asked.phones, found.phones)
    if asked.district and found.district:
        levels["district"] = "same" if asked.district == found.district else "different"
    if asked.address and found.address:
        levels["address"] = "same" if asked.address == found.address else (
            "alike" if edits(asked.address, found.address, 2) <= 2 else "different")
    ours, theirs = _by_system(asked), _by_system(found)
    if shared := ours.keys() & theirs.keys():
        levels["number"] = "same" if any(ours[one] & theirs[one] for one in shared) else "different"
    return levels


def _phone_level(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    if set(ours) & set(theirs):
        return "same"
    return "alike" if any(edits(one, other, 1) <= 1 for one in ours for other in theirs) \
        else "different"


def _by_system(facts: PersonFacts) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for number in facts.numbers:
        found.setdefault(number.rpartition("|")[0], set()).add(number)
    return found


# --- The sum ---------------------------------------------------------------------------------


def _name_scores(
    asked: PersonFacts, found: PersonFacts, model: Model
) -> list[FieldScore]:
    """The pair of names that speaks most for one person."""
    is_women = asked.sex == found.sex == "female"
    best: list[FieldScore] = []
    highest = -1e9
    for one in asked.names:
        for other in found.names:
            scores = [
                FieldScore(field, level, _name_weight(field, level, one, model))
                for field, level in _name_levels(one, other, is_women, model).items()]
            if (total := sum(each.weight for each in scores)) > highest:
                highest, best = total, scores
    return best


def _name_weight(field: str, level: str, name: NameFacts, model: Model) -> float:
    """The weight of a level; a name that both have weighs by how few have it."""
    if level == "same" and field in model.shares and field in model.fields:
        m = model.fields[field]["same"].m
        return log2(m / model.share(field, getattr(name, field).key))
    return model.weight(field, level)


def _holds(levels: dict[str, str], is_of_many: bool) -> tuple[str, ...]:
    """Why people decide and no sum: each is a key of a sentence."""
    pinfl, given = levels.get("pinfl", ""), levels.get("given", "")
    has_pinfl = pinfl == "same"
    held = ["two-pinfl"] if pinfl == "different" else []
    if given in ("different", "") or (given in _UNSURE_GIVEN and not has_pinfl):
        held.append("given")
    elif given == "rival" or (given == "alike" and is_of_many and not has_pinfl):
        held.append("twins")
    if not has_pinfl:
        if levels.get("birth", "") in ("", "different", "loose"):
            held.append("birth")
        if levels.get("sex") == "different":
            held.append("sex")
    if not pinfl:
        if levels.get("father") == "different":
            held.append("father")
        if not any(levels.get(field) == "same" for field in _BESIDE_NAME):
            held.append("alone")
    return tuple(f"medid.match.hold.{one}" for one in held)


def _caps(levels: dict[str, str], model: Model) -> list[float]:
    """What relatives leave of the sum: all but one field agree between twins, father and son."""
    if levels.get("pinfl", "").startswith("same"):
        return []
    return [cap for field, level in levels.items()
            if (cap := model.caps.get(f"{field}.{level}")) is not None]


def _are_two_names(ours: Sound, theirs: Sound, model: Model) -> bool:
    """Whether both are names that people have, as twins' often are but for a letter."""
    if names.is_courtesy(ours, theirs):
        return False
    return all(model.share("given", one.key) >= model.known_share for one in (ours, theirs))


def score(
    asked: PersonFacts, found: PersonFacts, model: Model | None = None, *, persons: int = 0
) -> Score:
    """How sure it is that both are one person; the same whichever comes first.

    `persons`: among how many the candidate was found; 0 takes the number of the model.
    """
    model = model or (_in_use[0] if _in_use else shipped())
    named = _name_scores(asked, found, model)
    beside = _levels_beside_names(asked, found)
    fields = [*named, *(FieldScore(field, level, model.weight(field, level))
                        for field, level in beside.items())]
    fields.sort(key=lambda one: FIELDS.index(one.name))
    weight = sum(one.weight for one in fields) - log2(max(persons or model.persons, 2))
    levels = {one.name: one.level for one in fields}
    weight = min((weight, *_caps(levels, model)))
    holds = _holds(levels, asked.is_of_many or found.is_of_many)
    bounded = max(-60.0, min(60.0, weight))
    probability = 1 / (1 + 2**-bounded)
    return Score(weight, probability, _grade(weight, holds, model), tuple(fields), holds)


def _grade(weight: float, holds: tuple[str, ...], model: Model) -> str:
    cuts = model.thresholds
    if weight >= cuts["link"].weight and not holds:
        return "certain"
    if weight >= cuts["probable"].weight:
        return "possible" if "medid.match.hold.two-pinfl" in holds else "probable"
    return "possible" if weight >= cuts["review"].weight else "certainly-not"
