"""The card in a real Chromium: a doctor reads it, the person reads and disputes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
PHONE = {"width": 390, "height": 844}


def opened(doctor: Any) -> str:
    """The card of Karimova Dilnoza, found by the search box; its address."""
    doctor.press("Control+k")
    doctor.type("karimova dilnoza ")
    doctor.page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    doctor.page.wait_for_url("**/card/*")
    address: str = doctor.page.url
    return address


def pictures(place: Any, name: str) -> None:
    """The page at a desk in light and dark, and on a phone without a sideways scroll."""
    place.pictures(name)
    place.page.set_viewport_size(PHONE)
    place.pictures(f"{name}-phone")
    wide = place.page.evaluate("document.documentElement.scrollWidth")
    place.page.set_viewport_size({"width": 1440, "height": 900})

    assert wide <= PHONE["width"], f"{name} is {wide} pixels wide on a phone"


def test_a_doctor_reads_the_card(workplace: Callable[..., Any]) -> None:
    """Every part opens by its tab; a measurement has a picture and a table that says the same."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    page = doctor.page
    card = opened(doctor)
    expect(page.locator("main")).to_contain_text("Gemoglobin")
    pictures(doctor, "card-summary")
    for part in ("timeline", "problems", "medicines", "allergies", "results", "vaccinations",
                 "visits", "documents", "social", "looked"):
        page.goto(f"{card}?tab={part}")
        expect(page.locator(".tabs a[aria-current]")).to_have_count(1)
        if part in ("timeline", "results", "social"):
            pictures(doctor, f"card-{part}")
    page.goto(f"{card}?tab=results")
    page.get_by_role("link", name="Gemoglobin", exact=True).click()
    expect(page.locator("svg.plot circle")).not_to_have_count(0)
    assert page.locator("svg.plot circle").count() == page.locator("table tbody tr").count()
    pictures(doctor, "card-measurement")
    page.goto(f"{card}/results/85354-9")
    expect(page.locator("svg.plot polyline")).to_have_count(2)
    doctor.pictures("card-pressure")


def test_a_person_disputes_an_entry_and_is_answered(workplace: Callable[..., Any]) -> None:
    """The citizen reads the own card in plain words and disputes a visit; the doctor sees the mark
    and answers; the citizen reads the answer.
    """
    citizen = workplace("uz")
    citizen.sign_in("citizen")
    page = citizen.page
    page.goto(f"{citizen.address}/my")
    expect(page.locator("main")).to_contain_text("Bu sizning yagona kartangiz")
    name = page.locator("h1").inner_text()
    pictures(citizen, "my-card")
    page.goto(f"{citizen.address}/my?tab=visits")
    page.get_by_role("link", name="Bu noto‘g‘ri").first.click()
    page.locator("#f-said").fill("Men bu kuni shifokorga bormaganman")
    pictures(citizen, "my-dispute")
    citizen.press("Control+Enter")
    page.wait_for_url("**sent=1")
    expect(page.locator("main")).to_contain_text("e’tiroz bor")

    doctor = workplace("uz")
    doctor.sign_in("doctor")
    there = doctor.page
    doctor.press("Control+k")
    doctor.type(f"{name} ")
    there.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    there.wait_for_url("**/card/*")
    expect(there.locator("#disputes")).to_contain_text("Men bu kuni shifokorga bormaganman")
    doctor.pictures("card-disputed")
    there.locator("#disputes summary").first.click()
    there.locator("#disputes input[name=said]").first.fill("Tekshirdik: navbatchi xatosi")
    there.locator("#disputes button").first.click()
    there.wait_for_url("**tab=problems")

    page.goto(f"{citizen.address}/my")
    expect(page.locator("#disputes")).to_contain_text("Tekshirdik: navbatchi xatosi")
