"""The way in: a second factor, the choice of a post, an app allowed, a counter that two share."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmed.trust.factors import code_at, step_of

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The example of RFC 7636, appendix B."""


def command(folder: Path, *arguments: str) -> str:
    """A command of the served installation."""
    done = subprocess.run(
        [sys.executable, "-c", "from dmed.apps.cli import main; main()", *arguments],
        env={**os.environ, "DMED_DATA": str(folder / "data")},
        check=True, capture_output=True, text=True)  # fmt: skip  # One call.
    return done.stdout.strip()


def asked(address: str, token: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """A FHIR request with a bearer token."""
    request = urllib.request.Request(
        f"{address}/fhir/{path}", json.dumps(body).encode() if body else None,
        {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"},
    )  # fmt: skip  # One call.
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def second_post(live_server: str, live_folder: Path) -> Iterator[str]:
    """The administrator also works as registrar: in the register, and by the command; its id."""
    token = command(live_folder, "token", "--user", "admin")
    found = asked(live_server, token, "PractitionerRole?practitioner.name=Rahimov&_count=50")
    own = next(each["resource"] for each in found["entry"]
               if each["resource"]["code"][0].get("text", "").lower().startswith("admin"))
    role = {key: own[key] for key in ("resourceType", "active", "period", "practitioner",
                                      "organization")}  # fmt: skip  # One look.
    made: str = asked(live_server, token, "PractitionerRole", role)["id"]
    command(live_folder, "post", "add", "admin", made, "--role", "registrar",
            "--title", "Registrator")  # fmt: skip  # One call.
    command(live_folder, "app", "register", "chart", "--name", "Growth chart",
            "--scopes", "openid fhirUser patient/*.rs launch/patient",
            "--redirect", f"{live_server}/livez")  # fmt: skip  # Same.
    yield made
    command(live_folder, "post", "drop", "admin", made)


def code(secret: str, steps: int) -> str:
    """What the telephone shows now, or so many half minutes from now."""
    return code_at(base64.b32decode(secret), step_of(time.time()) + steps)


def enter(place: Any, user: str, stage: str) -> None:
    """Name and password, up to the stage that comes next."""
    place.page.goto(place.address + "/signin")
    place.page.fill("#f-user", user)
    place.page.fill("#f-password", f"{user}-demo")
    place.press("Enter")
    place.page.wait_for_url(f"**{stage}")


def test_factor_post_and_consent(
    workplace: Callable[..., Any], second_post: str, live_folder: Path
) -> None:
    """One person on one day: each step of the way in, in Russian, by keyboard where it counts."""
    place = workplace("ru")
    page = place.page
    enter(place, "admin", "/signin/post")
    page.click("button[name=post] >> nth=0")
    page.wait_for_url("**/")
    page.goto(place.address + "/me/factor")
    expect(page.locator(".qr svg")).to_be_visible()
    secret = (page.text_content("[data-secret]") or "").replace(" ", "")
    page.fill("#f-code", code(secret, 0))
    page.fill("#f-password", "admin-demo")
    place.press("Enter")
    page.locator(".codes li").first.wait_for()
    recovery = page.locator(".codes li").all_inner_texts()
    place.pictures("recovery-codes")
    page.goto(place.address + "/me")
    page.click("form[action='/signout'] button")
    page.wait_for_url("**/signin")
    try:
        again(place, secret, second_post)
    finally:
        drop(place, recovery)


def again(place: Any, secret: str, second_post: str) -> None:
    """The second sign-in asks for the code, then for the post; then an app asks for consent."""
    page = place.page
    enter(place, "admin", "/signin/factor")
    page.locator("#f-code:focus").wait_for()
    place.type(code(secret, 1))  # That of this step is used.
    place.pictures("second-factor")
    place.press("Enter")
    page.wait_for_url("**/signin/post")
    place.pictures("choice-of-post")
    page.click(f"button[name=post][value='{second_post}']")
    page.wait_for_url("**/")
    expect(page.locator("a.me")).to_contain_text("Регистратор", ignore_case=True)
    page.goto(
        f"{place.address}/oauth/authorize?response_type=code&client_id=chart&state=s"
        f"&redirect_uri={place.address}/livez&aud={place.address}/fhir"
        f"&scope=openid+patient/*.rs&code_challenge_method=S256&code_challenge={CHALLENGE}"
    )
    page.locator("#q-person:focus").wait_for()
    place.type("rahimov")
    place.press("Enter")
    page.locator("button[name=patient]").first.click()
    page.locator("button[name=answer][value=allow]").wait_for()
    page.uncheck("input[name=tick] >> nth=1")
    place.pictures("consent")
    place.press("Control+Enter")
    page.wait_for_url("**/livez**")
    assert re.search(r"[?&]code=[\w-]{40,}&state=s&iss=http", page.url), page.url


def drop(place: Any, recovery: list[str]) -> None:
    """Takes the factor away with recovery codes, whatever happened before."""
    page = place.page
    page.goto(place.address + "/me/factor")
    if page.locator("form[action='/me/factor/drop']").count() == 0:
        enter(place, "admin", "/signin/factor")
        page.fill("#f-code", recovery[0])
        place.press("Enter")
        page.click("button[name=post] >> nth=0")
        page.goto(place.address + "/me/factor")
    page.fill("#f-code", recovery[1])
    page.fill("#f-password", "admin-demo")
    page.click("form[action='/me/factor/drop'] button")
    page.wait_for_url("**/me")


def test_a_counter_is_shared(workplace: Callable[..., Any]) -> None:
    """The pharmacist sets a PIN, a colleague takes over, and the PIN leads back."""
    place = workplace("uz")
    page = place.page
    place.sign_in("pharmacist")
    page.goto(place.address + "/me")
    page.fill("#f-pin", "482915")
    page.fill("#f-password", "pharmacist-demo")
    page.click("form[action='/me/pin'] button")
    page.locator(".note.good").wait_for()
    page.click("form[action='/signin/lock'] button")
    page.wait_for_url("**/signin")
    page.fill("#f-user", "doctor")
    page.fill("#f-password", "doctor-demo")
    page.click("form[action='/signin'] button.btn-main")
    page.locator("nav.rail").wait_for()
    page.goto(place.address + "/me")
    page.click("form[action='/signin/lock'] button")
    page.wait_for_url("**/signin")
    place.pictures("shared-counter")
    mine = page.locator("form[action='/signin/unlock']", has_text="Aliyev")
    mine.locator("input[name=word]").fill("482915")
    mine.locator("button").click()
    page.wait_for_url("**/counter")

    assert "Aliyev" in page.locator("a.me").inner_text()
