"""FHIR over HTTP as one ASGI app: https://hl7.org/fhir/R5/http.html

A read by id takes a short way without Starlette; everything else is a Call that `dispatch` leads
to its interaction. Nobody passes without sign-in, except to the capability statement.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Send

from dmed.fhir import params
from dmed.kit.errors import (
    DmedError,
    Issue,
    NotAllowedError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UnprocessableError,
)
from dmed.server import (
    batch,
    fhirpath,
    history,
    meta,
    operations,
    patch,
    read,
    search,
    search_system,
    validate,
    write,
)
from dmed.server.answer import Answer, send
from dmed.server.call import Call, request_id_of
from dmed.server.capability import capability
from dmed.server.door import Door
from dmed.server.fast import FastRead
from dmed.server.fast_operation import FastOperation
from dmed.server.fast_search import FastSearch
from dmed.server.outcome import outcome_of, unexpected
from dmed.trust.gateway import Gateway, prepare
from dmed.trust.gateway.prepare import ID
from dmed.trust.guard import CSRF_HEADER, Guard, check_csrf
from dmed.trust.manifest import Manifest
from dmed.trust.oauth import addresses
from dmed.trust.request import REQUEST_ID, REQUEST_KEY

_log = logging.getLogger("dmed.server")
Scope = MutableMapping[str, Any]
SMART = (".well-known", "smart-configuration")
"""https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html"""


def fhir_app(gateway: Gateway, guard: Guard, manifests: Iterable[Manifest]) -> FhirApp:
    """The ASGI app for everything below /fhir; the path it sees is the whole one."""
    # A worker builds its definitions when it starts, not while its first caller waits.
    prepare.warm()
    return FhirApp(Door(gateway, (*manifests, validate.MANIFEST, fhirpath.MANIFEST)), guard)


class FhirApp:
    """The FHIR room of one worker."""

    def __init__(self, door: Door, guard: Guard) -> None:
        self._door = door
        self._guard = guard
        self._fast = FastRead(door, guard)
        self._fast_search = FastSearch(door, guard)
        self._fast_operation = FastOperation(door, guard)
        self._capabilities: dict[tuple[str, int], bytes] = {}
        # Operations of modules expect the application's state, as in a Starlette app.
        self._app = Starlette()
        self._app.state.gateway = door.acts
        self._app.state.guard = guard
        self._app.state.settings = door.settings

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The manifests whose operations are served, the platform's own among them."""
        return self._door.manifests

    async def __call__(self, scope: Scope, receive: Receive, send_: Send) -> None:
        """Answer one request; a failure becomes an OperationOutcome, whatever it is."""
        request_id = request_id_of(scope)
        scope[REQUEST_KEY] = request_id
        REQUEST_ID.set(request_id)
        try:
            asked = self._fast.asked(scope)
            if asked is not None:
                await self._fast.answer(asked, scope, request_id, send_)
                return
            searched = self._fast_search.asked(scope)
            if searched is not None and await self._fast_search.answer(
                searched, scope, request_id, send_
            ):
                return
            called = self._fast_operation.asked(scope)
            if called is not None and await self._fast_operation.answer(
                called, scope, request_id, send_
            ):
                return
            answer = await self._slow(scope, receive, send_, request_id)
            if answer is not None and len(answer.body) > self._door.settings.response_limit_bytes:
                answer = refusal(_too_large(self._door.settings.response_limit_bytes))
        except DmedError as error:
            answer = refusal(error)
        except Exception:  # noqa: BLE001  # The last line of defence: logged, nothing is told.
            _log.exception("unexpected fault, request %s", request_id)
            answer = Answer(status=500, body=unexpected(request_id))
        if answer is not None:
            await send(
                answer,
                send_,
                request_headers=Headers(scope=scope),
                request_id=request_id,
                pretty=b"_pretty=true" in scope["query_string"],
                is_head=scope["method"] == "HEAD",
            )

    async def _slow(
        self, scope: Scope, receive: Receive, send_: Send, request_id: str
    ) -> Answer | None:
        request = Request(scope, receive)
        call = Call.of_request(request, self._door.settings, request_id)
        call.check_format()
        if call.parts == ("metadata",) and call.method in {"GET", "HEAD"}:
            return self._metadata(call)
        if call.parts == SMART and call.method in {"GET", "HEAD"}:
            found = addresses.smart_configuration(addresses.addresses(scope, call.settings))
            return Answer(body=msgspec.json.encode(found), content_type="application/json")
        await self._sign_in(call, scope)
        if call.parts and call.parts[-1].startswith("$") and call.parts[-1] not in meta.NAMES:
            response = await operations.run(self._door, call, request, self._app)
            response.headers["X-Request-Id"] = request_id
            await response(scope, receive, send_)
            return None
        return await dispatch(self._door, call)

    async def _sign_in(self, call: Call, scope: Scope) -> None:
        subject = await self._guard.subject(scope)
        if subject is None:
            raise UnauthorizedError(
                "Sign in first: send a bearer token", headers={"WWW-Authenticate": "Bearer"}
            )
        check_csrf(scope, call.headers.get(CSRF_HEADER, ""))
        call.subject = subject

    def _metadata(self, call: Call) -> Answer:
        # Search parameters may have been stored since it was made.
        key = call.base, params.generation()
        if key not in self._capabilities:
            if len(self._capabilities) > 16:
                self._capabilities.clear()
            made = capability(self._door.manifests, self._door.settings, call.base)
            self._capabilities[key] = msgspec.json.encode(made)
        return Answer(body=self._capabilities[key])


def _too_large(limit_bytes: int) -> DmedError:
    return UnprocessableError(
        issues=(
            Issue(
                "too-costly",
                f"The answer is larger than {limit_bytes} bytes (DMED_RESPONSE_LIMIT_BYTES): "
                "ask for a smaller _count, for less history, or with _elements",
            ),
        )
    )


def refusal(error: DmedError) -> Answer:
    """The answer to an expected error."""
    headers = dict(error.headers)
    if isinstance(error, UnavailableError):
        headers.setdefault("Retry-After", "1")
    if isinstance(error, UnauthorizedError):
        headers.setdefault("WWW-Authenticate", "Bearer")
    return Answer(status=error.status, body=outcome_of(error), headers=headers)


async def dispatch(door: Door, call: Call) -> Answer:
    """Lead a call to its interaction by the shape of its address and its method."""
    parts = call.parts
    if not parts:
        return await _system(door, call)
    if parts[-1] in meta.NAMES:
        return await meta.run(door, call)
    if parts[0] == "_history" and len(parts) == 1:
        _only(call, "GET")
        return await history.history(door, call)
    if parts == ("_search",):
        return await search_system.system(door, call, await _search_pairs(call))
    door.check_type(parts[0])
    if len(parts) == 1:
        return await _type(door, call, parts[0])
    if len(parts) == 2:
        return await _second(door, call, parts[0], parts[1])
    return await _deep(door, call, parts)


async def _system(door: Door, call: Call) -> Answer:
    if call.method == "POST":
        return await batch.system_post(door, call, dispatch)
    _only(call, "GET", "POST")
    return await search_system.system(door, call, call.criteria())


async def _type(door: Door, call: Call, type_: str) -> Answer:
    match call.method:
        case "GET" | "HEAD":
            return await search.search(door, call, type_, call.criteria())
        case "POST":
            return await write.create(door, call, type_)
        case "PUT":
            return await write.update_where(door, call, type_)
        case "PATCH":
            return await patch.patch_where(door, call, type_)
        case "DELETE":
            return await write.delete_where(door, call, type_)
    raise _not_allowed("GET, HEAD, POST, PUT, PATCH, DELETE")


async def _second(door: Door, call: Call, type_: str, second: str) -> Answer:
    if second == "_search":
        return await search.search(door, call, type_, await _search_pairs(call))
    if second == "_history":
        _only(call, "GET")
        return await history.history(door, call, type_)
    if call.method != "PUT":
        _check_id(call, second)
    match call.method:
        case "GET" | "HEAD":
            return await read.read(door, call, type_, second)
        case "PUT":
            return await write.update(door, call, type_, second)
        case "PATCH":
            return await patch.patch(door, call, type_, second)
        case "DELETE":
            return await write.delete(door, call, type_, second)
    raise _not_allowed("GET, HEAD, PUT, PATCH, DELETE")


async def _deep(door: Door, call: Call, parts: tuple[str, ...]) -> Answer:
    type_, id_, third = parts[:3]
    _check_id(call, id_)
    if third == "_history" and len(parts) == 3:
        _only(call, "GET")
        return await history.history(door, call, type_, id_)
    if third == "_history" and len(parts) == 4:
        _only(call, "GET")
        return await read.vread(door, call, type_, id_, parts[3])
    if len(parts) == 3 or (len(parts) == 4 and parts[3] == "_search"):
        if len(parts) == 3:
            _only(call, "GET")
        pairs = call.criteria() if len(parts) == 3 else await _search_pairs(call)
        if type_ == "Patient":
            return await search.compartment(door, call, id_, third, pairs)
        return await search_system.compartment(door, call, type_, id_, third, pairs)
    raise NotFoundError(f"There is nothing at {call.path[:100]}")


def _check_id(call: Call, id_: str) -> None:
    if not ID.fullmatch(id_):
        raise NotFoundError(f"There is nothing at {call.path[:100]}")


async def _search_pairs(call: Call) -> list[tuple[str, str]]:
    if call.method == "POST":
        return await call.form_pairs()
    _only(call, "GET", "POST")
    return call.criteria()


def _only(call: Call, *methods: str) -> None:
    if call.method not in methods and not (call.method == "HEAD" and "GET" in methods):
        raise _not_allowed(", ".join(methods))


def _not_allowed(methods: str) -> NotAllowedError:
    return NotAllowedError(f"This address takes {methods}", headers={"Allow": methods})
