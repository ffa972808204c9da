"""What screens of persons share: days as typed, masked numbers, places to choose from."""

from __future__ import annotations

import re
from collections.abc import Callable

from dmed.kit.i18n import Speech
from dmed.modules.facilities import api as facilities
from dmed.modules.medid.model import Span

MASKED = {"pinfl": (0, 4), "phone": (6, 4)}
"""Numbers of another person's card: how many signs at the beginning and at the end are shown."""
_TYPED_DAY = re.compile(r"([0-9]{1,2})[./ ]?([0-9]{2}|(?<=[./ ])[0-9])[./ ]?([0-9]{4})")


def plain(spans: tuple[Span, ...], say: Callable[[str], str]) -> tuple[Span, ...]:
    """The spans' whole text said in another way; marks are lost where nothing differs anyhow."""
    text = "".join(span.text for span in spans)
    return (Span(say(text)),) if text else ()


def masked(spans: tuple[Span, ...], head: int, tail: int) -> tuple[Span, ...]:
    """The spans with dots for all but the first and last signs: enough to compare, no more."""
    total, at, made = sum(len(span.text) for span in spans), 0, []
    for span in spans:
        shown = "".join(
            sign if place < head or place >= total - tail else "•"
            for place, sign in enumerate(span.text, at)
        )
        made.append(Span(shown, span.is_different))
        at += len(span.text)
    return tuple(made)


def named(places: list[tuple[str, str]], t: Speech) -> list[tuple[str, str]]:
    """(code, name) of regions or districts in the reader's letters."""
    return [(code, t.script(name)) for code, name in places]


def districts_of(region: str, t: Speech) -> list[tuple[str, str]]:
    """(code, name) of the districts of a region, by name; none for an unknown one."""
    return sorted(named(facilities.districts(region, t.language), t), key=lambda row: row[1])


def iso_day(text: str) -> str:
    """A day as people type it (12.03.1992, 12031992, 12/03/1992) as FHIR writes it; other text
    stays, for the check to say what is wrong.

    >>> iso_day("12.3.1992"), iso_day("12031992"), iso_day("1992-03-12")
    ('1992-03-12', '1992-03-12', '1992-03-12')
    """
    found = _TYPED_DAY.fullmatch(text)
    if found is None:
        return text
    day, month, year = found.groups()
    return f"{year}-{int(month):02d}-{int(day):02d}"
