"""How strongly somebody has proved who he is, and whether that is enough: acr and auth_time.

A token of an app carries both from the page session in which it was allowed (RFC 9068, 2.2.1). A
role that signs in with a second factor only is served by such tokens alone; what is missing is
told as https://www.rfc-editor.org/rfc/rfc9470 asks, so that the app can send its person to prove
it. An app that wants a fresh proof asks by `max_age` or `prompt=login` (OpenID Connect Core,
3.1.2.1); `acr_values` is a wish, and who has a second factor always comes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from dmed.kit.errors import UnauthorizedError
from dmed.trust.oauth.errors import OAuthError

TWO_FACTORS = "urn:dmed:acr:mfa"
PASSWORD = "urn:dmed:acr:pwd"  # noqa: S105  # A name of a strength.
VALUES = (TWO_FACTORS, PASSWORD)
"""What `acr` may be, strongest first."""
FRESH_SECONDS = 300
"""`prompt=login`: so old may a sign-in be that was made for it."""


def acr_of(*, has_factor: bool) -> str:
    """The strength of an open session of an account: a factor that is set was asked for."""
    return TWO_FACTORS if has_factor else PASSWORD


def check(acr: str, *, is_demanded: bool) -> None:
    """UnauthorizedError, with the challenge of RFC 9470, for a token of too weak a sign-in."""
    if is_demanded and acr != TWO_FACTORS:
        raise UnauthorizedError(
            "The person signed in without a second factor, which this role demands: sign in anew",
            headers={"WWW-Authenticate": 'Bearer error="insufficient_user_authentication", '
                     f'acr_values="{TWO_FACTORS}"'})  # fmt: skip  # One header.


def prompts(given: Mapping[str, str]) -> list[str]:
    """What an authorization request asks to be put before its person: none, login, consent."""
    return given.get("prompt", "").split()


def age_max(given: Mapping[str, str]) -> int | None:
    """How many seconds ago the sign-in may have been for an authorization request; None: any.

    OAuthError for a `max_age` that is no number.
    """
    text = given.get("max_age", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise OAuthError("invalid_request", "max_age is a number of seconds")
    if "login" in prompts(given):
        return min(FRESH_SECONDS, int(text)) if text else FRESH_SECONDS
    return int(text) if text else None


def must_prove(given: Mapping[str, str], signed_in: datetime, at: datetime) -> bool:
    """Whether a request asks for a fresher sign-in than this session's."""
    most = age_max(given)
    is_late = most is not None and at - signed_in > timedelta(seconds=most)
    return is_late or "login" in prompts(given)


def proved(given: Mapping[str, str]) -> dict[str, str]:
    """The request as it comes back from the door: `prompt=login` is asked once, and then stands
    as an age that a sign-in of just now has not reached.
    """
    if "login" not in prompts(given):
        return dict(given)
    rest = " ".join(word for word in prompts(given) if word != "login")
    found = {name: value for name, value in given.items() if name != "prompt"}
    return {**found, **({"prompt": rest} if rest else {}), "max_age": str(age_max(given))}
