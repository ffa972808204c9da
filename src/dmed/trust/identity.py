"""Who somebody is: accounts, sign-in to a page session, and bearer tokens.

Passwords are argon2id (RFC 9106), cookies are 256 random bits of which only the SHA-256 is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
)
from dmed.kit.ids import secret
from dmed.kit.settings import Settings
from dmed.trust import common_passwords, passwords, people_tables, signatures, tables, tokens
from dmed.trust.common_passwords import RangeFiles, Stolen
from dmed.trust.enlisting import Enlisting, check_first
from dmed.trust.factors import Factors
from dmed.trust.keys import Keys
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import tables as oauth_tables
from dmed.trust.oauth.scopes import Scopes, parse
from dmed.trust.own_factor import OwnFactor
from dmed.trust.recovery import Recovery
from dmed.trust.sessions import (
    NOTHING_TOLD,
    About,
    Session,
    Sessions,
    SignedIn,
    Stage,
    digest_of,
    standing_of,
    subject_from,
)
from dmed.trust.standing import Register

REMEMBERED = 5
"""So many passwords of a person are not taken again."""
_FAULTS = {
    "words": "This password is one of those that are tried first",
    "guessed": "This password is guessed within a hundred million tries",
    "own": "This password is made of your own names",
    "row": "This password is a row of the keyboard",
    "repeats": "This password repeats a few signs",
    "stolen": "This password was stolen somewhere and is listed",
    "again": "This password was one of your last five",
}
LANGUAGES = ("uz", "uz-Cyrl", "ru", "en")
_CACHE_S = 45.0
"""With the fifteen seconds of the register: what is taken away is gone within a minute."""
_CACHE_MAX = 10_000
_EPOCH_S = 2.0
_PLACES = 1024
"""Counters of refused sign-ins: addresses share them, so the table cannot be filled."""
_TOLD_OF_ADDRESS = 10
_TOLD_IN_ALL = 100


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
    patient: str = ""
    """Id of the Patient who a citizen is; "" for everybody else."""
    active: bool = True
    demo: bool = False
    """A demo account: its password is public and `dmed token` serves it."""


DEMO_PASSWORDS: dict[str, str] = {
    "doctor": "doctor-demo",
    "pharmacist": "pharmacist-demo",
    "registrar": "registrar-demo",
    "admin": "admin-demo",
    "service": "service-demo",
    "head": "head-demo-2026",
    "inspector": "inspector-demo",
    "citizen": "citizen-demo",
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
    Account(user="head", role=Role.HEAD, name="Tursunov Alisher", post="bosh shifokor", demo=True),
    Account(
        user="inspector", role=Role.INSPECTOR, name="Qodirova Zulfiya", post="inspektor", demo=True
    ),
    Account(user="citizen", role=Role.CITIZEN, name="Karimova Dilnoza", demo=True),
)
"""The demo accounts without posts; the demo country replaces them with real ids of its records."""


class Identity:
    """Accounts, sessions and tokens of one installation.

    `connection` is the pool of the application's own tables.
    """

    _dummy: ClassVar[str] = ""

    def __init__(self, connection: tables.Connection, settings: Settings, keys: Keys) -> None:
        self._connection = tables.Told(connection)
        self._settings = settings
        self.keys = keys
        folder = settings.stolen_passwords
        self._stolen: Stolen | None = RangeFiles(Path(folder)) if folder else None
        self.register = Register(self._connection)
        self.factors = Factors(self._connection, keys)
        self.sessions = Sessions(self._connection, settings, self.register, self.factors)
        self.enlisting = Enlisting(self, self._connection, settings)
        self.recovery = Recovery(self, self._connection)
        self.own_factor = OwnFactor(self, self._connection)
        self._known: dict[bytes, tuple[Subject, float]] = {}
        self._epoch = 0
        self._epoch_due = 0.0
        self._epoch_lock = asyncio.Lock()

    # Accounts

    async def first_administrator(self, user: str, password: str, name: str = "") -> None:
        """The administrator of an empty installation; ConflictError once any account exists."""
        account = Account(user=_user_name(user), role=Role.ADMINISTRATOR, name=name or user)
        self.check_new(password, account)
        values = values_of(account, await passwords.hashed(password))
        if not await tables.first_account(self._connection, values):
            raise ConflictError("This installation has accounts already")

    async def save(
        self, account: Account, password: str, *, within: tables.Connection | None = None
    ) -> None:
        """Make an account or replace it; its verified tokens are looked up anew.

        `within` a unit it is made with the rest of the unit, or not at all. Raises InvalidError
        for a bad sign-in name, a password shorter than ten characters, or a Patient on the
        account of somebody who is no citizen.
        """
        _user_name(account.user)
        if account.patient and account.role is not Role.CITIZEN:
            raise InvalidError("Only a citizen's account is bound to a person's card")
        if not account.demo:
            self.check_new(password, account)
        stored = await passwords.hashed(password)
        connection = within or self._connection
        await tables.save_account(connection, values_of(account, stored))
        await tables.next_epoch(connection)

    async def save_demo(self, accounts: tuple[Account, ...] = DEMO_ACCOUNTS) -> None:
        """Make the demo accounts with their public passwords; repeatable."""
        for account in accounts:
            await self.save(account, DEMO_PASSWORDS[account.user])

    async def close_account(self, user: str) -> None:
        """Nobody signs in with it any more: its sessions end, its tokens within two seconds."""
        await tables.set_active(self._connection, user, active=False)
        await tables.next_epoch(self._connection)

    async def save_post(self, user: str, post: Account) -> None:
        """Give an account one more post (role, practitioner_role, organisation, title of `post`).

        NotFoundError without such an account, InvalidError without a PractitionerRole.
        """
        await self.subject_of(user)
        if not post.practitioner_role:
            raise InvalidError("A further post needs its PractitionerRole")
        await people_tables.save_post(
            self._connection,
            user,
            (
                post.practitioner_role,
                post.role.value,
                post.organisation,
                post.organisation_name,
                post.post,
            ),
        )

    async def drop_post(self, user: str, practitioner_role: str) -> None:
        """Take a further post away: its sessions and tokens end; NotFoundError without such."""
        if not await people_tables.drop_post(self._connection, user, practitioner_role):
            raise NotFoundError(f"{user!r} has no further post {practitioner_role!r}")
        await tables.next_epoch(self._connection)

    async def accounts(self, text: str = "", most: int = 50) -> list[dict[str, Any]]:
        """Accounts for the administrator's page, without secrets: those whose sign-in name or a
        word of whose name begins with `text`, at most `most`, by sign-in name.
        """
        return [dict(row) for row in await tables.accounts(self._connection, text, most)]

    async def demo_accounts(self) -> list[dict[str, Any]]:
        """The demo accounts, for the door."""
        return [dict(row) for row in await tables.demo_accounts(self._connection)]

    async def subject_of(self, user: str) -> Subject:
        """The subject of an open account; NotFoundError otherwise."""
        row = await tables.account(self._connection, user)
        if row is None or not row["active"]:
            raise NotFoundError(f"There is no open account {user!r}")
        return subject_from(row)

    # Passwords

    def check_new(self, password: str, account: Account) -> None:
        """InvalidError (its `place` is the kind of fault) for a password that others try first."""
        own = (account.user, account.name, account.organisation_name)
        fault = common_passwords.fault_of(password, own)
        if not fault and self._stolen is not None and self._stolen.knows(password):
            fault = "stolen"
        if fault:
            raise InvalidError(f"{_FAULTS[fault]}: choose another", f"password.{fault}")

    async def change_password(self, user: str, old: str, new: str, cookie: str = "") -> None:
        """A person's own change: the old password, then the new one; other sessions end.

        UnauthorizedError for a wrong old one, ThrottledError after a few; InvalidError for a new
        one that is short, common, or one of the last five; ForbiddenError for a demo account.
        """
        key = hashlib.sha256(f"{user}\0password".encode()).digest()
        await self.reserve(key)
        row = await tables.account(self._connection, user)
        if row is None or not await passwords.verified(row["secret"], old):
            raise UnauthorizedError("The name or the password is not right")
        await tables.forget_attempts(self._connection, key)
        if row["demo"]:
            raise ForbiddenError("The password of a demo account is public and stays")
        passwords.check_length(new)
        self.check_new(new, Account(user=user, role=Role(row["role"]), name=row["display"],
                                    organisation_name=row["organisation_name"]))
        before = await people_tables.passwords_before(self._connection, user, REMEMBERED - 1)
        for stored in (row["secret"], *before):
            if await passwords.verified(stored, new):
                raise InvalidError(f"{_FAULTS['again']}: choose another", "password.again")
        secret_ = await passwords.hashed(new)
        await people_tables.change_password(self._connection, user, secret_, REMEMBERED)
        await self.sessions.end_others(user, cookie)
        await tables.next_epoch(self._connection)

    # Page sessions

    async def sign_in(
        self, user: str, password: str, address: str, device: str = "", about: About = NOTHING_TOLD
    ) -> SignedIn:
        """A new session for the right name and password, at the stage that comes next.

        UnauthorizedError without saying which was wrong; ThrottledError with Retry-After when
        this name is tried too often from this address. Other addresses are not held up by it, and
        a browser on which this user has signed in before (`device`, its cookie) is counted by
        itself: so nobody can lock a colleague out, even behind the same address. ForbiddenError
        where the register gives the person no post any more.
        """
        user = user if is_user_name(user) else ""
        known = tokens.check_device(self.keys, device)
        place = f"device\0{known.jti}" if known and known.knows(user) else address
        key = hashlib.sha256(f"{user}\0{place}".encode()).digest()
        await self.reserve(key)
        row = await tables.account(self._connection, user)
        # An unknown name costs the same time as a wrong password, so names cannot be guessed.
        stored = row["secret"] if row is not None else await self._dummy_hash()
        is_right = await passwords.verified(stored, password)
        if row is None or not row["active"] or not is_right:
            raise UnauthorizedError("The name or the password is not right")
        await tables.forget_attempts(self._connection, key)
        check_first(row)
        if passwords.is_old(stored):
            await tables.set_secret(self._connection, user, await passwords.made(password))
        made = tokens.made_device(known)
        opened = await self.sessions.begin(row, made.jti, about)
        # A browser is known for somebody only when all that is asked has been passed there.
        waits = opened.stage in {Stage.FACTOR, Stage.ENROL, Stage.PASSWORD}
        device = tokens.make_device(self.keys, made, "" if waits else user)
        return msgspec.structs.replace(opened, device=device)

    async def pass_factor(self, cookie: str, typed: str, device: str = "") -> SignedIn:
        """The session goes on after a right code of the second factor.

        UnauthorizedError for a wrong one or a session that is over; ThrottledError after a few. On
        a browser this person has used before, codes are counted by it; strangers all share one
        count, so that guessing from many addresses gains nothing and holds up only strangers.
        """
        pending = await self.sessions.at_stage(cookie, Stage.FACTOR)
        user = pending.subject.user
        known = tokens.check_device(self.keys, device)
        place = known.jti if known and known.knows(user) else "any"
        key = hashlib.sha256(f"{user}\0factor\0{place}".encode()).digest()
        await self.reserve(key)
        if not await self.factors.passes(user, typed):
            raise UnauthorizedError("The code is not right")
        await tables.forget_attempts(self._connection, key)
        return await self.advanced(cookie, pending, known)

    async def enrol(
        self, cookie: str, code: str, device: str = ""
    ) -> tuple[SignedIn, list[str]]:
        """The first code of a second factor that a role demands: the session goes on, and the
        recovery codes are shown once. InvalidError for a wrong code.
        """
        pending = await self.sessions.at_stage(cookie, Stage.ENROL)
        await self.reserve(hashlib.sha256(f"{pending.subject.user}\0enrol".encode()).digest())
        codes = await self.factors.confirm(pending.subject.user, code)
        known = tokens.check_device(self.keys, device)
        return await self.advanced(cookie, pending, known), codes

    async def advanced(
        self, cookie: str, pending: Session, known: tokens.Device | None
    ) -> SignedIn:
        opened = await self.sessions.advance(cookie, pending, pending.stage)
        device = tokens.make_device(self.keys, known, pending.subject.user)
        return msgspec.structs.replace(opened, device=device)

    async def unlock(self, device: str, number: str, word: str) -> SignedIn:
        """A locked session of this browser goes on after its person's PIN or password.

        UnauthorizedError for a wrong one; ThrottledError after a few.
        """
        known = tokens.check_device(self.keys, device)
        jti = known.jti if known is not None else ""
        row = await self.sessions.locked(jti, number)
        key = hashlib.sha256(f"{row['account']}\0unlock\0{jti}".encode()).digest()
        await self.reserve(key)
        is_pin = is_pin_like(word) and bool(row["pin"])
        if not await passwords.verified(row["pin"] if is_pin else row["secret"], word):
            raise UnauthorizedError("The PIN or the password is not right")
        await tables.forget_attempts(self._connection, key)
        return await self.sessions.reopen(row)

    async def locked_here(self, device: str) -> list[dict[str, str]]:
        """Who has a locked session in this browser: number, name, post."""
        known = tokens.check_device(self.keys, device)
        return await self.sessions.locked_of(known.jti) if known is not None else []

    async def set_pin(self, user: str, password: str, pin: str) -> None:
        """A person's PIN of six digits for the counter, after the password; "" takes it away."""
        if pin and (not is_pin_like(pin) or is_simple(pin)):
            raise InvalidError("A PIN has six digits that are no row and no repetition")
        row = await tables.account(self._connection, user)
        await self.reserve(hashlib.sha256(f"{user}\0pin".encode()).digest())
        if row is None or not await passwords.verified(row["secret"], password):
            raise UnauthorizedError("The name or the password is not right")
        await people_tables.set_pin(
            self._connection, user, await passwords.made(pin) if pin else ""
        )

    async def reserve(self, key: bytes) -> None:
        """Count an attempt before it is looked at; ThrottledError while a pause runs."""
        if not await tables.reserve_attempt(self._connection, key):
            pause_s = await tables.pause_s(self._connection, key)
            raise ThrottledError(
                "Too many attempts, wait a little", headers={"Retry-After": str(max(1, pause_s))}
            )

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
        """The open session of a cookie value, or None when it ended, waits or never was."""
        found = await self.sessions.find(cookie)
        return found if found is not None and found.stage == Stage.OPEN else None

    async def sign_out(self, cookie: str) -> None:
        """End the session of a cookie value; silent where there is none."""
        await tables.close_session(self._connection, digest_of(cookie))

    async def set_language(self, cookie: str, language: str) -> None:
        """Keep the language a person chose; InvalidError for one that is not shipped."""
        if language not in LANGUAGES:
            raise InvalidError(f"The language {language!r} is not shipped")
        await tables.set_session_language(self._connection, digest_of(cookie), language)

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
        """A bearer token for an open account; the caller has made sure who asks.

        UnauthorizedError where the staff register gives its person no post any more.
        """
        subject = await self.standing(await self.subject_of(user))
        if subject is None:
            raise UnauthorizedError("The account or the post has ended")
        return tokens.make(self.keys, subject, self._settings.public_url, lifetime_s)

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

    def claims(self, token: bytes) -> tokens.Claims:
        """What a token of ours says; UnauthorizedError for any other."""
        return tokens.check(self.keys, token, self._settings.public_url)

    async def revoke(self, token: bytes) -> None:
        """Take a token back: all workers refuse it within two seconds."""
        claims = self.claims(token)
        ends = datetime.fromtimestamp(claims.exp, UTC)
        await tables.revoke_token(self._connection, claims.jti, ends)
        self._epoch_due = 0.0

    async def _verify(self, token: bytes, digest: bytes, at: float) -> Subject:
        claims = tokens.check(self.keys, token, self._settings.public_url)
        refusal = UnauthorizedError("The bearer token is not accepted")
        row = await people_tables.account_in_post(self._connection, claims.sub, claims.post)
        if (
            row is None
            or not row["active"]
            or row["role"] != claims.role
            or await tables.is_revoked(self._connection, claims.jti)
            or (
                claims.family
                and not await oauth_tables.is_family_open(self._connection, claims.family)
            )
        ):
            raise refusal
        subject = await self.standing(subject_from(row, session=claims.jti))
        if subject is None or subject.organisation != claims.organisation:
            raise refusal
        if claims.client_id:
            self.sessions.check_strength(row, claims.acr)
            subject = msgspec.structs.replace(subject, scopes=_scopes(claims))
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[digest] = (subject, at + min(_CACHE_S, claims.exp - time.time()))
        return subject

    async def standing(self, subject: Subject) -> Subject | None:
        """The subject at the institution that the register names, or None without standing."""
        return await standing_of(self.register, subject)

    async def in_post(self, user: str, post: str) -> Subject:
        """The subject of an open account in one of its posts, if it stands there now.

        UnauthorizedError otherwise.
        """
        row = await people_tables.account_in_post(self._connection, user, post)
        found = None
        if row is not None and row["active"]:
            found = await self.standing(subject_from(row))
        if found is None:
            raise UnauthorizedError("The account or the post has ended")
        return found

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
            Identity._dummy = await passwords.made(secret())
        return Identity._dummy


def _is_told(tries: int, always: int) -> bool:
    return tries <= always or tries & (tries - 1) == 0


def is_user_name(user: str) -> bool:
    """Whether a text can be a sign-in name at all: 2 to 64 Latin letters, digits, hyphens."""
    return 2 <= len(user) <= 64 and user.isascii() and user.replace("-", "").isalnum()


def _user_name(user: str) -> str:
    if not is_user_name(user):
        raise InvalidError("A sign-in name has 2 to 64 Latin letters, digits and hyphens")
    return user


def _scopes(claims: tokens.Claims) -> Scopes:
    return msgspec.structs.replace(
        parse(claims.scope),
        client=claims.client_id,
        patient=claims.patient,
        encounter=claims.encounter,
    )


def is_pin_like(text: str) -> bool:
    """Whether a text has the form of a PIN: six digits."""
    return len(text) == 6 and text.isascii() and text.isdecimal()


def is_simple(pin: str) -> bool:
    """Whether a PIN is among the first that a thief tries: repetitions and rows."""
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(pin)}
    return len(steps) == 1 or pin[:3] == pin[3:] or len(set(pin)) < 3


def values_of(account: Account, stored: str) -> tuple[Any, ...]:
    """The row of an account, in the order of its columns."""
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
        account.patient,
    )
