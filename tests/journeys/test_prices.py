"""The price at the counter and the packs put aside, in a real Chromium: by scanner and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules.gs1 import Code

pytestmark = pytest.mark.journey
AMOXICILLIN = "amoxicillin-capsule-500mg"


def pack(serial: str) -> str:
    """A pack of amoxicillin as a scanner sends it."""
    product = medicines.products_of(AMOXICILLIN)[0]
    return Code(gtin=product.gtin, serial=serial, key_id="EE08", crypto="x" * 44).text()


def _priced(counter: Any, number: str, code: str) -> None:
    """Claimed; a price above the operator's highest is refused, a lower one is green, the sum shows
    and stays with the hand-over.
    """
    page = counter.page
    counter.scan(number)
    counter.scan(code[:8])
    expect(page.locator("#f-price")).to_be_visible()
    page.locator("#f-price").fill("20000,01")
    page.locator("#scan").focus()
    counter.scan(pack("MAX0000000001"))
    expect(page.locator(".note.bad").first).to_contain_text("20")
    counter.pictures("price-refused")
    page.locator("#f-price").fill("20000")
    page.locator("#scan").focus()
    counter.scan(pack("MAX0000000001"))
    expect(page.locator("[data-bill]")).to_be_visible()
    expect(page.locator("[data-patient-pays]")).to_contain_text("20")
    counter.pictures("price-bill")


def test_a_price_and_a_pack_put_aside(
    workplace: Callable[..., Any], prescribed: Callable[[], tuple[str, str]]
) -> None:
    """A price is limited, summed up, handed over and printed; a stolen pack is put aside, the
    pharmacist sees what to do and cannot clear it, the inspector ends it with words.
    """
    counter = workplace("uz")
    counter.sign_in("pharmacist")
    page = counter.page
    page.goto(f"{counter.address}/counter")
    number, code = prescribed()
    _priced(counter, number, code)
    counter.scan(pack("STL0000000001"))
    expect(page.locator(".note.bad").first).to_be_visible()
    counter.press("F2")
    expect(page.locator(".note.good").first).to_be_visible()
    slip = page.request.get(f"{counter.address}/counter/{number}/receipt")
    assert slip.headers["content-type"] == "application/pdf"
    assert slip.body().startswith(b"%PDF")
    page.goto(f"{counter.address}/counter/today")
    counter.pictures("price-today")

    page.goto(f"{counter.address}/stock/alerts")
    page.locator("[data-alert] a").first.click()
    expect(page.locator("#f-outcome option[value='rescanned']")).to_have_count(0)
    counter.pictures("alert-pharmacy")
    page.goto(f"{counter.address}/stock")
    counter.pictures("stock-of-the-country")

    inspector = workplace("ru")
    inspector.sign_in("inspector")
    page = inspector.page
    page.goto(f"{inspector.address}/stock/alerts")
    inspector.pictures("alerts-authority")
    page.locator("[data-alert] a").first.click()
    page.locator("#f-outcome").select_option("surrendered")
    page.locator("#f-words").fill("Передана в лабораторию")
    inspector.press("Control+Enter")
    expect(page.locator("#f-words")).to_have_count(0)
    page.goto(f"{inspector.address}/stock/alerts?closed=1")
    expect(page.locator("[data-alert]").first).to_be_visible()
    inspector.pictures("alerts-ended")
