"""Texts, dates and numbers of the shipped languages."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit import clock, i18n
from dmed.kit.text import is_cyrillic

SOURCE = Path(i18n.__file__).resolve().parent.parent
PLACE = re.compile(r"\{(\w+)")


def test_no_language_lacks_a_key() -> None:
    """Every key of one written language is in all of them, so a page never falls back."""
    lacking = i18n.translator().missing()

    assert lacking == {"uz": [], "ru": [], "en": []}


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_places_are_the_same_in_every_language(language: str) -> None:
    """A text asks for the same values in each language; plural forms may be missing in one."""
    texts = i18n.translator().texts
    differing = [
        key
        for key, text in texts["uz"].items()
        if set(PLACE.findall(text)) != set(PLACE.findall(texts[language][key]))
        and not key.startswith("said.")  # English there is a pattern and holds more.
    ]

    assert differing == []


def keys_in_source() -> set[str]:
    """Literal keys in templates and Python: t("shell.skip"), key="menu.home"."""
    found: set[str] = set()
    for path in [*SOURCE.rglob("templates/**/*.html"), *SOURCE.glob("modules/*/pages.py")]:
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"""\bt\(\s*["']([a-z][\w-]*(?:\.[\w-]+)+)["']\s*[,)]""", text))
        found |= set(re.findall(r"""\bkey=["']([a-z]\w*\.[\w.-]+)["']""", text))
        found |= set(re.findall(r"""Place\(["']([a-z]\w*\.[\w.-]+)["']""", text))
    return found


def test_every_key_that_screens_name_has_a_text() -> None:
    """A key written in a template or a screen's code is a key of the locale files."""
    missing = sorted(key for key in keys_in_source() if not i18n.translator().has(key))

    assert missing == []
    assert len(keys_in_source()) > 200


def test_cyrillic_uzbek_has_no_latin_words_left() -> None:
    """The rule reaches every word but technical names, keys of the keyboard and places."""
    kept = {"DMED", "MED-ID", "QR", "DataMatrix", "PDF", "Enter", "ATC", "GTIN", "F", "L", "g", "s",
            "FHIR", "FHIRPath", "R5", "JSON", "URI", "URL", "Patient", "Observation",
            "true", "false", "ID-карта", "ABC123456", "M09AX07"}  # fmt: skip  # A list of names.
    left = {
        word
        for text in i18n.translator().texts["uz-Cyrl"].values()
        for word in re.findall(r"[A-Za-z][\w-]*", re.sub(r"\{[^{}]*\}", "", text))
    }

    assert left <= kept, sorted(left - kept)


def test_exceptions_beat_the_rule() -> None:
    """Loan words keep their own spelling with any ending, and abbreviations their capitals."""
    cyrillic = i18n.translator().cyrillic

    assert cyrillic("Retseptni farmatsevtga") == "Рецептни фармацевтга"
    assert cyrillic("JShShIR, XPN") == "ЖШШИР, ХПН"
    assert cyrillic("{name} gacha, MED-ID") == "{name} гача, MED-ID"


@pytest.mark.parametrize(
    ("language", "count", "said"),
    [
        ("ru", 1, "1 год"), ("ru", 3, "3 года"), ("ru", 11, "11 лет"), ("ru", 21, "21 год"),
        ("ru", 34, "34 года"), ("en", 1, "1 year"), ("en", 2, "2 years"), ("uz", 34, "34 yosh"),
        ("uz-Cyrl", 34, "34 ёш"),
    ],
)  # fmt: skip  # A table of cases.
def test_words_follow_their_number(language: str, count: int, said: str) -> None:
    """The plural form is that of the language."""
    assert i18n.translator().text(language, "date.age_years", count=count) == said


@pytest.mark.parametrize(
    ("language", "day", "number"),
    [("uz", "18.11.2026", "12 345,50"), ("ru", "18.11.2026", "12 345,50"),
     ("en", "18 Nov 2026", "12 345.50")],
)  # fmt: skip  # Same.
def test_dates_and_numbers_follow_the_language(language: str, day: str, number: str) -> None:
    """Day, decimal sign and groups of thousands are those of the language."""
    speech = i18n.translator().speech(language)

    assert speech.date("2026-11-18") == day
    assert speech.date(date(2026, 11, 18)) == day
    assert speech.number("12345.50").replace(" ", " ") == number


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("price", "20500", "20 500"), ("most", "0.5", "0,5"), ("total", "-1.25", "−1,25"),
     ("lot", "20500", "20500"), ("most", "1e9", "1e9"), ("price", "", ""), ("most", "７", "７")],
)  # fmt: skip  # A table of cases.
def test_sums_and_limits_in_sentences_are_written_as_numbers(
    name: str, value: str, said: str
) -> None:
    """What is a sum by its name and a number by its signs is grouped; a batch or a word is not."""
    shown = i18n.translator().speech("uz").figure(name, value)

    assert shown.replace("\u2009", " ").replace("\u202f", " ").replace("\xa0", " ") == said


def test_partial_dates_stay_partial() -> None:
    """A FHIR date without day or month is not made longer than it is."""
    speech = i18n.translator().speech("ru")

    assert [speech.date("2019"), speech.date("2019-05"), speech.date("")] == ["2019", "05.2019", ""]


def test_recent_days_are_said_in_words() -> None:
    """Today and yesterday have names; the moment carries the time in Tashkent."""
    speech = i18n.translator().speech("en")
    today = clock.today()

    assert speech.day(today) == "today"
    assert speech.day((today - timedelta(days=1)).isoformat()) == "yesterday"
    assert speech.moment("2020-01-02T20:30:00Z") == "3 Jan 2020 01:30"


def test_ages_of_the_small_are_told_in_months_and_days() -> None:
    """Two years and more in years, then months, then days."""
    speech, at = i18n.translator().speech("en"), date(2026, 11, 23)

    said = [speech.age(born, at) for born in ("1992-03-12", "2026-02-20", "2026-11-20", "")]

    assert said == ["34 years", "9 months old", "3 days old", ""]


def test_a_missing_key_is_seen_and_a_missing_value_too() -> None:
    """Nothing breaks: the key or the place itself is shown."""
    speech = i18n.translator().speech("uz")

    assert speech("no.such.key") == "no.such.key"
    assert "{name}" in speech("card.attached")


def test_two_files_may_not_differ_over_a_key(tmp_path: Path) -> None:
    """A key in two files with two texts is a fault at start, not a surprise on a screen."""
    for name, text in (("one", "bir"), ("two", "ikki")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "uz.json").write_text(json.dumps({"a.b": text}), encoding="utf-8")

    with pytest.raises(ValueError, match=r"a\.b"):
        i18n.read_texts([tmp_path / "one", tmp_path / "two"])


@settings(max_examples=50)
@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
    )
)
def test_numbers_keep_their_digits(value: object) -> None:
    """Whatever the grouping, the digits shown are the digits given."""
    shown = i18n.translator().speech("ru").number(value)  # type: ignore[arg-type]  # A Decimal.

    assert [c for c in shown if c.isdecimal()] == [c for c in f"{value:f}" if c.isdecimal()]


def test_names_of_data_take_the_readers_letters() -> None:
    """Only Cyrillic Uzbek rewrites a Latin name; the others show it as it was written."""
    translator = i18n.translator()

    assert is_cyrillic(translator.speech("uz-Cyrl").script("Karimova Dilnoza"))
    assert translator.speech("ru").script("Karimova Dilnoza") == "Karimova Dilnoza"
