"""What the one search box decides from text and role alone."""

from __future__ import annotations

import pytest

from dmed.modules.access import rules
from dmed.modules.access.pages.home import PLACES
from dmed.modules.access.service import digits_of_number
from dmed.trust.model import Role

NAMED = [(place, title) for place, title in zip(
    PLACES, ("Bugun", "Shaxslar", "Yangi shaxs", "Peshtaxta", "Bugun", "Men", "Ilovalar",
             "Qismlar"),
    strict=True)]  # fmt: skip  # Titles as the Uzbek pages show them.


def test_a_screen_is_found_by_any_of_its_words_in_any_script() -> None:
    """The beginning of a word is enough, in Latin or Cyrillic letters."""
    found = {text: [place.path for place, _ in rules.places_for(text, Role.DOCTOR, NAMED)]
             for text in ("shax", "шахс", "yangi", "zzz", "")}  # fmt: skip  # One look-up a text.

    assert found["shax"] == found["шахс"] == ["/persons", "/persons/new"]
    assert found["yangi"] == ["/persons/new"]
    assert found["zzz"] == found[""] == []


def test_screens_of_other_roles_are_not_offered() -> None:
    """A pharmacist finds the counter and no register of persons."""
    paths = [
        place.path
        for text in ("pesh", "shax")
        for place, _ in rules.places_for(text, Role.PHARMACIST, NAMED)
    ]

    assert paths == ["/counter"]


@pytest.mark.parametrize(
    ("text", "role", "person", "medicine"),
    [("Kar", Role.DOCTOR, True, True), ("Ka", Role.DOCTOR, False, True),
     ("Karimova", Role.PHARMACIST, False, True), ("41203921234567", Role.REGISTRAR, True, False),
     ("1726-0048", Role.PHARMACIST, False, False), ("Karimova", Role.ADMINISTRATOR, False, False)],
)  # fmt: skip  # A table of cases.
def test_each_role_searches_what_it_works_with(
    text: str, role: Role, person: bool, medicine: bool
) -> None:
    """A pharmacist cannot browse persons; numbers are no medicines."""
    assert rules.may_be_person(text, role) is person
    assert rules.may_be_medicine(text, role) is medicine


@pytest.mark.parametrize(
    ("address", "card"),
    [("http://localhost:8080/card/0a1-ff?tab=results", "0a1-ff"),
     ("/card/0a1-ff/prescribe", "0a1-ff"), ("http://localhost:8080/persons", ""), ("", "")],
)  # fmt: skip  # Same.
def test_the_open_card_is_known_from_the_address(address: str, card: str) -> None:
    """A medicine found while a card is open is prescribed for that person."""
    assert rules.card_in(address) == card


def test_a_number_is_read_with_its_hyphens_or_from_a_code() -> None:
    """Thirteen digits are the number, whatever stands between or behind them."""
    assert digits_of_number("1726-0048-2215-9") == "1726004822159"
    assert digits_of_number("1726004822159.AB12") == "1726004822159"
