"""What the workspace's form means as a draft, and what a finding says to people."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import FormData

from dmed.kit import i18n
from dmed.kit.errors import InvalidError
from dmed.modules.prescriptions.api import say
from dmed.modules.prescriptions.model import Reason
from dmed.modules.prescriptions.pages import ITEMS_MAX, plain, read_draft

FIELDS = ("preparation", "dose", "times", "days", "quantity", "timing", "as_needed", "note")


def test_a_form_is_read_line_by_line() -> None:
    """Comma or point, coded reasons by rule, and lines without a medicine left out."""
    draft = read_draft(
        FormData({
            "draft": "d1", "diagnosis": "I10", "validity": "chronic", "trustee": "Karimov B.",
            "item-0-preparation": "losartan-film-tablet-50mg", "item-0-dose": "0,5",
            "item-0-times": "2", "item-0-days": "30", "item-0-timing": "morning",
            "override-0-duplicate-inn": "tolerated-before", "override-0-other": "no-such-reason",
            "item-1-dose": "3", "item-2-preparation": "x", "item-2-timing": "never",
        }), "p1")  # fmt: skip  # A form as the browser posts it.

    first, second = draft.items
    assert (draft.id, draft.patient, draft.diagnosis) == ("d1", "p1", "I10")
    assert (draft.validity_class, draft.trustee) == ("chronic", "Karimov B.")
    assert (first.dose, first.times_per_day, first.duration_days) == (Decimal("0.5"), 2, 30)
    assert first.overrides == {"duplicate-inn": "tolerated-before"}
    assert (second.preparation, second.timing, second.dose) == ("x", "", Decimal(0))


@pytest.mark.parametrize("typed", ["abc", "1e9", "-1", "NaN", "Infinity", "1.2.3"])
def test_a_number_that_is_none_is_refused(typed: str) -> None:
    """Nothing is guessed of a dose."""
    with pytest.raises(InvalidError):
        read_draft(FormData({"item-0-preparation": "x", "item-0-dose": typed}), "p1")


def test_half_a_time_a_day_is_refused() -> None:
    """Times and days are whole numbers; rounding them in silence would change the dose."""
    with pytest.raises(InvalidError):
        read_draft(FormData({"item-0-preparation": "x", "item-0-times": "1.5"}), "p1")


@settings(max_examples=60)
@given(st.dictionaries(
    st.builds(lambda place, field: f"item-{place}-{field}", st.integers(0, 7),
              st.sampled_from(FIELDS)), st.text(max_size=12), max_size=12))  # fmt: skip  # A form.
def test_any_form_is_read_or_refused(fields: dict[str, str]) -> None:
    """A hostile form gives at most five lines or a clear refusal, never a fault of ours."""
    with contextlib.suppress(InvalidError):
        assert len(read_draft(FormData(fields), "p1").items) <= ITEMS_MAX


@pytest.mark.parametrize(("value", "shown"), [("2.00", "2"), ("0.50", "0.5"), ("0", ""),
                                              ("10", "10")])  # fmt: skip  # A table of cases.
def test_numbers_in_fields_are_plain(value: str, shown: str) -> None:
    """No needless digits, no exponent, and nothing for zero."""
    assert plain(Decimal(value)) == shown


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_a_finding_names_the_medicine_and_leaves_no_hole(language: str) -> None:
    """With values, and read back from a record without them, the sentence is whole."""
    t = i18n.translator().speech(language)
    fresh = Reason(
        "prescriptions.alert.duplicate_inn", {"inn": "amoxicillin", "until": "29.11.2026"}
    )
    stored = Reason("prescriptions.alert.duplicate_inn")

    for sentence in (say(t, fresh), say(t, stored, "amoxicillin")):
        assert "{" not in sentence
        assert sentence[0].isupper()
    assert say(t, fresh) != say(t, stored, "amoxicillin")


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "(anaphylaxis, severe, "), ("ru", "(анафилаксия, тяжёл"), ("uz", "(anafilaksiya, "),
     ("uz-Cyrl", "(анафилаксия, ")],
)  # fmt: skip  # A language, and how the reaction begins in it.
def test_an_allergy_says_what_happened(language: str, said: str) -> None:
    """Reaction, severity and when, in the reader's language; words that are no code stay."""
    t = i18n.translator().speech(language)
    values = {"inn": "amoxicillin", "allergy": "Penitsillin", "severity": "severe"}
    coded = Reason(
        "prescriptions.alert.allergy_inn",
        {**values, "reaction": "anaphylaxis", "since": "2019-03-12"},
    )
    free = Reason("prescriptions.alert.allergy_inn", {**values, "reaction": "toshma"})

    assert said in say(t, coded)
    assert "2019" in say(t, coded)
    assert t.script("toshma") in say(t, free)
