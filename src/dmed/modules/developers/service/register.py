"""The register of licences, as a port: what it says of a number, and a code to its holder.

Two adapters: HTTP (`DMED_LICENCE_REGISTER`, in the shape that `dmed sim licences` serves), and
invented licences inside, which serve installations with demo accounts alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
from functools import cache
from importlib.resources import files
from typing import Protocol
from urllib.parse import quote, urlsplit

import msgspec

from dmed.kit import outgoing
from dmed.kit.errors import InvalidError, UnavailableError
from dmed.kit.settings import Settings
from dmed.modules.developers.model import Entry

TIMEOUT_S = 5
ANSWER_MAX_BYTES = 64 * 1024
_AWAY = "The register of licences does not answer now: try again in some minutes"


class Register(Protocol):
    """What is asked of the register of licences. UnavailableError where it does not answer."""

    async def look_up(self, number: str) -> Entry | None:
        """The licence with a number, or None."""

    async def send_code(self, number: str) -> None:
        """Sends a code of six digits to the holder's telephone on record."""

    async def check_code(self, number: str, code: str) -> bool:
        """Whether this is the code that the holder was sent."""


class HttpRegister:
    """The register over HTTP: JSON under `/licences/{number}`, a bearer key where one is set."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError("DMED_LICENCE_REGISTER names no service (http or https)")
        self._parts = parts
        self._key = key

    async def look_up(self, number: str) -> Entry | None:
        """GET /licences/{number}: 200 with the entry, or 404."""
        status, body = await self._asked("GET", f"/licences/{quote(number, safe='')}")
        if status == 404:
            return None
        if status != 200:
            raise UnavailableError(_AWAY)
        try:
            entry = msgspec.json.decode(body, type=Entry)
        except (msgspec.DecodeError, ValueError) as wrong:
            raise UnavailableError("The register of licences answers what cannot be read") from (
                wrong)
        # An answer about another licence is no answer about this one.
        if entry.number != number:
            raise UnavailableError("The register of licences answers for another number")
        return entry

    async def send_code(self, number: str) -> None:
        """POST /licences/{number}/code."""
        status, _ = await self._asked("POST", f"/licences/{quote(number, safe='')}/code")
        if status not in {200, 202, 204}:
            raise UnavailableError(_AWAY)

    async def check_code(self, number: str, code: str) -> bool:
        """POST /licences/{number}/code/{code}: 200 right, 403 or 404 wrong."""
        status, _ = await self._asked(
            "POST", f"/licences/{quote(number, safe='')}/code/{quote(code, safe='')}")
        if status not in {200, 403, 404}:
            raise UnavailableError(_AWAY)
        return status == 200

    async def _asked(self, method: str, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(self._ask, method, path)

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = outgoing.connection(
            self._parts.scheme, self._parts.hostname or "", self._parts.port, TIMEOUT_S)
        headers = {"Accept": "application/json", "Content-Length": "0"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_MAX_BYTES)
        except (OSError, http.client.HTTPException) as away:
            raise UnavailableError(_AWAY) from away
        finally:
            connection.close()


@cache
def invented() -> dict[str, Entry]:
    """The invented licences by number: what the simulator and demo installations know."""
    raw = files("dmed.modules.developers").joinpath("data/licences.json").read_bytes()
    return {one.number: one for one in msgspec.json.decode(raw, type=list[Entry])}


def invented_code(number: str) -> str:
    """The code of an invented licence: the same each time, so that it can be shown."""
    return f"{int.from_bytes(hashlib.sha256(number.encode()).digest()[:4]) % 1_000_000:06d}"


class Invented:
    """The invented licences, for demo installations."""

    async def look_up(self, number: str) -> Entry | None:
        """An invented licence, or None."""
        return invented().get(number)

    async def send_code(self, number: str) -> None:
        """Nobody is sent anything: the page shows the code."""

    async def check_code(self, number: str, code: str) -> bool:
        """Whether this is the code of the invented licence."""
        return code == invented_code(number)


def register_of(settings: Settings, *, is_demo: bool) -> Register:
    """The register of this installation; UnavailableError where none is set and it is no demo."""
    if settings.licence_register:
        return HttpRegister(settings.licence_register, settings.licence_register_key)
    if is_demo:
        return Invented()
    raise UnavailableError("No register of licences is connected here: set DMED_LICENCE_REGISTER")
