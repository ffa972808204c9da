"""A browser for the tests of the door and of apps."""

from __future__ import annotations

import base64
import re
import time

import httpx

from dmed.apps.web import Platform
from dmed.trust.factors import code_at, step_of
from dmed.trust.identity import DEMO_PASSWORDS

PUBLIC_URL = "https://dmed.example"


class Browser(httpx.AsyncClient):
    """A browser of its own, that follows nothing by itself."""

    def __init__(self, platform: Platform, language: str = "en") -> None:
        transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
        super().__init__(transport=transport, base_url=PUBLIC_URL,
                         cookies={"dmed_language": language})  # fmt: skip  # One call.

    async def csrf(self, path: str = "/me") -> str:
        """The protection token that a page carries."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', (await self.get(path)).text)
        assert found is not None
        return found.group(1)

    async def enter(self, user: str, **fields: str) -> httpx.Response:
        """Posts the form of the door."""
        data = {"user": user, "password": DEMO_PASSWORDS.get(user, ""), **fields}
        return await self.post("/signin", data=data)

    async def submit(self, path: str, shown: str = "", **fields: object) -> httpx.Response:
        """Posts a form as its page would."""
        token = await self.csrf(shown or path)
        return await self.post(path, data={"csrf_token": token, **fields})


def code(page: str, steps: int = 0) -> str:
    """The number that the letters of an enrolment page stand for now."""
    found = re.search(r"data-secret>([A-Z2-7 ]+)<", page)
    assert found is not None
    return code_at(base64.b32decode(found.group(1).replace(" ", "")), step_of(time.time()) + steps)
