"""A registrar finds a person across scripts, reviews a near match, merges and undoes: Chromium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
PHONE = {"width": 390, "height": 844}


def _axis(page: Any) -> bool:
    """Whether the page needs no sideways scrolling."""
    wide: bool = page.evaluate(
        "() => document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
    return not wide


def test_a_double_is_found_reviewed_merged_and_restored(workplace: Callable[..., Any]) -> None:
    """Юлдашева typed in Russian finds Yo‘ldosheva; a double made in a hurry comes up for review
    with its differing letters; it is merged after a preview, and the undoing restores both cards.
    """
    place = workplace("uz")
    place.sign_in("registrar")
    page = place.page
    page.goto(f"{place.address}/persons")
    page.locator("#persons-q").fill("Юлдашева Саодат")
    found = page.locator("#persons-found tr.hit", has_text="Saodat")
    expect(found.first).to_be_visible()
    place.pictures("persons-found")

    # Somebody registers her again in a hurry, a letter wrong, and puts the near match aside.
    page.goto(f"{place.address}/persons/new")
    for name, text in (("family", "Юлдошева"), ("given", "Саодат"), ("patronymic", "Каримовна"),
                       ("birth_date", "07.02.1951"), ("phone", "712345610")):
        page.locator(f"#f-{name}").fill(text)
    page.locator("#f-sex").select_option("female")
    place.pictures("persons-new")
    place.press("Control+Enter")
    expect(page.locator(".pair").first).to_be_visible()
    place.press("F2")
    page.wait_for_url("**/card/*")

    page.goto(f"{place.address}/persons/review")
    expect(page.get_by_role("heading", level=1)).to_have_text("Bir shaxsmi?")
    place.pictures("persons-review")
    page.locator("tr.hit", has_text="Saodat").first.get_by_role("link").first.click()
    page.wait_for_url("**/persons/review/*")
    expect(page.locator(".pair mark").first).to_be_visible()
    expect(page.locator(".pair")).to_contain_text("Tug‘ilgan")
    place.pictures("persons-question")
    page.set_viewport_size(PHONE)
    assert _axis(page)
    place.pictures("persons-question-phone")
    page.set_viewport_size({"width": 1440, "height": 900})

    place.press("1")
    page.wait_for_url("**/persons/merge?*")
    expect(page.locator("main")).to_contain_text("Qoladigan kartaga o‘tadi")
    place.pictures("persons-merge")
    page.locator("#f-reason").fill("pasporti ko‘rildi, bitta odam")
    place.press("Control+Enter")
    page.wait_for_url("**/persons/merges/*?done=1")
    expect(page.locator("main")).to_contain_text("Kartalar birlashtirildi")
    place.pictures("persons-merged")
    merge = page.url.split("?")[0]
    gone = page.get_by_role("link", name="Varag‘i").first.get_attribute("href")

    # The merged card still answers, and says what stands for it.
    page.goto(f"{place.address}{gone}")
    expect(page.locator("main")).to_contain_text("Bu karta boshqasi bilan birlashtirilgan")
    place.pictures("persons-sheet-merged")
    page.get_by_role("link", name="Amaldagi karta").click()
    expect(page.locator("main")).to_contain_text("avvalgi")
    place.pictures("persons-sheet")
    page.set_viewport_size(PHONE)
    assert _axis(page)
    place.pictures("persons-sheet-phone")
    page.set_viewport_size({"width": 1440, "height": 900})

    page.goto(merge)
    page.locator("#f-reason").fill("boshqa odam ekan")
    place.press("F4")
    page.wait_for_url("**/persons/merges/*?done=undone")
    expect(page.locator("main")).to_contain_text("Birlashtirish bekor qilindi")
    place.pictures("persons-undone")
    page.goto(f"{place.address}{gone}")
    expect(page.locator("main")).not_to_contain_text("birlashtirilgan")


def test_a_card_is_corrected_and_keeps_what_was(workplace: Callable[..., Any]) -> None:
    """A wrong letter of another script is told in words; the corrected name keeps the old one."""
    place = workplace("ru")
    place.sign_in("registrar")
    page = place.page
    page.goto(f"{place.address}/persons?q=rahimova+nigora")
    page.locator("#persons-found tr.hit a", has_text="Лист").first.click()
    page.wait_for_url("**/sheet")
    place.press("Alt+e")
    page.wait_for_url("**/correct")
    page.locator("#f-given").fill("Нигорa")
    page.locator("#f-reason").fill("паспорт показан")
    place.press("Control+Enter")
    expect(page.locator(".say.bad")).to_contain_text("смешаны латинские и русские буквы")
    place.pictures("persons-correct")
    assert all("422" in one for one in place.complaints), place.complaints
    place.complaints.clear()
    page.locator("#f-given").fill("Нигорахон")
    place.press("Control+Enter")
    page.wait_for_url("**/sheet?done=correct")
    expect(page.locator("main")).to_contain_text("прежнее")
