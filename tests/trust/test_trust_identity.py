"""Accounts, page sessions and bearer tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import stat
import time

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from dmed.kit.errors import (
    ConflictError,
    DmedError,
    InvalidError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
)
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust import tokens
from dmed.trust.guard import COOKIE, Guard, session_cookie
from dmed.trust.identity import Account, Identity
from dmed.trust.keys import load_keys
from dmed.trust.model import Role


async def test_passwords_and_cookies_lie_as_digests(identity: Identity, database: Database) -> None:
    """The database holds an argon2id hash and the SHA-256 of the cookie, nothing usable."""
    signed = await identity.sign_in("doctor", "doctor-demo", "10.1.0.1")
    secret = await database.hot.fetchval("SELECT secret FROM account WHERE name = 'doctor'")
    assert secret.startswith("$argon2id$")
    digest = hashlib.sha256(signed.cookie.encode()).digest()
    row = await database.hot.fetchrow("SELECT * FROM page_session WHERE digest = $1", digest)
    assert row is not None
    assert signed.cookie not in str(dict(row))
    assert len(base64.urlsafe_b64decode(signed.cookie + "=")) == 32


async def test_a_session_knows_its_subject_until_sign_out(identity: Identity) -> None:
    """A cookie leads to the person and the page token; after sign-out to nobody."""
    signed = await identity.sign_in("pharmacist", "pharmacist-demo", "10.1.0.2")
    session = await identity.session(signed.cookie)
    assert session is not None
    assert (session.subject.user, session.subject.role) == ("pharmacist", Role.PHARMACIST)
    assert session.csrf == signed.csrf
    await identity.set_language(signed.cookie, "ru")
    again = await identity.session(signed.cookie)
    assert again is not None
    assert again.subject.language == "ru"
    with pytest.raises(InvalidError):
        await identity.set_language(signed.cookie, "xx")
    await identity.sign_out(signed.cookie)
    assert await identity.session(signed.cookie) is None
    assert await identity.session("made-up") is None


async def test_a_session_ends_idle_and_in_any_case(identity: Identity, database: Database) -> None:
    """Both limits end a session, whatever the cookie says."""
    for change in ("seen = now() - interval '31 minutes'", "ends = now() - interval '1 second'"):
        signed = await identity.sign_in("doctor", "doctor-demo", "10.1.0.3")
        digest = hashlib.sha256(signed.cookie.encode()).digest()
        await database.hot.execute(f"UPDATE page_session SET {change} WHERE digest = $1", digest)
        assert await identity.session(signed.cookie) is None


async def test_wrong_names_and_passwords_look_the_same(identity: Identity) -> None:
    """Neither the answer nor its time tells whether the name exists."""
    told, times = [], []
    for user in ("doctor", "nobody", "a\0b", "\ud800", "x" * 10_000):
        began = time.perf_counter()
        with pytest.raises(UnauthorizedError) as refused:
            await identity.sign_in(user, "wrong-password", "10.1.0.4")
        times.append(time.perf_counter() - began)
        told.append(str(refused.value))
    assert told[0] == told[1]
    assert min(times) > 0.01, "an unknown name must cost a hash too"


async def test_guessing_is_slowed_and_locks_out_nobody_else(identity: Identity) -> None:
    """After a few failures the address waits; the owner signs in from another one."""
    await _locked(identity, "registrar", "10.6.6.6")
    with pytest.raises(ThrottledError) as throttled:
        await identity.sign_in("registrar", "guess-guess", "10.6.6.6")
    assert int(throttled.value.headers["Retry-After"]) >= 1
    with pytest.raises(ThrottledError):
        await identity.sign_in("registrar", "registrar-demo", "10.6.6.6")
    signed = await identity.sign_in("registrar", "registrar-demo", "10.1.0.5")
    assert signed.subject.user == "registrar"
    colleague = await identity.sign_in("doctor", "doctor-demo", "10.6.6.6")
    assert colleague.subject.user == "doctor"


async def test_parallel_guesses_count_each(identity: Identity) -> None:
    """Forty guesses at once do not slip through together: most are refused unread."""

    async def guess() -> str:
        try:
            await identity.sign_in("admin", "guess-guess", "10.7.7.7")
        except DmedError as refused:
            return type(refused).__name__
        return "in"

    answers = await asyncio.gather(*(guess() for _ in range(40)))
    assert answers.count("UnauthorizedError") <= 6
    assert answers.count("ThrottledError") >= 34


async def test_a_right_password_clears_the_count(identity: Identity) -> None:
    """A person who mistyped a few times starts anew after signing in."""
    for _ in range(2):
        for _ in range(3):
            with pytest.raises(UnauthorizedError):
                await identity.sign_in("doctor", "mistyped-word", "10.1.0.6")
        await identity.sign_in("doctor", "doctor-demo", "10.1.0.6")


async def test_accounts_are_checked_and_closed(identity: Identity) -> None:
    """Names and passwords have rules; a closed account neither signs in nor keeps its session."""
    account = Account(user="temp-1", role=Role.REGISTRAR)
    with pytest.raises(InvalidError):
        await identity.save(account, "short")
    with pytest.raises(InvalidError):
        await identity.save(msgspec.structs.replace(account, user="a b"), "long-enough-1")
    await identity.save(account, "long-enough-1")
    signed = await identity.sign_in("temp-1", "long-enough-1", "10.1.0.7")
    token = await identity.issue_token("temp-1")
    assert (await identity.bearer(token.encode())).user == "temp-1"
    await identity.close_account("temp-1")
    assert await identity.session(signed.cookie) is None
    with pytest.raises(UnauthorizedError):
        await identity.sign_in("temp-1", "long-enough-1", "10.1.0.7")
    identity._epoch_due = 0.0
    with pytest.raises(UnauthorizedError):
        await identity.bearer(token.encode())
    with pytest.raises(NotFoundError):
        await identity.issue_token("temp-1")
    listed = {row["name"]: row for row in await identity.accounts()}
    assert listed["temp-1"]["active"] is False
    assert "secret" not in listed["temp-1"]


async def test_the_first_administrator_comes_once(identity: Identity) -> None:
    """Where accounts exist nobody becomes administrator by the back door."""
    with pytest.raises(ConflictError):
        await identity.first_administrator("root-1", "long-enough-1")


async def test_demo_tokens_are_for_demo_accounts(identity: Identity) -> None:
    """`dmed token` serves demo users and no others."""
    assert await identity.issue_demo_token("doctor")
    await identity.save(Account(user="real-1", role=Role.DOCTOR), "long-enough-1")
    with pytest.raises(InvalidError):
        await identity.issue_demo_token("real-1")
    with pytest.raises(InvalidError):
        await identity.issue_demo_token("nobody")


async def test_a_known_token_costs_about_a_microsecond(identity: Identity) -> None:
    """A verified token is found again by its digest, without signature check or database."""
    token = (await identity.issue_token("doctor")).encode()
    first = await identity.bearer(token)
    assert await identity.bearer(token) is first
    began = time.perf_counter()
    for _ in range(1000):
        identity._epoch_due = time.monotonic() + 100
        await identity.bearer(token)
    assert (time.perf_counter() - began) / 1000 < 0.001, "far from a signature check each time"
    identity._epoch_due = 0.0


async def test_tokens_of_others_are_refused(identity: Identity, settings: Settings) -> None:
    """Foreign keys, `none`, HS256 with our public key, other audiences and ended tokens fail."""
    keys = load_keys(settings.data)
    subject = await identity.subject_of("doctor")
    good = tokens.make(keys, subject, "")
    claims = tokens.check(keys, good.encode(), "")
    raw = msgspec.to_builtins(claims)
    header = {"alg": "ES256", "kid": keys.number, "typ": "at+jwt"}
    foreign = ECKey.generate_key("P-256")
    none = ".".join([
        base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("="),
        good.split(".")[1], ""])  # fmt: skip
    wrong = [
        jwt.encode(header, raw, foreign),
        none,
        _hs256(good, keys.signing.as_pem(private=False)),
        jwt.encode(header, {**raw, "aud": "https://else.example/fhir"}, keys.signing),
        jwt.encode(header, {**raw, "iss": "https://else.example"}, keys.signing),
        jwt.encode(header, {**raw, "exp": int(time.time()) - 1}, keys.signing),
        jwt.encode(header, {**raw, "exp": int(time.time()) + 10**6}, keys.signing),
        jwt.encode({**header, "typ": "JWT"}, raw, keys.signing),
        jwt.encode(header, {**raw, "role": "emperor"}, keys.signing),
        jwt.encode(header, {**raw, "role": "administrator"}, keys.signing),
        jwt.encode(header, {**raw, "sub": "nobody"}, keys.signing),
        good[:-4] + "AAAA",
    ]
    for token in wrong:
        with pytest.raises(UnauthorizedError):
            await identity.bearer(token.encode())
    assert (await identity.bearer(good.encode())).user == "doctor"


def _hs256(token: str, secret: bytes) -> str:
    """The claims of a token, signed with our public key as if it were a shared secret."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"at+jwt"}').decode().rstrip("=")
    signed = f"{head}.{token.split('.')[1]}"
    mark = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


async def test_the_signing_key_is_a_private_file(settings: Settings) -> None:
    """The key is made once, 0600, and is refused when others can read it."""
    keys = load_keys(settings.data)
    path = settings.data / "keys" / "token-signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(settings.data).number == keys.number
    assert "d" not in keys.public()["keys"][0]
    path.chmod(0o644)
    try:
        with pytest.raises(DmedError):
            load_keys(settings.data)
    finally:
        path.chmod(0o600)
    assert sorted(one.name for one in path.parent.iterdir()) == ["factor-secrets.key", path.name]


async def test_the_cookie_is_hard_to_misuse(database: Database, settings: Settings) -> None:
    """HttpOnly, SameSite=Lax, Secure under https, and gone at once when it ends."""
    guard = Guard(database.hot, settings, load_keys(settings.data))
    plain = guard.cookie_header("abc", {"scheme": "http"})
    assert plain == f"{COOKIE}=abc; Path=/; HttpOnly; SameSite=Lax"
    assert guard.cookie_header("abc", {"scheme": "https"}).endswith("; Secure")
    assert "Max-Age=0" in guard.cookie_header("", {"scheme": "http"})
    assert session_cookie(b"a=1; dmed_session=xyz; b=2") == "xyz"
    assert session_cookie(b"xdmed_session=1") == ""
    assert session_cookie(b"dmed_session") == ""


async def _locked(identity: Identity, user: str, address: str, device: str = "") -> None:
    """Guess until this place has to wait, and let it wait long: a busy machine hashes slowly."""
    for _ in range(12):
        try:
            await identity.sign_in(user, "guess-guess", address, device)
        except UnauthorizedError:
            continue
        except ThrottledError:
            break
    else:
        pytest.fail("nobody slowed the guesses down")
    known = tokens.check_device(identity.keys, device)
    place = f"device\0{known.jti}" if known else address
    await identity._connection.execute(
        "update sign_in_attempt set free = now() + interval '5 minutes' where digest = $1",
        hashlib.sha256(f"{user}\0{place}".encode()).digest(),
    )


async def test_a_known_browser_is_counted_by_itself(identity: Identity) -> None:
    """Somebody behind the same address who guesses cannot lock a colleague out of his computer."""
    signed = await identity.sign_in("registrar", "registrar-demo", "10.8.8.8")
    await _locked(identity, "registrar", "10.8.8.8")
    again = await identity.sign_in("registrar", "registrar-demo", "10.8.8.8", signed.device)
    assert again.subject.user == "registrar"
    shared = await identity.sign_in("doctor", "doctor-demo", "10.8.8.9", again.device)
    assert await identity.sign_in("registrar", "registrar-demo", "10.8.8.8", shared.device)
    for wrong in ("x", signed.device[:-4] + "AAAA", "x" * 5000):
        with pytest.raises(ThrottledError):
            await identity.sign_in("registrar", "registrar-demo", "10.8.8.8", wrong)
    token = await identity.issue_token("registrar")
    with pytest.raises(ThrottledError):
        await identity.sign_in("registrar", "registrar-demo", "10.8.8.8", token)


async def test_a_known_browser_has_no_endless_guesses(identity: Identity) -> None:
    """A stolen device cookie is slowed down like any address."""
    device = (await identity.sign_in("admin", "admin-demo", "10.8.1.1")).device
    await _locked(identity, "admin", "10.8.1.2", device)
    with pytest.raises(ThrottledError):
        await identity.sign_in("admin", "admin-demo", "10.8.1.3", device)
    assert await identity.sign_in("admin", "admin-demo", "10.8.1.3")


async def test_a_flood_of_refusals_is_told_by_its_doublings(identity: Identity) -> None:
    """Ten rows a minute of an address, then one for each doubling, and no name that is none."""
    told = [await identity.failure("doctor", "10.9.9.9") for _ in range(70)]
    said = [text for text in told if text]
    assert told[0] == "sign-in refused: 'doctor' from 10.9.9.9"
    assert len(said) == 13
    assert said[-1].endswith("; 64 refused within this minute")
    unknown = await identity.failure("My-Password-1", "10.9.9.10")
    assert "My-Password-1" not in unknown
    assert "10.9.9.10" in unknown
