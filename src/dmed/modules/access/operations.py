"""The addresses that apps and systems ask without a page: tokens, keys and what is served.

OAuth 2.0 (RFC 6749, 7009, 7662), OpenID Connect Core 1.0 and Discovery 1.0, RFC 8414.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dmed.kit.errors import DmedError, UnauthorizedError
from dmed.pages import view
from dmed.trust.guard import Guard
from dmed.trust.manifest import ANYBODY, Route
from dmed.trust.oauth import addresses as documents
from dmed.trust.oauth import requests
from dmed.trust.oauth.addresses import Addresses
from dmed.trust.oauth.assertions import authenticated
from dmed.trust.oauth.clients import Client
from dmed.trust.oauth.errors import OAuthError
from dmed.trust.oauth.grants import who

_FORM = "application/x-www-form-urlencoded"
_KEPT_S = 300
_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CLIENT_FIELDS = frozenset(
    {"client_id", "client_assertion", "client_assertion_type", "client_secret"}
)
Answering = Callable[[Request], Awaitable[Response]]


def _guard(request: Request) -> Guard:
    found: Guard = request.app.state.guard
    return found


def _at(request: Request) -> Addresses:
    return documents.addresses(request.scope, request.app.state.settings)


def _protocol(answering: Answering) -> Answering:
    """Refusals in the form of RFC 6749, 5.2, never a page."""

    @functools.wraps(answering)
    async def answered(request: Request) -> Response:
        try:
            return await answering(request)
        except OAuthError as fault:
            body = {"error": fault.code, "error_description": fault.description}
            return JSONResponse(body, fault.status, _NOT_KEPT)
        except DmedError as fault:
            code = "invalid_token" if isinstance(fault, UnauthorizedError) else "invalid_request"
            body = {"error": code, "error_description": fault.issues[0].diagnostics}
            headers = {**_NOT_KEPT, **fault.headers}
            if isinstance(fault, UnauthorizedError):
                headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
            return JSONResponse(body, fault.status, headers)

    return answered


async def _form(request: Request) -> dict[str, str]:
    """The fields of a posted form, each once."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise OAuthError("invalid_request", f"send {_FORM}")
    form = await view.form(request)
    return requests.once(
        (name, value) for name, value in form.multi_items() if isinstance(value, str)
    )


async def _client(request: Request, form: dict[str, str]) -> Client:
    """The client who asks; a refusal leaves a row."""
    if form.get("grant_type") == "refresh_token" and not form.keys() & _CLIENT_FIELDS:
        # A public client may refresh by the token alone (RFC 6749, 6): common libraries do.
        found = await _guard(request).grants.client_of(form.get("refresh_token", ""))
        if found is not None:
            return found
    at = _at(request)
    audiences = (at.token, at.issuer, str(at.issuer + request.url.path))
    try:
        return await authenticated(_guard(request).connection, form, audiences)
    except OAuthError as fault:
        name = form.get("client_id", "")[:64]
        told = f"client refused: {name!r}, {fault.description}"[:300]
        await view.gateway(request).note_stranger("E", told, outcome=fault.status)
        raise


@_protocol
async def token(request: Request) -> Response:
    """Codes, refresh tokens and assertions become access tokens."""
    form = await _form(request)
    client = await _client(request, form)
    grants = _guard(request).grants
    try:
        answer, subject = await grants.tokens(client, form, _at(request))
    except OAuthError as fault:
        told = f"token refused: client {client.id}, {fault.description}"
        await view.gateway(request).note_stranger("E", told, outcome=fault.status)
        raise
    said = f"token for {client.id} ({form['grant_type']})"
    await view.gateway(request).note(subject, "E", said, patient=answer.get("patient", ""))
    return JSONResponse(answer, headers=_NOT_KEPT)


@_protocol
async def introspect(request: Request) -> Response:
    """What a token says while it is good; for confidential clients."""
    form = await _form(request)
    client = await _client(request, form)
    if not client.keys:
        raise OAuthError("invalid_client", "only a client with keys may ask", 401)
    found = await _guard(request).grants.introspect(client, form.get("token", ""), _at(request))
    return JSONResponse(found, headers=_NOT_KEPT)


@_protocol
async def revoke(request: Request) -> Response:
    """A client gives a token back; 200 also where there was none."""
    form = await _form(request)
    client = await _client(request, form)
    await _guard(request).grants.revoke(client, form.get("token", ""))
    return Response(status_code=200, headers=_NOT_KEPT)


@_protocol
async def userinfo(request: Request) -> Response:
    """Who signed in, as far as the scopes allow."""
    subject = view.subject_of(request)
    if subject is None or not subject.scopes.is_app or "openid" not in subject.scopes.plain:
        raise UnauthorizedError("A token with the scope openid is needed")
    return JSONResponse(who(subject.scopes, subject, _at(request)), headers=_NOT_KEPT)


async def jwks(request: Request) -> Response:
    """The public keys of our tokens, those being put aside too."""
    return _document(_guard(request).keys.public())


@_protocol
async def openid_configuration(request: Request) -> Response:
    """What this provider serves."""
    return _document(documents.openid_configuration(_at(request)))


@_protocol
async def smart_configuration(request: Request) -> Response:
    """The same document as below the FHIR base, for clients that look at the root."""
    return _document(documents.smart_configuration(_at(request)))


def _document(content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": f"public, max-age={_KEPT_S}"})


def _open(path: str, endpoint: Answering, *methods: str) -> Route:
    return Route(path=path, endpoint=endpoint, roles=ANYBODY, methods=methods or ("GET",))


ROUTES: tuple[Route, ...] = (
    _open("/oauth/token", token, "POST"),
    _open("/oauth/introspect", introspect, "POST"),
    _open("/oauth/revoke", revoke, "POST"),
    _open("/oauth/userinfo", userinfo, "GET", "POST"),
    _open("/oauth/jwks", jwks),
    _open("/.well-known/openid-configuration", openid_configuration),
    _open("/.well-known/oauth-authorization-server", openid_configuration),
    _open("/.well-known/smart-configuration", smart_configuration),
)
