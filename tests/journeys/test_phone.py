"""The places of every role on a phone, in a real Chromium: at most five in the bar, by thumb, by
keyboard and by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
PHONE = {"width": 390, "height": 844}
BAR = "nav.rail > a:visible, nav.rail > details:visible > summary"
ROLES = ("admin", "inspector", "head", "doctor", "pharmacist", "registrar", "citizen")
WITH_MORE = {"admin", "doctor", "inspector"}
TOUCH_PX = 44


@pytest.mark.parametrize("user", ROLES)
@pytest.mark.parametrize("language", ["uz", "ru"])
def test_a_phone_shows_at_most_five_places(
    workplace: Callable[..., Any], user: str, language: str
) -> None:
    """Each is wide and high enough for a thumb, none is cut off, and the page is as wide as the
    phone; whoever has more places finds all of them.
    """
    person = workplace(language)
    person.sign_in(user)
    page = person.page
    places = page.locator("nav.rail > a:not(.logo)").evaluate_all("all => all.map(a => a.pathname)")
    page.set_viewport_size(PHONE)
    bar = page.locator(BAR)
    shown = bar.evaluate_all("all => all.map(one => one.pathname).filter(Boolean)")

    assert 1 < bar.count() <= 5
    for box in (bar.nth(at).bounding_box() for at in range(bar.count())):
        assert box["width"] >= TOUCH_PX
        assert box["height"] >= TOUCH_PX
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    cut = "all => all.filter(a => a.scrollWidth > a.clientWidth + 1).map(a => a.innerText)"
    assert bar.evaluate_all(cut) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    person.pictures(f"phone-{user}-{language}")
    assert (user in WITH_MORE) == (page.locator("details.rest:visible").count() == 1)
    if user in WITH_MORE:
        page.locator("details.rest summary").click()
        rest = page.locator(".sheet a:visible")
        expect(rest.first).to_be_visible()
        person.pictures(f"phone-{user}-{language}-more")
        found = rest.evaluate_all("all => all.map(a => a.pathname)")
        assert sorted([*shown, *found]) == sorted(places)
        assert all(box["y"] >= 0 and box["height"] >= TOUCH_PX
                   for box in (rest.nth(at).bounding_box() for at in range(rest.count())))
    else:
        assert sorted(shown) == sorted(places)


def test_more_works_by_keyboard_and_closes(workplace: Callable[..., Any]) -> None:
    """Enter opens the sheet and says so, Tab leads through it, Esc closes it and gives the focus
    back; a touch elsewhere closes it too; a place in it leads there and marks where one is.
    """
    person = workplace("en")
    person.sign_in("admin")
    page = person.page
    page.set_viewport_size(PHONE)
    more, sheet = page.locator("details.rest summary"), page.locator("details.rest")
    more.focus()
    person.press("Enter")
    expect(sheet).to_have_attribute("open", "")
    person.press("Tab")
    expect(page.locator(".sheet a").first).to_be_focused()
    person.press("Escape")
    expect(sheet).not_to_have_attribute("open", "")
    expect(more).to_be_focused()
    more.click()
    page.locator("h1").first.click()
    expect(sheet).not_to_have_attribute("open", "")
    more.click()
    page.locator(".sheet").get_by_role("link", name="Indicators").click()
    page.wait_for_url("**/indicators")
    expect(page.locator(".sheet a[aria-current=page]")).to_have_count(1)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Indicators")
           ).to_have_count(0)
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(more).to_be_hidden()
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Indicators")
           ).to_have_attribute("aria-current", "page")
