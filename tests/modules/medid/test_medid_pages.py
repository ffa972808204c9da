"""What the screens of persons make of typed text and of another person's numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.modules.medid.api import Span
from dmed.modules.medid.pages.shared import MASKED, iso_day, masked


@pytest.mark.parametrize(
    ("typed", "day"),
    [("12.03.1992", "1992-03-12"), ("12.3.1992", "1992-03-12"), ("12031992", "1992-03-12"),
     ("12/03/1992", "1992-03-12"), ("12 03 1992", "1992-03-12"), ("1992-03-12", "1992-03-12"),
     ("1992", "1992"), ("soon", "soon"), ("", "")],
)  # fmt: skip  # A table of cases.
def test_days_are_read_as_they_are_spoken(typed: str, day: str) -> None:
    """Day, month, year with dots, blanks, strokes or nothing; other text stays for the check."""
    assert iso_day(typed) == day


@given(st.text(max_size=12))
def test_no_text_breaks_the_reading_of_a_day(typed: str) -> None:
    """Whatever is typed, a text comes back."""
    assert isinstance(iso_day(typed), str)


@given(
    st.lists(st.tuples(st.text("0123456789", min_size=1, max_size=6), st.booleans()), max_size=5)
)
def test_numbers_of_others_show_only_their_ends(parts: list[tuple[str, bool]]) -> None:
    """Of a PINFL the last four digits, marks kept; the length does not change."""
    spans = tuple(Span(text, differs) for text, differs in parts)
    whole = "".join(span.text for span in spans)
    shown = masked(spans, *MASKED["pinfl"])

    said = "".join(span.text for span in shown)
    assert said == "•" * max(len(whole) - 4, 0) + whole[max(len(whole) - 4, 0) :]
    assert [span.is_different for span in shown] == [span.is_different for span in spans]
