"""The authorization request, read with care: https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1

PKCE: https://www.rfc-editor.org/rfc/rfc7636, S256 alone; SMART launch: aud, launch and scopes.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from dmed.kit.errors import InvalidError
from dmed.trust.oauth.clients import Client
from dmed.trust.oauth.errors import OAuthError
from dmed.trust.oauth.scopes import Scopes, is_within, narrowed, parse

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_VALUE_MAX = 2_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may be put before its person."""

    client: str
    redirect_uri: str
    challenge: str
    scopes: Scopes
    state: str = ""
    nonce: str = ""
    launch: str = ""
    """The launch token of an app that the platform opened."""


def once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters, each at most once and of a sane length; OAuthError invalid_request."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise OAuthError("invalid_request", f"{name[:50]} comes twice")
        if len(value) > _VALUE_MAX * 5 or "\0" in value:
            raise OAuthError("invalid_request", f"{name[:50]} is too long")
        found[name] = value
    return found


def place_of(client: Client, given: Mapping[str, str]) -> str:
    """The registered address to which the answer goes; InvalidError, shown to the person and
    never sent anywhere, where the request names another.
    """
    address = given.get("redirect_uri", "")
    if not address and len(client.redirect_uris) == 1:
        return client.redirect_uris[0]
    if address not in client.redirect_uris:
        raise InvalidError("The app asks to be answered at an address that is not registered")
    return address


def read(client: Client, given: Mapping[str, str], fhir_base: str) -> Wanted:
    """The request of a client whose address was checked; OAuthError goes back to that address."""
    if "request" in given or "request_uri" in given:
        raise OAuthError("request_not_supported", "send the parameters plainly")
    if given.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type is code")
    if given.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode is query")
    if given.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method is S256")
    if not _CHALLENGE.fullmatch(given.get("code_challenge", "")):
        raise OAuthError("invalid_request", "code_challenge is a SHA-256 in base64url")
    if max(len(given.get("state", "")), len(given.get("nonce", ""))) > _VALUE_MAX:
        raise OAuthError("invalid_request", "state or nonce is too long")
    scopes = asked_scopes(client, given.get("scope", ""))
    if "launch" in given and "launch" not in scopes.plain:
        raise OAuthError("invalid_scope", "a launch needs the scope launch")
    if scopes.grants and given.get("aud", "").rstrip("/") != fhir_base:
        raise OAuthError("invalid_request", f"aud is {fhir_base}")
    return Wanted(
        client=client.id,
        redirect_uri=place_of(client, given),
        challenge=given["code_challenge"],
        scopes=scopes,
        state=given.get("state", ""),
        nonce=given.get("nonce", ""),
        launch=given.get("launch", ""),
    )


def asked_scopes(client: Client, text: str, *, is_system: bool = False) -> Scopes:
    """What of the asked scopes the client is registered for; OAuthError where nothing is left."""
    try:
        asked = parse(text)
    except InvalidError as fault:
        raise OAuthError("invalid_scope", fault.issues[0].diagnostics) from fault
    found = narrowed(asked, client.allowed)
    grants = tuple(each for each in found.grants if (each.level == "system") == is_system)
    found = msgspec.structs.replace(found, grants=grants, client=client.id)
    if not found.grants and (is_system or not found.plain):
        raise OAuthError("invalid_scope", "none of the scopes is registered for this client")
    return found


def needs_patient(scopes: Scopes) -> bool:
    """Whether the app works with one person's record, who must be chosen where none is given."""
    return "launch/patient" in scopes.plain or any(
        grant.level == "patient" for grant in scopes.grants
    )


def answer(address: str, values: Mapping[str, str], issuer: str) -> str:
    """The redirect address with the answer and the issuer (RFC 9207) in its query."""
    parts = urlsplit(address)
    pairs = [*parse_qsl(parts.query, keep_blank_values=True)]
    pairs += [(name, value) for name, value in values.items() if value]
    return urlunsplit(parts._replace(query=urlencode([*pairs, ("iss", issuer)])))


def ticked(asked: Scopes, chosen: Iterable[str]) -> Scopes:
    """What a person left ticked on the consent screen: never more than was asked. Rights are
    ticked one by one as `patient/Observation.r`; what is no right to records stays.
    """
    marks = set(chosen)
    grants = []
    for grant in asked.grants:
        letters = "".join(each for each in grant.letters if tick(grant.text(), each) in marks)
        if letters:
            grants.append(msgspec.structs.replace(grant, letters=letters))
    kept = tuple(
        word
        for word in asked.plain
        if word not in {"offline_access", "online_access"} or word in marks
    )
    return msgspec.structs.replace(asked, grants=tuple(grants), plain=kept)


def ticks_within(asked: Scopes, allowed: Scopes) -> list[str]:
    """The ticks of a request that lie within what was allowed before."""
    ticks = [tick(grant.text(), letter) for grant in asked.grants for letter in grant.letters
             if is_within(grant, letter, allowed)]  # fmt: skip  # One list.
    return ticks + [word for word in asked.plain if word in allowed.plain]


def tick(scope: str, letter: str) -> str:
    """The name of the tick of one right of one scope."""
    return f"{letter} {scope}"
