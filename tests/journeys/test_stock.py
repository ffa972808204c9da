"""The pharmacy's stock in a real Chromium: an invoice comes in by scanner, stands on its shelf, is
counted, printed in a journal, and recalled.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from dmed.kit.clock import today
from dmed.modules.pharmacy.service.boxes import demo_sscc

pytestmark = pytest.mark.journey
GS = "\x1d"
GTIN = "09521005000013"
LINES = f"gtin;packs;price;shelf\n{GTIN};4;12000,50;a-1"


def pack_code(kind: str = "A") -> str:
    """A pack of the product as a scanner sends it."""
    serial = (kind + secrets.token_hex(7).upper())[:13]
    return f"01{GTIN}21{serial}{GS}91ABCD{GS}92{'x' * 44}"


def _receive(keeper: Any) -> None:
    """An invoice of four packs: one box of two, a good pack and a recalled one."""
    page = keeper.page
    page.goto(keeper.address + "/stock/receipts")
    expect(page.locator("#f-supplier")).to_be_focused()
    keeper.type("301234567")
    page.locator("#f-number").fill(f"N-{secrets.token_hex(4)}")
    page.locator("#f-lines").fill(LINES)
    keeper.press("Control+Enter")
    page.wait_for_url("**/stock/receipts/*")
    expect(page.locator("#scan")).to_be_focused()
    keeper.scan(f"]C100{demo_sscc(1, 2, secrets.randbelow(90_000))}")
    expect(page.locator("[data-line='1'] b")).to_have_text("2")
    keeper.scan(pack_code())
    expect(page.locator("[data-line='1'] b")).to_have_text("3")
    keeper.scan(pack_code("REC"))
    expect(page.locator(".note.bad")).to_be_visible()
    keeper.pictures("stock-receipt")
    keeper.press("F2")
    expect(page.locator("#scan")).to_have_count(0)


def _count(keeper: Any) -> None:
    """One pack is counted, blind; the difference shows; who counted is not the second person."""
    page = keeper.page
    page.goto(keeper.address + "/stock/counts")
    page.locator("#f-shelf").fill(f"Z{secrets.token_hex(3)}")
    keeper.press("Enter")
    page.wait_for_url("**/stock/counts/*")
    keeper.scan(pack_code())
    expect(page.locator("[data-entry]")).to_have_count(1)
    keeper.press("F2")
    expect(page.locator("[data-difference]")).to_have_count(1)
    keeper.pictures("stock-count")
    expect(page.locator("[data-key='F2']")).to_be_disabled()


def test_stock_comes_in_is_counted_and_recalled(workplace: Callable[..., Any]) -> None:
    """By scanner and keys alone: receipt with its differences, the shelf, a move, a count, a
    journal, and a recall that the authority announces and the pharmacy sees.
    """
    keeper = workplace("ru")
    keeper.sign_in("pharmacist")
    page = keeper.page
    _receive(keeper)
    page.goto(keeper.address + "/stock")
    expect(page.locator(f"[data-gtin='{GTIN}']").first).to_be_visible()
    keeper.scan(pack_code())
    page.wait_for_url("**/stock/product/*")
    page.locator("#f-quantity").fill("4")
    page.locator("#f-to").fill("b-2")
    keeper.press("F6")
    expect(page.locator(".note.good")).to_be_visible()
    keeper.pictures("stock-product")
    _count(keeper)
    page.goto(keeper.address + "/stock/journals/137")
    expect(page.locator("tbody tr").first).to_be_visible()
    keeper.pictures("stock-journal")
    table = page.request.get(keeper.address + "/stock/journals/141/csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text().startswith("\ufeff№;")

    authority = workplace("ru")
    authority.sign_in("admin")
    authority.page.goto(authority.address + "/stock/recalls")
    authority.page.locator("#f-gtin").fill(GTIN)
    authority.page.locator("#f-lot").fill(f"X{today():%m%d}")
    authority.page.locator("#f-reason").fill("Sinov uchun")
    authority.press("Enter")
    authority.page.wait_for_url("**/stock/recalls/*")
    page.goto(keeper.address + "/stock/recalls")
    expect(page.locator("[data-recall]").first).to_be_visible()
