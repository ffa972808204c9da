"""PINFL, MED-ID, drafts and likeness as pure rules."""

from __future__ import annotations

from datetime import date
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir.persons import code_of
from dmed.kit.text import name_key
from dmed.modules.medid import rules
from dmed.modules.medid.demo import names
from dmed.modules.medid.model import Draft
from dmed.modules.medid.rules import keys, reading
from dmed.trust.gateway.people import Candidate

CODES = st.sampled_from([0, *map(
    code_of, ("karim", "karimav", "alisar", "alihsar", "ali", "daln", "jaldas", "k"))])
TODAY = date(2026, 11, 20)
births = st.dates(date(1900, 1, 1), date(2099, 12, 31))
sexes = st.sampled_from(["male", "female"])
areas = st.integers(0, 999)


@pytest.mark.parametrize(("number", "sex", "born"), [
    ("31210632040244", "male", date(1963, 10, 12)),
    ("31210932040247", "male", date(1993, 10, 12)),
    ("40201902050010", "female", date(1990, 1, 2)),
])  # fmt: skip  # Three numbers of the national guide.
def test_numbers_of_the_guide_are_sound(number, sex, born):
    """The published examples have the right check digit and tell sex and birth date."""
    told = rules.read_pinfl(number)

    assert told is not None
    assert (told.sex, told.birth_date, told.is_check_right) == (sex, born, True)


@settings(max_examples=200)
@given(births, sexes, areas, areas)
def test_a_pinfl_tells_what_it_was_made_of(born, sex, area, serial):
    """Century, sex and date survive the way there and back, with blanks in between."""
    number = rules.compose_pinfl(born, sex, area, serial)
    told = rules.read_pinfl(f" {number[:7]} {number[7:]}\n")

    assert told is not None
    assert (told.birth_date, told.sex) == (born, sex)
    assert (told.area, told.serial, told.is_check_right) == (f"{area:03d}", f"{serial:03d}", True)


@settings(max_examples=200)
@given(births, sexes, areas, areas, st.integers(0, 13), st.integers(1, 9))
def test_every_single_wrong_digit_is_noticed(born, sex, area, serial, place, shift):
    """A PINFL with one digit changed is malformed or fails the check digit."""
    number = rules.compose_pinfl(born, sex, area, serial)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1:]
    told = rules.read_pinfl(wrong)

    assert told is None or not told.is_check_right


@pytest.mark.parametrize("text", [
    "", "3121063204024", "312106320402444", "91210632040244", "33213632040244",
    "3121063204024x", "٣١٢١٠٦٣٢٠٤٠٢٤٤", "30002632040244",
])  # fmt: skip  # Short, long, no century, no month, letter, other digits, no day.
def test_malformed_numbers_are_no_pinfl(text):
    """Length, century and date are hard rules."""
    assert rules.read_pinfl(text) is None


@settings(max_examples=200)
@given(st.integers(0, 10**12 - 1), st.integers(0, 12), st.integers(1, 9))
def test_a_med_id_notices_a_wrong_digit(drawn, place, shift):
    """Every single wrong digit breaks a MED-ID."""
    number = rules.new_med_id(drawn)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1:]

    assert rules.is_med_id(rules.show_med_id(number))
    assert not rules.is_med_id(wrong)


@settings(max_examples=200)
@given(st.integers(0, 10**12 - 1), st.integers(0, 11))
def test_a_med_id_notices_swapped_neighbours(drawn, place):
    """Every swap of two different neighbours breaks a MED-ID."""
    number = rules.new_med_id(drawn)
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2:]

    assert swapped == number or not rules.is_med_id(swapped)


def test_a_med_id_is_shown_in_groups_of_four():
    """Thirteen digits as 4 4 4 1."""
    assert rules.show_med_id("4821093755624") == "4821 0937 5562 4"


@pytest.mark.parametrize(("typed", "read"), [
    ("90 123-21-40", "+998901232140"), ("+998 (90) 123 21 40", "+998901232140"),
    ("998901232140", "+998901232140"), ("12345", ""), ("79161234567", ""), ("phone", ""),
])  # fmt: skip  # Typed and read.
def test_phones_are_read_in_any_writing(typed, read):
    """Nine digits or twelve with the code of the country, whatever stands between them."""
    assert rules.read_phone(typed) == read


def test_numbers_are_masked():
    """Lists show the last four digits of a PINFL and hide the middle of a phone."""
    assert rules.mask_pinfl("41203922101043") == "••••••••••1043"
    assert rules.mask_phone("+998901232140") == "+998 90 ••• 21 40"


def _keys(**fields: str) -> dict[str, str]:
    base = {"family": "Karimova", "given": "Dilnoza", "birth_date": "1992-03-12", "sex": "female"}
    found = rules.check(Draft(**{**base, **fields}), TODAY)
    return {finding.key.removeprefix("medid.check."): finding.severity for finding in found}


def test_a_sound_draft_has_nothing_to_say():
    """Name, date, sex and a PINFL that agrees: no finding."""
    assert _keys(pinfl=rules.compose_pinfl(date(1992, 3, 12), "female", 210, 104)) == {}


def test_the_form_is_hard_and_the_rest_of_a_pinfl_is_a_warning():
    """A short number stops; a wrong check digit, date or sex asks to look again."""
    number = rules.compose_pinfl(date(1990, 1, 1), "male", 1, 1)
    broken = number[:-1] + str((int(number[-1]) + 1) % 10)

    assert _keys(pinfl="123") == {"pinfl-form": "error"}
    assert _keys(pinfl=number) == {"pinfl-birth": "warning", "pinfl-sex": "warning"}
    assert "pinfl-check-digit" in _keys(pinfl=broken)
    assert _keys() == {"pinfl-missing": "warning"}


@pytest.mark.parametrize(("fields", "key"), [
    ({"family": " "}, "name-missing"), ({"given": "D1lnoza"}, "name-letters"),
    ({"birth_date": "2027-01-01"}, "birth-future"), ({"birth_date": "1850-01-01"},
                                                    "birth-too-old"),
    ({"birth_date": "31.02.1990"}, "birth-form"), ({"phone": "123"}, "phone-form"),
    ({"region": "1703", "district": "1726266"}, "district-of-region"),
])  # fmt: skip  # A fault and its finding.
def test_each_fault_of_a_draft_is_named(fields, key):
    """What stops a registration is told by its own key."""
    assert _keys(**fields)[key] == "error"


def test_a_pinfl_fills_date_and_sex():
    """Nothing is typed twice: date and sex come out of the number."""
    number = rules.compose_pinfl(date(2019, 5, 30), "male", 3, 4)
    whole = rules.complete(Draft(family="A", given="B", pinfl=number))

    assert (whole.birth_date, whole.sex) == ("2019-05-30", "male")


def test_differing_letters_are_marked_across_scripts():
    """Юлдашева beside Yo‘ldosheva marks Ю and а, and nothing that only changed its script."""
    left, right = rules.spans("Юлдашева", "Yo‘ldosheva")

    assert [span.text for span in left if span.is_different] == ["Ю", "а"]
    assert [span.text for span in right if span.is_different] == ["o", "o"]


@settings(max_examples=100)
@given(st.text(max_size=20), st.text(max_size=20))
def test_spans_lose_nothing(left, right):
    """The spans of a text together are the text."""
    ours, theirs = rules.spans(left, right)

    assert "".join(span.text for span in ours) == left
    assert "".join(span.text for span in theirs) == right


@pytest.mark.parametrize(("field", "ours", "theirs", "verdict"), [
    ("family", "Йўлдошева", "Yuldashev", "same"), ("family", "Karimova", "Kirimova", "alike"),
    ("family", "Karimova", "Rahimova", "different"),
    ("given", "Dilnoza", "Gulchehra", "different"),
    ("birth_date", "1992-03-12", "1992-12-03", "alike"),
    ("birth_date", "1992-03-12", "1993-03-12", "alike"),
    ("birth_date", "1992-03-12", "1985-07-01", "different"),
    ("phone", "+998901232140", "+998901232104", "alike"), ("sex", "male", "female", "different"),
    ("phone", "", "+998901232104", "unknown"),
])  # fmt: skip  # One comparison a line.
def test_fields_are_compared_as_people_err(field, ours, theirs, verdict):
    """Spelling, swapped day and month, a digit more: alike; the rest different."""
    assert rules.compare(field, ours, theirs).verdict == verdict


def test_a_pregnancy_runs_out_by_itself():
    """Weeks are counted from the onset; after the 43rd it is over, and men have none."""
    pregnancy = {
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {"coding": [{"system": reading.ICD10, "code": "Z34.9"}]},
        "onsetDateTime": "2026-06-19"}
    woman = {"gender": "female"}

    assert reading.pregnancy_weeks(woman, [pregnancy], TODAY) == 22
    assert reading.pregnancy_weeks(woman, [pregnancy], date(2027, 6, 1)) is None
    assert reading.pregnancy_weeks({"gender": "male"}, [pregnancy], TODAY) is None
    resolved = {**pregnancy, "clinicalStatus": {"coding": [{"code": "resolved"}]}}

    assert reading.pregnancy_weeks(woman, [resolved], TODAY) is None


@pytest.mark.parametrize(("born", "years", "months"), [
    ("1992-03-12", 34, 8), ("2026-11-20", 0, 0), ("2025-12-21", 0, 10), ("1992", 34, 10),
    ("2030-01-01", -1, 0), ("", -1, 0),
])  # fmt: skip  # Birth date, whole years, months beyond.
def test_ages_are_whole_years_and_months(born, years, months):
    """Birthdays count on their day; a year alone counts from its first day."""
    _, found_years, found_months = reading.ages({"birthDate": born}, TODAY)

    assert (found_years, found_months) == (years, months)


def test_both_spellings_of_our_names_have_one_key():
    """Of names written by hand in Uzbek and in Russian at most one in a hundred parts."""
    pairs = [pair.split(":") for people, pool in names().items() if people != "streets"
             for kind in pool.values() for pair in kind]
    apart = [pair for pair in pairs if name_key(pair[0]) != name_key(pair[1])]

    assert len(pairs) > 350
    assert len(apart) <= len(pairs) / 100, apart


@settings(max_examples=150)
@given(st.lists(st.sampled_from(["karimov", "alish", "k", "alihser", "dil", "yoldosh"]),
                min_size=1, max_size=4),
       st.lists(st.tuples(CODES, CODES, CODES), min_size=1, max_size=12))
def test_names_are_weighed_as_by_trying_every_reading(words, names):
    """The best reading of the words is the one that trying all would find, and what one look has
    weighed serves the next.
    """
    typed = keys.read_typed(" ".join(words))
    found = [Candidate(at, 1, *three, 0, 0, 30_000, 0, 1) for at, three in enumerate(names)]
    weighed = keys.Weighed(typed.words)
    for one in found:
        table = [[keys._fits(word, code) for code in (one.family, one.given, one.patronymic)]
                 for word in typed.words]
        tried = []
        for places in permutations(range(3 + len(table) - 1), len(table)):
            weights = [row[place] if place < 3 else 0
                       for row, place in zip(table, places, strict=True)]
            tried.append((sum(not each for each in weights), -sum(weights)))
        weight, unfit, _ = weighed.fit(one)
        assert (unfit, -weight) == min(tried)
    assert keys.ranked(typed, found, 5, weighed) == keys.ranked(typed, found, 5)
