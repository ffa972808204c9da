"""The whole application: no page of any module without sign-in, except a short pinned list."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.pages.routes import ROUTES
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS, values_of
from dmed.trust.manifest import Route
from dmed.trust.tables import save_account

PAGES = [*ROUTES, *(route for module in MODULES for route in module.routes)]
OPEN = {
    ("GET", "/signin"),
    ("POST", "/signin"),
    # Steps after the password: each needs a session that waits for it, else the door.
    ("GET", "/signin/factor"),
    ("POST", "/signin/factor"),
    ("GET", "/signin/enrol"),
    ("POST", "/signin/enrol"),
    ("GET", "/signin/password"),
    ("POST", "/signin/password"),
    ("GET", "/signin/post"),
    ("POST", "/signin/post"),
    ("POST", "/signin/unlock"),
    # Shells for the time without a network: no fact of anybody.
    ("GET", "/counter-worker.js"),
    ("GET", "/counter.webmanifest"),
    ("GET", "/prescribing-worker.js"),
    ("GET", "/prescribing.webmanifest"),
    # The protocol of apps: each proves its client or shows a bearer token.
    ("GET", "/oauth/authorize"),
    ("POST", "/oauth/token"),
    ("POST", "/oauth/introspect"),
    ("POST", "/oauth/revoke"),
    ("GET", "/oauth/userinfo"),
    ("POST", "/oauth/userinfo"),
    ("GET", "/oauth/jwks"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/smart-configuration"),
    # Public keys by which anybody checks the platform's seals.
    ("GET", "/.well-known/seal-keys.json"),
    ("GET", "/.well-known/seal-keys.cbor"),
    # A clinic joins by itself: the key in the address is a secret, the licence says who may.
    ("GET", "/developers"),
    ("GET", "/developers/examples/{name}"),
    ("GET", "/join"),
    ("POST", "/join"),
    ("GET", "/join/{key}"),
    ("POST", "/join/{key}/{act}"),
    # A register of invented persons, by its own tokens.
    ("GET", "/sandbox/fhir"),
    ("GET", "/sandbox/fhir/{rest:path}"),
    ("POST", "/sandbox/fhir"),
    ("POST", "/sandbox/fhir/{rest:path}"),
    ("PUT", "/sandbox/fhir"),
    ("PUT", "/sandbox/fhir/{rest:path}"),
    # Decision support: the list tells of nobody, a call needs a bearer token of a prescriber.
    ("GET", "/cds-services"),
    ("POST", "/cds-services/{id}"),
    ("POST", "/cds-services/{id}/feedback"),
    ("POST", "/language"),
    ("GET", "/pages/camera-worker.js"),
    ("GET", "/pages/gallery"),  # Components with invented words.
}
"""Nothing of these shows a record; a new open page must be added here on purpose."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]], hashes: dict[str, str]
) -> Platform:
    """The application of one worker with all modules."""
    made = await open_platform()
    for account in DEMO_ACCOUNTS:
        await save_account(made.database.hot, values_of(account, hashes[account.user]))
    return made


def client(platform: Platform, **headers: str) -> httpx.AsyncClient:
    """A browser of its own."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def test_open_pages_are_pinned() -> None:
    """The pages without an access rule are exactly those of the list."""
    found = {(method, route.path) for route in PAGES if not route.roles for method in route.methods}
    assert found <= OPEN, found - OPEN


@pytest.mark.parametrize("route", [route for route in PAGES if route.roles], ids=lambda r: r.path)
async def test_every_page_needs_sign_in(platform: Platform, route: Route) -> None:
    """Without a session each method leads to the sign-in page, for htmx too."""
    path = re.sub(r"\{[^}]*\}", "1", route.path)
    async with client(platform, accept="text/html") as browser:
        for method in route.methods:
            answer = await browser.request(method, path)
            assert answer.status_code == 303, (method, path, answer.status_code)
            assert answer.headers["location"].startswith("/signin")
            part = await browser.request(method, path, headers={"HX-Request": "true"})
            assert part.headers["hx-redirect"].startswith("/signin")


async def test_health_and_descriptions_are_open(platform: Platform) -> None:
    """What watches and describes the installation needs nobody and tells of no record."""
    async with client(platform) as browser:
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/fhir/metadata"):
            assert (await browser.get(path)).status_code == 200, path
        assert (await browser.get("/fhir/Patient")).status_code == 401


async def test_every_post_of_a_page_needs_its_token(platform: Platform) -> None:
    """Signed in by cookie alone, no form of any module is accepted."""
    signed = await platform.guard.identity.sign_in("doctor", DEMO_PASSWORDS["doctor"], "10.3.0.1")
    async with client(platform, cookie=f"dmed_session={signed.cookie}") as browser:
        assert (await browser.get("/me")).status_code == 200
        for route in PAGES:
            if "POST" not in route.methods or route.path == "/signin":
                continue
            path = re.sub(r"\{[^}]*\}", "1", route.path)
            answer: Any = await browser.post(path, data={"x": "1"})
            assert answer.status_code == 403, (path, answer.status_code)
