"""Who somebody is: accounts, sign-in to a page session, and bearer tokens.

Passwords are argon2id (RFC 9106), cookies are 256 random bits of which only the SHA-256 is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dmed.kit.clock import now
from dmed.kit.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
)
from dmed.kit.ids import secret
from dmed.kit.settings import Settings
from dmed.trust import people_tables, signatures, tables, tokens
from dmed.trust.keys import Keys
from dmed.trust.model import Role, Subject

LANGUAGES = ("uz", "uz-Cyrl", "ru", "en")
PASSWORD_MIN_CHARACTERS = 10
PASSWORD_MAX_CHARACTERS = 200
_CACHE_S = 60.0
_CACHE_MAX = 10_000
_EPOCH_S = 2.0
_PLACES = 1024
"""Counters of refused sign-ins: addresses share them, so the table cannot be filled."""
_TOLD_OF_ADDRESS = 10
_TOLD_IN_ALL = 100

_hasher = PasswordHasher()
# A hash takes 64 MB: more than two at once in a worker would let strangers fill its memory.
_hashing = asyncio.Semaphore(2)
_WAITING_MAX = 64
_waiting = 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One person or system in one post, as the administrator enters it; no secret."""

    user: str
    role: Role
    name: str = ""
    practitioner: str = ""
    practitioner_role: str = ""
    organisation: str = ""
    organisation_name: str = ""
    post: str = ""
    language: str = ""
    active: bool = True
    demo: bool = False
    """A demo account: its password is public and `dmed token` serves it."""


DEMO_PASSWORDS: dict[str, str] = {
    "doctor": "doctor-demo",
    "pharmacist": "pharmacist-demo",
    "registrar": "registrar-demo",
    "admin": "admin-demo",
    "service": "service-demo",
}
"""Passwords of the demo accounts, public on purpose; the README shows them."""

DEMO_ACCOUNTS: tuple[Account, ...] = (
    Account(user="doctor", role=Role.DOCTOR, name="Karimova Nilufar", post="terapevt", demo=True),
    Account(
        user="pharmacist", role=Role.PHARMACIST, name="Yusupov Jasur", post="farmatsevt", demo=True
    ),
    Account(
        user="registrar",
        role=Role.REGISTRAR,
        name="Ergasheva Malika",
        post="registrator",
        demo=True,
    ),
    Account(
        user="admin", role=Role.ADMINISTRATOR, name="Rahimov Bobur", post="administrator", demo=True
    ),
    Account(user="service", role=Role.SERVICE, name="Demo MIS", demo=True),
)
"""The demo accounts without posts; the demo country replaces them with real ids of its records."""


class SignedIn(msgspec.Struct, frozen=True):
    """A page session just opened: the cookie's value is known to the browser alone from now on."""

    cookie: str
    csrf: str
    subject: Subject
    device: str = ""
    """Cookie by which this browser is known at the next sign-in."""


class Session(msgspec.Struct, frozen=True):
    """A live page session: who, and the token that its forms must carry."""

    subject: Subject
    csrf: str


class Identity:
    """Accounts, sessions and tokens of one installation.

    `connection` is the pool of the application's own tables.
    """

    _dummy: ClassVar[str] = ""

    def __init__(self, connection: tables.Connection, settings: Settings, keys: Keys) -> None:
        self._connection = tables.Told(connection)
        self._settings = settings
        self._keys = keys
        self._known: dict[bytes, tuple[Subject, float]] = {}
        self._epoch = 0
        self._epoch_due = 0.0
        self._epoch_lock = asyncio.Lock()

    # Accounts

    async def first_administrator(self, user: str, password: str, name: str = "") -> None:
        """The administrator of an empty installation; ConflictError once any account exists."""
        account = Account(user=_user_name(user), role=Role.ADMINISTRATOR, name=name or user)
        values = _values(account, await hashed(password))
        if not await tables.first_account(self._connection, values):
            raise ConflictError("This installation has accounts already")

    async def save(self, account: Account, password: str) -> None:
        """Make an account or replace it; its verified tokens are looked up anew.

        Raises InvalidError for a bad sign-in name or a password shorter than ten characters.
        """
        _user_name(account.user)
        await tables.save_account(self._connection, _values(account, await hashed(password)))
        await tables.next_epoch(self._connection)

    async def save_demo(self, accounts: tuple[Account, ...] = DEMO_ACCOUNTS) -> None:
        """Make the demo accounts with their public passwords; repeatable."""
        for account in accounts:
            await self.save(account, DEMO_PASSWORDS[account.user])

    async def close_account(self, user: str) -> None:
        """Nobody signs in with it any more: its sessions end, its tokens within two seconds."""
        await tables.set_active(self._connection, user, active=False)
        await tables.next_epoch(self._connection)

    async def accounts(self) -> list[dict[str, Any]]:
        """All accounts for the administrator's page, without secrets."""
        return [dict(row) for row in await tables.accounts(self._connection)]

    async def subject_of(self, user: str) -> Subject:
        """The subject of an open account; NotFoundError otherwise."""
        row = await tables.account(self._connection, user)
        if row is None or not row["active"]:
            raise NotFoundError(f"There is no open account {user!r}")
        return _subject(row, row["language"], "")

    # Page sessions

    async def sign_in(
        self, user: str, password: str, address: str, device: str = ""
    ) -> SignedIn:
        """A new session for the right name and password.

        UnauthorizedError without saying which was wrong; ThrottledError with Retry-After when
        this name is tried too often from this address. Other addresses are not held up by it, and
        a browser on which this user has signed in before (`device`, its cookie) is counted by
        itself: so nobody can lock a colleague out, even behind the same address.
        """
        user = user if is_user_name(user) else ""
        known = tokens.check_device(self._keys, device)
        place = f"device\0{known.jti}" if known and known.knows(user) else address
        key = hashlib.sha256(f"{user}\0{place}".encode()).digest()
        if not await tables.reserve_attempt(self._connection, key):
            pause_s = await tables.pause_s(self._connection, key)
            raise ThrottledError(
                "Too many attempts, wait a little", headers={"Retry-After": str(max(1, pause_s))}
            )
        row = await tables.account(self._connection, user)
        # An unknown name costs the same time as a wrong password, so names cannot be guessed.
        stored = row["secret"] if row is not None else await self._dummy_hash()
        is_right = await verified(stored, password)
        if row is None or not row["active"] or not is_right:
            raise UnauthorizedError("The name or the password is not right")
        await tables.forget_attempts(self._connection, key)
        if _hasher.check_needs_rehash(stored):
            await tables.set_secret(self._connection, user, await _hash(password))
        cookie, csrf = secret(), secret()
        ends = now() + timedelta(hours=self._settings.session_max_hours)
        await tables.open_session(
            self._connection,
            _digest(cookie),
            user,
            csrf=csrf,
            language=row["language"],
            ends=ends,
        )
        subject = _subject(row, row["language"], _short(cookie))
        return SignedIn(cookie, csrf, subject, tokens.make_device(self._keys, known, user))

    async def failure(self, user: str, address: str) -> str:
        """What the audit shall say of a refused sign-in, or "" when the flood has no need of one
        row more: beyond ten a minute from an address, or a hundred in all, only each doubling of
        the count is told. Names that are no account are not repeated: it may be a password.
        """
        place = 1 + int.from_bytes(hashlib.sha256(address.encode()).digest()[:2]) % _PLACES
        tries = await tables.count_failure(self._connection, place)
        if not _is_told(tries, _TOLD_OF_ADDRESS):
            return ""
        if not _is_told(await tables.count_failure(self._connection, 0), _TOLD_IN_ALL):
            return ""
        row = await tables.account(self._connection, user) if is_user_name(user) else None
        name = repr(user) if row is not None else "a name without account"
        more = f"; {tries} refused within this minute" if tries > _TOLD_OF_ADDRESS else ""
        return f"sign-in refused: {name} from {address or 'an unknown address'}{more}"

    async def session(self, cookie: str) -> Session | None:
        """The live session of a cookie value, or None when it ended or never was."""
        digest = _digest(cookie)
        minutes = self._settings.session_idle_minutes
        row = await people_tables.session(self._connection, digest, minutes)
        if row is None:
            return None
        if row["stale"]:
            await tables.touch_session(self._connection, digest)
        language = row["chosen"] or row["language"]
        return Session(_subject(row, language, _short(cookie)), row["csrf"])

    async def sign_out(self, cookie: str) -> None:
        """End the session of a cookie value; silent where there is none."""
        await tables.close_session(self._connection, _digest(cookie))

    async def set_language(self, cookie: str, language: str) -> None:
        """Keep the language a person chose; InvalidError for one that is not shipped."""
        if language not in LANGUAGES:
            raise InvalidError(f"The language {language!r} is not shipped")
        await tables.set_session_language(self._connection, _digest(cookie), language)

    # Keys by which systems sign

    async def register_key(self, user: str, key: str) -> str:
        """Register the public key of a system's signatures, as JWK or PEM; its number (kid: its
        own, or the RFC 7638 thumbprint). NotFoundError without an open account, InvalidError for a
        key that is private, symmetric, or too weak.
        """
        await self.subject_of(user)
        found = signatures.read_key(key)
        await tables.save_key(self._connection, user, found.number, found.text)
        return found.number

    async def forget_key(self, user: str, number: str) -> None:
        """Signatures by this key are refused from now on; NotFoundError where there is none."""
        if not await tables.drop_key(self._connection, user, number):
            raise NotFoundError(f"{user!r} has no key {number!r}")

    async def keys_of(self, user: str) -> dict[str, str]:
        """The registered keys of a system: number -> public JWK as JSON."""
        return await tables.keys_of(self._connection, user)

    # Bearer tokens

    async def issue_token(self, user: str, *, lifetime_s: int = tokens.LIFETIME_S) -> str:
        """A bearer token for an open account; the caller has made sure who asks."""
        subject = await self.subject_of(user)
        return tokens.make(self._keys, subject, self._settings.public_url, lifetime_s)

    async def issue_demo_token(self, user: str, *, lifetime_s: int = tokens.LIFETIME_S) -> str:
        """`dmed token`: as `issue_token`, for demo accounts alone (InvalidError otherwise)."""
        row = await tables.account(self._connection, user)
        if row is None or not row["demo"]:
            raise InvalidError(f"{user!r} is no demo account: tokens are printed for those alone")
        return await self.issue_token(user, lifetime_s=lifetime_s)

    async def bearer(self, token: bytes) -> Subject:
        """The subject of a bearer token; UnauthorizedError when it is not accepted.

        A token verified in the last minute costs one digest and one dictionary look-up, unless
        the revocation epoch moved, which is read every two seconds.
        """
        at = time.monotonic()
        if at >= self._epoch_due:
            await self._read_epoch(at)
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is not None and at < known[1]:
            return known[0]
        return await self._verify(token, digest, at)

    async def revoke(self, token: bytes) -> None:
        """Take a token back: all workers refuse it within two seconds."""
        claims = tokens.check(self._keys, token, self._settings.public_url)
        ends = datetime.fromtimestamp(claims.exp, UTC)
        await tables.revoke_token(self._connection, claims.jti, ends)
        self._epoch_due = 0.0

    async def _verify(self, token: bytes, digest: bytes, at: float) -> Subject:
        claims = tokens.check(self._keys, token, self._settings.public_url)
        row = await tables.account(self._connection, claims.sub)
        refused = (
            row is None
            or not row["active"]
            or row["role"] != claims.role
            or row["organisation"] != claims.organisation
            or await tables.is_revoked(self._connection, claims.jti)
        )
        if row is None or refused:
            raise UnauthorizedError("The bearer token is not accepted")
        subject = _subject(row, row["language"], claims.jti)
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[digest] = (subject, at + min(_CACHE_S, claims.exp - time.time()))
        return subject

    async def _read_epoch(self, at: float) -> None:
        async with self._epoch_lock:
            if at < self._epoch_due:
                return
            epoch = await tables.epoch(self._connection)
            if epoch != self._epoch:
                self._known.clear()
                self._epoch = epoch
            self._epoch_due = at + _EPOCH_S

    async def _dummy_hash(self) -> str:
        if not Identity._dummy:
            Identity._dummy = await _hash(secret())
        return Identity._dummy


async def hashed(password: str) -> str:
    """The argon2id hash of a password; InvalidError when it is too short or too long."""
    if not PASSWORD_MIN_CHARACTERS <= len(password) <= PASSWORD_MAX_CHARACTERS:
        raise InvalidError(
            f"A password has {PASSWORD_MIN_CHARACTERS} to {PASSWORD_MAX_CHARACTERS} characters"
        )
    return await _hash(password)


async def verified(stored: str, password: str) -> bool:
    """Whether a password belongs to a stored hash; never raises for strange input."""
    if len(password) > PASSWORD_MAX_CHARACTERS:
        return False
    global _waiting  # noqa: PLW0603  # One count a process, as the semaphore.
    if _waiting >= _WAITING_MAX:
        raise UnavailableError("Too many people sign in at once, try again")
    _waiting += 1
    try:
        return await _verified(stored, password)
    finally:
        _waiting -= 1


async def _verified(stored: str, password: str) -> bool:
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, stored, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False


async def _hash(password: str) -> str:
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, password)


def _is_told(tries: int, always: int) -> bool:
    return tries <= always or tries & (tries - 1) == 0


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()


def _short(cookie: str) -> str:
    # Names the session in audit rows without giving away the cookie.
    return _digest(cookie).hex()[:16]


def is_user_name(user: str) -> bool:
    """Whether a text can be a sign-in name at all: 2 to 64 Latin letters, digits, hyphens."""
    return 2 <= len(user) <= 64 and user.isascii() and user.replace("-", "").isalnum()


def _user_name(user: str) -> str:
    if not is_user_name(user):
        raise InvalidError("A sign-in name has 2 to 64 Latin letters, digits and hyphens")
    return user


def _values(account: Account, stored: str) -> tuple[Any, ...]:
    return (
        account.user,
        stored,
        account.role.value,
        account.name,
        account.practitioner,
        account.practitioner_role,
        account.organisation,
        account.organisation_name,
        account.post,
        account.language,
        account.active,
        account.demo,
    )


def _subject(row: Any, language: str, session: str) -> Subject:
    return Subject(
        user=row["name"],
        role=Role(row["role"]),
        name=row["display"],
        practitioner=row["practitioner"],
        practitioner_role=row["practitioner_role"],
        organisation=row["organisation"],
        organisation_name=row["organisation_name"],
        post=row["post"],
        language=language,
        session=session,
    )
