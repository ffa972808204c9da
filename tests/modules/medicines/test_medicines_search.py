"""Search of medicines as you type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.modules.medicines import api, rules
from dmed.modules.medicines.rules import search


def _first(text: str) -> str:
    hits = api.search(text, "uz", 5)
    return hits[0].preparation.inn.key if hits else ""


@pytest.mark.parametrize(
    ("typed", "inn"),
    [
        ("amoks", "amoxicillin"),
        ("Амоксициллин", "amoxicillin"),
        ("амоксицилин", "amoxicillin"),
        ("amoxicilin", "amoxicillin"),
        ("amoksisilin", "amoxicillin"),
        ("J01CA04", "amoxicillin"),
        ("Amoxinamun", "amoxicillin"),
        ("парацетамол", "paracetamol"),
        ("парацитамол", "paracetamol"),
        ("paratsetamol", "paracetamol"),
        ("фосфомицин", "fosfomycin"),
        ("fosfomitsin", "fosfomycin"),
        ("темир сульфат", "ferrous-sulfate"),
        ("foliy", "folic-acid"),
        ("ципрофлоксоцин", "ciprofloxacin"),
        ("metformni", "metformin"),
        ("аспирин", "acetylsalicylic-acid"),
    ],
)
def test_a_medicine_is_found_in_every_script_with_small_errors(typed: str, inn: str) -> None:
    """INN, trade name and ATC code find the medicine in Latin, Cyrillic and Russian spelling."""
    assert inn == _first(typed)


def test_strength_and_form_narrow_the_list() -> None:
    """Parts with digits narrow by strength, further words by form."""
    found = api.search("amoks 500 kapsula", "uz", 10)

    assert {"amoxicillin-capsule-500mg"} == {hit.preparation.key for hit in found}


def test_hit_shows_packs_and_trade_names() -> None:
    """A hit carries its label in the reader's language, trade names and pack sizes."""
    hit = api.search("амоксициллин 500 капсул", "ru", 3)[0]

    assert hit.label == "Амоксициллин 500 мг капсулы"
    assert hit.trades
    assert list(hit.packs) == sorted(hit.packs)


def test_nothing_typed_finds_nothing() -> None:
    """Empty text, blanks and a lone number give no hit."""
    assert [] == api.search("", "uz") == api.search("   ", "uz") == api.search("500", "uz")


def test_allergy_search_finds_inns() -> None:
    """INNs are found by any script, components of combinations too."""
    assert api.inns("парацетамол", "ru")[0].key == "paracetamol"
    assert "clavulanic-acid" in {each.key for each in api.inns("klavulon", "uz")}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_search_never_fails(text: str) -> None:
    """Any text gives a list of at most `limit` hits, best first."""
    hits = api.search(text, "ru", 4)

    assert len(hits) <= 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@settings(max_examples=100, deadline=None)
@given(st.text("abc", min_size=1, max_size=7), st.text("abc", min_size=1, max_size=9))
def test_distance_of_a_beginning_is_bounded(typed: str, word: str) -> None:
    """The distance is 0 exactly for a beginning and never above the typed length."""
    distance = rules.beginning_distance(typed, word, 9)

    assert (distance == 0) == word.startswith(typed)
    assert distance <= len(typed)


@settings(max_examples=100, deadline=None)
@given(
    st.text("abc", min_size=1, max_size=7),
    st.lists(st.text("abc", min_size=1, max_size=10), unique=True, max_size=12),
    st.integers(1, 2),
)
def test_many_words_are_measured_as_each_of_them(
    typed: str, words: list[str], limit: int
) -> None:
    """The walk over sorted words gives the distance of each word, or more than the limit."""
    ordered = sorted(words)
    found = dict(search.distances(typed, ordered, range(len(ordered)), limit))

    for number, word in enumerate(ordered):
        alone = rules.beginning_distance(typed, word, limit)
        assert min(found[number], limit + 1) == min(alone, limit + 1)
