"""The story: an antibiotic by INN from the doctor to the counter, and back to the card.

Driven in a real Chromium by the keyboard alone, in Uzbek and in Russian.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
GS = "\x1d"
PAGE_BYTES_MAX = 50_000
STOCK = ("/stock", "/stock/receipts", "/stock/counts", "/stock/order", "/stock/recalls",
         "/stock/journals", "/stock/journals/141", "/stock/product/09521005000013")
"""Screens of the stock."""


def pack_code(gtin: str, kind: str = "A") -> str:
    """A pack's DataMatrix as a scanner sends it: GTIN, a serial of our own, key and crypto code.

    A serial that begins with REC is recalled (the stand-in of the marking operator says so).
    """
    serial = (kind + secrets.token_hex(7).upper())[:13]
    return f"01{gtin}21{serial}{GS}91ABCD{GS}92{'x' * 44}"


def packs_of(place: Any, preparation: str, quantity: int) -> list[str]:
    """GTINs of packs that together cover the quantity, as the page of the medicine shows them."""
    place.page.goto(f"{place.address}/medicines/{preparation}")
    rows = place.page.locator("tbody tr").all()
    packs = [(int(re.sub(r"\D", "", row.locator("td").nth(2).inner_text().split()[0])),
              row.locator("td").nth(3).inner_text()) for row in rows]  # fmt: skip  # Size, GTIN.
    size, gtin = max(packs)
    return [gtin] * -(-quantity // size)


def prescribe(doctor: Any, person: str, medicine: str) -> tuple[str, str, str]:
    """Find, prescribe, sign; gives the number, the QR's text and the person's card."""
    page = doctor.page
    doctor.press("Control+k")
    doctor.type(person)
    page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    page.wait_for_url("**/card/*")
    card = page.url
    doctor.press("Alt+r")
    page.wait_for_url("**/prescribe")
    doctor.choose("#diagnosis-q", "J18")
    doctor.choose("#medicine-q", medicine)
    expect(page.locator("#item-0-dose")).to_be_focused()
    give_reasons(page)
    doctor.press("Control+Enter")
    page.wait_for_url("**/prescriptions/*")
    number = page.url.rsplit("/", 1)[-1].split("?")[0]
    return number, doctor.read_qr(), card


def give_reasons(page: Any) -> None:
    """Answers every finding that asks for a coded reason."""
    for box in page.locator("select[name^=override-]").all():
        box.select_option(index=1)


@pytest.mark.parametrize(
    ("language", "person", "medicine", "said"),
    [("uz", "Rahimov Otabek", "amoksi 500", "Berildi"),
     ("ru", "Рахимов Отабек", "азитромицин 500", "Выдано")],
)  # fmt: skip  # A table of cases.
def test_from_the_doctor_to_the_card(
    workplace: Callable[..., Any], language: str, person: str, medicine: str, said: str
) -> None:
    """Prescribed by INN, signed with one key, scanned, handed over, and seen on the card."""
    doctor = workplace(language)
    doctor.sign_in("doctor")
    number, code, card = prescribe(doctor, person, medicine)
    assert len(number) == 13
    assert number in code
    key = doctor.page.locator("[data-preparation]").first.get_attribute("data-preparation")
    quantity = int(doctor.page.locator("[data-quantity]").first.get_attribute("data-quantity"))

    counter = workplace(language)
    counter.sign_in("pharmacist")
    gtins = packs_of(counter, key, quantity)
    counter.page.goto(counter.address + "/counter")
    counter.scan(code)
    expect(counter.page.locator("[data-item='1']")).to_be_visible()
    for count, gtin in enumerate(gtins, 1):
        counter.scan(pack_code(gtin))
        expect(counter.page.locator("[data-pack]")).to_have_count(count)
    expect(counter.page.locator("[data-item='1'].is-good")).to_be_visible()
    counter.press("F2")
    expect(counter.page.locator(".note.good").first).to_contain_text(said)

    doctor.page.goto(card + "?tab=timeline")
    expect(doctor.page.locator(".timeline")).to_contain_text(re.compile("mg|мг|мг", re.IGNORECASE))
    doctor.page.goto(f"{doctor.address}/prescriptions/{number}")
    expect(doctor.page.locator(".line .chip.good")).to_be_visible()


def test_a_pack_that_must_not_go_says_why(workplace: Callable[..., Any]) -> None:
    """A recalled serial turns its line red with a sentence, and nothing can be handed over."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    _, code, _ = prescribe(doctor, "Rahimov Otabek", "sefiksim 400")
    key = doctor.page.locator("[data-preparation]").first.get_attribute("data-preparation")
    counter = workplace("uz")
    counter.sign_in("pharmacist")
    gtin = packs_of(counter, key, 1)[0]
    counter.page.goto(counter.address + "/counter")
    counter.scan(code)
    expect(counter.page.locator("[data-item='1']")).to_be_visible()

    counter.scan(pack_code(gtin, "REC"))

    expect(counter.page.locator(".note.bad")).to_be_visible()
    expect(counter.page.locator("[data-key='F2']")).to_be_disabled()


def test_the_scanner_needs_no_focus(workplace: Callable[..., Any]) -> None:
    """What a scanner types while nothing has the focus lands in the scan box."""
    counter = workplace("uz")
    counter.sign_in("pharmacist")
    counter.page.locator("body").evaluate("() => document.activeElement.blur()")

    counter.type("1726-0048-2215-9")

    expect(counter.page.locator("#scan")).to_have_value("1726-0048-2215-9")


def test_the_screens_in_light_and_dark(workplace: Callable[..., Any]) -> None:
    """Pictures of card, prescribing and counter at work, kept as output of the run."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    doctor.press("Control+k")
    doctor.type("Karimova Dilnoza")
    doctor.page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    doctor.page.wait_for_url("**/card/*")
    made = doctor.pictures("card")
    doctor.press("Alt+r")
    doctor.page.wait_for_url("**/prescribe")
    doctor.choose("#diagnosis-q", "N30")
    doctor.choose("#medicine-q", "fosfomitsin")
    expect(doctor.page.locator("#item-0-dose")).to_be_focused()
    doctor.press("Alt+m")
    doctor.choose("#medicine-q", "amoksitsillin 500")
    expect(doctor.page.locator("#item-1-dose")).to_be_focused()
    made += doctor.pictures("prescribe")
    give_reasons(doctor.page)
    doctor.press("Control+Enter")
    doctor.page.wait_for_url("**/prescriptions/*")
    code = doctor.read_qr()
    keys = [line.get_attribute("data-preparation")
            for line in doctor.page.locator("[data-preparation]").all()]  # fmt: skip  # Two lines.
    pharmacist = workplace("uz")
    pharmacist.sign_in("pharmacist")
    gtins = [packs_of(pharmacist, key, 1)[0] for key in keys]
    pharmacist.page.goto(pharmacist.address + "/counter")
    pharmacist.scan(code)
    for count, gtin in enumerate(gtins, 1):
        pharmacist.scan(pack_code(gtin))
        expect(pharmacist.page.locator("[data-pack]")).to_have_count(count)
    pharmacist.scan(pack_code(gtins[1], "REC"))
    expect(pharmacist.page.locator(".note.bad")).to_be_visible()
    made += pharmacist.pictures("counter")

    assert len(made) == 6
    assert all(path.stat().st_size > 10_000 for path in made)


def axe_script() -> str:
    """axe-core, brought by the set-up beside this Python; a skip where it is not."""
    import sys

    path = Path(sys.prefix) / "share" / "dmed-tests" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not here: make setup brings it (tools/install_browser_parts.py)")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_screens_obey_wcag(workplace: Callable[..., Any], theme: str) -> None:
    """axe-core finds no violation of WCAG 2.2 A and AA on the screens of each role."""
    script = axe_script()
    found: dict[str, list[str]] = {}
    for user, paths in (
        ("doctor", ("/", "/persons?q=karimov", "CARD", "CARD?tab=results", "CARD/prescribe",
                    "/pages/gallery", "/staff/mine", "/changes", "/prescriptions/forms",
                    "/indicators")),
        ("pharmacist", ("/counter", "/counter/today", "/counter/find", "/me/password", *STOCK)),
        ("registrar", ("/persons/new", "/persons/review", "/facilities")),
        ("admin", ("/register", "/facilities", "/staff/country", "/applications", "/join",
                   "/developers")),
        ("head", ("/staff", "/staff/expiring", "/staff/vacancies", "/staff/activity")),
        ("inspector", ("/oversight", "/stock/recalls", "/indicators")),
        ("citizen", ("/my", "/my/looked", "/my/messages")),
    ):
        place = workplace("ru", theme=theme)
        place.page.goto(place.address + "/signin")
        found["/signin"] = violations(place, script)
        place.sign_in(user)
        links = place.page.locator("a[href^='/card/']")
        card = links.first.get_attribute("href") if links.count() else ""
        for path in paths:
            place.page.goto(place.address + path.replace("CARD", card or ""))
            found[path] = violations(place, script)

    assert {path: rules for path, rules in found.items() if rules} == {}


def violations(place: Any, script: str) -> list[str]:
    """What axe-core complains of on the present page: rule, and the first element."""
    place.page.evaluate(script)
    answer = place.page.evaluate(
        "(runOnly) => axe.run(document, {runOnly, resultTypes: ['violations']})",
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    )
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in answer["violations"]]


def test_pages_are_light(workplace: Callable[..., Any]) -> None:
    """A first visit of each page moves less than 50 KB over the line, pictures aside."""
    place = workplace("ru")
    place.sign_in("doctor")
    card = place.page.locator("a[href^='/card/']").first.get_attribute("href") or ""
    weights = {path: weight(place, path) for path in (card, f"{card}/prescribe", "/persons")}

    assert all(0 < total < PAGE_BYTES_MAX for total in weights.values()), weights


def weight(place: Any, path: str) -> int:
    """Bytes on the line for a page and its scripts and styles, with an empty cache."""
    wire = place.context.new_cdp_session(place.page)
    wire.send("Network.enable")
    wire.send("Network.clearBrowserCache")
    sizes: list[int] = []
    wire.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    place.page.goto(place.address + path)
    place.page.wait_for_load_state("networkidle")
    wire.detach()
    return sum(sizes)
