"""The State Health Insurance Fund as a port, and its adapter over HTTP.

The fund's real interface is not published: this one speaks FHIR R5 Claim and ClaimResponse, in the
shape that `dmed sim fund` serves. The key of a claim goes as `Idempotency-Key` with every try.
"""

from __future__ import annotations

import asyncio
import http.client
from datetime import date
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from dmed.kit import outgoing
from dmed.kit.errors import InvalidError, UnavailableError
from dmed.modules.insurance.model import Answer, Decided
from dmed.modules.insurance.rules import answer_of

TIMEOUT_S = 5
ANSWER_MAX_BYTES = 8 * 1024 * 1024
_AWAY = "The insurance fund does not answer now"


class Fund(Protocol):
    """What is asked of the fund. UnavailableError where it gives no answer that can be used."""

    async def submit(self, key: str, claim: dict[str, Any]) -> Answer:
        """Sends a claim; a second time under the same key gives the first decision again."""

    async def decided(self, day: date) -> list[Decided]:
        """What the fund decided on a day (Tashkent)."""


class HttpFund:
    """The fund over HTTP: POST /Claim, GET /decided?day=; a bearer key where one is set."""

    def __init__(self, url: str, key: str = "", timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError("DMED_FUND names no service (http or https)")
        self._parts = parts
        self._key = key
        self._timeout_s = timeout_s

    async def submit(self, key: str, claim: dict[str, Any]) -> Answer:
        """POST /Claim: 200 or 201 with the ClaimResponse, 409 with the earlier one."""
        body = _encoder.encode(claim)
        status, said = await asyncio.to_thread(self._ask, "POST", "/Claim", body, key)
        if status not in {200, 201, 409}:
            raise UnavailableError(_AWAY)
        return answer_of(_read(said), key)

    async def decided(self, day: date) -> list[Decided]:
        """GET /decided?day=YYYY-MM-DD: a JSON list."""
        path = f"/decided?day={day.isoformat()}"
        status, said = await asyncio.to_thread(self._ask, "GET", path, b"", "")
        if status != 200:
            raise UnavailableError(_AWAY)
        try:
            return msgspec.json.decode(said, type=list[Decided])
        except msgspec.DecodeError as wrong:
            raise UnavailableError("The fund's list cannot be read") from wrong

    def _ask(self, method: str, path: str, body: bytes, key: str) -> tuple[int, bytes]:
        connection = outgoing.connection(
            self._parts.scheme, self._parts.hostname or "", self._parts.port, self._timeout_s)
        headers = {"Accept": "application/json", "Content-Type": "application/fhir+json"}
        if key:
            headers["Idempotency-Key"] = key
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_MAX_BYTES)
        except (OSError, http.client.HTTPException) as away:
            raise UnavailableError(_AWAY) from away
        finally:
            connection.close()


_encoder = msgspec.json.Encoder(decimal_format="number")


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as wrong:
        raise UnavailableError("The fund's answer cannot be read") from wrong
