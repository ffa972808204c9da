"""The counter without a network, in a real Chromium whose network is cut."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.service.operator.demo import invented

pytestmark = pytest.mark.journey
_story = runpy.run_path(str(Path(__file__).with_name("test_story.py")))
axe_script, pack_code, packs_of, prescribe = (
    _story[name] for name in ("axe_script", "pack_code", "packs_of", "prescribe"))
PIN = "271828"
OF_THE_CUT = ("ERR_INTERNET_DISCONNECTED", "Failed to fetch", "htmx:sendError",
              "htmx:afterRequest")  # fmt: skip  # What a browser says of a pulled cable.
QUEUED = "#offline-queue [data-queued]"


def ready_till(workplace: Callable[..., Any], language: str = "uz") -> Any:
    """A pharmacist whose computer is prepared: kit, shell and PIN, by opening the page once."""
    till = workplace(language)
    till.sign_in("pharmacist")
    till.page.goto(till.address + "/counter/offline")
    expect(till.page.locator("#offline-key")).to_be_visible()
    till.page.locator("#f-new-pin").fill(PIN)
    till.page.locator("#f-pin-again").fill(PIN)
    till.press("Enter")
    expect(till.page.locator("#offline-key")).to_be_hidden()
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(3)
    till.page.evaluate("navigator.serviceWorker.ready")
    return till


def medicine(doctor: Any) -> tuple[str, int]:
    """Key and quantity of the one medicine of the prescription that is shown."""
    row = doctor.page.locator("[data-preparation]").first
    quantity = doctor.page.locator("[data-quantity]").first.get_attribute("data-quantity")
    return row.get_attribute("data-preparation"), int(Decimal(quantity))


def cut(place: Any) -> None:
    """The cable is pulled; what the browser says about it is no complaint."""
    place.context.set_offline(True)


def mend(place: Any) -> None:
    """The line is back."""
    place.context.set_offline(False)
    place.complaints[:] = [one for one in place.complaints
                           if not any(word in one for word in OF_THE_CUT)]


def add_pack(till: Any, code: str, count: int = 1,
             said: tuple[str, str] = ("A123", "12.2031")) -> None:
    """Scans a pack and types batch and expiry, by keyboard alone."""
    till.page.locator("#scan:focus").wait_for()
    till.scan(code)
    expect(till.page.locator("#f-lot")).to_be_focused()
    lot, expiry = said
    till.type(lot)
    till.press("Tab")
    till.type(expiry)
    till.press("Enter")
    expect(till.page.locator("#offline-rx [data-pack]")).to_have_count(count)


def hand_over(till: Any) -> None:
    """Types the PIN: every act is signed by its pharmacist."""
    till.press("F2")
    expect(till.page.locator("#f-hand-pin")).to_be_focused()
    till.type(PIN)
    till.press("Enter")
    expect(till.page.locator(".note.good")).to_be_visible()


def run(work: Any) -> Any:
    """The result of a coroutine, in a thread of its own: this one belongs to Playwright."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def printed(gtin: str) -> tuple[str, str]:
    """Batch and expiry that stand on a demo pack."""
    seen = invented(gtin, "A" * 13)
    assert seen is not None
    assert seen.expiry is not None
    return seen.lot, f"{seen.expiry:%d.%m.%Y}"


def test_the_line_is_cut_and_comes_back(workplace: Callable[..., Any]) -> None:
    """Cut, scan, hand over, reload without a line, reconnect: the server has booked it."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    number, code, _ = prescribe(doctor, "Rahimov Otabek", "amoksi 500")
    key, _ = medicine(doctor)
    till = ready_till(workplace)
    gtin = packs_of(till, key, 1)[0]
    till.page.goto(till.address + "/counter")
    expect(till.page.locator("#scan")).to_be_focused()

    cut(till)
    till.scan(code)
    till.page.wait_for_url("**/counter/offline")
    expect(till.page.locator("#offline-rx [data-item='1']")).to_be_visible()
    lot, expiry = printed(gtin)
    till.page.locator("#scan").focus()
    till.scan(pack_code(gtin))
    expect(till.page.locator("#f-lot")).to_be_focused()
    till.type(lot)
    till.press("Tab")
    till.type(expiry)
    made = till.pictures("offline-pack")
    till.press("Enter")
    expect(till.page.locator("#offline-rx [data-pack]")).to_have_count(1)
    made += till.pictures("offline-hand")
    hand_over(till)
    expect(till.page.locator(QUEUED)).to_have_count(1)
    till.page.goto(till.address + "/counter")  # A reload without a line: the shell is kept.
    expect(till.page.locator(QUEUED)).to_have_count(1)
    till.page.locator("#scan").focus()
    till.scan(code)
    expect(till.page.locator("#offline-rx [data-item='1'].is-bad")).to_be_visible()
    made += till.pictures("offline-queue")

    mend(till)
    expect(till.page.locator(QUEUED)).to_have_count(0)
    expect(till.page.locator("#offline-results [data-outcome=accepted]")).to_have_count(1)
    made += till.pictures("offline-done")
    doctor.page.goto(f"{doctor.address}/prescriptions/{number}")
    expect(doctor.page.locator(".line .chip").first).to_be_visible()
    assert len(made) == 8


def test_the_price_of_the_tills_list_is_kept(
    workplace: Callable[..., Any], prescribed: Callable[[], tuple[str, str]]
) -> None:
    """What the pharmacy asks for a product is shown without a line and stays with the hand-over;
    where it is above the operator's highest, the medicine is booked and a case asks why.
    """
    doctor = workplace("en")
    doctor.sign_in("doctor")
    asked = [prescribed()[0] for _ in range(2)]
    codes = []
    for number in asked:
        doctor.page.goto(f"{doctor.address}/prescriptions/{number}")
        codes.append(doctor.read_qr())
    gtin = medicines.products_of("amoxicillin-capsule-500mg")[0].gtin
    # Priced before the till is prepared: a kit of less than ten minutes is not fetched again.
    keeper = workplace("en")
    keeper.sign_in("pharmacist")
    keeper.page.goto(f"{keeper.address}/stock/product/{gtin}")
    keeper.page.locator("#f-retail").fill("20500")
    keeper.page.locator("button[value=price]").click()
    expect(keeper.page.locator("#f-retail")).to_have_value(re.compile("20.?500"))
    till = ready_till(workplace, "en")

    cut(till)
    for at, (code, kind) in enumerate(zip(codes, ("A", "MAX"), strict=True), start=1):
        till.page.locator("#scan").focus()
        till.scan(code)
        expect(till.page.locator("#offline-rx [data-item='1']")).to_be_visible()
        till.page.locator("#scan").focus()
        add_pack(till, pack_code(gtin, kind), said=printed(gtin))
        expect(till.page.locator("#offline-rx [data-pack]")).to_contain_text(
            re.compile(r"20.500\.00 so.m"))
        if at == 1:
            till.pictures("offline-price")
        hand_over(till)
        expect(till.page.locator(QUEUED)).to_have_count(at)
    mend(till)

    expect(till.page.locator("#offline-results [data-outcome=accepted]")).to_have_count(1)
    above = till.page.locator("#offline-results [data-outcome=questioned]")
    expect(above).to_contain_text(re.compile("20.500 so'm .*20.000 so'm"))
    above.locator("a").click()
    till.page.wait_for_url("**/offline/cases/*")
    till.pictures("offline-price-case")
    till.page.goto(f"{till.address}/counter/today")
    for number in asked:
        booked = till.page.locator("tr", has=till.page.locator(f"a[href$='{number}']"))
        expect(booked).to_contain_text(re.compile("20.500.00 so.m"))


OLDER = """async () => {
  const base = await new Promise((resolve) => {
    const asked = indexedDB.open("dmed-counter"); asked.onsuccess = () => resolve(asked.result); });
  const rewrite = (store, older) => new Promise((resolve) => {
    const transaction = base.transaction(store, "readwrite");
    transaction.objectStore(store).openCursor().onsuccess = ({ target: { result: at } }) => {
      if (!at) return;
      if (at.value.place) at.update(older(at.value));
      at.continue();
    };
    transaction.oncomplete = resolve;
  });
  await rewrite("queue", ({ id, seq, at, place, iv, sealed }) =>
    ({ id, seq, at, pharmacy: place, shown: "Amoksitsillin", iv, sealed }));
  await rewrite("keys", ({ place, ...rest }) => ({ ...rest, pharmacy: place }));
  base.close();
}"""


def test_a_queue_of_an_older_page_is_sent(workplace: Callable[..., Any]) -> None:
    """What a counter of the first form kept on its computer is shown, sent, and its key still
    signs.
    """
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    _, code, _ = prescribe(doctor, "Rahimov Otabek", "omeprazol 20")
    key, _ = medicine(doctor)
    till = ready_till(workplace)
    gtin = packs_of(till, key, 1)[0]
    till.page.goto(till.address + "/counter/offline")
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(3)
    cut(till)
    till.page.locator("#scan").focus()
    till.scan(code)
    expect(till.page.locator("#offline-rx [data-item='1']")).to_be_visible()
    till.page.locator("#scan").focus()
    add_pack(till, pack_code(gtin), said=printed(gtin))
    hand_over(till)
    expect(till.page.locator(QUEUED)).to_have_count(1)
    till.page.evaluate(OLDER)
    till.page.goto(till.address + "/counter/offline")
    expect(till.page.locator(QUEUED)).to_contain_text("Amoksitsillin")
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(2)

    mend(till)

    expect(till.page.locator(QUEUED)).to_have_count(0)
    expect(till.page.locator("#offline-results [data-outcome=accepted]")).to_have_count(1)


def test_another_pharmacy_was_quicker(
    workplace: Callable[..., Any], live_server: str, live_folder: Path
) -> None:
    """Two pharmacies hand over the same: both acts are kept, and the inspector sees the case."""
    doctor = workplace("ru")
    doctor.sign_in("doctor")
    number, code, _ = prescribe(doctor, "Рахимов Отабек", "азитромицин 500")
    key, quantity = medicine(doctor)
    till = ready_till(workplace, "ru")
    gtins = packs_of(till, key, quantity)
    till.page.goto(till.address + "/counter/offline")
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(3)
    cut(till)
    till.page.locator("#scan").focus()
    till.scan(code)
    expect(till.page.locator("#offline-rx [data-item='1']")).to_be_visible()
    till.page.locator("#scan").focus()
    add_pack(till, pack_code(gtins[0]))
    hand_over(till)
    run(quicker(live_folder, number, code, [pack_code(each) for each in gtins]))

    mend(till)

    conflict = till.page.locator("#offline-results [data-outcome=conflict]")
    expect(conflict).to_have_count(1)
    conflict.locator("a").click()
    till.page.wait_for_url("**/offline/cases/*")
    expect(till.page.locator("main")).to_contain_text("Выдано дважды")
    case = till.page.url
    inspector = workplace("ru")
    inspector.sign_in("inspector")
    inspector.page.goto(case)
    inspector.page.locator("#f-words").fill("Связи не было, пациент не виноват")
    made = inspector.pictures("offline-case")
    inspector.press("Control+Enter")
    expect(inspector.page.locator("main")).to_contain_text("пациент не виноват")
    inspector.page.goto(inspector.address + "/offline/cases?closed=1")
    place = case.removeprefix(inspector.address)
    expect(inspector.page.locator(f"tbody a[href='{place}']")).to_be_visible()
    assert made


async def quicker(folder: Path, number: str, code: str, packs: list[str]) -> None:
    """A pharmacist of another pharmacy claims and hands over, beside the server."""
    import msgspec

    from dmed.apps.accounts import opened
    from dmed.apps.database import database
    from dmed.kit.settings import Settings
    from dmed.modules.pharmacy import api
    from dmed.trust.gateway import Gateway
    from dmed.trust.model import Role, Subject

    settings = Settings(data=folder / "data")
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            gateway = Gateway(store, msgspec.structs.replace(settings))
            service = Subject(user="service", role=Role.SERVICE)
            for other in await _pharmacists(gateway, service):
                claim = await api.claim(gateway, other, code)
                assert claim.held
                for pack in packs:
                    verdict = await api.scan_pack(gateway, other, number, pack)
                    assert verdict.ok or "Enough" in verdict.sentence, verdict.sentence
                await api.dispense(gateway, other, number, key=secrets.token_hex(8))
                return
    raise AssertionError("the country has no second working pharmacy")


async def _pharmacists(gateway: Any, service: Any) -> list[Any]:
    """Pharmacists of working pharmacies that are not the demo account's."""
    from dmed.kit import clock
    from dmed.kit.errors import ForbiddenError
    from dmed.modules.pharmacy.service import counter
    from dmed.trust.model import Role, Subject

    found = []
    for role in await gateway.find(service, "PractitionerRole", "_count=200"):
        name = (role.get("practitioner") or {}).get("display", "")
        if role["code"][0].get("text") != "farmatsevt" or "Aliyev" in name:
            continue
        place = role["organization"]["reference"].removeprefix("Organization/")
        subject = Subject(
            user=f"pharmacist-{place}", role=Role.PHARMACIST, name="Boshqa farmatsevt",
            practitioner=role["practitioner"]["reference"].removeprefix("Practitioner/"),
            practitioner_role=role["id"], organisation=place,
            organisation_name=role["organization"].get("display", ""))
        try:
            await counter.require_licence(gateway, subject, clock.now())
        except ForbiddenError:
            continue
        found.append(subject)
    return found


def test_what_the_browser_refuses(workplace: Callable[..., Any]) -> None:
    """A changed token, a number alone, a wrong PIN, a bare bar code; nothing is queued."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    _, code, _ = prescribe(doctor, "Rahimov Otabek", "metformin")
    key, _ = medicine(doctor)
    till = ready_till(workplace)
    gtin = packs_of(till, key, 1)[0]
    till.page.goto(till.address + "/counter/offline")
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(3)
    cut(till)
    bad = till.page.locator("#offline-notes .note.bad")
    _, _, token = code.split("/", 2)  # The token's own alphabet has a slash too.
    place = len(code) - len(token) + 20
    turned = code[:place] + ("1" if code[place] != "1" else "2") + code[place + 1:]
    for text in (turned, "1726-0048-2215-9", code.removesuffix(token)):
        till.page.locator("#scan").focus()
        till.scan(text)
        expect(bad).to_be_visible()
        expect(till.page.locator("#offline-rx")).to_be_hidden()
    till.page.locator("#scan").focus()
    till.scan(code)
    expect(till.page.locator("#offline-rx [data-item='1']")).to_be_visible()
    expect(bad).to_have_count(0)
    till.page.locator("#scan").focus()
    till.scan("4780012345678")
    expect(bad).to_be_visible()
    till.page.locator("#scan").focus()
    add_pack(till, pack_code(gtin))
    till.press("F2")
    expect(till.page.locator("#f-hand-pin")).to_be_focused()
    till.type("000000")
    till.press("Enter")
    expect(bad).to_be_visible()
    expect(till.page.locator(QUEUED)).to_have_count(0)
    kept = till.page.evaluate(KEPT)
    mend(till)

    assert number_of(code) not in json.dumps(kept)
    assert kept["key"] == "not extractable"


def number_of(code: str) -> str:
    """The number inside a QR text."""
    found = re.match(r"UZRX:(\d{13})/", code)
    assert found
    return found[1]


KEPT = """async () => {
  const base = await new Promise((resolve) => {
    const asked = indexedDB.open("dmed-counter"); asked.onsuccess = () => resolve(asked.result); });
  const all = (store) => new Promise((resolve) => {
    const asked = base.transaction(store).objectStore(store).getAll();
    asked.onsuccess = () => resolve(asked.result); });
  const keys = await all("keys");
  const sealing = keys.find((each) => each instanceof CryptoKey);
  return { queue: await all("queue"), done: await all("done"),
           key: !sealing || !sealing.extractable ? "not extractable" : "extractable" };
}"""


READS = """async ({ tokens, filter, keys, packs, days }) => {
  const browser = await import("/static/counter-token.js");
  const { fromBase45 } = await import("/static/offline-bytes.js");
  const held = [];
  for (const key of keys) held.push(await browser.mayHold(filter, key));
  const read = (raw) => {
    try { return browser.readPack(raw).identity; } catch (fault) { return fault.message; } };
  return { held, packs: packs.map(read), days: days.map(browser.readDay),
           tokens: tokens.map((text) => [...fromBase45(text)]) };
}"""


def test_the_browser_reads_as_the_server_does(workplace: Callable[..., Any]) -> None:
    """Base45, the filter of used numbers and packs with their traps: the same answers as Python."""
    import msgspec

    from dmed.modules.pharmacy.rules import gs1
    from dmed.modules.pharmacy.rules.offline import make_filter, may_hold
    from dmed.modules.prescriptions.rules.numbers import base45

    blobs = [secrets.token_bytes(size) for size in range(1, 60)]
    filter_ = make_filter((f"1726{number:09d}:1" for number in range(400)), 0.05)
    keys = [f"1726{number:09d}:1" for number in range(390, 800)]
    plain = "0109521234543213" + "21A'b!C4xK90zQ1"
    rest = f"{plain}{chr(29)}91EE08{chr(29)}92{'x' * 44}"
    layout = str.maketrans("AbCKQxz", "ФиСЛЙчя")
    packs = [rest, "]d2" + rest, chr(29) + rest, rest.replace(chr(29), "_x001D_"),
             f"(01){plain[2:16]}(21){plain[18:]}", "]D2" + rest.swapcase(),
             rest.replace("A'b!C4xK90zQ1", "A1b1C4xK90zQ1").translate(layout), "4780012345678", ""]
    days = ["31.12.2029", "12.2029", "2.2028", "2029-12-31", "31.02.2029", "13.2029", "soon"]
    place = workplace("uz")
    place.sign_in("pharmacist")

    found = place.page.evaluate(READS, {
        "tokens": [base45(each) for each in blobs], "filter": msgspec.to_builtins(filter_),
        "keys": keys, "packs": packs, "days": days})

    codes = [gs1.read(each) for each in packs]
    assert found["tokens"] == [list(each) for each in blobs]
    assert found["held"] == [may_hold(filter_, key) for key in keys]
    assert found["packs"] == [
        each.identity if isinstance(each, gs1.Code) else "no_pack" for each in codes]
    assert sum(isinstance(each, gs1.Code) for each in codes) == 7
    assert found["days"] == ["2029-12-31", "2029-12-31", "2028-02-29", "2029-12-31", "", "", ""]


def test_the_counter_can_be_installed(workplace: Callable[..., Any]) -> None:
    """A manifest with a name and icons that are there, a worker in charge of the counter alone."""
    till = ready_till(workplace)
    till.page.goto(till.address + "/counter")
    manifest = till.page.request.get(till.address + "/counter.webmanifest").json()
    icons = [till.page.request.get(till.address + one["src"]) for one in manifest["icons"]]
    scope = till.page.evaluate("navigator.serviceWorker.ready.then((each) => each.scope)")
    session = till.context.new_cdp_session(till.page)
    faults = session.send("Page.getInstallabilityErrors")["installabilityErrors"]

    assert [icon.status for icon in icons] == [200, 200]
    assert manifest["scope"] == manifest["start_url"] == "/counter"
    assert scope == till.address + "/counter"
    # A headless window is an incognito one, in which nothing can be installed.
    assert [one["errorId"] for one in faults if one["errorId"] != "in-incognito"] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_offline_screens_obey_wcag(workplace: Callable[..., Any], theme: str) -> None:
    """axe-core finds no violation of WCAG 2.2 A and AA on the offline counter and the cases."""
    till = workplace("uz", theme=theme)
    till.sign_in("pharmacist")
    for path in ("/counter/offline", "/offline/cases"):
        till.page.goto(till.address + path)
        till.page.evaluate(axe_script())
        found = till.page.evaluate(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
        assert [one["id"] for one in found["violations"]] == [], path
