"""Asl Belgisi over HTTP: JSON with a bearer key, one request for many codes.

Paths and fields as public clients of its open interface use them (docs/reference/packs.md); nobody
of the operator has confirmed them yet.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Protocol
from urllib.parse import urlsplit

from dmed.kit import clock, outgoing
from dmed.kit.errors import InvalidError
from dmed.modules.pharmacy.rules import marking
from dmed.modules.pharmacy.rules.marking import Answer, AnswerError

CODES_PATH = "/public/api/cod/private/codes"
BOXES_PATH = "/public/api/cod/nested-codes/owner-check"
TIMEOUT_S = 5.0
"""A request that takes longer counts as a fault."""
ANSWER_MAX_BYTES = 16 * 1024 * 1024
_RETRY_AFTER_S = 60.0
_RETRY_AFTER_MAX_S = 600.0


class LineError(Exception):
    """The operator gave no answer that can be used; `retry_after` seconds where it asked for
    patience (429).
    """

    def __init__(self, sentence: str, retry_after: float = 0.0) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Line(Protocol):
    """How an operator is asked. LineError where it gives no usable answer."""

    name: str
    """Who shares one allowance of requests: address and key."""

    async def ask(self, codes: list[str]) -> Answer:
        """What it knows of at most marking.CODES_MAX identities."""

    async def owned(self, codes: list[str], tax_id: str) -> Answer:
        """Of at most marking.BOXES_MAX boxes or packs: what belongs to an owner, with what lies in
        it; `forbidden` belongs to others.
        """


class AslBelgisi:
    """The national operator of marking, or its simulator (`dmed sim marking`)."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError("DMED_MARKING_OPERATOR names no service (http or https)")
        self._parts = parts
        self._key = key
        # The key itself is no name: names are stored.
        self.name = f"{parts.hostname}:{parts.port or ''}{parts.path}"

    async def ask(self, codes: list[str]) -> Answer:
        """POST {"codes": [...]}: a list, or results with missingCodes and forbiddenCodes."""
        return await self._asked(CODES_PATH, {"codes": codes}, codes)

    async def owned(self, codes: list[str], tax_id: str) -> Answer:
        """POST {"codes": [...], "ownerTin": "..."}: results with children."""
        return await self._asked(BOXES_PATH, {"codes": codes, "ownerTin": tax_id}, codes)

    async def _asked(self, path: str, said: dict[str, object], codes: list[str]) -> Answer:
        try:
            # A service that answers a byte a second never runs into the socket's own limit.
            status, body, wait = await asyncio.wait_for(
                asyncio.to_thread(self._post, path, json.dumps(said).encode()), TIMEOUT_S)
        except TimeoutError as slow:
            raise LineError(f"No answer within {TIMEOUT_S:g} s") from slow
        if status == 429:
            raise LineError("The limit of requests is reached", _patience(wait))
        if status in {401, 403}:
            raise LineError(f"The operator refuses our key (status {status})")
        if status != 200:
            raise LineError(f"Status {status}")
        try:
            return await asyncio.to_thread(marking.read_answer, body, codes, clock.now())
        except AnswerError as wrong:
            raise LineError(str(wrong)) from wrong

    def _post(self, path: str, body: bytes) -> tuple[int, bytes, str]:
        connection = outgoing.connection(
            self._parts.scheme, self._parts.hostname or "", self._parts.port, TIMEOUT_S)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request("POST", self._parts.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_MAX_BYTES + 1)
            if len(content) > ANSWER_MAX_BYTES:
                raise LineError(f"The answer has more than {ANSWER_MAX_BYTES} bytes")
            return answer.status, content, answer.headers.get("Retry-After", "")
        except (OSError, http.client.HTTPException) as away:
            raise LineError(f"Not reached: {type(away).__name__}") from away
        finally:
            connection.close()


def _patience(text: str) -> float:
    """Seconds of a Retry-After; a minute where it says none."""
    seconds = float(text) if text.isdecimal() else _RETRY_AFTER_S
    return min(max(seconds, 1.0), _RETRY_AFTER_MAX_S)
