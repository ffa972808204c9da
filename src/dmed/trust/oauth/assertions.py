"""How a confidential client proves itself: private_key_jwt (RFC 7523, SMART backend services).

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from dmed.trust.oauth import tables
from dmed.trust.oauth.clients import CONFIDENTIAL, Client, Clients, key_set
from dmed.trust.oauth.errors import OAuthError
from dmed.trust.tables import Connection

KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ["ES256", "ES384", "RS384"]
LIFETIME_MAX_S = 300
_LEEWAY_S = 30
_TEXT_MAX = 8192
_JTI_MAX = 200


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """What the JWT must say."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int
    jti: str
    iat: int = 0
    nbf: int = 0


async def authenticated(
    connection: Connection, form: Mapping[str, str], audiences: tuple[str, ...]
) -> Client:
    """The client who asks: a public one by its id, a confidential one by its signed assertion.

    OAuthError invalid_client (401) for anything else; the answer does not say which check failed.
    """
    clients = Clients(connection)
    if "client_secret" in form:
        raise _refusal("there are no client secrets here; register a key")
    if "client_assertion" not in form and "client_assertion_type" not in form:
        found = await clients.get(form.get("client_id", ""))
        if found is None or found.kind == CONFIDENTIAL:
            raise _refusal("the client is not known, or must prove itself by private_key_jwt")
        return found
    if form.get("client_assertion_type") != KIND:
        raise _refusal(f"client_assertion_type is {KIND}")
    return await _proven(connection, clients, form, audiences)


async def _proven(
    connection: Connection, clients: Clients, form: Mapping[str, str], audiences: tuple[str, ...]
) -> Client:
    text = form.get("client_assertion", "")
    found = await clients.get(_claimed_issuer(text))
    if found is None or found.kind != CONFIDENTIAL:
        raise _refusal("the assertion is not accepted")
    if form.get("client_id", found.id) != found.id:
        raise _refusal("client_id is not that of the assertion")
    try:
        decoded = jwt.decode(text, key_set(found), algorithms=ALGORITHMS)
        said = msgspec.convert(decoded.claims, Assertion)
    except (JoseError, ValueError, msgspec.ValidationError) as error:
        raise _refusal("the assertion is not accepted") from error
    at = time.time()
    named = [said.aud] if isinstance(said.aud, str) else said.aud
    if (
        said.iss != found.id
        or said.sub != found.id
        or not set(named) & set(audiences)
        or not at < said.exp <= at + LIFETIME_MAX_S + _LEEWAY_S
        or said.iat > at + _LEEWAY_S
        or said.nbf > at + _LEEWAY_S
        or not 1 <= len(said.jti) <= _JTI_MAX
    ):
        raise _refusal("the assertion is not accepted: iss, sub, aud, exp (5 minutes) or jti")
    if not await tables.use_jti(
        connection, found.id, said.jti, datetime.fromtimestamp(said.exp + _LEEWAY_S, UTC)
    ):
        raise _refusal("the assertion was used before")
    return found


def _claimed_issuer(text: str) -> str:
    """Whose keys are to be tried; nothing of it is believed before the signature holds."""
    if len(text) > _TEXT_MAX or text.count(".") != 2:
        raise _refusal("the assertion is no JWT")
    try:
        middle = text.split(".")[1]
        raw = base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))
        return str(msgspec.json.decode(raw, type=dict[str, object]).get("iss", ""))
    except (ValueError, msgspec.DecodeError) as error:
        raise _refusal("the assertion is no JWT") from error


def _refusal(description: str) -> OAuthError:
    return OAuthError("invalid_client", description, 401)
