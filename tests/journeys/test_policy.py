"""The content security policy in a real browser: no page of the registry breaks its own rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from dmed.apps.rooms import MODULES
from dmed.pages.routes import ROUTES as SHARED
from dmed.trust.model import Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

pytestmark = pytest.mark.journey
ROLES = {"doctor": Role.DOCTOR, "pharmacist": Role.PHARMACIST, "registrar": Role.REGISTRAR,
         "admin": Role.ADMINISTRATOR}  # fmt: skip  # A table.
LEFT_OUT = re.compile(r"sign-?out|/lock|/language/|\.js$|\.pdf$|/oauth/|/\.well-known/")
WATCH = """window.broken = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.broken.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}`));"""


def _addresses(person: str, role: Role) -> list[str]:
    """Every GET route of the registry that is open to a role, with something at its places."""
    places = {"id": person, "rest": f"Patient/{person}", "what": "allergy", "code": "uz"}
    routes = [*SHARED, *(one for module in MODULES for one in module.routes)]
    paths = [re.sub(r"\{(\w+)(:\w+)?\}", lambda place: places.get(place[1], "1"), route.path)
             for route in routes
             if "GET" in route.methods and (not route.roles or role in route.roles)]
    return [path for path in dict.fromkeys(paths) if not LEFT_OUT.search(path)]


def _sign_in(page: Page, address: str, user: str) -> None:
    page.goto(address + "/signin")
    page.locator("#f-user").fill(user)
    page.locator("input[type=password]").fill(f"{user}-demo")
    page.keyboard.press("Enter")
    page.locator("nav.rail").wait_for()


def _opened(page: Page, address: str) -> Response | None:
    """The answer of a page; None where the browser has nothing to show: a file to keep."""
    from playwright.sync_api import Error

    try:
        return page.goto(address, wait_until="load")
    except Error as fault:
        if "Download is starting" in str(fault) or "ERR_ABORTED" in str(fault):
            return None
        raise


@pytest.mark.timeout(600)
@pytest.mark.parametrize("user", ROLES)
def test_no_page_breaks_the_policy(user: str, chromium: Browser, live_server: str) -> None:
    """Each address is opened as each role; the browser reports no violation and no inline code."""
    context = chromium.new_context()
    context.add_init_script(WATCH)
    page = context.new_page()
    page.set_default_timeout(20_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    _sign_in(page, live_server, user)
    person = re.search(r"/card/([\w.-]+)", page.request.get(
        f"{live_server}/search?q=a", headers={"hx-request": "true"}).text())
    broken = []
    paths = _addresses(person[1] if person else "x", ROLES[user])
    for path in paths:
        answer = _opened(page, live_server + path)
        if answer is not None and "html" in answer.headers.get("content-type", ""):
            assert "default-src 'self'" in answer.headers["content-security-policy"], path
            broken += [f"{path}: {one}" for one in page.evaluate("window.broken")]
    context.close()

    assert len(paths) > 8
    assert broken == []
    assert [one for one in said if "Content Security Policy" in one] == []
