"""The web room: FHIR, pages, health and figures of one worker, assembled from the manifests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as Address
from starlette.staticfiles import StaticFiles

from dmed.apps import headers
from dmed.apps.admission import Admission
from dmed.apps.rooms import MODULES
from dmed.apps.worker import keep_time
from dmed.kit import settings as settings_module
from dmed.kit.clock import now
from dmed.kit.errors import DmedError, ForbiddenError, NotFoundError, UnavailableError
from dmed.kit.settings import Settings
from dmed.kit.turns import PARTY
from dmed.modules.medid.rules import scoring
from dmed.modules.reader.api import wants_page
from dmed.pages import view
from dmed.pages.routes import ROUTES as SHARED_PAGES
from dmed.server.app import fhir_app, refusal
from dmed.server.call import PREFIX, base_of
from dmed.server.cors import Cors
from dmed.server.openapi import openapi
from dmed.store import reindex
from dmed.store.pool import Database
from dmed.trust import audit_seal, guides, refusals, relabelling
from dmed.trust import guard as guard_module
from dmed.trust.audit_key import load_audit_key
from dmed.trust.gateway import Gateway, RefusedError
from dmed.trust.guard import Guard
from dmed.trust.keys import load_keys
from dmed.trust.limits import Limits
from dmed.trust.manifest import Manifest, Route
from dmed.trust.request import USER_KEY

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_YEAR_SECONDS = 31_536_000
_UNCOUNTED = frozenset({"/livez", "/readyz", "/metrics"})
"""Addresses that a busy server answers all the same: a watcher must not take it for dead."""
_SECURITY_TXT = """# How to tell us of a weakness: https://www.rfc-editor.org/rfc/rfc9116
Contact: {contact}
Expires: {expires}
Preferred-Languages: uz, ru, en
Policy: {base}/.well-known/security.txt
Canonical: {base}/.well-known/security.txt
"""


class Platform:
    """One worker's ASGI application; it opens the database when the server starts it.

    A process serves one installation: the guides, search parameters and code lists that it has
    learnt (`trust.guides`, `fhir.params_custom`) are the process's own.
    """

    _is_open: ClassVar[bool] = False

    def __init__(self, settings: Settings, manifests: Sequence[Manifest] = MODULES) -> None:
        self.settings = settings
        self.manifests = tuple(manifests)
        self.counts: Counter[tuple[str, int]] = Counter()
        self.seconds: Counter[str] = Counter()
        self.fhir: App | None = None
        self._pages: App | None = None
        self._background: list[asyncio.Task[None]] = []
        self.described = b""
        """The OpenAPI document as it is sent; made when it is first asked for."""

    async def open(self) -> None:
        """Connects to the database and builds the rooms; RuntimeError where this process already
        serves an installation, whose guides would be mixed with these.
        """
        if Platform._is_open:
            raise RuntimeError("this process already serves an installation")
        self.database = await Database.open(self.settings.database_url, self.settings)
        keys = load_keys(self.settings.data)
        self.gateway = Gateway(self.database, self.settings)
        self.guard = Guard(self.database.hot, self.settings, keys)
        self.cors = Cors(self.guard)
        self.limits = Limits(self.settings, self.guard.address)
        self.admission = Admission(self.settings.requests_max)
        await guides.start(self.database, self.settings)
        await reindex.learn(self.database)
        scoring.use(scoring.installed(self.settings.data))
        room = fhir_app(self.gateway, self.guard, self.manifests)
        self.fhir, self.served = room, room.manifests
        self._pages = _pages(self)
        # What is loaded by now stays: it need not be searched for garbage with every request.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        works = [keep_time(self.database, self.gateway, self.manifests),
                 guides.follow(self.database), reindex.follow(self.database),
                 relabelling.follow(self.database), refusals.follow(self.database, self.limits),
                 audit_seal.follow(self.database, self.settings,
                                   load_audit_key(self.settings.data)),
                 *(work(self.gateway) for each in self.manifests for work in each.background)]
        self._background = [asyncio.ensure_future(work) for work in works]
        Platform._is_open = True

    async def close(self) -> None:
        """Ends the background work and the connections."""
        Platform._is_open = False
        for work in self._background:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        await self.database.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or follows the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        assert scope["type"] == "http", "there are no web sockets here"
        given = self.cors.concerns(scope)
        if given:
            opened = await self.cors.answer(given, scope, send)
            if opened is None:
                return
            send = opened
        is_fhir = scope["path"].startswith("/fhir") and not wants_page(scope)
        room = "fhir" if is_fhir else "page"
        if not is_fhir and (scope["path"] in _UNCOUNTED or scope["path"].startswith("/static/")):
            await self._answer(room, scope, receive, send)
            return
        began = time.monotonic()
        try:
            line = self.limits.enter(scope, began)
            if self.limits.is_full(line):
                await self.limits.wait(line)
        except DmedError as error:
            await self._refuse(error, room, scope, send)
            return
        PARTY.set(line.name)
        inside = time.monotonic()
        try:
            # What waits in a party's own line is its own affair; from here on it costs the worker.
            self.admission.begin(scope, line.running - 1, inside)
        except DmedError as error:
            self.limits.leave(line)
            await self._refuse(error, room, scope, send)
            return
        try:
            status = await self._answer(room, scope, receive, send)
        finally:
            self.limits.leave(line)
            self.admission.end(inside, time.monotonic())
        if status == 401:
            self.limits.forget(scope)
        elif not self.limits.knows(line):
            await self._learn(scope, began)

    async def _learn(self, scope: Scope, at: float) -> None:
        """From here on these credentials count for their user, where they were accepted."""
        user = scope.get(USER_KEY, "")
        for name, value in scope["headers"]:
            if not user and name == b"authorization" and value[:7].lower() == b"bearer ":
                with contextlib.suppress(DmedError):
                    user = (await self.guard.identity.bearer(value[7:].strip())).user
        if user:
            self.limits.learn(scope, user, at)

    async def _answer(self, room: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Lets a room answer, under the headers that every answer has; the answer's status."""
        assert self.fhir is not None
        assert self._pages is not None
        began = time.perf_counter()
        is_secure = guard_module.is_secure(scope, self.settings)
        dressed = headers.of_fhir if room == "fhir" else headers.of_page
        status = 0

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self.counts[room, status] += 1
                message["headers"] = dressed(message["headers"], is_secure=is_secure)
            await send(message)

        await (self.fhir if room == "fhir" else self._pages)(scope, receive, counted)
        self.seconds[room] += time.perf_counter() - began  # type: ignore[assignment]  # A Counter sums floats too.
        return status

    async def _refuse(self, error: DmedError, room: str, scope: Scope, send: Send) -> None:
        """Says at the door that the limits are reached, at the least cost."""
        answer = refusal(error)
        self.counts[room, answer.status] += 1
        body = answer.body if room == "fhir" else f"{error}\n".encode()
        kind = answer.content_type if room == "fhir" else "text/plain; charset=utf-8"
        dressed = headers.of_fhir if room == "fhir" else headers.of_page
        own = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body)),
               (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"),
               *((name.lower().encode(), value.encode()) for name, value in answer.headers.items())]
        is_secure = guard_module.is_secure(scope, self.settings)
        await send({"type": "http.response.start", "status": answer.status,
                    "headers": dressed(own, is_secure=is_secure)})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.open()
        except Exception as error:  # noqa: BLE001  # The server must hear why and end.
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


class CachedFiles(StaticFiles):
    """Static files; their addresses carry the content's digest, so browsers keep them a year."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the bytes through us: a file handed to the server by its path goes uncompressed."""
        extensions = {name: value for name, value in (scope.get("extensions") or {}).items()
                      if name != "http.response.pathsend"}
        await super().__call__({**scope, "extensions": extensions}, receive, send)

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """The file with its time to live: a year where the address carries a digest."""
        response = super().file_response(*arguments, **options)
        scope = arguments[2] if len(arguments) > 2 else options.get("scope", {})
        lasting = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = (
            f"public, max-age={_YEAR_SECONDS}, immutable" if lasting else "no-cache")
        return response


def _pages(platform: Platform) -> App:
    addresses = [
        Address("/livez", _livez), Address("/readyz", _readyz), Address("/metrics", _metrics),
        Address("/openapi.json", _openapi),
        Address("/.well-known/security.txt", _security_txt),
        *(Address(route.path, _guarded(platform.guard, route), methods=list(route.methods))
          for route in _routes(platform.manifests)),
        Mount("/static", CachedFiles(directory=view.STATIC), name="static"),
    ]
    app = Starlette(routes=addresses, exception_handlers={
        HTTPException: _not_served, Exception: _unexpected})
    app.state.platform = platform
    app.state.gateway = platform.gateway
    app.state.guard = platform.guard
    app.state.settings = platform.settings
    app.state.fhir = platform.fhir  # The reader asks it, as any client does.
    app.state.menu = tuple(item for manifest in platform.manifests for item in manifest.menu)
    return GZipMiddleware(app, minimum_size=1000)


def _routes(manifests: Sequence[Manifest]) -> list[Route]:
    """All page routes; the fixed ones go before those with a place, so that /persons/new is met."""
    routes = [*SHARED_PAGES, *(route for manifest in manifests for route in manifest.routes)]
    return sorted(routes, key=lambda route: "{" in route.path)


def _guarded(guard: Guard, route: Route) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint behind sign-in, the route's roles and the page's protection token.

    What is refused to somebody who is signed in leaves an audit row, as records' refusals do.
    """

    async def endpoint(request: Request) -> Response:
        try:
            return await admitted(request)
        except (ForbiddenError, NotFoundError) as refusal:
            subject = view.subject_of(request)
            if subject is not None and not isinstance(refusal, RefusedError):
                await request.app.state.gateway.note(
                    subject, "E", f"refused: {route.path}", outcome=refusal.status)
            raise

    async def admitted(request: Request) -> Response:
        subject = await guard.subject(request.scope)
        if route.roles:
            subject = view.signed_in(request)
            if subject.scopes.is_app:
                raise ForbiddenError("Pages are for people, not for apps with a token")
            if subject.role not in route.roles:
                raise ForbiddenError(
                    f"This page is for: {', '.join(sorted(role.value for role in route.roles))}; "
                    f"you are signed in as {subject.role.value}")
        guard_module.check_origin(request.scope)
        await guard_module.check_csrf_of(request)
        response = await route.endpoint(request)
        if route.audit and subject is not None and response.status_code < 400:
            await request.app.state.gateway.note(subject, "E", route.audit)
        return response

    return view.screen(endpoint)


async def _not_served(request: Request, error: Exception) -> Response:
    await request.app.state.guard.subject(request.scope)
    assert isinstance(error, HTTPException)
    refusal: DmedError = NotFoundError(f"There is no page at {request.url.path}")
    if error.status_code == 405:
        return PlainTextResponse("method not allowed\n", 405)
    return view.refused(request, refusal)


async def _unexpected(request: Request, error: Exception) -> Response:
    if request.url.path.startswith("/static"):
        return PlainTextResponse("not found\n", 404)
    return PlainTextResponse(
        "Something went wrong here; nothing was stored. Try again, and tell the administrator "
        f"if it stays: {type(error).__name__}\n", 500)


async def _livez(_: Request) -> Response:
    """Alive: the process answers."""
    return PlainTextResponse("ok\n")


async def _readyz(request: Request) -> Response:
    """Ready: the database answers too."""
    try:
        async with request.app.state.platform.database.connection() as connection:
            await connection.fetchval("SELECT 1")
    except UnavailableError as error:
        return PlainTextResponse(f"not ready: {error}\n", 503, {"Retry-After": "1"})
    return PlainTextResponse("ok\n")


async def _metrics(request: Request) -> Response:
    """Counts and seconds of this worker in the text format of Prometheus, for those whose address
    DMED_METRICS_FOR names; 404 for anybody else.
    """
    platform: Platform = request.app.state.platform
    if not may_measure(request.scope, platform.settings, platform.guard.address(request.scope)):
        return PlainTextResponse("not found\n", 404)
    worker = os.getpid()
    refused = platform.limits.refused + platform.admission.refused
    lines = ["# TYPE dmed_requests_total counter"]
    lines += [f'dmed_requests_total{{worker="{worker}",room="{room}",status="{status}"}} {count}'
              for (room, status), count in sorted(platform.counts.items())]
    lines += ["# TYPE dmed_requests_inside gauge",
              f'dmed_requests_inside{{worker="{worker}"}} {platform.limits.count}',
              "# TYPE dmed_requests_refused_total counter",
              f'dmed_requests_refused_total{{worker="{worker}"}} {refused}',
              "# TYPE dmed_requests_inside_most gauge",
              f'dmed_requests_inside_most{{worker="{worker}"}} {platform.admission.most:.0f}']
    lines.append("# TYPE dmed_request_seconds_total counter")
    lines += [f'dmed_request_seconds_total{{worker="{worker}",room="{room}"}} {seconds:.6f}'
              for room, seconds in sorted(platform.seconds.items())]
    return PlainTextResponse("\n".join(lines) + "\n")


def may_measure(scope: Scope, settings: Settings, address: str) -> bool:
    """Whether the figures are for this address. Pure.

    A proxy that is not named among the trusted ones stands for everybody: what it brings is of
    nobody's own address, and gets no figures unless everybody does.
    """
    allowed = settings.metrics_for.replace(",", " ").split()
    if "*" in allowed:
        return True
    client = scope.get("client")
    is_brought = any(name in {b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"}
                     for name, _ in scope["headers"])
    if is_brought and client and str(client[0]) == address:
        return False
    return address in allowed


async def _openapi(request: Request) -> Response:
    """OpenAPI of the FHIR address, made from the capability statement, once a worker; 404 where
    DMED_DESCRIBE is off.
    """
    platform: Platform = request.app.state.platform
    if not platform.settings.describe:
        return PlainTextResponse("not found\n", 404)
    if not platform.described:
        made = await asyncio.to_thread(openapi, platform.served, platform.settings)
        platform.described = msgspec.json.encode(made)
    return Response(platform.described, media_type="application/json")


async def _security_txt(request: Request) -> Response:
    """Where to report a weakness, by the installation's own contact: RFC 9116."""
    settings: Settings = request.app.state.settings
    base = base_of(request.scope, settings).removesuffix(PREFIX)
    # https://www.rfc-editor.org/rfc/rfc2142: the mailbox that every domain should have.
    contact = settings.security_contact or f"mailto:security@{urlsplit(base).hostname}"
    # A file that nobody looks after ends by itself: it is made anew with each release and start.
    expires = (now() + timedelta(days=180)).strftime("%Y-%m-%dT00:00:00Z")
    text = _SECURITY_TXT.format(contact=contact, expires=expires, base=base)
    return PlainTextResponse(text, headers={"Cache-Control": "public, max-age=86400"})


def create() -> Platform:
    """The application of one worker, as the server's factory; settings from the environment."""
    return Platform(settings_module.load())
