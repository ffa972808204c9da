"""Bearer tokens: short-lived JWT signed ES256, made and checked here.

JWT: https://www.rfc-editor.org/rfc/rfc7519, access-token profile: https://www.rfc-editor.org/rfc/rfc9068
Here DPoP (RFC 9449) would bind a token to its holder's key: one claim `cnf`, looked at in `check`.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol

from dmed.kit.errors import UnauthorizedError
from dmed.kit.ids import secret
from dmed.trust.keys import RETIRED_KEPT_S, RETIRED_TOKENS_S, Keys
from dmed.trust.model import Role, Subject

LIFETIME_S = 3600
LIFETIME_MAX_S = 12 * 3600
TOKEN_MAX_BYTES = 8192
_LEEWAY_S = 5
DEVICE_LIFETIME_S = 365 * 86_400
_DEVICE_USERS_MAX = 16


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says; the account behind `sub` is looked up when it is first seen."""

    iss: str
    aud: str
    sub: str
    role: Role
    exp: int
    iat: int
    jti: str
    organisation: str = ""
    post: str = ""
    """Id of the PractitionerRole that was chosen."""
    client_id: str = ""
    """The app; "" for a token of the platform itself, which no scopes narrow."""
    scope: str = ""
    patient: str = ""
    encounter: str = ""
    family: str = ""
    """The consent it stems from; when that ends, so do all its tokens."""
    acr: str = ""
    """How strongly its person had signed in (trust.strength)."""
    auth_time: int = 0
    """When; 0 where no person did."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A browser on which somebody signed in before; `users` are digests of their sign-in names."""

    jti: str
    users: tuple[str, ...] = ()
    exp: int = 0

    def knows(self, user: str) -> bool:
        """Whether this user has signed in here before."""
        return _name_digest(user) in self.users


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of an app carries besides its subject."""

    client: str = ""
    scope: str = ""
    patient: str = ""
    encounter: str = ""
    family: str = ""
    acr: str = ""
    auth_time: int = 0


NOTHING = Given()


def issuer(public_url: str) -> str:
    """Who signs: the public address of the installation, or a fixed name where none is set."""
    return public_url.rstrip("/") or "urn:dmed"


def make(
    keys: Keys,
    subject: Subject,
    public_url: str,
    lifetime_s: int = LIFETIME_S,
    given: Given = NOTHING,
) -> str:
    """A signed token for a subject; lives `lifetime_s` seconds, at most twelve hours."""
    at = int(time.time())
    claims = Claims(
        iss=issuer(public_url),
        aud=issuer(public_url) + "/fhir",
        sub=subject.user,
        role=subject.role,
        organisation=subject.organisation,
        post=subject.practitioner_role,
        iat=at,
        exp=at + min(lifetime_s, LIFETIME_MAX_S),
        jti=secret(128),
        client_id=given.client,
        scope=given.scope,
        patient=given.patient,
        encounter=given.encounter,
        family=given.family,
        acr=given.acr,
        auth_time=given.auth_time,
    )
    return signed(keys, "at+jwt", msgspec.to_builtins(claims))


def signed(keys: Keys, kind: str, claims: dict[str, Any]) -> str:
    """A JWT of ours of a kind (`typ`)."""
    return jwt.encode({"alg": "ES256", "kid": keys.number, "typ": kind}, claims, keys.signing)


def check(keys: Keys, token: bytes, public_url: str) -> Claims:
    """The claims of a token that we signed, for us, and that has not ended.

    Raises UnauthorizedError for anything else; the answer never says which check failed.
    """
    refusal = UnauthorizedError("The bearer token is not accepted")
    try:
        claims = msgspec.convert(_opened(keys, token, "at+jwt", RETIRED_TOKENS_S), Claims)
    except (JoseError, ValueError, msgspec.ValidationError) as error:
        raise refusal from error
    expected = issuer(public_url)
    at = time.time()
    if (
        claims.iss != expected
        or claims.aud != expected + "/fhir"
        or claims.exp <= at
        or claims.iat > at + _LEEWAY_S
        or claims.exp - claims.iat > LIFETIME_MAX_S
    ):
        raise refusal
    return claims


def _opened(keys: Keys, token: bytes, kind: str, retired_s_max: float) -> dict[str, Any]:
    """The claims of a JWT of this kind by one of our keys; JoseError or ValueError otherwise."""
    if len(token) > TOKEN_MAX_BYTES:
        raise ValueError("too long")

    def key_of(guest: GuestProtocol) -> ECKey:
        found = keys.verifying(str(guest.headers().get("kid")), retired_s_max=retired_s_max)
        if found is None:
            raise ValueError("no key of ours")
        return found

    # The algorithm is ours to choose, never the token's: "none" and HS256 fail here.
    decoded = jwt.decode(token.decode("ascii"), key_of, algorithms=["ES256"])
    if decoded.header.get("typ") != kind:
        raise ValueError("another kind")
    return decoded.claims


def made_device(known: Device | None) -> Device:
    """The browser that is known, or a new one."""
    return known or Device(jti=secret(128))


def make_device(keys: Keys, known: Device | None, user: str) -> str:
    """The signed device cookie after `user` ("": nobody yet) has signed in; the newest sixteen
    users are kept.
    """
    device = made_device(known)
    users = [*([_name_digest(user)] if user else []), *device.users]
    claims = Device(
        jti=device.jti,
        users=tuple(dict.fromkeys(users))[:_DEVICE_USERS_MAX],
        exp=int(time.time()) + DEVICE_LIFETIME_S,
    )
    return signed(keys, "device+jwt", msgspec.to_builtins(claims))


def check_device(keys: Keys, text: str) -> Device | None:
    """The device of a cookie that we signed, or None for anything else."""
    if not text:
        return None
    try:
        found = _opened(keys, text.encode(), "device+jwt", RETIRED_KEPT_S)
        device = msgspec.convert(found, Device)
    except (JoseError, ValueError, msgspec.ValidationError):
        return None
    return device if device.exp > time.time() else None


def _name_digest(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()[:16]
