"""Apps over HTTP: consent, code, tokens, rotation, revocation, systems, and what is refused."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
import pytest_asyncio
from access_browser import Browser
from access_oauth import (
    BACK,
    BASE,
    SCOPES,
    allowed,
    asking,
    exchanged,
    token,
    told,
)
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from dmed.apps.web import Platform
from dmed.trust import keys as key_files
from dmed.trust.identity import Account
from dmed.trust.model import Role, Subject
from dmed.trust.oauth.clients import CONFIDENTIAL, Client

SYSTEM_KEY = ECKey.generate_key("P-384", {"kid": "one"})
RSA_KEY = RSAKey.generate_key(2048, {"kid": "two"})
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def patient(platform: Platform) -> str:
    """Two registered clients, and a person whose record an app may get; the person's id."""
    await platform.guard.clients.save(
        Client(id="app", name="Growth chart", redirect_uris=(BACK,), scopes=f"launch {SCOPES}",
               launch_uri="https://app.example/launch")
    )  # fmt: skip  # One struct.
    public = {"keys": [SYSTEM_KEY.as_dict(private=False), RSA_KEY.as_dict(private=False)]}
    await platform.guard.clients.save(
        Client(id="lab", name="Laboratory", kind=CONFIDENTIAL, account="service",
               scopes="system/Observation.crus", keys=msgspec.json.encode(public).decode())
    )  # fmt: skip  # Same.
    who = Subject(user="registrar", role=Role.REGISTRAR)
    born: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Karimov"}]}
    return (await platform.gateway.create(who, "Patient", born)).id


async def test_standalone_launch(platform: Platform, patient: str) -> None:
    """Consent, code, tokens: the context, an id_token by our key, and userinfo."""
    async with Browser(platform) as here:
        away = await here.get("/oauth/authorize", params=asking())
        assert away.headers["location"].startswith("/signin?next=%2Foauth%2Fauthorize%3F")
        await here.enter("doctor")
        answer = await allowed(here, patient)
        got = (await exchanged(platform, answer["code"])).json()
        bearer = {"Authorization": f"Bearer {got['access_token']}"}
        keys = KeySet.import_key_set((await here.get("/oauth/jwks")).json())
        said = await here.get("/oauth/userinfo", headers=bearer)
        page = await here.get("/me", headers=bearer)

    claims = jwt.decode(got["id_token"], keys, algorithms=["ES256"]).claims
    assert (answer["state"], answer["iss"]) == ("s1", BASE)
    assert (got["patient"], got["expires_in"], got["token_type"]) == (patient, 600, "Bearer")
    assert set(got["scope"].split()) == set(SCOPES.split())
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (BASE, "app", "n1")
    assert said.json()["preferred_username"] == "doctor"
    assert page.status_code == 403


async def test_a_token_of_an_app_carries_its_scopes(platform: Platform, patient: str) -> None:
    """The subject of the token is the person, narrowed by what was allowed."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        code = (await allowed(here, patient, scope="launch/patient patient/*.rs"))["code"]
    got = (await exchanged(platform, code)).json()
    subject = await platform.guard.identity.bearer(got["access_token"].encode())

    assert (subject.user, subject.scopes.client, subject.scopes.patient) == (
        "doctor", "app", patient,
    )  # fmt: skip  # Three facts.
    assert "refresh_token" not in got
    assert "id_token" not in got


async def test_what_is_not_ticked_is_not_given(platform: Platform, patient: str) -> None:
    """The consent screen narrows letter by letter; a forged tick adds nothing."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        page = (await here.get("/oauth/authorize", params=asking())).headers["location"]
        number = page.partition("request=")[2]
        await here.submit("/oauth/patient", page, request=number, patient=patient)
        ticks = ["r patient/*.rs", "d patient/*.rs", "r system/*.rs"]
        fields = {"request": number, "answer": "allow", "tick": ticks}
        answer = await here.submit("/oauth/consent", page, **fields)
        again = await here.post("/oauth/consent", data={"csrf_token": await here.csrf()})
    got = (await exchanged(platform, told(answer)["code"])).json()

    assert got["scope"] == "openid fhirUser profile launch/patient patient/*.r"
    assert again.status_code == 303  # The request is over: the door.


async def test_no_is_no(platform: Platform, patient: str) -> None:
    """A refusal goes back to the app as access_denied."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        page = (await here.get("/oauth/authorize", params=asking())).headers["location"]
        answer = await here.submit("/oauth/consent", page, request=page.partition("request=")[2],
                                 answer="deny")  # fmt: skip  # One call.

    assert told(answer)["error"] == "access_denied"


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"code_challenge_method": "plain"}, "invalid_request"),
     ({"code_challenge": ""}, "invalid_request"), ({"aud": "https://else"}, "invalid_request"),
     ({"response_type": "token"}, "unsupported_response_type"),
     ({"scope": "patient/Nothing.rs"}, "invalid_scope"),
     ({"scope": "user/*.cruds"}, "invalid_scope"),
     ({"launch": "made-up", "scope": "launch patient/*.rs"}, "invalid_request"),
     ({"request": "x.y.z"}, "request_not_supported")],
)  # fmt: skip  # A table of cases.
async def test_bad_requests_go_back_to_the_app(
    platform: Platform, patient: str, changes: dict[str, str], error: str
) -> None:
    """Each fault by its code, with state and issuer."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        answer = told(await here.get("/oauth/authorize", params=asking(**changes)))

    assert (answer["error"], answer["state"], answer["iss"]) == (error, "s1", BASE)


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "nobody"}, {"redirect_uri": BACK + "/x"}, {"redirect_uri": "https://evil.ex"}],
)
async def test_nothing_is_sent_to_strange_addresses(
    platform: Platform, patient: str, changes: dict[str, str]
) -> None:
    """Where client or address are not registered, the fault is shown here."""
    async with Browser(platform) as here:
        answer = await here.get("/oauth/authorize", params=asking(**changes))

    assert answer.status_code == 400


async def test_a_code_works_once(platform: Platform, patient: str) -> None:
    """Coming twice it ends what came of it; wrong verifier, address or client get nothing."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        for changes in ({"code_verifier": "x" * 43}, {"redirect_uri": "https://else"}):
            code = (await allowed(here, patient))["code"]
            assert (await exchanged(platform, code, **changes)).json()["error"] == "invalid_grant"
        code = (await allowed(here, patient))["code"]
    first = (await exchanged(platform, code)).json()
    second = await exchanged(platform, code)
    later = await token(platform, grant_type="refresh_token", client_id="app",
                        refresh_token=first["refresh_token"])  # fmt: skip  # One call.

    assert second.status_code == 400
    assert later.json()["error"] == "invalid_grant"
    assert await _refused(platform, first["access_token"])


async def _refused(platform: Platform, text: str) -> bool:
    platform.guard.identity._epoch_due = 0.0
    async with Browser(platform) as client:
        answer = await client.get("/fhir/Patient/x", headers={"Authorization": f"Bearer {text}"})
    return answer.status_code == 401


async def test_refresh_tokens_rotate_and_reuse_ends_all(platform: Platform, patient: str) -> None:
    """Each is good once; the second use of one ends the newest too."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        code = (await allowed(here, patient))["code"]
    first = (await exchanged(platform, code)).json()

    async def refreshed(text: str, **more: str) -> httpx.Response:
        return await token(platform, grant_type="refresh_token", client_id="app",
                           refresh_token=text, **more)  # fmt: skip  # One call.

    second = (await refreshed(first["refresh_token"], scope="patient/Patient.r")).json()
    third = (await refreshed(second["refresh_token"])).json()
    reused = await refreshed(first["refresh_token"])
    after = await refreshed(third["refresh_token"])

    assert second["scope"] == "patient/Patient.r"
    assert "patient/*.rs" in third["scope"]
    assert (reused.status_code, after.status_code) == (400, 400)
    assert await _refused(platform, third["access_token"])


async def test_a_person_takes_an_app_back(platform: Platform, patient: str) -> None:
    """From my page: the refresh token and the access token are worth nothing."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        code = (await allowed(here, patient))["code"]
        got = (await exchanged(platform, code)).json()
        shown = (await here.get("/me")).text
        for family in re.findall(r'name="app" value="([^"]+)"', shown):
            await here.submit("/me/apps/end", "/me", app=family)

    assert "Growth chart" in shown
    assert await _refused(platform, got["access_token"])


async def test_the_platform_opens_an_app_once(platform: Platform, patient: str) -> None:
    """EHR launch: the patient comes with it, for this person and app, a single time."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        opened = await here.submit("/apps", client="app", patient=patient)
        launch = parse_qs(urlsplit(opened.headers["location"]).query)
        changes = {"launch": launch["launch"][0], "scope": "launch patient/*.rs"}
        page = (await here.get("/oauth/authorize", params=asking(**changes))).headers["location"]
        answer = await here.submit("/oauth/consent", page, request=page.partition("request=")[2],
                                 answer="allow", tick=["r patient/*.rs"])  # fmt: skip  # One call.
        again = told(await here.get("/oauth/authorize", params=asking(**changes)))
    got = (await exchanged(platform, told(answer)["code"])).json()

    assert launch["iss"] == [f"{BASE}/fhir"]
    assert got["patient"] == patient
    assert again["error"] == "invalid_request"


def assertion(key: ECKey | RSAKey = SYSTEM_KEY, alg: str = "ES384", **changes: Any) -> str:
    """A signed assertion of the laboratory."""
    claims = {"iss": "lab", "sub": "lab", "aud": f"{BASE}/oauth/token", "jti": secrets.token_hex(),
              "exp": int(time.time()) + 60, **changes}  # fmt: skip  # One JWT.
    return jwt.encode({"alg": alg, "kid": key.kid, "typ": "JWT"}, claims, key, [alg])


async def by_system(platform: Platform, text: str, **changes: str) -> httpx.Response:
    """Client credentials."""
    return await token(platform, **{
        "grant_type": "client_credentials", "scope": "system/Observation.rs",
        "client_assertion_type": ASSERTION, "client_assertion": text, **changes})  # fmt: skip


@pytest.mark.parametrize(("key", "alg"), [(SYSTEM_KEY, "ES384"), (RSA_KEY, "RS384")])
async def test_a_system_proves_itself_by_its_key(
    platform: Platform, patient: str, key: ECKey | RSAKey, alg: str
) -> None:
    """Backend services: a short token of its registered scopes; the assertion works once."""
    text = assertion(key, alg)
    got = (await by_system(platform, text)).json()
    replayed = await by_system(platform, text)
    subject = await platform.guard.identity.bearer(got["access_token"].encode())

    assert (got["scope"], got["expires_in"]) == ("system/Observation.rs", 300)
    assert (subject.user, subject.scopes.client) == ("service", "lab")
    assert (replayed.status_code, replayed.json()["error"]) == (401, "invalid_client")


async def test_assertions_that_prove_nothing(platform: Platform, patient: str) -> None:
    """Wrong audience, issuer, life, key, algorithm: each refused alike."""
    stranger = ECKey.generate_key("P-384", {"kid": "one"})
    for text in (
        assertion(aud="https://else/token"), assertion(sub="app"), assertion(iss="app"),
        assertion(exp=int(time.time()) - 1), assertion(exp=int(time.time()) + 4000),
        assertion(jti=""), assertion(stranger), "a.b.c", "",
    ):  # fmt: skip  # A list of cases.
        answer = await by_system(platform, text)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), text
    wide = await by_system(platform, assertion(), scope="system/Patient.rs")
    secret = await by_system(platform, assertion(), client_secret="x")
    assert wide.json()["error"] == "invalid_scope"
    assert secret.status_code == 401


async def test_introspection_and_revocation(platform: Platform, patient: str) -> None:
    """A system asks what a token says; a token given back is worth nothing."""
    text = (await by_system(platform, assertion())).json()["access_token"]
    proof = {"client_assertion_type": ASSERTION, "token": text}
    async with Browser(platform) as client:
        before = await client.post("/oauth/introspect",
                                   data={**proof, "client_assertion": assertion()})
        public = await client.post("/oauth/introspect", data={"client_id": "app", "token": text})
        gone = await client.post("/oauth/revoke", data={**proof, "client_assertion": assertion()})
        platform.guard.identity._epoch_due = 0.0
        after = await client.post("/oauth/introspect",
                                  data={**proof, "client_assertion": assertion()})  # fmt: skip

    assert before.json()["active"] is True
    assert before.json()["scope"] == "system/Observation.rs"
    assert (public.status_code, gone.status_code) == (401, 200)
    assert after.json() == {"active": False}


async def test_documents_tell_the_same_story(platform: Platform) -> None:
    """Every address of the discovery documents is served, below the FHIR base too."""
    async with Browser(platform) as client:
        oidc = (await client.get("/.well-known/openid-configuration")).json()
        smart = await client.get("/fhir/.well-known/smart-configuration")
        capability = (await client.get("/fhir/metadata")).json()
        for name in ("token", "introspection", "revocation"):
            answer = await client.post(urlsplit(oidc[f"{name}_endpoint"]).path)
            assert answer.status_code in {400, 401}, name
    security = capability["rest"][0]["security"]

    assert oidc["issuer"] == BASE
    assert smart.headers["content-type"].startswith("application/json")
    assert smart.json()["code_challenge_methods_supported"] == ["S256"]
    assert security["extension"][0]["extension"][0]["valueUri"] == oidc["authorization_endpoint"]


async def test_other_origins_must_be_registered(platform: Platform, patient: str) -> None:
    """A browser app of a registered origin may ask; any other hears nothing."""
    name = "access-control-allow-origin"
    async with Browser(platform) as client:
        asked = {"Access-Control-Request-Method": "GET", "Origin": "https://app.example"}
        ready = await client.options("/fhir/Patient", headers=asked)
        evil = await client.options("/fhir/Patient", headers={**asked, "Origin": "https://evil.ex"})
        answer = await client.get("/fhir/Patient", headers={"Origin": "https://app.example"})
        page = await client.get("/signin", headers={"Origin": "https://app.example"})

    assert (ready.status_code, ready.headers[name]) == (204, "https://app.example")
    assert (answer.status_code, answer.headers[name]) == (401, "https://app.example")
    assert name not in evil.headers
    assert name not in page.headers
    assert "access-control-allow-credentials" not in answer.headers


async def test_keys_rotate_without_a_restart(platform: Platform) -> None:
    """What the old key signed is accepted until it ends; a compromised key signs nothing more."""
    identity, keys = platform.guard.identity, platform.guard.keys
    old = await identity.issue_token("doctor")
    number = key_files.rotate(platform.settings.data)
    keys._due = 0.0
    new = await identity.issue_token("doctor")

    assert keys.number == number
    assert len(keys.public()["keys"]) == 2
    assert (await identity.bearer(old.encode())).user == "doctor"
    assert (await identity.bearer(new.encode())).user == "doctor"
    key_files.rotate(platform.settings.data, is_compromised=True)
    keys._due = 0.0
    identity._known.clear()
    assert len(keys.public()["keys"]) == 1
    assert await _refused(platform, old)
    assert await _refused(platform, new)


async def test_a_remembered_app_is_let_in_until_it_wants_more(
    platform: Platform, patient: str
) -> None:
    """No question for what was allowed; one for a wider wish, for prompt=consent, after forgetting.

    A right that was not ticked is not given without a question either.
    """
    some = SCOPES.replace(" user/Practitioner.rs", "")
    async with Browser(platform) as here:
        await here.enter("doctor")

        async def asked(**changes: str) -> str:
            away = await here.get("/oauth/authorize", params=asking(**{"scope": some, **changes}))
            page = away.headers["location"]
            number = page.partition("request=")[2]
            return (await here.submit(
                "/oauth/patient", page, request=number, patient=patient)).headers["location"]

        page = await asked()
        ticks = re.findall(r'name="tick" value="([^"]+)"', (await here.get(page)).text)
        left = [each for each in ticks if each != "s patient/*.rs"]
        await here.submit("/oauth/consent", page, request=page.partition("request=")[2],
                          answer="allow", tick=left, remember="1")
        again = await asked()
        got = (await exchanged(platform, parse_qs(urlsplit(again).query)["code"][0])).json()
        listed = (await here.get("/me")).text
        wider = await asked(scope=SCOPES)
        prompted = await here.get("/oauth/authorize", params=asking(prompt="consent"))
        silent = await here.get("/oauth/authorize", params=asking(
            prompt="none", scope="openid patient/*.rs launch/patient"))
        await here.submit("/me/apps/forget", "/me", client="app")
        forgotten = await asked()
        refused = await token(platform, grant_type="refresh_token", client_id="app",
                              refresh_token=got["refresh_token"])

    assert again.startswith(BACK)
    assert "patient/*.r " in f'{got["scope"]} '
    assert "/me/apps/forget" in listed
    assert wider.startswith("/oauth/consent")
    assert prompted.headers["location"].startswith("/oauth/consent")
    assert "error=consent_required" in silent.headers["location"]
    assert forgotten.startswith("/oauth/consent")
    assert refused.status_code == 400


async def test_a_citizen_lets_an_app_into_the_own_record_alone(
    platform: Platform, patient: str
) -> None:
    """The person to choose is the citizen; another's record cannot be chosen."""
    who = Subject(user="registrar", role=Role.REGISTRAR)
    born: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "O‘zim"}]}
    own = (await platform.gateway.create(who, "Patient", born)).id
    await platform.guard.identity.save(
        Account(user="citizen", role=Role.CITIZEN, patient=own, demo=True), "citizen-demo")
    async with Browser(platform) as here:
        await here.enter("citizen")
        page = (await here.get("/oauth/authorize", params=asking())).headers["location"]
        shown = (await here.get(page)).text
        number = page.partition("request=")[2]
        foreign = await here.submit("/oauth/patient", page, request=number, patient=patient)
        answer = await allowed(here, own)
        got = (await exchanged(platform, answer["code"])).json()
        bearer = {"Authorization": f"Bearer {got['access_token']}"}
        mine = await here.get(f"/fhir/Patient/{own}", headers=bearer)
        other = await here.get(f"/fhir/Patient/{patient}", headers=bearer)

    assert (own in shown, patient in shown) == (True, False)
    assert (foreign.status_code, mine.status_code, other.status_code) == (404, 200, 404)


async def test_a_password_is_changed_on_a_page_of_ones_own(platform: Platform) -> None:
    """A bad new one says why in words; a good one is taken; a demo account's stays."""
    old, new = "ko'k daryo bo'yida 7", "uchta sariq tulpor!"
    await platform.guard.identity.save(Account(user="lola", role=Role.PHARMACIST), old)
    async with Browser(platform) as here:
        await here.enter("lola", password=old)
        page = "/me/password"
        differs = await here.submit(page, page, old=old, new=new, again="other")
        common = await here.submit(page, page, old=old, new="password-2026", again="password-2026")
        wrong = await here.submit(page, page, old="nope", new=new, again=new)
        taken = await here.submit(page, page, old=old, new=new, again=new)
    async with Browser(platform) as there:
        await there.enter("pharmacist")
        demo = await there.submit(page, page, old="pharmacist-demo", new=new, again=new)

    assert (differs.status_code, common.status_code, wrong.status_code) == (422, 422, 401)
    assert (taken.status_code, demo.status_code) == (200, 403)
