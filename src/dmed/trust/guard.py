"""Nobody passes without a subject: from the page session's cookie or a bearer token.

Bearer: https://www.rfc-editor.org/rfc/rfc6750; cookies and CSRF: the OWASP cheat sheets.
"""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request

from dmed.kit.errors import ForbiddenError, UnauthorizedError
from dmed.kit.settings import Settings
from dmed.trust.identity import Identity
from dmed.trust.keys import Keys
from dmed.trust.model import Subject
from dmed.trust.oauth.clients import Clients
from dmed.trust.oauth.grants import Grants
from dmed.trust.request import REQUEST_ID, REQUEST_KEY, USER_KEY, new_request_id
from dmed.trust.sessions import Session, Stage
from dmed.trust.tables import Connection, Told
from dmed.trust.tokens import DEVICE_LIFETIME_S

COOKIE = "dmed_session"
DEVICE_COOKIE = "dmed_device"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
FORM_FIELDS_MAX = 200
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

AsgiScope = MutableMapping[str, Any]


class Guard:
    """Finds out who asks; the only reader of cookies and bearer tokens."""

    def __init__(self, connection: Connection, settings: Settings, keys: Keys) -> None:
        self.identity = Identity(connection, settings, keys)
        self.clients = Clients(Told(connection))
        self.grants = Grants(connection, settings, keys, self.identity)
        self.keys = keys
        self.connection: Connection = Told(connection)
        self._settings = settings

    async def subject(self, scope: AsgiScope) -> Subject | None:
        """Who asks, or None when nobody is signed in; also put at `scope["state"]["subject"]`.

        A bearer token wins over a cookie; one that is not accepted raises UnauthorizedError.
        With a cookie `scope["state"]["csrf"]` is what forms must send back, and
        `scope["state"]["session"]` the Session, which may wait for a second factor or a post.
        """
        if REQUEST_KEY not in scope:
            scope[REQUEST_KEY] = new_request_id()
        REQUEST_ID.set(scope[REQUEST_KEY])
        cookie = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                return _keep(scope, await self._bearer(value), "")
            if name == b"cookie":
                cookie = cookie + b"; " + value if cookie else value
        given = session_cookie(cookie, is_secure=is_secure(scope, self._settings))
        found = await self.identity.sessions.find(given) if given else None
        if found is None or found.stage == Stage.LOCKED:
            return _keep(scope, None, "")
        subject = found.subject if found.stage == Stage.OPEN else None
        return _keep(scope, subject, found.csrf, found)

    async def _bearer(self, header: bytes) -> Subject:
        kind, _, token = header.partition(b" ")
        if kind.lower() != b"bearer" or not token:
            raise UnauthorizedError(
                "Only bearer tokens are accepted", headers={"WWW-Authenticate": "Bearer"}
            )
        return await self.identity.bearer(token.strip())

    def address(self, scope: AsgiScope) -> str:
        """The network address of who asks. Behind a trusted proxy (settings.trusted_proxies) it is
        the last one that the proxy noted in X-Forwarded-For; from anybody else that header is air.
        """
        client = scope.get("client")
        host = str(client[0]) if client else ""
        if host not in self._settings.trusted_proxies.replace(",", " ").split():
            return host
        noted = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        last = noted[-1].decode("latin-1").rpartition(",")[2].strip() if noted else ""
        try:
            return str(ip_address(last))
        except ValueError:
            return host

    def device_header(self, device: str, scope: AsgiScope) -> str:
        """The Set-Cookie value by which this browser is known at the next sign-in."""
        parts = [f"{DEVICE_COOKIE}={device}", "Path=/signin", "HttpOnly", "SameSite=Strict",
                 f"Max-Age={DEVICE_LIFETIME_S}"]  # fmt: skip  # One cookie.
        if is_secure(scope, self._settings):
            parts = [f"__Secure-{parts[0]}", *parts[1:], "Secure"]
        return "; ".join(parts)

    def cookie_header(self, cookie: str, scope: AsgiScope) -> str:
        """The Set-Cookie value that hands a session to the browser; "" ends it."""
        parts = [f"{COOKIE}={cookie}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if is_secure(scope, self._settings):
            parts = [f"__Host-{parts[0]}", *parts[1:], "Secure"]
        if not cookie:
            parts.append("Max-Age=0")
        return "; ".join(parts)


def is_secure(scope: AsgiScope, settings: Settings) -> bool:
    """Whether browsers reach us over TLS: directly, or through a proxy at an https public_url."""
    return scope.get("scheme") == "https" or settings.public_url.startswith("https:")


def session_cookie(header: bytes, name: str = COOKIE, *, is_secure: bool | None = None) -> str:
    """The value of our cookie in a Cookie header, or "".

    Over TLS its name has a prefix by which browsers promise that no other host and no plain
    connection has set it (RFC 6265bis, 4.1.3); `is_secure` demands that one or the plain one.
    """
    if name.encode() not in header:
        return ""
    try:
        found = SimpleCookie(header.decode("latin-1"))
    except CookieError:
        return ""
    prefixed = found.get(f"__Host-{name}") or found.get(f"__Secure-{name}")
    if is_secure is None:
        prefixed = prefixed or found.get(name)
    elif not is_secure:
        prefixed = found.get(name)
    return prefixed.value if prefixed is not None else ""


def check_origin(scope: AsgiScope) -> None:
    """Refuse a form of a foreign page before anybody is signed in (a sign-in in another's name).

    Browsers say where a form comes from; programs send neither header. An app's own request for
    a token is no form: it is left to the endpoint. Raises ForbiddenError.
    """
    if scope["method"] in _SAFE or scope["path"].startswith("/oauth"):
        return
    told = dict(scope["headers"])
    is_form = told.get(b"sec-fetch-mode", b"navigate") == b"navigate"
    if is_form and told.get(b"sec-fetch-site", b"none") in {b"cross-site", b"same-site"}:
        raise ForbiddenError("The request comes from a foreign page")


def check_csrf(scope: AsgiScope, given: str) -> None:
    """Refuse a write that a foreign page made the browser send; call for every unsafe method.

    Only requests that were signed in by cookie are concerned (`state["csrf"]` is set): a bearer
    token is never sent by a browser on its own. Raises ForbiddenError.
    """
    expected = scope["state"].get("csrf", "")
    if scope["method"] in _SAFE or not expected:
        return
    for name, value in scope["headers"]:
        if name == b"sec-fetch-site" and value not in {b"same-origin", b"none"}:
            raise ForbiddenError("The request comes from a foreign page")
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise ForbiddenError("The page's protection token is missing or old; load the page again")


async def check_csrf_of(request: Request) -> None:
    """As `check_csrf`, with the token from the header or the form field of a page's request."""
    given = request.headers.get(CSRF_HEADER, "")
    kind = request.headers.get("content-type", "").partition(";")[0]
    if (
        not given
        and request.method not in _SAFE
        and kind in {"application/x-www-form-urlencoded", "multipart/form-data"}
    ):
        value = (await request.form(max_fields=FORM_FIELDS_MAX)).get(CSRF_FIELD, "")
        given = value if isinstance(value, str) else ""
    check_csrf(request.scope, given)


def _keep(
    scope: AsgiScope, subject: Subject | None, csrf: str, session: Session | None = None
) -> Subject | None:
    # A fresh mapping: the server's lifespan state must not carry one request's subject to another.
    scope["state"] = {**scope.get("state", {}), "subject": subject, "csrf": csrf,
                      "session": session}  # fmt: skip  # One mapping.
    if subject is not None:
        scope[USER_KEY] = subject.user
    return subject
