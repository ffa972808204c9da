"""Whoever is looked for is found while one types, and the list narrows: in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
PHONE = {"width": 390, "height": 844}


def test_the_list_follows_what_is_typed_and_narrows(workplace: Callable[..., Any]) -> None:
    """Half a name in another script, a slip, then the year and the region: the list keeps up,
    the address keeps what narrows, and a small dark screen needs no sideways scrolling.
    """
    place = workplace("uz")
    place.sign_in("registrar")
    page = place.page
    page.goto(f"{place.address}/persons")
    rows = page.locator("#persons-found tr.hit")
    page.locator("#persons-q").press_sequentially("дилноз карим", delay=20)
    expect(rows.first).to_contain_text("Karimova")
    page.locator("#persons-q").fill("Kraimova Dilnoza")
    expect(rows.first).to_contain_text("Karimova")
    page.locator("details > summary").click()
    page.locator("#f-year").fill("1950-1960")
    expect(rows).to_have_count(0)
    page.locator("#f-year").fill("1992")
    expect(rows.first).to_contain_text("1992")
    page.locator("#f-region").select_option("1726")
    expect(page.locator("#f-district option")).not_to_have_count(1)
    expect(rows.first).to_contain_text("Karimova")
    place.pictures("finding-narrowed")
    page.locator("#persons-q").press("Enter")
    page.wait_for_url("**year=1992**")
    expect(page.locator("#f-year")).to_have_value("1992")
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    is_wide = page.evaluate(
        "() => document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
    place.pictures("finding-phone")

    assert not is_wide
