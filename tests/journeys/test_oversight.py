"""Indicators, a case and claims to the fund, by those who work with them, in a real Chromium."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dmed.apps.accounts import identity, opened
from dmed.apps.database import database
from dmed.apps.sim_fund import Fund, Server
from dmed.kit import clock
from dmed.kit.settings import Settings
from dmed.modules.analytics import api as analytics
from dmed.modules.analytics import tables
from dmed.modules.analytics.rules.counting import Cell
from dmed.modules.analytics.service.following import PLATFORM
from dmed.modules.insurance import api as insurance
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api as pharmacy
from dmed.modules.pharmacy.rules.gs1 import Code
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.trust.gateway import Gateway
from dmed.trust.model import Subject

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
LOSARTAN = "losartan-film-tablet-50mg"
_CRYPTO = "fjqXr9PNI5xPnGSSk7Vl0aE2dVqFDkTcZ1o2Qs/+Ab0="
_serials = itertools.count(secrets.randbelow(10**9) * 100)


async def figures_of(gateway: Gateway, doctor: Subject) -> None:
    """A year of the doctor and of colleagues, in which the doctor gives antibiotics for viruses;
    judged, so that the doctor is told.
    """
    await analytics.follow(gateway)
    known = await analytics.staff(gateway)
    peers = [id_ for id_, place in sorted(known.places.items())
             if place.specialty.startswith("22") and id_ != doctor.practitioner_role]
    assert len(peers) >= 10
    month = clock.today().replace(day=1)
    counts = {}
    for place, who in enumerate([doctor.practitioner_role, *peers]):
        for definition in analytics.definitions().values():
            if definition.kind == "part":
                continue
            size = 120 + place * 7 % 60
            share = 0.05 + len(definition.id) % 7 / 20 + place % 5 / 100
            if definition.kind == "mean":
                share += 1.2
            if place == 0 and definition.id == "antibiotic-viral":
                share = 0.85
            counts[Cell(definition.id, "", who, month, "")] = (round(size * share), size)
    async with gateway.unit(PLATFORM) as unit:
        now = await tables.position(unit)
        await tables.add(unit, now.generation, counts)
    flags = await analytics.judge_year(gateway)

    assert [(one.figure.prescriber, one.figure.indicator) for one in flags] == [
        (doctor.practitioner_role, "antibiotic-viral")]


async def dispensed(gateway: Gateway, doctor: Subject, pharmacist: Subject) -> str:
    """An insured item that was handed over and that the pharmacy claims; its key."""
    born = (clock.today() - timedelta(days=20_000)).isoformat()
    person = await gateway.create(doctor, "Patient", {
        "resourceType": "Patient", "gender": "female", "birthDate": born,
        "name": [{"family": "Sinovova", "given": ["Namuna"]}]})
    draft = prescriptions.derive(Draft(
        patient=person.id, diagnosis="I10", items=(DraftItem(preparation=LOSARTAN),),
        validity_class="reimbursed"))
    made = await prescriptions.sign(gateway, doctor, draft)
    await pharmacy.claim(gateway, pharmacist, made.number, made.code)
    product, left = medicines.products_of(LOSARTAN)[0], made.items[0].remaining
    while left > 0:
        taken = min(left, product.pack_units)
        pack = Code(gtin=product.gtin, serial=f"S{next(_serials):012d}", key_id="EE08",
                    crypto=_CRYPTO).text()
        await pharmacy.scan_pack(gateway, pharmacist, made.number, pack, quantity=taken)
        left -= taken
    await pharmacy.dispense(gateway, pharmacist, made.number)
    await pharmacy.claim_payment(gateway, pharmacist, made.number, 1)
    return f"{made.number}-1"


async def claims_of(gateway: Gateway, doctor: Subject, pharmacist: Subject, fund: Server) -> (
        tuple[str, str]):
    """A claim that is paid and one that is refused; the fund's list of the day tells another sum
    of the paid one. Their keys.
    """
    door, keys = insurance.HttpFund(fund.url), []
    for mode in ("", "refuse"):
        keys.append(await dispensed(gateway, doctor, pharmacist))
        fund.fund.mode = mode
        await insurance.collect(gateway)
        assert await insurance.send(gateway, door) == 1
    fund.fund.mode = "less"
    found = await insurance.reconcile(gateway, door, clock.today())

    assert [(one.key, one.kind.value) for one in found] == [(keys[0], "amount")]
    return keys[0], keys[1]


async def _stage(folder: Path, fund: Server) -> tuple[str, str]:
    settings = Settings(data=folder / "data", fund=fund.url)
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            gateway, known = Gateway(store, settings), identity(store, settings)
            doctor, pharmacist = [await known.subject_of(user) for user in ("doctor", "pharmacist")]
            await figures_of(gateway, doctor)
            return await claims_of(gateway, doctor, pharmacist, fund)


@pytest.fixture(scope="module")
def staged(live_server: str, live_folder: Path) -> Iterator[tuple[str, str]]:
    """The keys of two claims, after a year of figures; in a thread of its own, as the browser's
    driver has a loop here.
    """
    fund = Server(Fund())
    fund.start()
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(asyncio.run, _stage(live_folder, fund)).result()
    fund.stop()


def test_the_doctor_first_then_the_inspector(
    staged: tuple[str, str], workplace: Callable[..., Any]
) -> None:
    """The doctor sees the own figures and is told what stands out; nobody else sees it before the
    answer; then the inspector finds the case, opens the doctor's figures, notes and closes.
    """
    inspector = workplace("ru")
    inspector.sign_in("inspector")
    early = inspector.page
    early.goto(f"{inspector.address}/indicators")
    expect(early.locator("main")).to_contain_text("Открытых случаев нет")

    doctor = workplace("uz")
    doctor.sign_in("doctor")
    page = doctor.page
    page.goto(f"{doctor.address}/indicators")
    expect(page.get_by_role("heading", level=1)).to_have_text("Mening retseptlarim")
    expect(page.locator("main")).to_contain_text("Ajralib turadi")
    doctor.pictures("indicators-mine")
    page.locator("tr.hit a").first.click()
    page.wait_for_url("**/indicators/case/*")
    case = page.url
    doctor.pictures("indicators-told")
    page.locator("#f-words").fill("Gripp epidemiyasi, bakterial asoratlar ko‘p edi")
    doctor.press("Control+Enter")
    expect(page.locator("blockquote")).to_contain_text("Gripp epidemiyasi")

    page = inspector.page
    page.goto(f"{inspector.address}/indicators")
    page.locator("tr.hit a").first.click()
    page.wait_for_url(case)
    expect(page.locator("blockquote")).to_contain_text("Gripp epidemiyasi")
    page.get_by_role("link", name="Рецепты за показателем").click()
    page.wait_for_url("**/lines")
    expect(page.get_by_role("heading", level=1)).to_have_text("Рецепты за показателем")
    inspector.pictures("indicators-behind")
    page.get_by_role("link", name="Назад").click()
    page.wait_for_url(case)
    page.get_by_role("link", name="Показатели врача").click()
    page.wait_for_url("**/indicators/prescriber/*")
    inspector.pictures("indicators-of")
    page.locator("tr.hit a").first.click()
    page.wait_for_url(case)
    page.get_by_role("button", name="Беру себе").click()
    expect(page.get_by_role("button", name="Беру себе")).to_have_count(0)
    page.locator("#f-note").fill("Проверены журналы приёма")
    page.get_by_role("button", name="Добавить").click()
    expect(page.locator("main")).to_contain_text("Проверены журналы приёма")
    inspector.pictures("indicators-case")
    page.locator("#f-outcome").select_option("explained")
    page.locator("#f-end").fill("Вспышка гриппа подтверждена")
    page.get_by_role("button", name="Закрыть").click()
    expect(page.locator("main")).to_contain_text("Вспышка гриппа подтверждена")
    expect(page.locator("#f-note")).to_have_count(0)

    page = doctor.page
    page.goto(case)
    expect(page.locator("main")).to_contain_text("Вспышка гриппа подтверждена")


def test_claims_are_looked_through(
    staged: tuple[str, str], workplace: Callable[..., Any]
) -> None:
    """One claim is paid, one refused with its reason, and the fund's list tells another sum: the
    difference is listed, and gone when a person settles it.
    """
    paid, refused = staged
    admin = workplace("ru")
    admin.sign_in("admin")
    page = admin.page
    page.goto(f"{admin.address}/insurance")
    line = page.locator("tr", has_text=refused).last
    expect(line).to_contain_text("отказано")
    expect(page.locator("tr", has_text=paid).last).to_contain_text("оплачено")
    difference = page.locator("tr", has_text="другая сумма")
    expect(difference).to_contain_text(paid)
    admin.pictures("insurance")
    difference.get_by_role("button").click()
    expect(page.locator("tr", has_text="другая сумма")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("Расхождений нет")
