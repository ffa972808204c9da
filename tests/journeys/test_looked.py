"""A person asks who looked, disputes a look, and an inspector reviews it: in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey


def test_who_looked_and_what_came_of_it(workplace: Callable[..., Any]) -> None:
    """The doctor opens a card; the registrar shows the person who looked; a dispute is closed."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    page = doctor.page
    doctor.press("Control+k")
    doctor.type("rahimov ")
    page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    page.wait_for_url("**/card/*")
    card = page.url

    registrar = workplace("uz")
    registrar.sign_in("registrar")
    page = registrar.page
    page.goto(f"{card}/looked")
    expect(page.get_by_role("heading", level=1)).to_have_text("Yozuvlaringizni kim ko‘rdi")
    line = page.locator("tr", has_text="shifokor").first
    expect(line).to_be_visible()
    registrar.pictures("looked")
    line.get_by_role("link", name="E’tiroz").click()
    page.locator("#f-said").fill("Men bu shifokorga bormaganman")
    registrar.press("Control+Enter")
    page.wait_for_url("**/looked?done=*")
    expect(page.locator("main")).to_contain_text("Men bu shifokorga bormaganman")

    admin = workplace("ru")
    admin.sign_in("admin")
    page = admin.page
    page.goto(f"{admin.address}/oversight")
    expect(page.get_by_role("heading", level=1)).to_have_text("Необычные просмотры")
    expect(page.locator("main")).to_contain_text("Пациент оспорил просмотр")
    admin.pictures("oversight")
    page.locator("tr", has_text="оспорил").first.get_by_role("link").first.click()
    page.wait_for_url("**/oversight/case/*")
    page.locator("#f-words").fill("Приём был, пациент вспомнил")
    admin.press("Control+Enter")
    page.wait_for_url("**/oversight")
    page.goto(f"{admin.address}/oversight?closed=1")
    expect(page.locator("main")).to_contain_text("обоснованно")
