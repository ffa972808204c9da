"""The most frequent acts take no more keys than docs/performance/acts.md says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance" / "acts.md"


def documented() -> dict[tuple[str, str], tuple[int, int]]:
    """Keys and scans of each (role, act) of the table."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines()
            if line.startswith("| ") and "role" not in line]  # fmt: skip  # Rows of the table.
    return {(role.strip(), act.strip()): (int(keys), int(scans))
            for role, act, _, keys, scans in rows}  # fmt: skip  # Same.


class Counted:
    """Counts what a workplace did since the last act ended."""

    def __init__(self, place: Any, role: str) -> None:
        self.place, self.role = place, role
        self.keys = self.scans = 0
        self.acts: dict[tuple[str, str], tuple[int, int]] = {}

    def press(self, key: str) -> None:
        self.keys += 1
        self.place.press(key)

    def type(self, text: str) -> None:
        self.keys += len(text)
        self.place.type(text)

    def scan(self, code: str) -> None:
        self.scans += 1
        self.place.scan(code)

    def done(self, act: str) -> None:
        self.acts[self.role, act] = (self.keys, self.scans)
        self.keys = self.scans = 0


def open_card(hand: Counted, page: Any) -> None:
    """By the first letters of the name; Enter takes the first answer."""
    hand.press("Control+k")
    hand.type("rahimov ")
    page.locator("#search-list [role=option]").first.wait_for()
    hand.press("Enter")
    page.wait_for_url("**/card/*")
    hand.done("open a person's card")


def prescribe(hand: Counted, page: Any, medicine: str = "lozartan") -> str:
    """A medicine for pressure: nothing to give a reason for the first time."""
    hand.press("Alt+r")
    page.locator("#diagnosis-q:focus").wait_for()
    hand.type("I10")
    page.locator("#diagnosis-q-list [role=option]").first.wait_for()
    hand.press("Enter")
    page.locator("#medicine-q:focus").wait_for()
    hand.type(medicine)
    page.locator("#medicine-q-list [role=option]").first.wait_for()
    hand.press("Enter")
    page.locator("#item-0-dose:focus").wait_for()
    hand.press("Control+Enter")
    page.wait_for_url("**/prescriptions/*")
    hand.done("prescribe one medicine and sign")
    code: str = hand.place.read_qr()
    return code


def repeat(hand: Counted, page: Any) -> str:
    """The medicine still runs, so one reason is asked for."""
    hand.press("Alt+r")
    page.locator("#medicine-q, #diagnosis-q").first.wait_for()
    hand.press("Alt+l")
    page.locator("#item-0-dose").wait_for()
    for box in page.locator("select[name^=override-]").all():
        box.focus()
        hand.press("ArrowDown")
    hand.press("Control+Enter")
    page.wait_for_url("**/prescriptions/*")
    hand.done("repeat the last prescription and sign")
    code: str = hand.place.read_qr()
    return code


def write_down(hand: Counted, page: Any) -> None:
    """An allergy and a weight, from the card."""
    hand.press("Alt+a")
    page.locator("#f-text:focus").wait_for()
    hand.type("ibupr")
    page.locator("#f-text-list [role=option]").first.wait_for()
    hand.press("Enter")
    hand.press("Control+Enter")
    page.wait_for_url("**/card/*")
    expect(page.locator(".banner .chip.bad")).to_be_visible()
    hand.done("write down an allergy")
    hand.press("Alt+v")
    page.locator("#f-weight:focus").wait_for()
    hand.type("82")
    hand.press("Control+Enter")
    page.wait_for_url("**/card/*")
    hand.done("write down a weight")


def test_the_doctors_and_the_pharmacists_acts(workplace: Callable[..., Any]) -> None:
    """Counted in one working day of two people."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    hand = Counted(doctor, "doctor")
    open_card(hand, doctor.page)
    card = doctor.page.url
    first = prescribe(hand, doctor.page)
    medicine = doctor.page.locator("[data-preparation]").get_attribute("data-preparation")
    doctor.page.goto(card)
    second = repeat(hand, doctor.page)
    doctor.page.goto(card)
    write_down(hand, doctor.page)

    counter = workplace("uz")
    counter.sign_in("pharmacist")
    counter.page.goto(f"{counter.address}/medicines/{medicine}")
    gtin = counter.page.locator("tbody tr td:nth-child(4)").last.inner_text()
    counter.page.goto(counter.address + "/counter")
    desk = Counted(counter, "pharmacist")
    serve(desk, counter.page, first, gtin)
    give_back(desk, counter.page, second)

    known = documented()
    assert hand.acts.keys() | desk.acts.keys() <= known.keys()
    assert {
        act: spent for act, spent in (hand.acts | desk.acts).items() if spent > known[act]
    } == {}


def serve(desk: Counted, page: Any, code: str, gtin: str) -> None:
    """Take, check a pack, hand over."""
    desk.scan(code)
    expect(page.locator("[data-item='1']")).to_be_visible()
    desk.done("take a prescription")
    desk.scan(f"01{gtin}21ACTSACTSACTS1\x1d91ABCD\x1d92{'x' * 44}")
    expect(page.locator("[data-pack]")).to_be_visible()
    desk.done("check a pack")
    desk.press("F2")
    expect(page.locator(".note.good")).to_be_visible()
    desk.done("hand over")


def give_back(desk: Counted, page: Any, code: str) -> None:
    """Return another one, then look at the day."""
    desk.scan(code)
    expect(page.locator("[data-opens='return-dialog']")).to_be_visible()
    desk.done("take a prescription")
    desk.press("F8")
    page.locator("#return-dialog[open]").wait_for()
    desk.press("F8")
    expect(page.locator(".note.good")).to_be_visible()
    desk.done("return a prescription")
    desk.press("Alt+j")
    page.wait_for_url("**/counter/today")
    desk.done("see today's list")


def test_the_registrars_acts(workplace: Callable[..., Any]) -> None:
    """Find a person; register another by the number alone."""
    place = workplace("uz")
    place.sign_in("registrar")
    hand = Counted(place, "registrar")
    open_card(hand, place.page)
    place.page.goto(place.address + "/")
    hand.press("Alt+n")
    place.page.locator("#f-pinfl:focus").wait_for()
    hand.type("30101851234567")
    hand.press("Tab")
    hand.type("Toshev")
    hand.press("Tab")
    hand.type("Anvarjon")
    hand.press("Control+Enter")
    place.page.wait_for_url("**/card/*")
    hand.done("register a person with a PINFL")

    known = documented()
    assert {act: spent for act, spent in hand.acts.items() if spent > known[act]} == {}


def test_what_is_typed_without_a_line_is_sent_when_it_is_back(
    workplace: Callable[..., Any],
) -> None:
    """The bottom line says what is unsent; the draft follows by itself once the line is back."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    open_card(Counted(doctor, "doctor"), doctor.page)
    doctor.press("Alt+r")
    page = doctor.page
    page.locator("#medicine-q").wait_for()
    if page.locator("#diagnosis-q").count():
        doctor.choose("#diagnosis-q", "I10")
    doctor.choose("#medicine-q", "amlodipin")
    page.locator("[id^=item-][id$=-dose]:focus").wait_for()
    saved = page.locator("[id^=quantity-] b").last
    expect(saved).not_to_have_text("50")

    doctor.context.set_offline(True)
    page.locator("[id^=item-][id$=-days]").last.fill("50")
    expect(page.locator("[data-unsent]")).to_contain_text("1")
    expect(page.locator("[data-connection]")).to_have_class("is-offline")
    doctor.context.set_offline(False)

    expect(page.locator("[data-connection]")).not_to_have_class("is-offline")
    expect(saved).to_have_text("50")
    doctor.press("Alt+x")
    page.wait_for_url("**/card/*")
    # The browser and htmx complain of the cut line; nothing else may.
    cut = ("ERR_INTERNET", "error: htmx:")
    doctor.complaints[:] = [
        one for one in doctor.complaints if not any(sign in one for sign in cut)
    ]


def test_the_camera_says_when_there_is_none(workplace: Callable[..., Any]) -> None:
    """The key of the camera loads its reader; without a camera a sentence says so."""
    counter = workplace("uz")
    counter.sign_in("pharmacist")

    counter.press("F4")

    expect(counter.page.locator("[data-camera-says]")).to_be_visible()


def test_a_wrong_code_is_told_in_the_readers_language(workplace: Callable[..., Any]) -> None:
    """A number alone asks for its code; a wrong one is refused in Uzbek and counted."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    hand = Counted(doctor, "doctor")
    open_card(hand, doctor.page)
    prescribe(hand, doctor.page, "amlodipin")
    number = doctor.page.url.rsplit("/", 1)[-1].split("?")[0]
    code = doctor.page.locator("#rx-code").inner_text()
    counter = workplace("uz")
    counter.sign_in("pharmacist")

    counter.scan(number)
    expect(counter.page.locator("label[for=scan]")).to_contain_text("kodini")
    counter.scan("AAAA-AAAA")
    expect(counter.page.locator(".note.bad")).to_contain_text("Kod noto‘g‘ri")
    counter.scan(code)

    expect(counter.page.locator("[data-item='1']")).to_be_visible()
