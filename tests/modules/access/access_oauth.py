"""The way of an app, for tests: the request, the consent screen, the code, the token address."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx
from access_browser import Browser

from dmed.apps.web import Platform

BASE = "https://dmed.example"
BACK = "https://app.example/back"
SCOPES = "openid fhirUser profile launch/patient offline_access patient/*.rs user/Practitioner.rs"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")


def asking(**changes: str) -> dict[str, str]:
    """An authorization request."""
    asked = {"response_type": "code", "client_id": "app", "redirect_uri": BACK, "scope": SCOPES,
             "state": "s1", "nonce": "n1", "aud": f"{BASE}/fhir", "code_challenge_method": "S256",
             "code_challenge": CHALLENGE.decode(), **changes}  # fmt: skip  # One request.
    return {name: value for name, value in asked.items() if value}


def told(answer: httpx.Response) -> dict[str, str]:
    """What the app is told at its address."""
    place = answer.headers["location"]
    assert place.startswith(BACK), place
    return {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}


async def allowed(here: Browser, patient: str, **changes: str) -> dict[str, str]:
    """Through the consent screen with every tick: what the app is told."""
    page = (await here.get("/oauth/authorize", params=asking(**changes))).headers["location"]
    number = page.partition("request=")[2]
    await here.submit("/oauth/patient", page, request=number, patient=patient)
    shown = await here.get(page)
    ticks = re.findall(r'name="tick" value="([^"]+)"', shown.text)
    assert "form-action 'self' https://app.example" in shown.headers["content-security-policy"]
    answer = await here.submit("/oauth/consent", page, request=number, answer="allow", tick=ticks)
    return told(answer)


async def token(platform: Platform, **fields: str) -> httpx.Response:
    """The token address, asked by a client without cookies."""
    async with Browser(platform) as client:
        return await client.post("/oauth/token", data=fields)


async def exchanged(platform: Platform, code: str, **changes: str) -> httpx.Response:
    """A code for tokens."""
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK,
              "client_id": "app", "code_verifier": VERIFIER, **changes}  # fmt: skip  # One form.
    return await token(platform, **fields)
