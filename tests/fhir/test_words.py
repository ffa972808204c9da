"""Words of records and searches for words, folded alike; any text makes a tsquery or a fault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, words
from dmed.kit.errors import InvalidError


def document(*texts: str) -> str:
    return words.document(["", *texts], "_c1")


def texts(record: dict[str, Any]) -> list[str]:
    return words.texts_of(codec.decode(msgspec.json.encode(record))).all


def test_words_have_places_in_one_script() -> None:
    """Cyrillic and Latin become one; each word has its places, texts a gap between them."""
    assert document("Qon bosimi", "Қон қон") == "_c1 qon:4,9,10 bosimi:5"


def test_addresses_and_dates_are_no_words() -> None:
    """Ids, references, systems, bytes and dates are left out; displays and codes stay."""
    record = {"resourceType": "Observation", "id": "abc", "issued": "2024-05-05T10:00:00Z",
              "meta": {"source": "urn:x"}, "_status": {"extension": [
                  {"url": "http://x", "valueString": "doubtful"},
                  {"url": "http://y", "valueDecimal": 1.5}]},
              "contained": [{"resourceType": "Patient", "id": "c", "name": [{"given": ["Lola"]}]}],
              "subject": {"reference": "Patient/1", "display": "Ali"},
              "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}}

    assert texts(record) == ["", "Lola", "doubtful", "8480-6", "Ali"]


def test_a_narrative_is_read_without_its_marks() -> None:
    """Tags are no words, entities are letters; a record without a narrative has none."""
    record = {"resourceType": "Basic", "text": {
        "status": "extensions", "div": "<div><p class='x'>Caf&eacute; <b>au</b> lait</p></div>"}}
    narrative, *others = texts(record)

    assert words.document([narrative], "_t1") == "_t1 cafe:1 au:2 lait:3"
    assert others == ["extensions"]
    assert texts({"resourceType": "Basic", "language": "uz"}) == ["", "uz"]
    assert words.document([""], "_t1") == ""


def test_a_record_has_a_limit() -> None:
    """However long a record is, so many words are kept that a tsvector holds them."""
    text = " ".join(f"{'я' * 60}{number}" for number in range(20_000))
    kept = document(text, text)

    assert len(kept.encode()) < 1_000_000
    assert len(document(" ".join(map(str, range(20_000)))).split()) <= words.WORDS_MAX + 1


@pytest.mark.parametrize(("text", "query"), [
    ("heart", "'heart'"),
    ("Йўлдошева", "'yoldosheva'"),
    ("heart attack", "('heart' & 'attack')"),
    ("heart AND attack", "('heart' & 'attack')"),
    ('"acute failure"', "('acute' <-> 'failure')"),
    ("a OR b c", "('a' | ('b' & 'c'))"),
    ("(a OR b) NOT c*", "(('a' | 'b') & !'c':*)"),
    ("-x", "!'x'"),
    ("o'lim'; drop", "('olim' & 'drop')"),
    ("8480-6", "('8480' <-> '6')"),
])
def test_a_search_for_words_is_read(text: str, query: str) -> None:
    """Blanks, AND, OR, NOT, quotes, parentheses and `*` mean what the page says."""
    assert words.sought(text, "_text").query == query


@pytest.mark.parametrize("text", ["", "(", ")", "a)", "(a", "OR", "a OR", "NOT", '""', "*", "!",
                                  "a " * 51, "(" * 60 + "a" + ")" * 60])
def test_what_cannot_be_sought_is_refused(text: str) -> None:
    """A search without a word, with open parentheses or too large is a 400 of its parameter."""
    with pytest.raises(InvalidError) as caught:
        words.sought(text, "_content")

    assert caught.value.issues[0].expression == "_content"


@given(text=st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_nothing_of_a_callers_text_is_syntax(text: str) -> None:
    """Whatever is sought, the query has only quoted folded words and our own signs."""
    try:
        query = words.sought(text, "_text").query
    except InvalidError:
        return
    outside = query.split("'")[::2]
    inside = query.split("'")[1::2]

    assert all(set(part) <= set("()&|!<->:* ") for part in outside)
    assert all(word.isalnum() or words.words_of(word) == (word,) for word in inside)
