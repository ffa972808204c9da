"""How strongly a person signed in: what an app may ask for, is told, and is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import pytest_asyncio
from access_browser import Browser, code
from access_oauth import BACK, CHALLENGE, asking, exchanged, told

from dmed.apps.web import Platform
from dmed.trust import strength, tokens
from dmed.trust.identity import Account
from dmed.trust.model import Role
from dmed.trust.oauth.clients import Client
from dmed.trust.oauth.errors import OAuthError

WORD = "uchta sariq tulpor!"
AT = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app(platform: Platform) -> str:
    """A client that asks who somebody is; its id."""
    await platform.guard.clients.save(Client(
        id="who", name="Who is it", redirect_uris=(BACK,),
        scopes="openid profile user/Practitioner.rs"))
    await platform.guard.identity.save(
        Account(user="malika-r", role=Role.REGISTRAR, name="Malika R"), WORD)
    return "who"


@pytest.mark.parametrize(("given", "age_seconds", "is_asked"), [
    ({}, 10**6, False), ({"max_age": "60"}, 59, False), ({"max_age": "60"}, 61, True),
    ({"max_age": "0"}, 1, True), ({"prompt": "login"}, 0, True),
    ({"prompt": "consent login", "max_age": "9999"}, 1, True), ({"prompt": "none"}, 10**6, False)])
def test_when_a_sign_in_is_asked_for(
    given: dict[str, str], age_seconds: int, is_asked: bool
) -> None:
    """Beyond max_age and for prompt=login; what comes back from the door is content at once."""
    assert strength.must_prove(given, AT - timedelta(seconds=age_seconds), AT) is is_asked
    assert not strength.must_prove({**strength.proved(given), "max_age": "3"}, AT, AT)
    assert "login" not in strength.proved(given).get("prompt", "")


@pytest.mark.parametrize("text", ["-1", "1.5", "soon", "٣", "9" * 10])
def test_a_strange_age_is_refused(text: str) -> None:
    """max_age is a number of seconds."""
    with pytest.raises(OAuthError):
        strength.age_max({"max_age": text})


async def test_prompt_login_leads_through_the_door_once(platform: Platform, app: str) -> None:
    """The session ends, the door leads back, and the app learns the time of the new sign-in; one
    that may not be asked is told so.
    """
    wish = {"client_id": app, "scope": "openid user/Practitioner.rs"}
    async with Browser(platform) as here:
        await here.enter("doctor")
        away = await here.get("/oauth/authorize", params=asking(**wish, prompt="login"))
        assert (await here.get("/me")).status_code in {303, 401}
        back = unquote(away.headers["location"].partition("next=")[2])
        before = int(datetime.now(UTC).timestamp())
        await here.enter("doctor")
        led = (await here.get(back)).headers["location"]
        got = (await exchanged(platform, await agreed(here, led), client_id=app)).json()
        silent = await here.get("/oauth/authorize", params=asking(
            **wish, prompt="none", max_age="0"))
    given = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    assert (given["max_age"], "prompt" in given, given["code_challenge"]) == (
        "300", False, CHALLENGE.decode())
    assert platform.guard.identity.claims(got["access_token"].encode()).auth_time >= before
    assert told(silent)["error"] == "login_required"


async def let_in(here: Browser, app: str) -> str:
    """Through the consent screen with every tick: the code."""
    wish = asking(client_id=app, scope="openid user/Practitioner.rs")
    return await agreed(here, (await here.get("/oauth/authorize", params=wish)).headers["location"])


async def agreed(here: Browser, page: str) -> str:
    """Every tick of a consent screen: the code."""
    number = page.partition("request=")[2]
    ticks = ["r user/Practitioner.rs", "s user/Practitioner.rs"]
    answer = await here.submit("/oauth/consent", page, request=number, answer="allow", tick=ticks)
    return told(answer)["code"]


async def test_tokens_say_how_and_when(platform: Platform, app: str) -> None:
    """A sign-in by password alone is told as such; a demo account is let off as at the door."""
    before = int(datetime.now(UTC).timestamp())
    async with Browser(platform) as here:
        await here.enter("doctor")
        got = (await exchanged(platform, await let_in(here, app), client_id=app)).json()
    token = got["access_token"].encode()
    claims = platform.guard.identity.claims(token)

    assert claims.acr == strength.PASSWORD
    assert before <= claims.auth_time <= claims.iat
    assert (await platform.guard.identity.bearer(token)).user == "doctor"


async def test_a_token_without_second_factor_is_refused_where_one_is_demanded(
    platform: Platform, app: str
) -> None:
    """Registrars need one here: the token of a full sign-in is served, the same of a password
    alone meets the challenge of RFC 9470.
    """
    guard = platform.guard
    async with Browser(platform) as here:
        await here.post("/signin", data={"user": "malika-r", "password": WORD})
        await here.submit("/signin/enrol", code=code((await here.get("/signin/enrol")).text))
        got = (await exchanged(platform, await let_in(here, app), client_id=app)).json()
        claims = guard.identity.claims(got["access_token"].encode())
        given = tokens.Given(client=app, scope=claims.scope, family=claims.family,
                             acr=strength.PASSWORD)
        subject = await guard.identity.subject_of("malika-r")
        weak = tokens.make(guard.keys, subject, platform.settings.public_url, 300, given)
        served, refused = [
            await here.get("/fhir/Practitioner", headers={"Authorization": f"Bearer {each}"})
            for each in (got["access_token"], weak)]

    assert claims.acr == strength.TWO_FACTORS
    assert served.status_code == 200, served.text
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == (
        'Bearer error="insufficient_user_authentication", acr_values="urn:dmed:acr:mfa"')
