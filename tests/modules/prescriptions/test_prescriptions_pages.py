"""What the workspace's form means as a draft, and what a finding says to people."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from decimal import Decimal

import msgspec
import pytest
from access_browser import Browser
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import FormData

from dmed.apps.web import Platform
from dmed.kit import clock, i18n
from dmed.kit.errors import InvalidError
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.api import say, standing
from dmed.modules.prescriptions.model import Draft, DraftItem, Item, ItemState, Reason
from dmed.modules.prescriptions.pages import ITEMS_MAX, plain, read_draft
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS
from dmed.trust.model import Role, Subject

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


def test_repeats_and_a_first_day_are_read() -> None:
    """Known numbers of repeats alone; a day that is none is refused, today is no later day."""
    later = clock.today() + timedelta(days=3)
    draft = read_draft(FormData({"repeats": "3", "start": later.isoformat()}), "p1")
    assert (draft.repeats, draft.start) == (3, later)
    today = read_draft(FormData({"repeats": "9", "start": clock.today().isoformat()}), "p1")
    assert (today.repeats, today.start) == (1, None)
    with pytest.raises(InvalidError):
        read_draft(FormData({"start": "soon"}), "p1")


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_how_an_item_stands_is_said_in_words(language: str) -> None:
    """Repeats, a later day, a hold with its reason and expiry: whole sentences in each language."""
    t = i18n.translator().speech(language)
    day = date(2026, 12, 24)
    plain_item = Item(
        number=1, request="r", task="t", preparation="", label={}, dosage={}, dose=Decimal(1),
        times_per_day=1, duration_days=1, unit="tablet", quantity=Decimal(1),
        dispensed=Decimal(0), state=ItemState.TO_BE_DISPENSED, status="active", diagnosis="",
    )  # fmt: skip  # An ordinary item.

    def told(**change: object) -> list[str]:
        return standing(t, msgspec.structs.replace(plain_item, **change), day)

    assert told() == []
    assert len(told(instances=3, instance=2)) == 1
    waits = told(instances=3, instance=2, state=ItemState.FUTURE, starts=day)
    held = told(state=ItemState.ON_HOLD, reason="recall")
    ended = told(state=ItemState.EXPIRED)
    assert (len(waits), len(held), len(ended)) == (2, 1, 1)
    assert t("prescriptions.hold.recall") in held[0]
    assert t.date(day) in waits[1]
    assert t.date(day) in ended[0]
    assert not any("{" in text for text in (*waits, *held, *ended))
    for state in ItemState:
        assert t.translator.has(f"prescriptions.state.{state.value}")


async def test_a_check_that_comes_after_the_end_of_its_draft_is_silent(
    open_platform: Callable[..., Awaitable[Platform]]
) -> None:
    """What was typed last is checked a moment later: where the draft was signed or dropped in
    between the answer changes nothing on the screen and is no error.
    """
    platform = await open_platform()
    for account in DEMO_ACCOUNTS:
        await platform.guard.identity.save(account, DEMO_PASSWORDS[account.user])
    doctor = Subject(user="doctor", role=Role.DOCTOR)
    person = (await platform.gateway.create(
        Subject(user="service", role=Role.SERVICE), "Patient",
        {"resourceType": "Patient", "active": True, "name": [{"family": "Sinovova"}]})).id
    async with Browser(platform) as browser:
        await browser.enter("doctor")
        shown = f"/card/{person}/prescribe"
        draft = await api.save_draft(platform.gateway, doctor, Draft(
            patient=person, items=(DraftItem(preparation="amoxicillin-capsule-500mg"),)))
        typed = {"draft": draft.id, "item-0-dose": "1",
                 "item-0-preparation": draft.items[0].preparation}
        while_there = await browser.submit(f"{shown}/check", shown, **typed)
        await api.drop_draft(platform.gateway, doctor, draft.id)
        afterwards = await browser.submit(f"{shown}/check", shown, **typed)

    assert (while_there.status_code, "rx-state" in while_there.text) == (200, True)
    assert (afterwards.status_code, afterwards.text) == (204, "")
    assert await api.drafts(platform.gateway, doctor, person) == []
