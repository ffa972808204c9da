"""The whole life of a prescription in Chromium: a dose warning, wrong and right packs, the rest at
another pharmacy, undo, a wish to cancel, paper typed in afterwards, a blister of an opened pack.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from dmed.apps import demo
from dmed.apps.accounts import identity, opened
from dmed.apps.database import database
from dmed.kit import clock, ids
from dmed.kit.settings import Settings
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.workforce import api as workforce
from dmed.trust.factors import code_at, step_of
from dmed.trust.gateway import Gateway
from dmed.trust.identity import Account
from dmed.trust.model import Role, Subject

pytestmark = pytest.mark.journey
MEDICINE = "paracetamol-tablet-500mg"
GS = "\x1d"
CODES: dict[str, list[str]] = {}
"""Recovery codes by user, as they were shown once."""


def pack(key: str = MEDICINE, place: int = -1) -> str:
    """The code of a pack that nobody has seen."""
    gtin = medicines.products_of(key)[place].gtin
    serial = ("L" + secrets.token_hex(7).upper())[:13]
    return f"01{gtin}21{serial}{GS}91ABCD{GS}92{'x' * 44}"


async def _second(settings: Settings, user: str, word: str) -> None:
    """An account for a pharmacist of another pharmacy whose licences hold."""
    accounts = {each.user: each for each in demo.accounts()}
    doctor = Subject(user="doctor", role=Role.DOCTOR, organisation=accounts["doctor"].organisation)
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            gateway = Gateway(store, settings)
            mine = accounts["pharmacist"].organisation
            for post in await gateway.find(doctor, "PractitionerRole", "_count=200"):
                place = post["organization"]["reference"].removeprefix("Organization/")
                if post["code"][0].get("text") != "farmatsevt" or place == mine:
                    continue
                made = Account(
                    user=user, role=Role.PHARMACIST, name="Boshqa Farmatsevt",
                    practitioner=post["practitioner"]["reference"].removeprefix("Practitioner/"),
                    practitioner_role=post["id"], organisation=place,
                    organisation_name=post["organization"].get("display", ""))
                as_subject = msgspec.structs.replace(
                    doctor, user=user, role=Role.PHARMACIST, practitioner=made.practitioner,
                    practitioner_role=made.practitioner_role, organisation=place)
                there = await facilities.organisation(gateway, doctor, place)
                verdict = await workforce.licence_valid(gateway, as_subject, clock.today())
                if verdict.allowed and facilities.licence_valid(there, clock.today()).allowed:
                    await identity(store, settings).save(made, word)
                    return
    pytest.fail("the country has no second working pharmacy")


@pytest.fixture(scope="module")
def second(live_server: str, live_folder: Path) -> tuple[str, str]:
    """Name and password of a pharmacist elsewhere."""
    assert live_server
    word = ids.secret()
    with ThreadPoolExecutor(1) as apart:  # A loop of Playwright may run in this thread.
        made = _second(Settings(data=live_folder / "data"), "pharmacist2", word)
        apart.submit(asyncio.run, made).result()
    return "pharmacist2", word


def enter(place: Any, user: str, word: str) -> None:
    """Signs a person in who is no demo user: he sets his second factor up the first time, and has
    only the recovery codes with him later.
    """
    page = place.page
    page.goto(place.address + "/signin")
    page.locator("#f-user").fill(user)
    page.locator("#f-password").fill(word)
    place.press("Enter")
    page.locator("#f-code").wait_for()
    if page.url.endswith("/signin/enrol"):
        secret = base64.b32decode(page.locator("[data-secret]").inner_text().replace(" ", ""))
        page.locator("#f-code").fill(code_at(secret, step_of(time.time())))
        place.press("Enter")
        page.locator("ol.codes").wait_for()
        CODES[user] = page.locator("ol.codes li").all_inner_texts()
    else:
        page.locator("#f-code").fill(CODES[user].pop())
    place.press("Enter")
    page.locator("nav.rail").wait_for()


def card_of(doctor: Any, person: str) -> str:
    """The address of a person's card."""
    doctor.press("Control+k")
    doctor.type(person)
    doctor.page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    doctor.page.wait_for_url("**/card/*")
    return str(doctor.page.url).split("?")[0]


def fill(doctor: Any, medicine: str, dose: str, times: str) -> None:
    """A diagnosis, a medicine and its dose; the findings have come when it returns."""
    page = doctor.page
    if page.locator("#diagnosis-q").count():
        doctor.choose("#diagnosis-q", "J18")
    doctor.choose("#medicine-q", medicine)
    page.locator("#item-0-dose:focus").wait_for()
    page.locator("#item-0-dose").fill(dose)
    page.locator("#item-0-times").fill(times)
    with page.expect_response("**/prescribe/check"):
        page.locator("#item-0-days").fill("5")


def sign(doctor: Any) -> tuple[str, str]:
    """Gives every reason that is asked for and signs: number and QR text."""
    page = doctor.page
    for box in page.locator("select[name^=override-]").all():
        box.select_option(index=1)
    doctor.press("Control+Enter")
    page.wait_for_url(re.compile(r".*/prescriptions/\d{13}.*"))
    return page.url.rsplit("/", 1)[-1].split("?")[0], doctor.read_qr()


def claim(counter: Any, code: str) -> Any:
    """Scans a prescription; its line."""
    counter.page.goto(counter.address + "/counter")
    counter.scan(code)
    line = counter.page.locator("[data-item='1']")
    expect(line).to_be_visible()
    return line


def part(counter: Any, code: str, units: str) -> None:
    """Scans a pack of which so many units are handed over."""
    counter.page.locator("#f-quantity").fill(units)
    counter.page.locator("#scan").focus()
    counter.scan(code)
    expect(counter.page.locator("[data-pack]").first).to_be_visible()


LANGUAGES = [("uz", "Rahimov Otabek", "paratsetamol 500"),
             ("ru", "Рахимов Отабек", "парацетамол 500")]


@pytest.mark.parametrize(("language", "person", "medicine"), LANGUAGES)
def test_the_whole_life(
    workplace: Callable[..., Any], second: tuple[str, str], language: str, person: str,
    medicine: str,
) -> None:
    """From the warning about a dose to the paper that is typed in afterwards."""
    doctor, here, there = workplace(language), workplace(language), workplace(language)
    doctor.sign_in("doctor")
    here.sign_in("pharmacist")
    enter(there, *second)
    card = card_of(doctor, person)

    number, code = prescribed(doctor, card, medicine, language)
    opened_pack = supplied_in_part(here, code, language)
    rest_elsewhere(there, code, opened_pack, language)
    undone_and_cancelled(doctor, there, number, language)
    from_paper(doctor, here, card, medicine, opened_pack, language)


def prescribed(doctor: Any, card: str, medicine: str, language: str) -> tuple[str, str]:
    """A dose above the maximum warns; with a reason it is signed and printed."""
    page = doctor.page
    page.goto(card + "/prescribe")
    fill(doctor, medicine, "3", "4")
    expect(page.locator("select[name^=override-0-max-daily], select[name^=override-0-]").first
           ).to_be_visible()
    doctor.pictures(f"life-{language}-1-dose")
    number, code = sign(doctor)
    doctor.pictures(f"life-{language}-2-signed")
    printed = page.request.get(f"{doctor.address}/prescriptions/{number}/slip.pdf")
    assert printed.body().startswith(b"%PDF")
    return number, code


def supplied_in_part(here: Any, code: str, language: str) -> str:
    """A wrong pack turns red; a part of a right one is handed over, the rest is free."""
    claim(here, code)
    here.scan(pack("losartan-film-tablet-50mg"))
    expect(here.page.locator(".note.bad").first).to_be_visible()
    here.pictures(f"life-{language}-3-wrong-pack")
    mine = pack()
    part(here, mine, "6")
    here.pictures(f"life-{language}-4-part")
    here.press("F6")
    expect(here.page.locator(".note.good").first).to_be_visible()
    return mine


def rest_elsewhere(there: Any, code: str, opened_pack: str, language: str) -> None:
    """Another pharmacy may not use the opened pack, but hands the rest over from its own."""
    line = claim(there, code)
    there.scan(opened_pack)
    expect(there.page.locator(".note.bad").first).to_be_visible()
    for _ in range(12):
        if line.evaluate("each => each.classList.contains('is-good')"):
            break
        known = there.page.locator("[data-pack]").count()
        there.scan(pack())
        expect(there.page.locator("[data-pack]")).to_have_count(known + 1)
    there.press("F2")
    expect(there.page.locator(".note.good").first).to_be_visible()
    there.pictures(f"life-{language}-5-rest")


def undone_and_cancelled(doctor: Any, there: Any, number: str, language: str) -> None:
    """One pack is taken back; the doctor wishes to cancel, and the pharmacy agrees."""
    there.page.goto(there.address + "/counter/today")
    there.page.locator("form[action^='/counter/undo/'] button").first.click()
    there.page.wait_for_url("**/counter?number=*")
    doctor.page.goto(f"{doctor.address}/prescriptions/{number}")
    doctor.press("Alt+x")
    doctor.page.locator("#cancel[open]").wait_for()
    with doctor.page.expect_response("**/cancel"):
        doctor.press("Control+Enter")
    doctor.page.wait_for_load_state()
    there.page.goto(f"{there.address}/counter?number={number}")
    agree = there.page.locator("button[value='accept-cancel:1']")
    expect(agree).to_be_visible()
    there.pictures(f"life-{language}-6-cancel")
    agree.click()
    expect(agree).to_have_count(0)


def from_paper(
    doctor: Any, here: Any, card: str, medicine: str, opened_pack: str, language: str
) -> None:
    """Forms are printed beforehand; one is typed in, found by its own number, and served with the
    blister that is left in the opened pack.
    """
    page = doctor.page
    page.goto(doctor.address + "/prescriptions/forms")
    page.locator("#f-count").select_option("1")
    page.locator("button[value=allocate]").click()
    number = page.locator("[data-form]").first.get_attribute("data-form")
    doctor.pictures(f"life-{language}-7-forms")
    printed = page.request.get(f"{doctor.address}/prescriptions/forms/blank.pdf")
    assert printed.body().startswith(b"%PDF")
    page.goto(f"{card}/prescribe?paper={number}")
    page.locator("[data-paper]").wait_for()
    page.locator("#f-paper-reason").select_option("home-visit")
    page.locator("#diagnosis-q, #medicine-q").first.focus()
    fill(doctor, medicine, "1", "1")
    doctor.pictures(f"life-{language}-8-paper")
    made, code = sign(doctor)
    assert made == number
    expect(page.locator(".note.warn").first).to_be_visible()
    claim(here, code)
    part(here, opened_pack, "2")
    here.press("F6")
    expect(here.page.locator(".note.good").first).to_be_visible()
    here.pictures(f"life-{language}-9-blister")


@pytest.mark.parametrize(("language", "person", "medicine"), LANGUAGES)
def test_a_pharmacist_asks_and_the_doctor_signs(
    workplace: Callable[..., Any], language: str, person: str, medicine: str
) -> None:
    """A smaller quantity is proposed at the counter, signed on the doctor's page, and the counter
    is told; a favourite saves the doctor from typing.
    """
    doctor, here = workplace(language), workplace(language)
    doctor.sign_in("doctor")
    here.sign_in("pharmacist")
    page = doctor.page
    page.goto(card_of(doctor, person) + "/prescribe")
    fill(doctor, medicine, "1", "2")
    page.locator("details.more > summary").last.click()
    page.locator("#f-favourite-name").fill(f"Isitma {language}")
    page.locator("button[value=keep-favourite]").click()
    expect(page.locator("button[value^='favourite:']", has_text=language)).to_be_visible()
    number, code = sign(doctor)
    claim(here, code)
    here.press("Alt+p")
    here.page.locator("#change-dialog[open]").wait_for()
    here.page.locator("#change-kind").select_option("quantity")
    here.page.locator("#change-amount").fill("4")
    here.page.locator("#change-why").fill("Faqat bitta blister bor")
    here.page.locator("button[value=propose]").click()
    expect(here.page.locator(".note.info").first).to_contain_text("4")
    here.pictures(f"life-{language}-change-asked")

    page.goto(doctor.address + "/changes")
    asked = page.locator(f"[data-change='{number}']")
    expect(asked).to_contain_text("Faqat bitta blister bor")
    doctor.pictures(f"life-{language}-change")
    asked.locator("button[value=approve]").click()
    if page.locator(".note.bad").count():
        for box in page.locator("select[name^=override-]").all():
            box.select_option(index=1)
        page.locator("button[value=approve]").click()
    expect(page.locator(".note.good")).to_be_visible()
    here.page.goto(f"{here.address}/counter?number={number}")
    expect(here.page.locator(".note.good").first).to_contain_text("1726-")
