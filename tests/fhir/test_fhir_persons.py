"""Names as numbers: order, prefixes, one number for every spelling, a row a name."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, params, persons
from dmed.kit.text import name_key

skeletons = st.text(alphabet="abcdfghijklmnprstvz", min_size=1, max_size=persons.LETTERS_MAX)


@given(skeletons, skeletons)
@settings(max_examples=200)
def test_numbers_are_ordered_as_texts(one: str, other: str) -> None:
    """The order of numbers is that of letters, and a number gives its letters back."""
    assert (persons.code_of(one) < persons.code_of(other)) == (one < other)
    assert persons.text_of(persons.code_of(one)) == one


@given(skeletons, skeletons)
@settings(max_examples=200)
def test_a_prefix_is_a_range(one: str, other: str) -> None:
    """Exactly the texts that begin with a prefix lie in its range."""
    begin = persons.code_of(one)
    code = persons.code_of(other)

    assert (begin <= code <= persons.last_with(begin)) == other.startswith(one)


@given(st.dates(date(1850, 1, 1), date(2100, 1, 1)), skeletons)
@settings(max_examples=100)
def test_a_day_and_a_name_are_one_number(day: date, name: str) -> None:
    """It is positive, keeps the day apart, and orders by day and then by name."""
    born = persons.day_of(day)
    number = persons.dated(born, persons.code_of(name))

    assert persons.date_of(born) == day
    assert persons.dated(born, 0) <= number < persons.dated(born + 1, 0) < 2**63


@given(skeletons.filter(lambda word: len(word) > 3), st.data())
@settings(max_examples=100)
def test_one_slip_is_among_the_neighbours(word: str, data: st.DataObject) -> None:
    """A letter lost, changed, added or two swapped: the number is among those near by."""
    word = name_key(word).replace(" ", "")
    if len(word) < 4:
        return
    at = data.draw(st.integers(0, len(word) - 2))
    letter = data.draw(st.sampled_from("bdgkmnrst"))
    slips = {word[:at] + word[at + 1 :], word[:at] + letter + word[at + 1 :],
             word[:at] + letter + word[at:], word[:at] + word[at + 1] + word[at] + word[at + 2 :]}
    near = set(persons.near_codes(persons.code_of(word)))
    for slip in slips:
        plain = "".join(each for place, each in enumerate(slip)
                        if not place or slip[place - 1] != each)
        assert plain == word or persons.code_of(plain) in near | {persons.code_of(word)}


@pytest.mark.parametrize("spellings", [
    ("Yo‘ldosheva", "Yo'ldoshev", "Йўлдошев", "Юлдашева", "Yuldashev", "Yöldoşev"),
    ("Jo‘rayev", "Жўраев", "Джураев", "Djuraev", "Jörayev"),
    ("G‘ulomova", "Ғуломов", "Ğulomov"),
    ("Ótegenov", "Өтегенов", "Ötegenov", "O'tegenov"),
    ("Ájiniyaz", "Әжинияз", "Ajiniyaz", "Ажинияз"),
    ("Gúlayım", "Гүлайым", "Gulayim"),
    ("Dáwletov", "Dawletov"),
    ("Qańlı", "Қаңлы", "Qanli"),
    ("Şerzod", "Sherzod", "Шерзод"),
    ("Çori", "Chori", "Чори"),
    ("Xo‘jayev", "Хўжаев", "Ходжаев", "Khodjaev"),
])  # fmt: skip  # One name in several alphabets: a group a line.
def test_every_spelling_has_one_number(spellings: tuple[str, ...]) -> None:
    """Uzbek Latin (1995 and reformed), Cyrillic, Russian, Karakalpak in both alphabets."""
    assert len({persons.first_code(one) for one in spellings}) == 1


@pytest.mark.parametrize(("typed", "whole"), [
    ("karimo", "Karimov"), ("yuldashe", "Yuldasheva"), ("alish", "Alisher"),
    ("mirzaye", "Mirzayeva"), ("valiyevi", "Valiyevich"), ("каримов", "Karimova"), ("k", "Karim"),
])  # fmt: skip  # Half a word and the whole.
def test_a_half_typed_word_begins_the_whole(typed: str, whole: str) -> None:
    """Some beginning of the half word begins the whole one's skeleton."""
    code = persons.first_code(whole)

    assert any(begin <= code <= persons.last_with(begin) for begin in persons.word_prefixes(typed))


def rows(**patient: Any) -> list[persons.PersonRow]:
    body = msgspec.json.encode({"resourceType": "Patient", **patient})
    resource = codec.decode(body, "Patient")
    made = persons.rows_of(resource)
    assert params.extract(resource).persons == list(dict.fromkeys(made))
    return made


def test_a_person_has_a_row_a_name() -> None:
    """A maiden name is a row more, with the given name of the other; numbers stand in each."""
    found = rows(
        name=[{"use": "official", "family": "Karimova", "given": ["Dilnoza"],
               "suffix": ["Botir qizi"]}, {"use": "maiden", "family": "Yo‘ldosheva"}],
        birthDate="1992-03-12", gender="female",
        identifier=[{"system": persons.PINFL_SYSTEM, "value": "41203922040017"}],
        telecom=[{"system": "phone", "value": "+998 90 123-21-40"}],
        address=[{"state": "1726", "district": "1726266"}])

    assert [persons.text_of(one.family) for one in found] == ["karim", "aldash"]
    assert {(persons.text_of(one.given), persons.text_of(one.patronymic), one.pinfl, one.phone,
             one.district, one.traits) for one in found} == {
        ("dilnaza", "batir", 41203922040017, 998901232140, 1726266, 2)}


def test_a_person_without_a_name_has_a_row_too() -> None:
    """A newborn or an unknown one is found by what there is; half dates say how half they are."""
    (newborn,) = rows(birthDate="2026-11", active=False)
    (unknown,) = rows(name=[{"text": "Noma’lum bemor"}], birthDate="1970")

    assert newborn.traits == persons.MONTH_ONLY | persons.INACTIVE
    assert unknown.traits == persons.YEAR_ONLY
    assert persons.date_of(unknown.born) == date(1970, 1, 1)
    assert unknown.given


def test_rows_are_bounded() -> None:
    """Whoever has fifty names and phones has at most ROWS_MAX rows."""
    letters = "bdfghjklmnprstvz"
    many = [{"family": f"{one}a{other}", "given": ["X"]} for one in letters for other in letters]

    assert len(rows(name=many)) == persons.ROWS_MAX


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=12))
@settings(max_examples=150)
def test_no_text_breaks_a_row(family: str, phone: str, district: str) -> None:
    """Emoji, other scripts, nonsense numbers: every row fits the columns of the table."""
    for code in persons.name_codes(family):
        assert 0 < code < 2**60
    assert 0 <= persons.phone_of(phone) < 10**16
    assert -(2**31) <= persons.district_of(district) < 2**31
