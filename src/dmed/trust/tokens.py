"""Bearer tokens: short-lived JWT signed ES256, made and checked here.

JWT: https://www.rfc-editor.org/rfc/rfc7519, access-token profile: https://www.rfc-editor.org/rfc/rfc9068
"""

from __future__ import annotations

import hashlib
import time

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from dmed.kit.errors import UnauthorizedError
from dmed.kit.ids import secret
from dmed.trust.keys import Keys
from dmed.trust.model import Role, Subject

LIFETIME_S = 3600
LIFETIME_MAX_S = 12 * 3600
TOKEN_MAX_BYTES = 4096
_LEEWAY_S = 5
DEVICE_LIFETIME_S = 365 * 86_400
_DEVICE_USERS_MAX = 16


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says; the account behind `sub` is looked up when it is first seen."""

    iss: str
    aud: str
    sub: str
    role: Role
    exp: int
    iat: int
    jti: str
    organisation: str = ""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A browser on which somebody signed in before; `users` are digests of their sign-in names."""

    jti: str
    users: tuple[str, ...] = ()
    exp: int = 0

    def knows(self, user: str) -> bool:
        """Whether this user has signed in here before."""
        return _name_digest(user) in self.users


def issuer(public_url: str) -> str:
    """Who signs: the public address of the installation, or a fixed name where none is set."""
    return public_url.rstrip("/") or "urn:dmed"


def make(keys: Keys, subject: Subject, public_url: str, lifetime_s: int = LIFETIME_S) -> str:
    """A signed token for a subject; lives `lifetime_s` seconds, at most twelve hours."""
    at = int(time.time())
    claims = Claims(
        iss=issuer(public_url),
        aud=issuer(public_url) + "/fhir",
        sub=subject.user,
        role=subject.role,
        organisation=subject.organisation,
        iat=at,
        exp=at + min(lifetime_s, LIFETIME_MAX_S),
        jti=secret(128),
    )
    header = {"alg": "ES256", "kid": keys.number, "typ": "at+jwt"}
    return jwt.encode(header, msgspec.to_builtins(claims), keys.signing)


def check(keys: Keys, token: bytes, public_url: str) -> Claims:
    """The claims of a token that we signed, for us, and that has not ended.

    Raises UnauthorizedError for anything else; the answer never says which check failed.
    """
    refusal = UnauthorizedError("The bearer token is not accepted")
    if len(token) > TOKEN_MAX_BYTES:
        raise refusal
    try:
        # The algorithm is ours to choose, never the token's: "none" and HS256 fail here.
        decoded = jwt.decode(token.decode("ascii"), keys.signing, algorithms=["ES256"])
        claims = msgspec.convert(decoded.claims, Claims)
    except (JoseError, ValueError, msgspec.ValidationError) as error:
        raise refusal from error
    expected = issuer(public_url)
    at = time.time()
    if (
        decoded.header.get("typ") != "at+jwt"
        or claims.iss != expected
        or claims.aud != expected + "/fhir"
        or claims.exp <= at
        or claims.iat > at + _LEEWAY_S
        or claims.exp - claims.iat > LIFETIME_MAX_S
    ):
        raise refusal
    return claims


def make_device(keys: Keys, known: Device | None, user: str) -> str:
    """The signed device cookie after `user` has signed in; the newest sixteen users are kept."""
    users = [_name_digest(user), *(each for each in (known.users if known else ()))]
    claims = Device(
        jti=known.jti if known else secret(128),
        users=tuple(dict.fromkeys(users))[:_DEVICE_USERS_MAX],
        exp=int(time.time()) + DEVICE_LIFETIME_S,
    )
    header = {"alg": "ES256", "kid": keys.number, "typ": "device+jwt"}
    return jwt.encode(header, msgspec.to_builtins(claims), keys.signing)


def check_device(keys: Keys, text: str) -> Device | None:
    """The device of a cookie that we signed, or None for anything else."""
    if not text or len(text) > TOKEN_MAX_BYTES:
        return None
    try:
        decoded = jwt.decode(text, keys.signing, algorithms=["ES256"])
        device = msgspec.convert(decoded.claims, Device)
    except (JoseError, ValueError, msgspec.ValidationError):
        return None
    is_ours = decoded.header.get("typ") == "device+jwt" and device.exp > time.time()
    return device if is_ours else None


def _name_digest(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()[:16]
