"""One worker with the demo accounts, and a newcomer's system with a key of its own."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import ECKey

from dmed.apps.web import Platform
from dmed.modules.developers.rules.joining import SANDBOX_SCOPES
from dmed.modules.developers.service.register import invented_code

BASE = "http://localhost"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """One worker with the demo accounts."""
    made = await open_platform()
    await made.guard.identity.save_demo()
    return made


class Newcomer:
    """A clinic's or pharmacy's people at the pages, and their system at the API."""

    def __init__(self, platform: Platform) -> None:
        transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
        self.http = httpx.AsyncClient(transport=transport, base_url=BASE,
                                      cookies={"dmed_language": "en"})
        self.key = ECKey.generate_key("P-256", {"kid": "one"})
        self.way = ""

    async def apply(self, licence: str, tax_id: str, kind: str = "clinic") -> httpx.Response:
        """Posts an application; keeps the way where it was taken."""
        answer = await self.http.post("/join", data={
            "licence": licence, "tax_id": tax_id, "email": "it@klinika.example.uz", "kind": kind})
        self.way = answer.headers.get("location", "")
        return answer

    async def act(self, name: str, **data: str) -> httpx.Response:
        """One act on the way."""
        return await self.http.post(f"{self.way}/{name}", data=data)

    async def enter(self, licence: str, tax_id: str, kind: str = "clinic") -> str:
        """All up to the sandbox; the client's id."""
        answer = await self.apply(licence, tax_id, kind)
        assert answer.status_code == 303, answer.text
        answer = await self.act("code", code=invented_code(licence))
        assert answer.status_code == 303, answer.text
        answer = await self.act("keys", keys=json.dumps(self.key.as_dict(private=False)))
        assert answer.status_code == 303, answer.text
        page = (await self.http.get(self.way)).text
        return str(re.findall(r"<code>(sandbox-\d+)</code>", page)[0])

    async def token(self, client: str, scope: str = SANDBOX_SCOPES) -> httpx.Response:
        """A token by the own key."""
        at = int(time.time())
        said = jwt.encode({"alg": "ES256", "kid": "one"}, {
            "iss": client, "sub": client, "aud": f"{BASE}/oauth/token", "exp": at + 200,
            "iat": at, "jti": secrets.token_hex(8)}, self.key)
        return await self.http.post("/oauth/token", data={
            "grant_type": "client_credentials", "scope": scope, "client_assertion": said,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"})

    async def call(self, token: str, method: str, path: str, body: Any = None,
                   **headers: str) -> httpx.Response:
        """One FHIR call."""
        told = {"authorization": f"Bearer {token}", **headers}
        if body is not None:
            told["content-type"] = "application/fhir+json"
        return await self.http.request(method, path, headers=told,
                                       content=None if body is None else json.dumps(body))


@pytest_asyncio.fixture
async def newcomer(platform: Platform) -> AsyncIterator[Newcomer]:
    """A newcomer with nothing yet."""
    made = Newcomer(platform)
    yield made
    await made.http.aclose()
