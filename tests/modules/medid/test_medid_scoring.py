"""The score: what speaks for one person, what for relatives, and that it says why."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmed.modules.medid
from dmed.modules.medid.rules import scoring
from dmed.modules.medid.rules.numbers import PINFL_SYSTEM, compose_pinfl
from dmed.modules.medid.rules.scoring import PersonFacts, Score, facts_of, score, shipped

LOCALES = Path(dmed.modules.medid.__file__).parent / "data" / "locale"
MILLION = 1_000_000


def patient(family: str, given: str, father: str = "", born: str = "1987-11-24",
            sex: str = "female", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Patient", "gender": sex, "birthDate": born,
        "name": [{"family": family, "given": [given], **({"suffix": [father]} if father else {})}]}
    if pinfl := more.pop("pinfl", ""):
        made["identifier"] = [{"system": PINFL_SYSTEM, "value": pinfl}]
    if phone := more.pop("phone", ""):
        made["telecom"] = [{"system": "phone", "value": phone}]
    if district := more.pop("district", ""):
        made["address"] = [{"district": district}]
    return made | more


def scored(one: dict[str, Any], other: dict[str, Any]) -> Score:
    return score(facts_of(one), facts_of(other), persons=MILLION)


def levels(said: Score) -> dict[str, str]:
    return {each.name: each.level for each in said.fields}


BORN = date(1987, 11, 24)
PINFL = compose_pinfl(BORN, "female", 204, 24)
OTHER_PINFL = compose_pinfl(BORN, "female", 204, 25)
HOME = {"phone": "901234567", "district": "1726266"}


def test_one_person_in_two_alphabets_is_certain() -> None:
    """Uzbek Latin and Russian spelling, patronymic in two forms, one phone: linked by itself."""
    said = scored(patient("Yo‘ldosheva", "Dilnoza", "Botir qizi", **HOME),
                  patient("Юлдашева", "Дилноза", "Батыровна", **HOME))

    assert said.grade == "certain"
    assert said.probability > 0.9999
    assert not said.holds
    assert said.weight == pytest.approx(sum(one.weight for one in said.fields) - 19.93, abs=0.1)


def test_a_pinfl_is_not_weighed_twice() -> None:
    """Where a sound PINFL agrees, birth date and sex weigh nothing: it holds them."""
    said = scored(patient("Yo‘ldosheva", "Dilnoza", pinfl=PINFL),
                  patient("Юлдашева", "Дилноза", pinfl=PINFL))

    weights = {one.name: one.weight for one in said.fields}
    assert levels(said)["pinfl"] == "same"
    assert (levels(said)["birth"], levels(said)["sex"]) == ("held", "held")
    assert weights["birth"] == weights["sex"] == 0
    assert said.grade == "certain"


def test_a_pinfl_with_a_wrong_digit_claims_nothing() -> None:
    """A PINFL whose check digit is wrong, or that is marked as unproven, is no fact."""
    wrong = PINFL[:-1] + str((int(PINFL[-1]) + 1) % 10)
    temporary = patient("A", "B") | {"identifier": [
        {"system": PINFL_SYSTEM, "value": PINFL, "use": "temp"}]}

    assert facts_of(patient("A", "B", pinfl=wrong)).pinfl == ""
    assert facts_of(temporary).pinfl == ""
    assert "pinfl" not in levels(scored(patient("A", "B", pinfl=PINFL), temporary))


def test_two_sound_pinfls_are_never_linked() -> None:
    """Same name, date, phone and place, but two sound numbers: people decide, never the sum."""
    said = scored(patient("Yo‘ldosheva", "Dilnoza", "Botir qizi", pinfl=PINFL, **HOME),
                  patient("Yo‘ldosheva", "Dilnoza", "Botir qizi", pinfl=OTHER_PINFL, **HOME))

    assert said.grade == "possible"
    assert "medid.match.hold.two-pinfl" in said.holds


@pytest.mark.parametrize(("one", "other"), [
    ("Hasan", "Husan"), ("Хасан", "Husan"), ("Fotima", "Zuhra"), ("Nodir", "Qodir"),
    ("Nozima", "Nozila"), ("Umid", "Umida"), ("Hasanboy", "Husanboy"), ("H.", "Husan"),
    ("Zarina", "Karina"), ("Dilfuza", "Dilnoza")])
def test_twins_are_never_linked(one: str, other: str) -> None:
    """All but the given name agrees, phone and place too: never certain, whoever comes first.

    With names that the list of names knows; a name it does not know could be a slip of the pen.
    """
    names = {each: scoring.sound(each).key for each in (one, other)}
    common = dict(shipped().shares.get("given", {})) | dict.fromkeys(names.values(), 0.001)
    model = msgspec.structs.replace(shipped(), shares={**shipped().shares, "given": common})
    sides = [facts_of(patient("Karimov", each, "Botir o‘g‘li", "1990-05-06", "male", **HOME))
             for each in (one, other)]

    for said in (score(*sides, model, persons=MILLION),
                 score(*reversed(sides), model, persons=MILLION)):
        assert said.grade != "certain"
        assert said.holds


def test_father_and_son_of_one_name_are_never_linked() -> None:
    """One name, phone and house, born 25 years apart: never certain, with or without the dates."""
    father = patient("Karimov", "Anvar", "Botir o‘g‘li", "1960-05-06", "male", **HOME)
    son = patient("Karimov", "Anvar", "Anvar o‘g‘li", "1985-05-06", "male", **HOME)
    undated = {key: value for key, value in son.items() if key != "birthDate"}

    for said in (scored(father, son), scored(father, undated)):
        assert said.grade != "certain"
        assert said.holds


def test_name_and_birth_date_alone_are_not_enough() -> None:
    """A namesake born the same day is never linked while nothing else agrees."""
    said = scored(patient("Karimov", "Anvar", "Botir o‘g‘li", sex="male"),
                  patient("Karimov", "Anvar", "Botir o‘g‘li", sex="male"))

    assert said.holds == ("medid.match.hold.alone",)
    assert said.grade == "probable"


def test_a_woman_who_married_is_found() -> None:
    """Another surname with the same given name, father, date and phone is hers."""
    said = scored(patient("Karimova", "Dilnoza", "Botir qizi", **HOME),
                  patient("Yo‘ldosheva", "Dilnoza", "Ботировна", **HOME))

    assert levels(said)["family"] == "changed"
    assert said.grade == "certain"


def test_every_earlier_name_counts() -> None:
    """A maiden name on one card meets the surname of the other."""
    card = patient("Karimova", "Dilnoza")
    card["name"].append({"use": "maiden", "family": "Yo‘ldosheva", "given": ["Dilnoza"]})

    assert levels(scored(card, patient("Юлдашева", "Дилноза")))["family"] == "same"


def test_surname_and_given_name_may_be_swapped() -> None:
    """Swapped fields are seen as such and speak for one person."""
    said = scored(patient("Yo‘ldosheva", "Dilnoza", **HOME), patient("Дилноза", "Юлдашева", **HOME))

    assert levels(said)["family"] == levels(said)["given"] == "swapped"
    assert said.grade == "certain"


@pytest.mark.parametrize(("other", "level"), [
    ("1987-11-24", "same"), ("1987-11-25", "near"), ("1988-11-24", "near"), ("1987-12-25", "loose"),
    ("1987-01-01", "year"), ("1987", "year"), ("1987-11", "year"), ("1960-05-06", "different")])
def test_birth_dates_have_levels(other: str, level: str) -> None:
    """Each way in which dates are mistaken has its own level, the same both ways."""
    assert scoring.birth_level("1987-11-24", other) == level
    assert scoring.birth_level(other, "1987-11-24") == level
    assert scoring.birth_level("1987-11-02", "1987-02-11") == "swapped"
    assert scoring.birth_level("1987-01-01", "1987-01-01") == "new-year"


def test_rare_names_weigh_more() -> None:
    """A surname of few persons says more than one of many."""
    key = scoring.sound("Karimov").key
    model = msgspec.structs.replace(
        shipped(), shares={"family": {key: 0.02}}, rare_share=1e-5)
    common = score(facts_of(patient("Karimov", "A")), facts_of(patient("Karimov", "B")), model)
    rare = score(facts_of(patient("Temurmalikov", "A")), facts_of(patient("Temurmalikov", "B")),
                 model)

    assert rare.fields[0].weight > common.fields[0].weight + 5


_WORDS = st.sampled_from(
    ["", "Karimov", "Каримов", "Anvar", "Анвар", "Rahim", "X", "Hasan", "Husan"])
_CARDS = st.builds(
    patient, _WORDS, _WORDS, _WORDS, st.sampled_from(["", "1990", "1990-05-06", "1990-06-05"]),
    st.sampled_from(["male", "female", "unknown", ""]), pinfl=st.sampled_from(["", PINFL, "123"]),
    phone=st.sampled_from(["", "901234567", "+998901234567"]),
    district=st.sampled_from(["", "Чиланзар", "Chilonzor"]))


@settings(max_examples=150)
@given(_CARDS, _CARDS)
def test_the_score_is_symmetric_bounded_and_explained(one: dict[str, Any], other: dict[str, Any],
                                                      ) -> None:
    """For any cards: the same both ways, a probability, and a sentence for every level."""
    there, back = scored(one, other), scored(other, one)
    words = json.loads((LOCALES / "en.json").read_text())

    assert there.weight == pytest.approx(back.weight)
    assert (there.grade, there.holds) == (back.grade, back.holds)
    assert 0 <= there.probability <= 1
    assert there.grade in scoring.GRADES
    assert all(each.key in words for each in there.fields)
    assert all(key in words for key in there.holds)


@pytest.mark.parametrize("language", ["uz", "ru", "en"])
def test_every_level_of_the_model_has_its_sentence(language: str) -> None:
    """Whatever the weights name is said in all languages, grades too."""
    words = json.loads((LOCALES / f"{language}.json").read_text())
    keys = {f"medid.match.{field}.{level}" for field, found in shipped().fields.items()
            for level in found} | {f"medid.match.grade.{one}" for one in scoring.GRADES}

    assert keys <= words.keys()


def test_malformed_cards_have_facts() -> None:
    """An empty card and one with odd parts are read without a fault and match nobody."""
    odd = {"birthDate": "1990", "gender": "other", "name": [{"text": "Anvar"}], "address": [{}],
           "telecom": [{"system": "phone"}], "identifier": [{"value": "1"}]}

    assert facts_of({}) == PersonFacts()
    assert facts_of({"birthDate": "1q11-02-03"}).birth == ""
    assert score(facts_of(odd), facts_of({})).grade == "certainly-not"


def test_learnt_weights_are_used_where_an_installation_has_them(tmp_path: Path) -> None:
    """A file of weights in the installation's folder decides; without it the shipped ones do."""
    assert scoring.installed(tmp_path) is None
    (tmp_path / scoring.WEIGHTS_FILE).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(shipped(), persons=7)))
    found = scoring.installed(tmp_path)

    assert found is not None
    assert found.persons == 7
    sides = [facts_of(patient("Karimov", "Anvar")), facts_of(patient("Karimov", "Anvar"))]
    before = score(*sides).weight
    try:
        scoring.use(found)
        assert score(*sides).weight > before
    finally:
        scoring.use(None)
    assert score(*sides).weight == before
