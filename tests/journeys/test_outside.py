"""A medicine outside the register in Chromium: the decision, the doctor, the counter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from dmed.apps.accounts import demo_token
from dmed.kit import clock
from dmed.kit.settings import Settings

pytestmark = pytest.mark.journey
PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
UNKNOWN_PACK = "010999000000005021ABCDEFGHJKLMN"
"""Of a product that no register knows."""
LANGUAGES = [("uz", "Rahimov Otabek", "77-U"), ("ru", "Рахимов Отабек", "77-R")]
NARROW = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def pinfl(live_server: str, live_folder: Path) -> str:
    """The PINFL of the person that the doctor will prescribe to."""
    with ThreadPoolExecutor(1) as apart:  # A loop of another test may run in this thread.
        token = apart.submit(
            asyncio.run, demo_token(Settings(data=live_folder / "data"), "doctor")).result()
    answer = httpx.get(f"{live_server}/fhir/Patient?family=Rahimov&given=Otabek", timeout=30,
                       headers={"Authorization": f"Bearer {token}"})  # fmt: skip  # One call.
    person = answer.json()["entry"][0]["resource"]
    return next(one["value"] for one in person["identifier"] if one["system"] == PINFL_SYSTEM)


@pytest.mark.parametrize(("language", "person", "number"), LANGUAGES)
def test_from_the_decision_to_the_patient(
    workplace: Callable[..., Any], pinfl: str, language: str, person: str, number: str
) -> None:
    """The head enters it, the doctor names it, the counter types batch and expiry."""
    head, doctor, counter = workplace(language), workplace(language), workplace(language)
    for place, user in ((head, "head"), (doctor, "doctor"), (counter, "pharmacist")):
        place.sign_in(user)
    decide(head, number, pinfl, language)
    code = prescribe(doctor, person, number, language)
    hand_over(counter, code, language)


def decide(head: Any, number: str, pinfl: str, language: str) -> None:
    """A wrong digit is said and keeps what was typed; then the decision stands in the list."""
    page, today = head.page, clock.today()
    page.goto(head.address + "/prescriptions/decisions")
    for name, text in (("number", number), ("council", "VKK 3"), ("chair", "Salimov A."),
                       ("pinfl", "123"), ("inn", "Risdiplam"),
                       ("decided", (today - timedelta(days=2)).isoformat()),
                       ("valid_until", (today + timedelta(days=100)).isoformat())):
        page.locator(f"#f-{name}").fill(text)
    with page.expect_navigation():
        head.press("Control+Enter")
    expect(page.locator("[role=alert]")).to_contain_text("14")
    expect(page.locator("#f-pinfl")).to_be_focused()
    expect(page.locator("#f-number")).to_have_value(number)
    head.complaints.clear()  # The browser tells of a page with status 400.
    page.locator("#f-pinfl").fill(pinfl)
    head.press("Control+Enter")
    expect(page.locator("[data-decision]").first).to_contain_text(number)
    head.pictures(f"outside-{language}-1-decision")


def prescribe(doctor: Any, person: str, number: str, language: str) -> str:
    """What is missing is said beside its field; the signed one names the decision. The QR text."""
    page = doctor.page
    doctor.press("Control+k")
    doctor.type(person)
    page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    page.wait_for_url("**/card/*")
    doctor.press("Alt+r")
    page.wait_for_url("**/prescribe")
    if page.locator("#diagnosis-q").count():
        doctor.choose("#diagnosis-q", "J18")
    page.locator("#medicine-q:focus").wait_for()
    page.locator("#outside summary").click()
    page.locator("#f-new-decision").fill(number)
    page.locator("#f-new-inn").fill("Risdiplam")
    page.locator("#f-new-strength").fill("0,75 mg/ml")
    page.locator("button[value=outside]").click()
    expect(page.locator("#f-new-form")).to_be_focused()
    expect(page.locator("#f-new-inn")).to_have_value("Risdiplam")
    doctor.pictures(f"outside-{language}-2-missing")
    page.locator("#f-new-form").select_option("oral-solution")
    page.locator("button[value=outside]").click()
    expect(page.locator("#item-0-dose")).to_be_focused()
    for name, text in (("dose", "5"), ("times", "1"), ("quantity", "2"), ("days", "16")):
        with page.expect_response("**/prescribe/check"):
            page.locator(f"#item-0-{name}").fill(text)
    page.set_viewport_size(NARROW)
    doctor.pictures(f"outside-{language}-3-narrow")
    page.set_viewport_size({"width": 1440, "height": 900})
    for box in page.locator("select[name^=override-]").all():
        with page.expect_response("**/prescribe/check"):
            box.select_option(index=1)
    doctor.press("Control+Enter")
    page.wait_for_url("**/prescriptions/*")
    expect(page.locator("section.line")).to_contain_text(number)
    doctor.pictures(f"outside-{language}-4-signed")
    text: str = doctor.read_qr()
    return text


def hand_over(counter: Any, code: str, language: str) -> None:
    """Its pack is no suspect; without a batch nothing goes out, and what was typed stays."""
    page = counter.page
    page.goto(counter.address + "/counter")
    counter.scan(code)
    line = page.locator("[data-item='1']")
    expect(line).to_be_visible()
    counter.scan(UNKNOWN_PACK)
    expect(line.locator(".note.warn[role=status]")).to_be_visible()
    expect(page.locator("#f-supply-1-lot")).to_be_focused()
    page.locator("#f-supply-1-expiry").fill((clock.today() + timedelta(days=300)).isoformat())
    page.locator("button[value='supply:1']").click()
    expect(page.locator(".note.bad")).to_be_visible()
    expect(page.locator("#f-supply-1-expiry")).not_to_have_value("")
    expect(page.locator("#f-supply-1-lot[aria-invalid]")).to_be_focused()
    page.set_viewport_size(NARROW)
    counter.pictures(f"outside-{language}-5-narrow")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator("#f-supply-1-lot").fill("R77")
    page.locator("button[value='supply:1']").click()
    expect(page.locator(".note.good")).to_be_visible()
    expect(line).to_contain_text("2 / 2")
    counter.pictures(f"outside-{language}-6-handed")
