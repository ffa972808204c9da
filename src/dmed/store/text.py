"""`_text`, `section-text`, `_content`: rows of words of each record, kept by writes and loads.

A row holds the text of a tsvector; the index is GIN over it. Each document carries a mark of its
type and kind, so that a word which is frequent elsewhere costs nothing here. What it costs is in
docs/reference/search-text.md; DMED_CONTENT_SEARCH=false keeps no content.
https://hl7.org/fhir/R5/search.html#_content
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from dmed.fhir import words
from dmed.fhir.index import parameter_number
from dmed.fhir.query_model import Match, Words
from dmed.fhir.words import Texts
from dmed.kit import settings
from dmed.store.keys import type_number
from dmed.store.plan_filter import Bind

Row = tuple[int, int, int, str]


@cache
def keeps_content() -> bool:
    """Whether this installation keeps the words of whole records."""
    return settings.load().content_search


def rows(type_name: str, vid: int, bucket: int, texts: Texts) -> list[Row]:
    """The rows of a record: (vid, bucket, parameter, document), of its texts (`words.texts_of`)."""
    asked: list[tuple[str, Sequence[str]]] = []
    if texts.narrative:
        asked.append(("_text", [texts.narrative]))
    if texts.sections:
        asked.append(("section-text", texts.sections))
    if keeps_content():
        asked.append(("_content", texts.all))
    found = [(vid, bucket, _number(type_name, code), words.document(said, mark(type_name, code)))
             for code, said in asked]
    return [row for row in found if row[3]]


_number = cache(parameter_number)


@cache
def mark(type_name: str, code: str) -> str:
    """The word that each document of a type and parameter carries; no caller's word has a `_`."""
    return f"_{code[1]}{type_number(type_name)}"


def condition(match: Match, alias: str, bind: Bind) -> str:
    """What a criterion asks of a row of words."""
    sign = mark(match.type, match.code)
    queries = [f"'{sign}' & {value.query}" for value in match.values if isinstance(value, Words)]
    parts = [f"{alias}.document::tsvector @@ {bind(query, 'text')}::tsquery" for query in queries]
    return " OR ".join(parts) or "false"
