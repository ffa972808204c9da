"""A head of an institution sees a certificate run out, and the doctor cannot sign the next day."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dmed.kit import clock

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
TOMORROW = """import dmed.kit.clock as clock
from datetime import timedelta
_day = clock.today
clock.today = lambda: _day() + timedelta(days=1)
"""
"""Laid beside a server as `sitecustomize`: it works as the same installation will tomorrow."""


@pytest.fixture(scope="module")
def tomorrow(live_server: str, live_folder: Path) -> Iterator[str]:
    """A second server over the same data whose calendar is a day ahead."""
    place = live_folder / "tomorrow"
    place.mkdir()
    (place / "sitecustomize.py").write_text(TOMORROW)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {**os.environ, "DMED_DATA": str(live_folder / "data"), "DMED_PORT": str(port),
                 "PYTHONPATH": str(place)}
    with (live_folder / "tomorrow.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", "from dmed.apps.cli import main; main()", "serve",
             "--workers", "1"], env=variables, stdout=log, stderr=log)
        until = time.monotonic() + 90
        while time.monotonic() < until and server.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/readyz", timeout=1):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(30)
        server.kill()


def sign_in(place: Any, user: str, password: str) -> None:
    """Signs in by keyboard."""
    place.page.goto(place.address + "/signin")
    place.page.fill("#f-user", user)
    place.page.fill("#f-password", password)
    place.press("Enter")
    place.page.locator("nav.rail").wait_for()


def asked(address: str, token: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """A FHIR read, or an update, with a bearer token."""
    request = urllib.request.Request(
        f"{address}/fhir/{path}", json.dumps(body).encode() if body else None,
        {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"},
        method="PUT" if body else "GET",
    )  # fmt: skip  # One call.
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def token_of(folder: Path, user: str) -> str:
    """A bearer token of a demo user."""
    done = subprocess.run(
        [sys.executable, "-c", "from dmed.apps.cli import main; main()", "token", "--user", user],
        env={**os.environ, "DMED_DATA": str(folder / "data")}, check=True, capture_output=True,
        text=True)
    return done.stdout.strip()


@pytest.fixture
def ends_today(live_server: str, live_folder: Path) -> Iterator[dict[str, Any]]:
    """The demo doctor's certificate ends today; afterwards it is as it was."""
    token = token_of(live_folder, "admin")
    found = asked(live_server, token, "Practitioner?name=Yusupova&given=Aziza")
    doctor = found["entry"][0]["resource"]
    today = clock.today().isoformat()
    changed = [{**one, "period": {**one["period"], "end": today}}
               if one["code"]["coding"][0]["code"] == "CER" else one
               for one in doctor["qualification"]]
    asked(live_server, token, f"Practitioner/{doctor['id']}",
          {**doctor, "qualification": changed})
    yield doctor
    asked(live_server, token, f"Practitioner/{doctor['id']}", doctor)


def prescribe(doctor: Any) -> str:
    """Prescribes and signs; the address of what was signed."""
    page = doctor.page
    doctor.press("Control+k")
    doctor.type("Rahimov Otabek")
    page.locator("#search-list [role=option]").first.wait_for()
    doctor.press("Enter")
    page.wait_for_url("**/card/*")
    doctor.press("Alt+r")
    page.wait_for_url("**/prescribe")
    doctor.choose("#diagnosis-q", "J18")
    doctor.choose("#medicine-q", "amoksi 500")
    expect(page.locator("#item-0-dose")).to_be_focused()
    for box in page.locator("select[name^=override-]").all():
        box.select_option(index=1)
    doctor.press("Control+Enter")
    page.wait_for_url("**/prescriptions/*")
    address: str = page.url
    return address


def test_an_expiring_certificate_and_the_day_after(
    workplace: Callable[..., Any], tomorrow: str, ends_today: dict[str, Any]
) -> None:
    """The head sees that the doctor's certificate ends today; the doctor signs today, and tomorrow
    neither the open session nor a new sign-in leads to a signature.
    """
    head = workplace("ru")
    sign_in(head, "head", "head-demo-2026")
    page = head.page
    expect(page.locator("h1")).to_contain_text("Персонал")
    page.goto(head.address + "/staff/expiring")
    until = time.monotonic() + 20
    while "Юсупова" not in page.locator("main").inner_text() and time.monotonic() < until:
        time.sleep(1)
        page.reload()
    soon = page.locator("section", has_text="За 7 дней")
    expect(soon).to_contain_text("Юсупова")
    expect(soon).to_contain_text("осталось дней: 0")
    head.pictures("staff-expiring")

    doctor = workplace("uz")
    doctor.sign_in("doctor")
    assert "/prescriptions/" in prescribe(doctor)

    doctor.page.goto(tomorrow + "/")
    expect(doctor.page.locator("#f-user")).to_be_visible()
    doctor.page.fill("#f-user", "doctor")
    doctor.page.fill("#f-password", "doctor-demo")
    doctor.press("Enter")
    expect(doctor.page.locator(".note.bad")).to_be_visible()
    doctor.pictures("staff-refused-tomorrow")
    doctor.complaints.clear()
    assert doctor.page.locator("nav.rail").count() == 0


def test_orders_by_the_head(workplace: Callable[..., Any]) -> None:
    """A leave is made in the file of a member of staff and stands in list and ledger."""
    head = workplace("ru")
    sign_in(head, "head", "head-demo-2026")
    page = head.page
    page.fill("#f-q", "султонова")
    page.press("#f-q", "Enter")
    page.locator("tr.hit").first.wait_for()
    head.pictures("staff-list")
    page.click("tr.hit a >> nth=0")
    page.locator("summary", has_text="Отпуск").click()
    form = page.locator("form[action$='/leave']")
    form.locator("[name=until]").fill((clock.today() + timedelta(days=5)).isoformat())
    form.locator("[name=paper]").fill("77-k")
    form.locator("button").click()
    expect(page.locator(".note.good")).to_contain_text("Отпуск оформлен")
    expect(page.locator("main")).to_contain_text("№ 77-k")
    head.pictures("staff-person")
    page.goto(head.address + "/staff?q=султонова")
    expect(page.locator("tr.hit")).to_contain_text("нет на работе до")


def test_the_screens_of_staff(workplace: Callable[..., Any]) -> None:
    """Every screen in light and dark and on a telephone, where no page is wider than the screen."""
    head = workplace("uz")
    sign_in(head, "head", "head-demo-2026")
    for name in ("vacancies", "overlaps", "activity", "new"):
        head.page.goto(f"{head.address}/staff/{name}")
        head.page.locator("h1").wait_for()
        head.pictures(f"staff-{name}")
    head.page.set_viewport_size({"width": 390, "height": 844})
    for name in ("", "expiring", "vacancies", "activity"):
        head.page.goto(f"{head.address}/staff/{name}".rstrip("/"))
        head.page.locator("h1").wait_for()
        wide = head.page.evaluate(
            "document.querySelector('.page').scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, name
    head.pictures("staff-activity-phone")
    keeper = workplace("ru")
    keeper.sign_in("admin")
    keeper.page.goto(keeper.address + "/staff/country")
    expect(keeper.page.locator("main")).to_contain_text("Прогноз")
    keeper.pictures("staff-country")
