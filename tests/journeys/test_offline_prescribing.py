"""Prescribing without a network, in a real Chromium whose network is cut."""

from __future__ import annotations

import re
import runpy
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from dmed.apps.accounts import demo_token
from dmed.kit.settings import Settings
from dmed.modules.medid.rules import numbers

pytestmark = pytest.mark.journey
_counter = runpy.run_path(str(Path(__file__).with_name("test_offline.py")))
axe_script, cut, hand_over, mend, pack_code, packs_of, printed, ready_till, run = (
    _counter[name] for name in ("axe_script", "cut", "hand_over", "mend", "pack_code", "packs_of",
                                "printed", "ready_till", "run"))
PIN = "271828"
PAGE = "/prescribing/offline"
QUEUED = "#offline-queue [data-queued]"
BAD = "#offline-notes .note.bad"
DAMM_WRONG = "1234567890124"


@pytest.fixture
def somebody(live_server: str, live_folder: Path) -> Callable[[], str]:
    """Makes a person born in 1980 without any record, and gives the MED-ID."""

    def made() -> str:
        token = run(demo_token(Settings(data=live_folder / "data"), "doctor"))
        med_id = numbers.new_med_id(secrets.randbelow(10**12))
        answer = httpx.post(
            f"{live_server}/fhir/Patient", timeout=30,
            headers={"Authorization": f"Bearer {token}"}, json={
                "resourceType": "Patient", "gender": "male", "birthDate": "1980-02-03",
                "identifier": [{"system": numbers.MED_ID_SYSTEM, "value": med_id}],
                "name": [{"family": "Namunayev", "given": ["Karim"]}]})
        assert answer.status_code == 201, answer.text
        return med_id

    return made


def ready_doctor(workplace: Callable[..., Any], language: str = "uz", **options: Any) -> Any:
    """A doctor whose computer is prepared: kit, shell, PIN and numbers, by opening the page."""
    doctor = workplace(language, **options)
    doctor.sign_in("doctor")
    doctor.page.goto(doctor.address + PAGE)
    expect(doctor.page.locator("#offline-key")).to_be_visible()
    expect(doctor.page.locator("#rx-here")).to_be_visible()
    expect(doctor.page.locator("#rx")).to_be_hidden()
    doctor.page.locator("#f-new-pin").fill(PIN)
    doctor.page.locator("#f-pin-again").fill(PIN)
    doctor.press("Enter")
    expect(doctor.page.locator("#offline-key")).to_be_hidden()
    expect(doctor.page.locator("#offline-state [data-state=good]")).to_have_count(4)
    doctor.page.evaluate("navigator.serviceWorker.ready")
    return doctor


def write(
    doctor: Any, med_id: str, medicine: str = "amoks 500", diagnosis: str = "J18"
) -> None:
    """Fills the form by keyboard, up to the medicine's line."""
    page = doctor.page
    expect(page.locator("#f-person")).to_be_visible()
    page.locator("#f-person").focus()
    for text in (med_id, "1980", "n", "k"):
        doctor.type(text)
        doctor.press("Tab")
    doctor.choose("#diagnosis-q", diagnosis)
    expect(page.locator("#diagnosis-code")).to_have_text(re.compile(diagnosis))
    doctor.choose("#medicine-q", medicine)
    expect(page.locator("#item-0-dose")).to_be_focused()


def sign(doctor: Any, pin: str = PIN) -> None:
    """Says that the patient was asked, and types the PIN."""
    doctor.page.locator("#f-asked").check()
    doctor.page.locator("#f-sign-pin").fill(pin)
    doctor.press("Control+Enter")


def read_slip(workplace: Callable[..., Any], doctor: Any) -> str:
    """What a camera elsewhere reads from the slip: here nothing can be loaded for it."""
    picture = doctor.page.locator("#slip-qr svg").evaluate("(svg) => svg.outerHTML")
    reader = workplace("uz")
    reader.sign_in("doctor")
    reader.page.evaluate("""(picture) => {
      const box = document.createElement("div");
      box.className = "qr";
      box.innerHTML = picture;
      document.body.append(box);
    }""", picture)
    text: str = reader.read_qr()
    return text


def test_the_line_is_cut_and_comes_back(
    workplace: Callable[..., Any], somebody: Callable[[], str]
) -> None:
    """Cut, written, signed, printed, reloaded without a line, sent: a prescription like others."""
    med_id = somebody()
    doctor = ready_doctor(workplace)
    cut(doctor)
    doctor.page.goto(doctor.address + "/prescribing")  # The shell is kept.
    write(doctor, med_id)
    doctor.type("1")
    doctor.press("Tab")
    doctor.type("3")
    doctor.press("Tab")
    doctor.type("7")
    expect(doctor.page.locator("[data-quantity]")).to_contain_text("21")
    made = doctor.pictures("offline-prescribing")

    sign(doctor, "000000")
    expect(doctor.page.locator(BAD)).to_be_visible()
    expect(doctor.page.locator(QUEUED)).to_have_count(0)
    expect(doctor.page.locator("#item-0-dose")).to_have_value("1")
    sign(doctor)
    expect(doctor.page.locator("#rx-slip")).to_be_visible()
    expect(doctor.page.locator("#slip-print")).to_be_focused()
    code = read_slip(workplace, doctor)
    number = re.match(r"UZRX:(\d{13})/[A-Z2-7]{52}/", code)
    assert number
    expect(doctor.page.locator("#slip-person")).to_have_text("N.K., 1980")
    expect(doctor.page.locator("#slip-number")).to_have_text(
        "-".join(re.findall(r"\d{4}|\d$", number[1])))
    made += doctor.pictures("offline-prescribing-slip")
    doctor.page.emulate_media(media="print")
    expect(doctor.page.locator("#slip-number")).to_be_visible()
    for beside in ("h1", "#offline-state", "#slip-print", ".rail"):
        expect(doctor.page.locator(beside).first).to_be_hidden()
    doctor.page.screenshot(path=made[-1].with_name("offline-prescribing-printed.png"))
    doctor.page.emulate_media(media="screen")
    doctor.page.goto(doctor.address + PAGE)  # A reload without a line: the queue is kept.
    expect(doctor.page.locator(QUEUED)).to_have_count(1)
    doctor.page.locator("[data-slip]").click()
    assert read_slip(workplace, doctor) == code

    mend(doctor)
    expect(doctor.page.locator(QUEUED)).to_have_count(0)
    expect(doctor.page.locator("#offline-results [data-outcome=signed]")).to_have_count(1)
    made += doctor.pictures("offline-prescribing-sent")
    doctor.page.locator("#offline-results a").click()
    doctor.page.wait_for_url(f"**/prescriptions/{number[1]}")
    expect(doctor.page.locator("main")).to_contain_text("Namunayev")
    expect(doctor.page.locator("[data-preparation]")).to_have_attribute("data-quantity", "21")
    assert len(made) == 6


def test_neither_the_doctor_nor_the_pharmacist_has_a_line(
    workplace: Callable[..., Any], somebody: Callable[[], str]
) -> None:
    """The pharmacist believes the doctor's own signature, hands over, and both are booked."""
    med_id = somebody()
    doctor = ready_doctor(workplace, "ru")
    till = ready_till(workplace, "ru")
    cut(doctor)
    write(doctor, med_id, "амоксициллин 500 капс")
    key = doctor.page.locator("[data-preparation]").get_attribute("data-preparation")
    sign(doctor)
    expect(doctor.page.locator("#rx-slip")).to_be_visible()
    code = read_slip(workplace, doctor)
    gtin = packs_of(till, key, 1)[0]
    till.page.goto(till.address + "/counter/offline")
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(3)
    cut(till)
    till.page.locator("#scan").focus()
    till.scan(code)
    expect(till.page.locator("#offline-rx [data-item='1']")).to_be_visible()
    expect(till.page.locator("#offline-rx .is-bad")).to_have_count(0)
    lot, expiry = printed(gtin)
    till.page.locator("#scan").focus()
    till.scan(pack_code(gtin))
    expect(till.page.locator("#f-lot")).to_be_focused()
    till.type(lot)
    till.press("Tab")
    till.type(expiry)
    till.press("Enter")
    expect(till.page.locator("#offline-rx [data-pack]")).to_have_count(1)
    hand_over(till)

    mend(till)  # The counter's line is back first: its act waits for the doctor's.
    expect(till.page.locator("#offline-state [data-state=good]")).to_have_count(3)
    expect(till.page.locator(QUEUED)).to_have_count(1)
    expect(till.page.locator(QUEUED)).to_contain_text("Врач")
    mend(doctor)
    expect(doctor.page.locator("#offline-results [data-outcome=signed]")).to_have_count(1)
    till.page.locator("#offline-send").click()

    expect(till.page.locator(QUEUED)).to_have_count(0)
    expect(till.page.locator("#offline-results [data-outcome=accepted]")).to_have_count(1)


def test_what_the_platform_asks_afterwards(
    workplace: Callable[..., Any], somebody: Callable[[], str]
) -> None:
    """What only the platform checks is asked when the line is back, and the page leads there; its
    doctor answers in the workspace and signs it under the number on the slip.
    """
    med_id = somebody()
    doctor = ready_doctor(workplace, "en")
    cut(doctor)
    write(doctor, med_id, "amoxicillin 500 mg caps", "J06")
    sign(doctor)
    expect(doctor.page.locator("#rx-slip")).to_be_visible()
    number = doctor.page.locator("#slip-number").inner_text()

    mend(doctor)

    asked = doctor.page.locator("#offline-results [data-outcome=asked]")
    expect(asked).to_contain_text("viral infection")
    expect(doctor.page.locator("#offline-state")).to_contain_text("Prescription numbers left: 20")
    asked.locator("a").click()
    doctor.page.wait_for_url("**/prescribing/offline/sent")
    sent = doctor.page.locator(f"[data-sent='{number.replace('-', '')}']")
    expect(sent).to_contain_text("viral infection")
    expect(sent.locator("li").first).to_contain_text(re.compile(r"\d+ capsule"))
    doctor.pictures("offline-prescribing-asked")

    sent.locator("button[value^='answer:']").click()
    doctor.page.wait_for_url("**/prescribe?draft=*")
    expect(doctor.page.locator("[data-paper]")).to_contain_text(number)
    for box in doctor.page.locator("select[name^=override-]").all():
        box.select_option(index=1)
    doctor.pictures("offline-prescribing-answered")
    doctor.press("Control+Enter")

    doctor.page.wait_for_url(f"**/prescriptions/{number.replace('-', '')}*")
    expect(doctor.page.locator(".note.warn").first).to_contain_text("without a network")
    doctor.page.goto(doctor.address + "/prescribing/offline/sent")
    expect(sent.locator(".chip")).to_contain_text("A prescription")


def test_what_the_browser_refuses(
    workplace: Callable[..., Any], somebody: Callable[[], str]
) -> None:
    """A wrong digit, too many days, too high a dose, one substance twice, nobody asked: the form
    says why, and nothing is queued.
    """
    med_id = somebody()
    doctor = ready_doctor(workplace, "en")
    page = doctor.page
    cut(doctor)
    write(doctor, DAMM_WRONG, "amoxicillin 500 mg caps")
    expect(page.locator("#f-person-say")).to_contain_text("A digit of this MED-ID is wrong")
    sign(doctor)
    expect(page.locator(BAD)).to_contain_text("A digit of this MED-ID is wrong")
    expect(page.locator("#f-person")).to_be_focused()
    page.locator("#f-person").fill(med_id)
    for box, typed, usual, said in (("dose", "0,0001", "1", "State the single dose"),
                                    ("dose", "100", "1", "a day: more only with the line"),
                                    ("days", "31", "7", "At most 30 days")):
        page.locator(f"#item-0-{box}").fill(typed)
        expect(page.locator("#item-0-say")).to_contain_text(said)
        sign(doctor)
        expect(page.locator(BAD)).to_contain_text(said)
        page.locator(f"#item-0-{box}").fill(usual)
        expect(page.locator("#item-0-say")).to_be_hidden()
    page.locator("#medicine-q").focus()
    doctor.choose("#medicine-q", "amoxicillin 250")
    expect(page.locator(BAD)).to_contain_text("This substance is on the prescription already")
    expect(page.locator("#rx-items .item")).to_have_count(1)
    page.locator("#medicine-q").focus()
    doctor.choose("#medicine-q", "ketamin")
    expect(page.locator(BAD)).to_contain_text("only with the line")
    page.locator("#f-asked").uncheck()
    page.locator("#f-sign-pin").fill(PIN)
    doctor.press("Control+Enter")
    expect(page.locator(BAD)).to_contain_text("Ask the patient")
    expect(page.locator("#f-asked")).to_be_focused()
    expect(page.locator(QUEUED)).to_have_count(0)
    sign(doctor)
    expect(page.locator("#rx-slip")).to_be_visible()
    kept = page.evaluate(KEPT)
    number = read_slip(workplace, doctor).removeprefix("UZRX:")[:13]
    mend(doctor)

    assert number not in kept
    assert med_id not in kept
    assert "1980" not in kept


KEPT = """async () => {
  const base = await new Promise((resolve) => {
    const asked = indexedDB.open("dmed-prescribing");
    asked.onsuccess = () => resolve(asked.result); });
  const all = (store) => new Promise((resolve) => {
    const asked = base.transaction(store).objectStore(store).getAll();
    asked.onsuccess = () => resolve(asked.result); });
  const plain = (name, value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value)
    ? new TextDecoder("latin1").decode(value) : value;
  const facts = (await all("facts")).filter((each) => !each.seal);
  const rows = [facts, await all("queue"), await all("done"), await all("results")];
  return JSON.stringify(rows, plain);
}"""


COUNTS = """async ({ tokens, folds, persons, lines, kit }) => {
  const bytes = await import("/static/offline-bytes.js");
  const rules = await import("/static/prescribing-rules.js");
  const pair = await crypto.subtle.generateKey(bytes.P256, true, ["sign", "verify"]);
  const sign = async (data) =>
    new Uint8Array(await crypto.subtle.sign(bytes.ES256, pair.privateKey, data));
  const read = (work) => { try { return work(); } catch (fault) { return fault.message; } };
  const made = [];
  for (const each of tokens) made.push((await rules.makeToken(each, sign)).text);
  return {
    tokens: made, jwk: await crypto.subtle.exportKey("jwk", pair.publicKey),
    folds: folds.map(rules.fold),
    persons: persons.map((text) => read(() => rules.readPerson(text).kind)),
    quantities: lines.map((line) => read(() => String(rules.readLine(kit, line).quantity))),
  };
}"""


def test_the_browser_counts_as_the_server_does(workplace: Callable[..., Any]) -> None:
    """Tokens, folded words, check digits and quantities: the same answers as Python."""
    from datetime import date
    from decimal import ROUND_CEILING, Decimal

    from dmed.kit.text import fold
    from dmed.modules.prescriptions.rules import tokens as server
    from dmed.trust.signing import jose

    rows = [[4711, "tablet", "500mg", 21], ["J01CA04", "caps", "250mg/5ml", 300],
            [70_000, "sprey", "1%", 1]]
    asked = [{"number": f"17260000{n:04d}5", "at": "2026-11-24T20:30:00.000Z",
              "device": "abcdefgh-1", "initials": letters, "born": 1980 + n,
              "lines": [{"row": {"token": row[:3], "validity_days": 10 + n}, "quantity": row[3]}
                        for row in (rows * 2)[:n + 1]]}
             for n, letters in enumerate(("K.J.", "Ш.Ў.", "A.B.", "Ҳ.Ғ.", "Z.Z."))]
    words = ["Йўлдошев ОЛИМ", "G‘iyosov O'ktam", "Ünalşah  Çelik", "Парацетамол 500 мг", "щъыьэюя"]
    med_ids = [numbers.new_med_id(drawn) for drawn in (0, 1, 123_456_789_012, 999_999_999_999)]
    pinfl = numbers.compose_pinfl(date(1985, 2, 28), "female", 12, 345)
    wrong = [med_id[:12] + str((int(med_id[12]) + 1) % 10) for med_id in med_ids]
    persons = [*med_ids, *wrong, pinfl, pinfl[:13] + str((int(pinfl[13]) + 1) % 10),
               "3310285" + pinfl[7:], "12345", ""]
    lines = [(dose, times, days, unit) for dose in ("0.5", "1", "2,5", "0.333") for times in (1, 3)
             for days in (1, 7, 30) for unit in ("1", "0.1", "5", "0.3", "2.5")]
    place = workplace("uz")
    place.sign_in("doctor")

    found = place.page.evaluate(COUNTS, {
        "tokens": asked, "folds": words, "persons": persons,
        "kit": {"limits": {"days": 30}}, "lines": [
            {"row": {"dose_per_unit": unit, "most_daily": None},
             "typed": {"dose": dose, "times": str(times), "days": str(days)}}
            for dose, times, days, unit in lines]})

    key = jose.public_key(found["jwk"]["x"], found["jwk"]["y"])
    for given, text in zip(asked, found["tokens"], strict=True):
        token = server.verify(text, key)
        assert not text.endswith(" ")
        assert token.number == int(given["number"])
        assert token.signed_on == date(2026, 11, 25)  # Half past one at night in Tashkent.
        days = (token.valid_until - token.signed_on).days
        assert days == given["lines"][0]["row"]["validity_days"]
        assert (token.initials, token.birth_year) == (given["initials"], given["born"])
        assert (token.prescriber_key, token.person) == ("abcdefgh", bytes(8))
        assert [list(each) for each in map(_parts, token.items)] == [
            [*line["row"]["token"], line["quantity"]] for line in given["lines"]]
    assert found["folds"] == [fold(each) for each in words]
    assert found["persons"] == ["med-id"] * 4 + ["person_digit"] * 4 + ["pinfl"] * 2 + [
        "person_form"] * 3
    needed = [Decimal(dose.replace(",", ".")) * times * days / Decimal(unit)
              for dose, times, days, unit in lines]
    assert [Decimal(each) for each in found["quantities"]] == [
        each.to_integral_value(ROUND_CEILING) for each in needed]


def _parts(item: Any) -> tuple[Any, ...]:
    return (item.inn, item.form, item.strength, item.quantity)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_obeys_wcag(
    workplace: Callable[..., Any], somebody: Callable[[], str], theme: str
) -> None:
    """axe-core finds no violation of WCAG 2.2 A and AA: ready, while writing, and on the slip."""
    med_id = somebody()
    doctor = ready_doctor(workplace, theme=theme)
    found = [violations(doctor)]
    cut(doctor)
    write(doctor, med_id)
    found.append(violations(doctor))
    sign(doctor)
    expect(doctor.page.locator("#rx-slip")).to_be_visible()
    found.append(violations(doctor))
    mend(doctor)

    assert found == [[], [], []]


def violations(place: Any) -> list[str]:
    """Names of the rules that the page breaks now."""
    place.page.evaluate(axe_script())
    told = place.page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in told["violations"]]


def test_what_waits_goes_from_the_usual_page_too(
    workplace: Callable[..., Any], somebody: Callable[[], str]
) -> None:
    """A doctor who goes on as usual when the line is back sends what waits without thinking of it;
    a computer that is not prepared keeps nothing.
    """
    med_id = somebody()
    doctor = ready_doctor(workplace)
    cut(doctor)
    write(doctor, med_id)
    sign(doctor)
    expect(doctor.page.locator("#rx-slip")).to_be_visible()
    number = doctor.page.locator("#slip-number").inner_text().replace("-", "")
    plain = workplace("uz")
    plain.sign_in("doctor")
    doctor.page.goto("about:blank")
    mend(doctor)

    for place in (plain, doctor):
        place.page.goto(f"{place.address}/persons?q={med_id}")
        place.page.locator("a[href^='/card/']").first.click()
        place.page.wait_for_url("**/card/*")
        place.page.goto(place.page.url.split("?")[0] + "/prescribe")
    assert doctor.page.evaluate(EMPTIED) == "emptied"

    assert plain.page.evaluate("indexedDB.databases()") == []
    plain.page.goto(f"{plain.address}/prescriptions/{number}")
    expect(plain.page.locator("[data-preparation]")).to_be_visible()


EMPTIED = """async () => {
  const base = await new Promise((resolve) => {
    const asked = indexedDB.open("dmed-prescribing");
    asked.onsuccess = () => resolve(asked.result); });
  for (let turn = 0; turn < 100; turn++) {
    const count = await new Promise((resolve) => {
      const asked = base.transaction("queue").objectStore("queue").count();
      asked.onsuccess = () => resolve(asked.result); });
    if (!count) return "emptied";
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return "not emptied";
}"""


def test_it_can_be_installed(workplace: Callable[..., Any]) -> None:
    """A manifest with icons that are there, and a worker in charge of its own area alone."""
    doctor = ready_doctor(workplace)
    manifest = doctor.page.request.get(doctor.address + "/prescribing.webmanifest").json()
    icons = [doctor.page.request.get(doctor.address + one["src"]) for one in manifest["icons"]]
    scope = doctor.page.evaluate("navigator.serviceWorker.ready.then((each) => each.scope)")
    session = doctor.context.new_cdp_session(doctor.page)
    faults = session.send("Page.getInstallabilityErrors")["installabilityErrors"]

    assert [icon.status for icon in icons] == [200, 200]
    assert manifest["start_url"] == PAGE
    assert scope == doctor.address + manifest["scope"] == doctor.address + "/prescribing"
    # A headless window is an incognito one, in which nothing can be installed.
    assert [one["errorId"] for one in faults if one["errorId"] != "in-incognito"] == []
