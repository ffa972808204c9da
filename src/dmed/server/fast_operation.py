"""The short way of an operation that answers a plain GET often: $lookup, $validate-code, $expand.

A bearer token, a query, no conditions, an app that nothing narrows: it makes no Starlette object
and no Call. Whatever else is asked takes the long way, which answers the same.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.types import Send

from dmed.kit.errors import ForbiddenError
from dmed.server.call import PAIRS_MAX, URL_MAX_BYTES
from dmed.server.door import Door
from dmed.server.fast import Wanted, send_page, wanted
from dmed.trust.gateway.prepare import ID
from dmed.trust.guard import Guard
from dmed.trust.manifest import Operation
from dmed.trust.oauth.scopes import EVERYTHING
from dmed.trust.request import USER_KEY


class Asked(NamedTuple):
    """What such a request asks."""

    operation: Operation
    id: str
    pairs: list[tuple[str, str]]
    headers: Wanted


class FastOperation:
    """Recognises such a request and answers it."""

    def __init__(self, door: Door, guard: Guard) -> None:
        self._gateway = door.acts
        self._identity = guard.identity
        self._quick = {
            (type_, f"${name}", is_instance): operation
            for (type_, name, is_instance), operation in door.operations.items()
            if type_ and operation.quick is not None and not operation.affects_state
        }

    def asked(self, scope: MutableMapping[str, Any]) -> Asked | None:
        """What a plain GET of such an operation asks, or None for the long way."""
        if scope["method"] != "GET":
            return None
        _, _, *parts = scope["path"].split("/")
        if not 2 <= len(parts) <= 3:
            return None
        operation = self._quick.get((parts[0], parts[-1], len(parts) == 3))
        query = scope["query_string"]
        if operation is None or len(query) > URL_MAX_BYTES or b"_" in query:
            return None  # _format and _pretty speak of the answer's form.
        id_ = parts[1] if len(parts) == 3 else ""
        if id_ and not ID.fullmatch(id_):
            return None
        try:
            pairs = pairs_of(query)
        except ValueError:
            return None  # The long way says what is wrong.
        headers = wanted(scope)
        return None if headers is None else Asked(operation, id_, pairs, headers)

    async def answer(
        self, asked: Asked, scope: MutableMapping[str, Any], request_id: str, send_: Send
    ) -> bool:
        """Find out who asks and answer; False, with nothing sent, where the caller's app may not
        do everything, which the long way weighs.
        """
        operation, quick = asked.operation, asked.operation.quick
        assert quick is not None
        subject = await self._identity.bearer(asked.headers.token)
        scope[USER_KEY] = subject.user
        if subject.scopes != EVERYTHING:
            return False
        if subject.role not in operation.roles:
            raise ForbiddenError(f"The role {subject.role.value} may not call ${operation.name}")
        language = ""
        for name, value in scope["headers"]:
            if name == b"accept-language":
                language = value.decode("latin-1")
        body = await quick(self._gateway, subject, asked.pairs, asked.id, language)
        await send_page(body, asked.headers, [(b"x-request-id", request_id.encode())], send_)
        return True


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """The pairs of a query string as `parse_qsl` reads them, blank values kept, at a third of its
    cost: most have nothing to be unpacked. ValueError beyond PAIRS_MAX or for what is no UTF-8.
    """
    parts = query.decode().split("&")
    if len(parts) > PAIRS_MAX:
        raise ValueError("too many parameters")
    pairs = [part.partition("=") for part in parts if part]
    if b"%" not in query and b"+" not in query:
        return [(name, value) for name, _, value in pairs]
    return [(_unpacked(name), _unpacked(value)) for name, _, value in pairs]


def _unpacked(text: str) -> str:
    return unquote(text.replace("+", " "), errors="strict")
